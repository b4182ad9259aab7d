"""Job: scripted observations with a known answer, and random jobs against a naive recount."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.job import Job
from memwatch.observations import (
    EXITED,
    HAS_ARGV,
    HAS_PARENT,
    HAS_RSS,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    INHERITED,
    MEMORY,
    SAME_IMAGE,
    STARTED,
    TICK,
    TICK_EXTRA,
    TICK_LATE,
    TICK_PARTIAL,
    Batch,
    Observation,
)
from memwatch.processes import SAMPLED, UNKNOWN, WATERMARK, Peak, Process


class Script:
    """Observations as a sampler would make them, to be cut into batches at will."""

    def __init__(self) -> None:
        self.facts: list[tuple[Observation, bytes]] = []
        self.pids: dict[int, int] = {}

    def _add(
        self,
        time: int,
        serial: int,
        kind: int,
        *,
        value: int = 0,
        second: int = 0,
        valid: int = 0,
        ppid: int = 0,
        text: bytes = b"",
    ) -> Script:
        pid = self.pids.get(serial, 0)
        self.facts.append(((time, serial, value, second, kind, valid, pid, ppid), text))
        return self

    def started(
        self,
        time: int,
        serial: int,
        *,
        pid: int | None = None,
        ppid: int = 1,
        parent: int | None = None,
        start: int | None = None,
    ) -> Script:
        self.pids[serial] = 100 + serial if pid is None else pid
        valid = (HAS_PARENT if parent else 0) | (0 if start is None else HAS_START)
        return self._add(
            time,
            serial,
            STARTED,
            value=parent or 0,
            second=start or 0,
            valid=valid,
            ppid=ppid,
        )

    def image(
        self,
        time: int,
        serial: int,
        name: str,
        *argv: str,
        inherited: bool = False,
        same: bool = False,
    ) -> Script:
        text = b"".join(word.encode() + b"\0" for word in (name, "", *argv))
        valid = (INHERITED if inherited else 0) | (SAME_IMAGE if same else 0)
        return self._add(time, serial, IMAGE, valid=valid | (HAS_ARGV if argv else 0), text=text)

    def memory(self, time: int, serial: int, rss: int, watermark: int | None = None) -> Script:
        valid = HAS_RSS | (0 if watermark is None else HAS_WATERMARK)
        return self._add(time, serial, MEMORY, value=rss, second=watermark or 0, valid=valid)

    def exited(self, time: int, serial: int, status: int | None = None) -> Script:
        valid = 0 if status is None else HAS_STATUS
        return self._add(time, serial, EXITED, value=status or 0, valid=valid)

    def tick(
        self, time: int, total: int = 0, count: int = 0, *, skipped: int = 0, flags: int = 0
    ) -> Script:
        return self._add(time, skipped, TICK, value=total, second=count, valid=HAS_RSS | flags)

    def batches(self, cuts: Sequence[int] = ()) -> list[Batch]:
        """The same facts in several batches, each with the text of its own images."""
        edges = [0, *sorted(cuts), len(self.facts)]
        return [self._batch(edges[i], edges[i + 1]) for i in range(len(edges) - 1)]

    def _batch(self, begin: int, end: int) -> Batch:
        records, text = [], b""
        for record, own in self.facts[begin:end]:
            time, serial, value, second, kind, valid, pid, ppid = record
            if own:
                value, second = len(text), len(own)
                text += own
            records.append((time, serial, value, second, kind, valid, pid, ppid))
        return Batch(records, text)

    def job(self, cuts: Sequence[int] = (), *, finish: bool = True) -> Job:
        job = Job(timeline=True)
        for batch in self.batches(cuts):
            job.apply(batch)
        if finish:
            job.finish()
        return job


def outcome(job: Job) -> dict[str, Any]:
    """All that a finished job tells."""
    assert job.timeline is not None
    return {
        "processes": list(job.processes),
        "groups": job.groups(),
        "at_peak": job.at_peak(),
        "max_total": (job.max_total, job.max_total_time, job.max_total_processes),
        "partial": job.partial,
        "root_status": job.root_status,
        "timeline": [list(each) for each in job.timeline],
        "ticks": (job.ticks.count, job.ticks.late, job.ticks.skipped, job.ticks.achieved),
    }


def processes(job: Job) -> dict[int, Process]:
    return {process.serial: process for process in job.processes}


def groups(job: Job) -> dict[str, tuple[int, int, int]]:
    """Of each group: processes, peak at one time, sum of peaks."""
    return {each.name: (each.processes, each.peak_rss, each.sum_of_peaks) for each in job.groups()}


# One process


def test_one_process() -> None:
    script = Script().started(10, 1, pid=70, ppid=7, start=9).image(10, 1, "cc", "cc", "-c", "x.c")
    script.memory(10, 1, 500).tick(10, 500, 1)
    script.memory(20, 1, 900, 950).tick(20, 900, 1)
    script.memory(30, 1, 400).tick(30, 400, 1)
    script.exited(40, 1, 3 << 8).tick(40)
    job = script.job()
    (process,) = job.processes
    assert process.pid == 70
    assert process.ppid == 7
    assert process.parent is None
    assert process.start == 9
    assert (process.first_seen, process.last_seen) == (10, 30)
    assert process.peak == Peak(950, 20, WATERMARK)
    assert process.argv == ("cc", "-c", "x.c")
    assert process.exit_status == job.root_status == 3 << 8
    assert not process.alive
    assert (job.max_total, job.max_total_time, job.max_total_processes) == (900, 20, 1)
    assert groups(job) == {"cc": (1, 900, 950)}


def test_the_first_of_equal_totals_is_the_peak() -> None:
    script = Script().started(1, 1).image(1, 1, "a").memory(1, 1, 5).tick(1, 5, 1)
    script.tick(2, 5, 1).tick(3, 5, 1)
    job = script.job()
    assert job.max_total_time == 1
    assert next(iter(job.groups())).peak_time == 1


@pytest.mark.parametrize(
    ("facts", "peak"),
    [
        ([(1, 100, None)], Peak(100, 1, SAMPLED)),
        ([(1, 100, 100)], Peak(100, 1, WATERMARK)),
        ([(1, 100, 120)], Peak(120, 1, WATERMARK)),
        # The mark confirms a sample: known better, and since then.
        ([(1, 100, None), (2, 50, 100)], Peak(100, 1, WATERMARK)),
        # A mark lower than what was sampled (Linux 6.2 to 6.16 counted loosely).
        ([(1, 100, 90)], Peak(100, 1, SAMPLED)),
        ([(1, 100, 120), (2, 130, None)], Peak(130, 2, SAMPLED)),
        ([(1, 100, 120), (2, 120, None)], Peak(120, 1, WATERMARK)),
        # No memory any more, on its way out: nothing was seen of it.
        ([(1, 0, None)], Peak(0, 0, UNKNOWN)),
        ([], Peak(0, 0, UNKNOWN)),
    ],
)
def test_where_a_peak_comes_from(facts: list[tuple[int, int, int | None]], peak: Peak) -> None:
    script = Script().started(1, 1).image(1, 1, "a")
    for time, rss, watermark in facts:
        script.memory(time, 1, rss, watermark).tick(time, rss, 1)
    (process,) = script.job().processes
    assert process.peak == peak


def test_unreadable_memory_is_unknown_and_not_zero() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10)
    script.started(1, 2, parent=1).tick(1, 10, 2, flags=TICK_PARTIAL)
    job = script.job()
    process = processes(job)[2]
    assert process.peak.source == UNKNOWN
    assert process.command == "?"
    assert process.argv is None
    assert job.partial
    assert [holder.serial for holder in job.at_peak()] == [1]
    assert groups(job) == {"sh": (1, 10, 10), "?": (1, 0, 0)}


def test_seen_only_in_the_tick_in_which_it_ended() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10).tick(1, 10, 1)
    script.started(2, 2, parent=1).image(2, 2, "ls").memory(2, 2, 7).exited(2, 2)
    script.tick(2, 10, 1)
    job = script.job()
    process = processes(job)[2]
    assert (process.first_seen, process.last_seen) == (2, 2)
    assert process.peak == Peak(7, 2, SAMPLED)
    assert job.max_total == 10
    assert groups(job)["ls"] == (1, 0, 7)


def test_alive_at_the_end() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10)
    script.started(1, 2, parent=1).image(1, 2, "daemon").memory(1, 2, 20).tick(1, 30, 2)
    script.exited(5, 1, 0).tick(5, 20, 1)
    job = script.job()
    daemon = processes(job)[2]
    assert daemon.alive
    assert daemon.last_seen == 5
    assert daemon.exit_status is None
    assert not processes(job)[1].alive
    assert groups(job)["daemon"] == (1, 20, 20)


def test_nothing_at_all() -> None:
    job = Script().tick(1).job()
    assert list(job.processes) == []
    assert job.groups() == ()
    assert job.at_peak() == ()
    assert job.max_total == 0
    assert job.root_status is None


# Identity and ancestry


def test_a_pid_used_again_is_another_process() -> None:
    script = Script().started(1, 1).image(1, 1, "make").memory(1, 1, 1).tick(1, 1, 1)
    script.started(2, 2, pid=500, parent=1, start=2).image(2, 2, "cc").memory(2, 2, 70)
    script.tick(2, 71, 2)
    script.exited(3, 2).started(3, 3, pid=500, parent=1, start=3).image(3, 3, "ld")
    script.memory(3, 3, 90).tick(3, 91, 2)
    both = [process for process in script.job().processes if process.pid == 500]
    assert [(each.serial, each.command, each.peak.rss) for each in both] == [
        (2, "cc", 70),
        (3, "ld", 90),
    ]


def test_the_parent_stays_the_one_that_started_it() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 1)
    script.started(1, 2, parent=1, ppid=101).image(1, 2, "mid").memory(1, 2, 1)
    script.started(1, 3, parent=2, ppid=102).image(1, 3, "leaf").memory(1, 3, 1).tick(1, 3, 3)
    script.exited(2, 2).tick(2, 2, 2)
    leaf = processes(script.job())[3]
    assert leaf.parent == 2
    assert leaf.ppid == 102


def test_an_orphan_of_someone_never_seen_has_no_parent() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 1)
    script.started(1, 2, ppid=50).image(1, 2, "orphan").memory(1, 2, 1).tick(1, 2, 2)
    orphan = processes(script.job())[2]
    assert orphan.parent is None
    assert orphan.ppid == 50


# Programs


def test_a_chain_of_execs_is_one_process_with_a_peak_for_each_program() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10, 15).tick(1, 10, 1)
    script.image(2, 1, "env").memory(2, 1, 5).tick(2, 5, 1)
    script.image(3, 1, "python").memory(3, 1, 80).tick(3, 80, 1)
    script.memory(4, 1, 60).tick(4, 60, 1)
    job = script.job()
    (process,) = job.processes
    assert [(each.text.name, each.since, each.peak) for each in process.images] == [
        ("sh", 1, Peak(15, 1, WATERMARK)),
        ("env", 2, Peak(5, 2, SAMPLED)),
        ("python", 3, Peak(80, 3, SAMPLED)),
    ]
    assert process.command == "python"
    assert groups(job) == {"sh": (1, 10, 15), "env": (1, 5, 5), "python": (1, 80, 80)}


def test_the_peak_may_lie_under_an_earlier_program() -> None:
    script = Script().started(1, 1).image(1, 1, "python").memory(1, 1, 80).tick(1, 80, 1)
    script.image(2, 1, "true").memory(2, 1, 1).tick(2, 1, 1)
    (process,) = script.job().processes
    assert process.command == "true"
    assert process.peak_image.text.name == "python"
    assert process.peak.rss == 80


def test_more_known_of_an_image_is_no_new_image() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10).tick(1, 10, 1)
    script.image(2, 1, "sh", "sh", "-c", "x", same=True).memory(2, 1, 12).tick(2, 12, 1)
    job = script.job()
    (process,) = job.processes
    (image,) = process.images
    assert image.text.argv == ("sh", "-c", "x")
    assert image.since == 1
    assert image.peak == Peak(12, 2, SAMPLED)
    assert groups(job) == {"sh": (1, 12, 12)}


def test_a_name_completed_before_the_first_tick_moves_to_its_group() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10)
    script.image(1, 1, "a-long-name", "a-long-name", same=True).tick(1, 10, 1)
    assert groups(script.job()) == {"a-long-name": (1, 10, 10)}


def test_a_name_completed_after_a_tick_does_not_inflate_the_old_group() -> None:
    script = Script().started(1, 1).image(1, 1, "old", "old").memory(1, 1, 10)
    script.started(1, 2, parent=1).image(1, 2, "old").memory(1, 2, 100).tick(1, 110, 2)
    script.image(2, 2, "new", "new", same=True).tick(2, 110, 2)
    for group in script.job().groups():
        assert group.peak_rss <= group.sum_of_peaks, group


# Who held what


def test_who_held_what_is_of_the_peak_and_nothing_else() -> None:
    script = Script().started(1, 1).image(1, 1, "sh").memory(1, 1, 10)
    script.started(1, 2, parent=1).image(1, 2, "gone").memory(1, 2, 5).tick(1, 15, 2)
    script.started(2, 3, parent=1).image(2, 3, "ld").memory(2, 3, 50).exited(2, 2)
    script.tick(2, 60, 2).memory(3, 3, 1).tick(3, 11, 2)
    held = [(each.serial, each.group, each.rss) for each in script.job().at_peak()]
    assert held == [(3, "ld", 50), (1, "sh", 10)]


def test_who_held_what_has_the_names_of_that_tick() -> None:
    script = Script().started(1, 1).image(1, 1, "old").memory(1, 1, 10).tick(1, 10, 1)
    script.image(2, 1, "new", "new").memory(2, 1, 10)
    script.started(2, 2, parent=1).image(2, 2, "cc").memory(2, 2, 5).tick(2, 15, 2)
    script.image(3, 1, "later").memory(3, 1, 1).tick(3, 6, 2)
    assert [each.group for each in script.job().at_peak()] == ["new", "cc"]


# Forks


def fork(script: Script, time: int, serial: int = 2, rss: int = 100) -> Script:
    """make (100 bytes) forks itself."""
    return (
        script.started(time, serial, parent=1)
        .image(time, serial, "make", "make", inherited=True)
        .memory(time, serial, rss)
    )


def make(time: int = 1) -> Script:
    return Script().started(time, 1).image(time, 1, "make", "make").memory(time, 1, 100)


def test_a_fork_that_execs_is_not_counted_in_its_parents_group() -> None:
    script = fork(make(), 1).tick(1, 200, 2)
    script.image(2, 2, "cc", "cc").memory(2, 2, 30).tick(2, 130, 2)
    job = script.job()
    assert groups(job) == {"make": (1, 100, 100), "cc": (1, 30, 30)}
    # The total is what was there, fork or not.
    assert job.max_total == 200
    assert processes(job)[2].peak.rss == 30


def test_a_fork_that_execs_within_a_tick_is_not_counted_either() -> None:
    script = fork(make(), 1).image(1, 2, "cc", "cc").memory(1, 2, 30).tick(1, 130, 2)
    assert groups(script.job()) == {"make": (1, 100, 100), "cc": (1, 30, 30)}


def test_a_fork_that_never_execs_is_counted() -> None:
    script = fork(make(), 1).tick(1, 200, 2).tick(2, 200, 2)
    job = script.job()
    assert groups(job) == {"make": (2, 200, 200)}
    assert next(iter(job.groups())).peak_time == 2
    assert processes(job)[2].peak.rss == 100


def test_a_fork_once_counted_stays_counted_when_more_is_known_of_it() -> None:
    script = fork(make(), 1).tick(1, 200, 2).tick(2, 200, 2)
    script.image(3, 2, "make", "make", "all", inherited=True, same=True)
    script.memory(3, 1, 150).tick(3, 250, 2)
    assert groups(script.job()) == {"make": (2, 250, 250)}


def test_a_fork_that_works_a_while_and_then_execs_is_in_both_groups() -> None:
    script = fork(make(), 1).tick(1, 200, 2).tick(2, 200, 2).tick(3, 200, 2)
    script.image(4, 2, "cc", "cc").memory(4, 2, 30).tick(4, 130, 2)
    job = script.job()
    assert groups(job) == {"make": (2, 200, 200), "cc": (1, 30, 30)}
    # Its own peak is still what it did as a program of its own.
    assert processes(job)[2].peak.rss == 30


def test_a_fork_that_ends_at_once_is_counted_but_was_in_no_peak() -> None:
    script = fork(make(), 1).tick(1, 200, 2).exited(2, 2).tick(2, 100, 1)
    assert groups(script.job()) == {"make": (2, 100, 200)}


# Ticks


def test_late_and_skipped_ticks_are_counted() -> None:
    script = Script().tick(0).tick(10).tick(27, flags=TICK_LATE).tick(60, skipped=2).tick(70)
    ticks = script.job().ticks
    assert (ticks.count, ticks.late, ticks.skipped) == (5, 1, 2)
    assert ticks.achieved == 70 / 4


def test_extra_ticks_are_no_part_of_the_achieved_interval() -> None:
    script = Script().tick(0, flags=TICK_EXTRA).tick(1, flags=TICK_EXTRA | TICK_LATE)
    script.tick(3, flags=TICK_EXTRA).tick(10).tick(20).tick(22, flags=TICK_EXTRA).tick(30)
    ticks = script.job().ticks
    assert (ticks.count, ticks.late) == (7, 0)
    assert ticks.achieved == 10.0


@pytest.mark.parametrize("script", [Script(), Script().tick(5), Script().tick(5, flags=TICK_EXTRA)])
def test_an_interval_needs_two_regular_ticks(script: Script) -> None:
    assert script.job().ticks.achieved is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 50),
            st.integers(0, 3),
            st.sampled_from((0, TICK_LATE, TICK_EXTRA, TICK_EXTRA | TICK_LATE)),
        )
    )
)
def test_ticks_against_a_recount(steps: list[tuple[int, int, int]]) -> None:
    script, time, regular = Script(), 0, []
    for gap, skipped, flags in steps:
        time += gap
        script.tick(time, skipped=skipped, flags=flags)
        if not flags & TICK_EXTRA:
            regular.append(time)
    ticks = script.job().ticks
    assert ticks.count == len(steps)
    assert ticks.skipped == sum(skipped for _, skipped, _ in steps)
    assert ticks.late == sum(flags == TICK_LATE for _, _, flags in steps)
    if len(regular) < 2:
        assert ticks.achieved is None
    else:
        assert ticks.achieved == (regular[-1] - regular[0]) / (len(regular) - 1)


# A small machine that does anything, a sampler that looks at it, and a recount by the book


@dataclass(eq=False)
class Simulated:
    """A process of the machine."""

    pid: int
    parent: Simulated | None
    program: str
    memory: int
    high: int
    readable: bool
    inherited: bool = False
    execs: int = 0
    status: int | None = None


@dataclass
class Ran:
    """What the book says of one program of one process."""

    name: str
    since: int
    inherited: bool
    told: list[tuple[int, int, str]] = field(default_factory=list)
    """Time, size, source."""
    ticks: int = 0
    """How many it was there for."""
    ended_by_exec: bool = False

    @property
    def counted(self) -> bool:
        return not self.inherited or not self.ended_by_exec or self.ticks >= 2

    @property
    def peak(self) -> Peak:
        size = max((size for _, size, _ in self.told), default=0)
        if not size:
            return Peak(0, 0, UNKNOWN)
        reached = [(time, source) for time, each, source in self.told if each == size]
        known = WATERMARK if any(source == WATERMARK for _, source in reached) else SAMPLED
        return Peak(size, min(time for time, _ in reached), known)


@dataclass
class Followed:
    """What the sampler remembers of a process, and what the book says of it."""

    serial: int
    of: Simulated
    ppid: int
    parent: int | None
    first: int
    execs: int = 0
    rss: int | None = None
    high: int = 0
    lacks_argv: bool = False
    last: int | None = None
    ran: list[Ran] = field(default_factory=list)
    gone: bool = False


@dataclass(frozen=True)
class Look:
    """The book's page for one tick: who held what, in which group if in any yet."""

    time: int
    held: dict[int, tuple[int, str, int]]
    """Serial to pid, program, size."""
    settled: dict[str, int]
    live: int


