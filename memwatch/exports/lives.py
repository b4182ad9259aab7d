"""Lives of processes, as drawings of them over time need them. Times are nanoseconds since boot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memwatch.model.processes import SAMPLED, Image, Process
from memwatch.storage.load import Results

ROOT = 1
"""Serial of the job's first process."""


class Life(NamedTuple):
    begin: int
    end: int
    is_over: bool
    """It ended within the job."""


class Program(NamedTuple):
    """A program that a process ran, and from when to when."""

    image: Image
    begin: int
    end: int


class Samples(NamedTuple):
    """A value holds from its time to that of the next, the last one to the process's end."""

    times: Sequence[int]
    rss: Sequence[int]
    """Bytes."""


NO_SAMPLES = Samples((), ())


def life(results: Results, process: Process) -> Life:
    """From its start to its end, as far as they are known, else from the first to the last look.

    Never before the job: a start time is rounded down, to hundredths of a second mostly.
    """
    profile = results.profile
    begin = process.first_seen if process.start is None else process.start
    begin = max(profile.start, min(begin, process.first_seen))
    is_root = process.serial == ROOT
    end = process.last_seen
    if process.alive or (is_root and not process.end_known):
        end = profile.end
    is_over = not process.alive or (is_root and profile.exit_status is not None)
    return Life(begin, max(begin, end), is_over)


def programs(process: Process, whole: Life) -> Iterator[Program]:
    """One after the other, without gaps, from the beginning of its life to the end."""
    begin = whole.begin
    for number, image in enumerate(process.images):
        end = whole.end
        if number + 1 < len(process.images):
            end = min(max(begin, process.images[number + 1].since), whole.end)
        yield Program(image, begin, end)
        begin = end


def samples(results: Results, process: Process) -> Samples:
    """Every one that there is of it: where the file has no series, the highest, if its peak is
    one."""
    if results.tracks:
        return Samples(*results.tracks.by_serial.get(process.serial, NO_SAMPLES))
    peak = process.peak
    return Samples((peak.time,), (peak.rss,)) if peak.source == SAMPLED else NO_SAMPLES
