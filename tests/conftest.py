"""Fixtures for tests over real processes: programs, users, memwatch as a command, no leftovers."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"

# For every wait: far beyond what any machine needs, and below the programs' own patience.
PATIENCE = 45.0

NOBODY = 65534


# -- Waiting, never sleeping to be right ---------------------------------------------------------


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Returns the first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited too long: {what}"
        time.sleep(0.005)
    return value


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], Any], str], Any]:
    return wait_until


def state_of(pid: int) -> str:
    """The letter of proc_pid_stat(5): R, S, T, Z, ...; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode()


@pytest.fixture(name="state_of")
def state_of_fixture() -> Callable[[int], str]:
    return state_of


# -- No process of a test survives it ------------------------------------------------------------


def _children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
    return found


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@pytest.fixture
def no_survivors() -> Iterator[None]:
    """Fails a test that leaves processes behind, and ends them.

    While it runs, this process is a subreaper: whoever loses its parent, memwatch or another,
    becomes a child of this process, so nothing gets away, not even into a session of its own.
    """
    prctl = ctypes.CDLL(None).prctl
    set_subreaper, get_subreaper = 36, 37
    before = ctypes.c_int()
    prctl(get_subreaper, ctypes.byref(before))
    others = _children()
    assert prctl(set_subreaper, 1) == 0
    yield
    # Programs that were let go may still be on their way out.
    deadline = time.monotonic() + 10
    while (left := _children() - others) and time.monotonic() < deadline:
        _reap(left)
        time.sleep(0.005)
    survivors = []
    for pid in left:
        with suppress(FileNotFoundError, ProcessLookupError):
            survivors.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes()[:200]))
    while left:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(left)
        time.sleep(0.005)
        left = _children() - others  # theirs are ours now
    prctl(set_subreaper, before.value)
    assert not survivors, f"processes left behind: {survivors}"


# -- Programs ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def compile_program() -> Iterator[Callable[[str], Path]]:
    """Compiles tests/programs/NAME.c, once; any user may run the result."""
    compiler = os.environ.get("CC") or "cc"
    folder = Path(tempfile.mkdtemp(prefix="memwatch-programs-"))
    folder.chmod(0o755)

    def compile_one(name: str) -> Path:
        if not shutil.which(compiler.split()[0]):
            pytest.skip(f"needs a C compiler ({compiler}) to build the test programs")
        program = folder / name
        if not program.exists():
            # No name of a test in the way: it is what reports call the process.
            source = PROGRAMS / f"{name}.c"
            command = [*compiler.split(), "-O1", "-pthread", "-o", str(program), str(source)]
            subprocess.run(command, check=True)
            program.chmod(0o755)
        return program

    yield compile_one
    shutil.rmtree(folder)


@pytest.fixture
def burner(compile_program: Callable[[str], Path]) -> Path:
    return compile_program("burner")


@pytest.fixture
def probe(compile_program: Callable[[str], Path]) -> Path:
    return compile_program("probe")


# -- Users ---------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "both_users: runs the test as the caller and, when that is root, as nobody too"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_users"):
        metafunc.parametrize("user", ["caller", "nobody"], indirect=True)


class User:
    """Who runs memwatch in a test, and a folder that this user can write to."""

    def __init__(self, name: str, room: Path) -> None:
        self.name = name
        self.room = room
        self.prefix: list[str] = []
        if name == "nobody":
            ids = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
            self.prefix = ["setpriv", *ids]
            os.chown(room, NOBODY, NOBODY)


@pytest.fixture
def room() -> Iterator[Path]:
    """An empty folder that can be given to any user; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="memwatch-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def user(request: pytest.FixtureRequest, room: Path) -> User:
    name = getattr(request, "param", "caller")
    if name == "nobody":
        if os.geteuid() != 0:
            pytest.skip("needs root to become another user")
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv to become another user")
    made = User(name, room)
    if made.prefix:
        check = [*made.prefix, sys.executable, "-c", "import memwatch"]
        if subprocess.run(check, cwd=room, capture_output=True, check=False).returncode:
            pytest.skip(f"{sys.executable} or memwatch is not readable for uid {NOBODY}")
    return made


# -- memwatch as a command -----------------------------------------------------------------------


class Result:
    """What a finished memwatch left behind."""

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
        """The one process of the JSON report with this pid."""
        found = [each for each in self.json["processes"] if each["pid"] == pid]
        assert len(found) == 1, f"pid {pid} is {len(found)} times in the report"
        process = found[0]
        assert isinstance(process, dict)
        return process

    def one_line(self) -> str:
        """Standard error, which must be one line of memwatch's own and nothing else."""
        lines = self.text.splitlines()
        assert len(lines) == 1, self.text
        assert lines[0].startswith("memwatch: ")
        return lines[0]


