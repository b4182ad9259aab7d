"""Tests of the manual pages: made from the commands, and read as man shows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from memwatch.cli import COMMANDS, cli

pytest.importorskip("click_man", reason="click-man makes the pages (the test extra has it)")

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "docs/man_pages.py"
PAGES = ("memwatch", *(f"memwatch-{name}" for name in COMMANDS))
DAY = {"SOURCE_DATE_EPOCH": "1700000000"}  # 2023-11-14


def make(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", SCRIPT, folder],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    done = make(folder, **DAY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def command_of(page: str) -> click.Command:
    name = page.partition("-")[2]
    found = cli.get_command(click.Context(cli), name) if name else cli
    assert found
    return found


def shown(page: Path) -> str:
    """Returns a page as on a terminal 100 columns wide, without text attributes."""
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc")
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=100", page],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return re.sub(".\b", "", done.stdout)


def sections(text: str) -> dict[str, str]:
    """Returns the text below each heading."""
    inner = text.strip().split("\n", 1)[1].rpartition("\n")[0]  # without header and footer
    parts = re.split(r"^(?=[A-Z])", inner, flags=re.MULTILINE)[1:]
    return {heading: body for heading, _, body in (part.partition("\n") for part in parts)}


def test_a_page_for_each_command(pages):
    assert sorted(path.name for path in pages.iterdir()) == sorted(f"{page}.1" for page in PAGES)


def test_same_pages_from_the_same_source(pages, tmp_path):
    assert make(tmp_path, **DAY).returncode == 0
    for page in pages.iterdir():
        text = page.read_bytes()
        assert b" 2023-11-14 " in text.partition(b"\n")[0]
        assert (tmp_path / page.name).read_bytes() == text


@pytest.mark.parametrize("page", PAGES)
def test_sections(pages, page):
    found = sections(shown(pages / f"{page}.1"))
    is_group = page == "memwatch"
    assert list(found) == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"),
        *(["COMMANDS"] if is_group else ["ENVIRONMENT", "FILES"]),
        "EXIT STATUS",
        *([] if is_group else ["EXAMPLES"]),
        "SEE ALSO",
    ]
    assert found["NAME"].strip().startswith(f"{page} - ")
    assert found["SYNOPSIS"].strip().startswith(page.replace("-", " ", 1))
    for option in command_of(page).params:
        if isinstance(option, click.Option):
            assert re.search(rf"^ +(-\w, )?{option.opts[-1]}\b", found["OPTIONS"], re.MULTILINE)
    assert re.search(r"^ +-h, --help$", found["OPTIONS"], re.MULTILINE) or is_group
    others = [each for each in PAGES if each != page] if is_group else ["memwatch"]
    assert found["SEE ALSO"].replace(",", " ").split() == [f"{each}(1)" for each in others]


def test_commands_are_listed(pages):
    listed = sections(shown(pages / "memwatch.1"))["COMMANDS"]
    assert re.findall(r"^ {5,8}(\S+)", listed, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_copied(pages, name):
    """They are the same as in --help, with the quotes and dashes of a shell."""
    text = command_of(f"memwatch-{name}").help or ""
    examples = [line.strip() for line in text.partition("Examples:\n")[2].strip().splitlines()]
    there = sections(shown(pages / f"memwatch-{name}.1"))["EXAMPLES"]
    assert [line.strip() for line in there.strip().splitlines()] == examples
    assert "Examples:" not in shown(pages / f"memwatch-{name}.1")


def test_exit_codes_of_each_command(pages):
    def codes(page: str) -> list[str]:
        text = sections(shown(pages / f"{page}.1"))["EXIT STATUS"]
        return re.findall(r"^ {5,8}(\w[\w' ]*?)(?:  .*)?$", text, re.MULTILINE)

    assert codes("memwatch-run") == ["0", "the command's", "1", "10", "11", "12"]
    assert codes("memwatch-ci-check") == ["0", "1", "10", "11"]
    assert codes("memwatch-view") == codes("memwatch") == ["0", "1"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "judge",
    [
        ("mandoc", "-T", "lint", "-W", "warning"),
        ("man", "--warnings", "--encoding", "UTF-8", "-Tutf8", "-l"),
        ("lexgrog",),
    ],
    ids=lambda judge: judge[0],
)
def test_no_warnings(pages, page, judge):
    if not shutil.which(judge[0]):
        pytest.skip(f"no {judge[0]}")
    done = subprocess.run(
        [*judge, pages / f"{page}.1"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    if judge[0] == "mandoc":
        assert done.stdout == ""
    if judge[0] == "lexgrog":  # reads what apropos finds
        assert f'"{page} - ' in done.stdout


def test_a_missing_dependency_is_reported_in_one_line(tmp_path):
    (tmp_path / "click_man").mkdir()
    (tmp_path / "click_man/__init__.py").write_text("raise ImportError")
    done = make(tmp_path / "man", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install click-man" in done.stderr
    assert not (tmp_path / "man").exists()
