"""`memwatch run`: runs a command and reports the memory of everything it started."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from memwatch import settings
from memwatch.commands.shared import options
from memwatch.commands.shared.reporting import Reports, report_options, show_limits
from memwatch.messages import complain, print_lines
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


class Arguments(NamedTuple):
    """The command line of `run`, except for the options of its reports.

    The names are those of click's parameters. Times are seconds, sizes are bytes.
    """

    words: tuple[str, ...]
    """The command."""
    interval: float
    exact: bool
    burst: float
    pss: str
    sources: tuple[str, ...]
    cgroup: bool
    output: str | None
    """The template for the names of recordings."""
    force: bool
    repeat: int
    live: bool
    max_total_rss: int | None
    max_per_proc_rss: int | None
    max_total_pss: int | None
    max_total_footprint: int | None
    min_available: int | None
    on_limit: str
    kill_after: float
    silent: bool
    post_run_cmd: str | None
    post_run_strict: bool

    @property
    def limits(self) -> Limits:
        return Limits(
            self.max_total_rss,
            self.max_per_proc_rss,
            self.max_total_pss,
            self.max_total_footprint,
            self.min_available,
        )

    def run_options(self, reports: Reports) -> RunOptions:
        """Returns how each run is to be made."""
        stdout, stderr = _streams(silent=self.silent, stdout_is_ours=reports.as_json)
        return RunOptions(
            interval=self.interval,
            exact=self.exact,
            burst=self.burst,
            pss=self.pss,
            sources=self.sources,
            cgroup=self.cgroup,
            timeline=reports.needs_timeline,
            group_by=reports.group_by or COMMAND,
            limits=self.limits,
            kill_after=self.kill_after if self.on_limit == "kill" else None,
            stdout=stdout,
            stderr=stderr,
        )


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option(
    "-i",
    "--interval",
    callback=options.interval,
    default="500",
    show_default=True,
    metavar="TIME",
    help="Time between samples: 10 (milliseconds), 10ms, 0.5ms, 1s. With a limit, 10ms at most.",
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
    help="Event sources to use besides samples: connector, perf, taskstats; on macOS kqueue.",
)
@click.option(
    "--cgroup",
    is_flag=True,
    help="Run the command in a control group of its own, where one may be made, and report the "
    "kernel's account of it (Linux).",
)
@options.file(
    "-o",
    "--output",
    help="Record everything in FILE as it happens, for `memwatch report` and `view`. "
    "%h, %r, %p, %j, %t, %n stand for host, rank, process id, job id, start time, number of "
    "the run. Gzipped when the name ends in .gz.",
)
@options.force("--output")
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
    help="Show on stderr how much memory the command holds while it runs. Not with --quiet.",
)
@options.size_option(
    "--max-total-rss",
    help="End the job when all processes together hold more: bytes, 512M or 1.5GiB (of 1024), "
    "8GB (of 1000).",
)
@options.size_option("--max-per-proc-rss", help="The same when one process holds more.")
@options.size_option(
    "--max-total-pss",
    help="The same for the total with shared pages counted once (Linux).",
)
@options.size_option(
    "--max-total-footprint",
    help="The same for the memory that the system cannot simply drop.",
)
@options.size_option(
    "--min-available",
    help="The same when the machine, or a control group of the job, has less memory left (Linux).",
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
    help="Time between SIGTERM and SIGKILL when a limit ends the job.",
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
    help="Show the value of each option and where it comes from; run nothing.",
)
@click.argument(
    "words",
    metavar="[--] COMMAND...",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=options.another_command,
)
def command(show_settings: bool, **given: Any) -> int:
    """Run COMMAND and report the memory of all processes it starts.

    The summary goes to stderr. With --json the result goes to stdout, and the
    command's own stdout to stderr. The exit code is the command's; 128 + N if
    signal N killed it; 1 if it could not be started; 10 if the job exceeded a
    limit on its total or left too little memory, 11 if a process exceeded the
    limit on each; 12 if it seems to leak and --fail-on-leak is given. With
    --repeat the first run that does not end with 0 is the last.

    \b
    Examples:
      memwatch run -- cargo build --release
      memwatch run -i 10 -- make -j8
      memwatch run --json -- pytest > memory.json
      memwatch run --repeat 5 -o 'before.%n.jsonl' -- ./job.sh
    """
    context = click.get_current_context()
    if show_settings:
        return 0 if print_lines(settings.lines(context)) else 1
    own = Arguments._fields
    arguments = Arguments(**{name: value for name, value in given.items() if name in own})
    wanted = {name: value for name, value in given.items() if name not in own}
    _refuse_contradictions(arguments, context)
    if arguments.repeat > 1:
        from memwatch.commands.shared.repeats import refuse_reports_of_one_run

        refuse_reports_of_one_run(context, {*wanted, "post_run_cmd"})
    reports = Reports(**wanted)
    try:
        recorders = _open_recorders(arguments, reports)
    except click.ClickException:
        reports.abandon()
        raise
    with Launcher() as launcher:
        job = _Job(launcher, arguments, reports)
        if arguments.repeat > 1:
            return _run_series(job, recorders)
        return _run_once(job, recorders[0])


def _open_recorders(arguments: Arguments, reports: Reports) -> list[Recorder | None]:
    """Returns a recorder for each run; None for each without --output. Raises ClickException."""
    if arguments.output is None:
        return [None] * arguments.repeat
    from memwatch.commands.shared.recorders import open_recorders

    return open_recorders(
        arguments.output,
        arguments.repeat,
        overwrite=arguments.force,
        is_taken=reports.writes,
    )


def _refuse_contradictions(arguments: Arguments, context: click.Context) -> None:
    """Raises UsageError for arguments that are right one by one, but not together or not here."""
    if not arguments.words:
        raise click.UsageError("no command to run: write it after the options, as in 'run -- make'")
    if arguments.max_total_pss and arguments.pss == "off":
        origins = settings.origins(context, "max_total_pss", "pss")
        raise click.UsageError(f"--max-total-pss needs the sums that --pss off leaves out{origins}")
    if native.backend() == DARWIN:
        _refuse_linux_options(arguments, context)
    if arguments.post_run_cmd is None and options.is_typed("post_run_strict"):
        raise click.UsageError("--post-run-strict needs --post-run-cmd CMD")


def _refuse_linux_options(arguments: Arguments, context: click.Context) -> None:
    """Refuses a limit that macOS cannot keep; an option that only has no effect is a warning."""
    if arguments.max_total_pss:
        origins = settings.origins(context, "max_total_pss")
        raise click.UsageError(
            f"--max-total-pss{origins} is for Linux: macOS does not report which pages are shared. "
            "Use --max-total-rss"
        )
    if arguments.min_available:
        origins = settings.origins(context, "min_available")
        raise click.UsageError(f"--min-available{origins} is for Linux. Use --max-total-footprint")
    if arguments.pss == "always":
        complain("--pss always has no effect: macOS does not report which pages are shared")


class _Job:
    """The command, which is run as often as run() is called."""

    def __init__(self, launcher: Launcher, arguments: Arguments, reports: Reports) -> None:
        self.launcher = launcher
        self.arguments = arguments
        self.reports = reports
        self._options = arguments.run_options(reports)

    def run(self, recorder: Recorder | None, has_other_children: bool = False) -> Profile:
        """Runs the command to its end. Raises ClickException when it cannot be started."""
        words = self.arguments.words
        line = _live_line() if self.arguments.live and not self.reports.quiet else None
        try:
            return profile_command(
                self.launcher,
                words,
                self._options._replace(has_other_children=has_other_children),
                recorder=recorder,
                observers=self.reports.observers,
                on_progress=line.show if line else None,
                warn=complain,
            )
        except OSError as error:
            self.reports.abandon()
            if recorder:
                recorder.abandon()
            raise click.ClickException(_cannot_run(words[0], error)) from None
        finally:
            if line:
                line.close(wait=not self.reports.as_json)
            if recorder and recorder.error:
                why = recorder.error.strerror
                complain(f"the recording {recorder.path!r} is incomplete: {why}")


def _run_series(job: _Job, recorders: list[Recorder | None]) -> int:
    from memwatch.commands.shared.repeats import run_series

    return run_series(
        job.launcher,
        job.run,
        recorders,
        partial(_exit_code, leaks=0, went_well=True),
        has_limits=job.arguments.limits.any,
        as_json=job.reports.as_json,
        quiet=job.reports.quiet,
    )


def _run_once(job: _Job, recorder: Recorder | None) -> int:
    """Runs the command and reports. The launcher still takes signals: a late one to memwatch must
    not cost the user the report."""
    profile = job.run(recorder)
    if job.arguments.limits.any and not job.reports.has_summary:
        show_limits(profile)
    if job.arguments.post_run_cmd is None:
        went_well = job.reports.write(profile)
    else:
        went_well = _write_and_run(job.arguments.post_run_cmd, job, profile)
    return _exit_code(profile, leaks=job.reports.leak_code, went_well=went_well)


def _write_and_run(command: str, job: _Job, profile: Profile) -> bool:
    """Writes the reports and runs the user's command. Returns whether all that counts went well."""
    from memwatch.commands.shared.post_run import PostRun

    reports = job.reports
    with PostRun(command) as hook:
        is_written = reports.write(profile, hook.keep)
        stdout = 2 if reports.as_json else -1
        succeeded = hook.run(job.launcher, profile, reports.leaks, stdout=stdout)
    return is_written and (succeeded or not job.arguments.post_run_strict)


