"""Tests that one job gives the same Profile on Linux (a fake /proc) and on the fake macOS, except
for what a platform cannot know."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from memwatch.model.job import Job
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import Batch
from memwatch.model.processes import Process
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, Profile, from_job
from memwatch.runner import native
from support.fake_proc import FakeProc

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(native.backend() != "linux", reason="half of it needs Linux"),
]

MS = 1_000_000
MIB = 1 << 20
PAGE = 4096
ROOT = 100
ME = 50
TICKS = (5, 15, 25, 35, 45, 55, 65)

# Added to each pid: above Linux's largest pid, so that no real process has it.
BEYOND = 5_000_000

SCRIPT = f"""
set {ROOT} rss 6M
at 10
fork {ROOT} 101
exec 101 /usr/bin/sh sh -c x
set 101 rss 2M
fork 101 102
exec 102 /usr/bin/cc cc a.c
set 102 rss 30M
at 20
set 102 rss 44M
fork 101 103
exec 103 /usr/bin/ld ld a.o
set 103 rss 12M
at 30
exit 102
reap 102
exec 103 /usr/bin/strip strip a
set 103 rss 3M
at 40
fork {ROOT} 104
exec 104 /usr/bin/true true
set 104 rss 1M
exit 101
reap 101
at 50
exit 103
exit 104
reap 104
at 60
set {ROOT} rss 1M
"""

UNLIKE = {
    "accuracy": "how the peaks are known, and by which sources, is what sets the two apart",
    "max_total_footprint": "Linux has no footprints",
    "largest_footprint": "nor this",
    "max_total_shared": "macOS does not tell files and shared memory from the rest",
    "footprint": "for that reason only Linux has bounds",
    "groups": "compared below, without their footprints",
    "processes": "compared below",
    "at_peak": "compared below",
    "timeline": "compared below, number by number",
    "largest": "compared below, as one of the processes",
}

UNLIKE_OF_PROCESS = {
    "programs": "compared below: Linux reports more about how their peaks are known",
    "last_seen": "kqueue reports when it ended, the fake /proc only that it has ended",
    "end_known": "for the same reason",
    "exit_status": "kqueue reports it for all, Linux without events only for children",
    "held_by_sample": "macOS does not tell anonymous memory from the rest",
    "usage": "macOS reports it at the end, Linux only with taskstats",
}


NO_LIMIT = MemoryLimit(None, None, None, None, None, None)


def profile(job: Job, status: int | None) -> Profile:
    beginning = Beginning(("make", "all"), Clock(0, 0), 0, 10 * MS)
    ending = Ending(70 * MS, status, Overhead(None, None), NO_LIMIT)
    return from_job(job, beginning, ending)


def pages(mib: int) -> int:
    return mib * MIB // PAGE


def on_linux(path: Path) -> Profile:
    """Returns the profile of the same job as the kernel of Linux shows it."""
    tree = FakeProc(path)
    sampler = native.Sampler(10 * MS, proc_root=str(path))
    job = Job(timeline=True)

    def pid(number: int) -> int:
        return number + BEYOND

    def fork(parent: int, child: int, name: bytes, argv: tuple[bytes, ...], mib: int, at: int):
        tree.add(
            pid(child),
            ppid=pid(parent),
            name=name,
            argv=argv,
            exe=f"/usr/bin/{name.decode()}",
            rss=pages(mib),
            start=at // 10,
            cwd="/",
        )

    def tick(at: int) -> None:
        sampler.tick(pid(ROOT), at * MS)
        batch = sampler.read()
        records = [
            (*each[:6], *(number and number - BEYOND for number in each[6:8]), *each[8:])
            for each in batch.records
        ]
        job.apply(Batch(records, batch.text))

    fork(ME, ROOT, b"make", (b"make", b"all"), 6, 0)
    tick(5)
    fork(ROOT, 101, b"sh", (b"sh", b"-c", b"x"), 2, 10)
    fork(101, 102, b"cc", (b"cc", b"a.c"), 30, 10)
    tick(15)
    tree.change(pid(102), rss=pages(44))
    fork(101, 103, b"ld", (b"ld", b"a.o"), 12, 20)
    tick(25)
    tree.remove(pid(102))
    tree.exec(pid(103), name=b"strip", argv=(b"strip", b"a"), exe="/usr/bin/strip", rss=pages(3))
    tick(35)
    tree.change(pid(103), ppid=1)
    tree.remove(pid(101))
    fork(ROOT, 104, b"true", (b"true",), 1, 40)
    tick(45)
    tree.remove(pid(103))
    tree.remove(pid(104))
    tick(55)
    tree.change(pid(ROOT), rss=pages(1))
    tick(65)
    sampler.close()
    return profile(job, None)


def test_the_same_profile(play, tmp_path):
    linux = on_linux(tmp_path / "proc")
    mac = profile(play(SCRIPT, ", ".join(f"tick {at}" for at in TICKS)).job, None)

    names = {each.name for each in dataclasses.fields(linux)}
    assert names >= UNLIKE.keys()
    for name in names - UNLIKE.keys():
        assert getattr(mac, name) == getattr(linux, name), name
    assert mac.max_total_rss == (6 + 2 + 44 + 12) * MIB
    assert mac.largest.pid == linux.largest.pid == 102
    for name in ("times", "totals", "counts"):
        assert list(getattr(mac.timeline, name)) == list(getattr(linux.timeline, name)), name
    for mine, theirs in zip(mac.groups, linux.groups, strict=True):
        assert mine._replace(footprint=None) == theirs._replace(footprint=None)
    for mine, theirs in zip(mac.at_peak, linux.at_peak, strict=True):
        assert mine[:4] == theirs[:4]

    # If two processes end between the same ticks, only macOS (kqueue) reports which was first.
    def in_order(found: Profile) -> list[Process]:
        return sorted(found.processes, key=lambda each: each.serial)

    for mine, theirs in zip(in_order(mac), in_order(linux), strict=True):
        for name in set(mine._fields) - UNLIKE_OF_PROCESS.keys():
            assert getattr(mine, name) == getattr(theirs, name), (mine.pid, name)
        assert [program.text for program in mine.programs] == [
            program.text for program in theirs.programs
        ]
        assert [program.peak.rss for program in mine.programs] == [
            program.peak.rss for program in theirs.programs
        ]
