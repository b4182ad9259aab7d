"""A Judgment for GitHub Actions: annotations, a job summary, outputs of the step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from memwatch.analysis.ci_checks import (
    FAILED,
    INCONCLUSIVE,
    OK,
    PASSED,
    SKIPPED,
    UNPROVEN,
    Judgment,
)
from memwatch.model.filters import Filter, apply
from memwatch.reports import summary
from memwatch.reports.comparison_markdown import markdown as markdown_comparison
from memwatch.reports.verdict import HEADLINES
from memwatch.units import command_text, cut, kib, printable

# GitHub shows this many annotations of each level from one step.
ANNOTATIONS = 10

# Size of the whole report in the job summary, in characters and processes.
WIDTH = 100
TOP = 10

_ICONS = {PASSED: "✅", FAILED: "❌", UNPROVEN: "❓", SKIPPED: "➖"}


def annotate(judgment: Judgment) -> Iterator[str]:
    """Yields workflow commands, a line each: what failed, what limits that, what was skipped."""
    failed = judgment.of(FAILED, UNPROVEN)
    for check in failed[: ANNOTATIONS - 1]:
        result = check.breach if check.outcome == FAILED else INCONCLUSIVE
        yield workflow_command("error", f"memwatch: {HEADLINES[result]}", check.sentence)
    if more := failed[ANNOTATIONS - 1 :]:
        yield workflow_command("error", "memwatch", f"{len(more)} more: see the job summary")
    for warning in judgment.warnings:
        yield workflow_command("warning", "memwatch", warning)
    for check in judgment.of(SKIPPED):
        yield workflow_command("notice", "memwatch", check.sentence)


def workflow_command(level: str, title: str, message: str) -> str:
    """Returns a workflow command, https://docs.github.com/actions/reference/workflow-commands.

    The runner undoes these escapes, and no others.
    """
    escaped = printable(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={escaped}::{printable(message).replace('%', '%25')}"


def log_line(text: str) -> str:
    """Returns a line that the runner does not take for a command: it searches for `##[` anywhere in
    it, and for `::` at its start."""
    return text.replace("##[", "## [")


def outputs(judgment: Judgment) -> Mapping[str, str]:
    """Returns the outputs of the step; an unknown size is empty."""
    profile = judgment.profile
    sizes = {
        "max-total-rss-kib": profile.total_rss.size,
        "max-total-pss-kib": profile.total_pss.comparable,
        "max-total-footprint-kib": profile.total_footprint.size,
        "max-per-proc-rss-kib": profile.process_rss.size,
    }
    known = {name: "" if size is None else str(kib(size)) for name, size in sizes.items()}
    return {"result": judgment.result, **known}


def job_summary(judgment: Judgment, files: tuple[str | None, str]) -> str:
    """Returns Markdown: the checks, what changed, and the whole report folded away.

    `files` are the names of the baseline and of the results.
    """
    job = command_text(judgment.profile.command)
    opened = "" if judgment.result == OK else " open"
    return "\n".join(
        (
            f"### memwatch: {HEADLINES[judgment.result]}",
            "",
            _code(cut(job, WIDTH)),
            "",
            "| | check | found |",
            "|---|---|---|",
            *(
                f"| {_ICONS[check.outcome]} | {markdown(check.name)} | {markdown(check.finding)} |"
                for check in judgment.of(FAILED, UNPROVEN, PASSED, SKIPPED)
            ),
            "",
            *_changes(judgment, files),
            "",
            f"<details{opened}><summary>The whole report</summary>",
            "",
            *_report(judgment),
            "",
            "</details>",
            "",
            "",
        )
    )


def _changes(judgment: Judgment, files: tuple[str | None, str]) -> Iterator[str]:
    """Yields the comparison with the baseline; without one, what limits the checks."""
    if judgment.comparison is None:
        yield from (f"- {markdown(note)}" for note in judgment.notes)
        return
    baseline, results = files
    sides = ((baseline or "",), (results,))
    yield from markdown_comparison(judgment.comparison, sides)


def _report(judgment: Judgment) -> Iterator[str]:
    shown = apply(judgment.profile.processes, Filter(None, None))
    text = "\n".join(
        summary.lines(judgment.profile, shown, top=TOP, width=WIDTH, bold=str, dim=str)
    )
    yield _code(text.strip("\n"))


def _code(text: str) -> str:
    """Returns a code block that its text cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def markdown(text: str) -> str:
    """Escapes text so that it has no markup, no HTML, and no end of a table's cell."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", text)
