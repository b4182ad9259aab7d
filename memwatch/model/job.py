"""Applies observations: identity, ancestry, programs, peaks, totals, timeline.

Does no I/O and never asks the time, so the same observations always give the
same result, whether they come from a running job, a recording or a test.

The work per batch is in proportion to what changed: a process whose memory
stands still costs nothing here, and a tick costs one record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from memwatch.model.groups import (
    COMMAND,
    NO_PARENT,
    PARENT,
    BySource,
    Group,
    RunningGroup,
    group_key,
    parent_name,
)
from memwatch.model.observations import (
    BY_EVENT,
    BY_HOOK,
    BY_RECORD,
    CPU,
    EXITED,
    FINAL,
    FOOTPRINT,
    HAS_CPU,
    HAS_FOOTPRINT,
    HAS_IO,
    HAS_PARENT,
    HAS_RSS,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    INHERITED,
    IO,
    MEMORY,
    PSS,
    SAME_IMAGE,
    STARTED,
    TICK,
    TICK_EXTRA,
    TICK_LATE,
    TICK_PARTIAL,
    Batch,
    ProgramText,
    decode_program,
)
from memwatch.model.processes import (
    EVENTS,
    HOOK,
    RECORD,
    SAMPLED,
    SAMPLING,
    UNREADABLE,
    LiveProcess,
    Process,
    ProcessTable,
)
from memwatch.model.spill import Numbers


class Holder(NamedTuple):
    """What one process held at one time."""

    serial: int
    pid: int
    group: str
    rss: int


class Timeline(NamedTuple):
    """One entry a tick in each."""

    times: Sequence[int]
    """Nanoseconds since boot."""
    totals: Sequence[int]
    """Bytes."""
    counts: Sequence[int]
    """Live processes."""


class PssPeak(NamedTuple):
    """The highest sum of proportional set sizes: each page of memory counted once."""

    total: int
    """Bytes."""
    time: int
    """Of the tick that prompted it."""
    rss: int
    """Sum of the resident sizes of the same processes at that tick, in bytes."""
    unread: int
    """Processes of which the resident size was taken, which is more."""


class FootprintPeak(NamedTuple):
    """The highest sum of physical footprints at one tick."""

    total: int
    """Bytes."""
    time: int
    unread: int
    """Processes that are not in it: theirs could not be read."""


class Ticks:
    """How the sampling itself went."""

    __slots__ = ("_last_regular", "count", "late", "regular", "regular_time", "skipped")

    def __init__(self) -> None:
        self.count = 0
        self.late = 0
        """Regular ticks that began more than half an interval after their time."""
        self.skipped = 0
        """Regular ticks that could not be made at all."""
        self.regular = 0
        """Steps from one regular tick to the next, extra ticks left out."""
        self.regular_time = 0
        """Nanoseconds that those took together."""
        self._last_regular: int | None = None

    def add(self, time: int, skipped: int, valid: int) -> None:
        self.count += 1
        self.skipped += skipped
        if valid & TICK_EXTRA:
            return
        if valid & TICK_LATE:
            self.late += 1
        if self._last_regular is not None:
            self.regular += 1
            self.regular_time += time - self._last_regular
        self._last_regular = time

    @property
    def achieved(self) -> float | None:
        """Mean nanoseconds from one regular tick to the next; None with fewer than two."""
        return self.regular_time / self.regular if self.regular else None


class Job:
    """The state of one job, and what is known of it so far."""

    def __init__(self, *, timeline: bool = False, group_by: str = COMMAND) -> None:
        """`group_by` is as groups.group_key() takes it; raises ValueError, too."""
        self.processes = ProcessTable()
        self.live: dict[int, LiveProcess] = {}
        self.ticks = Ticks()
        self.max_total = 0
        self.max_total_time = 0
        self.max_total_processes = 0
        self.partial = False
        """Some process's memory was unreadable: totals are lower bounds."""
        self.pss_peak: PssPeak | None = None
        """The highest sum in which all were read."""
        self.pss_bound: PssPeak | None = None
        """Of the sums in which some were not, that of the highest RSS: an upper bound."""
        self.has_footprints = False
        """The system keeps them, and some could be read."""
        self.footprint_peak: FootprintPeak | None = None
        self.footprints: Counter[str] = Counter()
        """Ended processes by how their highest footprint is known; where there are any."""
        self.largest_footprint: Process | None = None
        """The ended process with the highest of its own."""
        self.found_by: Counter[str] = Counter()
        """Processes by how they were found."""
        self.peaks: Counter[str] = Counter()
        """Ended processes by how their peak is known."""
        self.never_sampled = 0
        """Processes whose memory was in no sample."""
        self.largest: Process | None = None
        """The ended process with the highest peak of its own."""
        self.executables: set[str] = set()
        """Paths of all programs that ran, as far as they could be read."""
        self.root_status: int | None = None
        self._ticked = (Numbers(), Numbers(), Numbers()) if timeline else None
        self.group_by = group_by
        self._key = group_key(group_by)
        self._by_command = group_by == COMMAND
        self._by_parent = group_by == PARENT
        self._by_source = self._key if isinstance(self._key, BySource) else None
        self._parents: dict[int, str] = {}
        """Names for the groups of children of ended processes; where groups are by parent."""
        self._groups: dict[str, RunningGroup] = {}
        self._last_tick = 0
        self._largest_peak = 0
        # Kept in step by what changed, not by walking all processes at each new peak.
        self._at_peak: dict[int, tuple[int, RunningGroup, int]] = {}
        self._changed: set[int] = set()
        self._changed_groups: set[RunningGroup] = set()
        self._forks: list[LiveProcess] = []
        self._older_forks: list[LiveProcess] = []
        self._nameless = self._group_of(UNREADABLE, None)

    def apply(self, batch: Batch) -> None:
        live, changed, groups = self.live, self._changed, self._changed_groups
        for time, serial, value, second, kind, valid, pid, ppid in batch.records:
            if kind == MEMORY:
                process = live[serial]
                if valid & HAS_RSS:
                    if process.settled:
                        group = process.group
                        group.rss += value - process.rss
                        groups.add(group)
                    process.rss = value
                    changed.add(serial)
                    if value:
                        process.sampled = True
                    if value > process.peak:
                        process.peak = value
                        process.peak_time = time
                        process.peak_source = SAMPLED
                if valid & HAS_WATERMARK:
                    # FINAL comes without HAS_RSS: then value is by how much it may be too low.
                    process.note_watermark(second, time, value if valid & FINAL else None)
            elif kind == TICK:
                self._tick(time, serial, value, second, valid)
            elif kind == STARTED:
                self._started(serial, time, value, second, valid, pid, ppid)
            elif kind == IMAGE:
                self._program(live[serial], time, batch.text[value : value + second], valid)
            elif kind == EXITED:
                self._exited(
                    live.pop(serial),
                    value if valid & HAS_STATUS else None,
                    time if valid & BY_EVENT else None,
                )
            else:
                self._sum(kind, serial, time, value, second, valid)

    def _sum(self, kind: int, serial: int, time: int, value: int, second: int, valid: int) -> None:
        """What a process used in all its life, footprints, the job's memory with shared pages
        once."""
        if kind == FOOTPRINT:
            self._footprint(serial, time, value, second, valid)
        elif kind == PSS:
            peak = PssPeak(value, time, serial, second)
            if second:
                if self.pss_bound is None or serial > self.pss_bound.rss:
                    self.pss_bound = peak
            elif value > (self.pss_peak.total if self.pss_peak else 0):
                self.pss_peak = peak
        elif process := self.live.get(serial):
            if kind == CPU and valid & HAS_CPU:
                process.usage = process.usage._replace(user=value, system=second)
            elif kind == IO and valid & HAS_IO:
                process.usage = process.usage._replace(read=value, written=second)

    def _footprint(self, serial: int, time: int, value: int, second: int, valid: int) -> None:
        """Of a process, or of all of them at a tick."""
        self.has_footprints = True
        if serial:
            self.live[serial].note_footprint(
                value if valid & HAS_FOOTPRINT else 0,
                second if valid & HAS_WATERMARK else 0,
                final=bool(valid & FINAL),
            )
        elif value > (self.footprint_peak.total if self.footprint_peak else 0):
            self.footprint_peak = FootprintPeak(value, time, second)

    def _started(
        self, serial: int, time: int, parent: int, start: int, valid: int, pid: int, ppid: int
    ) -> None:
        known = self.live.get(serial)
        if known:
            # It was looked at before word of its fork came.
            known.first_seen = min(known.first_seen, time)
            known.ppid = ppid
            if valid & HAS_PARENT:
                known.parent = parent
            if valid & HAS_START:
                known.start = start
            if self._by_parent and known.program:
                self._regroup(known, known.program)
            return
        found_by = SAMPLING
        for flag, name in ((BY_EVENT, EVENTS), (BY_RECORD, RECORD), (BY_HOOK, HOOK)):
            if valid & flag:
                found_by = name
        self.found_by[found_by] += 1
        known_parent = parent if valid & HAS_PARENT else None
        self.live[serial] = LiveProcess(
            serial,
            pid,
            ppid,
            known_parent,
            start if valid & HAS_START else None,
            time,
            self._group_of(UNREADABLE, known_parent) if self._by_parent else self._nameless,
            found_by,
        )

    def _tick(self, time: int, skipped: int, total: int, count: int, valid: int) -> None:
        if self._forks or self._older_forks:
            self._settle_forks()
        self.ticks.add(time, skipped, valid)
        self._last_tick = time
        if valid & TICK_PARTIAL:
            self.partial = True
        for group in self._changed_groups:
            if group.rss > group.peak:
                group.peak = group.rss
                group.peak_time = time
        self._changed_groups.clear()
        if total > self.max_total:
            self.max_total = total
            self.max_total_time = time
            self.max_total_processes = count
            self._note_holders()
        if self._ticked:
            for column, value in zip(self._ticked, (time, total, count), strict=True):
                column.append(value)

    def _note_holders(self) -> None:
        """Brings "who held what at the peak" up to this tick."""
        for serial in self._changed:
            process = self.live.get(serial)
            if process:
                self._at_peak[serial] = (process.pid, process.group, process.rss)
            else:
                self._at_peak.pop(serial, None)
        self._changed.clear()

    def _settle_forks(self) -> None:
        """Counts a process that was forked before the last tick and has not executed anything.

        Until then it is most likely on its way to another program, and would show for a moment
        as a second make or a second 100 MiB Python.
        """
        for process in self._older_forks:
            if process.inherited and process.serial in self.live:
                self._settle(process)
        self._older_forks = self._forks
        self._forks = []

    def _settle(self, process: LiveProcess) -> None:
        """From now on the process counts in the group of the program it runs."""
        if not process.settled:
            process.settled = True
            process.settled_at = self.ticks.count
            process.group.rss += process.rss
            self._changed_groups.add(process.group)

    def _unsettle(self, process: LiveProcess) -> None:
        if process.settled:
            process.settled = False
            process.group.rss -= process.rss
            self._changed_groups.add(process.group)

    def _program(self, process: LiveProcess, time: int, text: bytes, valid: int) -> None:
        if not text:
            process.since = time
            return
        program = decode_program(text, valid)
        if program.exe is not None:
            self.executables.add(program.exe)
        elif program.argv is None:
            program = self._unseen(process, program, valid)
        counted = process.settled
        if valid & SAME_IMAGE and counted and process.settled_at < self.ticks.count:
            # It stays in the group in which a tick has counted it, whatever its name is now.
            process.program = program
            if not self._by_command:
                # Where it belongs may be known only now: its command line had not been there yet.
                self._regroup(process, program)
            return
        self._unsettle(process)
        if self._by_source and process.is_root and not self._by_source.base:
            self._by_source.base = program.cwd
        if valid & SAME_IMAGE:
            process.program = program
            process.inherited = bool(valid & INHERITED)
        else:
            if process.program is not None:
                self._end_program(process, counted)
            process.begin_program(program, time, inherited=bool(valid & INHERITED))
        group = self._group_of(program, process.parent)
        if group is not process.group:
            self._move(process, group)
        self._changed.add(process.serial)
        if process.inherited:
            self._forks.append(process)
        else:
            self._settle(process)

    def _group_of(self, program: ProgramText, parent: int | None) -> RunningGroup:
        key = self._key(program, parent)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = RunningGroup(key)
            if self._by_parent and parent:
                self._name_after_parent(group, parent)
        return group

    def _name_after_parent(self, group: RunningGroup, serial: int) -> None:
        parent = self.live.get(serial)
        if parent:
            group.name = parent_name((parent.program or UNREADABLE).name, parent.pid)
        else:
            group.name = self._parents.get(serial, NO_PARENT)

    def _move(self, process: LiveProcess, group: RunningGroup) -> None:
        """It belongs to that group from now on. Programs that it ran in the other, one after the
        other, count there as one."""
        if process.highest:
            process.group.add(*process.highest)
            process.highest = None
        process.group = group

    def _regroup(self, process: LiveProcess, program: ProgramText) -> None:
        """More is known of a process than when it was put into a group."""
        group = self._group_of(program, process.parent)
        if group is process.group:
            return
        settled = process.settled
        self._unsettle(process)
        self._move(process, group)
        self._changed.add(process.serial)
        if settled:
            self._settle(process)

    def _unseen(self, process: LiveProcess, program: ProgramText, valid: int) -> ProgramText:
        """The program of a process that was gone before more than its name could be read."""
        parent = self.live.get(process.parent) if valid & INHERITED and process.parent else None
        if parent:
            # The parent may run something else by now: when it forked tells, and the name.
            forked = process.first_seen if process.start is None else process.start
            text = parent.program_at(forked)
            if text and text.name.startswith(program.name):
                return text
        return program if program.name else UNREADABLE

    def _end_program(self, process: LiveProcess, counted: bool) -> None:
        peak = process.end_program()
        before = process.highest
        if counted and (before is None or peak.rss > before[0]):
            process.highest = (peak.rss, peak.time)

    def _exited(
        self,
        process: LiveProcess,
        status: int | None,
        end: int | None = None,
        *,
        alive: bool = False,
    ) -> None:
        self._unsettle(process)
        self._changed.add(process.serial)
        self._end_program(process, counted=True)
        if process.highest:
            process.group.add(*process.highest)
        ended = process.end(
            self._last_tick if end is None else end,
            status,
            alive=alive,
            end_known=end is not None,
        )
        self.processes.add(ended)
        if self._by_parent:
            name = self._parents[process.serial] = parent_name(ended.command, ended.pid)
            children = self._groups.get(str(process.serial))
            if children:
                children.name = name
        peak = ended.peak
        self.peaks[peak.source] += 1
        if peak.rss > self._largest_peak:
            self._largest_peak = peak.rss
            self.largest = ended
        self.never_sampled += not process.sampled
        if self.has_footprints:
            self._count_footprint(ended)
        if process.is_root:
            self.root_status = status

    def _count_footprint(self, ended: Process) -> None:
        footprint = ended.footprint
        self.footprints[footprint.source] += 1
        largest = self.largest_footprint
        if footprint.size > (largest.footprint.size if largest else 0):
            self.largest_footprint = ended

    def finish(self, root_status: int | None = None) -> None:
        """The job is over: whatever is alive now is reported as such.

        `root_status` is for a first process whose end was seen only by who waited for it.
        """
        for process in self.live.values():
            ended = process.is_root and root_status is not None
            self._exited(process, root_status if ended else None, alive=not ended)
        self.live.clear()

    def groups(self) -> tuple[Group, ...]:
        """Groups with at least one process, largest first."""
        ended = [group.end() for group in self._groups.values() if group.processes]
        return tuple(sorted(ended, key=lambda group: (-group.peak_rss, group.name)))

    @property
    def timeline(self) -> Timeline | None:
        """None when it was not asked for."""
        return Timeline(*self._ticked) if self._ticked else None

    def at_peak(self) -> tuple[Holder, ...]:
        """Who held what at the highest total, largest first."""
        holders = (
            Holder(serial, pid, group.name, rss)
            for serial, (pid, group, rss) in self._at_peak.items()
            if rss  # else it held nothing of its own yet, or what it held is unknown
        )
        return tuple(sorted(holders, key=lambda h: (-h.rss, h.serial)))
