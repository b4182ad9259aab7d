"""Writes to standard output and standard error: the only module that does, except --help."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TextIO


def complain(text: str) -> None:
    """Writes one line to standard error, if that is possible."""
    with suppress(OSError):
        write_stderr(f"memwatch: {text}\n")


def print_lines(lines: Iterable[str]) -> bool:
    """Writes lines to standard output. Returns whether that worked; complains if not."""
    return try_write(
        lambda: write_stdout(lambda out: out.writelines(f"{line}\n" for line in lines))
    )


def print_json(document: dict[str, Any]) -> bool:
    """Writes a document to standard output. Returns whether that worked; complains if not."""
    import json

    return print_lines([json.dumps(document, indent=2)])


def try_write(write: Callable[[], None]) -> bool:
    """Calls `write`, which writes to standard output. Returns whether that worked; complains if
    not."""
    try:
        write()
    except OSError as error:
        complain(f"cannot write to standard output: {error.strerror}")
        return False
    return True


def write_stdout(fill: Callable[[TextIO], None]) -> None:
    """Writes text to standard output. Raises OSError, also for what could not be flushed."""
    with open(os.dup(1), "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        fill(out)


def write_stdout_bytes(pieces: Iterable[bytes]) -> None:
    """Writes bytes to standard output. Raises OSError, also for what could not be flushed."""
    with open(os.dup(1), "wb") as out:
        out.writelines(pieces)


def write_stderr(text: str) -> None:
    """Writes text to standard error. Raises OSError.

    sys.stderr is not used: it is None when closed, and after a failed write it would try again at
    exit and change the exit code.
    """
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(2, data) :]


def hold_standard_descriptors() -> None:
    """Keeps a closed stdin, stdout or stderr from being taken by the next file that is opened.

    The command still finds it closed: the placeholder is not inherited. Writing a report to a
    closed stdout fails, as it must; messages to a closed stderr are dropped.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDONLY)
        if fd >= 2:
            os.close(fd)
            if fd == 2:
                os.open(os.devnull, os.O_WRONLY)
            return
