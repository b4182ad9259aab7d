"""A Profile from its JSON: what reports/json_report.py writes, read back.

Sizes come back to the KiB and times to the microsecond, as they were written; of the programs
that a process ran before its last one only what the JSON says of them.
"""

from __future__ import annotations

import calendar
import re
import time
from array import array
from typing import Any

from memwatch.groups import COMMAND, Group, group_key
from memwatch.job import Holder, PssPeak, Timeline
from memwatch.limits import PROCESS_RSS, TOTAL_PSS, TOTAL_RSS, Breach, Limits, Outcome
from memwatch.memory_limit import MemoryLimit
from memwatch.observations import ImageText
from memwatch.processes import NO_PEAK, UNKNOWN, Image, Peak, Process, ProcessTable, Usage
from memwatch.profile import Accuracy, Clock, Overhead, Profile, Sampling, Source

_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z", re.ASCII)


class BadProfile(ValueError):
    """Not the JSON of a profile. The text says why."""


def from_json(document: Any) -> Profile:
    """Times are nanoseconds since 1970. Raises BadProfile."""
    if not isinstance(document, dict) or "max_total_rss_kib" not in document:
        raise BadProfile("no JSON of memwatch run --json: 'max_total_rss_kib' is missing")
    if document.get("filter"):
        raise BadProfile(
            "JSON made with --include or --exclude lacks processes: use a recording, or JSON "
            "made without"
        )
    try:
        return _profile(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadProfile(
            f"not the JSON of this version of memwatch run --json: {error!r}"
        ) from None


def _profile(document: dict[str, Any]) -> Profile:
    processes = ProcessTable()
    largest: Process | None = None
    for fields in document["processes"]:
        process = _process(fields)
        processes.add(process)
        if process.peak.rss > (largest.peak.rss if largest else 0):
            largest = process
    group_by = document.get("group_by", COMMAND)
    group_key(group_by)
    accuracy = document["accuracy"]
    usage = document["memwatch"]
    return Profile(
        command=tuple(document["command"]),
        clock=Clock(0, 0),
        start=_time(document["start_time"]),
        end=_time(document["end_time"]),
        exit_status=_status(document["exit_code"], document["signal"]),
        sampling=Sampling(
            interval=round(document["interval_ms"] * 1e6),
            achieved=_scaled(accuracy["achieved_interval_ms"], 1e6),
            ticks=document["samples"],
            late=accuracy["late_ticks"],
            skipped=accuracy["skipped_ticks"],
            unkept=accuracy["unkept_processes"],
            unreadable=accuracy["unreadable_processes"],
            scanning=accuracy["machine_scanned"],
            error=accuracy["error"],
        ),
        accuracy=Accuracy(
            sources=tuple(
                Source(each["name"], each["used"], each["reason"]) for each in accuracy["sources"]
            ),
            found_by=accuracy["processes_found"],
            peaks=accuracy["peaks"],
            never_sampled=accuracy["never_sampled"],
            lost=accuracy["lost_messages"],
            held_back=tuple(accuracy["held_back_programs"]),
            advice=accuracy["advice"],
        ),
        max_total_rss=_bytes(document["max_total_rss_kib"]),
        max_total_time=_time(document["max_total_rss_time"] or document["start_time"]),
        max_total_processes=document["max_total_rss_processes"],
        max_total_pss=_pss(document),
        at_peak=_holders(document["at_peak"]),
        processes=processes,
        largest=largest,
        groups=tuple(_group(each) for each in document["groups"]),
        timeline=_timeline(document["timeline"]) if "timeline" in document else None,
        memory_limit=_limit(document["memory_limit"]),
        overhead=Overhead(
            _nanoseconds(usage["cpu_seconds"]),
            _bytes(usage["max_rss_kib"]),
        ),
        group_by=group_by,
        limits=document.get("limits") and _limits(document["limits"]),
    )


def _holders(items: list[dict[str, Any]]) -> tuple[Holder, ...]:
    return tuple(Holder(0, each["pid"], each["command"], each["rss_kib"] * 1024) for each in items)


def _limits(fields: dict[str, Any]) -> Outcome:
    return Outcome(
        Limits(*(_bytes(fields[f"{name}_kib"]) for name in (TOTAL_RSS, PROCESS_RSS, TOTAL_PSS))),
        fields["on_limit"] == "kill",
        tuple(
            Breach(
                limit=each["limit"],
                allowed=each["limit_kib"] * 1024,
                size=each["size_kib"] * 1024,
                time=_time(each["time"]),
                processes=each["processes"],
                serial=each["serial"],
                pid=each["pid"],
                command=each["command"],
                holders=_holders(each["holders"]),
            )
            for each in fields["exceeded"]
        ),
        fields["signalled"],
        tuple(fields["killed_pids"]),
        tuple(fields["surviving_pids"]),
    )


def _process(fields: dict[str, Any]) -> Process:
    images = tuple(_image(fields, number) for number in range(len(fields["images"])))
    return Process(
        serial=fields["serial"],
        pid=fields["pid"],
        ppid=fields["ppid"],
        parent=fields["parent_serial"],
        start=_time_or_none(fields["start_time"]),
        first_seen=_time(fields["first_seen"]),
        last_seen=_time(fields["last_seen"]),
        exit_status=fields["wait_status"],
        alive=fields["alive_at_end"],
        images=images,
        found_by=fields["found_by"],
        end_known=fields["end_time"] is not None,
        # Of one process it is not told, only of all: accuracy.never_sampled.
        sampled=fields["peak_source"] != UNKNOWN,
        usage=Usage(
            _nanoseconds(fields["user_seconds"]),
            _nanoseconds(fields["system_seconds"]),
            fields["read_bytes"],
            fields["written_bytes"],
            _bytes(fields["final_watermark_kib"]),
        ),
    )


def _image(process: dict[str, Any], number: int) -> Image:
    fields = process["images"][number]
    is_last = number == len(process["images"]) - 1
    argv = None if fields["argv"] is None else tuple(fields["argv"])
    peak = NO_PEAK
    if fields["peak_source"] != UNKNOWN:
        at = _time(process["peak_time"] or fields["since"])
        peak = Peak(fields["max_rss_kib"] * 1024, at, fields["peak_source"])
    text = ImageText(
        fields["command"],
        process["exe"] if is_last else fields.get("exe"),
        argv,
        is_last and process["argv_cut"],
        fields.get("cwd"),
    )
    return Image(text, _time(fields["since"]), fields["inherited"], peak)


def _pss(document: dict[str, Any]) -> PssPeak | None:
    if document["max_total_pss_kib"] is None:
        return None
    return PssPeak(
        document["max_total_pss_kib"] * 1024,
        _time(document["max_total_pss_time"]),
        document["max_total_pss_rss_kib"] * 1024,
        document["max_total_pss_unread"],
    )


def _group(fields: dict[str, Any]) -> Group:
    peak, sum_of_peaks = fields["max_rss_kib"], fields["sum_of_max_rss_kib"]
    return Group(
        fields["command"],
        fields["processes"],
        (peak or 0) * 1024,
        _time(fields["peak_time"]) if fields["peak_time"] else 0,
        (sum_of_peaks or 0) * 1024,
        added_up=peak is not None or sum_of_peaks is None,
    )


def _timeline(rows: list[dict[str, Any]]) -> Timeline:
    return Timeline(
        array("q", (_time(row["timestamp"]) for row in rows)),
        array("q", (row["total_rss_kib"] * 1024 for row in rows)),
        array("q", (row["process_count"] for row in rows)),
    )


def _limit(fields: dict[str, Any]) -> MemoryLimit:
    return MemoryLimit(
        _bytes(fields["limit_kib"]),
        fields["source"],
        fields["path"],
        _bytes(fields["used_before_kib"]),
        fields["oom_kills"],
        fields["machine_oom_kills"],
    )


def _status(code: int | None, number: int | None) -> int | None:
    """As wait(2) has it: the exit code, or the signal that killed the command."""
    if number is not None:
        return number
    return None if code is None else code << 8


def _time(date: str) -> int:
    match = _DATE.fullmatch(date)
    if not match:
        raise ValueError(f"{date!r} is no date")
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int(match[2]) * 1000


def _time_or_none(date: str | None) -> int | None:
    return None if date is None else _time(date)


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
