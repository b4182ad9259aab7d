"""Applies observations to the state of a job: identity, ancestry, programs, peaks, totals.

Does no I/O and reads no clock, so the same observations always give the same
result, whether they come from a running job, a recording or a test.

The work per batch is in proportion to what changed: a process whose memory
stands still costs nothing here, and a tick costs one record.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterable

from memwatch.model.footprint import RunningFootprint
from memwatch.model.footprint_bounds import Parts
from memwatch.model.footprint_tracks import FootprintTracks
from memwatch.model.groups import COMMAND, Group, RunningGroup
from memwatch.model.last_second import MOST_KILLS, Kill, LastSecond, RecentTotals
from memwatch.model.live_groups import LiveGroups
from memwatch.model.observations import (
    BY_EVENT,
    BY_HOOK,
    BY_RECORD,
    CPU,
    EXITED,
    FAULTS,
    FINAL,
    FOOTPRINT,
    HAS_CPU,
    HAS_FAULTS,
    HAS_FOOTPRINT,
    HAS_IO,
    HAS_PARENT,
    HAS_RSS,
    HAS_SHARED,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    INHERITED,
    IO,
    LOWER,
    MEMORY,
    PARTS,
    PSS,
    SAME_IMAGE,
    STARTED,
    TICK,
    TICK_DETAILED,
    TICK_PARTIAL,
    TMPFS,
    Batch,
    ProgramText,
    decode_program,
)
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import (
    FOUND_BY_EVENT,
    FOUND_BY_HOOK,
    FOUND_BY_RECORD,
    FOUND_BY_SAMPLING,
    SAMPLED,
    UNREADABLE,
    LiveProcess,
    Peak,
    Process,
    highest_peak,
    own_programs,
)
from memwatch.model.totals import (
    FootprintPeak,
    Holder,
    PssPeak,
    RunningTimeline,
    Ticks,
    Timeline,
)

_FOUND_BY_FLAGS = (
    (BY_EVENT, FOUND_BY_EVENT),
    (BY_RECORD, FOUND_BY_RECORD),
    (BY_HOOK, FOUND_BY_HOOK),
)


def _largest_first(holders: Iterable[Holder]) -> tuple[Holder, ...]:
    return tuple(sorted(holders, key=lambda holder: (-holder.rss, holder.serial)))


class Job:
    """The state of one job, and what is known of it so far."""

    def __init__(
        self,
        *,
        timeline: bool = False,
        group_by: str = COMMAND,
        directory: str | None = None,
        footprints: FootprintTracks | None = None,
    ) -> None:
        """`group_by` is as groups.group_key() takes it, which raises ValueError; `directory` is
        that in which the command is started, if known; `footprints` gets what each process holds
        over time."""
        self.processes = ProcessTable()
        """The processes that have ended."""
        self.live: dict[int, LiveProcess] = {}
        self.ticks = Ticks()
        self.max_total = 0
        self.max_total_time = 0
        self.max_total_processes = 0
        self.max_total_shared: int | None = None
        self.partial = False
        """Whether the memory of some process was unreadable: totals are then lower bounds."""
        self.pss_peak: PssPeak | None = None
        """The highest sum for which the PSS of every process was read."""
        self.pss_low: PssPeak | None = None
        """A lower bound: the highest such sum in which memory may be missing."""
        self.pss_bound: PssPeak | None = None
        """An upper bound: the sum at the highest RSS among those in which some PSS was not
        read."""
        self.footprint = RunningFootprint()
        """What the kernel cannot simply drop, where ticks tell anonymous memory from the rest."""
        self.has_footprints = False
        """Whether the system keeps physical footprints, and some could be read."""
        self.footprint_peak: FootprintPeak | None = None
        self.footprints: Counter[str] = Counter()
        """Ended processes by how their highest footprint is known; empty without footprints."""
        self.largest_footprint: Process | None = None
        """The ended process with the highest footprint."""
        self.found_by: Counter[str] = Counter()
        """Processes by how they were found."""
        self.peaks: Counter[str] = Counter()
        """Ended processes by how their peak is known."""
        self.never_sampled = 0
        """Processes whose memory was in no sample."""
        self.largest: Process | None = None
        """The ended process with the highest peak."""
        self.executables: set[str] = set()
        """Paths of all programs that ran, where they could be read."""
        self.root_status: int | None = None
        self.kills: list[Kill] = []
        """The processes that SIGKILL ended, largest first, MOST_KILLS at most."""
        self.last_second: LastSecond | None = None
        """What was held at the last tick; None before finish(), and without a tick."""
        self._timeline = RunningTimeline() if timeline else None
        self._tracks = footprints
        self._groups = LiveGroups(group_by, self.live, directory)
        self._last_tick = 0
        self._recent = RecentTotals()
        self._largest_peak = 0
        # Updated from what changed, rather than by a walk over all processes at each new peak.
        self._at_peak: dict[int, tuple[int, RunningGroup, int]] = {}
        self._changed: set[int] = set()

    def apply(self, batch: Batch) -> None:
        """Applies the observations of a batch, in order."""
        live, changed, groups = self.live, self._changed, self._groups.changed
        for time, serial, value, second, kind, valid, pid, ppid, third in batch.records:
            if kind == MEMORY:
                process = live[serial]
                if valid & HAS_RSS:
                    if process.counted:
                        group = process.group
                        group.rss += value - process.rss
                        groups.add(group)
                    process.rss = value
                    changed.add(serial)
                    if valid & HAS_SHARED:
                        self._anonymous(process, time, value - third, third)
                    process.sampled = process.sampled or value > 0
                    if value > process.peak:
                        process.peak = value
                        process.peak_time = time
                        process.peak_source = SAMPLED
                if valid & HAS_WATERMARK:
                    # FINAL comes without HAS_RSS: then value is by how much it may be too low.
                    process.note_watermark(second, time, value if valid & FINAL else None)
            elif kind == TICK:
                self._tick(time, serial, value, second, valid, third)
            elif kind == STARTED:
                self._started(serial, time, value, second, valid, pid, ppid)
            elif kind == IMAGE:
                self._program(live[serial], time, batch.text[value : value + second], valid)
            elif kind == EXITED:
                self._exited(
                    live.pop(serial),
                    time,
                    value if valid & HAS_STATUS else None,
                    time if valid & BY_EVENT else None,
                )
            else:
                self._other(kind, serial, time, value, second, valid, third)

    def _anonymous(self, process: LiveProcess, time: int, anon: int, shared: int) -> None:
        """Applies the split of a resident size."""
        process.highest_sample = max(process.highest_sample, anon + shared)
        if shared > process.shared:
            process.shared_gained += shared - process.shared
        process.shared = shared
        process.shared_most = max(process.shared_most, shared)
        footprint = self.footprint
        if process in footprint.parts:
            footprint.unsettled.add(process)
        elif anon > process.held_low:
            process.held_low = anon
        if anon == process.anon:
            return
        process.anon_before = process.anon
        process.anon_time = time
        self._set_anon(process, anon)
        if self._tracks:
            self._tracks.changed.add(process)
        known = footprint.sharing.note_change(process)
        if process.inherited and anon and not known:
            footprint.sharing.fork(process)

    def _set_anon(self, process: LiveProcess, anon: int) -> None:
        if process.counted:
            process.group.anon += anon - process.anon
        process.anon = anon

    def _other(
        self, kind: int, serial: int, time: int, value: int, second: int, valid: int, third: int
    ) -> None:
        """Applies an observation of a kind that is rarer than those of apply()."""
        if kind == FOOTPRINT:
            self._footprint(serial, time, value, second, valid)
        elif kind == PSS:
            is_low = bool(valid & LOWER)
            self._pss(PssPeak(value, time, serial, second, is_low))
            self.footprint.measure(time, third, serial, whole=not second and not is_low)
        elif kind == TMPFS:
            self.footprint.stored = value
            self.footprint.written = second
        elif kind == FAULTS and not serial:
            self.footprint.sharing.huge = value
        elif process := self.live.get(serial):
            self._detail(process, kind, time, value, second, valid, third)

    def _detail(
        self,
        process: LiveProcess,
        kind: int,
        time: int,
        value: int,
        second: int,
        valid: int,
        third: int,
    ) -> None:
        """Applies what is known of a process beside its resident size."""
        if self._tracks:
            self._tracks.changed.add(process)
        if kind == CPU and valid & HAS_CPU:
            process.usage = process.usage._replace(user=value, system=second)
        elif kind == IO and valid & HAS_IO:
            process.usage = process.usage._replace(read=value, written=second)
        elif kind == FAULTS and valid & HAS_FAULTS:
            process.faulted = value
            process.faulted_time = time
        elif kind == PARTS:
            self.footprint.note_parts(process, Parts(value, second, third))
            self._groups.changed.add(process.group)

    def _pss(self, peak: PssPeak) -> None:
        if peak.is_low:
            if not peak.unread and peak.total > (self.pss_low.total if self.pss_low else 0):
                self.pss_low = peak
        elif peak.unread:
            if self.pss_bound is None or peak.rss > self.pss_bound.rss:
                self.pss_bound = peak
        elif peak.total > (self.pss_peak.total if self.pss_peak else 0):
            self.pss_peak = peak

    def _footprint(self, serial: int, time: int, value: int, second: int, valid: int) -> None:
        """Applies the footprint of a process, or with serial 0 the sum over all of them."""
        self.has_footprints = True
        if serial:
            process = self.live[serial]
            if valid & HAS_FOOTPRINT:
                self._set_anon(process, value)
                self._groups.changed.add(process.group)
                if self._tracks:
                    self._tracks.add(serial, time, value)
            process.note_footprint(
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
            # It was sampled before the event of its fork was received.
            known.first_seen = min(known.first_seen, time)
            known.ppid = ppid
            if valid & HAS_PARENT:
                known.parent = parent
            if valid & HAS_START:
                known.start = start
            self._regroup(known, self._groups.parent_found)
            self._changed.add(serial)
            return
        found_by = FOUND_BY_SAMPLING
        for flag, name in _FOUND_BY_FLAGS:
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
            self._groups.initial(known_parent),
            found_by,
        )

    def _tick(
        self, time: int, skipped: int, total: int, count: int, valid: int, shared: int
    ) -> None:
        self.ticks.add(time, skipped, valid)
        self._groups.begin_tick()
        changed = self._groups.changed
        if valid & HAS_SHARED:
            detailed = bool(valid & TICK_DETAILED)
            self.footprint.tick(time, total, shared, self.live, changed, detailed=detailed)
        elif self.has_footprints:
            self.footprint.groups.add(time, changed)
        if self._tracks:
            self._track(self._tracks, time)
        self._last_tick = time
        self._recent.add(time, total)
        if valid & TICK_PARTIAL:
            self.partial = True
        self._groups.end_tick(time)
        if total > self.max_total:
            self.max_total = total
            self.max_total_time = time
            self.max_total_processes = count
            self.max_total_shared = shared if valid & HAS_SHARED else None
            self._note_holders()
        if self._timeline:
            self._timeline.add(time, total, count, *self._parts_of(shared, valid))

    def _track(self, tracks: FootprintTracks, time: int) -> None:
        """Adds what processes hold at a tick."""
        for process in tracks.changed:
            if process.serial in self.live:
                tracks.add(process.serial, time, self.footprint.alone(process))
        tracks.changed.clear()

    def _parts_of(
        self, shared: int, valid: int
    ) -> tuple[int | None, int | None, int | None, int | None]:
        """Returns the parts of the total at a tick, in the order of TimelineRow."""
        if not valid & HAS_SHARED:
            return None, None, None, None
        low = self.footprint.low_now
        if not valid & TICK_DETAILED:
            return shared, None, None, low
        sums = self.footprint.sums
        return shared, min(sums.shmem, shared), sums.swapped, low

    def _note_holders(self) -> None:
        """Updates what each process held at the peak, which is this tick."""
        for serial in self._changed:
            process = self.live.get(serial)
            if process:
                self._at_peak[serial] = (process.pid, process.group, process.rss)
            else:
                self._at_peak.pop(serial, None)
        self._changed.clear()

    def _program(self, process: LiveProcess, time: int, text: bytes, valid: int) -> None:
        if not text:
            process.since = time
            return
        self._changed.add(process.serial)
        program = decode_program(text, valid)
        if program.exe is not None:
            self.executables.add(program.exe)
        elif program.argv is None:
            program = self._unseen(process, program, valid)
        inherited = bool(valid & INHERITED)
        if valid & SAME_IMAGE and self._groups.has_counted(process):
            process.program = program
            self._regroup(process, self._groups.program_read)
            return
        counted = process.counted
        self._groups.remove(process)
        if process.inherited and not inherited:
            self.footprint.forget_inherited(process)
        if valid & SAME_IMAGE:
            if process.inherited and not inherited:
                self.footprint.leave(process, time)
            process.program = program
            process.inherited = inherited
        else:
            if process.program is not None:
                peak = self._groups.end_program(process, counted=counted)
                if not process.inherited:
                    self._end_program(process, peak, time, counted=counted)
                self.footprint.leave(process, time)
            process.begin_program(program, time, inherited=inherited)
        self._groups.join(process)

    def _regroup(self, process: LiveProcess, regroup: Callable[[LiveProcess], None]) -> None:
        """Lets a process change its group."""
        before = process.group
        regroup(process)
        if process.group is not before:
            self.footprint.leave_group(process, before)

    def _end_program(self, process: LiveProcess, peak: Peak, time: int, *, counted: bool) -> None:
        """Notes what a program that has ended held."""
        if self.has_footprints:
            if counted:
                self.footprint.groups.add_program(process, time)
        else:
            self.footprint.end_program(process, peak, time, counted=counted)

    def _unseen(self, process: LiveProcess, program: ProgramText, valid: int) -> ProgramText:
        """Returns the program of a process that ended before more than its name could be read."""
        parent = self.live.get(process.parent) if valid & INHERITED and process.parent else None
        if parent:
            # The parent may run another program by now, so take the one of the time of the fork,
            # if its name agrees.
            forked = process.first_seen if process.start is None else process.start
            text = parent.program_at(forked)
            if text and text.name.startswith(program.name):
                return text
        return program if program.name else UNREADABLE

    def _exited(
        self,
        process: LiveProcess,
        time: int,
        status: int | None,
        end: int | None = None,
        *,
        alive: bool = False,
    ) -> None:
        self._changed.add(process.serial)
        self._groups.remove(process)
        last_peak = self._groups.end_program(process, counted=True)
        self._groups.end(process)
        own = own_programs(process.programs)
        peak = highest_peak(own)
        ended = process.end(
            self._last_tick if end is None else end,
            status,
            alive=alive,
            end_known=end is not None,
            held=self.footprint.held_by(process, peak, programs=len(own)),
        )
        self.processes.add(ended)
        self.peaks[peak.source] += 1
        if peak.rss > self._largest_peak:
            self._largest_peak = peak.rss
            self.largest = ended
        self.never_sampled += not process.sampled
        self._end_program(process, last_peak, ended.last_seen, counted=True)
        self.footprint.leave(process, time)
        if self.has_footprints:
            self._count_footprint(ended)
        if process.is_root:
            self.root_status = status
        if status == signal.SIGKILL:
            self._note_kill(ended)

    def _note_kill(self, ended: Process) -> None:
        self.kills.append(Kill(ended, self._recent.highest_before(ended.last_seen)))
        self.kills.sort(key=lambda kill: -kill.process.peak.rss)
        del self.kills[MOST_KILLS:]

    def _count_footprint(self, ended: Process) -> None:
        footprint = ended.footprint
        self.footprints[footprint.source] += 1
        largest = self.largest_footprint
        if footprint.size > (largest.footprint.size if largest else 0):
            self.largest_footprint = ended

    def finish(self, root_status: int | None = None) -> None:
        """Ends the job: the processes that are alive now are reported as such.

        `root_status` is the wait status of a root whose end was in no observation.
        """
        self.last_second = self._recent.last_second(self.holders())
        for process in self.live.values():
            ended = process.is_root and root_status is not None
            status = root_status if ended else None
            self._exited(process, self._last_tick + 1, status, alive=not ended)
        self.live.clear()

    def holders(self) -> tuple[Holder, ...]:
        """Returns what each live process held at its last sample, largest first."""
        live = self.live.values()
        holders = (Holder(p.serial, p.pid, p.group.name, p.rss) for p in live if p.rss)
        return _largest_first(holders)

    def live_programs(self) -> dict[int, str]:
        """Returns the names of the programs of the processes that are alive, by pid."""
        return {each.pid: each.program.name for each in self.live.values() if each.program}

    def groups(self) -> tuple[Group, ...]:
        """Returns the groups with at least one process, largest first."""
        return self._groups.finish(self.footprint.groups)

    @property
    def group_by(self) -> str:
        """The key of the groups, as groups.group_key() takes it."""
        return self._groups.group_by

    @property
    def timeline(self) -> Timeline | None:
        """The totals of all ticks; None when they were not asked for."""
        return self._timeline.timeline if self._timeline else None

    def at_peak(self) -> tuple[Holder, ...]:
        """Returns what each process held at the highest total, largest first."""
        holders = (
            Holder(serial, pid, group.name, rss)
            for serial, (pid, group, rss) in self._at_peak.items()
            if rss  # with 0 it held nothing of its own yet, or what it held is unknown
        )
        return _largest_first(holders)
