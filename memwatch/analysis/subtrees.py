"""What each process of a job held at one time together with all processes below it."""

from __future__ import annotations

import heapq
from array import array

from memwatch.model.observations import EXITED, HAS_PARENT, HAS_RSS, MEMORY, STARTED, TICK, Batch

# The largest step from one serial number to a new one. They are given one by one; in a damaged
# recording a number could ask for any amount of memory.
_FAR = 1 << 20


class Subtrees:
    """The highest sum, over all ticks, of each process and all processes below it.

    It takes 32 bytes a process. The time of a tick is in proportion to the number of processes that
    changed and of those above them.
    """

    def __init__(self) -> None:
        # Columns by serial number; 0 is not used.
        self._parents = array("q", (0,))
        self._own = array("q", (0,))
        self._sums = array("q", (0,))
        self._changes: dict[int, int] = {}
        self._peaks = array("q", (0,))
        self._has_younger_parents = False

    def peak(self, serial: int) -> int:
        """Returns the highest sum of a process, in bytes; 0 where no memory was seen."""
        return self._peaks[serial] if serial < len(self._peaks) else 0

    def apply(self, batch: Batch) -> None:
        """Adds the observations of a batch."""
        for _time, serial, value, _second, kind, valid, _pid, _ppid, _third in batch.records:
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
            raise IndexError(f"bad serial numbers: {serial}, {parent}")
        if missing > 0:
            for column in (self._parents, self._own, self._sums, self._peaks):
                column.extend(array("q", bytes(8 * missing)))
        if not parent or self._parents[serial] or self._is_above(serial, parent):
            return
        # The parent may become known after the process has been seen to hold memory.
        self._parents[serial] = parent
        self._has_younger_parents |= parent > serial
        held = self._sums[serial]
        if held:
            self._changes[parent] = self._changes.get(parent, 0) + held

    def _is_above(self, serial: int, other: int) -> bool:
        """Returns whether `serial` is `other` or above it; never so while all parents are older."""
        if not self._has_younger_parents and other < serial:
            return False
        while other and other != serial:
            other = self._parents[other]
        return other == serial

    def _tick(self) -> None:
        for serial in self._spread():
            self._peaks[serial] = max(self._peaks[serial], self._sums[serial])

    def _spread(self) -> set[int]:
        """Adds the changes to the sums of all processes above. Returns the processes concerned."""
        changes = self._changes
        # Most children have higher numbers than their parents, so most sums change once.
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
