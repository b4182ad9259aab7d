"""Files that subcommands read and write, and what to say when that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from memwatch.model.observations import Observer
    from memwatch.storage.load import Results
    from memwatch.storage.outputs import OutputFile


def load_results(
    path: str,
    *,
    timeline: bool = False,
    tracks: bool = False,
    group_by: str | None = None,
    observers: Sequence[Observer] = (),
) -> Results:
    """storage.load.load(), for the command line."""
    from memwatch.storage.load import BadResults, load

    try:
        return load(path, timeline=timeline, tracks=tracks, group_by=group_by, observers=observers)
    except BadResults as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot read {path!r}: {error.strerror}") from None


def print_lines(lines: Iterable[str]) -> None:
    """Writes them to standard output, which has to work."""
    from memwatch.messages import write_stdout

    try:
        write_stdout(lambda out: out.writelines(f"{line}\n" for line in lines))
    except OSError as error:
        raise click.ClickException(f"cannot write to standard output: {error.strerror}") from None


def are_one_file(one: str, other: str) -> bool:
    """Where writing the one would overwrite the other; a pipe or a device takes both."""
    try:
        return os.path.samefile(one, other) and os.path.isfile(one)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def is_input(path: str) -> click.ClickException:
    return click.ClickException(f"{path!r} is what is to be read: write the result elsewhere")


def open_output(path: str | None) -> OutputFile | None:
    """Opened before there is anything to write, so that what cannot be is told at once."""
    from memwatch.storage.outputs import OutputFile

    if path is None:
        return None
    try:
        return OutputFile(path)
    except OSError as error:
        raise cannot_write(path, error) from None


def exists(path: str) -> click.ClickException:
    return click.ClickException(
        f"{path!r} exists: choose another name, or overwrite it with --force"
    )


def cannot_write(path: str, error: OSError) -> click.ClickException:
    return click.ClickException(f"cannot write {path!r}: {error.strerror}; choose another file")
