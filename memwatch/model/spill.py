"""Lists that only grow, and take little memory however long they get.

The newest part is in memory, the rest in a temporary file without a name, which the system removes
when this process ends. Where no file can be made, or the disk is full, the list stays in memory.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any, overload

MOST_IN_MEMORY = 1 << 21
"""Bytes of one list that stay in memory: a job of some thousand processes needs no file."""

# Bytes per read from the file, when the whole list is read.
_CHUNK = 1 << 16

_NUMBER = struct.Struct("=q")

# Stands for None in a list of numbers.
_NONE = -1


class Bytes:
    """A byte string that grows at its end."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most_in_memory = most_in_memory
        self._file: IO[bytes] | None = None
        self._in_file = 0
        self._newest = bytearray()

    def __len__(self) -> int:
        return self._in_file + len(self._newest)

    def append(self, data: bytes) -> None:
        """Adds bytes at the end."""
        self._newest += data
        if len(self._newest) > self._most_in_memory:
            self._spill()

    def read(self, start: int, end: int) -> bytes:
        """Returns the bytes from `start` to `end`. Raises OSError when the file cannot be read."""
        data = b""
        while self._file and start + len(data) < min(end, self._in_file):
            at = start + len(data)
            part = os.pread(self._file.fileno(), min(end, self._in_file) - at, at)
            if not part:
                raise OSError(f"the temporary file lacks what was written at {at}")
            data += part
        if end > self._in_file:
            data += self._newest[max(0, start - self._in_file) : end - self._in_file]
        return data

    def _spill(self) -> None:
        try:
            self._file = self._file or _temporary_file()
            view = memoryview(self._newest)
            at = self._in_file
            while view:
                written = os.pwrite(self._file.fileno(), view, at)
                view = view[written:]
                at += written
        except OSError:
            # What was written of it so far is never read: all of it is still in memory.
            self._most_in_memory = 1 << 62
            return
        self._in_file = at
        self._newest = bytearray()


class Numbers(Sequence[int]):
    """A list of 64-bit numbers that grows at its end."""

    def __init__(self) -> None:
        self._bytes = Bytes()

    def append(self, number: int) -> None:
        """Adds a number at the end."""
        self._bytes.append(_NUMBER.pack(number))

    def extend(self, numbers: Iterable[int]) -> None:
        """Adds numbers at the end."""
        self._bytes.append(array("q", numbers).tobytes())

    def __len__(self) -> int:
        return len(self._bytes) // 8

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index] * 8
        number: int = _NUMBER.unpack(self._bytes.read(at, at + 8))[0]
        return number

    def __iter__(self) -> Iterator[int]:
        for at in range(0, len(self._bytes), _CHUNK):
            yield from array("q", self._bytes.read(at, at + _CHUNK))


class OptionalNumbers(Sequence[int | None]):
    """The same for numbers that are not negative, each of which may be None."""

    def __init__(self) -> None:
        self._numbers = Numbers()

    def extend(self, numbers: Iterable[int | None]) -> None:
        """Adds numbers at the end."""
        self._numbers.extend([_NONE if number is None else number for number in numbers])

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> int | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[int | None]: ...
    def __getitem__(self, index: int | slice) -> int | list[int | None] | None:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = self._numbers[index]
        return None if number == _NONE else number

    def __iter__(self) -> Iterator[int | None]:
        for number in self._numbers:
            yield None if number == _NONE else number


class Rows:
    """Adds rows to columns, many at once: that takes a third of the time."""

    _AT_ONCE = 256

    def __init__(self, columns: Sequence[Numbers | OptionalNumbers]) -> None:
        self._columns = columns
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[int | None, ...]) -> None:
        """Adds a row, with a number for each column."""
        self._rows.append(row)
        if len(self._rows) == self._AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Completes the columns."""
        if self._rows:
            for column, numbers in zip(self._columns, zip(*self._rows, strict=True), strict=True):
                column.extend(numbers)
            self._rows.clear()


def _temporary_file() -> IO[bytes]:
    import tempfile

    if not os.environ.get("TMPDIR"):
        # /tmp is in memory on many systems; file-hierarchy(7) names /var/tmp for large files.
        with suppress(OSError):
            return tempfile.TemporaryFile(buffering=0, prefix="memwatch-", dir="/var/tmp")
    return tempfile.TemporaryFile(buffering=0, prefix="memwatch-")
