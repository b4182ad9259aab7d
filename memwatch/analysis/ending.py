"""How a job ended, and so whether its numbers are those of all its work.

All reports and verdicts ask here. A job that was ended before its work was done would have held
more: its numbers are lower bounds of what it needs.
"""

from __future__ import annotations

import signal
from enum import Enum
from typing import NamedTuple

from memwatch.model.limits import AVAILABLE_MEMORY
from memwatch.model.memory_limit import MACHINE, MemoryLimit
from memwatch.model.processes import EXACT, UNKNOWN, Process
from memwatch.model.profile import Profile
from memwatch.units import count, cut, format_size, printable

# Where a program's name is cut within a sentence, and how many processes it names.
_LONGEST_NAME = 60
_MOST_NAMED = 3


class How(Enum):
    """How a job ended."""

    SUCCEEDED = "succeeded"
    """The exit code of the command is 0, and no process is known to have been killed by the OOM
    killer."""
    FAILED = "failed"
    """The command failed, or a signal killed it."""
    OOM_KILL = "oom kill"
    """The OOM killer ended a process in the job's control group."""
    POSSIBLE_OOM_KILL = "possible oom kill"
    """SIGKILL ended a process of the job, and the OOM killer one of the machine: maybe the same."""
    LIMIT = "limit"
    """memwatch ended the job at a limit of its own."""
    CUT_SHORT = "cut short"
    """Sampling, or the recording, stopped before the job ended. How it ended is unknown."""
    UNKNOWN = "unknown"
    """The exit code is unknown, and nothing else is known to have gone wrong."""


class Victim(NamedTuple):
    """A process that the OOM killer ended, or may have ended."""

    process: Process
    total_rss: int | None
    """As in Kill."""
    was_killed: bool
    """Whether SIGKILL is known to have ended it. If not it is the one that held most, whose exit
    status only its parent received."""
    is_certain: bool
    """Whether it was the OOM killer that ended it."""


class JobEnding(NamedTuple):
    """How a job ended, and why its numbers may be too low."""

    how: How
    why: str | None
    """Why the job may not have done all its work, as a part of a sentence; None where nothing says
    so."""
    victims: tuple[Victim, ...] = ()
    """What the OOM killer ended, or may have ended, largest first. May be empty although it ended a
    process: then none is known."""

    @property
    def is_whole(self) -> bool:
        """Whether the job did all its work, as far as is known."""
        return self.why is None


def ending(profile: Profile) -> JobEnding:
    """Returns how the job ended.

    If several things happened, the first in this order counts: a limit of memwatch, the OOM killer,
    a failure, the end of the recording.
    """
    if why := _stopped(profile):
        return JobEnding(How.LIMIT, why)
    if how := _oom(profile):
        victims = _victims(profile, how)
        return JobEnding(how, _oom_in_words(profile, how, victims), victims)
    code = profile.exit_code
    if code:
        return JobEnding(How.FAILED, _failed(profile.signal, code))
    if profile.sampling.error:
        return JobEnding(How.CUT_SHORT, profile.sampling.error)
    return JobEnding(How.UNKNOWN if code is None else How.SUCCEEDED, None)


def unfinished(profile: Profile) -> str | None:
    """Returns why only a part of the job was seen: memwatch ended it, or sampling stopped early.
    None when it was followed until it ended otherwise."""
    return _stopped(profile) or profile.sampling.error


def _failed(number: int | None, code: int) -> str:
    if number is None:
        return f"the command failed (exit code {code})"
    return f"the command was killed by {signal_name(number)}"


def signal_name(number: int) -> str:
    """Returns the name of a signal, or "signal 64" where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stopped(profile: Profile) -> str | None:
    outcome = profile.limit_outcome
    if not outcome or not outcome.signalled:
        return None
    breach = outcome.breaches[0]
    if breach.limit == AVAILABLE_MEMORY:
        return f"memwatch ended it when less than {format_size(breach.allowed)} was available"
    return f"memwatch ended it at its limit of {format_size(breach.allowed)}"


def _oom(profile: Profile) -> How | None:
    """Returns how certain it is that the OOM killer ended a process of the job; None when nothing
    says so."""
    limit = profile.memory_limit
    # The count of a control group of its own has the job's kills, all of them and no others.
    if profile.cgroup and profile.cgroup.oom_kills is not None:
        return How.OOM_KILL if profile.cgroup.oom_kills else None
    if limit.oom_kills and not _all_spared(profile):
        return How.OOM_KILL
    return How.POSSIBLE_OOM_KILL if limit.machine_oom_kills and profile.kills else None


def _all_spared(profile: Profile) -> bool:
    """Returns whether every process is known to have ended otherwise. The control group may have
    processes that are not of the job."""
    if profile.kills or not profile.complete:
        return False
    return all(each.exit_status is not None or each.alive for each in profile.processes)


def _victims(profile: Profile, how: How) -> tuple[Victim, ...]:
    if profile.kills:
        kills = profile.memory_limit.oom_kills or 0
        is_certain = how is How.OOM_KILL and kills >= len(profile.kills)
        return tuple(
            Victim(*kill, was_killed=True, is_certain=is_certain) for kill in profile.kills
        )
    largest = profile.largest
    if how is How.OOM_KILL and largest and largest.exit_status is None and not largest.alive:
        return (Victim(largest, None, was_killed=False, is_certain=False),)
    return ()


def _oom_in_words(profile: Profile, how: How, victims: tuple[Victim, ...]) -> str:
    limit = within(profile.memory_limit)
    names = ", ".join(map(_in_words, victims[:_MOST_NAMED]))
    if more := len(victims) - _MOST_NAMED:
        names += f", and {more} more" if more > 0 else ""
    if how is How.POSSIBLE_OOM_KILL:
        return f"the OOM killer may have ended {names}{limit}"
    kills = profile.memory_limit.oom_kills or 0
    if not victims:
        return f"the OOM killer ended {count(kills, 'process', 'processes')} of it{limit}"
    if not victims[0].was_killed:
        return f"the OOM killer ended a process, probably {names}{limit}"
    if not victims[0].is_certain:
        return f"the OOM killer ended {kills} of {names}{limit}"
    return f"the OOM killer ended {names}{limit}"


def within(limit: MemoryLimit) -> str:
    """Returns the limit that the memory ran out at, to go on a sentence with; empty when it is
    unknown."""
    if limit.limit_bytes is None:
        return ""
    what = "memory of the machine" if limit.source == MACHINE else "memory limit"
    return f", {what} {format_size(limit.limit_bytes)}"


def _in_words(victim: Victim) -> str:
    return f"{name(victim)} ({held(victim)})" if victim.process.peak.known else name(victim)


def name(victim: Victim) -> str:
    """Returns the process, as "pid 12, python3"."""
    process = victim.process
    return f"pid {process.pid} {cut(printable(process.command), _LONGEST_NAME)}"


def held(victim: Victim) -> str:
    """Returns the peak of the process, as "at least 3.0 MiB"."""
    peak = victim.process.peak
    if not peak.known:
        return UNKNOWN
    return format_size(peak.rss) if peak.source == EXACT else f"at least {format_size(peak.rss)}"
