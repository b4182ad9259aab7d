"""Tests of `run --live`, with a command at the same terminal and without a terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import termios
from contextlib import suppress

import pyte
import pytest
from wcwidth import wcswidth

from memwatch.commands.shared import live_line
from memwatch.commands.shared.live_line import LiveLine
from memwatch.model.job import Job
from memwatch.model.observations import Batch
from support.scripted import Script
from support.waiting import state_of, wait_until

CTRL_S, CTRL_Q = b"\x13", b"\x11"
# Ticks in which the line would be drawn at least twice, if it were drawn.
QUIET = 50

DRAWN = re.compile(rb"\x1bD\x1b7\r(.*?)\x1b8\x1b\[A")


@pytest.fixture
def burn(terminal, memwatch, burner):
    """Starts `memwatch run --live -- burner WORDS...` at a terminal."""

    def start(*words, options=(), **how):
        argv = memwatch.argv("run", "--live", "-i", "5", *options, "--", burner, *map(str, words))
        return terminal(argv, **how)

    return start


def drawn(screen) -> list[str]:
    """Returns every line drawn so far."""
    screen.pump()
    return [re.sub(r"\x1b\[\d*m", "", each.decode()) for each in DRAWN.findall(screen.shown)]


def wait_drawn(screen, more=3):
    """Waits until the line has been drawn `more` times."""
    count = len(drawn(screen)) + more
    wait_until(lambda: len(drawn(screen)) >= count, "the line")


def emulate(shown, rows=24, columns=80):
    """Returns what is on the screen and above it."""
    screen = pyte.HistoryScreen(columns, rows, history=10_000)
    pyte.ByteStream(screen).feed(shown)
    above = ["".join(row[x].data for x in range(columns)) for row in screen.history.top]
    return [row.rstrip() for row in (*above, *screen.display)]


@pytest.mark.both_users
def test_the_line_is_drawn_and_removed(burn, memwatch):
    go = memwatch.room / "go"
    screen = burn("touch", 20, "mark", "root", "until", go, "exit", 5, columns=100)
    root = screen.watch.mark("root")
    wait_drawn(screen)
    before = emulate(screen.shown, columns=100)
    assert re.fullmatch(
        rf"\d:\d\d  RSS \d+\.\d MiB  max \d+\.\d MiB  1 process  "
        rf"largest \d+\.\d MiB burner \(pid {root}\)",
        # The command has written nothing: its cursor is in the first row.
        before[1],
    )
    assert not any(before[:1] + before[2:])
    go.touch()
    assert screen.end() == 5
    after = [line for line in emulate(screen.shown, columns=100) if line]
    assert after[0].startswith("Job:")
    assert not any("largest" in line for line in after)


SCRIPT = """
step() { until [ -e "$1" ]; do sleep 0.02; done; }
echo one; step a; printf 'two ... '; step b; echo done; step c; echo three; printf four; step d
"""


def test_output_of_the_command_is_where_it_is_without_the_line(terminal, memwatch):
    """There are few rows, so that it scrolls; each piece is written while the line is shown."""

    def run(*options):
        argv = memwatch.argv("run", *options, "-i", "5", "--", "sh", "-c", SCRIPT)
        screen = terminal(argv, rows=3)
        for step, text in zip("abcd", (b"one", b"...", b"done", b"four"), strict=True):
            screen.expect(text)
            if options:
                wait_drawn(screen)
            (memwatch.room / step).touch()
        assert screen.end() == 0
        for step in "abcd":
            (memwatch.room / step).unlink()
        lines = emulate(screen.shown, rows=3)
        return lines[: next(n for n, line in enumerate(lines) if line.startswith("Job:"))]

    assert run("--live") == run() == ["one", "two ... done", "three", "four"]


def test_the_line_fits_the_window_after_a_resize(terminal, memwatch, burner):
    go, program = memwatch.room / "go", memwatch.room / "編譯器編譯"
    shutil.copy(burner, program)
    argv = memwatch.argv("run", "--live", "-i", "5", "--", program, "touch", "5", "until", go)
    screen = terminal(argv, columns=75)
    wait_drawn(screen)
    assert "編" in drawn(screen)[-1]
    for columns in (30, 120, 12, 2, 1):
        screen.resize(24, columns)
        # One line may have been measured before the resize.
        wait_drawn(screen, 2)
        before = len(drawn(screen))
        wait_drawn(screen)
        assert all(wcswidth(line) < columns for line in drawn(screen)[before:])
        assert any("pid" in line for line in drawn(screen)[before:]) == (columns == 120)
    go.touch()
    assert screen.end() == 0


def test_colors(burn, memwatch):
    go = memwatch.room / "go"
    for env in ({}, {"NO_COLOR": "1"}):
        screen = burn("until", go, options=["--json"], env=env)
        wait_drawn(screen)
        assert bool(re.search(rb"\x1b\[\d*m", screen.shown)) == (not env)
        screen.watch.process.send_signal(signal.SIGINT)
        assert screen.end() == 128 + signal.SIGINT


def test_a_stopped_terminal_does_not_block_the_job(burn, memwatch):
    go, result = memwatch.room / "go", memwatch.room / "result"
    with result.open("wb") as out:
        screen = burn(
            *("mark", "root", "until", go, "mark", "on", "exit", 5),
            options=["--json"],
            stdout=out,
        )
    screen.watch.mark("root")
    wait_drawn(screen)
    screen.type(CTRL_S)
    screen.watch.ticks(QUIET)
    before = len(drawn(screen))
    screen.watch.ticks(QUIET)
    assert len(drawn(screen)) == before
    go.touch()
    screen.watch.mark("on")
    assert screen.end() == 5
    assert result.read_bytes().endswith(b"}\n")


def test_terminal_that_is_stopped_and_continued(burn, memwatch):
    go = memwatch.room / "go"
    screen = burn("mark", "root", "until", go)
    screen.watch.mark("root")
    wait_drawn(screen)
    screen.type(CTRL_S)
    screen.watch.ticks(QUIET)
    screen.type(CTRL_Q)
    wait_drawn(screen)
    go.touch()
    assert screen.end() == 0
    assert next(filter(None, emulate(screen.shown))).startswith("Job:")


def test_no_line_while_a_program_reads_single_keys(burn, memwatch):
    go = memwatch.room / "go"
    screen = burn("mark", "root", "until", go)
    screen.watch.mark("root")
    wait_drawn(screen)
    mode = list(screen.attributes)
    mode[3] &= ~termios.ICANON
    termios.tcsetattr(screen.master, termios.TCSANOW, mode)
    screen.watch.ticks(40)
    before = len(drawn(screen))
    screen.watch.ticks(QUIET)
    assert len(drawn(screen)) == before
    termios.tcsetattr(screen.master, termios.TCSANOW, screen.attributes)
    wait_drawn(screen)
    go.touch()
    assert screen.end() == 0


def test_terminal_goes_away(burn, memwatch):
    go, result = memwatch.room / "go", memwatch.room / "result"
    with result.open("wb") as out:
        screen = burn(
            *("trap", 1, "mark", "root", "until", go, "exit", 5),
            options=["--json"],
            stdout=out,
        )
    root = screen.watch.mark("root")
    wait_drawn(screen)
    screen.close()
    assert screen.watch.marks("sig01") == [root]
    screen.watch.ticks(QUIET)
    go.touch()
    assert screen.watch.process.wait(45) == 5
    assert result.read_bytes().endswith(b"}\n")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_in_the_background(terminal, memwatch, burner):
    """Nothing is drawn, and `stty tostop` does not stop memwatch."""
    go = memwatch.room / "go"
    words = ["mark", "root", "until", str(go)]
    command = memwatch.argv("run", "--live", "--json", "-i", "5", "--", burner, *words)
    screen = terminal(
        ["bash", "--norc", "--noprofile", "-i"],
        env={"PS1": "ready> ", "COMMAND": " ".join(map(str, command)), "HISTFILE": ""},
    )
    screen.expect(b"ready> ")
    # Only `cat` is in the foreground: at its prompt bash would take the terminal for itself.
    screen.type(b"stty tostop; $COMMAND >result & cat\n")
    root = screen.watch.mark("root")
    with open(f"/proc/{root}/stat") as stat:
        watcher = int(stat.read().rsplit(")", 1)[1].split()[1])
    screen.watch.pid, screen.watch.argv = watcher, command
    screen.watch.ticks(QUIET)
    assert drawn(screen) == []
    assert state_of(watcher) != "T"
    go.touch()
    wait_until(lambda: not state_of(watcher), "its end")
    screen.type(b"\x04exit\n")
    screen.end()


@pytest.mark.parametrize(
    ("options", "env"),
    [(["--quiet"], {}), (["--json"], {"TERM": "dumb"}), (["--json"], {"TERM": ""})],
    ids=["quiet", "dumb", "no TERM"],
)
def test_nothing_is_drawn(burn, memwatch, options, env):
    go = memwatch.room / "go"
    screen = burn("mark", "root", "until", go, options=options, env=env)
    screen.watch.mark("root")
    screen.watch.ticks(QUIET)
    go.touch()
    assert screen.end() == 0
    assert b"\x1b" not in screen.shown
    assert ("--quiet" in options) == (not screen.shown)


@pytest.mark.slow
def test_plain_lines_without_a_terminal(memwatch):
    watch = memwatch.burn(
        *("touch", 20, "mark", "root", "gate", "exit", 5), options=("--live", "-i", "10")
    )
    root = watch.mark("root")
    watch.ticks()
    seen = len(watch.errors().splitlines())
    wait_until(lambda: len(watch.errors().splitlines()) > seen, "a line")
    result = watch.end()
    assert result.code == 5
    assert re.fullmatch(
        r"memwatch: \d+:\d\d  RSS 2\d\.\d MiB  max 2\d\.\d MiB  1 process  "
        rf"largest 2\d\.\d MiB burner \(pid {root}\)",
        result.text.splitlines()[-1],
    )
    assert result.json["exit_code"] == 5


# In this process, with a fake clock


def job_of(rss: int) -> tuple[Job, Batch]:
    script = Script().start(1, at=1).memory(1, rss).tick()
    job, batch = script.job(finish=False), script.batch()
    return job, batch


def test_one_line_every_few_seconds(capfd):
    now = 0
    line = LiveLine(now=lambda: now)
    job, batch = job_of(3 << 20)
    while now < 11_000_000_000:
        now += 100_000_000
        line.show(job, batch)
    line.close(wait=True)
    assert capfd.readouterr().err == "".join(
        f"memwatch: 0:{seconds:02}  RSS 3.0 MiB  max 3.0 MiB  1 process  "
        "largest 3.0 MiB ? (pid 101)\n"
        for seconds in (5, 10)
    )


def test_a_partly_written_line_is_completed_first(capfd, monkeypatch):
    line = LiveLine(now=lambda: 0)
    write, most = os.write, 3

    def write_some(fd, data):
        if not most:
            raise BlockingIOError
        return write(fd, data[:most])

    monkeypatch.setattr(live_line.os, "write", write_some)
    assert line._send(b"first|")
    most = 0
    assert not line._send(b"dropped|")
    most = 3
    assert not line._send(b"dropped too|")
    most = 100
    assert line._send(b"second|")
    line.close(wait=False)
    monkeypatch.undo()
    assert capfd.readouterr().err == "first|second|"


@pytest.fixture
def full_pipe():
    """Makes standard error a full pipe, and gives its other end."""
    reader, writer = os.pipe()
    saved = os.dup(2)
    os.dup2(writer, 2)
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 512):
            pass
    os.set_blocking(writer, True)
    os.close(writer)
    yield reader
    os.dup2(saved, 2)
    os.close(saved)
    os.close(reader)


def test_full_pipe_is_not_waited_for(full_pipe):
    now = 0
    line = LiveLine(now=lambda: now)
    job, batch = job_of(3 << 20)
    now = 5_000_000_000
    line.show(job, batch)
    # The command's descriptor still blocks.
    assert os.get_blocking(2)
    while os.read(full_pipe, 512) == b"x" * 512:
        now += 5_000_000_000
        line.show(job, batch)
    line.close(wait=True)
