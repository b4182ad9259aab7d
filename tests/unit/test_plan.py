"""Plans: which processes are tasks, their memory and dependencies, and the replay of them."""

from __future__ import annotations

import io
import re
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.analysis.plan import MARGIN, Plan
from memwatch.analysis.plan_sizes import NotPlannedError, Sizes, size_of_job
from memwatch.analysis.steps import MOST_STEPS, Steps
from memwatch.analysis.task_waits import Wait
from memwatch.analysis.workload import NoTasks, Task, Workload, workload
from memwatch.model.filters import Filter, apply
from memwatch.model.metric import Metric
from memwatch.model.observations import TICK_DETAILED
from memwatch.reports.plan_report import Planned, lines
from memwatch.storage import profile_json_writer
from memwatch.storage.load import load
from memwatch.units import format_size
from support.scripted import ScriptedRecording

MS = 1_000_000
MIB = 1 << 20


def read(path: Path, worker: str | None = None) -> Workload:
    results = load(str(path), tracks=True)
    pattern = re.compile(worker) if worker is not None else None
    return workload(results.profile, Sizes(results.profile, results.tracks), pattern)


def peaks(work: Workload) -> list[int]:
    """Returns the peaks of the tasks in KiB."""
    return [task.peak >> 10 for task in work.tasks]


class Build:
    """A recorded job of processes that each hold one size all the time. Times are ms, sizes KiB."""

    def __init__(self, story: Callable[..., ScriptedRecording], name: str = "x.jsonl") -> None:
        self.story = story(name)
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._next = 1
        self.ends: dict[int, float] = {}

    def run(
        self, begin: float, end: float, size: int, *argv: str, parent: int = 1, sampled: bool = True
    ) -> int:
        serial = self._next
        self._next += 1
        recording = self.story

        def start() -> None:
            recording.start(serial, *argv, parent=parent if serial > 1 else None, at=begin)
            if sampled:
                recording.memory(serial, size, at=begin)

        def stop() -> None:
            recording.final(serial, size, at=end)
            recording.exit(serial, 0, by_event=True, at=end)

        self._later += [(begin, 1, start), (end, 0, stop)]
        self.ends[serial] = end
        return serial

    def at(self, time: float, add: Callable[[], object]) -> None:
        """Calls `add` when all observations before `time` have been added."""
        self._later.append((time, 1, add))

    def finish(self) -> Path:
        whole = max(self.ends.values())
        for time in range(int(whole)):
            self._later.append((time, 2, partial(self.story.tick, at=time)))
        for _, _, add in sorted(self._later, key=lambda each: each[:2]):
            add()
        return self.story.end(whole)


def make(build: Build, tasks: list[tuple[float, float, int]], until: float) -> None:
    build.run(0, until, 1000, "make")
    for begin, end, size in tasks:
        build.run(begin, end, size, "cc")


# The metric ---------------------------------------------------------------------------------------


def on_macos(story: Callable[..., ScriptedRecording]) -> Path:
    """Records workers whose footprint is twice their RSS, and three times between two samples."""
    script = story("mac.jsonl")
    script.start(1, "make", at=0)
    script.memory(1, 1000)
    script.footprint(1, 2000)
    for serial in (2, 3):
        script.start(serial, "cc", parent=1, at=10)
        script.memory(serial, 10_000, at=10)
        script.footprint(serial, 20_000, 20_000, at=10)
    script.footprints(at=11)
    script.tick(at=11)
    for serial in (2, 3):
        script.footprint(serial, 5_000, 30_000, at=20)
        script.exit(serial, 0, by_event=True, at=30)
    script.exit(1, 0, by_event=True, at=40)
    return script.end(40)


