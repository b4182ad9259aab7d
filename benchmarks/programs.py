"""Contains what the benchmarks share: C programs, timed runs of a command, tables."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

HERE = Path(__file__).resolve().parent

# An installed memwatch has its bytecode. Without this, a checkout would be compiled at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def compile_program(name: str, into: str | Path, folder: Path = HERE) -> str:
    """Compiles NAME.c of a folder, by default this one, and returns the path of the program."""
    out = str(Path(into) / name)
    command = ["cc", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-o", out, folder / f"{name}.c"]
    subprocess.run(command, check=True)
    return out


def memwatch_command() -> list[str]:
    """Returns the `memwatch` of the Python that runs this."""
    script = shutil.which("memwatch", path=os.path.dirname(sys.executable))
    return [script] if script else [sys.executable, "-m", "memwatch"]


def is_editable() -> bool:
    """Returns whether this memwatch is a checkout, not installed as users have it."""
    spec = importlib.util.find_spec("memwatch")
    return not (spec and spec.origin and "site-packages" in spec.origin)


class Finished(NamedTuple):
    """A command that has ended. CPU is user plus system time in seconds."""

    code: int
    wall: float
    cpu: float
    """CPU of the process itself, without any child."""
    cpu_with_children: float
    """CPU of the process and of the children that it waited for."""
    started: float
    """CLOCK_MONOTONIC just before its start; `ended` is when wait() returned."""
    ended: float
    stdout: bytes


def run_timed(
    argv: Sequence[str],
    *,
    cwd: str | Path | None = None,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
) -> Finished:
    """Runs a command to its end. Its stdout goes to a file, so that it never waits for a reader."""
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        child = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=stderr)
        try:
            # It remains a zombie, so that its own CPU clock can still be read.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            ended = time.monotonic()
            own = time.clock_gettime(process_clock(child.pid))
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return Finished(
            child.returncode,
            ended - start,
            own,
            usage.ru_utime + usage.ru_stime,
            start,
            ended,
            out.read(),
        )


def succeed(argv: Sequence[str], cwd: str | Path | None = None, *, code: int = 0) -> Finished:
    """Does the same for a command that must end with this code; ends the benchmark otherwise."""
    done = run_timed(argv, cwd=cwd)
    if done.code != code:
        sys.exit(f"{' '.join(argv[:8])} … failed with exit code {done.code}")
    return done


def count_by_strace(argv: Sequence[str], cwd: str | Path | None = None) -> int | None:
    """Returns the number of processes of a job: every fork that strace sees, and the first process.

    None without strace.
    """
    if not shutil.which("strace"):
        return None
    calls = "trace=clone,clone3,fork,vfork"
    with tempfile.NamedTemporaryFile("r") as log:
        command = ["strace", "-f", "-qq", "-e", calls, "-o", log.name, *argv]
        if subprocess.run(command, cwd=cwd, check=False).returncode:
            return None
        made = [line for line in log if re.search(r" (clone3?|v?fork)\(", line)]
    return 1 + sum("CLONE_THREAD" not in line for line in made)


def process_clock(pid: int) -> int:
    """Returns the id of another process's CPU clock: clock_getcpuclockid(3), which Python lacks."""
    return ~pid << 3 | 2


@contextmanager
def idle_tree(program: str, processes: int, *, change_ms: float = 0) -> Iterator[int]:
    """Runs an idle_tree and gives the pid of its root once all its processes are there."""
    tree = subprocess.Popen(
        [program, str(processes), "0", str(change_ms)], stdout=subprocess.PIPE, text=True
    )
    assert tree.stdout
    try:
        if tree.stdout.readline() != "ready\n":
            raise RuntimeError(f"idle_tree could not start {processes} processes")
        yield tree.pid
    finally:
        tree.send_signal(signal.SIGTERM)
        tree.wait()
        tree.stdout.close()


def machine() -> str:
    """Returns a line that says on what machine and with what a table was made."""
    return (
        f"{os.cpu_count()} CPUs ({_cpu_model()}), Linux {platform.release()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}, "
        f"load average at the start {os.getloadavg()[0]:.2f}"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a Markdown table, ready to be pasted: a column of text, the others numbers."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    print(f"\n{title}\n")
    for row in (cells[0], rule, *cells[1:]):
        padded = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        print(f"| {' | '.join(padded)} |")
    sys.stdout.flush()


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Returns the median and, in brackets, the smallest and the largest."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f} – {most:.{digits}f})"


def ratio(above: Sequence[Finished], below: Sequence[Finished], field: str) -> str:
    """Returns the spread of the ratios of runs that were made in pairs."""
    if above is below:
        return "1"
    pairs = zip(above, below, strict=True)
    return spread([getattr(a, field) / getattr(b, field) for a, b in pairs], 3)
