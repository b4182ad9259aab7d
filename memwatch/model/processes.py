"""Processes of a job: the ones alive now, and a compact table of those that have ended.

A big build has half a million processes, so an ended one is kept as a row of
bytes, and most of the rows not in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from memwatch.model.groups import RunningGroup
from memwatch.model.observations import ProgramText
from memwatch.model.spill import Bytes, Numbers

UNKNOWN = "unknown"
SAMPLED = "sampled"
WATERMARK = "watermark"

EXACT = "exact"

PEAK_SOURCES = (UNKNOWN, SAMPLED, WATERMARK, EXACT)
"""How a peak is known, weakest first.

unknown: the memory was never seen. sampled: the highest of the samples, a lower
bound. watermark: the kernel's high-water mark (VmHWM) when it was last looked
at, a lower bound too: the process lived on after that. exact: that mark at the
very end, or the highest sample where that is higher: since Linux 6.2 the kernel
keeps its mark in batches per CPU, so that it may be some 100 KiB too low.

Of a physical footprint the same: there the mark is the highest footprint of a
program's life, as macOS keeps it.
"""

EVENTS = "events"
RECORD = "record"
HOOK = "hook"
SAMPLING = "sampling"

FOUND_BY = (EVENTS, RECORD, HOOK, SAMPLING)
"""How a process was first heard of: the kernel told of its fork; the kernel's record of its
exit; as it passed the exit hook; a look at /proc."""


class Peak(NamedTuple):
    rss: int
    """Bytes; 0 and meaningless when the source is "unknown"."""
    time: int
    source: str


NO_PEAK = Peak(0, 0, UNKNOWN)


class Footprint(NamedTuple):
    """The highest physical footprint: what the system charges a process for, compressed memory
    too. Only macOS keeps one."""

    size: int
    """Bytes; 0 and meaningless when the source is "unknown"."""
    source: str


NO_FOOTPRINT = Footprint(0, UNKNOWN)

UNREADABLE = ProgramText("?", None, None, False)
"""The program of a process that may not be looked at."""


class Program(NamedTuple):
    """One program that a process ran, from one exec to the next."""

    text: ProgramText
    since: int
    """When it was first seen, or when the exec was noticed."""
    inherited: bool
    """Forked from its parent and not executed anything: the parent's program."""
    peak: Peak
    footprint: Footprint = NO_FOOTPRINT


class Usage(NamedTuple):
    """What a process used in all its life. None where nobody said."""

    user: int | None = None
    """CPU nanoseconds in its own code, of all its threads."""
    system: int | None = None
    """The same in the kernel."""
    read: int | None = None
    """Bytes read from storage."""
    written: int | None = None
    final_watermark: int | None = None
    """The kernel's high-water mark of its last program, at the end, as the kernel gave it."""


ROOT = 1
"""The serial of the command itself."""

NO_USAGE = Usage()


class Process(NamedTuple):
    """One process of a job. Times are nanoseconds since boot."""

    serial: int
    """Its number within the job. Pids are used again; serials are not."""
    pid: int
    ppid: int
    parent: int | None
    """Serial of the process that started it; None for the root and for an orphan whose
    parent had ended before either was seen."""
    start: int | None
    first_seen: int
    last_seen: int
    exit_status: int | None
    """As wait(2) gives it; None when alive or when only its parent was told."""
    alive: bool
    """Still there when the job's first process ended."""
    programs: tuple[Program, ...]
    """At least one, the last program at the end."""
    found_by: str
    """One of FOUND_BY."""
    end_known: bool
    """`last_seen` is when it ended, not the last sample that it was in."""
    sampled: bool
    """Its memory was in at least one sample."""
    usage: Usage

    @property
    def is_root(self) -> bool:
        """Whether it is the command itself."""
        return self.serial == ROOT

    @property
    def command(self) -> str:
        """Name of the last program it ran."""
        return self.programs[-1].text.name

    @property
    def argv(self) -> tuple[str, ...] | None:
        return self.programs[-1].text.argv

    @property
    def peak_program(self) -> Program:
        """The program under which its memory was highest.

        What it held between fork and exec is left out when an exec followed: that memory
        is its parent's, shared until then.
        """
        return max(self._own_programs(), key=lambda program: program.peak.rss)

    @property
    def peak(self) -> Peak:
        """Exact only when that of every program it ran is: else one of them may have held more."""
        peak = self.peak_program.peak
        if peak.source == EXACT and any(
            program.peak.source != EXACT for program in self._own_programs()
        ):
            return peak._replace(source=WATERMARK)
        return peak

    @property
    def footprint(self) -> Footprint:
        """Exact only when that of every program it ran is, as for `peak`."""
        every = [program.footprint for program in self._own_programs()]
        largest = max(every, key=lambda footprint: footprint.size)
        if largest.source == EXACT and any(each.source != EXACT for each in every):
            return largest._replace(source=WATERMARK)
        return largest

    def _own_programs(self) -> Sequence[Program]:
        return [program for program in self.programs if not program.inherited] or self.programs


