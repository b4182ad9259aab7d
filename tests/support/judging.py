"""Checks of a JSON report against what really happened in a storm."""

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
    """A JSON report; the only place here that knows its key names."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.accuracy: dict[str, Any] = document["accuracy"]
        self.processes: list[dict[str, Any]] = document["processes"]
        self.by_pid = {each["pid"]: each for each in self.processes}

    def used(self, source: str) -> bool:
        return any(each["name"] == source and each["used"] for each in self.accuracy["sources"])

    def reason(self, source: str) -> str | None:
        """Returns why a source is not used."""
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
        """Returns the watermark that the kernel reported at its end, in KiB."""
        watermark = process["final_watermark_kib"]
        assert watermark is None or isinstance(watermark, int)
        return watermark


def _nanoseconds(date: str) -> int:
    seconds, fraction = date.rstrip("Z").split(".")
    whole = calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S"))
    return whole * 10**9 + int(fraction.ljust(9, "0"))


def dumped(*what: object) -> str:
    """Returns its arguments as JSON, for the message of an assertion."""
    return json.dumps(what, default=str)


class Judge:
    """Checks a report against the truth. What a report leaves unknown is not checked here."""

    # The clocks of dates and of start times may drift apart; /proc counts in clock ticks.
    ROUNDING = 2_000_000
    CLOCK_TICK = 10**9 // os.sysconf("SC_CLK_TCK")

    # The kernel batches counts of resident pages per CPU, up to this many (mm/memory.c and
    # lib/percpu_counter.c); a watermark may be taken from the inexact sum (Linux >= 6.2).
    CPUS = os.cpu_count() or 1
    ROUGHNESS = 2 * CPUS * max(32, 2 * CPUS) * os.sysconf("SC_PAGESIZE") // 1024

    def __init__(
        self, report: Report, truth: Truth, records: dict[int, ExitRecord] | None = None
    ) -> None:
        self.report = report
        self.truth = truth
        self.records = records or {}
        self.sees_execs = any(map(report.used, ("connector", "perf", "hook")))
        """Without these sources, programs that a process ran only between two ticks are unknown:
        its exact peak is then the peak of its last program."""
        self.boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def nothing_is_invented(self) -> None:
        """Checks that every process and number in the report is true, even if some were missed."""
        report, truth = self.report, self.truth
        pids = [each["pid"] for each in report.processes]
        assert len(pids) == len(set(pids)) == report.document["process_count"]
        assert set(pids) <= truth.pids
        serials = {each["serial"]: each["pid"] for each in report.processes}
        for each in report.processes:
            pid = each["pid"]
            parent = serials.get(each["parent_serial"])
            assert parent in (None, truth.ppid(pid)), dumped(each)
            assert each["wait_status"] in self.statuses(pid), dumped(truth.last(pid), each)
            self._times(each)
            true = self._own_peaks(pid)
            if each["peak_source"] != "exact" and all(i["inherited"] for i in each["images"]):
                # It was seen before its exec and never after.
                true = [*true, *(self._before_exec(pid).values())]
            self._peak(each["peak_source"], each["max_rss_kib"], true, each)
            self._programs(each)
        self._account()

    def statuses(self, pid: int) -> set[int | None]:
        """Returns the wait statuses that may be reported for a process.

        If the leader ends by itself and all other threads end before the next tick, the kernel
        reports the leader after the end of the process: its status is then taken as the process's.
        """
        true = {None, self.truth.last(pid).status}
        return true | {0} if pid in self.truth.crowds else true

    def everything_is_there(self) -> None:
        """Checks that all processes are in the report, each below the one that forked it."""
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
        """Checks that peaks are reported as exact; nothing_is_invented() checks that they are.

        The kernel may have no watermark for a process smaller than its per-CPU batches: then its
        own record, read here without memwatch, has 0.
        """
        pids = {pid for pid in pids if pid not in self.records or self.records[pid].peak}
        exact = self.report.exact() & pids
        others = [self.report.by_pid[pid] for pid in pids - exact if pid in self.report.by_pid]
        assert len(exact) >= at_least * len(pids), (
            f"{len(exact)} of {len(pids)} peaks are exact, not those of {dumped(others[:3])}"
        )

    def command_lines_are_known(self, *, at_least: float) -> None:
        """Checks the command lines of executed programs; nothing_is_invented() checks the rest."""
        ran = [pid for pid, programs in self.truth.programs.items() if max(programs) > 0]
        known = [pid for pid in ran if self.report.by_pid[pid]["argv"]]
        right = [
            pid
            for pid in known
            if self.report.by_pid[pid]["argv"][1:] == self.truth.argv(self.truth.last(pid))
        ]
        assert len(right) >= at_least * len(ran), f"{len(right)} of {len(ran)} command lines"

    def _before_exec(self, pid: int) -> dict[int, int]:
        """Returns its peak before its first exec. With vfork and posix_spawn the memory is the
        parent's."""
        programs = self.truth.programs[pid]
        return {0: programs[0].peak or self.truth.peak(self.truth.root)} if 0 in programs else {}

    def _own_peaks(self, pid: int) -> list[int]:
        """Returns the peaks that may be reported as exact: its own reading, the kernel's record."""
        programs = self.truth.programs[pid]
        peaks = [self.truth.peak(pid)]
        if not self.sees_execs:
            peaks.append(programs[max(programs)].peak)
        # The kernel's record covers only the last program.
        if pid in self.records and (len(programs) == 1 or sorted(programs) == [0, 1]):
            peaks.append(self.records[pid].peak)
        return peaks

    def _peak(self, source: str, value: int | None, true: list[int], of: object) -> None:
        assert source in ("exact", "watermark", "sampled", "unknown"), dumped(of)
        assert (value is None) is (source == "unknown"), dumped(of)
        if value is None:
            return
        if source == "exact":
            # Not less than the smallest; a sample while it ran may have seen more.
            least = min(true)
            if self.report.used("taskstats") and not self.records:
                least -= self.ROUGHNESS
            assert value in true or least < value <= max(true) + self.ROUGHNESS, dumped(true, of)
        else:
            assert value <= max(true) + self.ROUGHNESS, dumped(true, of)

    def _times(self, each: dict[str, Any]) -> None:
        programs = self.truth.programs[each["pid"]]
        born = programs[min(programs)]
        if each["start_time"] is not None and each["pid"] != self.truth.root:
            start = _nanoseconds(each["start_time"]) - self.boot
            assert born.forked - self.CLOCK_TICK - self.ROUNDING <= start, dumped(each)
            assert start <= born.begun + self.ROUNDING, dumped(each)
        first, last = _nanoseconds(each["first_seen"]), _nanoseconds(each["last_seen"])
        assert first <= last, dumped(each)
        # The time of a tick is its beginning, and a tick may take long.
        begun = self.truth.last(self.truth.root).begun
        assert first - self.boot >= begun - 10**9, dumped(each)

    def _programs(self, each: dict[str, Any]) -> None:
        truth = self.truth.programs[each["pid"]]
        own = {number: program.peak for number, program in truth.items()}
        own.update(self._before_exec(each["pid"]))
        assert len(each["images"]) <= len(truth), dumped(each)
        for program in each["images"]:
            argv = (program["argv"] or [None])[1:]
            numbers = [n for n in truth if n and self.truth.argv(truth[n]) == argv]
            if program["inherited"] and 0 in own:
                number = 0
            else:
                number = numbers[0] if numbers else min(1, max(own))
                assert numbers or not argv or argv == self.truth.root_argv, dumped(each)
            if program["peak_source"] == "exact" and self.sees_execs and (numbers or number == 0):
                true = [own[number]]
            else:
                # A source that only samples may not have noticed the next exec yet.
                true = [peak for n, peak in own.items() if n >= number]
            if each["pid"] in self.records and program is each["images"][-1]:
                true.append(self.records[each["pid"]].peak)
            self._peak(program["peak_source"], program["max_rss_kib"], true, each)

    def _account(self) -> None:
        """Checks that the counts in the accuracy section match the processes."""
        accuracy, processes = self.report.accuracy, self.report.processes
        for key, field in (("peaks", "peak_source"), ("processes_found", "found_by")):
            counted: dict[str, int] = defaultdict(int)
            for each in processes:
                counted[each[field]] += 1
            assert sorted(accuracy[key].values()) == sorted(
                [*counted.values(), *([0] * (len(accuracy[key]) - len(counted)))]
            ), key
