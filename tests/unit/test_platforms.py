"""What differs from platform to platform: the table of it, and options that are for one of them."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import click
import pytest

from memwatch.cli import cli
from memwatch.model import sources
from memwatch.model.processes import PEAK_SOURCES
from memwatch.runner import event_sources, native, profiler
from memwatch.runner.exit_hook import ExitHook

PAGE = (Path(__file__).parent.parent.parent / "docs" / "platforms.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_is_whole() -> None:
    head, rule, *body = rows()
    names = ("", "Linux, root", "Linux, another user", "Linux with `--exact`", "macOS")
    assert tuple(head) == names
    assert set(rule) == {"---"}
    assert len(body) > 10
    for row in body:
        assert len(row) == len(head)
        assert all(row), row[0]


@pytest.mark.parametrize(
    "source", sources.LINUX_SOURCES + sources.DARWIN_SOURCES, ids=lambda source: source.id
)
def test_every_way_is_in_the_table(source: sources.Source) -> None:
    """In the columns of its platform."""
    named = "\n".join(cell for row in rows()[2:] for cell in row[1:4])
    if source in sources.DARWIN_SOURCES:
        named = "\n".join(row[4] for row in rows()[2:])
    if source.number == sources.SAMPLING:
        assert "sample" in named
    else:
        assert f"`{source.id}`" in named


@pytest.mark.parametrize("backend", ["linux", "darwin"])
def test_no_way_is_named_that_a_platform_lacks(backend: str) -> None:
    ways = set(sources.IDS.values())
    own = {source.id for source in sources.of_backend(backend)}
    cells = [cell for row in rows()[2:] for cell in (row[1:4] if backend == "linux" else row[4:5])]
    named = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)} & ways
    assert named - {"sampling"} == own - {"sampling"}


@pytest.mark.parametrize("source", PEAK_SOURCES)
def test_every_source_of_a_peak_is_told(source: str) -> None:
    assert f"`{source}`" in PAGE.partition("|")[0]


# Options


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "backend", lambda: "darwin")


@pytest.mark.usefixtures("on_a_mac")
def test_a_limit_that_cannot_be_held_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(click.UsageError, match=r"--max-total-pss is for Linux.*--max-total-rss"):
        cli.main(["run", "--max-total-pss", "1G", "--", "touch", str(mark)], standalone_mode=False)
    assert not mark.exists()


@pytest.mark.usefixtures("on_a_mac")
def test_what_does_nothing_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "ran"
    words = ["run", "--quiet", "--pss", "always", "--", "touch", str(mark)]
    assert cli.main(words, standalone_mode=False) == 0
    assert mark.exists()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("memwatch: --pss always has no effect")


@pytest.mark.usefixtures("on_a_mac")
def test_the_platform_is_in_the_profile() -> None:
    assert profiler.run(["true"]).backend == "darwin"


# What became of kqueue

NOTHING = dict.fromkeys(native.SamplerStats._fields, 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (0, None),
        (errno.EMFILE, "it takes a descriptor, and the limit on open files is too low"),
    ],
)
def test_what_became_of_kqueue(
    monkeypatch: pytest.MonkeyPatch, error: int, reason: str | None
) -> None:
    monkeypatch.setattr(event_sources, "SOURCES", {"kqueue": sources.KQUEUE})
    monkeypatch.setattr(native, "probe", lambda number: errno.ENOTSUP)
    used = 0 if error else sources.KQUEUE
    stats = native.SamplerStats(**{**NOTHING, "sources": used, "kqueue_error": error})
    found, advice = event_sources.outcomes(stats, ("kqueue",), ExitHook(False))
    assert [(each.id, each.used, each.reason) for each in found] == [("kqueue", not error, reason)]
    assert advice is None
    # That is no reason to say that every process was seen.
    assert not sources.COMPLETE_SOURCES & {each.id for each in found}
