"""Figures that a profile derives: completeness, peaks, comparable PSS and headroom."""

from __future__ import annotations

import pytest

from memwatch.model.cgroup_account import CgroupAccount, CgroupSample
from memwatch.model.footprint_bounds import CONTROL_GROUP
from memwatch.model.limits import TOTAL_FOOTPRINT, LimitOutcome, Limits
from memwatch.model.memory_limit import CGROUP_V2, MemoryLimit
from memwatch.model.observations import LOWER, TICK_PARTIAL
from memwatch.model.profile import (
    Beginning,
    Clock,
    Ending,
    Overhead,
    Profile,
    SourceOutcome,
    from_job,
)
from support.scripted import MIB, NO_LIMIT, Script

LIMIT = 1000 * MIB


def profile(
    total: int | None = None,
    *,
    pss: int | None = None,
    pss_rss: int = 0,
    unread: int = 0,
    pss_flags: int = 0,
    final: int | None = None,
    error: str | None = None,
    sources: tuple[SourceOutcome, ...] = (),
    lost: int = 0,
    advice: str | None = None,
    limit: int | None = LIMIT,
) -> Profile:
    """Makes the profile of a job of one process. Sizes are in MiB."""
    script = Script(size_unit=MIB).start(1, at=1)
    if total is not None:
        script.memory(1, total).tick()
    if pss is not None:
        script.pss(pss, rss=pss_rss, unread=unread, flags=pss_flags)
    if final is not None:
        script.final(1, final, at=2)
    return from_job(
        script.job(finish=False),
        Beginning(("job",), Clock(0, 0), 0, 1),
        Ending(
            3,
            0,
            Overhead(0, None),
            MemoryLimit(limit, limit and CGROUP_V2, None, None, None, None),
            sources=sources,
            lost=lost,
            advice=advice,
            error=error,
        ),
    )


def source(name: str, *, used: bool = True) -> SourceOutcome:
    return SourceOutcome(name, used, None if used else "it failed")


# Completeness


@pytest.mark.parametrize(
    ("sources", "complete"),
    [
        ((), False),
        ((source("connector"),), True),
        ((source("perf"),), True),
        ((source("taskstats"),), True),
        ((source("connector", used=False), source("perf")), True),
        ((source("connector", used=False), source("perf", used=False)), False),
        # The hook misses a process that is killed.
        ((source("hook"),), False),
        ((source("perf", used=False), source("hook")), False),
        ((source("perf"), source("hook")), True),
        # kqueue reports that a process forked, but not the child.
        ((source("kqueue"),), False),
    ],
)
def test_completeness_depends_on_the_sources(
    sources: tuple[SourceOutcome, ...], complete: bool
) -> None:
    assert profile(1, sources=sources).accuracy.complete == complete
    assert profile(1, sources=sources).complete == complete
    assert not profile(1, sources=sources, lost=1).accuracy.complete
    assert not profile(1, sources=sources, lost=1).complete
    assert not profile(1, sources=sources, error="Cannot allocate memory").complete


def test_there_is_no_advice_where_all_peaks_are_exact() -> None:
    assert profile(1, advice="run as root").accuracy.advice == "run as root"
    assert profile(1, final=2, advice="run as root").accuracy.advice is None
    # A job without any known peak can be measured better.
    assert profile(advice="run as root").accuracy.advice == "run as root"


# Footprints


def test_footprints_are_counted_by_source() -> None:
    script = Script(size_unit=MIB)
    for serial in (1, 2, 3):
        script.start(serial, at=1)
    # The first process ended before its footprint could be read.
    script.exit(1, at=2).footprint(2, 5, 6).footprints(5, 1).tick()
    script.final_footprint(2, 8, at=3).exit(2)
    seen = from_job(
        script.job(finish=False),
        Beginning(("job",), Clock(0, 0), 0, 1, "darwin"),
        Ending(4, 0, Overhead(0, None), NO_LIMIT),
    )
    assert seen.backend == "darwin"
    assert seen.max_total_footprint == (5 * MIB, 2, 1)
    assert seen.accuracy.footprints == {"unknown": 2, "sampled": 0, "watermark": 0, "exact": 1}
    assert seen.largest_footprint
    assert seen.largest_footprint.pid == 102
    # A footprint counts as seen memory, even without a resident size.
    assert seen.was_seen
    assert seen.total_rss.size is None


def test_linux_has_no_footprint() -> None:
    seen = profile(100)
    assert seen.backend == "linux"
    assert seen.accuracy.footprints is None
    assert seen.max_total_footprint is None
    assert seen.was_seen
    assert not profile().was_seen


# The peak and the headroom above it


def in_mib(size: int | None) -> float | None:
    return None if size is None else size / MIB


@pytest.mark.parametrize(
    ("total", "final", "most"),
    [
        (100, None, 100),
        (100, 90, 100),
        # One process alone held more than the whole job at any sample.
        (100, 300, 300),
        (None, 300, 300),
        (None, None, None),
    ],
)
def test_the_lower_bound_of_the_peak(
    total: int | None, final: int | None, most: int | None
) -> None:
    seen = profile(total, final=final)
    assert in_mib(seen.total_rss.size) == most
    assert in_mib(seen.max_total_rss) == total
    assert in_mib(seen.headroom) == (None if most is None else 1000 - most)
    assert profile(total, final=final, limit=None).headroom is None


