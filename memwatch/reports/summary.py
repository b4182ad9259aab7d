"""The summary: a Profile as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from memwatch.analysis import wording
from memwatch.analysis.ending import signal_name
from memwatch.analysis.holders import by_group
from memwatch.model.figure import Why
from memwatch.model.filters import Shown
from memwatch.model.footprint_bounds import ALONE, SYSTEM
from memwatch.model.groups import COMMAND, KEYLESS_GROUPS, KINDS, Group, described
from memwatch.model.memory_limit import MACHINE
from memwatch.model.processes import EXACT, SAMPLED, UNKNOWN, WATERMARK, Process
from memwatch.model.profile import Overhead, Profile
from memwatch.model.sources import DARWIN
from memwatch.reports import ending_lines, limit_lines
from memwatch.units import (
    Style,
    command_text,
    count,
    cut,
    format_duration,
    format_interval,
    format_size,
    printable,
)

if TYPE_CHECKING:
    from memwatch.analysis.leaks import Leaks

# Rows of a table before "... and N more", where no option sets them.
MUCH = 0.25
"""A part of a total that is at least so large is named."""

HOLDERS = 5
GROUPS = 15

# Where a program's name is cut: most are shorter than 16, and one of 255 must not push all numbers
# out of sight.
LONGEST_NAME = 40

# Keys whose groups have paths for names.
_PATHS = ("exe", "cwd", "source")


def lines(
    profile: Profile,
    shown: Shown,
    *,
    top: int | None,
    width: int,
    bold: Style,
    dim: Style,
    tree: Iterable[str] = (),
    leaks: Leaks | None = None,
) -> Iterator[str]:
    """Yields the summary line by line. `top` limits the list of processes; None shows all. `tree`
    is the section that shows the process tree."""
    yield ""
    yield f"{bold('Job:')} {cut(command_text(profile.command), width - 5)}"
    yield from ending_lines.lines(profile, bold, dim)
    yield from _facts(profile, bold)
    if profile.cgroup:
        from memwatch.reports import cgroup_lines

        yield from cgroup_lines.lines(profile, profile.cgroup, bold)
    yield from _limit(profile, bold)
    yield from limit_lines.lines(profile, bold, dim)
    if not profile.was_seen:
        yield ""
        yield _nothing_seen(profile)
    else:
        yield from _holders(profile, width, bold, dim)
        yield from _processes(profile, shown, top, width, bold, dim)
        yield from tree
        yield from _groups(profile, shown, width, bold, dim)
    if leaks:
        from memwatch.reports import leak_report

        yield from leak_report.lines(leaks, width=width, bold=bold, dim=dim)
    yield ""
    yield from notes(profile, dim)


def _facts(profile: Profile, bold: Style) -> Iterator[str]:
    yield f"Duration:        {duration(profile)}  ({exit_text(profile)})"
    sampling = profile.sampling
    samples = f"Samples:         {sampling.ticks:,}"
    if sampling.achieved is not None:
        samples += f", one every {format_interval(sampling.achieved / 1e9)}"
        samples += f" ({sampling.late:,} late" if sampling.late else " (none late"
        samples += f", {sampling.skipped:,} skipped)" if sampling.skipped else ")"
    yield samples
    if sampling.requested is not None:
        used, asked = (
            format_interval(each / 1e9) for each in (sampling.interval, sampling.requested)
        )
        yield f"                 interval {used} because of a limit, not {asked}"
    seen = "" if profile.complete else " seen"
    yield f"Processes:       {len(profile.processes):,}{seen}"
    largest = profile.largest
    if not profile.was_seen:
        return
    yield ""
    yield from _total(profile, bold)
    if largest:
        yield (
            f"Max per process: {bold(format_size(largest.peak.rss))}  "
            f"(pid {largest.pid}, {_name(largest.peak_program.text.name)})"
        )
    yield from _footprint(profile, bold)


def duration(profile: Profile) -> str:
    """Returns how long the command ran, in words."""
    short = profile.duration < 1
    return (format_interval if short else format_duration)(profile.duration)


def exit_text(profile: Profile) -> str:
    """Returns how the command ended, in words."""
    ended = f"exit code {profile.exit_code}"
    if profile.signal is not None:
        return f"killed by {signal_name(profile.signal)}, {ended}"
    return "exit status unknown" if profile.exit_code is None else ended


def _total(profile: Profile, bold: Style) -> Iterator[str]:
    """Yields what all processes together held."""
    size = bold(wording.value(profile.total_rss))
    yield f"Max total RSS:   {size}  ({wording.total_rss(profile)})"
    if profile.total_rss.why is Why.ONE_PROCESS:
        sampled = wording.size(profile.max_total_rss)
        yield f"                 highest sample: {sampled}  ({wording.highest_sample(profile)})"
    shared, total = profile.max_total_shared, profile.max_total_rss
    if shared and total and shared >= MUCH * total:
        yield f"                 {format_size(shared)} of it in pages of files or shared memory"
    if footprint := profile.bounded_footprint:
        size = bold(format_size(footprint.best))
        yield f"Max footprint:   {size}  ({wording.total_footprint(profile)})"
        if (split := footprint.split) and split.stored >= MUCH * footprint.best:
            whose = "" if footprint.source == ALONE else ", by this job or others"
            stored = format_size(split.stored)
            yield f"                 {stored} of it in files in memory (tmpfs){whose}"
    elif profile.max_total_pss:
        size = bold(wording.value(profile.total_pss))
        yield f"Max total PSS:   {size}  ({wording.total_pss(profile)})"


def _footprint(profile: Profile, bold: Style) -> Iterator[str]:
    """Yields the footprints, where the system accounts for them."""
    if profile.accuracy.footprints is None:
        return
    size = bold(wording.value(profile.total_footprint))
    yield f"Max footprint:   {size}  ({wording.total_footprint(profile)})"
    if largest := profile.largest_footprint:
        size = format_size(largest.footprint.size)
        bound = "" if largest.footprint.source == EXACT else "at least "
        yield (
            f"                 {bound}{bold(size)} in one process  "
            f"(pid {largest.pid}, {_name(largest.command)})"
        )


def _limit(profile: Profile, bold: Style) -> Iterator[str]:
    """Yields the memory limit of the job's control group."""
    limit, headroom = profile.memory_limit, profile.headroom
    if limit.limit_bytes and limit.source != MACHINE:
        about = f"{limit.source} {printable(limit.path)}" if limit.path else f"{limit.source}"
        if headroom is not None and headroom >= 0:
            about = f"the peak was {bold(format_size(headroom))} below it; {about}"
        yield f"Memory limit:    {format_size(limit.limit_bytes)}  ({about})"


