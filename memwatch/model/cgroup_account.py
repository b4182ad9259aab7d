"""The kernel's account of a job that ran in a control group of its own (`--cgroup`).

The kernel charges a page to the group whose process used it first, and to one group only. So the
account has each page once, and also what belongs to no process: files in tmpfs, the page cache, the
kernel's own memory. Times are nanoseconds since boot, sizes are bytes. None means unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class CgroupSample(NamedTuple):
    """What the group held at one time, from its memory.stat.

    The kernel adds up the counts of the CPUs every two seconds, or when there is enough to add: a
    size may be off by a few hundred pages for each CPU (memcg_rstat_updated() of Linux 6.12).
    """

    time: int
    anon: int
    """Anonymous memory."""
    shmem: int
    """Shared memory and files in tmpfs."""
    swap: int | None
    file: int | None
    """Page cache without `shmem`: the kernel can drop it, after writing what was changed."""
    kernel: int | None
    """The kernel's own memory for the job: page tables, stacks, sockets, caches."""
    huge: int | None
    """Pages of HugeTLB; None also where no controller counts them."""

    @property
    def footprint(self) -> int:
        """What the kernel cannot simply drop: a lower bound where `swap` or `huge` is unknown."""
        return self.anon + self.shmem + (self.swap or 0) + (self.huge or 0)

    def certain(self, peak: int | None) -> int:
        """Returns what of the footprint is certain, by the peak of all memory until then, which is
        exact; None where the kernel does not have it."""
        memory = self.anon + self.shmem
        excess = 0 if peak is None else max(0, memory - peak)
        return self.footprint - excess


class AccountReading(NamedTuple):
    """What an account says of the footprint, to judge a limit by."""

    time: int
    footprint: int
    """What two samples in a row agree on: the kernel does not count all CPUs at one moment."""


class CgroupSpan(NamedTuple):
    """What the group held at most in a span of time, which begins where the one before ends."""

    end: int
    footprint: int
    """The highest sample."""
    usage: int | None
    """The exact peak of all memory (Linux 6.12, version 2)."""


@dataclass(frozen=True, slots=True)
class CgroupAccount:
    """What the kernel has charged to the job's group, or why there was no group."""

    reason: str | None = None
    """Why the job was in no group of its own; all that follows is None or empty then."""
    version: int | None = None
    path: str | None = None
    """The folder of the group, which is gone when the job is over."""
    peak: int | None = None
    """The highest use of all memory, exact: page cache and kernel memory are in it, swap is not."""
    peak_time: int | None = None
    """When the first sample at or after the peak was taken."""
    peak_with_swap: int | None = None
    """The highest sum of memory and swap."""
    swap_peak: int | None = None
    """The highest use of swap (version 2, Linux 6.5)."""
    largest: CgroupSample | None = None
    """The sample with the highest footprint."""
    samples: int = 0
    stall_some: int | None = None
    """Nanoseconds in which at least one process waited for memory (PSI, version 2)."""
    stall_full: int | None = None
    """Nanoseconds in which no process ran, because all that could waited for memory."""
    oom_kills: int | None = None
    """Processes of the job that the OOM killer has ended, for any limit."""
    remains: str | None = None
    """The folder of the group if it could not be removed: processes or groups are still in it."""
    history: tuple[CgroupSpan, ...] = ()
    """All samples in order, merged so that there are no more than LONGEST_HISTORY."""

    @property
    def footprint_low(self) -> int | None:
        """The highest footprint in a sample: it may have been higher between two samples."""
        if not self.largest:
            return None
        high = self.footprint_high
        footprint = self.largest.footprint
        # The peak is exact, and the sample may not be.
        return footprint if high is None else min(footprint, high + (self.largest.huge or 0))

    @property
    def footprint_high(self) -> int | None:
        """What the footprint certainly did not exceed, huge pages left out: the peak of all memory
        and swap. None where the peak of swap is unknown."""
        if self.peak_with_swap is not None:
            return self.peak_with_swap
        if self.peak is None or self.swap_peak is None:
            return None
        return self.peak + self.swap_peak


LONGEST_HISTORY = 500


class History:
    """Collects spans, and merges them two by two when there are too many."""

    def __init__(self) -> None:
        self._spans: list[CgroupSpan] = []
        self._merged = 1
        self._waiting: list[CgroupSpan] = []

    def add(self, span: CgroupSpan) -> None:
        """Adds the span that follows the last one."""
        self._waiting.append(span)
        if len(self._waiting) < self._merged:
            return
        self._spans.append(merged(self._waiting))
        self._waiting = []
        if len(self._spans) == LONGEST_HISTORY:
            pairs = zip(self._spans[::2], self._spans[1::2], strict=True)
            self._spans = [merged(pair) for pair in pairs]
            self._merged *= 2

    def spans(self) -> tuple[CgroupSpan, ...]:
        """Returns what was collected; the last span may be shorter than the others."""
        rest = [merged(self._waiting)] if self._waiting else []
        return (*self._spans, *rest)


def merged(spans: Iterable[CgroupSpan]) -> CgroupSpan:
    """Joins spans that follow each other. The highest use is unknown if one of them is."""
    ends, footprints, usages = zip(*spans, strict=True)
    known = [each for each in usages if each is not None]
    return CgroupSpan(ends[-1], max(footprints), max(known) if len(known) == len(usages) else None)
