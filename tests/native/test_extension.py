"""Tests of the extension from Python, as installed and built with sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SCRIPT = HERE / "exercise_extension.py"

SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"

TIMEOUT = 300

CASES = (
    "scan_machine",
    "scan_tree",
    "scan_nowhere",
    "spawn_command",
    "spawn_missing",
    "sample_forks",
    "run_profile",
    "many_records",
    "long_command_line",
    "tree_in_steps",
    "reused_pid",
    "without_lists_of_children",
    "signals",
    "refusals",
    "facts",
    "close_while_sampling",
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def execute(case: str, env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, case],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=TIMEOUT,
        env=env,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory) -> dict[str, str]:
    """The environment in which Python runs a copy of memwatch built with sanitizers."""
    pytest.importorskip("setuptools")
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("gcc has no runtime for -fsanitize=address")
    # The library is preloaded into the compiler as well, whose leaks do not matter here.
    preload = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    probe = subprocess.run(
        [sys.executable, "-c", "import _cffi_backend"],
        check=False,
        capture_output=True,
        text=True,
        env=preload,
    )
    if probe.returncode:
        pytest.skip(f"Python does not run under AddressSanitizer here: {probe.stderr}")

    directory = tmp_path_factory.mktemp("sanitized")
    library, objects = directory / "lib", directory / "objects"
    shutil.copytree(
        ROOT / "memwatch",
        library / "memwatch",
        ignore=shutil.ignore_patterns("*.so", "__pycache__", "_native.c"),
    )
    built = subprocess.run(
        [
            *(sys.executable, "setup.py", "-q", "build_ext"),
            *("--build-lib", library, "--build-temp", objects),
        ],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "CC": "gcc",
            "LDSHARED": "gcc -shared",
            "CFLAGS": SANITIZE,
            "LDFLAGS": SANITIZE,
        },
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return {
        **preload,
        "PYTHONPATH": str(library),
        "PYTHONDONTWRITEBYTECODE": "1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "EXTENSION_UNDER_TEST": str(library / "memwatch" / "runner"),
    }


@pytest.mark.parametrize("case", CASES)
def test_installed(case):
    execute(case, dict(os.environ))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_sanitized(sanitized, case):
    execute(case, sanitized)
