"""Tests that a damaged result file gives results or an error of one line."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from memwatch.cli import cli
from memwatch.model.observations import EXITED, HAS_STATUS
from memwatch.storage.load import BadResults, load

NAN, INFINITY = float("nan"), float("inf")
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "\ud800", "2026-99-01T00:00:00.000000Z", [], {}, [1], {"a": 1}),
    *(0, -1, 1, 0.5, 2**31, 2**62, -(2**62), 2**63, 10**18, 10**30, -1e30, 1e300, NAN, INFINITY),
)
PLACES, TRIES = 25, 3
"""Places tried per line, and values tried per place; all of them would take minutes."""

COMMANDS = (
    ("report", "FILE", "--tree", "--csv", "/dev/null"),
    ("report", "FILE", "--quiet", "--timeline", "/dev/null"),
    ("report", "FILE", "--json", "--group-by", "exe"),
    ("report", "FILE", "--leaks", "--leak-min-duration", "1s"),
    ("view", "FILE", "--html", "/dev/null", "--force", "--no-open"),
    ("compare", "FILE", "WHOLE"),
    ("compare", "WHOLE", "FILE", "--json"),
    ("compare", "WHOLE", "FILE", "--markdown"),
    ("ci-check", "FILE", "--max-total-rss", "1M", "--max-per-proc-rss", "8G"),
    ("ci-check", "FILE", "--baseline", "WHOLE", "--max-total-pss", "1G", "--junit", "/dev/null"),
    ("plan", "FILE"),
    ("plan", "FILE", "--json"),
    ("export", "FILE", "--format", "perfetto", "-o", "/dev/null"),
    ("export", "FILE", "--format", "firefox", "-o", "/dev/null"),
    ("export", "FILE", "--format", "csv", "-o", "/dev/null"),
    ("export", "FILE", "--format", "openmetrics", "-o", "/dev/null"),
    ("export", "FILE", "--format", "otlp", "-o", "/dev/null"),
    ("export", "FILE", "--format", "bmf", "-o", "/dev/null"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value within a document, including containers."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*path, index))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    whole = document
    for key in path[:-1]:
        whole = whole[key]
    whole[path[-1]] = value
    return document


@pytest.fixture
def silent() -> Iterator[None]:
    """Discards the output of commands, which write to descriptors."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    yield
    for number, old in enumerate(kept, 1):
        os.dup2(old, number)
    for each in (*kept, nowhere):
        os.close(each)


