"""What a job held in the second before a process was killed, and in its own last second."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from memwatch.model.processes import Process
from memwatch.model.totals import Holder

SPAN = 1_000_000_000
"""One second, in nanoseconds."""

MOST_KILLS = 20
"""Kills that a profile keeps: those of the largest processes. A job may kill thousands itself."""


class Kill(NamedTuple):
    """A process that SIGKILL ended. Only the kernel or another process sends that."""

    process: Process
    total_rss: int | None
    """Highest sum of resident sizes in the second before its end, in bytes; None when there was no
    tick."""


class LastSecond(NamedTuple):
    """What a job held at its last tick, and a second before. Times are nanoseconds since boot."""

    time: int
    """Of the last tick."""
    total_rss: int
    """Sum of resident sizes at that tick, in bytes."""
    since: int
    """Of the tick that it is compared with: the first of that second, or the last but one where
    the interval is longer. The same as `time` when there was one tick only."""
    total_before: int
    """Sum of resident sizes at that first tick, in bytes."""
    holders: tuple[Holder, ...]
    """What each process held at the last tick, largest first."""

    @property
    def growth(self) -> int | None:
        """Bytes by which the total grew, negative when it shrank; None with one tick only."""
        return None if self.since == self.time else self.total_rss - self.total_before


class RecentTotals:
    """The totals of the ticks of the last second, and of the last two at least."""

    __slots__ = ("_ticks",)

    def __init__(self) -> None:
        self._ticks: deque[tuple[int, int]] = deque()

    def add(self, time: int, total: int) -> None:
        """Adds a tick, and forgets those that are too old."""
        ticks = self._ticks
        ticks.append((time, total))
        while len(ticks) > 2 and ticks[0][0] < time - SPAN:
            ticks.popleft()

    def highest_before(self, time: int) -> int | None:
        """Returns the highest total of the second before `time`, or the last one where there was
        none; None without a tick before `time`."""
        before = [(at, total) for at, total in self._ticks if at <= time]
        if not before:
            return None
        since = min(time - SPAN, before[-1][0])
        return max(total for at, total in before if at >= since)

    def last_second(self, holders: tuple[Holder, ...]) -> LastSecond | None:
        """Returns the last second; None when there was no tick."""
        if not self._ticks:
            return None
        (since, before), (time, total) = self._ticks[0], self._ticks[-1]
        return LastSecond(time, total, since, before, holders)
