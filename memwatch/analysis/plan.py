"""Forecasts what a job would need with another number of slots, by a replay of its tasks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from heapq import heapreplace
from itertools import accumulate, pairwise
from typing import NamedTuple

from memwatch.analysis.workload import Workload

MARGIN = 0.1
"""Part of the memory that a plan leaves free, for what is not in the recording: the page cache,
other programs, and the error of a band that is too narrow."""

BAND = 0.95
"""Part of the replays whose peak is within the band of a forecast."""

MOST_ORDERS = 300
FEWEST_ORDERS = 20

# Changes of memory to replay for one band: about a second. FEWEST_ORDERS may take more.
EFFORT = 600_000

# A fixed seed, so that the orders are the same each time.
SEED = 1

MOST_WORKERS = 256
"""Highest number of workers, running side by side, that is tried to find the most that fit."""


class Forecast(NamedTuple):
    """What the job is expected to need with one number of slots."""

    jobs: int
    peak: int
    """Expected peak with the recorded order of tasks, in bytes."""
    low: int
    """Lower end of the band that holds `peak` and the part BAND of the peaks in random orders."""
    high: int
    """Upper end of that band."""
    orders: int
    """Number of random orders that were replayed."""
    duration: int | None
    """Expected time in nanoseconds; None for workers of a pool, because a recording does not show
    how they would share the work."""
    cpu_bound: bool
    """Whether the duration is the least that the CPU time of the job allows, because the replay,
    which has a CPU for each task, was shorter."""


class Plan:
    """Forecasts from the replay of a workload. It keeps the forecasts that it has made."""

    def __init__(self, work: Workload, cpus: int | None = None) -> None:
        self._work = work
        self._shortest = _shortest(work, cpus)
        self._forecasts: dict[int, Forecast] = {}
        self._changes = [_differences(task.memory.sizes) for task in work.tasks]
        self._levels = _differences(self._rest_during())
        bounds = [0, *work.waits, len(work.tasks)]
        self._stretches = [range(*pair) for pair in pairwise(bounds)]
        steps = len(work.rest.times) if work.side_by_side else len(work.tasks)
        effort = steps + sum(map(len, self._changes))
        self._orders = max(FEWEST_ORDERS, min(MOST_ORDERS, EFFORT // max(effort, 1)))

    def forecast(self, jobs: int) -> Forecast:
        """Returns the forecast for a number of slots, or of workers side by side."""
        if jobs not in self._forecasts:
            self._forecasts[jobs] = self._forecast(jobs)
        return self._forecasts[jobs]

    def most_jobs(self) -> int:
        """Returns the highest number of jobs that is tried: more would make no difference, or take
        too long."""
        return MOST_WORKERS if self._work.side_by_side else len(self._work.tasks)

    def fits(self, jobs: int, memory: int) -> bool:
        """Returns whether the upper end of the band leaves MARGIN of the memory free."""
        size = (1 - MARGIN) * memory
        return self._at_most(jobs) <= size or self.forecast(jobs).high <= size

    def most_that_fit(self, memory: int) -> int:
        """Returns the largest number of jobs that fits; 0 when not even one does."""
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

    def _at_most(self, jobs: int) -> int:
        """Returns an upper bound: the largest tasks reach their peaks at the same time."""
        work = self._work
        peaks = sorted((task.peak for task in work.tasks), reverse=True)
        if work.side_by_side and jobs > len(peaks):
            # Workers are then drawn with replacement, and all may be the largest.
            peaks = peaks[:1] * jobs
        return sum(peaks[:jobs]) + max(work.rest.sizes, default=0)

    def _forecast(self, jobs: int) -> Forecast:
        pick = random.Random(SEED)
        number = len(self._work.tasks)
        orders = self._orders
        duration, cpu_bound = None, False
        if self._work.side_by_side:
            peak = self._side_by_side([each % number for each in range(jobs)])
            peaks = [self._side_by_side(self._draw(pick, jobs)) for _ in range(orders)]
        else:
            starts = self._starts(range(number), jobs)
            peak = self._peak(range(number), starts)
            replayed = self._duration(starts)
            duration = max(replayed, self._shortest)
            cpu_bound = duration > replayed
            peaks = [self._replay(self._shuffled(pick), jobs) for _ in range(orders)]
        peaks.sort()
        aside = round((1 - BAND) / 2 * (orders - 1))
        low, high = min(peaks[aside], peak), max(peaks[-1 - aside], peak)
        return Forecast(jobs, peak, low, high, orders, duration, cpu_bound)

    def _duration(self, starts: Sequence[int]) -> int:
        """Returns the time of the whole job, whose tasks start at these times in their order."""
        work = self._work
        last = max(start + task.length for start, task in zip(starts, work.tasks, strict=True))
        return _outside(work) + last

    def _replay(self, order: Sequence[int], jobs: int) -> int:
        """Returns the peak with the tasks in this order."""
        return self._peak(order, self._starts(order, jobs))

    def _shuffled(self, pick: random.Random) -> list[int]:
        """Returns a random order, in which a task that waited stays behind those for which it may
        have waited."""
        order: list[int] = []
        for stretch in self._stretches:
            order += pick.sample(stretch, len(stretch))
        return order

    def _starts(self, order: Sequence[int], jobs: int) -> list[int]:
        """Returns when each task begins: in this order, as soon as a slot is free. Times are
        nanoseconds from the first begin."""
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

    def _peak(self, order: Sequence[int], starts: Sequence[int]) -> int:
        """Returns the peak with the tasks started at these times."""
        times, changes = [*starts], [*self._levels]
        for start, number in zip(starts, order, strict=True):
            times.extend(map(start.__add__, self._work.tasks[number].memory.times))
            changes.extend(self._changes[number])
        return self._highest(times, changes)

    def _highest(self, times: Sequence[int], changes: Sequence[int]) -> int:
        """Returns the highest sum of all changes, and at least what the rest held alone."""
        # Changes at the same time are ordered from the most negative, so that no partial sum is
        # higher than the sum before or after them.
        ordered = sorted(zip(times, changes, strict=True))
        return max((self._work.rest_alone, *accumulate(change for _, change in ordered)))

    def _rest_during(self) -> list[int]:
        """Returns the most that the rest held in the recording from each begin to the next, while
        any task ran."""
        tasks = self._work.tasks
        levels = []
        busy = 0
        for task, after in zip(tasks, (*tasks[1:], None), strict=True):
            busy = max(busy, task.begin + task.length)
            until = min(after.begin, busy) if after else busy
            levels.append(self._work.rest.most(task.begin, max(until, task.begin + 1)))
        return levels

    def _draw(self, pick: random.Random, jobs: int) -> list[int]:
        """Returns random workers, with repetitions if more are wanted than were recorded."""
        numbers = range(len(self._work.tasks))
        return pick.sample(numbers, jobs) if jobs <= len(numbers) else pick.choices(numbers, k=jobs)

    def _side_by_side(self, workers: Sequence[int]) -> int:
        """Returns the peak with these workers, each at its recorded time."""
        work = self._work
        times, changes = [*work.rest.times], _differences(work.rest.sizes)
        # Copies of a worker change at the same times, so thousands take no longer than one.
        for number, copies in Counter(workers).items():
            task = work.tasks[number]
            times.extend(map(task.begin.__add__, task.memory.times))
            changes.extend(map(copies.__mul__, self._changes[number]))
        return self._highest(times, changes)


def _differences(sizes: Sequence[int]) -> list[int]:
    """Returns the difference of each size from the one before; for the first, from 0."""
    return [size - before for before, size in pairwise((0, *sizes))]


def _outside(work: Workload) -> int:
    """Returns the time before the first task and after the last."""
    busy_until = max(task.begin + task.length for task in work.tasks)
    return work.tasks[0].begin - work.begin + max(work.end - busy_until, 0)


def _shortest(work: Workload, cpus: int | None) -> int:
    """Returns the least time that the known CPU time needs on these CPUs; 0: unknown."""
    if not cpus:
        return 0
    of_tasks = sum(task.cpu or 0 for task in work.tasks)
    return max((work.cpu or 0) // cpus, _outside(work) + of_tasks // cpus)
