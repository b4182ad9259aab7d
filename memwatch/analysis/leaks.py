"""Searches for processes that seem to leak: a heuristic, on the resident sizes that were sampled.

Observations may come from a running job or from a recording, with the same result. A process takes
2 KiB, for any length of its run, and nothing once it has ended.
"""

from __future__ import annotations

from typing import NamedTuple

from memwatch.analysis.trend import FEWEST_STRETCHES, Lows, steady_growth
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
"""A process with fewer samples is not judged: a few points may be on a line by chance."""

LEAST_GROWTH = 1 << 20
"""Bytes. Less does not matter, and Linux counts a process's memory only to some 100 KiB."""


class GrowingProcess(NamedTuple):
    """The process that grew."""

    serial: int
    pid: int
    program: ProgramText
    """The program that it ran meanwhile."""


class Leak(NamedTuple):
    """Steady growth of memory that was never given back. Times are nanoseconds since boot."""

    process: GrowingProcess | None
    """None for the job's total."""
    start: int
    """When the warm-up was over, where the straight line begins."""
    end: int
    """Where the straight line ends."""
    low: int
    """Bytes at the start of the straight line through what was kept."""
    high: int
    """Bytes at the end of that line."""
    fit: float
    """The part of the variation that the line explains, 1 at most."""

    @property
    def rate(self) -> float:
        """Bytes per hour."""
        return (self.high - self.low) / (self.end - self.start) * HOUR

    @property
    def growth(self) -> float:
        """Growth as a part of what was kept at the start: 0.5 is 50 %."""
        return (self.high - self.low) / self.low


class Leaks(NamedTuple):
    """The result of a search."""

    min_growth: float
    """Growth that was asked for, as a part of what was kept at the start."""
    min_duration: int
    """Time that a process had to run one program to be judged, in nanoseconds."""
    judged: int
    """Number of processes that ran one program for that long and had enough samples."""
    total_judged: bool
    """Whether the job's total was judged, which is done only when no process was found."""
    found: tuple[Leak, ...]
    """The leaks, fastest first."""


class _LiveProcess:
    """A live process, and the least that its program held over time."""

    __slots__ = ("lows", "pid", "text", "ticks", "valid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.text = b""
        self.valid = 0
        self.lows: Lows | None = None
        self.ticks = 0
        """How many ticks there had been when its program was first sampled."""


class LeakSearch:
    """Searches for leaks in the observations of a job."""

    def __init__(self, min_growth: float, min_duration: int) -> None:
        """`min_growth` is a part (0.5 is 50 %), `min_duration` is in nanoseconds."""
        self._min_growth = min_growth
        self._min_duration = min_duration
        self._width = max(1, min_duration // FEWEST_STRETCHES)
        self._live: dict[int, _LiveProcess] = {}
        self._total: Lows | None = None
        self._ticks = 0
        self._last_tick = 0
        self._judged = 0
        self._found: list[Leak] = []

    def apply(self, batch: Batch) -> None:
        """Adds the observations of a batch."""
        live = self._live
        for time, serial, value, second, kind, valid, pid, _ppid, _third in batch.records:
            if kind == MEMORY:
                if valid & HAS_RSS:
                    self._memory(serial, pid, time, value)
            elif kind == TICK:
                self._ticks += 1
                self._last_tick = time
                # The total is 0 before the first process is seen, and when all have ended.
                if value and self._total:
                    self._total.add(time, value)
                elif value:
                    self._total = Lows(time, value, self._width)
            elif kind == IMAGE:
                if second:
                    self._program(serial, pid, batch.text[value : value + second], valid)
            elif kind == EXITED and (process := live.pop(serial, None)):
                self._end_program(serial, process)

    def finish(self) -> Leaks:
        """Returns the result, when the job is over."""
        for serial, process in self._live.items():
            self._end_program(serial, process)
        self._live.clear()
        total_judged = False
        if self._total and not self._found:
            total_judged = self._judge(self._total, self._ticks, None)
        found = tuple(sorted(self._found, key=lambda leak: -leak.rate))
        return Leaks(self._min_growth, self._min_duration, self._judged, total_judged, found)

    def _memory(self, serial: int, pid: int, time: int, value: int) -> None:
        process = self._process(serial, pid)
        if not value:  # it has given up all memory, and is about to end
            self._end_program(serial, process)
        elif process.lows:
            process.lows.add(time, value)
        else:
            process.lows = Lows(time, value, self._width)
            process.ticks = self._ticks

    def _program(self, serial: int, pid: int, text: bytes, valid: int) -> None:
        process = self._process(serial, pid)
        if not valid & SAME_IMAGE:
            self._end_program(serial, process)
        process.text = text
        process.valid = valid

    def _process(self, serial: int, pid: int) -> _LiveProcess:
        process = self._live.get(serial)
        if process is None:
            process = self._live[serial] = _LiveProcess(pid)
        return process

    def _end_program(self, serial: int, process: _LiveProcess) -> None:
        """Judges the program that has ended."""
        lows, process.lows = process.lows, None
        if not lows or self._last_tick - lows.start < self._min_duration:
            return
        program = decode_program(process.text, process.valid) if process.text else UNREADABLE
        growing = GrowingProcess(serial, process.pid, program)
        self._judged += self._judge(lows, self._ticks - process.ticks, growing)

    def _judge(self, lows: Lows, samples: int, process: GrowingProcess | None) -> bool:
        """Notes a leak if there is steady growth. Returns whether that could be judged."""
        if self._last_tick - lows.start < self._min_duration or samples < FEWEST_SAMPLES:
            return False
        lows.hold(self._last_tick)
        trend = steady_growth(lows.values, self._min_growth)
        if trend and trend.high - trend.low >= LEAST_GROWTH:
            start, end = (lows.start + place * lows.width for place in (trend.first, trend.last))
            low, high = round(trend.low), round(trend.high)
            self._found.append(Leak(process, start, end, low, high, trend.fit))
        return True
