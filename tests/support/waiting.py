"""Waits for conditions, so that no test depends on the length of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


# Seconds for every wait: far more than any machine needs, less than the programs wait themselves.
PATIENCE = 120.0


def wait_until(condition: Callable[[], T], what: str, *, pause: float = 0.005) -> T:
    """Calls `condition` every `pause` seconds and returns its first true value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited too long: {what}"
        time.sleep(pause)
    return value


def state_of(pid: int) -> str:
    """Returns the state letter of proc_pid_stat(5): R, S, T, Z, ...; empty without a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode()
