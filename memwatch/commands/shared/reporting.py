"""The reports of one profile that the options of `run` and `report` ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TextIO

import click

from memwatch.commands.shared import options, terminal
from memwatch.commands.shared.files import are_one_file, open_output
from memwatch.messages import complain, print_lines, write_stderr, write_stdout
from memwatch.model.profile import Profile
from memwatch.storage.outputs import rescue

if TYPE_CHECKING:
    from memwatch.analysis.leaks import Leaks, LeakSearch
    from memwatch.analysis.subtrees import Subtrees
    from memwatch.model.filters import Shown
    from memwatch.model.observations import Observer

# Lines of the tree for each process in the list.
TREE_LINES = 4

Fill = Callable[[TextIO], None]
KeepJson = Callable[[Fill], "str | None"]

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, not a summary."),
    click.option("--quiet", is_flag=True, help="No summary."),
    options.file("--csv", "csv_path", help="Write each process's peak as CSV."),
    options.file("--timeline", "timeline_path", help="Write the totals over time as CSV."),
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
        shell_complete=options.some_of("all"),
        default="10",
        show_default=True,
        metavar="N|all",
        help="How many processes the summary lists; of the tree, four times as many.",
    ),
    click.option("--leaks", is_flag=True, help="Look for processes that seem to leak."),
    click.option(
        "--leak-min-growth",
        callback=options.growth,
        default="50%",
        show_default=True,
        metavar="PERCENT",
        help="Least growth that --leaks reports, in percent of the size after the warm-up.",
    ),
    click.option(
        "--leak-min-duration",
        callback=options.watched,
        default="60s",
        show_default=True,
        metavar="TIME",
        help="Least time that a process must run for --leaks: 90s, 5min.",
    ),
    click.option(
        "--fail-on-leak",
        is_flag=True,
        help="Exit with 12 if a process seems to leak. Implies --leaks.",
    ),
)


def report_options(command: options.Command) -> options.Command:
    """Adds the options whose values are the arguments of Reports()."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def show_limits(profile: Profile) -> None:
    """Reports in one line what became of the limits of a run that has no summary."""
    from memwatch.reports.limit_lines import message

    if text := message(profile):
        complain(text)


EXIT_LEAK = 12


def _refuse_leak_options() -> None:
    """Raises UsageError for options that have no effect without --leaks."""
    for name in ("leak_min_growth", "leak_min_duration"):
        if options.is_typed(name):
            raise click.UsageError(f"--{name.replace('_', '-')} needs --leaks")


