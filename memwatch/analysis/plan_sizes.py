"""The sizes that a plan goes by. Every part of it takes them from here, so that all mean the same
measure of memory: RSS. Sizes are bytes."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.processes import EXACT, Process, Program
from memwatch.model.profile import Profile
from memwatch.model.tracks import Track


class Size(NamedTuple):
    """The most that a process or one of its programs held."""

    bytes: int
    exact: bool
    """Whether it never held more. If not, it may have held more between two samples."""


def size_of(held: Process | Program) -> Size | None:
    """Returns the highest size; None: unknown."""
    peak = held.peak
    return Size(peak.rss, peak.source == EXACT) if peak.known else None


def sizes_over_time(track: Track) -> array[int]:
    """Returns the sizes at the times of a track."""
    return track.rss


def size_of_job(profile: Profile) -> int | None:
    """Returns the highest total; None: unknown."""
    return profile.max_total_rss
