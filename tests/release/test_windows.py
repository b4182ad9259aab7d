"""Tests that importing and building memwatch on Windows fail with one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
REFUSAL = "memwatch does not support Windows yet: it needs Linux or macOS (or WSL 2)"

# Modules that a Python for Windows does not have.
ABSENT = ("fcntl", "resource", "termios", "tty", "pwd", "memwatch.runner._native")


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


WINDOWS = f"""
import sys
sys.platform = "win32"
sys.modules.update(dict.fromkeys({ABSENT!r}))
"""


@pytest.mark.parametrize("module", ["memwatch", "memwatch.cli", "memwatch.runner.native"])
def test_import_refuses(module):
    done = python(f"{WINDOWS}import {module}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {REFUSAL}"
    assert "During handling" not in done.stderr


def test_import_can_be_caught():
    """A program that does not need memwatch can catch the error."""
    done = python(f"{WINDOWS}try:\n import memwatch\nexcept ImportError as error: print(error)")
    assert (done.stdout, done.stderr) == (f"{REFUSAL}\n", "")


@pytest.mark.parametrize(
    "hook",
    ["get_requires_for_build_wheel()", "build_wheel(sys.argv[1])", "build_sdist(sys.argv[1])"],
)
def test_build_refuses(hook, tmp_path):
    """It refuses before it searches for a compiler, and prints nothing else."""
    pytest.importorskip("setuptools")
    # setuptools itself is not under test: it sees the real system.
    code = f"from setuptools import build_meta{WINDOWS}build_meta.{hook}"
    done = python(code, str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{REFUSAL}\n")
    assert not list(tmp_path.iterdir())
