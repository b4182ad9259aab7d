"""The tasks of a job that is over: what each held over time, and what the rest held meanwhile.

A task is a process that a supervisor (make, ninja, xargs, a script) started, with all that it
started itself. Times are nanoseconds, sizes are bytes.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from memwatch.model.processes import EVENTS, EXACT, ROOT, UNKNOWN, Process, Program
from memwatch.model.profile import Profile
from memwatch.model.tracks import Track, Tracks

"""Serial of the job's first process."""

# The kernel rounds the start of a process down to hundredths of a second (USER_HZ).
START_GRAIN = 10_000_000

# A slot that stays free for less was free because its supervisor was slow, not because nothing
# could be started: so much, or so much of a task of middle length, or two samples where the ends
# of processes are known only from those.
SHORTEST_WAIT = 10_000_000
WAIT_PART = 0.1

# In the memory of a task: with more, the highest of several neighbours stands for them.
MOST_STEPS = 64

# How much of the time so many tasks must have run at once, for that to be what the job was given:
# the end of one may be seen after the start of the next.
AT_ONCE_PART = 0.05

# The part of all the tasks' time from which those that ran at one moment are all that matter.
WORKERS_PART = 0.9


class NoTasks(ValueError):
    """There is nothing to plan with. The text says why, and what to do."""


class Steps(NamedTuple):
    """A value holds from its time to that of the next; before the first it is 0."""

    times: array[int]
    sizes: array[int]

    def most(self, begin: int, end: int) -> int:
        """The highest value from `begin` on, until before `end`."""
        first = bisect_right(self.times, begin)
        last = max(first, bisect_right(self.times, end - 1))
        return max(self.sizes[max(first - 1, 0) : last], default=0)


class Task(NamedTuple):
    begin: int
    """Since boot, or since 1970: as the profile has it."""
    length: int
    """Until its first process ended: so long it takes up a slot."""
    memory: Steps
    """Of all its processes together, from its begin on; the last value is 0."""
    peak: int
    """The highest value of that."""


class Wait(NamedTuple):
    """Why a task began later than a slot was free."""

    running: frozenset[int]
    """Tasks that it did not wait for: they went on running. It may have waited for all others that
    had begun before."""
    pause: int
    """How long after those had ended it began."""
    after_begin: bool
    """It waited for none of them: the supervisor took its time. The pause is from the begin of
    the task before."""


@dataclass(frozen=True, slots=True)
class Workload:
    tasks: tuple[Task, ...]
    """In the order in which they began."""
    supervisors: Counter[str]
    """Names of the programs that started them, and how many processes of each; empty where the
    tasks were chosen by their command lines."""
    at_once: int
    """How many ran at once: the parallelism that the job had."""
    average: float
    """The same, on average while any ran."""
    side_by_side: bool
    """All ran at once, and none took the place of another: workers of a pool, not tasks that wait
    for a free slot."""
    waits: Mapping[int, Wait]
    """By number of the task."""
    delay: int
    """From a slot's being free to the begin of the next task there, as a rule."""
    rest: Steps
    """What the processes held that belong to no task."""
    rest_alone: int
    """The most of that while no task ran."""
    begin: int
    end: int
    """Of the whole job."""
    unknown: int
    """Processes of which no memory is known: they count as 0."""
    unended: int
    """Tasks that still ran when the job ended."""
    sampled: bool
    """The memory over time is from samples. Else each process is taken to have held its peak all
    its life."""


class _Node:
    __slots__ = ("area", "begin", "children", "end", "forked", "name", "parent", "subtree")

    def __init__(self, process: Process, parent: int | None, begin: int, end: int) -> None:
        self.parent = parent
        self.begin = begin
        self.end = end
        self.name = process.command
        self.forked = process.programs[-1].inherited
        self.area = 0
        """Memory × time."""
        self.subtree = 0
        """The same of it and all that it started."""
        self.children: list[int] = []


def workload(
    profile: Profile, tracks: Tracks | None, worker: re.Pattern[str] | None = None
) -> Workload:
    """Raises NoTasks.

    Tasks are the processes that match `worker` below no other that does; without it, what the
    supervisor started whose children held most memory for longest, the largest child left out.
    """
    series = tracks.by_serial if tracks else {}
    nodes, unknown = _nodes(profile, series)
    if worker:
        roots, supervisors = _matching(profile, nodes, worker), Counter[str]()
        if not roots:
            raise NoTasks(
                f"no process below the first matches {worker.pattern!r}: 'memwatch report --top "
                "all' lists the command lines"
            )
    else:
        chosen = _supervisors(nodes)
        if not chosen:
            raise NoTasks(
                "no process of this job started two others: there are no tasks to plan with; "
                "choose processes with --worker REGEX"
            )
        roots = _tasks_of(nodes, chosen)
        supervisors = Counter(nodes[serial].name for serial in chosen)
    roots.sort(key=lambda serial: (nodes[serial].begin, serial))
    lives = [(nodes[serial].begin, nodes[serial].end) for serial in roots]
    at_once, average, together = _parallelism(lives)
    total = sum(end - begin for begin, end in lives)
    side_by_side = (at_once > 1 or len(roots) == 1) and WORKERS_PART * total <= sum(
        lives[number][1] - lives[number][0] for number in together
    )
    if side_by_side:
        roots = [roots[number] for number in together]
        lives = [lives[number] for number in together]
    tasks, rest, unended = _memories(profile, series, nodes, roots)
    waits, delay = _waits(lives, at_once, _shortest_wait(profile, nodes, roots))
    return Workload(
        tasks=tasks,
        supervisors=supervisors,
        at_once=at_once,
        average=average,
        side_by_side=side_by_side,
        waits=waits,
        delay=delay,
        rest=rest,
        rest_alone=max(rest.most(*gap) for gap in _gaps(profile, lives)),
        begin=profile.start,
        end=profile.end,
        unknown=unknown,
        unended=unended,
        sampled=tracks is not None,
    )


