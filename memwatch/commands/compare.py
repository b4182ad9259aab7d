"""`memwatch compare`: compares the memory of one set of runs with that of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memwatch.commands.shared import options, terminal
from memwatch.commands.shared.files import load_results
from memwatch.messages import complain, print_json, print_lines

if TYPE_CHECKING:
    from memwatch.analysis.comparison import Comparison
    from memwatch.analysis.thresholds import Thresholds
    from memwatch.model.metric import Metric
    from memwatch.model.profile import Profile

_SIDES = ("--base", "--candidate")

MOST_RUNS = 100
"""Most runs of one side: more prove nothing more, and the confidence interval takes its time."""


class FilesAfterOption(click.Command):
    """A command whose `--base` and `--candidate` take all words up to the next option, as a shell's
    glob gives them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        side = ""
        for place, word in enumerate(args):
            if word == "--":
                words += args[place:]
                break
            name, equals, _ = word.partition("=")
            if name in _SIDES:
                side = name
                if equals:
                    words.append(word)
                elif not args[place + 1 :] or args[place + 1].startswith("-"):
                    if ctx.resilient_parsing:  # a shell completes it
                        continue
                    raise click.UsageError(f"{name} needs a file", ctx)
            elif word.startswith("-"):
                side = ""
                words.append(word)
            else:
                words += [side, word] if side else [word]
        return super().parse_args(ctx, words)


@click.command("compare", cls=FilesAfterOption)
@options.file("--base", multiple=True, metavar="FILE...", help="Repeats of the run before.")
@options.file("--candidate", multiple=True, metavar="FILE...", help="Repeats of the run after.")
@options.threshold("of the total, or of one group, which then also decides.")
@options.METRIC
@options.GROUP_BY
@options.JSON
@click.option("--markdown", "as_markdown", is_flag=True, help="Write Markdown.")
@click.argument("files", metavar="[BASE CANDIDATE]", nargs=-1, shell_complete=options.files)
def command(
    base: tuple[str, ...],
    candidate: tuple[str, ...],
    thresholds: Thresholds,
    metric: Metric | None,
    group_by: str | None,
    as_json: bool,
    as_markdown: bool,
    files: tuple[str, ...],
) -> int:
    """Compare the memory of CANDIDATE with that of BASE, recordings or JSON of runs.

    With repeats (--base, --candidate) the result has a confidence interval: a
    regression is more than the allowed increase, and more than the noise between
    the runs. The total in the metric decides (RSS; on macOS the footprint), and
    each group that has a threshold of its own.

    The exit code is 0 when there is no regression. It is 1 when there is one, when
    there is no verdict, as on a lower peak of a job that died, and for an error,
    which is one line on stderr.

    \b
    Examples:
      memwatch compare before.jsonl after.jsonl
      memwatch compare --threshold 50M --threshold rustc=10% before.jsonl after.jsonl
      memwatch compare --metric footprint before.jsonl after.jsonl
      memwatch compare --base before.*.jsonl --candidate after.*.jsonl
    """
    if as_json and as_markdown:
        # An option that was typed wins over a setting.
        as_json, as_markdown = options.is_typed("as_json"), options.is_typed("as_markdown")
        if as_json == as_markdown:
            raise click.UsageError("--json and --markdown both go to stdout: choose one")
    sides = _sides(base, candidate, files)
    comparison = _compare(sides, thresholds, metric, group_by)
    if not _print(comparison, sides, as_json=as_json, as_markdown=as_markdown):
        return 1
    return _exit_code(comparison, is_reported=not (as_json or as_markdown))


def _sides(
    base: tuple[str, ...], candidate: tuple[str, ...], files: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the files of the base and of the candidate."""
    if files and (base or candidate):
        raise click.UsageError(
            f"{files[0]!r} belongs to neither side: write it after --base or --candidate"
        )
    if files:
        if len(files) != 2:
            given = "one file" if len(files) == 1 else f"{len(files)} files"
            raise click.UsageError(
                f"{given} given: write BASE CANDIDATE, or repeats: --base FILES --candidate FILES"
            )
        return files[:1], files[1:]
    if not base or not candidate:
        raise click.UsageError(
            "nothing to compare: write BASE CANDIDATE, or repeats: --base FILES --candidate FILES"
        )
    for side in (base, candidate):
        if len(side) > MOST_RUNS:
            raise click.UsageError(f"{len(side)} files of one side: give {MOST_RUNS} at most")
        seen: dict[str, str] = {}
        for path in side:
            if seen.setdefault(os.path.realpath(path), path) is not path:
                raise click.UsageError(f"{path!r} is given twice: each file is one run")
    return base, candidate


def _compare(
    sides: tuple[Sequence[str], Sequence[str]],
    thresholds: Thresholds,
    metric: Metric | None,
    group_by: str | None,
) -> Comparison:
    from memwatch.analysis.comparison import NotMeasuredError, compare
    from memwatch.model.groups import PARENT

    def profiles(paths: Sequence[str]) -> list[Profile]:
        return [load_results(path, group_by=group_by).profile for path in paths]

    base, candidate = map(profiles, sides)
    keys = list(dict.fromkeys(profile.group_by for profile in (*base, *candidate)))
    if len(keys) > 1:
        raise click.UsageError(
            f"files are grouped by {keys[0]} and by {keys[1]}: choose one with --group-by"
        )
    if keys[0] == PARENT:
        raise click.UsageError(
            f"groups by {PARENT} belong to one run, like its pids: choose another --group-by"
        )
    try:
        return compare(base, candidate, thresholds, metric)
    except NotMeasuredError as error:
        raise click.UsageError(str(error)) from None


def _print(
    comparison: Comparison,
    sides: tuple[Sequence[str], Sequence[str]],
    *,
    as_json: bool,
    as_markdown: bool,
) -> bool:
    """Returns whether the report could be written."""
    if as_json:
        from memwatch.reports.comparison_json import document

        return print_json(document(comparison, sides))
    if as_markdown:
        from memwatch.reports.comparison_markdown import markdown

        return print_lines(markdown(comparison, sides))
    from memwatch.reports.comparison_report import lines

    bold, dim = terminal.styles(1)
    return print_lines(lines(comparison, sides, width=terminal.width(1), bold=bold, dim=dim))


def _exit_code(comparison: Comparison, *, is_reported: bool) -> int:
    """`is_reported`: the report shows the verdict to a person, so stderr need not."""
    from memwatch.analysis.comparison import Verdict
    from memwatch.reports.comparison_rows import verdict_line

    if comparison.verdict is Verdict.UNKNOWN:
        raise click.ClickException(f"no verdict: {verdict_line(comparison)}")
    if not comparison.regressions:
        return 0
    if not is_reported:
        complain(f"regression: {verdict_line(comparison)}")
    return 1
