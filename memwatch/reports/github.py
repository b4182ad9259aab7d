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
from memwatch.reports import comparison_report, summary
from memwatch.reports.verdict import HEADLINES
from memwatch.units import command_text, cut, kib, printable

# GitHub shows so many annotations of each level from one step.
ANNOTATIONS = 10

# Of the whole report in the job summary, in characters and processes.
WIDTH = 100
TOP = 10

_MARKS = {PASSED: "✅", FAILED: "❌", UNPROVEN: "❓", SKIPPED: "➖"}


def annotate(judgment: Judgment) -> Iterator[str]:
    """Workflow commands, a line each: what failed, how far that holds, what was left out."""
    failed = judgment.of(FAILED, UNPROVEN)
    for check in failed[: ANNOTATIONS - 1]:
        result = check.breach if check.outcome == FAILED else INCONCLUSIVE
        yield command("error", f"memwatch: {HEADLINES[result]}", check.sentence)
    if more := failed[ANNOTATIONS - 1 :]:
        yield command("error", "memwatch", f"{len(more)} more: see the job summary")
    for warning in judgment.warnings:
        yield command("warning", "memwatch", warning)
    for check in judgment.of(SKIPPED):
        yield command("notice", "memwatch", check.sentence)


def command(level: str, title: str, message: str) -> str:
    """A workflow command, https://docs.github.com/actions/reference/workflow-commands.

    The runner undoes these escapes, and no others.
    """
    escaped = printable(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={escaped}::{printable(message).replace('%', '%25')}"


def log_line(text: str) -> str:
    """A line that the runner does not take for a command: it looks for `##[` anywhere in it, and
    for `::` at its start."""
    return text.replace("##[", "## [")


def outputs(judgment: Judgment) -> Mapping[str, str]:
    """Of the step, empty where unknown."""
    profile = judgment.profile
    sizes = {
        "max-total-rss-kib": profile.max_total_rss,
        "max-total-pss-kib": profile.total_pss.comparable,
        "max-per-proc-rss-kib": profile.process_rss.size,
    }
    known = {name: "" if size is None else str(kib(size)) for name, size in sizes.items()}
    return {"result": judgment.result, **known}


def job_summary(judgment: Judgment, files: tuple[str | None, str]) -> str:
    """Markdown: the checks, what changed, and the whole report folded away.

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
                f"| {_MARKS[check.outcome]} | {markdown(check.name)} | {markdown(check.finding)} |"
                for check in judgment.of(FAILED, UNPROVEN, PASSED, SKIPPED)
            ),
            "",
            *_how_far(judgment, files),
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


def _how_far(judgment: Judgment, files: tuple[str | None, str]) -> Iterator[str]:
    """What changed, with all that there is to say of it; else how far the checks hold."""
    if judgment.comparison is None:
        yield from (f"- {markdown(note)}" for note in judgment.notes)
        return
    baseline, results = files
    sides = ((baseline or "",), (results,))
    yield from comparison_report.markdown(judgment.comparison, sides)


def _report(judgment: Judgment) -> Iterator[str]:
    shown = apply(judgment.profile.processes, Filter(None, None))
    text = "\n".join(
        summary.lines(judgment.profile, shown, top=TOP, width=WIDTH, bold=str, dim=str)
    )
    yield _code(text.strip("\n"))


def _code(text: str) -> str:
    """A code block that its text cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def markdown(text: str) -> str:
    """Text as it is: no markup, no HTML, no end of a table's cell."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", text)
