"""Tests of `memwatch run --repeat`: runs in turn, a recording of each, and their spread."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import pairwise
from typing import Any

import pytest

from memwatch.analysis import repeats
from memwatch.analysis.repeats import RepeatedRun, Series
from memwatch.reports import repeats_report as report
from memwatch.storage.load import load
from support.inside import TICKS
from support.schema import Schema

MIB = 1 << 20
SCHEMA = Schema("repeats")

# Counts its runs in the file "count", and holds 10 MiB times the number of the run.
COUNTING = f"""{TICKS}
import pathlib, sys
count = pathlib.Path("count")
number = len(count.read_text()) + 1 if count.exists() else 1
count.write_text("x" * number)
held = bytearray(number * 10 << 20)
wait_for_ticks(os.getppid(), 0.005, 2)
"""


def counting(*more: str) -> list[str]:
    return ["--", sys.executable, "-c", COUNTING + "\n".join(more)]


# -- A series --------------------------------------------------------------------------------------


def run_of(number: int, size: int | None = 100, code: int = 0, **more: Any) -> RepeatedRun:
    total = None if size is None else size * MIB
    fields = {"pss": None, "largest": total, "processes": 3, "duration": 2.0, "exact": True} | more
    return RepeatedRun(number, code, total, *fields.values(), None)


def series_of(*runs: RepeatedRun, wanted: int = 5, **more: Any) -> Series:
    fields = {"signal": 0, "left_behind": ()} | more
    return Series(("make",), 10**7, wanted, runs, **fields)


def plain(text: str) -> str:
    return text


def text_of(series: Series) -> str:
    return "\n".join(report.lines(series, width=80, bold=plain, dim=plain))


def test_summary():
    sizes = (100, 104, 98, 102, 101)
    runs = [run_of(n, size, duration=n / 4, pss=50 * MIB) for n, size in enumerate(sizes, 1)]
    assert (
        text_of(series_of(*runs))
        == """
Job: make
Runs:  5, a sample every 10 ms

                          median      lowest     highest   spread
Total RSS              101.0 MiB    98.0 MiB   104.0 MiB    5.9 %
Total PSS               50.0 MiB    50.0 MiB    50.0 MiB    0.0 %
Largest process, RSS   101.0 MiB    98.0 MiB   104.0 MiB    5.9 %
Processes                      3           3           3    0.0 %
Duration                  0.75 s      0.25 s      1.25 s  133.3 %

