"""Tests of `memwatch compare` as a command: file arguments, exit codes, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def memwatch(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memwatch", "compare", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(story, tmp_path) -> Path:
    """A folder with recordings before.N and after.N; the job of after.N needs 10 % more."""
    for side, size in (("before", 1000), ("after", 1100)):
        for number in range(5):
            script = story(f"{side}.{number}", "make", "-j8")
            script.start(1, "make", "-j8", at=0)
            script.start(2, "cc1", "a.c", parent=1)
            script.memory(1, 20 * 1024, at=1)
            script.memory(2, (size - 20 + number) * 1024)
            script.tick()
            script.exit(2, 0, by_event=True, at=2)
            script.exit(1, 0, by_event=True, at=3)
            script.tick()
            script.end(4)
    return tmp_path


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["before.0", "after.0"], 1, "total RSS: 10.0 % more: a regression"),
        (["after.0", "before.0"], 0, "total RSS: 9.1 % less: an improvement"),
        (["before.0", "before.1"], 0, "total RSS: 0.1 % more: no regression"),
        (["before.0", "before.0"], 0, "total RSS: the same: no regression"),
        (["--threshold", "12%", "before.0", "after.0"], 0, "no regression (allowed: 12 %)"),
        (["before.0", "after.0", "--threshold", "101M"], 0, "no regression (allowed: 101.0 MiB)"),
        (["--metric", "rss", "before.0", "after.0"], 1, "total RSS: 10.0 % more: a regression"),
        (["--threshold=99M", "before.0", "after.0"], 1, "a regression (allowed: 99.0 MiB)"),
        (
            ["--threshold", "20%", "--threshold", "cc1=8%", "before.0", "after.0"],
            1,
            "cc1: 10.2 % more: a regression (allowed: 8 %)",
        ),
        (
            ["--threshold", "20%", "--threshold", "make=8%", "before.0", "after.0"],
            0,
            "make: the same: no regression (allowed: 8 %)",
        ),
    ],
)
def test_two_files(folder, words, code, expected):
    done = memwatch(*words, cwd=folder)
    assert (done.returncode, done.stderr) == (code, "")
    assert expected in verdict(done)
    assert "\nVerdict: " in done.stdout
    assert "Only one run each, so noise is unknown" in done.stdout


BEFORE = [f"before.{number}" for number in range(5)]
AFTER = [f"after.{number}" for number in range(5)]


@pytest.mark.parametrize(
    "words",
    [
        ["--base", *BEFORE, "--candidate", *AFTER],
        ["--candidate", *AFTER, "--base", *BEFORE],
        ["--base", *BEFORE, "--threshold", "5%", "--candidate", *AFTER],
        ["--threshold=5%", f"--base={BEFORE[0]}", *BEFORE[1:], "--candidate", *AFTER],
        [*(word for name in BEFORE for word in ("--base", name)), "--candidate", *AFTER],
        ["--base", *BEFORE[:2], "--candidate", *AFTER, "--base", *BEFORE[2:]],
    ],
)
def test_repeats(folder, words):
    done = memwatch(*words, cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Base:       5 runs of make -j8  (before.0 … before.4)" in done.stdout
    assert verdict(done).startswith(
        "Verdict: total RSS: between 9.7 % and 10.3 % more, 95 % confidence: a regression"
    )


def test_file_names_from_shell_patterns(folder):
    words = f"{sys.executable} -m memwatch compare --base before.* --candidate after.* --json"
    done = subprocess.run(["sh", "-c", words], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (len(document["base"]), len(document["candidate"])) == (5, 5)
    assert document["verdict"] == "regression"


def test_one_side_with_a_single_file(folder):
    done = memwatch("--base", *BEFORE, "--candidate", "after.0", cwd=folder)
    assert done.returncode == 1
    assert "67 % confidence: a regression" in verdict(done)
    assert "5 and 1 runs give at most 67 % confidence" in done.stdout


def test_output_formats(folder):
    done = memwatch("--json", "before.0", "after.0", cwd=folder)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["verdict"] == "regression"
    assert document["base"][0]["file"] == "before.0"
    assert done.stderr == f"memwatch: regression: {document['verdict_text']}\n"
    done = memwatch("--markdown", "before.0", "before.1", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("### Memory: total RSS")


def test_groups_by_another_key(folder):
    done = memwatch(
        "before.0", "after.0", "--group-by", r"(\w)\.c", "--threshold", "a=5%", cwd=folder
    )
    assert done.returncode == 1
    assert r"  (\w)\.c" in done.stdout
    assert "a: 10.2 % more: a regression (allowed: 5 %)" in done.stdout
    document = memwatch("before.0", "after.0", "--group-by", "exe", "--json", cwd=folder).stdout
    assert json.loads(document)["group_by"] == "exe"


def test_json_of_runs_is_accepted(folder):
    """It has the same verdict as the recordings."""
    for name in ("before.0", "after.0"):
        with open(folder / f"{name}.json", "wb") as out:
            argv = [sys.executable, "-m", "memwatch", "report", "--json", name]
            subprocess.run(argv, cwd=folder, stdout=out, check=True)
    mixed = memwatch("before.0.json", "after.0", "--json", cwd=folder)
    recordings = memwatch("before.0", "after.0", "--json", cwd=folder)
    one, other = json.loads(mixed.stdout), json.loads(recordings.stdout)
    assert one["base"][0].pop("file") != other["base"][0].pop("file")
    assert one == other


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing to compare: write BASE CANDIDATE, or repeats: --base FILES"),
        (["before.0"], "one file given: write BASE CANDIDATE"),
        (["before.0", "before.1", "after.0"], "3 files given: write BASE CANDIDATE"),
        (["--base", "before.0"], "nothing to compare"),
        (["--candidate", "before.0"], "nothing to compare"),
        (["--base"], "--base needs a file"),
        (["--base", "--candidate", "after.0"], "--base needs a file"),
        (["before.0", "--base", "before.1", "--candidate", "after.0"], "'before.0' belongs to nei"),
        (["--base", "before.0", "--", "after.0"], "'after.0' belongs to neither side"),
        (
            ["--base", "before.0", "./before.0", "--candidate", "after.0"],
            "'./before.0' is given tw",
        ),
        (["--base", *map(str, range(101)), "--candidate", "x"], "101 files of one side: give 100"),
        (
            ["--json", "--markdown", "before.0", "after.0"],
            "--json and --markdown both go to stdout",
        ),
        (["--metric", "uss", "before.0", "after.0"], "'uss' is not one of 'rss', 'pss', 'footp"),
        (
            ["--metric", "pss", "--threshold", "cc1=5%", "before.0", "after.0"],
            "groups are compared by RSS, since their PSS is not measured; leave it out, or give "
            "--metric rss",
        ),
        (
            ["--threshold", "5%", "--threshold", "x", "a", "b"],
            "'x' is not a threshold: give 5%",
        ),
        (
            ["--threshold", "5%", "--threshold", "6%", "a", "b"],
            "is a second threshold for everything",
        ),
        (["--thresh", "5%", "before.0", "after.0"], "No such option"),
        (["before.0", "nothing"], "cannot read 'nothing': No such file or directory"),
        (["before.0", "notes.txt"], "'notes.txt' holds no results"),
    ],
)
def test_refused(folder, words, why):
    (folder / "notes.txt").write_text("hello")
    done = memwatch(*words, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("memwatch: ")
    assert why in line


def test_groups_by_exe_and_by_a_regex(folder):
    words = ["before.0", "after.0"]
    done = memwatch(*words, "--group-by", "exe", "--threshold", "/usr/bin/cc1=8%", cwd=folder)
    assert done.returncode == 1
    assert "\n  /usr/bin/cc1   980.0 MiB " in done.stdout
    assert "/bin/cc1: 10.2 % more: a regression (allowed: 8 %)" in done.stdout
    document = json.loads(memwatch(*words, "--group-by", "(c+)1?", "--json", cwd=folder).stdout)
    assert document["group_by"] == "(c+)1?"
    assert [each["name"] for each in document["groups"]] == ["cc", "(no match)"]


def test_groups_that_cannot_be_compared(folder):
    by_source = ["run", "--json", "--group-by", "source", "--", "true"]
    with open(folder / "source.json", "wb") as out:
        argv = [sys.executable, "-m", "memwatch", *by_source]
        subprocess.run(argv, cwd=folder, stdout=out, check=True)
    done = memwatch("before.0", "source.json", cwd=folder)
    assert done.returncode == 1
    assert "files are grouped by command and by source: choose one with" in done.stderr
    done = memwatch("before.0", "after.0", "--group-by", "ppid", cwd=folder)
    assert done.returncode == 1
    assert "groups by ppid belong to one run" in done.stderr


def test_no_verdict_is_an_error(folder, story):
    script = story("unseen", "make")
    script.start(1, "make", at=0)
    script.exit(1, 0, by_event=True, at=1)
    script.end(2)
    done = memwatch("before.0", "unseen", cwd=folder)
    assert done.returncode == 1
    assert done.stderr == (
        "memwatch: no verdict: total RSS: unknown in candidate, so there is no verdict "
        "(one run each)\n"
    )
    assert "candidate: its memory was not seen." in done.stdout
    done = memwatch("--metric", "pss", "before.0", "after.0", cwd=folder)
    assert done.returncode == 1
    assert done.stderr == (
        "memwatch: no verdict: total PSS: unknown in base and candidate (not measured: record with "
        "--pss peaks), so there is no verdict (one run each)\n"
    )


def test_a_recording_that_was_cut_short_is_reported(folder, story):
    script = story("cut", "make", "-j8")
    script.start(1, "make", "-j8", at=0)
    script.memory(1, 990 * 1024, at=1)
    script.tick()
    script.cut_short()
    done = memwatch("before.0", "cut", cwd=folder)
    assert done.returncode == 1
    assert "total RSS: no verdict: in the candidate, memwatch was killed" in done.stderr
    assert (
        "candidate: only a part was seen, so its peaks are lower bounds: memwatch was killed"
        in done.stdout
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_under_stdout(folder):
    with open("/dev/full", "wb") as full:
        argv = [sys.executable, "-m", "memwatch", "compare", "before.0", "before.1"]
        done = subprocess.run(argv, cwd=folder, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"memwatch: cannot write to standard output: No space left on device\n"
