"""Bounds on the anonymous memory that forked processes hold together, each page counted once.

A forked process shares the anonymous pages of its parent until one of them writes to a page, which
gives the writer a copy. How many pages are still shared is not known without walking them all, but
two things are, for next to nothing:

- A process holds at least its growth since the fork alone.
- Each copy, and each new page, takes one page fault. So all pages that the processes of a family
  do not share with each other were given to them by their faults.

A *family* is the processes that may share such pages: those that were forked, one from the other,
and have executed nothing since. Transparent huge pages take one fault for 512 pages; the kernel
counts them for the whole machine.
"""

from __future__ import annotations

from memwatch.model.processes import LiveProcess


class Sharer:
    """One process of a family."""

    __slots__ = ("children", "family", "handed_down", "inherited", "parent", "process", "top")

    def __init__(self, process: LiveProcess, family: Family, parent: Sharer | None) -> None:
        self.process = process
        self.family = family
        self.parent = parent
        self.children: list[Sharer] = []
        self.inherited = 0
        """The bytes that it may share with its parent: what the parent held at the fork. 0 for the
        root of the family."""
        self.top = process.anon
        """The most bytes that it may have held alone, by the sizes of it and of its children, since
        the last tick at which everything was known."""
        self.handed_down = 0
        """The bytes that ended processes have left to it and its brothers."""

    @property
    def growth(self) -> int:
        """Bytes that it holds beyond what it may share with its parent: they are its own."""
        return max(0, self.process.anon - self.inherited)

    @property
    def given(self) -> int | None:
        """The most bytes that it, or the ended processes that it stands for, ever had alone; None
        when its faults are not known."""
        faulted = self.process.faulted
        return None if faulted is None else faulted + self.handed_down

    @property
    def most(self) -> int:
        """The most bytes since that tick that it may have held alone, with those that its children
        have inherited from it and that it has dropped since, or has replaced by copies."""
        top = max(self.top, self.reach)
        return top if self.given is None else min(self.given, top)

    @property
    def reach(self) -> int:
        """The bytes that it holds, and those that its children may hold of it."""
        return self.process.anon + sum(child.inherited for child in self.children)


class Family:
    """Processes that may share anonymous pages, as they are at the last tick."""

    __slots__ = ("held", "left", "low", "most_held", "root", "sharers")

    def __init__(self, root: LiveProcess) -> None:
        self.root = Sharer(root, self, None)
        self.sharers = {self.root}
        self.held = self.low = root.anon
        """Bytes: the sum of what the processes hold, and the least of it that can be distinct."""
        self.most_held = root.anon
        """The largest sum since the last tick at which everything was known."""
        self.left = 0
        """The most that processes held of their own which have left since that tick."""

    def recount(self) -> None:
        """Updates the sums."""
        for sharer in self.sharers:
            sharer.top = max(sharer.top, sharer.reach)
        sizes = [sharer.process.anon for sharer in self.sharers]
        self.held = sum(sizes)
        grown = sum(sharer.growth for sharer in self.sharers if sharer is not self.root)
        self.low = max(self.root.process.anon + grown, max(sizes, default=0))
        self.most_held = max(self.most_held, self.held)

    def begin_period(self) -> None:
        """Forgets the ticks before this one, at which everything is known."""
        self.left = 0
        self.most_held = self.held
        for sharer in self.sharers:
            sharer.top = sharer.reach

    def high(self, huge: int) -> int:
        """Returns the most that was distinct at any tick since everything was known last.

        `huge` is what the machine has got in huge pages.
        """
        if len(self.sharers) == 1 and not self.left:
            return self.most_held
        total = sum(sharer.most for sharer in self.sharers) + self.left + huge
        return max(self.low, min(total, self.most_held))


