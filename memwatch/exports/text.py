"""Text of exports: what a job is called in them, and how it becomes bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from memwatch.units import command_text, cut

# Names of benchmarks and label values are shown in lists, and repeated in every line.
LONGEST_NAME = 100

# Of the pieces that are encoded and written together.
_PIECES = 1000


def job_name(command: tuple[str, ...]) -> str:
    """The command line, on one line, without the folder of the program: the same on each machine
    that runs the same command."""
    program, *arguments = command
    words = (program.rpartition("/")[2] or program, *arguments)
    return cut(command_text(words), LONGEST_NAME)


def utf8(pieces: Iterable[str]) -> Iterator[bytes]:
    """Encodes pieces of text, many at once."""
    rest = iter(pieces)
    while many := list(islice(rest, _PIECES)):
        yield "".join(many).encode("utf-8", "backslashreplace")
