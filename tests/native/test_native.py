"""Tests that compile the C code strictly, and run its C tests under sanitizers."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from support.toolchain import check_program, fuzz_program

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"

MEMORY = "address,undefined"
THREADS = "thread"
COMPILERS = ("gcc", "clang")

FOLLOW = (
    *sorted(path.name for path in CSRC.glob("follow*.c")),
    *("table.c", "tmpfs.c", "pids.c", "queue.c", "event_list.c"),
)
PSS = tuple(sorted(path.name for path in CSRC.glob("pss*.c")))
COMMON = ("sampler.c", "watch.c", *PSS, *FOLLOW)
LINUX = tuple(sorted(f"linux/{path.name}" for path in CSRC.glob("linux/*.c")))
# The sources for which this system has headers; those of macOS are tested in tests/darwin.
EVERY_SOURCE = tuple(sorted([*(path.name for path in CSRC.glob("*.c")), *LINUX]))

FUZZ_SECONDS = 20
FUZZ_ROUNDS = 1_000_000

SAMPLER_CASES = (
    "tree",
    "tree-by-path",
    "tree-by-both",
    "churn",
    "short-jobs",
    "free-while-running",
    "free-unstarted",
    "refused-options",
    "root-gone",
    "wait-reasons",
    "own-clock",
    "resident-size",
    "no-descriptors",
    "replaced-thread",
    "foreign-child",
    "older-child",
    "spawn-errors",
    "spawn-swapped",
)

DEADLINE_CASES = (
    "on-time",
    "short-interval",
    "late",
    "skipped",
    "skipped-extra",
    "first-tick-fails",
    "later-tick-fails",
    "own-clock-fails",
    "lagging-reader",
    "near-a-limit",
    "still-near-a-limit",
    "alarms",
    "available",
)

FOLLOW_CASES = (
    "footprints-of-readings",
    "footprints-of-images",
    "footprint-of-an-unseen-image",
    "footprint-in-the-exit-event",
    "footprint-unread",
    "footprint-of-vfork",
    "no-footprints",
    "one-tick",
    "one-tick-with-record",
    "vfork-memory",
    "seen-before-fork",
    "seen-before-exec",
    "attached-before-exec",
    "in-execve",
    "in-execve-without-events",
    "two-execs",
    "two-execs-later",
    "exec-while-reading",
    "exec-lost",
    "hook-images",
    "hook-same-program",
    "hook-failed-attempt",
    "hook-after-poll",
    "hook-killed",
    "hook-with-events",
    "first-thread-ends-first",
    "first-thread-ends-first-without-events",
    "last-record-is-waited-for",
    "threads-are-added-up",
    "exec-with-threads",
    "record-comes-first",
    "end-comes-later",
    "unseen-grandchild",
    "foreign-events",
    "foreign-records",
    "pid-again-in-one-tick",
    "pid-again-while-it-lingers",
    "pid-again-without-events",
    "pid-again-while-reading",
    "lost-events",
    "ended-before-the-first-tick",
    "closing",
)

TMPFS_CASES = (
    "grows",
    "is-closed",
    "is-removed",
    "of-others",
    "older",
    "several-holders",
    "many",
    "others-remove",
    "searches",
    "takes-turns",
    "at-the-end",
    "at-random",
)

# With events between any two reads, about one history in two thousand shows a program twice, or a
# peak under the wrong one, which is then unavoidable. None of the histories from this seed does.
FIRST_SEED = 1
HISTORIES = 6_000

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def test_there_are_sources():
    assert {"sampler.c", "spawn.c", "unsupported.c", "linux/parse.c"} <= set(EVERY_SOURCE)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("source", EVERY_SOURCE)
def test_compiles_without_warnings(toolchain, tmp_path, compiler, source):
    toolchain.require(compiler, None)
    if source.startswith("linux/") and not Path("/proc/self/stat").exists():
        pytest.skip("needs Linux's headers")
    toolchain.compile(
        [
            compiler,
            *("-std=c11", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror", "-Wshadow"),
            *("-Wconversion", "-Wsign-conversion", "-Wstrict-prototypes", "-D_GNU_SOURCE"),
            *('-DMW_BUILD_DATE="2025-01-01"', '-DMW_BUILD_TARGET="test"', f"-I{CSRC}"),
            *("-c", CSRC / source, "-o", tmp_path / "out.o"),
        ]
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_unsupported_platform(toolchain, compiler):
    sources = (*COMMON, "spawn.c", "build_info.c", "unsupported.c")
    program = toolchain.build(compiler, None, "test_unsupported.c", sources)
    check_program(None, program)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_parsers(toolchain, compiler):
    program = toolchain.build(compiler, MEMORY, "test_parse.c", ["linux/parse.c"])
    check_program(MEMORY, program)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_table_pids_and_queue(toolchain, compiler):
    program = toolchain.build(compiler, MEMORY, "test_table.c", ["table.c", "pids.c", "queue.c"])
    check_program(MEMORY, program)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_watch(toolchain, compiler):
    check_program(MEMORY, toolchain.build(compiler, MEMORY, "test_watch.c", ["watch.c"]))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_details(toolchain, compiler):
    check_program(MEMORY, toolchain.build(compiler, MEMORY, "test_details.c", ["follow_details.c"]))


@pytest.mark.slow
def test_fuzz_parsers(toolchain, tmp_path):
    """Runs libFuzzer, which searches for inputs that reach new code."""
    sanitizer = f"fuzzer,{MEMORY}"
    program = toolchain.build("clang", sanitizer, "fuzz_parse.c", ["linux/parse.c"])
    shutil.copytree(HERE / "corpus", tmp_path / "corpus")
    fuzz_program(sanitizer, program, tmp_path / "corpus", FUZZ_SECONDS)


@pytest.mark.slow
def test_mutate_parsers(toolchain):
    """Runs the same target without libFuzzer, with the same inputs each time."""
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "fuzz_parse.c", ["linux/parse.c"], ["-DSTANDALONE"])
    check_program(MEMORY, program, str(FUZZ_ROUNDS), *sorted((HERE / "corpus").iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS])
@pytest.mark.parametrize("case", DEADLINE_CASES)
def test_deadlines(toolchain, sanitizer, case):
    compiler = toolchain.any_compiler(sanitizer)
    program = toolchain.build(compiler, sanitizer, "test_deadlines.c", COMMON)
    check_program(sanitizer, program, case)


@pytest.mark.parametrize("case", FOLLOW_CASES)
def test_follow(toolchain, case):
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "test_follow.c", FOLLOW)
    check_program(MEMORY, program, case)


@pytest.mark.parametrize("case", TMPFS_CASES)
def test_files_in_memory(toolchain, case):
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "test_tmpfs.c", FOLLOW)
    check_program(MEMORY, program, case)


@on_linux
def test_descriptors_of_files_in_memory(toolchain):
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "test_written_linux.c", ["linux/written.c"])
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        check_program(MEMORY, program, folder)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", [None, MEMORY])
def test_follow_random_histories(toolchain, sanitizer):
    compiler = toolchain.any_compiler(sanitizer)
    program = toolchain.build(compiler, sanitizer, "test_follow_random.c", FOLLOW)
    check_program(sanitizer, program, str(FIRST_SEED), str(HISTORIES))


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS])
@pytest.mark.parametrize("case", SAMPLER_CASES)
def test_sampler(toolchain, sanitizer, case):
    compiler = toolchain.any_compiler(sanitizer)
    job = toolchain.build(compiler, None, "job.c", [])
    program = toolchain.build(compiler, sanitizer, "test_sampler.c", [*COMMON, "spawn.c", *LINUX])
    check_program(sanitizer, program, job, case)
