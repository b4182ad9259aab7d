"""Every memory sample of each process, for charts and for export."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memwatch.model.observations import (
    HAS_RSS,
    HAS_SHARED,
    LOWER,
    MEMORY,
    PARTS,
    PSS,
    TICK,
    TICK_DETAILED,
    Batch,
)

NOT_KNOWN = -1
"""Stands for a size that is not known."""


class Track(NamedTuple):
    """The samples of one process. Each value holds until the time of the next, the last one until
    the process's end."""

    times: array[int]
    """Nanoseconds since boot, in ascending order; two may be equal."""
    rss: array[int]
    """Bytes."""
    shared: array[int]
    """The bytes of `rss` that belong to files or shared memory; NOT_KNOWN where the system does not
    say."""


class PartsTrack(NamedTuple):
    """What one process holds beside anonymous pages and pages of files. Each value holds until the
    time of the next, as in Track."""

    times: array[int]
    """The first is when they were known first."""
    shmem: array[int]
    """Bytes of shared memory, as they were read last."""
    swapped: array[int]
    """Bytes that are swapped out."""
    huge: array[int]
    """Bytes in huge pages of hugetlbfs."""


class Split(NamedTuple):
    """What one process held at one sample, in bytes. None: not known."""

    rss: int
    anonymous: int | None
    file: int | None
    shmem: int | None
    swapped: int | None
    huge: int | None


class PssSum(NamedTuple):
    """One sum of the proportional set sizes of all processes."""

    time: int
    total: int
    """Bytes."""
    unread: int
    """Number of processes counted with their resident size instead, which is larger."""
    is_low: bool = False
    """Whether memory may be missing in the sum, because mappings changed while it was made: it is a
    lower bound."""


class Tracks:
    """Collects the samples: 24 bytes for each change of a process's memory."""

    def __init__(self) -> None:
        self.by_serial: dict[int, Track] = {}
        self.pss: list[PssSum] = []
        """Every sum that was made, in order."""
        self._parts: dict[int, PartsTrack] = {}
        self._detailed = array("q")
        """The times of the ticks at which the parts of all processes were known."""

    def apply(self, batch: Batch) -> None:
        """Collects the samples of a batch."""
        for time, serial, value, second, kind, valid, _pid, _ppid, third in batch.records:
            if kind == MEMORY and valid & HAS_RSS:
                track = self.by_serial.get(serial)
                if track is None:
                    track = Track(array("q"), array("q"), array("q"))
                    self.by_serial[serial] = track
                track.times.append(time)
                track.rss.append(value)
                track.shared.append(third if valid & HAS_SHARED else NOT_KNOWN)
            elif kind == PSS:
                self.pss.append(PssSum(time, value, second, bool(valid & LOWER)))
            elif kind == TICK and valid & TICK_DETAILED:
                self._detailed.append(time)
            elif kind == PARTS:
                self._add_parts(time, serial, value, second, third)

    def _add_parts(self, time: int, serial: int, shmem: int, swapped: int, huge: int) -> None:
        parts = self._parts.get(serial)
        if parts is None:
            parts = PartsTrack(array("q"), array("q"), array("q"), array("q"))
            self._parts[serial] = parts
        for column, value in zip(parts, (time, shmem, swapped, huge), strict=True):
            column.append(value)

    @property
    def largest_shmem(self) -> int:
        """The most bytes of shared memory that one process mapped."""
        return max((max(parts.shmem) for parts in self._parts.values()), default=0)

    def parts(self, serial: int) -> PartsTrack | None:
        """Returns the parts of a process; None where they were never known.

        A process that holds none has no observation of them. So its parts are known to be 0 from
        the first tick at which those of all processes were known.
        """
        track, parts = self.by_serial.get(serial), self._parts.get(serial)
        if track is None:
            return parts
        first = bisect_left(self._detailed, track.times[0])
        if first == len(self._detailed) or (parts and parts.times[0] <= self._detailed[first]):
            return parts
        known = PartsTrack(*(array("q", (value,)) for value in (self._detailed[first], 0, 0, 0)))
        if parts:
            for column, more in zip(known, parts, strict=True):
                column.extend(more)
        return known

    def splits(self, serial: int) -> Iterator[tuple[int, Split]]:
        """Yields the time of each sample of a process, and what the process held then.

        The parts may be older than the sample. A process has no more shared memory than all that
        the sample has in files and shared memory.
        """
        track, parts = self.by_serial.get(serial), self.parts(serial)
        if track is None:
            return
        coming = list(zip(*parts, strict=True))[::-1] if parts else []
        known: Sequence[int] | None = None
        for time, rss, shared in zip(*track, strict=True):
            while coming and coming[-1][0] <= time:
                _, *known = coming.pop()
            if shared == NOT_KNOWN:
                shmem, swapped, huge = known or (None, None, None)
                yield time, Split(rss, None, None, shmem, swapped, huge)
            elif known is None:
                yield time, Split(rss, rss - shared, None, None, None, None)
            else:
                shmem, swapped, huge = known
                shmem = min(shmem, shared)
                yield time, Split(rss, rss - shared, shared - shmem, shmem, swapped, huge)
