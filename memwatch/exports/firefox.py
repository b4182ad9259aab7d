"""A profile for profiler.firefox.com: its "processed profile" format, as JSON.

github.com/firefox-devtools/profiler: src/types/profile.ts defines the format, and
docs-developer/CHANGELOG-formats.md lists the changes of each version. Newer profilers upgrade older
files.

Memory tracks hold differences. The profiler ignores the first value of each, so it is 0 here. It
draws a line from one value to the next, so a value that stayed the same for a while is written
twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import Any

from memwatch.analysis import wording
from memwatch.exports.known import footprint_bounds, least_footprints, pss_peak, pss_points
from memwatch.exports.lives import Life, life, program_spans, samples
from memwatch.exports.text import job_name, utf8
from memwatch.model.figure import Why
from memwatch.model.processes import UNKNOWN, Process, Program
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import count, unicode_text

VERSION = 66
_GECKO_VERSION = 30

# Each is a track on the page. More tracks would be slow, and too many to read.
MOST_PROCESSES = 200

# The totals of the job are shown as those of a process with this pid.
_JOB_PID = "0"

_INSTANT, _INTERVAL = 0, 1

_EMPTY_TABLES = {
    "stackTable": ("frame", "prefixOffset"),
    "frameTable": (
        *("address", "inlineDepth", "category", "subcategory", "func", "nativeSymbol"),
        *("innerWindowID", "line", "column", "originalLocation"),
    ),
    "funcTable": (
        *("name", "isJS", "relevantForJS", "resource", "source", "lineNumber", "columnNumber"),
        "originalLocation",
    ),
    "resourceTable": ("lib", "name", "host", "type"),
    "nativeSymbols": ("libIndex", "address", "name", "functionSize"),
    "sources": ("id", "filename", "startLine", "startColumn", "sourceMapURL", "content"),
    "sourceLocationTable": ("source", "line", "column"),
}

_SCHEMAS = [
    {
        "name": "Program",
        "display": ["marker-chart", "marker-table", "timeline-overview"],
        "tableLabel": "{marker.data.command}",
        "fields": [
            {"key": "command", "label": "Command line", "format": "string"},
            {"key": "executable", "label": "Executable", "format": "string"},
            {"key": "inherited", "label": "Forked, nothing executed yet", "format": "string"},
            {"key": "peak", "label": "Peak RSS", "format": "bytes"},
            {"key": "source", "label": "The peak is", "format": "string"},
        ],
    },
    {
        "name": "Peak",
        "display": ["marker-chart", "marker-table", "timeline-overview", "timeline-memory"],
        "fields": [
            {"key": "size", "label": "Size", "format": "bytes"},
            {"key": "what", "label": "What", "format": "string"},
        ],
    },
]


class _Strings:
    """The table of strings that markers point into."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def export(results: Results) -> Iterator[bytes]:
    """Yields the file."""
    return utf8(_pieces(results))


def _pieces(results: Results) -> Iterator[str]:
    profile = results.profile
    largest = nlargest(
        MOST_PROCESSES,
        profile.processes,
        key=lambda process: (process.is_root, process.peak.rss),
    )
    lives = [(process, life(results, process)) for process in largest]
    lives.sort(key=lambda each: (each[1].begin, each[0].serial))
    strings = _Strings()
    yield '{"meta":' + _json(_meta(results, len(lives)))
    yield ',"libs":[],"threads":['
    yield _json(_job_thread(profile, strings))
    pids: set[str] = set()
    for process, whole in lives:
        pid = _pid(process, pids)
        yield ",\n" + _json(_thread(profile, process, whole, pid, strings))
    yield '],"counters":['
    separator = ""
    for counter in _counters(results, lives):
        yield separator + _json(counter)
        separator = ",\n"
    tables = {
        name: {"length": 0, **{column: [] for column in columns}}
        for name, columns in _EMPTY_TABLES.items()
    }
    yield '],"shared":' + _json({"stringArray": list(strings.numbers), **tables}) + "}\n"


