"""A compact table of the processes that have ended.

A big build has half a million processes, so each is kept as a row of bytes, and
most rows are not in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import overload

from memwatch.model.observations import ProgramText
from memwatch.model.processes import (
    FOUND_BY,
    HELD_SOURCES,
    NO_FOOTPRINT,
    PEAK_SOURCES,
    Footprint,
    Held,
    Peak,
    Process,
    Program,
    Usage,
)
from memwatch.model.spill import Bytes, Numbers


class ProcessTable(Sequence[Process]):
    """Ended processes in the order in which they were added. A row is decoded each time that it is
    read."""

    # serial, pid, ppid, parent, start, first_seen, last_seen, exit_status, alive, number of
    # programs, found_by, end_known, sampled, usage, and how it is known what it held: 0 where it is
    # not, otherwise the number of the source plus 1.
    _ROW = struct.Struct("=qiiqqqqiBiBBBqqqqqB")
    # For each program: the lengths of its name, exe, cwd and argv, argv_cut, since, inherited,
    # peak, peak_time, and how these are known: the number of the peak's source plus 16 times the
    # number of the footprint's. The four texts follow, and the footprint where there is one.
    _PROGRAM = struct.Struct("=iiiiBqBqqB")
    _FOOTPRINT = struct.Struct("=q")
    # What it held is last: best, low, high.
    _HELD = struct.Struct("=qqq")
    _NONE = -1

    def __init__(self) -> None:
        self._rows = Bytes()
        self._ends = Numbers()
        """Where each row ends in those bytes."""

    def add(self, process: Process) -> None:
        """Appends a row."""
        held = process.held_by_sample
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
                HELD_SOURCES.index(held.source) + 1 if held else 0,
            )
            + b"".join(map(self._pack_program, process.programs))
            + (self._HELD.pack(held.best, held.low, self._or_none(held.high)) if held else b"")
        )
        self._ends.append(len(self._rows))

    def _pack_program(self, program: Program) -> bytes:
        text = program.text
        name = _encode(text.name)
        exe = None if text.exe is None else _encode(text.exe)
        cwd = None if text.cwd is None else _encode(text.cwd)
        argv = None if text.argv is None else _encode("\0".join(text.argv))
        peak, footprint = program.peak, program.footprint
        peak_source = PEAK_SOURCES.index(peak.source)
        footprint_source = PEAK_SOURCES.index(footprint.source)
        return b"".join(
            (
                self._PROGRAM.pack(
                    len(name),
                    self._NONE if exe is None else len(exe),
                    self._NONE if cwd is None else len(cwd),
                    self._NONE if argv is None else len(argv),
                    text.argv_cut,
                    program.since,
                    program.inherited,
                    peak.rss,
                    peak.time,
                    peak_source | footprint_source << 4,
                ),
                name,
                exe or b"",
                cwd or b"",
                argv or b"",
                self._FOOTPRINT.pack(footprint.size) if footprint.known else b"",
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
        found_by, end_known, sampled, *usage, source = rest
        none = self._NONE
        held = None
        if source:
            best, low, high = self._HELD.unpack_from(row, len(row) - self._HELD.size)
            held = Held(best, low, None if high == none else high, HELD_SOURCES[source - 1])
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
            held,
        )

    def _programs(self, row: bytes, count: int) -> Iterator[Program]:
        at = self._ROW.size
        for _ in range(count):
            *lengths, cut, since, inherited, peak, peak_time, sources = self._PROGRAM.unpack_from(
                row, at
            )
            at += self._PROGRAM.size
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
            if footprint_source := sources >> 4:
                size = self._FOOTPRINT.unpack_from(row, at)[0]
                footprint = Footprint(size, PEAK_SOURCES[footprint_source])
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
