"""Starts memwatch as a command, observes it while it runs, and collects its results."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from memwatch.units import parse_interval
from support.users import User
from support.waiting import PATIENCE, wait_until


class Result:
    """The exit code and output of a finished memwatch."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def text(self) -> str:
        """Standard error."""
        return self.err.decode()

    @property
    def json(self) -> dict[str, Any]:
        document = json.loads(self.out.decode("utf-8"))
        assert isinstance(document, dict)
        return document

    def by_pid(self, pid: int) -> dict[str, Any]:
        """Returns the only process of the JSON report with this pid."""
        found = [each for each in self.json["processes"] if each["pid"] == pid]
        assert len(found) == 1, f"pid {pid} is {len(found)} times in the report"
        process = found[0]
        assert isinstance(process, dict)
        return process

    def one_line(self) -> str:
        """Returns standard error, which must be a single line written by memwatch."""
        lines = self.text.splitlines()
        assert len(lines) == 1, self.text
        assert lines[0].startswith("memwatch: ")
        return lines[0]


# The number of that system call, the same on every architecture, as for all since Linux 5.0.
EPOLL_PWAIT2 = 441


class Watch:
    """A memwatch that is running."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        marks: Path,
        outputs: tuple[IO[bytes], ...],
        argv: Sequence[str | bytes],
    ) -> None:
        self.process = process
        self.pid = process.pid
        self.argv = [os.fsdecode(word) for word in argv]
        """The command line; -i and --burst set the time between ticks."""
        self._marks = marks
        self._outputs = outputs

    def marks(self, name: str, count: int = 1) -> list[int]:
        """Waits until `count` processes have executed `mark NAME`, and returns their pids."""

        def arrived() -> list[int]:
            pids = self.marked().get(name, [])
            return pids if len(pids) >= count else []

        def arrived_or_over() -> list[int] | bool:
            return arrived() or self.process.poll() is not None

        wait_until(arrived_or_over, f"{count} x mark {name}, not {self.marked()}")
        pids = arrived()
        assert pids, f"it ended with code {self.process.returncode}: {self.marked()}"
        return list(pids)

    def mark(self, name: str) -> int:
        """Waits for the only process that executes `mark NAME`, and returns its pid."""
        (pid,) = self.marks(name)
        return pid

    def marked(self) -> dict[str, list[int]]:
        """Returns the marks so far: their names, and the pids that made them."""
        found = defaultdict(list)
        if self._marks.exists():
            for line in self._marks.read_text().splitlines():
                name, pid = line.rsplit(" ", 1)
                found[name].append(int(pid))
        return dict(found)

    def ticks(self, count: int = 5) -> None:
        """Waits until the sampler has made `count` ticks.

        Events wake its thread as well, so the number of its sleeps is no count of ticks. But if it
        goes to sleep after an interval has passed, it has made the tick that was due by then.
        """
        wait_until(lambda: self._ended() or self._sleeps() >= 0, "the sampler")
        interval = self._interval()
        for _ in range(count):
            time.sleep(interval)
            before = self._sleeps()
            self._wait_for_sleep(before)
        assert self.process.returncode is None, "it has ended"

    def _interval(self) -> float:
        """Returns the longest time between two ticks, in seconds."""
        if "--burst" in self.argv:
            return 0.001
        asked = self.argv[self.argv.index("-i") + 1] if "-i" in self.argv else "500"
        return parse_interval(asked)

    def _wait_for_sleep(self, before: int) -> None:
        """Waits until the sampler has begun to sleep after its sleeps were counted as `before`.

        It may also have waited for a lock within a tick, so one more sleep is not enough, unless
        it now waits for events until the next tick.
        """

        def done() -> bool:
            more = self._sleeps() - before
            return self._ended() or more > 1 or (more == 1 and self._waits_for_events())

        wait_until(done, "a tick", pause=0.0005)

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _sampler(self) -> Path | None:
        """Returns the /proc folder of the sampler's thread."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                if (task / "comm").read_text() == "memwatch-tick\n":
                    return task
        return None

    def _sleeps(self) -> int:
        """Returns how often the sampler has gone to sleep; -1 if there is no sampler."""
        with suppress(FileNotFoundError, ProcessLookupError):
            if task := self._sampler():
                status = (task / "status").read_text()
                return int(status.split("\nvoluntary_ctxt_switches:", 1)[1].split()[0])
        return -1

    def _waits_for_events(self) -> bool:
        with suppress(OSError):
            if task := self._sampler():
                return (task / "syscall").read_text().split()[0] == str(EPOLL_PWAIT2)
        return False

    def errors(self) -> bytes:
        """Returns its standard error so far."""
        return os.pread(self._outputs[1].fileno(), 1 << 20, 0)

    def open_gate(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def end(self, stdin: bytes = b"") -> Result:
        """Opens the gate, waits for the end, and returns the result."""
        if self.process.stdin and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.write(stdin)
                self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"memwatch does not end; marks: {self.marked()}")
        for file in self._outputs:
            file.seek(0)
        out, err = (file.read() for file in self._outputs)
        return Result(self.process.returncode, out, err)


