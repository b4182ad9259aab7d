"""Tests of the sum of PSS: the policy on fake processes, and real processes of known size."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import CSRC
from support.toolchain import check_program

pytestmark = pytest.mark.slow

MEMORY = "address,undefined"
THREADS = "thread"

POLICY_CASES = (
    "off",
    "highs",
    "plateau",
    "plateau-reserve",
    "plateau-with-limit",
    "below-the-top",
    "low-again",
    "gone-meanwhile",
    "small-steps",
    "rest-below-a-step",
    "steps",
    "rising",
    "overrun",
    "after-overrun",
    "learning",
    "budget",
    "savings",
    "huge",
    "huge-alone",
    "large",
    "unreadable",
    "vanished",
    "always-vanished",
    "shared",
    "mappings-still",
    "mappings-move",
    "mapped-again",
    "grown-since",
    "kept",
    "kept-no-more",
    "kept-in-vain",
    "kept-for-none",
    "limit-at-once",
    "limit-confirmed",
    "limit-pace",
    "limit-proven",
    "limit-early",
    "blocked",
    "always",
    "unsupported",
    "end-under-way",
    "end-at-once",
)

LINUX_CASES = (
    "one",
    "zombie",
    "cow",
    "vfork",
    "vfork-in-thread",
    "vfork-without-kcmp",
    "forked",
    "forked-without-kcmp",
    "leader-ended",
    "other-user",
    "made-up",
)

PSS = (*sorted(path.name for path in CSRC.glob("pss*.c")), "table.c")
# The test of the policy includes pss.c.
POLICY = tuple(name for name in PSS if name != "pss.c")
# Without the sampler: the test itself is the platform.
LINUX = (
    *PSS,
    *("pids.c", "linux/memory.c", "linux/host.c", "linux/procfs.c", "linux/parse.c"),
)

HISTORIES = 10_000

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@on_linux
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS])
@pytest.mark.parametrize("case", POLICY_CASES)
def test_policy(toolchain, sanitizer, case):
    compiler = toolchain.any_compiler(sanitizer)
    program = toolchain.build(compiler, sanitizer, "test_pss.c", POLICY)
    check_program(sanitizer, program, case)


def test_budget(toolchain):
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "test_pss_budget.c", ["pss_budget.c"])
    check_program(MEMORY, program)


def test_random_histories(toolchain):
    compiler = toolchain.any_compiler(MEMORY)
    sources = ("pss_sweep.c", "pss_sum.c", "table.c")
    program = toolchain.build(compiler, MEMORY, "test_pss_random.c", sources)
    check_program(MEMORY, program, "1", str(HISTORIES))


@on_linux
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS])
@pytest.mark.parametrize("case", LINUX_CASES)
def test_real_processes(toolchain, sanitizer, case):
    compiler = toolchain.any_compiler(sanitizer)
    job = toolchain.build(compiler, None, "pss_job.c", [])
    program = toolchain.build(compiler, sanitizer, "test_pss_linux.c", LINUX)
    check_program(sanitizer, program, job, case)
