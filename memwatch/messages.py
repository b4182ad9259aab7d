"""Writes to standard output and standard error: no other module does."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO


def complain(text: str) -> None:
    """Writes one line to standard error, if that is possible."""
    with suppress(OSError):
        write_stderr(f"memwatch: {text}\n")


def write_stdout(fill: Callable[[TextIO], None]) -> None:
    """Writes to standard output, through a descriptor of its own so that every failure is noticed.
    Raises OSError."""
    with open(os.dup(1), "w", encoding="utf-8", newline="") as out:
        fill(out)


def write_stderr(text: str) -> None:
    """Writes to standard error. Raises OSError.

    sys.stderr is not used: it is None when closed, and after a failed write it would try again at
    exit and change the exit code.
    """
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(2, data) :]


def hold_standard_descriptors() -> None:
    """Keeps the descriptor of a closed stdin, stdout or stderr from being used for the next file.

    The command still finds it closed, because the placeholder is not inherited. A report for a
    closed stdout fails, as it must; messages for a closed stderr are dropped.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDONLY)
        if fd >= 2:
            os.close(fd)
            if fd == 2:
                os.open(os.devnull, os.O_WRONLY)
            return
