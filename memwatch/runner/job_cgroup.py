"""The control group of one job: makes it, lets the command join it, reads its account, removes it.

No failure here ends the run: the job then runs in the group that memwatch is in, and the account
has the reason. The groups are left as they were found: processes that outlive the job go to the
group in which they would have been without memwatch.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from memwatch.model.account_watch import AccountWatch
from memwatch.model.cgroup_account import CgroupAccount
from memwatch.model.sources import Refusal
from memwatch.runner import native
from memwatch.runner.cgroup_place import CONTROLLER, Place, find_place, processes
from memwatch.runner.cgroup_reader import CgroupReader, Totals, machine_has_swap
from memwatch.runner.cgroup_sampler import CgroupSampler

# How often processes are moved at once, since they may fork meanwhile. How often, and how many
# seconds apart, a group is removed, since a process that was killed is in it until it has ended.
MOVES = 20
REMOVALS = 10
REMOVAL_GAP = 0.01


class JobCgroup:
    """The control group of one command, or the reason why there is none.

    Make it after everything else of a run, because it may move this process and its children.
    `watch` receives the account's readings, for a limit.
    """

    def __init__(self, proc_root: str = "/proc", watch: AccountWatch | None = None) -> None:
        self.refusal: Refusal | None = None
        """Why the command is in no group of its own; None when it is."""
        self.entry: native.GroupEntry | None = None
        """Goes to `native.spawn`; None when there is no group."""
        self._watch = watch
        self._group: MadeGroup | None = None
        self._sampler: CgroupSampler | None = None
        self._reader: CgroupReader | None = None
        self._totals: Totals | None = None
        self._make(proc_root)

    def _make(self, proc_root: str) -> None:
        if native.backend() != "linux":
            self.refusal = Refusal("only Linux has control groups", None)
            return
        try:
            place = find_place(proc_root)
            if isinstance(place, Refusal):
                self.refusal = place
                return
            self._group = MadeGroup(place)
        except OSError as error:
            self.refusal = Refusal(f"the control group cannot be made: {error.strerror}", None)
            return
        self.entry = native.GroupEntry(f"{self._group.folder}/cgroup.procs")
        has_swap = machine_has_swap(proc_root)
        self._reader = CgroupReader(self._group.folder, place.version, has_swap=has_swap)

    def check(self) -> None:
        """Starts to sample the group, once the command has started, if the command is in it."""
        if not self.entry or not self._reader:
            return
        if self.entry.error:
            why = os.strerror(self.entry.error)
            self.refusal = Refusal(f"the command could not join it: {why}", None)
            self.close()
            return
        self._sampler = CgroupSampler(self._reader, native.now, self._watch)
        self._sampler.start()

    def stop(self) -> None:
        """Ends the account. Call it when the job is over."""
        if self._sampler and self._reader and not self._totals:
            self._sampler.stop()
            self._totals = self._reader.totals()

    def end(self) -> CgroupAccount:
        """Returns the account, and removes the group. Call it when no more processes of the job are
        being ended: one that is still exiting would keep the group."""
        self.stop()
        group, sampler, totals = self._group, self._sampler, self._totals
        if not group or not sampler or not totals:
            return CgroupAccount(reason=self.refusal.reason if self.refusal else None)
        self._sampler = None
        remains = group.folder if not self.close() else None
        return CgroupAccount(
            version=group.place.version,
            path=group.folder,
            peak=totals.peak,
            peak_time=sampler.peak_time,
            peak_with_swap=totals.peak_with_swap,
            swap_peak=totals.swap_peak,
            largest=sampler.largest,
            samples=sampler.count,
            stall_some=totals.stall_some,
            stall_full=totals.stall_full,
            oom_kills=totals.oom_kills,
            remains=remains,
            history=sampler.spans(),
        )

    def close(self) -> bool:
        """Removes the group, if there is one. Returns whether none remains."""
        group, reader, sampler = self._group, self._reader, self._sampler
        self._group = self._reader = self._sampler = None
        if sampler:
            sampler.stop()
        if reader:
            reader.close()
        return not group or group.remove()


class MadeGroup:
    """A group that was made for a job."""

    def __init__(self, place: Place) -> None:
        """Raises OSError; nothing is changed then."""
        self.place = place
        name = f"memwatch-{os.getpid()}-{os.urandom(4).hex()}"
        self.folder = f"{place.parent}/{name}"
        self._own = f"{place.parent}/{name}-self"
        """Where memwatch is if it steps aside."""
        try:
            if place.steps_aside:
                self._step_aside()
            os.mkdir(self.folder)
        except OSError:
            if place.steps_aside:
                self._step_back()
            raise
        if place.limit is not None:
            name = "memory.max" if place.version == 2 else "memory.limit_in_bytes"
            with suppress(OSError):
                write(f"{self.folder}/{name}", str(place.limit))

    def _step_aside(self) -> None:
        os.mkdir(self._own)
        move_all(self.place.home, self._own)
        write(f"{self.place.home}/cgroup.subtree_control", f"+{CONTROLLER}")

    def _step_back(self) -> None:
        """Returns to where memwatch was, as far as that is possible."""
        with suppress(OSError):
            write(f"{self.place.home}/cgroup.subtree_control", f"-{CONTROLLER}")
        remove(self._own, self.place.home)

    def remove(self) -> bool:
        """Moves the processes that are still in the group to where memwatch is at home, and removes
        the group. Returns whether it is gone."""
        if self.place.steps_aside:
            # A group that passes controllers on takes no processes.
            with suppress(OSError):
                write(f"{self.place.home}/cgroup.subtree_control", f"-{CONTROLLER}")
        is_gone = remove(self.folder, self.place.home)
        if self.place.steps_aside:
            self._step_back()
        return is_gone


def move_all(source: str, target: str) -> None:
    """Moves all processes from one group to another, as far as that is permitted."""
    for _ in range(MOVES):
        if not sum(_is_moved(pid, target) for pid in processes(source)):
            return


def _is_moved(pid: int, target: str) -> bool:
    # It may have ended, and it may be another user's.
    with suppress(OSError):
        write(f"{target}/cgroup.procs", str(pid))
        return True
    return False


def remove(folder: str, target: str) -> bool:
    """Moves all processes of a group to another one and removes it. Returns whether it is gone: it
    is not while anything is in it."""
    for _ in range(REMOVALS):
        move_all(folder, target)
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(REMOVAL_GAP)
        else:
            return True
    return False


def write(path: str, text: str) -> None:
    """Writes to a file of the kernel. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
