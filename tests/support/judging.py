"""A JSON report held against the truth about a storm."""

from __future__ import annotations

import calendar
import json
import os
import time
from collections import defaultdict
from typing import Any

from support.exit_records import ExitRecord
from support.storms import Truth


class Report:
    """A JSON report: the one place that knows what its keys are called."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.accuracy: dict[str, Any] = document["accuracy"]
        self.processes: list[dict[str, Any]] = document["processes"]
        self.by_pid = {each["pid"]: each for each in self.processes}

    def used(self, source: str) -> bool:
        return any(each["name"] == source and each["used"] for each in self.accuracy["sources"])

    def reason(self, source: str) -> str | None:
        """Why a source is not used."""
        for each in self.accuracy["sources"]:
            if each["name"] == source:
                assert each["reason"] is None or isinstance(each["reason"], str)
                return each["reason"]
        return None

    @property
    def lost(self) -> int:
        return int(self.accuracy["lost_messages"])

    def exact(self) -> set[int]:
        return {each["pid"] for each in self.processes if each["peak_source"] == "exact"}

    @staticmethod
    def final(process: dict[str, Any]) -> int | None:
        """The mark that its last program left, as the kernel had it, in KiB."""
        mark = process["final_watermark_kib"]
        assert mark is None or isinstance(mark, int)
        return mark


def _nanoseconds(date: str) -> int:
    seconds, fraction = date.rstrip("Z").split(".")
    whole = calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S"))
    return whole * 10**9 + int(fraction.ljust(9, "0"))


def told(*what: object) -> str:
    """All of it, for the message of an assertion."""
    return json.dumps(what, default=str)


class Judge:
    """Holds a report against the truth. Of what it does not say, nothing is demanded here."""

    # The clocks of dates and of start times may drift apart; /proc counts in clock ticks.
    ROUNDING = 2_000_000
    CLOCK_TICK = 10**9 // os.sysconf("SC_CLK_TCK")

    # The kernel counts resident pages per CPU, up to this many in advance (mm/memory.c and
    # lib/percpu_counter.c), and a high-water mark may be taken from the rough sum (Linux >= 6.2).
    CPUS = os.cpu_count() or 1
    ROUGHNESS = 2 * CPUS * max(32, 2 * CPUS) * os.sysconf("SC_PAGESIZE") // 1024

    def __init__(
        self, report: Report, truth: Truth, records: dict[int, ExitRecord] | None = None
    ) -> None:
        self.report = report
        self.truth = truth
        self.records = records or {}
        self.sees_execs = any(map(report.used, ("connector", "perf", "hook")))
        """Without them nothing is known of programs that a process executed and left again between
        two looks: what is called its exact peak is then that of the last one."""
        self.boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def nothing_is_invented(self) -> None:
        """Every process and every number in it, whatever was missed and however it was learnt."""
        report, truth = self.report, self.truth
        pids = [each["pid"] for each in report.processes]
        assert len(pids) == len(set(pids)) == report.document["process_count"]
        assert set(pids) <= truth.pids
        serials = {each["serial"]: each["pid"] for each in report.processes}
        for each in report.processes:
            pid = each["pid"]
            parent = serials.get(each["parent_serial"])
            assert parent in (None, truth.ppid(pid)), told(each)
            assert each["wait_status"] in self.statuses(pid), told(truth.last(pid), each)
            self._times(each)
            true = self._own_peaks(pid)
            if each["peak_source"] != "exact" and all(i["inherited"] for i in each["images"]):
                # It was seen before it executed, and never after.
                true = [*true, *(self._before_exec(pid).values())]
            self._peak(each["peak_source"], each["max_rss_kib"], true, each)
            self._programs(each)
        self._account()

    def statuses(self, pid: int) -> set[int | None]:
        """What may be told of how a process ended.

        Of a first thread that ends by itself, and all others with it before anybody looks, the
        kernel tells later than of the end of the process: then its status is taken for that.
        """
        true = {None, self.truth.last(pid).status}
        return true | {0} if pid in self.truth.crowds else true

    def everything_is_there(self) -> None:
        """All processes, each below the one that forked it."""
        report, truth = self.report, self.truth
        missing = truth.pids - set(report.by_pid)
        assert not missing, f"{len(missing)} of {len(truth.pids)} are not in the report"
        serials = {each["serial"]: each["pid"] for each in report.processes}
        wrong = [
            (each["pid"], each["ppid"], each["parent_serial"], truth.ppid(each["pid"]))
            for each in report.processes
            if each["ppid"] != truth.ppid(each["pid"])
            or (serials.get(each["parent_serial"]) != truth.ppid(each["pid"]))
            is not (each["pid"] == truth.root)
        ]
        assert not wrong, f"{len(wrong)} parents are wrong: {wrong[:3]}"

    def peaks_are_exact(self, pids: set[int], *, at_least: float = 1.0) -> None:
        """Said to be, and are: nothing_is_invented() must have passed as well.

        The kernel may have no watermark of a process smaller than its per-CPU batches: then its
        own record, read here beside memwatch, has 0.
        """
        pids = {pid for pid in pids if pid not in self.records or self.records[pid].peak}
        exact = self.report.exact() & pids
        others = [self.report.by_pid[pid] for pid in pids - exact if pid in self.report.by_pid]
        assert len(exact) >= at_least * len(pids), (
            f"{len(exact)} of {len(pids)} peaks are exact, not those of {told(others[:3])}"
        )

    def command_lines_are_known(self, *, at_least: float) -> None:
        """Those of the programs that were executed; all that is said is true already."""
        ran = [pid for pid, programs in self.truth.programs.items() if max(programs) > 0]
        known = [pid for pid in ran if self.report.by_pid[pid]["argv"]]
        right = [
            pid
            for pid in known
            if self.report.by_pid[pid]["argv"][1:] == self.truth.argv(self.truth.last(pid))
        ]
        assert len(right) >= at_least * len(ran), f"{len(right)} of {len(ran)} command lines"

    def _before_exec(self, pid: int) -> dict[int, int]:
        """Its peak as a fork. Under vfork and posix_spawn the memory is the parent's."""
        programs = self.truth.programs[pid]
        return {0: programs[0].peak or self.truth.peak(self.truth.root)} if 0 in programs else {}

    def _own_peaks(self, pid: int) -> list[int]:
        """What may be called its exact peak: what it read itself, and the kernel's record."""
        programs = self.truth.programs[pid]
        peaks = [self.truth.peak(pid)]
        if not self.sees_execs:
            peaks.append(programs[max(programs)].peak)
        # The kernel's record is of the last program only.
        if pid in self.records and (len(programs) == 1 or sorted(programs) == [0, 1]):
            peaks.append(self.records[pid].peak)
        return peaks

    def _peak(self, source: str, value: int | None, true: list[int], of: object) -> None:
        assert source in ("exact", "watermark", "sampled", "unknown"), told(of)
        assert (value is None) is (source == "unknown"), told(of)
        if value is None:
            return
        if source == "exact":
            # Not less than the least of them; a look at it while it ran may have seen more.
            least = min(true)
            if self.report.used("taskstats") and not self.records:
                least -= self.ROUGHNESS
            assert value in true or least < value <= max(true) + self.ROUGHNESS, told(true, of)
        else:
            assert value <= max(true) + self.ROUGHNESS, told(true, of)

    def _times(self, each: dict[str, Any]) -> None:
        programs = self.truth.programs[each["pid"]]
        born = programs[min(programs)]
        if each["start_time"] is not None and each["pid"] != self.truth.root:
            start = _nanoseconds(each["start_time"]) - self.boot
            assert born.forked - self.CLOCK_TICK - self.ROUNDING <= start, told(each)
            assert start <= born.begun + self.ROUNDING, told(each)
        first, last = _nanoseconds(each["first_seen"]), _nanoseconds(each["last_seen"])
        assert first <= last, told(each)
        # A tick's time is that of its beginning, and it may take its time.
        begun = self.truth.last(self.truth.root).begun
        assert first - self.boot >= begun - 10**9, told(each)

    def _programs(self, each: dict[str, Any]) -> None:
        truth = self.truth.programs[each["pid"]]
        own = {number: program.peak for number, program in truth.items()}
        own.update(self._before_exec(each["pid"]))
        assert len(each["images"]) <= len(truth), told(each)
        for program in each["images"]:
            argv = (program["argv"] or [None])[1:]
            numbers = [n for n in truth if n and self.truth.argv(truth[n]) == argv]
            if program["inherited"] and 0 in own:
                number = 0
            else:
                number = numbers[0] if numbers else min(1, max(own))
                assert numbers or not argv or argv == self.truth.root_argv, told(each)
            if program["peak_source"] == "exact" and self.sees_execs and (numbers or number == 0):
                true = [own[number]]
            else:
                # Who only looks now and then may not have noticed the next exec yet.
                true = [peak for n, peak in own.items() if n >= number]
            if each["pid"] in self.records and program is each["images"][-1]:
                true.append(self.records[each["pid"]].peak)
            self._peak(program["peak_source"], program["max_rss_kib"], true, each)

    def _account(self) -> None:
        """The accuracy section counts what the processes say one by one."""
        accuracy, processes = self.report.accuracy, self.report.processes
        for key, field in (("peaks", "peak_source"), ("processes_found", "found_by")):
            counted: dict[str, int] = defaultdict(int)
            for each in processes:
                counted[each[field]] += 1
            assert sorted(accuracy[key].values()) == sorted(
                [*counted.values(), *([0] * (len(accuracy[key]) - len(counted)))]
            ), key