@pytest.mark.parametrize(
    ("metric", "expected", "job"),
    [
        (Metric.RSS, [10_000, 10_000], 21_000),
        (Metric.FOOTPRINT, [30_000, 30_000], 42_000),
        (None, [30_000, 30_000], 42_000),
    ],
)
def test_sizes_are_those_of_the_metric(story, metric, expected, job):
    results = load(str(on_macos(story)), tracks=True, footprints=True)
    profile = replace(results.profile, backend="darwin")
    sizes = Sizes(profile, results.tracks, results.footprints, metric)
    work = workload(profile, sizes)
    assert peaks(work) == expected
    # The time after the high-water mark is known from the samples.
    assert (
        work.tasks[0].memory.sizes[-2]
        == (5000 if sizes.metric is Metric.FOOTPRINT else 10_000) << 10
    )
    assert size_of_job(profile, sizes.metric) == job << 10
    forecast = Plan(work).forecast(2)
    planned = Planned(
        *("x.jsonl", profile, work, sizes, None, (forecast,), None, (False,), None, 1, 1)
    )
    text = "\n".join(lines(planned, width=200, bold=str, dim=str))
    assert f"Recorded: peak {sizes.metric} {format_size(job << 10)}, " in text
    assert f"  expected peak {sizes.metric}  " in text
    assert f"Peaks are sums of {'RSS' if sizes.metric is Metric.RSS else 'the footprints'}" in text


@pytest.mark.parametrize(
    ("metric", "backend", "why"),
    [
        (Metric.PSS, "linux", "the PSS of single processes is not measured: use --metric rss"),
        (Metric.PSS, "darwin", "the PSS of single processes is not measured: use --metric rss"),
        (Metric.FOOTPRINT, "linux", "of single processes is not in the file: record again"),
        (None, "darwin", "of single processes is not in the file: record again"),
    ],
)
def test_a_metric_that_processes_lack_is_refused(story, metric, backend, why):
    build = Build(story)
    make(build, [(0, 50, 100), (0, 50, 100)], 60)
    profile = replace(load(str(build.finish())).profile, backend=backend)
    with pytest.raises(NotPlannedError, match=why):
        Sizes(profile, None, metric=metric)


# Which processes are tasks ------------------------------------------------------------------------


def test_tasks_are_what_make_started(story):
    build = Build(story)
    build.run(0, 500, 500, "sh", "-c", "make")
    top = build.run(0, 500, 1000, "make", parent=1)
    for number in range(5):
        begin = 100 * number
        driver = build.run(begin, begin + 100, 2000, "cc", f"{number}.c", parent=top)
        build.run(begin + 10, begin + 80, 30_000, "cc1", parent=driver)
        build.run(begin + 80, begin + 95, 4000, "as", parent=driver)
    work = read(build.finish())
    assert work.supervisors == Counter({"make": 1})
    assert peaks(work) == [32_000] * 5
    assert (work.at_once, work.average) == (1, 1.0)
    assert [task.length for task in work.tasks] == [100 * MS] * 5
    assert work.rest.most(work.begin, work.end) == 1500 << 10


def test_nested_makes_are_supervisors_and_not_tasks(story):
    build = Build(story)
    top = build.run(0, 400, 1000, "make")
    for begin in (0, 200):
        shell = build.run(begin, begin + 200, 800, "sh", "-c", "make -C x", parent=top)
        sub = build.run(begin, begin + 200, 1000, "make", parent=shell)
        for number in range(4):
            build.run(begin + 50 * number, begin + 50 * number + 50, 20_000, "cc", parent=sub)
    work = read(build.finish())
    assert peaks(work) == [20_000] * 8
    assert work.supervisors == Counter({"make": 3})


def test_a_process_larger_than_those_it_starts_is_a_worker(story):
    build = Build(story)
    top = build.run(0, 400, 50_000, "python")
    for _ in range(3):
        worker = build.run(10, 390, 100_000, "python", "worker", parent=top)
        for number in range(4):
            build.run(20 + 80 * number, 90 + 80 * number, 5000, "git", parent=worker)
    work = read(build.finish())
    assert peaks(work) == [105_000] * 3
    assert work.side_by_side


def test_many_small_processes_are_not_the_widest_fan_out(story):
    build = Build(story)
    build.run(0, 1000, 500, "sh")
    configure = build.run(0, 400, 1000, "configure")
    for number in range(100):
        build.run(4 * number, 4 * number + 3, 500, "sed", parent=configure)
    top = build.run(400, 1000, 1000, "make")
    for number in range(6):
        build.run(400 + 100 * number, 500 + 100 * number, 30_000, "cc", parent=top)
    work = read(build.finish())
    assert peaks(work) == [30_000] * 6
    # The peak and the duration include what ran before the tasks.
    assert Plan(work).forecast(6).duration == 500 * MS
    assert work.rest_alone == 2000 << 10


