"""What exports publish of a whole job: only what is known, and means the same for each job.

A bound is not published under the name of the value that it bounds, because the tool that reads it
would take it for that value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memwatch.analysis.ending import How, ending
from memwatch.model.footprint_bounds import FootprintBounds
from memwatch.model.profile import Profile
from memwatch.storage.load import Results


class PssPoint(NamedTuple):
    """The sum of all proportional set sizes at one time."""

    time: int
    """Nanoseconds since boot."""
    total: int
    """Bytes."""


def pss_points(results: Results) -> Sequence[PssPoint]:
    """Returns the sums for which the PSS of every process was read and in which nothing is missing;
    without samples, only the one at the peak."""
    if results.tracks:
        sums = (each for each in results.tracks.pss if not each.unread and not each.is_low)
        return [PssPoint(each.time, each.total) for each in sums]
    peak = pss_peak(results.profile)
    return [peak] if peak else []


def pss_peak(profile: Profile) -> PssPoint | None:
    """Returns the highest sum; None where PSS was not measured when the job held most, or not for
    every process, or where memory may be missing in it."""
    total, time = profile.total_pss.comparable, profile.total_pss.time
    return None if total is None or time is None else PssPoint(time, total)


def footprint_bounds(profile: Profile) -> FootprintBounds | None:
    """Returns the highest footprint with its bounds; None where it is not known, or where the
    system's sum leaves some processes out."""
    summed = profile.max_total_footprint
    return None if summed and summed.unread else profile.footprint


def least_footprints(profile: Profile) -> Iterator[tuple[int, int]]:
    """Yields the time of each tick with a lower bound of the footprint, and that bound in bytes."""
    if profile.timeline:
        for row in profile.timeline.rows():
            if row.footprint_low is not None:
                yield row.time, row.footprint_low


def duration(profile: Profile) -> float | None:
    """Returns the seconds from the start of the command to its end; None where that was not
    seen."""
    return None if profile.sampling.error and profile.exit_status is None else profile.duration


def ended_by_itself(profile: Profile) -> bool:
    """Returns whether the command ended by itself, whatever its exit code.

    Trackers of benchmarks draw one line through all runs. A job that was killed, or not seen to its
    end, would be an improvement there, and the next whole one a regression.
    """
    how = ending(profile).how
    return how in (How.SUCCEEDED, How.UNKNOWN) or (how is How.FAILED and profile.signal is None)
