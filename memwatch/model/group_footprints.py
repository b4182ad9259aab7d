"""The footprint of each group of a running job, with its bounds.

The rules are those of the whole job (see footprint and sharing), with two differences. What a
process has inherited from a process of another group, and both still hold, counts in both. And
files in memory that no process maps are in no group. Sizes are bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from memwatch.model.footprint_bounds import (
    ALONE,
    ONE_PROCESS,
    SYSTEM,
    FootprintBounds,
    Parts,
    source_of_estimate,
)
from memwatch.model.groups import RunningGroup
from memwatch.model.processes import LiveProcess
from memwatch.model.sharing import Family, Sharer
from memwatch.model.spikes import Spikes


class Shares:
    """What the processes of one group may share with others at a tick."""

    __slots__ = (
        "huge",
        "in_families",
        "inherited",
        "largest",
        "largest_huge",
        "largest_shmem",
        "most",
        "own",
        "sharers",
        "shmem",
        "sure",
        "swapped",
    )

    def __init__(self) -> None:
        self.shmem = self.swapped = self.huge = 0
        """Sums of the parts of the processes."""
        self.largest_shmem = self.largest_huge = 0
        """The most that one process has."""
        self.sharers = 0
        """Number of processes in families."""
        self.in_families = 0
        """The anonymous memory of those."""
        self.largest = 0
        """The most of it that one process has."""
        self.sure = 0
        """What is certainly distinct of it, if no process has a parent in another group."""
        self.own = 0
        """The best estimate of what is distinct of it, without what is inherited from processes of
        other groups. This and what follows are added up only where page faults are known."""
        self.inherited = 0
        """The most that one process has inherited from one of another group."""
        self.most = 0
        """The most that was distinct of it at any tick since page faults were known last."""

    @property
    def beside(self) -> int:
        """The sum of the parts."""
        return self.shmem + self.swapped + self.huge

    @property
    def low(self) -> int:
        """What is certainly distinct of all that processes share."""
        return max(self.sure, self.largest) + self.largest_shmem + self.largest_huge

    def add_parts(self, process: LiveProcess, parts: Parts) -> None:
        """Adds what a process holds beside anonymous memory."""
        shmem = min(parts.shmem, process.shared)
        self.shmem += shmem
        self.swapped += parts.swapped
        self.huge += parts.huge
        self.largest_shmem = max(self.largest_shmem, shmem)
        self.largest_huge = max(self.largest_huge, parts.huge)

    def add_sharer(self, sharer: Sharer, *, detailed: bool) -> None:
        """Adds a process of a family. `detailed`: its page faults are known."""
        anon = sharer.process.anon
        alone = sharer.growth if sharer.parent else anon
        self.sharers += 1
        self.in_families += anon
        self.largest = max(self.largest, anon)
        self.sure += alone
        if not detailed:
            return
        own = sharer.own if sharer.parent else anon
        self.own += own + sharer.dropped
        self.most += sharer.most_in_group
        if sharer.is_of_another_group:
            self.inherited = max(self.inherited, anon - own)


NO_SHARES = Shares()


class RunningGroupFootprint:
    """The footprint of one group while the job runs: the highest of each bound, each at its own
    tick."""

    __slots__ = (
        "best",
        "high",
        "left",
        "low",
        "one_process",
        "pending_rest",
        "pending_top",
        "source",
        "spikes",
        "time",
    )

    def __init__(self) -> None:
        self.low = self.best = self.high = 0
        self.time = 0
        """Of the tick at which the best estimate was highest."""
        self.source = ALONE
        self.pending_top = self.pending_rest = 0
        """The highest sums since page faults were known last: of all that the processes hold, and
        of it without the anonymous memory of families."""
        self.left = 0
        """The most that processes may have held alone which have left a family since then."""
        self.one_process = (0, 0)
        """The most that one process has held at its peak, less its files, and the time."""
        self.spikes = Spikes()

    def add(self, size: int, time: int) -> None:
        """Notes what the group holds at a tick, where its processes share nothing."""
        if size > self.best:
            self.best, self.time, self.source = size, time, ALONE
        self.low = max(self.low, size)
        self.high = max(self.high, size)

    def note(self, anon: int, shares: Shares) -> None:
        """Notes what is known at any tick. `anon`: what the group has of anonymous memory."""
        rest = anon - shares.in_families
        self.low = max(self.low, rest + shares.low)
        self.pending_top = max(self.pending_top, anon + shares.beside)
        self.pending_rest = max(self.pending_rest, rest + shares.beside)

    def settle(self, time: int, anon: int, shares: Shares, huge: int) -> None:
        """Updates the upper bound and the best estimate at a tick at which page faults are known,
        after note(). `huge` is what the machine has got in huge pages."""
        most = shares.most + self.left + (huge if shares.sharers else 0)
        rest = anon - shares.in_families
        low = rest + shares.low
        high = max(low, min(self.pending_top, self.pending_rest + most))
        self.pending_top = self.pending_rest = self.left = 0
        of_families = max(shares.own + shares.inherited, shares.sure, shares.largest)
        best = rest + min(of_families, shares.in_families)
        best += shares.largest_shmem + shares.swapped + shares.huge
        self.high = max(self.high, high)
        if best > self.best:
            self.best, self.time = best, time
            self.source = source_of_estimate(
                best,
                high - low,
                min(shares.most, shares.in_families) - max(shares.sure, shares.largest),
                shares.beside - shares.largest_shmem - shares.largest_huge,
            )

    def end(self) -> FootprintBounds | None:
        """Returns the bounds; None when no tick could split the memory of the group."""
        if not self.high and not self.pending_top:
            return None
        best, time, source = max(self.best, self.low), self.time, self.source
        if self.one_process[0] > best:
            (best, time), source = self.one_process, ONE_PROCESS
        high = max(self.high, self.pending_top) + self.spikes.highest()
        return FootprintBounds(self.low, best, max(high, best), time, source, None)


class GroupFootprints:
    """The footprints of all groups."""

    def __init__(self) -> None:
        self._of: defaultdict[RunningGroup, RunningGroupFootprint] = defaultdict(
            RunningGroupFootprint
        )
        self.by_system = False
        """Whether it is the system that tells what each process holds (macOS)."""
        self._pending: set[RunningGroup] = set()
        """Those whose upper bound waits for page faults."""

    def of(self, group: RunningGroup) -> RunningGroupFootprint:
        """Returns that of a group."""
        return self._of[group]

    def add(self, time: int, changed: Iterable[RunningGroup]) -> None:
        """Adds up what the groups hold at a tick at which no processes share memory; or at any tick
        where it is the system that tells what each holds (macOS)."""
        for group in changed:
            self._of[group].add(group.anon, time)

    def add_program(self, process: LiveProcess, time: int) -> None:
        """Notes the high-water mark that the system keeps for a program that has ended."""
        self.by_system = True
        footprint = self._of[process.group]
        if process.footprint.size > footprint.one_process[0]:
            footprint.one_process = (process.footprint.size, time)

    def end(self, group: RunningGroup) -> FootprintBounds | None:
        """Returns the bounds of a group; None where they are not known."""
        bounds = self._of[group].end()
        if bounds and self.by_system:
            return FootprintBounds(bounds.best, bounds.best, None, bounds.time, SYSTEM, None)
        return bounds

    def tick(
        self,
        time: int,
        changed: Set[RunningGroup],
        families: Iterable[Family],
        parts: Mapping[LiveProcess, Parts],
        sums: Parts,
        huge: int,
        *,
        detailed: bool,
    ) -> None:
        """Adds up what the groups hold at a tick. `changed`: those whose memory has changed;
        `parts`: what processes hold beside anonymous memory, and `sums` of all together; `huge` and
        `detailed` are as in RunningFootprint."""
        shared = [family for family in families if family.is_shared]
        if not shared and not parts and not self._pending:
            self.add(time, changed)
            return
        beside = sum(sums)
        groups = {group for group in changed if group.anon + beside > self._of[group].low}
        if detailed:
            # Page faults tell of copies, with which no size changes.
            groups |= self._pending
            groups.update(sharer.process.group for family in shared for sharer in family.sharers)
        if not groups:
            return
        found = _shares(shared, parts, detailed=detailed)
        for group in groups:
            shares = found.get(group, NO_SHARES)
            footprint = self._of[group]
            footprint.note(group.anon, shares)
            if detailed:
                footprint.settle(time, group.anon, shares, huge)
        self._pending = set() if detailed else self._pending | groups


def _shares(
    families: Iterable[Family], parts: Mapping[LiveProcess, Parts], *, detailed: bool
) -> dict[RunningGroup, Shares]:
    """Returns what the processes of each group may share, for the groups that have such."""
    found: defaultdict[RunningGroup, Shares] = defaultdict(Shares)
    for family in families:
        for sharer in family.sharers:
            if sharer.process.counted:
                found[sharer.process.group].add_sharer(sharer, detailed=detailed)
    for process, each in parts.items():
        if process.counted:
            found[process.group].add_parts(process, each)
    return found
