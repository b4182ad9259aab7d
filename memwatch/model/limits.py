"""Limits on a job's memory: when one is exceeded, and what each process held then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from memwatch.model.job import Job
from memwatch.model.observations import (
    AVAILABLE,
    FOOTPRINT,
    HAS_RSS,
    HAS_SHARED,
    HAS_WATERMARK,
    IN_GROUP,
    LOWER,
    MEMORY,
    PSS,
    TICK,
    TICK_PARTIAL,
    Batch,
)
from memwatch.model.totals import Holder

if TYPE_CHECKING:
    from memwatch.model.cgroup_account import AccountReading

TOTAL_RSS = "max_total_rss"
PROCESS_RSS = "max_per_proc_rss"
TOTAL_PSS = "max_total_pss"
TOTAL_FOOTPRINT = "max_total_footprint"
AVAILABLE_MEMORY = "min_available"

BREACH_EXIT_CODES = {
    TOTAL_RSS: 10,
    PROCESS_RSS: 11,
    TOTAL_PSS: 10,
    TOTAL_FOOTPRINT: 10,
    AVAILABLE_MEMORY: 10,
}
"""The exit code of memwatch by limit, in the order of the fields of Limits."""

LONGEST_INTERVAL = 10_000_000
"""Nanoseconds between two ticks at most, with any limit."""

GROWTH_PART = 0.01
GROWTH = 1 << 20
"""A job that was asked to end grows on when it holds more by this part and by so many bytes. The
handler of SIGTERM may need a little itself, and the kernel counts in batches of pages. The same as
in csrc/watch.c."""

GRACE = 20_000_000
"""Nanoseconds in which a process that got SIGTERM begins to handle it, on a busy machine: it may
still grow then."""

_NO_LIMIT = 1 << 64

_ACCOUNT = "account"
"""A measure of growth, as the names of limits are: the account of the job's control group."""


def grown(before: int) -> float:
    """Returns the size above which a job that was asked to end when it held `before` bytes has
    grown on."""
    return before * (1 + GROWTH_PART) + GROWTH


def has_grown(before: int, size: int) -> bool:
    """Returns whether a job that was asked to end when it held `before` bytes has grown on."""
    return size > grown(before)


class Limits(NamedTuple):
    """The limits of one run, in bytes; None for no limit."""

    total_rss: int | None = None
    """Limit on the sum of resident sizes, and so on what one process holds."""
    process_rss: int | None = None
    """Limit on the resident size of each process."""
    total_pss: int | None = None
    """Limit on the sum of proportional set sizes."""
    total_footprint: int | None = None
    """Limit on the footprint of the job."""
    min_available: int | None = None
    """What the machine, and the control group of the job, must have left."""

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return any(limit is not None for limit in self)

    def by_name(self) -> dict[str, int]:
        """Returns the limits that are set, by the names of BREACH_EXIT_CODES."""
        named = zip(BREACH_EXIT_CODES, self, strict=True)
        return {name: limit for name, limit in named if limit is not None}


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Breach:
    """The first time that a limit was exceeded."""

    limit: str
    """A key of BREACH_EXIT_CODES."""
    allowed: int
    """The limit, in bytes."""
    size: int
    """Bytes held when it was noticed; for AVAILABLE_MEMORY, the bytes that were left. A moment
    later it may have been worse."""
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
    in_group: bool | None = None
    """For AVAILABLE_MEMORY: whether a control group had so little left, and not the machine; None
    for other limits."""
    by_account: bool = False
    """Whether the account of the job's own control group has `size`, and not the samples."""


class Signalled(NamedTuple):
    """A process that memwatch sent signals to."""

    pid: int
    command: str | None
    """The name of the program that it ran; None for a process that was in no sample."""
    signals: tuple[str, ...]
    """"SIGTERM", "SIGKILL", in the order in which they were sent."""


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """What became of the limits of a run."""

    limits: Limits
    kill: bool
    """Whether the job was to be ended when a limit was exceeded."""
    breaches: tuple[Breach, ...]
    """In the order in which they were found, at most one for each limit."""
    signalled: bool = False
    """Whether SIGTERM reached a process; False when the job had ended by itself, or was left
    alone."""
    killed: tuple[int, ...] = ()
    """Pids of the processes that got SIGKILL, because SIGTERM did not end them in time."""
    survivors: tuple[int, ...] = ()
    """Pids of the processes that SIGKILL did not end."""
    receivers: tuple[Signalled, ...] = ()
    """The processes that got a signal, in the order of their pids; empty in results of older
    versions."""
    grew: bool = False
    """Whether SIGKILL came early because the job grew on after SIGTERM."""
    inconclusive: tuple[str, ...] = ()
    """Names of the limits that may have been exceeded: what they are about could not be measured,
    or not at the right time."""

    @property
    def exit_code(self) -> int:
        """The exit code of memwatch itself; 0 when no limit was exceeded."""
        return BREACH_EXIT_CODES[self.breaches[0].limit] if self.breaches else 0