class Machine:
    """Runs actions and writes a Script and the book. Pids are few, so they are used again."""

    PIDS = 6

    def __init__(self) -> None:
        self.script = Script()
        self.time = 0
        self.next_pid = 0
        self.root = self._new(None, "make", 3, readable=True)
        self.alive = [self.root]
        self.followed: list[Followed] = []
        self.everyone: list[Followed] = []
        self.book: list[Look] = []

    def _new(
        self, parent: Simulated | None, name: str, memory: int, *, readable: bool
    ) -> Simulated:
        self.next_pid += 1
        return Simulated(100 + self.next_pid % self.PIDS, parent, name, memory, memory, readable)

    # What may happen

    def fork(self, who: int, what: int) -> None:
        taken = {each.pid for each in self.alive} | {each.of.pid for each in self.followed}
        if len(taken) == self.PIDS:
            return
        parent = self.alive[who % len(self.alive)]
        readable = parent.readable and what % 8 != 7
        while 100 + (self.next_pid + 1) % self.PIDS in taken:
            self.next_pid += 1
        child = self._new(parent, parent.program, parent.memory, readable=readable)
        child.inherited = True
        self.alive.append(child)

    def exec(self, who: int, what: int) -> None:
        process = self.alive[who % len(self.alive)]
        process.program = ("cc", "sh", "make", "as")[what % 4]
        process.memory = process.high = what
        process.inherited = False
        process.execs += 1

    def grow(self, who: int, what: int) -> None:
        process = self.alive[who % len(self.alive)]
        process.memory = what
        process.high = max(process.high, what)

    def spike(self, who: int, what: int) -> None:
        """More memory between two ticks, that only the high-water mark remembers."""
        process = self.alive[who % len(self.alive)]
        process.high = max(process.high, what)

    def exit(self, who: int, what: int) -> None:
        if len(self.alive) == 1:
            return
        process = self.alive.pop(1 + who % (len(self.alive) - 1))
        process.status = what
        for each in self.alive:
            if each.parent is process:
                each.parent = None

    def tick(self, who: int, what: int) -> None:
        """One pass of the sampler. `who` and `what` choose what it also does now."""
        self.time += 1 + who % 3
        for each in list(self.followed):
            self._visit(each, inspects=what % 2 == 0)
        for process in self.alive:
            if all(each.of is not process for each in self.followed):
                self._adopt(process, dies=who % 5 == 4 and process is not self.root)
        self._close_page(who)

    # How the sampler tells it

    def _visit(self, each: Followed, *, inspects: bool) -> None:
        process = each.of
        if process.status is not None:
            self._gone(each, process.status if process is self.root else None)
        elif process.readable:
            if process.execs != each.execs:
                self._image(each)
                self._memory(each)
            elif each.lacks_argv:
                each.lacks_argv = False
                self.script.image(self.time, each.serial, process.program, "word", same=True)
            if process.memory != each.rss or (inspects and process.high > each.high):
                self._memory(each, inspects=inspects)

    def _adopt(self, process: Simulated, *, dies: bool) -> None:
        parent = next((each for each in self.followed if each.of is process.parent), None)
        ppid = process.parent.pid if process.parent else 1
        each = Followed(
            len(self.everyone) + 1, process, ppid, parent.serial if parent else None, self.time
        )
        self.followed.append(each)
        self.everyone.append(each)
        self.script.started(self.time, each.serial, pid=process.pid, ppid=ppid, parent=each.parent)
        if process.readable:
            self._image(each)
            self._memory(each)
        if dies:
            self.alive.remove(process)
            process.status = 0
            self._gone(each, None)

    def _image(self, each: Followed) -> None:
        process = each.of
        if each.ran:
            each.ran[-1].ended_by_exec = True
        each.ran.append(Ran(process.program, self.time, process.inherited))
        each.execs, each.high, each.rss = process.execs, 0, None
        each.lacks_argv = process.memory % 3 == 0 and not process.inherited
        words = () if each.lacks_argv else ("word",)
        self.script.image(
            self.time, each.serial, process.program, *words, inherited=process.inherited
        )

    def _memory(self, each: Followed, *, inspects: bool = False) -> None:
        process = each.of
        each.rss = process.memory
        each.ran[-1].told.append((self.time, process.memory, SAMPLED))
        watermark = None
        if inspects and process.high > each.high:
            each.high = watermark = process.high
            each.ran[-1].told.append((self.time, watermark, WATERMARK))
        self.script.memory(self.time, each.serial, process.memory, watermark)

    def _gone(self, each: Followed, status: int | None) -> None:
        each.gone = True
        self.followed.remove(each)
        self.script.exited(self.time, each.serial, status)

    def _close_page(self, who: int) -> None:
        held, settled = {}, dict[str, int]()
        partial = 0
        for each in self.followed:
            each.last = self.time
            if not each.ran:
                partial = TICK_PARTIAL
                continue
            now = each.ran[-1]
            now.ticks += 1
            assert each.rss is not None
            held[each.serial] = (each.of.pid, now.name, each.rss)
            if not now.inherited or now.ticks >= 2:
                settled[now.name] = settled.get(now.name, 0) + each.rss
        self.book.append(Look(self.time, held, settled, len(self.followed)))
        self.script.tick(
            self.time,
            sum(size for _, _, size in held.values()),
            len(self.followed),
            flags=partial,
            skipped=who % 2,
        )

    def end(self, status: int | None) -> None:
        """The root ends; a last look is taken."""
        self.alive.remove(self.root)
        self.root.status = status
        if not self.followed:
            return
        self.time += 1
        for each in list(self.followed):
            self._visit(each, inspects=False)
        self._close_page(0)


