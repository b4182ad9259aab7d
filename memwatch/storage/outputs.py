"""Files that results go to: found unwritable before the job starts, never lost after it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TextIO


class OutputFile:
    """A file opened before the job and written after it. What it held stays until then."""

    def __init__(self, path: str) -> None:
        """Raises OSError when it cannot be opened for writing."""
        self.path = path
        self._is_new = not os.path.lexists(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)

    def write(self, fill: Callable[[TextIO], None]) -> None:
        """Replaces the content by what `fill` writes. Raises OSError."""
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, 0)
        fd, self._fd = self._fd, -1
        with open(fd, "w", encoding="utf-8", newline="") as out:
            fill(out)

    def abandon(self) -> None:
        """The job never ran: leaves things as they were."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._is_new:
                os.unlink(self.path)


def rescue(fill: Callable[[TextIO], None]) -> str:
    """Saves what could not be written elsewhere: the path of a new file. Raises OSError."""
    import tempfile

    fd, path = tempfile.mkstemp(prefix="memwatch-", suffix=".json")
    try:
        with open(fd, "w", encoding="utf-8") as out:
            fill(out)
    except OSError:
        os.unlink(path)
        raise
    return path
