"""A real control group with a memory limit, where one may be made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from memwatch.runner import cgroup
from support.waiting import wait_until


@contextmanager
def limited_group(size: int) -> Iterator[Path]:
    """Makes a group below the present one that may hold `size` bytes, swap included; gives its
    folder. Skips the test where that is not possible."""
    group = cgroup.find()
    if os.geteuid() != 0:
        pytest.skip("needs root to make a control group")
    if not group:
        pytest.skip("no control group with the memory controller is mounted here")
    v2 = group.version == 2
    limits = {"memory.max": size} if v2 else {"memory.limit_in_bytes": size}
    swap = {"memory.swap.max": 0} if v2 else {"memory.memsw.limit_in_bytes": size}
    folder = Path(group.folders[0], f"memwatch-test-{os.getpid()}-{time.monotonic_ns()}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a control group in {group.folders[0]}: {error.strerror}")
    try:
        for name, value in limits.items():
            try:
                (folder / name).write_text(str(value))
            except OSError as error:
                pytest.skip(f"cannot limit memory in {group.folders[0]}: {error.strerror}")
        for name, value in swap.items():
            with suppress(OSError):  # the kernel does not account for swap
                (folder / name).write_text(str(value))
        yield folder
    finally:
        wait_until(lambda: _is_removed(folder), f"{folder} is removed")


def _is_removed(folder: Path) -> bool:
    # Not empty yet: the last process is still exiting.
    with suppress(OSError):
        for each in (*folder.iterdir(), folder):
            if each.is_dir():
                each.rmdir()
        return True
    return False
