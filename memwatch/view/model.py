"""What a page shows of one file of results: a document, and columns of numbers beside it.

Times in the columns are microseconds since the command started, sizes are bytes. An unknown number
is -1 where 0 could be a value.
"""

from __future__ import annotations

import signal
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from memwatch.analysis import wording
from memwatch.analysis.ending import ending
from memwatch.model.figure import Why
from memwatch.model.groups import KINDS, described
from memwatch.model.memory_limit import MACHINE
from memwatch.model.processes import FOUND_BY, PEAK_SOURCES, Process
from memwatch.model.profile import Profile
from memwatch.model.regroup import Grouping
from memwatch.model.totals import Timeline
from memwatch.model.tracks import PartsTrack, PssSum, Track, Tracks
from memwatch.reports import ending_lines
from memwatch.reports.summary import duration, exit_text, notes
from memwatch.units import (
    command_text,
    format_date,
    format_interval,
    format_size,
    printable,
)
from memwatch.view.payload import Column
from memwatch.view.thinning import thin_parts, thin_timeline, thin_tracks

MOST_SAMPLES = 3_000_000
MOST_TICKS = 400_000
MOST_PROCESSES = 200_000
"""The most of each in one page: with this much, a browser still answers at once."""

# Characters of a command line: one of 128 KiB would not help in a table.
LONGEST_COMMAND = 2000


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of the whole job, at the top of the page."""

    name: str
    value: str
    how: str
    """What the figure is, or how it is known."""


@dataclass(frozen=True, slots=True)
class Page:
    """One file of results, as a page shows it."""

    label: str
    command: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    """What limits the numbers."""
    document: dict[str, Any]
    columns: tuple[Column, ...]


def page_of(
    profile: Profile, tracks: Tracks | None, label: str, host: str | None, share: int = 1
) -> Page:
    """Makes the page of one file. `share` is how many files the page has: each gets its part of
    what a page can hold."""
    data = _fitted(profile, tracks, share)
    at = _Times(profile.start)
    words = _Words()
    columns = (
        *_processes(data.processes, at, words),
        Column("killed", _killed(profile, data.processes)),
        *_programs(data.processes, at, words),
        Column("program_group", _groups(profile, data.processes)),
        *_samples(data, at),
        *_pss(profile, tracks, at),
    )
    command = command_text(profile.command)
    facts = tuple(_facts(profile))
    warnings = tuple(ending_lines.sentences(profile))
    page_notes = (*warnings, *data.notes, *map(_sentence, notes(profile, str)))
    limit = profile.memory_limit
    document = {
        "label": printable(label),
        "command": command,
        "host": None if host is None else printable(host),
        "started": format_date(profile.clock.realtime_at(profile.start)),
        "duration": at(profile.end),
        "facts": [[fact.name, fact.value, fact.how] for fact in facts],
        "notes": page_notes,
        "warning": " ".join(warnings),
        "thinned": bool(data.notes),
        "has_samples": tracks is not None,
        "max_total": profile.max_total_rss,
        "max_total_time": at(profile.max_total_time) if profile.max_total_rss is not None else None,
        "limit": limit.limit_bytes,
        "limit_source": limit.source,
        "group_by": profile.group_by if profile.group_by in KINDS else "match",
        "grouped": printable(described(profile.group_by)),
        "groups": [
            [
                printable(group.name),
                group.processes,
                group.peak_rss if group.peak_known else None,
                at(group.peak_time) if group.peak_known else None,
                group.sum_of_peaks if group.known else None,
            ]
            for group in profile.groups
        ],
        "words": words.all,
        "peak_sources": PEAK_SOURCES,
        "found_by": FOUND_BY,
        "killed_by": _KILLED_BY,
    }
    return Page(printable(label), command, facts, page_notes, document, columns)


class _Fitted(NamedTuple):
    """The processes and samples of a file, reduced to what its part of a page can hold."""

    processes: list[Process]
    """In the order of their starts."""
    tracks: Mapping[int, Track]
    """By serial number."""
    parts: Mapping[int, PartsTrack]
    """What those processes held beside anonymous memory and files, by serial number."""
    timeline: Timeline | None
    notes: tuple[str, ...]
    """What was left out, in sentences."""


def _fitted(profile: Profile, tracks: Tracks | None, share: int) -> _Fitted:
    left_out = []
    processes = sorted(profile.processes, key=_begin)
    if len(processes) > MOST_PROCESSES // share:
        processes = _largest(processes, MOST_PROCESSES // share)
        left_out.append(
            f"Of {len(profile.processes):,} processes the {len(processes):,} with the highest "
            "peaks are shown; totals and groups cover all."
        )
    interval = round(profile.sampling.achieved or profile.sampling.interval)
    by_serial: Mapping[int, Track] = {}
    parts: dict[int, PartsTrack] = {}
    if tracks:
        shown = {process.serial for process in processes}
        by_serial = {key: each for key, each in tracks.by_serial.items() if key in shown}
        by_serial, span = thin_tracks(by_serial, interval, MOST_SAMPLES // share)
        for serial in by_serial:
            known = tracks.parts(serial)
            if known:
                parts[serial] = thin_parts(known, span) if span else known
        if span:
            left_out.append(
                "Too many samples for a page: of each process the highest of every "
                f"{format_interval(span / 1e9)} is drawn."
            )
    timeline = profile.timeline
    if timeline:
        timeline, span = thin_timeline(timeline, interval, MOST_TICKS // share)
        if span:
            left_out.append(
                f"Of the totals the highest of every {format_interval(span / 1e9)} is drawn."
            )
    return _Fitted(processes, by_serial, parts, timeline, tuple(left_out))


def _samples(data: _Fitted, at: _Times) -> list[Column]:
    """Makes the columns of ticks, samples and their parts, which share a column of moments."""
    timeline = data.timeline
    ticks: Sequence[int] = timeline.times if timeline else ()
    samples = [data.tracks.get(process.serial, _NO_TRACK) for process in data.processes]
    parts = [data.parts.get(process.serial, _NO_PARTS) for process in data.processes]
    every = chain((track.times for track in samples), (track.times for track in parts))
    moments = sorted({*ticks, *chain.from_iterable(every)})
    index = {time: number for number, time in enumerate(moments)}
    return [
        Column("moment", at.all(moments), 2),
        Column("tick", [index[time] for time in ticks], 2),
        Column("total", timeline.totals if timeline else ()),
        Column("alive", timeline.counts if timeline else ()),
        *(
            Column(name, [_or(size) for size in column])
            for name, column in (
                ("shared", timeline.shared if timeline else ()),
                ("shmem", timeline.shmem if timeline else ()),
                ("least", timeline.footprint_low if timeline else ()),
            )
        ),
        Column("sample_count", [len(track.times) for track in samples]),
        Column("sample_moment", [index[time] for track in samples for time in track.times]),
        Column("sample_rss", [size for track in samples for size in track.rss]),
        Column("sample_shared", [size for track in samples for size in track.shared]),
        Column("part_count", [len(track.times) for track in parts]),
        Column("part_moment", [index[time] for track in parts for time in track.times]),
        Column("part_shmem", [size for track in parts for size in track.shmem]),
        Column("part_swapped", [size for track in parts for size in track.swapped]),
        Column("part_huge", [size for track in parts for size in track.huge]),
    ]


_NO_TRACK = Track(array("q"), array("q"), array("q"))
_NO_PARTS = PartsTrack(array("q"), array("q"), array("q"), array("q"))


class _Times:
    """Converts times to those of the page."""

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, time: int) -> int:
        """Returns microseconds since the start of the command."""
        return (time - self._start + 500) // 1000

    def all(self, times: Iterable[int]) -> list[int]:
        return [self(time) for time in times]


class _Words:
    """Numbers names and command lines, so that each is in the page once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str | None) -> int:
        if text is None:
            return -1
        number = self._numbers.setdefault(text, len(self.all))
        if number == len(self.all):
            self.all.append(text)
        return number


