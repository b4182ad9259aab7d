"""Job: scripted observations with a known answer, and random jobs against a naive recount."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.model.job import Job
from memwatch.model.observations import (
    BY_EVENT,
    BY_HOOK,
    BY_RECORD,
    LOWER,
    TICK_EXTRA,
    TICK_LATE,
    TICK_PARTIAL,
)
from memwatch.model.processes import (
    EXACT,
    FOUND_BY_EVENT,
    FOUND_BY_HOOK,
    FOUND_BY_RECORD,
    FOUND_BY_SAMPLING,
    NO_FOOTPRINT,
    NO_USAGE,
    SAMPLED,
    UNKNOWN,
    WATERMARK,
    Footprint,
    Peak,
    Process,
    Usage,
)
from memwatch.model.totals import PssPeak, RunningTimeline
from support.scripted import Script


def outcome(job: Job) -> dict[str, Any]:
    """Returns all results of a finished job."""
    assert job.timeline is not None
    return {
        "processes": list(job.processes),
        "groups": job.groups(),
        "at_peak": job.at_peak(),
        "max_total": (job.max_total, job.max_total_time, job.max_total_processes),
        "partial": job.partial,
        "root_status": job.root_status,
        "largest": job.largest,
        "pss": job.pss_peak,
        "footprint": job.footprint_peak,
        "footprints": dict(job.footprints),
        "found_by": dict(job.found_by),
        "peaks": dict(job.peaks),
        "never_sampled": job.never_sampled,
        "timeline": [list(each) for each in job.timeline],
        "ticks": (job.ticks.count, job.ticks.late, job.ticks.skipped, job.ticks.achieved),
    }


def processes(job: Job) -> dict[int, Process]:
    return {process.serial: process for process in job.processes}


def groups(job: Job) -> dict[str, tuple[int, int, int]]:
    """Returns for each group: processes, peak at one time, sum of peaks."""
    return {each.name: (each.processes, each.peak_rss, each.sum_of_peaks) for each in job.groups()}


# One process


def test_one_process() -> None:
    script = Script().start(1, "cc", "-c", "x.c", pid=70, ppid=7, began=9, at=10)
    script.memory(1, 500).tick(500, 1)
    script.memory(1, 900, 950, at=20).tick(900, 1)
    script.memory(1, 400, at=30).tick(400, 1)
    script.exit(1, 3 << 8, at=40).tick()
    job = script.job()
    (process,) = job.processes
    assert process.pid == 70
    assert process.ppid == 7
    assert process.parent is None
    assert process.start == 9
    assert (process.first_seen, process.last_seen) == (10, 30)
    assert process.peak == Peak(950, 20, WATERMARK)
    assert process.argv == ("cc", "-c", "x.c")
    assert process.exit_status == job.root_status == 3 << 8
    assert not process.alive
    assert (job.max_total, job.max_total_time, job.max_total_processes) == (900, 20, 1)
    assert groups(job) == {"cc": (1, 950, 950)}


def test_the_first_of_equal_totals_is_the_peak() -> None:
    script = Script().start(1, "a", at=1).memory(1, 5).tick(5, 1)
    script.tick(5, 1, at=2).tick(5, 1, at=3)
    job = script.job()
    assert job.max_total_time == 1
    assert next(iter(job.groups())).peak_time == 1


@pytest.mark.parametrize(
    ("facts", "peak"),
    [
        ([(1, 100, None)], Peak(100, 1, SAMPLED)),
        ([(1, 100, 100)], Peak(100, 1, WATERMARK)),
        ([(1, 100, 120)], Peak(120, 1, WATERMARK)),
        # The watermark confirms an earlier sample, and the peak keeps the time of the sample.
        ([(1, 100, None), (2, 50, 100)], Peak(100, 1, WATERMARK)),
        # A watermark lower than a sample (Linux 6.2 to 6.16 counted loosely).
        ([(1, 100, 90)], Peak(100, 1, SAMPLED)),
        ([(1, 100, 120), (2, 130, None)], Peak(130, 2, SAMPLED)),
        ([(1, 100, 120), (2, 120, None)], Peak(120, 1, WATERMARK)),
        # The process was exiting and had no memory any more.
        ([(1, 0, None)], Peak(0, 0, UNKNOWN)),
        ([], Peak(0, 0, UNKNOWN)),
    ],
)
def test_where_a_peak_comes_from(facts: list[tuple[int, int, int | None]], peak: Peak) -> None:
    script = Script().start(1, "a", at=1)
    for time, rss, watermark in facts:
        script.memory(1, rss, watermark, at=time).tick(rss, 1)
    (process,) = script.job().processes
    assert process.peak == peak


def test_unreadable_memory_is_unknown_and_not_zero() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10)
    script.start(2, parent=1).tick(10, 2, flags=TICK_PARTIAL)
    job = script.job()
    process = processes(job)[2]
    assert process.peak.source == UNKNOWN
    assert process.command == "?"
    assert process.argv is None
    assert job.partial
    assert [holder.serial for holder in job.at_peak()] == [1]
    assert groups(job) == {"sh": (1, 10, 10), "?": (1, 0, 0)}


def test_seen_only_in_the_tick_in_which_it_ended() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10).tick(10, 1)
    script.start(2, "ls", parent=1, at=2).memory(2, 7).exit(2)
    script.tick(10, 1)
    job = script.job()
    process = processes(job)[2]
    assert (process.first_seen, process.last_seen) == (2, 2)
    assert process.peak == Peak(7, 2, SAMPLED)
    assert job.max_total == 10
    # It is in the total of no tick, but it counts in its group.
    assert groups(job)["ls"] == (1, 7, 7)


def test_alive_at_the_end() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10)
    script.start(2, "daemon", parent=1).memory(2, 20).tick(30, 2)
    script.exit(1, 0, at=5).tick(20, 1)
    job = script.job()
    daemon = processes(job)[2]
    assert daemon.alive
    assert daemon.last_seen == 5
    assert daemon.exit_status is None
    assert not processes(job)[1].alive
    assert groups(job)["daemon"] == (1, 20, 20)


def test_nothing_at_all() -> None:
    job = Script().tick(at=1).job()
    assert list(job.processes) == []
    assert job.groups() == ()
    assert job.at_peak() == ()
    assert job.max_total == 0
    assert job.root_status is None


# The end of a program, and how a process was found


def test_a_sample_far_above_the_final_watermark_was_of_the_next_program() -> None:
    script = Script().start(1, "a", at=1).memory(1, 90).tick(90, 1)
    job = script.final(1, 50, roughness=30, at=9).exit(1, 0, by_event=True).job()
    assert job.processes[0].peak == Peak(50, 9, EXACT)


@pytest.mark.parametrize(
    ("samples", "watermark", "peak"),
    [
        ([], 70, Peak(70, 9, EXACT)),
        ([(1, 50)], 70, Peak(70, 9, EXACT)),
        ([(1, 50), (2, 80), (3, 40)], 80, Peak(80, 2, EXACT)),
        # The kernel updates its watermark in batches per CPU, so a sample may be higher.
        ([(1, 50), (2, 80)], 70, Peak(80, 2, EXACT)),
        # A sample of zero bytes does not count.
        ([(1, 0)], 70, Peak(70, 9, EXACT)),
    ],
)
def test_a_final_watermark_makes_a_peak_exact(
    samples: list[tuple[int, int]], watermark: int, peak: Peak
) -> None:
    script = Script().start(1, "a", at=1)
    for time, rss in samples:
        script.memory(1, rss, at=time).tick(rss, 1)
    job = script.final(1, watermark, roughness=1 << 30, at=9).exit(1, 0, by_event=True).job()
    (process,) = job.processes
    assert process.peak == peak
    assert process.usage.final_watermark == watermark
    assert job.peaks == {EXACT: 1}
    assert job.largest == process
    assert groups(job) == {"a": (1, peak.rss, peak.rss)}


def test_a_peak_is_exact_when_each_program_has_a_final_watermark() -> None:
    def chain(*, all_known: bool) -> Process:
        script = Script().start(1, "sh", at=1).memory(1, 10).tick(10, 1)
        if all_known:
            script.final(1, 15, at=2)
        script.execute(1, "cc", at=2).memory(1, 60).tick(60, 1).final(1, 70, at=3)
        job = script.exit(1, 0, by_event=True).job()
        (process,) = job.processes
        assert job.peaks == {process.peak.source: 1}
        return process

    known = chain(all_known=True)
    assert [program.peak for program in known.programs] == [Peak(15, 2, EXACT), Peak(70, 3, EXACT)]
    assert known.peak == Peak(70, 3, EXACT)
    # The shell may have held more than the compiler: it has no final watermark.
    unsure = chain(all_known=False)
    assert [program.peak.source for program in unsure.programs] == [SAMPLED, EXACT]
    assert unsure.peak == Peak(70, 3, WATERMARK)
    assert unsure.usage.final_watermark == 70


def test_the_watermark_of_an_earlier_program_is_not_that_of_the_last() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10).tick(10, 1)
    script.final(1, 15, at=2).execute(1, "cc").memory(1, 5).tick(5, 1).exit(1, 9, at=3)
    (process,) = script.job().processes
    assert process.usage.final_watermark is None
    assert process.peak == Peak(15, 2, EXACT)._replace(source=WATERMARK)


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        (BY_EVENT, FOUND_BY_EVENT),
        (BY_RECORD, FOUND_BY_RECORD),
        (BY_HOOK, FOUND_BY_HOOK),
        (0, FOUND_BY_SAMPLING),
    ],
)
def test_how_a_process_was_found(flag: int, name: str) -> None:
    script = Script().start(1, "sh", at=1)
    job = script.start(2, parent=1, found_by=flag, at=2).job()
    assert processes(job)[2].found_by == name
    assert job.found_by[name] >= 1
    assert sum(job.found_by.values()) == 2


def test_a_start_reported_again_is_the_same_process() -> None:
    """The process was sampled before its fork event came, which has more facts."""
    script = Script().start(1, "sh", at=1)
    script.start(2, "ls", ppid=1, began=10, at=20)
    script.start(2, ppid=101, parent=1, began=14, at=14).tick(0, 2, at=30)
    job = script.job()
    process = processes(job)[2]
    assert len(job.processes) == 2
    assert (process.ppid, process.parent) == (101, 1)
    assert (process.start, process.first_seen) == (14, 14)
    assert process.found_by == FOUND_BY_SAMPLING
    assert job.found_by == {FOUND_BY_SAMPLING: 2}
    assert process.command == "ls"


def test_a_start_reported_again_removes_no_facts() -> None:
    script = Script().start(1, "sh", at=1)
    script.start(2, ppid=101, parent=1, found_by=BY_EVENT, began=9, at=10)
    script.start(2, ppid=101, start_known=False, at=12).tick(0, 2, at=30)
    process = processes(script.job())[2]
    assert (process.parent, process.start, process.first_seen) == (1, 9, 10)
    assert process.found_by == FOUND_BY_EVENT


def test_a_known_end_is_when_a_process_was_last_seen() -> None:
    script = Script().start(1, "sh", at=1).tick(0, 1, at=10)
    for serial in (2, 3, 4):
        script.start(serial, parent=1, at=2)
    script.exit(2, 0, by_event=True, at=17).exit(3, 0).tick(0, 2, at=20).exit(1, 0)
    got = processes(script.job())
    assert (got[2].last_seen, got[2].end_known) == (17, True)
    assert (got[3].last_seen, got[3].end_known) == (10, False)
    assert (got[4].last_seen, got[4].end_known, got[4].alive) == (20, False, True)


def test_cpu_time_and_storage() -> None:
    script = Script().start(1, "sh", at=1).start(2, parent=1)
    script.cpu(1, 30, 40, at=2).io(1, 0, 60)
    script.cpu(2, 7, 8, known=False).io(2, 9, 10, known=False)
    got = processes(script.final(1, 5, at=3).exit(1, 0).job())
    assert got[1].usage == Usage(user=30, system=40, read=0, written=60, final_watermark=5)
    # An unknown figure must never become zero or a meaningless number.
    assert got[2].usage == NO_USAGE


# Footprints


def test_the_source_of_the_highest_footprint() -> None:
    script = Script()
    for serial in (1, 2, 3, 4, 5):
        script.start(serial, "cc", at=1)
    # The first has samples without a watermark.
    script.footprint(1, 50, at=2).footprint(1, 30, at=3)
    # The second has a watermark so far.
    script.footprint(2, 50, 60, at=2).footprint(2, 40, at=3)
    # The third also has one at its end.
    script.footprint(3, 50, 60, at=2).final_footprint(3, 70, at=4)
    # The final watermark of the fourth is of a program that was never sampled.
    script.footprint(4, 50, 60, at=2).final_footprint(4, 20, at=4)
    # The fifth is unknown: the kernel reports 0 for a zombie without accounting data.
    script.final_footprint(5, 0)
    for serial in (5, 4, 3, 2, 1):
        script.exit(serial, 0, at=5)
    job = script.job()
    found = {serial: process.footprint for serial, process in processes(job).items()}
    assert found == {
        1: Footprint(50, SAMPLED),
        2: Footprint(60, WATERMARK),
        3: Footprint(70, EXACT),
        4: Footprint(60, WATERMARK),
        5: NO_FOOTPRINT,
    }
    assert job.footprints == {SAMPLED: 1, WATERMARK: 2, EXACT: 1, UNKNOWN: 1}
    assert job.largest_footprint == processes(job)[3]
    # A footprint is not a resident size.
    assert job.largest is None


def test_each_program_has_a_footprint_of_its_own() -> None:
    script = Script().start(1, at=1).execute(1, "sh", inherited=True).footprint(1, 90, 90)
    script.execute(1, "env", at=2).footprint(1, 10, 12)
    script.execute(1, "cc", at=3).footprint(1, 30, 35).final_footprint(1, 40, at=4).exit(1, 0)
    process = processes(script.job())[1]
    assert [program.footprint for program in process.programs] == [
        Footprint(90, WATERMARK),
        Footprint(12, WATERMARK),
        Footprint(40, EXACT),
    ]
    # The footprint of env is not known to its end; memory of the parent does not count.
    assert process.footprint == Footprint(40, WATERMARK)


def test_the_highest_sum_of_footprints() -> None:
    script = Script().start(1, "sh", at=1)
    script.footprints(70, 2, at=10).tick(5, 1).footprints(90, 1, at=20).tick(5, 1)
    script.footprints(90, 0, at=30).tick(5, 1).footprints(0, 0, at=40).tick()
    assert script.job().footprint_peak == (90, 20, 1)


def test_a_job_without_footprints_has_no_figures_for_them() -> None:
    job = Script().start(1, "sh", at=1).memory(1, 5).tick(5, 1).job()
    assert not job.has_footprints
    assert job.footprint_peak is None
    assert job.largest_footprint is None
    assert not job.footprints
    assert processes(job)[1].footprint == NO_FOOTPRINT


def test_usage_of_a_process_that_has_ended_is_ignored() -> None:
    script = Script().start(1, "sh", at=1).start(2, parent=1).exit(2, at=2)
    got = processes(script.cpu(2, 30, 40, at=3).job())
    assert [process.usage for process in got.values()] == [NO_USAGE] * 2


def test_processes_in_no_sample() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10)
    # Only a watermark; nothing at all; no memory any more; a sample between two ticks.
    script.start(2, "a", parent=1, at=2).final(2, 90).exit(2)
    script.start(3, parent=1).exit(3)
    script.start(4, "b", parent=1).memory(4, 0).exit(4)
    script.start(5, "c", parent=1).memory(5, 1).exit(5)
    job = script.tick(10, 1, at=3).job()
    sampled = [process.serial for process in job.processes if process.sampled]
    assert sorted(sampled) == [1, 5]
    assert job.never_sampled == 3
    assert job.peaks == {SAMPLED: 2, EXACT: 1, UNKNOWN: 2}
    assert job.max_total == 10
    # It is in no total, but it counts in its group.
    assert groups(job)["a"] == (1, 90, 90)


def test_the_largest_process() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10)
    for serial, size in ((2, 30), (3, 50), (4, 50), (5, 20)):
        script.start(serial, "a", parent=1, at=1).memory(serial, size)
    script.tick(160, 5, at=1)
    for serial in (2, 3, 4, 5):
        script.exit(serial, at=2)
    job = script.job()
    assert job.largest
    assert job.largest.serial == 3
    assert Script().start(1, at=1).job().largest is None


# Shared pages counted once


def test_the_highest_sum_with_shared_pages_counted_once() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 100).tick(100, 1)
    script.pss(40, rss=100).tick(100, 1, at=2)
    script.pss(70, rss=90, unread=2).tick(100, 1, at=3)
    # Reported later for an earlier tick, and the same sum again.
    script.pss(60, rss=100, at=2).pss(70, rss=100, at=3)
    job = script.job()
    assert job.pss_peak == PssPeak(total=70, time=3, rss=100, unread=0)
    assert job.pss_bound == PssPeak(total=70, time=2, rss=90, unread=2)
    assert job.pss_low is None
    assert job.max_total == 100
    job = script.pss(80, rss=100, flags=LOWER, at=3).job()
    assert (job.pss_peak, job.pss_low) == (
        PssPeak(total=70, time=3, rss=100, unread=0),
        PssPeak(total=80, time=3, rss=100, unread=0, is_low=True),
    )
    assert Script().tick(at=1).pss(0, rss=0).job().pss_peak is None


# Programs that ended before any tick


def unseen(name: str, *, inherited: bool = True, start: int | None = 15) -> Process:
    """Returns a child that no tick saw. Its parent runs sh, from 10 on make, from 20 on cc."""
    script = Script().start(1, "sh", "-c", "x", at=1)
    script.execute(1, "make", "all", at=10).tick(0, 1, at=11).execute(1, "cc", "-c", at=20)
    known = start is not None
    script.start(2, parent=1, found_by=BY_EVENT, began=start, start_known=known, at=15)
    script.execute(2, name=name, inherited=inherited, at=30).exit(2, 0, by_event=True)
    return processes(script.tick(0, 1, at=31).job())[2]


def test_an_unseen_fork_has_the_program_its_parent_had_then() -> None:
    for start in (15, None):
        process = unseen("make", start=start)
        assert process.argv == ("make", "all")
        assert process.programs[0].inherited
    # Not every source reports the kernel's name.
    assert unseen("").argv == ("make", "all")
    assert unseen("", start=20).argv == ("cc", "-c")
    assert unseen("", start=5).argv == ("sh", "-c", "x")


def test_an_unseen_fork_with_another_name_has_its_own_program() -> None:
    process = unseen("worker")
    assert (process.command, process.argv) == ("worker", None)


def test_an_unseen_exec_does_not_take_the_parents_program() -> None:
    process = unseen("make", inherited=False)
    assert (process.command, process.argv) == ("make", None)
    assert unseen("", inherited=False).command == "?"


def test_a_name_cut_by_the_kernel_matches_the_parents_long_name() -> None:
    name = "a-name-of-more-than-15-bytes"
    script = Script().start(1, at=1).execute(1, f"/opt/{name}", name=name[:15])
    script.start(2, parent=1, found_by=BY_EVENT, began=2, at=2)
    script.execute(2, name=name[:15], inherited=True).exit(2, 0, by_event=True).tick(0, 1, at=3)
    assert processes(script.job())[2].command == name


def test_an_unseen_orphan_has_no_parent_to_take_a_program_from() -> None:
    script = Script().start(1, "sh", at=1)
    script.start(2, found_by=BY_EVENT, at=2).execute(2, name="", inherited=True).exit(2)
    assert processes(script.tick(0, 1, at=3).job())[2].command == "?"


# Identity and ancestry


def test_a_reused_pid_is_another_process() -> None:
    script = Script().start(1, "make", at=1).memory(1, 1).tick(1, 1)
    script.start(2, "cc", pid=500, parent=1, began=2, at=2).memory(2, 70)
    script.tick(71, 2)
    script.exit(2, at=3).start(3, "ld", pid=500, parent=1, began=3)
    script.memory(3, 90).tick(91, 2)
    both = [process for process in script.job().processes if process.pid == 500]
    assert [(each.serial, each.command, each.peak.rss) for each in both] == [
        (2, "cc", 70),
        (3, "ld", 90),
    ]


def test_the_parent_stays_the_one_that_started_it() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 1)
    script.start(2, "mid", parent=1, ppid=101).memory(2, 1)
    script.start(3, "leaf", parent=2, ppid=102).memory(3, 1).tick(3, 3)
    script.exit(2, at=2).tick(2, 2)
    leaf = processes(script.job())[3]
    assert leaf.parent == 2
    assert leaf.ppid == 102


def test_an_orphan_of_an_unseen_process_has_no_parent() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 1)
    script.start(2, "orphan", ppid=50).memory(2, 1).tick(2, 2)
    orphan = processes(script.job())[2]
    assert orphan.parent is None
    assert orphan.ppid == 50


# Programs


def test_a_chain_of_execs_is_one_process_with_a_peak_for_each_program() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10, 15).tick(10, 1)
    script.execute(1, "env", at=2).memory(1, 5).tick(5, 1)
    script.execute(1, "python", at=3).memory(1, 80).tick(80, 1)
    script.memory(1, 60, at=4).tick(60, 1)
    job = script.job()
    (process,) = job.processes
    assert [(each.text.name, each.since, each.peak) for each in process.programs] == [
        ("sh", 1, Peak(15, 1, WATERMARK)),
        ("env", 2, Peak(5, 2, SAMPLED)),
        ("python", 3, Peak(80, 3, SAMPLED)),
    ]
    assert process.command == "python"
    assert groups(job) == {"sh": (1, 15, 15), "env": (1, 5, 5), "python": (1, 80, 80)}


def test_the_peak_may_lie_under_an_earlier_program() -> None:
    script = Script().start(1, "python", at=1).memory(1, 80).tick(80, 1)
    script.execute(1, "true", at=2).memory(1, 1).tick(1, 1)
    (process,) = script.job().processes
    assert process.command == "true"
    assert process.peak_program.text.name == "python"
    assert process.peak.rss == 80


def test_more_facts_about_a_program_are_no_new_program() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10).tick(10, 1)
    script.execute(1, "sh", "-c", "x", same=True, at=2).memory(1, 12).tick(12, 1)
    job = script.job()
    (process,) = job.processes
    (program,) = process.programs
    assert program.text.argv == ("sh", "-c", "x")
    assert program.since == 1
    assert program.peak == Peak(12, 2, SAMPLED)
    assert groups(job) == {"sh": (1, 12, 12)}


def test_a_name_completed_before_the_first_tick_moves_to_its_group() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10)
    script.execute(1, "a-long-name", same=True).tick(10, 1)
    assert groups(script.job()) == {"a-long-name": (1, 10, 10)}


def test_a_name_completed_before_any_tick_moves_however_early_the_exec_was() -> None:
    """An exec event comes late, with its time: no tick has counted that program yet."""
    script = Script().start(1, "sh", at=1).memory(1, 10).tick(10, 1, at=20)
    script.execute(1, "a-long-na", at=15).memory(1, 50, at=25)
    script.execute(1, "a-long-name", same=True).tick(50, 1, at=30)
    job = script.job()
    assert groups(job) == {"sh": (1, 10, 10), "a-long-name": (1, 50, 50)}
    (process,) = job.processes
    assert [program.since for program in process.programs] == [1, 15]


def test_a_name_completed_after_a_tick_does_not_inflate_the_old_group() -> None:
    script = Script().start(1, "old", at=1).memory(1, 10)
    script.start(2, "old", parent=1).memory(2, 100).tick(110, 2)
    script.execute(2, "new", same=True, at=2).tick(110, 2)
    for group in script.job().groups():
        assert group.peak_rss <= group.sum_of_peaks, group


# Holders at the peak


def test_holders_are_those_of_the_peak_tick() -> None:
    script = Script().start(1, "sh", at=1).memory(1, 10)
    script.start(2, "gone", parent=1).memory(2, 5).tick(15, 2)
    script.start(3, "ld", parent=1, at=2).memory(3, 50).exit(2)
    script.tick(60, 2).memory(3, 1, at=3).tick(11, 2)
    held = [(each.serial, each.group, each.rss) for each in script.job().at_peak()]
    assert held == [(3, "ld", 50), (1, "sh", 10)]


def test_holders_have_their_names_at_the_peak_tick() -> None:
    script = Script().start(1, "old", at=1).memory(1, 10).tick(10, 1)
    script.execute(1, "new", at=2).memory(1, 10)
    script.start(2, "cc", parent=1).memory(2, 5).tick(15, 2)
    script.execute(1, "later", at=3).memory(1, 1).tick(6, 2)
    assert [each.group for each in script.job().at_peak()] == ["new", "cc"]


# Forks


def fork(script: Script, time: int, serial: int = 2, rss: int = 100) -> Script:
    """Lets make (100 bytes) fork itself."""
    return (
        script.start(serial, parent=1, at=time)
        .execute(serial, "make", inherited=True)
        .memory(serial, rss)
    )


def make(time: int = 1) -> Script:
    return Script().start(1, "make", at=time).memory(1, 100)


def test_a_fork_that_execs_is_not_counted_in_its_parents_group() -> None:
    script = fork(make(), 1).tick(200, 2, at=1)
    script.execute(2, "cc", at=2).memory(2, 30).tick(130, 2)
    job = script.job()
    assert groups(job) == {"make": (1, 100, 100), "cc": (1, 30, 30)}
    # The total counts the fork all the same.
    assert job.max_total == 200
    assert processes(job)[2].peak.rss == 30


def test_a_fork_that_execs_within_a_tick_is_not_counted_either() -> None:
    script = fork(make(), 1).execute(2, "cc", at=1).memory(2, 30, at=1).tick(130, 2, at=1)
    assert groups(script.job()) == {"make": (1, 100, 100), "cc": (1, 30, 30)}


def test_a_fork_that_never_execs_is_counted() -> None:
    script = fork(make(), 1).tick(200, 2, at=1).tick(200, 2, at=2)
    job = script.job()
    assert groups(job) == {"make": (2, 200, 200)}
    assert next(iter(job.groups())).peak_time == 2
    assert processes(job)[2].peak.rss == 100


def test_a_fork_once_counted_stays_counted_when_more_is_known_of_it() -> None:
    script = fork(make(), 1).tick(200, 2, at=1).tick(200, 2, at=2)
    script.execute(2, "make", "all", inherited=True, same=True, at=3)
    script.memory(1, 150).tick(250, 2)
    assert groups(script.job()) == {"make": (2, 250, 250)}


def test_a_fork_that_works_a_while_and_then_execs_is_in_both_groups() -> None:
    script = fork(make(), 1).tick(200, 2, at=1).tick(200, 2, at=2).tick(200, 2, at=3)
    script.execute(2, "cc", at=4).memory(2, 30).tick(130, 2)
    job = script.job()
    assert groups(job) == {"make": (2, 200, 200), "cc": (1, 30, 30)}
    # The peak of the process is still that of the program it executed.
    assert processes(job)[2].peak.rss == 30


def test_a_fork_that_ends_at_once_is_counted_but_was_in_no_peak() -> None:
    script = fork(make(), 1).tick(200, 2, at=1).exit(2, at=2).tick(100, 1, at=2)
    assert groups(script.job()) == {"make": (2, 100, 200)}


# Ticks


def test_late_and_skipped_ticks_are_counted() -> None:
    script = (
        Script()
        .tick(at=0)
        .tick(at=10)
        .tick(flags=TICK_LATE, at=27)
        .tick(skipped=2, at=60)
        .tick(at=70)
    )
    ticks = script.job().ticks
    assert (ticks.count, ticks.late, ticks.skipped) == (5, 1, 2)
    assert ticks.achieved == 70 / 4


def test_extra_ticks_are_no_part_of_the_achieved_interval() -> None:
    script = Script().tick(flags=TICK_EXTRA, at=0).tick(flags=TICK_EXTRA | TICK_LATE, at=1)
    script.tick(flags=TICK_EXTRA, at=3).tick(at=10).tick(at=20)
    script.tick(flags=TICK_EXTRA, at=22).tick(at=30)
    ticks = script.job().ticks
    assert (ticks.count, ticks.late) == (7, 0)
    assert ticks.achieved == 10.0


@pytest.mark.parametrize(
    "script", [Script(), Script().tick(at=5), Script().tick(flags=TICK_EXTRA, at=5)]
)
def test_an_interval_needs_two_regular_ticks(script: Script) -> None:
    assert script.job().ticks.achieved is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 50),
            st.integers(0, 3),
            st.sampled_from((0, TICK_LATE, TICK_EXTRA, TICK_EXTRA | TICK_LATE)),
        )
    )
)
def test_ticks_against_a_recount(steps: list[tuple[int, int, int]]) -> None:
    """An interval is between two regular ticks with no extra one between them: near a limit those
    take the place of regular ones."""
    script, time, intervals = Script(), 0, []
    extra = TICK_EXTRA
    for gap, skipped, flags in steps:
        time += gap
        script.tick(skipped=skipped, flags=flags, at=time)
        if not (flags | extra) & TICK_EXTRA:
            intervals.append(gap)
        extra = flags
    ticks = script.job().ticks
    assert ticks.count == len(steps)
    assert ticks.skipped == sum(skipped for _, skipped, _ in steps)
    assert ticks.late == sum(flags == TICK_LATE for _, _, flags in steps)
    mean = sum(intervals) / len(intervals) if intervals else None
    assert ticks.achieved == mean


# A simulated machine, its sampler, and an independent recount of the same events: the book


@dataclass(eq=False)
class Simulated:
    """A process of the machine."""

    pid: int
    parent: Simulated | None
    program: str
    memory: int
    high: int
    readable: bool
    inherited: bool = False
    execs: int = 0
    status: int | None = None
    end_reported: bool = False
    """Whether the kernel reports the end of each of its programs."""
    high_before: int = 0
    """The peak of its previous program."""


@dataclass
class Ran:
    """The book's entry for one program of one process."""

    name: str
    since: int
    inherited: bool
    facts: list[tuple[int, int, str]] = field(default_factory=list)
    """Time, size and source of samples, watermarks and the final watermark."""
    ticks: int = 0
    """Number of ticks in which it ran."""
    ended_by_exec: bool = False

    @property
    def counted(self) -> bool:
        return not self.inherited or not self.ended_by_exec or self.ticks >= 2

    @property
    def peak(self) -> Peak:
        size = max((size for _, size, _ in self.facts), default=0)
        if not size:
            return Peak(0, 0, UNKNOWN)
        reached = [(time, source) for time, each, source in self.facts if each == size]
        known = WATERMARK if any(source != SAMPLED for _, source in reached) else SAMPLED
        if any(source == EXACT for _, _, source in self.facts):
            known = EXACT
        return Peak(size, min(time for time, _ in reached), known)


