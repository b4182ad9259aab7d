"""Reads the account of a control group: samples while the job runs, totals at its end.

The files are described in admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel's
documentation. A file is opened once and read again from its start: that costs 2 to 7 us.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from memwatch.model.cgroup_account import CgroupSample
from memwatch.runner.kernel_files import parse_entry, parse_number, read_text

# Parsing: text in, values out ---------------------------------------------------------------------

_STAT = re.compile(
    r"^(anon|file|shmem|kernel|hugetlb|swapcached|total_(?:rss|cache|shmem|swap)) (\d{1,20})$", re.M
)

# The names of the first three sizes by the version of control groups.
_NAMES = {1: ("total_rss", "total_shmem", "total_cache"), 2: ("anon", "shmem", "file")}


class Stat(NamedTuple):
    """The sizes in memory.stat, in bytes; None where the kernel does not have them."""

    anon: int
    shmem: int
    cache: int
    """Page cache with shmem."""
    kernel: int | None
    swap: int | None
    huge: int | None
    swap_cached: int | None
    """Pages in memory that still have their place in swap."""


def parse_stat(text: str, version: int) -> Stat | None:
    """Parses memory.stat. Returns None when it lacks what every kernel since 4.11 has."""
    found = {name: int(value) for name, value in _STAT.findall(text)}
    anon, shmem, cache = _NAMES[version]
    if not found.keys() >= {anon, shmem, cache}:
        return None
    return Stat(
        found[anon],
        found[shmem],
        found[cache],
        found.get("kernel"),
        found.get("total_swap"),
        found.get("hugetlb"),
        found.get("swapcached"),
    )


def not_in_memory(swap: int | None, cached: int | None) -> int | None:
    """Returns the part of swap whose pages are not in memory as well. Version 2 charges such a page
    twice; version 1 charges it to swap only when it leaves memory. Before Linux 5.12 nothing tells
    how many there are."""
    if not swap or cached is None:
        return swap if swap == 0 else None
    return max(0, swap - cached)


def parse_pressure(text: str) -> tuple[int | None, int | None]:
    """Parses memory.pressure: returns the total times of "some" and "full" in nanoseconds."""

    def total(kind: str) -> int | None:
        microseconds = parse_number(parse_entry(text, kind).rpartition("total=")[2])
        return None if microseconds is None else microseconds * 1000

    return total("some"), total("full")


# Reading ------------------------------------------------------------------------------------------


class KeptFile:
    """A file of the kernel that is opened once; one that does not exist reads as empty."""

    def __init__(self, path: str, flags: int = os.O_RDONLY) -> None:
        try:
            self._fd = os.open(path, flags | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read(self) -> str:
        """Returns the content now; empty when it cannot be read."""
        if self._fd < 0:
            return ""
        try:
            return os.pread(self._fd, 1 << 16, 0).decode("ascii", "replace")
        except OSError:
            return ""

    def number(self) -> int | None:
        """Returns the content if it is a number."""
        return parse_number(self.read())

    def write(self, text: str) -> bool:
        """Returns whether that was possible."""
        try:
            return self._fd >= 0 and os.pwrite(self._fd, text.encode(), 0) > 0
        except OSError:
            return False

    def close(self) -> None:
        """Closes the file, once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SpanPeak:
    """The peak of all memory since the last read: memory.peak of Linux 6.12 and newer, which has a
    peak for each descriptor that is written to."""

    def __init__(self, folder: str) -> None:
        # Before 6.12 it cannot be opened for writing.
        self._file = KeptFile(f"{folder}/memory.peak", os.O_RDWR)
        self._works = self._file.write("reset")

    def take(self) -> int | None:
        """Returns the peak, and begins a new span; None where that is not possible."""
        if not self._works:
            return None
        peak = self._file.number()
        self._works = self._file.write("reset")
        return peak

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Totals(NamedTuple):
    """What the account has over the whole life of the group, as in CgroupAccount."""

    peak: int | None
    peak_with_swap: int | None
    swap_peak: int | None
    stall_some: int | None
    stall_full: int | None
    oom_kills: int | None


class CgroupReader:
    """Reads one group."""

    def __init__(self, folder: str, version: int, *, has_swap: bool = True) -> None:
        """`has_swap`: whether the machine has swap at all."""
        self._folder = folder
        self._version = version
        self._no_swap = None if has_swap else 0
        is_v2 = version == 2
        self._stat = KeptFile(f"{folder}/memory.stat")
        self._peak = KeptFile(f"{folder}/{'memory.peak' if is_v2 else 'memory.max_usage_in_bytes'}")
        self._swap = KeptFile(f"{folder}/memory.swap.current")
        self._kernel = KeptFile(f"{folder}/memory.kmem.usage_in_bytes")
        self._huge = [KeptFile(f"{folder}/{name}") for name in _huge_pages(folder)]
        self._span = SpanPeak(folder) if is_v2 else None

    def sample(self, time: int) -> CgroupSample | None:
        """Returns what the group holds; None when it cannot be read."""
        stat = parse_stat(self._stat.read(), self._version)
        if not stat:
            return None
        if self._version == 2:
            swap = not_in_memory(self._swap.number(), stat.swap_cached)
        else:
            swap = stat.swap
        return CgroupSample(
            time=time,
            anon=stat.anon,
            shmem=stat.shmem,
            swap=self._no_swap if swap is None else swap,
            file=max(0, stat.cache - stat.shmem),
            kernel=stat.kernel if self._version == 2 else self._kernel.number(),
            huge=self._huge_size() if stat.huge is None else stat.huge,
        )

    def _huge_size(self) -> int | None:
        sizes = [file.number() for file in self._huge]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None

    def peak(self) -> int | None:
        """Returns the highest use of all memory so far."""
        return self._peak.number()

    def take_span_peak(self) -> int | None:
        """Returns the highest use since the last call; None where the kernel does not count it."""
        return self._span.take() if self._span else None

    def totals(self) -> Totals:
        """Returns what was counted over the whole life of the group."""
        if self._version == 1:
            kills = parse_entry(self._text("memory.oom_control"), "oom_kill")
            with_swap = parse_number(self._text("memory.memsw.max_usage_in_bytes"))
            return Totals(self.peak(), with_swap, self._no_swap, None, None, parse_number(kills))
        swap = parse_number(self._text("memory.swap.peak"))
        return Totals(
            self.peak(),
            None,
            self._no_swap if swap is None else swap,
            *parse_pressure(self._text("memory.pressure")),
            parse_number(parse_entry(self._text("memory.events"), "oom_kill")),
        )

    def _text(self, name: str) -> str:
        return read_text(f"{self._folder}/{name}")

    def close(self) -> None:
        """Closes the files."""
        for file in (self._stat, self._peak, self._swap, self._kernel, *self._huge):
            file.close()
        if self._span:
            self._span.close()


def _huge_pages(folder: str) -> list[str]:
    """Returns the files with the use of huge pages, one for each of their sizes."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [name for name in names if re.fullmatch(r"hugetlb\.[^.]+\.current", name)]


def machine_has_swap(proc_root: str = "/proc") -> bool:
    """Returns whether the machine has swap; true when that is unknown."""
    return parse_entry(read_text(f"{proc_root}/meminfo"), "SwapTotal:").split()[:1] != ["0"]
