"""Tests of `--leaks`: what is found, the reports, and that run and report give the same."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest

from memwatch.analysis.leaks import FEWEST_SAMPLES, Leaks, LeakSearch
from memwatch.model.filters import Filter, apply
from memwatch.model.job import Job
from memwatch.model.observations import (
    Batch,
)
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, from_job
from memwatch.reports import leak_report
from memwatch.storage import profile_json_writer
from memwatch.storage.load import load
from memwatch.storage.recording import Recorder
from support.schema import Schema
from support.scripted import MIB, NO_LIMIT, SECOND, Script

SCHEMA = Schema("profile")


def grows(t: float) -> float:
    """Returns the MiB held after `t` seconds: one more each second."""
    return 50 + t


class Lives(Script):
    """Observations second by second, and the leaks found in them. Sizes are MiB."""

    def __init__(self) -> None:
        super().__init__(time_unit=SECOND, size_unit=MIB)

    def life(
        self, serial: int, start: int, end: int, shape: Callable[[float], float] = grows
    ) -> None:
        """Adds memory and a tick every second; this process is all that the job holds."""
        for time in range(start, end):
            self.memory(serial, shape(time - start), at=time).tick(shape(time - start))

    def judge(self, *, growth: float = 0.5, seconds: float = 60) -> Leaks:
        search = LeakSearch(growth, round(seconds * SECOND))
        search.apply(self.batch())
        return search.finish()


# -- Processes that leak--------------------------------------------------------------------------


def test_a_leak_has_its_process_and_its_rate():
    script = Lives()
    script.start(1, "leaky", "--option", at=10)
    script.life(1, 10, 210)
    found = script.judge()
    assert found.judged == 1
    (leak,) = found.found
    assert leak.process
    assert (leak.process.serial, leak.process.pid) == (1, 101)
    assert leak.process.program.name == "leaky"
    assert leak.process.program.argv == ("leaky", "--option")
    # One MiB a second. An interval has the value at its beginning, so the line lags a little.
    assert leak.rate == pytest.approx(3600 * MIB, rel=0.01)
    assert leak.fit > 0.99
    assert leak.low == pytest.approx(grows(leak.start / SECOND - 10) * MIB, rel=0.03)
    assert leak.high == pytest.approx(grows(leak.end / SECOND - 10) * MIB, rel=0.03)
    assert leak.growth == (leak.high - leak.low) / leak.low
    assert 10 + 200 * 0.1 < leak.start / SECOND < leak.end / SECOND < 10 + 200 * 0.95


def test_thresholds():
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.life(1, 0, 100)
    (leak,) = script.judge().found
    assert script.judge(growth=leak.growth * 0.99).found
    assert not script.judge(growth=leak.growth * 1.01).found
    # The time from its first sample to its last is a second less.
    assert script.judge(seconds=99).found
    assert not script.judge(seconds=99.1).found
    assert script.judge(seconds=99.1).judged == 0


def test_a_few_samples_are_not_judged():
    def sampled(times: int) -> Leaks:
        script = Lives()
        script.start(1, "program", "--option", at=0)
        for number in range(times):
            script.memory(1, 50 * (number + 1), at=number * 60).tick(0)
        return script.judge()

    assert sampled(FEWEST_SAMPLES).found
    assert sampled(FEWEST_SAMPLES - 1).judged == 0


def test_less_than_a_mib_is_no_leak():
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.life(1, 0, 100, lambda t: 0.5 + t / 100)
    assert not script.judge().found
    script.life(1, 100, 400, lambda t: 1.5 + t / 100)
    assert script.judge().found


def test_constant_memory_that_is_not_observed_again_is_no_leak():
    """A value holds until the next one or the end: here it is a plateau."""
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.life(1, 0, 50)
    assert script.judge(seconds=30).found
    for time in range(50, 100):
        script.tick(grows(49), at=time)
    assert not script.judge(seconds=30).found


def test_the_fastest_leak_is_first():
    script = Lives()
    for serial in (1, 2, 3):
        script.start(serial, "program", "--option", at=0)
    for time in range(100):
        for serial, pace in ((1, 2), (2, 5), (3, 1)):
            script.memory(serial, 20 + pace * time, at=time)
        script.tick(0, at=time)
    assert [leak.process.pid for leak in script.judge().found if leak.process] == [102, 101, 103]


# -- Programs and processes ------------------------------------------------------------------------


def test_each_program_is_judged_separately():
    """A shell that executes a large program and then another has not leaked."""
    script = Lives()
    script.start(1, "small", "--option", at=0)
    script.life(1, 0, 100, lambda t: 10)
    script.execute(1, "leaky", "--option", at=100)
    script.life(1, 100, 200)
    script.execute(1, "large", "--option", at=200)
    script.life(1, 200, 300, lambda t: 500)
    found = script.judge()
    assert found.judged == 3
    (leak,) = found.found
    assert leak.process
    assert leak.process.program.name == "leaky"


def test_more_facts_about_a_program_do_not_begin_another():
    script = Lives()
    script.start(1, "early", "--option", at=0)
    script.life(1, 0, 50)
    script.execute(1, "late", "--option", same=True, at=50)
    # Only the time of its exec becomes known: there is no text.
    script.execute(1, same=True)
    script.life(1, 50, 100, lambda t: 100 + t)
    (leak,) = script.judge().found
    assert leak.process
    assert leak.process.program.name == "late"


def test_a_fork_is_a_separate_process():
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.execute(2, "worker", "--option", inherited=True)
    script.life(2, 0, 100)
    script.exit(2, at=100)
    (leak,) = script.judge().found
    assert leak.process
    assert leak.process.serial == 2


def test_a_reused_pid_is_another_process():
    script = Lives()
    for serial in range(1, 11):
        start = serial * 12
        script.start(serial, "program", "--option", pid=100, at=start)
        script.life(serial, start, start + 12, lambda t, first=start: first + t)
        script.exit(serial, at=start + 12)
    assert script.judge().judged == 0


def test_no_memory_at_exit_is_no_sample():
    """An exiting process has no memory but still exists."""
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.life(1, 0, 100)
    script.memory(1, 0, at=100)
    for time in range(100, 200):
        script.tick(0, at=time)
    script.exit(1, at=200)
    assert script.judge().found


def test_a_watermark_is_no_sample():
    script = Lives()
    script.start(1, "program", "--option", at=0)
    for time in range(100):
        script.memory(1, grows(time), at=time).final(1, 1 / MIB).tick(0)
    assert script.judge().found


def test_a_program_that_could_not_be_read():
    script = Lives()
    for time in range(100):
        script.memory(1, grows(time), at=time)
        script.tick(0, at=time)
    (leak,) = script.judge().found
    assert leak.process
    assert leak.process.program.name == "?"


# -- The job's total -------------------------------------------------------------------------------


def fleet() -> Lives:
    """A growing number of workers that stay; the memory of each is constant."""
    script = Lives()
    for time in range(120):
        script.start(time + 1, "program", "--option", at=time)
        script.memory(time + 1, 10).tick(10 * (time + 1))
    return script


def test_total_that_grows():
    found = fleet().judge()
    assert found.total_judged
    (leak,) = found.found
    assert leak.process is None
    assert leak.rate == pytest.approx(36000 * MIB, rel=0.02)


def test_total_is_left_out_if_a_process_explains_it():
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.life(1, 0, 100)
    found = script.judge()
    assert [bool(leak.process) for leak in found.found] == [True]
    assert not found.total_judged


def test_the_end_of_the_job_is_not_part_of_its_total():
    script = fleet()
    script.tick(0, at=120)
    assert script.judge(seconds=110).found


# -- Cost ----------------------------------------------------------------------------------------


def test_ended_processes_take_no_memory():
    search = LeakSearch(0.5, 60 * SECOND)

    def run(first: int, number: int) -> int:
        for serial in range(first, first + number):
            life = Lives().start(serial, "x" * 4000, "--option").memory(serial, 10)
            search.apply(life.tick(10).exit(serial).batch())
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(1, 100)
        after = run(200, 5000)
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_a_long_life_takes_no_more_memory_than_a_short_one():
    search = LeakSearch(0.5, 60 * SECOND)

    def run(first: int, last: int) -> None:
        script = Lives()
        script.life(1, first, last)
        search.apply(script.batch())

    tracemalloc.start()
    try:
        run(0, 10_000)  # Python keeps some tuples for reuse
        before, _ = tracemalloc.get_traced_memory()
        run(10_000, 20_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


# -- Reports -------------------------------------------------------------------------------------


def plain(text: str) -> str:
    return text


def summary(leaks: Leaks, width: int = 100) -> list[str]:
    return list(leak_report.lines(leaks, width=width, bold=plain, dim=plain))


def test_summary_of_a_leak():
    script = Lives()
    script.start(1, "leaky", "--option", at=0)
    script.life(1, 0, 200)
    assert summary(script.judge()) == [
        "",
        "Possible leaks:  (heuristic: sampled RSS grew steadily and was never given back)",
        "     3.5 GiB/h  pid 101  leaky --option",
        "                from 79.4 MiB to 228.6 MiB (+188 %) in 00:02:29.1; "
        "a straight line explains 99 % of it",
    ]
    assert max(map(len, summary(script.judge(), width=40)[2:3])) <= 40


def test_summary_of_a_total():
    lines = summary(fleet().judge())
    assert lines[2].endswith("GiB/h  the job's total")


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (
            60,
            "Leak check: nothing found: 1 process ran for 60 s or longer and none grew "
            "steadily by 50 % or more (heuristic).",
        ),
        (
            900,
            "Leak check: not possible: nothing ran for 900 s or longer with at least 20 samples.",
        ),
    ],
)
def test_summary_of_nothing(seconds, line):
    script = Lives()
    script.start(1, "program", "--option", at=0)
    script.life(1, 0, 100, lambda t: 10)
    assert summary(script.judge(seconds=seconds)) == ["", line]


def test_summary_of_a_total_that_does_not_leak():
    script = Lives()
    for time in range(100):
        script.tick(10, at=time)
    assert summary(script.judge()) == [
        "",
        "Leak check: nothing found: no process ran for 60 s or longer, and the job's total did not "
        "grow steadily by 50 % or more (heuristic).",
    ]


@pytest.mark.parametrize("script", [fleet, Lives], ids=["total", "nothing"])
def test_json_follows_the_schema(script):
    job = Job()
    beginning = Beginning(("x",), Clock(0, 0), 0, 1)
    profile = from_job(job, beginning, Ending(1, 0, Overhead(None, None), NO_LIMIT))
    out = io.StringIO()
    profile_json_writer.write(profile, apply(profile.processes, Filter()), out, script().judge())
    document = json.loads(out.getvalue())["leaks"]
    schema = {**SCHEMA.document["properties"]["leaks"], "$defs": SCHEMA.document["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(document)
    assert set(document) == set(schema["properties"]) == set(schema["required"])
    for leak in document["found"]:
        described = SCHEMA.document["$defs"]["leak"]
        assert set(leak) == set(described["properties"]) == set(described["required"])


# -- The commands --------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "leaky.jsonl"
    recorder = Recorder(str(path))
    recorder.begin(Beginning(("leaky",), Clock(0, 0), 0, SECOND))
    script = Lives()
    script.start(1, "leaky", "--option", at=0)
    script.life(1, 0, 200)
    script.exit(1, at=200)
    recorder.add(script.batch())
    recorder.end(Ending(200 * SECOND, 0, Overhead(0, 0), NO_LIMIT))
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    return path


def test_report(memwatch, recording):
    result = memwatch.run("report", "--leaks", recording)
    assert result.code == 0
    assert "3.5 GiB/h  pid 101  leaky --option" in result.out.decode()
    result = memwatch.run("report", recording)
    assert "leak" not in result.out.decode().replace("leaky", "")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--fail-on-leak",), 12),
        (("--fail-on-leak", "--leak-min-growth", "190%"), 0),
        (("--fail-on-leak", "--leak-min-duration", "10min"), 0),
        (("--leaks",), 0),
    ],
)
def test_exit_code_of_report(memwatch, recording, options, code):
    result = memwatch.run("report", "--json", *options, recording)
    assert result.code == code
    SCHEMA.validate(result.json)
    found = result.json["leaks"]["found"]
    assert len(found) == (len(options) == 1)


def test_json_has_no_samples(memwatch, recording):
    path = memwatch.room / "run.json"
    path.write_bytes(memwatch.run("report", "--json", recording).out)
    result = memwatch.run("report", "--leaks", path)
    assert result.code == 1
    line = result.one_line()
    assert repr(str(path)) in line
    assert "has no samples" in line


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--leak-min-duration", "1d", "is not a duration"),
        ("--leak-min-duration", "0.5s", "out of range"),
        ("--leak-min-duration", "200000min", "out of range"),
        ("--leak-min-duration", "1e9", "is not a duration"),
        ("--leak-min-growth", "half", "is not a percentage"),
        ("--leak-min-growth", "0.5%", "out of range: write 1% to 10000%"),
        ("--leak-min-growth", "50", "has no unit: write 50%"),
        ("--leak-min-duration", "60", "has no unit: write 60s or 60ms"),
        ("--leak-min-growth", "-5%", "is not a percentage"),
    ],
)
def test_bad_values(memwatch, recording, option, value, why):
    result = memwatch.run("report", "--leaks", option, value, recording)
    assert result.code == 1
    line = result.one_line()
    assert repr(value) in line
    assert why in line


@pytest.mark.parametrize("option", [("--leak-min-duration", "5s"), ("--leak-min-growth", "9%")])
def test_search_options_without_leaks_are_refused(memwatch, recording, option):
    for words in (("report", *option, recording), ("run", *option, "--", "touch", "ran")):
        result = memwatch.run(*words)
        assert (result.code, result.out) == (1, b"")
        assert f"{option[0]} needs --leaks" in result.one_line()
    assert not (memwatch.room / "ran").exists()
    setting = "MEMWATCH_RUN_" + option[0][2:].upper().replace("-", "_")
    assert memwatch.run("run", "--quiet", "--", "true", env={setting: option[1]}).code == 0


# However late it wakes, it then holds what the straight line gives: 25 MiB a second.
LEAKY = """
import mmap, time
kept, start = [], time.monotonic()
while (age := time.monotonic() - start) < 1.6:
    while len(kept) < age * 50:
        kept.append(mmap.mmap(-1, 1 << 19))
        kept[-1].write(b"x" * (1 << 19))
    time.sleep(0.01)