@pytest.mark.parametrize(
    ("pss", "rss", "at_peak", "left"),
    [
        (40, 100, True, 960),
        (40, 95, True, 960),
        # Measured when the job held less: its shared pages at the peak are not known.
        (40, 94, False, 900),
        (40, 0, False, 900),
        # The job has grown between the sample and the sum.
        (120, 100, True, 880),
    ],
)
def test_headroom_uses_pss_only_if_it_was_measured_at_the_peak(
    pss: int, rss: int, at_peak: bool, left: int
) -> None:
    seen = profile(100, pss=pss, pss_rss=rss)
    assert seen.total_pss.at_peak == at_peak
    assert in_mib(seen.headroom) == left


@pytest.mark.parametrize(
    ("pss", "rss", "flags", "measured"),
    [
        (40, 100, 0, 40),
        (40, 95, 0, 40),
        # Measured when the job held less.
        (40, 94, 0, None),
        # An upper bound: it contains the RSS of an unread process.
        (40, 100, TICK_PARTIAL, None),
        # A lower bound: mappings changed while it was made.
        (40, 100, LOWER, None),
        (None, 0, 0, None),
    ],
)
def test_the_pss_that_can_be_compared_with_another_run(
    pss: int | None, rss: int, flags: int, measured: int | None
) -> None:
    unread = int(bool(flags & TICK_PARTIAL))
    seen = profile(100, pss=pss, pss_rss=rss, unread=unread, pss_flags=flags)
    assert in_mib(seen.total_pss.comparable) == measured


def test_a_peak_between_two_samples_has_no_pss() -> None:
    seen = profile(100, pss=40, pss_rss=100, final=300)
    assert not seen.total_pss.at_peak
    assert in_mib(seen.headroom) == 700


def test_without_pss_none_is_at_the_peak() -> None:
    assert not profile(100).total_pss.at_peak
    assert not profile().total_pss.at_peak


def test_headroom_is_negative_where_shared_pages_counted_more_than_once() -> None:
    assert in_mib(profile(1500).headroom) == -500
    assert in_mib(profile(1500, pss=700, pss_rss=1500).headroom) == 300


@pytest.mark.parametrize(("anon", "best", "is_split"), [(105, 125, True), (70, 100, False)])
def test_the_parts_of_a_footprint_add_up_to_it(anon: int, best: int, is_split: bool) -> None:
    """The control group may have been sampled when the job held less."""
    script = Script(size_unit=MIB).start(1, "job").memory(1, 100, shared=0).tick()
    sample = CgroupSample(2, anon * MIB, 20 * MIB, 0, 0, None, None)
    account = CgroupAccount(peak=130 * MIB, swap_peak=0, largest=sample)
    bounds = from_job(
        script.job(finish=False),
        Beginning(("job",), Clock(0, 0), 0, 1),
        Ending(3, 0, Overhead(0, None), NO_LIMIT, cgroup=account),
    ).footprint
    assert bounds
    assert (bounds.best, bounds.source) == (best * MIB, CONTROL_GROUP)
    assert (bounds.split is not None) == is_split
    assert bounds.split is None or sum(bounds.split[:4]) == bounds.best


@pytest.mark.parametrize(
    ("by_samples", "allowed", "exit_code", "inconclusive"),
    [
        ((TOTAL_FOOTPRINT,), 200, 0, ()),
        ((TOTAL_FOOTPRINT,), 125, 0, (TOTAL_FOOTPRINT,)),
        ((TOTAL_FOOTPRINT,), 110, 10, ()),
        # It was not exceeded by what the samples can see.
        ((), 200, 0, ()),
        ((), 125, 0, ()),
        ((), 110, 10, ()),
    ],
)
def test_the_account_decides_on_a_limit_at_the_end(
    by_samples: tuple[str, ...], allowed: int, exit_code: int, inconclusive: tuple[str, ...]
) -> None:
    script = Script(size_unit=MIB).start(1, "job").memory(1, 100, shared=0).tick()
    sample = CgroupSample(script.now, 100 * MIB, 20 * MIB, 0, 0, None, None)
    account = CgroupAccount(peak=130 * MIB, swap_peak=0, largest=sample)
    limits = Limits(total_footprint=allowed * MIB)
    outcome = LimitOutcome(limits, kill=True, breaches=(), inconclusive=by_samples)
    # The account of a job that stored something in a file system of its own.
    script.tmpfs(50).tick()
    found = from_job(
        script.job(finish=False),
        Beginning(("job",), Clock(0, 0), 0, 1),
        Ending(3, 0, Overhead(0, None), NO_LIMIT, limit_outcome=outcome, cgroup=account),
    ).limit_outcome
    assert found
    assert (found.exit_code, found.inconclusive) == (exit_code, inconclusive)
    assert [(each.size, each.processes, each.by_account) for each in found.breaches] == (
        [(120 * MIB, 1, True)] if exit_code else []
    )