def _nothing_seen(profile: Profile) -> str:
    if profile.sampling.unreadable:
        return "The job's memory could not be read."
    if profile.sampling.error:
        return "The job's memory was not seen."
    return "The job's memory was not seen: it ended before the first sample."


def _holders(profile: Profile, width: int, bold: Style, dim: Style) -> Iterator[str]:
    """Yields which groups held the memory when the total was highest."""
    total = profile.max_total_rss
    if len(profile.at_peak) < 2 or not total:
        return
    held = by_group(profile.at_peak)
    yield ""
    yield bold("When the total was highest:")
    for group, processes, rss in held[:HOLDERS]:
        what = label(group, profile.group_by, width - 30)
        yield (
            f"  {format_size(rss):>10}  {rss / total:4.0%}  {what}"
            + (dim(f" × {processes}") if processes > 1 else "")
        )
    if rest := held[HOLDERS:]:
        rss = sum(each.rss for each in rest)
        number = sum(each.processes for each in rest)
        others = count(number, "other process", "other processes")
        yield f"  {format_size(rss):>10}  {rss / total:4.0%}  {dim(others)}"


def _processes(
    profile: Profile, shown: Shown, top: int | None, width: int, bold: Style, dim: Style
) -> Iterator[str]:
    yield ""
    has_footprints = profile.accuracy.footprints is not None
    title = bold(f"Per-process peak RSS{' and footprint' if has_footprints else ''}:")
    if shown.filter:
        title += dim(
            f"  ({count(shown.hidden, 'process', 'processes')} filtered out; "
            f"totals cover all processes)"
        )
    yield title
    if not shown.processes:
        yield "  no process matches the filter"
        return
    listed = shown.processes if top is None else shown.processes[:top]
    pid_width = max((len(str(process.pid)) for process in listed), default=0)
    for process in listed:
        peak = process.peak
        size = UNKNOWN if peak.source == UNKNOWN else format_size(peak.rss)
        beside = f"{size:>10}  "
        if has_footprints:
            footprint = process.footprint
            size = UNKNOWN if footprint.source == UNKNOWN else format_size(footprint.size)
            beside += f"{size:>10}  "
        room = max(width - pid_width - 8 - len(beside), 20)
        yield f"  pid {process.pid:>{pid_width}}  {beside}{_what(process, room, dim)}"
    more = len(shown.processes) - len(listed)
    if more:
        yield dim(f"  … and {more:,} more (--top all lists them)")


