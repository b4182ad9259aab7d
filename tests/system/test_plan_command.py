"""Tests of `memwatch plan` as a command: its figures for a real build, and bad input."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import Any

import pytest

from memwatch.commands.plan import MOST_JOBS
from memwatch.model.limits import TOTAL_RSS, Breach, LimitOutcome, Limits
from support.command import Watch
from support.schema import Schema, written_keys
from support.waiting import wait_until

MIB = 1 << 20

SCHEMA = Schema("plan")

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@pytest.fixture
def plan(memwatch):
    """Runs `memwatch plan --json WORDS...`; returns its document, which must follow the schema."""

    def run(*words: object) -> dict[str, Any]:
        result = memwatch.run("plan", "--json", *map(str, words))
        assert (result.code, result.err) == (0, b""), result.text
        document: dict[str, Any] = result.json
        SCHEMA.validate(document)
        return document

    return run


@pytest.fixture
def recorded(story):
    """Makes a recording of six tasks of a make, two at a time; see its parameters."""

    def make(limit: int | None = None, *, cut: bool = False, busy: bool = True, **end: Any) -> str:
        script = story("build.jsonl", "make", "-j2")
        script.start(1, "make", at=0)
        script.memory(1, 2000)
        for number in range(0, 6, 2):
            for each in (number, number + 1):
                script.start(2 + each, "cc", parent=1, at=50 * number)
                if busy:
                    script.memory(2 + each, 10_000, at=50 * number)
            script.tick(at=50 * number + 10)
            for each in (number, number + 1):
                script.exit(2 + each, 0, by_event=True, at=50 * number + 100)
        script.exit(1, 0, by_event=True, at=300)
        return str(script.cut_short() if cut else script.end(300, limit, **end))

    return make


# A real build -------------------------------------------------------------------------------------


@pytest.fixture
def measure(memwatch, burner):
    """Runs a build of eight tasks that hold known memory, `jobs` at a time."""
    names = [str(number) for number in range(8)]
    rules = "".join(
        f"t{name}:\n\t@{burner} "
        f"spawn [ touch {30 + int(name) % 3} mark {name} until go{name} ] wait\n"
        for name in names
    )
    targets = " ".join(f"t{name}" for name in names)
    (memwatch.room / "Makefile").write_text(f"all: {targets}\n{rules}")

    def all_up(watch: Watch, left: set[str], jobs: int) -> set[str]:
        up = left & watch.marked().keys()
        return up if len(up) >= min(jobs, len(left)) else set()

    def run(jobs: int) -> dict[str, Any]:
        words = ["--json", "-i", "10", "-o", f"j{jobs}.jsonl", "--", "make", "-s", f"-j{jobs}"]
        watch = memwatch.start("run", *words)
        left = set(names)
        while left:
            up = wait_until(partial(all_up, watch, left, jobs), "tasks")
            watch.ticks(3)
            for name in up:
                (memwatch.room / f"go{name}").touch()
            left -= up
        result = watch.end()
        assert result.code == 0, result.text
        for path in memwatch.room.glob("go*"):
            path.unlink()
        memwatch.marks.unlink()
        return result.json

    return run


@needs_make
def test_j4_is_as_expected_from_j1_and_j2(measure, plan):
    """benchmarks/plan.py measures how close it is."""
    measured = {jobs: measure(jobs) for jobs in (1, 2, 4)}
    for jobs in (1, 2):
        document = plan(f"j{jobs}.jsonl", "--jobs", "1,2,4")
        assert document["tasks"]["count"] == 8
        assert document["tasks"]["supervisors"] == [{"command": "make", "processes": 1}]
        assert document["recorded"]["jobs"] == jobs
        expected = {each["jobs"]: each for each in document["plans"]}
        for at_once, run in measured.items():
            peak = expected[at_once]["expected_peak_kib"]
            assert peak == pytest.approx(run["max_total_rss_kib"], rel=0.3), (jobs, at_once)
        assert expected[4]["expected_duration_seconds"] < expected[2]["expected_duration_seconds"]
        # Each task lasted at least three ticks.
        assert expected[1]["expected_duration_seconds"] > 8 * 0.03


# Document and text --------------------------------------------------------------------------------


def test_the_document(recorded, plan):
    document = plan(recorded(limit=100_000), "--jobs", "3,1,3")
    assert document["command"] == ["make", "-j2"]
    assert document["recorded"]["max_total_rss_kib"] == 22_000
    assert [each["jobs"] for each in document["plans"]] == [1, 3]
    assert [each["expected_peak_kib"] for each in document["plans"]] == [12_000, 32_000]
    assert [each["fits"] for each in document["plans"]] == [True, True]
    assert document["plans"][1]["expected_duration_seconds"] == pytest.approx(0.2)
    assert document["memory"] == {"size_kib": 100_000, "origin": "recording", "margin": 0.1}
    assert document["most_jobs"] == document["most_jobs_tried"] == 6


def test_the_most_jobs_leave_a_tenth_free(recorded, plan):
    path = recorded(limit=100_000)
    # Four need 42,000 KiB, which is nine tenths of 46,667.
    for size, most in ((46_667, 4), (46_666, 3), (13_000, 0)):
        document = plan(path, "--memory", f"{size * 1024}", "--jobs", "4")
        assert document["memory"]["origin"] == "option"
        assert document["most_jobs"] == most
        assert [each["fits"] for each in document["plans"]] == [most == 4]


def test_the_numbers_of_jobs_by_default(recorded, plan):
    assert [each["jobs"] for each in plan(recorded())["plans"]] == [1, 2, 4, 8, 16]


def test_memory_of_this_machine_if_the_recording_has_none(recorded, plan):
    document = plan(recorded(cut=True))
    assert document["memory"]["origin"] == "here"
    assert document["memory"]["size_kib"] > 0
    assert any("The recording stops early" in note for note in document["notes"])


def test_a_run_that_may_be_incomplete(recorded, plan):
    path = recorded(status=2 << 8)
    assert (
        "The recorded job may be incomplete: the command failed (exit code 2)."
        in plan(path)["notes"]
    )
    breach = Breach(TOTAL_RSS, 20 * MIB, 22 * MIB, 0, 3, None, None, None, ())
    path = recorded(
        status=15, limit_outcome=LimitOutcome(Limits(20 * MIB), True, (breach,), signalled=True)
    )
    (note,) = (note for note in plan(path)["notes"] if "may be incomplete" in note)
    assert note.endswith(": memwatch ended it at its limit of 20.0 MiB.")
    assert not any("may not have done all" in note for note in plan(recorded())["notes"])


def test_the_text(memwatch, recorded):
    result = memwatch.run("plan", recorded(limit=50_000), "--jobs", "2,4,8")
    assert (result.code, result.err) == (0, b"")
    text = result.out.decode()
    assert "Plan for: make -j2\n" in text
    assert "6 processes started by make, 2 at once (2.0 on average)" in text
    assert "Recorded: peak RSS 21.5 MiB, 300 ms" in text
    assert "limit of cgroup v2 where it was recorded" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("   ")}
    assert lines["2"].endswith(" 300 ms")
    assert "  expected peak RSS  " in text
    assert "41.0 MiB" in lines["4"]
    assert lines["8"].endswith(" 100 ms  does not fit")
    assert "Up to 4 jobs are expected to fit with 10% of the memory left free." in text
    assert "Expected, not measured" in text


@pytest.fixture
def serial(story):
    """A recording of three tasks that ran one after another."""
    script = story("steps.jsonl", "sh", "steps")
    script.start(1, "sh", at=0)
    script.memory(1, 2000)
    for number in range(3):
        script.start(2 + number, f"step{number}", parent=1, at=100 * number)
        script.memory(2 + number, 10_000)
        script.tick(at=100 * number + 10)
        script.cpu(2 + number, 90, 0)
        script.exit(2 + number, 0, by_event=True, at=100 * number + 100)
    script.exit(1, 0, by_event=True, at=300)
    return str(script.end(300, 1_000_000))


def test_a_job_that_is_not_parallel(memwatch, serial, plan):
    document = plan(serial)
    assert document["tasks"]["serial"]
    assert [each["jobs"] for each in document["plans"]] == [1]
    assert document["most_jobs"] is None
    text = " ".join(memwatch.run("plan", serial).out.decode().split())
    assert "Tasks: 3 processes started by sh, one at a time (not parallel)" in text
    assert "Not parallel: the 3 tasks ran one after another. Whether the job can run more" in text
    assert "expected to fit" not in text


def test_a_job_that_is_not_parallel_with_jobs_at_once(memwatch, serial, plan):
    document = plan(serial, "--jobs", "1,3")
    assert document["most_jobs"] == 3
    assert [each["expected_peak_kib"] for each in document["plans"]] == [12_000, 32_000]
    text = " ".join(memwatch.run("plan", serial, "--jobs", "3").out.decode().split())
    assert "All 3 tasks at once are expected to fit" in text
    assert "left free, if they can run at once." in text
    assert "one at a time (not parallel)" in text


def test_a_duration_that_the_cpus_bound(serial, plan):
    (forecast,) = plan(serial, "--jobs", "3")["plans"]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert forecast["expected_duration_source"] == ("cpu" if cpus < 3 else "replay")
    assert forecast["expected_duration_seconds"] == pytest.approx(max(0.1, 0.27 / cpus))


def test_workers_side_by_side(memwatch, story, plan):
    script = story("pool.jsonl", "python", "-m", "pool")
    script.start(1, "python", at=0)
    script.memory(1, 5000)
    for serial in (2, 3, 4):
        script.start(serial, "python", "worker", parent=1, at=5)
        script.memory(serial, 50_000)
    script.tick(at=20)
    for serial in (2, 3, 4, 1):
        script.exit(serial, 0, by_event=True, at=100)
    path = script.end(100, 1_000_000)
    document = plan(path, "--jobs", "3,10")
    assert document["tasks"]["side_by_side"]
    assert [each["expected_peak_kib"] for each in document["plans"]] == [155_000, 505_000]
    assert [each["expected_duration_seconds"] for each in document["plans"]] == [None, None]
    assert document["most_jobs"] == 17
    text = memwatch.run("plan", path).out.decode()
    assert "3 workers started by python, all at once" in text
    assert "unknown" in text
    assert "Up to 17 jobs" in text


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--jobs", ""], "'' is not a list of numbers: write 4 or 4,8,16"),
        (["--jobs", "4,"], "'4,' is not a list"),
        (["--jobs", "four"], "'four' is not a list"),
        (["--jobs", "-1"], "'-1' is not a list"),
        (["--jobs", "²"], "is not a list"),
        (["--jobs", "0"], f"write 1 to {MOST_JOBS}"),
        (["--jobs", "4,99999"], f"write 1 to {MOST_JOBS}"),
        (["--jobs", "9" * 5000], "is not a list"),
        (["--memory", "much"], "'much' is not a size"),
        (["--worker", "a(b"], "regular expression"),
        (["--metric", "pss"], "the PSS of single processes is not measured: use --metric rss"),
        (
            ["--metric", "footprint"],
            "the footprint of single processes is not in the file: record again with this version, "
            "or use --metric rss",
        ),
        (["--metric", "uss"], "'uss' is not one of 'rss', 'pss', 'footprint'"),
        (["--worker", "nobody"], "no process below the first matches 'nobody'"),
    ],
)
def test_bad_options(memwatch, recorded, words, why):
    result = memwatch.run("plan", recorded(), *words)
    assert (result.code, result.out) == (1, b"")
    assert why in result.one_line()


def test_files_that_cannot_be_used(memwatch, recorded):
    (memwatch.room / "text").write_text("no results")
    for path, why in (("nowhere", "cannot read 'nowhere'"), ("text", "'text' holds no results")):
        result = memwatch.run("plan", path)
        assert result.code == 1
        assert why in result.one_line()
    result = memwatch.run("plan", recorded(busy=False))
    assert result.code == 1
    assert "the memory of its tasks is unknown" in result.one_line()


def test_a_job_without_tasks(memwatch):
    memwatch.run("run", "-o", "x.jsonl", "--", "true")
    result = memwatch.run("plan", "x.jsonl")
    assert result.code == 1
    assert "'x.jsonl': no process of this job started two others" in result.one_line()


def test_standard_output_that_is_closed(memwatch, recorded):
    result = memwatch.run("plan", recorded(), preexec_fn=lambda: __import__("os").close(1))
    assert result.code == 1
    assert "cannot write to standard output" in result.one_line()


# The schema ---------------------------------------------------------------------------------------


def test_the_schema_describes_every_key(recorded, plan):
    SCHEMA.check()
    assert SCHEMA.places() == written_keys(plan(recorded()))
    assert all(key.description.endswith(".") for key in SCHEMA.described())