def test_workers_chosen_by_their_command_lines(story):
    build = Build(story)
    make(build, [(0, 100, 2000), (100, 200, 2000)], 300)
    driver = build.run(200, 300, 2000, "cc", "-flto")
    build.run(210, 240, 9000, "lto1", "--first", parent=driver)
    build.run(240, 290, 8000, "lto1", "--second", parent=driver)
    path = build.finish()
    assert peaks(read(path, "lto1")) == [9000, 8000]
    assert peaks(read(path, "--second")) == [8000]
    assert peaks(read(path, "^cc")) == [2000, 2000, 11_000]
    # The job's first process is never a worker.
    with pytest.raises(NoTasks, match="'make'"):
        read(path, "make")
    with pytest.raises(NoTasks, match="--top all"):
        read(path, "nowhere")


def test_a_job_without_a_fan_out(story):
    build = Build(story)
    build.run(0, 100, 500, "sh")
    build.run(10, 90, 900, "sleep", "1")
    path = build.finish()
    with pytest.raises(NoTasks, match="--worker"):
        read(path)
    # One worker is enough where it is named.
    work = read(path, "sleep")
    assert work.side_by_side
    assert Plan(work).forecast(3).peak == (500 + 3 * 900) << 10


# What a match stands for --------------------------------------------------------------------------


def compile_one(build: Build, make: int, begin: float, size: int, *, before: float = 40) -> None:
    """Adds a recipe of 100 ms: a shell that runs something for a while, then gcc and its cc1."""
    shell = build.run(begin, begin + 100, 700, "sh", "libtool", parent=make)
    build.run(begin + 5, begin + before - 5, 600, "sed", parent=shell)
    driver = build.run(begin + before, begin + 100, 900, "gcc", "-c", parent=shell)
    build.run(begin + before + 5, begin + 80, size, "cc1", parent=driver)
    build.run(begin + 81, begin + 95, 500, "as", parent=driver)


