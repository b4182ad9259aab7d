"""Tests of limits on real jobs: noticed, reported, and no process survives."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.waiting import state_of, wait_until

OPTIONS = ("-i", "5")
MIB = 1024  # KiB, the unit of the reports


def one_breach(report):
    (breach,) = report["limits"]["exceeded"]
    return breach


@pytest.mark.both_users
def test_limit_on_the_total(memwatch):
    watch = memwatch.burn(
        *("mark", "root", "fork", 2, "[", "mark", "up", "until", "go", "touch", 30, "gate", "]"),
        *("until", "go", "touch", 20, "wait"),
        options=(*OPTIONS, "--max-total-rss", "60M"),
    )
    pids = {watch.mark("root"), *watch.marks("up", 2)}
    (memwatch.room / "go").touch()
    assert watch.process.wait(60) == 10
    report = watch.end().json
    assert report["signal"] == signal.SIGTERM
    limits = report["limits"]
    assert limits["max_total_rss_kib"] == 60 * MIB
    assert limits["max_per_proc_rss_kib"] is None
    assert (limits["on_limit"], limits["killed_pids"], limits["surviving_pids"]) == ("kill", [], [])
    breach = one_breach(report)
    assert (breach["limit"], breach["limit_kib"]) == ("max_total_rss", 60 * MIB)
    assert (breach["pid"], breach["serial"]) == (None, None)
    assert 60 * MIB < breach["size_kib"] <= report["max_total_rss_kib"]
    assert breach["processes"] == 3
    assert {each["pid"] for each in breach["holders"]} == pids
    held = sum(each["rss_kib"] for each in breach["holders"])
    assert abs(held - breach["size_kib"]) <= 3
    assert report["start_time"] < breach["time"] <= report["end_time"]


STORE = """
store() {
    exec 3> "$1"
    [ $how != unlinks ] || rm "$1"
    i=0
    while [ $i -lt $2 ]; do head -c 1048576 /dev/zero >&3; i=$((i + 1)); done
}
how=$2
case $how in
closes) for part in 1 2 3 4 5; do store "$1/$$-$part" $(($3 / 5)); done; exec 3>&- ;;
*) store "$1/$$" $3 ;;
esac
echo stored
[ $how = leaves ] || exec sleep 60
"""
"""A shell's script that stores MiB in a folder: in one file ("one"), in several that it closes
("closes"), in one without a name ("unlinks"), or in one that it leaves there ("leaves")."""


def store(folder, how, mib):
    return ["sh", "-c", STORE, "sh", folder, how, str(mib)]


@pytest.fixture
def shm(memwatch):
    """A folder in memory, in which the user of the test may store 2 GiB."""
    if not os.access("/dev/shm", os.W_OK) or not storage_in_memory():
        pytest.skip("needs 2 GiB in /dev/shm")
    folder = tempfile.mkdtemp(dir="/dev/shm")
    os.chown(folder, memwatch.user.uid, -1)
    yield folder
    shutil.rmtree(folder)


def storage_in_memory():
    mounted = Path("/proc/self/mountinfo").read_text()
    return " /dev/shm " in mounted and shutil.disk_usage("/dev/shm").free > 2 << 30


@pytest.mark.both_users
@pytest.mark.parametrize("how", ["one", "closes", "unlinks"])
def test_limit_on_the_footprint_of_files_in_memory(memwatch, shm, how):
    options = ("-i", "5", "--max-total-footprint", "150M")
    result = memwatch.run("run", "--json", *options, "--", *store(shm, how, 1000))
    assert result.code == 10, result.text
    breach = one_breach(result.json)
    assert breach["limit"] == "max_total_footprint"
    assert breach["size_kib"] > 150 * MIB
    assert result.json["max_total_footprint_low_kib"] >= breach["size_kib"]
    assert result.json["max_total_rss_kib"] < 100 * MIB


def test_files_in_memory_of_a_process_that_has_ended(memwatch, shm):
    """They stay, and so does the memory that they take."""
    options = ("-i", "5", "--max-total-footprint", "150M")
    command = shlex.join(store(shm, "leaves", 100))
    script = f"{command}; {command}; sleep 60"
    result = memwatch.run("run", "--json", *options, "--", "sh", "-c", script)
    assert result.code == 10, result.text


def test_a_file_in_memory_that_grows_on_when_the_command_has_ended(memwatch, shm):
    """Only the command heeds SIGTERM."""
    command = shlex.join(store(shm, "one", 1000))
    script = f"(trap '' TERM; {command}) & wait"
    options = ("-i", "5", "--max-total-footprint", "150M", "--kill-after", "120s")
    result = memwatch.run("run", "--json", *options, "--", "sh", "-c", script)
    assert result.code == 10, result.text
    limits = result.json["limits"]
    assert limits["grew_after_sigterm"]
    assert limits["killed_pids"]


@pytest.mark.both_users
def test_files_in_memory_of_others_end_no_job(memwatch, shm):
    """It is not known whose they are, so that the limit is inconclusive. Other tests may remove
    files meanwhile, but not so many."""
    watch = memwatch.burn(
        *("mark", "up", "touch", 20, "gate"),
        options=("-i", "5", "--max-total-footprint", "150M"),
    )
    watch.marks("up")
    command = [*memwatch.user.prefix, *store(shm, "one", 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "stored\n"
            watch.ticks()
        finally:
            other.kill()
    result = watch.end()
    assert result.code == 0, result.text
    assert result.json["limits"]["exceeded"] == []
    assert result.json["limits"]["inconclusive"] == ["max_total_footprint"]
    assert result.json["max_total_footprint_low_kib"] < 100 * MIB


@pytest.mark.both_users
def test_limit_on_each_process(memwatch):
    """The sum of processes does not matter; the first that is too large does."""
    watch = memwatch.burn(
        *("fork", 3, "[", "touch", 30, "mark", "small", "gate", "]"),
        *("until", "go", "fork", 1, "[", "mark", "large", "touch", 60, "gate", "]", "wait"),
        options=(*OPTIONS, "--max-per-proc-rss", "50M"),
    )
    watch.marks("small", 3)
    watch.ticks()
    (memwatch.room / "go").touch()
    large = watch.mark("large")
    assert watch.process.wait(60) == 11
    result = watch.end()
    breach = one_breach(result.json)
    assert (breach["limit"], breach["pid"]) == ("max_per_proc_rss", large)
    assert breach["command"] == "burner"
    assert result.by_pid(large)["serial"] == breach["serial"]
    assert result.by_pid(large)["max_rss_kib"] >= breach["size_kib"] > 50 * MIB


@pytest.mark.both_users
@pytest.mark.parametrize("options", [[], ["--sources", "none"], ["--exact"]], ids=str)
def test_no_process_of_the_job_survives(memwatch, needs, options):
    """Processes that ignore SIGTERM, are in other sessions, fork while they are being ended, or
    live on only as their forks: `no_survivors` searches for them."""
    if "--exact" in options:
        needs("hook")
    watch = memwatch.burn(
        *("fork", 1, "[", "mark", "heeds", "gate", "]"),
        *("trap", 15, "fork", 2, "[", "setsid", "mark", "deaf", "gate", "]"),
        *("daemon", "[", "mark", "deaf", "gate", "]"),
        *("fork", 2, "[", "breed", "mark", "deaf", "gate", "]"),
        *("fork", 1, "[", "setsid", "chain", "]"),
        *("until", "go", "touch", 60, "mark", "root", "gate"),
        options=(*OPTIONS, *options, "--max-total-rss", "50M", "--kill-after", "1s"),
    )
    deaf = watch.marks("deaf", 5)
    heeds = watch.mark("heeds")
    (memwatch.room / "go").touch()
    root = watch.mark("root")
    watch.process.wait(60)
    result = watch.end()
    assert result.code == 10, result.text
    limits = result.json["limits"]
    assert {root, *deaf} <= set(limits["killed_pids"])
    assert heeds not in limits["killed_pids"]
    assert limits["surviving_pids"] == []
    assert root in watch.marked()["sig15"]  # it was sent SIGTERM first
    for pid in (root, heeds, *deaf, *limits["killed_pids"]):
        assert state_of(pid) in ("", "Z")


def test_only_children_of_the_job_are_ended(memwatch, burner):
    """A child that memwatch had before, from the shell that executed it, is not the job's."""
    memwatch_words = " ".join(
        [sys.executable, "-m", "memwatch", "run", *OPTIONS, "--max-total-rss", "20M", "--"]
    )
    script = f'"$0" mark other trap 15 gate & exec {memwatch_words} "$0" touch 40 gate'
    watch = memwatch.popen([*memwatch.user.prefix, "sh", "-c", script, str(burner)])
    other = watch.mark("other")
    watch.process.wait(60)
    assert watch.process.returncode == 10
    os.kill(other, 0)
    os.kill(other, signal.SIGKILL)
    assert "sig15" not in watch.marked()


