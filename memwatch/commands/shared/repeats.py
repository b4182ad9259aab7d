"""`memwatch run --repeat`: makes the runs one after the other, and reports their spread."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from memwatch.analysis.repeats import RepeatedRun, Series, run_of
from memwatch.commands.shared import terminal
from memwatch.commands.shared.recorders import abandon
from memwatch.commands.shared.reporting import show_limits
from memwatch.messages import complain, print_json, write_stderr
from memwatch.runner.launcher import Launcher

if TYPE_CHECKING:
    from memwatch.model.profile import Profile
    from memwatch.storage.recording import Recorder


# Options that do more than shape the summary: a user must know that a series leaves them out.
EFFECTS = ("csv_path", "timeline_path", "leaks", "fail_on_leak", "post_run_cmd")


def refuse_reports_of_one_run(context: click.Context, reports: Container[str]) -> None:
    """Raises UsageError for report options that a series does not have: all but --json and --quiet.

    Settings of a user or a project that only shape the summary are ignored.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not (given or (name in EFFECTS and context.params[name])):
            continue
        if name in reports and name not in ("as_json", "quiet"):
            raise click.UsageError(
                f"{parameter.opts[-1]} reports one run, not a series: record each run with "
                "-o FILE.%n.jsonl, and use memwatch report"
            )


def run_series(
    launcher: Launcher,
    run: Callable[[Recorder | None, bool], Profile],
    recorders: Sequence[Recorder | None],
    exit_code: Callable[[Profile], int],
    *,
    has_limits: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Calls run(recorder, has_other_children) for each recorder. Returns the exit code.

    `exit_code` returns that of one run. A run whose exit code is not 0 ends the series, and so does
    a signal that asks memwatch to end.
    """
    runs: list[RepeatedRun] = []
    left_behind: list[int] = []
    wanted = len(recorders)
    not_run = ""
    profile: Profile | None = None
    for number, recorder in enumerate(recorders, 1):
        try:
            profile = run(recorder, bool(left_behind))
        except click.ClickException as error:
            if profile is None:
                abandon(recorders[number:])
                raise
            not_run = error.format_message()
            break
        path = recorder.path if recorder else None
        runs.append(run_of(number, profile, exit_code(profile), path))
        if quiet or as_json:
            show_limits(profile)
        else:
            _show(runs[-1], profile, wanted)
        launcher.discard_signals()
        if runs[-1].exit_code != 0 or launcher.end_signal:
            break
        if number < wanted and _left_processes(profile):
            left_behind.append(number)
            if has_limits:
                not_run = f"run {number} left processes behind, and a limit would end those as well"
                break
    abandon(recorders[number:])
    assert profile
    signal = launcher.end_signal
    interval = profile.sampling.interval
    series = Series(profile.command, interval, wanted, tuple(runs), signal, tuple(left_behind))
    is_written = _write(series, as_json=as_json, quiet=quiet)
    if not_run:
        complain(f"run {len(runs) + 1} of {wanted}: {not_run}")
    return series.exit_code or (1 if not_run or not is_written else 0)


def _show(run: RepeatedRun, profile: Profile, wanted: int) -> None:
    """Writes a line on a run that is over, and more when it exceeded a limit."""
    from memwatch.reports.limit_lines import lines
    from memwatch.reports.repeats_report import progress

    complain(progress(run, wanted))
    if profile.limit_outcome and profile.limit_outcome.breaches:
        with suppress(OSError):
            write_stderr("".join(f"{line}\n" for line in lines(profile, *terminal.styles(2))))


def _left_processes(profile: Profile) -> bool:
    """Whether processes still exist that were alive when the command ended."""
    return any(_exists(process.pid) for process in profile.processes if process.alive)


def _exists(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:  # it is not a child of this process
        return os.path.exists(f"/proc/{pid}")


def _write(series: Series, *, as_json: bool, quiet: bool) -> bool:
    """Returns whether the report could be written."""
    from memwatch.reports import repeats_report as report

    if as_json:
        return print_json(report.document(series))
    if not quiet:
        bold, dim = terminal.styles(2)
        lines = report.lines(series, width=terminal.width(2), bold=bold, dim=dim)
        try:
            write_stderr("\n".join(lines) + "\n")
        except OSError:
            return False  # there is nowhere left to report it
    return True