class Watch:
    """A memwatch that is running."""

    def __init__(
        self, process: subprocess.Popen[bytes], marks: Path, outputs: tuple[IO[bytes], ...]
    ) -> None:
        self.process = process
        self.pid = process.pid
        self._marks = marks
        self._outputs = outputs

    def marks(self, name: str, count: int = 1) -> list[int]:
        """Waits until `count` processes have said `mark NAME`: their pids."""

        def said() -> list[int]:
            pids = self.marked().get(name, [])
            return pids if len(pids) >= count else []

        def said_or_over() -> list[int] | bool:
            return said() or self.process.poll() is not None

        wait_until(said_or_over, f"{count} x mark {name}, not {self.marked()}")
        pids = said()
        assert pids, f"it ended with code {self.process.returncode}: {self.marked()}"
        return list(pids)

    def mark(self, name: str) -> int:
        """Waits for the one process that says `mark NAME`."""
        (pid,) = self.marks(name)
        return pid

    def marked(self) -> dict[str, list[int]]:
        """All marks until now: their names, and the pids that made them."""
        found = defaultdict(list)
        if self._marks.exists():
            for line in self._marks.read_text().splitlines():
                name, pid = line.rsplit(" ", 1)
                found[name].append(int(pid))
        return dict(found)

    def ticks(self, count: int = 5) -> None:
        """Waits until the sampler has looked at everything `count` times.

        Its thread sleeps once before each tick, and the kernel counts how often it slept.
        """
        first = self._sleeps()

        def done() -> bool:
            return self.process.poll() is not None or self._sleeps() >= first + count + 1

        wait_until(done, "ticks")
        assert self.process.returncode is None, "it has ended"

    def _sleeps(self) -> int:
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            if (task / "comm").read_text() == "memwatch-tick\n":
                status = (task / "status").read_text()
                return int(status.split("\nvoluntary_ctxt_switches:", 1)[1].split()[0])
        return -1

    def errors(self) -> bytes:
        """What is on its standard error until now."""
        return os.pread(self._outputs[1].fileno(), 1 << 20, 0)

    def open_gate(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def end(self, stdin: bytes = b"") -> Result:
        """Opens the gate, and waits for the report."""
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
    """Starts memwatch as a command, in an empty folder. Stop what it started with close()."""

    def __init__(self, user: User, burner: Callable[[], Path]) -> None:
        self.user = user
        self.room = user.room
        self.marks = self.room / "marks"
        self._burner = burner
        self._started: list[subprocess.Popen[bytes]] = []
        self._files: list[IO[bytes]] = []

    def argv(self, *words: str | bytes | Path) -> list[str | bytes]:
        plain = [word if isinstance(word, bytes) else str(word) for word in words]
        return [*self.user.prefix, sys.executable, "-m", "memwatch", *plain]

    @property
    def env(self) -> dict[str, str]:
        """The environment of every memwatch here: nothing of the caller's that shows."""
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.room),
            "BURNER_MARKS": str(self.marks),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Instrumented builds of the extension, and coverage, need theirs.
        keep = ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "COVERAGE_PROCESS_START")
        env.update((name, os.environ[name]) for name in keep if name in os.environ)
        return env

    def popen(
        self, argv: Sequence[str | bytes], *, env: dict[str, str] | None = None, **how: Any
    ) -> Watch:
        """A program that ends up as memwatch: memwatch itself, or what execs it."""
        # Not pipes: a process that outlives memwatch would hold them open.
        outputs = (TemporaryFile(), TemporaryFile())  # noqa: SIM115 - closed by close()
        first = how.pop("preexec_fn", None)

        def prepare() -> None:
            # The tests may run in the background of a shell, where these are ignored.
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
        return Watch(process, self.marks, outputs)

    def start(self, *words: str | bytes | Path, **how: Any) -> Watch:
        """`memwatch WORDS...`; `how` is for subprocess.Popen."""
        return self.popen(self.argv(*words), **how)

    def run(self, *words: str | bytes | Path, stdin: bytes = b"", **how: Any) -> Result:
        """The same, to its end."""
        return self.start(*words, **how).end(stdin)

    def burn(self, *words: object, options: Sequence[str] = ("-i", "5"), **how: Any) -> Watch:
        """`memwatch run --json OPTIONS -- burner WORDS...`"""
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


@pytest.fixture
def memwatch(user: User, no_survivors: None, request: pytest.FixtureRequest) -> Iterator[Memwatch]:
    made = Memwatch(user, lambda: request.getfixturevalue("burner"))
    yield made
    made.close()


@pytest.fixture
def read_csv() -> Callable[[Path], list[list[str]]]:
    """The rows of a CSV file, the header first."""
    return lambda path: list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