ACTIONS = ("fork", "exec", "grow", "spike", "exit", "tick", "tick")

jobs = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 11), st.integers(0, 40)), max_size=70
)


def play(actions: list[tuple[str, int, int]], status: int | None = 0) -> Machine:
    machine = Machine()
    for action, who, what in actions:
        getattr(machine, action)(who, what)
    machine.end(status)
    return machine


@settings(max_examples=300, deadline=None)
@given(jobs, st.none() | st.integers(0, 255))
def test_job_agrees_with_a_recount(actions: list[tuple[str, int, int]], status: int | None) -> None:
    machine = play(actions, status)
    job = machine.script.job()
    check_totals(job, machine.book)
    check_processes(job, machine)
    check_groups(job, machine)
    assert job.live == {}
    if machine.everyone:
        assert job.root_status == status


def check_totals(job: Job, book: list[Look]) -> None:
    totals = [sum(size for _, _, size in look.held.values()) for look in book]
    assert job.timeline is not None
    assert list(job.timeline.times) == [look.time for look in book]
    assert list(job.timeline.totals) == totals
    assert list(job.timeline.counts) == [look.live for look in book]
    assert job.max_total == max(totals, default=0)
    held = {each.serial: (each.pid, each.group, each.rss) for each in job.at_peak()}
    assert sum(each.rss for each in job.at_peak()) == job.max_total
    if not job.max_total:
        assert held == {}
        return
    look = book[totals.index(job.max_total)]
    assert held == look.held
    assert job.max_total_time == look.time
    assert job.max_total_processes == look.live
    sizes = [each.rss for each in job.at_peak()]
    assert sizes == sorted(sizes, reverse=True)


