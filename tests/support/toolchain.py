"""Compiles tests/programs, and compiles and runs the C tests with and without sanitizers."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from support.paths import CSRC, PROGRAMS

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wsign-conversion")
DEFINES = ("-D_GNU_SOURCE", '-DMW_BUILD_DATE="2025-01-01"', '-DMW_BUILD_TARGET="test"')
BASE = ("-std=c11", "-g", "-O1", "-pthread", *WARNINGS, *DEFINES, f"-I{CSRC}")

THREADS = "thread"

# The exit status of a program (as in automake) if what it tests is not available here; it has
# printed why.
SKIPPED = 77

# Seconds that one program may take; only a hang takes that long.
PROGRAM_TIMEOUT = 300


def _run_program(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=PROGRAM_TIMEOUT,
        env=env,
    )


@functools.cache
def without_randomization() -> tuple[str, ...]:
    """Returns a command prefix that turns off address randomization: ThreadSanitizer does not start
    where the kernel spreads mappings too widely."""
    setarch = shutil.which("setarch")
    if setarch and _run_program([setarch, "-R", "true"]).returncode == 0:
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
    return _run_program([*prefix, *command], env)


class Toolchain:
    """Compiles the C programs of one test folder into a directory, each once per session."""

    def __init__(self, directory: Path, folder: Path, flags: Sequence[str]) -> None:
        self.directory = directory
        self.folder = folder
        self.flags = flags
        self._built: dict[tuple[str, ...], Path] = {}
        self._missing: dict[tuple[str, str], str] = {}

    def lacks(self, compiler: str, sanitizer: str | None) -> str:
        """Returns why this compiler cannot use this sanitizer; empty if it can."""
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
        made = _run_program([compiler, *flags, "-o", program, source])
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
        """Builds a program from `main` in that folder and files of csrc, and returns its path."""
        key = (compiler, sanitizer or "", main, *sources, *flags)
        if key not in self._built:
            self.require(compiler, sanitizer)
            program = self.directory / f"{Path(main).stem}-{len(self._built)}"
            files = [self.folder / main, *(CSRC / source for source in sources)]
            asked = [*self.flags, *sanitizer_flags(sanitizer), *flags]
            self.compile([compiler, *BASE, *asked, "-o", program, *files])
            self._built[key] = program
        return self._built[key]

    def compile(self, command: Sequence[str | Path]) -> None:
        made = _run_program(command)
        assert made.returncode == 0, made.stderr


class Programs:
    """Compiles tests/programs/NAME.c into a folder, each once; any user may run the result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.compiler = (os.environ.get("CC") or "cc").split()
        folder.chmod(0o755)

    def __call__(self, name: str) -> Path:
        program = self.folder / name
        if not program.exists():
            # The file name must be the plain program name: reports show it as the process name.
            self._compile(program, PROGRAMS / f"{name}.c")
        return program

    def static(self, name: str) -> Path:
        """Compiles it without shared libraries if there is a static libc: it then starts in half
        the time."""
        program = self.folder / "static" / name
        if not program.exists():
            program.parent.mkdir(exist_ok=True)
            program.parent.chmod(0o755)
            source = PROGRAMS / f"{name}.c"
            if not self._compile(program, source, "-static", check=False):
                self._compile(program, source)
        return program

    def _compile(self, program: Path, source: Path, *flags: str, check: bool = True) -> bool:
        if not shutil.which(self.compiler[0]):
            pytest.skip(f"needs a C compiler ({self.compiler[0]}) to build the test programs")
        command = [*self.compiler, "-O1", "-pthread", "-o", str(program), str(source), *flags]
        done = subprocess.run(command, check=check, capture_output=not check)
        if done.returncode == 0:
            program.chmod(0o755)
        return done.returncode == 0


def check_program(sanitizer: str | None, *command: str | Path) -> None:
    """Runs a program and checks its exit status; skips the test if it is SKIPPED."""
    done = execute(command, sanitizer)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"


def fuzz_program(sanitizer: str, program: Path, corpus: Path, seconds: int) -> None:
    """Runs libFuzzer, which adds to the folder `corpus` and leaves what fails beside it. Of itself
    it would exit with SKIPPED when it finds something."""
    check_program(
        sanitizer,
        *(program, corpus, f"-artifact_prefix={corpus.parent}/", f"-max_total_time={seconds}"),
        *("-error_exitcode=1", "-seed=1", "-timeout=10", "-max_len=1024", "-verbosity=0"),
    )


NewToolchain: TypeAlias = Callable[[Path, Sequence[str]], Toolchain]
"""The fixture `new_toolchain`: makes a Toolchain for a folder of C programs, with extra flags."""