# What processes held ------------------------------------------------------------------------------


def _life(profile: Profile, process: Process) -> tuple[int, int]:
    """From its begin to its end, as exactly as they are known."""
    begin = process.first_seen
    if process.found_by != EVENTS and process.start is not None:
        begin = min(begin, process.start + START_GRAIN)
    begin = max(begin, profile.start)
    over = process.end_known or not (process.alive or process.is_root)
    return begin, max(begin, process.last_seen if over else profile.end)


def _changes(profile: Profile, process: Process, track: Track | None) -> Iterator[tuple[int, int]]:
    """(time, difference) of what it held, from 0 to 0 again.

    Between a fork and an exec that is left out: those are its parent's pages.
    """
    begin, end = _life(profile, process)
    ends = [*(program.since for program in process.programs[1:]), end]
    held = 0
    since = begin
    for program, next_since in zip(process.programs, ends, strict=True):
        until = min(max(since, next_since), end)
        if until > since:
            passing = program.inherited and program is not process.programs[-1]
            for time, size in [] if passing else _held(program, since, until, track):
                yield time, size - held
                held = size
        since = until
    if held:
        yield end, -held


def _held(program: Program, begin: int, end: int, track: Track | None) -> list[tuple[int, int]]:
    """(time, size) of one program: its samples, the highest of them raised to its peak."""
    steps = []
    if track:
        first, last = bisect_right(track.times, begin - 1), bisect_right(track.times, end - 1)
        steps = list(zip(track.times[first:last], track.rss[first:last], strict=True))
    steps[:1] = [(begin, steps[0][1] if steps else 0)]
    if program.peak.source == UNKNOWN:
        return steps
    peak = program.peak.rss
    if program.peak.source == EXACT:
        # A sample that is higher was taken when the next program had begun.
        steps = [(time, min(size, peak)) for time, size in steps]
    highest = max(range(len(steps)), key=lambda number: steps[number][1])
    if peak > steps[highest][1]:
        steps[highest] = (steps[highest][0], peak)
    return steps


def _add_up(times: Sequence[int], differences: Sequence[int], origin: int) -> Steps:
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


def _thinned(steps: Steps) -> Steps:
    size = len(steps.times) // MOST_STEPS + 1
    if size == 1:
        return steps
    before_last = len(steps.times) - 1
    places = range(0, before_last, size)
    times = array("q", (steps.times[place] for place in places))
    sizes = array("q", (max(steps.sizes[p : min(p + size, before_last)]) for p in places))
    return Steps(times + steps.times[-1:], sizes + steps.sizes[-1:])


def _memories(
    profile: Profile, series: Mapping[int, Track], nodes: Mapping[int, _Node], roots: list[int]
) -> tuple[tuple[Task, ...], Steps, int]:
    """The tasks, the rest, and how many tasks had not ended."""
    rest = -1
    numbers = {serial: number for number, serial in enumerate(roots)}
    owner: dict[int, int] = {}
    for serial, node in nodes.items():
        above = rest if node.parent is None else owner[node.parent]
        owner[serial] = numbers.get(serial, above)
    changes = [(array("q"), array("q")) for _ in range(len(roots) + 1)]
    unended = 0
    for process in profile.processes:
        number = owner[process.serial]
        if process.alive:
            if process.serial in numbers:
                unended += 1
            else:
                number = rest  # a daemon that a task left behind
        times, differences = changes[number]
        for time, difference in _changes(profile, process, series.get(process.serial)):
            times.append(time)
            differences.append(difference)
    tasks = []
    for number, serial in enumerate(roots):
        node = nodes[serial]
        memory = _thinned(_add_up(*changes[number], node.begin))
        tasks.append(Task(node.begin, node.end - node.begin, memory, max(memory.sizes, default=0)))
    return tuple(tasks), _add_up(*changes[rest], 0), unended


# Which processes are tasks ------------------------------------------------------------------------