def _meta(results: Results, shown: int) -> dict[str, Any]:
    profile = results.profile
    threads = list(range(shown + 1))
    return {
        "interval": profile.sampling.interval / 1e6,
        "startTime": profile.clock.realtime_at(profile.start) / 1e6,
        "profilingStartTime": 0,
        "profilingEndTime": _ms(profile, profile.end),
        "processType": 0,
        "product": job_name(profile.command),
        "importedFrom": "memwatch",
        "arguments": " ".join(map(unicode_text, profile.command)),
        "stackwalk": 0,
        "symbolicationNotSupported": True,
        "version": _GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "categories": [
            {"name": "Other", "color": "grey", "subcategories": ["Other"]},
            {"name": "Program", "color": "blue", "subcategories": ["Other"]},
        ],
        "markerSchema": _SCHEMAS,
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"},
        "initialVisibleThreads": threads,
        "initialSelectedThreads": threads[:1],
        "keepProfileThreadOrder": True,
        "sourceCodeIsNotOnSearchfox": True,
        "extra": [{"label": "memwatch", "entries": list(_facts(results, shown))}],
    }


def _facts(results: Results, shown: int) -> Iterator[dict[str, str]]:
    profile = results.profile
    many = len(profile.processes)
    which = "all" if shown == many else f"the first, and the {shown - 1} with the highest peaks"
    peaks = ", ".join(f"{number:,} {how}" for how, number in profile.accuracy.peaks.items())
    facts = {
        "Command": " ".join(map(unicode_text, profile.command)),
        "Host": results.host and unicode_text(results.host),
        "Processes": f"{count(many, 'process', 'processes')}, shown: {which}",
        "Peaks": peaks,
        "Samples": None if results.tracks else "not in the file: only the peak of each process",
        "Error": profile.sampling.error,
    }
    for label, value in facts.items():
        if value:
            yield {"label": label, "format": "string", "value": value}


def _job_thread(profile: Profile, strings: _Strings) -> dict[str, Any]:
    markers = []
    total = profile.total_rss
    if total.size is not None and total.time is not None:
        what = f"sum of {count(profile.max_total_processes, 'process', 'processes')} at one sample"
        if total.why is Why.ONE_PROCESS:
            what = wording.ONE_PROCESS
        peak = {"type": "Peak", "size": total.size, "what": what}
        markers.append(("Highest total RSS", total.time, total.time, peak))
    if pss := pss_peak(profile):
        peak = {"type": "Peak", "size": pss.total, "what": wording.SHARED_ONCE}
        markers.append(("Highest total PSS", pss.time, pss.time, peak))
    if bounds := footprint_bounds(profile):
        peak = {"type": "Peak", "size": bounds.best, "what": "what the kernel cannot simply drop"}
        markers.append(("Highest footprint", bounds.time, bounds.time, peak))
    whole = Life(profile.start, profile.end, True)
    return _any_thread(profile, "Job", whole, _JOB_PID, markers, strings)


def _thread(
    profile: Profile, process: Process, whole: Life, pid: str, strings: _Strings
) -> dict[str, Any]:
    markers = [
        (each.program.text.name, each.begin, each.end, _program(each.program))
        for each in program_spans(process, whole)
    ]
    return _any_thread(profile, process.command, whole, pid, markers, strings)


def _program(program: Program) -> dict[str, Any]:
    text = program.text
    data: dict[str, Any] = {
        "type": "Program",
        "command": text.name if text.argv is None else " ".join(text.argv),
        "source": program.peak.source,
    }
    if text.exe is not None:
        data["executable"] = text.exe
    if program.inherited:
        data["inherited"] = "yes"
    if program.peak.source != UNKNOWN:
        data["peak"] = program.peak.rss
    return data


