"""Reads a Profile from its JSON, which profile_json_writer.py writes.

Sizes are exact to the KiB and times to the microsecond, as they were written. For the programs that
a process ran before its last one, only what the JSON has of them is restored.
"""

from __future__ import annotations

import calendar
import re
import signal
import time
from array import array
from typing import Any, NamedTuple

from memwatch.model.cgroup_account import CgroupAccount, CgroupSample, CgroupSpan
from memwatch.model.footprint_bounds import (
    FOOTPRINT_SOURCES,
    SYSTEM,
    FootprintBounds,
    FootprintSplit,
)
from memwatch.model.groups import COMMAND, Group, group_key
from memwatch.model.last_second import MOST_KILLS, Kill, LastSecond
from memwatch.model.limits import BREACH_EXIT_CODES, Breach, LimitOutcome, Limits, Signalled
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import ProgramText
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import (
    FOUND_BY,
    HELD_SOURCES,
    NO_FOOTPRINT,
    NO_PEAK,
    PEAK_SOURCES,
    UNKNOWN,
    Footprint,
    Held,
    Peak,
    Process,
    Program,
    Usage,
)
from memwatch.model.profile import Accuracy, Clock, Overhead, Profile, Sampling, SourceOutcome
from memwatch.model.sources import LINUX
from memwatch.model.totals import FootprintPeak, Holder, PssPeak, Timeline
from memwatch.storage.validate import (
    checked,
    in_words,
    limit_name,
    limit_names,
    wait_status,
    whole,
)

_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z", re.ASCII)


class BadProfile(ValueError):
    """The document is not the JSON of a profile. The text has the reason: it continues the file's
    name."""


