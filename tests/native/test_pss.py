"""Sums of proportional set sizes: the policy on made-up processes, and real ones of known size."""

from __future__ import annotations

from pathlib import Path

import pytest

MEMORY = "address,undefined"
THREADS = "thread"

LINUX = tuple(
    f"linux/{path.name}"
    for path in sorted((Path(__file__).parent.parent.parent / "csrc").glob("linux/*.c"))
)

POLICY_CASES = (
    "off",
    "highs",
    "small-steps",
    "rest-below-a-step",
    "budget",
    "savings",
    "huge",
    "huge-alone",
    "large",
    "unreadable",
    "vanished",
    "always-vanished",
    "shared",
    "blocked",
    "always",
    "unsupported",
    "end-under-way",
    "end-at-once",
)

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@on_linux
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS])
@pytest.mark.parametrize("case", POLICY_CASES)
def test_policy(toolchain, check_program, sanitizer, case):
    compiler = toolchain.any_compiler(sanitizer)
    program = toolchain.build(compiler, sanitizer, "test_pss.c", ["pss.c", "table.c"])
    check_program(sanitizer, program, case)
