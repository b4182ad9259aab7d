"""A fake /proc: a folder of files with the same format as the kernel's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
FORKNOEXEC = 0x40


@dataclass(frozen=True)
class FakeProcess:
    """The contents of a process's files. None: there is no such file."""

    pid: int
    ppid: int = 1
    name: bytes = b"sh"
    state: str = "S"
    flags: int = 0
    threads: int = 1
    start: int = 1000
    start_stack: int = 0x7FFC_0000_1000
    size: int = 500
    rss: int = 100
    text: int = 19
    watermark: int | None = None
    """Pages."""
    argv: tuple[bytes, ...] | None = (b"sh", b"-c", b"x")
    exe: str | None = "/bin/sh"
    cwd: str | None = None
    tids: tuple[int, ...] = ()
    """The threads other than the leader."""
    missing: frozenset[str] = frozenset()

    @property
    def stat(self) -> bytes:
        fields = [b"0"] * 53
        for number, value in {
            3: self.state,
            4: self.ppid,
            5: -1,
            8: -1,
            9: self.flags,
            18: 20,
            20: self.threads,
            22: self.start,
            23: self.size * PAGE,
            24: self.rss,
            25: 2**64 - 1,
            # No code address during execve, nor without memory.
            26: 0x5000 if self.size and self.text else 0,
            28: self.start_stack,
        }.items():
            fields[number] = str(value).encode()
        return b"%d (%s) %s\n" % (self.pid, self.name, b" ".join(fields[3:]))

    @property
    def statm(self) -> bytes:
        return b"%d %d 50 %d 0 60 0\n" % (self.size, self.rss, self.text)

    @property
    def status(self) -> bytes:
        pages = self.watermark
        memory = b"" if pages is None else b"VmHWM:\t%8d kB\n" % (pages * PAGE // 1024)
        return b"Name:\t%s\nPid:\t%d\n%sThreads:\t%d\n" % (
            self.name.replace(b"\n", b"\\n"),
            self.pid,
            memory,
            self.threads,
        )


class FakeProc:
    """A fake /proc: adds, changes and removes processes and their files."""

    def __init__(self, root: Path, *, lists_children: bool = True) -> None:
        self.root = root
        self.lists_children = lists_children
        self.processes: dict[int, FakeProcess] = {}
        self.thread_of: dict[int, int] = {}
        root.mkdir()

    def add(self, pid: int, *, thread: int | None = None, **facts: Any) -> FakeProcess:
        """Adds a process, started by `thread` of its parent."""
        fake = FakeProcess(pid, **facts)
        assert pid not in self.processes
        self.processes[pid] = fake
        self.thread_of[pid] = thread or fake.ppid
        self._write(fake)
        self._list_children(fake.ppid, self.thread_of[pid])
        return fake

    def change(self, pid: int, **facts: Any) -> None:
        """Changes a process. Files are written in place: open descriptors see the change."""
        before = self.processes[pid]
        fake = self.processes[pid] = replace(before, **facts)
        if fake.ppid != before.ppid:
            self.thread_of[pid] = fake.ppid
            self._list_children(before.ppid)
            self._list_children(fake.ppid)
        self._write(fake)

    def exec(self, pid: int, **facts: Any) -> None:
        """Executes another program: other text, other stack, no longer a fork."""
        before = self.processes[pid]
        new = {
            "flags": before.flags & ~FORKNOEXEC,
            "text": before.text + 7,
            "start_stack": before.start_stack + 0x1000,
            "watermark": None,
        }
        self.change(pid, **{**new, **facts})

    def zombie(self, pid: int) -> None:
        self.change(pid, state="Z", size=0, rss=0, text=0, watermark=None, start_stack=0, argv=())

    def remove(self, pid: int) -> None:
        """Removes a reaped process; its children, if any, leave its children files."""
        self.zombie(pid)
        fake = self.processes.pop(pid)
        for path in self._children_files(fake):
            path.write_bytes(b"")
        shutil.rmtree(self.root / str(pid))
        self._list_children(fake.ppid)

    def _write(self, fake: FakeProcess) -> None:
        where = self.root / str(fake.pid)
        where.mkdir(exist_ok=True)
        for name, text in {
            "stat": fake.stat,
            "statm": fake.statm,
            "status": fake.status,
            "cmdline": None if fake.argv is None else b"".join(w + b"\0" for w in fake.argv),
        }.items():
            if text is None or name in fake.missing:
                (where / name).unlink(missing_ok=True)
            else:
                (where / name).write_bytes(text)
        for name, target in {"exe": fake.exe, "cwd": fake.cwd}.items():
            (where / name).unlink(missing_ok=True)
            if target is not None:
                (where / name).symlink_to(target)
        self._write_threads(fake)

    def _write_threads(self, fake: FakeProcess) -> None:
        task = self.root / str(fake.pid) / "task"
        task.mkdir(exist_ok=True)
        wanted = {fake.pid, *fake.tids}
        for gone in {int(path.name) for path in task.iterdir()} - wanted:
            shutil.rmtree(task / str(gone))
        for tid in wanted:
            (task / str(tid)).mkdir(exist_ok=True)
            if tid != fake.pid:
                # A thread shares the memory of its process, and keeps it when the leader is gone.
                memory = fake.statm if fake.size else replace(fake, size=500, rss=77).statm
                (task / str(tid) / "statm").write_bytes(memory)
        if self.lists_children and "children" not in fake.missing:
            self._list_children(fake.pid)

    def _children_files(self, fake: FakeProcess) -> Iterator[Path]:
        for tid in (fake.pid, *fake.tids):
            path = self.root / str(fake.pid) / "task" / str(tid) / "children"
            if path.exists():
                yield path

    def _list_children(self, pid: int, thread: int | None = None) -> None:
        """Writes the children files of all threads of a process, or of one: "12 13 "."""
        fake = self.processes.get(pid)
        if not fake or not self.lists_children:
            return
        for tid in (thread,) if thread else (pid, *fake.tids):
            children = [
                each.pid
                for each in self.processes.values()
                if each.ppid == pid and self.thread_of[each.pid] == tid
            ]
            path = self.root / str(pid) / "task" / str(tid) / "children"
            path.write_bytes(b"".join(b"%d " % child for child in children))
