"""When the tasks of a job began, and what they waited for. Times are nanoseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from memwatch.analysis.task_choice import Node
from memwatch.model.profile import Profile

# A slot that stays free for less than this was free because its supervisor was slow, not because
# nothing could be started: this time, or this part of a task of median length, or two samples where
# the ends of processes are known only from samples.
SHORTEST_WAIT = 10_000_000
WAIT_PART = 0.1

# How much of the time a number of tasks must have run at once to be the parallelism of the job: the
# end of one task may be noticed only after the start of the next.
AT_ONCE_PART = 0.05


class Wait(NamedTuple):
    """Why a task began later than a slot was free."""

    running: frozenset[int]
    """Tasks that it did not wait for, because they went on running. It may have waited for all
    other tasks that had begun before."""
    pause: int
    """Time from the end of those others to its begin."""
    after_begin: bool
    """Whether it waited for no task, because the supervisor took its time. The pause is then from
    the begin of the task before."""


def parallelism(lives: Sequence[tuple[int, int]]) -> tuple[int, float, list[int]]:
    """Returns how many tasks ran at once; how many on average, while any ran; and the numbers of
    the tasks that ran at once for the longest time without a change."""
    moments = sorted(
        [(begin, 1, number) for number, (begin, _) in enumerate(lives)]
        + [(end, 0, number) for number, (_, end) in enumerate(lives)]
    )
    times: Counter[int] = Counter()
    running: set[int] = set()
    for (time, begins, number), (until, _, _) in pairwise(moments):
        (running.add if begins else running.discard)(number)
        times[len(running)] += until - time
    busy = sum(time for many, time in times.items() if many)
    at_once, long_enough = max(times, default=1), 0
    while at_once > 1:
        long_enough += times[at_once]
        if long_enough > AT_ONCE_PART * busy:
            break
        at_once -= 1
    together, longest = [0], -1
    running.clear()
    for (time, begins, number), (until, _, _) in pairwise(moments):
        (running.add if begins else running.discard)(number)
        if len(running) >= at_once and until - time > longest:
            together, longest = sorted(running), until - time
    average = sum(end - begin for begin, end in lives) / busy if busy else 1.0
    return at_once, average, together


def shortest_wait(profile: Profile, nodes: Mapping[int, Node], roots: Sequence[int]) -> int:
    """Returns how long a slot must have been free at least, for a task to have waited."""
    lengths = sorted(nodes[serial].end - nodes[serial].begin for serial in roots)
    shortest = max(SHORTEST_WAIT, round(WAIT_PART * lengths[len(lengths) // 2]))
    if not profile.accuracy.complete:
        shortest = max(shortest, 2 * profile.sampling.interval)
    return shortest


def waits_of(
    lives: Sequence[tuple[int, int]],
    others: Sequence[tuple[int, int]],
    at_once: int,
    shortest: int,
) -> tuple[dict[int, Wait], int]:
    """Returns the tasks that began although a slot had been free for long, by number, and the
    median time that it takes to fill a slot otherwise.

    `others` took up slots as well, but are no tasks. `at_once` is how many of all ran at once.
    """
    waits = {}
    delays = []
    # The numbers of those that are no tasks are negative.
    ordered = sorted(
        [(begin, number, end) for number, (begin, end) in enumerate(lives)]
        + [(begin, -1 - number, end) for number, (begin, end) in enumerate(others)]
    )
    start, first, first_end = ordered[0]
    running: dict[int, int] = {first: first_end}
    free_since, last_end = start, start
    for (before, _, _), (begin, number, end) in pairwise(ordered):
        for ended in sorted(running, key=running.__getitem__):
            if running[ended] > begin:
                break
            last_end = running.pop(ended)
            if len(running) + 1 >= at_once:
                free_since = last_end
        if number > 0 and len(running) < at_once:
            by_end = last_end > before
            # A task that begins last and alone, as a link does, most likely needs all others. If it
            # does not, little is lost.
            is_final = not running and number == len(lives) - 1 and at_once > 1
            if is_final or begin - max(free_since, before) > shortest:
                # With one slot each task had to wait for the one before, needed or not.
                after_begin = not by_end or at_once == 1
                pause = begin - (last_end if by_end else before)
                tasks = frozenset(other for other in running if other >= 0)
                waits[number] = Wait(tasks, pause, after_begin)
            else:
                delays.append(begin - max(free_since, before))
        running[number] = end
    delays.sort()
    return waits, delays[len(delays) // 2] if delays else 0


def gaps(profile: Profile, lives: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yields the times at which no task ran, as (begin, end)."""
    busy = profile.start
    for begin, end in lives:
        if begin > busy:
            yield busy, begin
        busy = max(busy, end)
    yield busy, max(profile.end, busy + 1)
