"""What a job would need with another number of slots: its recorded tasks, replayed."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace
from itertools import pairwise
from typing import NamedTuple

from memwatch.workload import Task, Workload

MARGIN = 0.1
"""Part of the memory that a plan leaves free: for what is not in the recording, such as the page
cache, other programs, and a band that is too narrow."""

BAND = 0.95
MOST_ORDERS = 300
FEWEST_ORDERS = 20

# Tasks to replay for one band: about a second.
EFFORT = 200_000

# The same orders each time.
SEED = 1

MOST_WORKERS = 256
"""How many workers that run side by side are tried, to find the most that fit."""


class Forecast(NamedTuple):
    jobs: int
    peak: int
    """Expected, in bytes: with the recorded order."""
    low: int
    high: int
    """Where BAND of the random orders end up, and `peak`, too."""
    orders: int
    duration: int | None
    """Nanoseconds, expected; None for workers of a pool: how they would share the work is not in
    a recording."""


class Plan:
    """Replays a workload. Remembers what it has found."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._forecasts: dict[int, Forecast] = {}
        self._levels = self._rest_during(work.tasks)
        bounds = [0, *work.waits, len(work.tasks)]
        self._stretches = [range(*pair) for pair in pairwise(bounds)]

    def forecast(self, jobs: int) -> Forecast:
        """With so many slots, or so many workers side by side."""
        if jobs not in self._forecasts:
            self._forecasts[jobs] = self._forecast(jobs)
        return self._forecasts[jobs]

    def most_jobs(self) -> int:
        """More than so many are not tried, or change nothing."""
        return MOST_WORKERS if self._work.side_by_side else len(self._work.tasks)

    def fits(self, jobs: int, memory: int) -> bool:
        """With MARGIN of the memory left free, at the upper end of the band."""
        return self.forecast(jobs).high <= (1 - MARGIN) * memory

    def most_that_fit(self, memory: int) -> int:
        """The largest number of jobs that fits; 0 when not even one does."""
        low, high = 0, 1
        while high < self.most_jobs() and self.fits(high, memory):
            low, high = high, min(2 * high, self.most_jobs())
        if self.fits(high, memory):
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if self.fits(middle, memory):
                low = middle
            else:
                high = middle
        return low

    def _forecast(self, jobs: int) -> Forecast:
        work = self._work
        pick = random.Random(SEED)
        tried = jobs if work.side_by_side else len(work.tasks)
        orders = max(FEWEST_ORDERS, min(MOST_ORDERS, EFFORT // tried))
        duration = None
        if work.side_by_side:
            workers = [work.tasks[number % len(work.tasks)] for number in range(jobs)]
            peak = self._side_by_side(workers)
            peaks = [self._side_by_side(self._draw(pick, jobs)) for _ in range(orders)]
        else:
            starts = self._starts(range(len(work.tasks)), jobs)
            peak = self._peak(work.tasks, starts, self._levels)
            last = max(start + task.length for start, task in zip(starts, work.tasks, strict=True))
            busy_until = max(task.begin + task.length for task in work.tasks)
            before, after = work.tasks[0].begin - work.begin, work.end - busy_until
            duration = before + last + max(after, 0)
            peaks = [self._replay(self._shuffled(pick), jobs) for _ in range(orders)]
        peaks.sort()
        aside = round((1 - BAND) / 2 * (orders - 1))
        low, high = min(peaks[aside], peak), max(peaks[-1 - aside], peak)
        return Forecast(jobs, peak, low, high, orders, duration)

    def _replay(self, order: Sequence[int], jobs: int) -> int:
        tasks = [self._work.tasks[number] for number in order]
        return self._peak(tasks, self._starts(order, jobs), self._levels)

    def _shuffled(self, pick: random.Random) -> list[int]:
        """Tasks that waited stay behind those that they may have waited for."""
        order: list[int] = []
        for stretch in self._stretches:
            order += pick.sample(stretch, len(stretch))
        return order

    def _starts(self, order: Sequence[int], jobs: int) -> list[int]:
        """When each task begins: in this order, as soon as a slot is free. Nanoseconds from the
        first begin."""
        work = self._work
        starts = []
        slots = [(-work.delay, -1)] * min(jobs, len(order))
        now = -work.delay
        for place, number in enumerate(order):
            delay = work.delay
            if wait := work.waits.get(place):
                if wait.after_begin:
                    delay = wait.pause
                else:
                    waited = [end for end, other in slots if other not in wait.running]
                    now = max(now, max(waited, default=0) + wait.pause - delay)
            now = max(now, slots[0][0]) + delay
            starts.append(now)
            heapreplace(slots, (now + work.tasks[number].length, number))
        return starts

    def _peak(
        self,
        tasks: Sequence[Task],
        starts: Sequence[int],
        levels: Sequence[int],
        rest: Task | None = None,
    ) -> int:
        """The highest sum of the tasks and the rest: of the highest that this was from each start
        on, or of what it was at each time, where it was not moved in time."""
        best = self._work.rest_alone
        running: list[tuple[int, int]] = []
        at_most = 0
        last = len(starts) - 1
        for place, start in enumerate(starts):
            while running and running[0][0] <= start:
                at_most -= tasks[heappop(running)[1]].peak
            task = tasks[place]
            if task.peak:
                heappush(running, (start + task.memory.times[-1], place))
                at_most += task.peak
            if at_most + levels[place] > best:
                until = starts[place + 1] if place < last else max(running)[0]
                present = [(starts[other], tasks[other]) for _, other in running]
                if rest:
                    best = max(best, _highest_sum([*present, (0, rest)], start, until))
                else:
                    best = max(best, levels[place] + _highest_sum(present, start, until))
        return best

    # Workers side by side: all as they were recorded, some of them more than once

    def _draw(self, pick: random.Random, jobs: int) -> list[Task]:
        tasks = self._work.tasks
        return pick.sample(tasks, jobs) if jobs <= len(tasks) else pick.choices(tasks, k=jobs)

    def _side_by_side(self, workers: Sequence[Task]) -> int:
        workers = sorted(workers)
        rest = self._work.rest
        present = Task(0, 0, rest, max(rest.sizes, default=0))
        return self._peak(
            workers, [task.begin for task in workers], self._rest_during(workers), present
        )

    def _rest_during(self, tasks: Sequence[Task]) -> list[int]:
        """The most that the rest held in the recording from each begin to the next, while any of
        these tasks ran."""
        levels = []
        busy = 0
        for place, task in enumerate(tasks):
            busy = max(busy, task.begin + task.length)
            until = tasks[place + 1].begin if place + 1 < len(tasks) else busy
            levels.append(self._work.rest.most(task.begin, max(min(until, busy), task.begin + 1)))
        return levels


def _highest_sum(present: Sequence[tuple[int, Task]], begin: int, end: int) -> int:
    """Of (start, task) from `begin` on, until before `end`."""
    total = 0
    changes = []
    for start, task in present:
        times, sizes = task.memory
        first = bisect_right(times, begin - start)
        last = bisect_left(times, end - start)
        size = sizes[first - 1] if first else 0
        total += size
        for place in range(first, last):
            changes.append((start + times[place], sizes[place] - size))
            size = sizes[place]
    changes.sort()
    highest = total
    for _, difference in changes:
        total += difference
        highest = max(highest, total)
    return highest
