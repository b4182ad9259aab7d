"""Tests of the Darwin files with fake processes, at times set by the test.

A script (see fake/fake.h) describes what happens, a plan when it is sampled: `tick 5` is a tick at
5 ms. The job's root is pid 100, a child of memwatch, pid 50; both exist from the start.
"""

from __future__ import annotations

import random

import pytest

from memwatch.model.observations import (
    ARGV_CUT,
    BY_EVENT,
    CPU,
    EXITED,
    FINAL,
    FOOTPRINT,
    HAS_ARGV,
    HAS_CPU,
    HAS_EXE,
    HAS_FOOTPRINT,
    HAS_IO,
    HAS_PARENT,
    HAS_RSS,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    IO,
    MEMORY,
    STARTED,
    TICK,
    TICK_PARTIAL,
)

pytestmark = pytest.mark.slow

ROOT = 100
ME = 50
MIB = 1 << 20
MS = 1_000_000
KQUEUE = 16

ENOMEM, EMFILE, EACCES = 12, 24, 13

# With the events of kqueue, and without events.
both = pytest.mark.parametrize("sources", [KQUEUE, 0], ids=["kqueue", "scans"])


# One process


@both
def test_one_process(play, sources):
    seen = play("set 100 rss 5M footprint 3M\nat 8\nset 100 rss 6M\n", "tick 5", sources=sources)
    start = seen.one(STARTED)
    assert (start.pid, start.ppid, start.process) == (ROOT, ME, 1)
    assert start.valid & HAS_START
    assert start.second == pytest.approx(0, abs=1000)
    program = seen.one(IMAGE)
    assert program.program.name == "make"
    assert program.program.exe == "/usr/bin/make"
    assert program.program.argv == ("make", "all")
    assert program.valid & (HAS_EXE | HAS_ARGV | ARGV_CUT) == HAS_EXE | HAS_ARGV
    memory = seen.one(MEMORY)
    assert (memory.value, memory.valid & HAS_RSS) == (5 * MIB, HAS_RSS)
    assert seen.one(TICK).value == 5 * MIB
    assert seen.stats.sources == sources
    assert not any(seen.errors)


