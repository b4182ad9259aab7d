"""Checks that the README and the pages agree with the program and with the tree.

The help in docs/commands.md is that of the program; MEMWATCH_WRITE_GOLDEN=1 writes it again.
"""

from __future__ import annotations

import os
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
COMMANDS_PAGE = ROOT / "docs/commands.md"


def blocks(language: str, text: str) -> list[str]:
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


def test_help_is_that_of_the_program(tmp_path):
    introduction = PAGES["commands.md"].partition("## ")[0]
    sections = []
    for command in COMMANDS:
        printed = memwatch(command, "--help", cwd=tmp_path).stdout
        assert printed.startswith(f"Usage: memwatch {command}")
        shown = f"```console\n$ memwatch {command} --help\n{printed}```\n"
        sections.append(f"## memwatch {command}\n\n{shown}")
    expected = introduction + "\n".join(sections)
    if os.environ.get("MEMWATCH_WRITE_GOLDEN"):
        COMMANDS_PAGE.write_text(expected)
    assert COMMANDS_PAGE.read_text() == expected


def test_link_targets_exist():
    """Checks the links in the repository; building the site checks only those within docs/."""
    folders = {ROOT: ["README.md", "CONTRIBUTING.md", "SECURITY.md"], ROOT / "docs": PAGES}
    for folder, names in folders.items():
        for name in names:
            text = (folder / name).read_text()
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
                assert (folder / target).exists(), f"{name}: {target}"


def test_pages_link_only_to_pages_of_the_site():
    for name, text in PAGES.items():
        assert not re.findall(r"\]\(\.\./[^)]*", text), name


def paths_named_in(text: str) -> set[str]:
    """Returns every `folder/file` or `folder/` in backticks that must be in this repository."""
    tops = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir())
    return set(re.findall(rf"`((?:{tops})/[\w./-]*)`", text))


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_paths_exist(name):
    paths = paths_named_in((ROOT / name).read_text())
    assert len(paths) > 5
    assert not [path for path in sorted(paths) if not (ROOT / path).exists()]


def test_files_of_each_platform():
    """The files that docs/architecture.md promises for every platform are there."""
    row = next(line for line in PAGES["architecture.md"].splitlines() if "`csrc/linux/`" in line)
    files = re.findall(r"`(\w+\.[ch])`", row)
    assert len(files) == 12
    for platform in ("linux", "darwin"):
        there = {path.name for path in (ROOT / "csrc" / platform).iterdir()}
        assert set(files) <= there, platform


def test_every_page_is_in_the_index():
    for name in PAGES.keys() - {"index.md"}:
        assert f"({name})" in PAGES["index.md"], name
        assert f": {name}\n" in (ROOT / "mkdocs.yml").read_text(), name


def test_first_pages_are_short():
    """Limits the length of the README and of the first page for contributors."""
    assert len(README.splitlines()) <= 200
    assert len(PAGES["architecture.md"].splitlines()) <= 120


def test_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs mkdocs (the docs extra)")
    words = ["build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/images/view.png").exists()
    assert not list((tmp_path / "site").rglob("*.py"))


def shown_commands() -> list[str]:
    pages = [README, *PAGES.values()]
    lines = [line for page in pages for block in blocks("sh", page) for line in block.splitlines()]
    return [line.split("  #")[0] for line in lines if line.startswith("memwatch ")]


def test_commands_are_shown():
    assert len(shown_commands()) >= 5


@pytest.mark.parametrize("line", shown_commands())
def test_shown_commands_are_accepted(line, tmp_path):
    """Runs each one with a harmless command instead of the example's."""
    words = shlex.split(line.split(" > ")[0])[1:]
    if "--" in words:
        words = [*words[: words.index("--") + 1], sys.executable, "-c", ""]
    result = memwatch(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_ci_runs_the_readmes_tests():
    """.ci/run makes an environment in the same way, and runs all tests in it."""
    lines = [line for block in blocks("sh", README) for line in block.splitlines()]
    (line,) = [line for line in lines if line.endswith("pytest")]
    install, test = line.split(" && ")
    script = (ROOT / ".ci/run").read_text()
    assert install == ".venv/bin/pip install -q '.[test]'"
    assert "pip install -q '.[test,dev,docs]'" in script
    assert test == ".venv/bin/pytest"
    assert script.endswith("\npytest --all\n")


def test_python_example_runs(tmp_path):
    (example,) = blocks("python", PAGES["python.md"])
    example = example.replace('["make", "-j8"]', '["sleep", "0.05"]')
    result = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "bytes at once, 1 processes" in result.stdout


def test_what_doctor_shows(tmp_path):
    """The page shows another system, with the same wording."""
    pages = blocks("console", PAGES["sources.md"])
    (shown,) = [each for each in pages if each.startswith("$ memwatch doctor\n")]
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
    assert path.read_text().splitlines()[0] in blocks("csv", PAGES["output.md"])[0].splitlines()
