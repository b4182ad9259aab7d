"""Summary, CSV and JSON of scripted jobs, compared exactly with the files in tests/golden.

support/golden.py describes how to rewrite the files.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from memwatch.model.cgroup_account import AccountReading, CgroupAccount, CgroupSample, CgroupSpan
from memwatch.model.filters import Filter, Shown, apply
from memwatch.model.job import Job
from memwatch.model.limits import NO_LIMITS, LimitChecker, LimitOutcome, Limits, Signalled
from memwatch.model.memory_limit import CGROUP_V2, MACHINE, MemoryLimit
from memwatch.model.observations import (
    BY_EVENT,
    BY_HOOK,
    BY_RECORD,
    TICK_DETAILED,
    TICK_LATE,
    TICK_PARTIAL,
)
from memwatch.model.profile import (
    CUT_SHORT,
    Beginning,
    Clock,
    Ending,
    Overhead,
    Profile,
    SourceOutcome,
    from_job,
)
from memwatch.reports import csv_report, summary
from memwatch.storage import profile_json_writer
from memwatch.storage.profile_json import from_json
from memwatch.units import printable
from support.golden import check_golden
from support.paths import GOLDEN
from support.scripted import Script

MS = 1_000_000
MIB = 1 << 20
START = 5_000_000 * MS

# The memory of a machine of 16 GiB, without a limit for the job.
NO_LIMIT = MemoryLimit(16 << 30, MACHINE, None, 3 << 30, 0, 0)

NO_CGROUP = MemoryLimit(16 << 30, MACHINE, None, None, None, None)

CONNECTOR = SourceOutcome("connector", True, None)
TASKSTATS = SourceOutcome("taskstats", True, None)
HOOK = SourceOutcome("hook", True, None)
NO_SOURCES = (
    SourceOutcome("connector", False, "needs CAP_NET_ADMIN before Linux 6.6"),
    SourceOutcome("perf", False, "kernel.perf_event_paranoid is 4: for root only"),
    SourceOutcome("taskstats", False, "needs CAP_NET_ADMIN"),
)


class Story(Script):
    """A job whose profile is reported. Times are milliseconds since its start, sizes MiB."""

    def __init__(self, *command: str, interval: float = 10, limits: Limits = NO_LIMITS) -> None:
        super().__init__(
            *command, time_unit=MS, size_unit=MIB, origin=START, first_pid=8000, outside=7000
        )
        self.interval = interval
        self.limits = limits
        self.readings: list[tuple[int, AccountReading]] = []

    def account(self, footprint: int) -> None:
        """Adds a reading of the account of the job's control group."""
        self.readings.append((self.count, AccountReading(self._time(self.now), footprint * MIB)))

    def on_a_mac(self, *, unreadable: int = 0, kqueue: bool = True) -> Profile:
        reason = None if kqueue else "it takes a descriptor"
        return self.profile(
            unreadable=unreadable,
            sources=(SourceOutcome("kqueue", kqueue, reason),),
            advice=None,
            memory_limit=NO_CGROUP,
            scanning=True,
            backend="darwin",
        )

    def profile(
        self,
        *,
        unreadable: int = 0,
        scanning: bool = False,
        error: str | None = None,
        sources: tuple[SourceOutcome, ...] = NO_SOURCES,
        lost: int = 0,
        held_back: tuple[str, ...] = (),
        advice: str | None = "memwatch run --exact",
        memory_limit: MemoryLimit = NO_LIMIT,
        kill: bool = True,
        killed: tuple[int, ...] = (),
        survivors: tuple[int, ...] = (),
        receivers: tuple[Signalled, ...] = (),
        grew: bool = False,
        backend: str = "linux",
        cgroup: CgroupAccount | None = None,
        requested: float | None = None,
    ) -> Profile:
        job, breaches = Job(timeline=True), []
        checker = LimitChecker(job, self.limits, breaches.append)
        for part, reading in zip(
            self.batches([count for count, _ in self.readings]),
            [*(reading for _, reading in self.readings), None],
            strict=True,
        ):
            checker.apply(part)
            if reading:
                checker.account(reading)
        outcome = LimitOutcome(
            self.limits,
            kill,
            tuple(breaches),
            kill and bool(breaches),
            killed,
            survivors,
            receivers,
            grew,
            checker.inconclusive(complete=not error),
        )
        return from_job(
            job,
            # 2025-11-20T18:02:34.123Z
            Beginning(
                self.command,
                Clock(1_763_661_754_123_000_000, START),
                START,
                round(self.interval * MS),
                backend,
                None if requested is None else round(requested * MS),
            ),
            Ending(
                START + round(self.now * MS),
                self.status,
                Overhead(12 * MS, 17 * MIB),
                memory_limit,
                sources=sources,
                lost=lost,
                held_back=held_back,
                advice=advice,
                unreadable=unreadable,
                scanning=scanning,
                error=error,
                limit_outcome=outcome if self.limits.any else None,
                cgroup=cgroup,
            ),
        )


# The jobs


