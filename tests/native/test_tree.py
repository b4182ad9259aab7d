"""Signals to a whole job: csrc/linux/tree.c on real processes."""

from __future__ import annotations

import sys

import pytest

from support.toolchain import check_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

SOURCES = ("linux/tree.c", "linux/procfs.c", "linux/parse.c", "table.c")


@pytest.mark.parametrize("sanitizer", [None, "address,undefined", "thread"])
@pytest.mark.parametrize("how", ["lists", "scan"])
def test_tree(toolchain, sanitizer, how):
    compiler = toolchain.any_compiler(sanitizer)
    program = toolchain.build(compiler, sanitizer, "test_tree.c", SOURCES)
    check_program(sanitizer, program, how)