def _exit_code(profile: Profile, *, leaks: int, went_well: bool) -> int:
    outcome = profile.limit_outcome
    exceeded = outcome.exit_code if outcome else 0
    if outcome and outcome.kill and exceeded:
        return exceeded
    # A program that leaks is often ended from outside: the leak matters more than how it ended.
    if leaks:
        return leaks
    # A command that failed by itself keeps its code.
    code = profile.exit_code
    return (1 if code is None else code) or exceeded or int(not went_well)


def _live_line() -> LiveLine:
    from memwatch.commands.shared.live_line import LiveLine

    return LiveLine()


def _streams(*, silent: bool, stdout_is_ours: bool) -> tuple[int, int]:
    """Returns descriptors for the command's stdout and stderr; -1 stands for memwatch's own."""
    if silent:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        return nowhere, nowhere
    return (2 if stdout_is_ours else -1), -1


def _cannot_run(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        remedy = "no such command; check the spelling and PATH"
    elif isinstance(error, PermissionError) and "/" not in name:
        # Also the error when PATH names a folder that may not be searched.
        remedy = "no such command, or not executable; check the spelling and PATH"
    elif isinstance(error, PermissionError):
        remedy = "it is a directory" if os.path.isdir(name) else "it is not executable"
    else:
        remedy = error.strerror or str(error)
    return f"cannot run {name!r}: {remedy}"