def build() -> Profile:
    """make -j2: forks on their way to an exec, drivers, compilers, an assembler, a linker."""
    story = Story("make", "-j2", "CFLAGS=-O2 -g", "all")
    story.new(1, 4, "make", "-j2", "CFLAGS=-O2 -g", "all")
    story.tick(then=10)
    story.new(2, 4, "make", "-j2", parent=1, inherited=True)
    story.new(3, 1.5, "/usr/bin/gcc", "-c", "parser.c", parent=1)
    story.tick(then=20)
    story.execute(2, "/usr/bin/gcc", "-c", "lexer.c", "-o", "build/objects/lexer.o")
    story.memory(2, 1.5)
    story.new(4, 30, "/usr/libexec/gcc/cc1", "-quiet", "lexer.c", parent=2)
    story.new(5, 60, "/usr/libexec/gcc/cc1", "-quiet", "parser.c", parent=3)
    story.tick(then=30)
    story.memory(4, 80, 96)
    story.memory(5, 912, 930.5)
    story.new(6, 3, "as", "-o", "parser.o", parent=3)
    story.new(7, 1, "sh", "-c", "touch stamp", parent=1)
    story.new(8, 1, "touch", "stamp", parent=7)
    story.new(9, 0.75, "pkg-config", "--libs", "zlib", parent=1)
    story.tick(then=40)
    for serial in (9, 8, 7, 6, 5, 4, 3, 2):
        story.exit(serial)
    story.new(10, 200, "ld", "-o", "program", parent=1)
    story.tick(then=50)
    story.exit(10)
    story.exit(1, 0)
    story.tick(then=201_400)
    return story.profile()


def one_process() -> Profile:
    story = Story("python3", "train.py", interval=500)
    story.new(1, 10, "python3", "train.py")
    story.tick(then=500)
    story.memory(1, 1500, 1536)
    story.tick(then=1000)
    story.exit(1, 0)
    story.tick(then=1250)
    return story.profile()


def nothing_seen() -> Profile:
    story = Story("true", interval=500)
    story.tick(then=2)
    story.status = 0
    return story.profile()


def killed() -> Profile:
    story = Story("./leak", "--forever")
    story.new(1, 100, "./leak", "--forever")
    story.tick(then=10)
    story.memory(1, 90_000)
    story.tick(then=20)
    story.exit(1, 9)
    story.tick(then=25)
    return story.profile()


def failed() -> Profile:
    story = Story("sh", "-c", "exit 3")
    story.new(1, 1, "sh", "-c", "exit 3")
    story.tick(then=1)
    story.exit(1, 3 << 8)
    story.tick(then=2)
    return story.profile()


def status_unknown() -> Profile:
    story = Story("sh", "-c", "x")
    story.new(1, 1, "sh", "-c", "x")
    story.tick(then=10)
    story.exit(1)
    story.tick(then=20)
    return story.profile()


def still_running() -> Profile:
    story = Story("sh", "-c", "server & sleep 1")
    story.new(1, 1, "sh", "-c", "server & sleep 1")
    story.new(2, 50, "server", "--port", "80", parent=1)
    story.tick(then=10)
    story.new(3, 20, "orphan")
    story.tick(then=20)
    story.exit(1, 0)
    story.tick(then=30)
    return story.profile()


def unreadable() -> Profile:
    story = Story("sudo-like", "work")
    story.new(1, 5, "sudo-like", "work")
    story.start(2, parent=1, start_known=False)
    story.tick(flags=TICK_PARTIAL, then=10)
    story.exit(2)
    story.exit(1, 0)
    story.tick(then=20)
    return story.profile(unreadable=1)


def all_unreadable() -> Profile:
    story = Story("other-users-program")
    story.start(1, start_known=False)
    story.tick(flags=TICK_PARTIAL, then=10)
    story.exit(1, 0)
    story.tick(then=20)
    return story.profile(unreadable=1)


def sampling_error() -> Profile:
    story = Story("make")
    story.new(1, 5, "make")
    story.new(2, 50, "cc1", parent=1)
    story.tick(then=10)
    story.status = 0
    story.now = 60_000
    return story.profile(error="Cannot allocate memory")


def sampling_never_began() -> Profile:
    story = Story("make")
    story.now = 1000
    story.status = 0
    return story.profile(error="Too many open files")


def many() -> Profile:
    story = Story("parallel", "./worker", ":::", *map(str, range(20)))
    story.new(1, 8, "parallel", "./worker")
    for i in range(20):
        story.new(2 + i, 10 + i, f"./worker-{i:02}", str(i), "--verbose", parent=1)
    story.tick(then=10)
    story.tick(then=20)
    return story.profile()


def hostile() -> Profile:
    story = Story("sh", "-c", "\x1b]0;owned\x07\x1b[2J\n\r\u202e x\udcff")
    story.new(1, 2, "sh", "-c", "\x1b[2J\x1b[31m red\nnext line\ttab")
    story.new(2, 3, b"\xff\xfe\x9b2J", b"--\xe2\x80\xaeevil", b"\r\n", parent=1)
    story.new(3, 4, 'name with spaces, comma and "quotes"', "=1+1", "a,b", parent=1)
    story.new(4, 5, "x" * 300, "y" * 300, parent=1)
    story.tick(then=10)
    story.exit(4, None)
    story.tick(then=20)
    return story.profile()


def late() -> Profile:
    story = Story("stress", interval=1)
    story.new(1, 1, "stress")
    for tick in range(1, 2000):
        story.tick(flags=TICK_LATE if tick % 3 == 0 else 0, skipped=tick % 2, then=tick)
    return story.profile(scanning=True)


def programs_in_turn() -> Profile:
    """One process is three programs; the middle one was the largest."""
    story = Story("env", "python3", "big.py")
    story.new(1, 1, "env", "python3", "big.py")
    story.tick(then=10)
    story.execute(1, "python3", "big.py")
    story.memory(1, 300)
    story.tick(then=20)
    story.execute(1, "sleep", "1")
    story.memory(1, 1)
    story.tick(then=30)
    story.exit(1, 0)
    story.tick(then=40)
    return story.profile()


def exact() -> Profile:
    """A run as root: events and exit records cover every process."""
    story = Story("sh", "-c", "cc x.c; ./a.out")
    story.new(1, 1.5, "sh", "-c", "cc x.c; ./a.out", found_by=BY_EVENT)
    story.tick(then=10)
    story.new(2, 30, "cc", "x.c", parent=1, found_by=BY_EVENT)
    story.tick(then=12.3456)
    story.pss(28.5, rss=31.5, at=10)
    # It runs between two ticks, so only its exit record has its memory.
    story.start(3, parent=2, found_by=BY_EVENT)
    story.execute(3, "ld", "x.o")
    story.final(3, 80)
    story.cpu(3, 3, 4).io(3, 0, 1.5)
    story.exit(3, 0, by_event=True)
    story.final(2, 33)
    story.cpu(2, 8, 2).io(2, 0.5, 0)
    story.exit(2, 0, by_event=True)
    story.tick(then=20)
    story.new(4, 9, "./a.out", parent=1, found_by=BY_EVENT)
    story.tick(then=30)
    story.final(4, 9)
    story.cpu(4, 1, 0).io(4, 0, 0)
    story.exit(4, 11 | 128, by_event=True)
    story.final(1, 1.625)
    story.cpu(1, 0.5, 0.25).io(1, 0, 0)
    story.exit(1, 139 << 8, by_event=True)
    story.tick(then=31)
    return story.profile(sources=(CONNECTOR, TASKSTATS), advice=None)


def no_sample() -> Profile:
    """A run as root: the command ends before the first tick, but there is its exit record."""
    story = Story("true", interval=500)
    story.start(1, found_by=BY_EVENT)
    story.execute(1, "true")
    story.final(1, 1.25)
    story.exit(1, 0, by_event=True)
    story.tick(then=2)
    return story.profile(sources=(CONNECTOR, TASKSTATS))


def no_sample_unreadable() -> Profile:
    story = Story("setuid-program")
    story.start(1, found_by=BY_EVENT)
    story.execute(1, "setuid-program")
    story.tick(flags=TICK_PARTIAL, then=10)
    story.final(1, 1.25)
    story.exit(1, 0, by_event=True)
    story.tick(then=20)
    return story.profile(sources=(CONNECTOR, HOOK), unreadable=1)


def mixed() -> Profile:
    """An ordinary user's exit hook, which misses processes that are killed or still running."""
    story = Story("sh", "-c", "server & work; kill $!")
    story.new(1, 1.5, "sh", "-c", "server & work; kill $!", found_by=BY_HOOK)
    story.new(2, 50, "server", parent=1)
    story.new(3, 20, "work", parent=1, found_by=BY_HOOK)
    story.start(4, parent=1)
    story.tick(then=10)
    story.final(3, 24)
    story.exit(3, 0, by_event=True)
    story.exit(2, 15)
    story.exit(4)
    story.new(5, 3, "daemon", parent=1)
    story.final(1, 2)
    story.exit(1, 143 << 8, by_event=True)
    story.tick(then=20)
    return story.profile(sources=(*NO_SOURCES[:2], HOOK), advice=None)


def exact_but_unknown() -> Profile:
    """Peaks that are exact or unknown: the summary does not mention lower bounds."""
    story = Story("sh", "-c", "work")
    story.new(1, 1.5, "sh", "-c", "work", found_by=BY_EVENT)
    story.tick(then=10)
    story.start(2, parent=1, found_by=BY_EVENT)
    story.execute(2, "work")
    story.exit(2, 9, by_event=True)
    story.final(1, 1.5)
    story.exit(1, 0, by_event=True)
    story.tick(then=20)
    return story.profile(sources=(CONNECTOR, HOOK), advice=None)


def two_ways() -> Profile:
    story = Story("sh", "-c", "true")
    story.new(1, 1.5, "sh", "-c", "true", found_by=BY_RECORD)
    story.tick(then=10)
    story.final(1, 2)
    story.exit(1, 0, by_event=True)
    story.tick(then=20)
    return story.profile(sources=(TASKSTATS, HOOK), advice=None)


def lost() -> Profile:
    story = Story("make", "-j64")
    story.new(1, 4, "make", "-j64", found_by=BY_EVENT)
    story.new(2, 50, "cc1", parent=1)
    story.tick(then=10)
    story.exit(2)
    story.final(1, 4.5)
    story.exit(1, 0, by_event=True)
    story.tick(then=20)
    return story.profile(sources=(CONNECTOR, TASKSTATS), lost=1234, advice=None)


def hook_refused() -> Profile:
    story = Story("make")
    story.new(1, 4, "make", found_by=BY_EVENT)
    story.tick(then=10)
    story.exit(1, 0, by_event=True)
    story.tick(then=20)
    reason = "an exit hook is in place already: of a memwatch run --exact around this"
    hook = SourceOutcome("hook", False, reason)
    advice = "run as root, or with CAP_NET_ADMIN"
    return story.profile(sources=(CONNECTOR, NO_SOURCES[2], hook), advice=advice)


def sudo() -> Profile:
    """Under the exit hook of an ordinary user, sudo cannot gain rights."""
    story = Story("sh", "-c", "sudo make install")
    story.new(1, 1.5, "sh", "-c", "sudo make install", found_by=BY_EVENT)
    story.new(2, 6, "sudo", "make", "install", parent=1, found_by=BY_EVENT)
    story.tick(then=10)
    story.final(2, 6)
    story.exit(2, 1 << 8, by_event=True)
    story.final(1, 1.5)
    story.exit(1, 1 << 8, by_event=True)
    story.tick(then=20)
    return story.profile(sources=(CONNECTOR, HOOK), held_back=("/usr/bin/sudo",), advice=None)


def out_of_memory() -> Profile:
    """A container of 512 MiB that was too small."""
    story = Story("sh", "-c", "./hungry; ./hungry")
    story.new(1, 1.5, "sh", "-c", "./hungry; ./hungry")
    story.new(2, 500, "./hungry", parent=1)
    story.tick(then=10)
    story.exit(2, 9)
    story.new(3, 400, "./hungry", parent=1)
    story.tick(then=20)
    story.exit(3, 9)
    story.exit(1, 137 << 8)
    story.tick(then=30)
    limit = MemoryLimit(512 << 20, CGROUP_V2, "/sys/fs/cgroup/small", 4 << 20, 2, 2)
    return story.profile(memory_limit=limit)


def own_cgroup() -> Profile:
    """A job in a group of its own, at its limit: it swaps, and a daemon of it is left."""
    story = Story("work")
    story.new(1, 100, "work")
    story.tick(then=10)
    story.exit(1, 0)
    story.tick(then=20)
    folder = "/sys/fs/cgroup/user.slice/memwatch-8000-5d2ad17e"
    at_most = CgroupSample(
        START + 12 * MS, 100 * MIB, 220 * MIB, 40 * MIB, 150 * MIB, 5 * MIB, 64 * MIB
    )
    account = CgroupAccount(
        version=2,
        path=folder,
        peak=512 * MIB,
        peak_time=START + 14 * MS,
        swap_peak=48 * MIB,
        largest=at_most,
        samples=3,
        stall_some=1_250_000_000,
        stall_full=4_000_000,
        oom_kills=0,
        remains=folder,
        history=(
            CgroupSpan(START + 2 * MS, 90 * MIB, 100 * MIB),
            CgroupSpan(START + 12 * MS, 424 * MIB, 480 * MIB),
            CgroupSpan(START + 14 * MS, 300 * MIB, None),
        ),
    )
    limit = MemoryLimit(512 << 20, CGROUP_V2, "/sys/fs/cgroup/user.slice", 0, 0, 5)
    return story.profile(memory_limit=limit, cgroup=account)


def no_own_cgroup() -> Profile:
    """A group of its own was asked for, and was not possible."""
    story = Story("work")
    story.new(1, 100, "work")
    story.tick(then=10)
    story.exit(1, 0)
    story.tick(then=20)
    reason = "uid 1000 may not make a control group in /sys/fs/cgroup/\x1b[2J"
    return story.profile(cgroup=CgroupAccount(reason=reason))


def out_of_memory_elsewhere() -> Profile:
    """A limit that is not visible from here, and a kill that may have been in another job."""
    story = Story("work")
    story.new(1, 100, "work")
    story.tick(then=10)
    story.exit(1, 0)
    story.tick(then=20)
    return story.profile(memory_limit=MemoryLimit(1 << 30, CGROUP_V2, None, None, None, 1))


def maybe_out_of_memory() -> Profile:
    """SIGKILL ended a process, and the kernel killed one somewhere on the machine."""
    story = Story("sh", "-c", "./hungry &")
    story.new(1, 1.5, "sh", "-c", "./hungry &")
    story.new(2, 500, "./hungry", parent=1)
    story.tick(then=10)
    story.exit(2, 9)
    story.tick(then=20)
    story.exit(1, 0)
    story.tick(then=30)
    return story.profile(memory_limit=MemoryLimit(16 << 30, MACHINE, None, 3 << 30, 0, 1))


def out_of_memory_unseen() -> Profile:
    """The kernel killed a process whose parent alone received its exit status."""
    story = Story("sh", "-c", "./hungry")
    story.new(1, 1.5, "sh", "-c", "./hungry")
    story.new(2, 500, "./hungry", parent=1)
    story.tick(then=10)
    story.exit(2)
    story.tick(then=20)
    story.exit(1, 137 << 8)
    story.tick(then=30)
    limit = MemoryLimit(512 << 20, CGROUP_V2, "/sys/fs/cgroup/small", 4 << 20, 1, 1)
    return story.profile(memory_limit=limit)


def cut_short() -> Profile:
    """A recording that ends while the job grows."""
    story = Story("make")
    story.new(1, 5, "make")
    for serial in range(2, 10):
        story.new(serial, 20, f"/usr/bin/cc{serial}", parent=1)
    for step in range(20):
        story.memory(2, 20 + 10 * step).memory(3, 20 + 5 * step)
        story.tick(then=100 * (step + 1))
    return story.profile(error=CUT_SHORT)


def shared_pages() -> Profile:
    """Four children share the 100 MiB of their parent. The limit is above the sum of all."""
    story = Story("pool")
    story.new(1, 100, "pool")
    story.tick(then=10)
    for serial in (2, 3, 4, 5):
        story.new(serial, 100, "pool", parent=1, inherited=True)
    story.tick(then=20)
    story.pss(104, rss=500, at=10)
    story.tick(then=30)
    limit = MemoryLimit(1 << 30, CGROUP_V2, "/sys/fs/cgroup/pool", 0, 0, 0)
    return story.profile(memory_limit=limit)


def split_memory() -> Profile:
    """A server and its fork: anonymous memory, files, shared memory and swap, not all known at each
    tick."""
    story = Story("server")
    story.start(1, "server").memory(1, 100, shared=20).tick(flags=TICK_DETAILED, then=10)
    story.start(2, parent=1).execute(2, "server", inherited=True)
    story.memory(2, 90, shared=20).parts(2, 15, 5).tick(flags=TICK_DETAILED, then=20)
    story.memory(1, 150, shared=70).tick(then=30)
    story.parts(1, 64).tick(flags=TICK_DETAILED, then=40)
    story.exit(2, 0)
    story.memory(1, 100, shared=2).parts(1, 0).tick(flags=TICK_DETAILED, then=50)
    story.exit(1, 0)
    return story.profile()


def pss_at_most() -> Profile:
    """One process was too large for its PSS to be read."""
    story = Story("database")
    story.new(1, 60_000, "database")
    story.new(2, 100, "client", parent=1)
    story.tick(then=10)
    story.pss(60_040, rss=60_100, at=0, unread=1)
    story.tick(then=20)
    return story.profile()


def pss_of_the_beginning() -> Profile:
    """A bound from another time is no bound for the peak."""
    story = Story("spike")
    story.new(1, 5, "spike")
    story.tick(then=10)
    story.pss(2, rss=5, at=0, unread=1)
    story.memory(1, 400)
    story.tick(then=350)
    return story.profile()


def pss_bound_at_the_peak() -> Profile:
    """A bound at the peak is preferred to a complete sum from another time."""
    story = Story("spike")
    story.new(1, 50, "spike")
    story.tick(then=10)
    story.pss(48, rss=50, at=0)
    story.memory(1, 400)
    story.tick(then=350)
    story.pss(390, rss=400, at=10, unread=1)
    return story.profile()


def pss_elsewhere() -> Profile:
    """PSS was not measured at the peak, so the headroom is computed from RSS."""
    story = Story("spike")
    story.new(1, 61, "spike")
    story.tick(then=340)
    story.pss(58, rss=61, at=0)
    story.memory(1, 400)
    story.tick(then=350)
    limit = MemoryLimit(1 << 30, CGROUP_V2, "/sys/fs/cgroup/spike", 0, 0, 0)
    return story.profile(memory_limit=limit)


def pss_later() -> Profile:
    """The job grew between the tick and the sum, and the exit record has an even higher peak."""
    story = Story("quick")
    story.new(1, 1, "quick", found_by=BY_EVENT)
    story.tick(then=2)
    story.pss(5, rss=1, at=0)
    story.final(1, 40)
    story.exit(1, 0, by_event=True)
    story.tick(then=3)
    return story.profile(sources=(CONNECTOR, TASKSTATS), advice=None)


def limit_of_total() -> Profile:
    """The total is over its limit. Two processes ignored SIGTERM, and one survived SIGKILL."""
    story = Story("make", "-j8", limits=Limits(total_rss=400 * MIB))
    story.new(1, 2, "make", "-j8")
    story.tick(then=10)
    for serial in range(2, 10):
        story.new(serial, 60, f"cc{serial}", parent=1)
    story.tick(then=20)
    story.memory(2, 70)
    story.tick(then=30)
    for serial in range(1, 10):
        story.exit(serial, 15)
    story.tick(then=40)
    receivers = [Signalled(8000 + serial, f"cc{serial}", ("SIGTERM",)) for serial in range(1, 10)]
    for index in (2, 3):
        receivers[index] = receivers[index]._replace(signals=("SIGTERM", "SIGKILL"))
    return story.profile(
        killed=(8003, 8004), survivors=(8004,), receivers=tuple(receivers), requested=500
    )


def limit_of_each() -> Profile:
    """A peak that no sample saw is over both limits. The job is not ended."""
    story = Story("make", limits=Limits(total_rss=800 * MIB, process_rss=500 * MIB))
    story.new(1, 2, "make")
    story.new(2, 100, "ld\n", parent=1)
    story.tick(then=10)
    story.final(2, 900)
    story.exit(2, 0, by_event=True)
    story.tick(then=20)
    story.exit(1, 0)
    story.tick(then=30)
    return story.profile(kill=False, sources=(CONNECTOR, TASKSTATS), advice=None)


def limit_of_sum() -> Profile:
    story = Story("pool", limits=Limits(total_pss=100 * MIB))
    story.new(1, 90, "pool")
    story.tick(then=10)
    story.pss(112, rss=90, at=0)
    story.pss(110, rss=90, at=0)
    story.exit(1, 15)
    story.tick(then=20)
    receivers = (Signalled(8001, "pool", ("SIGTERM", "SIGKILL")),)
    return story.profile(killed=(8001,), receivers=receivers, grew=True)


def limit_of_what_is_left() -> Profile:
    """A control group has too little memory left; that a footprint was within its limit is not
    known."""
    limits = Limits(total_footprint=400 * MIB, min_available=50 * MIB)
    story = Story("pool", limits=limits)
    story.new(1, 90, "pool")
    story.tick(then=10)
    story.available(80)
    story.tick(then=20)
    story.available(40, in_group=True)
    story.exit(1, 15)
    story.tick(then=30)
    return story.profile(receivers=(Signalled(8001, "pool", ("SIGTERM",)),))


