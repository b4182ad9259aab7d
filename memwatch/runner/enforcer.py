"""Ends a job that exceeds a limit: SIGTERM to every process, then SIGKILL to those that stay."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from memwatch.model.limits import GRACE, Breach, LimitOutcome, Limits, Signalled, has_grown
from memwatch.runner.native import SignalledProcesses, now

PATIENCE = 10.0
"""Seconds to wait, after SIGKILL, for a process that cannot be ended: one in an uninterruptible
sleep, for example."""

EMPTY_LISTS = 3
"""How often in a row the job must be found empty: a child forked while the processes are listed
may be missing in one list."""

BETWEEN_LISTS = 0.005
"""Seconds between two lists of the job's processes."""

BETWEEN_KILLS = 0.0005
"""Seconds between two rounds of SIGKILL, while there are processes that fork on."""


class Target(Protocol):
    """The processes of a job: `native.Sampler`."""

    def signal(self, number: int) -> SignalledProcesses:
        """Sends a signal to every living process of the job; with 0 it only lists them."""

    def resident(self, pids: list[int]) -> int:
        """Returns the sum of the resident sizes of processes; with a limit on the footprint, files
        in memory that they write are added."""


class Enforcer:
    """Ends the job when a limit is exceeded, and keeps what became of the limits. SIGKILL follows
    SIGTERM after `kill_after` seconds, or at once when the job grows on. When `kill_after` is None
    the job is left alone. `programs` returns the names of the programs that run, by pid.
    """

    def __init__(
        self,
        limits: Limits,
        kill_after: float | None,
        target: Target,
        programs: Callable[[], Mapping[int, str]],
    ) -> None:
        self._limits = limits
        self._kill_after = kill_after
        self._target = target
        self._asked = 0
        self._held = 0
        self._deadline: float | None = None
        self._breaches: list[Breach] = []
        self._programs = programs
        self._grew = False
        self._terminated: set[int] = set()
        self._killed: set[int] = set()
        self._names: dict[int, str] = {}

    def on_breach(self, breach: Breach) -> int | None:
        """Notes a breach, and begins to end the job at the first. Returns the time after which the
        job has been asked to end, in nanoseconds since boot; None when it is left alone."""
        self._breaches.append(breach)
        if self._kill_after is None:
            return None
        if self._deadline is None:
            self._deadline = time.monotonic() + self._kill_after
            self._terminated.update(self._target.signal(signal.SIGTERM).living)
            self._note_names()
            if self._terminated:
                # A stopped process handles SIGTERM only when it continues.
                self._target.signal(signal.SIGCONT)
            self._asked = now()
        return self._asked

    def on_growth(self) -> None:
        """Kills a job that grows on after it was asked to end."""
        if self._deadline is not None:
            self._grew = not self._is_due()
            self._deadline = min(self._deadline, time.monotonic())
            self.kill_if_due()

    def _note_names(self) -> None:
        """Keeps the names of the programs of processes that get a signal."""
        self._names = {**self._programs(), **self._names}

    @property
    def timeout(self) -> float | None:
        """Seconds until kill_if_due() has something to do; None when it has nothing to do."""
        if self._deadline is None:
            return None
        return max(self._deadline - time.monotonic(), BETWEEN_LISTS)

    def kill_if_due(self) -> None:
        """Sends SIGKILL to the living processes once the time after SIGTERM is over."""
        if self._is_due():
            self._killed.update(self._target.signal(signal.SIGKILL).living)
            self._note_names()

    def finish(
        self, is_hurried: Callable[[], bool], inconclusive: tuple[str, ...]
    ) -> LimitOutcome | None:
        """Ends the processes that are left after the command has ended, if a limit was exceeded.
        Returns what became of the limits; None without limits. `inconclusive` is a field of it.

        Once `is_hurried()` is true, the processes that SIGTERM did not end are killed at once.
        """
        if not self._limits.any:
            return None
        return LimitOutcome(
            self._limits,
            self._kill_after is not None,
            tuple(self._breaches),
            survivors=tuple(self._end_rest(is_hurried)),
            signalled=bool(self._terminated),
            killed=tuple(sorted(self._killed)),
            receivers=self._receivers(),
            grew=self._grew and bool(self._killed),
            inconclusive=inconclusive,
        )

    def _receivers(self) -> tuple[Signalled, ...]:
        sent = (("SIGTERM", self._terminated), ("SIGKILL", self._killed))
        return tuple(
            Signalled(pid, self._names.get(pid), tuple(name for name, pids in sent if pid in pids))
            for pid in sorted(self._terminated | self._killed)
        )

    def _end_rest(self, is_hurried: Callable[[], bool]) -> list[int]:
        """Returns the pids of the processes that could not be ended."""
        living: list[int] = []
        if self._deadline is None:
            return living
        empty = 0
        while empty < EMPTY_LISTS and time.monotonic() < self._deadline + PATIENCE:
            if is_hurried():
                self._deadline = min(self._deadline, time.monotonic())
            is_due = self._is_due()
            living, ended = self._target.signal(signal.SIGKILL if is_due else 0)
            if living and not is_due and self._grows_on(living):
                self.on_growth()
            empty = 0 if living or ended else empty + 1
            if is_due:
                self._killed.update(living)
            time.sleep(BETWEEN_KILLS if is_due and not empty else BETWEEN_LISTS)
        return living

    def _grows_on(self, living: list[int]) -> bool:
        """Returns whether the processes that are left when the command has ended, and sampling with
        it, hold more than at first."""
        size = self._target.resident(living)
        if not self._held or now() <= self._asked + GRACE:
            self._held = max(self._held, size)
        return has_grown(self._held, size)

    def _is_due(self) -> bool:
        """Returns whether the time after SIGTERM is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline
