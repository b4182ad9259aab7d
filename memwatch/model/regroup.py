"""The groups of a profile, process by process, and how to group the same processes otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from memwatch.model.groups import (
    NO_PARENT,
    PARENT,
    BySourceFile,
    RunningGroup,
    group_key,
    parent_name,
)
from memwatch.model.processes import Process, Program
from memwatch.model.profile import Profile
from memwatch.model.totals import Holder


class Grouping:
    """Finds the group in which a program of a process counts."""

    def __init__(self, profile: Profile, by: str | None = None) -> None:
        """`by` is as groups.group_key() takes it; None means the key of the profile."""
        by = profile.group_by if by is None else by
        self._key = group_key(by)
        self._parents: Mapping[int, str] | None = None
        if by == PARENT:
            self._parents = {
                each.serial: parent_name(each.command, each.pid) for each in profile.processes
            }
        if isinstance(self._key, BySourceFile):
            self._key.base = _first_directory(profile)

    def group_of(self, process: Process, program: Program) -> str:
        """Returns the group of one program that the process ran."""
        if self._parents is not None:
            return self._parents.get(process.parent or 0, NO_PARENT)
        return self._key(program.text, process.parent)

    def groups_of(self, process: Process) -> set[str]:
        """Returns the groups of all programs that the process executed itself."""
        return {self.group_of(process, program) for program in process.own_programs}


def _first_directory(profile: Profile) -> str | None:
    """Returns the directory in which the job was started."""
    for process in profile.processes:
        if process.is_root:
            return next((each.text.cwd for each in process.programs if each.text.cwd), None)
    return None


def regrouped(profile: Profile, by: str) -> Profile:
    """Returns the profile with other groups, made from peaks alone: what a group held at one time
    is then not known. Raises ValueError as groups.group_key() does."""
    if by == profile.group_by:
        return profile
    grouping = Grouping(profile, by)
    groups: dict[str, RunningGroup] = {}
    holder_groups = _HolderGroups(profile, grouping)
    for process in profile.processes:
        last = process.programs[-1]
        highest: dict[str, tuple[int, int]] = {}
        for program in process.programs:
            # A fork that executed something ran its parent's program for a moment only.
            if program.inherited and program is not last:
                continue
            name = grouping.group_of(process, program)
            peak = (program.peak.rss, -program.peak.time)
            highest[name] = max(highest.get(name, (0, 0)), peak)
        for name, (rss, time) in highest.items():
            groups.setdefault(name, RunningGroup(name)).add(rss, -time)
        holder_groups.add(process)
    ended = (group.end()._replace(added_up=False) for group in groups.values())
    return replace(
        profile,
        groups=tuple(sorted(ended, key=lambda group: (-group.peak_rss, group.name))),
        at_peak=holder_groups.assign(profile.max_total_time, profile.at_peak),
        limit_outcome=profile.limit_outcome
        and replace(
            profile.limit_outcome,
            breaches=tuple(
                replace(each, holders=holder_groups.assign(each.time, each.holders))
                for each in profile.limit_outcome.breaches
            ),
        ),
        group_by=by,
    )


class _HolderGroups:
    """The groups of the processes that held memory at the times for which a profile lists the
    holders: the peak and each breach."""

    def __init__(self, profile: Profile, grouping: Grouping) -> None:
        self._grouping = grouping
        self._pids = {profile.max_total_time: {each.pid for each in profile.at_peak}}
        for breach in profile.limit_outcome.breaches if profile.limit_outcome else ():
            pids = self._pids.setdefault(breach.time, set())
            pids.update(each.pid for each in breach.holders)
        self._found: dict[tuple[int, int], tuple[int, str]] = {}

    def add(self, process: Process) -> None:
        """Notes the group of the process at each of those times."""
        for time, pids in self._pids.items():
            # A tick has the time of its beginning, so it may hold a process that was started
            # after that. If several processes had the pid one after the other, the first counts.
            if process.pid in pids and time <= process.last_seen:
                name = self._grouping.group_of(process, _program_at(process, time))
                found = (process.first_seen, name)
                key = (time, process.pid)
                self._found[key] = min(found, self._found.get(key, found))

    def assign(self, time: int, holders: tuple[Holder, ...]) -> tuple[Holder, ...]:
        """Returns the holders at a time with their groups replaced."""
        return tuple(
            each._replace(group=self._found.get((time, each.pid), (0, each.group))[1])
            for each in holders
        )


def _program_at(process: Process, time: int) -> Program:
    """Returns the program that a process ran at a time."""
    known = (program for program in reversed(process.programs) if program.since <= time)
    return next(known, process.programs[0])
