"""The groups of a running job: which process counts in which group, and what each group holds."""

from __future__ import annotations

from collections.abc import Mapping

from memwatch.model.group_footprints import GroupFootprints
from memwatch.model.groups import (
    COMMAND,
    NO_PARENT,
    PARENT,
    BySourceFile,
    Group,
    RunningGroup,
    group_key,
    parent_name,
)
from memwatch.model.observations import ProgramText
from memwatch.model.processes import NOWHERE, UNREADABLE, LiveProcess, Peak


class LiveGroups:
    """Moves processes between groups as their programs change.

    A process counts in its group once it runs a program of its own. One that was forked and has
    not executed anything is most likely on its way to another program, and would show for a
    moment as a second make or a second 100 MiB Python: so it counts only from the second tick on.
    """

    def __init__(
        self, group_by: str, live: Mapping[int, LiveProcess], directory: str | None
    ) -> None:
        """`group_by` is as groups.group_key() takes it, which raises ValueError; `live` is the
        job's table of live processes by serial; `directory` is as in Job."""
        self.group_by = group_by
        self.changed: set[RunningGroup] = set()
        """Groups whose size has changed since the last tick."""
        self._live = live
        self._key = group_key(group_by)
        self._by_command = group_by == COMMAND
        self._by_parent = group_by == PARENT
        self._by_source_file = self._key if isinstance(self._key, BySourceFile) else None
        if self._by_source_file:
            self._by_source_file.base = directory
        self._parents: dict[int, str] = {}
        """Where groups are by parent: names for the groups of children of ended processes."""
        self._groups: dict[str, RunningGroup] = {}
        self._ticks = 0
        self._forks: list[LiveProcess] = []
        self._older_forks: list[LiveProcess] = []
        self._nameless = self._find(UNREADABLE, None)

    def initial(self, parent: int | None) -> RunningGroup:
        """Returns the group of a process whose program is not known yet."""
        return self._find(UNREADABLE, parent) if self._by_parent else self._nameless

    def has_counted(self, process: LiveProcess) -> bool:
        """Returns whether a tick has counted the process in its group."""
        return process.counted and process.counted_at < self._ticks

    def parent_found(self, process: LiveProcess) -> None:
        """Regroups a process whose parent has become known."""
        if self._by_parent:
            self._regroup(process)

    def program_read(self, process: LiveProcess) -> None:
        """Regroups a process of whose program more is known.

        It stays in the group in which a tick has counted it, whatever the program's name is now;
        but where another property decides, that may not have been readable before.
        """
        if not self._by_command:
            self._regroup(process)

    def join(self, process: LiveProcess) -> None:
        """Puts a process, which has been removed, into the group of the program it now runs."""
        program = process.program or UNREADABLE
        if self._by_source_file and process.is_root and not self._by_source_file.base:
            # Recordings of older versions do not have the directory.
            self._by_source_file.base = program.cwd
        group = self._find(program, process.parent)
        if group is not process.group:
            self._move(process, group)
        if process.inherited:
            self._forks.append(process)
        else:
            self._count(process)

    def remove(self, process: LiveProcess) -> None:
        """Takes the memory of a process out of its group."""
        if process.counted:
            process.counted = False
            process.group.rss -= process.rss
            process.group.anon -= process.anon
            self.changed.add(process.group)

    def end_program(self, process: LiveProcess, *, counted: bool) -> Peak:
        """Ends the program of a process, and returns its peak. `counted`: its memory has counted in
        the group."""
        peak = process.end_program()
        before = process.peak_in_group
        if counted and (before is None or peak.rss > before[0]):
            process.peak_in_group = (peak.rss, peak.time)
        return peak

    def end(self, process: LiveProcess) -> None:
        """Closes the account of a process that has been removed, after its last program."""
        if process.peak_in_group:
            process.group.add(*process.peak_in_group)
        for group, peak in process.peaks_elsewhere.items():
            group.add(*peak)
        if self._by_parent:
            name = parent_name(process.programs[-1].text.name, process.pid)
            self._parents[process.serial] = name
            children = self._groups.get(str(process.serial))
            if children:
                children.name = name

    def begin_tick(self) -> None:
        """Counts the processes that count from this tick on."""
        if self._forks or self._older_forks:
            self._count_forks()
        self._ticks += 1

    def end_tick(self, time: int) -> None:
        """Notes the peaks of the groups that have changed."""
        for group in self.changed:
            if group.rss > group.peak:
                group.peak = group.rss
                group.peak_time = time
        self.changed.clear()

    def finish(self, footprints: GroupFootprints) -> tuple[Group, ...]:
        """Returns the groups with at least one process, largest first."""
        ended = [
            group.end()._replace(footprint=footprints.end(group))
            for group in self._groups.values()
            if group.processes
        ]
        return tuple(sorted(ended, key=lambda group: (-group.peak_rss, group.name)))

    def _find(self, program: ProgramText, parent: int | None) -> RunningGroup:
        key = self._key(program, parent)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = RunningGroup(key)
            if self._by_parent and parent:
                self._name_after_parent(group, parent)
        return group

    def _name_after_parent(self, group: RunningGroup, serial: int) -> None:
        parent = self._live.get(serial)
        if parent:
            group.name = parent_name((parent.program or UNREADABLE).name, parent.pid)
        else:
            group.name = self._parents.get(serial, NO_PARENT)

    def _regroup(self, process: LiveProcess) -> None:
        if not process.program:
            return
        group = self._find(process.program, process.parent)
        if group is process.group:
            return
        counted = process.counted
        self.remove(process)
        self._move(process, group)
        if counted:
            self._count(process)

    def _move(self, process: LiveProcess, group: RunningGroup) -> None:
        """Assigns a process to another group. All programs that it runs in one group count there as
        one process, however often it comes back."""
        if process.peak_in_group:
            if process.peaks_elsewhere is NOWHERE:
                process.peaks_elsewhere = {}
            process.peaks_elsewhere[process.group] = process.peak_in_group
        process.group = group
        process.peak_in_group = process.peaks_elsewhere.pop(group, None)

    def _count(self, process: LiveProcess) -> None:
        if not process.counted:
            process.counted = True
            process.counted_at = self._ticks
            process.group.rss += process.rss
            process.group.anon += process.anon
            self.changed.add(process.group)

    def _count_forks(self) -> None:
        """Counts the processes that were forked before the last tick and have not executed
        anything since."""
        for process in self._older_forks:
            if process.inherited and process.serial in self._live:
                self._count(process)
        self._older_forks = self._forks
        self._forks = []
