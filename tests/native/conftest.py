"""Builds the C tests, with and without sanitizers, and runs them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wsign-conversion")
DEFINES = ("-D_GNU_SOURCE", '-DMW_BUILD_DATE="2025-01-01"', '-DMW_BUILD_TARGET="test"')
BASE = ("-std=c11", "-g", "-O1", "-pthread", *WARNINGS, *DEFINES, f"-I{CSRC}", f"-I{CSRC}/linux")

MEMORY = "address,undefined"
THREADS = "thread"

# A program's exit status when what it tests cannot be had here; it has printed why. As automake.
SKIPPED = 77

# Longest run of any one program; only a hang takes that long.
TIMEOUT = 300


def _run(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=TIMEOUT,
        env=env,
    )


@functools.cache
def without_randomization() -> tuple[str, ...]:
    """ThreadSanitizer does not start where the kernel spreads mappings too widely."""
    setarch = shutil.which("setarch")
    if setarch and _run([setarch, "-R", "true"]).returncode == 0:
        return (setarch, "-R")
    return ()


def sanitizer_flags(sanitizer: str | None) -> tuple[str, ...]:
    if not sanitizer:
        return ()
    return (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def execute(
    command: Sequence[str | Path], sanitizer: str | None
) -> subprocess.CompletedProcess[str]:
    prefix = without_randomization() if sanitizer == THREADS else ()
    env = {
        **os.environ,
        "ASAN_OPTIONS": "detect_stack_use_after_return=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1",
    }
    return _run([*prefix, *command], env)


class Toolchain:
    """Compiles into a directory of its own; each program once a session."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._built: dict[tuple[str, ...], Path] = {}
        self._missing: dict[tuple[str, str], str] = {}

    def lacks(self, compiler: str, sanitizer: str | None) -> str:
        """Why this compiler cannot be used so; empty when it can."""
        if not shutil.which(compiler):
            return f"{compiler} is not installed"
        key = (compiler, sanitizer or "")
        if key not in self._missing:
            self._missing[key] = self._try(compiler, sanitizer)
        return self._missing[key]

    def _try(self, compiler: str, sanitizer: str | None) -> str:
        source = self.directory / "probe.c"
        fuzzes = sanitizer is not None and "fuzzer" in sanitizer
        source.write_text(
            "#include <stddef.h>\n"
            "int LLVMFuzzerTestOneInput(const char *, size_t);\n"
            "int LLVMFuzzerTestOneInput(const char *a, size_t n) { return !a && n; }\n"
            if fuzzes
            else "int main(void) { return 0; }\n"
        )
        program = self.directory / f"probe-{compiler}-{sanitizer}"
        flags = sanitizer_flags(sanitizer)
        made = _run([compiler, *flags, "-o", program, source])
        if made.returncode:
            return f"{compiler} has no runtime for -fsanitize={sanitizer}"
        run = execute([program, *(["-runs=1"] if fuzzes else [])], sanitizer)
        return f"-fsanitize={sanitizer} does not run here: {run.stderr}" if run.returncode else ""

    def require(self, compiler: str, sanitizer: str | None) -> None:
        if reason := self.lacks(compiler, sanitizer):
            pytest.skip(reason)

    def any_compiler(self, sanitizer: str | None) -> str:
        reasons = []
        for compiler in ("gcc", "clang"):
            if not (reason := self.lacks(compiler, sanitizer)):
                return compiler
            reasons.append(reason)
        pytest.skip("; ".join(reasons))

    def build(
        self,
        compiler: str,
        sanitizer: str | None,
        main: str,
        sources: Sequence[str],
        flags: Sequence[str] = (),
    ) -> Path:
        """A program from tests/native/`main` and files of csrc."""
        key = (compiler, sanitizer or "", main, *sources, *flags)
        if key not in self._built:
            self.require(compiler, sanitizer)
            program = self.directory / f"{Path(main).stem}-{len(self._built)}"
            files = [HERE / main, *(CSRC / source for source in sources)]
            self.compile(
                [compiler, *BASE, *sanitizer_flags(sanitizer), *flags, "-o", program, *files]
            )
            self._built[key] = program
        return self._built[key]

    def compile(self, command: Sequence[str | Path]) -> None:
        made = _run(command)
        assert made.returncode == 0, made.stderr


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return Toolchain(tmp_path_factory.mktemp("native"))


@pytest.fixture
def check_program() -> Callable[..., None]:
    """Runs a program that says by its exit status whether all is well."""

    def check(sanitizer: str | None, *command: str | Path) -> None:
        done = execute(command, sanitizer)
        if done.returncode == SKIPPED:
            pytest.skip(done.stdout.strip())
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"

    return check
