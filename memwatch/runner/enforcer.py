"""Holds a job to its limits: SIGTERM to every process of it, and SIGKILL to those that stay."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from memwatch.model.limits import Breach, LimitOutcome, Limits
from memwatch.runner.native import Struck

# A process that cannot be ended, in an uninterruptible sleep say, is not waited for longer.
PATIENCE = 10.0

# A process that is passed on from fork to fork may be missed in one list of the living.
EMPTY_LISTS = 3
BETWEEN_LISTS = 0.005
BETWEEN_STRIKES = 0.0005


class Enforcer:
    """`strike` is Sampler.signal: it sends a signal to every living process of the job.

    SIGKILL follows SIGTERM after `kill_after` seconds. When that is None the job is left alone.
    """

    def __init__(
        self, limits: Limits, kill_after: float | None, strike: Callable[[int], Struck]
    ) -> None:
        self._limits = limits
        self._kill_after = kill_after
        self._strike = strike
        self._deadline: float | None = None
        self._breaches: list[Breach] = []
        self._struck = False
        self._killed: set[int] = set()

    def on_breach(self, breach: Breach) -> None:
        self._breaches.append(breach)
        if self._kill_after is None or self._deadline is not None:
            return
        self._deadline = time.monotonic() + self._kill_after
        if self._strike(signal.SIGTERM).living:
            self._struck = True
            # One that is stopped would notice no sooner than it goes on.
            self._strike(signal.SIGCONT)

    @property
    def timeout(self) -> float | None:
        """Seconds until kill_if_due() has something to do; None while there is nothing."""
        if self._deadline is None:
            return None
        return max(self._deadline - time.monotonic(), BETWEEN_LISTS)

    def kill_if_due(self) -> None:
        """Sends SIGKILL to the living once the time after SIGTERM is over."""
        if self._is_over():
            self._killed.update(self._strike(signal.SIGKILL).living)

    def finish(self, is_hurried: Callable[[], bool]) -> LimitOutcome | None:
        """After the command has ended: sees to it that nobody is left. None without limits.

        Once `is_hurried()`, those that SIGTERM did not end are killed at once.
        """
        if not self._limits.any:
            return None
        return LimitOutcome(
            self._limits,
            self._kill_after is not None,
            tuple(self._breaches),
            survivors=tuple(self._end(is_hurried)),
            struck=self._struck,
            killed=tuple(sorted(self._killed)),
        )

    def _end(self, is_hurried: Callable[[], bool]) -> list[int]:
        living: list[int] = []
        if self._deadline is None:
            return living
        empty = 0
        while empty < EMPTY_LISTS and time.monotonic() < self._deadline + PATIENCE:
            if is_hurried():
                self._deadline = min(self._deadline, time.monotonic())
            is_over = self._is_over()
            living, ended = self._strike(signal.SIGKILL if is_over else 0)
            empty = 0 if living or ended else empty + 1
            if is_over:
                self._killed.update(living)
            time.sleep(BETWEEN_STRIKES if is_over and not empty else BETWEEN_LISTS)
        return living

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline
