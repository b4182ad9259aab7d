"""What a job held in total: tick by tick, and at its peak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

from memwatch.model.observations import TICK_EXTRA, TICK_LATE
from memwatch.model.spill import Numbers, OptionalNumbers, Rows


class Holder(NamedTuple):
    """What one process held at one time."""

    serial: int
    pid: int
    group: str
    rss: int


class TimelineRow(NamedTuple):
    """The totals of one tick, with the fields of Timeline."""

    time: int
    total: int
    processes: int
    shared: int | None
    shmem: int | None
    swapped: int | None
    footprint_low: int | None


class Timeline(NamedTuple):
    """The totals of all ticks, as columns with one entry for each tick."""

    times: Sequence[int]
    """Nanoseconds since boot."""
    totals: Sequence[int]
    """Bytes."""
    counts: Sequence[int]
    """Live processes."""
    shared: Sequence[int | None]
    """Bytes of the total that belong to files or shared memory; None where that is not known."""
    shmem: Sequence[int | None]
    """Bytes of the total that belong to shared memory, as each process was read last; None where
    some process had to be left out."""
    swapped: Sequence[int | None]
    """Bytes that are swapped out, in the same way."""
    footprint_low: Sequence[int | None]
    """Bytes that the job held at least, of what the kernel cannot simply drop; None where that is
    not known."""

    def rows(self) -> Iterator[TimelineRow]:
        """Yields the ticks in order."""
        return starmap(TimelineRow, zip(*self, strict=True))


class RunningTimeline:
    """Collects the totals of all ticks: 56 bytes for each."""

    def __init__(self) -> None:
        self._known = (Numbers(), Numbers(), Numbers())
        self._optional = tuple(OptionalNumbers() for _ in Timeline._fields[len(self._known) :])
        self._rows = Rows((*self._known, *self._optional))

    def add(self, *row: int | None) -> None:
        """Adds a tick, with the fields of TimelineRow in their order."""
        self._rows.add(row)

    @property
    def timeline(self) -> Timeline:
        """The ticks so far."""
        self._rows.flush()
        return Timeline(*self._known, *self._optional)


class PssPeak(NamedTuple):
    """The highest sum of proportional set sizes: each page of memory counted once."""

    total: int
    """Bytes."""
    time: int
    """Time of the tick at which the sum was prompted."""
    rss: int
    """Sum of the resident sizes of the same processes at that tick, in bytes."""
    unread: int
    """Number of processes counted with their resident size instead, which is larger."""
    is_low: bool = False
    """Whether memory may be missing in the sum, because mappings changed while it was made: it is a
    lower bound."""


class FootprintPeak(NamedTuple):
    """The highest sum of physical footprints at one tick."""

    total: int
    """Bytes."""
    time: int
    unread: int
    """Number of processes that are not in the sum, because their footprint could not be read."""


class Ticks:
    """How the sampling itself went."""

    __slots__ = ("_last_regular", "count", "late", "regular", "regular_time", "skipped")

    def __init__(self) -> None:
        self.count = 0
        self.late = 0
        """Regular ticks that began more than half an interval after their time."""
        self.skipped = 0
        """Regular ticks that could not be made at all."""
        self.regular = 0
        """Steps from one regular tick to the next; extra ticks are not counted."""
        self.regular_time = 0
        """Sum of the lengths of those steps, in nanoseconds."""
        self._last_regular: int | None = None

    def add(self, time: int, skipped: int, valid: int) -> None:
        """Counts a tick, and the ticks that were skipped before it."""
        self.count += 1
        self.skipped += skipped
        if valid & TICK_EXTRA:
            # Near a limit they replace the regular ticks.
            self._last_regular = None
            return
        if valid & TICK_LATE:
            self.late += 1
        if self._last_regular is not None:
            self.regular += 1
            self.regular_time += time - self._last_regular
        self._last_regular = time

    @property
    def achieved(self) -> float | None:
        """Mean nanoseconds from one regular tick to the next; None with fewer than two."""
        return self.regular_time / self.regular if self.regular else None
