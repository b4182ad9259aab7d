"""`memwatch ci-check`: checks results against limits and a baseline, for a CI job."""

from __future__ import annotations

import os
from functools import partial

import click

from memwatch.analysis.ci_checks import (
    Allowed,
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
from memwatch.messages import complain, print_lines
from memwatch.model.metric import Metric
from memwatch.reports.verdict import line
from memwatch.storage.outputs import OutputFile


class Annotated(click.Command):
    """A command that also reports wrong options to GitHub."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.ClickException as error:
            if _is_github():
                _annotate(error.format_message())
            raise


@click.command("ci-check", cls=Annotated)
@options.size_option(
    "--max-total-rss",
    help="The most that all processes together may hold at one time: 512M, 1.5GiB, 8GB.",
)
@options.size_option("--max-per-proc-rss", help="The most that each process may hold.")
@options.size_option(
    "--max-total-pss", help="Like --max-total-rss, but with shared pages counted once."
)
@options.size_option(
    "--max-total-footprint",
    help="The most that the job may hold of memory that the system cannot simply drop.",
)
@options.file("--baseline", help="Results of a run to compare with.")
@click.option(
    "--allow-missing-baseline",
    is_flag=True,
    help="Accept a --baseline that does not exist yet; the verdict mentions it.",
)
@options.METRIC
@options.threshold("of the total, or of one group, which is then also checked.")
@options.file("--junit", "junit_path", help="Write each check as a test case of JUnit XML.")
@options.FILE
def command(
    max_total_rss: int | None,
    max_per_proc_rss: int | None,
    max_total_pss: int | None,
    max_total_footprint: int | None,
    baseline: str | None,
    allow_missing_baseline: bool,
    metric: Metric | None,
    thresholds: Thresholds,
    junit_path: str | None,
    path: str,
) -> int:
    """Judge FILE, a recording (`memwatch run -o FILE`) or the JSON of a run, for CI.

    Prints the verdict in one line; in GitHub Actions also annotations, a job
    summary and outputs of the step. The exit code is 0 if all is well, 10 if a
    total limit was exceeded, 11 if the per-process limit was, and 1 for a
    regression, unknown memory, a job that failed or ran out of memory, or an
    error: the message names it. If several apply, the first of these counts.

    \b
    Examples:
      memwatch ci-check build.jsonl --max-total-rss 2G --max-per-proc-rss 800M
      memwatch ci-check build.jsonl --max-total-footprint 2G
      memwatch ci-check build.jsonl --baseline main.jsonl --threshold 5%
      memwatch ci-check build.jsonl --max-total-rss 2G --junit memory.xml
    """
    limits = Allowed(max_total_rss, max_per_proc_rss, max_total_pss, max_total_footprint)
    junit: OutputFile | None = None
    try:
        if baseline is None:
            _refuse_nothing(limits)
        junit = _open_junit(junit_path, inputs=(path, baseline))
        judgment = _judge(path, limits, baseline, allow_missing_baseline, thresholds, metric)
    except click.ClickException as error:
        if junit:
            junit.abandon()
        if _is_github():
            _annotate(error.format_message())
        raise
    _print(judgment)
    if _is_github():
        _append_to_github_files(judgment, (baseline, path))
    is_written = _write_junit(junit, judgment) if junit else True
    return judgment.exit_code or (0 if is_written else 1)


def _open_junit(path: str | None, *, inputs: tuple[str | None, ...]) -> OutputFile | None:
    """Raises ClickException, also for a file that is one of the inputs."""
    for each in inputs:
        if path is not None and each is not None and are_one_file(path, each):
            raise is_input(each)
    return open_output(path)


def _write_junit(file: OutputFile, judgment: Judgment) -> bool:
    """Returns whether the file could be written; complains if not."""
    from memwatch.reports.junit import write

    try:
        file.write(partial(write, judgment))
    except OSError as error:
        complain(str(cannot_write(file.path, error)))
        return False
    return True


def _refuse_nothing(limits: Allowed) -> None:
    """Raises UsageError when there is nothing to check, which would always pass."""
    # Settings are for all the checks of a project, and some of them have no baseline.
    if any(map(options.is_typed, ("thresholds", "allow_missing_baseline", "metric"))):
        raise click.UsageError(
            "--threshold, --metric and --allow-missing-baseline need --baseline FILE"
        )
    if not limits.any:
        raise click.UsageError("nothing to check: give a limit, --max-total-rss 2G, or --baseline")


def _judge(
    path: str,
    limits: Allowed,
    baseline: str | None,
    allow_missing: bool,
    thresholds: Thresholds,
    metric: Metric | None,
) -> Judgment:
    profile = load_results(path, group_by="command").profile
    checks: list[Check] = [*check_limits(profile, limits)]
    if baseline is None:
        return Judgment(profile, tuple(checks), None)
    if not os.path.lexists(baseline):
        if not allow_missing:
            raise click.ClickException(
                f"no baseline {baseline!r}: expected on a first run; pass --allow-missing-baseline "
                "to accept it"
            )
        checks.append(without_baseline(profile, baseline, metric))
        return Judgment(profile, tuple(checks), None)
    from memwatch.analysis.comparison import NotMeasuredError, compare

    before = load_results(baseline, group_by="command").profile
    try:
        comparison = compare([before], [profile], thresholds, metric)
    except NotMeasuredError as error:
        raise click.UsageError(str(error)) from None
    return Judgment(profile, (*checks, *check_changes(comparison)), comparison)


def _is_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _print(judgment: Judgment) -> None:
    """Prints the verdict, and for GitHub the annotations below it.

    A failure changes nothing: the exit code still has the verdict.
    """
    lines = [f"memwatch: {line(judgment)}"]
    if _is_github():
        from memwatch.reports.github import annotate, log_line

        lines = [log_line(lines[0]), *annotate(judgment)]
    print_lines(lines)


def _annotate(message: str) -> None:
    from memwatch.reports.github import workflow_command

    print_lines([workflow_command("error", "memwatch: error", " ".join(message.split()))])


def _append_to_github_files(judgment: Judgment, files: tuple[str | None, str]) -> None:
    """Appends to the files that GitHub names in the environment."""
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
