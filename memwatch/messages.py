"""The only place that writes to standard output and standard error."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO


def complain(text: str) -> None:
    """One line on standard error, if that is possible."""
    with suppress(OSError):
        write_stderr(f"memwatch: {text}\n")


def write_stdout(fill: Callable[[TextIO], None]) -> None:
    """Writes to standard output, and knows when that failed. Raises OSError."""
    with open(os.dup(1), "w", encoding="utf-8", newline="") as out:
        fill(out)


def write_stderr(text: str) -> None:
    """Writes to standard error. Raises OSError.

    Not through sys.stderr: it is None when closed, and what it failed to write it would try
    again at exit, and spoil the exit code.
    """
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(2, data) :]


def hold_standard_descriptors() -> None:
    """Keeps a closed stdin, stdout or stderr from being taken by the next file opened.

    The command still finds it closed: the placeholder is not inherited. A report for a closed
    stdout fails, as it must; messages for a closed stderr are not wanted.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDONLY)
        if fd >= 2:
            os.close(fd)
            if fd == 2:
                os.open(os.devnull, os.O_WRONLY)
            return
