"""Tests with storms of processes that live less than a millisecond: each process, each peak.

The truth comes from the storm itself (tests/programs/storm.c) and from the kernel's exit
records, which the tests read with separate code.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.judging import Judge, Report, dumped

pytestmark = pytest.mark.slow

COUNT = 3000
FEWER = 600

# The number of processes of each kind of storm.
KINDS = {
    "fork": COUNT,
    "threads": COUNT,
    "exec": COUNT,
    "vfork": COUNT,
    "daemon": COUNT,
    "reexec": COUNT,
    "spawn": FEWER,
    "grow": FEWER,
    "killed": FEWER,
    "unannounced": FEWER,
    "crowd": FEWER,
    "filtered": FEWER,
    "mixed": COUNT,
}
# The kinds with which each source is tried alone.
SOME = ["fork", "threads", "exec", "vfork", "daemon", "mixed"]

# A user without privileges, whichever user runs the tests.
ordinary = "nobody" if os.geteuid() == 0 else "caller"
as_nobody = pytest.mark.parametrize("user", [ordinary], indirect=True)


# The share of a mixture that must be exact if all are announced. Occasionally a process is sampled
# between two steps of an execve, and its program is shown twice; or its threads end at once, and
# it is unknown which was the last. Then the report calls its peak a lower bound.
NEARLY_ALL = 0.99


@pytest.fixture
def blow(memwatch, storm):
    """Runs a storm under memwatch; returns a Judge with its report."""

    def run(kind, *options, count=None, program=None, records=None):
        words = ["run", "--json", "-i", "10", *options, "--", program or storm.program, kind]
        for _ in range(5):
            result = memwatch.run(*words, str(count or KINDS[kind]), env=storm.env)
            assert result.code == 7, result.text
            truth = storm.truth()
            if not truth.reused:
                break
        assert len(truth.pids) == (count or KINDS[kind]) + 1
        judged = Judge(Report(result.json), truth, records.read() if records else None)
        judged.nothing_is_invented()
        return judged

    return run


# -- The default sources -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_default_as_root(blow, needs, exit_records, kind):
    needs("taskstats")
    judged = blow(kind, records=exit_records)
    judged.everything_is_there()
    assert judged.report.lost == 0
    if kind not in ("reexec", "mixed"):
        judged.peaks_are_exact(judged.truth.pids)
    # If a process executed several programs, the record covers the last.
    for process in judged.report.processes:
        record = exit_records.read()[process["pid"]]
        last = process["images"][-1]
        if record.peak:  # see Judge.peaks_are_exact()
            assert last["peak_source"] == "exact", process
            assert last["max_rss_kib"] >= record.peak, (record, process)
        assert process["wait_status"] == record.status or process["pid"] in judged.truth.crowds


@pytest.mark.parametrize("kind", ["fork", "exec", "grow", "crowd"])
def test_the_kernel_s_record_is_what_is_reported(blow, needs, exit_records, kind):
    """It is the same to the KiB. The peak may be higher: a sample before the end may have more."""
    needs("taskstats")
    judged = blow(kind, records=exit_records)
    for process in judged.report.processes:
        record = exit_records.read()[process["pid"]]
        assert judged.report.final(process) == (record.peak or None), process


def test_cpu_time_is_the_kernel_s(blow, needs, exit_records):
    needs("taskstats")
    judged = blow("grow", records=exit_records)
    for process in judged.report.processes:
        record = exit_records.read()[process["pid"]]
        used = process["user_seconds"] + process["system_seconds"]
        ran = record.ran / 1e9 or (record.user + record.system) / 1e6
        assert used == pytest.approx(ran, abs=1e-5)


# -- The exit hook -------------------------------------------------------------------------------


@as_nobody
@pytest.mark.parametrize("kind", KINDS)
def test_exit_hook_as_an_ordinary_user(blow, needs, kind):
    needs("hook")
    judged = blow(kind, "--exact", "--sources", "none")
    report, truth = judged.report, judged.truth
    assert report.used("hook")
    # A process that neither calls exit_group nor executes does not reach the hook.
    hooked = {p for p in truth.pids if p in truth.announced or len(truth.programs[p]) > 1}
    assert hooked <= set(report.by_pid)
    executes_again = kind in ("mixed", "reexec")
    judged.peaks_are_exact(truth.announced, at_least=NEARLY_ALL if executes_again else 1)
    assert report.exact() <= truth.announced
    for process in report.processes:
        if process["pid"] in truth.announced & report.exact():
            # memwatch reads it after the process did: the kernel may have counted more by then.
            seen = truth.last(process["pid"]).peak
            assert seen <= report.final(process) <= seen + judged.ROUGHNESS, process
    judged.command_lines_are_known(at_least=0.99)
    # An orphan reaches the hook after its parent has ended, and no source reported its fork.
    if hooked == truth.pids and kind != "daemon":
        judged.everything_is_there()


@as_nobody
def test_exit_hook_and_events_together(blow, needs):
    needs("hook")
    needs("connector")
    judged = blow("mixed", "--exact")
    judged.everything_is_there()
    judged.peaks_are_exact(judged.truth.announced, at_least=NEARLY_ALL)
    judged.command_lines_are_known(at_least=0.99)


def test_exit_hook_as_root(blow, needs):
    """It may be left out although requested: exit records are as good."""
    needs("taskstats")
    judged = blow("mixed", "--exact")
    judged.everything_is_there()
    once = {pid for pid, programs in judged.truth.programs.items() if max(programs) < 2}
    judged.peaks_are_exact(once, at_least=NEARLY_ALL)


@as_nobody
def test_each_program_has_a_separate_exact_peak(blow, needs):
    needs("hook")
    judged = blow("reexec", "--exact", count=FEWER)
    for pid, programs in judged.truth.programs.items():
        own = [each for each in judged.report.by_pid[pid]["images"] if not each["inherited"]]
        true = [programs[number] for number in sorted(programs) if number]
        assert len(own) == len(true)
        for program, known in zip(own, true, strict=True):
            # A sample may have more than it read afterwards: see ROUGHNESS.
            assert 0 <= program["max_rss_kib"] - known.peak <= judged.ROUGHNESS, (known, own)
        assert {each["peak_source"] for each in own} == {"exact"}
        assert [each["argv"][1:] for each in own] == [judged.truth.argv(each) for each in true]
        assert all(each.peak >= each.touched for each in true)


@as_nobody
def test_dynamically_linked_programs(blow, needs, programs):
    needs("hook")
    program = programs("storm")
    judged = blow("mixed", "--exact", "--sources", "none", count=FEWER, program=program)
    judged.peaks_are_exact(judged.truth.announced)


# -- One source alone ----------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("source", ["connector", "perf", "taskstats"])
def test_one_source_alone(blow, needs, request, source, kind):
    needs(source)
    records = request.getfixturevalue("exit_records") if source == "taskstats" else None
    judged = blow(kind, "--sources", source)
    report = judged.report
    assert [each["name"] for each in report.accuracy["sources"] if each["used"]] == [source]
    assert report.lost == 0
    if source == "taskstats" and kind in ("daemon", "mixed"):
        # The record of an orphan names the process that adopted it.
        assert set(report.by_pid) == judged.truth.pids
    else:
        judged.everything_is_there()
    if records:
        once = {pid for pid, programs in judged.truth.programs.items() if max(programs) < 2}
        # See Judge.peaks_are_exact().
        judged.peaks_are_exact(
            once - {pid for pid, each in records.read().items() if not each.peak}
        )
    else:
        assert not report.exact()


@pytest.mark.both_users
@pytest.mark.parametrize("kind", ["mixed", "daemon", "grow"])
def test_no_source_at_all(blow, kind):
    """Sampling alone misses processes, and the report states that."""
    judged = blow(kind, "--sources", "none")
    report = judged.report
    assert not [each for each in report.accuracy["sources"] if each["used"]]
    assert {each["found_by"] for each in report.processes} == {"sampling"}
    assert not report.exact()
    assert judged.truth.root in report.by_pid


@pytest.mark.parametrize(
    "sources", ["connector,taskstats", "perf,taskstats", "connector,perf", "perf"]
)
def test_without_one_source(blow, needs, sources):
    for source in sources.split(","):
        needs(source)
    judged = blow("mixed", "--sources", sources, count=FEWER)
    judged.everything_is_there()


# -- A real build --------------------------------------------------------------------------------

TOOLS = ["gcc", "cc", "cc1", "as", "collect2", "ld", "sh", "make"]


@pytest.fixture
def build(memwatch):
    """A C project of 60 files, in a folder that the user may write to."""
    if not (shutil.which("make") and shutil.which("gcc")):
        pytest.skip("needs make and gcc")
    path = Path(__file__).parent.parent.parent / "benchmarks" / "c_project.py"
    if not path.exists():
        pytest.skip("needs the benchmarks' project")
    spec = importlib.util.spec_from_file_location("c_project", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = memwatch.room / "project"
    module.write(folder, functions=1)
    if memwatch.user.prefix:
        for each in (folder, *folder.iterdir()):
            os.chown(each, memwatch.user.uid, memwatch.user.uid)
    return ["make", "-s", "-j2", "-C", str(folder), "CC=gcc"]


@pytest.mark.parametrize(
    ("user", "options"),
    [("caller", []), ("nobody", ["--exact"])],
    indirect=["user"],
    ids=["root", "nobody-exact"],
)
def test_build(memwatch, build, exit_records, needs, options):
    needs("taskstats" if not options else "hook")
    result = memwatch.run("run", "--json", "-i", "10", *options, "--", *build)
    assert result.code == 0, result.text
    report = Report(result.json)
    (root,) = [each for each in report.processes if each["serial"] == 1]
    records = exit_records.below(root["pid"])
    truth = Counter(each.name for each in records.values())
    assert truth["cc1"] == 61  # 60 files and main.c
    missing = [each for pid, each in records.items() if pid not in report.by_pid]
    assert not missing
    assert set(report.by_pid) == set(records)
    for name in TOOLS:
        for process in (report.by_pid[pid] for pid, each in records.items() if each.name == name):
            # Without the hook a program of 2 ms may end before it is sampled.
            assert is_whole(name, process) or (not options and process["argv"] is None), dumped(
                process
            )
    for pid in records.keys() - report.exact():
        # Only if a program was sampled within its execve, and is shown twice: see above.
        process = report.by_pid[pid]
        assert process["peak_source"] == "watermark", process
        *before, last = process["images"]
        assert [each["peak_source"] for each in before] == ["unknown"], process
        assert last["peak_source"] == "exact", process
    assert len(report.exact()) >= 0.95 * len(records)
    for pid, record in records.items():
        process = report.by_pid[pid]
        assert process["ppid"] == record.ppid or pid == root["pid"]
        if not options:
            assert report.final(process) == record.peak
        else:
            assert abs(report.final(process) - record.peak) <= Judge.ROUGHNESS


def is_whole(name: str, process: dict) -> bool:
    """Returns whether its command line is complete."""
    argv = process["argv"]
    if not argv or process["argv_cut"] or os.path.basename(argv[0]) != name:
        return False
    if name == "gcc" and "-c" in argv:
        unit = argv[-1].removesuffix(".c")
        return argv == ["gcc", "-O2", "-c", "-o", f"{unit}.o", f"{unit}.c"]
    if name == "cc1":
        unit = next((word.removesuffix(".c") for word in argv if word.endswith(".c")), None)
        return unit is not None and "-O2" in argv and argv[-1].endswith(".s")
    return name == "make" or len(argv) > 1


# -- Special programs ----------------------------------------------------------------------------


@as_nobody
def test_nested(memwatch, storm, needs):
    """Only one memwatch can have the hook's listener. Both reports are true, the job succeeds."""
    needs("hook")
    check = [*memwatch.user.prefix, "sh", "-c", 'exec "$0" -c pass', sys.executable]
    if subprocess.run(check, check=False, capture_output=True).returncode:
        pytest.skip(f"{sys.executable} can only be run by root")
    inner = memwatch.room / "inner.json"
    command = [sys.executable, "-m", "memwatch", "run", "--exact", "--json", "--"]
    words = ["mixed", str(FEWER)]
    result = memwatch.run(
        *("run", "--exact", "--json", "--", "sh", "-c", 'exec "$@" > inner.json', "sh"),
        *(*command, storm.program, *words),
        env=storm.env,
    )
    assert result.code == 7, result.text
    truth = storm.truth()
    assert len(truth.pids) == FEWER + 1
    nested = Report(json.loads(inner.read_text()))
    Judge(nested, truth).nothing_is_invented()
    outer = Report(result.json)
    if not nested.used("hook"):
        assert nested.reason("hook")
    # The outer one sees the inner one, its guardian, if any, and the whole job.
    announced = truth.announced & set(outer.by_pid)
    assert announced == truth.announced
    for pid in announced & outer.exact():
        assert outer.final(outer.by_pid[pid]) == truth.last(pid).peak
    assert announced <= outer.exact()


@as_nobody
def test_setuid_program_under_the_hook(memwatch, burner, needs):
    """Without privileges the hook keeps setuid programs from changing user; a note explains it."""
    needs("hook")
    if os.geteuid() != 0:
        pytest.skip("needs root to make a setuid program")
    program = memwatch.room / "setuid-burner"
    shutil.copy(burner, program)
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    plain = subprocess.run([*memwatch.user.prefix, program, "root"], check=False, env=memwatch.env)
    if plain.returncode:
        pytest.skip("setuid programs do not work in this folder: it may be mounted nosuid")
    result = memwatch.run("run", "--sources", "none", "--", program, "root")
    assert result.code == 0, result.text
    memwatch.marks.unlink()  # it belongs to root
    result = memwatch.run("run", "--exact", "--sources", "none", "--", program, "root")
    assert result.code != 0
    assert "setresuid" in result.text
    assert "--exact" in result.text
    assert "sudo" in result.text or "setuid" in result.text