@pytest.mark.both_users
def test_a_process_that_is_stopped_ends_as_well(memwatch):
    watch = memwatch.burn(
        *("fork", 1, "[", "mark", "stopped", "gate", "]", "until", "go", "touch", 40, "gate"),
        options=(*OPTIONS, "--max-total-rss", "30M", "--kill-after", "60s"),
    )
    pid = watch.mark("stopped")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", "the stop")
    (memwatch.room / "go").touch()
    assert watch.process.wait(60) == 10
    assert watch.end().json["limits"]["killed_pids"] == []


@pytest.mark.both_users
@pytest.mark.parametrize(("own", "code"), [(0, 11), (3, 3)])
def test_limit_that_is_only_reported(memwatch, own, code):
    """The job runs to its own end. If it succeeds, the exit code reports the limit."""
    watch = memwatch.burn(
        *("touch", 40, "mark", "up", "gate", "mark", "done", "exit", own),
        options=(
            *(*OPTIONS, "--max-total-rss", "30M", "--max-per-proc-rss", "20M"),
            *("--on-limit", "report"),
        ),
    )
    watch.mark("up")
    watch.ticks()
    result = watch.end()
    assert result.code == code, result.text
    assert "done" in watch.marked()
    report = result.json
    assert report["exit_code"] == own
    assert report["limits"]["on_limit"] == "report"
    assert {each["limit"] for each in report["limits"]["exceeded"]} == {
        "max_total_rss",
        "max_per_proc_rss",
    }


