"""CSV with a row for every sample of every process: for pandas, DuckDB, R."""

from __future__ import annotations

from collections.abc import Iterator
from csv import writer

from memwatch.exports.text import utf8
from memwatch.storage.load import Results
from memwatch.units import kib, printable

COLUMNS = (
    *("elapsed_seconds", "pid", "serial", "command", "rss_kib"),
    *("anonymous_kib", "file_kib", "shmem_kib", "swapped_kib", "huge_kib"),
)


class _Line:
    """A file that returns what is written to it."""

    def write(self, line: str) -> str:
        return line


def export(results: Results) -> Iterator[bytes]:
    """Yields the file, process by process; `command` is the program that ran at that time. An
    unknown size is an empty field.

    The results must have samples.
    """
    return utf8(_lines(results))


def _lines(results: Results) -> Iterator[str]:
    assert results.tracks is not None
    start = results.profile.start
    write = writer(_Line(), lineterminator="\n").writerow
    yield write(COLUMNS)
    for process in results.profile.processes:
        if process.serial not in results.tracks.by_serial:
            continue
        ahead = [(program.since, printable(program.text.name)) for program in process.programs]
        ahead.reverse()
        name = ahead.pop()[1]
        for time, split in results.tracks.splits(process.serial):
            while ahead and ahead[-1][0] <= time:
                name = ahead.pop()[1]
            elapsed = f"{(time - start) / 1e9:.6f}"
            sizes = ("" if size is None else kib(size) for size in split)
            yield write((elapsed, process.pid, process.serial, name, *sizes))
