"""Tests of signals to a whole job: csrc/linux/signal_job.c on real processes."""

from __future__ import annotations

import sys

import pytest

from support.toolchain import check_program

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")]

SOURCES = tuple(f"linux/{name}.c" for name in ("scan", "procfs", "parse"))


@pytest.mark.parametrize("sanitizer", [None, "address,undefined", "thread"])
@pytest.mark.parametrize("how", ["lists", "scan"])
def test_signal_job(toolchain, sanitizer, how):
    compiler = toolchain.any_compiler(sanitizer)
    program = toolchain.build(compiler, sanitizer, "test_signal_job.c", [*SOURCES, "pids.c"])
    check_program(sanitizer, program, how)
