"""The figures of a command that was run several times, and their spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from memwatch.analysis.ending import ending
from memwatch.model.profile import Profile


class RepeatedRun(NamedTuple):
    """The figures of one run. Sizes are bytes; None means unknown."""

    number: int
    exit_code: int
    """The exit code that memwatch itself gives for such a run."""
    total_rss: int | None
    """Profile.total_rss."""
    total_pss: int | None
    """Profile.total_pss, where it can be compared."""
    largest: int | None
    """The highest peak of a single process."""
    processes: int
    duration: float
    """Seconds."""
    is_exact: bool
    """Whether the peaks of all processes are exact."""
    recording: str | None
    """Path of the recording; None when none was asked for."""
    doubt: str | None = None
    """Why it may not have done all its work, as ending() gives it."""


class Spread(NamedTuple):
    """How one figure differs from run to run."""

    median: float
    least: float
    most: float
    known: int
    """Number of runs in which the figure is known."""

    @property
    def relative(self) -> float | None:
        """The range from least to most, as a part of the median; None where the median is 0."""
        return (self.most - self.least) / self.median if self.median else None


def run_of(number: int, profile: Profile, exit_code: int, recording: str | None) -> RepeatedRun:
    """Returns the figures of a run."""
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
        ending(profile).why,
    )


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one command."""

    command: tuple[str, ...]
    interval: int
    """Nanoseconds from tick to tick, as asked for."""
    wanted: int
    """Number of runs that were asked for."""
    runs: tuple[RepeatedRun, ...]
    """The runs that were made, in order."""
    signal: int
    """The signal that ended the series, and its last run with it; 0 when none did."""
    left_behind: tuple[int, ...]
    """Numbers of the runs that left processes behind when the next run began. The figures of later
    runs may contain what those processes do."""

    @property
    def counted(self) -> tuple[RepeatedRun, ...]:
        """The runs that succeeded. A run that failed, was ended, or lost a process to the OOM
        killer, may not have done all its work."""
        complete = self.runs[:-1] if self.signal else self.runs
        return tuple(run for run in complete if run.exit_code == 0 and not run.doubt)

    @property
    def failed(self) -> RepeatedRun | None:
        """The run that failed, which ended the series; None when none failed."""
        return next((run for run in self.runs if run.exit_code != 0), None)

    @property
    def exit_code(self) -> int:
        """The exit code of the run that failed; 128 + N where signal N ended the series and no run
        failed; 0 otherwise."""
        if self.failed:
            return self.failed.exit_code
        return 128 + self.signal if self.signal else 0

    def spread(self, read: Callable[[RepeatedRun], float | None]) -> Spread | None:
        """Returns the spread of a figure over the runs that count; None when no run knows it."""
        values = [value for run in self.counted if (value := read(run)) is not None]
        if not values:
            return None
        return Spread(median(values), min(values), max(values), len(values))
