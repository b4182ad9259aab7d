"""Tests that compile the Darwin files strictly, here and for macOS, and fuzz the parser."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.toolchain import check_program, fuzz_program

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"

MEMORY = "address,undefined"
COMPILERS = ("gcc", "clang")
TARGETS = ("aarch64-macos.11.0", "x86_64-macos.10.15")

STRICT = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion")
STRICTER = (*STRICT, "-Wsign-conversion", "-Wstrict-prototypes", f"-I{CSRC}")

DARWIN = tuple(sorted(path.name for path in CSRC.glob("darwin/*.c")))
FAKE = tuple(map(str, sorted(HERE.glob("fake/*.c"))))

FUZZ_SECONDS = 5
FUZZ_ROUNDS = 300_000


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiles_without_warnings(toolchain, tmp_path, compiler):
    """Compiles with the headers of the fake macOS."""
    toolchain.require(compiler, None)
    assert DARWIN
    for source in (*(CSRC / "darwin" / name for name in DARWIN), HERE / "layout.c", *FAKE):
        toolchain.compile(
            [
                *(compiler, *STRICTER, "-D_GNU_SOURCE", f"-I{HERE}/include", f"-I{HERE}/fake"),
                *("-c", source, "-o", tmp_path / "out.o"),
            ]
        )


@pytest.mark.parametrize("target", TARGETS)
def test_compiles_for_macos(target, tmp_path):
    """Compiles with the copies of Apple's headers in zig."""
    if not importlib.util.find_spec("ziglang"):
        pytest.skip("ziglang is not installed")
    for source in (*(CSRC / "darwin" / name for name in DARWIN), HERE / "layout.c"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ziglang", "cc", "-target", target, *STRICTER),
                *("-c", source, "-o", tmp_path / "out.o"),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
def test_fake(toolchain, compiler):
    check_program(MEMORY, toolchain.build(compiler, MEMORY, "test_fake.c", [], FAKE))


def test_fuzz_arguments(toolchain, tmp_path):
    """Runs libFuzzer, which searches for inputs that reach new code."""
    sanitizer = f"fuzzer,{MEMORY}"
    sources = ["darwin/arguments.c"]
    program = toolchain.build("clang", sanitizer, "fuzz_arguments.c", sources, FAKE)
    shutil.copytree(HERE / "corpus", tmp_path / "corpus")
    fuzz_program(sanitizer, program, tmp_path / "corpus", FUZZ_SECONDS)


def test_mutate_arguments(toolchain):
    """Runs the same target without libFuzzer, with the same inputs each time."""
    compiler = toolchain.any_compiler(MEMORY)
    sources = ["darwin/arguments.c"]
    flags = ["-DSTANDALONE", *FAKE]
    program = toolchain.build(compiler, MEMORY, "fuzz_arguments.c", sources, flags)
    check_program(MEMORY, program, str(FUZZ_ROUNDS), *sorted((HERE / "corpus").iterdir()))
