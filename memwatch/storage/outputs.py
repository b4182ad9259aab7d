"""Output files: opened before the job starts, so that its results cannot be lost after it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TextIO


class OutputFile:
    """A file that is opened before the job and written after it; until then it is unchanged."""

    def __init__(self, path: str) -> None:
        """Raises OSError when it cannot be opened for writing."""
        self.path = path
        self._is_new = not os.path.lexists(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)

    def write(self, fill: Callable[[TextIO], None]) -> None:
        """Replaces the content with what `fill` writes. Raises OSError."""
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, 0)
        fd, self._fd = self._fd, -1
        with open(fd, "w", encoding="utf-8", newline="") as out:
            fill(out)

    def abandon(self) -> None:
        """Restores what was there before, because the job never ran."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._is_new:
                os.unlink(self.path)


def rescue(fill: Callable[[TextIO], None]) -> str:
    """Writes to a new temporary file, as a last resort. Returns its path. Raises OSError."""
    import tempfile

    fd, path = tempfile.mkstemp(prefix="memwatch-", suffix=".json")
    try:
        with open(fd, "w", encoding="utf-8") as out:
            fill(out)
    except OSError:
        os.unlink(path)
        raise
    return path