@dataclass
class Followed:
    """What the sampler remembers of a process, and its entries in the book."""

    serial: int
    of: Simulated
    ppid: int
    parent: int | None
    first: int
    execs: int = 0
    rss: int | None = None
    high: int = 0
    lacks_argv: bool = False
    last: int | None = None
    ran: list[Ran] = field(default_factory=list)
    gone: bool = False
    end: int | None = None
    """Time of its end, if the kernel reported it."""
    found_by: str = FOUND_BY_SAMPLING


@dataclass(frozen=True)
class Page:
    """The book's page for one tick: sizes by process, and by group where already counted."""

    time: int
    held: dict[int, tuple[int, str, int]]
    """Maps a serial number to pid, program and size."""
    settled: dict[str, int]
    live: int


class Machine:
    """Runs actions and writes a Script and the book. Pids are few, so they are reused."""

    PIDS = 6

    def __init__(self) -> None:
        self.script = Script()
        self.time = 0
        self.next_pid = 0
        self.root = self._new(None, "make", 3, readable=True)
        self.alive = [self.root]
        self.followed: list[Followed] = []
        self.everyone: list[Followed] = []
        self.book: list[Page] = []

    def _new(
        self, parent: Simulated | None, name: str, memory: int, *, readable: bool
    ) -> Simulated:
        self.next_pid += 1
        return Simulated(100 + self.next_pid % self.PIDS, parent, name, memory, memory, readable)

    # What may happen

    def fork(self, which: int, what: int) -> None:
        taken = {each.pid for each in self.alive} | {each.of.pid for each in self.followed}
        if len(taken) == self.PIDS:
            return
        parent = self.alive[which % len(self.alive)]
        readable = parent.readable and what % 8 != 7
        while 100 + (self.next_pid + 1) % self.PIDS in taken:
            self.next_pid += 1
        child = self._new(parent, parent.program, parent.memory, readable=readable)
        child.inherited = True
        child.end_reported = what % 2 == 0
        self.alive.append(child)

    def exec(self, which: int, what: int) -> None:
        process = self.alive[which % len(self.alive)]
        process.program = ("cc", "sh", "make", "as")[what % 4]
        process.high_before = process.high
        process.memory = process.high = what
        process.inherited = False
        process.execs += 1

    def grow(self, which: int, what: int) -> None:
        process = self.alive[which % len(self.alive)]
        process.memory = what
        process.high = max(process.high, what)

    def spike(self, which: int, what: int) -> None:
        """Holds more memory between two ticks, which only the watermark shows."""
        process = self.alive[which % len(self.alive)]
        process.high = max(process.high, what)

    def exit(self, which: int, what: int) -> None:
        if len(self.alive) == 1:
            return
        process = self.alive.pop(1 + which % (len(self.alive) - 1))
        process.status = what
        for each in self.alive:
            if each.parent is process:
                each.parent = None

    def tick(self, which: int, what: int) -> None:
        """Samples once. `which` and `what` choose what else happens in this tick."""
        self.time += 1 + which % 3
        for each in list(self.followed):
            self._visit(each, inspects=what % 2 == 0)
        for process in self.alive:
            if all(each.of is not process for each in self.followed):
                self._adopt(process, dies=which % 5 == 4 and process is not self.root)
        self._close_page(which)

    # What the sampler reports

    def _visit(self, each: Followed, *, inspects: bool) -> None:
        process = each.of
        if process.status is not None:
            if process.end_reported and each.ran and process.execs == each.execs:
                self._final(each)
                each.end = self.time
            self._gone(each, process.status if process is self.root else None)
        elif process.readable:
            if process.execs != each.execs:
                if process.end_reported and process.execs == each.execs + 1:
                    self._final(each, process.high_before)
                self._program(each)
                self._memory(each)
            elif each.lacks_argv:
                each.lacks_argv = False
                self.script.execute(
                    each.serial, "word", name=process.program, same=True, at=self.time
                )
            if process.memory != each.rss or (inspects and process.high > each.high):
                self._memory(each, inspects=inspects)

    def _adopt(self, process: Simulated, *, dies: bool) -> None:
        parent = next((each for each in self.followed if each.of is process.parent), None)
        ppid = process.parent.pid if process.parent else 1
        each = Followed(
            len(self.everyone) + 1, process, ppid, parent.serial if parent else None, self.time
        )
        self.followed.append(each)
        self.everyone.append(each)
        flag, each.found_by = (
            (BY_EVENT, FOUND_BY_EVENT) if process.end_reported else (0, FOUND_BY_SAMPLING)
        )
        self.script.start(
            each.serial, pid=process.pid, ppid=ppid, parent=each.parent, found_by=flag, at=self.time
        )
        if process.readable:
            self._program(each)
            self._memory(each)
        if dies:
            self.alive.remove(process)
            process.status = 0
            self._gone(each, None)

    def _program(self, each: Followed) -> None:
        process = each.of
        if each.ran:
            each.ran[-1].ended_by_exec = True
        each.ran.append(Ran(process.program, self.time, process.inherited))
        each.execs, each.high, each.rss = process.execs, 0, None
        each.lacks_argv = process.memory % 3 == 0 and not process.inherited
        words = () if each.lacks_argv else ("word",)
        self.script.execute(
            each.serial, *words, name=process.program, inherited=process.inherited, at=self.time
        )

    def _memory(self, each: Followed, *, inspects: bool = False) -> None:
        process = each.of
        each.rss = process.memory
        each.ran[-1].facts.append((self.time, process.memory, SAMPLED))
        watermark = None
        if inspects and process.high > each.high:
            each.high = watermark = process.high
            each.ran[-1].facts.append((self.time, watermark, WATERMARK))
        self.script.memory(each.serial, process.memory, watermark, at=self.time)

    def _final(self, each: Followed, high: int | None = None) -> None:
        """Reports the final watermark, which is sometimes too low, as the kernel's is."""
        watermark = max((each.of.high if high is None else high) - self.time % 2, 1)
        each.ran[-1].facts.append((self.time, watermark, EXACT))
        self.script.final(each.serial, watermark, roughness=1 << 30, at=self.time)

    def _gone(self, each: Followed, status: int | None) -> None:
        each.gone = True
        self.followed.remove(each)
        self.script.exit(each.serial, status, by_event=each.end is not None, at=self.time)

    def _close_page(self, which: int) -> None:
        held, settled = {}, dict[str, int]()
        partial = 0
        for each in self.followed:
            each.last = self.time
            if not each.ran:
                partial = TICK_PARTIAL
                continue
            now = each.ran[-1]
            now.ticks += 1
            assert each.rss is not None
            held[each.serial] = (each.of.pid, now.name, each.rss)
            if not now.inherited or now.ticks >= 2:
                settled[now.name] = settled.get(now.name, 0) + each.rss
        self.book.append(Page(self.time, held, settled, len(self.followed)))
        self.script.tick(
            sum(size for _, _, size in held.values()),
            len(self.followed),
            flags=partial,
            skipped=which % 2,
            at=self.time,
        )

    def end(self, status: int | None) -> None:
        """Ends the root and samples a last time."""
        self.alive.remove(self.root)
        self.root.status = status
        if not self.followed:
            return
        self.time += 1
        for each in list(self.followed):
            self._visit(each, inspects=False)
        self._close_page(0)


