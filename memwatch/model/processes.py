"""Processes of a job: as they are followed, and as they stay on record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from memwatch.model.footprint_bounds import SYSTEM
from memwatch.model.groups import RunningGroup
from memwatch.model.observations import ProgramText

UNKNOWN = "unknown"
SAMPLED = "sampled"
WATERMARK = "watermark"

EXACT = "exact"

PEAK_SOURCES = (UNKNOWN, SAMPLED, WATERMARK, EXACT)
"""How a peak is known, weakest first.

unknown: the memory was never seen. sampled: the highest of the samples, a lower
bound. watermark: the kernel's high-water mark (VmHWM) when it was last read,
also a lower bound, because the process lived on after that. exact: the
high-water mark at the very end, or the highest sample where that is higher:
since Linux 6.2 the kernel keeps its high-water mark in batches per CPU, so that
it may be some 100 KiB too low.

The same holds for a physical footprint. Its high-water mark is the highest
footprint of a program's life, which macOS keeps.
"""

FOUND_BY_EVENT = "events"
FOUND_BY_RECORD = "record"
FOUND_BY_HOOK = "hook"
FOUND_BY_SAMPLING = "sampling"

FOUND_BY = (FOUND_BY_EVENT, FOUND_BY_RECORD, FOUND_BY_HOOK, FOUND_BY_SAMPLING)
"""How a process was found: by the event of its fork, by the kernel's record of its exit, by the
exit hook, or by reading /proc."""


class Peak(NamedTuple):
    """The highest resident size of a process."""

    rss: int
    """Bytes; 0 and meaningless when it is not known."""
    time: int
    source: str
    """How it is known: one of PEAK_SOURCES."""

    @property
    def known(self) -> bool:
        """Whether any of the memory was seen."""
        return self.source != UNKNOWN


NO_PEAK = Peak(0, 0, UNKNOWN)


class Footprint(NamedTuple):
    """The highest physical footprint: what the system charges a process for, compressed memory
    included. Only macOS keeps one."""

    size: int
    """Bytes; 0 and meaningless when it is not known."""
    source: str
    """How it is known: one of PEAK_SOURCES."""

    @property
    def known(self) -> bool:
        """Whether any footprint was read."""
        return self.source != UNKNOWN


NO_FOOTPRINT = Footprint(0, UNKNOWN)

PEAK = "peak"

HELD_SOURCES = (SAMPLED, PEAK, SYSTEM)
"""How the best estimate of what a process held is known.

sampled: the highest sample. peak: its peak, which is more than any sample, less
the most that samples had in files. system: what the system charges it for
(macOS).
"""


class Held(NamedTuple):
    """The most that a process held of what the kernel cannot simply drop: anonymous memory, shared
    memory, what is swapped out, and huge pages. In bytes."""

    best: int
    low: int
    """It held at least this."""
    high: int | None
    """It held at most this; None where nothing bounds it."""
    source: str
    """How the best estimate is known: one of HELD_SOURCES."""


UNREADABLE = ProgramText("?", None, None, False)
"""Stands for a program that may not be read."""


class Program(NamedTuple):
    """One program that a process ran, from one exec to the next."""

    text: ProgramText
    since: int
    """When the program was first seen, or when the exec was noticed."""
    inherited: bool
    """Whether it is the parent's program: the process was forked and has not executed anything."""
    peak: Peak
    footprint: Footprint = NO_FOOTPRINT


class Usage(NamedTuple):
    """What a process used in all its life. None where no source reported it."""

    user: int | None = None
    """CPU nanoseconds in its own code, for all its threads."""
    system: int | None = None
    """CPU nanoseconds in the kernel, for all its threads."""
    read: int | None = None
    """Bytes read from storage."""
    written: int | None = None
    """Bytes written to storage."""
    final_watermark: int | None = None
    """The kernel's high-water mark at the end of its last program, as the kernel gave it."""


def own_programs(programs: Sequence[Program]) -> Sequence[Program]:
    """Returns the programs that a process executed itself, as Process.own_programs has them."""
    return [program for program in programs if not program.inherited] or programs


def highest_peak(own: Sequence[Program]) -> Peak:
    """Returns the peak of a process that has executed these programs, as Process.peak has it."""
    if len(own) == 1:
        return own[0].peak
    peak = max((program.peak for program in own), key=lambda peak: peak.rss)
    if peak.source == EXACT and any(program.peak.source != EXACT for program in own):
        return peak._replace(source=WATERMARK)
    return peak


ROOT = 1
"""The serial of the command itself."""

NO_USAGE = Usage()


class Process(NamedTuple):
    """One process of a job. Times are nanoseconds since boot."""

    serial: int
    """Its number within the job. Pids are reused; serials are not."""
    pid: int
    ppid: int
    parent: int | None
    """Serial of the process that started it; None for the root and for an orphan whose
    parent had ended before either was seen."""
    start: int | None
    first_seen: int
    last_seen: int
    exit_status: int | None
    """As wait(2) gives it; None when it was alive, or when only its parent received it."""
    alive: bool
    """Whether it still ran when the root ended."""
    programs: tuple[Program, ...]
    """The programs it ran, in order; at least one."""
    found_by: str
    """One of FOUND_BY."""
    end_known: bool
    """Whether `last_seen` is when it ended, not the last sample that it was in."""
    sampled: bool
    """Whether its memory was in at least one sample."""
    usage: Usage
    held_by_sample: Held | None = None
    """What its samples say of that; None where they do not tell anonymous memory from the rest."""

    @property
    def held(self) -> Held | None:
        """The most that it held of what the kernel cannot simply drop; None where that is not
        known."""
        size, source = self.footprint
        if source == UNKNOWN:
            return self.held_by_sample
        return Held(size, size, size if source == EXACT else None, SYSTEM)

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
        """Command line of the last program it ran; None when it could not be read."""
        return self.programs[-1].text.argv

    @property
    def own_programs(self) -> Sequence[Program]:
        """The programs that it executed itself; the inherited one where it executed none.

        What a process holds between fork and exec is left out with the inherited program: that
        memory is its parent's, shared until then.
        """
        return own_programs(self.programs)

    @property
    def peak_program(self) -> Program:
        """The program under which its memory was highest."""
        return max(self.own_programs, key=lambda program: program.peak.rss)

    @property
    def peak(self) -> Peak:
        """Its highest resident size. It is exact only when the peak of every program it ran is:
        otherwise one of them may have held more."""
        return highest_peak(self.own_programs)

    @property
    def footprint(self) -> Footprint:
        """Its highest physical footprint, exact under the same condition as `peak`."""
        every = [program.footprint for program in self.own_programs]
        largest = max(every, key=lambda footprint: footprint.size)
        if largest.source == EXACT and any(each.source != EXACT for each in every):
            return largest._replace(source=WATERMARK)
        return largest


