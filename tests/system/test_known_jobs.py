"""Tests of jobs with known processes and memory: each must be reported with its own numbers."""

import json
import os
import sys
import unicodedata

import pytest

from support.command import read_csv
from support.waiting import state_of, wait_until

MIB = 1024  # KiB, the unit of the reports

# What a small C program holds in addition to what it touches.
OWN = 4 * MIB


def holds(process: dict, mib: int) -> bool:
    """Returns whether a process's peak is that of a burner that touched `mib` MiB."""
    return mib * MIB <= process["max_rss_kib"] <= mib * MIB + OWN


@pytest.mark.both_users
@pytest.mark.parametrize("mib", [1, 20, 100])
def test_one_process(memwatch, mib):
    watch = memwatch.burn("touch", mib, "mark", "root", "gate", "exit", 3)
    root = watch.mark("root")
    watch.ticks()
    result = watch.end()
    report = result.json
    assert result.code == report["exit_code"] == 3
    assert report["process_count"] == 1
    assert holds(result.by_pid(root), mib)
    assert mib * MIB <= report["max_total_rss_kib"] <= mib * MIB + OWN
    assert result.by_pid(root)["wait_status"] == 3 << 8


@pytest.mark.both_users
def test_parallel_children(memwatch):
    watch = memwatch.burn(
        *("fork", 4, "[", "touch", 20, "mark", "child", "gate", "]", "mark", "root", "wait")
    )
    children = watch.marks("child", 4)
    root = watch.mark("root")
    watch.ticks()
    result = watch.end()
    report = result.json
    assert all(holds(result.by_pid(pid), 20) for pid in children)
    assert {result.by_pid(pid)["ppid"] for pid in children} == {root}
    serial = result.by_pid(root)["serial"]
    assert {result.by_pid(pid)["parent_serial"] for pid in children} == {serial}
    assert 4 * 20 * MIB <= report["max_total_rss_kib"] <= 4 * 20 * MIB + 5 * OWN
    assert report["max_total_rss_processes"] == len(report["at_peak"]) == 5
    assert sum(each["rss_kib"] for each in report["at_peak"]) == report["max_total_rss_kib"]
    (group,) = report["groups"]
    assert group["processes"] == 5
    assert group["max_rss_kib"] <= group["sum_of_max_rss_kib"]


def test_shared_pages_count_once_per_copy_on_write_child(memwatch):
    watch = memwatch.burn(
        *("touch", 50, "fork", 4, "[", "read", "mark", "child", "gate", "]"),
        *("mark", "root", "wait"),
    )
    children = watch.marks("child", 4)
    watch.ticks()
    result = watch.end()
    assert all(holds(result.by_pid(pid), 50) for pid in children)
    # The sum of RSS is not memory in use: 50 MiB shared by five processes count as 250 MiB.
    assert result.json["max_total_rss_kib"] >= 5 * 50 * MIB


def test_the_summary_explains_that_shared_pages_count_once_per_process(memwatch, burner):
    words = ("run", "-i", "5", "--", burner, "touch", "5", "mark", "up", "gate")
    watch = memwatch.start(*words)
    watch.mark("up")
    watch.ticks()
    result = watch.end()
    assert (
        "RSS counts shared pages once per process, so the total can exceed real memory use."
        in result.text
    )


@pytest.mark.both_users
def test_orphan_keeps_the_parent_that_started_it(memwatch):
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("fork", 1, "[", "mark", "parent"),
        *("fork", 1, "[", "touch", 10, "mark", "orphan", "gate", "]"),
        *("until", go, "]", "wait", "mark", "root", "gate"),
    )
    orphan, parent = watch.mark("orphan"), watch.mark("parent")
    watch.ticks()
    go.touch()
    watch.mark("root")  # it has waited for the parent, which has ended
    watch.ticks()
    result = watch.end()
    assert result.json["process_count"] == 3
    assert holds(result.by_pid(orphan), 10)
    assert result.by_pid(orphan)["ppid"] == parent
    assert result.by_pid(orphan)["parent_serial"] == result.by_pid(parent)["serial"]


