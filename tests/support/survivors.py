"""A context manager that fails if a test leaves processes behind, and ends them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.waiting import PATIENCE

_SET_SUBREAPER, _GET_SUBREAPER = 36, 37


def _children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
    return found


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@contextmanager
def no_survivors() -> Iterator[None]:
    """Fails if processes are left behind, and ends them.

    Meanwhile this process is a subreaper: a process that loses its parent, memwatch or another,
    becomes a child of this process, so none escapes, not even by starting a session.
    """
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int()
    prctl(_GET_SUBREAPER, ctypes.byref(before))
    others = _children()
    assert prctl(_SET_SUBREAPER, 1) == 0
    try:
        yield
    finally:
        survivors = _end_all_except(others)
        prctl(_SET_SUBREAPER, before.value)
    assert not survivors, f"processes left behind: {survivors}"


def _end_all_except(others: set[int]) -> list[tuple[int, bytes]]:
    """Waits for programs that may be about to exit, then kills the rest and returns it."""
    deadline = time.monotonic() + PATIENCE / 4
    while (left := _children() - others) and time.monotonic() < deadline:
        _reap(left)
        time.sleep(0.005)
    survivors = []
    for pid in left:
        with suppress(FileNotFoundError, ProcessLookupError):
            survivors.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes()[:200]))
    while left:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(left)
        time.sleep(0.005)
        left = _children() - others  # their children are now ours
    return survivors
