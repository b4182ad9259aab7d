"""Files that subcommands read and write, and the errors for those that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    footprints: bool = False,
    group_by: str | None = None,
    observers: Sequence[Observer] = (),
) -> Results:
    """Calls storage.load.load(). Raises ClickException for a file that cannot be used."""
    from memwatch.storage.load import BadResults, load

    try:
        return load(
            path,
            timeline=timeline,
            tracks=tracks,
            footprints=footprints,
            group_by=group_by,
            observers=observers,
        )
    except BadResults as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot read {path!r}: {error.strerror}") from None


def are_one_file(one: str, other: str) -> bool:
    """Whether writing one file would overwrite the other; a pipe or a device takes both."""
    try:
        return os.path.samefile(one, other) and os.path.isfile(one)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def is_input(path: str) -> click.ClickException:
    """Makes the error for an output that is the input."""
    return click.ClickException(f"{path!r} is the input file: choose another output")


def open_output(path: str | None) -> OutputFile | None:
    """Opens a file before there is anything to write, to report at once what cannot be written."""
    from memwatch.storage.outputs import OutputFile

    if path is None:
        return None
    try:
        return OutputFile(path)
    except OSError as error:
        raise cannot_write(path, error) from None


def exists(path: str) -> click.ClickException:
    """Makes the error for an output that is there already."""
    return click.ClickException(
        f"{path!r} exists: choose another name, or overwrite it with --force"
    )


def cannot_write(path: str, error: OSError) -> click.ClickException:
    """Makes the error for an output that cannot be written."""
    return click.ClickException(f"cannot write {path!r}: {error.strerror}; choose another file")
