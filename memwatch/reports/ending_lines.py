"""How a job ended, where that limits its numbers: the first lines of the summary, and sentences."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch.analysis import wording
from memwatch.analysis.ending import How, JobEnding, Victim, ending, held, name, within
from memwatch.analysis.holders import by_group
from memwatch.model.last_second import LastSecond
from memwatch.model.profile import Profile
from memwatch.units import Style, count, cut, format_interval, format_size, printable

# Rows before "... others".
ROWS = 5

LONGEST_NAME = 40

STEADY = 0.02
"""A change by less than this part of the total is no trend."""

_MARGIN = " " * 17


def lines(profile: Profile, bold: Style, dim: Style) -> Iterator[str]:
    """Yields what the OOM killer ended, and the last second of a job that was not sampled to its
    end. Yields nothing for another job."""
    ended = ending(profile)
    if ended.how in (How.OOM_KILL, How.POSSIBLE_OOM_KILL):
        yield from _out_of_memory(profile, ended, bold, dim)
    if stopped_early := wording.stopped_early(profile):
        yield bold(f"{stopped_early}.")
        if profile.last_second:
            yield from _last_second(profile, profile.last_second, bold, dim)


def sentences(profile: Profile) -> Iterator[str]:
    """Yields the same in sentences, and why else the job may not have done all its work."""
    ended = ending(profile)
    if ended.why and ended.how is not How.CUT_SHORT:
        yield f"The job may not have done all its work: {ended.why}."
    if stopped_early := wording.stopped_early(profile):
        yield f"{stopped_early}."
        if profile.last_second:
            yield f"At its last sample the job held {_held_last(profile, profile.last_second)}."


def other_kills(profile: Profile) -> str | None:
    """Returns that the kernel killed processes that are not known to be of the job, as a sentence;
    None when it killed none, or one of the job."""
    limit = profile.memory_limit
    if ending(profile).how in (How.OOM_KILL, How.POSSIBLE_OOM_KILL):
        return None
    kills, where = limit.oom_kills, "in the job's control group"
    if not kills:
        kills, where = limit.machine_oom_kills, "on this machine"
    if not kills:
        return None
    killed = count(kills, "process", "processes")
    are = "it is not" if kills == 1 else "none of them is"
    return f"The kernel killed {killed} {where}, out of memory: {are} known to be of this job."


def _out_of_memory(profile: Profile, ended: JobEnding, bold: Style, dim: Style) -> Iterator[str]:
    limit = profile.memory_limit
    title, kills, where = "Out of memory:", limit.oom_kills, "in the job's control group"
    if ended.how is How.POSSIBLE_OOM_KILL:
        title, kills = "Out of memory?", limit.machine_oom_kills
        where = "on this machine, in this job or another"
    text = f"the kernel killed {count(kills or 0, 'process', 'processes')} {where}"
    yield bold(f"{title:<17}{text}{within(limit)}")
    if not ended.victims:
        yield f"{_MARGIN}which is unknown: only its parent received its exit status"
    for victim in ended.victims[:ROWS]:
        yield _MARGIN + _victim(profile, victim)
    if more := ended.victims[ROWS:]:
        yield _MARGIN + dim(f"… and {len(more):,} more that SIGKILL ended")


def _victim(profile: Profile, victim: Victim) -> str:
    at = f"at {profile.elapsed(victim.process.last_seen):.2f} s"
    known = f"{name(victim)}, killed by SIGKILL {at}"
    text = known if victim.was_killed else f"probably {name(victim)}, ended {at}"
    text += f", held {held(victim)}"
    if victim.total_rss is not None:
        text += f"; the job held up to {format_size(victim.total_rss)}"
    return text


def _last_second(profile: Profile, second: LastSecond, bold: Style, dim: Style) -> Iterator[str]:
    yield f"Last sample:     {bold(_held_last(profile, second))}"
    groups = by_group(second.holders)
    for group, processes, rss in groups[:ROWS]:
        number = dim(f" × {processes}") if processes > 1 else ""
        yield f"  {format_size(rss):>10}  {cut(printable(group), LONGEST_NAME)}{number}"
    if rest := groups[ROWS:]:
        others = count(sum(each.processes for each in rest), "other process", "other processes")
        yield f"  {format_size(sum(each.rss for each in rest)):>10}  {dim(others)}"


def _held_last(profile: Profile, second: LastSecond) -> str:
    """Returns the total and its trend, as "1.2 GiB at 3.40 s, rising: 80.0 MiB more than 980 ms
    before"."""
    text = f"{format_size(second.total_rss)} at {profile.elapsed(second.time):.2f} s"
    growth = second.growth
    if growth is None:
        return text
    ago = f"{format_interval((second.time - second.since) / 1e9)} before"
    if abs(growth) < STEADY * max(second.total_rss, second.total_before):
        return f"{text}, about the same as {ago}"
    trend, more = ("rising", "more") if growth > 0 else ("falling", "less")
    return f"{text}, {trend}: {format_size(abs(growth))} {more} than {ago}"
