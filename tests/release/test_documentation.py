"""The commands and help text of the README and the pages it leads to are the program's own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from memwatch.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {page.name: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def memwatch(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memwatch", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "96"},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_that_of_the_program(command, tmp_path):
    printed = memwatch(command, "--help", cwd=tmp_path).stdout
    assert printed.startswith(f"Usage: memwatch {command}")
    assert f"$ memwatch {command} --help\n{printed}" in blocks("console", PAGES["commands.md"])


def test_links_lead_somewhere():
    for folder, text in [(ROOT, README), *((ROOT / "docs", page) for page in PAGES.values())]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (folder / target).exists(), target


def shown_commands() -> list[str]:
    pages = [README, *PAGES.values()]
    lines = [line for page in pages for block in blocks("sh", page) for line in block.splitlines()]
    return [line.split("  #")[0] for line in lines if line.startswith("memwatch ")]


def test_commands_are_shown():
    assert len(shown_commands()) >= 5


@pytest.mark.parametrize("line", shown_commands())
def test_shown_commands_are_accepted(line, tmp_path):
    """With a command that can be run in the place of the example's."""
    words = shlex.split(line.split(" > ")[0])[1:]
    if "--" in words:
        words = [*words[: words.index("--") + 1], sys.executable, "-c", ""]
    result = memwatch(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_ci_runs_the_readmes_tests():
    """.ci/run makes an environment the same way, and runs the README's command in it."""
    (line,) = [
        line for block in blocks("sh") for line in block.splitlines() if line.endswith("pytest")
    ]
    install, test = line.split(" && ")
    script = (ROOT / ".ci/run").read_text()
    assert install == ".venv/bin/pip install -q '.[test]'"
    assert "pip install -q '.[test,dev]'" in script
    assert Path(test).name == "pytest"
    assert "\nstatus=0\npytest || status=$?\n" in script


def test_python_example_runs(tmp_path):
    (example,) = blocks("python")
    example = example.replace('["make", "-j8"]', '["sleep", "0.05"]')
    result = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "bytes at once, 1 processes" in result.stdout


def test_what_doctor_shows(tmp_path):
    """The README has another system's, but the same words."""
    (shown,) = [each for each in blocks("console") if each.startswith("$ memwatch doctor\n")]
    for line in memwatch("doctor", cwd=tmp_path).stdout.splitlines():
        if line.startswith(("  yes  ", "  no   ")):
            name = line[7:].split("  ")[0]
            assert re.search(
                rf"^  (yes|no )  {re.escape(name + line[7 + len(name) :])}$", shown, re.M
            )


@pytest.mark.parametrize("kind", ["csv", "timeline"])
def test_csv_headers_are_shown(kind, tmp_path):
    path = tmp_path / "out.csv"
    memwatch("run", f"--{kind}", str(path), "--", sys.executable, "-c", "", cwd=tmp_path)
    assert path.read_text().splitlines()[0] in blocks("csv")[0].splitlines()