def check_processes(job: Job, machine: Machine) -> None:
    assert len(job.processes) == len(machine.everyone)
    got = processes(job)
    for each in machine.everyone:
        process = got[each.serial]
        assert (process.pid, process.ppid, process.parent) == (each.of.pid, each.ppid, each.parent)
        assert process.alive == (not each.gone)
        assert process.first_seen == each.first
        assert process.last_seen == (each.first if each.last is None else each.last)
        ran = [(ran.name, ran.inherited, ran.peak) for ran in each.ran]
        assert [(i.text.name, i.inherited, i.peak) for i in process.images] == ran or [
            ("?", False, Peak(0, 0, UNKNOWN))
        ]
        own = [ran for ran in each.ran if not ran.inherited] or each.ran
        assert process.peak.rss == max((ran.peak.rss for ran in own), default=0)


def check_groups(job: Job, machine: Machine) -> None:
    members: dict[str, list[int]] = {}
    for each in machine.everyone:
        for ran in each.ran or [Ran("?", 0, False)]:
            if ran.counted:
                members.setdefault(ran.name, []).append(ran.peak.rss)
    assert {group.name for group in job.groups()} == set(members)
    for group in job.groups():
        assert group.processes == len(members[group.name])
        assert group.sum_of_peaks == sum(members[group.name])
        together = [look.settled.get(group.name, 0) for look in machine.book]
        assert group.peak_rss == max(together, default=0)
        assert group.peak_rss <= group.sum_of_peaks
        if group.peak_rss:
            assert group.peak_time == machine.book[together.index(group.peak_rss)].time
    order = [(-group.peak_rss, group.name) for group in job.groups()]
    assert order == sorted(order)