def from_json(document: Any) -> Profile:
    """Returns the profile; its times are nanoseconds since 1970. Raises BadProfile."""
    if not isinstance(document, dict) or "max_total_rss_kib" not in document:
        raise BadProfile("is not JSON from memwatch run --json: 'max_total_rss_kib' is missing")
    if document.get("filter"):
        raise BadProfile(
            "lacks processes, because it was made with --include or --exclude: use a recording, or "
            "JSON made without them"
        )
    try:
        return _profile(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadProfile(
            f"is not JSON from this version of memwatch run --json: {in_words(error)}"
        ) from None


def _profile(document: dict[str, Any]) -> Profile:
    found = _processes(document["processes"])
    ending = document.get("ending") or {}  # older files have none
    group_by = document.get("group_by", COMMAND)
    group_key(group_by)
    accuracy = document["accuracy"]
    usage = document["memwatch"]
    limits = document.get("limits")
    profile = Profile(
        command=tuple(document["command"]),
        clock=Clock(0, 0),
        start=_time(document["start_time"]),
        end=_time(document["end_time"]),
        exit_status=_status(document["exit_code"], document["signal"]),
        sampling=_sampling(document, accuracy),
        accuracy=_accuracy(accuracy),
        # Older files have no figure of a single process here: all were sampled.
        max_total_rss=_bytes(
            document.get("max_total_rss_sampled_kib", document["max_total_rss_kib"])
        ),
        max_total_time=_time(
            document.get("max_total_rss_sampled_time", document["max_total_rss_time"])
            or document["start_time"]
        ),
        max_total_processes=document["max_total_rss_processes"],
        max_total_pss=_pss(document),
        at_peak=_holders(document["at_peak"]),
        processes=found.processes,
        largest=found.largest,
        groups=tuple(_group(each) for each in document["groups"]),
        timeline=_timeline(document["timeline"]) if "timeline" in document else None,
        memory_limit=_memory_limit(document["memory_limit"]),
        overhead=checked(
            Overhead(_nanoseconds(usage["cpu_seconds"]), _bytes(usage["max_rss_kib"]))
        ),
        group_by=group_by,
        limit_outcome=None if limits is None else _limit_outcome(limits),
        backend=usage.get("backend", LINUX),  # older files have no backend: all are from Linux
        max_total_footprint=_phys_footprint(document),
        max_total_shared=_bytes(document.get("max_total_rss_shared_kib")),
        footprint=_footprint(document),
        largest_footprint=found.largest_footprint,
        kills=_kills(found.killed, ending.get("killed", [])),
        last_second=_last_second(ending.get("last_second")),
        cgroup=_cgroup(document.get("cgroup")),
    )
    if not checked(profile).command:
        raise ValueError("command cannot be empty")
    return profile


class _Processes(NamedTuple):
    processes: ProcessTable
    largest: Process | None
    """The process with the highest peak."""
    largest_footprint: Process | None
    """The process with the highest footprint."""
    killed: list[Process]
    """The processes that SIGKILL ended."""


def _processes(items: list[dict[str, Any]]) -> _Processes:
    processes = ProcessTable()
    largest: Process | None = None
    largest_footprint: Process | None = None
    killed = []
    for fields in items:
        process = _process(fields)
        processes.add(process)
        if process.peak.rss > (largest.peak.rss if largest else 0):
            largest = process
        highest = largest_footprint.footprint.size if largest_footprint else 0
        if process.footprint.size > highest:
            largest_footprint = process
        if process.exit_status == signal.SIGKILL:
            killed.append(process)
    return _Processes(processes, largest, largest_footprint, killed)


def _kills(killed: list[Process], items: list[dict[str, Any]]) -> tuple[Kill, ...]:
    totals = {each["serial"]: _bytes(each["total_rss_kib"]) for each in items}
    largest = sorted(killed, key=lambda process: -process.peak.rss)[:MOST_KILLS]
    return tuple(Kill(process, totals.get(process.serial)) for process in largest)


def _last_second(fields: dict[str, Any] | None) -> LastSecond | None:
    if fields is None:
        return None
    second = LastSecond(
        _time(fields["time"]),
        _bytes_of(fields["total_rss_kib"]),
        _time(fields["since"]),
        _bytes_of(fields["total_rss_before_kib"]),
        _holders(fields["holders"]),
    )
    return checked(second)


def _sampling(document: dict[str, Any], accuracy: dict[str, Any]) -> Sampling:
    sampling = Sampling(
        interval=round(document["interval_ms"] * 1e6),
        achieved=_scaled(accuracy["achieved_interval_ms"], 1e6),
        ticks=document["samples"],
        late=accuracy["late_ticks"],
        skipped=accuracy["skipped_ticks"],
        unkept=accuracy["unkept_processes"],
        unreadable=accuracy["unreadable_processes"],
        scanning=accuracy["machine_scanned"],
        error=accuracy["error"],
        requested=_requested(document["interval_ms"], accuracy.get("requested_interval_ms")),
    )
    if checked(sampling).interval <= 0:
        raise ValueError(f"interval_ms cannot be {document['interval_ms']}")
    return sampling


def _requested(used: float, requested: float | None) -> int | None:
    """Returns the interval that was asked for, where another was used. Older files have none."""
    return None if requested is None or requested == used else round(requested * 1e6)


def _accuracy(fields: dict[str, Any]) -> Accuracy:
    sources = fields["sources"]
    accuracy = Accuracy(
        sources=tuple(
            checked(SourceOutcome(each["name"], each["used"], each["reason"])) for each in sources
        ),
        found_by={key: fields["processes_found"][key] for key in FOUND_BY},
        peaks={key: fields["peaks"][key] for key in PEAK_SOURCES},
        never_sampled=fields["never_sampled"],
        lost=fields["lost_messages"],
        held_back=tuple(fields["held_back_programs"]),
        advice=fields["advice"],
        footprints=_footprints(fields.get("phys_footprint_peaks")),
    )
    return checked(accuracy)


def _footprints(counts: dict[str, int] | None) -> dict[str, int] | None:
    return None if counts is None else {key: counts[key] for key in PEAK_SOURCES}


def _holders(items: list[dict[str, Any]]) -> tuple[Holder, ...]:
    return tuple(
        checked(Holder(0, each["pid"], each["command"], _bytes_of(each["rss_kib"])))
        for each in items
    )


def _limit_outcome(fields: dict[str, Any]) -> LimitOutcome:
    # Older files have the first three limits only.
    limits = Limits(*(_bytes(fields.get(f"{name}_kib")) for name in BREACH_EXIT_CODES))
    outcome = LimitOutcome(
        checked(limits),
        fields["on_limit"] == "kill",
        tuple(map(_breach, fields["exceeded"])),
        fields["signalled"],
        tuple(fields["killed_pids"]),
        tuple(fields["surviving_pids"]),
        tuple(map(_receiver, fields.get("signalled_processes", ()))),
        fields.get("grew_after_sigterm", False),
        limit_names(fields.get("inconclusive", ())),
    )
    return checked(outcome)


def _cgroup(fields: dict[str, Any] | None) -> CgroupAccount | None:
    if fields is None:
        return None
    account = CgroupAccount(
        reason=fields["reason"],
        version=fields["version"],
        path=fields["path"],
        peak=_bytes(fields["peak_kib"]),
        peak_time=_time_or_none(fields["peak_time"]),
        peak_with_swap=_bytes(fields["peak_with_swap_kib"]),
        swap_peak=_bytes(fields["swap_peak_kib"]),
        largest=None if fields["footprint_time"] is None else _cgroup_sample(fields),
        samples=fields["samples"],
        stall_some=_nanoseconds(fields["stall_some_seconds"]),
        stall_full=_nanoseconds(fields["stall_full_seconds"]),
        oom_kills=fields["oom_kills"],
        remains=fields["remains"],
        history=tuple(_cgroup_span(each) for each in fields.get("timeline", ())),
    )
    return checked(account)


def _cgroup_sample(fields: dict[str, Any]) -> CgroupSample:
    sample = CgroupSample(
        _time(fields["footprint_time"]),
        _bytes_of(fields["anon_kib"]),
        _bytes_of(fields["shmem_kib"]),
        _bytes(fields["swap_kib"]),
        _bytes(fields["file_kib"]),
        _bytes(fields["kernel_kib"]),
        _bytes(fields["huge_kib"]),
    )
    return checked(sample)


def _cgroup_span(fields: dict[str, Any]) -> CgroupSpan:
    footprint = _bytes_of(fields["footprint_kib"])
    return checked(CgroupSpan(_time(fields["until"]), footprint, _bytes(fields["usage_kib"])))


def _receiver(fields: dict[str, Any]) -> Signalled:
    return checked(Signalled(fields["pid"], fields["command"], tuple(fields["signals"])))


def _breach(fields: dict[str, Any]) -> Breach:
    breach = Breach(
        limit=limit_name(fields["limit"]),
        allowed=_bytes_of(fields["limit_kib"]),
        size=_bytes_of(fields["size_kib"]),
        time=_time(fields["time"]),
        processes=fields["processes"],
        serial=fields["serial"],
        pid=fields["pid"],
        command=fields["command"],
        holders=_holders(fields["holders"]),
        in_group=fields.get("in_group"),
        by_account=fields.get("by_account", False),
    )
    return checked(breach)


def _process(fields: dict[str, Any]) -> Process:
    programs = tuple(_program(fields, number) for number in range(len(fields["images"])))
    process = Process(
        serial=fields["serial"],
        pid=fields["pid"],
        ppid=fields["ppid"],
        parent=fields["parent_serial"],
        start=_time_or_none(fields["start_time"]),
        first_seen=_time(fields["first_seen"]),
        last_seen=_time(fields["last_seen"]),
        exit_status=wait_status(fields["wait_status"]),
        alive=fields["alive_at_end"],
        programs=programs,
        found_by=fields["found_by"],
        end_known=fields["end_time"] is not None,
        # JSON has this only as a count over all processes, accuracy.never_sampled.
        sampled=fields["peak_source"] != UNKNOWN,
        usage=checked(
            Usage(
                _nanoseconds(fields["user_seconds"]),
                _nanoseconds(fields["system_seconds"]),
                fields["read_bytes"],
                fields["written_bytes"],
                _bytes(fields["final_watermark_kib"]),
            )
        ),
        held_by_sample=_held(fields),
    )
    return checked(process)


def _held(fields: dict[str, Any]) -> Held | None:
    source = fields.get("max_footprint_source")
    if source in (None, SYSTEM):  # that of the system follows from the physical footprint
        return None
    if source not in HELD_SOURCES:
        raise ValueError(f"there is no source {source!r} of a process's footprint")
    held = Held(
        _bytes_of(fields["max_footprint_kib"]),
        _bytes_of(fields["max_footprint_low_kib"]),
        _bytes(fields["max_footprint_high_kib"]),
        source,
    )
    return checked(held)


def _program(process: dict[str, Any], number: int) -> Program:
    fields = process["images"][number]
    is_last = number == len(process["images"]) - 1
    argv = None if fields["argv"] is None else tuple(fields["argv"])
    peak = NO_PEAK
    if fields["peak_source"] != UNKNOWN:
        at = _time(process["peak_time"] or fields["since"])
        peak = checked(Peak(_bytes_of(fields["max_rss_kib"]), at, fields["peak_source"]))
    text = ProgramText(
        fields["command"],
        process["exe"] if is_last else fields.get("exe"),
        argv,
        is_last and process["argv_cut"],
        fields.get("cwd"),
    )
    footprint = NO_FOOTPRINT
    if "phys_footprint_source" in fields:
        size = _bytes_of(fields["max_phys_footprint_kib"])
        footprint = checked(Footprint(size, fields["phys_footprint_source"]))
    since = _time(fields["since"])
    return checked(Program(checked(text), since, fields["inherited"], peak, footprint))


def _footprint(document: dict[str, Any]) -> FootprintBounds | None:
    if document.get("max_total_footprint_kib") is None:
        # Files of older versions have it under the name of macOS only.
        peak = _phys_footprint(document)
        return peak and FootprintBounds(peak.total, peak.total, None, peak.time, SYSTEM, None)
    split = document["max_total_footprint_split"]
    return _bounds(
        document,
        "max_total_footprint",
        split
        and checked(
            FootprintSplit(*(_bytes_of(split[f"{key}_kib"]) for key in FootprintSplit._fields))
        ),
    )


def _bounds(
    fields: dict[str, Any], name: str, split: FootprintSplit | None = None
) -> FootprintBounds | None:
    if fields.get(f"{name}_kib") is None:  # the keys are newer than the format
        return None
    bounds = FootprintBounds(
        _bytes_of(fields[f"{name}_low_kib"]),
        _bytes_of(fields[f"{name}_kib"]),
        _bytes(fields[f"{name}_high_kib"]),
        _time(fields[f"{name}_time"]),
        fields[f"{name}_source"],
        split,
    )
    if bounds.source not in FOOTPRINT_SOURCES:
        raise ValueError(f"there is no source {bounds.source!r} of a footprint")
    return checked(bounds)


def _phys_footprint(document: dict[str, Any]) -> FootprintPeak | None:
    total = document.get("max_total_phys_footprint_kib")
    if total is None:
        return None
    peak = FootprintPeak(
        _bytes_of(total),
        _time(document["max_total_phys_footprint_time"]),
        document["max_total_phys_footprint_unread"],
    )
    return checked(peak)


def _pss(document: dict[str, Any]) -> PssPeak | None:
    if document["max_total_pss_kib"] is None:
        return None
    peak = PssPeak(
        _bytes_of(document["max_total_pss_kib"]),
        _time(document["max_total_pss_time"]),
        _bytes_of(document["max_total_pss_rss_kib"]),
        document["max_total_pss_unread"],
        bool(document.get("max_total_pss_is_low")),  # the key is newer than the format
    )
    return checked(peak)


def _group(fields: dict[str, Any]) -> Group:
    peak, sum_of_peaks = fields["max_rss_kib"], fields["sum_of_max_rss_kib"]
    group = Group(
        fields["command"],
        fields["processes"],
        _bytes(peak) or 0,
        _time(fields["peak_time"]) if fields["peak_time"] else 0,
        _bytes(sum_of_peaks) or 0,
        added_up=peak is not None or sum_of_peaks is None,
        footprint=_bounds(fields, "max_footprint"),
    )
    return checked(group)


def _timeline(rows: list[dict[str, Any]]) -> Timeline:
    return Timeline(
        array("q", (_time(row["timestamp"]) for row in rows)),
        array("q", (_bytes_of(row["total_rss_kib"]) for row in rows)),
        array("q", (row["process_count"] for row in rows)),
        # Older files have none of these.
        *(
            [_bytes(row.get(key)) for row in rows]
            for key in (
                "total_shared_kib",
                "total_shmem_kib",
                "total_swapped_kib",
                "total_footprint_low_kib",
            )
        ),
    )


def _memory_limit(fields: dict[str, Any]) -> MemoryLimit:
    limit = MemoryLimit(
        _bytes(fields["limit_kib"]),
        fields["source"],
        fields["path"],
        _bytes(fields["used_before_kib"]),
        fields["oom_kills"],
        fields["machine_oom_kills"],
    )
    return checked(limit)


def _status(code: int | None, number: int | None) -> int | None:
    """Returns the wait status, from the exit code or the signal that killed the command."""
    if number is None:
        return wait_status(None if code is None else whole(code) << 8)
    status = wait_status(number)
    if number not in range(1, 128):
        raise ValueError(f"{number} is not a signal")
    return status


def _time(date: str) -> int:
    match = _DATE.fullmatch(date)
    if not match:
        raise ValueError(f"{date!r} is not a date")
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int(match[2]) * 1000


def _time_or_none(date: str | None) -> int | None:
    return None if date is None else _time(date)


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else _bytes_of(kib)


def _bytes_of(kib: int) -> int:
    return whole(kib) * 1024


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
