"""Differences between platforms: the table in docs/platforms.md, and platform-specific options."""

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
def test_every_source_is_in_the_table(source: sources.Source) -> None:
    """Each source is in the columns of its platform."""
    named = "\n".join(cell for row in rows()[2:] for cell in row[1:4])
    if source in sources.DARWIN_SOURCES:
        named = "\n".join(row[4] for row in rows()[2:])
    if source.number == sources.SAMPLING:
        assert "sample" in named
    else:
        assert f"`{source.id}`" in named


@pytest.mark.parametrize("backend", ["linux", "darwin"])
def test_a_platform_names_only_its_own_sources(backend: str) -> None:
    every = set(sources.IDS.values())
    own = {source.id for source in sources.of_backend(backend)}
    cells = [cell for row in rows()[2:] for cell in (row[1:4] if backend == "linux" else row[4:5])]
    named = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)} & every
    assert named - {"sampling"} == own - {"sampling"}


@pytest.mark.parametrize("source", PEAK_SOURCES)
def test_every_peak_source_is_described(source: str) -> None:
    assert f"`{source}`" in PAGE.partition("|")[0]


# Options


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "backend", lambda: "darwin")


@pytest.mark.usefixtures("on_a_mac")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--max-total-pss", r"--max-total-pss is for Linux.*--max-total-rss"),
        ("--min-available", r"--min-available is for Linux.*--max-total-footprint"),
    ],
)
def test_a_limit_that_cannot_be_enforced_is_refused(
    tmp_path: Path, option: str, message: str
) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(click.UsageError, match=message):
        cli.main(["run", option, "1G", "--", "touch", str(marker)], standalone_mode=False)
    assert not marker.exists()


@pytest.mark.usefixtures("on_a_mac")
def test_an_option_without_effect_is_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "ran"
    words = ["run", "--quiet", "--pss", "always", "--", "touch", str(marker)]
    assert cli.main(words, standalone_mode=False) == 0
    assert marker.exists()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("memwatch: --pss always has no effect")


@pytest.mark.usefixtures("on_a_mac")
def test_the_platform_is_in_the_profile() -> None:
    assert profiler.run(["true"]).backend == "darwin"


# The outcome of kqueue

NOTHING = dict.fromkeys(native.SamplerStats._fields, 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (0, None),
        (errno.EMFILE, "it takes a descriptor, and the limit on open files is too low"),
    ],
)
def test_the_outcome_of_kqueue(
    monkeypatch: pytest.MonkeyPatch, error: int, reason: str | None
) -> None:
    monkeypatch.setattr(event_sources, "SOURCES", {"kqueue": sources.KQUEUE})
    monkeypatch.setattr(native, "probe", lambda number: errno.ENOTSUP)
    used = 0 if error else sources.KQUEUE
    stats = native.SamplerStats(**{**NOTHING, "sources": used, "kqueue_error": error})
    found, advice = event_sources.outcomes(stats, ("kqueue",), ExitHook(False))
    assert [(each.id, each.used, each.reason) for each in found] == [("kqueue", not error, reason)]
    assert advice is None
    # kqueue is no proof that every process was seen.
    assert not sources.COMPLETE_SOURCES & {each.id for each in found}