def limit_by_account() -> Profile:
    """A job stores files in a file system of its own: only its control group's account has them."""
    story = Story("work", limits=Limits(total_footprint=400 * MIB))
    story.new(1, 90, "work")
    story.tick(then=10)
    story.tick(then=20)
    story.account(404)
    story.exit(1, 15)
    story.tick(then=30)
    sample = CgroupSample(START + 22 * MS, 90 * MIB, 320 * MIB, 0, MIB, MIB, 0)
    return story.profile(
        receivers=(Signalled(8001, "work", ("SIGTERM",)),),
        cgroup=CgroupAccount(version=2, peak=412 * MIB, swap_peak=0, largest=sample, samples=4),
    )


def limit_inconclusive() -> Profile:
    """The total RSS is above the limit on the PSS, and no sum of PSS was made."""
    story = Story("pool", limits=Limits(total_rss=800 * MIB, total_pss=100 * MIB))
    story.new(1, 190, "pool")
    story.tick(then=10)
    story.exit(1, 0)
    story.tick(then=20)
    return story.profile()


def limits_kept() -> Profile:
    story = Story("work", limits=Limits(400 * MIB, 200 * MIB, 300 * MIB))
    story.new(1, 90, "work")
    story.tick(then=10)
    story.exit(1, 0)
    story.tick(then=20)
    return story.profile()


def mac() -> Profile:
    """A build on macOS: compressed memory is not resident; the end of one process is unknown."""
    story = Story("make", "-j2")
    story.new(1, 4, "make", "-j2")
    story.footprint(1, 2, 2)
    story.footprints()
    story.tick(then=10)
    story.new(2, 80, "clang", "-c", "parser.c", parent=1)
    story.footprint(2, 95, 95)
    story.new(3, 60, "clang", "-c", "lexer.c", parent=1)
    story.footprint(3, 50, 52)
    story.footprints()
    story.tick(then=20)
    story.memory(2, 40)
    story.footprint(2, 130, 140)
    story.footprints()
    story.tick(then=30)
    story.final_footprint(2, 160)
    story.cpu(2, 8, 2).io(2, 0.5, 0)
    story.exit(2, 0, by_event=True)
    story.exit(3)
    story.footprints()
    story.tick(then=40)
    story.final(1, 4.25)
    story.final_footprint(1, 2.5)
    story.exit(1, 0, by_event=True)
    story.tick(then=41)
    return story.on_a_mac()


def mac_programs_in_turn() -> Profile:
    """The highest footprint is kept for each program. It is exact only for the last program."""
    story = Story("env", "python3", "big.py")
    story.new(1, 1, "env", "python3", "big.py")
    story.footprint(1, 1, 1)
    story.footprints()
    story.tick(then=10)
    story.execute(1, "python3", "big.py")
    story.memory(1, 300)
    story.footprint(1, 280, 310)
    story.footprints()
    story.tick(then=20)
    story.final_footprint(1, 320)
    story.exit(1, 0, by_event=True)
    story.tick(then=30)
    return story.on_a_mac()


def mac_no_sample() -> Profile:
    """The command ends before the first tick, so there is only its exit event."""
    story = Story("true", interval=500)
    story.start(1)
    story.execute(1, "true")
    story.final_footprint(1, 1.25)
    story.exit(1, 0, by_event=True)
    story.tick(then=2)
    return story.on_a_mac()


def mac_unreadable() -> Profile:
    """A process of another user, without any event source."""
    story = Story("sh", "-c", "sudo work")
    story.new(1, 1.5, "sh", "-c", "sudo work")
    story.footprint(1, 1, 1)
    story.start(2, parent=1)
    story.execute(2, "sudo", "work")
    story.footprints()
    story.tick(flags=TICK_PARTIAL, then=10)
    story.exit(2)
    story.final_footprint(1, 1)
    story.exit(1, 0)
    story.tick(then=20)
    return story.on_a_mac(unreadable=1, kqueue=False)


JOBS: dict[str, Callable[[], Profile]] = {
    job.__name__.replace("_", "-"): job
    for job in (
        build,
        one_process,
        nothing_seen,
        killed,
        failed,
        status_unknown,
        still_running,
        unreadable,
        all_unreadable,
        sampling_error,
        sampling_never_began,
        many,
        hostile,
        late,
        programs_in_turn,
        exact,
        no_sample,
        no_sample_unreadable,
        mixed,
        exact_but_unknown,
        two_ways,
        lost,
        hook_refused,
        sudo,
        out_of_memory,
        out_of_memory_elsewhere,
        maybe_out_of_memory,
        out_of_memory_unseen,
        cut_short,
        own_cgroup,
        no_own_cgroup,
        shared_pages,
        split_memory,
        pss_at_most,
        pss_of_the_beginning,
        pss_bound_at_the_peak,
        pss_elsewhere,
        pss_later,
        limit_of_total,
        limit_of_each,
        limit_of_sum,
        limit_of_what_is_left,
        limit_by_account,
        limit_inconclusive,
        limits_kept,
        mac,
        mac_programs_in_turn,
        mac_no_sample,
        mac_unreadable,
    )
}

FILTERS = {
    "": Filter(),
    "include-cc1": Filter(include=re.compile("^cc1$")),
    "exclude-make": Filter(exclude=re.compile("^make")),
    "nothing-passes": Filter(include=re.compile("no such program")),
}


def plain(text: str) -> str:
    return text


def summarize(
    profile: Profile,
    chosen: Filter | None = None,
    *,
    top: int | None = 10,
    width: int = 100,
    bold: Callable[[str], str] = plain,
    dim: Callable[[str], str] = plain,
) -> str:
    shown = shown_of(profile, chosen)
    lines = summary.lines(profile, shown, top=top, width=width, bold=bold, dim=dim)
    return "".join(f"{line}\n" for line in lines)


