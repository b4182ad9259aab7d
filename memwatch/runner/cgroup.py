"""Reads the memory limit of the control group (cgroup) in effect, and counts of OOM kills.

A job is in the control group of the memwatch that starts it. Its limit is the tightest of that
group and all groups above it. The files are described in cgroups(7), and in
admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel's documentation.

Two things cannot be known from inside. In a container with a cgroup namespace of its own, version 2
hides the limits of the groups above the container's. And version 1 counts the OOM kills of each
group separately: if the job made a group below its own (docker, systemd-run), an OOM kill in that
group is only in the machine's count. Version 2 also counts it in every group above.

Nothing here raises for the content of a file; what cannot be read or understood is None.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from memwatch.model.memory_limit import CGROUP_V1, CGROUP_V2, MACHINE, MemoryLimit
from memwatch.runner.kernel_files import parse_entry, parse_number, read_text
from memwatch.runner.native import GroupLimits


class CgroupPaths(NamedTuple):
    """The groups that a process is in, as paths in their hierarchies; None where it is in none."""

    memory_v1: str | None
    """Path in the hierarchy of the version 1 memory controller."""
    v2: str | None
    """Path in the hierarchy of version 2."""


class Mount(NamedTuple):
    """A mount of a hierarchy that may have the memory controller: any mount of version 2, and the
    mounts of version 1 that have it."""

    version: int
    root: str
    """The group that is seen at the mount point: "/" unless others are hidden."""
    point: str


class CgroupLimit(NamedTuple):
    """A memory limit that a control group sets."""

    bytes: int
    folder: str | None
    """Folder of the group that sets it; None when it cannot be seen from here."""
    usage: int | None
    """Bytes that this group holds now; where it cannot be seen, those of the process's group."""


# Parsing: text in, values out ---------------------------------------------------------------------


def parse_cgroup_paths(text: str) -> CgroupPaths:
    """Parses /proc/PID/cgroup: a line `ID:CONTROLLERS:PATH` for each hierarchy; version 2 has ID
    0."""
    memory_v1 = v2 = None
    # A path may hold a form feed and other characters at which splitlines() splits.
    for line in text.split("\n"):
        number, colon, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if not colon or not second or not path.startswith("/"):
            continue
        if number == "0" and not controllers:
            v2 = path
        elif "memory" in controllers.split(","):
            memory_v1 = path
    return CgroupPaths(memory_v1, v2)


_ESCAPE = re.compile(r"\\([0-7]{3})")


