"""The tasks of a job that is over: what each held over time, and what the rest held meanwhile.

A task is a process that a supervisor (make, ninja, xargs, a script) started, with all processes
below it. Times are nanoseconds, sizes are bytes.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from memwatch.analysis.plan_sizes import Sizes
from memwatch.analysis.steps import Steps, add_up, changes, raised, thinned
from memwatch.analysis.task_choice import Node, matching, nodes_of, supervisors_of, tasks_of
from memwatch.analysis.task_waits import Wait, gaps, parallelism, shortest_wait, waits_of
from memwatch.analysis.task_widening import widened
from memwatch.model.processes import Process
from memwatch.model.profile import Profile

# If the tasks that ran at one moment have this part of the time of all tasks, they are all that
# matters.
WORKERS_PART = 0.9


class NoTasks(ValueError):
    """There is nothing to plan with. The text has the reason and the remedy."""


class Task(NamedTuple):
    """One task."""

    begin: int
    """Time since boot, or since 1970, as the profile has it."""
    length: int
    """Time until its first process ended, for which it takes up a slot."""
    memory: Steps
    """What all its processes held together, from its begin on; the last value is 0."""
    peak: int
    """The highest value of `memory`."""
    cpu: int | None = None
    """CPU nanoseconds of its processes that ended with it, as far as they are known; None: of none
    of them."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The tasks of a job, and the rest of it."""

    tasks: tuple[Task, ...]
    """Ordered by their begin."""
    supervisors: Counter[str]
    """Number of processes that started the tasks, by the name of their program; empty where the
    tasks were chosen by a pattern, and none started several."""
    at_once: int
    """Number of tasks that ran at once: the parallelism of the job."""
    average: float
    """Mean number of tasks that ran at once, while any ran."""
    side_by_side: bool
    """Whether all tasks ran at once, and none took the place of another: these are workers of a
    pool, not tasks that wait for a free slot."""
    waits: Mapping[int, Wait]
    """The waits by number of the task."""
    delay: int
    """Median time from when a slot becomes free to the begin of the next task there."""
    rest: Steps
    """What the processes held that belong to no task, and the shared memory of all."""
    rest_alone: int
    """The highest value of `rest` while no task ran."""
    begin: int
    """Begin of the whole job."""
    end: int
    """End of the whole job."""
    unknown: int
    """Number of processes of which no memory is known: they count as 0."""
    unended: int
    """Number of tasks that still ran when the job ended."""
    sampled: bool
    """Whether the memory over time is from samples. If not, each process is assumed to have held
    its peak all its life."""
    cpu: int | None = None
    """CPU nanoseconds of the whole job, as far as they are known; None: of no process."""

    @property
    def serial(self) -> bool:
        """Whether the tasks ran one after another: the job showed no parallelism."""
        return self.at_once == 1 and len(self.tasks) > 1


def workload(profile: Profile, sizes: Sizes, worker: re.Pattern[str] | None = None) -> Workload:
    """Returns the tasks of a job. Raises NoTasks.

    With `worker`, tasks are what a supervisor started to get a process that matches it: see
    widened(). Without it, they are what the supervisor started: the process whose children, without
    the largest, held most memory for longest.
    """
    nodes, unknown = nodes_of(profile, sizes)
    roots, supervisors, others = _choose(profile, nodes, worker)
    lives = _lives(nodes, roots)
    at_once, average, together = parallelism(lives)
    total = sum(end - begin for begin, end in lives)
    side_by_side = (at_once > 1 or len(roots) == 1) and WORKERS_PART * total <= sum(
        lives[number][1] - lives[number][0] for number in together
    )
    if side_by_side:
        roots = [roots[number] for number in together]
        lives = [lives[number] for number in together]
    tasks, rest, unended = _memories(profile, sizes, nodes, roots)
    rest = raised(rest, sizes.shared)
    other_lives = _lives(nodes, others)
    slots = parallelism([*lives, *other_lives])[0] if others else at_once
    waits, delay = waits_of(lives, other_lives, slots, shortest_wait(profile, nodes, roots))
    return Workload(
        tasks=tasks,
        supervisors=supervisors,
        at_once=at_once,
        average=average,
        side_by_side=side_by_side,
        waits=waits,
        delay=delay,
        rest=rest,
        rest_alone=max(rest.most(*gap) for gap in gaps(profile, lives)),
        begin=profile.start,
        end=profile.end,
        unknown=unknown,
        unended=unended,
        sampled=sizes.sampled,
        cpu=_cpu(profile.processes),
    )


def _lives(nodes: Mapping[int, Node], serials: Iterable[int]) -> list[tuple[int, int]]:
    return [(nodes[serial].begin, nodes[serial].end) for serial in serials]


def _cpu(processes: Iterable[Process]) -> int | None:
    """Returns the CPU time of processes; None where it is not known of any."""
    known = [
        usage.user + usage.system
        for usage in (process.usage for process in processes)
        if usage.user is not None and usage.system is not None
    ]
    return sum(known) if known else None


def _choose(
    profile: Profile, nodes: Mapping[int, Node], worker: re.Pattern[str] | None
) -> tuple[list[int], Counter[str], list[int]]:
    """Returns the first process of each task, ordered by their begin, the supervisors, and their
    other children, which took up slots as well."""
    others: list[int] = []
    if worker:
        found = matching(profile, nodes, worker)
        if not found:
            raise NoTasks(
                f"no process below the first matches {worker.pattern!r}: 'memwatch report --top "
                "all' lists the command lines"
            )
        roots, chosen, others = widened(nodes, found)
    else:
        chosen = supervisors_of(nodes)
        if not chosen:
            raise NoTasks(
                "no process of this job started two others, so there are no tasks to plan with: "
                "choose processes with --worker REGEX"
            )
        roots = tasks_of(nodes, chosen)
    roots.sort(key=lambda serial: (nodes[serial].begin, serial))
    return roots, Counter(nodes[serial].name for serial in chosen), others


def _memories(
    profile: Profile, sizes: Sizes, nodes: Mapping[int, Node], roots: list[int]
) -> tuple[tuple[Task, ...], Steps, int]:
    """Returns the tasks, what the rest held, and the number of tasks that had not ended."""
    rest = -1
    numbers = {serial: number for number, serial in enumerate(roots)}
    owner: dict[int, int] = {}
    for serial, node in nodes.items():
        above = rest if node.parent is None else owner[node.parent]
        owner[serial] = numbers.get(serial, above)
    sums = [(array("q"), array("q")) for _ in range(len(roots) + 1)]
    members: list[list[Process]] = [[] for _ in roots]
    unended = 0
    for process in profile.processes:
        number = owner[process.serial]
        if process.alive:
            if process.serial in numbers:
                unended += 1
            else:
                number = rest  # a daemon that a task left behind
        if number != rest and nodes[process.serial].end <= nodes[roots[number]].end:
            members[number].append(process)
        times, differences = sums[number]
        for time, difference in changes(profile, process, sizes):
            times.append(time)
            differences.append(difference)
    tasks = []
    for number, serial in enumerate(roots):
        node = nodes[serial]
        memory = thinned(add_up(*sums[number], node.begin))
        peak, cpu = max(memory.sizes, default=0), _cpu(members[number])
        tasks.append(Task(node.begin, node.end - node.begin, memory, peak, cpu))
    return tuple(tasks), add_up(*sums[rest], 0), unended
