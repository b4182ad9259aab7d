"""Finds the file systems in memory (tmpfs) in which this user may store files.

What a job stores there takes memory, but belongs to no process unless it is
mapped. See tmpfs(5) and proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
from contextlib import suppress

from memwatch.runner.cgroup import unescape
from memwatch.runner.kernel_files import read_text
from memwatch.runner.native import TMPFS_MOST


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
    """Opens a descriptor for each tmpfs in which this user may store files; the caller closes
    them."""
    fds: list[int] = []
    devices = set()
    for point in parse_mount_points(read_text(f"{proc_root}/self/mountinfo")):
        with suppress(OSError):
            if len(fds) == TMPFS_MOST or not os.access(point, os.W_OK, effective_ids=True):
                continue
            fd = os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            device = os.fstat(fd).st_dev
            if device in devices:
                os.close(fd)
            else:
                devices.add(device)
                fds.append(fd)
    return fds
