"""Tests of `memwatch ci-check`: verdict, exit codes, annotations, job summary and JUnit XML."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.analysis.ci_checks import FAILED, REGRESSION, Check, Judgment
from memwatch.reports.github import annotate, job_summary, log_line, markdown, workflow_command
from memwatch.storage.load import load

GITHUB = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")

# The escapes of a workflow command, in the order in which the runner replaces them.
UNESCAPE = {
    "message": (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")),
    "property": (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")),
}


@pytest.fixture
def build(story) -> Callable[..., str]:
    """Makes a recording of `make` with a compiler that holds `size` MiB."""

    def make(name: str, size: int, program: str = "cc1", cut: bool = False) -> str:
        script = story(name, "make", "all")
        script.start(1, "make", "all", at=0)
        script.memory(1, 1 << 10, at=1)
        script.start(2, program, "x.c", parent=1, at=10)
        script.memory(2, size << 10, at=12)
        script.tick(at=20)
        script.tick(at=30)
        script.exit(2, 0, by_event=True, at=35)
        return str(script.cut_short() if cut else script.end(40))

    return make


def ci_check(
    *words: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in GITHUB}
    return subprocess.run(
        [sys.executable, "-m", "memwatch", "ci-check", *words],
        cwd=cwd or "/",
        env=env | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def unescaped(text: str, kind: str) -> str:
    for escape, char in UNESCAPE[kind]:
        text = text.replace(escape, char)
    return text


# The attributes that the schema of Jenkins' xUnit plugin (junit-10.xsd) allows for the elements
# that we write.
KNOWN = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "time", "tests", "failures", "errors", "skipped", "timestamp"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "time", "classname"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "system-out": set(),
}


# -- The line and the exit code ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "start"),
    [
        (["--max-total-rss", "11M"], 0, "ok: max total RSS at least 11.0 MiB"),
        (["--max-total-rss", "10M"], 10, "total limit exceeded: max total RSS 11.0 MiB is 1.0"),
        (["--max-total-pss", "11M"], 0, "ok: max total PSS no more than"),
        (["--max-per-proc-rss", "9M"], 11, "per-process limit exceeded: max per process RSS 10.0"),
        (["--baseline", "small"], 1, "regression: total RSS +6.0 MiB (+120.0 %) from 5.0"),
        (["--baseline", "small", "--threshold", "6M"], 0, "ok: total RSS +6.0 MiB"),
        (["--baseline", "large"], 0, "ok: total RSS −5.0 MiB (−31.2 %) from 16.0 MiB"),
        (
            ["--baseline", "large", "--threshold", "cc1=1%"],
            0,
            "ok: total RSS −5.0 MiB (−31.2 %) from 16.0 MiB in the baseline, allowed +1.0 MiB; "
            "group cc1 RSS −5.0 MiB",
        ),
        (["--max-total-pss", "10M"], 1, "inconclusive: max total PSS unknown"),
        (["--max-total-footprint", "1G"], 1, "inconclusive: max total footprint unknown (not m"),
        (["--baseline", "small", "--metric", "rss"], 1, "regression: total RSS +6.0 MiB"),
        (["--baseline", "small", "--metric", "pss"], 1, "inconclusive: total PSS cannot be comp"),
        (["--baseline", "small", "--metric", "footprint"], 1, "inconclusive: total footprint can"),
        # The first of several decides, and all that failed are shown.
        (
            ["--max-per-proc-rss", "1M", "--max-total-rss", "1M", "--baseline", "small"],
            10,
            "total limit exceeded: max total RSS 11.0 MiB",
        ),
        (["--max-per-proc-rss", "1M", "--baseline", "small"], 11, "per-process limit exceeded:"),
    ],
)
def test_verdicts(build, tmp_path, words, code, start):
    build("small", 4)
    build("large", 15)
    done = ci_check(build("now", 10), *words, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"memwatch: {start}")


def test_all_failures_are_on_the_line(build, tmp_path):
    build("small", 4)
    words = ("--max-per-proc-rss", "1M", "--max-total-rss", "1M", "--baseline", "small")
    line = ci_check(build("now", 10), *words, cwd=tmp_path).stdout
    total, process, change = line.split("; ")
    assert "max total RSS" in total
    assert process.startswith("max per process")
    assert change.startswith("total RSS +6.0 MiB")


def test_a_recording_cut_short_does_not_pass(build):
    done = ci_check(build("cut", 10, cut=True), "--max-total-rss", "1G")
    assert done.returncode == 1
    assert done.stdout.startswith("memwatch: inconclusive: max total RSS at least 11.0 MiB")


def test_the_json_of_a_run_is_accepted(tmp_path):
    path = tmp_path / "run.json"
    job = [sys.executable, "-c", "x = bytearray(20 << 20)"]
    done = subprocess.run(
        [sys.executable, "-m", "memwatch", "run", "-i", "10", "--json", "--", *job],
        cwd="/",
        stdout=path.open("wb"),
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0
    assert ci_check(str(path), "--max-total-rss", "4G", "--baseline", str(path)).returncode == 0
    peak = json.loads(path.read_text())["max_total_rss_kib"]
    assert ci_check(str(path), "--max-total-rss", f"{peak - 1}K").returncode == 10
    low, high = (
        json.loads(path.read_text())[f"max_total_footprint_{side}_kib"] for side in ("low", "high")
    )
    assert ci_check(str(path), "--max-total-footprint", f"{high}K").returncode == 0
    assert ci_check(str(path), "--max-total-footprint", f"{low - 1}K").returncode == 10
    same = ci_check(str(path), "--baseline", str(path), "--metric", "footprint")
    assert same.stdout.startswith("memwatch: ok: total footprint unchanged from ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to check: give a limit, --max-total-rss 2G, or --baseline"),
        (["--threshold", "5%"], "need --baseline FILE"),
        (["--max-total-rss", "1G", "--threshold", "5%"], "need --baseline FILE"),
        (["--max-total-rss", "1G", "--metric", "rss"], "need --baseline FILE"),
        (
            ["--baseline", "now", "--metric", "footprint", "--threshold", "cc1=5%"],
            "groups are compared by RSS, since a file does not have their footprint; leave it out, "
            "or give --metric rss",
        ),
        (["--max-total-rss", "1G", "--allow-missing-baseline"], "need --baseline FILE"),
        (["--baseline", "nowhere"], "no baseline 'nowhere': expected on a first run"),
        (["--baseline", "text"], "'text' holds no results"),
        (["--baseline", "."], "'.'"),
        (["--baseline", "now", "--threshold", "5 apples"], "'5 apples' is not a threshold"),
        (["--max-total-rss", "lots"], "'lots' is not a size"),
        (["--max-total-rss", "1G", "--junit", "no/out.xml"], "cannot write 'no/out.xml'"),
    ],
)
def test_errors_are_one_line(build, tmp_path, words, expected):
    build("now", 10)
    (tmp_path / "text").write_text("nothing of the kind\n")
    done = ci_check("now", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("memwatch: ")
    assert expected in line


def test_an_error_is_an_annotation_and_leaves_no_report(tmp_path):
    junit = tmp_path / "out.xml"
    done = ci_check(
        "nowhere", "--max-total-rss", "1G", "--junit", str(junit), GITHUB_ACTIONS="true"
    )
    assert done.returncode == 1
    assert done.stdout == (
        "::error title=memwatch%3A error::cannot read 'nowhere': No such file or directory\n"
    )
    assert not junit.exists()


def test_a_wrong_option_is_an_annotation():
    done = ci_check("nowhere", "--max-total-rss", "lots", GITHUB_ACTIONS="true")
    assert done.returncode == 1
    assert done.stdout.startswith("::error title=memwatch%3A error::")
    assert "'lots' is not a size" in done.stdout
    assert len(done.stdout.splitlines()) == len(done.stderr.splitlines()) == 1
    assert ci_check("nowhere", "--max-total-rss", "lots").stdout == ""


@pytest.mark.parametrize("link", [False, True])
def test_input_files_are_never_overwritten(build, tmp_path, link):
    paths = [Path(build(name, 10)) for name in ("before", "now")]
    before = [path.read_bytes() for path in paths]
    for path in paths:
        out = path
        if link:
            out = path.with_name(f"link-to-{path.name}")
            out.symlink_to(path)
        words = ("--baseline", str(paths[0]), "--junit", str(out))
        done = ci_check(str(paths[1]), *words)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line == f"memwatch: {str(path)!r} is the input file: choose another output"
    assert [path.read_bytes() for path in paths] == before


def test_a_project_threshold_does_not_require_a_baseline(build, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.memwatch.ci-check]\nthreshold = ["5%"]\nallow-missing-baseline = true\n'
    )
    done = ci_check(build("now", 10), "--max-total-rss", "1G", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_baseline_can_be_accepted_and_is_reported(build, tmp_path):
    words = ("--baseline", "nowhere", "--allow-missing-baseline", "--junit", "out.xml")
    done = ci_check(build("now", 10), *words, cwd=tmp_path, GITHUB_ACTIONS="true")
    assert done.returncode == 0
    line, notice = done.stdout.splitlines()
    assert line == "memwatch: ok: total RSS 11.0 MiB, not compared: no baseline 'nowhere'"
    assert notice.startswith("::notice title=memwatch::total RSS 11.0 MiB, not compared")
    assert ET.parse(tmp_path / "out.xml").find(".//testcase/skipped") is not None


def test_a_verdict_that_cannot_be_printed_is_in_the_exit_code(build):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "memwatch", "ci-check"),
                *(build("now", 10), "--max-total-rss", "1M"),
            ],
            cwd="/",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 10
    assert "No space left" in done.stderr


def test_a_junit_file_that_cannot_be_written_fails(build):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    now = build("now", 10)
    done = ci_check(now, "--max-total-rss", "1G", "--junit", "/dev/full")
    assert done.returncode == 1
    assert done.stdout.startswith("memwatch: ok: ")
    assert "cannot write '/dev/full'" in done.stderr
    assert ci_check(now, "--max-total-rss", "1M", "--junit", "/dev/full").returncode == 10


# -- GitHub --------------------------------------------------------------------------------------


def test_github_gets_annotations_and_a_summary(build, tmp_path):
    (tmp_path / "summary.md").write_text("from a step before\n")
    (tmp_path / "output").write_text("other=1\n")
    build("small", 4)
    done = ci_check(
        build("now", 10),
        *("--max-total-rss", "10M", "--max-per-proc-rss", "1G", "--baseline", "small"),
        cwd=tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY="summary.md",
        GITHUB_OUTPUT="output",
    )
    assert done.returncode == 10
    line, limit, change = done.stdout.splitlines()
    assert line.startswith("memwatch: total limit exceeded: ")
    assert limit.startswith("::error title=memwatch%3A total limit exceeded::max total RSS 11.0")
    assert change.startswith(
        "::error title=memwatch%3A regression::total RSS +6.0 MiB (+120.0 %25)"
    )
    assert (tmp_path / "output").read_text().splitlines() == [
        "other=1",
        "result=total-limit",
        f"max-total-rss-kib={11 << 10}",
        "max-total-pss-kib=",
        "max-total-footprint-kib=",
        f"max-per-proc-rss-kib={10 << 10}",
    ]
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("from a step before\n### memwatch: total limit exceeded\n")
    assert [line[2] for line in summary.splitlines() if re.match(r"\| [✅❌❓➖]", line)] == [
        *("❌", "❌", "✅")
    ]
    assert "| Largest process, RSS | 4.0 MiB | 10.0 MiB |" in summary
    assert "Max total RSS:   11.0 MiB" in summary
    assert "Per-process peak RSS:" in summary


def test_no_github_output_outside_github(build, tmp_path):
    done = ci_check(
        build("now", 10),
        *("--max-total-rss", "10M"),
        cwd=tmp_path,
        GITHUB_STEP_SUMMARY="summary.md",
        GITHUB_OUTPUT="output",
    )
    assert len(done.stdout.splitlines()) == 1
    assert not (tmp_path / "summary.md").exists()
    assert not (tmp_path / "output").exists()


def test_a_summary_that_cannot_be_written_is_only_a_warning(build, tmp_path):
    done = ci_check(
        build("now", 10),
        *("--max-total-rss", "1G"),
        cwd=tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY="no/summary.md",
    )
    assert done.returncode == 0
    assert "GITHUB_STEP_SUMMARY, 'no/summary.md': No such file" in done.stderr


@given(st.text(), st.text())
def test_a_workflow_command_is_one_line_and_unescapes_to_its_text(title, message):
    text = workflow_command("error", title, message)
    assert "\n" not in text
    assert "\r" not in text
    # The runner searches for the first "::" after the one at the start.
    head, _, data = text[2:].partition("::")
    name, _, properties = head.partition(" ")
    assert name == "error"
    (pair,) = properties.split(",")
    key, _, value = pair.partition("=")
    assert key == "title"
    printed = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in message
    )
    assert unescaped(data, "message") == printed
    assert ":" not in value
    assert unescaped(value, "property").isprintable()


def test_a_name_is_not_taken_as_a_workflow_command(build, tmp_path):
    """The runner takes `##[name]` as a command anywhere in a line."""
    name = "##[error]x|`y"
    done = ci_check(
        build("now", 10, program=name),
        *("--max-per-proc-rss", "1M", "--junit", "out.xml"),
        cwd=tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY="summary.md",
    )
    line, annotation = done.stdout.splitlines()
    assert "##[" not in line
    assert "## [error]x|`y" in line
    assert annotation.startswith("::error title=")
    (row,) = [each for each in (tmp_path / "summary.md").read_text().splitlines() if "❌" in each]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
    assert r"\#\#\[error\]x\|\`y" in row
    assert name in ET.parse(tmp_path / "out.xml").find(".//failure").text
    assert log_line("plain") == "plain"


@given(st.text())
def test_names_end_no_markdown_cell_and_open_no_tag(text):
    shown = markdown(text)
    assert shown.isprintable()
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_$]", shown)
    assert not set("<>") & set(shown)


def test_a_code_block_is_not_ended_by_its_text(build):
    profile = load(build("now", 10, program="```")).profile
    text = job_summary(Judgment(profile, (), None), (None, "now"))
    assert "\n````text\nJob: " in text


def test_no_more_annotations_than_github_shows(build):
    profile = load(build("now", 10)).profile
    checks = tuple(Check(f"group {n}", FAILED, "grew", REGRESSION) for n in range(30))
    shown = [*annotate(Judgment(profile, checks, None))]
    assert len(shown) == 10
    assert shown[-1].endswith("::21 more: see the job summary")


# -- JUnit ---------------------------------------------------------------------------------------


def test_junit(build, tmp_path):
    build("small", 4)
    junit = tmp_path / "out.xml"
    junit.write_text("of a run before, and longer than what comes now" * 99)
    ci_check(
        build("now", 10),
        *("--max-total-rss", "1M", "--max-per-proc-rss", "1G", "--max-total-pss", "2M"),
        *("--baseline", "small", "--threshold", "nobody=1%", "--junit", "out.xml"),
        cwd=tmp_path,
    )
    root = ET.parse(junit).getroot()
    assert root.tag == "testsuites"
    (suite,) = root
    counts = {"tests": "5", "failures": "2", "errors": "1", "skipped": "1"}
    assert counts.items() <= suite.attrib.items()
    for element in root.iter():
        assert set(element.keys()) <= KNOWN[element.tag]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    cases = suite.findall("testcase")
    assert [(case.get("name"), [child.tag for child in case]) for case in cases] == [
        ("max total RSS against its limit", ["failure"]),
        ("max total PSS against its limit", ["error"]),
        ("max per process against its limit", ["system-out"]),
        ("total RSS against the baseline", ["failure"]),
        ("group nobody against the baseline", ["skipped"]),
    ]
    assert {case.get("classname") for case in cases} == {"memwatch make all"}
    failure = cases[0][0]
    assert failure.get("type") == "total-limit"
    assert failure.get("message") == failure.text.splitlines()[0]
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties == {
        "max_total_rss_kib": str(11 << 10),
        "max_per_process_rss_kib": str(10 << 10),
        "exit_code": "0",
    }


def test_a_junit_library_reads_it(build, tmp_path):
    junitparser = pytest.importorskip("junitparser")
    words = ("--max-total-rss", "1M", "--max-per-proc-rss", "1G", "--junit", "out.xml")
    ci_check(build("now", 10), *words, cwd=tmp_path)
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "out.xml"))
    failed, passed = suite
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (2, 1, 0, 0)
    assert isinstance(failed.result[0], junitparser.Failure)
    assert passed.is_passed


def test_junit_has_no_characters_that_xml_forbids(build, tmp_path):
    name = "a\x01\x1b[31m\ufffe\udc80<&\"]]>'é"
    done = ci_check(
        build("now", 10, program=name),
        *("--max-per-proc-rss", "1M", "--junit", "out.xml"),
        cwd=tmp_path,
    )
    assert done.returncode == 11
    text = ET.parse(tmp_path / "out.xml").find(".//failure").text
    assert r"a\x01\x1b[31m\ufffe\x80<&" in text
    assert "\"]]>'é" in text