@pytest.mark.both_users
def test_daemon_is_found(memwatch):
    """A daemon forks twice, starts a session, and its parent ends at once."""
    watch = memwatch.burn(
        *("daemon", "[", "touch", 10, "mark", "daemon", "gate", "]", "mark", "root", "gate")
    )
    daemon = watch.mark("daemon")
    watch.ticks()
    result = watch.end()
    process = result.by_pid(daemon)
    assert holds(process, 10)
    serials = {each["serial"] for each in result.json["processes"]}
    # Its parent may have ended before the first tick: then its parent is unknown.
    assert process["parent_serial"] is None or process["parent_serial"] in serials


def test_daemon_that_outlives_the_job(memwatch):
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("daemon", "[", "touch", 10, "mark", "daemon", "until", memwatch.room / "later", "]"),
        *("until", go, "exit", 4),
    )
    daemon = watch.mark("daemon")
    watch.ticks()
    go.touch()
    result = watch.end()
    # memwatch neither waits for it nor ends it.
    os.kill(daemon, 0)
    (memwatch.room / "later").touch()
    assert result.code == 4
    assert result.by_pid(daemon)["alive_at_end"] is True
    assert result.by_pid(daemon)["wait_status"] is None
    assert holds(result.by_pid(daemon), 10)


def test_child_that_starts_a_session(memwatch):
    watch = memwatch.burn(
        *("fork", 1, "[", "setsid", "touch", 10, "mark", "child", "gate", "]"),
        *("mark", "root", "wait"),
    )
    child = watch.mark("child")
    watch.ticks()
    assert holds(watch.end().by_pid(child), 10)


@pytest.mark.parametrize("start", ["vfork", "spawn"])
def test_child_without_a_copy_of_its_parent(memwatch, start):
    watch = memwatch.burn(
        "touch", 60, start, "[", "touch", 10, "mark", "child", "gate", "]", "mark", "root", "wait"
    )
    child, root = watch.mark("child"), watch.mark("root")
    watch.ticks()
    result = watch.end()
    assert result.by_pid(child)["ppid"] == root
    assert holds(result.by_pid(child), 10)
    assert holds(result.by_pid(root), 60)


# The sampler reads the threads of a process every 128 ms: so many ticks take twice as long.
THREADS_NOTICED = 50


@pytest.mark.both_users
@pytest.mark.parametrize("threads", [1, 50])
def test_children_of_threads(memwatch, threads):
    """Also with more threads than are read in one tick."""
    one = ["thread", "[", "fork", 1, "[", "touch", 2, "mark", "child", "gate", "]", "gate", "]"]
    watch = memwatch.burn(*one * threads, "gate")
    children = watch.marks("child", threads)
    watch.ticks(THREADS_NOTICED)
    result = watch.end()
    assert all(holds(result.by_pid(pid), 2) for pid in children)
    assert result.json["process_count"] == threads + 1


def test_child_of_a_thread_that_started_late(memwatch):
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("mark", "root", "until", go),
        *("thread", "[", "fork", 1, "[", "touch", 5, "mark", "child", "gate", "]", "gate", "]"),
        "gate",
    )
    watch.mark("root")
    watch.ticks(THREADS_NOTICED)
    go.touch()
    child = watch.mark("child")
    watch.ticks(THREADS_NOTICED)
    assert holds(watch.end().by_pid(child), 5)


def test_child_of_a_thread_that_has_ended(memwatch):
    watch = memwatch.burn(
        "thread", "[", "fork", 1, "[", "touch", 5, "mark", "child", "gate", "]", "]", "gate"
    )
    child = watch.mark("child")
    watch.ticks()
    assert holds(watch.end().by_pid(child), 5)


def test_leader_ends_before_the_other_threads(memwatch):
    """Its state is then zombie, and the usual files of the process show no memory."""
    go, timeline = memwatch.room / "go", memwatch.room / "timeline.csv"
    watch = memwatch.burn(
        *("thread", "[", "mark", "root", "until", go, "touch", 50, "mark", "full", "gate"),
        *("exit", 6, "]", "leave"),
        options=("-i", "5", "--timeline", str(timeline)),
    )
    root = watch.mark("root")
    wait_until(lambda: state_of(root) == "Z", "its leader has ended")
    watch.ticks()
    go.touch()
    watch.mark("full")
    watch.ticks(20)
    result = watch.end()
    assert result.code == 6
    assert holds(result.by_pid(root), 50)
    totals = [each["total_rss_kib"] for each in result.json["timeline"]]
    assert sum(total >= 50 * MIB for total in totals) >= 10


MARK_AND_WAIT = """
import os, sys
with open(os.environ["BURNER_MARKS"], "a") as marks:
    marks.write(f"python {os.getpid()}\\n")
sys.stdin.read()
"""