class Sharing:
    """The families of a running job."""

    def __init__(self) -> None:
        self.huge = 0
        """Bytes that the machine has got in huge pages since the job began."""
        self.held = 0
        """Bytes: the sum of what the processes of all families hold, at the last tick."""
        self.low = 0
        """The least of it that can be distinct."""
        self._sharers: dict[int, Sharer] = {}
        """The processes of all families, by serial."""
        self._families: set[Family] = set()
        self._changed: set[Family] = set()
        self._gone = 0
        """The most that the families held which have left since the last call of settle()."""
        self._orphans: dict[int, Sharer] = {}
        """The first child that was seen of each process that ended, or executed something, before
        that child was seen; by the serial of that process."""

    def note_change(self, process: LiveProcess) -> bool:
        """Notes that the anonymous memory of a process has changed. Returns whether the process is
        in a family."""
        sharer = self._sharers.get(process.serial)
        if sharer:
            self._changed.add(sharer.family)
        return sharer is not None

    def fork(self, child: LiveProcess, parent: LiveProcess | None) -> None:
        """Adds a process that was forked and has its first memory. `parent`: None when it has
        ended."""
        forked = child.first_seen if child.start is None else child.start
        if parent and parent.since <= forked:
            above = self._sharers.get(parent.serial) or self._begin(parent)
            inherited = parent.anon
            if parent.anon_time > forked:
                inherited = max(inherited, parent.anon_before)
        else:
            # Its brothers may share all that they hold with each other.
            eldest = self._orphans.get(child.parent or 0)
            if eldest is None or eldest not in eldest.family.sharers:
                self._orphans[child.parent or 0] = self._begin(child)
                return
            above, inherited = eldest, child.anon
        sharer = Sharer(child, above.family, above)
        sharer.inherited = inherited
        above.children.append(sharer)
        above.family.sharers.add(sharer)
        self._sharers[child.serial] = sharer
        self._changed.add(above.family)

    def leave(self, process: LiveProcess, *, final: bool) -> None:
        """Removes a process that has ended, or has executed another program. One of its children
        takes its place: that still holds what it has inherited. `final`: its page faults are those
        of all the time that it was in the family."""
        sharer = self._sharers.pop(process.serial, None)
        if sharer is None:
            return
        family = sharer.family
        if not final:
            process.faulted = None
        if len(family.sharers) == 1:
            self._end(family)
            return
        family.sharers.discard(sharer)
        self._changed.add(family)
        family.left += sharer.most
        children = sharer.children
        if sharer.parent:
            sharer.parent.children.remove(sharer)
        if not children:
            return
        heir = max(children, key=lambda child: child.process.anon)
        # Of its own pages they hold at most what they have inherited, and what it had.
        left = sum(child.inherited for child in children)
        heir.handed_down += left if sharer.given is None else min(left, sharer.given)
        heir.inherited = sharer.inherited
        heir.parent = sharer.parent
        for child in children:
            if child is not heir:
                child.parent = heir
                heir.children.append(child)
        if sharer.parent:
            sharer.parent.children.append(heir)
        else:
            family.root = heir

    def tick(self) -> None:
        """Updates the sums of all families at a tick."""
        for family in self._changed:
            self.held -= family.held
            self.low -= family.low
            family.recount()
            self.held += family.held
            self.low += family.low
        self._changed.clear()

    def settle(self, *, detailed: bool) -> int:
        """Returns the most that all families held at any tick since the last call, and begins to
        count anew. `detailed`: the faults of all their processes are known up to this tick."""
        total, self._gone = self._gone, 0
        for family in self._families:
            total += family.high(self.huge) if detailed else family.most_held
            family.begin_period()
        return total

    def _end(self, family: Family) -> None:
        self._gone += family.high(self.huge)
        self._families.discard(family)
        self._changed.discard(family)
        self.held -= family.held
        self.low -= family.low

    def _begin(self, root: LiveProcess) -> Sharer:
        family = Family(root)
        self._sharers[root.serial] = family.root
        self._families.add(family)
        self._changed.add(family)
        self.held += family.held
        self.low += family.low
        return family.root
