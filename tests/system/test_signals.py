"""Tests that signals to memwatch reach the command once, and the report is still written."""

import fcntl
import os
import shutil
import signal

import pytest

from support.waiting import state_of, wait_until

FORWARDED = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT", "SIGWINCH"]


def mark_of(number: int) -> str:
    """Returns the mark that a burner makes when it receives a signal."""
    return f"sig{number:02}"


@pytest.mark.both_users
@pytest.mark.parametrize("name", FORWARDED)
def test_forwarded_once_each_time(memwatch, name):
    """A second one is forwarded as well: the first may only have started a clean-up."""
    number = getattr(signal, name)
    watch = memwatch.burn("trap", int(number), "mark", "root", "gate", "exit", 5)
    root = watch.mark("root")
    for count in (1, 2, 3):
        os.kill(watch.pid, number)
        assert watch.marks(mark_of(number), count) == [root] * count
    result = watch.end()
    assert result.code == 5
    assert result.json["exit_code"] == 5
    assert watch.marked()[mark_of(number)] == [root] * 3


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
def test_command_that_dies_of_the_signal(memwatch, name):
    number = getattr(signal, name)
    watch = memwatch.burn("mark", "root", "gate")
    watch.mark("root")
    os.kill(watch.pid, number)
    watch.process.wait(45)
    result = watch.end()
    assert result.code == 128 + number
    assert result.json["signal"] == number


def test_only_the_command_itself_gets_it(memwatch):
    watch = memwatch.burn(
        *("trap", 10, "fork", 1, "[", "mark", "child", "gate", "]", "mark", "root", "gate"), "wait"
    )
    watch.mark("child")
    root = watch.mark("root")
    os.kill(watch.pid, signal.SIGUSR1)
    watch.marks("sig10")
    watch.end()
    assert watch.marked()["sig10"] == [root]


@pytest.mark.both_users
def test_command_killed_from_outside(memwatch):
    watch = memwatch.burn("touch", 5, "mark", "root", "gate")
    root = watch.mark("root")
    watch.ticks()
    os.kill(root, signal.SIGKILL)
    watch.process.wait(45)
    result = watch.end()
    assert result.code == 137
    assert result.json["signal"] == signal.SIGKILL
    assert result.by_pid(root)["wait_status"] == signal.SIGKILL
    assert result.by_pid(root)["max_rss_kib"] >= 5 * 1024


def test_signal_to_the_whole_group(memwatch):
    """`kill -TERM -GROUP` and many CI runners do this."""
    watch = memwatch.burn("mark", "root", "gate", start_new_session=True)
    watch.mark("root")
    os.killpg(watch.pid, signal.SIGTERM)
    watch.process.wait(45)
    result = watch.end()
    assert result.code == 143
    assert result.json["signal"] == signal.SIGTERM


def test_signal_of_the_command_to_its_group(memwatch):
    """memwatch is in that group and must not send the signal back to the command."""
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("trap", 10, "trap", 12, "mark", "root", "until", go, "signal", 10, "gate"),
        start_new_session=True,
    )
    root = watch.mark("root")
    count_signals_of_the_group(watch, go)
    watch.end()
    assert watch.marked()["sig10"] == [root]


def test_signal_of_another_process_of_the_job_to_the_group(memwatch):
    """After `kill 0` in a subshell, the command already has the signal."""
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("fork", 1, "[", "mark", "child", "until", go, "trap", 10, "signal", 10, "gate", "]"),
        *("trap", 10, "trap", 12, "mark", "root", "gate"),
        start_new_session=True,
    )
    watch.mark("child")
    root = watch.mark("root")
    watch.ticks()
    count_signals_of_the_group(watch, go)
    watch.end()
    assert watch.marked()["sig10"].count(root) == 1