def shown_of(profile: Profile, chosen: Filter | None = None) -> Shown:
    return apply(profile.processes, chosen or Filter())


def written(write: Callable[[io.StringIO], None]) -> str:
    out = io.StringIO(newline="")
    write(out)
    return out.getvalue()


def processes_csv(profile: Profile, chosen: Filter | None = None) -> str:
    return written(lambda out: csv_report.write_processes(profile, shown_of(profile, chosen), out))


def timeline_csv(profile: Profile) -> str:
    return written(lambda out: csv_report.write_timeline(profile, out))


def to_json(profile: Profile, chosen: Filter | None = None) -> str:
    return written(lambda out: profile_json_writer.write(profile, shown_of(profile, chosen), out))


# Golden files


@pytest.mark.parametrize("name", JOBS)
def test_summary(name: str) -> None:
    check_golden(f"summary-{name}.txt", summarize(JOBS[name]()))


@pytest.mark.parametrize("filter_name", [name for name in FILTERS if name])
def test_summary_with_a_filter(filter_name: str) -> None:
    check_golden(f"summary-build-{filter_name}.txt", summarize(build(), FILTERS[filter_name]))


@pytest.mark.parametrize("top", [None, 0, 1, 3])
def test_summary_top(top: int | None) -> None:
    name = "all" if top is None else top
    check_golden(f"summary-many-top-{name}.txt", summarize(many(), top=top))


@pytest.mark.parametrize("name", ["build", "hostile", "killed"])
def test_summary_in_a_narrow_terminal(name: str) -> None:
    check_golden(f"summary-{name}-width-40.txt", summarize(JOBS[name](), width=40))


@pytest.mark.parametrize("name", ["build", "nothing-seen", "unreadable", "hostile"])
def test_processes_csv(name: str) -> None:
    check_golden(f"processes-{name}.csv", processes_csv(JOBS[name]()))


TIMELINE_OF = ("build", "nothing-seen", "sampling-never-began", "split-memory")


@pytest.mark.parametrize("name", TIMELINE_OF)
def test_timeline_csv(name: str) -> None:
    check_golden(f"timeline-{name}.csv", timeline_csv(JOBS[name]()))


JSON_OF = (
    *("out-of-memory", "cut-short"),
    *("build", "nothing-seen", "unreadable", "hostile", "killed"),
    *("exact", "no-sample", "mixed", "pss-elsewhere"),
    *("limit-of-total", "limit-of-each", "limit-of-sum", "limit-by-account", "limits-kept"),
    "split-memory",
    *("mac", "mac-programs-in-turn", "mac-unreadable", "own-cgroup", "no-own-cgroup"),
)


@pytest.mark.parametrize("name", JSON_OF)
def test_json(name: str) -> None:
    check_golden(f"profile-{name}.json", to_json(JOBS[name]()))


def test_json_with_a_filter() -> None:
    both = Filter(include=re.compile("c"), exclude=re.compile("^gcc"))
    check_golden("profile-build-filtered.json", to_json(build(), both))


def test_no_golden_file_is_left_over() -> None:
    names = {path.name for path in GOLDEN.iterdir() if path.stem != "comparison"}
    own = {f"summary-{name}.txt" for name in JOBS}
    own |= {f"summary-build-{name}.txt" for name in FILTERS if name}
    own |= {f"summary-many-top-{top}.txt" for top in ("all", 0, 1, 3)}
    own |= {f"summary-{name}-width-40.txt" for name in ("build", "hostile", "killed")}
    own |= {f"processes-{name}.csv" for name in ("build", "nothing-seen", "unreadable", "hostile")}
    own |= {f"timeline-{name}.csv" for name in TIMELINE_OF}
    own |= {f"profile-{name}.json" for name in (*JSON_OF, "build-filtered")}
    assert names == own


# What holds for every summary


@pytest.mark.parametrize("name", JOBS)
def test_control_characters_are_escaped(name: str) -> None:
    for line in summarize(JOBS[name](), width=60).splitlines():
        assert line.isprintable()
    # Emphasis adds escapes of its own and changes nothing else.
    colored = summarize(
        JOBS[name](), width=60, bold="\x1b[1m{}\x1b[0m".format, dim="\x1b[2m{}\x1b[0m".format
    )
    assert re.sub(r"\x1b\[[012]m", "", colored) == summarize(JOBS[name](), width=60)


@pytest.mark.parametrize("name", JOBS)
def test_no_name_breaks_a_line_of_the_summary(name: str) -> None:
    """A reader could take the rest of a broken line for a line of memwatch."""
    profile = JOBS[name]()
    shown = shown_of(profile)
    for line in summary.lines(profile, shown, top=None, width=80, bold=plain, dim=plain):
        assert len(line.splitlines()) <= 1


# Numbers that must agree wherever they are written