class LiveProcess:
    """A process that is being followed. `Job` updates its fields directly, as observations come."""

    __slots__ = (
        "final_watermark",
        "first_seen",
        "footprint",
        "found_by",
        "group",
        "highest",
        "inherited",
        "parent",
        "peak",
        "peak_source",
        "peak_time",
        "pid",
        "ppid",
        "program",
        "programs",
        "rss",
        "sampled",
        "serial",
        "settled",
        "settled_at",
        "since",
        "start",
        "usage",
    )

    def __init__(
        self,
        serial: int,
        pid: int,
        ppid: int,
        parent: int | None,
        start: int | None,
        seen: int,
        group: RunningGroup,
        found_by: str,
    ) -> None:
        self.serial = serial
        self.pid = pid
        self.ppid = ppid
        self.parent = parent
        self.start = start
        self.first_seen = seen
        self.found_by = found_by
        self.rss = 0
        self.sampled = False
        self.usage = NO_USAGE
        self.group = group
        self.highest: tuple[int, int] | None = None
        """Of the programs that it ran in its group before: the highest peak, and when."""
        self.settled = False
        """Its memory counts in its group; see Job."""
        self.settled_at = 0
        """How many ticks there had been when it began to."""
        self.programs: list[Program] = []
        self.program: ProgramText | None = None
        self.since = seen
        self.inherited = False
        self.peak = 0
        self.peak_time = 0
        self.peak_source = UNKNOWN
        self.footprint = NO_FOOTPRINT
        self.final_watermark: int | None = None

    @property
    def is_root(self) -> bool:
        """Whether it is the command itself."""
        return self.serial == ROOT

    def begin_program(self, program: ProgramText, time: int, *, inherited: bool) -> None:
        """It runs another program from now on."""
        self.program = program
        self.since = time
        self.inherited = inherited
        self.peak = 0
        self.peak_time = 0
        self.peak_source = UNKNOWN
        self.footprint = NO_FOOTPRINT
        self.final_watermark = None

    def note_watermark(self, watermark: int, time: int, roughness: int | None) -> None:
        """The high-water mark of its program: at the end, and then too low by `roughness` at most;
        or so far (None)."""
        final = roughness is not None
        if watermark >= self.peak:
            self.peak_source = WATERMARK
        # A sample that is higher by more was taken after the next program had begun.
        if watermark > self.peak or (roughness is not None and self.peak > watermark + roughness):
            self.peak = watermark
            self.peak_time = time
        if final:
            self.final_watermark = watermark
            self.peak_source = EXACT

    def note_footprint(self, now: int, watermark: int, *, final: bool) -> None:
        """Its footprint, and the highest of its program, at the end or so far; 0: not told."""
        size, source = self.footprint
        if now > size:
            size, source = now, SAMPLED
        # A mark that is lower is that of a later program, which nobody has seen.
        if watermark and watermark >= size:
            size, source = watermark, EXACT if final else WATERMARK
        self.footprint = Footprint(size, source)

    def program_at(self, time: int) -> ProgramText | None:
        """The program that it ran then, as far as is known by now."""
        if time >= self.since or not self.programs:
            return self.program
        known = (program.text for program in reversed(self.programs) if program.since <= time)
        return next(known, self.programs[0].text)

    def end_program(self) -> Peak:
        peak = NO_PEAK
        if self.peak_source != UNKNOWN:
            peak = Peak(self.peak, self.peak_time, self.peak_source)
        text = self.program or UNREADABLE
        self.programs.append(Program(text, self.since, self.inherited, peak, self.footprint))
        return peak

    def end(
        self, last_seen: int, exit_status: int | None, *, alive: bool, end_known: bool
    ) -> Process:
        """The process as it stays on record; its last program has been ended."""
        return Process(
            self.serial,
            self.pid,
            self.ppid,
            self.parent,
            self.start,
            self.first_seen,
            max(last_seen, self.first_seen),
            exit_status,
            alive,
            tuple(self.programs),
            self.found_by,
            end_known,
            self.sampled,
            self.usage._replace(final_watermark=self.final_watermark),
        )