def _what(process: Process, room: int, dim: Style) -> str:
    """Returns a process's name and as much of its command line as fits."""
    name = _name(process.command)
    note = ""
    peak_name = process.peak_program.text.name
    if peak_name != process.command:
        note = f" (peak as {_name(peak_name)})"
    if process.alive:
        note += " (running at the end)"
    arguments = " ".join(map(printable, process.argv[1:])) if process.argv else ""
    left = room - len(name) - len(note) - 1
    if arguments and left > 4:
        return f"{name} {dim(cut(arguments, left))}{note}"
    return name + note


def _groups(profile: Profile, shown: Shown, width: int, bold: Style, dim: Style) -> Iterator[str]:
    by = profile.group_by
    groups = sorted(profile.groups, key=lambda group: group.name in KEYLESS_GROUPS)
    if shown.filter:
        from memwatch.model.regroup import Grouping

        members = Grouping(profile)
        names = set().union(*(members.groups_of(process) for process in shown.processes))
        groups = [group for group in groups if group.name in names]
    if len(groups) < 2 and by == COMMAND:
        return
    # Processes without a key come last, however many they are, and are always shown.
    rests = [group for group in groups if group.name in KEYLESS_GROUPS]
    named = groups[: len(groups) - len(rests)]
    has_footprints = _has_footprints(profile)
    room = width - (58 if has_footprints else 46)
    labels = {each.name: label(each.name, by, room) for each in (*named[:GROUPS], *rests)}
    name_width = max([7, *map(len, labels.values())])
    yield ""
    yield bold(f"Process groups, RSS ({printable(described(by))}):")
    head = by if by in KINDS else "match"
    title = f"  {head:<{name_width}}  processes  peak at one time  sum of peaks"
    yield dim(f"{title}   footprint" if has_footprints else title)

    def row(group: Group) -> str:
        sizes = (group.peak_rss, group.sum_of_peaks)
        peak, peaks = map(format_size, sizes) if group.known else (UNKNOWN, UNKNOWN)
        if not group.peak_known:
            peak = UNKNOWN
        cells = (
            f"  {labels[group.name]:<{name_width}}  {group.processes:>9,}  {peak:>16}  {peaks:>12}"
        )
        if not has_footprints:
            return cells
        return f"{cells}  {wording.size(group.footprint and group.footprint.best):>10}"

    yield from map(row, named[:GROUPS])
    if len(named) > GROUPS:
        more = count(len(named) - GROUPS, "smaller group")
        yield dim(f"  … and {more} (--json has all)")
    yield from map(row, rests)
    if not all(group.added_up for group in groups):
        yield dim("  Their peaks at one time are unknown: the JSON has no samples to add up.")


def _has_footprints(profile: Profile) -> bool:
    """Returns whether the footprint of some group is to be shown: it is that of the system (macOS),
    or much less than its RSS."""
    least = MUCH * (profile.max_total_rss or 0)
    return any(
        bounds.source == SYSTEM or group.peak_rss - bounds.best > least
        for group in profile.groups
        if (bounds := group.footprint)
    )


def notes(profile: Profile, dim: Style) -> Iterator[str]:
    """Yields what limits the numbers, and what memwatch itself cost."""
    sampling = profile.sampling
    if other_kills := ending_lines.other_kills(profile):
        yield other_kills
    if sampling.unreadable and profile.max_total_rss is not None:
        unreadable = count(sampling.unreadable, "process", "processes")
        yield f"The memory of {unreadable} could not be read: totals are lower bounds."
        if profile.backend == DARWIN:
            yield "macOS shows the memory of other users' processes to root only."
    if sampling.scanning and profile.backend != DARWIN:
        yield "This kernel does not list children: the whole machine was scanned at each tick."
    yield from _provenance(profile, dim)
    if profile.overhead.cpu is not None:
        yield dim(_cost(profile.overhead, profile.overhead.cpu / 1e9, profile.duration))


EXACT_BY = {"taskstats": "kernel exit records", "hook": "exit hook"}


