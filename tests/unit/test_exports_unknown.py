"""Exports publish only what is known: one test for all formats, whatever they look like.

Each test exports results that differ in one thing, and compares the files:

- a format that tells a known 0 from another value must tell it from an unknown one;
- what has no meaning while something else is unknown must not change the file;
- a PSS that is only a bound, or not of the peak, must not change it either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from memwatch.analysis.ending import How, ending
from memwatch.exports.formats import FORMATS
from memwatch.model.footprint_bounds import ALONE, FootprintBounds
from memwatch.model.footprint_bounds import FAULTS as PAGE_FAULTS
from memwatch.model.groups import Group
from memwatch.model.job import Job
from memwatch.model.memory_limit import CGROUP_V2, MemoryLimit
from memwatch.model.observations import BY_EVENT
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import (
    EXACT,
    NO_FOOTPRINT,
    NO_PEAK,
    NO_USAGE,
    SYSTEM,
    UNKNOWN,
    Footprint,
    Peak,
    Process,
    Usage,
)
from memwatch.model.profile import (
    CUT_SHORT,
    Beginning,
    Clock,
    Ending,
    Overhead,
    Profile,
    SourceOutcome,
    from_job,
)
from memwatch.model.totals import FootprintPeak, PssPeak, Timeline
from memwatch.model.tracks import PssSum, Tracks
from memwatch.storage.load import Results
from support.scripted import MIB, MS, Script

START = 5_000_000 * MS
AT = START + 10 * MS

CONNECTOR = SourceOutcome("connector", True, None)

# Values that nothing else in a file has.
A, B = 12_347 * 1024, 54_323 * 1024


def job() -> Results:
    """A job of two processes, of which everything is known."""
    story = Script("make", time_unit=MS, size_unit=MIB, origin=START)
    story.start(1, "make", found_by=BY_EVENT).memory(1, 20)
    story.start(2, "cc1", parent=1, found_by=BY_EVENT).memory(2, 100)
    story.tick(at=10).pss(110).memory(2, 60).tick(at=20)
    story.exit(2, 0, by_event=True, at=25).exit(1, 0, by_event=True, at=30)
    job, tracks = Job(timeline=True), Tracks()
    job.apply(story.batch())
    tracks.apply(story.batch())
    limit = MemoryLimit(4 << 30, CGROUP_V2, "/sys/fs/cgroup/a", 1 << 30, 0, 0)
    ending = Ending(START + 40 * MS, 0, Overhead(5 * MS, 16 * MIB), limit, (CONNECTOR,))
    beginning = Beginning(("make",), Clock(1_700_000_000 * 10**9, START), START, 10 * MS)
    return Results("a file", from_job(job, beginning, ending), "here", tracks)


def without_samples() -> Results:
    """The same from a file that has only peaks, where a format needs no more."""
    results = job()
    tracks = Tracks()
    assert results.tracks
    tracks.by_serial = results.tracks.by_serial
    return replace(results, profile=replace(results.profile, timeline=None), tracks=tracks)


def unseen() -> Results:
    """A job of which nothing is known except that it ran."""
    results = job()
    profile = with_processes(
        results.profile,
        lambda each: each._replace(
            parent=None,
            start=None,
            exit_status=None,
            end_known=False,
            sampled=False,
            usage=NO_USAGE,
            programs=tuple(program._replace(peak=NO_PEAK) for program in each.programs),
        ),
    )
    profile = replace(
        profile,
        exit_status=None,
        max_total_rss=None,
        max_total_time=0,
        max_total_processes=0,
        max_total_pss=None,
        at_peak=(),
        largest=None,
        groups=tuple(Group(each.name, each.processes, 0, 0, 0) for each in profile.groups),
        timeline=None,
        memory_limit=MemoryLimit(None, None, None, None, None, None),
        overhead=Overhead(None, None),
        sampling=profile.sampling._replace(achieved=None, ticks=0),
    )
    return Results("a file", profile, None, Tracks())


def with_processes(profile: Profile, change: Callable[[Process], Process]) -> Profile:
    processes = ProcessTable()
    for each in profile.processes:
        processes.add(change(each))
    return replace(profile, processes=processes)


def exported(name: str, results: Results) -> bytes:
    return b"".join(FORMATS[name].export(results))


def having(**fields: Any) -> Results:
    results = job()
    return replace(results, profile=replace(results.profile, **fields))


# Unknown is not zero ------------------------------------------------------------------------------


class Optional(NamedTuple):
    """Something that may be unknown: results in which it has a value, with what that value is when
    it is unknown, zero, and known."""

    make: Callable[[Any], Results]
    unknown: Any = None
    zero: Any = 0
    known: Any = A


def _limit(**fields: int | None) -> Results:
    return having(memory_limit=replace(job().profile.memory_limit, **fields))


def _overhead(**fields: int | None) -> Results:
    return having(overhead=replace(job().profile.overhead, **fields))


def _process(change: Callable[[Process], Process]) -> Results:
    results = job()
    return replace(results, profile=with_processes(results.profile, change))


def _peak(peak: Peak) -> Results:
    def change(process: Process) -> Process:
        return process._replace(programs=(process.programs[-1]._replace(peak=peak),))

    results = _process(change)
    largest = max(results.profile.processes, key=lambda each: each.peak.rss)
    profile = replace(results.profile, largest=largest if peak.known else None)
    return replace(results, profile=profile)


def _group(group: Group) -> Results:
    return having(groups=(group,))


def _footprint(footprint: Footprint) -> Results:
    largest = job().profile.largest
    assert largest
    programs = (largest.programs[-1]._replace(footprint=footprint),)
    shown = largest._replace(programs=programs) if footprint.known else None
    return having(largest_footprint=shown)


def _bounds(high: int | None) -> Results:
    return having(footprint=FootprintBounds(2 * A, 3 * A, high, AT, PAGE_FAULTS, None))


def _tick(**fields: Sequence[int | None]) -> Results:
    """A timeline of one tick: each field is what that has."""
    optional = [fields.get(key, [None]) for key in Timeline._fields[3:]]
    return having(timeline=Timeline([AT], [A], [1], *optional))


def _sample(shared: int, parts: tuple[int, int, int] | None) -> Results:
    """The first process has one sample of A, and so much of it in files and shared memory."""
    results, script = job(), Script(origin=AT)
    script.start(1, "make").memory(1, A, shared=None if shared < 0 else shared)
    if parts:
        script.parts(1, *parts)
    tracks = Tracks()
    tracks.apply(script.batch())
    return replace(results, tracks=tracks)


def _total(total: int | None) -> Results:
    return having(max_total_rss=total, largest=None, max_total_pss=None)


OPTIONAL = {
    "total RSS": Optional(_total),
    "total PSS": Optional(
        lambda pss: having(max_total_pss=pss),
        zero=PssPeak(0, AT, 120 * MIB, 0),
        known=PssPeak(A, AT, 120 * MIB, 0),
    ),
    "total footprint": Optional(
        lambda footprint: having(max_total_footprint=footprint),
        zero=FootprintPeak(0, AT, 0),
        known=FootprintPeak(A, AT, 0),
    ),
    "bounds of the footprint": Optional(
        lambda bounds: having(footprint=bounds),
        zero=FootprintBounds(0, 0, 0, AT, ALONE, None),
        known=FootprintBounds(A, A, A, AT, ALONE, None),
    ),
    "upper bound of the footprint": Optional(_bounds),
    "lower bound over time": Optional(lambda size: _tick(footprint_low=[size])),
    "part in files over time": Optional(lambda size: _tick(shared=[size])),
    "shared memory over time": Optional(lambda size: _tick(shmem=[size])),
    "part in files of a sample": Optional(lambda size: _sample(size, None), unknown=-1),
    "parts of a sample": Optional(
        lambda parts: _sample(A, parts), zero=(0, 0, 0), known=(A // 2, A // 3, A // 4)
    ),
    "exit status": Optional(lambda status: having(exit_status=status), known=7 << 8),
    "limit": Optional(lambda size: _limit(limit_bytes=size)),
    "OOM kills": Optional(lambda number: _limit(oom_kills=number), known=12_347),
    "OOM kills elsewhere": Optional(lambda number: _limit(machine_oom_kills=number), known=12_347),
    "use of the limit": Optional(lambda size: _limit(usage_bytes=size)),
    "CPU of memwatch": Optional(lambda time: _overhead(cpu=time)),
    "RSS of memwatch": Optional(lambda size: _overhead(rss_peak=size)),
    "peak": Optional(_peak, NO_PEAK, Peak(0, AT, EXACT), Peak(A, AT, EXACT)),
    "group": Optional(
        _group,
        Group("cc1", 1, 0, 0, 0),
        Group("cc1", 1, 0, AT, 1),
        Group("cc1", 1, A, AT, A),
    ),
    "footprint": Optional(_footprint, NO_FOOTPRINT, Footprint(0, EXACT), Footprint(A, EXACT)),
    "exit status of a process": Optional(
        lambda status: _process(lambda each: each._replace(exit_status=status)), known=7 << 8
    ),
    "start of a process": Optional(
        lambda time: _process(lambda each: each._replace(start=time)), zero=START, known=AT
    ),
    "CPU of a process": Optional(
        lambda usage: _process(lambda each: each._replace(usage=usage)),
        NO_USAGE,
        Usage(0, 0, 0, 0, 0),
        Usage(A, A, A, A, A),
    ),
}


@pytest.mark.parametrize("what", OPTIONAL)
@pytest.mark.parametrize("name", FORMATS)
def test_unknown_is_not_zero(name: str, what: str) -> None:
    optional = OPTIONAL[what]
    unknown, zero, known = (
        exported(name, optional.make(value))
        for value in (optional.unknown, optional.zero, optional.known)
    )
    if zero != known:  # the format has it
        assert unknown != zero


def test_each_optional_value_is_in_some_export() -> None:
    """So that the test above can fail. What no format has is named here."""
    in_none = {
        what
        for what, (make, _, zero, known) in OPTIONAL.items()
        if all(exported(name, make(zero)) == exported(name, make(known)) for name in FORMATS)
    }
    assert in_none == {
        "OOM kills elsewhere",
        "use of the limit",
        "CPU of a process",
        "shared memory over time",
    }


# What is unknown has no trace ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_what_has_no_meaning_is_not_exported(name: str) -> None:
    """Of what is unknown the model keeps numbers that mean nothing."""
    results = unseen()
    nonsense = Peak(A, AT, UNKNOWN)
    profile = with_processes(
        results.profile,
        lambda each: each._replace(
            programs=tuple(program._replace(peak=nonsense) for program in each.programs)
        ),
    )
    groups = tuple(each._replace(peak_rss=A, peak_time=AT) for each in profile.groups)
    assert not any(group.peak_known for group in groups)
    profile = replace(profile, max_total_time=AT, max_total_processes=12_347, groups=groups)
    assert exported(name, replace(results, profile=profile)) == exported(name, results)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "pss",
    [
        PssPeak(A, AT, 30 * MIB, 0),  # when the job held a quarter of its most
        PssPeak(A, AT, 120 * MIB, 1),  # an upper bound
        PssPeak(A, AT, 30 * MIB, 1),
        PssPeak(A, AT, 120 * MIB, 0, is_low=True),
    ],
    ids=["elsewhere", "bound", "bound elsewhere", "low"],
)
def test_a_pss_that_is_not_that_of_the_peak_is_not_exported(name: str, pss: PssPeak) -> None:
    without = without_samples()
    without = replace(without, profile=replace(without.profile, max_total_pss=None))
    having = replace(without, profile=replace(without.profile, max_total_pss=pss))
    assert having.profile.total_pss.comparable is None
    if not FORMATS[name].needs_samples:
        # As from the JSON of a run.
        without, having = replace(without, tracks=None), replace(having, tracks=None)
    assert exported(name, having) == exported(name, without)


@pytest.mark.parametrize("name", FORMATS)
def test_a_footprint_without_some_processes_is_not_exported(name: str) -> None:
    bounds = FootprintBounds(A, A, None, AT, SYSTEM, None)
    partial = having(max_total_footprint=FootprintPeak(A, AT, 1), footprint=bounds)
    assert exported(name, partial) == exported(name, job())


@pytest.mark.parametrize("name", FORMATS)
def test_sums_of_pss_that_are_bounds_are_not_exported(name: str) -> None:
    def having_sum(size: int, unread: int, *, is_low: bool = False) -> bytes:
        results = job()
        assert results.tracks
        results.tracks.pss.append(PssSum(START + 20 * MS, size, unread, is_low))
        return exported(name, results)

    assert having_sum(A, 1) == having_sum(B, 1) == exported(name, job())
    assert having_sum(A, 0, is_low=True) == exported(name, job())
    # A whole sum of another time is exported where it has its time beside it.
    if name in ("perfetto", "firefox", "otlp"):
        assert having_sum(A, 0) != having_sum(B, 0)


# Jobs that died -----------------------------------------------------------------------------------


def died(how: How) -> Results:
    profile = job().profile
    if how is How.FAILED:
        profile = replace(profile, exit_status=9)
    elif how is How.CUT_SHORT:
        sampling = profile.sampling._replace(error=CUT_SHORT)
        profile = replace(profile, exit_status=None, sampling=sampling)
    else:
        profile = with_processes(profile, lambda each: each._replace(exit_status=None))
        profile = replace(
            profile,
            accuracy=profile.accuracy._replace(lost=1),
            memory_limit=replace(profile.memory_limit, oom_kills=1),
        )
    assert ending(profile).how is how
    return replace(job(), profile=profile)


@pytest.mark.parametrize("how", [How.FAILED, How.CUT_SHORT, How.OOM_KILL])
def test_a_job_that_died_is_no_point_of_a_benchmark(how: How) -> None:
    assert json.loads(exported("gha", died(how))) == []
    assert json.loads(exported("bmf", died(how))) == {"make": {}}


def test_a_job_that_failed_is_one() -> None:
    """As of a linter that finds something."""
    failed = having(exit_status=1 << 8)
    assert exported("gha", failed) == exported("gha", job())
    assert exported("bmf", failed) == exported("bmf", job())


def test_the_duration_of_a_job_that_was_not_seen_to_its_end_is_unknown() -> None:
    assert b"job_duration_seconds" in exported("openmetrics", job())
    assert b"job_duration_seconds" not in exported("openmetrics", died(How.CUT_SHORT))
