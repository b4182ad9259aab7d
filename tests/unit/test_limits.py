"""Limits over scripted observations: the moment, the size, and who held what."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.job import Job
from memwatch.model.limits import (
    NO_LIMITS,
    PROCESS_RSS,
    TOTAL_PSS,
    TOTAL_RSS,
    Breach,
    LimitChecker,
    LimitOutcome,
    Limits,
)
from memwatch.model.observations import (
    EXITED,
    FINAL,
    HAS_ARGV,
    HAS_RSS,
    HAS_WATERMARK,
    IMAGE,
    MEMORY,
    PSS,
    STARTED,
    TICK,
    Batch,
)

MIB = 1 << 20


class Script:
    """Observations of a job, and its limits."""

    def __init__(self, **limits: int) -> None:
        self.breaches: list[Breach] = []
        self.job = Job()
        self.guard = LimitChecker(self.job, Limits(**limits), self.breaches.append)
        self.records: list[Any] = []
        self.text = b""

    def start(self, time: int, serial: int, name: str) -> None:
        text = f"{name}\0\0{name}\0".encode()
        self.records.append((time, serial, 0, 0, STARTED, 0, 100 + serial, 1))
        self.records.append(
            (time, serial, len(self.text), len(text), IMAGE, HAS_ARGV, 100 + serial, 0)
        )
        self.text += text

    def memory(self, time: int, serial: int, rss: int) -> None:
        self.records.append((time, serial, rss, 0, MEMORY, HAS_RSS, 100 + serial, 0))

    def peak(self, time: int, serial: int, peak: int, *, roughness: int = 0) -> None:
        self.records.append(
            (time, serial, roughness, peak, MEMORY, HAS_WATERMARK | FINAL, 100 + serial, 0)
        )

    def tick(self, time: int, total: int, count: int = 1) -> None:
        self.records.append((time, 0, total, count, TICK, HAS_RSS, 0, 0))

    def pss(self, time: int, total: int, unread: int = 0) -> None:
        self.records.append((time, total, total, unread, PSS, 0, 0, 0))

    def play(self) -> list[Breach]:
        self.guard.apply(Batch(self.records, self.text))
        self.records, self.text = [], b""
        return self.breaches


def test_a_total_that_is_too_much():
    script = Script(total_rss=100 * MIB)
    script.start(1, 1, "make")
    script.start(1, 2, "cc1")
    script.memory(5, 1, 10 * MIB)
    script.memory(5, 2, 90 * MIB)
    script.tick(5, 100 * MIB, 2)
    assert script.play() == []  # no more than the limit
    script.memory(6, 2, 91 * MIB)
    script.tick(6, 101 * MIB, 2)
    script.memory(7, 2, 200 * MIB)  # in the same batch: later
    script.tick(7, 210 * MIB, 2)
    (breach,) = script.play()
    assert (breach.limit, breach.allowed, breach.size) == (TOTAL_RSS, 100 * MIB, 101 * MIB)
    assert (breach.time, breach.processes, breach.serial, breach.pid) == (6, 2, None, None)
    assert [(each.pid, each.group, each.rss) for each in breach.holders] == [
        (102, "cc1", 91 * MIB),
        (101, "make", 10 * MIB),
    ]
    assert script.job.max_total == 210 * MIB
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 10


def test_a_process_that_is_too_large():
    script = Script(process_rss=100 * MIB)
    script.start(1, 1, "make")
    script.start(1, 2, "cc1")
    script.memory(5, 1, 60 * MIB)
    script.memory(5, 2, 60 * MIB)
    script.tick(5, 120 * MIB, 2)
    assert script.play() == []
    script.memory(6, 2, 100 * MIB + 1)
    script.tick(6, 160 * MIB + 1, 2)
    (breach,) = script.play()
    assert (breach.limit, breach.serial, breach.pid, breach.command) == (PROCESS_RSS, 2, 102, "cc1")
    assert breach.size == 100 * MIB + 1
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 11


def test_a_peak_between_two_samples():
    """Known by the high-water mark only, and of a process that has ended by now."""
    script = Script(total_rss=200 * MIB, process_rss=100 * MIB)
    script.start(1, 1, "ld")
    script.memory(5, 1, 10 * MIB)
    script.tick(5, 10 * MIB)
    script.peak(8, 1, 300 * MIB, roughness=MIB)
    script.records.append((8, 1, 0, 0, EXITED, 0, 101, 0))
    script.tick(10, 0, 0)
    process, total = script.play()
    assert (process.limit, process.size, process.time) == (PROCESS_RSS, 300 * MIB, 8)
    assert (total.limit, total.size, total.pid) == (TOTAL_RSS, 300 * MIB, 101)
    assert LimitOutcome(NO_LIMITS, True, (process, total)).exit_code == 11
    assert script.job.processes[0].peak.rss == 300 * MIB


def test_how_rough_a_mark_is_is_no_size():
    script = Script(process_rss=10 * MIB)
    script.start(1, 1, "ld")
    script.peak(2, 1, 5 * MIB, roughness=20 * MIB)
    script.tick(3, 5 * MIB)
    assert script.play() == []


def test_a_sum_with_shared_pages_counted_once():
    script = Script(total_pss=100 * MIB)
    script.start(1, 1, "x")
    script.tick(1, 500 * MIB)
    script.pss(1, 100 * MIB)
    script.pss(2, 400 * MIB, unread=1)  # an upper bound
    assert script.play() == []
    script.pss(3, 101 * MIB)
    (breach,) = script.play()
    assert (breach.limit, breach.size) == (TOTAL_PSS, 101 * MIB)
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 10


def test_no_limits():
    assert not NO_LIMITS.any
    assert Limits(total_pss=1).any
    assert LimitOutcome(NO_LIMITS, True, ()).exit_code == 0


sizes = st.integers(0, 40)
events = st.one_of(
    st.tuples(st.just("memory"), st.integers(1, 4), sizes),
    st.tuples(st.just("peak"), st.integers(1, 4), sizes),
    st.tuples(st.just("tick"), st.just(0), sizes),
    st.tuples(st.just("pss"), st.integers(0, 1), sizes),
)


@given(
    st.lists(events, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.tuples(*[st.one_of(st.none(), st.integers(1, 40))] * 3),
)
def test_limits_change_nothing_else(story, cuts, limits):
    """The job comes to the same, however the batches are cut, and each limit is told of once: at
    the first size above it."""
    script = Script(**Limits(*limits)._asdict())
    for serial in range(1, 5):
        script.start(0, serial, f"p{serial}")
    for time, (what, number, size) in enumerate(story, start=1):
        if what in ("memory", "peak"):
            getattr(script, what)(time, number, size)
        elif what == "tick":
            script.tick(time, size, 4)
        else:
            script.pss(time, size, number)
    records, text = copy.deepcopy(script.records), script.text
    plain = Job()
    plain.apply(Batch(records, text))
    begun = 0
    for cut in [*sorted(cuts), len(records)]:
        script.guard.apply(Batch(records[begun:cut], text))
        begun = max(begun, cut)
    assert (script.job.max_total, script.job.pss_peak) == (plain.max_total, plain.pss_peak)
    assert {s: p.peak for s, p in script.job.live.items()} == {
        s: p.peak for s, p in plain.live.items()
    }

    def first(*wanted: tuple[str, int | None]) -> int | None:
        for time, (what, number, size) in enumerate(story, start=1):
            for kind, limit in wanted:
                is_proof = kind != "pss" or number == 0
                if what == kind and limit is not None and size > limit and is_proof:
                    return time
        return None

    total, process, pss = limits
    expected = {
        TOTAL_RSS: first(("tick", total), ("peak", total)),
        PROCESS_RSS: first(("memory", process), ("peak", process)),
        TOTAL_PSS: first(("pss", pss)),
    }
    assert {breach.limit: breach.time for breach in script.breaches} == {
        name: time for name, time in expected.items() if time is not None
    }
    assert [b.time for b in script.breaches] == sorted(b.time for b in script.breaches)


@pytest.mark.parametrize("limit", ["total_rss", "process_rss", "total_pss"])
def test_outcomes_of_limits_that_are_not_set(limit):
    script = Script(**{limit: 1 << 62})
    script.start(1, 1, "x")
    script.memory(1, 1, 1 << 61)
    script.peak(1, 1, 1 << 61)
    script.tick(1, 1 << 61)
    script.pss(1, 1 << 61)
    assert script.play() == []
