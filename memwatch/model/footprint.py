"""The footprint of a running job: the memory that the kernel cannot simply drop.

That is anonymous memory, shared memory (shmem: tmpfs, memfd, System V, shared
anonymous mappings), what is swapped out, and huge pages; each page once. Pages
of files are left out: the kernel can drop them and read them again.

No figure of this is exact without a control group, so there are three: a lower
bound, an upper bound, and the best estimate between them. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from memwatch.model.footprint_bounds import (
    ALONE,
    NO_PARTS,
    ONE_PROCESS,
    PSS_SUM,
    FootprintBounds,
    FootprintSplit,
    Parts,
    negligible,
    source_of_estimate,
)
from memwatch.model.group_footprints import GroupFootprints
from memwatch.model.groups import RunningGroup
from memwatch.model.processes import EXACT, PEAK, SAMPLED, Held, LiveProcess, Peak
from memwatch.model.sharing import Sharing
from memwatch.model.spikes import Spikes

NEAR = 0.95
"""What was measured belongs to the highest footprint if the sum of the resident sizes, and of what
was stored in file systems in memory, was at least this part of what it was then."""


class Measured(NamedTuple):
    """What was measured by proportional shares."""

    size: int
    total: int
    """The sum of the resident sizes then, and of what was stored in file systems in memory."""
    time: int


class RunningFootprint:
    """Adds up the footprint tick by tick."""

    def __init__(self) -> None:
        self.sharing = Sharing()
        self.groups = GroupFootprints()
        self.stored = 0
        """Bytes stored in file systems in memory since the job began."""
        self.written = 0
        """Those of them that the job has certainly written."""
        self.low_now = 0
        """The lower bound at the last tick."""
        self.low_anonymous_now = 0
        """The same of anonymous memory alone."""
        self.parts: dict[LiveProcess, Parts] = {}
        """What each process holds; only where it holds any."""
        self.unsettled: set[LiveProcess] = set()
        """Processes with parts whose memory has changed since the last tick."""
        self._spikes = Spikes()
        self.sums = NO_PARTS
        """The sums of what all processes hold, as each was read last."""
        self._is_known = False
        self._mapped = 0
        """The most shared memory that one process mapped at the last tick."""
        self._low = 0
        self._high = 0
        self._best = 0
        self._best_time = 0
        self._source = ALONE
        self._best_parts = (0, NO_PARTS, 0)
        self._pending_rest = 0
        self._pending_top = 0
        self._pending = False
        self._one_process = (0, 0)
        self._total = 0
        self._best_total = 0
        self._measured = Measured(0, 0, 0)

    def _set_parts(self, process: LiveProcess, parts: Parts) -> None:
        before = self.parts.pop(process, NO_PARTS)
        if any(parts):
            self.parts[process] = parts
        self.sums = Parts(
            *(total + new - old for total, new, old in zip(self.sums, parts, before, strict=True))
        )

    def tick(
        self,
        time: int,
        total: int,
        shared: int,
        live: Mapping[int, LiveProcess],
        changed: Set[RunningGroup],
        *,
        detailed: bool,
    ) -> None:
        """Adds up what the job holds at a tick. `total` is the sum of the resident sizes, `shared`
        the part of it that belongs to files and shared memory, `live` the processes by serial,
        `changed` the groups whose memory has changed; `detailed`: the page faults of all processes
        that share memory are known."""
        sharing = self.sharing
        sharing.tick(live, detailed=detailed)
        if self.unsettled:
            self._settle_processes(detailed=detailed)
        self.groups.tick(
            time, changed, sharing.families, self.parts, self.sums, sharing.huge, detailed=detailed
        )
        anonymous = total - shared
        rest = anonymous - sharing.held
        sums = self.sums
        largest = self._largest_parts()
        # Swap is left out: it may have been read a while ago, and be resident again by now.
        # What a process maps of shared memory may be what the job has written.
        self.low_anonymous_now = rest + sharing.low
        low = self.low_anonymous_now + max(largest.shmem, self.written) + largest.huge
        self.low_now = low
        self._total = total
        self._mapped = largest.shmem
        self._low = max(self._low, low)
        beside = sum(sums) + self.stored
        top = anonymous + beside
        self._pending = self._is_known = True
        self._pending_rest = max(self._pending_rest, rest + beside)
        self._pending_top = max(self._pending_top, top)
        if top <= self._best and self._pending_top <= self._best:
            self._pending_rest = self._pending_top = 0
            self._pending = False
        elif detailed:
            self._settle(time, rest, largest)

    @property
    def high(self) -> int:
        """The upper bound at the ticks so far, as far as it is known by now."""
        return max(self._high, self._pending_top, self._best)

    def _largest_parts(self) -> Parts:
        """Returns the most of each part that one process holds: processes may share all of it."""
        shmem = swapped = huge = 0
        for process, parts in self.parts.items():
            # The size of this tick is newer than its parts.
            shmem = max(shmem, min(parts.shmem, process.shared))
            swapped = max(swapped, parts.swapped)
            huge = max(huge, parts.huge)
        return Parts(shmem, swapped, huge)

    def _settle(self, time: int, rest: int, largest: Parts) -> None:
        """Updates the upper bound and the best estimate: all that bounds them is known now."""
        of_families = self.sharing.settle(detailed=True)
        most = min(self._pending_top, self._pending_rest + of_families)
        self._high = max(self._high, most)
        self._pending_rest = self._pending_top = 0
        self._pending = False
        own = rest + self.sharing.best()
        shmem = max(largest.shmem, self.stored)
        parts = Parts(shmem, self.sums.swapped, self.sums.huge)
        best = own + sum(parts)
        if best > self._best:
            self._best = best
            self._source = source_of_estimate(
                best,
                most - self.low_now,
                of_families - self.sharing.low,
                sum(self.sums) + self.stored - sum(largest),
            )
            self._best_time = time
            self._best_total = self._total + self.stored
            self._best_parts = (own, parts, max(0, shmem - largest.shmem))

    def measure(self, time: int, size: int, total: int, *, whole: bool) -> None:
        """Notes what was measured by proportional shares after the tick at `time`: at least `size`.
        `total` is the sum of the resident sizes then; `whole`: nothing is missing in `size`, except
        for what no process maps."""
        self._low = max(self._low, size)
        size += max(0, self.stored - self._mapped)
        total += self.stored
        if whole and total > self._measured.total * NEAR and size > self._measured.size:
            self._measured = Measured(size, total, time)

    def note_parts(self, process: LiveProcess, parts: Parts) -> None:
        """Notes what a process holds beside anonymous pages, which counts at the next tick."""
        self._set_parts(process, parts)
        self.unsettled.add(process)

    def _settle_processes(self, *, detailed: bool) -> None:
        """Updates what each process with parts has held at most, now that all sizes of this tick
        are known."""
        for process in self.unsettled:
            shmem, swapped, huge = self.parts.get(process, NO_PARTS)
            held = process.anon + min(shmem, process.shared) + swapped + huge
            process.held_best = max(process.held_best, held)
            process.held_low = max(process.held_low, held if detailed else process.anon)
            process.beside = max(process.beside, swapped + huge)
        self.unsettled.clear()

    def forget_inherited(self, process: LiveProcess) -> None:
        """Forgets what a process has held so far: it was the memory of its parent."""
        process.held_low = process.held_best = -1

    def held_by(self, process: LiveProcess, peak: Peak, *, programs: int) -> Held | None:
        """Returns what a process has held at most; None when no tick could split its memory.
        `programs`: how many it executed itself."""
        if process.held_low < 0:
            return None
        best, source = max(process.held_best, process.held_low), SAMPLED
        files = process.shared_most - self.parts.get(process, NO_PARTS).shmem
        alone = peak.rss - max(0, files) + process.beside
        # How much of files an earlier program had is not kept.
        if programs == 1 and alone - best > negligible(best):
            best, source = alone, PEAK
        high = None
        if peak.source == EXACT:
            high = max(best, peak.rss + process.beside)
        return Held(best, process.held_low, high, source)

    def leave(self, process: LiveProcess, time: int) -> None:
        """Forgets the memory of a process that has ended, or has executed another program."""
        left = self.sharing.leave(process, final=process.faulted_time >= time)
        if left:
            self.groups.of(process.group).left += left
        if process in self.parts:
            self._set_parts(process, NO_PARTS)
        self.unsettled.discard(process)
        process.anon = process.shared = process.shared_most = 0

    def alone(self, process: LiveProcess) -> int:
        """Returns what a process holds alone at this tick, by the best estimate; shared memory is
        left out."""
        parts = self.parts.get(process, NO_PARTS)
        return self.sharing.own_of(process) + parts.swapped + parts.huge

    def leave_group(self, process: LiveProcess, group: RunningGroup) -> None:
        """Notes that a process does not count in a group any more."""
        self.groups.of(group).left += self.sharing.most_of(process)

    def end_program(self, process: LiveProcess, peak: Peak, time: int, *, counted: bool) -> None:
        """Notes the end of a program, and what its peak says of the job. `counted`: its memory has
        counted in the group of the process."""
        missed = peak.rss - process.highest_sample
        if not process.sampled and process.inherited and process.faulted is not None:
            missed = min(missed, process.faulted)
        start = process.first_seen if process.start is None else process.start
        parts = self.parts.get(process, NO_PARTS)
        # Its peak has no split: the files that it had mapped at any time are taken off.
        files = max(0, process.shared_most - parts.shmem)
        alone = peak.rss - files + parts.swapped + parts.huge
        if missed > 0:
            self._spikes.add(start, time, missed)
        if alone > self._one_process[0]:
            self._one_process = (alone, peak.time)
        if counted:
            group = self.groups.of(process.group)
            if missed > 0:
                group.spikes.add(start, time, missed)
            if process.sampled and alone > group.one_process[0]:
                group.one_process = (alone, peak.time)

    def finish(self) -> FootprintBounds | None:
        """Returns the highest footprint; None when no tick could split the memory."""
        if self._pending:
            of_families = self.sharing.settle(detailed=False)
            self._high = max(self._high, min(self._pending_top, self._pending_rest + of_families))
        if not self._is_known:
            return None
        low, best, time = self._low, self._best, self._best_time
        own, parts, stored = self._best_parts
        split: FootprintSplit | None = FootprintSplit(own, *parts, stored)
        if best < low:
            best, split = low, None
        high = max(self._high, best) + self._spikes.highest()
        source = self._source
        if self._measured.total >= self._best_total * NEAR and source != ALONE:
            best, time, source = max(low, self._measured.size), self._measured.time, PSS_SUM
            split = None
        alone, alone_time = self._one_process
        if alone > best:
            best, time, source, split = alone, alone_time, ONE_PROCESS, None
        return FootprintBounds(low, best, max(high, best), time, source, split)
