"""Limits on what a job may hold: the moment when one is exceeded, and who held what then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from memwatch.model.job import Holder, Job
from memwatch.model.observations import HAS_RSS, HAS_WATERMARK, MEMORY, PSS, TICK, Batch

TOTAL_RSS = "max_total_rss"
PROCESS_RSS = "max_per_proc_rss"
TOTAL_PSS = "max_total_pss"

BREACH_EXIT_CODES = {TOTAL_RSS: 10, PROCESS_RSS: 11, TOTAL_PSS: 10}

_NO_LIMIT = 1 << 64


class Limits(NamedTuple):
    """Bytes; None for no limit."""

    total_rss: int | None = None
    """Of the sum of resident sizes, and so of what one process holds."""
    process_rss: int | None = None
    """Of the resident size of each process."""
    total_pss: int | None = None
    """Of the sum of proportional set sizes."""

    @property
    def any(self) -> bool:
        return any(limit is not None for limit in self)


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit was exceeded, for the first time."""

    limit: str
    """TOTAL_RSS, PROCESS_RSS or TOTAL_PSS."""
    allowed: int
    """Bytes."""
    size: int
    """Bytes when it was noticed. What was held a moment later may be more."""
    time: int
    """Nanoseconds since boot."""
    processes: int
    """How many were alive."""
    serial: int | None
    """The process that held `size`; None where it was all of them."""
    pid: int | None
    command: str | None
    """The name of the program it ran."""
    holders: tuple[Holder, ...]
    """Who held what at that time, largest first."""


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """What became of the limits of a run."""

    limits: Limits
    kill: bool
    """Whether the job was to be ended when one was exceeded."""
    breaches: tuple[Breach, ...]
    """In order of time, one for each limit at most."""
    struck: bool = False
    """Whether some process was still there for SIGTERM: else the job had ended by itself."""
    killed: tuple[int, ...] = ()
    """Processes (pids) that SIGTERM did not end in time, so that they got SIGKILL."""
    survivors: tuple[int, ...] = ()
    """Processes (pids) that even that did not end."""

    @property
    def exit_code(self) -> int:
        """Of memwatch itself; 0 when no limit was exceeded."""
        return BREACH_EXIT_CODES[self.breaches[0].limit] if self.breaches else 0


class Guard:
    """Applies observations to a job, and calls `on_breach` at the very one that breaks a limit."""

    def __init__(self, job: Job, limits: Limits, on_breach: Callable[[Breach], None]) -> None:
        self._job = job
        self._on_breach = on_breach
        self._allowed = {
            name: _NO_LIMIT if limit is None else limit
            for name, limit in zip((TOTAL_RSS, PROCESS_RSS, TOTAL_PSS), limits, strict=True)
        }

    def apply(self, batch: Batch) -> None:
        """Job.apply()."""
        records, text = batch.records, batch.text
        begun = 0
        for index, (time, serial, value, second, kind, valid, _pid, _ppid) in enumerate(records):
            if kind == MEMORY:
                size, broken = self._process(value, second, valid)
            elif kind == TICK:
                size, broken = value, self._more_than(value, TOTAL_RSS)
            elif kind == PSS and not second:  # with resident sizes among them it proves nothing
                size, broken = value, self._more_than(value, TOTAL_PSS)
            else:
                continue
            if broken:
                self._job.apply(Batch(records[begun : index + 1], text))
                begun = index + 1
                for name in broken:
                    self._breach(name, size, time, serial if kind == MEMORY else None)
        self._job.apply(Batch(records[begun:], text) if begun else batch)

    def _more_than(self, size: int, *names: str) -> list[str]:
        return [name for name in names if size > self._allowed[name]]

    def _process(self, value: int, second: int, valid: int) -> tuple[int, list[str]]:
        """Its size or its peak, whichever is more, and what that breaks. Of the total the tick that
        follows tells, unless it was as much between two ticks only."""
        peak = second if valid & HAS_WATERMARK else 0
        size = max(value, peak) if valid & HAS_RSS else peak
        broken = self._more_than(size, PROCESS_RSS)
        return size, broken + self._more_than(peak, TOTAL_RSS)

    def _breach(self, name: str, size: int, time: int, serial: int | None) -> None:
        live = self._job.live
        process = None if serial is None else live[serial]
        held = (Holder(p.serial, p.pid, p.group.name, p.rss) for p in live.values() if p.rss)
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
                tuple(sorted(held, key=lambda holder: (-holder.rss, holder.serial))),
            )
        )