def _nodes(profile: Profile, series: Mapping[int, Track]) -> tuple[dict[int, _Node], int]:
    """By serial, parents before their children; and how many have no known memory."""
    nodes = {}
    unknown = 0
    for process in profile.processes:
        begin, end = _life(profile, process)
        # Below its own, else a file made by hand could make a circle of parents.
        parent = process.parent if (process.parent or 0) < process.serial else None
        node = nodes[process.serial] = _Node(process, parent, begin, end)
        for time, difference in _changes(profile, process, series.get(process.serial)):
            node.area += difference * (end - time)
        unknown += process.peak.source == UNKNOWN
    nodes = {serial: nodes[serial] for serial in sorted(nodes)}
    for serial, node in nodes.items():
        if node.parent not in nodes:
            node.parent = None
        else:
            nodes[node.parent].children.append(serial)
    for node in reversed(nodes.values()):
        node.subtree = node.area + sum(nodes[child].subtree for child in node.children)
    return nodes, unknown


def _supervisors(nodes: Mapping[int, _Node]) -> set[int]:
    """The one with the widest fan-out, and others of its program that only pass the work on."""
    best, most = None, (-1, 0)
    for serial, node in nodes.items():
        if len(node.children) > 1:
            areas = [nodes[child].subtree for child in node.children]
            # How much would have been held by others, had one child held all that it could.
            spread = (sum(areas) - max(areas), len(areas))
            if spread > most:
                best, most = serial, spread
    if best is None:
        return set()
    # A make that was started by a make, say: it holds little itself.
    name = nodes[best].name
    return {best} | {
        serial
        for serial, node in nodes.items()
        if node.name == name
        and not node.forked
        and node.children
        and node.subtree - node.area > node.area
    }


def _tasks_of(nodes: Mapping[int, _Node], supervisors: set[int]) -> list[int]:
    """Children of supervisors that have none below them."""
    above = set()
    for serial in supervisors:
        up = nodes[serial].parent
        while up is not None and up not in above:
            above.add(up)
            up = nodes[up].parent
    return [
        child
        for serial in supervisors
        for child in nodes[serial].children
        if child not in supervisors and child not in above
    ]


def _matching(profile: Profile, nodes: Mapping[int, _Node], worker: re.Pattern[str]) -> list[int]:
    matching = {process.serial for process in profile.processes if _matches(worker, process)}
    matching.discard(ROOT)
    inside: set[int] = set()
    for serial, node in nodes.items():
        if node.parent is not None and (node.parent in matching or node.parent in inside):
            inside.add(serial)
    return [serial for serial in matching if serial not in inside]


def _matches(worker: re.Pattern[str], process: Process) -> bool:
    """Any program of its own: before its exec it has its parent's command line."""
    own = [program.text for program in process.programs if not program.inherited]
    return any(
        worker.search(text.name) or (text.argv and worker.search(" ".join(text.argv)))
        for text in own or [process.programs[0].text]
    )


# When tasks began, and why then -------------------------------------------------------------------


def _parallelism(lives: Sequence[tuple[int, int]]) -> tuple[int, float, list[int]]:
    """How many ran at once; on average, while any ran; and those that did at the longest such
    time."""
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


def _shortest_wait(profile: Profile, nodes: Mapping[int, _Node], roots: Sequence[int]) -> int:
    lengths = sorted(nodes[serial].end - nodes[serial].begin for serial in roots)
    shortest = max(SHORTEST_WAIT, round(WAIT_PART * lengths[len(lengths) // 2]))
    if not profile.accuracy.complete:
        shortest = max(shortest, 2 * profile.sampling.interval)
    return shortest


def _waits(
    lives: Sequence[tuple[int, int]], at_once: int, shortest: int
) -> tuple[dict[int, Wait], int]:
    """Tasks that began although a slot had been free for long; and how long it takes else."""
    waits = {}
    delays = []
    running: dict[int, int] = {0: lives[0][1]}
    free_since, last_end = lives[0][0], lives[0][0]
    for number, ((before, _), (begin, end)) in enumerate(pairwise(lives), 1):
        for ended in sorted(running, key=running.__getitem__):
            if running[ended] > begin:
                break
            last_end = running.pop(ended)
            if len(running) + 1 >= at_once:
                free_since = last_end
        if len(running) < at_once:
            by_end = last_end > before
            # What begins last and alone, like a link, most likely needs all others; where it does
            # not, little is lost.
            is_final = not running and number == len(lives) - 1 and at_once > 1
            if is_final or begin - max(free_since, before) > shortest:
                # One at a time they had to wait, whether or not they needed each other.
                after_begin = not by_end or at_once == 1
                pause = begin - (last_end if by_end else before)
                waits[number] = Wait(frozenset(running), pause, after_begin)
            else:
                delays.append(begin - max(free_since, before))
        running[number] = end
    delays.sort()
    return waits, delays[len(delays) // 2] if delays else 0


def _gaps(profile: Profile, lives: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Times at which no task ran."""
    busy = profile.start
    for begin, end in lives:
        if begin > busy:
            yield busy, begin
        busy = max(busy, end)
    yield busy, max(profile.end, busy + 1)
