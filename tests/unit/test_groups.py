"""Process groups by each key: the name of the group, and its sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memwatch as package
from memwatch.model.groups import (
    COMMAND,
    EMPTY,
    KEYLESS_GROUPS,
    KINDS,
    NO_MATCH,
    NO_PARENT,
    NOT_A_COMPILER,
    UNKNOWN_SOURCE_FILE,
    BySourceFile,
    group_key,
)
from memwatch.model.job import Job
from memwatch.model.observations import (
    ProgramText,
)
from memwatch.model.regroup import regrouped
from memwatch.storage.load import load
from support.command import Memwatch
from support.scripted import Script, ScriptedRecording
from support.toolchain import Programs
from support.users import User


def program(
    *argv: str, exe: str | None = None, cwd: str | None = "/build", name: str | None = None
) -> ProgramText:
    return ProgramText(name or (argv[0] if argv else "?"), exe, argv or None, False, cwd)


def key(by: str, text: ProgramText, parent: int | None = None) -> str:
    return group_key(by)(text, parent)


# The key


def test_by_command_exe_and_directory() -> None:
    text = program("cc", "-c", "a.c", exe="/usr/bin/gcc", cwd="/build/lib")
    assert key("command", text) == "cc"
    assert key("exe", text) == "/usr/bin/gcc"
    assert key("cwd", text) == "/build/lib"


@pytest.mark.parametrize("by", ["exe", "cwd", "(x)", "ppid"])
def test_a_process_without_the_key_is_in_a_group_for_that(by: str) -> None:
    name = key(by, ProgramText("?", None, None, False, None))
    assert name.startswith("(")
    assert name in KEYLESS_GROUPS


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        (r"--crate-name (\S+)", "rustc --crate-name serde", "serde"),
        (r"-p\w+", "cc -pipe", "-pipe"),
        (r"(a)|b", "b", "b"),  # the group has no part in the match
        (r"(?P<name>\d+)/(\d+)", "x 12/34", "12"),
        (r"zz+", "cc", NO_MATCH),
        (r"x()", "x", EMPTY),
        (r"^cc .*a\.c$", "cc -c a.c", "cc -c a.c"),
    ],
)
def test_by_regex(pattern: str, line: str, expected: str) -> None:
    assert key(pattern, program(*line.split())) == expected


@pytest.mark.parametrize("by", ["comand", "CWD", "cc1", "", "pid", "crate-name"])
def test_a_misspelt_keyword_is_no_regex(by: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key {by!r}: "):
        group_key(by)


def test_a_bad_regex() -> None:
    with pytest.raises(ValueError, match="not a regular expression: "):
        group_key("(a")


@pytest.mark.parametrize("by", KINDS)
def test_every_keyword_is_accepted(by: str) -> None:
    assert isinstance(key(by, program("cc")), str)


@pytest.mark.parametrize(
    ("path", "cwd", "expected"),
    [
        ("a.c", "/build", "a.c"),
        ("a.c", "/build/lib", "lib/a.c"),
        ("../a.c", "/build/lib", "a.c"),
        ("./x/../a.c", "/build", "a.c"),
        ("/build/lib/a.c", "/elsewhere", "lib/a.c"),
        ("/usr/src/a.c", "/build", "/usr/src/a.c"),
        ("a.c", "/workshop", "/workshop/a.c"),
        ("lib/a.c", None, "lib/a.c"),
    ],
)
def test_source_files_are_relative_to_the_directory_of_the_job(
    path: str, cwd: str | None, expected: str
) -> None:
    by_source = BySourceFile()
    by_source.base = "/build"
    assert by_source(program("cc1", path, cwd=cwd), None) == expected


def test_source_files() -> None:
    by_source = BySourceFile()
    assert by_source(program("cc1", "-"), None) == "(standard input)"
    assert by_source(program("cc1", "@f"), None) == UNKNOWN_SOURCE_FILE
    assert by_source(program("make"), None) == NOT_A_COMPILER
    assert by_source(program("rustc", "--crate-name", "x", "m.rs"), None) == "/build/m.rs (crate x)"


# A job


def groups(job: Job) -> dict[str, tuple[int, int, int]]:
    """Returns for each group: processes, peak at one time, sum of peaks."""
    return {each.name: (each.processes, each.peak_rss, each.sum_of_peaks) for each in job.groups()}


@pytest.fixture
def build() -> Script:
    """make starts two compilers, one after the other, each in another folder."""
    script = Script(step=1).start(1).execute(1, "make", cwd="/build").memory(1, 10).tick()
    script.start(2, parent=1).execute(2, "cc1", "a.c", cwd="/build/a").memory(2, 100).tick()
    script.start(3, parent=1).execute(3, "cc1", "a.c", cwd="/build/b").memory(3, 50).tick()
    script.memory(2, 20).memory(3, 120).tick().exit(2).exit(3).tick()
    return script


def test_a_job_by_each_key(build: Script) -> None:
    make, both = (1, 10, 10), (2, 150, 220)
    assert groups(build.job(group_by="command")) == {"make": make, "cc1": both}
    assert groups(build.job(group_by="exe")) == {"/usr/bin/make": make, "/usr/bin/cc1": both}
    a, b = (1, 100, 100), (1, 120, 120)
    assert groups(build.job(group_by="cwd")) == {"/build": make, "/build/a": a, "/build/b": b}
    assert groups(build.job(group_by="source")) == {NOT_A_COMPILER: make, "a/a.c": a, "b/a.c": b}
    assert groups(build.job(group_by=r"(cc)1")) == {NO_MATCH: make, "cc": both}
    assert groups(build.job(group_by="ppid")) == {NO_PARENT: make, "make (pid 101)": both}


def test_holders_are_in_the_same_groups(build: Script) -> None:
    held = {(each.pid, each.group) for each in build.job(group_by="cwd").at_peak()}
    assert held == {(101, "/build"), (102, "/build/a"), (103, "/build/b")}


def test_children_are_grouped_by_the_last_program_of_their_parent() -> None:
    """sh -c 'cc & exec make': both are children of one process."""
    script = Script(step=1).start(1, "sh").start(2, "cc", parent=1).memory(2, 5).tick()
    script.execute(1, "make").start(3, "ld", parent=1).memory(3, 7).tick()
    assert groups(script.job(group_by="ppid"))["make (pid 101)"] == (2, 12, 12)
    names = {each.pid: each.group for each in script.job(group_by="ppid").at_peak()}
    assert names[102] == names[103] == "make (pid 101)"


def test_a_parent_that_is_learned_later() -> None:
    script = Script(step=1).start(1, "sh").start(2, "cc")
    script.start(2, parent=1).memory(2, 5).tick()
    assert groups(script.job(group_by="ppid"))["sh (pid 101)"] == (1, 5, 5)


def test_children_of_a_parent_that_has_ended() -> None:
    script = Script(step=1).start(1, "sh").start(2, "daemon", parent=1).tick().exit(2)
    script.start(3, "worker", parent=2).memory(3, 9).tick()
    assert groups(script.job(group_by="ppid"))["daemon (pid 102)"] == (1, 9, 9)


def test_a_command_line_that_comes_late_moves_the_process() -> None:
    script = Script(step=1).start(1).execute(1, name="late", cwd="/build").memory(1, 30).tick()
    script.execute(1, "cc1", "a.c", cwd="/build", same=True).memory(1, 80).tick()
    job = script.job(group_by="source")
    assert groups(job) == {"a.c": (1, 80, 80)}
    assert [each.group for each in job.at_peak()] == ["a.c"]
    # Grouped by command, it stays in the group in which a tick has counted it.
    assert groups(script.job(group_by="command")) == {"late": (1, 80, 80)}


def test_successive_programs_of_a_process_in_one_group_count_once() -> None:
    script = Script(step=1).start(1).execute(1, "sh", cwd="/w").memory(1, 10).tick()
    script.execute(1, "rustc", "m.rs", cwd="/w").memory(1, 40).tick().execute(
        1, "rustc", "m.rs", cwd="/w"
    )
    script.memory(1, 30).tick().exit(1).tick()
    assert groups(script.job(group_by="cwd")) == {"/w": (1, 40, 40)}
    assert groups(script.job(group_by="command")) == {"sh": (1, 10, 10), "rustc": (1, 40, 40)}
    assert groups(script.job(group_by="ppid")) == {NO_PARENT: (1, 40, 40)}


def test_a_process_that_comes_back_to_a_program_counts_once(
    story: Callable[..., ScriptedRecording],
) -> None:
    script = story("x.jsonl").start(1, "sh", at=0)
    for number, (name, size) in enumerate([("env", 10), ("sh", 40), ("env", 30), ("sh", 20)]):
        script.memory(1, 35).tick(at=10 * number)
        script.execute(1, name).memory(1, size).tick(at=10 * number + 5)
    path = str(script.exit(1, 0, at=60).end(60))
    profile = load(path).profile
    once = {"sh": (1, 40 << 10, 40 << 10), "env": (1, 35 << 10, 35 << 10)}
    assert {g.name: (g.processes, g.peak_rss, g.sum_of_peaks) for g in profile.groups} == once
    again = regrouped(regrouped(profile, "exe"), COMMAND).groups
    assert {g.name: (g.processes, g.sum_of_peaks) for g in again} == {
        name: (number, peak) for name, (number, peak, _) in once.items()
    }


def test_a_process_in_no_sample_counts_with_its_last_watermark() -> None:
    script = Script(step=1).start(1).execute(1, "make", cwd="/w").memory(1, 10).tick()
    script.start(2, parent=1).execute(2, "cc1", "a.c", cwd="/w").final(2, 70).exit(2).tick()
    assert groups(script.job(group_by="source"))["a.c"] == (1, 70, 70)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["start", "run", "hold", "end", "tick"]), st.integers(0, 20)),
    max_size=60,
)


def play(actions: Sequence[tuple[str, int]]) -> Script:
    script = Script(step=1).start(1).execute(1, "cc1", "a.c", cwd="/")
    last = 1
    for action, number in actions:
        living = sorted(script.held)
        chosen = living[number % len(living)]
        if action == "start":
            last += 1
            script.start(last, parent=chosen if number % 3 else 0)
            script.execute(last, "cc1", f"{number % 4}.c", cwd="/", inherited=number % 2 == 0)
        elif action == "run":
            argv = [("cc1", "b.c"), ("sh", "-c"), ()][number % 3]
            name = argv[0] if argv else "late"
            script.execute(chosen, *argv, name=name, cwd=f"/{number % 2}")
        elif action == "hold":
            script.memory(chosen, number)
        elif action == "end" and chosen != 1:
            script.exit(chosen)
        elif action == "tick":
            script.tick()
    return script.tick()


@settings(max_examples=200, deadline=None)
@given(ACTIONS, st.sampled_from([*KINDS, r"(\w)\.c"]))
def test_groups_are_within_bounds(actions: list[tuple[str, int]], by: str) -> None:
    job = play(actions).job(group_by=by)
    peaks = [process.peak.rss for process in job.processes]
    for group in job.groups():
        assert 0 < group.processes <= 2 * len(actions) + 1
        assert group.peak_rss <= group.sum_of_peaks
    assert {group.rss for group in job._groups._groups.values()} == {0}
    largest = max((group.peak_rss for group in job.groups()), default=0)
    assert largest >= max(peaks, default=0)
    known = {group.name for group in job.groups()}
    assert {each.group for each in job.at_peak()} <= known | {
        g.name for g in job._groups._groups.values()
    }


# The command line


def memwatch(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memwatch", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, programs: Programs) -> Path:
    """Records a shell and its child in another folder, which stays until it has been sampled."""
    folder = tmp_path_factory.mktemp("grouped")
    (folder / "below").mkdir()
    own = Memwatch(User("caller", folder), partial(programs, "burner"))
    script = 'cd below && "$0" mark child gate; true'
    words = ("run", "-i", "5", "-o", "x.jsonl", "--quiet", "--", "sh", "-c", script)
    watch = own.start(*words, programs("burner"))
    watch.mark("child")
    watch.ticks()
    assert watch.end().code == 0
    own.close()
    return folder


def as_json(folder: Path, *words: str) -> dict[str, Any]:
    result = memwatch("report", "--json", *words, cwd=folder)
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_report_by_directory(recorded: Path) -> None:
    report = as_json(recorded, "x.jsonl", "--group-by", "cwd")
    assert report["group_by"] == "cwd"
    below = str(recorded.resolve() / "below")
    names = {group["command"] for group in report["groups"]}
    assert below in names
    (child,) = [each for each in report["processes"] if each["command"] == "burner"]
    assert child["cwd"] == below
    assert child["images"][-1]["cwd"] == below
    assert child["images"][-1]["exe"] == child["exe"]
    assert {each["command"] for each in report["at_peak"]} <= names


def test_the_summary_names_the_group_key(recorded: Path) -> None:
    summary = memwatch("report", "x.jsonl", "--group-by", "exe", cwd=recorded).stdout
    assert "Process groups, RSS (by exe):" in summary
    assert "/burner" in summary.split("Process groups")[1]
    summary = memwatch("report", "x.jsonl", "--group-by", r"(bu\w+)", cwd=recorded).stdout
    assert r"Process groups, RSS (by regex (bu\w+)):" in summary
    assert NO_MATCH not in summary.split("Process groups")[1].split("\n")[2]


def test_json_grouped_by_another_key_has_no_peak_at_one_time(
    story: Callable[..., ScriptedRecording], tmp_path: Path
) -> None:
    script = story("x.jsonl").start(1, "sh", at=0).memory(1, 2000).tick()
    script.start(2, "burner", parent=1, at=10).memory(2, 1000).tick(at=10)
    script.exit(2, 0, at=20).exit(1, 0, at=20).end(20)
    whole = as_json(tmp_path, "x.jsonl", "--group-by", "exe")
    (tmp_path / "command.json").write_text(json.dumps(as_json(tmp_path, "x.jsonl")))
    again = as_json(tmp_path, "command.json", "--group-by", "exe")
    assert again["group_by"] == "exe"
    assert {group["max_rss_kib"] for group in again["groups"]} == {None}
    sums = {group["command"]: group["sum_of_max_rss_kib"] for group in whole["groups"]}
    assert {g["command"]: g["sum_of_max_rss_kib"] for g in again["groups"]} == sums
    assert again["at_peak"] == whole["at_peak"]
    summary = memwatch("report", "command.json", "--group-by", "exe", cwd=tmp_path).stdout
    assert "unknown" in summary.split("Process groups")[1]
    assert "JSON has no samples" in summary


def test_json_grouped_by_the_same_key_keeps_its_groups(recorded: Path) -> None:
    whole = as_json(recorded, "x.jsonl", "--group-by", "exe")
    (recorded / "exe.json").write_text(json.dumps(whole))
    for words in ((), ("--group-by", "exe")):
        again = as_json(recorded, "exe.json", *words)
        assert (again["group_by"], again["groups"]) == ("exe", whole["groups"])


def test_json_without_directories_and_keys_can_be_read(recorded: Path) -> None:
    """JSON of an old version, which had neither."""
    old = as_json(recorded, "x.jsonl")
    del old["group_by"], old["limits"], old["cgroup"]
    for process in old["processes"]:
        del process["cwd"]
        for each in process["images"]:
            del each["cwd"], each["exe"]
    (recorded / "old.json").write_text(json.dumps(old))
    again = as_json(recorded, "old.json", "--group-by", "cwd")
    assert {group["command"] for group in again["groups"]} == {"(directory unknown)"}


def test_a_filter_leaves_the_groups_of_the_shown_processes(recorded: Path) -> None:
    words = ("report", "x.jsonl", "--group-by", "cwd", "--include", "^burner")
    section = memwatch(*words, cwd=recorded).stdout.split("Process groups")[1].split("\n\n")[0]
    (row,) = section.splitlines()[2:]
    assert "/below " in row


@pytest.mark.parametrize("command", ["report", "view"])
@pytest.mark.parametrize("by", ["comand", "(["])
def test_a_bad_key_is_refused_in_one_line(command: str, by: str, recorded: Path) -> None:
    result = memwatch(command, "x.jsonl", "--group-by", by, cwd=recorded)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert repr(by) in result.stderr


def test_run_takes_the_same_option(recorded: Path) -> None:
    result = memwatch(
        "run", "--json", "--group-by", "ppid", "--", "sh", "-c", "true; true", cwd=recorded
    )
    assert result.returncode == 0
    assert json.loads(result.stdout)["group_by"] == "ppid"


def test_the_holders_at_a_breach_are_in_the_same_groups(recorded: Path) -> None:
    words = ("run", "-i", "5", "--max-total-rss", "1K", "--on-limit", "report", "--json")
    result = memwatch(*words, "--", "sh", "-c", "sleep 0.2; true", cwd=recorded)
    document = json.loads(result.stdout)
    # The tick that found the breach began before some of the processes were found.
    breach = document["limits"]["exceeded"][0]
    breach["time"] = min(each["first_seen"] for each in document["processes"])
    (recorded / "limits.json").write_text(json.dumps(document))
    again = as_json(recorded, "limits.json", "--group-by", "exe")
    held, grouped = (
        {(each["pid"], each["command"]) for each in report["limits"]["exceeded"][0]["holders"]}
        for report in (document, again)
    )
    assert {pid for pid, _ in grouped} == {pid for pid, _ in held}
    exes = {
        (each["pid"], program["exe"]) for each in again["processes"] for program in each["images"]
    }
    assert grouped <= exes


def test_from_python() -> None:
    profile = package.run(["sh", "-c", "true; true"], interval=0.01, group_by="ppid")
    assert profile.group_by == "ppid"
    assert NO_PARENT in {group.name for group in profile.groups}
    with pytest.raises(ValueError, match="unknown key 'comand': choose from command, exe"):
        package.run(["true"], group_by="comand")


def test_the_directory_of_the_job_is_known_before_its_command_is() -> None:
    script = Script(step=1).start(1).execute(1, name="gcc").memory(1, 1).tick()
    script.start(2, parent=1).execute(2, "cc1", "src/a.c", cwd="/build").memory(2, 9).tick()
    job = Job(group_by="source", directory="/build")
    for batch in script.batches():
        job.apply(batch)
    job.finish()
    assert {group.name for group in job.groups()} == {"src/a.c", NOT_A_COMPILER}
