"""The groups of a profile, process by process; and the same processes in other groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from memwatch.model.groups import (
    NO_PARENT,
    PARENT,
    BySource,
    RunningGroup,
    group_key,
    parent_name,
)
from memwatch.model.job import Holder
from memwatch.model.processes import Process, Program
from memwatch.model.profile import Profile


class Grouping:
    """Says of each program that a process ran which group it counts in."""

    def __init__(self, profile: Profile, by: str | None = None) -> None:
        """`by` is as groups.group_key() takes it; None: what the profile is grouped by."""
        by = profile.group_by if by is None else by
        self._key = group_key(by)
        self._parents: Mapping[int, str] | None = None
        if by == PARENT:
            self._parents = {
                each.serial: parent_name(each.command, each.pid) for each in profile.processes
            }
        if isinstance(self._key, BySource):
            self._key.base = _first_directory(profile)

    def group_of(self, process: Process, program: Program) -> str:
        if self._parents is not None:
            return self._parents.get(process.parent or 0, NO_PARENT)
        return self._key(program.text, process.parent)

    def groups_of(self, process: Process) -> set[str]:
        """Of all programs that it ran itself."""
        programs = [
            program for program in process.programs if not program.inherited
        ] or process.programs
        return {self.group_of(process, program) for program in programs}


def _first_directory(profile: Profile) -> str | None:
    """The directory in which the job was started."""
    for process in profile.processes:
        if process.is_root:
            return next((each.text.cwd for each in process.programs if each.text.cwd), None)
    return None


def regrouped(profile: Profile, by: str) -> Profile:
    """The profile with other groups, made from peaks alone: what a group held at one time is not
    known then. Raises ValueError as groups.group_key() does."""
    if by == profile.group_by:
        return profile
    members = Grouping(profile, by)
    groups: dict[str, RunningGroup] = {}
    moments = _Moments(profile, members)
    for process in profile.processes:
        last = process.programs[-1]
        current: RunningGroup | None = None
        highest = (0, 0)
        for program in process.programs:
            # A fork that has executed something has hardly been anything before.
            if program.inherited and program is not last:
                continue
            name = members.group_of(process, program)
            group = groups.setdefault(name, RunningGroup(name))
            if current and group is not current:
                current.add(highest[0], -highest[1])
                highest = (0, 0)
            current = group
            highest = max(highest, (program.peak.rss, -program.peak.time))
        if current:
            current.add(highest[0], -highest[1])
        moments.look_at(process)
    ended = (group.end()._replace(added_up=False) for group in groups.values())
    return replace(
        profile,
        groups=tuple(sorted(ended, key=lambda group: (-group.peak_rss, group.name))),
        at_peak=moments.holders(profile.max_total_time, profile.at_peak),
        limit_outcome=profile.limit_outcome
        and replace(
            profile.limit_outcome,
            breaches=tuple(
                replace(each, holders=moments.holders(each.time, each.holders))
                for each in profile.limit_outcome.breaches
            ),
        ),
        group_by=by,
    )


class _Moments:
    """In which groups those were who held something at the times that a profile tells of."""

    def __init__(self, profile: Profile, members: Grouping) -> None:
        self._members = members
        self._pids = {profile.max_total_time: {each.pid for each in profile.at_peak}}
        for breach in profile.limit_outcome.breaches if profile.limit_outcome else ():
            pids = self._pids.setdefault(breach.time, set())
            pids.update(each.pid for each in breach.holders)
        self._found: dict[tuple[int, int], tuple[int, str]] = {}

    def look_at(self, process: Process) -> None:
        for time, pids in self._pids.items():
            # A time is that at which a look at all of them began: it may have come upon one that
            # was started since. Of several that had a pid after each other it is the first one.
            if process.pid in pids and time <= process.last_seen:
                name = self._members.group_of(process, _at(process, time))
                found = (process.first_seen, name)
                key = (time, process.pid)
                self._found[key] = min(found, self._found.get(key, found))

    def holders(self, time: int, holders: tuple[Holder, ...]) -> tuple[Holder, ...]:
        return tuple(
            each._replace(group=self._found.get((time, each.pid), (0, each.group))[1])
            for each in holders
        )


def _at(process: Process, time: int) -> Program:
    """The program that it ran then."""
    known = (program for program in reversed(process.programs) if program.since <= time)
    return next(known, process.programs[0])