def test_a_peak_between_samples(memwatch, burner, needs):
    """The kernel's record of the process contains it, once it has ended."""
    needs("taskstats")
    result = memwatch.run(
        *("run", "-i", "60s", "--json", "--max-per-proc-rss", "30M", "--"),
        *("sh", "-c", 'for i in 1 2 3; do "$0" touch 10; done; "$0" touch 50; sleep 60', burner),
    )
    assert result.code == 11, result.text
    breach = one_breach(result.json)
    assert breach["size_kib"] > 30 * MIB
    assert breach["command"] == "burner"


@pytest.mark.both_users
def test_shared_pages_counted_once(memwatch):
    """Two processes share 40 MiB: too much for the sum of RSS, but not of PSS."""
    words = ("touch", 40, "fork", 1, "[", "read", "mark", "up", "gate", "]", "mark", "up", "gate")
    options = (*OPTIONS, "--pss", "always", "--max-total-rss", "70M")
    watch = memwatch.burn(*words, options=options)
    assert watch.process.wait(60) == 10
    options = (*OPTIONS, "--pss", "always", "--max-total-pss", "70M")
    watch = memwatch.burn(*words, options=options)
    watch.marks("up", 2)
    watch.ticks(20)
    result = watch.end()
    assert result.code == 0, result.text
    assert result.json["limits"]["exceeded"] == []
    options = (*OPTIONS, "--pss", "always", "--max-total-pss", "20M")
    watch = memwatch.burn(*words, options=options)
    assert watch.process.wait(60) == 10
    assert one_breach(watch.end().json)["limit"] == "max_total_pss"