def command_line(argv: Sequence[str] | None, *, cut: bool = False) -> str | None:
    """Returns a command line as a shell would take it, without control characters."""
    if argv is None:
        return None
    text = command_text(argv)
    if len(text) > LONGEST_COMMAND:
        text, cut = text[:LONGEST_COMMAND], True
    return text + " …" if cut else text


def _begin(process: Process) -> tuple[int, int]:
    known = process.first_seen if process.start is None else process.start
    return min(known, process.first_seen), process.serial


def _largest(processes: list[Process], number: int) -> list[Process]:
    ranked = sorted(processes, key=lambda process: (-process.peak.rss, process.serial))
    return sorted(ranked[:number], key=_begin)


def _processes(processes: list[Process], at: _Times, words: _Words) -> list[Column]:
    row = {process.serial: number for number, process in enumerate(processes)}
    peaks = [process.peak for process in processes]
    usages = [process.usage for process in processes]
    return [
        Column("pid", [process.pid for process in processes]),
        Column("ppid", [process.ppid for process in processes]),
        Column("parent", [row.get(process.parent or 0, -1) for process in processes]),
        Column("begin", at.all(_begin(process)[0] for process in processes)),
        Column("end", at.all(process.last_seen for process in processes)),
        Column("start_known", [process.start is not None for process in processes]),
        Column("end_known", [process.end_known for process in processes]),
        Column("running", [process.alive for process in processes]),
        Column("found", [FOUND_BY.index(process.found_by) for process in processes]),
        Column("status", [_or(process.exit_status) for process in processes]),
        Column("peak", [peak.rss for peak in peaks]),
        Column(
            "peak_time",
            at.all(
                peak.time or process.first_seen
                for peak, process in zip(peaks, processes, strict=True)
            ),
        ),
        Column("peak_source", [PEAK_SOURCES.index(peak.source) for peak in peaks]),
        Column("user", [_or(usage.user, 1000) for usage in usages]),
        Column("system", [_or(usage.system, 1000) for usage in usages]),
        Column("read", [_or(usage.read) for usage in usages]),
        Column("written", [_or(usage.written) for usage in usages]),
        Column("programs", [len(process.programs) for process in processes]),
        Column("name", [words(printable(process.command)) for process in processes]),
    ]


