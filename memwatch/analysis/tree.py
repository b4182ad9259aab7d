"""The process tree: what each process held, and with all below it; alike siblings folded."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from memwatch.model.observations import EXITED, HAS_PARENT, HAS_RSS, MEMORY, STARTED, TICK, Batch
from memwatch.model.processes import UNKNOWN, Process

# Serial numbers are given one by one; in a damaged recording one could name any amount of memory.
_FAR = 1 << 20


class Subtrees:
    """What each process held at one time together with all below it: the highest of all ticks.

    32 bytes a process. A tick takes time in proportion to the processes that changed and those
    above them, however deep.
    """

    def __init__(self) -> None:
        # By serial number; of 0 there is none.
        self._parents = array("q", (0,))
        self._own = array("q", (0,))
        self._sums = array("q", (0,))
        self._changes: dict[int, int] = {}
        self._peaks = array("q", (0,))
        self._has_younger_parents = False

    def peak(self, serial: int) -> int:
        """Bytes; 0 where nothing was seen."""
        return self._peaks[serial] if serial < len(self._peaks) else 0

    def apply(self, batch: Batch) -> None:
        for _time, serial, value, _second, kind, valid, _pid, _ppid in batch.records:
            if kind == MEMORY:
                if valid & HAS_RSS:
                    self._hold(serial, value)
            elif kind == TICK:
                self._tick()
            elif kind == STARTED:
                self._started(serial, value if valid & HAS_PARENT else 0)
            elif kind == EXITED:
                self._hold(serial, 0)

    def _hold(self, serial: int, rss: int) -> None:
        change = rss - self._own[serial]
        if change:
            self._own[serial] = rss
            self._changes[serial] = self._changes.get(serial, 0) + change

    def _started(self, serial: int, parent: int) -> None:
        missing = max(serial, parent) + 1 - len(self._parents)
        if missing > _FAR or serial <= 0 or parent < 0:
            raise IndexError(f"no serial numbers: {serial}, {parent}")
        if missing > 0:
            for column in (self._parents, self._own, self._sums, self._peaks):
                column.extend(array("q", bytes(8 * missing)))
        if not parent or self._parents[serial] or self._is_above(serial, parent):
            return
        # Who the parent is may be heard of when there is something to add to it.
        self._parents[serial] = parent
        self._has_younger_parents |= parent > serial
        held = self._sums[serial]
        if held:
            self._changes[parent] = self._changes.get(parent, 0) + held

    def _is_above(self, serial: int, other: int) -> bool:
        """Whether `other` is itself below; never so where all parents are older."""
        if not self._has_younger_parents and other < serial:
            return False
        while other and other != serial:
            other = self._parents[other]
        return other == serial

    def _tick(self) -> None:
        for serial in self._spread():
            self._peaks[serial] = max(self._peaks[serial], self._sums[serial])

    def _spread(self) -> set[int]:
        """Adds what has changed to the sums of all above. Returns the processes concerned."""
        changes = self._changes
        # Children mostly have higher numbers than their parents: so each sum changes once.
        waiting = [-serial for serial in changes]
        heapq.heapify(waiting)
        concerned = set()
        while waiting:
            serial = -heapq.heappop(waiting)
            change = changes.pop(serial, 0)
            if not change:
                continue
            concerned.add(serial)
            self._sums[serial] += change
            parent = self._parents[serial]
            if parent:
                if parent not in changes:
                    heapq.heappush(waiting, -parent)
                changes[parent] = changes.get(parent, 0) + change
        return concerned


@dataclass(slots=True)
class Branch:
    """A line of the tree: a process, or siblings that are alike, with all below them."""

    members: list[int]
    """Their places in the list of processes."""
    programs: tuple[str, ...]
    """What each of them ran, one after the other."""
    own: int | None
    """Highest peak of one of them, in bytes; None: unknown."""
    sum_of_peaks: int
    """Of themselves, without what is below."""
    subtree: int | None
    """Highest peak at one time of one of them with all below it; a sum of peaks, of all of them
    and all below, where there were no samples to add up. None: unknown."""
    below: int
    """Processes below them."""
    children: list[Branch] = field(default_factory=list)
    """The highest subtree first."""
    hidden: int = 0
    """Processes of further children, and of those below them, for which there was no room."""


def grow(
    processes: Sequence[Process],
    subtrees: Subtrees | None,
    *,
    shows: Callable[[Process], bool] | None = None,
    most: int | None = None,
) -> Branch:
    """A branch without members that holds the roots as children.

    There are `most` lines at most: those of the largest subtrees. `shows` leaves out processes
    that have nothing to show below them either; figures cover all. Siblings are folded that ran
    the same programs and have the same below them, whatever memory they took.
    """
    forest = _Forest(processes, subtrees, shows)
    top = Branch([], (), None, 0, None, len(forest.order))
    number = count()  # so that equals keep their order
    waiting: list[tuple[int, int, Branch, Branch]] = []

    def wait(parent: Branch, branches: Iterator[Branch]) -> None:
        for branch in branches:
            heapq.heappush(waiting, (-(branch.subtree or 0), next(number), branch, parent))

    wait(top, forest.fold(forest.roots))
    lines = 0
    while waiting and (most is None or lines < most):
        _, _, branch, parent = heapq.heappop(waiting)
        parent.children.append(branch)
        lines += 1
        wait(branch, forest.fold_below(branch.members))
    for _, _, branch, parent in waiting:
        parent.hidden += len(branch.members) + branch.below
    return top


def program_names(process: Process) -> tuple[str, ...]:
    """What it ran, one after the other; not what it was forked as, unless that is all."""
    names = [program.text.name for program in process.programs if not program.inherited]
    names = names or [process.command]
    return tuple(name for place, name in enumerate(names) if not place or name != names[place - 1])


class _Forest:
    """Columns of numbers, for there may be half a million processes."""

    def __init__(
        self,
        processes: Sequence[Process],
        subtrees: Subtrees | None,
        shows: Callable[[Process], bool] | None,
    ) -> None:
        self.added_up = subtrees is not None
        names: dict[tuple[str, ...], int] = {}
        self.name = array("q")
        self.own = array("q")
        """Peaks; -1 where unknown."""
        self.subtree = array("q")
        self.serial = array("q")
        self._parent = array("q")
        self._is_shown = bytearray()
        for process in processes:
            peak = process.peak
            self.name.append(names.setdefault(program_names(process), len(names)))
            self.own.append(-1 if peak.source == UNKNOWN else peak.rss)
            self.subtree.append(subtrees.peak(process.serial) if subtrees else 0)
            self.serial.append(process.serial)
            self._parent.append(process.parent or 0)
            self._is_shown.append(shows is None or shows(process))
        self.names = tuple(names)
        self.roots, self.children = self._related()
        self.order = self._from_the_top()
        self.below = array("q", bytes(8 * len(self.own)))
        self.shape = array("q", bytes(8 * len(self.own)))
        self._add_up()

    def _related(self) -> tuple[list[int], dict[int, list[int]]]:
        places = {serial: place for place, serial in enumerate(self.serial)}
        roots: list[int] = []
        children: dict[int, list[int]] = {}
        for place in sorted(range(len(self.serial)), key=self.serial.__getitem__):
            parent = places.get(self._parent[place])
            siblings = roots if parent is None else children.setdefault(parent, [])
            siblings.append(place)
        return roots, children

    def _from_the_top(self) -> array[int]:
        """Parents before their children. Not by recursion: shells can be nested ever so deep."""
        order = array("q")
        todo = list(self.roots)
        while todo:
            place = todo.pop()
            order.append(place)
            todo += self.children.get(place, ())
        return order

    def _add_up(self) -> None:
        shapes: dict[tuple[int, ...], int] = {}
        for place in reversed(self.order):
            below = self.children.get(place, [])
            self.below[place] = len(below) + sum(self.below[each] for each in below)
            subtrees = [self.subtree[each] for each in below]
            own = max(self.own[place], 0)
            if self.added_up:
                # Between two samples one process alone may have held more.
                self.subtree[place] = max(self.subtree[place], own, *subtrees)
            else:
                self.subtree[place] = own + sum(subtrees)
            shown = [each for each in below if self._is_shown[each]]
            if shown:
                self._is_shown[place] = True
                self.children[place] = shown
            else:
                self.children.pop(place, None)
            shape = (self.name[place], *sorted(self.shape[each] for each in shown))
            self.shape[place] = shapes.setdefault(shape, len(shapes))
        self.roots = [place for place in self.roots if self._is_shown[place]]

    def fold_below(self, members: Sequence[int]) -> Iterator[Branch]:
        below = [each for place in members for each in self.children.get(place, ())]
        return self.fold(below)

    def fold(self, siblings: Sequence[int]) -> Iterator[Branch]:
        alike: dict[int, list[int]] = {}
        for place in siblings:
            alike.setdefault(self.shape[place], []).append(place)
        return map(self._branch, alike.values())

    def _branch(self, members: list[int]) -> Branch:
        peaks = [self.own[place] for place in members]
        subtrees = [self.subtree[place] for place in members]
        highest = max(peaks)
        subtree = max(subtrees) if self.added_up else sum(subtrees)
        return Branch(
            members,
            self.names[self.name[members[0]]],
            None if highest < 0 else highest,
            sum(peak for peak in peaks if peak > 0),
            subtree or None,
            sum(self.below[place] for place in members),
        )
