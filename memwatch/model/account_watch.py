"""Readings of the kernel's account of a job, on their way to where a limit is judged.

One thread reads, and adds what it has read; another takes that, and judges it. Times are
nanoseconds since boot, sizes are bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from memwatch.model.cgroup_account import AccountReading
from memwatch.model.limits import LONGEST_INTERVAL, grown

# When a size is near its limit: the same as in csrc/watch.c, where the reasons are.
CLOSE_PART = 0.8
LATELY = 1_000_000_000
AHEAD = 3 * LONGEST_INTERVAL

WOKEN_EVERY = 100_000_000
"""Near the limit: as often as while progress is shown."""


class AccountWatch:
    """Hands readings over, and calls `wake` for one that exceeds the limit, or has grown on since;
    also now and then near the limit, so that little else waits when it is exceeded."""

    def __init__(self, limit: int, wake: Callable[[], None]) -> None:
        self._limit = limit
        self._wake = wake
        self._alarm: float = limit
        self._waiting: deque[AccountReading] = deque()
        self._last: AccountReading | None = None
        """The last one as it was read."""
        self._risen_at: int | None = None
        self._woken_at = -WOKEN_EVERY
        self.is_near = False
        """Whether the last reading is close to the limit and has risen lately, or would reach the
        limit within AHEAD if it went on like this."""

    def add(self, footprint: int, time: int) -> None:
        """Adds what was read."""
        before = self._last
        self._last = AccountReading(time, footprint)
        if not before:
            return
        self.is_near = self._nears(before, self._last)
        agreed = min(before.footprint, footprint)
        self._waiting.append(AccountReading(time, agreed))
        exceeds = agreed > self._alarm
        if exceeds:
            self._alarm = grown(agreed)
        if exceeds or (self.is_near and time - self._woken_at >= WOKEN_EVERY):
            self._woken_at = time
            self._wake()

    def take(self) -> Iterator[AccountReading]:
        """Yields what was added since the last call."""
        while self._waiting:
            yield self._waiting.popleft()

    def _nears(self, before: AccountReading, last: AccountReading) -> bool:
        rise = last.footprint - before.footprint
        is_close = last.footprint > self._limit * CLOSE_PART
        if rise <= 0:
            return is_close and self._risen_at is not None and last.time - self._risen_at < LATELY
        self._risen_at = last.time
        left = self._limit - last.footprint
        return is_close or rise * AHEAD > left * (last.time - before.time)
