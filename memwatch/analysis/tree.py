"""Builds the process tree of a report, in which siblings that are alike share one line."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from memwatch.analysis.subtrees import Subtrees
from memwatch.model.processes import Process


@dataclass(slots=True)
class Branch:
    """A line of the tree: a process, or siblings that are alike, with all processes below them."""

    members: list[int]
    """The places of these processes in the list of all."""
    programs: tuple[str, ...]
    """What each member ran, one program after the other."""
    own: int | None
    """Highest peak of a single member, in bytes; None when unknown."""
    sum_of_peaks: int
    """Sum of the peaks of the members, without the processes below them."""
    subtree: int | None
    """Highest sum at one time of a member and all processes below it. Where there were no samples
    to add up, it is the sum of the peaks of all members and all processes below them. None when
    unknown."""
    below: int
    """Number of processes below the members."""
    children: list[Branch] = field(default_factory=list)
    """The lines below, highest subtree first."""
    hidden: int = 0
    """Number of processes in further children, and below them, for which there was no room."""


def grow(
    processes: Sequence[Process],
    subtrees: Subtrees | None,
    *,
    shows: Callable[[Process], bool] | None = None,
    most: int | None = None,
) -> Branch:
    """Returns a branch without members, which has the roots as children.

    It has at most `most` lines: those of the largest subtrees. `shows` decides which processes are
    shown; one above a shown process is shown as well, and the figures cover all processes. Siblings
    share a line if they ran the same programs and have the same below them, whatever memory they
    took.
    """
    forest = _Forest(processes, subtrees, shows)
    top = Branch([], (), None, 0, None, len(forest.order))
    number = count()  # keeps the order of branches of the same size
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
    """Returns the names of the programs that a process executed, without immediate repetitions."""
    names = [program.text.name for program in process.own_programs]
    return tuple(name for place, name in enumerate(names) if not place or name != names[place - 1])


class _Forest:
    """All processes with their children, as columns of numbers: there may be half a million."""

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
        """Peaks in bytes; -1 where unknown."""
        self.subtree = array("q")
        self.serial = array("q")
        self._parent = array("q")
        self._is_shown = bytearray()
        for process in processes:
            peak = process.peak
            self.name.append(names.setdefault(program_names(process), len(names)))
            self.own.append(peak.rss if peak.known else -1)
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
        """Returns the places of the roots, and the places of the children of each process."""
        places = {serial: place for place, serial in enumerate(self.serial)}
        roots: list[int] = []
        children: dict[int, list[int]] = {}
        for place in sorted(range(len(self.serial)), key=self.serial.__getitem__):
            parent = places.get(self._parent[place])
            siblings = roots if parent is None else children.setdefault(parent, [])
            siblings.append(place)
        return roots, children

    def _from_the_top(self) -> array[int]:
        """Returns all places, parents before their children. It does not recurse, because shells
        can be nested to any depth."""
        order = array("q")
        todo = list(self.roots)
        while todo:
            place = todo.pop()
            order.append(place)
            todo += self.children.get(place, ())
        return order

    def _add_up(self) -> None:
        """Computes what is below each process, and which processes are alike (`shape`)."""
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
        """Yields the lines of the children of some processes."""
        below = [each for place in members for each in self.children.get(place, ())]
        return self.fold(below)

    def fold(self, siblings: Sequence[int]) -> Iterator[Branch]:
        """Yields one line for the siblings of each shape."""
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
