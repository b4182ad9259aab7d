"""The sizes that a plan goes by. Every part of it takes them from here, so that all mean the same
metric. Sizes are bytes."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.footprint_tracks import FootprintTracks
from memwatch.model.metric import Metric, Size, default_metric, size_of
from memwatch.model.processes import PEAK, Process, Program
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
        self._tracks = tracks
        self._footprints = footprints.by_serial if footprints else {}
        self.are_estimates = self.metric is Metric.FOOTPRINT and profile.backend != DARWIN
        """Whether each is the best estimate of what a process holds alone."""
        self.shared = _shared(profile, tracks) if self.are_estimates else 0
        """Bytes of shared memory, which all processes together need once: no size of a process has
        them."""

    def of(self, process: Process) -> Size | None:
        """Returns the highest size of a process; None: unknown."""
        if not self.are_estimates:
            return size_of(process, self.metric)
        held, series = process.held, self.over_time(process)
        if not held:
            # Without a sample nothing tells anonymous memory from files: it has no more than this.
            return size_of(process, Metric.RSS)
        if not series:
            return Size(held.best, exact=False)
        size = max(series.sizes)
        if held.source == PEAK and not process.programs[-1].inherited:
            size = max(size, held.best - self._shmem(process))
        return Size(size, exact=False)

    def _shmem(self, process: Process) -> int:
        parts = self._tracks.parts(process.serial) if self._tracks else None
        return max(parts.shmem) if parts else 0

    def of_program(self, process: Process, program: Program) -> Size | None:
        """Returns the highest size of one of the programs of a process; None: unknown."""
        if not self.are_estimates:
            return size_of(program, self.metric)
        return self.of(process) if program is process.peak_program else None

    def over_time(self, process: Process) -> Series | None:
        """Returns the samples of a process; None when it has none."""
        if self.metric is Metric.FOOTPRINT:
            footprints = self._footprints.get(process.serial)
            return Series(*footprints) if footprints else None
        track = self._tracks.by_serial.get(process.serial) if self._tracks else None
        return Series(track.times, track.rss) if track else None


def _check(profile: Profile, metric: Metric) -> None:
    if metric is Metric.PSS:
        raise NotPlannedError("the PSS of single processes is not measured: use --metric rss")
    if metric is not Metric.FOOTPRINT:
        return
    is_darwin = profile.backend == DARWIN
    if (profile.accuracy.footprints if is_darwin else profile.footprint) is None:
        raise NotPlannedError(
            "the footprint of single processes is not in the file: record again with this version, "
            "or use --metric rss"
        )


def _shared(profile: Profile, tracks: Tracks | None) -> int:
    """Returns the shared memory of a job: that of its highest footprint, or the most that one
    process mapped."""
    if profile.footprint and profile.footprint.split:
        return profile.footprint.split.shmem
    return tracks.largest_shmem if tracks else 0


def size_of_job(profile: Profile, metric: Metric) -> int | None:
    """Returns the highest total of the samples; None: unknown."""
    if metric is Metric.FOOTPRINT:
        return profile.total_footprint.size
    return profile.max_total_rss
