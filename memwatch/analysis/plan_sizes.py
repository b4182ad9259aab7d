"""The sizes that a plan goes by. Every part of it takes them from here, so that all mean the same
metric. Sizes are bytes."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.footprint_tracks import FootprintTracks
from memwatch.model.metric import Metric, Size, default_metric, size_of
from memwatch.model.processes import Process, Program
from memwatch.model.profile import Profile
from memwatch.model.sources import DARWIN
from memwatch.model.tracks import Tracks


class NotPlannedError(ValueError):
    """The metric is not known for single processes. The text has the reason and the remedy."""


class Series(NamedTuple):
    """The samples of one process. Each size holds until the time of the next."""

    times: array[int]
    """Nanoseconds since boot."""
    sizes: array[int]


class Sizes:
    """The sizes of the processes of one job, in one metric."""

    def __init__(
        self,
        profile: Profile,
        tracks: Tracks | None,
        footprints: FootprintTracks | None = None,
        metric: Metric | None = None,
    ) -> None:
        """Raises NotPlannedError. `tracks` and `footprints` are None for a file without samples,
        `metric` for that of the platform."""
        self.metric = metric or default_metric([profile])
        _check(profile, self.metric)
        self.sampled = tracks is not None
        """Whether there are samples."""
        self._tracks = tracks.by_serial if tracks else {}
        self._footprints = footprints.by_serial if footprints else {}

    def of(self, held: Process | Program) -> Size | None:
        """Returns the highest size of a process or one of its programs; None: unknown."""
        return size_of(held, self.metric)

    def over_time(self, process: Process) -> Series | None:
        """Returns the samples of a process; None when it has none."""
        if self.metric is Metric.FOOTPRINT:
            footprints = self._footprints.get(process.serial)
            return Series(*footprints) if footprints else None
        track = self._tracks.get(process.serial)
        return Series(track.times, track.rss) if track else None


def _check(profile: Profile, metric: Metric) -> None:
    if metric is Metric.PSS:
        raise NotPlannedError("the PSS of single processes is not measured: use --metric rss")
    if metric is Metric.FOOTPRINT and profile.accuracy.footprints is None:
        is_darwin = profile.backend == DARWIN
        known = "is not in the file" if is_darwin else "is not known over time on Linux"
        raise NotPlannedError(f"the footprint of single processes {known}: use --metric rss")


def size_of_job(profile: Profile, metric: Metric) -> int | None:
    """Returns the highest total of the samples; None: unknown."""
    if metric is Metric.FOOTPRINT:
        return profile.total_footprint.size
    return profile.max_total_rss