def test_memory_over_time(play):
    seen = play(
        "at 1\nset 100 rss 5M footprint 3M\nat 11\nset 100 rss 9M footprint 8M\n"
        "at 17\nset 100 footprint 12M\nat 18\nset 100 footprint 2M\nat 21\nset 100 rss 1M",
        "tick 5, tick 15, tick 20, tick 25, tick 30",
    )
    assert [each.value // MIB for each in seen.all(TICK)] == [5, 9, 9, 1, 1]
    own = seen.all(FOOTPRINT, ROOT)
    # Only the kernel saw the 12 MiB.
    assert [(f.value // MIB, f.second // MIB) for f in own] == [(3, 3), (8, 8), (2, 12)]
    assert all(f.valid & HAS_WATERMARK for f in own)
    assert not seen.all(EXITED)


@pytest.mark.parametrize("clock", ["1 1", "125 3", "125 3 translated"])
def test_times(play, clock):
    """CPU time is in units of a clock that differs between kinds of Mac; start times are wall-clock
    times."""
    seen = play(
        "at 40\nfork 100 101\nset 101 user 1500 system 250 read 4096 written 8192\n"
        "at 60\nexiting 101 0\nat 61\nexit 101",
        "tick 50, tick 60, tick 70, tick 80",
        before=f"ticks {clock}",
    )
    start = seen.one(STARTED, 101)
    assert start.second == pytest.approx(40 * MS, abs=1000)
    cpu, io = seen.one(CPU, 101), seen.one(IO, 101)
    assert (cpu.value, cpu.second) == pytest.approx((1500 * MS, 250 * MS), abs=100)
    assert (io.value, io.second) == (4096, 8192)
    assert (cpu.valid, io.valid) == (HAS_CPU, HAS_IO)


# Trees


@both
def test_a_whole_tree_is_found_in_one_tick(play, sources):
    seen = play(
        "at 10\nfork 100 101\nexec 101 /bin/sh sh -c x\nfork 101 110\nexec 110 /usr/bin/cc cc a.c\n"
        "fork 110 111\nexec 111 /usr/libexec/cc1 cc1 a.c\nset 111 rss 40M\nfork 100 102\n"
        "start 200 1 stranger\nfork 200 201",
        "tick 5, tick 15",
        sources=sources,
    )
    started = {f.pid: f for f in seen.all(STARTED)}
    assert set(started) == {100, 101, 102, 110, 111}
    serials = {pid: f.process for pid, f in started.items()}
    for pid, parent in ((101, 100), (102, 100), (110, 101), (111, 110)):
        assert started[pid].valid & HAS_PARENT
        assert (started[pid].ppid, started[pid].value) == (parent, serials[parent])
    names = {f.pid: f.program.name for f in seen.all(IMAGE)}
    assert names[111] == "cc1"
    assert names[110] == "cc"
    assert seen.live == {100, 101, 102, 110, 111}


def test_a_fork_runs_its_parents_program(play):
    """It runs its parent's program until it executes another."""
    seen = play(
        "at 10\nfork 100 101\nat 20\nexec 101 /bin/ls ls\nset 101 rss 2M",
        "tick 5, tick 15, tick 25",
    )
    programs = [f.program.name for f in seen.all(IMAGE, 101)]
    assert programs[-1] == "ls"
    assert len(programs) == 2
    assert seen.all(TICK)[-1].second == 2


def test_a_pid_that_is_reused(play):
    """The pid of an ended process is reused, by a process of the job and by another."""
    seen = play(
        "at 10\nfork 100 101\nfork 100 102\nset 101 rss 7M footprint 7M\n"
        "at 20\nexit 101\nreap 101\nexit 102\nreap 102\n"
        "at 50\nfork 100 101\nexec 101 /bin/new new\nset 101 rss 1M\nstart 102 1 stranger",
        "tick 5, tick 15, tick 25, tick 35, tick 45, tick 55",
    )
    first, second = (f for f in seen.all(STARTED, 101))
    assert first.process != second.process
    assert seen.one(EXITED, 101).process == first.process
    assert seen.one(EXITED, 102)
    assert seen.live == {100, 101}
    assert "stranger" not in {f.program.name for f in seen.all(IMAGE) if f.program}


def test_a_pid_that_is_reused_at_once(play):
    seen = play(
        "at 10\nfork 100 101\nat 20\nexit 101\nreap 101\nfork 100 101",
        "tick 5, tick 15, tick 25, tick 35, tick 45",
    )
    assert seen.live == {100, 101}


def test_orphans(play):
    """A process whose parent ends becomes a child of launchd; it stays in the job and keeps its
    parent."""
    seen = play(
        "at 10\nfork 100 101\nfork 101 102\nat 20\nexit 101\nreap 101\n"
        "at 30\nexec 102 /usr/sbin/daemon daemon\nset 102 pgid 102 sid 102 rss 30M\n"
        "at 40\nfork 102 103\nat 60\nexit 102",
        "tick 5, tick 15, tick 25, tick 35, tick 45, tick 65",
    )
    assert seen.one(EXITED, 101).time == pytest.approx(20 * MS, abs=5 * MS)
    assert [f.second for f in seen.all(TICK)] == [1, 3, 2, 2, 3, 2]
    assert seen.all(TICK)[3].value // MIB == 30
    start = seen.all(STARTED, 102)[-1]
    assert start.ppid == 101
    assert seen.all(STARTED, 103)[-1].ppid == 102
    assert seen.live == {100, 103}


def test_a_daemon_whose_parent_was_never_seen(play):
    """It would be recognised by the unique id of the process that forked it."""
    seen = play(
        "at 10\nfork 100 101\nfork 101 102\nexit 101\nreap 101\nset 102 pgid 102 sid 102\n"
        "at 20\nset 102 rss 9M",
        "tick 5, tick 15, tick 25",
    )
    # No process that was seen has forked it: it is unknown that it belongs to the job.
    assert seen.live == {100}


@both
def test_a_daemon_that_executes(play, sources):
    """After a second fork, in a new session, with another program: the parent was seen in time."""
    seen = play(
        "at 10\nfork 100 101\nset 101 pgid 101 sid 101\nat 20\nfork 101 102\nexit 101\nreap 101\n"
        "at 30\nexec 102 /usr/sbin/daemon daemon",
        "tick 5, tick 15, tick 25, tick 35",
        sources=sources,
    )
    assert seen.live == {100, 102}
    assert seen.all(IMAGE, 102)[-1].program.name == "daemon"


# Vanishing and ending


@both
def test_processes_that_vanish_in_mid_scan(play, sources):
    seen = play(
        "at 10\nfork 100 101\nfork 100 102\nset 102 rss 3M\nvanish 101",
        "tick 5, tick 15, tick 25",
        sources=sources,
    )
    assert seen.live == {100, 102}
    assert not any(seen.errors)


def test_a_zombie(play):
    """It holds nothing and has ended, whether or not its parent has waited for it. Its peak is
    known up to its end."""
    seen = play(
        "at 10\nfork 100 101\nset 101 rss 20M footprint 15M\n"
        "at 17\nset 101 footprint 80M\nset 101 footprint 1M\nat 20\nexit 101 256",
        "tick 5, tick 15, tick 25, tick 35, tick 45",
    )
    assert seen.all(TICK)[-1].second == 1
    end = seen.one(EXITED, 101)
    final = [f for f in seen.all(FOOTPRINT, 101) if f.valid & FINAL]
    assert [f.second for f in final] == [80 * MIB]
    assert end.valid & HAS_STATUS
    assert end.value == 256
    assert end.time == pytest.approx(20 * MS, abs=5 * MS)


def test_exit_event_before_the_process_can_be_waited_for(play):
    """NOTE_EXIT is sent before the parent is woken, and the root is our child."""
    seen = play(
        "at 10\nset 100 rss 20M footprint 15M user 70\nexiting 100 768\nat 20\nexit 100",
        "tick 5, tick 15, tick 25, tick 35",
    )
    end = seen.one(EXITED, ROOT)
    assert end.valid & HAS_STATUS
    assert end.value == 768
    final = [f.second for f in seen.all(FOOTPRINT, ROOT) if f.valid & FINAL]
    assert final == [15 * MIB]
    assert seen.one(CPU, ROOT).value == 70 * MS
    assert seen.job.root_status == 768


def test_a_process_that_takes_long_to_free_its_memory(play):
    """It has begun to exit, but there is no event yet. Its end is reported with all its facts."""
    seen = play(
        "at 10\nfork 100 101\nset 101 rss 20M footprint 15M user 70\nat 20\ndying 101 256\n"
        "at 70\nexiting 101 256\nat 71\nexit 101\nat 80\nset 100 rss 20M\ndying 100 0\n"
        "at 130\nexiting 100 0\nat 131\nexit 100",
        ", ".join(f"tick {time}" for time in range(5, 160, 10)),
    )
    for pid, status in ((101, 256), (ROOT, 0)):
        end = seen.one(EXITED, pid)
        assert end.valid & HAS_STATUS
        assert end.value == status
    assert seen.one(CPU, 101).value == 70 * MS
    # In between, what it holds is unknown.
    assert [f.value for f in seen.all(MEMORY, 101) if f.valid & HAS_RSS][-1] == 0
    assert [f.second for f in seen.all(FOOTPRINT, 101) if f.valid & FINAL] == [15 * MIB]
    assert seen.job.root_status == 0


@pytest.mark.parametrize("waits", [True, False])
def test_the_peak_of_the_root_excludes_its_children(play, waits):
    """The peak that comes with the wait status may be that of a child."""
    plan = "tick 5, tick 15, tick 25, tick 35, tick 45"
    alone = play("at 10\nset 100 rss 20M\nset 100 rss 1M\nexit 100", plan)
    assert [f.second for f in alone.all(MEMORY, ROOT) if f.valid & FINAL] == [20 * MIB]
    seen = play(
        "at 10\nfork 100 101\nset 101 rss 50M\nat 12\nexit 101\n"
        + ("reap 101\n" if waits else "")
        + "at 20\nexit 100",
        plan,
    )
    assert seen.one(EXITED, ROOT)
    assert not [f for f in seen.all(MEMORY, ROOT) if f.valid & FINAL]


@both
def test_the_root_ends(play, sources):
    seen = play("at 10\nexit 100 9", "tick 5, tick 15, tick 25, tick 35", sources=sources)
    end = seen.one(EXITED, ROOT)
    assert end.valid & HAS_STATUS
    assert end.value == 9
    assert seen.live == set()


def test_a_root_that_ended_before_the_first_tick(play):
    seen = play("exit 100\nreap 100", "tick 5")
    assert not seen.all(STARTED)
    assert seen.one(TICK).second == 0


def test_short_lives_between_two_ticks(play):
    """A fork event names no child: a process that lived between two ticks is not seen."""
    seen = play(
        "at 10\nfork 100 101\nexec 101 /bin/true\nexit 101\nreap 101\nat 16\nfork 100 102",
        "tick 5, tick 15, tick 25",
    )
    assert seen.live == {100, 102}
    assert not any(seen.errors)


# Programs


def test_one_program_after_another(play):
    seen = play(
        "at 10\nfork 100 101\nexec 101 /bin/sh sh x\nset 101 rss 8M footprint 8M\n"
        "at 20\nexec 101 /usr/bin/python3 python3 y\nset 101 rss 4M footprint 4M\n"
        "at 30\nexec 101 /usr/bin/python3 python3 z\nat 40\nexit 101",
        "tick 5, tick 15, tick 25, tick 35, tick 45, tick 55",
    )
    argvs = [f.program.argv for f in seen.all(IMAGE, 101) if f.program]
    assert argvs == [("sh", "x"), ("python3", "y"), ("python3", "z")]
    # The kernel's peak is that of the program; the last program's is known up to its end.
    watermarks = [f.second / MIB for f in seen.all(FOOTPRINT, 101) if f.valid & HAS_WATERMARK]
    assert watermarks[:2] == [8, 4]
    assert [f.second for f in seen.all(FOOTPRINT, 101) if f.valid & FINAL] == [16384]


@pytest.mark.parametrize(
    ("what", "argv", "cut"),
    [
        pytest.param("%00%00%00%00/bin/x%00%00", None, False, id="no words"),
        pytest.param(
            "%02%00%00%00/bin/xyz%00%00%00%00%00%00%00%00%00%00", ("", ""), False, id="empty"
        ),
        pytest.param("%02%00%00%00/bin/x%00%00a%00b%00c=d%00", ("a", "b"), False, id="environment"),
        pytest.param("%03%00%00%00/bin/x%00%00a%00bc", ("a", "bc"), True, id="cut"),
        pytest.param("%ff%ff%ff%ff/bin/x%00%00a%00b%00", None, False, id="negative"),
        pytest.param("%01%00%00%00/bin/x%00%00%ff%fe%00", ("\\xff\\xfe",), False, id="not UTF-8"),
    ],
)
def test_odd_command_lines(play, what, argv, cut):
    seen = play(f"args 100 {what}", "tick 5")
    program = seen.one(IMAGE)
    assert program.program.exe == "/usr/bin/make"
    if argv is None:
        assert not program.program.argv or not any(program.program.argv)
    else:
        assert program.program.argv in (argv, ("",))  # empty words are no words
    assert bool(program.valid & ARGV_CUT) is cut


def test_a_command_line_longer_than_the_limit(play):
    word = "x" * 100_000
    seen = play(f"fork 100 101\nexec 101 /bin/echo echo {word} {word}", "tick 5, tick 15")
    program = seen.one(IMAGE, 101)
    assert program.valid & ARGV_CUT
    assert program.program.argv[:2] == ("echo", word)
    assert set(program.program.argv[2]) == {"x"}


@pytest.mark.parametrize("length", [15, 16, 17, 40])
def test_long_names(play, length):
    """The kernel cuts the name; the path has the whole name."""
    name = ("abcdefghij" * 4)[:length]
    seen = play(f"fork 100 101\nexec 101 /opt/{name} {name} x", "tick 5, tick 15")
    assert seen.one(IMAGE, 101).program.name == name


# Processes of other users


def test_a_process_of_another_user(play):
    """It belongs to the job and has a name; its memory and its command line are not readable."""
    seen = play(
        "at 10\nfork 100 101\nexec 101 /usr/bin/sudo sudo x\nset 101 uid 0 rss 50M\n"
        "at 20\nfork 101 102\nexec 102 /usr/bin/true true\nat 30\nexit 102\nreap 102\nexit 101\n"
        "reap 101",
        "tick 5, tick 15, tick 25, tick 35, tick 45",
    )
    program = seen.all(IMAGE, 101)[-1]
    assert program.program.name == "sudo"
    assert program.program.exe == "/usr/bin/sudo"
    assert not program.program.argv
    assert not [f for f in seen.all(MEMORY, 101) if f.valid & HAS_RSS and f.value]
    assert seen.all(TICK)[1].valid & TICK_PARTIAL
    assert seen.all(TICK)[1].value == 16384
    assert seen.stats.unreadable == 2
    assert seen.live == {100}


def test_memory_from_before_an_exec_as_another_user_does_not_count(play):
    seen = play(
        "at 10\nfork 100 101\nset 101 rss 50M\nat 20\nset 101 uid 0\nexec 101 /usr/bin/sudo sudo x",
        "tick 5, tick 15, tick 18, tick 25, tick 35",
    )
    totals = [f.value for f in seen.all(TICK)]
    assert totals[2] > 50 * MIB
    assert totals[-1] == totals[0]
    assert seen.all(TICK)[-1].valid & TICK_PARTIAL


def test_a_process_that_becomes_another_users(play):
    """Values that were read before do not count any more."""
    seen = play(
        "at 10\nfork 100 101\nset 101 rss 50M footprint 50M\nat 20\nset 101 uid 0\n"
        "at 30\nset 101 uid 501",
        "tick 5, tick 15, tick 25, tick 35",
    )
    assert [bool(f.valid & TICK_PARTIAL) for f in seen.all(TICK)] == [False, False, True, False]
    assert seen.all(TICK)[3].value > 50 * MIB


def test_root_may_read_everything(play):
    seen = play("fork 100 101\nset 101 uid 501 rss 4M", "tick 5, tick 15", uid=0)
    assert seen.stats.unreadable == 0
    assert seen.all(TICK)[-1].value == 4 * MIB + 16384


# What the machine refuses


@both
def test_a_table_that_grows_while_it_is_listed(play, sources):
    seen = play(
        "grow 400\nat 10\nfork 100 101\ngrow 900", "tick 5, tick 15, tick 25", sources=sources
    )
    assert seen.live == {100, 101}
    assert not any(seen.errors)


@both
@pytest.mark.parametrize("error", [ENOMEM, EMFILE])
def test_a_scan_that_fails_sometimes(play, sources, error):
    """Nothing new is found at that tick; known processes are still followed."""
    seen = play(
        f"at 10\nset 100 rss 7M\nfork 100 101\nfail scan {error} 2\nat 30\nfork 100 102",
        "tick 5, tick 15, tick 25, tick 35",
        sources=sources,
    )
    assert not any(seen.errors)
    assert seen.stats.lost == 2
    assert seen.live == {100, 101, 102}


def test_no_descriptor_for_the_sampler(play):
    seen = play(f"fail kqueue {EMFILE} 1", "tick 5")
    assert seen.answer("new") == [str(-EMFILE)]


def test_no_descriptor_for_events(play):
    """Then the machine is scanned at every tick."""
    seen = play(
        f"fail kqueue {EMFILE} 1 1\nat 10\nfork 100 101\nat 20\nexit 101",
        "tick 5, tick 15, tick 25, tick 35",
    )
    assert seen.live == {100}
    assert seen.one(EXITED, 101)
    assert seen.stats.sources == 0


def test_processes_that_cannot_be_watched(play):
    """They are followed by scans; it is known that their events are missing."""
    seen = play(
        f"fail register {ENOMEM} 3\nat 10\nfork 100 101\nat 20\nfork 101 102\nexit 101\nreap 101",
        "tick 5, tick 15, tick 25, tick 35",
    )
    assert seen.live == {100, 102}
    assert seen.one(EXITED, 101)


@pytest.mark.parametrize("plan", ["tick 5, tick 15, tick 25, tick 35, tick 45, tick 55"])
def test_lost_events(play, plan):
    """kqueue reports nothing for a while: no process is wrongly taken as ended or alive."""
    seen = play(
        "at 10\nlose on\nfork 100 101\nexec 101 /bin/sh sh\nat 20\nfork 101 102\n"
        "exec 102 /bin/ls ls\nat 30\nexit 102 0\nreap 102\nlose off\nat 40\nfork 101 103\n"
        "at 50\nexit 101\nreap 101",
        plan,
    )
    assert seen.live == {100, 103}
    assert seen.one(EXITED, 101)
    assert seen.one(EXITED, 102)
    assert seen.all(IMAGE, 102)[-1].program.name == "ls"


# Cost


def test_an_idle_job_costs_few_calls_per_process(play):
    forks = "".join(f"fork 100 {pid}\n" for pid in range(101, 121))
    seen = play(
        f"{forks}start 900 1 stranger\ngrow 300",
        "tick 5, tick 6, tick 7, calls scan, calls rusage, tick 1000, tick 1001, calls scan,"
        "calls rusage",
    )
    calls = [int(words[1]) for words in seen.answers if words[0] == "calls"]
    scans, reads, later_scans, later_reads = calls
    assert later_scans == scans, "the machine is scanned although nothing has happened"
    assert later_reads - reads <= 2 * 21 * 2


# Signals


def test_a_signal_to_the_whole_job(play):
    seen = play(
        "at 10\nfork 100 101\nfork 101 102\nexit 101\nreap 101\nset 102 pgid 102 sid 102\n"
        "fork 100 103\nstart 200 50 mine\nfork 200 201\nstart 300 1 stranger",
        "tick 5, tick 15, signal 0, signal 9, signal 0, tick 25, tick 35, tick 45",
    )
    answers = [[int(word) for word in words[1:]] for words in seen.answers if words[0] == "signal"]
    assert all(each[0] >= 0 for each in answers)
    assert set(answers[0][1:]) == set(answers[1][1:]) >= {100, 103}
    assert not set(answers[0][1:]) & {50, 200, 201, 300}
    assert seen.job.root_status == 9


def test_processes_that_cannot_be_signalled_or_ignore_the_signal(play):
    seen = play(
        "at 10\nfork 100 101\nset 101 uid 0\nfork 100 102\nset 102 ignores 15",
        "tick 5, tick 15, signal 15, tick 25, tick 35, tick 45",
    )
    assert int(seen.answer("signal")[0]) >= 0
    assert seen.live == {101, 102}


# The whole machine


def test_scan(play):
    seen = play(
        "at 10\nfork 100 101\nexec 101 /bin/ls ls\nat 20\nexit 101 256\nset 100 uid 0\ngrow 30",
        "tick 25, scan",
    )
    rows = {row.pid: row for row in seen.rows}
    assert rows[101].state == "Z"
    assert (rows[101].ppid, rows[101].name) == (100, "ls")
    assert rows[100].valid == HAS_PARENT | HAS_START
    assert rows[101].start == pytest.approx(10 * MS, abs=1000)
    assert 0 not in rows, "the kernel is no process"
    assert rows[1].name == "launchd"


# The sampler's own thread


def test_events_wake_the_thread(play):
    """Ticks are an hour apart: only events from kqueue can end this."""
    seen = play(
        "at 40\nfork 100 101\nset 101 rss 3M footprint 3M\nat 120\nfork 101 102\nset 102 rss 5M\n"
        "at 200\nexit 102 0\nreap 102\nat 240\nexit 101\nreap 101\nat 300\nexit 100 1024",
        "run",
    )
    assert {f.pid for f in seen.all(STARTED)} == {100, 101, 102}
    assert seen.job.root_status == 1024
    assert seen.one(EXITED, 102).time == pytest.approx(200 * MS, abs=80 * MS)


# Random histories


def history(seed: int) -> tuple[str, str, dict[int, int]]:  # noqa: PLR0912
    """Returns a script, a plan, and the pids that live at the end with their parents."""
    rng = random.Random(seed)
    live, zombies = {ROOT: ME}, {}
    pid, lines, plan = ROOT, [], ["tick 1"]
    for step in range(1, 60):
        lines.append(f"at {step * 5}")
        for _ in range(rng.randrange(3)):
            chosen = rng.choice(list(live))
            match rng.randrange(8):
                case 0 | 1 | 2:
                    # Pids are reused.
                    pid = 101 + (pid - 100 + rng.randrange(1, 4)) % 40
                    if pid in live or pid in zombies:
                        continue
                    lines.append(f"fork {chosen} {pid}")
                    live[pid] = chosen
                case 3:
                    lines.append(f"exec {chosen} /bin/program{rng.randrange(9)} a b")
                case 4:
                    size = rng.randrange(1, 60)
                    lines.append(f"set {chosen} rss {size}M footprint {size // 2}M")
                case 5:
                    lines.append(f"set {chosen} pgid {chosen}")
                case 6 | 7 if chosen != ROOT:
                    lines.append(f"exit {chosen} {rng.choice((0, 256, 9))}")
                    parent = live.pop(chosen)
                    if parent in live:
                        zombies[chosen] = parent
                    for child in [each for each, above in live.items() if above == chosen]:
                        live[child] = 1
                    for gone in [each for each, above in zombies.items() if above == chosen]:
                        del zombies[gone]
                case _:
                    if zombies:
                        gone = rng.choice(list(zombies))
                        lines.append(f"reap {gone}")
                        del zombies[gone]
        if rng.randrange(12) == 0:
            lines.append(rng.choice(["lose on", "lose off", "grow 40", f"fail scan {ENOMEM} 1"]))
        plan.append(f"tick {step * 5 + 2}")
    lines.append("at 300\nlose off")
    plan += ["tick 301", "tick 1400", "tick 1410"]
    return "\n".join(lines), ", ".join(plan), live


@both
@pytest.mark.parametrize("seed", range(20))
def test_random_histories(play, seed, sources):
    """No tick fails, the sums are right (see Played), and each process that lives at the end is
    followed, unless its parent came and went unseen."""
    script, plan, live = history(seed)
    seen = play(script, plan, sources=sources)
    assert not any(seen.errors)
    assert seen.live <= set(live)
    assert seen.live >= {pid for pid, parent in live.items() if parent in seen.live}


# Other processes


def test_children_of_the_caller_are_not_in_the_job(play):
    seen = play("start 60 50 other\nat 10\nfork 60 61\nfork 50 70", "tick 5, tick 15", others=True)
    assert seen.live == {100}


def test_probe(play):
    seen = play("", "probe 16, probe 1, probe 2, probe 4, probe 8, tick 5")
    answers = [int(words[1]) for words in seen.answers if words[0] == "probe"]
    assert answers[0] == 0
    assert all(each < 0 for each in answers[1:])


def test_an_unreadable_footprint_is_not_in_the_sum(play):
    seen = play("set 100 footprint 5M\nfork 100 101\nset 101 footprint 7M uid 0", "tick 5, tick 15")
    total = seen.all(FOOTPRINT, 0)[-1]
    assert total.valid & HAS_FOOTPRINT
    assert (total.value, total.second) == (5 * MIB, 1)


def test_an_exit_without_its_status_has_no_exact_time(play):
    seen = play(
        "at 10\nfork 100 101\nat 20\nexit 101 512\nreap 101", "tick 5, tick 15, tick 25, tick 35"
    )
    end = seen.one(EXITED, 101)
    assert end.value == 512 if end.valid & HAS_STATUS else not end.valid & BY_EVENT
