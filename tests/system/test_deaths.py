"""What follows from a real OOM kill, and from a command that fails: every report and verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command import Memwatch
from support.control_group import limited_group

MIB = 1 << 20
LIMIT = 100 * MIB

# The kernel is to end the burner, not the memwatch beside it.
HUNGRY = "echo 1000 > /proc/self/oom_score_adj; exec {} touch 400"


@pytest.fixture
def group() -> Iterator[Path]:
    with limited_group(LIMIT) as folder:
        yield folder


@pytest.fixture
def run(memwatch: Memwatch) -> Callable[..., tuple[int, str]]:
    """Runs memwatch, in a control group if one is given: returns its exit code and its stdout, or
    its stderr where that is empty."""

    def start(*words: str | Path, within: Path | None = None) -> tuple[int, str]:
        def enter() -> None:
            if within:
                (within / "cgroup.procs").write_text("0")

        result = memwatch.run(*words, preexec_fn=enter)
        return result.code, result.out.decode() or result.text

    return start


@pytest.mark.both_users
def test_a_job_that_the_oom_killer_ends(group, memwatch, burner, run) -> None:
    job = ("--", "sh", "-c", HUNGRY.format(burner))
    assert run("run", "-i", "10", "-o", "dead.jsonl.gz", *job, within=group)[0] == 137
    assert run("run", "-i", "10", "-o", "base.jsonl", "--", burner, "touch", "200")[0] == 0

    text = run("report", "--json", "dead.jsonl.gz")[1]
    (memwatch.room / "dead.json").write_text(text)
    ending = json.loads(text)["ending"]
    assert ending["how"] == "oom kill"
    (killed,) = ending["killed"]
    assert killed["command"] == "burner"
    # It is known from a sample: in the last 10 ms the burner touched some more.
    assert 0 < killed["total_rss_kib"] <= LIMIT // 1024
    victim = f"pid {killed['pid']} burner"

    for file in ("dead.jsonl.gz", "dead.json"):
        lines = run("report", file)[1].splitlines()
        assert lines[1].startswith("Job: ")
        assert lines[2] == (
            "Out of memory:   the kernel killed 1 process in the job's control group, "
            "memory limit 100.0 MiB"
        )
        assert lines[3].startswith(f"{' ' * 17}{victim}, killed by SIGKILL at ")
        assert any(line.startswith("Memory limit:") and str(group) in line for line in lines)

        for options, code, result in (
            (("--max-total-rss", "1G"), 1, "inconclusive"),
            (("--max-total-rss", "1M"), 10, "total limit exceeded"),
            (("--baseline", "base.jsonl"), 1, "inconclusive"),
        ):
            found, text = run("ci-check", *options, file)
            assert (found, text.split(":")[1].strip()) == (code, result)
            assert f"the OOM killer ended {victim} (" in text

        code, text = run("compare", "base.jsonl", file)
        assert code == 1
        assert "less, but not an improvement: in the candidate, the OOM killer ended" in text
        _, text = run("compare", "--json", "base.jsonl", file)
        assert json.loads(text)["verdict"] == "unknown"
        assert json.loads(text)["candidate"][0]["ending"] == "oom kill"

        # It has no tasks that a plan could be made of.
        code, text = run("plan", file)
        assert code == 1
        assert f"the OOM killer ended {victim}" in text

        assert run("view", "--no-open", "--html", f"{file}.html", file)[0] == 0
        page = (memwatch.room / f"{file}.html").read_text()
        assert f"The job may not have done all its work: the OOM killer ended {victim}" in page


@pytest.mark.both_users
def test_a_shell_that_goes_on_after_an_oom_kill(group, burner, run) -> None:
    """The exit code is 0. Without exit records only the shell knows what was killed."""
    job = ("--", "sh", "-c", f"({HUNGRY.format(burner)}); true")
    assert run("run", "-i", "10", "-o", "dead.jsonl", *job, within=group)[0] == 0
    document = json.loads(run("report", "--json", "dead.jsonl")[1])
    (killed,) = (each for each in document["processes"] if each["command"] == "burner")
    probably = "probably " if killed["wait_status"] is None else ""
    victim = f"{probably}pid {killed['pid']} burner"
    assert document["ending"]["how"] == "oom kill"
    assert victim in document["ending"]["why"]
    assert f"{' ' * 17}{victim}, " in run("report", "dead.jsonl")[1]
    code, text = run("ci-check", "--max-total-rss", "1G", "dead.jsonl")
    assert code == 1
    assert text.startswith("memwatch: inconclusive: ")
    code, text = run("plan", "--worker", "burner", "dead.jsonl")
    assert code == 0
    assert "Warning:  The recorded job may be incomplete: the OOM killer ended" in text


def test_a_command_that_fails(burner, run) -> None:
    for name in ("failed.jsonl", "again.jsonl"):
        assert run("run", "-o", name, "--", burner, "touch", "20", "exit", "3")[0] == 3
    assert run("run", "-o", "base.jsonl", "--", burner, "touch", "200")[0] == 0
    code, text = run("ci-check", "--max-total-rss", "1G", "failed.jsonl")
    assert code == 1
    assert text.startswith("memwatch: inconclusive: ")
    assert text.endswith("; the command failed (exit code 3)\n")
    code, text = run("compare", "base.jsonl", "failed.jsonl")
    assert code == 1
    assert "not an improvement: in the candidate, the command failed (exit code 3)" in text
    # What fails in the same way on both sides is compared.
    code, text = run("compare", "--threshold", "300%", "failed.jsonl", "again.jsonl")
    assert code == 0
    assert "base: the command failed (exit code 3)" in text
