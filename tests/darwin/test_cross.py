"""Tests that build all C files for macOS with the copies of Apple's headers in zig."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"

TARGETS = ("aarch64-macos.11.0", "x86_64-macos.10.15")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wsign-conversion")
DEFINES = ("-D_GNU_SOURCE", '-DMW_BUILD_DATE="2025-01-01"', '-DMW_BUILD_TARGET="test"')

MAIN = "int main(void) { return 0; }\n"
MISSPELT = "int proc_pid_rusege(int);\nint main(void) { return proc_pid_rusege(1); }\n"

# Seconds; on the first run, zig builds its libraries.
TIMEOUT = 600


@pytest.fixture
def link(tmp_path, common_sources):
    """Makes linked(TARGET, TEXT), which links all C files with a program; returns the result and
    the path of the program."""
    if not importlib.util.find_spec("ziglang"):
        pytest.skip("ziglang is not installed")

    def linked(target: str, text: str) -> tuple[subprocess.CompletedProcess[str], Path]:
        main, program = tmp_path / "main.c", tmp_path / "program"
        main.write_text(text)
        sources = [*(CSRC / name for name in common_sources), *sorted(CSRC.glob("darwin/*.c"))]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ziglang", "cc", "-target", target, "-std=c11", "-O2"),
                *("-pthread", *WARNINGS, *DEFINES, f"-I{CSRC}", main, HERE / "layout.c"),
                *(*sources, "-o", program),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={**os.environ, "ZIG_LOCAL_CACHE_DIR": str(tmp_path / "cache")},
        )
        return done, program

    return linked


@pytest.mark.parametrize("target", TARGETS)
def test_links_for_macos(link, target):
    done, program = link(target, MAIN)
    assert done.returncode == 0, done.stderr
    # A 64-bit Mach-O file: loader.h.
    assert program.read_bytes()[:4] == b"\xcf\xfa\xed\xfe"


def test_a_function_that_macos_does_not_have_is_not_linked(link):
    done, _ = link(TARGETS[0], MISSPELT)
    assert done.returncode
    assert "proc_pid_rusege" in done.stderr
