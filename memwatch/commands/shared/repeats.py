"""`memwatch run --repeat`: one run after the other, and what they have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from memwatch.analysis.repeats import RepeatedRun, Series, run_of
from memwatch.commands.shared import terminal
from memwatch.messages import complain, write_stderr, write_stdout
from memwatch.runner.launcher import Launcher

if TYPE_CHECKING:
    from memwatch.model.profile import Profile
    from memwatch.storage.recording import Recorder


# What does more than to shape the summary: that it is left out must be known.
EFFECTS = ("csv_path", "timeline_path", "leaks", "fail_on_leak", "post_run_cmd")


def refuse_reports_of_one_run(context: click.Context, reports: Container[str]) -> None:
    """A series has a summary and JSON; the other options of a report are of one run.

    Settings of a user or a project that only shape the summary do no harm.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not (given or (name in EFFECTS and context.params[name])):
            continue
        if name in reports and name not in ("as_json", "quiet"):
            raise click.UsageError(
                f"{parameter.opts[-1]} is of one run, not of a series: record each with "
                "-o FILE.%n.jsonl, and use memwatch report"
            )


def run_series(
    launcher: Launcher,
    once: Callable[[Recorder | None, bool], Profile],
    recorders: Sequence[Recorder | None],
    exit_code: Callable[[Profile], int],
    *,
    has_limits: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Runs once(recorder, has_other_children) for each recorder: the exit code.

    `exit_code` tells that of one run. One that is not 0 ends the series, and so does a signal that
    asks for it.
    """
    runs: list[RepeatedRun] = []
    left_behind: list[int] = []
    wanted = len(recorders)
    cannot_run = ""
    profile: Profile | None = None
    for number, recorder in enumerate(recorders, 1):
        try:
            profile = once(recorder, bool(left_behind))
        except click.ClickException as error:
            _abandon(recorders[number:])
            if profile is None:
                raise
            cannot_run = error.format_message()
            break
        path = recorder.path if recorder else None
        runs.append(run_of(number, profile, exit_code(profile), path))
        if not (quiet or as_json):
            _show(runs[-1], profile, wanted)
        launcher.discard_signals()
        if runs[-1].exit_code != 0 or launcher.end_signal:
            _abandon(recorders[number:])
            break
        if number < wanted and _is_left(profile):
            left_behind.append(number)
            if has_limits:
                _abandon(recorders[number:])
                cannot_run = f"run {number} left processes behind, which a limit would strike"
                break
    assert profile
    series = Series(
        profile.command,
        profile.sampling.interval,
        wanted,
        tuple(runs),
        launcher.end_signal,
        tuple(left_behind),
    )
    is_written = _write(series, as_json=as_json, quiet=quiet)
    if cannot_run:
        complain(f"run {len(runs) + 1} of {wanted}: {cannot_run}")
    return series.exit_code or (1 if cannot_run or not is_written else 0)


def _show(run: RepeatedRun, profile: Profile, wanted: int) -> None:
    """A line for a run that is over, and more when it exceeded a limit."""
    from memwatch.reports.limit_lines import lines
    from memwatch.reports.repeats_report import progress

    complain(progress(run, wanted))
    if profile.limit_outcome and profile.limit_outcome.breaches:
        with suppress(OSError):
            write_stderr("".join(f"{line}\n" for line in lines(profile, *terminal.styles(2))))


def _abandon(recorders: Sequence[Recorder | None]) -> None:
    for recorder in recorders:
        if recorder:
            recorder.abandon()


def _is_left(profile: Profile) -> bool:
    """Whether processes are still there that were when the command ended."""
    return any(_exists(process.pid) for process in profile.processes if process.alive)


def _exists(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:  # its parent is another
        return os.path.exists(f"/proc/{pid}")


def _write(series: Series, *, as_json: bool, quiet: bool) -> bool:
    from memwatch.reports import repeats_report as report

    if as_json:
        try:
            write_stdout(lambda out: print(report.to_json(series), end="", file=out))
        except OSError as error:
            complain(f"cannot write to standard output: {error.strerror}")
            return False
    elif not quiet:
        bold, dim = terminal.styles(2)
        lines = report.lines(series, width=terminal.width(2), bold=bold, dim=dim)
        try:
            write_stderr("\n".join(lines) + "\n")
        except OSError:
            return False  # there is nowhere left to say so
    return True
