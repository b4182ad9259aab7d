"""The profile of one job: immutable, and all that reports need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from memwatch.model.figure import Bound, Figure, Why, unknown
from memwatch.model.footprint_bounds import SYSTEM, FootprintBounds
from memwatch.model.groups import COMMAND, Group
from memwatch.model.job import Job
from memwatch.model.known_footprint import judged, total_footprint, within
from memwatch.model.last_second import Kill, LastSecond
from memwatch.model.limits import LimitOutcome
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import EXACT, FOUND_BY, PEAK_SOURCES, UNKNOWN, Process
from memwatch.model.sources import COMPLETE_SOURCES, LINUX
from memwatch.model.totals import FootprintPeak, Holder, PssPeak, Timeline

if TYPE_CHECKING:
    from memwatch.model.cgroup_account import CgroupAccount

NEAR_PEAK = 0.95
"""A sum of proportional set sizes belongs to the peak if the RSS of the same processes was at least
this part of the highest total."""

CUT_SHORT = "memwatch was killed, could not keep writing, or the file is damaged"
"""Value of Sampling.error for a recording that stops before the job ends."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Two readings of one moment, from which times since boot become dates."""

    realtime: int
    """Nanoseconds since 1970."""
    boottime: int
    """Nanoseconds since boot."""

    def realtime_at(self, time: int) -> int:
        """Returns nanoseconds since 1970 for a time since boot."""
        return self.realtime + time - self.boottime


class Sampling(NamedTuple):
    """How the sampling went: what a report needs to state how far its numbers hold."""

    interval: int
    """Nanoseconds from tick to tick, as it was to be."""
    achieved: float | None
    """Mean from one regular tick to the next, in nanoseconds; None with fewer than two."""
    ticks: int
    late: int
    """Regular ticks that began more than half an interval late."""
    skipped: int
    """Regular ticks that could not be made."""
    unkept: int
    """Processes read without a kept descriptor: the limit on open files was reached."""
    unreadable: int
    """Processes whose memory could not be read: totals are then lower bounds."""
    scanning: bool
    """Whether /proc was scanned at each tick, because this kernel has no lists of children."""
    error: str | None
    """What ended the sampling before the job ended; None when nothing did."""
    requested: int | None = None
    """The interval that was asked for, where a limit required the shorter `interval`; None where
    that is it."""


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """Whether one source was used, and why not."""

    id: str
    """Id of a source in sources.py."""
    used: bool
    reason: str | None
    """Why it was not used, or not to the end."""


class Accuracy(NamedTuple):
    """How the processes and their peaks are known."""

    sources: tuple[SourceOutcome, ...]
    """The sources that were wanted."""
    found_by: Mapping[str, int]
    """Number of processes by how they were found, with a key for each of processes.FOUND_BY."""
    peaks: Mapping[str, int]
    """Number of processes by how their peak is known, with a key for each of
    processes.PEAK_SOURCES."""
    never_sampled: int
    """Processes whose memory was in no sample."""
    lost: int
    """Messages of the sources that were lost."""
    held_back: tuple[str, ...]
    """Paths of set-user-ID programs, like sudo, that could not change user because of the exit
    hook."""
    advice: str | None
    """What to do for exact peaks; None where nothing helps or is needed."""
    footprints: Mapping[str, int] | None = None
    """Number of processes by how their highest physical footprint is known, with the keys of
    `peaks`. None where the system keeps no footprints."""

    @property
    def complete(self) -> bool:
        """Whether the kernel reported every fork or every exit.

        Processes that are killed do not pass the exit hook, and kqueue does not report the pid of
        a forked process.
        """
        return not self.lost and any(
            each.used and each.id in COMPLETE_SOURCES for each in self.sources
        )

    def uses(self, source: str) -> bool:
        """Returns whether the source with that id was used."""
        return any(each.used and each.id == source for each in self.sources)

    @property
    def all_exact(self) -> bool:
        """Whether every process has an exact peak."""
        return sum(self.peaks.values()) == self.peaks[EXACT]


@dataclass(frozen=True, slots=True)
class Overhead:
    """What memwatch's own process used. None means unknown."""

    cpu: int | None
    """CPU time in nanoseconds."""
    rss_peak: int | None
    """Highest RSS in bytes."""