# What a lane has written at its end.
_KILLED_BY = ("", "SIGKILL", "out of memory", "out of memory?")


def _killed(profile: Profile, processes: list[Process]) -> list[int]:
    """Returns for each process what killed it, as its place in _KILLED_BY."""
    victims = {each.process.serial: 2 if each.is_certain else 3 for each in ending(profile).victims}
    return [
        victims.get(process.serial, int(process.exit_status == signal.SIGKILL))
        for process in processes
    ]


def _programs(processes: list[Process], at: _Times, words: _Words) -> list[Column]:
    programs = [program for process in processes for program in process.programs]
    # Most processes run one program, so beside the process's own these are mostly 0.
    later = [
        at(program.since) - at(_begin(process)[0])
        for process in processes
        for program in process.programs
    ]
    lower = [
        process.peak.rss - program.peak.rss for process in processes for program in process.programs
    ]
    return [
        Column("program_name", [words(printable(program.text.name)) for program in programs]),
        Column(
            "program_line",
            [
                words(command_line(program.text.argv, cut=program.text.argv_cut))
                for program in programs
            ],
        ),
        Column(
            "program_exe",
            [words(program.text.exe and printable(program.text.exe)) for program in programs],
        ),
        Column(
            "program_cwd",
            [words(program.text.cwd and printable(program.text.cwd)) for program in programs],
        ),
        Column("program_later", later),
        Column("program_forked", [program.inherited for program in programs]),
        Column("program_lower", lower),
        Column("program_source", [PEAK_SOURCES.index(program.peak.source) for program in programs]),
    ]


def _groups(profile: Profile, processes: list[Process]) -> list[int]:
    """Returns the group of each program: its place in the profile's list, -1 for none."""
    number = {group.name: place for place, group in enumerate(profile.groups)}
    group_of = Grouping(profile).group_of
    return [
        number.get(group_of(process, program), -1)
        for process in processes
        for program in process.programs
    ]


def _or(value: int | None, unit: int = 1) -> int:
    return -1 if value is None else value // unit


def _pss(profile: Profile, tracks: Tracks | None, at: _Times) -> list[Column]:
    """Makes the columns of every sum of PSS; without observations, of the highest only."""
    pss = profile.max_total_pss
    highest = [PssSum(pss.time, pss.total, pss.unread, pss.is_low)] if pss else []
    sums = tracks.pss if tracks else highest
    return [
        Column("pss_time", at.all(each.time for each in sums)),
        Column("pss_total", [each.total for each in sums]),
        Column("pss_unread", [each.unread for each in sums]),
    ]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _facts(profile: Profile) -> Iterable[Fact]:
    sampling = profile.sampling
    total, largest = profile.total_rss, profile.largest
    how = wording.total_rss(profile)
    if total.size is not None and (sampling.unreadable or sampling.error):
        how += "; a lower bound"
    yield Fact("Peak total RSS", wording.value(total), how)
    if total.why is Why.ONE_PROCESS:
        sampled = wording.size(profile.max_total_rss)
        yield Fact("Highest sample", sampled, wording.highest_sample(profile))
    if profile.bounded_footprint:
        value = format_size(profile.bounded_footprint.best)
        yield Fact("Peak total footprint", value, wording.total_footprint(profile))
    if profile.max_total_pss:
        value = wording.value(profile.total_pss)
        yield Fact("Peak total PSS", value, wording.total_pss(profile))
    if largest:
        name = printable(largest.peak_program.text.name)
        how = f"{name}, pid {largest.pid}, {largest.peak.source}"
        yield Fact("Largest process", format_size(largest.peak.rss), how)
    yield from _footprints(profile)
    seen = "all of them" if profile.complete else "those that were seen"
    yield Fact("Processes", f"{len(profile.processes):,}", seen)
    every = f"one every {format_interval(sampling.achieved / 1e9)}" if sampling.achieved else ""
    yield Fact("Samples", f"{sampling.ticks:,}", every)
    limit = profile.memory_limit
    if limit.limit_bytes is not None:
        how = "of the machine" if limit.source == MACHINE else str(limit.source)
        yield Fact("Memory limit", format_size(limit.limit_bytes), how)
    yield Fact("Duration", duration(profile), exit_text(profile))


def _footprints(profile: Profile) -> Iterable[Fact]:
    if profile.max_total_footprint:
        value = wording.value(profile.total_footprint)
        yield Fact("Peak total footprint", value, wording.total_footprint(profile))
    if process := profile.largest_footprint:
        size, source = process.footprint
        how = f"{printable(process.command)}, pid {process.pid}, {source}"
        yield Fact("Largest footprint", format_size(size), how)
