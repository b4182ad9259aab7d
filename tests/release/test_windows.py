"""Where memwatch cannot run, it says so in one line: at import and at build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
REFUSAL = "memwatch does not support Windows yet: it needs Linux or macOS (or WSL 2)"

# What a Python for Windows has not.
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
    """By a program that can do without."""
    done = python(f"{WINDOWS}try:\n import memwatch\nexcept ImportError as error: print(error)")
    assert (done.stdout, done.stderr) == (f"{REFUSAL}\n", "")


@pytest.mark.parametrize(
    "hook",
    ["get_requires_for_build_wheel()", "build_wheel(sys.argv[1])", "build_sdist(sys.argv[1])"],
)
def test_build_refuses(hook, tmp_path):
    """Before a compiler is looked for, and with nothing else in the output."""
    pytest.importorskip("setuptools")
    # setuptools itself is not under test: it may think that it is where it is.
    code = f"from setuptools import build_meta{WINDOWS}build_meta.{hook}"
    done = python(code, str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{REFUSAL}\n")
    assert not list(tmp_path.iterdir())
