"""Jobs that never ran: scripted observations with a known answer, and recordings of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memwatch.model.groups import COMMAND
from memwatch.model.job import Job
from memwatch.model.limits import LimitOutcome
from memwatch.model.memory_limit import CGROUP_V2, MemoryLimit
from memwatch.model.observations import (
    AVAILABLE,
    BY_EVENT,
    CPU,
    EXITED,
    FAULTS,
    FINAL,
    FOOTPRINT,
    HAS_ARGV,
    HAS_CPU,
    HAS_CWD,
    HAS_EXE,
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
    IN_GROUP,
    INHERITED,
    IO,
    MEMORY,
    PARTS,
    PSS,
    SAME_IMAGE,
    STARTED,
    TICK,
    TICK_PARTIAL,
    TMPFS,
    Batch,
    Observation,
    Observer,
)
from memwatch.model.profile import Beginning, Clock, Ending, Overhead
from memwatch.storage.recording import Recorder

# Nanoseconds.
MS = 1_000_000
SECOND = 1_000_000_000

# Bytes.
KIB = 1 << 10
MIB = 1 << 20

NO_LIMIT = MemoryLimit(None, None, None, None, None, None)


class Script:
    """Observations as a sampler would make them, one per call; calls can be chained.

    Times are counted from `origin` in units of `time_unit` nanoseconds, sizes in units of
    `size_unit` bytes. `at` is the time of an observation, by default that of the previous one.
    """

    def __init__(
        self,
        *command: str,
        time_unit: int = 1,
        size_unit: int = 1,
        origin: int = 0,
        first_pid: int = 100,
        outside: int = 1,
        step: float = 0,
        sink: Observer | None = None,
    ) -> None:
        """`outside` is the pid of parents that are not in the job. After a tick, time advances by
        `step` unless a time is given. `sink` takes observations that would not fit into memory."""
        self.command = command or ("make",)
        self.time_unit = time_unit
        self.size_unit = size_unit
        self.origin = origin
        self.first_pid = first_pid
        self.outside = outside
        self.step = step
        self._sink = sink
        self.now: float = 0
        self.status: int | None = None
        """The wait status of the root; None until its end is observed with one."""
        self.held: dict[int, int] = {}
        """Resident size of each live process, in bytes."""
        self.shared_held: dict[int, int] = {}
        """The part that belongs to files and shared memory, where the script gives it."""
        self.totals: list[tuple[int, int]] = []
        """For each tick: microseconds since `origin`, and the sum of resident sizes in bytes."""
        self.footprints_held: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._events: list[tuple[Observation, bytes]] = []

    # -- Processes and their programs ------------------------------------------------------------

    def start(
        self,
        serial: int,
        *argv: str | bytes,
        parent: int | None = None,
        pid: int | None = None,
        ppid: int | None = None,
        began: float | None = None,
        start_known: bool = True,
        found_by: int = 0,
        at: float | None = None,
    ) -> Script:
        """Starts a process that runs `argv`, if given. It begins now unless `began` is given;
        `found_by` is one of BY_EVENT, BY_RECORD and BY_HOOK, or 0 for a sample."""
        self._go_to(at)
        self._pids[serial] = self.first_pid + serial if pid is None else pid
        self.held[serial] = 0
        if ppid is None:
            ppid = self._pids.get(parent, self.first_pid + parent) if parent else self.outside
        valid = (HAS_PARENT if parent else 0) | (HAS_START if start_known else 0) | found_by
        birth = self._time(self.now if began is None else began) if start_known else 0
        self._add(serial, parent or 0, birth, STARTED, valid, ppid=ppid)
        return self.execute(serial, *argv) if argv else self

    def execute(
        self,
        serial: int,
        *argv: str | bytes,
        name: str | bytes | None = None,
        exe: str | None = None,
        cwd: str | None = None,
        inherited: bool = False,
        same: bool = False,
        at: float | None = None,
    ) -> Script:
        """Observes a program: its command line, or only its name, or only that it was executed.
        `inherited`: from the parent, by fork; `same`: more facts about the current program."""
        self._go_to(at)
        valid = (INHERITED if inherited else 0) | (SAME_IMAGE if same else 0)
        if not argv and name is None:
            return self._add(serial, 0, 0, IMAGE, valid)
        words = [_encode(word) for word in argv]
        base = words[0].rsplit(b"/", 1)[-1] if name is None else _encode(name)
        path = _encode(exe) if exe is not None else b"/usr/bin/" + base if words else b""
        parts = [base, path, *([] if cwd is None else [_encode(cwd)]), *words]
        valid |= HAS_EXE if path else 0
        valid |= 0 if cwd is None else HAS_CWD
        valid |= HAS_ARGV if words else 0
        return self._add(serial, 0, 0, IMAGE, valid, text=b"".join(part + b"\0" for part in parts))

    def new(
        self,
        serial: int,
        size: float,
        *argv: str | bytes,
        parent: int | None = None,
        inherited: bool = False,
        found_by: int = 0,
        at: float | None = None,
    ) -> Script:
        """Starts a process that runs `argv` and holds `size` when it is first seen."""
        self.start(serial, parent=parent, found_by=found_by, at=at)
        return self.execute(serial, *argv, inherited=inherited).memory(serial, size)

    def exit(
        self,
        serial: int,
        status: int | None = None,
        *,
        by_event: bool = False,
        at: float | None = None,
    ) -> Script:
        """Ends a process. `status` is as from wait(2); `by_event`: the time is exact."""
        self._go_to(at)
        self.held.pop(serial, None)
        self.shared_held.pop(serial, None)
        self.footprints_held.pop(serial, None)
        if serial == 1:
            self.status = status
        valid = (0 if status is None else HAS_STATUS) | (BY_EVENT if by_event else 0)
        return self._add(serial, status or 0, 0, EXITED, valid)

    # -- What they hold and use ------------------------------------------------------------------

    def memory(
        self,
        serial: int,
        rss: float,
        watermark: float | None = None,
        *,
        shared: float | None = None,
        at: float | None = None,
    ) -> Script:
        """Observes the resident size. `shared` is the part of it that belongs to files and shared
        memory; None: the system does not say."""
        self._go_to(at)
        size = self.held[serial] = self._size(rss)
        valid = HAS_RSS | (0 if watermark is None else HAS_WATERMARK)
        if shared is not None:
            valid |= HAS_SHARED
            self.shared_held[serial] = self._size(shared)
        third = self._size(shared or 0)
        return self._add(serial, size, self._size(watermark or 0), MEMORY, valid, third=third)

    def faults(self, serial: int, size: float, *, at: float | None = None) -> Script:
        """Observes what the page faults of a process have given it in all its life."""
        self._go_to(at)
        return self._add(serial, self._size(size), 0, FAULTS, HAS_FAULTS)

    def huge_faults(self, size: float, *, at: float | None = None) -> Script:
        """Observes what the machine has got in transparent huge pages."""
        self._go_to(at)
        return self._add_for_job(0, self._size(size), 0, FAULTS, HAS_FAULTS)

    def parts(
        self,
        serial: int,
        shmem: float,
        swapped: float = 0,
        huge: float = 0,
        *,
        at: float | None = None,
    ) -> Script:
        """Observes what a process holds beside its own resident pages."""
        self._go_to(at)
        sizes = (self._size(shmem), self._size(swapped))
        return self._add(serial, *sizes, PARTS, 0, third=self._size(huge))

    def tmpfs(self, size: float, written: float = 0, *, at: float | None = None) -> Script:
        """Observes what has been stored in file systems in memory since the beginning, and how much
        of it the job has written."""
        self._go_to(at)
        return self._add_for_job(0, self._size(size), self._size(written), TMPFS, 0)

    def final(
        self, serial: int, watermark: float, *, roughness: float = 0, at: float | None = None
    ) -> Script:
        """Observes the watermark of the current program, at its end."""
        self._go_to(at)
        sizes = (self._size(roughness), self._size(watermark))
        return self._add(serial, *sizes, MEMORY, HAS_WATERMARK | FINAL)

    def footprint(
        self, serial: int, size: float, watermark: float | None = None, *, at: float | None = None
    ) -> Script:
        """Observes the footprint as macOS reports it: now, and the current program's watermark."""
        self._go_to(at)
        now = self.footprints_held[serial] = self._size(size)
        valid = HAS_FOOTPRINT | (0 if watermark is None else HAS_WATERMARK)
        return self._add(serial, now, self._size(watermark or 0), FOOTPRINT, valid)

    def final_footprint(self, serial: int, watermark: float, *, at: float | None = None) -> Script:
        self._go_to(at)
        self.footprints_held[serial] = 0
        return self._add(serial, 0, self._size(watermark), FOOTPRINT, HAS_WATERMARK | FINAL)

    def cpu(
        self,
        serial: int,
        user: float,
        system: float,
        *,
        known: bool = True,
        at: float | None = None,
    ) -> Script:
        """Observes the CPU time since the start of the process."""
        self._go_to(at)
        times = (round(user * self.time_unit), round(system * self.time_unit))
        return self._add(serial, *times, CPU, HAS_CPU if known else 0)

    def io(
        self,
        serial: int,
        read: float,
        written: float,
        *,
        known: bool = True,
        at: float | None = None,
    ) -> Script:
        """Observes the bytes from and to storage since the start of the process."""
        self._go_to(at)
        sizes = (self._size(read), self._size(written))
        return self._add(serial, *sizes, IO, HAS_IO if known else 0)

    # -- The whole job ---------------------------------------------------------------------------

    def tick(
        self,
        total: float | None = None,
        count: int | None = None,
        *,
        skipped: int = 0,
        flags: int = 0,
        at: float | None = None,
        then: float | None = None,
    ) -> Script:
        """Ends a tick. `total` and `count` default to what the processes hold. What follows is
        observed at `then`."""
        self._go_to(at)
        size = sum(self.held.values()) if total is None else self._size(total)
        self.totals.append((round(self.now * self.time_unit / 1000), size))
        number = len(self.held) if count is None else count
        if self.shared_held:
            flags |= HAS_SHARED
        shared = sum(self.shared_held.values())
        self._add_for_job(skipped, size, number, TICK, HAS_RSS | flags, shared)
        self.now = self.now + self.step if then is None else then
        if self._sink and len(self._events) > 5000:
            self._sink(self.take())
        return self

    def pss(
        self,
        size: float,
        *,
        rss: float | None = None,
        footprint: float = 0,
        unread: int = 0,
        flags: int = 0,
        at: float | None = None,
    ) -> Script:
        """Observes the PSS at a tick with the sum of resident sizes `rss`, by default the present
        one, and the footprint that was measured with it. `at` does not change the time of what
        follows."""
        flags |= TICK_PARTIAL if unread else 0
        total = sum(self.held.values()) if rss is None else self._size(rss)
        now = self.now
        self._go_to(at)
        self._add_for_job(total, self._size(size), unread, PSS, flags, self._size(footprint))
        self.now = now
        return self

    def footprints(
        self, total: float | None = None, unread: int | None = None, *, at: float | None = None
    ) -> Script:
        """Observes the sum of footprints; the defaults follow from the single ones."""
        self._go_to(at)
        size = sum(self.footprints_held.values()) if total is None else self._size(total)
        missing = len(self.held) - len(self.footprints_held) if unread is None else unread
        return self._add_for_job(0, size, missing, FOOTPRINT, HAS_FOOTPRINT)

    def available(self, size: float, *, in_group: bool = False, at: float | None = None) -> Script:
        """Observes the memory that is available to the job."""
        self._go_to(at)
        return self._add_for_job(0, self._size(size), 0, AVAILABLE, IN_GROUP if in_group else 0)

    # -- Results ---------------------------------------------------------------------------------

    def batches(self, cuts: Sequence[int] = ()) -> list[Batch]:
        """Returns everything in several batches, each with the text of its own programs."""
        edges = [0, *sorted(cuts), len(self._events)]
        return [_batch(self._events[edges[i] : edges[i + 1]]) for i in range(len(edges) - 1)]

    def batch(self) -> Batch:
        return _batch(self._events)

    def take(self) -> Batch:
        """Returns the observations since the last call, and forgets them."""
        taken, self._events = self._events, []
        return _batch(taken)

    @property
    def count(self) -> int:
        """How many observations there are."""
        return len(self._events)

    def job(self, cuts: Sequence[int] = (), *, group_by: str = COMMAND, finish: bool = True) -> Job:
        job = Job(timeline=True, group_by=group_by)
        for batch in self.batches(cuts):
            job.apply(batch)
        if finish:
            job.finish()
        return job

    def _go_to(self, at: float | None) -> None:
        if at is not None:
            self.now = at

    def _time(self, at: float) -> int:
        return self.origin + round(at * self.time_unit)

    def _size(self, size: float) -> int:
        return round(size * self.size_unit)

    def _add(
        self,
        serial: int,
        value: int,
        second: int,
        kind: int,
        valid: int,
        *,
        ppid: int = 0,
        third: int = 0,
        text: bytes = b"",
    ) -> Script:
        """Adds an observation of a process."""
        pid = self._pids.get(serial, self.first_pid + serial)
        record = (self._time(self.now), serial, value, second, kind, valid, pid, ppid, third)
        self._events.append((record, text))
        return self

    def _add_for_job(
        self, first: int, value: int, second: int, kind: int, valid: int, third: int = 0
    ) -> Script:
        """Adds an observation of the whole job; some have a number in place of a serial."""
        record = (self._time(self.now), first, value, second, kind, valid, 0, 0, third)
        self._events.append((record, b""))
        return self


