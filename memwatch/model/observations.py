"""Observations: the one record type for everything that is learned about a job.

An observation is a plain tuple `(time, process, value, second, kind, valid,
pid, ppid, third)`, the fields of `mw_observation` in csrc/api.h, whose table says what
each field means for each kind and which bits of `valid` come with it. The kinds
and bits below have the names they have there and in recordings: an IMAGE is a
program. Times are nanoseconds since boot, sizes are bytes. Observations come in
batches because at 1,000 ticks a second one call each would cost more than
everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

Observation: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]

STARTED = 1
IMAGE = 2
MEMORY = 3
EXITED = 4
TICK = 5
CPU = 6
IO = 7
PSS = 8
FOOTPRINT = 9
FAULTS = 10
PARTS = 11
TMPFS = 12
AVAILABLE = 13

HAS_PARENT = 1
HAS_START = 2
HAS_RSS = 4
HAS_WATERMARK = 8
HAS_STATUS = 16
HAS_EXE = 32
HAS_ARGV = 64
ARGV_CUT = 128
INHERITED = 256
TICK_LATE = 512
TICK_EXTRA = 1024
TICK_PARTIAL = 2048
SAME_IMAGE = 4096
FINAL = 8192
BY_EVENT = 16384
BY_RECORD = 32768
BY_HOOK = 65536
HAS_CPU = 131072
HAS_IO = 262144
HAS_CWD = 524288
HAS_FOOTPRINT = 1048576
HAS_SHARED = 2097152
TICK_DETAILED = 4194304
HAS_FAULTS = 8388608
LOWER = 16777216
IN_GROUP = 33554432


class Batch(NamedTuple):
    """Observations in the order they were made, and the text their programs point into."""

    records: Sequence[Observation]
    text: bytes


Observer: TypeAlias = Callable[[Batch], None]
"""Receives every batch, in order."""


class ProgramText(NamedTuple):
    """The program that a process runs, as the system reports it."""

    name: str
    """The kernel's name for it, completed where the kernel cut it (15 bytes on Linux)."""
    exe: str | None
    """Path of the executable; None when it may not be read."""
    argv: tuple[str, ...] | None
    """The command line; None when there was none to read (a zombie)."""
    argv_cut: bool
    """Whether the command line is longer: only its beginning was read."""
    cwd: str | None = None
    """The working directory when the program was read: the process may have changed it since.
    None when it may not be read."""


# Length at which Linux cuts a process's name (TASK_COMM_LEN, less the NUL).
_KERNEL_NAME = 15


# A forked process comes with the text of its parent: all such processes share one decoded text.
@lru_cache(maxsize=64)
def decode_program(text: bytes, valid: int) -> ProgramText:
    """Decodes the text of an IMAGE observation. Bytes that are not UTF-8 become backslash
    escapes."""
    name_bytes, exe_bytes, argv_bytes = text.split(b"\0", 2)
    name = _decode(name_bytes)
    exe = _decode(exe_bytes) if valid & HAS_EXE else None
    cwd = None
    if valid & HAS_CWD:
        cwd_bytes, argv_bytes = argv_bytes.split(b"\0", 1)
        cwd = _decode(cwd_bytes)
    argv = None
    if valid & HAS_ARGV:
        # Titles set by programs (setproctitle) end in any number of NULs, or none.
        argv = tuple(_decode(argv_bytes.rstrip(b"\0")).split("\0"))
    if len(name_bytes) == _KERNEL_NAME:
        # Compared as bytes, because the kernel may have cut the name within a character.
        # A script's name is that of one of its first arguments: /usr/bin/env bash SCRIPT.
        for path in (*argv_bytes.split(b"\0", 3)[:3], exe_bytes):
            base = path.rsplit(b"/", 1)[-1]
            if base.startswith(name_bytes):
                name = _decode(base)
                break
    return ProgramText(name, exe, argv, bool(valid & ARGV_CUT), cwd)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
