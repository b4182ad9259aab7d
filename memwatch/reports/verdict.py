"""A Judgment in one line, for the log of a CI job."""

from __future__ import annotations

from memwatch.analysis.ci_checks import (
    FAILED,
    INCONCLUSIVE,
    OK,
    PASSED,
    PROCESS_LIMIT,
    REGRESSION,
    SKIPPED,
    TOTAL_LIMIT,
    UNPROVEN,
    Judgment,
)

HEADLINES = {
    TOTAL_LIMIT: "total limit exceeded",
    PROCESS_LIMIT: "per-process limit exceeded",
    REGRESSION: "regression",
    INCONCLUSIVE: "inconclusive",
    OK: "ok",
}

# How many findings the line has.
FINDINGS = 4


def line(judgment: Judgment) -> str:
    """Returns what decided, or what passed, and how certain that is."""
    decisive = judgment.of(FAILED, UNPROVEN) or judgment.of(PASSED, SKIPPED)
    findings = [check.sentence for check in decisive[:FINDINGS]]
    if more := len(decisive) - FINDINGS:
        findings += [f"{more} more"] if more > 0 else []
    return f"{HEADLINES[judgment.result]}: {'; '.join((*findings, *judgment.warnings))}"