def count_signals_of_the_group(watch, go):
    """Lets a process of the job signal its group, and lets memwatch handle the signal.

    Two pending signals of the same kind become one. So memwatch is stopped until the command has
    handled the first: a signal that memwatch then sends arrives as a second one.
    """
    root = watch.mark("root")
    os.kill(watch.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(watch.pid) == "T", "memwatch is stopped")
    go.touch()
    wait_until(lambda: root in watch.marked().get("sig10", []), "the command has the signal")
    os.kill(watch.pid, signal.SIGCONT)
    # Signals are handled in the order of their numbers: when this one arrives, so has that one.
    os.kill(watch.pid, signal.SIGUSR2)
    watch.marks("sig12")


@pytest.mark.both_users
def test_job_that_is_stopped_and_continued(memwatch):
    watch = memwatch.burn("touch", 5, "mark", "root", "gate", "exit", 6)
    root = watch.mark("root")
    os.kill(root, signal.SIGSTOP)
    wait_until(lambda: state_of(root) == "T", "it is stopped")
    watch.ticks()
    os.kill(root, signal.SIGCONT)
    wait_until(lambda: state_of(root) != "T", "it continues")
    watch.ticks()
    result = watch.end()
    assert result.code == 6
    assert result.json["process_count"] == 1


def test_memwatch_that_is_stopped_while_the_job_ends(memwatch):
    watch = memwatch.burn("touch", 5, "mark", "root", "gate", "exit", 6)
    root = watch.mark("root")
    watch.ticks()
    os.kill(watch.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(watch.pid) == "T", "memwatch is stopped")
    watch.open_gate()
    wait_until(lambda: state_of(root) == "Z", "the job has ended")
    os.kill(watch.pid, signal.SIGCONT)
    result = watch.end()
    assert result.code == 6
    assert result.by_pid(root)["wait_status"] == 6 << 8


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_late_signal_does_not_lose_the_report(memwatch, name):
    """It arrives while the report is written to a pipe that is not read yet."""
    pipe = memwatch.room / "timeline"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    watch = memwatch.burn(
        "mark", "root", "gate", "exit", 6, options=("-i", "0.2ms", "--timeline", str(pipe))
    )
    root = watch.mark("root")
    watch.ticks(500)  # of at least 45 bytes each: more than the pipe holds
    watch.open_gate()
    wait_until(lambda: not state_of(root), "the job has ended")
    os.kill(watch.pid, getattr(signal, name))
    os.kill(watch.pid, getattr(signal, name))
    os.set_blocking(reader, True)
    with open(reader, "rb") as file:
        lines = file.read().splitlines()
    result = watch.end()
    assert result.code == 6
    assert result.json["samples"] == len(lines) - 1 >= 500


def test_ignored_hangup_stays_ignored(memwatch):
    """nohup(1) starts commands like this."""
    watch = memwatch.burn(
        *("mark", "root", "gate", "exit", 6),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    watch.mark("root")
    os.kill(watch.pid, signal.SIGHUP)
    result = watch.end()
    assert result.code == 6


def test_ignored_end_of_children(memwatch):
    """The exit code must be right even if the parent ignores SIGCHLD."""
    watch = memwatch.burn(
        "exit", 6, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    )
    assert watch.end().code == 6


@pytest.mark.skipif(not shutil.which("timeout"), reason="needs timeout(1)")
@pytest.mark.parametrize("options", [[], ["--foreground"], ["--signal=INT"]], ids=str)
def test_inside_timeout(memwatch, burner, options):
    words = memwatch.argv("run", "--json", "-i", "5", "--", burner, "mark", "root", "gate")
    watch = memwatch.popen(["timeout", *options, "1h", *words])
    watch.mark("root")
    # timeout(1) uses SIGALRM as its timer: the time is over.
    os.kill(watch.pid, signal.SIGALRM)
    watch.process.wait(45)
    result = watch.end()
    assert result.code == 124
    number = signal.SIGINT if "INT" in str(options) else signal.SIGTERM
    assert result.json["signal"] == number
