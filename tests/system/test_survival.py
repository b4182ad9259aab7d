"""Tests that memwatch and the job survive each other's failures, and that the report is true."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.judging import Judge, Report
from support.waiting import state_of, wait_until

pytestmark = pytest.mark.slow

COUNT = 3000

# Records after which a storm is far from both its beginning and its end.
UNDER_WAY = 500

CONNECTOR, GENERIC = 11, 16

# A user without privileges, whichever user runs the tests.
ordinary = "nobody" if os.geteuid() == 0 else "caller"
as_nobody = pytest.mark.parametrize("user", [ordinary], indirect=True)


@pytest.fixture
def start(memwatch, storm):
    """Starts a storm under memwatch, and waits until it is under way."""

    def run(kind, *options, hold=False):
        words = ["run", "--json", "-i", "10", *options, "--", storm.program, kind, str(COUNT)]
        watch = memwatch.start(*words, *(["hold"] if hold else []), env=storm.env)
        wait_until(storm.held if hold else lambda: storm.used() > UNDER_WAY, "the storm")
        assert not storm.is_over()
        return watch

    return run


def wait_for(pid: int) -> int:
    """Returns the exit code of a process that is, or will be, a child of this one."""

    def ended():
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return None  # its parent still lives

    info = wait_until(ended, f"the end of {pid}")
    assert info.si_code == os.CLD_EXITED, f"killed by signal {info.si_status}"
    return info.si_status


# -- memwatch is killed --------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("hold", [False, True], ids=["at-any-moment", "at-rest"])
@pytest.mark.parametrize("options", [["--exact", "--sources", "none"], ["--exact"], []], ids=str)
def test_the_job_outlives_memwatch(storm, start, needs, options, hold):
    """The job ends normally, and so does the guardian: no_survivors checks that."""
    if options:
        needs("hook")
    watch = start("mixed", *options, hold=hold)
    root = storm.root()
    watch.process.kill()
    watch.process.wait()
    if hold:
        watch.open_gate()
    # The process of the tests is a subreaper: the storm is now its child.
    assert wait_for(root) == 7
    assert len(storm.truth().pids) == COUNT + 1


@as_nobody
def test_killed_while_processes_wait_for_the_guardian(storm, start, needs):
    """memwatch is killed after a long stop: queued notifications do not affect the job."""
    needs("hook")
    watch = start("exec", "--exact", "--sources", "none")
    root = storm.root()
    os.kill(watch.pid, signal.SIGSTOP)
    before = storm.used()
    wait_until(lambda: storm.used() > before + UNDER_WAY, "the storm continues")
    watch.process.kill()
    assert wait_for(root) == 7
    assert len(storm.truth().pids) == COUNT + 1


# -- memwatch is stopped -------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("options", [["--exact", "--sources", "none"], ["--exact"], []], ids=str)
def test_the_job_continues_while_memwatch_is_stopped(storm, start, needs, options):
    if options:
        needs("hook")
    watch = start("mixed", *options)
    os.kill(watch.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(watch.pid) == "T", "memwatch is stopped")
    wait_until(storm.is_over, "the storm is over")
    assert state_of(watch.pid) == "T"
    os.kill(watch.pid, signal.SIGCONT)
    result = watch.end()
    assert result.code == 7
    report, truth = Report(result.json), storm.truth()
    judged = Judge(report, truth)
    judged.nothing_is_invented()
    assert len(truth.pids) == COUNT + 1
    if not report.lost and (report.used("connector") or report.used("perf")):
        judged.everything_is_there()
    if report.used("hook"):
        judged.peaks_are_exact(truth.announced)


# -- Messages are lost ---------------------------------------------------------------------------


def all_are_full(pid: int, protocols: set[int]) -> bool:
    """Returns whether the kernel has dropped messages for a netlink socket of each protocol.

    A socket that only wakes memwatch has a small buffer, and its drops do not matter.
    """
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    full = set()
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        words = line.split()
        if words[-1] in inodes and int(words[4]) > 1 << 20 and int(words[-2]):
            full.add(int(words[1]))
    return full >= protocols


@pytest.mark.parametrize("source", ["connector", "taskstats", "auto"])
def test_lost_messages_are_reported(memwatch, storm, needs, source):
    sources = ("connector", "taskstats") if source == "auto" else (source,)
    for each in sources:
        needs(each)
    protocols = {{"connector": CONNECTOR, "taskstats": GENERIC}[each] for each in sources}
    words = ["run", "--json", "-i", "10", "--sources", source, "--", storm.program, "flood"]
    watch = memwatch.start(*words, env=storm.env)
    wait_until(lambda: storm.made() > UNDER_WAY, "the flood")
    os.kill(watch.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(watch.pid) == "T", "memwatch is stopped")
    wait_until(lambda: all_are_full(watch.pid, protocols), "full buffers")
    watch.open_gate()
    wait_until(storm.is_over, "the end of the flood")
    os.kill(watch.pid, signal.SIGCONT)
    result = watch.end()
    assert result.code == 7
    report = Report(result.json)
    assert report.lost > 0
    assert len(report.processes) <= storm.made() + 1
    root = report.processes[0]["pid"]
    assert {each["ppid"] for each in report.processes[1:]} <= {root}


@pytest.mark.both_users
def test_a_full_ring_is_reported(memwatch, storm, needs):
    needs("perf")
    words = ["run", "--json", "-i", "10", "--sources", "perf", "--", storm.program, "flood"]
    watch = memwatch.start(*words, env=storm.env)
    wait_until(lambda: storm.made() > UNDER_WAY, "the flood")
    os.kill(watch.pid, signal.SIGSTOP)
    wait_until(lambda: storm.made() > 20_000, "a large part of it")
    watch.open_gate()
    wait_until(storm.is_over, "the end of the flood")
    os.kill(watch.pid, signal.SIGCONT)
    result = watch.end()
    assert result.code == 7
    report = Report(result.json)
    assert len(report.processes) == storm.made() + 1 or report.lost > 0
    assert len(report.processes) <= storm.made() + 1


# -- The job is killed ---------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("options", [["--exact", "--sources", "none"], []], ids=str)
def test_a_killed_job_is_reported(storm, start, needs, options):
    if options:
        needs("hook")
    watch = start("fork", *options, hold=True)
    root = storm.root()
    os.kill(root, signal.SIGKILL)
    result = watch.end()
    assert result.code == 128 + signal.SIGKILL
    report = Report(result.json)
    assert report.by_pid[root]["wait_status"] == signal.SIGKILL
    if options:
        # It did not reach the hook, and there is no record of its exit.
        assert report.by_pid[root]["peak_source"] != "exact"
        records = storm.records()
        reaped = {each.pid for each in records if each.program == storm.REAPED}
        ended = {
            each.pid: each.peak for each in records if each.program == 0 and each.pid in reaped
        }
        assert len(ended) >= COUNT // 2 - 8
        for pid, peak in ended.items():
            process = report.by_pid[pid]
            assert (report.final(process), process["peak_source"]) == (peak, "exact")


@as_nobody
def test_killed_processes_are_not_called_exact(memwatch, storm, needs):
    needs("hook")
    words = ["run", "--json", "--exact", "--sources", "none", "--", storm.program, "killed", "300"]
    report = Report(memwatch.run(*words, env=storm.env).json)
    truth = storm.truth()
    killed = truth.pids - truth.announced
    assert len(killed) == 150
    assert not killed & report.exact()


def test_the_whole_job_is_killed_at_once(memwatch, storm, needs):
    """A group is killed with all its processes, while some of them exit."""
    needs("hook")
    words = ["run", "--json", "--exact", "--sources", "none", "--"]
    watch = memwatch.start(
        *words, "setsid", "--wait", storm.program, "mixed", "3000", env=storm.env
    )
    wait_until(lambda: storm.used() > UNDER_WAY, "the storm")
    os.killpg(storm.root(), signal.SIGKILL)
    result = watch.end()
    assert result.code in (128 + signal.SIGKILL, signal.SIGKILL), result.text
    assert Report(result.json).by_pid[storm.root()]["peak_source"] != "exact"
