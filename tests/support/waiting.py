"""Waiting for something to become true: no test sleeps to be right."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


# For every wait: far beyond what any machine needs, and below the programs' own patience.
PATIENCE = 120.0


def wait_until(condition: Callable[[], T], what: str, *, pause: float = 0.005) -> T:
    """Returns the first true value of `condition`, which is asked every `pause` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited too long: {what}"
        time.sleep(pause)
    return value


def state_of(pid: int) -> str:
    """The letter of proc_pid_stat(5): R, S, T, Z, ...; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode()
