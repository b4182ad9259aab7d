"""OTLP/JSON: one ExportMetricsServiceRequest on one line, as OpenTelemetry collectors read it.

opentelemetry.io/docs/specs/otlp (JSON Protobuf Encoding: 64-bit numbers are strings). Names are
those of its semantic conventions where there are any.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from memwatch.analysis import wording
from memwatch.exports.known import footprint_bounds, least_footprints, pss_points
from memwatch.exports.lives import life
from memwatch.exports.text import job_name, utf8
from memwatch.model.processes import UNKNOWN, Process
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import format_date, unicode_text
from memwatch.version import __version__


def export(results: Results) -> Iterator[bytes]:
    """Yields the file."""
    return utf8(_pieces(results))


def _pieces(results: Results) -> Iterator[str]:
    profile = results.profile
    yield '{"resourceMetrics":[{"resource":'
    yield _json({"attributes": _attributes(_resource(results))})
    scope = {"name": "memwatch", "version": __version__}
    yield f',"scopeMetrics":[{{"scope":{_json(scope)},"metrics":['
    separator = ""
    for name, unit, what, points in (
        ("memwatch.job.rss", "By", "Sum of resident set sizes at each sample", _rss(profile)),
        (
            "memwatch.job.shared",
            "By",
            "The part of memwatch.job.rss that belongs to files or shared memory",
            _shared(profile),
        ),
        ("memwatch.job.processes", "{process}", "Processes alive at each sample", _alive(profile)),
        (
            "memwatch.job.pss",
            "By",
            f"Sum of proportional set sizes ({wording.SHARED_ONCE}), measured now and then",
            _pss(results),
        ),
        (
            "memwatch.job.rss_max",
            "By",
            "Highest sum of RSS at one sample, or the highest peak of one process if that is "
            "higher",
            _rss_max(profile),
        ),
        (
            "memwatch.job.footprint_low",
            "By",
            "The job held at least this at each sample of what the kernel cannot simply drop, each "
            "page counted once",
            _least_footprints(profile),
        ),
        (
            "memwatch.job.footprint_max",
            "By",
            "Highest footprint: the best estimate between its bounds",
            _footprint_max(profile, "best"),
        ),
        (
            "memwatch.job.footprint_max_low",
            "By",
            "The highest footprint is at least this",
            _footprint_max(profile, "low"),
        ),
        (
            "memwatch.job.footprint_max_high",
            "By",
            "The highest footprint is at most this",
            _footprint_max(profile, "high"),
        ),
        ("memwatch.job.memory_limit", "By", "Tightest memory limit", _limit(profile)),
        (
            "memwatch.program.rss_max",
            "By",
            "Highest sum of RSS over the processes of a program at one sample, or the highest peak "
            "of one of them if that is higher",
            _programs(profile),
        ),
        (
            "memwatch.process.rss_max",
            "By",
            "Highest RSS of a process; a lower bound unless memwatch.peak_source is exact",
            _processes(results),
        ),
    ):
        head = _json({"name": name, "description": what, "unit": unit})
        rest = iter(points)
        first = next(rest, None)
        if first is None:
            continue
        yield f'{separator}{head[:-1]},"gauge":{{"dataPoints":[{_json(first)}'
        for point in rest:
            yield "," + _json(point)
        yield "]}}"
        separator = ","
    yield "]}]}]}\n"


def _resource(results: Results) -> dict[str, Any]:
    profile = results.profile
    return {
        "service.name": job_name(profile.command),
        "host.name": results.host,
        "process.command_args": [unicode_text(word) for word in profile.command],
        "process.exit.code": profile.exit_code,
    }


def _rss(profile: Profile) -> Iterator[dict[str, Any]]:
    timeline = profile.timeline
    if timeline and profile.max_total_rss is not None:
        for time, total in zip(timeline.times, timeline.totals, strict=True):
            yield _point(profile, time, total)


def _shared(profile: Profile) -> Iterator[dict[str, Any]]:
    if profile.timeline:
        for row in profile.timeline.rows():
            if row.shared is not None:
                yield _point(profile, row.time, row.shared)


def _least_footprints(profile: Profile) -> Iterator[dict[str, Any]]:
    for time, size in least_footprints(profile):
        yield _point(profile, time, size)


def _footprint_max(profile: Profile, bound: str) -> Iterator[dict[str, Any]]:
    bounds = footprint_bounds(profile)
    size = getattr(bounds, bound) if bounds else None
    if bounds and size is not None:
        yield _point(profile, bounds.time, size, {"memwatch.source": bounds.source})


def _alive(profile: Profile) -> Iterator[dict[str, Any]]:
    if timeline := profile.timeline:
        for time, alive in zip(timeline.times, timeline.counts, strict=True):
            yield _point(profile, time, alive)


def _pss(results: Results) -> Iterator[dict[str, Any]]:
    for time, total in pss_points(results):
        yield _point(results.profile, time, total)


def _rss_max(profile: Profile) -> Iterator[dict[str, Any]]:
    figure = profile.total_rss
    if figure.size is not None and figure.time is not None:
        yield _point(profile, figure.time, figure.size)


def _limit(profile: Profile) -> Iterator[dict[str, Any]]:
    limit = profile.memory_limit
    if limit.limit_bytes is not None:
        source = {"memwatch.limit_source": limit.source}
        yield _point(profile, profile.end, limit.limit_bytes, source)


def _programs(profile: Profile) -> Iterator[dict[str, Any]]:
    for group in profile.groups:
        if group.peak_known:
            name = {"process.executable.name": group.name}
            yield _point(profile, group.peak_time, group.peak_rss, name)


def _processes(results: Results) -> Iterator[dict[str, Any]]:
    profile = results.profile
    for process in profile.processes:
        peak = process.peak
        if peak.source != UNKNOWN:
            point = _point(profile, peak.time, peak.rss, _about(profile, process))
            start = profile.clock.realtime_at(life(results, process).begin)
            yield {"startTimeUnixNano": str(start), **point}


def _about(profile: Profile, process: Process) -> dict[str, Any]:
    last = process.programs[-1].text
    started = process.start
    code = None
    if process.exit_status is not None:
        code = os.waitstatus_to_exitcode(process.exit_status)
    return {
        "process.pid": process.pid,
        "process.parent_pid": process.ppid,
        "process.executable.name": last.name,
        "process.executable.path": last.exe,
        "process.command_args": last.argv,
        "process.creation.time": (
            None if started is None else format_date(profile.clock.realtime_at(started))
        ),
        # A process that a signal killed has no exit code.
        "process.exit.code": code if code is None or code >= 0 else None,
        "memwatch.serial": process.serial,
        "memwatch.peak_source": process.peak.source,
    }


def _point(
    profile: Profile, time: int, value: int, attributes: dict[str, Any] | None = None
) -> dict[str, Any]:
    when = str(profile.clock.realtime_at(time))
    point: dict[str, Any] = {"timeUnixNano": when, "asInt": str(value)}
    if attributes:
        point["attributes"] = _attributes(attributes)
    return point


def _attributes(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns attributes as OTLP has them. Those that are None are left out."""
    return [
        {"key": key, "value": _value(value)}
        for key, value in attributes.items()
        if value is not None
    ]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [_value(each) for each in value]}}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