def _any_thread(
    profile: Profile,
    name: str,
    whole: Life,
    pid: str,
    markers: list[tuple[str, int, int, dict[str, Any]]],
    strings: _Strings,
) -> dict[str, Any]:
    begin, end = _ms(profile, whole.begin), _ms(profile, whole.end) if whole.is_over else None
    return {
        "name": name,
        "processName": name,
        "processType": "default",
        "isMainThread": True,
        "pid": pid,
        "tid": pid,
        "processStartupTime": begin,
        "processShutdownTime": end,
        "registerTime": begin,
        "unregisterTime": end,
        "pausedRanges": [],
        "showMarkersInTimeline": True,
        "samples": {"length": 0, "stack": [], "time": [], "weight": None, "weightType": "samples"},
        "markers": {
            "length": len(markers),
            "name": [strings.number(name) for name, *_ in markers],
            "startTime": [_ms(profile, start) for _, start, _, _ in markers],
            "endTime": [_ms(profile, end) for _, _, end, _ in markers],
            "phase": [_INTERVAL if end > start else _INSTANT for _, start, end, _ in markers],
            "category": [1] * len(markers),
            "data": [data for *_, data in markers],
        },
    }


def _counters(results: Results, lives: list[tuple[Process, Life]]) -> Iterator[dict[str, Any]]:
    profile = results.profile
    timeline = profile.timeline
    if timeline and profile.max_total_rss is not None:
        series = _Series(profile, profile.start)
        series.extend(zip(timeline.times, timeline.totals, strict=True))
        yield _counter(series, "Total RSS", "Sum over all processes", _JOB_PID, 0)
    if least := list(least_footprints(profile)):
        series = _Series(profile, profile.start)
        series.extend(least)
        what = "What the kernel cannot simply drop, each page counted once: at least this"
        yield _counter(series, "Footprint", what, _JOB_PID, 0)
    if points := pss_points(results):
        series = _Series(profile, profile.start)
        series.extend(points)
        what = "Shared pages counted once; measured now and then"
        yield _counter(series, "Total PSS", what, _JOB_PID, 0)
    pids: set[str] = set()
    for number, (process, whole) in enumerate(lives, start=1):
        pid = _pid(process, pids)
        series = _Series(profile, whole.begin)
        series.extend(zip(*samples(results, process), strict=True))
        if len(series.times) > 1:
            if whole.is_over:
                series.extend([(whole.end, 0)])
            yield _counter(series, "RSS", "Resident set size", pid, number)


class _Series:
    """Values over time, in the form of a track of the profiler."""

    def __init__(self, profile: Profile, begin: int) -> None:
        self._profile = profile
        self._last_time = begin
        self._last = 0
        self.times = [_ms(profile, begin)]
        self.changes = [0]

    def extend(self, values: Iterable[tuple[int, int]]) -> None:
        interval = self._profile.sampling.interval
        for given, value in values:
            time = max(given, self._last_time)
            if 2 * (time - self._last_time) > 3 * interval:
                self._add(time - interval, self._last)
            self._add(time, value)

    def _add(self, time: int, value: int) -> None:
        self.times.append(_ms(self._profile, time))
        self.changes.append(value - self._last)
        self._last_time, self._last = time, value


def _counter(series: _Series, name: str, what: str, pid: str, thread: int) -> dict[str, Any]:
    rows = (("accumulated", f"{name} at this time"), ("count-range", "range in the graph"))
    return {
        "name": name,
        "category": "Memory",
        "description": what,
        "pid": pid,
        "mainThreadIndex": thread,
        "samples": {
            "length": len(series.times),
            "time": series.times,
            "count": series.changes,
        },
        "display": {
            "graphType": "line-accumulated",
            "unit": "bytes",
            "color": "orange",
            "markerSchemaLocation": "timeline-memory",
            "sortWeight": 20,
            "label": name,
            "tooltipRows": [
                {"type": "value", "source": source, "format": {"unit": "bytes"}, "label": label}
                for source, label in rows
            ],
        },
    }


def _pid(process: Process, used: set[str]) -> str:
    """Returns an id for a process: its pid, or a longer one if an earlier process had that pid."""
    pid = str(process.pid)
    if pid in used:
        pid = f"{pid} ({process.serial})"
    used.add(pid)
    return pid


def _ms(profile: Profile, time: int) -> float:
    """Returns milliseconds since the start of the command, to the microsecond."""
    return max(0, round((time - profile.start) / 1000)) / 1000


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
