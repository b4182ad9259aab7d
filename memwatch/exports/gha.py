"""github-action-benchmark: an array for its tool "customSmallerIsBetter"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from memwatch.analysis import wording
from memwatch.exports.known import ended_by_itself
from memwatch.exports.text import job_name
from memwatch.model.figure import Why
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import count


def export(results: Results) -> Iterator[bytes]:
    """Yields the file. Unknown values are left out: all, for a job that did not end by itself."""
    values = _values(results.profile) if ended_by_itself(results.profile) else []
    yield json.dumps(values, indent=2).encode() + b"\n"


def _values(profile: Profile) -> list[dict[str, Any]]:
    name = job_name(profile.command)
    values: list[dict[str, Any]] = []
    if (peak := profile.total_rss.size) is not None:
        values.append(_size(f"{name}: peak RSS", peak, _rss(profile)))
    if (pss := profile.total_pss.comparable) is not None:
        values.append(_size(f"{name}: peak PSS", pss, wording.total_pss(profile)))
    values.append({"name": f"{name}: duration", "unit": "s", "value": round(profile.duration, 3)})
    return values


def _rss(profile: Profile) -> str:
    """Returns how the peak RSS is known, in words."""
    if profile.largest and profile.total_rss.why is Why.ONE_PROCESS:
        return f"at least: the peak ({profile.largest.peak.source}) of one process"
    samples = count(profile.sampling.ticks, "sample")
    highest = f"highest sum of {count(profile.max_total_processes, 'process', 'processes')}"
    if unreadable := profile.sampling.unreadable:
        without = count(unreadable, "process", "processes")
        return f"at least: {highest}, {samples}; without {without} that could not be read"
    return f"{highest} at one time, {samples}"


def _size(name: str, size: int, extra: str) -> dict[str, Any]:
    return {"name": name, "unit": "MiB", "value": round(size / 2**20, 3), "extra": extra}
