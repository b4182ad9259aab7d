"""Which group a program belongs to, and what a group adds up to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from memwatch.observations import ImageText

GroupKey: TypeAlias = Callable[[ImageText], str]


def by_command(image: ImageText) -> str:
    """The program's name."""
    return image.name


class Group(NamedTuple):
    """All processes that ran a program. One that ran two, one after the other, is in both."""

    name: str
    processes: int
    peak_rss: int
    """Highest sum over the group at one tick, in bytes; or the highest peak of a single process,
    where that is more."""
    peak_time: int
    sum_of_peaks: int
    """Sum of the processes' own peaks in this program, which need not have come at one time:
    never less than `peak_rss`."""

    @property
    def known(self) -> bool:
        """Some memory of it was seen; else its sizes are 0 and mean nothing."""
        return self.sum_of_peaks > 0


NO_LARGEST = (0, 0)


class RunningGroup:
    """A group while the job runs. `Job` updates its fields directly."""

    __slots__ = ("largest", "name", "peak", "peak_time", "processes", "rss", "sum_of_peaks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rss = 0
        self.peak = 0
        self.peak_time = 0
        self.processes = 0
        self.sum_of_peaks = 0
        self.largest = NO_LARGEST

    def add(self, peak: int, time: int) -> None:
        """A process of it has ended, or has executed something else."""
        self.processes += 1
        self.sum_of_peaks += peak
        self.largest = max(self.largest, (peak, -time))

    def end(self) -> Group:
        # Some kernels round the size and its high-water mark differently, by a few pages.
        sum_of_peaks = max(self.sum_of_peaks, self.peak)
        peak, time = self.peak, self.peak_time
        if self.largest[0] > peak:
            peak, time = self.largest[0], -self.largest[1]
        return Group(self.name, self.processes, peak, time, sum_of_peaks)
