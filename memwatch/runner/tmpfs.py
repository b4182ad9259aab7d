"""Finds the file systems in memory (tmpfs) in which this user may store files.

What a job stores there takes memory, but belongs to no process unless it is
mapped. See tmpfs(5) and proc_pid_mountinfo(5).

A file system whose folder is open cannot be unmounted, and the job may want to.
So only those are opened that no job is likely to unmount: the usual ones, and
those of the current folder and of $TMPDIR.
"""

from __future__ import annotations

import os
from contextlib import suppress

from memwatch.runner.cgroup import unescape
from memwatch.runner.kernel_files import read_text
from memwatch.runner.native import TMPFS_MOST

USUAL = ("/dev/shm", "/tmp", "/var/tmp", "/run", "/run/lock", "/run/user/{uid}")


def parse_mount_points(text: str) -> list[str]:
    """Parses /proc/PID/mountinfo: returns where each tmpfs is mounted, /dev/shm first."""
    found = []
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 5 and after.split(" ")[0] == "tmpfs":
            found.append(unescape(fields[4]))
    return sorted(found, key=lambda point: point != "/dev/shm")


def open_all(proc_root: str = "/proc") -> list[int]:
    """Opens a descriptor for each tmpfs in which this user may store files and which no job is
    likely to unmount; the caller closes them."""
    fds: list[int] = []
    usual = {name.format(uid=os.geteuid()) for name in USUAL}
    in_use = _devices_in_use()
    devices = set()
    for point in parse_mount_points(read_text(f"{proc_root}/self/mountinfo")):
        with suppress(OSError):
            if len(fds) == TMPFS_MOST or not os.access(point, os.W_OK, effective_ids=True):
                continue
            device = os.stat(point).st_dev
            if device in devices or not (point in usual or device in in_use):
                continue
            fds.append(os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            devices.add(device)
    return fds


def _devices_in_use() -> set[int]:
    """Returns the file systems of the current folder and of $TMPDIR."""
    found = set()
    for folder in (".", os.environ.get("TMPDIR")):
        with suppress(OSError):
            if folder:
                found.add(os.stat(folder).st_dev)
    return found
