"""Limits on a job's memory: when one is exceeded, and what each process held then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from memwatch.model.job import Job
from memwatch.model.observations import HAS_RSS, HAS_WATERMARK, MEMORY, PSS, TICK, Batch
from memwatch.model.totals import Holder

TOTAL_RSS = "max_total_rss"
PROCESS_RSS = "max_per_proc_rss"
TOTAL_PSS = "max_total_pss"

BREACH_EXIT_CODES = {TOTAL_RSS: 10, PROCESS_RSS: 11, TOTAL_PSS: 10}

_NO_LIMIT = 1 << 64


class Limits(NamedTuple):
    """The limits of one run, in bytes; None for no limit."""

    total_rss: int | None = None
    """Limit on the sum of resident sizes, and so on what one process holds."""
    process_rss: int | None = None
    """Limit on the resident size of each process."""
    total_pss: int | None = None
    """Limit on the sum of proportional set sizes."""

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return any(limit is not None for limit in self)


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Breach:
    """The first time that a limit was exceeded."""

    limit: str
    """TOTAL_RSS, PROCESS_RSS or TOTAL_PSS."""
    allowed: int
    """The limit, in bytes."""
    size: int
    """Bytes held when it was noticed. What was held a moment later may be more."""
    time: int
    """Nanoseconds since boot."""
    processes: int
    """Number of processes alive then."""
    serial: int | None
    """The process that held `size`; None where all processes together held it."""
    pid: int | None
    command: str | None
    """The name of the program that the process ran."""
    holders: tuple[Holder, ...]
    """What each process held at that time, largest first."""


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """What became of the limits of a run."""

    limits: Limits
    kill: bool
    """Whether the job was to be ended when a limit was exceeded."""
    breaches: tuple[Breach, ...]
    """Ordered by time, at most one for each limit."""
    signalled: bool = False
    """Whether SIGTERM reached a process; False when the job had ended by itself, or was left
    alone."""
    killed: tuple[int, ...] = ()
    """Pids of the processes that got SIGKILL, because SIGTERM did not end them in time."""
    survivors: tuple[int, ...] = ()
    """Pids of the processes that SIGKILL did not end."""

    @property
    def exit_code(self) -> int:
        """The exit code of memwatch itself; 0 when no limit was exceeded."""
        return BREACH_EXIT_CODES[self.breaches[0].limit] if self.breaches else 0


class LimitChecker:
    """Applies observations to a job, and calls `on_breach` at the very observation that breaks a
    limit."""

    def __init__(self, job: Job, limits: Limits, on_breach: Callable[[Breach], None]) -> None:
        self._job = job
        self._on_breach = on_breach
        self._allowed = {
            name: _NO_LIMIT if limit is None else limit
            for name, limit in zip((TOTAL_RSS, PROCESS_RSS, TOTAL_PSS), limits, strict=True)
        }

    def apply(self, batch: Batch) -> None:
        """Applies a batch, as Job.apply() does."""
        records, text = batch.records, batch.text
        applied = 0
        for index, (time, serial, value, second, kind, valid, _pid, _ppid, _third) in enumerate(
            records
        ):
            if kind == MEMORY:
                size, broken = self._process(value, second, valid)
            elif kind == TICK:
                size, broken = value, self._more_than(value, TOTAL_RSS)
            elif kind == PSS and not second:  # a sum that contains resident sizes proves nothing
                size, broken = value, self._more_than(value, TOTAL_PSS)
            else:
                continue
            if broken:
                self._job.apply(Batch(records[applied : index + 1], text))
                applied = index + 1
                for name in broken:
                    self._breach(name, size, time, serial if kind == MEMORY else None)
        self._job.apply(Batch(records[applied:], text) if applied else batch)

    def _more_than(self, size: int, *names: str) -> list[str]:
        return [name for name in names if size > self._allowed[name]]

    def _process(self, value: int, second: int, valid: int) -> tuple[int, list[str]]:
        """Returns the process's size or peak, whichever is more, and the limits that it breaks.

        A size that breaks the limit on the total is found at the tick that follows; a peak may
        have been reached between two ticks only, so it is compared here.
        """
        peak = second if valid & HAS_WATERMARK else 0
        size = max(value, peak) if valid & HAS_RSS else peak
        broken = self._more_than(size, PROCESS_RSS)
        return size, broken + self._more_than(peak, TOTAL_RSS)

    def _breach(self, name: str, size: int, time: int, serial: int | None) -> None:
        live = self._job.live
        process = None if serial is None else live[serial]
        holders = (Holder(p.serial, p.pid, p.group.name, p.rss) for p in live.values() if p.rss)
        allowed, self._allowed[name] = self._allowed[name], _NO_LIMIT
        self._on_breach(
            Breach(
                name,
                allowed,
                size,
                time,
                len(live),
                serial,
                process.pid if process else None,
                process.program.name if process and process.program else None,
                tuple(sorted(holders, key=lambda holder: (-holder.rss, holder.serial))),
            )
        )
