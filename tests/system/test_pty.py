"""Tests of memwatch at a terminal: keys, window size, job control, hangup."""

import os
import shutil
import signal
import subprocess
import termios

import pytest

from support.command import read_csv
from support.waiting import state_of, wait_until

CTRL_C, CTRL_Z, CTRL_BACKSLASH, CTRL_D = b"\x03", b"\x1a", b"\x1c", b"\x04"


@pytest.fixture
def burn(terminal, memwatch, burner):
    """Starts `memwatch run -- burner WORDS...` at a terminal."""

    def start(*words, options=("-i", "5"), **how):
        argv = memwatch.argv("run", *options, "--", burner, *map(str, words))
        return terminal(argv, **how)

    return start


@pytest.mark.both_users
@pytest.mark.parametrize(
    ("key", "number"),
    [(CTRL_C, signal.SIGINT), (CTRL_BACKSLASH, signal.SIGQUIT)],
    ids=["^C", "^backslash"],
)
def test_key_reaches_the_command_once(burn, memwatch, key, number):
    go = memwatch.room / "go"
    screen = burn("trap", int(number), "trap", 10, "mark", "root", "until", go, "exit", 5)
    root = screen.watch.mark("root")
    for count in (1, 2):
        screen.type(key)
        mark = f"sig{number:02}"
        assert screen.watch.marks(mark, count) == [root] * count
        # Signals are handled in the order of their numbers: if memwatch had to forward one from
        # that key, it did so before this one arrives.
        os.kill(screen.watch.pid, signal.SIGUSR1)
        screen.watch.marks("sig10", count)
        assert screen.watch.marked()[mark] == [root] * count
    go.touch()
    assert screen.end() == 5
    assert any("exit code 5" in line for line in screen.lines())


@pytest.mark.parametrize(("key", "number"), [(CTRL_C, signal.SIGINT)])
def test_key_that_ends_the_command(burn, key, number):
    screen = burn("mark", "root", "gate")
    screen.watch.mark("root")
    screen.type(key)
    assert screen.end() == 128 + number
    assert any(f"killed by {number.name}" in line for line in screen.lines())


def test_every_process_of_the_job_gets_the_key_once(burn, memwatch):
    go = memwatch.room / "go"
    screen = burn(
        *("trap", 2, "trap", 10),
        *("fork", 2, "[", "mark", "child", "until", go, "]", "mark", "root", "until", go, "wait"),
    )
    children, root = screen.watch.marks("child", 2), screen.watch.mark("root")
    screen.type(CTRL_C)
    screen.watch.marks("sig02", 3)
    os.kill(screen.watch.pid, signal.SIGUSR1)
    screen.watch.marks("sig10")
    assert sorted(screen.watch.marked()["sig02"]) == sorted([*children, root])
    go.touch()
    assert screen.end() == 0


def test_window_size(burn, memwatch):
    go = memwatch.room / "go"
    screen = burn(
        *("trap", 28, "trap", 10, "size", "mark", "root", "until", go, "size"),
        rows=33,
        columns=117,
    )
    root = screen.watch.mark("root")
    assert screen.watch.mark("33x117") == root
    screen.resize(40, 90)
    assert screen.watch.marks("sig28") == [root]
    os.kill(screen.watch.pid, signal.SIGUSR1)
    screen.watch.marks("sig10")
    go.touch()
    assert screen.end() == 0
    # SIGWINCH has the highest number: only now is it certain that it came once.
    assert screen.watch.marked()["sig28"] == [root]
    assert screen.watch.marked()["40x90"] == [root]


@pytest.mark.both_users
def test_job_reads_from_the_terminal(burn):
    screen = burn("mark", "root", "line", "gate", "exit", 5)
    root = screen.watch.mark("root")
    # Only in the foreground may it read.
    assert os.tcgetpgrp(screen.master) == os.getpgid(root) == os.getpgid(screen.watch.pid)
    screen.type(b"hello\n")
    assert screen.watch.mark("hello") == root
    screen.type(CTRL_D)
    assert screen.end() == 5


def test_terminal_is_left_as_it_was(burn):
    screen = burn("exit", 0)
    assert screen.end() == 0
    assert termios.tcgetattr(screen.master) == screen.attributes


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
    ids=str,
)
def test_colors(burn, env, colored):
    screen = burn("exit", 0, env=env)
    assert screen.end() == 0
    assert (b"\x1b[" in screen.shown) == colored


@pytest.mark.parametrize("columns", [60, 132])
def test_long_command_lines_are_cut_to_the_window(burn, columns):
    screen = burn("ignore", "x" * 300, "mark", "root", "gate", columns=columns)
    screen.watch.mark("root")
    screen.watch.ticks()
    screen.type(CTRL_D)
    assert screen.end() == 0
    cut = [line for line in screen.lines() if "xxx" in line]
    assert len(cut) == 2  # the job and its only process
    assert all(len(line) <= columns for line in cut)
    assert all(line.endswith("…") for line in cut)


def test_window_without_a_size(burn):
    screen = burn("ignore", "x" * 30, "mark", "root", "gate", rows=0, columns=0)
    screen.watch.mark("root")
    screen.watch.ticks()
    screen.type(CTRL_D)
    assert screen.end() == 0
    assert any(line.startswith("Job:") and "x" * 30 in line for line in screen.lines())


@pytest.mark.parametrize("ignored", [False, True], ids=["dies", "cleans up"])
def test_terminal_goes_away(burn, memwatch, ignored):
    """SIGHUP goes to the session leader, which is memwatch. The screen is lost, the file is not."""
    trap = ["trap", 1] if ignored else []
    file, go = memwatch.room / "out.csv", memwatch.room / "go"
    screen = burn(
        *(*trap, "mark", "root", "until", go, "exit", 5), options=("-i", "5", "--csv", str(file))
    )
    root = screen.watch.mark("root")
    screen.watch.ticks()
    screen.close()
    if ignored:
        assert screen.watch.marks("sig01") == [root]
        go.touch()
    assert screen.watch.process.wait(45) == (5 if ignored else 128 + signal.SIGHUP)
    assert [row[0] for row in read_csv(file)] == ["pid", str(root)]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_stopped_and_continued_from_a_shell(terminal, memwatch, burner):
    """After Ctrl-Z and fg, memwatch and the job stop and continue together."""
    go = memwatch.room / "go"
    words = ["mark", "root", "until", str(go), "exit", "5"]
    command = memwatch.argv("run", "-i", "5", "--", burner, *words)
    screen = terminal(
        ["bash", "--norc", "--noprofile", "-i"],
        env={"PS1": "ready> ", "COMMAND": subprocess.list2cmdline(command), "HISTFILE": ""},
    )
    screen.expect(b"ready> ")
    screen.type(b"$COMMAND\n")
    root = screen.watch.mark("root")
    watcher = parent_of(root)
    assert parent_of(watcher) == screen.watch.pid

    screen.type(CTRL_Z)
    wait_until(lambda: state_of(root) == "T" and state_of(watcher) == "T", "both are stopped")
    screen.expect(b"Stopped")
    screen.type(b"fg\n")
    wait_until(lambda: "T" not in state_of(root) + state_of(watcher), "both continue")
    assert os.tcgetpgrp(screen.master) == os.getpgid(root)

    go.touch()
    screen.expect(b"Duration:")
    screen.type(b"echo code=$?\n")
    screen.expect(b"code=5")
    screen.type(b"exit\n")
    assert screen.end() == 0


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])