def test_a_match_stands_for_all_that_make_started_to_run_it(story):
    """The shell before a compiler takes up a slot, which is not free for another compiler."""
    build = Build(story)
    top = build.run(0, 500, 1000, "make")
    for number in range(10):
        compile_one(build, top, 100 * (number // 2), 20_000)
    work = read(build.finish(), "cc1")
    assert peaks(work) == [21_600] * 10
    assert work.supervisors == Counter({"make": 1})
    assert [task.length for task in work.tasks] == [100 * MS] * 10
    assert (work.at_once, work.average) == (2, 2.0)
    assert not work.waits
    assert Plan(work).forecast(10).peak == (1000 + 10 * 21_600) << 10


def test_a_match_in_a_serial_recording_stands_for_as_much(story):
    build = Build(story)
    top = build.run(0, 500, 1000, "make")
    for number in range(5):
        compile_one(build, top, 100 * number, 20_000)
    work = read(build.finish(), "cc1")
    assert work.serial
    assert peaks(work) == [21_600] * 5
    assert Plan(work).forecast(5).peak == (1000 + 5 * 21_600) << 10


def test_a_compiler_with_two_files_is_one_task(story):
    """Its own children run one after the other, so it is no supervisor."""
    for at_once in (1, 2):
        build = Build(story, f"{at_once}.jsonl")
        top = build.run(0, 600, 1000, "make")
        for number in range(6):
            begin = 100 * (number // at_once)
            driver = build.run(begin, begin + 100, 900, "gcc", "a.c", "b.c", parent=top)
            build.run(begin + 5, begin + 40, 8000, "cc1", "a.c", parent=driver)
            build.run(begin + 60, begin + 95, 9000, "cc1", "b.c", parent=driver)
        work = read(build.finish(), "cc1")
        assert peaks(work) == [9900] * 6, at_once
        assert work.supervisors == Counter({"make": 1})


def test_a_make_below_a_make_is_a_supervisor(story):
    """Even one that ran its tasks one after the other, if another did not."""
    build = Build(story)
    top = build.run(0, 400, 1000, "make")
    first = build.run(0, 200, 1000, "make", "-C", "a", parent=top)
    second = build.run(200, 400, 1000, "make", "-C", "b", parent=top)
    for number in range(4):
        compile_one(build, first, 100 * (number // 2), 5000)
    for number in range(2):
        compile_one(build, second, 200 + 100 * number, 6000)
    work = read(build.finish(), "cc1")
    assert peaks(work) == [6600] * 4 + [7600] * 2
    assert work.supervisors == Counter({"make": 2})


def test_a_match_beside_a_supervisor_stays_below_what_is_above_both(story):
    """A recipe that compiles, and then runs a make of its own."""
    build = Build(story)
    top = build.run(0, 300, 1000, "make")
    shell = build.run(0, 300, 700, "sh", "-c", "cc1; make", parent=top)
    build.run(0, 90, 4000, "cc1", parent=shell)
    inner = build.run(100, 300, 1000, "make", "-C", "sub", parent=shell)
    for number in range(4):
        compile_one(build, inner, 100 + 100 * (number // 2), 5000)
    work = read(build.finish(), "^cc1")
    assert peaks(work) == [4000] + [6600] * 4


def test_other_tasks_of_the_supervisor_take_up_slots(story):
    """A compiler that starts when another program has ended waited for a slot, not for a task."""
    build = Build(story)
    top = build.run(0, 600, 1000, "make")
    for number in range(6):
        compile_one(build, top, 100 * number, 20_000)
        # The other slot: a generator of 60 ms, and a compiler of 100 ms.
        if number % 2 == 0:
            build.run(100 * number, 100 * number + 100, 3000, "python", "gen", parent=top)
        else:
            compile_one(build, top, 100 * number, 20_000)
    work = read(build.finish(), "cc1")
    assert len(work.tasks) == 9
    assert not work.waits
    # It may still be the other programs that a compiler waited for, but not without a free slot.
    assert Plan(work).forecast(9).peak >= (1000 + 9 * 21_600) << 10


def test_a_match_without_a_supervisor_stays_as_it_is(story):
    build = Build(story)
    build.run(0, 100, 500, "sh")
    driver = build.run(10, 90, 900, "gcc")
    build.run(20, 80, 7000, "cc1", parent=driver)
    work = read(build.finish(), "cc1")
    assert peaks(work) == [7000]
    assert not work.supervisors
    assert work.side_by_side


# Memory of tasks ----------------------------------------------------------------------------------


def test_a_process_in_no_sample_counts_with_its_peak_all_the_time(story):
    build = Build(story)
    build.run(0, 40, 1000, "make")
    for begin in (0, 10, 20, 30):
        build.run(begin, begin + 8, 5000, "cc", sampled=False)
    work = read(build.finish())
    assert [list(task.memory.times) for task in work.tasks] == [[0, 8 * MS]] * 4
    assert [list(task.memory.sizes) for task in work.tasks] == [[5000 << 10, 0]] * 4
    assert work.unknown == 0


@pytest.mark.parametrize("executes", [True, False])
def test_memory_between_fork_and_exec_is_the_parents(story, executes):
    recording = story("x.jsonl")
    recording.start(1, "python", at=0)
    recording.memory(1, 900_000)
    for serial, begin in ((2, 10), (3, 60)):
        recording.start(serial, parent=1, at=begin).execute(serial, "python", inherited=True)
        recording.memory(serial, 900_000, at=begin)
        if executes:
            recording.execute(serial, "cc", at=begin + 5)
        recording.memory(serial, 1000, at=begin + 5)
        recording.memory(serial, 3000, at=begin + 20)
        recording.exit(serial, 0, by_event=True, at=begin + 40)
    recording.tick(at=110)
    recording.exit(1, 0, by_event=True, at=120)
    # Without an exec, RSS counts it as memory of the worker.
    assert peaks(read(recording.end(120))) == [3000 if executes else 900_000] * 2


def test_the_highest_sample_is_raised_to_the_peak(story):
    recording = story("x.jsonl")
    recording.start(1, "make", at=0)
    for serial in (2, 3):
        recording.start(serial, "cc", parent=1, at=0)
        for at, size in ((2, 100), (10, 700), (20, 500)):
            recording.memory(serial, size, at=at)
        recording.final(serial, 900, at=30)
        recording.exit(serial, 0, by_event=True)
    recording.tick(at=30)
    recording.exit(1, 0, by_event=True)
    first, _ = read(recording.end(30)).tasks
    assert [time // MS for time in first.memory.times] == [0, 10, 20, 30]
    assert [size >> 10 for size in first.memory.sizes] == [100, 900, 500, 0]


def test_a_daemon_that_outlives_its_task_is_not_part_of_it(story):
    """The daemon runs to the end of the job, such as a compiler cache's server."""
    build = Build(story)
    build.run(0, 200, 1000, "make")
    first = build.run(0, 100, 2000, "cc")
    build.run(100, 200, 2000, "cc")
    recording = build.story
    build.at(5, lambda: recording.start(50, "server", parent=first, at=5))
    build.at(6, lambda: recording.memory(50, 7000, at=6))
    work = read(build.finish())
    assert peaks(work) == [2000, 2000]
    assert work.rest.most(work.begin, work.end) == 8000 << 10


def test_tasks_that_had_not_ended(story):
    build = Build(story)
    make(build, [(0, 50, 900), (50, 100, 900)], 100)
    recording = build.story
    build.at(60, lambda: recording.start(50, "cc", parent=1, at=60))
    work = read(build.finish())
    assert work.unended == 1
    assert work.unknown == 1
    assert work.tasks[-1].length == 40 * MS


def test_json_without_samples(story):
    build = Build(story)
    make(build, [(100 * n, 100 * n + 100, 5000 + n) for n in range(4)], 400)
    path = build.finish()
    profile = load(str(path)).profile
    out = io.StringIO()
    profile_json_writer.write(profile, apply(profile.processes, Filter()), out)
    as_json = path.with_suffix(".json")
    as_json.write_text(out.getvalue())
    work = read(as_json)
    assert not work.sampled
    assert peaks(work) == [5000, 5001, 5002, 5003]
    assert Plan(work).forecast(1).peak == Plan(read(path)).forecast(1).peak


def test_long_series_are_thinned_to_their_highest(story):
    recording = story("x.jsonl")
    recording.start(1, "make", at=0)
    for serial in (2, 3):
        recording.start(serial, "cc", parent=1, at=0)
        for at in range(2000):
            recording.memory(serial, 1000 + at * 37 % 1000, at=at)
        recording.exit(serial, 0, by_event=True, at=2000)
    recording.tick(at=2000)
    recording.exit(1, 0, by_event=True)
    task, _ = read(recording.end(2000)).tasks
    assert len(task.memory.times) <= MOST_STEPS + 1
    assert task.memory.sizes[-1] == 0
    assert task.peak == max(task.memory.sizes) == (1000 + 999) << 10


def test_steps_between_two_times():
    steps = Steps(array("q", [10, 20, 30]), array("q", [5, 9, 0]))
    assert steps.most(0, 10) == 0
    assert steps.most(0, 11) == 5
    assert steps.most(10, 20) == 5
    assert steps.most(15, 21) == 9
    assert steps.most(25, 99) == 9
    assert steps.most(30, 99) == 0
    assert Steps(array("q"), array("q")).most(0, 9) == 0


# Dependencies -------------------------------------------------------------------------------------


def test_a_link_waits_for_all_objects(story):
    build = Build(story)
    make(build, [(0, 100, 900), (0, 150, 900), (100, 200, 900), (200, 300, 5000)], 300)
    work = read(build.finish())
    assert list(work.waits) == [3]
    assert work.waits[3] == Wait(frozenset(), 0, after_begin=False)
    plan = Plan(work)
    assert plan.forecast(3).peak == (1000 + 5000) << 10
    assert plan.forecast(3).duration == 250 * MS


def test_a_wait_for_one_while_another_goes_on(story):
    build = Build(story)
    make(
        build,
        [(0, 1000, 900), (0, 100, 900), (0, 400, 900), (400, 500, 900), (400, 600, 900)],
        1000,
    )
    work = read(build.finish())
    assert work.at_once == 3
    assert work.waits == {3: Wait(frozenset({0}), 0, after_begin=False)}
    assert Plan(work).forecast(5).duration == 1000 * MS


def test_equal_tasks_in_waves_do_not_wait(story):
    """Both slots become free at the same time, which is no dependency."""
    build = Build(story)
    tasks = [(100 * (n // 2) + n % 2, 100 * (n // 2) + 100, 900) for n in range(10)]
    make(build, tasks, 500)
    work = read(build.finish())
    assert work.at_once == 2
    assert work.waits == {}
    assert Plan(work).forecast(5).duration < 250 * MS


def test_pauses_of_the_supervisor_are_waits(story):
    build = Build(story)
    make(build, [(300 * n, 300 * n + 100, 900) for n in range(4)], 1000)
    work = read(build.finish())
    assert work.at_once == 1
    assert set(work.waits) == {1, 2, 3}
    # The supervisor starts a task every 200 ms, however many slots there are.
    assert Plan(work).forecast(4).duration == 700 * MS


def test_the_time_from_one_task_to_the_next(story):
    build = Build(story)
    make(build, [(53 * n, 53 * n + 50, 900) for n in range(5)], 53 * 5)
    work = read(build.finish())
    assert work.delay == 3 * MS
    assert not work.waits
    assert Plan(work).forecast(1).duration == 53 * 5 * MS


@pytest.mark.parametrize("slots", [1, 2, 3, 4])
def test_a_replay_with_the_recorded_slots_matches_the_recording(story, slots):
    """Tasks of many lengths and sizes, started as make would."""
    free, tasks = [0.0] * slots, []
    for number in range(24):
        begin = min(free)
        end = begin + 40 + number * 29 % 83
        free[free.index(begin)] = end
        tasks.append((begin, end, 1000 + number * 7919 % 5000))
    build = Build(story)
    make(build, tasks, max(free))
    path = build.finish()
    work = read(path)
    profile = load(str(path)).profile
    assert work.at_once == slots
    assert Plan(work).forecast(slots).peak == profile.max_total_rss
    assert Plan(work).forecast(slots).duration == profile.end - profile.start


# Replays, compared with the simplest computation --------------------------------------------------

sizes = st.integers(0, 50).map(lambda size: size * MIB)


# Each example is some hundreds of replays.
replays = settings(deadline=None, max_examples=40)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    length = draw(st.integers(1, 60))
    times = sorted(draw(st.sets(st.integers(0, length - 1), min_size=1, max_size=5)))
    values = [draw(sizes) for _ in times]
    memory = Steps(array("q", [*times, length]), array("q", [*values, 0]))
    return Task(draw(st.integers(0, 100)), length, memory, max(values))


def workload_of(chosen: list[Task], rest: int = 0, **other: object) -> Workload:
    chosen = sorted(chosen)
    end = max(task.begin + task.length for task in chosen)
    known = {
        "tasks": tuple(chosen),
        "supervisors": Counter(make=1),
        "at_once": 1,
        "average": 1.0,
        "side_by_side": False,
        "waits": {},
        "delay": 0,
        "rest": Steps(array("q", [0, end]), array("q", [rest, 0])),
        "rest_alone": rest,
        "begin": chosen[0].begin,
        "end": end,
        "unknown": 0,
        "unended": 0,
        "sampled": True,
    }
    return Workload(**(known | other))


def held(placed: list[tuple[int, Task]]) -> int:
    """Returns the highest sum, computed at each time at which a size changes."""
    moments = {start + time for start, task in placed for time in task.memory.times}
    return max(
        sum(task.memory.most(at - start, at - start + 1) for start, task in placed)
        for at in moments
    )


def in_slots(chosen: list[Task], slots: int) -> list[tuple[int, Task]]:
    free = [0] * slots
    placed = []
    for task in chosen:
        slot = free.index(min(free))
        placed.append((free[slot], task))
        free[slot] += task.length
    return placed


@replays
@given(st.lists(tasks(), min_size=1, max_size=12), st.integers(1, 6), sizes)
def test_a_replay_agrees_with_the_simplest_computation(chosen, slots, rest):
    work = workload_of(chosen, rest)
    forecast = Plan(work).forecast(slots)
    placed = in_slots(list(work.tasks), slots)
    assert forecast.peak == held(placed) + rest
    assert forecast.duration == max(start + task.length for start, task in placed)
    assert forecast.low <= forecast.peak <= forecast.high
    largest = sorted((task.peak for task in chosen), reverse=True)[:slots]
    assert forecast.high <= sum(largest) + rest


@replays
@given(st.lists(tasks(), min_size=1, max_size=6), st.integers(1, 9), sizes)
def test_workers_side_by_side_are_as_recorded(chosen, number, rest):
    work = workload_of(chosen, rest, side_by_side=True)
    forecast = Plan(work).forecast(number)
    workers = [work.tasks[each % len(work.tasks)] for each in range(number)]
    assert forecast.peak == max(held([(task.begin, task) for task in workers]) + rest, rest)
    assert forecast.duration is None


@replays
@given(st.lists(tasks(), min_size=1, max_size=10), st.integers(1, 700))
def test_the_most_that_fits(chosen, size):
    plan = Plan(workload_of(chosen))
    memory = size * MIB
    most = plan.most_that_fit(memory)
    assert 0 <= most <= len(chosen)
    if most:
        assert plan.forecast(most).high <= (1 - MARGIN) * memory
    if most < len(chosen):
        assert plan.forecast(most + 1).high > (1 - MARGIN) * memory


# CPU time -----------------------------------------------------------------------------------------


def test_a_duration_is_not_below_what_the_cpus_need(story):
    """A hundred ms before the tasks, then four tasks of 100 ms, each with 80 ms of CPU time."""
    build = Build(story)
    top = build.run(0, 500, 1000, "make")
    for number in range(4):
        task = build.run(100 + 100 * number, 200 + 100 * number, 900, "cc", parent=top)
        build.at(100 + 100 * number + 50, partial(build.story.cpu, task, 60, 20))
    work = read(build.finish())
    assert [task.cpu for task in work.tasks] == [80 * MS] * 4
    assert work.cpu == 320 * MS
    for cpus, jobs, duration, cpu_bound in (
        (2, 1, 500, False),
        (2, 4, 100 + 320 / 2, True),
        (3, 2, 300, False),
        (8, 4, 200, False),
        (None, 4, 200, False),
    ):
        forecast = Plan(work, cpus).forecast(jobs)
        assert forecast.duration == pytest.approx(duration * MS, abs=1)
        assert forecast.cpu_bound == cpu_bound


def test_cpu_time_is_unknown_unless_some_is_known(story):
    build = Build(story)
    make(build, [(0, 100, 900), (100, 200, 900)], 200)
    work = read(build.finish())
    assert work.cpu is None
    assert [task.cpu for task in work.tasks] == [None, None]


def test_cpu_time_outside_the_tasks_counts():
    tasks = [Task(n, 10, Steps(array("q", [0, 10]), array("q", [MIB, 0])), MIB, 0) for n in (0, 1)]
    forecast = Plan(workload_of(tasks, cpu=90), 2).forecast(2)
    assert (forecast.duration, forecast.cpu_bound) == (45, True)


def test_a_plan_is_the_same_each_time():
    chosen = [
        Task(n, 10 + n, Steps(array("q", [0, 10 + n]), array("q", [n * MIB, 0])), n * MIB)
        for n in range(1, 30)
    ]
    assert Plan(workload_of(chosen)).forecast(4) == Plan(workload_of(chosen)).forecast(4)


def test_random_orders_keep_dependencies():
    """The last task runs alone, however the first three are shuffled."""
    chosen = [
        Task(n, 10 + n, Steps(array("q", [0, 10 + n]), array("q", [MIB, 0])), MIB) for n in range(3)
    ]
    memory = Steps(array("q", [0, 9]), array("q", [5 * MIB, 0]))
    waits = {3: Wait(frozenset(), 0, after_begin=False)}
    work = workload_of([*chosen, Task(50, 9, memory, 5 * MIB)], at_once=2, waits=waits)
    forecast = Plan(work).forecast(4)
    assert (forecast.low, forecast.peak, forecast.high) == (5 * MIB,) * 3
    assert forecast.duration == 12 + 9


def test_the_rest_alone_can_be_the_peak():
    task = Task(5, 9, Steps(array("q", [0, 9]), array("q", [MIB, 0])), MIB)
    work = workload_of([task], rest_alone=99 * MIB)
    assert Plan(work).forecast(3).peak == 99 * MIB


def pool(*peaks: int, **other: object) -> Workload:
    """Returns workers that run side by side and hold these peaks (MiB) all the time."""
    chosen = [
        Task(0, 9, Steps(array("q", [0, 9]), array("q", [peak * MIB, 0])), peak * MIB)
        for peak in peaks
    ]
    return workload_of(chosen, side_by_side=True, **other)


def test_the_largest_worker_may_be_drawn_twice():
    """More workers than recorded are drawn with repeats, and all of them have to fit."""
    plan = Plan(pool(10, 1, 1, 1))
    high = plan.forecast(8).high
    assert high > (10 + 10 + 6) * MIB
    allowed = 30 * MIB
    assert high > (1 - MARGIN) * allowed
    assert not plan.fits(8, allowed)
    assert plan.forecast(plan.most_that_fit(allowed)).high <= (1 - MARGIN) * allowed


def test_workers_that_fit_whatever_is_drawn_are_not_replayed(monkeypatch):
    plan = Plan(pool(10, 1, 1, 1))
    monkeypatch.setattr(plan, "_forecast", lambda jobs: pytest.fail("replayed"))
    assert plan.fits(8, 100 * MIB)


def test_copies_of_a_worker_are_replayed_as_one(monkeypatch):
    """Thousands of copies therefore take no longer."""
    work = pool(3, 2, 1)
    plan = Plan(work)
    highest, replayed = plan._highest, []

    def counted(times, changes):
        replayed.append(len(times))
        return highest(times, changes)

    monkeypatch.setattr(plan, "_highest", counted)
    assert plan.forecast(3000).peak == 6000 * MIB
    assert max(replayed) == len(work.rest.times) + 3 * 2


def test_a_worker_without_memory_and_no_rest():
    nothing = Steps(array("q"), array("q"))
    task = Task(0, 9, nothing, 0)
    work = replace(workload_of([task], rest_alone=5 * MIB, side_by_side=True), rest=nothing)
    assert Plan(work).forecast(1).peak == 5 * MIB


# The footprint on Linux ---------------------------------------------------------------------------


M = 1024
"""The KiB of one MiB."""


def pool_on_linux(story: Callable[..., ScriptedRecording]) -> Path:
    """Records a pool: 200 MiB that its 4 workers inherit, 50 MiB that each has alone, 100 MiB of
    shared memory, 10 MiB of files."""
    script = story("pool.jsonl")
    script.start(1, "python3", at=0).memory(1, 310 * M, shared=110 * M, at=0).parts(1, 100 * M)
    script.tick(flags=TICK_DETAILED, at=0)
    workers = range(2, 6)
    for serial in workers:
        script.start(serial, parent=1, at=10).execute(serial, "python3", inherited=True, at=10)
        script.memory(serial, 310 * M, shared=110 * M, at=11).parts(serial, 100 * M)
        script.faults(serial, 0)
    script.tick(flags=TICK_DETAILED, at=11)
    for serial in workers:
        script.memory(serial, 360 * M, shared=110 * M, at=20).faults(serial, 50 * M)
    script.tick(flags=TICK_DETAILED, at=20)
    for serial in workers:
        script.final(serial, 360 * M).exit(serial, 0, by_event=True, at=30)
    script.memory(1, 310 * M, shared=110 * M, at=30).tick(flags=TICK_DETAILED, at=30)
    script.exit(1, 0, by_event=True, at=40)
    return script.end(40)


def test_what_forked_workers_share_counts_once(story):
    results = load(str(pool_on_linux(story)), tracks=True, footprints=True)
    sizes = Sizes(results.profile, results.tracks, results.footprints, Metric.FOOTPRINT)
    work = workload(results.profile, sizes)
    assert [task.peak for task in work.tasks] == [50 * MIB] * 4
    assert sizes.shared == 100 * MIB
    assert max(work.rest.sizes) == work.rest_alone == 300 * MIB
    assert results.profile.total_footprint.size == 500 * MIB
    plan = Plan(work)
    assert [plan.forecast(jobs).peak for jobs in (1, 4, 8)] == [350 * MIB, 500 * MIB, 700 * MIB]


def test_a_process_without_samples_counts_with_its_peak(story):
    script = story("make.jsonl")
    script.start(1, "make", at=0).memory(1, 3 * M, shared=2 * M, at=0).tick(
        flags=TICK_DETAILED, at=0
    )
    for serial in (2, 3):
        script.start(serial, "cc", parent=1, at=1).final(serial, 40 * M, at=2)
        script.exit(serial, 0, by_event=True, at=2)
    script.start(4, "cc", parent=1, at=3).memory(4, 60 * M, shared=20 * M, at=4)
    script.tick(flags=TICK_DETAILED, at=4).final(4, 70 * M, at=5).exit(4, 0, by_event=True, at=5)
    script.exit(1, 0, by_event=True, at=6)
    results = load(str(script.end(6)), tracks=True, footprints=True)
    sizes = Sizes(results.profile, results.tracks, results.footprints, Metric.FOOTPRINT)
    work = workload(results.profile, sizes)
    assert [task.peak for task in work.tasks] == [40 * MIB, 40 * MIB, 50 * MIB]