Total RSS is the highest sum at one sample, or the peak of one process if that is higher.
All process peaks are exact."""
    )


def test_what_is_unknown_is_not_counted():
    runs = [run_of(1, None), run_of(2, 80), run_of(3, 100, exact=False)]
    text = text_of(series_of(*runs, wanted=3))
    row = "90.0 MiB    80.0 MiB   100.0 MiB   22.2 %  (known in 2 runs)"
    assert f"Total RSS               {row}" in text
    assert "Total PSS" not in text
    assert "Some process peaks are lower bounds in 1 run." in text


@pytest.mark.parametrize(("at", "known"), [(1, 60), (2, None)])
def test_pss_that_was_not_summed_at_the_peak_is_unknown(story, at, known):
    script = story("x.jsonl")
    script.start(1, "make", at=0)
    for time, size in ((1, 100), (2, 50)):
        script.memory(1, size, at=time)
        script.tick(at=time)
        if time == at:
            script.pss(60, at=time)
    script.exit(1, 0, by_event=True, at=3)
    run = repeats.run_of(1, load(str(script.end(4))).profile, 0, None)
    assert run.total_pss == (known and known * 1024)


def test_a_run_that_failed_is_not_counted():
    series = series_of(run_of(1), run_of(2), run_of(3, 10, code=7))
    assert [run.number for run in series.counted] == [1, 2]
    assert series.exit_code == 7
    text = text_of(series)
    assert "Runs:  2 of 5, a sample every 10 ms" in text
    assert "Run 3 ended with exit code 7: it is not counted, and no more runs were made." in text


def test_a_run_that_lost_a_process_to_the_oom_killer_is_not_counted(story):
    script = story("a.jsonl", "sh")
    script.start(1, "sh", at=0).memory(1, 1024)
    script.start(2, "work", parent=1).memory(2, 4096)
    script.tick(at=1).exit(2, 9, at=2).exit(1, 0, at=3)
    profile = load(str(script.end(4, limit=8192, oom_kills=1))).profile
    series = series_of(repeats.run_of(1, profile, 0, None), run_of(2), wanted=2)
    assert [run.number for run in series.counted] == [2]
    assert series.exit_code == 0
    text = text_of(series)
    assert "Runs:  1 of 2" in text
    assert "Run 1 is not counted: the OOM killer ended pid 102 work (at least 4.0 MiB)" in text
    assert [run["counted"] for run in report.document(series)["runs"]] == [False, True]


def test_a_run_that_a_signal_ended_is_not_counted():
    """Its exit code does not matter."""
    series = series_of(run_of(1), run_of(2), signal=signal.SIGINT)
    assert [run.number for run in series.counted] == [1]
    assert series.exit_code == 130
    assert "Ended by SIGINT: run 2 is not counted." in text_of(series)
    series = series_of(run_of(1, code=9), signal=signal.SIGTERM)
    assert (series.counted, series.exit_code) == ((), 9)


def test_processes_left_behind_are_reported():
    text = text_of(series_of(run_of(1), run_of(2), wanted=2, left_behind=(1,)))
    assert "Run 1 left processes behind" in text


@pytest.mark.parametrize(
    "series",
    [
        series_of(*(run_of(n, 100 + n, pss=MIB * n) for n in range(1, 6))),
        series_of(run_of(1, None), run_of(2, code=3), left_behind=(1,)),
        series_of(run_of(1), signal=signal.SIGTERM),
    ],
)
def test_json_follows_the_schema(series):
    document = json.loads(json.dumps(report.document(series)))
    SCHEMA.validate(document)
    assert set(document) == set(SCHEMA.document["properties"])
    for run in document["runs"]:
        assert set(run) == set(SCHEMA.document["properties"]["runs"]["items"]["properties"])
    assert set(document["spread"]) == set(SCHEMA.document["properties"]["spread"]["properties"])


# -- As a command ----------------------------------------------------------------------------------


def test_each_run_is_recorded(memwatch):
    words = ["--repeat", "3", "-i", "5", "--json", "-o", "out.%n.jsonl.gz"]
    result = memwatch.run("run", *words, *counting())
    assert (result.code, result.text) == (0, "")
    document = result.json
    SCHEMA.validate(document)
    assert document["command"][0] == sys.executable
    assert [run["number"] for run in document["runs"]] == [1, 2, 3]
    names = [run["recording"] for run in document["runs"]]
    assert names == ["out.1.jsonl.gz", "out.2.jsonl.gz", "out.3.jsonl.gz"]
    totals = [run["total_rss_kib"] for run in document["runs"]]
    steps = [after - before for before, after in pairwise(totals)]
    assert all(8 * 1024 < step < 12 * 1024 for step in steps)
    assert document["spread"]["total_rss_kib"] == {
        "median": totals[1], "min": totals[0], "max": totals[2], "runs": 3,
    }  # fmt: skip
    for name, total in zip(names, totals, strict=True):
        again = memwatch.run("report", "--json", name).json
        largest = max(each["max_rss_kib"] for each in again["processes"])
        assert max(again["max_total_rss_kib"] or 0, largest) == total


def test_summary_and_progress_go_to_stderr(memwatch):
    result = memwatch.run("run", "--repeat", "2", "-i", "5", *counting("print('hello')"))
    assert (result.code, result.out) == (0, b"hello\nhello\n")
    lines = result.text.splitlines()
    assert lines[0].startswith("memwatch: run 1 of 2: total RSS ")
    assert lines[1].startswith("memwatch: run 2 of 2: total RSS ")
    assert "Runs:  2, a sample every 5 ms" in lines
    quiet = memwatch.run("run", "--repeat", "2", "--quiet", "--", "true")
    assert (quiet.code, quiet.text) == (0, "")


def test_repeat_1_is_the_same_as_no_repeat(memwatch):
    result = memwatch.run("run", "--repeat", "1", "--json", "-o", "a.%n.jsonl", "--", "true")
    assert (memwatch.room / "a.1.jsonl").exists()
    assert result.json["command"] == ["true"]
    assert "runs" not in result.json


def test_the_first_run_that_fails_is_the_last(memwatch):
    fails = "sys.exit(7 if number == 2 else 0)"
    words = ["--repeat", "4", "-i", "5", "-o", "r.%n.jsonl", "--json"]
    result = memwatch.run("run", *words, *counting(fails))
    assert result.code == result.json["exit_code"] == 7
    assert [run["exit_code"] for run in result.json["runs"]] == [0, 7]
    assert [run["counted"] for run in result.json["runs"]] == [True, False]
    # Runs that were not made have no recordings.
    assert sorted(path.name for path in memwatch.room.glob("r.*")) == ["r.1.jsonl", "r.2.jsonl"]


def test_a_run_that_exceeds_a_limit_is_the_last(memwatch):
    words = ["--repeat", "9", "-i", "5", "--max-total-rss", "45M"]
    result = memwatch.run("run", *words, *counting("time.sleep(60 if number > 5 else 0)"))
    assert result.code == 10
    assert "Limit exceeded:  total RSS" in result.text
    assert "ended with exit code 10: it is not counted, and no more runs were made." in result.text


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("code", [0, 5])
def test_a_signal_ends_the_series(memwatch, burner, name, code):
    """It ends even if the command handles the signal and exits with 0."""
    number = getattr(signal, name)
    job = ["trap", str(int(number)), "mark", "run", "gate", "exit", str(code)]
    words = ["run", "--repeat", "3", "--json", "-o", "s.%n.jsonl", "--", burner, *job]
    watch = memwatch.start(*words)
    (pid,) = watch.marks("run")
    os.kill(watch.pid, number)
    assert watch.marks(f"sig{int(number):02}") == [pid]
    result = watch.end()
    assert watch.marks("run") == [pid]
    document = result.json
    assert document["ended_by_signal"] == number
    assert (len(document["runs"]), document["counted"]) == (1, 0)
    assert result.code == document["exit_code"] == (code or 128 + number)
    assert [path.name for path in memwatch.room.glob("s.*")] == ["s.1.jsonl"]


def test_ctrl_c_at_a_terminal_ends_the_series(memwatch, terminal, burner):
    job = [burner, "trap", "2", "mark", "run", "gate", "exit", "0"]
    started = terminal(memwatch.argv("run", "--repeat", "3", "--", *job))
    pid = started.watch.mark("run")
    started.type(b"\x03")
    assert started.watch.marks("sig02") == [pid]
    os.write(started.master, b"\n\x04")
    assert started.end() == 130
    assert any("Ended by SIGINT: run 1 is not counted." in line for line in started.lines())


def test_processes_left_behind_are_not_part_of_the_next_run(memwatch, burner):
    # The parent ends when its child has started, the child when standard input is closed.
    job = ["fork", "1", "[", "touch", "30", "mark", "left", "gate", "]", "until", "go"]
    watch = memwatch.start("run", "--repeat", "2", "-i", "5", "--json", "--", burner, *job)
    watch.mark("left")
    watch.ticks()
    (memwatch.room / "go").touch()
    watch.process.wait(60)
    document = watch.end().json
    assert document["left_processes_behind"] == [1]
    first, second = document["runs"]
    assert first["processes"] == 2
    assert second["processes"] <= 2  # the second child may start too late
    assert (second["total_rss_kib"] or 0) < first["total_rss_kib"] + 20 * 1024


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--repeat", "0"], "0 is not in the range 1<=x<=100"),
        (["--repeat", "101"], "101 is not in the range 1<=x<=100"),
        (["--repeat", "two"], "'two' is not a valid integer"),
        (
            ["--repeat", "2", "-o", "a/b.c/x.jsonl.gz"],
            "write %n for its number, as in 'a/b.c/x.%n.j",
        ),
        (["--repeat", "2", "-o", "a.%%n.jsonl"], "for its number, as in 'a.%n.jsonl'"),
        (["--repeat", "2", "--csv", "x.csv"], "--csv reports one run"),
        (["--repeat", "2", "--timeline", "x.csv"], "--timeline reports one run"),
        (["--repeat", "2", "--top", "10"], "--top reports one run"),
        (["--repeat", "2", "--include", "x"], "--include reports one run"),
        (["--repeat", "3", "-o", "there.%n.jsonl"], "'there.2.jsonl' exists: choose another"),
        (["--repeat", "3", "-o", "no/%n.jsonl"], "cannot write 'no/1.jsonl': No such file"),
    ],
)
def test_refused(memwatch, words, why):
    (memwatch.room / "there.2.jsonl").write_text("kept")
    result = memwatch.run("run", *words, "--", "touch", "ran")
    assert (result.code, result.out) == (1, b"")
    assert why in result.one_line()
    assert [path.name for path in memwatch.room.iterdir()] == ["there.2.jsonl"]
    assert (memwatch.room / "there.2.jsonl").read_text() == "kept"


def test_a_command_that_cannot_be_started(memwatch):
    result = memwatch.run("run", "--repeat", "3", "-o", "x.%n", "--", "no-such-command")
    assert result.code == 1
    assert "cannot run 'no-such-command'" in result.one_line()
    assert not list(memwatch.room.iterdir())


def test_a_command_that_can_be_started_only_once(memwatch):
    script = memwatch.room / "once"
    script.write_text("#!/bin/sh\nrm once\n")
    script.chmod(0o755)
    result = memwatch.run("run", "--repeat", "3", "-o", "x.%n", "--", "./once")
    assert result.code == 1
    assert "Runs:  1 of 3" in result.text
    assert result.text.splitlines()[-1].startswith("memwatch: run 2 of 3: cannot run './once'")
    assert [path.name for path in memwatch.room.glob("x.*")] == ["x.1"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_under_stdout(memwatch):
    with open("/dev/full", "wb") as full:
        result = memwatch.run("run", "--repeat", "2", "--json", "--", "true", stdout=full)
    assert result.code == 1
    assert result.one_line() == "memwatch: cannot write to standard output: No space left on device"
