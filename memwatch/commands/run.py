"""`memwatch run`: runs a command and reports the memory of everything it started."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TextIO

import click

from memwatch.commands import options, terminal
from memwatch.launcher import Launcher
from memwatch.outputs import OutputFile, complain, rescue, write_stderr, write_stdout
from memwatch.profile import Profile
from memwatch.profiler import watch_command


@click.command(
    "run",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "-i",
    "--interval",
    callback=options.interval,
    default="500",
    show_default=True,
    metavar="TIME",
    help="Time between samples: 10 (milliseconds), 0.5, 10ms, 1s.",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Stop each process for a moment before it exits or executes, to read its exact peak.",
)
@click.option(
    "--burst",
    callback=options.burst,
    metavar="MS",
    help="Sample every millisecond for the first MS milliseconds.",
)
@click.option(
    "--pss",
    type=click.Choice(["off", "peaks", "always"]),
    default="peaks",
    show_default=True,
    help="When to measure the total with shared pages counted once.",
)
@click.option(
    "--sources",
    callback=options.sources,
    default="auto",
    show_default=True,
    metavar="auto|none|NAME,...",
    help="What to learn from besides samples: connector, perf, taskstats.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout, not a summary.")
@click.option("--quiet", is_flag=True, help="No summary.")
@click.option("--csv", "csv_path", metavar="FILE", help="Write each process's peak as CSV.")
@click.option(
    "--timeline", "timeline_path", metavar="FILE", help="Write the totals over time as CSV."
)
@click.option("--silent", is_flag=True, help="Discard the command's own output.")
@click.option(
    "--include",
    callback=options.regex,
    metavar="REGEX",
    help="Show only processes that match (name or command line).",
)
@click.option(
    "--exclude", callback=options.regex, metavar="REGEX", help="Do not show processes that match."
)
@click.option(
    "--top",
    callback=options.top,
    default="10",
    show_default=True,
    metavar="N|all",
    help="How many processes the summary lists.",
)
@click.argument("words", metavar="[--] COMMAND...", nargs=-1, type=click.UNPROCESSED)
def command(
    interval: float,
    exact: bool,
    burst: float,
    pss: str,
    sources: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    csv_path: str | None,
    timeline_path: str | None,
    silent: bool,
    include: re.Pattern[str] | None,
    exclude: re.Pattern[str] | None,
    top: int | None,
    words: tuple[str, ...],
) -> int:
    """Run COMMAND and report the memory of all processes it starts.

    The summary goes to stderr. With --json the result goes to stdout, and the
    command's own stdout to stderr. The exit code is the command's; 128 + N if
    signal N killed it; 1 if it could not be started.

    \b
    Examples:
      memwatch run -- cargo build --release
      memwatch run -i 10 -- make -j8
      memwatch run --json -- pytest > memory.json
    """
    if not words:
        raise click.UsageError("no command to run: write it after the options, as in 'run -- make'")
    if csv_path and timeline_path and _are_one_file(csv_path, timeline_path):
        raise click.UsageError(f"--csv and --timeline both name {csv_path!r}: choose two files")
    csv_file = _open(csv_path)
    try:
        timeline_file = _open(timeline_path)
    except click.ClickException:
        if csv_file:
            csv_file.abandon()
        raise
    outputs = [file for file in (csv_file, timeline_file) if file]
    stdout, stderr = _streams(silent=silent, stdout_is_ours=as_json)

    with Launcher() as launcher:
        try:
            profile = watch_command(
                launcher,
                words,
                interval=interval,
                exact=exact,
                burst=burst,
                pss=pss,
                sources=sources,
                timeline=timeline_file is not None,
                stdout=stdout,
                stderr=stderr,
                has_other_children=False,
            )
        except OSError as error:
            for file in outputs:
                file.abandon()
            raise click.ClickException(_cannot_run(words[0], error)) from None
        # Still inside: a late signal to memwatch must not cost the user the report.
        reports = _Reports(profile, include, exclude)
        if csv_file:
            reports.write(csv_file.path, lambda: csv_file.write(reports.processes_csv))
        if timeline_file:
            reports.write(timeline_file.path, lambda: timeline_file.write(reports.timeline_csv))
        if as_json:
            reports.write("standard output", lambda: write_stdout(reports.json))
        elif not quiet:
            reports.print_summary(top)
    code = profile.exit_code
    return code or 1 if reports.failed or code is None else code


class _Reports:
    """Writes the reports of one profile. A report that cannot be written is not the end."""

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

    def print_summary(self, top: int | None) -> None:
        from memwatch.reports.summary import lines

        bold, dim = terminal.styles(2)
        text = "\n".join(
            lines(
                self.profile,
                self.shown,
                top=top,
                width=terminal.width(2),
                bold=bold,
                dim=dim,
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
        raise click.ClickException(
            f"cannot write {path!r}: {error.strerror}; choose another file"
        ) from None


def _streams(*, silent: bool, stdout_is_ours: bool) -> tuple[int, int]:
    """Where the command's stdout and stderr go: descriptors, -1 for memwatch's own."""
    if silent:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        return nowhere, nowhere
    return (2 if stdout_is_ours else -1), -1


def _cannot_run(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        remedy = "no such command; check the spelling and PATH"
    elif isinstance(error, PermissionError) and "/" not in name:
        # So it is too when PATH names a folder that may not be looked into.
        remedy = "no such command, or not executable; check the spelling and PATH"
    elif isinstance(error, PermissionError):
        remedy = "it is a directory" if os.path.isdir(name) else "it is not executable"
    else:
        remedy = error.strerror or str(error)
    return f"cannot run {name!r}: {remedy}"
