"""Lives of processes, as drawings of them over time need them. Times are nanoseconds since boot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memwatch.model.processes import SAMPLED, Process, Program
from memwatch.storage.load import Results

"""Serial of the job's first process."""


class Life(NamedTuple):
    begin: int
    end: int
    is_over: bool
    """It ended within the job."""


class ProgramSpan(NamedTuple):
    """A program that a process ran, and from when to when."""

    program: Program
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
    is_root = process.is_root
    end = process.last_seen
    if process.alive or (is_root and not process.end_known):
        end = profile.end
    is_over = not process.alive or (is_root and profile.exit_status is not None)
    return Life(begin, max(begin, end), is_over)


def program_spans(process: Process, whole: Life) -> Iterator[ProgramSpan]:
    """One after the other, without gaps, from the beginning of its life to the end."""
    begin = whole.begin
    for number, program in enumerate(process.programs):
        end = whole.end
        if number + 1 < len(process.programs):
            end = min(max(begin, process.programs[number + 1].since), whole.end)
        yield ProgramSpan(program, begin, end)
        begin = end


def samples(results: Results, process: Process) -> Samples:
    """Every one that there is of it: where the file has no series, the highest, if its peak is
    one."""
    if results.tracks:
        return Samples(*results.tracks.by_serial.get(process.serial, NO_SAMPLES))
    peak = process.peak
    return Samples((peak.time,), (peak.rss,)) if peak.source == SAMPLED else NO_SAMPLES
