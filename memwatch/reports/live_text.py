"""A running job in one line: time, memory, number of processes, and the largest of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from memwatch.model.job import Job
from memwatch.model.observations import TICK, Batch
from memwatch.model.processes import LiveProcess
from memwatch.units import count, format_size, printable

# A name that is cut shorter means nothing.
SHORTEST_NAME = 4

ELLIPSIS = "…"


class Tick(NamedTuple):
    """The totals of one tick."""

    total: int
    """Bytes."""
    processes: int


def last_tick(batch: Batch) -> Tick | None:
    """Returns the last tick of a batch; None where it has none."""
    for _time, _process, value, second, kind, *_rest in reversed(batch.records):
        if kind == TICK:
            return Tick(value, second)
    return None


class Largest(NamedTuple):
    """The process that holds the most."""

    name: str
    pid: int
    rss: int
    """Bytes."""


class State(NamedTuple):
    """What the line shows at one time. None is unknown."""

    elapsed: float
    """Seconds."""
    total: int | None
    """Bytes at the last tick."""
    max_total: int | None
    """Highest of all ticks, in bytes."""
    partial: bool
    """Whether some memory was unreadable: both totals are lower bounds then."""
    processes: int | None
    largest: Largest | None


def state(job: Job, tick: Tick | None, elapsed: float) -> State:
    """Returns the state of a job. Takes time in proportion to its live processes."""
    known = job.max_total > 0
    return State(
        elapsed,
        tick.total if tick and known else None,
        job.max_total if known else None,
        job.partial,
        tick.processes if tick else None,
        _largest(job.live.values()),
    )


def _largest(processes: Iterable[LiveProcess]) -> Largest | None:
    process = max(processes, key=lambda each: each.rss, default=None)
    if process is None or not process.rss:
        return None
    return Largest(process.program.name if process.program else "?", process.pid, process.rss)


def line(state: State, width: int) -> str:
    """Returns as much of the line as fits into `width` columns, the most important first."""
    parts = list(_parts(state))
    text = ""
    for number, part in enumerate(parts):
        longer = f"{text}  {part}" if number else part
        if columns(longer) > width:
            break
        text = longer
    else:
        return _with_largest(text, state.largest, width)
    return text or cut_to_columns(parts[0], width)


def _parts(state: State) -> Iterator[str]:
    yield format_elapsed(state.elapsed)
    least = "≥ " if state.partial else ""
    yield f"RSS {'unknown' if state.total is None else least + format_size(state.total)}"
    if state.max_total is not None:
        yield f"max {least}{format_size(state.max_total)}"
    if state.processes is not None:
        yield count(state.processes, "process", "processes")


def _with_largest(text: str, largest: Largest | None, width: int) -> str:
    if not largest:
        return text
    name = printable(largest.name)
    text_and_size = f"{text}  largest {format_size(largest.rss)} "
    whole = f"{text_and_size}{name} (pid {largest.pid})"
    if columns(whole) <= width:
        return whole
    room = width - columns(text_and_size)
    if room < min(SHORTEST_NAME, columns(name)):
        return text
    return text_and_size + cut_to_columns(name, room)


def format_elapsed(seconds: float) -> str:
    """Formats seconds as "3:21" or "1:03:21"."""
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def columns(text: str) -> int:
    """Returns how many columns of a terminal the text takes at most.

    Terminals differ in the width of some characters ("ambiguous" in Unicode's annex 11, and what
    combines with the one before): here they count as wide as any terminal makes them.
    """
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WFA" else 1 for char in text)


def cut_to_columns(text: str, width: int) -> str:
    """Returns the text, or as much of its beginning as fits into `width` columns."""
    if columns(text) <= width:
        return text
    room = width - columns(ELLIPSIS)
    if room < 0:
        return ""
    kept = 0
    for number, char in enumerate(text):
        room -= columns(char)
        if room < 0:
            kept = number
            break
    return text[:kept] + ELLIPSIS