@dataclass(frozen=True, slots=True)
class Profile:
    """All that is known of one job that is over. Times are nanoseconds since boot (see `clock`),
    sizes are bytes."""

    command: tuple[str, ...]
    clock: Clock
    start: int
    end: int
    exit_status: int | None
    """Wait status of the root, as wait(2) gives it; None when it could not be had."""
    sampling: Sampling
    accuracy: Accuracy
    max_total_rss: int | None
    """Highest sum of resident sizes at one tick; None when no memory was seen."""
    max_total_time: int
    max_total_processes: int
    """Number of processes alive at that tick."""
    max_total_pss: PssPeak | None
    """Highest sum of proportional set sizes; None when none was made."""
    at_peak: tuple[Holder, ...]
    """What each process held at that tick, largest first."""
    processes: ProcessTable
    largest: Process | None
    """The process with the highest peak; None when no peak is known."""
    groups: tuple[Group, ...]
    timeline: Timeline | None
    memory_limit: MemoryLimit
    overhead: Overhead
    group_by: str = COMMAND
    """The key of `groups` and of the groups in `at_peak`: see groups.group_key()."""
    limit_outcome: LimitOutcome | None = None
    """What became of the limits of this run; None where it had none."""
    backend: str = LINUX
    """The platform that the job ran on, as sources.py names it."""
    max_total_footprint: FootprintPeak | None = None
    """Highest sum of physical footprints at one tick; None where the system keeps none."""
    max_total_shared: int | None = None
    """The part of `max_total_rss` that belongs to files or shared memory; None where the system
    does not say."""
    footprint: FootprintBounds | None = None
    """The highest total footprint with its bounds; None when none is known."""
    largest_footprint: Process | None = None
    """The process with the highest footprint; None when none is known."""
    kills: tuple[Kill, ...] = ()
    """The processes that SIGKILL ended, as far as their exit status is known, largest first."""
    last_second: LastSecond | None = None
    """What was held at the last tick of a job that was not sampled to its end. None for another,
    and without a tick."""
    cgroup: CgroupAccount | None = None
    """The kernel's account of the job's own control group, or why it had none; None where none was
    asked for."""

    @property
    def duration(self) -> float:
        """Seconds from the start of the command to its end."""
        return (self.end - self.start) / 1e9

    @property
    def exit_code(self) -> int | None:
        """The exit code as a shell gives it: 128 + N for a command killed by signal N."""
        if self.exit_status is None:
            return None
        code = os.waitstatus_to_exitcode(self.exit_status)
        return code if code >= 0 else 128 - code

    @property
    def signal(self) -> int | None:
        """The signal that killed the command; None when none did."""
        if self.exit_status is None or not os.WIFSIGNALED(self.exit_status):
            return None
        return os.WTERMSIG(self.exit_status)

    @property
    def complete(self) -> bool:
        """Whether every process of the job is in the profile."""
        return self.accuracy.complete and not self.sampling.error

    @property
    def total_rss(self) -> Figure:
        """The highest sum of resident sizes at one tick, or the peak of one process where that is
        more."""
        largest, total = self.largest, self.max_total_rss
        if largest and largest.peak.rss > (total or 0):
            return Figure(largest.peak.rss, Bound.AT_LEAST, Why.ONE_PROCESS, largest.peak.time)
        if total is None:
            return unknown(self._why_unseen)
        return Figure(total, Bound.AT_LEAST, Why.SAMPLED, self.max_total_time)

    @property
    def process_rss(self) -> Figure:
        """The highest peak of a single process."""
        if not self.largest:
            return unknown(self._why_unseen)
        peak = self.largest.peak
        if self.complete and self.accuracy.all_exact:
            return Figure(peak.rss, Bound.EXACT, Why.ALL_EXACT, peak.time)
        return Figure(peak.rss, Bound.AT_LEAST, Why.LOWER_BOUNDS, peak.time)

    @property
    def total_pss(self) -> Figure:
        """The highest sum of proportional set sizes: shared pages are counted once."""
        pss = self.max_total_pss
        if not pss:
            return unknown(Why.NOT_MEASURED if self.max_total_rss else self._why_unseen)
        at_peak = pss.rss >= NEAR_PEAK * (self.total_rss.size or 0)
        if pss.unread and not at_peak:
            return unknown(Why.ELSEWHERE)
        if pss.unread:
            return Figure(pss.total, Bound.AT_MOST, Why.WITH_RSS, pss.time)
        why = Why.ELSEWHERE
        if at_peak:
            why = Why.CHANGING if pss.is_low else Why.SAMPLED
        return Figure(pss.total, Bound.AT_LEAST, why, pss.time)

    @property
    def bounded_footprint(self) -> FootprintBounds | None:
        """The highest footprint where it is known by bounds of its own; None where the system says
        it (macOS), or none is known."""
        return None if self.footprint and self.footprint.source == SYSTEM else self.footprint

    @property
    def total_footprint(self) -> Figure:
        """The highest footprint: what the kernel cannot simply drop, each page counted once."""
        footprint = self.footprint
        if not footprint:
            return unknown(Why.NOT_MEASURED if self.max_total_rss else self._why_unseen)
        if footprint.source == SYSTEM:
            return Figure(footprint.best, Bound.AT_LEAST, Why.SAMPLED, footprint.time)
        return Figure(footprint.best, Bound.BETWEEN, Why.ESTIMATED, footprint.time)

    @property
    def _why_unseen(self) -> Why:
        return Why.UNREADABLE if self.sampling.unreadable else Why.NOT_SEEN

    @property
    def was_seen(self) -> bool:
        """Whether anything is known of the job's memory."""
        return bool(self.max_total_rss is not None or self.largest or self.largest_footprint)

    @property
    def headroom(self) -> int | None:
        """How many more bytes the job could have held: from its footprint, or where that is not
        known from the total PSS if it was measured at the peak, or else from the total RSS. None
        when no limit is known, or no memory was seen."""
        pss = self.total_pss
        if self.footprint:
            peak: int | None = self.footprint.best
        else:
            peak = pss.size if pss.at_peak else self.total_rss.size
        return None if peak is None else self.memory_limit.headroom(peak)

    def elapsed(self, time: int) -> float:
        """Returns the seconds from the start of the command to `time`."""
        return (time - self.start) / 1e9


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known of a job as it starts."""

    command: tuple[str, ...]
    clock: Clock
    start: int
    """Nanoseconds since boot."""
    interval: int
    """Nanoseconds from tick to tick, as it is to be."""
    backend: str = LINUX
    """The platform that the job runs on, as sources.py names it."""
    requested_interval: int | None = None
    """See Sampling.requested."""
    directory: str | None = None
    """The directory in which the command is started; None: not known."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known only when a job is over, beside the observations. The fields are explained
    where a profile has them: in Profile, Sampling and Accuracy."""

    end: int
    """Nanoseconds since boot."""
    exit_status: int | None
    overhead: Overhead
    memory_limit: MemoryLimit
    sources: tuple[SourceOutcome, ...] = ()
    lost: int = 0
    held_back: tuple[str, ...] = ()
    advice: str | None = None
    unkept: int = 0
    unreadable: int = 0
    scanning: bool = False
    error: str | None = None
    limit_outcome: LimitOutcome | None = None
    cgroup: CgroupAccount | None = None


def _pss(job: Job) -> PssPeak | None:
    """Returns the best sum of PSS: a whole one near the peak, an upper bound near the peak, a
    lower bound there, or one from another time, in this order."""
    near = NEAR_PEAK * max(job.max_total, job.largest.peak.rss if job.largest else 0)
    sums = [each for each in (job.pss_peak, job.pss_bound, job.pss_low) if each]
    return next((each for each in sums if each.rss >= near), sums[0] if sums else None)


def _footprints(job: Job) -> dict[str, int] | None:
    if not job.has_footprints:
        return None
    known = {key: job.footprints[key] for key in PEAK_SOURCES if key != UNKNOWN}
    return {UNKNOWN: len(job.processes) - sum(known.values()), **known}


def from_job(job: Job, beginning: Beginning, ending: Ending) -> Profile:
    """Ends the job and returns its profile."""
    job.finish(ending.exit_status)
    ticks = job.ticks
    footprint = total_footprint(job, ending.cgroup)
    return Profile(
        command=beginning.command,
        clock=beginning.clock,
        start=beginning.start,
        end=ending.end,
        exit_status=ending.exit_status,
        sampling=Sampling(
            interval=beginning.interval,
            achieved=ticks.achieved,
            ticks=ticks.count,
            late=ticks.late,
            skipped=ticks.skipped,
            unkept=ending.unkept,
            unreadable=ending.unreadable,
            scanning=ending.scanning,
            error=ending.error,
            requested=beginning.requested_interval,
        ),
        accuracy=Accuracy(
            sources=ending.sources,
            found_by={key: job.found_by[key] for key in FOUND_BY},
            peaks={key: job.peaks[key] for key in PEAK_SOURCES},
            never_sampled=job.never_sampled,
            lost=ending.lost,
            held_back=ending.held_back,
            advice=ending.advice if job.peaks.keys() - {EXACT} else None,
            footprints=_footprints(job),
        ),
        max_total_rss=job.max_total or None,
        max_total_time=job.max_total_time,
        max_total_processes=job.max_total_processes,
        max_total_pss=_pss(job),
        at_peak=job.at_peak(),
        processes=job.processes,
        largest=job.largest,
        groups=within(job.groups(), footprint),
        timeline=job.timeline,
        memory_limit=ending.memory_limit,
        overhead=ending.overhead,
        group_by=job.group_by,
        limit_outcome=judged(ending.limit_outcome, footprint, job),
        backend=beginning.backend,
        kills=tuple(job.kills),
        last_second=job.last_second if ending.error else None,
        max_total_footprint=job.footprint_peak,
        max_total_shared=job.max_total_shared,
        footprint=footprint,
        largest_footprint=job.largest_footprint,
        cgroup=ending.cgroup,
    )
