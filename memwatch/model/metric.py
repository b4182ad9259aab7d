"""The metrics that comparisons, checks and plans go by, and what is known of a job in each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from memwatch.model.figure import Bound, Figure
from memwatch.model.footprint_bounds import SHARED, SYSTEM, FootprintBounds
from memwatch.model.groups import Group
from memwatch.model.processes import EXACT, Process, Program
from memwatch.model.profile import Profile
from memwatch.model.sources import DARWIN


class Metric(Enum):
    """A way of measuring memory. The value is the word that `--metric` takes."""

    RSS = "rss"
    PSS = "pss"
    FOOTPRINT = "footprint"

    def __str__(self) -> str:
        """Returns the name for a sentence: "RSS"."""
        return "footprint" if self is Metric.FOOTPRINT else self.name

    @property
    def total(self) -> str:
        """The name of the total of a job: "total RSS"."""
        return f"total {self}"


class Known(NamedTuple):
    """What is known of a total, in bytes."""

    best: int
    low: int
    """It was at least this; as `best` where the metric has no bounds of its own."""
    high: int | None
    """It was at most this, as `best` where the metric has no bounds of its own; None where nothing
    bounds it."""
    is_sound: bool = True
    """Whether `best` can be compared although the bounds are apart. Not so where it rests on what
    processes share, or may share, of shared memory: that is taken to be the same memory."""


NOTHING = Known(0, 0, 0)
"""What a group holds in a run that did not have it."""


class Size(NamedTuple):
    """The most that a process or one of its programs held."""

    bytes: int
    exact: bool
    """Whether it never held more. If not, it may have held more between two samples."""


def default_metric(profiles: Iterable[Profile]) -> Metric:
    """Returns the metric of the platform that all these jobs ran on: the footprint on macOS, where
    the system itself goes by it, RSS on Linux and for jobs of both."""
    is_darwin = all(profile.backend == DARWIN for profile in profiles)
    return Metric.FOOTPRINT if is_darwin else Metric.RSS


def total(profile: Profile, metric: Metric) -> Figure:
    """Returns the total of a job in that metric, and in no other."""
    if metric is Metric.PSS:
        return profile.total_pss
    return profile.total_footprint if metric is Metric.FOOTPRINT else profile.total_rss


def known_total(profile: Profile, metric: Metric) -> Known | None:
    """Returns the total with its bounds; None where it is unknown, or cannot be compared with that
    of another run."""
    figure = total(profile, metric)
    size = figure.comparable
    if size is None:
        return None
    if figure.bound is Bound.BETWEEN and profile.footprint:
        return _known(profile.footprint)
    return Known(size, size, size)


def group_metric(profiles: Iterable[Profile], metric: Metric) -> Metric:
    """Returns the metric for groups: the footprint where it is wanted and each job has groups of
    which it is known, RSS otherwise."""
    keeps = all(any(group.footprint for group in profile.groups) for profile in profiles)
    return metric if metric is Metric.FOOTPRINT and keeps else Metric.RSS


def known_group(group: Group, metric: Metric) -> Known | None:
    """Returns the highest size of a group at one time, in RSS or the footprint; None: unknown."""
    if metric is Metric.FOOTPRINT:
        return _known(group.footprint) if group.footprint else None
    peak = group.peak_rss
    return Known(peak, peak, peak) if group.peak_known else None


def _known(bounds: FootprintBounds) -> Known:
    if bounds.source == SYSTEM:
        return Known(bounds.best, bounds.best, bounds.best)
    return Known(bounds.best, bounds.low, bounds.high, bounds.source != SHARED)


def process_metric(profiles: Iterable[Profile], metric: Metric) -> Metric:
    """Returns the metric for single processes: the footprint where it is wanted and the system
    keeps it for each process, RSS otherwise."""
    keeps = all(profile.accuracy.footprints is not None for profile in profiles)
    return metric if metric is Metric.FOOTPRINT and keeps else Metric.RSS


def size_of(held: Process | Program, metric: Metric) -> Size | None:
    """Returns the highest size in RSS or the footprint; None: unknown."""
    if metric is Metric.FOOTPRINT:
        footprint = held.footprint
        return Size(footprint.size, footprint.source == EXACT) if footprint.known else None
    peak = held.peak
    return Size(peak.rss, peak.source == EXACT) if peak.known else None


def largest_process(profile: Profile, metric: Metric) -> int | None:
    """Returns the highest size of a single process in RSS or the footprint; None: unknown."""
    if metric is Metric.FOOTPRINT:
        largest = profile.largest_footprint
        return largest.footprint.size if largest else None
    return profile.process_rss.size
