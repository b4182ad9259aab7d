"""Text in exports: the name of a job, and the encoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from memwatch.units import command_text, cut

# Names of benchmarks and values of labels are shown in lists, and repeated in every line.
LONGEST_NAME = 100

# How many pieces are encoded and written together.
_PIECES = 1000


def job_name(command: tuple[str, ...]) -> str:
    """Returns the command on one line, without the folder of the program, so that it is the same on
    each machine."""
    program, *arguments = command
    words = (program.rpartition("/")[2] or program, *arguments)
    return cut(command_text(words), LONGEST_NAME)


def utf8(pieces: Iterable[str]) -> Iterator[bytes]:
    """Encodes pieces of text, many at once."""
    rest = iter(pieces)
    while many := list(islice(rest, _PIECES)):
        yield "".join(many).encode("utf-8", "backslashreplace")
