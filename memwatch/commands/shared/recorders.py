"""The recordings that `memwatch run -o` makes, all opened before the first run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from memwatch.commands.shared.files import cannot_write, exists

if TYPE_CHECKING:
    from memwatch.storage.recording import Recorder


def open_recorders(
    template: str, repeat: int, *, overwrite: bool, is_taken: Callable[[str], bool]
) -> list[Recorder | None]:
    """Opens a recording for each run.

    All are opened before the first run, so that one that cannot be written is reported at once.
    `is_taken` returns whether a report goes to a path. Raises ClickException.
    """
    if repeat > 1 and "%n" not in template.replace("%%", ""):
        raise click.UsageError(
            "--repeat makes a recording of each run: write %n for its number, as in "
            f"{_numbered(template)!r}"
        )
    recorders: list[Recorder | None] = []
    try:
        for number in range(1, repeat + 1):
            path = _path(template, number)
            if is_taken(path):
                raise click.UsageError(
                    f"--output and a report both name {path!r}: choose two files"
                )
            recorders.append(_open(path, overwrite=overwrite))
    except click.ClickException:
        abandon(recorders)
        raise
    return recorders


def abandon(recorders: Iterable[Recorder | None]) -> None:
    """Leaves the files of runs that were never made as they were."""
    for recorder in recorders:
        if recorder:
            recorder.abandon()


def _numbered(template: str) -> str:
    """Returns the template with a place for the number of the run."""
    if "%%n" in template:
        return template.replace("%%n", "%n")
    folder, slash, name = template.rpartition("/")
    start, dot, end = name.partition(".")
    return f"{folder}{slash}{start}.%n{dot}{end}"


def _path(template: str, number: int) -> str:
    from memwatch.storage.name_templates import RunContext, expand

    place = RunContext(os.uname().nodename, os.getpid(), time.time(), os.environ, number)
    try:
        return expand(template, place)
    except ValueError as error:
        raise click.BadParameter(f"{template!r}: {error}.", param_hint="--output") from None


def _open(path: str, *, overwrite: bool) -> Recorder:
    from memwatch.storage.recording import Recorder

    try:
        return Recorder(path, overwrite=overwrite)
    except FileExistsError:
        raise exists(path) from None
    except OSError as error:
        raise cannot_write(path, error) from None