@pytest.mark.both_users
def test_private_memory_over_a_limit_on_pss(memwatch):
    """Sums are made for the limit even where --pss leaves none to make."""
    watch = memwatch.burn("touch", 60, "gate", options=("--max-total-pss", "40M"))
    assert watch.process.wait(60) == 10
    breach = one_breach(watch.end().json)
    assert breach["limit"] == "max_total_pss"
    assert breach["size_kib"] > 40 * MIB


@pytest.mark.both_users
def test_memory_that_moves_between_processes(memwatch, programs):
    """It counts once in a sum of PSS, also where each process has it alone while it is read."""
    result = memwatch.run(
        *("run", "--json", "--max-total-pss", "130M", "--", programs("churn"), 5, 80, 1500)
    )
    assert result.code == 0, result.text
    assert result.json["max_total_rss_kib"] > 130 * MIB
    assert result.json["limits"]["exceeded"] == []


@pytest.mark.both_users
def test_too_little_memory_is_left(memwatch):
    watch = memwatch.burn("touch", 5, "gate", options=("--min-available", "1000000G"))
    assert watch.process.wait(60) == 10
    report = watch.end().json
    limits = report["limits"]
    breach = one_breach(report)
    assert limits["min_available_kib"] == 1000000 * MIB * MIB
    assert (breach["limit"], breach["limit_kib"]) == ("min_available", 1000000 * MIB * MIB)
    assert 0 < breach["size_kib"] < breach["limit_kib"]
    assert breach["in_group"] in (False, True)
    # Enough for any job of this test, and far below what any machine has.
    watch = memwatch.burn("touch", 5, "mark", "up", "gate", options=("--min-available", "1B"))
    watch.mark("up")
    result = watch.end()
    assert result.code == 0, result.text
    assert (result.json["limits"]["exceeded"], result.json["limits"]["inconclusive"]) == ([], [])


@pytest.mark.both_users
def test_a_job_that_grows_on_is_killed_at_once(memwatch):
    watch = memwatch.burn(
        *("trap", 15, "touch", 40, "until", "grow", "hold", 500, "touch", 30, "gate"),
        options=("--max-total-rss", "30M", "--kill-after", "100min"),
    )
    watch.marks("sig15")
    (memwatch.room / "grow").touch()
    assert watch.process.wait(60) == 10
    report = watch.end().json
    assert report["signal"] == signal.SIGKILL
    assert report["limits"]["grew_after_sigterm"]
    (receiver,) = report["limits"]["signalled_processes"]
    assert receiver == {
        "pid": report["processes"][0]["pid"],
        "command": "burner",
        "signals": ["SIGTERM", "SIGKILL"],
    }


@pytest.mark.both_users
def test_what_is_left_of_a_job_grows_on(memwatch):
    """The command has ended, and sampling with it; its child ignores SIGTERM."""
    watch = memwatch.burn(
        *("fork", 1, "[", "setsid", "trap", 15, "mark", "deaf"),
        *("until", "grow", "hold", 500, "touch", 30, "gate", "]"),
        *("until", "go", "touch", 40, "gate"),
        options=("--max-total-rss", "30M", "--kill-after", "100min"),
    )
    deaf = watch.mark("deaf")
    (memwatch.room / "go").touch()
    watch.marks("sig15")
    (memwatch.room / "grow").touch()
    assert watch.process.wait(60) == 10
    limits = watch.end().json["limits"]
    assert limits["grew_after_sigterm"]
    assert limits["killed_pids"] == [deaf]


