"""Limits, checked on scripted observations: time, size and holders of each breach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.cgroup_account import AccountReading
from memwatch.model.job import Job
from memwatch.model.limits import (
    AVAILABLE_MEMORY,
    BREACH_EXIT_CODES,
    NO_LIMITS,
    PROCESS_RSS,
    TOTAL_FOOTPRINT,
    TOTAL_PSS,
    TOTAL_RSS,
    Breach,
    LimitChecker,
    LimitOutcome,
    Limits,
)
from memwatch.model.observations import LOWER, TICK_PARTIAL
from support.scripted import MIB, MS, Script


class Limited(Script):
    """A scripted job with limits. Times are milliseconds."""

    def __init__(self, *, asked: float | None = None, **limits: int | None) -> None:
        """`asked`: when the job is asked to end at its first breach; None leaves it alone."""
        super().__init__(time_unit=MS)
        self.breaches: list[Breach] = []
        self.growths = 0
        self.asked = asked
        self.watched = Job()
        self.guard = LimitChecker(self.watched, Limits(**limits), self._on_breach, self._on_growth)

    def _on_breach(self, breach: Breach) -> int | None:
        self.breaches.append(breach)
        return None if self.asked is None else round(self.asked * MS)

    def _on_growth(self) -> None:
        self.growths += 1

    def account(self, footprint: int, *, at: float) -> list[Breach]:
        """Applies the observations, and then a reading of the account. Returns all breaches."""
        self.play()
        self.guard.account(AccountReading(round(at * MS), footprint))
        return self.breaches

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
    assert (breach.time, breach.processes, breach.serial, breach.pid) == (6 * MS, 2, None, None)
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
    assert (process.limit, process.size, process.time) == (PROCESS_RSS, 300 * MIB, 8 * MS)
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
    """Two sums in a row must agree, because one may count memory that moved twice."""
    script = Limited(total_pss=100 * MIB)
    script.start(1, "x", at=1)
    script.tick(500 * MIB, 1)
    script.pss(100 * MIB, rss=100 * MIB)
    script.pss(400 * MIB, rss=400 * MIB, unread=1, at=2)  # an upper bound proves nothing
    script.pss(384 * MIB, rss=384 * MIB, at=3)
    script.pss(90 * MIB, rss=90 * MIB, at=4)
    script.pss(384 * MIB, rss=384 * MIB, at=5)
    script.pss(90 * MIB, rss=90 * MIB, unread=1, at=6)  # but this one proves that it is less
    script.pss(103 * MIB, rss=103 * MIB, at=7)
    assert script.play() == []
    script.pss(101 * MIB, rss=101 * MIB, at=8)
    (breach,) = script.play()
    assert (breach.limit, breach.size) == (TOTAL_PSS, 101 * MIB)
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 10
    assert not script.guard.inconclusive(complete=True)


def test_anonymous_memory_over_the_limit_of_pss():
    """No sum is needed: nobody else has a part of it."""
    script = Limited(total_pss=100 * MIB)
    script.start(1, "x", at=1).memory(1, 150 * MIB, shared=60 * MIB).tick()
    script.start(2, parent=1).execute(2, "x", inherited=True)
    script.memory(2, 160 * MIB, shared=60 * MIB, at=2).tick()  # 90 of the first, 10 of its own
    assert script.play() == []
    script.memory(2, 161 * MIB, shared=60 * MIB, at=3).tick()
    (breach,) = script.play()
    assert (breach.limit, breach.size, breach.time) == (TOTAL_PSS, 101 * MIB, 3 * MS)


def test_a_footprint_over_its_limit():
    """The sum is a lower bound when processes are missing in it."""
    script = Limited(total_footprint=100 * MIB)
    script.start(1, "x", at=1)
    script.footprints(100 * MIB, 1).tick(0, 2, at=2)
    assert script.play() == []
    script.footprints(101 * MIB, 1, at=3).tick(0, 2)
    (breach,) = script.play()
    assert (breach.limit, breach.size, breach.time) == (TOTAL_FOOTPRINT, 101 * MIB, 3 * MS)
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 10
    assert not script.guard.inconclusive(complete=True)


def test_a_footprint_that_is_known_by_its_bounds():
    """The lower bound decides; a higher upper bound only leaves it open."""
    guard = Limited(total_footprint=100 * MIB).guard
    assert guard.footprint(90 * MIB, 100 * MIB, MS) == []
    assert guard.inconclusive(complete=True) == ()
    assert guard.footprint(90 * MIB, 101 * MIB, 2 * MS) == []
    assert guard.inconclusive(complete=True) == (TOTAL_FOOTPRINT,)
    assert guard.footprint(101 * MIB, 120 * MIB, 3 * MS) == [(TOTAL_FOOTPRINT, 101 * MIB)]


def test_a_footprint_over_its_limit_by_the_account():
    """The samples see less than that, and go on to do so."""
    script = Limited(total_footprint=100 * MIB)
    script.start(1, "x", at=1)
    script.memory(1, 10 * MIB, shared=0).tick()
    assert script.account(100 * MIB, at=2) == []
    script.memory(1, 20 * MIB, shared=0, at=3).tick()
    (breach,) = script.account(101 * MIB, at=4)
    assert (breach.limit, breach.allowed, breach.size) == (TOTAL_FOOTPRINT, 100 * MIB, 101 * MIB)
    assert (breach.time, breach.processes, breach.pid, breach.by_account) == (4 * MS, 1, None, True)
    assert [holder.rss for holder in breach.holders] == [20 * MIB]
    assert not script.guard.inconclusive(complete=True)
    assert len(script.account(200 * MIB, at=5)) == 1
    script.memory(1, 300 * MIB, shared=0, at=6).tick()
    assert len(script.play()) == 1


def test_the_account_says_nothing_about_other_limits():
    script = Limited(total_rss=100 * MIB, total_pss=100 * MIB)
    script.start(1, "x", at=1).memory(1, 10 * MIB).tick()
    assert script.account(200 * MIB, at=2) == []


@pytest.mark.parametrize("in_group", [False, True])
def test_too_little_memory_is_left(in_group):
    script = Limited(min_available=100 * MIB)
    script.start(1, "x", at=1)
    script.memory(1, 10 * MIB)
    script.tick()
    script.available(100 * MIB)
    assert script.play() == []
    script.available(99 * MIB, in_group=in_group, at=2)
    script.available(98 * MIB, at=3)
    (breach,) = script.play()
    assert (breach.limit, breach.allowed) == (AVAILABLE_MEMORY, 100 * MIB)
    assert (breach.size, breach.in_group) == (99 * MIB, in_group)
    assert [holder.pid for holder in breach.holders] == [101]
    assert LimitOutcome(NO_LIMITS, True, (breach,)).exit_code == 10


# Limits that could not be judged


def test_nothing_is_known_before_the_first_tick():
    script = Limited(**dict.fromkeys(Limits._fields, MIB))
    assert script.guard.inconclusive(complete=True) == tuple(BREACH_EXIT_CODES)
    assert Limited().guard.inconclusive(complete=True) == ()


@pytest.mark.parametrize(
    ("flags", "complete", "expected"),
    [
        (0, True, ()),
        (TICK_PARTIAL, True, (TOTAL_RSS, PROCESS_RSS)),
        (0, False, (TOTAL_RSS, PROCESS_RSS)),
    ],
)
def test_memory_that_could_not_be_read(flags, complete, expected):
    script = Limited(total_rss=100 * MIB, process_rss=100 * MIB)
    script.start(1, "x", at=1).memory(1, 10 * MIB).tick(flags=flags)
    script.play()
    assert script.guard.inconclusive(complete=complete) == expected


def total_pss_is_inconclusive(*story):
    """Each step is the total RSS of a tick, or a sum of PSS: its size, its RSS, its flags, and how
    many processes it counts by RSS. The limit is 100 MiB."""
    script = Limited(total_pss=100 * MIB)
    script.start(1, "x", at=0).memory(1, 10 * MIB)
    for time, step in enumerate(story, start=1):
        if isinstance(step, int):
            script.tick(step * MIB, 1, at=time)
        else:
            size, rss, flags, unread = step
            script.pss(size * MIB, rss=rss * MIB, flags=flags, unread=unread, at=time)
    assert script.play() == []
    return script.guard.inconclusive(complete=True) == (TOTAL_PSS,)


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ((100,), False),  # the RSS is an upper bound
        ((101,), True),
        ((150, (60, 150, 0, 0)), False),
        ((150, (60, 150, LOWER, 0)), True),  # something may be missing in it
        ((150, (60, 150, 0, 1)), False),  # an upper bound proves that it is less
        ((150, (120, 150, 0, 1)), True),
        ((150, (60, 150, 0, 0), 190), False),  # 40 more are 100 at worst
        ((150, (60, 150, 0, 0), 191), True),
        ((191, (60, 150, 0, 0)), True),  # it had fallen by then
        ((190, (60, 150, 0, 0)), False),
        ((191, (60, 150, 0, 0), 200, (60, 200, 0, 0)), False),
        ((150, (120, 150, 0, 0)), True),  # one sum that no other confirms
    ],
)
def test_a_total_pss_that_could_not_be_judged(story, expected):
    assert total_pss_is_inconclusive(*story) is expected


# Growth after the job was asked to end


def grown(*story, asked=10, **limits):
    """Returns whether growth is noticed: (time, total RSS) of each tick, after a breach by 101
    MiB at 9 ms."""
    script = Limited(asked=asked, **(limits or {"total_rss": 100 * MIB}))
    script.start(1, "x", at=1)
    script.memory(1, 101 * MIB, at=9).tick()
    if "min_available" in limits:
        script.available(0)
    if "total_pss" in limits:
        script.pss(101 * MIB).pss(101 * MIB)
    for time, total in story:
        script.memory(1, total * MIB, at=time).tick()
    assert len(script.play()) == 1
    return script.growths


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ((), 0),
        (((40, 103),), 0),  # 1 % and a MiB
        (((40, 104),), 1),
        (((40, 104), (41, 200)), 1),  # once
        (((30, 200),), 0),  # up to 20 ms after SIGTERM it may
        (((30, 200), (31, 203)), 0),
        (((30, 200), (31, 204)), 1),
        (((30, 200), (31, 50), (32, 150)), 0),
        (((31, 50), (32, 100), (5000, 300)), 1),  # however late
    ],
)
def test_a_job_that_grows_on(story, expected):
    assert grown(*story) == expected
    assert grown(*story, process_rss=100 * MIB) == expected
    assert grown(*story, total_pss=100 * MIB) == expected
    assert grown(*story, min_available=MIB) == expected


def test_a_job_that_is_left_alone_may_grow():
    assert grown((40, 300), asked=None) == 0


def test_a_footprint_that_grows_on():
    script = Limited(asked=10, total_footprint=100 * MIB)
    script.start(1, "x", at=1)
    script.footprints(101 * MIB, 0, at=9).tick(500 * MIB)
    script.footprints(103 * MIB, 0, at=40).tick(900 * MIB)
    script.play()
    assert script.growths == 0
    script.footprints(104 * MIB, 0, at=41).tick(900 * MIB)
    script.play()
    assert script.growths == 1


def test_a_footprint_that_grows_on_by_the_account():
    """What the samples see of it may grow meanwhile, from less."""
    script = Limited(asked=10, total_footprint=100 * MIB)
    script.start(1, "x", at=1).memory(1, 10 * MIB, shared=0).tick()
    script.account(101 * MIB, at=9)
    script.account(110 * MIB, at=30)
    script.memory(1, 50 * MIB, shared=0, at=31).tick()
    script.account(112 * MIB, at=32)
    assert script.growths == 0
    script.account(113 * MIB, at=33)
    script.account(200 * MIB, at=34)
    assert (len(script.breaches), script.growths) == (1, 1)


def test_growth_is_judged_by_what_has_found_the_breach():
    """The account may have more than the samples from the beginning."""
    script = Limited(asked=10, total_footprint=100 * MIB)
    script.start(1, "x", at=1).memory(1, 101 * MIB, shared=0, at=9).tick()
    script.account(150 * MIB, at=40)
    script.account(160 * MIB, at=41)
    assert (len(script.breaches), script.growths) == (1, 0)
    script.memory(1, 104 * MIB, shared=0, at=42).tick()
    script.play()
    assert script.growths == 1


def test_other_limits_do_not_count_as_growth():
    """The second limit is exceeded later, by what a process holds."""
    script = Limited(asked=10, total_rss=100 * MIB, process_rss=105 * MIB)
    script.start(1, "x", at=1).start(2, "y")
    script.memory(1, 101 * MIB, at=9).tick()
    script.memory(1, 50 * MIB, at=40).memory(2, 53 * MIB).tick()
    script.memory(1, 0, at=41).memory(2, 103 * MIB).tick()
    script.play()
    assert (len(script.breaches), script.growths) == (1, 0)


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
    st.tuples(st.just("footprint"), st.integers(0, 1), sizes),
    st.tuples(st.just("available"), st.just(0), sizes),
)


@given(
    st.lists(events, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.tuples(*[st.one_of(st.none(), st.integers(1, 40))] * 5),
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
        elif what == "footprint":
            script.footprints(size, number, at=time)
        elif what == "available":
            script.available(size, at=time)
        else:
            script.pss(size, rss=size, unread=number, at=time)
            script.now = time
    plain = script.job(finish=False)
    for batch in script.batches([min(cut, script.count) for cut in cuts]):
        script.guard.apply(batch)
    assert (script.watched.max_total, script.watched.pss_peak) == (plain.max_total, plain.pss_peak)
    assert {s: p.peak for s, p in script.watched.live.items()} == {
        s: p.peak for s, p in plain.live.items()
    }

    def first(*wanted: tuple[str, int | None]) -> int | None:
        before = 0
        for time, (what, number, size) in enumerate(story, start=1):
            judged = -size if what == "available" else size
            if what == "pss":
                judged = min(size, before)
                before = judged if number else size
                judged = 0 if number else judged
            for kind, limit in wanted:
                if what == kind and limit is not None and judged > limit:
                    return time * MS
        return None

    total, process, pss, footprint, available = limits
    expected = {
        TOTAL_FOOTPRINT: first(("footprint", footprint)),
        AVAILABLE_MEMORY: first(("available", available and -available)),
        TOTAL_RSS: first(("tick", total), ("peak", total)),
        PROCESS_RSS: first(("memory", process), ("peak", process)),
        TOTAL_PSS: first(("pss", pss)),
    }
    assert {breach.limit: breach.time for breach in script.breaches} == {
        name: time for name, time in expected.items() if time is not None
    }
    assert [b.time for b in script.breaches] == sorted(b.time for b in script.breaches)


@pytest.mark.parametrize(
    "limit", ["total_rss", "process_rss", "total_pss", "total_footprint", "min_available"]
)
def test_limits_that_are_not_set_are_never_exceeded(limit):
    script = Limited(**{limit: 0 if limit == "min_available" else 1 << 62})
    script.available(0)
    script.start(1, "x", at=1)
    script.memory(1, 1 << 61)
    script.final(1, 1 << 61)
    script.tick(1 << 61, 1)
    script.pss(1 << 61, rss=1 << 61).pss(1 << 61, rss=1 << 61)
    script.footprints(1 << 61)
    assert script.play() == []