def _provenance(profile: Profile, dim: Style) -> Iterator[str]:
    """Yields how the processes and their peaks are known, and what would make them more exact."""
    accuracy = profile.accuracy
    number = sum(accuracy.peaks.values())
    processes = count(number, "process", "processes")
    ways = [EXACT_BY[each.id] for each in accuracy.sources if each.used and each.id in EXACT_BY]
    if number and accuracy.footprints is None:
        yield dim(f"{processes}{_how_known(accuracy.peaks, 'peak', ways)}.")
    elif number and accuracy.footprints is not None:
        known = _how_known(accuracy.peaks, "RSS peak", ways)
        known += _how_known(accuracy.footprints, "footprint peak", ())
        yield dim(f"{processes}{known}.")
    yield from _what_is_missing(profile, dim)
    if profile.max_total_rss is not None:
        yield dim(
            "RSS counts shared pages once per process, so the total can exceed real memory use."
        )
        if profile.bounded_footprint:
            yield dim(
                "Footprint: what the kernel cannot drop (anonymous, shared, swapped), each page "
                "once."
            )


def _how_known(peaks: Mapping[str, int], what: str, ways: Sequence[str]) -> str:
    """Returns how peaks are known: "; all peaks are exact" or "; peaks: 2 exact, 1 lower bound"."""
    number = sum(peaks.values())
    bounds = peaks[SAMPLED] + peaks[WATERMARK]
    kinds = (
        (peaks[EXACT], f"exact ({' and '.join(ways)})" if ways else "exact"),
        (bounds, "lower bounds" if bounds > 1 else "lower bound"),
        (peaks[UNKNOWN], "unknown"),
    )
    parts = [(many, how) for many, how in kinds if many]
    if len(parts) > 1:
        return f"; {what}s: {', '.join(f'{many:,} {how}' for many, how in parts)}"
    how = parts[0][1]
    if number > 1:
        return f"; all {what}s are {how}"
    return f"; its {what} is {'a ' if bounds else ''}{how}"


def _what_is_missing(profile: Profile, dim: Style) -> Iterator[str]:
    accuracy = profile.accuracy
    bounds = accuracy.peaks[SAMPLED] + accuracy.peaks[WATERMARK]
    if accuracy.footprints and accuracy.footprints[EXACT] < sum(accuracy.footprints.values()):
        yield dim(
            "A footprint peak is exact if it was read when the process ended and the process had "
            "run only one program."
        )
    if accuracy.lost:
        lost = count(accuracy.lost, "message from the kernel was", "messages from the kernel were")
        yield f"{lost} lost: some processes may be missing."
    elif bounds and profile.backend == DARWIN:
        yield dim(
            "macOS reports a peak RSS at most for the command itself: another process may have "
            "held more between two samples."
        )
    elif bounds and accuracy.peaks[EXACT]:
        yield dim(
            "A peak is a lower bound if the process was killed, was still running, or had run "
            "another program before."
        )
    elif bounds:
        yield dim("Lower bound: it may have held more between two samples.")
    if not (profile.complete or accuracy.lost or profile.sampling.error):
        yield dim(_may_be_missing(profile))
    if accuracy.advice:
        yield dim(f"For exact peaks: {accuracy.advice}.")
    if accuracy.held_back:
        names = ", ".join(_name(path.rpartition("/")[2]) for path in accuracy.held_back)
        yield (
            f"--exact kept {names} from changing user: run memwatch as root, or without --exact."
        )
    for source in accuracy.sources:
        if source.id == "hook" and source.reason:
            yield f"--exact was not possible: {source.reason}."


def _may_be_missing(profile: Profile) -> str:
    accuracy = profile.accuracy
    if accuracy.uses("kqueue"):
        return (
            "macOS reports that a process forked, but not its child: a child may be missing if it "
            "or its parent ended before it could be sampled."
        )
    interval = format_interval(profile.sampling.interval / 1e9)
    is_hooked = accuracy.uses("hook")
    how = f"was killed within {interval}" if is_hooked else f"lived for less than {interval}"
    return f"A process that {how} may be missing."


def _cost(overhead: Overhead, cpu: float, duration: float) -> str:
    cost = f"memwatch itself: {cpu:.2f} s CPU"
    if duration >= 1:  # below that it is mostly the start
        cost += f" ({cpu / duration:.1%} of a core)"
    if overhead.rss_peak is not None:
        cost += f", {format_size(overhead.rss_peak)}"
    return cost


def _name(text: str) -> str:
    """Cuts a program's name to the width of a column."""
    return cut(printable(text), LONGEST_NAME)


def label(group: str, by: str, room: int) -> str:
    """Cuts a group's name to `room`; a path loses its beginning, which says less."""
    if by == COMMAND:
        return _name(group)
    text = printable(group)
    room = max(room, LONGEST_NAME)
    if by not in _PATHS or len(text) <= room:
        return cut(text, room)
    return "…" + text[1 - room :]
