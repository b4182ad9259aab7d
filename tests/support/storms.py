"""Storms of processes (tests/programs/storm.c), and the truth as the processes recorded it."""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """What a process of tests/programs/storm.c records about one of its programs and its end."""

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
    """A storm before, during or after its run in a folder: the records of its processes."""

    LAYOUT = struct.Struct("=2I4i2Q3q64s")
    HEADER = 4096
    REAPED = -1
    GOES_ON = -1

    def __init__(self, program: Path, room: Path) -> None:
        self.program = program
        self.file = room / "storm-records"
        self.env = {"STORM_RECORDS": str(self.file)}

    def used(self) -> int:
        """Returns how many records were begun."""
        return struct.unpack_from("=I", self._read(0, 8))[0]  # type: ignore[no-any-return]

    def root(self) -> int:
        """Returns the pid of its first process, which has the first record."""
        return struct.unpack_from("=i", self._read(self.HEADER + 8, 4))[0]  # type: ignore[no-any-return]

    def held(self) -> bool:
        return self._read(4, 1) == b"\1"

    def made(self) -> int:
        """Returns how many processes a flood has started so far."""
        return struct.unpack_from("=I", self._read(8, 4))[0]  # type: ignore[no-any-return]

    def is_over(self) -> bool:
        """Returns whether its first process only has to exit."""
        return self._read(self.HEADER, 1) == b"\1"

    def _read(self, offset: int, size: int) -> bytes:
        try:
            with self.file.open("rb") as file:
                return os.pread(file.fileno(), size, offset).ljust(size, b"\0")
        except FileNotFoundError:
            return bytes(size)

    def records(self) -> list[Record]:
        """Returns all complete records."""
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
        # Other jobs may start so many processes meanwhile that a pid is reused: run it again then.
        self.reused = False
        for each in records:
            if each.program == Storm.REAPED:
                self.statuses[each.pid] = each.status
            else:
                self.reused |= each.program in self.programs[each.pid]
                self.programs[each.pid][each.program] = each
        self.crowds = {pid for pid in self.programs if self.last(pid).words.startswith(b"crowd\0")}
        """The processes with several threads; any of these may have ended the process."""
        self.root = records[0].pid
        self.root_argv = self.argv(records[0])
        for pid, status in self.statuses.items():
            own = self.last(pid).status
            assert self.reused or own == status, f"pid {pid} has {own}, its parent got {status}"

    @property
    def pids(self) -> set[int]:
        return set(self.programs)

    @property
    def announced(self) -> set[int]:
        """The processes that ended with exit_group."""
        return {pid for pid in self.programs if self.last(pid).announced}

    def last(self, pid: int) -> Record:
        programs = self.programs[pid]
        return programs[max(programs)]

    @staticmethod
    def argv(program: Record) -> list[str]:
        """Returns the arguments of a program, without its path."""
        return program.words.rstrip(b"\0").decode().split()[1:]

    def ppid(self, pid: int) -> int:
        programs = self.programs[pid]
        return programs[min(programs)].ppid

    def peak(self, pid: int) -> int:
        """Returns its peak in KiB: the highest of the programs that it executed, if any."""
        programs = self.programs[pid]
        return max(each.peak for program, each in programs.items() if program or len(programs) == 1)
