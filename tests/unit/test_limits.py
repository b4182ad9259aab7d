"""Limits, checked on scripted observations: time, size and holders of each breach."""

from __future__ import annotations

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
from support.scripted import MIB, Script


class Limited(Script):
    """A scripted job with limits."""

    def __init__(self, **limits: int | None) -> None:
        super().__init__()
        self.breaches: list[Breach] = []
        self.watched = Job()
        self.guard = LimitChecker(self.watched, Limits(**limits), self.breaches.append)

    def play(self) -> list[Breach]:
        """Applies the observations since the last call. Returns all breaches so far."""
        self.guard.apply(self.take())
        return self.breaches


def test_a_total_over_its_limit():
    script = Limited(total_rss=100 * MIB)
    script.start(1, "make", at=1)
    script.start(2, "cc1")
    script.memory(1, 10 * MIB, at=5)
    script.memory(2, 90 * MIB)
    script.tick(100 * MIB, 2)
    assert script.play() == []  # no more than the limit
    script.memory(2, 91 * MIB, at=6)
    script.tick(101 * MIB, 2)
    script.memory(2, 200 * MIB, at=7)  # the same batch, later
    script.tick(210 * MIB, 2)
    (breach,) = script.play()
    assert (breach.limit, breach.allowed, breach.size) == (TOTAL_RSS, 100 * MIB, 101 * MIB)
    assert (breach.time, breach.processes, breach.serial, breach.pid) == (6, 2, None, None)
    assert [(each.pid, each.group, each.rss) for each in breach.holders] == [
        (102, "cc1", 91 * MIB),
        (101, "make", 10 * MIB),
    ]
    assert script.watched.max_total == 210 * MIB
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 10


def test_a_process_over_its_limit():
    script = Limited(process_rss=100 * MIB)
    script.start(1, "make", at=1)
    script.start(2, "cc1")
    script.memory(1, 60 * MIB, at=5)
    script.memory(2, 60 * MIB)
    script.tick(120 * MIB, 2)
    assert script.play() == []
    script.memory(2, 100 * MIB + 1, at=6)
    script.tick(160 * MIB + 1, 2)
    (breach,) = script.play()
    assert (breach.limit, breach.serial, breach.pid, breach.command) == (PROCESS_RSS, 2, 102, "cc1")
    assert breach.size == 100 * MIB + 1
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 11


def test_a_peak_between_two_samples():
    """Only the watermark of a process that has ended shows it."""
    script = Limited(total_rss=200 * MIB, process_rss=100 * MIB)
    script.start(1, "ld", at=1)
    script.memory(1, 10 * MIB, at=5)
    script.tick(10 * MIB, 1)
    script.final(1, 300 * MIB, roughness=MIB, at=8)
    script.exit(1)
    script.tick(0, 0, at=10)
    process, total = script.play()
    assert (process.limit, process.size, process.time) == (PROCESS_RSS, 300 * MIB, 8)
    assert (total.limit, total.size, total.pid) == (TOTAL_RSS, 300 * MIB, 101)
    assert LimitOutcome(NO_LIMITS, True, (process, total)).exit_code == 11
    assert script.watched.processes[0].peak.rss == 300 * MIB


def test_the_roughness_of_a_watermark_is_not_a_size():
    script = Limited(process_rss=10 * MIB)
    script.start(1, "ld", at=1)
    script.final(1, 5 * MIB, roughness=20 * MIB, at=2)
    script.tick(5 * MIB, 1, at=3)
    assert script.play() == []


def test_a_total_pss_over_its_limit():
    script = Limited(total_pss=100 * MIB)
    script.start(1, "x", at=1)
    script.tick(500 * MIB, 1)
    script.pss(100 * MIB, rss=100 * MIB)
    script.pss(400 * MIB, rss=400 * MIB, unread=1, at=2)  # an upper bound
    assert script.play() == []
    script.pss(101 * MIB, rss=101 * MIB, at=3)
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
    """The results of the job do not depend on limits or batches, and each breach is reported once:
    at the first size above the limit."""
    script = Limited(**Limits(*limits)._asdict())
    for serial in range(1, 5):
        script.start(serial, f"p{serial}", at=0)
    for time, (what, number, size) in enumerate(story, start=1):
        if what == "memory":
            script.memory(number, size, at=time)
        elif what == "peak":
            script.final(number, size, at=time)
        elif what == "tick":
            script.tick(size, 4, at=time)
        else:
            script.pss(size, rss=size, unread=number, at=time)
    plain = script.job(finish=False)
    for batch in script.batches([min(cut, script.count) for cut in cuts]):
        script.guard.apply(batch)
    assert (script.watched.max_total, script.watched.pss_peak) == (plain.max_total, plain.pss_peak)
    assert {s: p.peak for s, p in script.watched.live.items()} == {
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
def test_limits_that_are_not_set_are_never_exceeded(limit):
    script = Limited(**{limit: 1 << 62})
    script.start(1, "x", at=1)
    script.memory(1, 1 << 61)
    script.final(1, 1 << 61)
    script.tick(1 << 61, 1)
    script.pss(1 << 61, rss=1 << 61)
    assert script.play() == []
