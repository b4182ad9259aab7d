"""Lists that keep their older part in a file: contents, memory bound, and errors of the file."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model import spill
from memwatch.model.spill import Bytes, Numbers, OptionalNumbers

pieces = st.lists(st.binary(max_size=40), max_size=30)
numbers = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60)


def bytes_of(parts: list[bytes], most_in_memory: int) -> Bytes:
    made = Bytes(most_in_memory)
    for part in parts:
        made.append(part)
    return made


@given(pieces, st.integers(0, 200), st.integers(0, 1300), st.integers(0, 1300))
def test_bytes_come_back(parts: list[bytes], most: int, start: int, end: int) -> None:
    whole = b"".join(parts)
    made = bytes_of(parts, most)
    assert len(made) == len(whole)
    assert made.read(0, len(whole)) == whole
    assert made.read(start, end) == whole[start:end]


@given(numbers, st.integers(0, 200), st.slices(60))
def test_numbers_are_a_list(values: list[int], most: int, part: slice) -> None:
    made = Numbers()
    made._bytes = Bytes(most)
    for value in values:
        made.append(value)
    assert len(made) == len(values)
    assert list(made) == values
    assert [made[i] for i in range(len(values))] == values
    assert [made[-i - 1] for i in range(len(values))] == values[::-1]
    assert made[part] == values[part]
    for index in (len(values), -len(values) - 1):
        with pytest.raises(IndexError):
            made[index]


@given(st.lists(st.none() | st.integers(0, 2**63 - 1), max_size=60), st.slices(60))
def test_numbers_may_be_unknown(values: list[int | None], part: slice) -> None:
    made = OptionalNumbers()
    made.extend(values[:5])
    made.extend(values[5:])
    assert len(made) == len(values)
    assert list(made) == values
    assert [made[i] for i in range(len(values))] == values
    assert made[part] == values[part]


def test_many_numbers() -> None:
    """There are more than are read, or kept in memory, at once."""
    made = Numbers()
    count = spill.MOST_IN_MEMORY // 8 * 2 + 3
    for number in range(count):
        made.append(number)
    assert all(one == other for one, other in zip(made, range(count), strict=True))
    assert len(made._bytes._newest) <= spill.MOST_IN_MEMORY


def test_little_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    made = Bytes()
    made.append(b"x" * spill.MOST_IN_MEMORY)
    assert len(made) == spill.MOST_IN_MEMORY


def test_memory_is_bounded() -> None:
    made = bytes_of([b"x" * 1000] * 1000, most_in_memory=5000)
    assert len(made) == 1_000_000
    assert len(made._newest) <= 5000


def test_no_other_program_gets_the_file() -> None:
    made = bytes_of([b"x" * 10], most_in_memory=5)
    assert made._file
    assert not os.get_inheritable(made._file.fileno())
    # It has no name: nothing is left behind, whatever ends this process.
    assert os.fstat(made._file.fileno()).st_nlink == 0


def test_the_file_is_in_the_folder_that_tmpdir_names(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    made = bytes_of([b"x" * 10], most_in_memory=5)
    assert made._file
    assert os.fstat(made._file.fileno()).st_dev == os.stat(tmp_path).st_dev
    assert os.readlink(f"/proc/self/fd/{made._file.fileno()}").startswith(str(tmp_path))


@given(pieces, st.integers(0, 300))
def test_nothing_is_lost_when_the_disk_is_full(parts: list[bytes], room: int) -> None:
    """A write that fails may have written a part."""
    whole = b"".join(parts)

    def write(fd: int, data: memoryview, at: int) -> int:
        if at >= room:
            raise OSError(errno.ENOSPC, "full")
        return pwrite(fd, data[: room - at], at)

    pwrite = os.pwrite
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill.os, "pwrite", write)
        made = bytes_of(parts, most_in_memory=20)
    assert made.read(0, len(whole)) == whole
    assert made._in_file <= room


def test_nothing_is_lost_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(**_how: object) -> None:
        tried.append(1)
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.delenv("TMPDIR", raising=False)
    made = bytes_of([b"abcd"] * 10, most_in_memory=5)
    assert made.read(0, 40) == b"abcd" * 10
    # Tried in /var/tmp and in the usual folder, and not again for each piece.
    assert len(tried) == 2
