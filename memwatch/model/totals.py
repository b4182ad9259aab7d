"""What a job held in total: tick by tick, and at its peak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from memwatch.model.observations import TICK_EXTRA, TICK_LATE


class Holder(NamedTuple):
    """What one process held at one time."""

    serial: int
    pid: int
    group: str
    rss: int


class Timeline(NamedTuple):
    """The totals of all ticks, as columns with one entry for each tick."""

    times: Sequence[int]
    """Nanoseconds since boot."""
    totals: Sequence[int]
    """Bytes."""
    counts: Sequence[int]
    """Live processes."""


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