def _encode(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _batch(events: Sequence[tuple[Observation, bytes]]) -> Batch:
    records, text = [], bytearray()
    for record, own in events:
        if own:
            records.append((*record[:2], len(text), len(own), *record[4:]))
            text += own
        else:
            records.append(record)
    return Batch(records, bytes(text))


class ScriptedRecording(Script):
    """A recording in which every value is known. Times are milliseconds, sizes KiB."""

    ORIGIN = 1_000 * SECOND

    def __init__(self, path: Path, *command: str) -> None:
        self.path = path
        self._recorder = Recorder(str(path), overwrite=True)
        super().__init__(
            *command,
            time_unit=MS,
            size_unit=KIB,
            origin=self.ORIGIN,
            sink=self._recorder.add,
        )
        clock = Clock(self.origin, self.origin)
        self._recorder.begin(Beginning(self.command, clock, self.origin, 10 * MS))

    def end(
        self,
        at: float,
        limit: int | None = None,
        *,
        status: int = 0,
        limit_outcome: LimitOutcome | None = None,
        oom_kills: int | None = None,
    ) -> Path:
        """Ends the recording. `limit` in KiB; `status` as from wait(2)."""
        self.cut_short()
        memory_limit = NO_LIMIT
        if limit is not None:
            memory_limit = MemoryLimit(limit * KIB, CGROUP_V2, None, None, oom_kills, oom_kills)
        overhead = Overhead(10 * MS, 16 * MIB)
        ending = Ending(self._time(at), status, overhead, memory_limit, limit_outcome=limit_outcome)
        self._recorder.end(ending)
        return self.path

    def cut_short(self) -> Path:
        """Leaves the recording without its last line."""
        self._recorder.add(self.take())
        return self.path
