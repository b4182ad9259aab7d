"""Which processes a report shows. Totals always cover all of them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from memwatch.model.processes import Process, ProcessTable

_DIGIT = (1 << 64) - 1
_HIGHEST = 1 << 63


@dataclass(frozen=True, slots=True)
class Filter:
    """Patterns are searched for in a process's name and in its command line."""

    include: re.Pattern[str] | None = None
    exclude: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def shows(self, process: Process) -> bool:
        if self.include and not _matches(self.include, process):
            return False
        return not (self.exclude and _matches(self.exclude, process))


class Ranked(Sequence[Process]):
    """Processes of a table, highest peak first; they are decoded as they are read."""

    def __init__(self, table: ProcessTable, places: Sequence[int]) -> None:
        self._table = table
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Process: ...
    @overload
    def __getitem__(self, index: slice) -> list[Process]: ...
    def __getitem__(self, index: int | slice) -> Process | list[Process]:
        if isinstance(index, slice):
            return [self._table[place] for place in self._places[index]]
        return self._table[self._places[index]]


@dataclass(frozen=True, slots=True)
class Shown:
    """The processes that pass a filter, and what it took away."""

    processes: Ranked
    filter: Filter
    hidden: int
    hidden_rss: int
    """Sum of the peaks of those hidden, in bytes."""


def apply(processes: ProcessTable, chosen: Filter) -> Shown:
    # One number each, for what is to be sorted is in memory: the peak, the serial number and the
    # place in the table, as digits of 64 bits.
    keys = []
    hidden = hidden_rss = 0
    for place, process in enumerate(processes):
        if chosen.shows(process):
            keys.append(_HIGHEST - process.peak.rss << 128 | process.serial << 64 | place)
        else:
            hidden += 1
            hidden_rss += process.peak.rss
    keys.sort()
    places = array("q", (key & _DIGIT for key in keys))
    return Shown(Ranked(processes, places), chosen, hidden, hidden_rss)


def _matches(pattern: re.Pattern[str], process: Process) -> bool:
    if pattern.search(process.command):
        return True
    return bool(process.argv and pattern.search(" ".join(process.argv)))