def test_exec_of_another_program(memwatch):
    """The report names the last program and keeps the first."""
    go = memwatch.room / "go"
    os.mkfifo(go)
    script = 'echo "sh $$" >> $BURNER_MARKS; read line < go; exec "$0" -c "$1"'
    command = ["sh", "-c", script, sys.executable, MARK_AND_WAIT]
    watch = memwatch.start("run", "--json", "-i", "5", "--", *command)
    pid = watch.mark("sh")
    watch.ticks()
    go.write_text("\n")
    assert watch.mark("python") == pid
    watch.ticks()
    process = watch.end().by_pid(pid)
    assert process["command"].startswith("python")
    assert process["argv"][1] == "-c"
    assert [each["command"] for each in process["images"]] == ["sh", process["command"]]
    sh, python = process["images"]
    assert sh["max_rss_kib"] < python["max_rss_kib"] == process["max_rss_kib"]


def test_exec_of_the_same_program(memwatch):
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("touch", 30, "mark", "first", "until", go),
        *("exec", "[", "touch", 5, "mark", "second", "gate", "]"),
    )
    pid = watch.mark("first")
    watch.ticks()
    go.touch()
    assert watch.mark("second") == pid
    # Nothing that is read at every tick changes: the next full inspection notices it.
    watch.ticks(220)
    process = watch.end().by_pid(pid)
    assert [each["command"] for each in process["images"]] == ["burner", "burner"]
    first, second = process["images"]
    assert holds(first, 30)
    assert holds(second, 5)
    assert holds(process, 30)


def test_one_program_per_exec(memwatch, burner):
    """Even if a process is often sampled in the middle of an exec."""
    execs = 20
    words = ["exec", "["] * execs + ["]"] * execs
    for _ in range(5):
        result = memwatch.burn(*words, options=("-i", "0.1ms"), env={"BURNER": str(burner)}).end()
        (process,) = result.json["processes"]
        assert len(process["images"]) <= execs + 1
        # A program that was never sampled has no name.
        assert (
            {"burner"} <= {program["command"] for program in process["images"]} <= {"burner", "?"}
        )


def test_parent_that_never_reaps(memwatch):
    go = memwatch.room / "go"
    watch = memwatch.burn(
        *("fork", 3, "[", "touch", 5, "mark", "child", "until", go, "exit", 9, "]"),
        *("mark", "root", "gate"),
    )
    children = watch.marks("child", 3)
    watch.ticks()
    go.touch()
    wait_until(lambda: all(state_of(pid) == "Z" for pid in children), "zombies")
    watch.ticks()
    result = watch.end()
    for pid in children:
        child = result.by_pid(pid)
        assert holds(child, 5)
        assert child["alive_at_end"] is False
        assert child["command"] == "burner"


@pytest.mark.parametrize("orphaned", [False, True], ids=["children", "orphans"])
@pytest.mark.both_users
def test_storm_of_short_processes(memwatch, orphaned):
    """Processes that vanish between two reads cause no warning."""
    storm = ["orphans" if orphaned else "storm", 500]
    watch = memwatch.burn(*storm, "mark", "root", "exit", 7, options=("-i", "0.1ms"))
    result = watch.end()
    assert result.code == 7
    assert result.text == ""
    report = result.json
    assert report["accuracy"]["error"] is None
    assert report["accuracy"]["unreadable_processes"] == 0
    assert 1 <= report["process_count"] <= 1001
    serials = [each["serial"] for each in report["processes"]]
    assert sorted(serials) == list(range(1, len(serials) + 1))


def test_adopted_orphans_are_reaped_while_the_job_runs(memwatch):
    # The burner itself waits until it is memwatch's only child.
    watch = memwatch.burn("orphans", 200, "children", 1, "exit", 5)
    assert watch.end().code == 5


def test_command_that_ends_at_once_is_in_the_report(memwatch):
    result = memwatch.burn("exit", 0, options=("-i", "1000")).end()
    (process,) = result.json["processes"]
    assert process["command"] == "burner"
    assert result.json["exit_code"] == 0


# -- Unusual names and command lines -------------------------------------------------------------

