"""Looks for processes that seem to leak: a heuristic, on the resident sizes that were sampled.

Fed with observations as they come or from a recording, with the same result. A process takes 2 KiB
however long it runs, and nothing once it has ended.
"""

from __future__ import annotations

from typing import NamedTuple

from memwatch.analysis.trend import FEWEST, Lows, steady_growth
from memwatch.model.observations import (
    EXITED,
    HAS_RSS,
    IMAGE,
    MEMORY,
    SAME_IMAGE,
    TICK,
    Batch,
    ProgramText,
    decode_program,
)
from memwatch.model.processes import UNREADABLE

HOUR = 3_600_000_000_000

FEWEST_SAMPLES = 20
"""What was sampled less often is not judged: chance may draw a line through a few points."""

SMALLEST_GROWTH = 1 << 20
"""Bytes. Less is no matter, and Linux counts a process's memory to some 100 KiB only."""


class Subject(NamedTuple):
    """The process that grew."""

    serial: int
    pid: int
    program: ProgramText
    """What it ran then."""


class Leak(NamedTuple):
    """Steady growth of memory that was never given back. Times are nanoseconds since boot."""

    process: Subject | None
    """None: no single process, but the job's total."""
    start: int
    """From here, after its warm-up,"""
    end: int
    """to here."""
    low: int
    """Bytes at the start of the straight line through what it kept."""
    high: int
    """At its end."""
    fit: float
    """The part of the variation that this line explains, 1 at most."""

    @property
    def rate(self) -> float:
        """Bytes per hour."""
        return (self.high - self.low) / (self.end - self.start) * HOUR

    @property
    def growth(self) -> float:
        """In parts of what it kept at the start: 0.5 is 50 %."""
        return (self.high - self.low) / self.low


class Leaks(NamedTuple):
    """What was looked for, and found."""

    min_growth: float
    min_duration: int
    judged: int
    """Processes that ran so long, one program without a break, and were sampled often enough."""
    total_judged: bool
    """So was the job's total. It is only judged when no process was found."""
    found: tuple[Leak, ...]
    """The fastest first."""


class _Watched:
    """A live process."""

    __slots__ = ("lows", "pid", "text", "ticks", "valid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.text = b""
        self.valid = 0
        self.lows: Lows | None = None
        self.ticks = 0
        """How many there had been when its program was first sampled."""


class LeakSearch:
    def __init__(self, min_growth: float, min_duration: int) -> None:
        """`min_growth` is in parts (0.5 is 50 %), `min_duration` in nanoseconds."""
        self._min_growth = min_growth
        self._min_duration = min_duration
        self._width = max(1, min_duration // FEWEST)
        self._live: dict[int, _Watched] = {}
        self._total: Lows | None = None
        self._ticks = 0
        self._last_tick = 0
        self._judged = 0
        self._found: list[Leak] = []

    def apply(self, batch: Batch) -> None:
        live = self._live
        for time, serial, value, second, kind, valid, pid, _ppid in batch.records:
            if kind == MEMORY:
                if valid & HAS_RSS:
                    self._memory(serial, pid, time, value)
            elif kind == TICK:
                self._ticks += 1
                self._last_tick = time
                # It is 0 before the first process is seen, and when all have ended.
                if value and self._total:
                    self._total.add(time, value)
                elif value:
                    self._total = Lows(time, value, self._width)
            elif kind == IMAGE:
                if second:
                    self._program(serial, pid, batch.text[value : value + second], valid)
            elif kind == EXITED and (watched := live.pop(serial, None)):
                self._judge(serial, watched)

    def finish(self) -> Leaks:
        """The job is over."""
        for serial, watched in self._live.items():
            self._judge(serial, watched)
        self._live.clear()
        total_judged = False
        if self._total and not self._found:
            total_judged = self._look_at(self._total, self._ticks, None)
        found = tuple(sorted(self._found, key=lambda leak: -leak.rate))
        return Leaks(self._min_growth, self._min_duration, self._judged, total_judged, found)

    def _memory(self, serial: int, pid: int, time: int, value: int) -> None:
        watched = self._live.get(serial)
        if watched is None:
            watched = self._live[serial] = _Watched(pid)
        if not value:  # it has given up all memory, and is about to end
            self._judge(serial, watched)
        elif watched.lows:
            watched.lows.add(time, value)
        else:
            watched.lows = Lows(time, value, self._width)
            watched.ticks = self._ticks

    def _program(self, serial: int, pid: int, text: bytes, valid: int) -> None:
        watched = self._live.get(serial)
        if watched is None:
            watched = self._live[serial] = _Watched(pid)
        if not valid & SAME_IMAGE:
            self._judge(serial, watched)
        watched.text = text
        watched.valid = valid

    def _judge(self, serial: int, watched: _Watched) -> None:
        """Its program has ended."""
        lows, watched.lows = watched.lows, None
        if not lows or self._last_tick - lows.start < self._min_duration:
            return
        program = decode_program(watched.text, watched.valid) if watched.text else UNREADABLE
        process = Subject(serial, watched.pid, program)
        self._judged += self._look_at(lows, self._ticks - watched.ticks, process)

    def _look_at(self, lows: Lows, samples: int, process: Subject | None) -> bool:
        """Whether it could be judged."""
        if self._last_tick - lows.start < self._min_duration or samples < FEWEST_SAMPLES:
            return False
        lows.hold(self._last_tick)
        trend = steady_growth(lows.values, self._min_growth)
        if trend and trend.high - trend.low >= SMALLEST_GROWTH:
            start, end = (lows.start + place * lows.width for place in (trend.first, trend.last))
            low, high = round(trend.low), round(trend.high)
            self._found.append(Leak(process, start, end, low, high, trend.fit))
        return True
