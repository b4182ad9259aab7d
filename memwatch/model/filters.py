"""Filters that decide which processes a report shows. Totals always cover all of them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from memwatch.model.observations import ProgramText
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import Process

_DIGIT = (1 << 64) - 1
_HIGHEST = 1 << 63


@dataclass(frozen=True, slots=True)
class Filter:
    """Patterns that are searched for in a process's name and in its command line."""

    include: re.Pattern[str] | None = None
    exclude: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def shows(self, process: Process) -> bool:
        """Returns whether the process passes the filter."""
        program = process.programs[-1].text
        if self.include and not matches(self.include, program):
            return False
        return not (self.exclude and matches(self.exclude, program))


class Ranked(Sequence[Process]):
    """Processes of a table, highest peak first. A row is decoded each time that it is read."""

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
    """The processes that pass a filter, and a sum over those that do not."""

    processes: Ranked
    filter: Filter
    hidden: int
    """Number of processes that do not pass."""
    hidden_rss: int
    """Sum of their peaks, in bytes."""


def apply(processes: ProcessTable, chosen: Filter) -> Shown:
    """Returns the processes that pass `chosen`, highest peak first."""
    # Sorting needs all of them in memory, so each is one number: the peak, the serial number and
    # the place in the table, as digits of 64 bits.
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


def matches(pattern: re.Pattern[str], program: ProgramText) -> bool:
    """Returns whether the pattern is found in the program's name or command line."""
    if pattern.search(program.name):
        return True
    return bool(program.argv and pattern.search(" ".join(program.argv)))