class Reports:
    """The reports: opens their files at once, and writes them when there is a profile."""

    def __init__(
        self,
        *,
        summary_fd: int = 2,
        as_json: bool,
        quiet: bool,
        csv_path: str | None,
        timeline_path: str | None,
        include: re.Pattern[str] | None,
        exclude: re.Pattern[str] | None,
        group_by: str | None,
        tree: bool,
        top: int | None,
        leaks: bool,
        leak_min_growth: float,
        leak_min_duration: float,
        fail_on_leak: bool,
    ) -> None:
        if not (leaks or fail_on_leak):
            _refuse_leak_options()
        if csv_path and timeline_path and are_one_file(csv_path, timeline_path):
            raise click.UsageError(f"--csv and --timeline both name {csv_path!r}: choose two files")
        self.as_json = as_json
        self._summary_fd = summary_fd
        self.quiet = quiet
        self.group_by = group_by
        """None: by command, or as the file is grouped."""
        self._shows_tree = tree and not (as_json or quiet)
        self._include = include
        self._exclude = exclude
        self._top = top
        self._csv_file = open_output(csv_path)
        try:
            self._timeline_file = open_output(timeline_path)
        except click.ClickException:
            if self._csv_file:
                self._csv_file.abandon()
            raise
        self.leaks: Leaks | None = None
        """What the leak check found, once the reports are written; None when there was no check."""
        self.observers: list[Observer] = []
        """Functions that must be called with each batch of observations."""
        self._fail_on_leak = fail_on_leak
        self._leak_search: LeakSearch | None = None
        self._subtrees: Subtrees | None = None
        if leaks or fail_on_leak:
            self._observe_leaks(leak_min_growth, leak_min_duration)
        if self._shows_tree:
            self._observe_tree()

    def _observe_leaks(self, min_growth: float, min_duration: float) -> None:
        from memwatch.analysis.leaks import LeakSearch

        self._leak_search = LeakSearch(min_growth, round(min_duration * 1e9))
        self.observers.append(self._leak_search.apply)

    def _observe_tree(self) -> None:
        from memwatch.analysis.subtrees import Subtrees

        self._subtrees = Subtrees()
        self.observers.append(self._subtrees.apply)

    def writes(self, path: str) -> bool:
        """Whether a report goes to the same file."""
        files = (self._csv_file, self._timeline_file)
        return any(file and are_one_file(file.path, path) for file in files)

    @property
    def needs_samples(self) -> bool:
        """Whether a profile alone is not enough."""
        return self._leak_search is not None

    @property
    def needs_timeline(self) -> bool:
        """Whether the profile must have a timeline."""
        return self._timeline_file is not None

    def abandon(self) -> None:
        """Leaves the files as they were, when there is nothing to report."""
        for file in (self._csv_file, self._timeline_file):
            if file:
                file.abandon()

    def write(
        self, profile: Profile, keep: KeepJson | None = None, *, has_samples: bool = True
    ) -> bool:
        """Writes all reports. Returns whether all were written; one failure does not stop the
        others.

        `keep` is called first, with a function that writes the JSON. It may return the path of a
        file that has the JSON, which is then not made twice. Without `has_samples` the profile is
        all there is: nothing was observed.
        """
        if self._leak_search:
            self.leaks = self._leak_search.finish()
        writer = _Writer(profile, self._include, self._exclude, self.leaks)
        if keep:
            writer.made = keep(writer.json)
        for file, fill in (
            (self._csv_file, writer.processes_csv),
            (self._timeline_file, writer.timeline_csv),
        ):
            if file:
                writer.write(file.path, partial(file.write, fill))
        if self.as_json:
            writer.write("standard output", partial(write_stdout, writer.json))
        elif self.has_summary:
            subtrees = self._subtrees if has_samples else None
            writer.print_summary(
                self._summary_fd, self._top, tree=self._shows_tree, subtrees=subtrees
            )
        return not writer.failed

    @property
    def has_summary(self) -> bool:
        """Whether the summary is among them."""
        return not (self.as_json or self.quiet)

    @property
    def leak_code(self) -> int:
        """The exit code for leaks: 0 if none was found, or if leaks are only reported."""
        return EXIT_LEAK if self._fail_on_leak and self.leaks and self.leaks.found else 0


class _Writer:
    """Writes the reports of one profile, and notes whether one failed."""

    def __init__(
        self,
        profile: Profile,
        include: re.Pattern[str] | None,
        exclude: re.Pattern[str] | None,
        leaks: Leaks | None,
    ) -> None:
        self.profile = profile
        self._include = include
        self._exclude = exclude
        self.leaks = leaks
        self.made: str | None = None
        """The path of a file that already has the JSON."""
        self.failed = False

    @cached_property
    def shown(self) -> Shown:
        """The processes that pass the filters. Made on first use: it takes time per process."""
        from memwatch.model.filters import Filter, apply

        return apply(self.profile.processes, Filter(self._include, self._exclude))

    def processes_csv(self, out: TextIO) -> None:
        from memwatch.reports.csv_report import write_processes

        write_processes(self.profile, self.shown, out)

    def timeline_csv(self, out: TextIO) -> None:
        from memwatch.reports.csv_report import write_timeline

        write_timeline(self.profile, out)

    def json(self, out: TextIO) -> None:
        if self.made:
            from shutil import copyfileobj

            with open(self.made, encoding="utf-8", newline="") as file:
                copyfileobj(file, out)
            return
        from memwatch.storage.profile_json_writer import write

        write(self.profile, self.shown, out, self.leaks)

    def write(self, where: str, write: Callable[[], None]) -> None:
        """Calls `write`; if that fails, complains and saves the whole result elsewhere, once."""
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
                complain(f"the result could not be saved elsewhere: {second.strerror}")

    def print_summary(
        self, fd: int, top: int | None, *, tree: bool, subtrees: Subtrees | None
    ) -> None:
        from memwatch.reports.summary import lines

        bold, dim = terminal.styles(fd)
        width = terminal.width(fd)
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
                leaks=self.leaks,
            )
        )
        if fd == 1:
            self.failed |= not print_lines([text])
            return
        try:
            write_stderr(text + "\n")
        except OSError:
            self.failed = True  # there is nowhere left to report it