ACTIONS = ("fork", "exec", "grow", "spike", "exit", "tick", "tick")

jobs = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 11), st.integers(0, 40)), max_size=70
)


def play(actions: list[tuple[str, int, int]], status: int | None = 0) -> Machine:
    machine = Machine()
    for action, which, what in actions:
        getattr(machine, action)(which, what)
    machine.end(status)
    return machine


@settings(max_examples=300, deadline=None)
@given(jobs, st.none() | st.integers(0, 255))
def test_job_agrees_with_a_recount(actions: list[tuple[str, int, int]], status: int | None) -> None:
    machine = play(actions, status)
    job = machine.script.job()
    check_totals(job, machine.book)
    check_processes(job, machine)
    check_groups(job, machine)
    assert job.live == {}
    if machine.everyone:
        assert job.root_status == status


def check_totals(job: Job, book: list[Page]) -> None:
    totals = [sum(size for _, _, size in page.held.values()) for page in book]
    assert job.timeline is not None
    assert list(job.timeline.times) == [page.time for page in book]
    assert list(job.timeline.totals) == totals
    assert list(job.timeline.counts) == [page.live for page in book]
    assert job.max_total == max(totals, default=0)
    held = {each.serial: (each.pid, each.group, each.rss) for each in job.at_peak()}
    assert sum(each.rss for each in job.at_peak()) == job.max_total
    if not job.max_total:
        assert held == {}
        return
    page = book[totals.index(job.max_total)]
    assert held == {serial: held for serial, held in page.held.items() if held[2]}
    assert job.max_total_time == page.time
    assert job.max_total_processes == page.live
    sizes = [each.rss for each in job.at_peak()]
    assert sizes == sorted(sizes, reverse=True)