class Memwatch:
    """Starts memwatch as a command in an empty folder; close() ends what it started."""

    def __init__(self, user: User, burner: Callable[[], Path]) -> None:
        self.user = user
        self.room = user.room
        self.marks = self.room / "marks"
        self.variables: dict[str, str] = {}
        """Additional environment variables, for example for another build of memwatch."""
        self._burner = burner
        self._started: list[subprocess.Popen[bytes]] = []
        self._files: list[IO[bytes]] = []

    def argv(self, *words: str | bytes | Path) -> list[str | bytes]:
        plain = [word if isinstance(word, bytes) else str(word) for word in words]
        return [*self.user.prefix, sys.executable, "-m", "memwatch", *plain]

    @property
    def env(self) -> dict[str, str]:
        """The environment of every memwatch here, without the caller's variables that matter."""
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.room),
            "BURNER_MARKS": str(self.marks),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Instrumented builds of the extension and coverage need these.
        keep = ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "COVERAGE_PROCESS_START")
        env.update((name, os.environ[name]) for name in keep if name in os.environ)
        return env | self.variables

    def popen(
        self, argv: Sequence[str | bytes], *, env: dict[str, str] | None = None, **how: Any
    ) -> Watch:
        """Starts memwatch, or a program that executes it."""
        # Not pipes: a process that outlives memwatch would hold them open.
        outputs = (TemporaryFile(), TemporaryFile())  # noqa: SIM115 - closed by close()
        first = how.pop("preexec_fn", None)

        def prepare() -> None:
            # A shell ignores these signals in jobs that it runs in the background.
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            if first:
                first()

        files = {"stdin": subprocess.PIPE, "stdout": outputs[0], "stderr": outputs[1]}
        process = subprocess.Popen(
            argv,
            cwd=self.room,
            env=self.env | (env or {}),
            **(files | how | {"preexec_fn": prepare}),
        )
        self._started.append(process)
        self._files += outputs
        return Watch(process, self.marks, outputs, argv)

    def start(self, *words: str | bytes | Path, **how: Any) -> Watch:
        """Starts `memwatch WORDS...`; `how` is for subprocess.Popen."""
        return self.popen(self.argv(*words), **how)

    def run(self, *words: str | bytes | Path, stdin: bytes = b"", **how: Any) -> Result:
        """Runs `memwatch WORDS...` to its end."""
        return self.start(*words, **how).end(stdin)

    def burn(self, *words: object, options: Sequence[str] = ("-i", "5"), **how: Any) -> Watch:
        """Starts `memwatch run --json OPTIONS -- burner WORDS...`."""
        program = self._burner()
        plain = [word if isinstance(word, bytes) else str(word) for word in words]
        return self.start("run", "--json", *options, "--", program, *plain, **how)

    def close(self) -> None:
        for process in self._started:
            if process.stdin:
                process.stdin.close()
            if process.poll() is None:
                process.kill()
            process.wait()
        for file in self._files:
            file.close()


def read_csv(path: Path) -> list[list[str]]:
    """Returns the rows of a CSV file, the header first."""
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