COMMS = [b"a) R 1 (b", b"x\ny", b"\x1b[31mred", b"\xff\xfe\x80", b") S 1 2 3", b"tab\tbell\a", b" "]
ARGUMENTS = [
    b"\x1b]0;owned\x07",
    b"two\nlines\r",
    b"\xff\xfe\x80",
    "\u202egnp.exe".encode(),
    "\x9b2J".encode(),
    b"$(reboot)",
    b"",
    b"' \"",
]


def hostile(memwatch, burner, *options):
    """Runs a job with harmful arguments, and one process for each harmful name."""
    words: list = []
    for argument in ARGUMENTS:
        words += ["ignore", argument]
    for comm in COMMS:
        words += ["fork", "1", "[", "comm", comm, "mark", "child", "gate", "]"]
    watch = memwatch.start("run", "-i", "5", *options, "--", burner, *words, "gate")
    watch.marks("child", len(COMMS))
    # A name may change after the process was first sampled.
    watch.ticks()
    return watch.end()


def harmless(text: str) -> bool:
    """Returns whether a text has no control characters and no invisible direction marks."""
    return all(
        char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for char in text
    )


def test_hostile_names_do_not_control_the_terminal(memwatch, burner):
    result = hostile(memwatch, burner, "--top", "all")
    assert result.code == 0
    assert "burner" in result.text
    assert harmless(result.text)


def test_hostile_names_make_valid_json(memwatch, burner):
    result = hostile(memwatch, burner, "--json")
    assert result.json["process_count"] == len(COMMS) + 1
    assert result.err == b""
    # Every string in it is text: UTF-8 cannot encode half a surrogate pair.
    json.dumps(result.json, ensure_ascii=False).encode("utf-8")
    (root,) = [each for each in result.json["processes"] if each["serial"] == 1]
    assert root["argv"][2] == "\x1b]0;owned\x07"
    assert root["argv"][6] == "\\xff\\xfe\\x80"
    assert result.json["command"][1:] == root["argv"][1:]


def test_hostile_names_make_valid_csv(memwatch, burner):
    file = memwatch.room / "out.csv"
    hostile(memwatch, burner, "--quiet", "--csv", str(file))
    rows = read_csv(file)
    assert len(rows) == len(COMMS) + 2
    assert {len(row) for row in rows} == {7}


@pytest.mark.parametrize("comm", COMMS, ids=ascii)
def test_hostile_name_of_a_process_that_is_followed(memwatch, burner, comm):
    """Its memory is read from the file that contains the name once a thread has ended."""
    watch = memwatch.burn(
        *("fork", 1, "[", "comm", comm, "fork", 1, "[", "touch", 5, "mark", "child", "gate", "]"),
        *("mark", "parent", "gate", "]", "gate"),
    )
    child, parent = watch.mark("child"), watch.mark("parent")
    watch.ticks()
    result = watch.end()
    assert holds(result.by_pid(child), 5)
    assert result.by_pid(child)["parent_serial"] == result.by_pid(parent)["serial"]
    # The child is sampled after its parent took the name.
    shown = comm.decode("utf-8", "backslashreplace")
    assert result.by_pid(child)["command"] == shown


def test_long_command_line(memwatch, burner):
    """Only the beginning of 1 MB of arguments is kept, and the report notes that."""
    words = ["ignore", "x" * 100_000] * 10
    watch = memwatch.burn(*words, "touch", 5, "mark", "root", "gate")
    root = watch.mark("root")
    watch.ticks()
    result = watch.end()
    process = result.by_pid(root)
    assert process["argv_cut"] is True
    assert process["argv"][:3] == [str(burner), "ignore", "x" * 100_000]
    end = ["touch", "5", "mark", "root", "gate"]
    assert result.json["command"] == [str(burner), *words, *end]
    assert holds(process, 5)


def test_command_line_that_is_empty(memwatch, burner):
    watch = memwatch.burn(
        *("nameless", "[", "touch", "5", "mark", "nameless", "gate", "]"),
        env={"BURNER": str(burner)},
    )
    pid = watch.mark("nameless")
    watch.ticks(220)
    result = watch.end()
    process = result.by_pid(pid)
    assert process["command"] == "burner"
    assert process["argv"] in (None, [""])
    assert holds(process, 5)


def test_empty_argument_is_kept(memwatch):
    watch = memwatch.burn("mark", "root", "ignore", "", "gate")
    root = watch.mark("root")
    watch.ticks()
    assert watch.end().by_pid(root)["argv"][1:] == ["mark", "root", "ignore", "", "gate"]
