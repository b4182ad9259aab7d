"""`memwatch ci-check`: limits and a baseline, for a job of a CI server."""

from __future__ import annotations

import os
from functools import partial

import click

from memwatch.analysis.ci_checks import (
    Check,
    Judgment,
    check_changes,
    check_limits,
    without_baseline,
)
from memwatch.analysis.thresholds import Thresholds
from memwatch.commands.shared import options
from memwatch.commands.shared.files import (
    are_one_file,
    cannot_write,
    is_input,
    load_results,
    open_output,
)
from memwatch.messages import complain, write_stdout
from memwatch.model.limits import Limits
from memwatch.reports.verdict import line
from memwatch.storage.outputs import OutputFile


class Annotated(click.Command):
    """Tells GitHub of options that are wrong, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.ClickException as error:
            if _is_github():
                _annotate(error.format_message())
            raise


@click.command("ci-check", cls=Annotated)
@click.option(
    "--max-total-rss",
    callback=options.size,
    metavar="SIZE",
    help="What all processes together may hold at one time: 512M, 1.5GiB, 8GB.",
)
@click.option(
    "--max-per-proc-rss",
    callback=options.size,
    metavar="SIZE",
    help="What each process may hold.",
)
@click.option(
    "--max-total-pss",
    callback=options.size,
    metavar="SIZE",
    help="As --max-total-rss, with shared pages counted once.",
)
@click.option(
    "--baseline",
    shell_complete=options.files,
    metavar="FILE",
    help="Results of a run to compare with.",
)
@click.option(
    "--allow-missing-baseline",
    is_flag=True,
    help="Let --baseline name a file that is not there yet: the verdict says so.",
)
@click.option(
    "--threshold",
    "thresholds",
    callback=options.thresholds,
    multiple=True,
    metavar="[GROUP=]5%|50M",
    help="What may be more than in the baseline: of the total, or of one group, which is then "
    "checked, too. Can be given several times.  [default: 5 %, at least 1 MiB]",
)
@click.option(
    "--junit",
    "junit_path",
    shell_complete=options.files,
    metavar="FILE",
    help="Write the checks as JUnit XML, a case each.",
)
@click.argument("path", metavar="FILE", shell_complete=options.files)
def command(
    max_total_rss: int | None,
    max_per_proc_rss: int | None,
    max_total_pss: int | None,
    baseline: str | None,
    allow_missing_baseline: bool,
    thresholds: Thresholds,
    junit_path: str | None,
    path: str,
) -> int:
    """Judge FILE, a recording (`memwatch run -o FILE`) or the JSON of a run, for CI.

    Prints the verdict in one line. In GitHub Actions there are annotations, a
    job summary and outputs of the step, too. The exit code is 0 if all is
    well, 10 if a total limit was exceeded, 11 for the per-process limit, and 1
    for a regression, for memory that is not known, or for an error: the
    message tells them apart. Of several the first of these counts.

    \b
    Examples:
      memwatch ci-check build.jsonl --max-total-rss 2G --max-per-proc-rss 800M
      memwatch ci-check build.jsonl --baseline main.jsonl --threshold 5%
      memwatch ci-check build.jsonl --max-total-rss 2G --junit memory.xml
    """
    limits = Limits(max_total_rss, max_per_proc_rss, max_total_pss)
    github = _is_github()
    junit: OutputFile | None = None
    try:
        if baseline is None:
            _refuse_nothing(limits)
        if junit_path is not None:
            for each in (path, baseline):
                if each is not None and are_one_file(junit_path, each):
                    raise is_input(each)
        junit = open_output(junit_path)
        judgment = _judge(path, limits, baseline, allow_missing_baseline, thresholds)
    except click.ClickException as error:
        if junit:
            junit.abandon()
        if github:
            _annotate(error.format_message())
        raise
    code = judgment.exit_code
    _print(judgment, github)
    if github:
        _tell_github(judgment, (baseline, path))
    if junit:
        from memwatch.reports.junit import write

        try:
            junit.write(partial(write, judgment))
        except OSError as error:
            complain(str(cannot_write(junit.path, error)))
            code = code or 1
    return code


def _refuse_nothing(limits: Limits) -> None:
    """A check of nothing would always pass."""
    # Settings are for all the checks of a project, and some of them have no baseline.
    if options.is_typed("thresholds") or options.is_typed("allow_missing_baseline"):
        raise click.UsageError("--threshold and --allow-missing-baseline need --baseline FILE")
    if not limits.any:
        raise click.UsageError("nothing to check: give a limit, --max-total-rss 2G, or --baseline")


def _judge(
    path: str,
    limits: Limits,
    baseline: str | None,
    allow_missing: bool,
    thresholds: Thresholds,
) -> Judgment:
    profile = load_results(path, group_by="command").profile
    checks: list[Check] = [*check_limits(profile, limits)]
    if baseline is None:
        return Judgment(profile, tuple(checks), None)
    if not os.path.lexists(baseline):
        if not allow_missing:
            raise click.ClickException(
                f"no baseline {baseline!r}: on the first run there is none, which "
                "--allow-missing-baseline lets pass"
            )
        checks.append(without_baseline(profile, baseline))
        return Judgment(profile, tuple(checks), None)
    from memwatch.analysis.comparison import compare

    before = load_results(baseline, group_by="command").profile
    comparison = compare([before], [profile], thresholds)
    return Judgment(profile, (*checks, *check_changes(comparison)), comparison)


def _is_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _print(judgment: Judgment, github: bool) -> None:
    """The verdict, and for GitHub the annotations below it."""
    lines = [f"memwatch: {line(judgment)}"]
    if github:
        from memwatch.reports.github import annotate, log_line

        lines = [log_line(lines[0]), *annotate(judgment)]
    _write_lines(lines)


def _annotate(message: str) -> None:
    from memwatch.reports.github import command

    _write_lines([command("error", "memwatch: error", " ".join(message.split()))])


def _write_lines(lines: list[str]) -> None:
    try:
        write_stdout(lambda out: out.writelines(f"{each}\n" for each in lines))
    except OSError as error:
        # The exit code says it, too.
        complain(f"cannot write to standard output: {error.strerror}")


def _tell_github(judgment: Judgment, files: tuple[str | None, str]) -> None:
    """Appends to the files that GitHub names; a run of its own names none."""
    from memwatch.reports.github import job_summary, outputs

    texts = {
        "GITHUB_STEP_SUMMARY": job_summary(judgment, files),
        "GITHUB_OUTPUT": "".join(f"{key}={value}\n" for key, value in outputs(judgment).items()),
    }
    for name, text in texts.items():
        path = os.environ.get(name)
        if not path:
            continue
        try:
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as out:
                out.write(text)
        except OSError as error:
            complain(f"cannot write to {name}, {path!r}: {error.strerror}")
