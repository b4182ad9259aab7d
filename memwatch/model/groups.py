"""Which group a process belongs to while it runs a program, and what a group adds up to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from memwatch.model.footprint_bounds import FootprintBounds
from memwatch.model.observations import ProgramText

GroupKey: TypeAlias = Callable[[ProgramText, int | None], str]
"""Returns the name of a process's group, from its program and the serial number of its parent."""

COMMAND = "command"
PARENT = "ppid"
SOURCE_FILE = "source"

NO_PARENT = "(no parent in the job)"
NOT_A_COMPILER = "(not a compiler)"
UNKNOWN_SOURCE_FILE = "(unknown source)"
NO_MATCH = "(no match)"
EMPTY = "(empty)"

_UNREADABLE = {
    "exe": "(executable unknown)",
    "cwd": "(directory unknown)",
    "regex": "(command line unknown)",
}

KEYLESS_GROUPS = frozenset(
    (NO_PARENT, NOT_A_COMPILER, UNKNOWN_SOURCE_FILE, NO_MATCH, *_UNREADABLE.values())
)
"""Names of the groups of processes for which the key gives nothing."""


def by_command(program: ProgramText, _parent: int | None) -> str:
    """Returns the program's name."""
    return program.name


def by_exe(program: ProgramText, _parent: int | None) -> str:
    """Returns the path of the program's executable."""
    return program.exe or _UNREADABLE["exe"]


def by_cwd(program: ProgramText, _parent: int | None) -> str:
    """Returns the program's working directory when it was read."""
    return program.cwd or _UNREADABLE["cwd"]


def by_parent(_program: ProgramText, parent: int | None) -> str:
    """Returns the serial number of the parent; parent_name() makes a readable name."""
    return NO_PARENT if parent is None else str(parent)


def parent_name(program: str, pid: int) -> str:
    """Returns the name of the group of a process's children."""
    return f"{program} (pid {pid})"


class ByRegex:
    """Groups by what a pattern matches in the command line: its first group, or the whole match."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def __call__(self, program: ProgramText, _parent: int | None) -> str:
        if program.argv is None:
            return _UNREADABLE["regex"]
        match = self._pattern.search(" ".join(program.argv))
        if not match:
            return NO_MATCH
        first = match[1] if self._pattern.groups else None
        return (match[0] if first is None else first) or EMPTY


class BySourceFile:
    """Groups by the source file that a compiler compiles."""

    def __init__(self) -> None:
        self.base: str | None = None
        """The directory in which the job was started; paths below it become relative to it."""

    def __call__(self, program: ProgramText, _parent: int | None) -> str:
        from memwatch.model.compilers import unit_of

        unit = unit_of(program)
        if unit is None:
            return NOT_A_COMPILER
        if unit.path is None:
            return unit.name or UNKNOWN_SOURCE_FILE
        path = "(standard input)" if unit.path == "-" else self._path(unit.path, program.cwd)
        return f"{path} ({unit.name})" if unit.name else path

    def _path(self, path: str, cwd: str | None) -> str:
        if cwd:
            path = posixpath.join(cwd, path)
        path = posixpath.normpath(path)
        base = self.base and self.base.rstrip("/") + "/"
        return path.removeprefix(base) if base else path


_KEYS: dict[str, GroupKey] = {
    COMMAND: by_command,
    "exe": by_exe,
    PARENT: by_parent,
    "cwd": by_cwd,
}
KINDS = (*_KEYS, SOURCE_FILE)

# A word without any of these characters is taken for a misspelt keyword.
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


class UnknownKeyError(ValueError):
    """The key is a word that is not one of KINDS."""


def group_key(by: str) -> GroupKey:
    """Returns the key that `--group-by` names: one of KINDS, or a regular expression.

    Call it once for each job, since a key may have state. Raises ValueError, with the reason, for
    anything else.
    """
    if by in _KEYS:
        return _KEYS[by]
    if by == SOURCE_FILE:
        return BySourceFile()
    if not _SPECIAL.search(by):
        raise UnknownKeyError(f"unknown key {by!r}: choose from {', '.join(KINDS)}, or a regex")
    try:
        return ByRegex(re.compile(by))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{by!r} is not a regular expression: {error}") from None


def described(by: str) -> str:
    """Returns the key in words: "by exe"."""
    return f"by {by}" if by in KINDS else f"by regex {by}"


class Group(NamedTuple):
    """The processes of one group. A process that ran the programs of two groups, one after the
    other, is in both."""

    name: str
    processes: int
    peak_rss: int
    """Highest sum over the group at one tick, in bytes; or the highest peak of a single process,
    where that is more."""
    peak_time: int
    sum_of_peaks: int
    """Sum of the peaks that the processes had in this group, which need not have come at one time:
    never less than `peak_rss`."""
    added_up: bool = True
    """False where there were no samples to add up: `peak_rss` is then the peak of a single process,
    and only a lower bound."""
    footprint: FootprintBounds | None = None
    """The highest footprint of the group; None where no tick could split its memory."""

    @property
    def known(self) -> bool:
        """Whether some memory of the group was seen; if not, its sizes are 0 and mean nothing."""
        return self.sum_of_peaks > 0

    @property
    def peak_known(self) -> bool:
        """Whether `peak_rss` is the highest of the samples."""
        return self.known and self.added_up


NO_LARGEST = (0, 0)


class RunningGroup:
    """A group while the job runs. `Job` and `LiveGroups` update its fields directly."""

    __slots__ = ("anon", "largest", "name", "peak", "peak_time", "processes", "rss", "sum_of_peaks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rss = 0
        self.anon = 0
        """The sum of what LiveProcess.anon has, in bytes."""
        self.peak = 0
        self.peak_time = 0
        self.processes = 0
        self.sum_of_peaks = 0
        self.largest = NO_LARGEST

    def add(self, peak: int, time: int) -> None:
        """Adds a process that has ended, or has executed a program of another group."""
        self.processes += 1
        self.sum_of_peaks += peak
        self.largest = max(self.largest, (peak, -time))

    def end(self) -> Group:
        """Returns the group as it stays on record."""
        # Some kernels round the size and its high-water mark differently, by a few pages.
        sum_of_peaks = max(self.sum_of_peaks, self.peak)
        peak, time = self.peak, self.peak_time
        if self.largest[0] > peak:
            peak, time = self.largest[0], -self.largest[1]
        return Group(self.name, self.processes, peak, time, sum_of_peaks)