class ProcessTable(Sequence[Process]):
    """Ended processes in the order they were added; rows are decoded as they are read."""

    # serial, pid, ppid, parent, start, first_seen, last_seen, exit_status, alive, number of
    # programs, how it was found, end known, sampled, usage
    _ROW = struct.Struct("=qiiqqqqiBiBBBqqqqq")
    # Of each program: bytes of its name, exe, cwd and argv, argv_cut, since, inherited, peak,
    # peak_time, source (its number, and 16 times that of the footprint's). The four texts follow,
    # and the footprint where there is one.
    _IMAGE = struct.Struct("=iiiiBqBqqB")
    _FOOTPRINT = struct.Struct("=q")
    _NONE = -1

    def __init__(self) -> None:
        self._rows = Bytes()
        self._ends = Numbers()
        """Of each row in those bytes."""

    def add(self, process: Process) -> None:
        self._rows.append(
            self._ROW.pack(
                process.serial,
                process.pid,
                process.ppid,
                self._or_none(process.parent),
                self._or_none(process.start),
                process.first_seen,
                process.last_seen,
                self._or_none(process.exit_status),
                process.alive,
                len(process.programs),
                FOUND_BY.index(process.found_by),
                process.end_known,
                process.sampled,
                *map(self._or_none, process.usage),
            )
            + b"".join(map(self._pack_program, process.programs))
        )
        self._ends.append(len(self._rows))

    def _pack_program(self, program: Program) -> bytes:
        text = program.text
        name = _encode(text.name)
        exe = None if text.exe is None else _encode(text.exe)
        cwd = None if text.cwd is None else _encode(text.cwd)
        argv = None if text.argv is None else _encode("\0".join(text.argv))
        footprint, footprint_source = program.footprint
        known = PEAK_SOURCES.index(footprint_source)
        return b"".join(
            (
                self._IMAGE.pack(
                    len(name),
                    self._NONE if exe is None else len(exe),
                    self._NONE if cwd is None else len(cwd),
                    self._NONE if argv is None else len(argv),
                    text.argv_cut,
                    program.since,
                    program.inherited,
                    program.peak.rss,
                    program.peak.time,
                    PEAK_SOURCES.index(program.peak.source) | known << 4,
                ),
                name,
                exe or b"",
                cwd or b"",
                argv or b"",
                self._FOOTPRINT.pack(footprint) if known else b"",
            )
        )

    def _or_none(self, value: int | None) -> int:
        return self._NONE if value is None else value

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Process]:
        start = 0
        for end in self._ends:
            yield self._decode(self._rows.read(start, end))
            start = end

    @overload
    def __getitem__(self, index: int) -> Process: ...
    @overload
    def __getitem__(self, index: slice) -> list[Process]: ...
    def __getitem__(self, index: int | slice) -> Process | list[Process]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start = self._ends[index - 1] if index else 0
        return self._decode(self._rows.read(start, self._ends[index]))

    def _decode(self, row: bytes) -> Process:
        serial, pid, ppid, parent, start, first, last, status, alive, count, *rest = (
            self._ROW.unpack_from(row)
        )
        found_by, end_known, sampled, *usage = rest
        none = self._NONE
        return Process(
            serial,
            pid,
            ppid,
            None if parent == none else parent,
            None if start == none else start,
            first,
            last,
            None if status == none else status,
            bool(alive),
            tuple(self._programs(row, count)),
            FOUND_BY[found_by],
            bool(end_known),
            bool(sampled),
            Usage(*(None if value == none else value for value in usage)),
        )

    def _programs(self, row: bytes, count: int) -> Iterator[Program]:
        at = self._ROW.size
        for _ in range(count):
            *lengths, cut, since, inherited, peak, peak_time, sources = self._IMAGE.unpack_from(
                row, at
            )
            at += self._IMAGE.size
            texts: list[str | None] = []
            for length in lengths:
                if length == self._NONE:
                    texts.append(None)
                else:
                    texts.append(row[at : at + length].decode("utf-8", "surrogatepass"))
                    at += length
            name, exe, cwd, argv = texts
            words = None if argv is None else tuple(argv.split("\0"))
            text = ProgramText(name or "", exe, words, bool(cut), cwd)
            footprint = NO_FOOTPRINT
            if known := sources >> 4:
                size = self._FOOTPRINT.unpack_from(row, at)[0]
                footprint = Footprint(size, PEAK_SOURCES[known])
                at += self._FOOTPRINT.size
            yield Program(
                text,
                since,
                bool(inherited),
                Peak(peak, peak_time, PEAK_SOURCES[sources & 15]),
                footprint,
            )


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
