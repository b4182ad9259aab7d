"""Tests of Linux's event sources with known processes, and of their parsers on any bytes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.toolchain import check_program, fuzz_program

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"

MEMORY = "address,undefined"
COMPILERS = ("gcc", "clang")

PARSERS = ["linux/messages.c", "event_list.c"]
EVERYTHING = sorted(
    str(path.relative_to(CSRC))
    for path in [*CSRC.glob("*.c"), *CSRC.glob("linux/*.c")]
    if path.name != "unsupported.c"
)

FUZZ_SECONDS = 10
FUZZ_ROUNDS = 1_000_000
PATIENCE = 120

ANY = ("storm", "two-processors", "execs", "from-thread", "signals", "double-fork", "threads")
ANY += ("reopen", "wakeups")
EVENTS = ("meanwhile", "leader-first", "thread-execs")
CASES = {
    "connector": (*ANY, *EVENTS, "filter", "losses"),
    "perf": (*ANY, *EVENTS, "full-ring"),
    "taskstats": (*ANY, "losses", "account"),
}

AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


# -- Parsers -------------------------------------------------------------------------------------


@on_linux
@pytest.mark.parametrize("compiler", COMPILERS)
def test_parsers(toolchain, compiler):
    program = toolchain.build(compiler, MEMORY, "test_messages.c", PARSERS)
    check_program(MEMORY, program)


@pytest.mark.slow
@on_linux
def test_fuzz_parsers(toolchain, tmp_path):
    """Runs libFuzzer, which searches for inputs that reach new code."""
    sanitizer = f"fuzzer,{MEMORY}"
    program = toolchain.build("clang", sanitizer, "fuzz_messages.c", PARSERS)
    (tmp_path / "corpus").mkdir()
    fuzz_program(sanitizer, program, tmp_path / "corpus", FUZZ_SECONDS)


@pytest.mark.slow
@on_linux
def test_mutate_parsers(toolchain):
    """Runs the same target without libFuzzer, with the same inputs each time."""
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "fuzz_messages.c", PARSERS, ["-DSTANDALONE"])
    check_program(MEMORY, program, str(FUZZ_ROUNDS))


# -- Sources -------------------------------------------------------------------------------------


@pytest.fixture
def feeds(toolchain, room):
    """Builds the program of all cases, where any user may run it."""

    def build(sanitizer: str | None) -> Path:
        compiler = toolchain.any_compiler(sanitizer) if sanitizer else "gcc"
        program = room / "test_feeds"
        shutil.copy(toolchain.build(compiler, sanitizer, "test_feeds.c", EVERYTHING), program)
        room.chmod(0o777)  # a case writes a file
        return program

    return build


def run(room: Path, *command: str | Path) -> str:
    """Runs a program that must exit with 0, and returns what it prints."""
    try:
        done = subprocess.run(
            [*map(str, command)],
            cwd=room,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"},
        )
    except FileNotFoundError:
        pytest.skip(f"needs {command[0]}")
    output = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, f"exit status {done.returncode}\n{output}"
    if output.startswith("SKIP"):
        pytest.skip(output.removeprefix("SKIP").strip())
    return done.stdout


def become(user: str) -> Sequence[str]:
    if user == "caller":
        return ()
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    return AS_NOBODY


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(
    ("user", "sanitizer"),
    [("caller", None), ("nobody", None), ("caller", MEMORY)],
    ids=["caller", "nobody", "sanitized"],
)
@pytest.mark.parametrize(
    ("source", "case"), [(source, case) for source, cases in CASES.items() for case in cases]
)
def test_source(feeds, room, no_survivors, source, case, user, sanitizer):
    run(room, *become(user), feeds(sanitizer), source, case)


def probe(room: Path, program: Path, source: str, *prefix: str) -> int:
    return int(run(room, *prefix, program, source, "probe"))


@pytest.mark.slow
def test_an_ordinary_user_gets_no_records(feeds, room):
    assert probe(room, feeds(None), "taskstats", *become("nobody")) == -errno.EPERM


@pytest.mark.slow
@pytest.mark.parametrize(
    ("namespace", "source", "expected"),
    [
        ("--pid", "connector", errno.ENXIO),
        ("--pid", "taskstats", errno.ENXIO),
        ("--pid", "perf", 0),
        ("--net", "connector", errno.ECONNREFUSED),
        ("--net", "taskstats", errno.ENXIO),
        ("--net", "perf", 0),
        ("--user", "connector", errno.ENXIO),
    ],
)
def test_namespaces(feeds, room, namespace, source, expected):
    """In a container the kernel sends no events, or sends them elsewhere: that is noticed."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make namespaces")
    program = feeds(None)
    if without := probe(room, program, source):
        pytest.skip(f"not available outside a namespace either: {os.strerror(-without)}")
    unshare = ("unshare", "--fork", namespace)
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"{' '.join(unshare)} does not work here")
    assert probe(room, program, source, *unshare) == -expected
