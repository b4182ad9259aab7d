"""`memwatch run`: runs a command and reports the memory of everything it started."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from memwatch import settings
from memwatch.commands.shared import options
from memwatch.commands.shared.files import cannot_write, exists
from memwatch.commands.shared.reporting import Reports, report_options
from memwatch.messages import complain
from memwatch.model.groups import COMMAND
from memwatch.model.limits import Limits
from memwatch.model.sources import DARWIN
from memwatch.runner import native
from memwatch.runner.event_sources import SOURCES
from memwatch.runner.launcher import Launcher
from memwatch.runner.profiler import RunOptions, profile_command

if TYPE_CHECKING:
    from memwatch.commands.shared.live_line import LiveLine
    from memwatch.model.profile import Profile
    from memwatch.storage.recording import Recorder


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
    help="Stop each process for a moment before it exits or executes, to read its exact peak "
    "(Linux).",
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
    help="When to measure the total with shared pages counted once (Linux).",
)
@click.option(
    "--sources",
    callback=options.sources,
    shell_complete=options.some_of("auto", "none", *SOURCES),
    default="auto",
    show_default=True,
    metavar="auto|none|NAME,...",
    help="What to learn from besides samples: connector, perf, taskstats; on macOS kqueue.",
)
@click.option(
    "-o",
    "--output",
    shell_complete=options.files,
    metavar="FILE",
    help="Record everything in FILE as it happens, for `memwatch report` and `view`. "
    "%h, %r, %p, %j, %t, %n stand for host, rank, process id, job id, start time, number of "
    "the run. Gzipped when the name ends in .gz.",
)
@click.option("--force", is_flag=True, help="Let --output overwrite a file.")
@click.option(
    "--repeat",
    type=click.IntRange(1, 100),
    default=1,
    metavar="N",
    help="Run the command N times, one after the other, and summarise how the runs differ.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Show on stderr, while the command runs, how much it holds. Not with --quiet.",
)
@click.option(
    "--max-total-rss",
    callback=options.size,
    metavar="SIZE",
    help="End the job when all processes together hold more: bytes, 512M or 1.5GiB (of 1024), "
    "8GB (of 1000).",
)
@click.option(
    "--max-per-proc-rss",
    callback=options.size,
    metavar="SIZE",
    help="The same when one process holds more.",
)
@click.option(
    "--max-total-pss",
    callback=options.size,
    metavar="SIZE",
    help="The same for the total with shared pages counted once, each time that --pss measures it "
    "(Linux).",
)
@click.option(
    "--on-limit",
    type=click.Choice(["kill", "report"]),
    default="kill",
    show_default=True,
    help="End the job, or only report that a limit was exceeded.",
)
@click.option(
    "--kill-after",
    callback=options.duration,
    default="5s",
    show_default=True,
    metavar="TIME",
    help="How long a job that is ended has between SIGTERM and SIGKILL.",
)
@report_options
@click.option("--silent", is_flag=True, help="Discard the command's own output.")
@click.option(
    "--post-run-cmd",
    callback=options.shell_command,
    metavar="CMD",
    help="Run CMD in a shell after the report. {} is the path of the JSON, as is $MEMWATCH_RESULT.",
)
@click.option(
    "--post-run-strict", is_flag=True, help="Exit with 1 if CMD fails and the command did not."
)
@click.option(
    "--show-settings",
    is_flag=True,
    help="Show the value of each option and where it comes from, and run nothing.",
)
@click.argument(
    "words",
    metavar="[--] COMMAND...",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=options.another_command,
)
def command(
    interval: float,
    exact: bool,
    burst: float,
    pss: str,
    sources: tuple[str, ...],
    output: str | None,
    force: bool,
    repeat: int,
    live: bool,
    max_total_rss: int | None,
    max_per_proc_rss: int | None,
    max_total_pss: int | None,
    on_limit: str,
    kill_after: float,
    silent: bool,
    post_run_cmd: str | None,
    post_run_strict: bool,
    show_settings: bool,
    words: tuple[str, ...],
    **wanted: Any,
) -> int:
    """Run COMMAND and report the memory of all processes it starts.

    The summary goes to stderr. With --json the result goes to stdout, and the
    command's own stdout to stderr. The exit code is the command's; 128 + N if
    signal N killed it; 1 if it could not be started; 10 if the job exceeded a
    limit on its total, 11 if a process exceeded the limit on each; 12 if it
    seems to leak and --fail-on-leak is given. With --repeat the first run that
    does not end with 0 is the last.

    \b
    Examples:
      memwatch run -- cargo build --release
      memwatch run -i 10 -- make -j8
      memwatch run --json -- pytest > memory.json
      memwatch run --repeat 5 -o 'before.%n.jsonl' -- ./job.sh
    """
    if show_settings:
        click.echo("\n".join(settings.lines(click.get_current_context())))
        return 0
    if not words:
        raise click.UsageError("no command to run: write it after the options, as in 'run -- make'")
    if max_total_pss and pss == "off":
        origins = settings.origins(click.get_current_context(), "max_total_pss", "pss")
        raise click.UsageError(f"--max-total-pss needs the sums that --pss off leaves out{origins}")
    if native.backend() == DARWIN:
        _look_for_linux_options(max_total_pss, pss)
    if post_run_cmd is None and options.is_typed("post_run_strict"):
        raise click.UsageError("--post-run-strict needs --post-run-cmd CMD")
    limits = Limits(max_total_rss, max_per_proc_rss, max_total_pss)
    if repeat > 1:
        from memwatch.commands.shared.repeats import refuse_reports_of_one_run, run_series

        refuse_reports_of_one_run(click.get_current_context(), {*wanted, "post_run_cmd"})
    reports = Reports(**wanted)
    try:
        recorders = _recorders(output, reports, repeat, overwrite=force)
    except click.ClickException:
        reports.abandon()
        raise
    stdout, stderr = _streams(silent=silent, stdout_is_ours=reports.as_json)

    run_options = RunOptions(
        interval=interval,
        exact=exact,
        burst=burst,
        pss=pss,
        sources=sources,
        timeline=reports.needs_timeline,
        group_by=reports.group_by or COMMAND,
        limits=limits,
        kill_after=kill_after if on_limit == "kill" else None,
        stdout=stdout,
        stderr=stderr,
    )

    def once(recorder: Recorder | None, has_other_children: bool = False) -> Profile:
        line = _live_line() if live and not reports.quiet else None
        try:
            return profile_command(
                launcher,
                words,
                replace(run_options, has_other_children=has_other_children),
                recorder=recorder,
                observers=reports.observers,
                on_progress=line.show if line else None,
            )
        except OSError as error:
            reports.abandon()
            if recorder:
                recorder.abandon()
            raise click.ClickException(_cannot_run(words[0], error)) from None
        finally:
            if line:
                line.close(wait=not reports.as_json)
            if recorder and recorder.error:
                why = recorder.error.strerror
                complain(f"the recording {recorder.path!r} is incomplete: {why}")

    with Launcher() as launcher:
        if repeat > 1:
            return run_series(
                launcher,
                once,
                recorders,
                partial(_exit_code, leaks=0, went_well=True),
                has_limits=limits.any,
                as_json=reports.as_json,
                quiet=reports.quiet,
            )
        profile = once(recorders[0])
        # Still inside: a late signal to memwatch must not cost the user the report.
        if post_run_cmd is None:
            went_well = reports.write(profile)
        else:
            went_well = _write_and_run(post_run_cmd, post_run_strict, reports, profile, launcher)
    return _exit_code(profile, leaks=reports.leak_code, went_well=went_well)


def _look_for_linux_options(max_total_pss: int | None, pss: str) -> None:
    """A limit that cannot be held must not seem to be; else nothing is lost."""
    if max_total_pss:
        origins = settings.origins(click.get_current_context(), "max_total_pss")
        raise click.UsageError(
            f"--max-total-pss{origins} is for Linux: macOS does not tell which pages are shared. "
            "Use --max-total-rss"
        )
    if pss == "always":
        complain("--pss always does nothing here: macOS does not tell which pages are shared")


def _write_and_run(
    command: str, strict: bool, reports: Reports, profile: Profile, launcher: Launcher
) -> bool:
    """The reports, then the user's command. Whether all that counts went well."""
    from memwatch.commands.shared.post_run import PostRun

    with PostRun(command) as hook:
        is_written = reports.write(profile, hook.keep)
        stdout = 2 if reports.as_json else -1
        succeeded = hook.run(launcher, profile, reports.leaks, stdout=stdout)
    return is_written and (succeeded or not strict)


