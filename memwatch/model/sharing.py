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

from collections.abc import Mapping

from memwatch.model.processes import LiveProcess

MIB = 1 << 20
"""Bytes that do not matter to a total."""

PAGES_OF_FAULT = 8
"""Pages of a file that are taken to come with one fault where they are read. The kernel maps up to
16 at once (fault_around_bytes, 64 KiB by default), but fewer at the edges, and to map a file takes
some faults in the program that does it."""


class Rises:
    """The sum of the rises of a size. A smaller rise than MIB may be the kernel's counting in
    batches."""

    __slots__ = ("_lowest", "_total")

    def __init__(self) -> None:
        self._total = 0
        self._lowest = 0
        """Since the last rise."""

    def note(self, size: int) -> None:
        """Notes the size at a tick."""
        if size < self._lowest:
            self._lowest = size
        elif size - self._lowest >= MIB:
            self._total += size - self._lowest
            self._lowest = size

    def regrown(self, size: int) -> int:
        """Returns how much of the rises was given back by now: memory that was there for a time."""
        return max(0, self._total - size)


class Sharer:
    """One process of a family."""

    __slots__ = (
        "children",
        "family",
        "from_above",
        "handed_down",
        "inherited",
        "parent",
        "parent_faulted",
        "parent_rises",
        "process",
        "rises",
        "top",
    )

    def __init__(self, process: LiveProcess, family: Family, parent: Sharer | None) -> None:
        self.process = process
        self.family = family
        self.parent = parent
        self.children: list[Sharer] = []
        self.inherited = 0
        """The bytes that it may share with its parent: what the parent held at the fork. 0 for the
        root of the family."""
        self.from_above = 0
        """The bytes that it may share with the processes above its parent although its parent does
        not: it may be from the program that its parent ran before."""
        self.parent_faulted: int | None = None
        """What page faults had given its parent soon after the fork; None until that is known."""
        self.rises = Rises()
        """Of its growth: what was given back took page faults as well."""
        self.parent_rises = Rises()
        """Of what its parent holds beyond what it may share with it."""
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
    def parent_growth(self) -> int:
        """Bytes that its parent holds beyond what it may share with it."""
        return max(0, self.parent.process.anon - self.inherited) if self.parent else 0

    def note_sizes(self) -> None:
        """Notes what it holds at a tick, and its parent."""
        self.top = max(self.top, self.reach)
        self.rises.note(self.growth)
        self.parent_rises.note(self.parent_growth)

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
    def is_of_another_group(self) -> bool:
        """Whether its parent does not count in its group."""
        parent = self.parent
        if parent is None:
            return False
        return not parent.process.counted or parent.process.group is not self.process.group

    @property
    def most_in_group(self) -> int:
        """As `most`, with what it has inherited from a process of another group."""
        return max(self.top, self.reach) if self.is_of_another_group else self.most

    @property
    def reach(self) -> int:
        """The bytes that it holds, and those that its children may hold of it."""
        return self.process.anon + sum(child.inherited for child in self.children)

    @property
    def own(self) -> int:
        """The best estimate of what it holds alone: its growth, and what its page faults have given
        it beyond its pages of files and shared memory, which take faults as well."""
        process = self.process
        faulted, shared = process.faulted, process.shared_gained
        if faulted is not None:
            faulted -= self.rises.regrown(self.growth)
        if faulted is None or faulted > process.anon + process.shared_most:
            # More than it can have got at once: it maps and unmaps, so the faults tell nothing.
            return self.growth
        # A page that is written to takes a fault of its own.
        faulted -= shared if faulted >= shared else shared // PAGES_OF_FAULT
        return max(self.growth, min(process.anon, faulted))

    @property
    def dropped(self) -> int:
        """The best estimate of what its children hold of it and it does not hold any more."""
        process = self.process
        most = 0
        for child in self.children:
            if process.faulted is not None and child.parent_faulted is not None:
                copied = process.faulted - child.parent_faulted
                copied -= child.parent_rises.regrown(child.parent_growth)
                gone = child.inherited - process.anon + copied
                most = max(most, min(child.inherited, gone))
        return most


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

    @property
    def is_shared(self) -> bool:
        """Whether it has several processes, or had several since everything was known last."""
        return len(self.sharers) > 1 or self.left > 0

    def recount(self) -> None:
        """Updates the sums."""
        for sharer in self.sharers:
            sharer.note_sizes()
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

    def hand_down(self, sharer: Sharer) -> Sharer:
        """Gives the place of a process that has left to one of its children, and returns that."""
        children = sharer.children
        heir = max(children, key=lambda child: child.process.anon)
        # Of its own pages they hold at most what they have inherited, and what it had.
        inherited = sum(child.inherited for child in children)
        heir.handed_down += inherited if sharer.given is None else min(inherited, sharer.given)
        heir.from_above = max(heir.from_above, sharer.from_above)
        heir.inherited = max(sharer.inherited, heir.from_above)
        heir.parent, heir.parent_faulted = sharer.parent, sharer.parent_faulted
        heir.rises, heir.parent_rises = Rises(), sharer.parent_rises
        for child in children:
            if child is not heir:
                child.parent = heir
                child.parent_faulted = heir.process.faulted
                child.parent_rises = Rises()
                heir.children.append(child)
        if sharer.parent:
            sharer.parent.children.append(heir)
        else:
            self.root = heir
        return heir

    def best(self) -> int:
        """Returns the best estimate of what is distinct, where everything is known."""
        total = self.root.process.anon
        for sharer in self.sharers:
            total += sharer.dropped + (0 if sharer is self.root else sharer.own)
        return max(self.low, min(total, self.held))

    def high(self, huge: int) -> int:
        """Returns the most that was distinct at any tick since everything was known last.

        `huge` is what the machine has got in huge pages.
        """
        if not self.is_shared:
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
        self.families: set[Family] = set()
        self._sharers: dict[int, Sharer] = {}
        """The processes of all families, by serial."""
        self._changed: set[Family] = set()
        self._joining: dict[int, LiveProcess] = {}
        """Processes that were forked, to be added at the next tick."""
        self._left: dict[int, int | None] = {}
        """The processes that have ended, or have executed something, since the last tick: for the
        serial of each, that of the process that holds what its children have inherited, or None."""
        self._unmeasured: list[Sharer] = []
        """Processes whose parent's faults at the fork are not known yet."""
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

    def own_of(self, process: LiveProcess) -> int:
        """Returns the best estimate of the anonymous memory that a process holds alone, or shares
        with its children."""
        sharer = self._sharers.get(process.serial)
        return sharer.own if sharer and sharer.parent else process.anon

    def most_of(self, process: LiveProcess) -> int:
        """Returns the most bytes that a process may have held since everything was known last; 0
        where it is in no family."""
        sharer = self._sharers.get(process.serial)
        return max(sharer.top, sharer.reach) if sharer else 0

    def fork(self, child: LiveProcess) -> None:
        """Notes a process that was forked and has memory now. It is added at the next tick, when
        what its parent holds is known."""
        self._joining[child.serial] = child

    def _join(self, child: LiveProcess, live: Mapping[int, LiveProcess], *, detailed: bool) -> None:
        """Adds a forked process to the family of its parent."""
        parent = live.get(child.parent or 0)
        if parent and self._was_forked_by_program(child, parent):
            above = self._sharers.get(parent.serial) or self._begin(parent)
            self._add(child, above, self._inherited(child, parent, is_certain=detailed))
            return
        # What it holds may be from a program that has ended since the last tick.
        former = self._former_parent(child, live)
        if former and parent:
            # Or from the program that its parent has executed: so it is put below that, and that
            # below the former one, of which it has inherited nothing.
            if parent.serial not in self._sharers:
                self._add(parent, self._sharers.get(former.serial) or self._begin(former), 0)
            former = parent
        former = former or parent
        if former:
            above = self._sharers.get(former.serial) or self._begin(former)
            sharer = self._add(child, above, self._inherited(child, former, is_certain=False))
            sharer.from_above = sharer.handed_down = child.anon
            return
        # Its brothers may share all that they hold with each other.
        eldest = self._orphans.get(child.parent or 0)
        if eldest is None or self._sharers.get(eldest.process.serial) is not eldest:
            eldest = self._orphans[child.parent or 0] = self._begin(child)
            eldest.handed_down = child.anon
        else:
            self._add(child, eldest, child.anon).handed_down = child.anon

    def _add(self, process: LiveProcess, above: Sharer, inherited: int) -> Sharer:
        """Adds a process to a family, as a child of another."""
        sharer = Sharer(process, above.family, above)
        sharer.inherited = inherited
        above.children.append(sharer)
        above.family.sharers.add(sharer)
        self._sharers[process.serial] = sharer
        self._unmeasured.append(sharer)
        self._changed.add(above.family)
        return sharer

    def _was_forked_by_program(self, child: LiveProcess, parent: LiveProcess) -> bool:
        """Returns whether it was certainly the present program of the parent that forked a
        process."""
        if parent.serial not in self._left:
            return True
        return child.start is not None and child.start > parent.since

    def _former_parent(
        self, child: LiveProcess, live: Mapping[int, LiveProcess]
    ) -> LiveProcess | None:
        """Returns the process that may hold what the parent of another had before it ended, or
        executed something, since the last tick: the one that had forked that. None: it has ended as
        well."""
        serial = child.parent
        while serial in self._left:
            serial = self._left[serial]
        return live.get(serial or 0)

    @staticmethod
    def _inherited(child: LiveProcess, parent: LiveProcess, *, is_certain: bool) -> int:
        """Returns the most that a process may share with its parent: what that held at the fork.
        `is_certain`: the high-water mark of the parent is known up to this tick."""
        held = parent.anon
        forked = child.first_seen if child.start is None else child.start
        if parent.anon_time >= forked:
            held = max(held, parent.anon_before)
        # Unless the parent is known never to have held more, it may have had more at the fork than
        # at the ticks around it. What the child holds at first is then taken for inherited.
        unseen = parent.peak - parent.shared - held
        if is_certain and parent.anon >= MIB and unseen <= MIB:
            return held
        return max(held, child.anon)

    def leave(self, process: LiveProcess, *, final: bool) -> int:
        """Removes a process that has ended, or has executed another program. One of its children
        takes its place: that still holds what it has inherited. `final`: its page faults are those
        of all the time that it was in the family. Returns the most bytes that it may have held in
        its group since everything was known last."""
        self._joining.pop(process.serial, None)
        sharer = self._sharers.pop(process.serial, None)
        if sharer is None:
            # The first of several programs is the one whose children were not seen yet.
            before = process.parent if process.inherited else None
            self._left.setdefault(process.serial, before)
            return 0
        if not final:
            process.faulted = None
        family = sharer.family
        most = sharer.most_in_group
        if len(family.sharers) == 1:
            self._left[process.serial] = None
            self._end(family)
            return most
        family.left += sharer.most
        family.sharers.discard(sharer)
        if sharer.parent:
            sharer.parent.children.remove(sharer)
        self._changed.add(family)
        heir = family.hand_down(sharer) if sharer.children else sharer.parent
        self._left[process.serial] = heir.process.serial if heir else None
        return most

    def tick(self, live: Mapping[int, LiveProcess], *, detailed: bool) -> None:
        """Updates the sums of all families at a tick. `detailed`: as settle() has it."""
        for _serial, child in sorted(self._joining.items()):
            self._join(child, live, detailed=detailed)
        self._joining.clear()
        self._left.clear()
        if len(self._orphans) > len(self._sharers):
            known = self._sharers
            self._orphans = {
                serial: eldest
                for serial, eldest in self._orphans.items()
                if known.get(eldest.process.serial) is eldest
            }
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
        for family in self.families:
            total += family.high(self.huge) if detailed else family.most_held
            family.begin_period()
        return total

    def best(self) -> int:
        """Returns the best estimate of what all families hold, at a tick at which the faults of all
        their processes are known."""
        for sharer in self._unmeasured:
            if sharer.parent:
                sharer.parent_faulted = sharer.parent.process.faulted
        self._unmeasured.clear()
        return sum(family.best() for family in self.families)

    def _end(self, family: Family) -> None:
        self._gone += family.high(self.huge)
        self.families.discard(family)
        self._changed.discard(family)
        self.held -= family.held
        self.low -= family.low

    def _begin(self, root: LiveProcess) -> Sharer:
        family = Family(root)
        self._sharers[root.serial] = family.root
        self.families.add(family)
        self._changed.add(family)
        self.held += family.held
        self.low += family.low
        return family.root
