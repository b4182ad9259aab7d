"""Contains a memory control group (cgroup) for a run of a job, and the highest need seen in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

PAUSE = 0.002
HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")

# The need in memory.stat, in bytes, of version 1 and 2 of control groups. Version 2 has the swap in
# a file of its own. Huge pages of hugetlbfs are in neither, so they are counted for the machine.
FIELDS = {1: ("total_rss", "total_shmem", "total_swap"), 2: ("anon", "shmem")}


class Missing(Exception):
    """Why something cannot be measured here."""


def parent_group() -> tuple[Path, int]:
    """Returns where a memory control group can be made, and the version of control groups.

    Raises Missing if there is no such place.
    """
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path.lstrip("/")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            return _seen(Path(point), paths["memory"]), 1
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2" and "" in paths:
            return passing_on(_seen(Path(point), paths[""])), 2
    raise Missing("there are no control groups for memory")


def passing_on(group: Path) -> Path:
    """Returns the nearest group, this one or above, in which groups get the memory controller.

    In version 2, a group that has processes cannot pass it on. Raises Missing if there is none.
    """
    for folder in (group, *group.parents):
        file = folder / "cgroup.subtree_control"
        if file.exists() and "memory" in file.read_text().split():
            return folder
    raise Missing("no control group here passes on the memory controller")


def _seen(point: Path, path: str) -> Path:
    """Returns the group's folder: in a container, the mount may show just this group."""
    return point / path if (point / path).is_dir() else point


class ControlGroup:
    """A new group near the own one. Raises Missing where none can be made."""

    def __init__(self, name: str) -> None:
        parent, self._version = parent_group()
        self._folder = parent / name
        try:
            self._folder.mkdir()
        except OSError as error:
            raise Missing(f"no control group can be made: {error}") from None

    def run(self, command: Sequence[str]) -> float:
        """Runs a command in the group, and returns its highest need in KiB: read every 2 ms.

        Ends the benchmark if the command fails.
        """
        enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._folder / "cgroup.procs")]
        highest, huge_before = 0, _huge_kib()
        with ExitStack() as stack:
            stat = os.open(self._folder / "memory.stat", os.O_RDONLY)
            stack.callback(os.close, stat)
            job = subprocess.Popen([*enter, *command], stdin=subprocess.DEVNULL)
            stack.callback(job.wait)
            stack.callback(job.terminate)
            while job.poll() is None:
                highest = max(highest, self._need_kib(stat) + _huge_kib() - huge_before)
                time.sleep(PAUSE)
        if job.returncode:
            sys.exit(f"{' '.join(command)} failed with exit code {job.returncode}")
        return highest

    def remove(self) -> None:
        """Removes the group once its last process has ended: some end a little after the job.

        Raises OSError if one is still there after 10 s.
        """
        end = time.monotonic() + 10
        while True:
            try:
                return self._folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(PAUSE)

    def _need_kib(self, stat: int) -> int:
        need = needed(os.pread(stat, 1 << 14, 0).decode(), self._version)
        swap = self._folder / "memory.swap.current"
        if self._version == 2 and swap.exists():
            need += int(swap.read_text())
        return need // 1024


def needed(memory_stat: str, version: int) -> int:
    """Returns the bytes in memory.stat that are part of the need."""
    values = dict(line.split() for line in memory_stat.splitlines())
    return sum(int(values[name]) for name in FIELDS[version])


def _huge_kib() -> int:
    """Returns how much memory of the machine is in huge pages of 2 MiB that are in use."""
    if not HUGE.exists():
        return 0
    total, free = (int((HUGE / f"{name}_hugepages").read_text()) for name in ("nr", "free"))
    return (total - free) * 2048
