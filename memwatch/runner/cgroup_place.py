"""Decides where a control group for a job may be made, without changing anything.

The rules are those of admin-guide/cgroup-v2.rst. A group of version 2 that has processes cannot
pass controllers on to groups below it, except the root of all groups. So there are three cases:

- the group of this process passes the memory controller on already: the new group is made in it;
- only memwatch is in its group, as under `systemd-run --scope`: memwatch steps aside into a group
  below it for the time of the run, and the job's group is made next to that;
- other processes are in the group, such as a login shell: they are never moved. The new group is
  made beside it, if the group sets no limit that the job would escape.

In version 1 the new group is made in the group of this process.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from memwatch.model.sources import Refusal
from memwatch.runner import cgroup
from memwatch.runner.cgroup import MemoryCgroup
from memwatch.runner.kernel_files import parse_entry, read_text

CONTROLLER = "memory"

SYSTEMD = "/run/systemd/system"
"""A folder that exists while systemd manages the groups: sd_booted(3)."""


class Place(NamedTuple):
    """Where the group of a job is to be made."""

    version: int
    parent: str
    """The folder in which it is made."""
    home: str
    """The folder of the group that memwatch is in."""
    limit: int | None
    """Bytes that the groups above allow: a program that looks only at its own group must see it."""
    steps_aside: bool = False
    """Whether memwatch must leave `home` for the time of the run."""


def find_place(proc_root: str = "/proc") -> Place | Refusal:
    """Returns where this process may make a group, or why it may not."""
    group = cgroup.find(proc_root)
    if not group or not group.own_is_visible:
        return Refusal("no control group with a memory controller is visible here", None)
    limit = group.limit()
    allowed = limit.bytes if limit else None
    return _in_v1(group, allowed) if group.version == 1 else _in_v2(group, allowed, proc_root)


def _in_v1(group: MemoryCgroup, limit: int | None) -> Place | Refusal:
    home = group.folders[0]
    if read_text(f"{home}/memory.use_hierarchy").strip() == "0":
        return Refusal(f"groups in {home} do not obey its limit (memory.use_hierarchy is 0)", None)
    return _not_permitted(home) or Place(1, home, home, limit)


def _in_v2(group: MemoryCgroup, limit: int | None, proc_root: str) -> Place | Refusal:
    home = group.folders[0]
    if CONTROLLER in _words(f"{home}/cgroup.subtree_control"):
        return _not_permitted(home) or Place(2, home, home, limit)
    if CONTROLLER not in _words(f"{home}/cgroup.controllers"):
        return Refusal(f"{home} has no memory controller", _own_scope())
    refusal = _not_permitted(home)
    if not refusal and _has_only_ours(home, proc_root):
        return Place(2, home, home, limit, steps_aside=True)
    # Its own folder is visible and not the root, so the next is the one that contains it.
    above = group.folders[1] if len(group.folders) > 1 else None
    if above and not _not_permitted(above):
        if setting := _setting(home):
            return Refusal(
                f"other processes are in {home}, and the job would escape its {setting} in a group "
                "beside it",
                _own_scope(),
            )
        return Place(2, above, home, limit)
    return refusal or Refusal(
        f"other processes are in {home}, so it cannot have groups with a memory controller",
        _own_scope(),
    )


def _not_permitted(folder: str) -> Refusal | None:
    """Returns why no group can be made in a folder and given processes of that folder."""
    # Whoever moves a process needs to write to the group that contains both its groups.
    if all(
        os.access(path, os.W_OK, effective_ids=True) for path in (folder, f"{folder}/cgroup.procs")
    ):
        return None
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return Refusal(f"{folder} is mounted read-only", "mount it writable, or run on the host")
    return Refusal(f"uid {os.geteuid()} may not make a control group in {folder}", _own_scope())


def _own_scope() -> str | None:
    """Returns the advice to run memwatch in a group of its own."""
    user = "--user " if os.geteuid() else ""
    if os.path.isdir(SYSTEMD):
        return f"use systemd-run {user}--scope -p Delegate=yes memwatch run --cgroup ..."
    return "run as root" if user else None


def _has_only_ours(folder: str, proc_root: str) -> bool:
    """Returns whether a group has no processes except this one and its children."""
    own = os.getpid()
    pids = processes(folder)
    # The kernel shows 0 for a process outside of this pid namespace.
    return bool(pids) and all(pid == own or _parent(pid, proc_root) == own for pid in pids)


def processes(folder: str) -> list[int]:
    """Returns the pids of the processes in a group."""
    return [int(word) for word in read_text(f"{folder}/cgroup.procs").split() if word.isdecimal()]


def _parent(pid: int, proc_root: str) -> int | None:
    text = parse_entry(read_text(f"{proc_root}/{pid}/status"), "PPid:")
    return int(text) if text.isdecimal() else None


# What limits a group, and its value where it does not.
_LIMITS = {
    "memory.max": "max",
    "memory.high": "max",
    "memory.swap.max": "max",
    "pids.max": "max",
    "cpu.max": "max",
    "io.max": "",
    "cpuset.cpus": "",
    "cpuset.mems": "",
}


def _setting(folder: str) -> str | None:
    """Returns the name of a limit that a group sets; None when it sets none."""
    for name, free in _LIMITS.items():
        value = _words(f"{folder}/{name}")
        # cpu.max has the length of its period after the limit.
        if value and value[0] != free:
            return name
    return None


def _words(path: str) -> list[str]:
    return read_text(path).split()
