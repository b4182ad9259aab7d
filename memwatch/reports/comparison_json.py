"""A Comparison as JSON: the keys of schema/comparison.schema.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memwatch.analysis.comparison import BASE, CANDIDATE, Change, Comparison
from memwatch.analysis.ending import ending
from memwatch.model.metric import Metric
from memwatch.model.profile import Profile
from memwatch.reports.comparison_rows import verdict_line
from memwatch.units import kib, unicode_text


def document(comparison: Comparison, files: tuple[Sequence[str], Sequence[str]]) -> dict[str, Any]:
    """Returns the document. `files` are those of the base and of the candidate, in the order of
    their profiles."""
    return {
        "verdict": comparison.verdict.value,
        "metric": comparison.metric.value,
        "verdict_text": verdict_line(comparison),
        "regressions": [unicode_text(each.name) for each in comparison.regressions],
        "plain": comparison.is_plain,
        "base": _side(comparison.base, files[0]),
        "candidate": _side(comparison.candidate, files[1]),
        **{f"total_{metric.value}": _total(comparison, metric) for metric in Metric},
        "total_footprint_bounds": _bounds(comparison.totals.get(Metric.FOOTPRINT)),
        "largest_process": _change(comparison.per_process),
        "group_by": unicode_text(comparison.group_by),
        "groups": [_change(each) for each in comparison.groups],
        "process_classes": [
            {
                "name": unicode_text(each.name),
                "base_processes": each.base_count,
                "candidate_processes": each.candidate_count,
                "peak": _change(each.peak),
            }
            for each in comparison.classes
        ],
        "notes": [unicode_text(note) for note in comparison.notes],
    }


def _total(comparison: Comparison, metric: Metric) -> dict[str, Any] | None:
    change = comparison.totals.get(metric)
    return None if change is None else _change(change)


def _bounds(change: Change | None) -> dict[str, int | None] | None:
    if change is None or change.bounds is None:
        return None
    return {
        f"{side}_{key}_kib": _kib(size)
        for side, bounds in zip((BASE, CANDIDATE), change.bounds, strict=True)
        for key, size in bounds._asdict().items()
    }


def _side(profiles: Sequence[Profile], files: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "file": unicode_text(file),
            "command": [unicode_text(word) for word in profile.command],
            "exit_code": profile.exit_code,
            "duration_seconds": round(profile.duration, 6),
            "interval_ms": profile.sampling.interval / 1e6,
            "processes": len(profile.processes),
            "cut_short": profile.sampling.error is not None,
            "ending": ending(profile).how.value,
        }
        for profile, file in zip(profiles, files, strict=True)
    ]


def _change(change: Change) -> dict[str, Any]:
    interval = change.interval
    return {
        "name": unicode_text(change.name),
        "metric": change.metric.value,
        "base_kib": _kib(change.base),
        "candidate_kib": _kib(change.candidate),
        "difference_kib": _kib(change.difference),
        "relative": _rounded(change.relative),
        "presence": "new" if change.is_new else "gone" if change.is_gone else "both",
        "confidence_interval": interval
        and {
            "level": round(interval.level, 4),
            "low_kib": _kib(interval.low),
            "high_kib": _kib(interval.high),
            "low_relative": _rounded(change.part(interval.low)),
            "high_relative": _rounded(change.part(interval.high)),
        },
        "threshold": {
            "relative": _rounded(change.threshold.relative),
            "kib": _kib(change.threshold.absolute),
        },
        "gates": change.gates,
        "verdict": change.verdict.value,
        "doubt": change.doubt and unicode_text(f"in {change.doubt.where}, {change.doubt.why}"),
        "base_values_kib": [kib(value) for value in change.base_values],
        "candidate_values_kib": [kib(value) for value in change.candidate_values],
    }


def _kib(size: float | None) -> int | None:
    """Rounds to the nearest KiB: a difference may be negative."""
    return None if size is None else round(size / 1024)


def _rounded(part: float | None) -> float | None:
    return None if part is None else round(part, 6)