class _Growth(NamedTuple):
    """What a job held that was asked to end: it must not grow on."""

    measure: str
    """What tells: the limit that it exceeded, or _ACCOUNT."""
    size: int
    until: int
    """Time up to which it may grow, in nanoseconds since boot."""


class LimitChecker:
    """Applies observations to a job, and calls `on_breach` at the very observation that breaks a
    limit.

    `on_breach` returns the time at which the job was asked to end, in nanoseconds since boot; None
    when it was left alone. `on_growth` is called once, if the job grows on after that.
    """

    def __init__(
        self,
        job: Job,
        limits: Limits,
        on_breach: Callable[[Breach], int | None],
        on_growth: Callable[[], None] = lambda: None,
    ) -> None:
        self._job = job
        self._on_breach = on_breach
        self._on_growth = on_growth
        self._limits = limits.by_name()
        self._allowed = {name: self._limits.get(name, _NO_LIMIT) for name in BREACH_EXIT_CODES}
        self._growth: _Growth | None = None
        self._is_ending = False
        self._total = 0
        self._pss = 0
        """The last sum of PSS, or an upper bound that is less than the one before it."""
        self._seen = False
        self._partial = False
        self._has_available = False
        self._pss_proven = self._allowed[TOTAL_PSS]
        """The total RSS up to which sums have shown the PSS to be within its limit."""
        self._pss_unproven = 0
        """The highest total RSS of which no sum has shown that."""
        self._goes_by_bounds = not {TOTAL_FOOTPRINT, TOTAL_PSS}.isdisjoint(self._limits)
        self._footprint_measured = 0
        """What the last sum of proportional shares has measured of it."""
        self._footprint_high: int | None = None
        """The highest upper bound; None before the first."""
        self._footprint_missing = True
        """Whether the last footprint had no upper bound."""

    def apply(self, batch: Batch) -> None:
        """Applies a batch, as Job.apply() does."""
        records, text = batch.records, batch.text
        applied = 0
        for index, record in enumerate(records):
            time, serial, value, second, kind, valid, _pid, _ppid, third = record
            if kind == MEMORY:
                broken = self._process(value, second, valid, time)
            elif kind == TICK:
                broken = self._tick(value, valid, time)
                if self._goes_by_bounds and valid & HAS_SHARED:
                    self._job.apply(Batch(records[applied : index + 1], text))
                    applied = index + 1
                    running = self._job.footprint
                    broken += self.footprint(running.low_now, running.high, time)
                    # No process outside of the job has a part of this.
                    broken += self._more_than(running.low_anonymous_now, TOTAL_PSS)
            elif kind == PSS:
                broken = self._sum(value, serial, second, valid) + self._measured(third)
            elif kind == FOOTPRINT and not serial:
                # A sum in which processes are missing is a lower bound.
                broken = self.footprint(value, None if second else value, time)
            elif kind == AVAILABLE:
                broken = self._available(value)
            else:
                continue
            if broken:
                self._job.apply(Batch(records[applied : index + 1], text))
                applied = index + 1
                in_group = bool(valid & IN_GROUP) if kind == AVAILABLE else None
                for name, size in broken:
                    self._breach(name, size, time, serial if kind == MEMORY else None, in_group)
        self._job.apply(Batch(records[applied:], text) if applied else batch)

    def account(self, reading: AccountReading) -> None:
        """Judges a reading of the account of the job's own control group. What was observed until
        then has been applied."""
        time, footprint = reading
        self._watch_growth(_ACCOUNT, footprint, time)
        for name, size in self._more_than(footprint, TOTAL_FOOTPRINT):
            self._breach(name, size, time, None, None, by_account=True)

    def footprint(self, low: int, high: int | None, time: int) -> list[tuple[str, int]]:
        """Judges the footprint of the job at a tick, which is certainly not below `low` and not
        above `high`; None where there is no upper bound. Returns the limits that it breaks, with
        the size that does."""
        self._footprint_missing = high is None
        if high is not None and (self._footprint_high is None or high > self._footprint_high):
            self._footprint_high = high
        self._watch_growth(TOTAL_FOOTPRINT, low, time)
        return self._more_than(low, TOTAL_FOOTPRINT)

    def inconclusive(self, *, complete: bool) -> tuple[str, ...]:
        """Returns the limits of which it is not known whether they were exceeded. `complete`:
        the job was sampled until it ended."""
        judged = {
            TOTAL_RSS: self._seen and not self._partial,
            PROCESS_RSS: self._seen and not self._partial,
            TOTAL_PSS: self._seen and not self._partial and not self._pss_unproven,
            TOTAL_FOOTPRINT: (
                self._footprint_high is not None
                and not self._footprint_missing
                and self._footprint_high <= self._allowed[TOTAL_FOOTPRINT]
            ),
            AVAILABLE_MEMORY: self._has_available,
        }
        # A limit that was exceeded is not watched any more.
        return tuple(
            name
            for name in self._limits
            if self._allowed[name] != _NO_LIMIT and not (complete and judged[name])
        )

    def _more_than(self, size: int, *names: str) -> list[tuple[str, int]]:
        return [(name, size) for name in names if size > self._allowed[name]]

    def _process(self, value: int, second: int, valid: int, time: int) -> list[tuple[str, int]]:
        """Returns the limits that the process's size or peak breaks, whichever is more.

        A size that breaks the limit on the total is found at the tick that follows; a peak may
        have been reached between two ticks only, so it is compared here.
        """
        peak = second if valid & HAS_WATERMARK else 0
        size = peak
        if valid & HAS_RSS:
            size = max(value, peak)
            self._watch_growth(PROCESS_RSS, value, time)
        self._seen = self._seen or size > 0
        return self._more_than(size, PROCESS_RSS) + self._more_than(peak, TOTAL_RSS)

    def _tick(self, total: int, valid: int, time: int) -> list[tuple[str, int]]:
        self._total = total
        self._partial = self._partial or bool(valid & TICK_PARTIAL)
        if total > self._pss_proven:
            self._pss_unproven = max(self._pss_unproven, total)
        self._watch_growth(TOTAL_RSS, total, time)
        self._watch_growth(AVAILABLE_MEMORY, total, time)
        self._watch_growth(TOTAL_PSS, total, time)
        return self._more_than(total, TOTAL_RSS)

    def _sum(self, value: int, rss: int, by_rss: int, valid: int) -> list[tuple[str, int]]:
        """Returns the limits that two sums of PSS in a row break, by the size on which they agree:
        processes that are read one after the other may move memory meanwhile."""
        agreed = min(value, self._pss)
        # A sum that contains resident sizes proves at most that the PSS is smaller.
        self._pss = agreed if by_rss else value
        limit = self._allowed[TOTAL_PSS]
        if value <= limit and not valid & LOWER:
            # What the total rises by after this sum is not shared, at worst.
            self._pss_proven = rss + limit - value
            if self._pss_unproven <= self._pss_proven:
                self._pss_unproven = 0
        return [] if by_rss else self._more_than(agreed, TOTAL_PSS)

    def _measured(self, size: int) -> list[tuple[str, int]]:
        """Does the same for the footprint that was measured with such a sum."""
        agreed = min(size, self._footprint_measured)
        self._footprint_measured = size
        return self._more_than(agreed, TOTAL_FOOTPRINT)

    def _available(self, left: int) -> list[tuple[str, int]]:
        self._has_available = True
        limit = self._allowed[AVAILABLE_MEMORY]
        return [(AVAILABLE_MEMORY, left)] if limit != _NO_LIMIT and left < limit else []

    def _watch_growth(self, measure: str, size: int, time: int) -> None:
        """Calls `on_growth` if the job was asked to end and holds more than it held then."""
        growth = self._growth
        if not growth or growth.measure != measure:
            return
        if time <= growth.until:
            self._growth = growth._replace(size=max(size, growth.size))
        elif has_grown(growth.size, size):
            self._growth = None
            self._on_growth()

    def _breach(
        self,
        name: str,
        size: int,
        time: int,
        serial: int | None,
        in_group: bool | None,
        *,
        by_account: bool = False,
    ) -> None:
        live = self._job.live
        process = None if serial is None else live[serial]
        allowed, self._allowed[name] = self._allowed[name], _NO_LIMIT
        asked = self._on_breach(
            Breach(
                name,
                allowed,
                size,
                time,
                len(live),
                serial,
                process.pid if process else None,
                process.program.name if process and process.program else None,
                self._job.holders(),
                in_group,
                by_account,
            )
        )
        if asked is not None and not self._is_ending:
            self._is_ending = True
            # A sum of PSS takes too long, and what is available depends on others: then the growth
            # of the total RSS counts.
            held = self._total if name in (TOTAL_PSS, AVAILABLE_MEMORY) else size
            self._growth = _Growth(_ACCOUNT if by_account else name, held, asked + GRACE)
