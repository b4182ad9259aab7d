"""The reports of one profile, as the options of `run` and `report` ask for them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from memwatch.commands import options, terminal
from memwatch.commands.files import cannot_write
from memwatch.outputs import OutputFile, complain, rescue, write_stderr, write_stdout
from memwatch.profile import Profile

if TYPE_CHECKING:
    from memwatch.tree import Subtrees

# Lines of the tree for each process of the list.
TREE_LINES = 4

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, not a summary."),
    click.option("--quiet", is_flag=True, help="No summary."),
    click.option("--csv", "csv_path", metavar="FILE", help="Write each process's peak as CSV."),
    click.option(
        "--timeline", "timeline_path", metavar="FILE", help="Write the totals over time as CSV."
    ),
    click.option(
        "--include",
        callback=options.regex,
        metavar="REGEX",
        help="Show only processes that match (name or command line).",
    ),
    click.option(
        "--exclude",
        callback=options.regex,
        metavar="REGEX",
        help="Do not show processes that match.",
    ),
    options.GROUP_BY,
    click.option(
        "--tree",
        is_flag=True,
        help="Show the tree of processes in the summary, with the peak of each subtree.",
    ),
    click.option(
        "--top",
        callback=options.top,
        default="10",
        show_default=True,
        metavar="N|all",
        help="How many processes the summary lists; of the tree, four times as many.",
    ),
)


def report_options(command: Command) -> Command:
    """Adds the options whose values are the arguments of Reports()."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Reports:
    """Opens the files that are asked for at once, and writes them when there is a profile."""

    def __init__(
        self,
        *,
        as_json: bool,
        quiet: bool,
        csv_path: str | None,
        timeline_path: str | None,
        include: re.Pattern[str] | None,
        exclude: re.Pattern[str] | None,
        group_by: str | None,
        tree: bool,
        top: int | None,
    ) -> None:
        if csv_path and timeline_path and _are_one_file(csv_path, timeline_path):
            raise click.UsageError(f"--csv and --timeline both name {csv_path!r}: choose two files")
        self.as_json = as_json
        self.quiet = quiet
        self.group_by = group_by
        """None: by command, or as the file has them."""
        self.needs_tree = tree and not (as_json or quiet)
        self._include = include
        self._exclude = exclude
        self._top = top
        self._csv_file = _open(csv_path)
        try:
            self._timeline_file = _open(timeline_path)
        except click.ClickException:
            if self._csv_file:
                self._csv_file.abandon()
            raise

    def writes(self, path: str) -> bool:
        """Whether one of them goes to the same file."""
        files = (self._csv_file, self._timeline_file)
        return any(file and _are_one_file(file.path, path) for file in files)

    @property
    def needs_timeline(self) -> bool:
        return self._timeline_file is not None

    def abandon(self) -> None:
        """There is nothing to report: leaves the files as they were."""
        for file in (self._csv_file, self._timeline_file):
            if file:
                file.abandon()

    def write(self, profile: Profile, subtrees: Subtrees | None = None) -> bool:
        """Writes all of them. Whether that could be done: one that cannot is not the end.

        `subtrees` is what there is for the tree, beside the profile.
        """
        writer = _Writer(profile, self._include, self._exclude)
        for file, fill in (
            (self._csv_file, writer.processes_csv),
            (self._timeline_file, writer.timeline_csv),
        ):
            if file:
                writer.write(file.path, partial(file.write, fill))
        if self.as_json:
            writer.write("standard output", partial(write_stdout, writer.json))
        elif not self.quiet:
            writer.print_summary(self._top, tree=self.needs_tree, subtrees=subtrees)
        return not writer.failed


class _Writer:
    def __init__(
        self, profile: Profile, include: re.Pattern[str] | None, exclude: re.Pattern[str] | None
    ) -> None:
        from memwatch.filters import Filter, apply

        self.profile = profile
        self.shown = apply(profile.processes, Filter(include, exclude))
        self.failed = False

    def processes_csv(self, out: TextIO) -> None:
        from memwatch.reports.csv_report import write_processes

        write_processes(self.profile, self.shown, out)

    def timeline_csv(self, out: TextIO) -> None:
        from memwatch.reports.csv_report import write_timeline

        write_timeline(self.profile, out)

    def json(self, out: TextIO) -> None:
        from memwatch.reports.json_report import write

        write(self.profile, self.shown, out)

    def write(self, where: str, write: Callable[[], None]) -> None:
        """Calls `write`; if that fails, says so and saves the whole result elsewhere, once."""
        try:
            write()
        except OSError as error:
            complain(f"cannot write to {where}: {error.strerror}")
            if self.failed:
                return
            self.failed = True
            try:
                complain(f"the result is in {rescue(self.json)}")
            except OSError as second:
                complain(f"nor could the result be saved elsewhere: {second.strerror}")

    def print_summary(self, top: int | None, *, tree: bool, subtrees: Subtrees | None) -> None:
        from memwatch.reports.summary import lines

        bold, dim = terminal.styles(2)
        width = terminal.width(2)
        section: Iterable[str] = ()
        if tree:
            from memwatch.reports.tree_report import tree_lines

            section = tree_lines(
                self.profile,
                self.shown.filter,
                subtrees,
                most=None if top is None else top * TREE_LINES,
                width=width,
                plain=not terminal.has_boxes(),
                bold=bold,
                dim=dim,
            )
        text = "\n".join(
            lines(
                self.profile,
                self.shown,
                top=top,
                width=width,
                bold=bold,
                dim=dim,
                tree=section,
            )
        )
        try:
            write_stderr(text + "\n")
        except OSError:
            # There is nowhere left to say so.
            self.failed = True


def _are_one_file(one: str, other: str) -> bool:
    """Where the second report would overwrite the first; a pipe or a device takes both."""
    if os.path.realpath(one) != os.path.realpath(other):
        return False
    return os.path.isfile(one) or not os.path.exists(one)


def _open(path: str | None) -> OutputFile | None:
    if path is None:
        return None
    try:
        return OutputFile(path)
    except OSError as error:
        raise cannot_write(path, error) from None