def test_the_interval_with_a_limit(memwatch):
    watch = memwatch.burn("mark", "up", "gate", options=("--max-total-rss", "8G"))
    watch.mark("up")
    watch.ticks()
    report = watch.end().json
    assert (report["interval_ms"], report["accuracy"]["requested_interval_ms"]) == (10, 500)
    report = memwatch.run("run", "--json", "-i", "5", "--max-total-rss", "8G", "--", "true").json
    assert (report["interval_ms"], report["accuracy"]["requested_interval_ms"]) == (5, 5)
    result = memwatch.run("run", "--max-total-rss", "8G", "--", "true")
    assert "interval 10 ms because of a limit, not 500 ms" in result.text


@pytest.mark.parametrize("options", [["--quiet"], ["--json"], ["--json", "--quiet"], ["--silent"]])
def test_a_limit_is_reported_without_a_summary(memwatch, burner, options):
    words = ("--max-per-proc-rss", "30M", "--", burner, "touch", 40, "until", "never")
    result = memwatch.run("run", *options, *words)
    assert result.code == 11
    lines = result.err.decode().splitlines()
    if options == ["--silent"]:
        assert any(line.startswith("Limit exceeded:  RSS of a process ") for line in lines)
    else:
        (line,) = lines
        assert line.startswith("memwatch: limit exceeded: RSS of a process ")
        assert "sent SIGTERM to burner (pid " in line
        assert line.endswith("exit code 11 of memwatch")
    words = ("run", *options, "--repeat", "2", *words)
    result = memwatch.run(*words)
    assert result.code == 11
    assert "exceeded" in result.err.decode()


@pytest.mark.both_users
def test_a_limit_that_is_not_exceeded(memwatch, burner):
    words = ("run", *OPTIONS, "--max-total-rss", "8G", "--", burner)
    watch = memwatch.start(*words, "touch", 5, "mark", "up", "gate", "exit", 4)
    watch.mark("up")
    watch.ticks()
    result = watch.end()
    assert result.code == 4
    assert "Limits:          total RSS 8.0 GiB: not exceeded in any sample" in result.text


def test_messages_and_reports(memwatch, burner):
    words = (
        burner,
        "trap",
        15,
        "touch",
        30,
        "fork",
        1,
        "[",
        "touch",
        40,
        "until",
        "x",
        "]",
        "wait",
    )
    path = memwatch.room / "job.jsonl"
    result = memwatch.run(
        *("run", *OPTIONS, "-o", path, "--max-total-rss", "50M", "--kill-after", "0.2s", "--"),
        *words,
    )
    assert result.code == 10
    text = result.text
    assert "Limit exceeded:  total RSS " in text
    assert ", limit 50.0 MiB  (at " in text
    assert "sent SIGTERM" in text
    assert "When the limit was exceeded, by the last samples:" in text
    again = memwatch.run("report", path)
    assert again.code == 0
    assert again.out.decode() == text
    json = memwatch.run("report", "--json", path)
    from_json = memwatch.room / "job.json"
    from_json.write_bytes(json.out)
    third = memwatch.run("report", from_json)
    assert [line for line in third.out.decode().splitlines() if "imit" in line] == [
        line for line in text.splitlines() if "imit" in line
    ]


def test_each_process_is_sent_sigterm_once(memwatch):
    """To many programs a second SIGTERM means "at once, without cleaning up"."""
    watch = memwatch.burn(
        *("trap", 15, "fork", 90, "[", "mark", "up", "until", "go", "]"),
        *("mark", "root", "until", "go", "touch", 40, "gate"),
        options=(*OPTIONS, "--max-per-proc-rss", "30M", "--kill-after", "1s"),
    )
    watch.mark("root")
    watch.marks("up", 90)
    (memwatch.room / "go").touch()
    assert watch.process.wait(60) == 11
    assert watch.marked()["sig15"].count(watch.mark("root")) == 1


