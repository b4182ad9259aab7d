"""Which processes a report shows. Totals always cover all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from memwatch.processes import Process


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


@dataclass(frozen=True, slots=True)
class Shown:
    """The processes that pass a filter, and what it took away."""

    processes: list[Process]
    """Highest peak first."""
    filter: Filter
    hidden: int
    hidden_rss: int
    """Sum of the peaks of those hidden, in bytes."""


def apply(processes: Iterable[Process], chosen: Filter) -> Shown:
    shown = []
    hidden = hidden_rss = 0
    for process in processes:
        if chosen.shows(process):
            shown.append(process)
        else:
            hidden += 1
            hidden_rss += process.peak.rss
    shown.sort(key=lambda process: (-process.peak.rss, process.serial))
    return Shown(shown, chosen, hidden, hidden_rss)


def _matches(pattern: re.Pattern[str], process: Process) -> bool:
    if pattern.search(process.command):
        return True
    return bool(process.argv and pattern.search(" ".join(process.argv)))
