"""A trace for ui.perfetto.dev and its trace_processor, in Perfetto's own format.

Field numbers are those of protos/perfetto/trace/ in github.com/google/perfetto. Packets need not be
in the order of time: the reader sorts them, and keeps the order of those with the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from memwatch.exports.known import footprint_bounds, least_footprints, pss_peak, pss_points
from memwatch.exports.lives import Life, life, program_spans, samples
from memwatch.exports.protobuf import integer, message, text, varint
from memwatch.exports.text import job_name
from memwatch.model.figure import Why
from memwatch.model.processes import EXACT, UNKNOWN, WATERMARK, Process, Program
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import unicode_text

# Linux has no pid of this or more (PID_MAX_LIMIT).
FIRST_FREE_PID = 1 << 22

# Tracks of processes have their serial numbers.
JOB, TOTAL_RSS, TOTAL_PSS, PROCESSES, LIMIT, FOOTPRINT = range(1 << 40, (1 << 40) + 6)

_BEGIN, _END, _INSTANT, _COUNTER = 1, 2, 3, 4
_COUNT, _BYTES = 2, 3
_REALTIME, _BOOTTIME = 1, 6
# Of ProcessStats.Process.
_RSS_KB, _ANON_KB, _FILE_KB, _SHMEM_KB, _SWAP_KB, _HWM_KB = 3, 4, 5, 6, 7, 9
_SPLIT_FIELDS = (_RSS_KB, _ANON_KB, _FILE_KB, _SHMEM_KB, _SWAP_KB)


def export(results: Results) -> Iterator[bytes]:
    """Yields the file."""
    yield _clocks(results.profile)
    yield from _job(results)
    yield from _totals(results)
    ids = _ids_of_reused_pids(results.profile)
    for process in results.profile.processes:
        yield from _process(results, process, ids)


def _clocks(profile: Profile) -> bytes:
    """Gives one moment by both clocks. All other times are by the second, CLOCK_BOOTTIME."""
    time = profile.start
    clocks = ((_REALTIME, profile.clock.realtime_at(time)), (_BOOTTIME, time))
    parts = [message(1, integer(1, clock), integer(2, reading)) for clock, reading in clocks]
    return _packet(time, message(6, *parts, integer(2, _BOOTTIME)))


def _job(results: Results) -> Iterator[bytes]:
    profile = results.profile
    yield _track(profile.start, JOB, text(2, "Job"))
    facts: dict[str, str | int | None] = {
        "command": " ".join(map(unicode_text, profile.command)),
        "host": results.host,
        "exit_code": profile.exit_code,
        "interval_us": profile.sampling.interval // 1000,
        "complete": int(profile.complete),
        "error": profile.sampling.error,
        **{f"peaks_{source}": many for source, many in profile.accuracy.peaks.items()},
    }
    yield _event(profile.start, _BEGIN, JOB, job_name(profile.command), facts)
    total = profile.total_rss
    if total.size is not None and total.time is not None:
        is_sum = total.why is Why.SAMPLED
        peak: dict[str, str | int | None] = {
            "rss_bytes": total.size,
            "source": total.source,
            "processes": profile.max_total_processes if is_sum else None,
        }
        yield _event(total.time, _INSTANT, JOB, "highest total RSS", peak)
    if pss := pss_peak(profile):
        yield _event(pss.time, _INSTANT, JOB, "highest total PSS", {"pss_bytes": pss.total})
    if bounds := footprint_bounds(profile):
        sizes: dict[str, str | int | None] = {
            "footprint_bytes": bounds.best,
            "at_least_bytes": bounds.low,
            "at_most_bytes": bounds.high,
            "source": bounds.source,
        }
        yield _event(bounds.time, _INSTANT, JOB, "highest footprint", sizes)
    yield _event(profile.end, _END, JOB)


def _totals(results: Results) -> Iterator[bytes]:
    profile = results.profile
    start = profile.start
    if profile.timeline and profile.max_total_rss is not None:
        yield _counter(start, TOTAL_RSS, "Total RSS", "Sum over all processes at each sample")
        yield _counter(start, PROCESSES, "Processes", "Processes alive at each sample", unit=_COUNT)
        for row in profile.timeline.rows():
            yield _value(row.time, TOTAL_RSS, row.total)
            yield _value(row.time, PROCESSES, row.processes)
    if least := list(least_footprints(profile)):
        what = "Anonymous, shared and swapped memory, each page counted once: at least this"
        yield _counter(start, FOOTPRINT, "Footprint (at least)", what)
        for time, size in least:
            yield _value(time, FOOTPRINT, size)
    if points := pss_points(results):
        what = "Shared pages counted once; measured now and then, mostly near the highest RSS"
        yield _counter(start, TOTAL_PSS, "Total PSS", what)
        for each in points:
            yield _value(each.time, TOTAL_PSS, each.total)
    limit = profile.memory_limit.limit_bytes
    if limit is not None:
        yield _counter(start, LIMIT, "Memory limit", profile.memory_limit.source or "")
        yield _value(start, LIMIT, limit)
        yield _value(profile.end, LIMIT, limit)


def _ids_of_reused_pids(profile: Profile) -> dict[int, int]:
    """Returns ids for processes whose pid an earlier process had, by serial number: Perfetto would
    take both for one process."""
    first: dict[int, int] = {}
    for process in profile.processes:
        first[process.pid] = min(process.serial, first.get(process.pid, process.serial))
    free = count(FIRST_FREE_PID)
    return {
        process.serial: next(free)
        for process in profile.processes
        if process.serial != first[process.pid]
    }


def _process(results: Results, process: Process, ids: dict[int, int]) -> Iterator[bytes]:
    pid = ids.get(process.serial, process.pid)
    parent = ids.get(process.parent or 0, process.ppid)
    whole = life(results, process)
    name = process.command
    if pid != process.pid:
        name += f" (pid {process.pid} reused)"
    words = process.argv
    command_line = [text(3, word) for word in words or (process.command,)]
    tree = [integer(1, pid), integer(2, parent), *command_line, integer(7, whole.begin)]
    if words is None:
        tree.append(integer(9, 1))  # the name only
    yield _packet(whole.begin, message(2, message(1, *tree)))
    yield _track(whole.begin, process.serial, message(3, integer(1, pid), text(6, name)))
    for span in program_spans(process, whole):
        facts = _facts(process, span.program)
        yield _event(span.begin, _BEGIN, process.serial, span.program.text.name, facts)
        yield _event(span.end, _END, process.serial)
    yield from _sizes(results, process, whole, pid)


def _facts(process: Process, program: Program) -> dict[str, str | int | None]:
    known = program.peak.source != UNKNOWN
    is_last = program is process.programs[-1]
    return {
        "command_line": None if program.text.argv is None else " ".join(program.text.argv),
        "executable": program.text.exe,
        "inherited": int(program.inherited),
        "peak_rss_bytes": program.peak.rss if known else None,
        "peak_source": program.peak.source,
        "pid": process.pid,
        "wait_status": process.exit_status if is_last else None,
    }


def _sizes(results: Results, process: Process, whole: Life, pid: int) -> Iterator[bytes]:
    start = integer(1, pid)
    shown: dict[int, int] = {}
    end = whole.end
    for time, sizes in _samples(results, process):
        changed = [
            (field, size)
            for field, size in zip(_SPLIT_FIELDS, sizes, strict=False)
            if size is not None and shown.get(field) != size
        ]
        if changed:
            yield _packet_of_sizes(time, start, changed)
        shown.update(changed)
        end = max(end, time)
    peak = process.peak
    if peak.source in (EXACT, WATERMARK):
        yield _packet_of_sizes(peak.time, start, [(_HWM_KB, peak.rss)])
        shown[_HWM_KB] = peak.rss
        end = max(end, peak.time)
    if whole.is_over and shown:
        # Without this, the last values would be drawn to the end of the trace.
        yield _packet_of_sizes(end, start, [(field, 0) for field in shown])


def _samples(results: Results, process: Process) -> Iterator[tuple[int, Sequence[int | None]]]:
    """Yields the time of each sample, and as many of its sizes as are known, in the order of
    _SPLIT_FIELDS. What follows them has no field."""
    if results.tracks:
        yield from results.tracks.splits(process.serial)
    else:
        for time, size in zip(*samples(results, process), strict=True):
            yield time, (size,)


def _packet_of_sizes(time: int, start: bytes, sizes: Sequence[tuple[int, int]]) -> bytes:
    """Returns a packet with sizes of one process, whose pid `start` has. Encoded by hand, for
    speed: there are as many of these packets as samples."""
    parts = [b"%c%b" % (field << 3, varint(size >> 10)) for field, size in sizes]
    fields = b"".join([start, *parts])
    many = len(fields)
    when = varint(time)
    return b"\x0a%c\x40%b\x50\x01\x4a%c\x0a%c%b" % (
        len(when) + many + 7,
        when,
        many + 2,
        many,
        fields,
    )


def _counter(time: int, track: int, name: str, what: str, *, unit: int = _BYTES) -> bytes:
    return _track(time, track, text(2, name) + text(14, what) + message(8, integer(3, unit)))


def _track(time: int, track: int, kind: bytes) -> bytes:
    return _packet(time, message(60, integer(1, track), kind))


def _value(time: int, track: int, value: int) -> bytes:
    return _packet(time, message(11, integer(9, _COUNTER), integer(11, track), integer(30, value)))


def _event(
    time: int,
    kind: int,
    track: int,
    name: str | None = None,
    facts: dict[str, str | int | None] | None = None,
) -> bytes:
    """Returns a packet with an event. Facts that are None are left out."""
    parts = [integer(9, kind), integer(11, track)]
    if name is not None:
        parts.append(text(23, name))
    for key, value in (facts or {}).items():
        if value is not None:
            encoded = integer(4, value) if isinstance(value, int) else text(6, value)
            parts.append(message(4, text(10, key), encoded))
    return _packet(time, message(11, *parts))


def _packet(time: int, content: bytes) -> bytes:
    return message(1, integer(8, time), integer(10, 1), content)
