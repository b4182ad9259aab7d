"""A fake /proc and fake mounts of control groups, in a folder."""

from __future__ import annotations

from pathlib import Path

from memwatch.runner import cgroup
from memwatch.runner.cgroup import MemoryCgroup


def escape(path: str) -> str:
    """Escapes a path as in mountinfo (show_mountinfo() of fs/proc_namespace.c)."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in path)


class Tree:
    """A fake /proc and fake control group mounts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.mountinfo = ""
        self.write("proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 786432 kB\n")
        self.write("proc/vmstat", "pgfault 100\noom_kill 5\n")

    def write(self, name: str, text: str | bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def member(self, text: str) -> None:
        self.write("proc/self/cgroup", text)

    def mount(self, version: int, root: str, point: str) -> None:
        kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,memory"
        place = escape(str(self.folder / point))
        self.mountinfo += f"30 20 0:3 {escape(root)} {place} rw shared:2 - {kind}\n"
        self.write("proc/self/mountinfo", self.mountinfo)
        self.group(point)

    def group(self, name: str, **files: str) -> None:
        """Makes a group's folder with these files of the memory controller."""
        self.write(f"{name}/cgroup.procs", "")
        for file, text in files.items():
            self.write(f"{name}/memory.{file}", f"{text}\n")

    def find(self) -> MemoryCgroup:
        found = cgroup.find(str(self.proc))
        assert found
        return found

    def folders(self, *names: str) -> tuple[str, ...]:
        return tuple(str(self.folder / name) for name in names)

    def watch(self) -> cgroup.LimitWatch:
        return cgroup.LimitWatch(str(self.proc))
