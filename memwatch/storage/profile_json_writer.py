"""Writes a Profile as JSON, with the keys of schema/profile.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from memwatch.analysis.ending import ending
from memwatch.model.cgroup_account import CgroupAccount
from memwatch.model.filters import Shown
from memwatch.model.footprint_bounds import FootprintBounds
from memwatch.model.groups import Group
from memwatch.model.processes import Footprint, Process, Program
from memwatch.model.profile import Profile
from memwatch.model.totals import Holder
from memwatch.model.uncounted import uncounted
from memwatch.units import format_date, kib, unicode_text

if TYPE_CHECKING:
    from memwatch.analysis.leaks import Leak, Leaks


def write(profile: Profile, shown: Shown, out: TextIO, leaks: Leaks | None = None) -> None:
    """Writes the document. Processes are written one by one: there may be half a million."""
    head = _head(profile, shown)
    if leaks:
        head["leaks"] = _leaks(leaks, profile)
    out.write("{\n")
    for key, value in head.items():
        out.write(f"  {json.dumps(key)}: {json.dumps(value)},\n")
    if profile.timeline:
        _write_list("timeline", _timeline(profile), out)
        out.write(",\n")
    _write_list("processes", (_process(profile, each) for each in shown.processes), out)
    out.write("\n}\n")


def _write_list(key: str, items: Iterator[dict[str, Any]], out: TextIO) -> None:
    out.write(f'  "{key}": [')
    separator = "\n    "
    for item in items:
        out.write(separator + json.dumps(item))
        separator = ",\n    "
    out.write("\n  ]")


def _head(profile: Profile, shown: Shown) -> dict[str, Any]:
    sampling = profile.sampling
    return {
        "command": [unicode_text(word) for word in profile.command],
        "start_time": _date(profile, profile.start),
        "end_time": _date(profile, profile.end),
        "duration_seconds": round(profile.duration, 6),
        "interval_ms": _number(sampling.interval / 1e6),
        "exit_code": profile.exit_code,
        "signal": profile.signal,
        "samples": sampling.ticks,
        **_totals(profile),
        "process_count": len(profile.processes),
        "at_peak": _holders(profile.at_peak),
        "group_by": profile.group_by,
        "groups": [_group(profile, group) for group in profile.groups],
        "memory_limit": _memory_limit(profile),
        "limits": _limits(profile),
        "ending": _ending(profile),
        "cgroup": _cgroup(profile, profile.cgroup) if profile.cgroup else None,
        "accuracy": _accuracy(profile),
        "memwatch": {
            "backend": profile.backend,
            "cpu_seconds": _seconds(profile.overhead.cpu),
            "max_rss_kib": _kib(profile.overhead.rss_peak),
        },
        **(_filter(shown) if shown.filter else {}),
    }


def _totals(profile: Profile) -> dict[str, Any]:
    total, pss, footprint = profile.total_rss, profile.max_total_pss, profile.max_total_footprint
    return {
        "max_total_rss_kib": _kib(total.size),
        "max_total_rss_source": total.source,
        "max_total_rss_time": None if total.time is None else _date(profile, total.time),
        "max_total_rss_sampled_kib": _kib(profile.max_total_rss),
        "max_total_rss_sampled_time": (
            None if profile.max_total_rss is None else _date(profile, profile.max_total_time)
        ),
        "max_total_rss_shared_kib": _kib(profile.max_total_shared),
        "max_total_rss_processes": profile.max_total_processes,
        **_footprint(profile, profile.footprint, "max_total_footprint"),
        "max_total_footprint_split": _split(profile.footprint),
        "max_total_pss_kib": kib(pss.total) if pss else None,
        "max_total_pss_time": _date(profile, pss.time) if pss else None,
        "max_total_pss_rss_kib": kib(pss.rss) if pss else None,
        "max_total_pss_unread": pss.unread if pss else None,
        "max_total_pss_is_low": pss.is_low if pss else None,
        "max_total_phys_footprint_kib": kib(footprint.total) if footprint else None,
        "max_total_phys_footprint_time": _date(profile, footprint.time) if footprint else None,
        "max_total_phys_footprint_unread": footprint.unread if footprint else None,
    }


def _footprint(profile: Profile, bounds: FootprintBounds | None, name: str) -> dict[str, Any]:
    return {
        f"{name}_kib": kib(bounds.best) if bounds else None,
        f"{name}_low_kib": kib(bounds.low) if bounds else None,
        f"{name}_high_kib": _kib(bounds.high) if bounds else None,
        f"{name}_source": bounds.source if bounds else None,
        f"{name}_time": _date(profile, bounds.time) if bounds else None,
    }


def _split(bounds: FootprintBounds | None) -> dict[str, int] | None:
    split = bounds.split if bounds else None
    return {f"{key}_kib": kib(size) for key, size in split._asdict().items()} if split else None


def _group(profile: Profile, group: Group) -> dict[str, Any]:
    return {
        "command": unicode_text(group.name),
        "processes": group.processes,
        "max_rss_kib": kib(group.peak_rss) if group.peak_known else None,
        "peak_time": _date(profile, group.peak_time) if group.peak_known else None,
        "sum_of_max_rss_kib": kib(group.sum_of_peaks) if group.known else None,
        **_footprint(profile, group.footprint, "max_footprint"),
    }


def _filter(shown: Shown) -> dict[str, Any]:
    patterns = {
        "exclude_pattern": shown.filter.exclude,
        "include_pattern": shown.filter.include,
    }
    return {
        "filter": {key: unicode_text(each.pattern) for key, each in patterns.items() if each},
        "filtered_process_count": shown.hidden,
        "filtered_total_rss_kib": kib(shown.hidden_rss),
    }


def _holders(holders: tuple[Holder, ...]) -> list[dict[str, Any]]:
    return [
        {"pid": each.pid, "command": unicode_text(each.group), "rss_kib": kib(each.rss)}
        for each in holders
    ]


def _memory_limit(profile: Profile) -> dict[str, Any]:
    limit = profile.memory_limit
    return {
        "limit_kib": _kib(limit.limit_bytes),
        "source": limit.source,
        "path": None if limit.path is None else unicode_text(limit.path),
        "used_before_kib": _kib(limit.usage_bytes),
        "headroom_kib": _kib(profile.headroom),
        "oom_kills": limit.oom_kills,
        "machine_oom_kills": limit.machine_oom_kills,
    }


def _cgroup(profile: Profile, account: CgroupAccount) -> dict[str, Any]:
    largest = account.largest
    document: dict[str, Any] = {
        "reason": None if account.reason is None else unicode_text(account.reason),
        "version": account.version,
        "path": None if account.path is None else unicode_text(account.path),
        "peak_kib": _kib(account.peak),
        "peak_time": None if account.peak_time is None else _date(profile, account.peak_time),
        "peak_with_swap_kib": _kib(account.peak_with_swap),
        "swap_peak_kib": _kib(account.swap_peak),
        "footprint_low_kib": _kib(account.footprint_low),
        "footprint_high_kib": _kib(account.footprint_high),
        "footprint_time": _date(profile, largest.time) if largest else None,
        "anon_kib": kib(largest.anon) if largest else None,
        "shmem_kib": kib(largest.shmem) if largest else None,
        "swap_kib": _kib(largest.swap) if largest else None,
        "huge_kib": _kib(largest.huge) if largest else None,
        "file_kib": _kib(largest.file) if largest else None,
        "kernel_kib": _kib(largest.kernel) if largest else None,
        "samples": account.samples,
        "stall_some_seconds": _seconds(account.stall_some),
        "stall_full_seconds": _seconds(account.stall_full),
        "oom_kills": account.oom_kills,
        "remains": None if account.remains is None else unicode_text(account.remains),
    }
    if profile.timeline:
        document["timeline"] = [
            {
                "until": _date(profile, span.end),
                "footprint_kib": kib(span.footprint),
                "usage_kib": _kib(span.usage),
            }
            for span in account.history
        ]
    return document


def _limits(profile: Profile) -> dict[str, Any] | None:
    outcome = profile.limit_outcome
    if not outcome:
        return None
    return {
        "max_total_rss_kib": _kib(outcome.limits.total_rss),
        "max_per_proc_rss_kib": _kib(outcome.limits.process_rss),
        "max_total_pss_kib": _kib(outcome.limits.total_pss),
        "max_total_footprint_kib": _kib(outcome.limits.total_footprint),
        "min_available_kib": _kib(outcome.limits.min_available),
        "on_limit": "kill" if outcome.kill else "report",
        "exceeded": [
            {
                "limit": breach.limit,
                "limit_kib": kib(breach.allowed),
                "size_kib": kib(breach.size),
                "time": _date(profile, breach.time),
                "processes": breach.processes,
                "serial": breach.serial,
                "pid": breach.pid,
                "command": breach.command,
                "holders": _holders(breach.holders),
                "in_group": breach.in_group,
                "by_account": breach.by_account,
            }
            for breach in outcome.breaches
        ],
        "inconclusive": outcome.inconclusive,
        "signalled": outcome.signalled,
        "killed_pids": outcome.killed,
        "surviving_pids": outcome.survivors,
        "signalled_processes": [
            {
                "pid": each.pid,
                "command": None if each.command is None else unicode_text(each.command),
                "signals": each.signals,
            }
            for each in outcome.receivers
        ],
        "grew_after_sigterm": outcome.grew,
    }


def _ending(profile: Profile) -> dict[str, Any]:
    ended, second = ending(profile), profile.last_second
    return {
        "how": ended.how.value,
        "why": None if ended.why is None else unicode_text(ended.why),
        "killed": [
            {
                "serial": kill.process.serial,
                "pid": kill.process.pid,
                "command": unicode_text(kill.process.command),
                "time": _date(profile, kill.process.last_seen),
                "total_rss_kib": _kib(kill.total_rss),
            }
            for kill in profile.kills
        ],
        "last_second": second
        and {
            "time": _date(profile, second.time),
            "total_rss_kib": kib(second.total_rss),
            "since": _date(profile, second.since),
            "total_rss_before_kib": kib(second.total_before),
            "holders": _holders(second.holders),
        },
    }


def _leaks(leaks: Leaks, profile: Profile) -> dict[str, Any]:
    return {
        "heuristic": True,
        "min_growth_percent": round(leaks.min_growth * 100, 4),
        "min_duration_seconds": leaks.min_duration / 1e9,
        "processes_judged": leaks.judged,
        "total_judged": leaks.total_judged,
        "found": [_leak(leak, profile) for leak in leaks.found],
    }


def _leak(leak: Leak, profile: Profile) -> dict[str, Any]:
    process = leak.process
    argv = process.program.argv if process else None
    return {
        "kind": "process" if process else "total",
        "pid": process.pid if process else None,
        "serial": process.serial if process else None,
        "command": unicode_text(process.program.name) if process else None,
        "argv": None if argv is None else [unicode_text(word) for word in argv],
        "rate_kib_per_hour": round(leak.rate / 1024),
        "fit": round(leak.fit, 4),
        "growth_percent": round(leak.growth * 100, 1),
        "from_kib": kib(leak.low),
        "to_kib": kib(leak.high),
        "from_time": _date(profile, leak.start),
        "to_time": _date(profile, leak.end),
        "rss_source": "sampled",
    }


def _accuracy(profile: Profile) -> dict[str, Any]:
    accuracy, sampling = profile.accuracy, profile.sampling
    return {
        "sources": [
            {"name": source.id, "used": source.used, "reason": source.reason}
            for source in accuracy.sources
        ],
        "complete": profile.complete,
        "not_in_total": uncounted(profile)._asdict(),
        "processes_found": dict(accuracy.found_by),
        "peaks": dict(accuracy.peaks),
        "phys_footprint_peaks": (
            None if accuracy.footprints is None else dict(accuracy.footprints)
        ),
        "never_sampled": accuracy.never_sampled,
        "lost_messages": accuracy.lost,
        "held_back_programs": [unicode_text(path) for path in accuracy.held_back],
        "advice": accuracy.advice,
        "requested_interval_ms": _number((sampling.requested or sampling.interval) / 1e6),
        "achieved_interval_ms": (
            None if sampling.achieved is None else round(sampling.achieved / 1e6, 4)
        ),
        "late_ticks": sampling.late,
        "skipped_ticks": sampling.skipped,
        "unkept_processes": sampling.unkept,
        "unreadable_processes": sampling.unreadable,
        "machine_scanned": sampling.scanning,
        "error": sampling.error,
    }


def _process(profile: Profile, process: Process) -> dict[str, Any]:
    last = process.programs[-1].text
    peak = process.peak
    footprint = process.footprint
    usage = process.usage
    held = process.held
    return {
        "pid": process.pid,
        "ppid": process.ppid,
        "serial": process.serial,
        "parent_serial": process.parent,
        "command": process.command,
        "argv": last.argv,
        "argv_cut": last.argv_cut,
        "exe": last.exe,
        "cwd": last.cwd,
        "max_rss_kib": kib(peak.rss) if peak.known else None,
        "peak_source": peak.source,
        "max_phys_footprint_kib": _footprint_kib(footprint),
        "phys_footprint_source": footprint.source,
        "max_footprint_kib": kib(held.best) if held else None,
        "max_footprint_low_kib": kib(held.low) if held else None,
        "max_footprint_high_kib": _kib(held.high) if held else None,
        "max_footprint_source": held.source if held else None,
        "final_watermark_kib": _kib(usage.final_watermark),
        "peak_time": _date(profile, peak.time) if peak.known else None,
        "first_seen": _date(profile, process.first_seen),
        "last_seen": _date(profile, process.last_seen),
        "start_time": None if process.start is None else _date(profile, process.start),
        "end_time": _date(profile, process.last_seen) if process.end_known else None,
        "found_by": process.found_by,
        "user_seconds": _seconds(usage.user),
        "system_seconds": _seconds(usage.system),
        "read_bytes": usage.read,
        "written_bytes": usage.written,
        "wait_status": process.exit_status,
        "alive_at_end": process.alive,
        "images": [_program(profile, each) for each in process.programs],
    }


def _program(profile: Profile, program: Program) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "command": program.text.name,
        "argv": program.text.argv,
        "exe": program.text.exe,
        "cwd": program.text.cwd,
        "since": _date(profile, program.since),
        "inherited": program.inherited,
        "max_rss_kib": kib(program.peak.rss) if program.peak.known else None,
        "peak_source": program.peak.source,
    }
    # There are many programs, and most systems keep no footprints, so the keys are left out.
    if program.footprint.known:
        fields["max_phys_footprint_kib"] = _footprint_kib(program.footprint)
        fields["phys_footprint_source"] = program.footprint.source
    return fields


def _footprint_kib(footprint: Footprint) -> int | None:
    return kib(footprint.size) if footprint.known else None


def _timeline(profile: Profile) -> Iterator[dict[str, Any]]:
    if not profile.timeline:
        return
    for row in profile.timeline.rows():
        yield {
            "timestamp": _date(profile, row.time),
            "elapsed_seconds": round(profile.elapsed(row.time), 6),
            "total_rss_kib": kib(row.total),
            "process_count": row.processes,
            "total_shared_kib": _kib(row.shared),
            "total_shmem_kib": _kib(row.shmem),
            "total_swapped_kib": _kib(row.swapped),
            "total_footprint_low_kib": _kib(row.footprint_low),
        }


def _date(profile: Profile, time: int) -> str:
    return format_date(profile.clock.realtime_at(time))


def _seconds(time: int | None) -> float | None:
    return None if time is None else round(time / 1e9, 6)


def _kib(size: int | None) -> int | None:
    return None if size is None else kib(size)


def _number(value: float) -> int | float:
    """Returns a whole value as an int: 500 rather than 500.0, as it was given."""
    return int(value) if value == int(value) else value