def check_processes(job: Job, machine: Machine) -> None:
    assert len(job.processes) == len(machine.everyone)
    got = processes(job)
    for each in machine.everyone:
        process = got[each.serial]
        assert (process.pid, process.ppid, process.parent) == (each.of.pid, each.ppid, each.parent)
        assert process.alive == (not each.gone)
        assert process.first_seen == each.first
        last = each.first if each.last is None else each.last
        assert process.last_seen == (last if each.end is None else each.end)
        assert process.end_known == (each.end is not None)
        assert process.found_by == each.found_by
        facts = [fact for ran in each.ran for fact in ran.facts]
        assert process.sampled == any(size and source == SAMPLED for _, size, source in facts)
        ran = [(ran.name, ran.inherited, ran.peak) for ran in each.ran]
        assert [(i.text.name, i.inherited, i.peak) for i in process.programs] == ran or [
            ("?", False, Peak(0, 0, UNKNOWN))
        ]
        own = [ran for ran in each.ran if not ran.inherited] or each.ran
        largest = max((ran.peak.rss for ran in own), default=0)
        assert process.peak.rss == largest
        known = bool(own) and all(ran.peak.source == EXACT for ran in own)
        assert (process.peak.source == EXACT) == known
    assert job.never_sampled == sum(not process.sampled for process in job.processes)
    assert job.found_by == Counter(process.found_by for process in job.processes)
    assert job.peaks == Counter(process.peak.source for process in job.processes)
    peaks = [process.peak.rss for process in job.processes]
    assert (job.largest.peak.rss if job.largest else 0) == max(peaks, default=0)


