"""One command, run several times: the figures of each run, and how they spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from memwatch.model.profile import Profile


class RepeatedRun(NamedTuple):
    """Sizes are bytes; None is unknown."""

    number: int
    exit_code: int
    """As memwatch itself gives it for such a run."""
    total_rss: int | None
    """What the job held at least, at some time: Profile.total_rss."""
    total_pss: int | None
    """Profile.total_pss."""
    largest: int | None
    """The peak of the largest process."""
    processes: int
    duration: float
    """Seconds."""
    is_exact: bool
    """All peaks of single processes are exact."""
    recording: str | None
    """Its path."""


class Spread(NamedTuple):
    median: float
    least: float
    most: float
    known: int
    """In how many runs it is known."""

    @property
    def apart(self) -> float | None:
        """From least to most, as a part of the median."""
        return (self.most - self.least) / self.median if self.median else None


def run_of(number: int, profile: Profile, exit_code: int, recording: str | None) -> RepeatedRun:
    return RepeatedRun(
        number,
        exit_code,
        profile.total_rss.size,
        profile.total_pss.comparable,
        profile.process_rss.size,
        len(profile.processes),
        profile.duration,
        profile.accuracy.all_exact,
        recording,
    )


@dataclass(frozen=True, slots=True)
class Series:
    command: tuple[str, ...]
    interval: int
    """Nanoseconds from tick to tick, as asked for."""
    wanted: int
    runs: tuple[RepeatedRun, ...]
    """Those that were made, in their order."""
    signal: int
    """What ended the series, and its last run with it; 0: nothing did."""
    left_behind: tuple[int, ...]
    """Numbers of the runs of which processes were still there when the next one began. What those
    do may be in later runs."""

    @property
    def counted(self) -> tuple[RepeatedRun, ...]:
        """Those that came to a good end. One that failed or was ended may not have done all."""
        whole = self.runs[:-1] if self.signal else self.runs
        return tuple(run for run in whole if run.exit_code == 0)

    @property
    def failed(self) -> RepeatedRun | None:
        """With it the series ended."""
        return next((run for run in self.runs if run.exit_code != 0), None)

    @property
    def exit_code(self) -> int:
        """Of the run that failed; 128 + N where signal N ended the series and no run failed."""
        if self.failed:
            return self.failed.exit_code
        return 128 + self.signal if self.signal else 0

    def spread(self, read: Callable[[RepeatedRun], float | None]) -> Spread | None:
        """Over the runs that count; None when none of them knows."""
        values = [value for run in self.counted if (value := read(run)) is not None]
        if not values:
            return None
        return Spread(median(values), min(values), max(values), len(values))
