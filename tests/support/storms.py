"""Storms of processes (tests/programs/storm.c), and the truth about them as they wrote it down."""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """What a process of tests/programs/storm.c says of one of its programs, and of its end."""

    done: int
    announced: int
    pid: int
    ppid: int
    program: int
    status: int
    peak: int
    touched: int
    forked: int
    begun: int
    ended: int
    words: bytes


class Storm:
    """A storm that will run, runs or has run in a folder: what its processes wrote down."""

    LAYOUT = struct.Struct("=2I4i2Q3q64s")
    HEADER = 4096
    REAPED = -1
    GOES_ON = -1

    def __init__(self, program: Path, room: Path) -> None:
        self.program = program
        self.file = room / "storm-records"
        self.env = {"STORM_RECORDS": str(self.file)}

    def used(self) -> int:
        """How many records were begun."""
        return struct.unpack_from("=I", self._read(0, 8))[0]  # type: ignore[no-any-return]

    def root(self) -> int:
        """The pid of its first process, which has the first record."""
        return struct.unpack_from("=i", self._read(self.HEADER + 8, 4))[0]  # type: ignore[no-any-return]

    def held(self) -> bool:
        return self._read(4, 1) == b"\1"

    def made(self) -> int:
        """How many processes a flood had so far."""
        return struct.unpack_from("=I", self._read(8, 4))[0]  # type: ignore[no-any-return]

    def is_over(self) -> bool:
        """Its first process has nothing left to do but exit."""
        return self._read(self.HEADER, 1) == b"\1"

    def _read(self, offset: int, size: int) -> bytes:
        try:
            with self.file.open("rb") as file:
                return os.pread(file.fileno(), size, offset).ljust(size, b"\0")
        except FileNotFoundError:
            return bytes(size)

    def records(self) -> list[Record]:
        """All that are complete."""
        used = self.used()
        text = self.file.read_bytes()[self.HEADER : self.HEADER + used * self.LAYOUT.size]
        return [each for each in map(Record._make, self.LAYOUT.iter_unpack(text)) if each.done]

    def truth(self) -> Truth:
        return Truth(self.records())


class Truth:
    """The processes of a storm that is over: their programs, parents and wait statuses."""

    def __init__(self, records: list[Record]) -> None:
        self.programs: dict[int, dict[int, Record]] = defaultdict(dict)
        self.statuses = {}
        # Others may start so many processes meanwhile that a pid comes twice: run it again then.
        self.reused = False
        for each in records:
            if each.program == Storm.REAPED:
                self.statuses[each.pid] = each.status
            else:
                self.reused |= each.program in self.programs[each.pid]
                self.programs[each.pid][each.program] = each
        self.crowds = {pid for pid in self.programs if self.last(pid).words.startswith(b"crowd\0")}
        """Those with several threads, of which another than the first may have ended them."""
        self.root = records[0].pid
        self.root_argv = self.argv(records[0])
        for pid, status in self.statuses.items():
            said = self.last(pid).status
            assert self.reused or said == status, f"pid {pid} said {said}, its parent got {status}"

    @property
    def pids(self) -> set[int]:
        return set(self.programs)

    @property
    def announced(self) -> set[int]:
        """Those that ended by exit_group."""
        return {pid for pid in self.programs if self.last(pid).announced}

    def last(self, pid: int) -> Record:
        programs = self.programs[pid]
        return programs[max(programs)]

    @staticmethod
    def argv(program: Record) -> list[str]:
        """Without the first, which is the path."""
        return program.words.rstrip(b"\0").decode().split()[1:]

    def ppid(self, pid: int) -> int:
        programs = self.programs[pid]
        return programs[min(programs)].ppid

    def peak(self, pid: int) -> int:
        """KiB: the most under any program of its own; of a fork that executed none, all it had."""
        programs = self.programs[pid]
        return max(each.peak for program, each in programs.items() if program or len(programs) == 1)