def survives(path: Path, whole: Path, story: str) -> bool:
    """Returns whether it could be read; fails on any error other than a ClickException."""
    try:
        load(str(path), timeline=True, tracks=True)
    except BadResults:
        return False
    except Exception as error:
        raise AssertionError(f"load: {story}") from error
    for words in COMMANDS:
        names = {"FILE": str(path), "WHOLE": str(whole)}
        try:
            cli.main([names.get(word, word) for word in words], standalone_mode=False)
        except click.ClickException as error:
            message = error.format_message()
            assert "\n" not in message, f"{' '.join(words)}: {story}: {message}"
        except Exception as error:
            raise AssertionError(f"{' '.join(words)}: {story}") from error
    return True


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The recording of a run that exceeds its limits, and its JSON."""
    folder = tmp_path_factory.mktemp("run")

    def memwatch(*words: str) -> str:
        argv = [sys.executable, "-m", "memwatch", *words]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.stdout

    memwatch(
        *("run", "-i", "5", "--cgroup", "--max-total-rss", "1M", "--max-per-proc-rss", "1M"),
        *("--on-limit", "report", "-o", "a.jsonl", "--silent", "--", "sh", "-c"),
        "dd if=/dev/zero of=/dev/null bs=4M count=40; ls; exit 3",
    )
    document = memwatch("report", "a.jsonl", "--json", "--timeline", "/dev/null")
    return (folder / "a.jsonl").read_text(), document


HEAD = [
    *[("start", NAN), ("start", 0.5), ("clock.realtime", -1e30), ("clock.boottime", 2**70)],
    *[("interval", INFINITY), ("interval", 0), ("interval", True), ("command", [1])],
    *[("command", []), ("command", None), ("host", 3), ("clock", {"realtime": 1})],
]
END = [
    *[("end", {}), ("end", []), ("end.exit_status", 2**62), ("end.exit_status", 0.5)],
    *[("end.exit_status", 0x7F), ("end.end", "now"), ("end.memory_limit.path", 3)],
    *[("end.overhead.cpu", INFINITY), ("end.scanning", 0), ("end.error", 1), ("end.lost", None)],
    *[("end.held_back", [1]), ("end.sources", [{"id": 1, "used": True, "reason": None}])],
    *[("end.limits.limits.0", "1G"), ("end.limits.breaches.0.limit", "x"), ("end.limits", 0)],
    *[("end.cgroup", 0), ("end.cgroup.samples", ""), ("end.cgroup.reason", 1)],
    *[("end.cgroup.history", [[1, 2]]), ("end.cgroup.largest", [1, 2, 3, 4, 5, 6, "7"])],
]
RECORD = [
    *[("records.0.0", INFINITY), ("records.0.2", 0.5), ("records.0.4", True), ("records.0.0", "")],
    *[("records.0.0", 2**63), ("records.0", []), ("records.0", [1]), ("records", 1), ("text", 1)],
]


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        *((0, *each) for each in HEAD),
        *((1, *each) for each in RECORD),
        *((-1, *each) for each in END),
    ],
)
def test_a_recording_with_a_wrong_value(run_once, tmp_path, line, path, value):
    lines = [json.loads(each) for each in run_once[0].splitlines()]
    keys = tuple(int(key) if key.isdigit() else key for key in path.split("."))
    lines[line] = changed(lines[line], keys, value)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    with pytest.raises(BadResults, match="is damaged: "):
        load(str(damaged))


def test_an_impossible_status_in_a_recording_that_was_cut_short(run_once, tmp_path):
    *lines, _ = map(json.loads, run_once[0].splitlines())
    ended = [each for line in lines[1:] for each in line["records"] if each[4] == EXITED]
    (root,) = (each for each in ended if each[1] == 1)
    root[2], root[5] = 0x7F, root[5] | HAS_STATUS
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    with pytest.raises(BadResults, match="127 is not an exit status"):
        load(str(damaged))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *[("exit_code", 10**18), ("exit_code", -1), ("exit_code", 256), ("exit_code", True)],
        *[("signal", 0.5), ("signal", 0), ("signal", 128), ("signal", 1 << 8)],
        *[("accuracy.peaks", True), ("accuracy.peaks.sampled", ""), ("accuracy.peaks", {})],
        *[("accuracy.processes_found", []), ("accuracy.error", 1), ("accuracy.sources", [1])],
        *[("max_total_rss_sampled_kib", ""), ("max_total_rss_sampled_kib", 2**60)],
        ("samples", None),
        *[("groups.0.processes", []), ("groups.0.command", None), ("groups.0.max_rss_kib", 0.5)],
        *[("at_peak.0.rss_kib", []), ("at_peak.0.rss_kib", NAN), ("at_peak.0.pid", "1")],
        *[("interval_ms", 0), ("interval_ms", NAN), ("interval_ms", INFINITY), ("command", [])],
        *[("processes.0.wait_status", 0x7F), ("processes.0.images", []), ("limits", 0)],
        *[("processes.0.images.0.since", 5), ("start_time", "9999-01-01T00:00:00.000000Z")],
        *[("limits.exceeded.0.limit", "x"), ("memory_limit.path", 3), ("memwatch.cpu_seconds", "")],
        *[("cgroup", 0), ("cgroup.reason", 3), ("cgroup.samples", ""), ("cgroup.peak_kib", 0.5)],
        *[("cgroup.footprint_time", 5), ("cgroup.peak_time", ""), ("cgroup.timeline", [1])],
    ],
)
def test_json_with_a_wrong_value(run_once, tmp_path, path, value):
    keys = tuple(int(key) if key.isdigit() else key for key in path.split("."))
    damaged = tmp_path / "damaged.json"
    damaged.write_text(json.dumps(changed(json.loads(run_once[1]), keys, value)))
    with pytest.raises(BadResults, match=r"not JSON from this version|is damaged"):
        load(str(damaged))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recording", "json"])
def test_damaged(run_once, tmp_path, silent, kind):
    chance = random.Random(5)
    is_recording = kind == "recording"
    text = run_once[0 if is_recording else 1]
    lines = text.splitlines() if is_recording else [text]
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    whole.write_text(text)
    assert survives(whole, whole, "as it was")
    outcomes = set()
    for number in sorted({0, 1, len(lines) // 2, len(lines) - 1} & set(range(len(lines)))):
        content = json.loads(lines[number])
        everywhere = list(places(content))
        for path in chance.sample(everywhere, min(len(everywhere), PLACES)):
            for value in chance.sample(VALUES, TRIES):
                text = json.dumps(changed(content, path, value))
                damaged.write_text("\n".join([*lines[:number], text, *lines[number + 1 :], ""]))
                where = ".".join(map(str, path))
                outcomes.add(survives(damaged, whole, f"line {number + 1}: {where} = {value!r}"))
    assert outcomes == {True, False}
