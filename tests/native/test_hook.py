"""Tests of the exit hook on real processes, and of the ring through which its guardian reports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.toolchain import check_program

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"

MEMORY = "address,undefined"
THREADS = "thread"
COMPILERS = ("gcc", "clang")

SOURCES = (
    *sorted({path.name for path in CSRC.glob("*.c")} - {"unsupported.c", "build_info.c"}),
    *sorted(f"linux/{path.name}" for path in CSRC.glob("linux/*.c")),
)

CASES = (
    "probe",
    "storm",
    "spawn-storm",
    "vfork-storm",
    "peak",
    "chain",
    "long-command",
    "threads",
    "filters",
    "killed",
    "compatible",
    "path-search",
    "not-found",
    "unused",
    "nested",
    "full-ring",
    "apart",
    "leave",
    "guardian-killed",
    "maker-killed",
    "maker-stopped",
)

# The driver's exit status if the hook does not work.
CANNOT = 77

NOBODY = ("--reuid", "65534", "--regid", "65534", "--clear-groups")

TIMEOUT = 300

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def as_user(user: str) -> list[str]:
    if user == "caller":
        return []
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv to become another user")
    return ["setpriv", *NOBODY]


@pytest.fixture(scope="module")
def public_folder() -> Iterator[Path]:
    """A folder in which any user may run programs; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="memwatch-hook-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run_case(public_folder: Path) -> Callable[..., None]:
    def published(program: Path) -> Path:
        copy = public_folder / program.name
        if not copy.exists():
            shutil.copy(program, copy)
            copy.chmod(0o755)
        return copy

    def run(driver: Path, job: Path, case: str, user: str = "caller") -> None:
        done = subprocess.run(
            [*as_user(user), published(driver), published(job), case],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=TIMEOUT,
        )
        if done.returncode == CANNOT:
            pytest.skip(f"the exit hook does not work here: {done.stdout.strip()}")
        assert done.returncode == 0, (
            f"exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
        )

    return run


@on_linux
@pytest.mark.parametrize("user", ["caller", "nobody"])
@pytest.mark.parametrize("case", CASES)
def test_hook(toolchain, run_case, case, user):
    compiler = toolchain.any_compiler(None)
    job = toolchain.build(compiler, None, "hooked.c", [])
    driver = toolchain.build(compiler, None, "test_hook.c", SOURCES)
    run_case(driver, job, case, user)


@on_linux
@pytest.mark.parametrize("case", CASES)
def test_hook_sanitized(toolchain, run_case, case):
    compiler = toolchain.any_compiler(MEMORY)
    job = toolchain.build(compiler, None, "hooked.c", [])
    driver = toolchain.build(compiler, MEMORY, "test_hook.c", SOURCES)
    run_case(driver, job, case)


@on_linux
@pytest.mark.parametrize("case", ["storm", "spawn-storm", "chain", "threads"])
def test_hook_static(toolchain, run_case, tmp_path, case):
    """Uses a statically linked job, which a preloaded library could not observe."""
    compiler = toolchain.any_compiler(None)
    empty = tmp_path / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    command = [compiler, "-static", "-o", tmp_path / "empty", empty]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("there is no static C library to link with")
    job = toolchain.build(compiler, None, "hooked.c", [], ["-static"])
    driver = toolchain.build(compiler, None, "test_hook.c", SOURCES)
    run_case(driver, job, case)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("sanitizer", "mode"), [(MEMORY, "alone"), (MEMORY, "together"), (THREADS, "together")]
)
def test_ring(toolchain, compiler, sanitizer, mode):
    program = toolchain.build(compiler, sanitizer, "test_ring.c", ["linux/ring.c"])
    check_program(sanitizer, program, mode)