def check_groups(job: Job, machine: Machine) -> None:
    members: dict[str, list[Peak]] = {}
    for each in machine.everyone:
        counted = [ran for ran in each.ran or [Ran("?", 0, False)] if ran.counted]
        by_name = sorted(counted, key=lambda ran: ran.name)
        for name, programs in itertools.groupby(by_name, lambda ran: ran.name):
            peaks = [ran.peak for ran in programs]
            members.setdefault(name, []).append(max(peaks, key=lambda peak: (peak.rss, -peak.time)))
    assert {group.name for group in job.groups()} == set(members)
    for group in job.groups():
        peaks = members[group.name]
        assert group.processes == len(peaks)
        assert group.sum_of_peaks == sum(peak.rss for peak in peaks)
        # At one tick, or at any time in a single process.
        together = [page.settled.get(group.name, 0) for page in machine.book]
        alone = max(peaks, key=lambda peak: (peak.rss, -peak.time))
        assert group.peak_rss == max([alone.rss, *together])
        assert group.peak_rss <= group.sum_of_peaks
        assert group.known == (group.peak_rss > 0)
        if group.peak_rss in together and group.peak_rss:
            assert group.peak_time == machine.book[together.index(group.peak_rss)].time
        elif group.peak_rss:
            assert group.peak_time == alone.time
    order = [(-group.peak_rss, group.name) for group in job.groups()]
    assert order == sorted(order)