"""


def test_run_and_report_give_the_same(memwatch):
    """On a machine that is too busy to run the program smoothly, it may not seem to leak: then it
    does so in neither."""
    options = ("--leak-min-duration", "1s", "--fail-on-leak", "--json")
    path = memwatch.room / "r.jsonl"
    result = memwatch.run("run", "-i", "5", "-o", path, *options, "--", sys.executable, "-c", LEAKY)
    SCHEMA.validate(result.json)
    leaks = result.json["leaks"]
    assert result.code == (12 if leaks["found"] else 0)
    for leak in leaks["found"]:
        if leak["kind"] == "process":
            assert leak["argv"] == [sys.executable, "-c", LEAKY]
            assert leak["pid"] == result.json["processes"][0]["pid"]
    again = memwatch.run("report", *options, path)
    assert again.code == result.code
    assert again.json["leaks"] == leaks


# A run whose search finds that the job's total leaks, whatever was sampled.
FINDS = """
import sys
from memwatch import cli
from memwatch.analysis import leaks
found = leaks.Leak(None, 0, 10**9, 1 << 20, 2 << 20, 1.0)
leaks.LeakSearch.finish = lambda search: leaks.Leaks(0.5, 10**9, 0, True, (found,))
sys.argv[1:] = ["run", "--json", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize(
    ("option", "command", "code"),
    [("--fail-on-leak", "exit 0", 12), ("--fail-on-leak", "exit 3", 12), ("--leaks", "exit 3", 3)],
)
def test_exit_code_of_a_run_that_leaks(memwatch, option, command, code):
    program = [*memwatch.user.prefix, sys.executable, "-c", FINDS, option]
    result = memwatch.popen([*program, "--", "sh", "-c", command]).end()
    assert result.code == code
    (leak,) = result.json["leaks"]["found"]
    assert (leak["kind"], leak["growth_percent"]) == ("total", 100)


def test_exit_code_is_the_commands_if_nothing_leaks(memwatch):
    result = memwatch.run("run", "--fail-on-leak", "--", "sh", "-c", "exit 3")
    assert result.code == 3
    assert "Leak check: not possible" in result.text


def test_a_run_without_leaks_does_not_load_the_search(memwatch):
    code = (
        "import os, sys; from memwatch import cli; os._exit = lambda code: print("
        "*sorted(name for name in sys.modules if name.startswith('memwatch.')), sep='\\n'); "
        "sys.argv[1:] = ['run', '--quiet', *sys.argv[1:], '--', 'true']; cli.main()"
    )
    shown = {}
    for options in ((), ("--leaks",)):
        program = [*memwatch.user.prefix, sys.executable, "-c", code, *options]
        shown[options] = memwatch.popen(program).end().out.decode().split()
    mine = {
        "memwatch.analysis.leaks",
        "memwatch.analysis.trend",
        "memwatch.commands.shared.post_run",
    }
    assert not mine & set(shown[()])
    assert {"memwatch.analysis.leaks", "memwatch.analysis.trend"} <= set(shown[("--leaks",)])


def test_load_passes_on_all_batches(recording):
    batches: list[Batch] = []
    results = load(str(recording), observers=[batches.append])
    assert results.has_samples
    assert sum(len(batch.records) for batch in batches) == 403
