"""Bencher Metric Format (bencher.dev): sizes in bytes, times in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator

from memwatch.exports.known import ended_by_itself
from memwatch.exports.text import job_name
from memwatch.storage.load import Results


def export(results: Results) -> Iterator[bytes]:
    """Yields the file. Unknown values are left out: all, for a job that did not end by itself."""
    profile = results.profile
    values: dict[str, float | None] = {}
    if ended_by_itself(profile):
        values = {
            "peak-rss": profile.total_rss.size,
            "peak-pss": profile.total_pss.comparable,
            "duration": round(profile.duration, 6),
        }
    measures = {key: {"value": value} for key, value in values.items() if value is not None}
    yield json.dumps({job_name(profile.command): measures}, indent=2).encode() + b"\n"
