"""For github-action-benchmark: an array of its tool "customSmallerIsBetter"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from memwatch.exports.text import job_name
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import count


def export(results: Results) -> Iterator[bytes]:
    """What is unknown is left out."""
    profile = results.profile
    name = job_name(profile.command)
    values: list[dict[str, Any]] = []
    if profile.most_rss is not None:
        values.append(_size(f"{name}: peak RSS", profile.most_rss, _rss(profile)))
    if pss := profile.max_total_pss:
        extra = "shared pages counted once"
        if pss.unread:
            extra += f"; at most: {count(pss.unread, 'process', 'processes')} by RSS"
        values.append(_size(f"{name}: peak PSS", pss.total, extra))
    values.append({"name": f"{name}: duration", "unit": "s", "value": round(profile.duration, 3)})
    yield json.dumps(values, indent=2).encode() + b"\n"


def _rss(profile: Profile) -> str:
    """How it is known."""
    if profile.most_rss != profile.max_total_rss:
        assert profile.largest is not None
        return f"at least: the peak ({profile.largest.peak.source}) of one process"
    samples = count(profile.sampling.ticks, "sample")
    said = f"highest sum of {count(profile.max_total_processes, 'process', 'processes')}"
    if error := profile.sampling.error:
        return f"at least: {said}, {samples}; {error}"
    return f"{said} at one time, {samples}"


def _size(name: str, size: int, extra: str) -> dict[str, Any]:
    return {"name": name, "unit": "MiB", "value": round(size / 2**20, 3), "extra": extra}