@pytest.mark.parametrize("name", JOBS)
def test_json_and_csv_agree(name: str) -> None:
    profile = JOBS[name]()
    document = json.loads(to_json(profile))
    rows = list(csv.DictReader(io.StringIO(processes_csv(profile), newline="")))
    assert [int(row["pid"]) for row in rows] == [each["pid"] for each in document["processes"]]
    for row, each in zip(rows, document["processes"], strict=True):
        size = each["max_rss_kib"]
        assert row["max_rss_kib"] == ("" if size is None else str(size))
        assert row["max_rss_mib"] == ("" if size is None else f"{size / 1024:.2f}")
        assert row["first_seen"] == each["first_seen"]
        command = " ".join(each["argv"]) if each["argv"] else each["command"]
        assert row["command"] == printable(command)
    ticks = list(csv.DictReader(io.StringIO(timeline_csv(profile), newline="")))
    assert len(ticks) == len(document["timeline"]) == document["samples"]
    for row, each in zip(ticks, document["timeline"], strict=True):
        assert row["timestamp"] == each["timestamp"]
        assert int(row["total_rss_kib"]) == each["total_rss_kib"]
        assert int(row["process_count"]) == each["process_count"]
        assert float(row["elapsed_seconds"]) == pytest.approx(each["elapsed_seconds"], abs=0.0005)


def test_a_row_of_csv_is_a_line() -> None:
    for newline in ("\r", "\n", "\r\n", "\x0b", "\u2028", "\x00"):
        story = Story("x")
        story.new(1, 1, "sh", f"a{newline}b")
        story.tick(then=1)
        _, row = processes_csv(story.profile()).splitlines()
        assert row.startswith("8001,7000,sh a")


def test_the_headers_of_the_first_release() -> None:
    header = "pid,ppid,command,max_rss_kib,max_rss_mib,first_seen,last_seen"
    assert processes_csv(build()).splitlines()[0] == header
    header = "timestamp,elapsed_seconds,total_rss_kib,total_rss_mib,process_count"
    assert timeline_csv(build()).splitlines()[0].startswith(header + ",total_shared_kib,")


# The job left out has a time of less than a microsecond.
@pytest.mark.parametrize("name", [name for name in JOBS if name != "exact"])
def test_json_that_was_read_back_is_the_same(name: str) -> None:
    document = json.loads(to_json(JOBS[name]()))
    assert json.loads(to_json(from_json(document))) == document


FIRST_OF_TICK = ("timestamp", "elapsed_seconds", "total_rss_kib", "process_count")


def test_json_from_before_footprints_is_read() -> None:
    document = json.loads(to_json(build()))
    for key in [key for key in document if "phys_footprint" in key]:
        del document[key]
    for each in document["timeline"]:
        for key in [key for key in each if key not in FIRST_OF_TICK]:
            del each[key]
    for each in document["processes"]:
        for key in [key for key in each if "footprint" in key]:
            del each[key]
    del document["accuracy"]["phys_footprint_peaks"]
    del document["memwatch"]["backend"]
    profile = from_json(document)
    assert profile.backend == "linux"
    assert profile.accuracy.footprints is None
    assert profile.max_total_footprint is None
    assert profile.timeline
    assert set(profile.timeline.shared) == set(profile.timeline.footprint_low) == {None}


def test_the_timeline_has_the_parts_of_the_total() -> None:
    timeline = split_memory().timeline
    assert timeline
    mib = [
        [None if size is None else size / MIB for size in column]
        for column in (timeline.shared, timeline.shmem, timeline.swapped, timeline.footprint_low)
    ]
    assert mib == [
        [20, 40, 90, 90, 2],
        [0, 15, None, 79, 0],
        [0, 5, None, 5, 0],
        [80, 95, 95, 144, 98],
    ]


NEWER = (
    *("max_total_footprint_kib", "min_available_kib", "inconclusive"),
    *("signalled_processes", "grew_after_sigterm"),
)
"""Keys of limits that files of older versions lack."""


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (limit_of_total, ["sent SIGTERM", "2 processes did not end in time: sent SIGKILL to 2"]),
        (limit_inconclusive, ["Inconclusive:    total PSS 100.0 MiB: "]),
        (limits_kept, ["Limits:          total RSS 400.0 MiB, RSS of a process 200.0 MiB, total"]),
    ],
)
def test_limits_of_an_older_version_are_read(
    job: Callable[[], Profile], expected: list[str]
) -> None:
    document = json.loads(to_json(job()))
    for key in NEWER:
        del document["limits"][key]
    for breach in document["limits"]["exceeded"]:
        del breach["in_group"], breach["by_account"]
    del document["accuracy"]["requested_interval_ms"]
    text = summarize(from_json(document))
    for words in expected:
        assert words in text
    assert "because of a limit" not in text


def test_json_without_a_timeline() -> None:
    document = json.loads(to_json(replace(build(), timeline=None)))
    assert "timeline" not in document


# Filters


def names(profile: Profile, chosen: Filter) -> list[str]:
    return [process.command for process in apply(profile.processes, chosen).processes]


def test_a_filter_hides_and_counts() -> None:
    profile = build()
    shown = apply(profile.processes, FILTERS["include-cc1"])
    assert [process.command for process in shown.processes] == ["cc1", "cc1"]
    assert shown.hidden == len(profile.processes) - 2
    hidden = [process for process in profile.processes if process.command != "cc1"]
    assert shown.hidden_rss == sum(process.peak.rss for process in hidden)


def test_a_filter_also_matches_the_command_line() -> None:
    assert names(build(), Filter(include=re.compile("parser"))) == ["cc1", "as", "gcc"]
    assert "gcc" not in names(build(), Filter(exclude=re.compile("-c (parser|lexer)")))


def test_exclude_wins_over_include() -> None:
    chosen = Filter(include=re.compile("cc"), exclude=re.compile("cc1"))
    assert set(names(build(), chosen)) == {"gcc"}


def test_an_empty_pattern_matches_every_process() -> None:
    chosen = Filter(include=re.compile(""))
    assert chosen
    assert len(names(build(), chosen)) == len(build().processes)
    assert not Filter()