@settings(max_examples=100, deadline=None)
@given(jobs, st.data())
def test_how_it_is_cut_into_batches_does_not_matter(
    actions: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    script = play(actions).script
    cuts = data.draw(st.lists(st.integers(0, len(script.facts)), max_size=8))
    whole = outcome(script.job())
    assert outcome(script.job(cuts)) == whole
    assert outcome(script.job(range(len(script.facts)))) == whole


@settings(max_examples=100, deadline=None)
@given(jobs)
def test_what_a_group_holds_is_never_negative(actions: list[tuple[str, int, int]]) -> None:
    script = play(actions).script
    job = Job()
    for batch in script.batches(range(len(script.facts))):
        job.apply(batch)
        for group in job._groups.values():
            assert group.rss >= 0
    job.finish()
    # All that was added when processes came was taken away as they went.
    assert {group.rss for group in job._groups.values()} == {0}


def test_the_machine_does_what_the_properties_are_about() -> None:
    """So that they do not pass for want of cases."""
    seen: set[str] = set()
    random_source = random.Random(20)
    for _ in range(60):
        actions = [
            (
                random_source.choice(ACTIONS),
                random_source.randrange(12),
                random_source.randrange(41),
            )
            for _ in range(70)
        ]
        machine = play(actions)
        pids = [each.of.pid for each in machine.everyone]
        ran = [ran for each in machine.everyone for ran in each.ran]
        for name, found in {
            "pid reuse": len(set(pids)) < len(pids),
            "orphans": any(each.ppid == 1 for each in machine.everyone[1:]),
            "unreadable": any(not each.ran for each in machine.everyone),
            "execs": any(len(each.ran) > 2 for each in machine.everyone),
            "a fork that execs at once": any(each.inherited and not each.counted for each in ran),
            "a fork that execs later": any(
                each.inherited and each.ended_by_exec and each.ticks > 2 for each in ran
            ),
            "a fork that never execs": any(
                each.inherited and not each.ended_by_exec and each.ticks > 2 for each in ran
            ),
            "a peak between ticks": any(each.peak.source == WATERMARK for each in ran),
            "left running": any(not each.gone for each in machine.everyone),
            "one tick": any(each.gone and each.last is None for each in machine.everyone),
        }.items():
            if found:
                seen.add(name)
    assert len(seen) == 10, seen
