"""Memory over time as steps, made from the samples and the peaks of processes.

Times are nanoseconds, sizes are bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memwatch.analysis.plan_sizes import Sizes
from memwatch.model.processes import FOUND_BY_EVENT, Process, Program
from memwatch.model.profile import Profile

# The kernel rounds the start of a process down to hundredths of a second (USER_HZ).
START_GRAIN = 10_000_000

MOST_STEPS = 64
"""Steps in the memory of a task. If there are more, the highest of several neighbours stands for
all of them."""


class Steps(NamedTuple):
    """Sizes over time. A size holds from its time to the next time; before the first it is 0."""

    times: array[int]
    sizes: array[int]

    def most(self, begin: int, end: int) -> int:
        """Returns the highest size from `begin` on, until before `end`."""
        first = bisect_right(self.times, begin)
        last = max(first, bisect_right(self.times, end - 1))
        return max(self.sizes[max(first - 1, 0) : last], default=0)


def lifetime(profile: Profile, process: Process) -> tuple[int, int]:
    """Returns the begin and the end of a process, as exactly as they are known."""
    begin = process.first_seen
    if process.found_by != FOUND_BY_EVENT and process.start is not None:
        begin = min(begin, process.start + START_GRAIN)
    begin = max(begin, profile.start)
    has_ended = process.end_known or not (process.alive or process.is_root)
    return begin, max(begin, process.last_seen if has_ended else profile.end)


def changes(profile: Profile, process: Process, sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Yields the changes of a process's memory as (time, difference), from 0 to 0 again.

    The memory between a fork and an exec is left out: those are its parent's pages.
    """
    begin, end = lifetime(profile, process)
    ends = [*(program.since for program in process.programs[1:]), end]
    held = 0
    since = begin
    for program, next_since in zip(process.programs, ends, strict=True):
        until = min(max(since, next_since), end)
        if until > since:
            is_parents = program.inherited and program is not process.programs[-1]
            for time, size in [] if is_parents else _held(program, since, until, process, sizes):
                yield time, size - held
                held = size
        since = until
    if held:
        yield end, -held


def _held(
    program: Program, begin: int, end: int, process: Process, sizes: Sizes
) -> list[tuple[int, int]]:
    """Returns the memory of one program of a process as (time, size): its samples, with the highest
    raised to the program's peak."""
    steps = []
    if series := sizes.over_time(process):
        first, last = bisect_right(series.times, begin - 1), bisect_right(series.times, end - 1)
        steps = list(zip(series.times[first:last], series.sizes[first:last], strict=True))
    steps[:1] = [(begin, steps[0][1] if steps else 0)]
    peak = sizes.of_program(process, program)
    if peak is None:
        return steps
    if peak.exact:
        # A sample that is higher was taken after the next program had begun.
        steps = [(time, min(size, peak.bytes)) for time, size in steps]
    highest = max(range(len(steps)), key=lambda number: steps[number][1])
    if peak.bytes > steps[highest][1]:
        steps[highest] = (steps[highest][0], peak.bytes)
    return steps


def add_up(times: Sequence[int], differences: Sequence[int], origin: int) -> Steps:
    """Returns the sum of changes, in any order, as steps with times from `origin` on."""
    steps = Steps(array("q"), array("q"))
    size = 0
    for place in sorted(range(len(times)), key=times.__getitem__):
        size += differences[place]
        time = times[place] - origin
        if steps.times and steps.times[-1] == time:
            steps.sizes[-1] = size
        else:
            steps.times.append(time)
            steps.sizes.append(size)
    return steps


def raised(steps: Steps, size: int) -> Steps:
    """Returns the steps, all higher by that size, which was held from the beginning on."""
    if not size:
        return steps
    return Steps(
        array("q", (0, *steps.times)), array("q", (size, *(size + s for s in steps.sizes)))
    )


def thinned(steps: Steps) -> Steps:
    """Returns about MOST_STEPS steps at most, with the same highest size and the same end."""
    size = len(steps.times) // MOST_STEPS + 1
    if size == 1:
        return steps
    before_last = len(steps.times) - 1
    places = range(0, before_last, size)
    times = array("q", (steps.times[place] for place in places))
    sizes = array("q", (max(steps.sizes[p : min(p + size, before_last)]) for p in places))
    return Steps(times + steps.times[-1:], sizes + steps.sizes[-1:])