NOWHERE: dict[RunningGroup, tuple[int, int]] = {}
"""The groups that most processes were in before. It stays empty."""


class LiveProcess:
    """A process that is being followed. `Job` and `LiveGroups` update its fields directly, as
    observations come."""

    __slots__ = (
        "anon",
        "anon_before",
        "anon_time",
        "beside",
        "counted",
        "counted_at",
        "faulted",
        "faulted_time",
        "final_watermark",
        "first_seen",
        "footprint",
        "found_by",
        "group",
        "held_best",
        "held_low",
        "highest_sample",
        "inherited",
        "parent",
        "peak",
        "peak_in_group",
        "peak_source",
        "peak_time",
        "peaks_elsewhere",
        "pid",
        "ppid",
        "program",
        "programs",
        "rss",
        "sampled",
        "serial",
        "shared",
        "shared_gained",
        "shared_most",
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
        self.shared = 0
        """The bytes of `rss` that belong to files or to shared memory."""
        self.shared_most = 0
        """The most of those in a sample of its program."""
        self.shared_gained = 0
        """The sum of all increases of those in its life."""
        self.highest_sample = 0
        """The highest sample of `rss` of its program."""
        self.anon = 0
        """The anonymous bytes of `rss`; on macOS the physical footprint."""
        self.anon_before = 0
        """The same before its last change, which was seen at `anon_time`."""
        self.anon_time = 0
        self.held_low = -1
        """The most that it certainly held at one tick of what the kernel cannot drop, under any
        program that it executed itself; -1: not known."""
        self.held_best = -1
        """The same with what was read of its parts before that tick."""
        self.beside = 0
        """The most bytes that it was seen to have in swap and huge pages."""
        self.faulted: int | None = None
        """Bytes that page faults have given it; None where that was not read."""
        self.faulted_time = 0
        self.sampled = False
        self.usage = NO_USAGE
        self.group = group
        self.peak_in_group: tuple[int, int] | None = None
        """The highest peak of the earlier programs that it ran in its group, and its time."""
        self.peaks_elsewhere: dict[RunningGroup, tuple[int, int]] = NOWHERE
        """The same for each group that it was in before."""
        self.counted = False
        """Whether its memory counts in its group; see LiveGroups."""
        self.counted_at = 0
        """How many ticks there had been when it began to count."""
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
        """Notes that it runs another program from now on."""
        self.program = program
        self.since = time
        self.inherited = inherited
        self.peak = 0
        self.peak_time = 0
        self.peak_source = UNKNOWN
        self.footprint = NO_FOOTPRINT
        self.final_watermark = None
        self.highest_sample = 0

    def note_watermark(self, watermark: int, time: int, roughness: int | None) -> None:
        """Notes the high-water mark of its program.

        `roughness` is None for a high-water mark that was read while the program ran. At the end
        of the program it is by how much, at most, the high-water mark may be too low.
        """
        final = roughness is not None
        if watermark >= self.peak:
            self.peak_source = WATERMARK
        # A sample that exceeds it by more was taken after the next program had begun.
        if watermark > self.peak or (roughness is not None and self.peak > watermark + roughness):
            self.peak = watermark
            self.peak_time = time
        if final:
            self.final_watermark = watermark
            self.peak_source = EXACT

    def note_footprint(self, now: int, watermark: int, *, final: bool) -> None:
        """Notes the footprint of its program and the high-water mark of it, both 0 where they were
        not read. `final`: the program has ended."""
        size, source = self.footprint
        if now > size:
            size, source = now, SAMPLED
        # A high-water mark below that is of a later program, whose exec was not observed.
        if watermark and watermark >= size:
            size, source = watermark, EXACT if final else WATERMARK
        self.footprint = Footprint(size, source)

    def program_at(self, time: int) -> ProgramText | None:
        """Returns the program that it ran at a time, from what is known by now."""
        if time >= self.since or not self.programs:
            return self.program
        known = (program.text for program in reversed(self.programs) if program.since <= time)
        return next(known, self.programs[0].text)

    def end_program(self) -> Peak:
        """Puts its program on record, and returns the peak of that."""
        peak = NO_PEAK
        if self.peak_source != UNKNOWN:
            peak = Peak(self.peak, self.peak_time, self.peak_source)
        text = self.program or UNREADABLE
        self.programs.append(Program(text, self.since, self.inherited, peak, self.footprint))
        return peak

    def end(
        self,
        last_seen: int,
        exit_status: int | None,
        *,
        alive: bool,
        end_known: bool,
        held: Held | None = None,
    ) -> Process:
        """Returns the process as it stays on record, after end_program()."""
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
            held,
        )