def unescape(text: str) -> str:
    """Decodes a path in mountinfo, which has blank, tab, newline and backslash as octal \\NNN."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def parse_mounts(text: str) -> list[Mount]:
    """Parses /proc/PID/mountinfo, see proc(5): returns the mounts that may show memory groups."""
    found = []
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        if not dash or not after.startswith("cgroup"):
            continue
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        root, point = unescape(fields[3]), unescape(fields[4])
        if not root.startswith("/") or not point.startswith("/"):
            continue
        if rest[0] == "cgroup2":
            found.append(Mount(2, root, point))
        elif rest[0] == "cgroup" and "memory" in rest[-1].split(","):
            found.append(Mount(1, root, point))
    return found


def folders_of(mount: Mount, path: str) -> tuple[list[str], bool] | None:
    """Returns the folders of group `path` and of the groups above it that the mount shows.

    The innermost comes first. The flag is true when that is the folder of the group itself; it is
    false when the path from the root of the mount down to the group is unknown. Returns None when
    the mount shows nothing of the group.
    """
    root_parts, parts = _parts(mount.root), _parts(path)
    below = parts[len(root_parts) :]
    own = parts[: len(root_parts)] == root_parts and ".." not in below
    if not own:
        # A cgroup namespace was made after the mount. Relative to the namespace the mount's root is
        # "/../..", above the group's own "/"; the names in between are unknown.
        climbs = parts.count("..")
        if set(root_parts) != {".."} or climbs >= len(root_parts):
            return None
        below = []
    folders = ["/".join([mount.point.rstrip("/"), *below[:n]]) for n in range(len(below), -1, -1)]
    return folders, own


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


# In version 1 "no limit" is the largest whole number of pages whose bytes fit into a signed long,
# for any size of a page; on 32 bit, with pages of 4 KiB.
_UNLIMITED = 1 << 62
_UNLIMITED_32 = (2**31 - 1) * 4096


def parse_limit(text: str) -> int | None:
    """Parses memory.max, memory.high or memory.limit_in_bytes. Returns None for "no limit", and for
    anything that is not a number."""
    value = parse_number(text)
    return None if value is None or value >= _UNLIMITED or value == _UNLIMITED_32 else value


def parse_meminfo(text: str) -> tuple[int | None, int | None]:
    """Parses /proc/meminfo: returns MemTotal and MemAvailable in bytes."""

    def size(key: str) -> int | None:
        number, _, unit = parse_entry(text, key).partition(" ")
        value = parse_number(number)
        return None if value is None or unit != "kB" else value * 1024

    return size("MemTotal:"), size("MemAvailable:")


# Reading ------------------------------------------------------------------------------------------


class MemoryCgroup(NamedTuple):
    """The control group in which a process's memory is counted."""

    version: int
    path: str
    """Its path in its hierarchy, as the kernel gives it."""
    folders: tuple[str, ...]
    """Its own folder and the folders above it, up to the mount's root."""
    own_is_visible: bool
    """Whether the first of `folders` is the group's own, and not one above it."""

    def limit(self) -> CgroupLimit | None:
        """Returns the tightest limit on the way to the root; None when there is none."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        limits = [(parse_limit(read_text(f"{folder}/{name}")), folder) for folder in self.folders]
        value = _least(each for each, _ in limits)
        if self.version == 1 and self.own_is_visible:
            # The kernel's own figure also covers groups above the mount's root, and before Linux
            # 5.11 groups that were set not to obey the limits above them.
            effective = parse_entry(
                read_text(f"{self.folders[0]}/memory.stat"), "hierarchical_memory_limit"
            )
            if parse_number(effective) is not None:
                value = parse_limit(effective)
        if value is None:
            return None
        # If several groups set the same limit, the outermost counts: it holds the most.
        setters = [folder for each, folder in limits if each == value]
        folder = setters[-1] if setters else None
        return CgroupLimit(value, folder, self._usage(folder or self.folders[0]))

    def throttled_at(self) -> int | None:
        """Returns memory.high, in bytes: where the kernel begins to slow the job down to reclaim
        memory. None when there is no such limit."""
        if self.version == 1:
            return None
        return _least(parse_limit(read_text(f"{folder}/memory.high")) for folder in self.folders)

    def usage(self) -> int | None:
        """Returns the bytes that the group itself holds now, page cache included."""
        return self._usage(self.folders[0]) if self.own_is_visible else None

    def oom_kills(self) -> int | None:
        """Returns the number of processes of this group that the OOM killer has ended, for any
        limit."""
        if not self.own_is_visible:
            return None
        if self.version == 1:  # Linux >= 4.13
            text = read_text(f"{self.folders[0]}/memory.oom_control")
            return parse_number(parse_entry(text, "oom_kill"))
        for folder in self.folders:
            # If a group has no memory controller, the nearest group above that has one counts its
            # kills. The root keeps no count.
            if text := read_text(f"{folder}/memory.events"):
                return parse_number(parse_entry(text, "oom_kill"))
        return None

    def _usage(self, folder: str) -> int | None:
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return parse_number(read_text(f"{folder}/{name}"))


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def find(proc_root: str = "/proc") -> MemoryCgroup | None:
    """Returns the group of this process; None when it is in none, or no mount shows it."""
    paths = parse_cgroup_paths(read_text(f"{proc_root}/self/cgroup"))
    # A controller belongs to one hierarchy only.
    version = 2 if paths.memory_v1 is None else 1
    path = paths.v2 if version == 2 else paths.memory_v1
    if path is None:
        return None
    mounts = parse_mounts(read_text(f"{proc_root}/self/mountinfo"))
    # The mount that shows most comes first.
    for mount in sorted(mounts, key=lambda mount: len(_parts(mount.root))):
        if mount.version != version or not (shown := folders_of(mount, path)):
            continue
        folders, own = shown
        # Another mount may hide this one, or the group's own folder may not be visible.
        visible = [folder for folder in folders if os.path.exists(f"{folder}/cgroup.procs")]
        if visible:
            own = own and visible[0] == folders[0]
            return MemoryCgroup(version, path, tuple(visible), own)
    return None


def limits(proc_root: str = "/proc") -> GroupLimits | None:
    """Returns the limits of all groups that this process is in, as far as they can be seen; None
    when it is in none that can."""
    group = find(proc_root)
    if group is None:
        return None
    name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
    found = {folder: parse_limit(read_text(f"{folder}/{name}")) for folder in group.folders}
    tightest = group.limit()
    if tightest and tightest.folder is None:
        # A group that cannot be seen sets it; what the own group holds counts in that one.
        own = group.folders[0]
        found[own] = _least((found[own], tightest.bytes))
    known = ((folder, limit) for folder, limit in found.items() if limit is not None)
    return GroupLimits(group.version, tuple(known))


def machine_memory(proc_root: str = "/proc") -> tuple[int | None, int | None]:
    """Returns the machine's memory and how much of it is available, in bytes."""
    if not os.path.isdir(proc_root):  # as on macOS
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return parse_meminfo(read_text(f"{proc_root}/meminfo"))


def machine_oom_kills(proc_root: str = "/proc") -> int | None:
    """Returns the number of processes that the OOM killer has ended since boot (Linux >= 4.13), in
    any group."""
    return parse_number(parse_entry(read_text(f"{proc_root}/vmstat"), "oom_kill"))


class LimitWatch:
    """The limit on a job's memory, and its OOM kills. Create it just before the job starts."""

    def __init__(self, proc_root: str = "/proc") -> None:
        self._proc_root = proc_root
        self._group = find(proc_root)
        self._limit = self._group.limit() if self._group else None
        self._machine = machine_memory(proc_root)
        self._kills = self._read_kills()

    def end(self, job_kills: int | None = None) -> MemoryLimit:
        """Returns the limit, and the OOM kills since this was created. Call it after the job.
        `job_kills` is the count of the job's own group, where it had one."""
        kills, machine_kills = map(_rise, self._kills, self._read_kills())
        if job_kills is not None:
            kills = job_kills
        total, available = self._machine
        limit = self._limit
        if limit and self._group and (total is None or limit.bytes < total):
            source = CGROUP_V2 if self._group.version == 2 else CGROUP_V1
            return MemoryLimit(limit.bytes, source, limit.folder, limit.usage, kills, machine_kills)
        used = None if total is None or available is None else total - available
        setter = None if total is None else MACHINE
        return MemoryLimit(total, setter, None, used, kills, machine_kills)

    def _read_kills(self) -> tuple[int | None, int | None]:
        group = self._group
        return group.oom_kills() if group else None, machine_oom_kills(self._proc_root)


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None or after < before else after - before