def test_a_job_that_ended_by_itself(memwatch, burner, needs):
    """A limit that is found exceeded only after the end has ended nothing."""
    needs("taskstats")
    script = 'sleep 0.6; "$0" touch 50; exit 3'
    words = ("run", "-i", "60s", "--max-per-proc-rss", "30M")
    result = memwatch.run(*words, "--", "sh", "-c", script, burner)
    assert result.code == 11
    assert "the job had already ended by itself" in result.text or "(killed by" in result.text


@pytest.mark.both_users
def test_a_signal_ends_the_wait(memwatch):
    """The command has ended; one of its children uses its whole grace period."""
    watch = memwatch.burn(
        *("fork", 1, "[", "setsid", "trap", 15, "mark", "deaf", "gate", "]", "until", "go"),
        *("touch", 40, "gate"),
        options=(*OPTIONS, "--max-total-rss", "30M", "--kill-after", "50min"),
    )
    deaf = watch.mark("deaf")
    (memwatch.room / "go").touch()
    watch.marks("sig15")
    os.kill(watch.pid, signal.SIGTERM)
    assert watch.process.wait(60) == 10
    assert watch.end().json["limits"]["killed_pids"] == [deaf]
    assert state_of(deaf) in ("", "Z")


def test_limits_of_a_series(memwatch, burner):
    """What a run left behind is not part of the next one, and must not be ended for it."""
    words = ("run", "--repeat", "3", *OPTIONS, "--max-total-rss", "200M", "--")
    result = memwatch.run(*words, burner, "daemon", "[", "until", "go", "]")
    assert result.code == 1
    assert "run 1 left processes behind, and a limit would end those as well" in result.text
    (memwatch.room / "go").touch()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kill-after", "100001min"], "is out of range"),
        (["--kill-after", "9" * 400 + "s"], "is out of range"),
        (["--kill-after", "5"], "'5' has no unit: write 5s or 5ms"),
        (["--max-total-rss", "500"], "'500' has no unit: write 500M, 500G, or 500B for bytes"),
        (["--max-total-rss", "lots"], "'lots' is not a size"),
        (["--max-total-rss", "0"], "'0' is not a size"),
        (["--max-per-proc-rss", "-5M"], "'-5M' is not a size"),
        (["--max-total-pss", "5M", "--pss", "off"], "--pss off"),
        (["--max-total-footprint", "much"], "'much' is not a size"),
        (["--min-available", "-1"], "'-1' is not a size"),
        (["--kill-after", "soon"], "'soon' is not a duration"),
    ],
)
def test_bad_limits(memwatch, options, message):
    result = memwatch.run("run", *options, "--", "true")
    assert result.code == 1
    assert message in result.one_line()


def test_ctrl_c_while_the_job_is_being_ended(memwatch, burner):
    """The time between the two signals may be long; the report still comes."""
    watch = memwatch.burn(
        *("trap", 15, "touch", 40, "mark", "up", "gate"),
        options=(*OPTIONS, "--max-total-rss", "30M", "--kill-after", "60s"),
    )
    watch.marks("sig15")
    os.kill(watch.pid, signal.SIGINT)
    assert watch.process.wait(60) == 10
    assert watch.end().json["signal"] == signal.SIGINT


def test_a_full_signal_mask(memwatch, burner):
    """A job that blocks SIGTERM gets SIGKILL."""
    program = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {15}); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    result = memwatch.run(
        *("run", "--json", *OPTIONS, "--max-total-rss", "30M", "--kill-after", "100ms", "--"),
        *(sys.executable, "-c", program, burner, "touch", 40, "wait", "until", "never"),
    )
    assert result.code == 10
    assert result.json["signal"] == signal.SIGKILL
    assert len(result.json["limits"]["killed_pids"]) == 1