@settings(max_examples=100, deadline=None)
@given(jobs, st.data())
def test_the_division_into_batches_does_not_matter(
    actions: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    script = play(actions).script
    cuts = data.draw(st.lists(st.integers(0, script.count), max_size=8))
    whole = outcome(script.job())
    assert outcome(script.job(cuts)) == whole
    assert outcome(script.job(range(script.count))) == whole


@settings(max_examples=100, deadline=None)
@given(jobs)
def test_what_a_group_holds_is_never_negative(actions: list[tuple[str, int, int]]) -> None:
    script = play(actions).script
    job = Job()
    for batch in script.batches(range(script.count)):
        job.apply(batch)
        for group in job._groups._groups.values():
            assert group.rss >= 0
    job.finish()
    # All sizes that were added for processes were subtracted at their ends.
    assert {group.rss for group in job._groups._groups.values()} == {0}


def test_random_jobs_contain_every_case_that_the_properties_need() -> None:
    """A property that lacks its cases would prove nothing."""
    seen: set[str] = set()
    random_source = random.Random(20)
    for _ in range(60):
        actions = [
            (
                random_source.choice(ACTIONS),
                random_source.randrange(12),
                random_source.randrange(41),
            )
            for _ in range(70)
        ]
        machine = play(actions)
        pids = [each.of.pid for each in machine.everyone]
        ran = [ran for each in machine.everyone for ran in each.ran]
        for name, found in {
            "pid reuse": len(set(pids)) < len(pids),
            "orphans": any(each.ppid == 1 for each in machine.everyone[1:]),
            "unreadable": any(not each.ran for each in machine.everyone),
            "execs": any(len(each.ran) > 2 for each in machine.everyone),
            "a fork that execs at once": any(each.inherited and not each.counted for each in ran),
            "a fork that execs later": any(
                each.inherited and each.ended_by_exec and each.ticks > 2 for each in ran
            ),
            "a fork that never execs": any(
                each.inherited and not each.ended_by_exec and each.ticks > 2 for each in ran
            ),
            "a peak between ticks": any(each.peak.source == WATERMARK for each in ran),
            "an exact peak": any(each.peak.source == EXACT for each in ran),
            "a watermark below a sample": any(
                each.peak.source == EXACT and each.facts[-1][1] < each.peak.rss for each in ran
            ),
            "an exact end of a program before the last": any(
                program.peak.source == EXACT
                for each in machine.everyone
                for program in each.ran[:-1]
            ),
            "an end that is known": any(each.end is not None for each in machine.everyone),
            "left running": any(not each.gone for each in machine.everyone),
            "one tick": any(each.gone and each.last is None for each in machine.everyone),
        }.items():
            if found:
                seen.add(name)
    assert len(seen) == 14, seen


@given(st.integers(0, 600), st.integers(1, 5))
def test_the_timeline_can_be_read_at_any_time(ticks: int, readings: int) -> None:
    """Its rows are added many at once."""
    rows = [
        (i, 2 * i, 3, *(None if (i + k) % 3 else i + k for k in range(4))) for i in range(ticks)
    ]
    timeline = RunningTimeline()
    for i, row in enumerate(rows):
        timeline.add(*row)
        if i % (ticks // readings + 1) == 0:
            assert list(timeline.timeline.rows()) == rows[: i + 1]
    assert list(timeline.timeline.rows()) == rows
