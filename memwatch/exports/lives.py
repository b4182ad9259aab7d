"""Lives of processes, for exports that draw them over time. Times are nanoseconds since boot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memwatch.model.processes import SAMPLED, Process, Program
from memwatch.storage.load import Results


class Life(NamedTuple):
    """The time in which a process existed."""

    begin: int
    end: int
    is_over: bool
    """Whether it ended within the job."""


class ProgramSpan(NamedTuple):
    """A program that a process ran, and from when to when."""

    program: Program
    begin: int
    end: int


class Samples(NamedTuple):
    """Samples of one process. A value holds until the next one, the last until the process ends."""

    times: Sequence[int]
    rss: Sequence[int]
    """Bytes."""


NO_SAMPLES = Samples((), ())


def life(results: Results, process: Process) -> Life:
    """Returns when a process lived: from its start to its end where they are known, otherwise from
    the first to the last sample.

    Never begins before the job: a start time is rounded down, mostly to hundredths of a second.
    """
    profile = results.profile
    begin = process.first_seen if process.start is None else process.start
    begin = max(profile.start, min(begin, process.first_seen))
    is_root = process.is_root
    end = process.last_seen
    if process.alive or (is_root and not process.end_known):
        end = profile.end
    is_over = not process.alive or (is_root and profile.exit_status is not None)
    return Life(begin, max(begin, end), is_over)


def program_spans(process: Process, whole: Life) -> Iterator[ProgramSpan]:
    """Yields the programs in order, without gaps, from the beginning of the life to its end."""
    begin = whole.begin
    for number, program in enumerate(process.programs):
        end = whole.end
        if number + 1 < len(process.programs):
            end = min(max(begin, process.programs[number + 1].since), whole.end)
        yield ProgramSpan(program, begin, end)
        begin = end


def samples(results: Results, process: Process) -> Samples:
    """Returns all samples of a process. Without tracks: its peak, if that is a sample."""
    if results.tracks:
        track = results.tracks.by_serial.get(process.serial)
        return Samples(track.times, track.rss) if track else NO_SAMPLES
    peak = process.peak
    return Samples((peak.time,), (peak.rss,)) if peak.source == SAMPLED else NO_SAMPLES
