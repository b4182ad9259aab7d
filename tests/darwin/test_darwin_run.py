"""Tests of all of memwatch on the Darwin files, with real processes.

The fake macOS shows the processes of this Linux machine. What the burner holds is known; the
footprint is the anonymous part of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MIB = 1024  # KiB, the unit of the reports

# What the burner holds in addition: its program, its libraries, the C library's heap.
SLACK = 12 * MIB


@pytest.fixture
def memwatch(memwatch, darwin_env):
    memwatch.variables = darwin_env
    return memwatch


@pytest.mark.both_users
def test_a_tree(memwatch):
    watch = memwatch.burn(
        *("mark", "root", "touch", 20, "fork", 2, "[", "mark", "child", "touch", 30),
        *("fork", 1, "[", "mark", "grandchild", "touch", 10, "until", "go", "]", "until", "go"),
        *("wait", "]", "until", "go", "wait", "exit", 3),
    )
    root = watch.mark("root")
    children, grandchildren = watch.marks("child", 2), watch.marks("grandchild", 2)
    watch.ticks(20)
    (memwatch.room / "go").touch()
    result = watch.end()
    report = result.json
    assert [each["name"] for each in report["accuracy"]["sources"]] == ["kqueue"]
    assert result.code == report["exit_code"] == 3
    assert {each["pid"] for each in report["processes"]} == {root, *children, *grandchildren}
    # A fork has the pages of its parent, and they count once per process, as in ps.
    parents = {root: 20, **dict.fromkeys(children, 50), **dict.fromkeys(grandchildren, 60)}
    for pid, least in parents.items():
        process = result.by_pid(pid)
        assert least * MIB <= process["max_rss_kib"] <= least * MIB + SLACK
        assert process["command"] == "burner"
    for pid in children:
        assert result.by_pid(pid)["ppid"] == root
    assert {result.by_pid(pid)["ppid"] for pid in grandchildren} == set(children)
    total = 20 + 2 * 50 + 2 * 60
    assert total * MIB <= report["max_total_rss_kib"] <= total * MIB + 5 * SLACK


def test_sources_and_accuracy(memwatch):
    """Each number has its source."""
    watch = memwatch.burn("touch", 20, "mark", "root", "gate")
    watch.mark("root")
    watch.ticks(10)
    report = watch.end().json
    sources = {each["name"]: each for each in report["accuracy"]["sources"]}
    assert sources["kqueue"]["used"] is True
    assert not {"connector", "perf", "taskstats", "hook"} & {
        name for name, each in sources.items() if each["used"]
    }
    (process,) = report["processes"]
    assert process["peak_source"] in ("exact", "watermark", "sampled")
    assert process["max_rss_kib"] >= 20 * MIB


def test_a_daemon_and_another_program(memwatch, burner):
    """A daemon has left its parent, its group and its session; a process that executes a program
    keeps its place."""
    watch = memwatch.burn(
        *("fork", 1, "[", "setsid", "mark", "leader", "until", "on", "fork", 1, "["),
        *("touch", 15, "mark", "daemon", "until", "go", "]", "]"),
        *("spawn", "[", "mark", "spawned", "touch", 5, "until", "go", "]"),
        *("fork", 1, "[", "exec", "[", "mark", "executed", "until", "go", "]", "]"),
        *("mark", "root", "until", "go", "wait"),
    )
    pids = {watch.mark(name) for name in ("root", "spawned", "executed")}
    watch.mark("leader")
    watch.ticks(20)
    (memwatch.room / "on").touch()
    daemon = watch.mark("daemon")
    watch.ticks(20)
    (memwatch.room / "go").touch()
    result = watch.end()
    seen = {each["pid"] for each in result.json["processes"]}
    assert pids <= seen
    assert daemon in seen
    assert result.by_pid(daemon)["max_rss_kib"] >= 15 * MIB


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_command_that_a_signal_killed(memwatch, number):
    result = memwatch.burn("die", int(number)).end()
    assert result.code == 128 + number
    assert result.json["signal"] == number


def test_a_command_that_cannot_be_started(memwatch):
    result = memwatch.run("run", "--", "./no-such-command")
    assert result.code == 1
    assert "no-such-command" in result.one_line()


def test_short_commands(memwatch):
    for _ in range(5):
        result = memwatch.run("run", "--json", "--", "sh", "-c", "exit 7")
        assert result.code == 7
        assert result.json["processes"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_sent_to_memwatch_reaches_the_command(memwatch, number):
    watch = memwatch.burn("trap", int(number), "mark", "root", "until", "go", "exit", 4)
    root = watch.mark("root")
    os.kill(watch.pid, number)
    assert watch.mark(f"sig{int(number):02}") == root
    (memwatch.room / "go").touch()
    assert watch.end().code == 4


def test_keys_reach_the_command_once(terminal, memwatch, burner):
    go = memwatch.room / "go"
    words = map(str, ("trap", 2, "trap", 10, "mark", "root", "until", go, "exit", 5))
    screen = terminal(memwatch.argv("run", "-i", "5", "--", burner, *words))
    root = screen.watch.mark("root")
    screen.type(b"\x03")
    assert screen.watch.mark("sig02") == root
    # Signals are handled in turn: when this one arrives, a signal of the key has arrived.
    os.kill(screen.watch.pid, signal.SIGUSR1)
    screen.watch.marks("sig10")
    assert screen.watch.marked()["sig02"] == [root]
    go.touch()
    assert screen.end() == 5


def test_a_limit_ends_the_job(memwatch):
    """It also ends processes that ignore SIGTERM or are in another session: `no_survivors`
    searches for them."""
    watch = memwatch.burn(
        *("mark", "root", "trap", 15, "fork", 2, "[", "setsid", "mark", "up", "until", "go"),
        *("touch", 40, "gate", "]", "until", "go", "wait"),
        options=("-i", "5", "--max-total-rss", "60M", "--kill-after", "200ms"),
    )
    watch.marks("up", 2)
    watch.ticks(10)
    (memwatch.room / "go").touch()
    assert watch.process.wait(60) == 10
    limits = watch.end().json["limits"]
    (breach,) = limits["exceeded"]
    assert (breach["limit"], breach["limit_kib"]) == ("max_total_rss", 60 * MIB)
    assert breach["size_kib"] > 60 * MIB
    assert limits["surviving_pids"] == []


def test_a_recording_gives_the_same_report(memwatch, burner):
    result = memwatch.run(
        *("run", "-i", "5", "--json", "-o", "job.mw", "--", burner),
        *("touch", "20", "fork", "2", "[", "touch", "10", "hold", "100", "]", "wait", "exit", "6"),
    )
    assert result.code == 6
    again = memwatch.run("report", "--json", "job.mw")
    assert again.code == 0, again.text
    assert again.json["processes"] == result.json["processes"]
    assert again.json["max_total_rss_kib"] == result.json["max_total_rss_kib"]
    assert again.json["accuracy"] == result.json["accuracy"]


def test_the_summary(memwatch, burner):
    watch = memwatch.start("run", "-i", "5", "--", burner, "touch", "20", "mark", "root", "gate")
    watch.mark("root")
    watch.ticks(10)
    result = watch.end()
    assert result.code == 0
    assert "burner" in result.text
    assert "Traceback" not in result.text


def test_doctor(memwatch):
    result = memwatch.run("doctor")
    assert result.code == 0, result.text
    assert "kqueue" in result.out.decode()
    report = json.loads(memwatch.run("doctor", "--json").out)
    assert report["memwatch"]["backend"] == "darwin"


def test_version(memwatch):
    result = memwatch.run("--version")
    assert result.code == 0
    assert "darwin" in result.out.decode()


def test_make(memwatch):
    """Runs a build with programs that live for a few milliseconds."""
    files = range(12)
    for number in files:
        (memwatch.room / f"f{number}.txt").write_text(str(number))
    rules = "".join(f"f{n}.out: f{n}.txt\n\tsh -c 'cat f{n}.txt' > f{n}.out\n" for n in files)
    names = " ".join(f"f{n}.out" for n in files)
    (memwatch.room / "Makefile").write_text(f"all: {names}\n{rules}")
    result = memwatch.run("run", "-i", "2", "--json", "--", "make", "-j4", "-s")
    assert result.code == 0, result.text
    assert result.json["processes"][0]["command"]
    assert all((memwatch.room / f"f{n}.out").exists() for n in files)


def test_a_scripted_job_through_the_extension(library):
    script = Path(__file__).parent / "play_extension.py"
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(library)}
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