def _exit_code(profile: Profile, *, leaks: int, went_well: bool) -> int:
    outcome = profile.limit_outcome
    exceeded = outcome.exit_code if outcome else 0
    if outcome and outcome.kill and exceeded:
        return exceeded
    # What leaks is often ended from outside, so that this says more than how it ended.
    if leaks:
        return leaks
    # A command that failed by itself keeps its code.
    code = profile.exit_code
    return (1 if code is None else code) or exceeded or int(not went_well)


def _recorders(
    template: str | None, reports: Reports, repeat: int, *, overwrite: bool
) -> list[Recorder | None]:
    """One for each run, all opened before the first: what cannot be written is found at once."""
    if template is None:
        return [None] * repeat
    if repeat > 1 and "%n" not in template.replace("%%", ""):
        raise click.UsageError(
            "--repeat makes a recording of each run: write %n for its number, as in "
            f"{_numbered(template)!r}"
        )
    recorders: list[Recorder | None] = []
    try:
        for number in range(1, repeat + 1):
            recorders.append(_recorder(template, reports, number, overwrite=overwrite))
    except click.ClickException:
        for recorder in recorders:
            if recorder:
                recorder.abandon()
        raise
    return recorders


def _numbered(template: str) -> str:
    if "%%n" in template:
        return template.replace("%%n", "%n")
    folder, slash, name = template.rpartition("/")
    start, dot, end = name.partition(".")
    return f"{folder}{slash}{start}.%n{dot}{end}"


def _recorder(template: str, reports: Reports, number: int, *, overwrite: bool) -> Recorder:
    from memwatch.storage.name_templates import RunContext, expand
    from memwatch.storage.recording import Recorder

    place = RunContext(os.uname().nodename, os.getpid(), time.time(), os.environ, number)
    try:
        path = expand(template, place)
    except ValueError as error:
        raise click.BadParameter(f"{template!r}: {error}.", param_hint="--output") from None
    if reports.writes(path):
        raise click.UsageError(f"--output and a report both name {path!r}: choose two files")
    try:
        return Recorder(path, overwrite=overwrite)
    except FileExistsError:
        raise exists(path) from None
    except OSError as error:
        raise cannot_write(path, error) from None


def _live_line() -> LiveLine:
    from memwatch.commands.shared.live_line import LiveLine

    return LiveLine()


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
