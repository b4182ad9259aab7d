"""Fixtures for tests over real processes: programs, users, memwatch as a command, no leftovers."""

from __future__ import annotations

import calendar
import csv
import ctypes
import fcntl
import functools
import io
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import pytest

from memwatch.model import observations
from memwatch.model.limits import LimitOutcome
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import Batch, Observation
from memwatch.model.profile import Beginning, Clock, Ending, Overhead
from memwatch.storage.recording import Recorder

PROGRAMS = Path(__file__).parent / "programs"
CSRC = Path(__file__).parent.parent / "csrc"

# For every wait: far beyond what any machine needs, and below the programs' own patience.
PATIENCE = 120.0

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


# -- C under sanitizers ----------------------------------------------------------------------------

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wsign-conversion")
DEFINES = ("-D_GNU_SOURCE", '-DMW_BUILD_DATE="2025-01-01"', '-DMW_BUILD_TARGET="test"')
BASE = ("-std=c11", "-g", "-O1", "-pthread", *WARNINGS, *DEFINES, f"-I{CSRC}")

THREADS = "thread"

# A program's exit status when what it tests cannot be had here; it has printed why. As automake.
SKIPPED = 77

# Longest run of any one program; only a hang takes that long.
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
    """ThreadSanitizer does not start where the kernel spreads mappings too widely."""
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
    """Compiles the programs of one folder of tests into a directory; each once a session."""

    def __init__(self, directory: Path, folder: Path, flags: Sequence[str]) -> None:
        self.directory = directory
        self.folder = folder
        self.flags = flags
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
        """A program from `main` in that folder and files of csrc."""
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


@pytest.fixture(scope="session")
def new_toolchain(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Path, Sequence[str]], Toolchain]:
    """A toolchain for the C programs of a folder, with flags of its own."""

    def make(folder: Path, flags: Sequence[str]) -> Toolchain:
        return Toolchain(tmp_path_factory.mktemp(folder.name), folder, flags)

    return make


@pytest.fixture
def check_program() -> Callable[..., None]:
    """Runs a program that says by its exit status whether all is well."""

    def check(sanitizer: str | None, *command: str | Path) -> None:
        done = execute(command, sanitizer)
        if done.returncode == SKIPPED:
            pytest.skip(done.stdout.strip())
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"

    return check


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
        self.uid = NOBODY if name == "nobody" else os.geteuid()
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
        self.variables: dict[str, str] = {}
        """More of the environment: another build of memwatch, say."""
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
        return env | self.variables

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


# -- memwatch at a terminal ------------------------------------------------------------------------


class Terminal:
    """A terminal with a program in it that leads its session."""

    def __init__(
        self,
        memwatch: Memwatch,
        argv: Sequence[str | bytes],
        *,
        rows: int = 24,
        columns: int = 80,
        env: dict[str, str] | None = None,
        **how: Any,
    ) -> None:
        """`how` is for subprocess.Popen: a stream that is not the terminal."""
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.attributes = termios.tcgetattr(self.master)

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.watch = memwatch.popen(
            argv,
            **({"stdin": slave, "stdout": slave, "stderr": slave} | how),
            env={"TERM": "xterm"} | (env or {}),
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)
        os.set_blocking(self.master, False)
        self.shown = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        assert os.write(self.master, keys) == len(keys)

    def pump(self) -> None:
        """Takes what has been written to the screen."""
        try:
            while text := os.read(self.master, 65536):
                self.shown += text
        except BlockingIOError:
            pass
        except OSError:
            pass  # EIO: nobody has the terminal open any more

    def expect(self, text: bytes) -> None:
        def there() -> bool:
            self.pump()
            return text in self.shown

        wait_until(there, f"{text!r} on the screen")

    def end(self) -> int:
        """Waits for the program: its exit code."""

        def ended() -> bool:
            self.pump()
            return self.watch.process.poll() is not None

        wait_until(ended, "the end")
        self.pump()
        return self.watch.process.returncode

    def lines(self) -> list[str]:
        """What is on the screen, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown.decode()).splitlines()

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def terminal(memwatch: Memwatch) -> Iterator[Callable[..., Terminal]]:
    """Starts a program at a terminal of its own."""
    opened: list[Terminal] = []

    def start(argv: Sequence[str | bytes], **how: Any) -> Terminal:
        opened.append(Terminal(memwatch, argv, **how))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def read_csv() -> Callable[[Path], list[list[str]]]:
    """The rows of a CSV file, the header first."""
    return lambda path: list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


# -- The truth, known without memwatch -----------------------------------------------------------


class Record(NamedTuple):
    """What a process of tests/programs/storm.c says of one of its programs, and of its end."""

    done: int
    announced: int
    pid: int
    ppid: int
    program: int
    status: int
    peak: int
    touched: int
    forked: int
    begun: int
    ended: int
    words: bytes


class Storm:
    """A storm that will run, runs or has run in a folder: what its processes wrote down."""

    LAYOUT = struct.Struct("=2I4i2Q3q64s")
    HEADER = 4096
    REAPED = -1
    GOES_ON = -1

    def __init__(self, program: Path, room: Path) -> None:
        self.program = program
        self.file = room / "storm-records"
        self.env = {"STORM_RECORDS": str(self.file)}

    def used(self) -> int:
        """How many records were begun."""
        return struct.unpack_from("=I", self._read(0, 8))[0]  # type: ignore[no-any-return]

    def root(self) -> int:
        """The pid of its first process, which has the first record."""
        return struct.unpack_from("=i", self._read(self.HEADER + 8, 4))[0]  # type: ignore[no-any-return]

    def held(self) -> bool:
        return self._read(4, 1) == b"\1"

    def made(self) -> int:
        """How many processes a flood had so far."""
        return struct.unpack_from("=I", self._read(8, 4))[0]  # type: ignore[no-any-return]

    def is_over(self) -> bool:
        """Its first process has nothing left to do but exit."""
        return self._read(self.HEADER, 1) == b"\1"

    def _read(self, offset: int, size: int) -> bytes:
        try:
            with self.file.open("rb") as file:
                return os.pread(file.fileno(), size, offset).ljust(size, b"\0")
        except FileNotFoundError:
            return bytes(size)

    def records(self) -> list[Record]:
        """All that are complete."""
        used = self.used()
        text = self.file.read_bytes()[self.HEADER : self.HEADER + used * self.LAYOUT.size]
        return [each for each in map(Record._make, self.LAYOUT.iter_unpack(text)) if each.done]

    def truth(self) -> Truth:
        return Truth(self.records())


class Truth:
    """The processes of a storm that is over: their programs, parents and wait statuses."""

    def __init__(self, records: list[Record]) -> None:
        self.programs: dict[int, dict[int, Record]] = defaultdict(dict)
        self.statuses = {}
        # Others may start so many processes meanwhile that a pid comes twice: run it again then.
        self.reused = False
        for each in records:
            if each.program == Storm.REAPED:
                self.statuses[each.pid] = each.status
            else:
                self.reused |= each.program in self.programs[each.pid]
                self.programs[each.pid][each.program] = each
        self.root = records[0].pid
        self.root_argv = self.argv(records[0])
        for pid, status in self.statuses.items():
            said = self.last(pid).status
            assert self.reused or said == status, f"pid {pid} said {said}, its parent got {status}"

    @property
    def pids(self) -> set[int]:
        return set(self.programs)

    @property
    def announced(self) -> set[int]:
        """Those that ended by exit_group."""
        return {pid for pid in self.programs if self.last(pid).announced}

    def last(self, pid: int) -> Record:
        programs = self.programs[pid]
        return programs[max(programs)]

    @staticmethod
    def argv(program: Record) -> list[str]:
        """Without the first, which is the path."""
        return program.words.rstrip(b"\0").decode().split()[1:]

    def ppid(self, pid: int) -> int:
        programs = self.programs[pid]
        return programs[min(programs)].ppid

    def peak(self, pid: int) -> int:
        """KiB: the most under any program of its own; of a fork that executed none, all it had."""
        programs = self.programs[pid]
        return max(each.peak for program, each in programs.items() if program or len(programs) == 1)


def _build_storm(static: bool, folder: Path) -> Path:
    compiler = (os.environ.get("CC") or "cc").split()
    if not shutil.which(compiler[0]):
        pytest.skip(f"needs a C compiler ({compiler[0]}) to build the test programs")
    program = folder / "storm"
    command = [*compiler, "-O1", "-pthread", "-o", str(program), str(PROGRAMS / "storm.c")]
    # A static one starts in half the time. Not every system has a static libc.
    if static:
        tried = subprocess.run([*command, "-static"], check=False, capture_output=True)
        if tried.returncode == 0:
            return program
    subprocess.run(command, check=True)
    return program


@pytest.fixture(scope="session")
def storm_programs() -> Iterator[dict[str, Path]]:
    """The same program, linked statically where that works, and dynamically."""
    with tempfile.TemporaryDirectory(prefix="memwatch-storm-") as name:
        programs = {}
        for linked in ("static", "dynamic"):
            folder = Path(name, linked)
            folder.mkdir()
            programs[linked] = _build_storm(linked == "static", folder)
            folder.chmod(0o755)
        Path(name).chmod(0o755)
        yield programs


@pytest.fixture
def storm(storm_programs: dict[str, Path], room: Path) -> Storm:
    return Storm(storm_programs["static"], room)


class ExitRecord(NamedTuple):
    """What the kernel wrote down of a process as it exited."""

    pid: int
    ppid: int
    name: str
    peak: int
    status: int
    ran: int
    """Nanoseconds on a processor, of all threads; 0 where the kernel does not count them."""
    user: int
    """Microseconds, as the clock tick saw them."""
    system: int
    read_bytes: int
    written_bytes: int


class ExitRecords:
    """Listens to the kernel's exit records (taskstats) of the whole machine.

    Nothing is read until they are asked for: the buffer holds tens of thousands.
    """

    GENERIC, CONTROL, TASKSTATS_GET = 16, 16, 1
    AGGREGATE_PID, STATS, REGISTER_CPUS = 4, 3, 3
    REQUEST, ACK, ERROR = 1, 4, 2

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.GENERIC)
        so_rcvbufforce = 33
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 128 << 20)
            name = struct.pack("=HH12s", 4 + 10, 2, b"TASKSTATS\0")
            reply = self._ask(self.CONTROL, 3, name)
            family = self._attributes(reply[20:])[1]
            self._family = int.from_bytes(family, sys.byteorder)
            cpus = Path("/sys/devices/system/cpu/possible").read_bytes().strip() + b"\0"
            self._ask(self._family, self.TASKSTATS_GET, self._attribute(self.REGISTER_CPUS, cpus))
        except OSError:
            self._socket.close()
            raise
        self._records: dict[int, ExitRecord] = {}

    def close(self) -> None:
        self._socket.close()

    @staticmethod
    def _attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    @staticmethod
    def _attributes(text: bytes) -> dict[int, bytes]:
        found = {}
        while len(text) >= 4:
            length, kind = struct.unpack_from("=HH", text)
            found[kind & 0x3FFF] = text[4:length]
            text = text[(length + 3) & ~3 :]
        return found

    def _ask(self, family: int, command: int, attribute: bytes) -> bytes:
        """Sends a request; the answer to it, or the acknowledgement."""
        flags = self.REQUEST | self.ACK
        length = 20 + len(attribute)
        head = struct.pack("=IHHIIBBH", length, family, flags, 1, 0, command, 1, 0)
        self._socket.send(head + attribute)
        answer = b""
        while True:
            # The acknowledgement comes last. Records may come in between.
            message = self._socket.recv(1 << 16)
            kind = struct.unpack_from("=H", message, 4)[0]
            if kind == self.ERROR:
                (error,) = struct.unpack_from("=i", message, 16)
                if error:
                    raise OSError(-error, os.strerror(-error))
                return answer
            if kind == family:
                answer = message

    def read(self) -> dict[int, ExitRecord]:
        """All until now, by pid: the last word on each."""
        while True:
            try:
                message = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self._records
            except OSError as error:
                pytest.fail(f"the test itself lost exit records: {error}; run it again")
            length, kind = struct.unpack_from("=IH", message)
            if kind == self._family:
                self._take(message[20:length])

    def _take(self, text: bytes) -> None:
        aggregate = self._attributes(text).get(self.AGGREGATE_PID)
        if aggregate is None:
            return
        stats = self._attributes(aggregate)[self.STATS]
        version, status = struct.unpack_from("=HxxI", stats)
        name = stats[80:112].split(b"\0")[0].decode("utf-8", "backslashreplace")
        _, pid, ppid = struct.unpack_from("=QII", stats, 120)
        sums = [
            number
            for offset, layout in ((72, "=Q"), (152, "=QQ"), (248, "=QQ"))
            for number in struct.unpack_from(layout, stats, offset)
        ]
        (peak,) = struct.unpack_from("=Q", stats, 200)
        if version >= 12:
            (pid,) = struct.unpack_from("=I", stats, 368)  # of the process, not the thread
        before = self._records.get(pid)
        if before and before.ppid == ppid:  # another thread of it
            peak = max(before.peak, peak)
            sums = [one + other for one, other in zip(before[5:], sums, strict=True)]
        self._records[pid] = ExitRecord(pid, ppid, name, peak, status, *sums)

    def below(self, pid: int) -> dict[int, ExitRecord]:
        """Those of the process `pid` and of all below it, where no parent ended first."""
        records = self.read()
        found: dict[int, ExitRecord] = {}
        new = {pid}
        while new:
            found.update((each, records[each]) for each in new if each in records)
            new = {p for p, each in records.items() if each.ppid in new and p not in found}
        return found


@pytest.fixture
def exit_records() -> Iterator[ExitRecords]:
    """From now on."""
    try:
        records = ExitRecords()
    except OSError as error:
        pytest.skip(f"needs the kernel's exit records (taskstats) to compare with: {error}")
    yield records
    records.close()


# -- What memwatch says, against it --------------------------------------------------------------


class Report:
    """A JSON report: the one place that knows what its keys are called."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.accuracy: dict[str, Any] = document["accuracy"]
        self.processes: list[dict[str, Any]] = document["processes"]
        self.by_pid = {each["pid"]: each for each in self.processes}

    def used(self, source: str) -> bool:
        return any(each["name"] == source and each["used"] for each in self.accuracy["sources"])

    def reason(self, source: str) -> str | None:
        """Why a source is not used."""
        for each in self.accuracy["sources"]:
            if each["name"] == source:
                assert each["reason"] is None or isinstance(each["reason"], str)
                return each["reason"]
        return None

    @property
    def lost(self) -> int:
        return int(self.accuracy["lost_messages"])

    def exact(self) -> set[int]:
        return {each["pid"] for each in self.processes if each["peak_source"] == "exact"}

    @staticmethod
    def final(process: dict[str, Any]) -> int | None:
        """The mark that its last program left, as the kernel had it, in KiB."""
        mark = process["final_watermark_kib"]
        assert mark is None or isinstance(mark, int)
        return mark


def _nanoseconds(date: str) -> int:
    seconds, fraction = date.rstrip("Z").split(".")
    whole = calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S"))
    return whole * 10**9 + int(fraction.ljust(9, "0"))


def told(*what: object) -> str:
    """All of it, for the message of an assertion."""
    return json.dumps(what, default=str)


class Judge:
    """Holds a report against the truth. Of what it does not say, nothing is demanded here."""

    # The clocks of dates and of start times may drift apart; /proc counts in clock ticks.
    ROUNDING = 2_000_000
    CLOCK_TICK = 10**9 // os.sysconf("SC_CLK_TCK")

    # The kernel counts resident pages per CPU, up to this many in advance (mm/memory.c and
    # lib/percpu_counter.c), and a high-water mark may be taken from the rough sum (Linux >= 6.2).
    CPUS = os.cpu_count() or 1
    ROUGHNESS = 2 * CPUS * max(32, 2 * CPUS) * os.sysconf("SC_PAGESIZE") // 1024

    def __init__(
        self, report: Report, truth: Truth, records: dict[int, ExitRecord] | None = None
    ) -> None:
        self.report = report
        self.truth = truth
        self.records = records or {}
        self.boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def nothing_is_invented(self) -> None:
        """Every process and every number in it, whatever was missed and however it was learnt."""
        report, truth = self.report, self.truth
        pids = [each["pid"] for each in report.processes]
        assert len(pids) == len(set(pids)) == report.document["process_count"]
        assert set(pids) <= truth.pids
        serials = {each["serial"]: each["pid"] for each in report.processes}
        for each in report.processes:
            pid = each["pid"]
            parent = serials.get(each["parent_serial"])
            assert parent in (None, truth.ppid(pid)), told(each)
            assert each["wait_status"] in (None, truth.last(pid).status), told(each)
            self._times(each)
            true = self._own_peaks(pid)
            if each["peak_source"] != "exact" and all(i["inherited"] for i in each["images"]):
                # It was seen before it executed, and never after.
                true = [*true, *(self._before_exec(pid).values())]
            self._peak(each["peak_source"], each["max_rss_kib"], true, each)
            self._programs(each)
        self._account()

    def everything_is_there(self) -> None:
        """All processes, each below the one that forked it."""
        report, truth = self.report, self.truth
        missing = truth.pids - set(report.by_pid)
        assert not missing, f"{len(missing)} of {len(truth.pids)} are not in the report"
        serials = {each["serial"]: each["pid"] for each in report.processes}
        wrong = [
            (each["pid"], each["ppid"], each["parent_serial"], truth.ppid(each["pid"]))
            for each in report.processes
            if each["ppid"] != truth.ppid(each["pid"])
            or (serials.get(each["parent_serial"]) != truth.ppid(each["pid"]))
            is not (each["pid"] == truth.root)
        ]
        assert not wrong, f"{len(wrong)} parents are wrong: {wrong[:3]}"

    def peaks_are_exact(self, pids: set[int], *, at_least: float = 1.0) -> None:
        """Said to be, and are: nothing_is_invented() must have passed as well."""
        exact = self.report.exact() & pids
        others = [self.report.by_pid[pid] for pid in pids - exact if pid in self.report.by_pid]
        assert len(exact) >= at_least * len(pids), (
            f"{len(exact)} of {len(pids)} peaks are exact, not those of {told(others[:3])}"
        )

    def command_lines_are_known(self, *, at_least: float) -> None:
        """Those of the programs that were executed; all that is said is true already."""
        ran = [pid for pid, programs in self.truth.programs.items() if max(programs) > 0]
        known = [pid for pid in ran if self.report.by_pid[pid]["argv"]]
        right = [
            pid
            for pid in known
            if self.report.by_pid[pid]["argv"][1:] == self.truth.argv(self.truth.last(pid))
        ]
        assert len(right) >= at_least * len(ran), f"{len(right)} of {len(ran)} command lines"

    def _before_exec(self, pid: int) -> dict[int, int]:
        """Its peak as a fork. Under vfork and posix_spawn the memory is the parent's."""
        programs = self.truth.programs[pid]
        return {0: programs[0].peak or self.truth.peak(self.truth.root)} if 0 in programs else {}

    def _own_peaks(self, pid: int) -> list[int]:
        """What may be called its exact peak: what it read itself, and the kernel's record."""
        programs = self.truth.programs[pid]
        peaks = [self.truth.peak(pid)]
        # The kernel's record is of the last program only.
        if pid in self.records and (len(programs) == 1 or sorted(programs) == [0, 1]):
            peaks.append(self.records[pid].peak)
        return peaks

    def _peak(self, source: str, value: int | None, true: list[int], of: object) -> None:
        assert source in ("exact", "watermark", "sampled", "unknown"), told(of)
        assert (value is None) is (source == "unknown"), told(of)
        if value is None:
            return
        if source == "exact":
            # Not less than the least of them; a look at it while it ran may have seen more.
            least = min(true)
            if self.report.used("taskstats") and not self.records:
                least -= self.ROUGHNESS
            assert value in true or least < value <= max(true) + self.ROUGHNESS, told(true, of)
        else:
            assert value <= max(true) + self.ROUGHNESS, told(true, of)

    def _times(self, each: dict[str, Any]) -> None:
        programs = self.truth.programs[each["pid"]]
        born = programs[min(programs)]
        if each["start_time"] is not None and each["pid"] != self.truth.root:
            start = _nanoseconds(each["start_time"]) - self.boot
            assert born.forked - self.CLOCK_TICK - self.ROUNDING <= start, told(each)
            assert start <= born.begun + self.ROUNDING, told(each)
        first, last = _nanoseconds(each["first_seen"]), _nanoseconds(each["last_seen"])
        assert first <= last, told(each)
        # A tick's time is that of its beginning, and it may take its time.
        begun = self.truth.last(self.truth.root).begun
        assert first - self.boot >= begun - 10**9, told(each)

    def _programs(self, each: dict[str, Any]) -> None:
        truth = self.truth.programs[each["pid"]]
        own = {number: program.peak for number, program in truth.items()}
        own.update(self._before_exec(each["pid"]))
        assert len(each["images"]) <= len(truth), told(each)
        for program in each["images"]:
            argv = (program["argv"] or [None])[1:]
            numbers = [n for n in truth if n and self.truth.argv(truth[n]) == argv]
            if program["inherited"] and 0 in own:
                number = 0
            else:
                number = numbers[0] if numbers else min(1, max(own))
                assert numbers or not argv or argv == self.truth.root_argv, told(each)
            if program["peak_source"] == "exact" and (numbers or number == 0):
                true = [own[number]]
            else:
                # Who only looks now and then may not have noticed the next exec yet.
                true = [peak for n, peak in own.items() if n >= number]
            if each["pid"] in self.records and program is each["images"][-1]:
                true.append(self.records[each["pid"]].peak)
            self._peak(program["peak_source"], program["max_rss_kib"], true, each)

    def _account(self) -> None:
        """The accuracy section counts what the processes say one by one."""
        accuracy, processes = self.report.accuracy, self.report.processes
        for key, field in (("peaks", "peak_source"), ("processes_found", "found_by")):
            counted: dict[str, int] = defaultdict(int)
            for each in processes:
                counted[each[field]] += 1
            assert sorted(accuracy[key].values()) == sorted(
                [*counted.values(), *([0] * (len(accuracy[key]) - len(counted)))]
            ), key


@pytest.fixture
def report_of() -> type[Report]:
    """Of a JSON document."""
    return Report


@pytest.fixture
def judge() -> type[Judge]:
    return Judge


# -- What works here, found out without memwatch -------------------------------------------------

# Prints nothing when a source of events can be had, else why not.
_TRY_SOURCE = {
    "connector": """
import os, socket, struct
if os.stat("/proc/self/ns/pid").st_ino != 0xEFFFFFFC:
    raise SystemExit("not in the first pid namespace")
s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
s.bind((0, 1))
""",
    "perf": """
import ctypes, os, platform
number = {"x86_64": 298, "aarch64": 241}[platform.machine()]
attr = (ctypes.c_uint64 * 16)()
ctypes.memmove(attr, bytes([1, 0, 0, 0, 112, 0, 0, 0, 9]), 9)
attr[5] = 1 << 0 | 1 << 5 | 1 << 6  # disabled, exclude_kernel, exclude_hv
call = ctypes.CDLL(None, use_errno=True).syscall
if call(number, attr, 0, -1, -1, 8) < 0:
    raise SystemExit("perf_event_open: " + os.strerror(ctypes.get_errno()))
""",
    "hook": """
from pathlib import Path
actions = Path("/proc/sys/kernel/seccomp/actions_avail")
if not actions.exists() or "user_notif" not in actions.read_text():
    raise SystemExit("no seccomp notifications")
""",
}


@pytest.fixture
def needs(user: User) -> Callable[[str], None]:
    """Skips the test where `user` cannot have a source of events."""

    def check(source: str) -> None:
        if source == "taskstats":
            if user.prefix:
                pytest.skip("exit records need CAP_NET_ADMIN")
            try:
                ExitRecords().close()
            except OSError as error:
                pytest.skip(f"exit records cannot be had here: {error}")
            return
        argv = [*user.prefix, sys.executable, "-c", _TRY_SOURCE[source]]
        tried = subprocess.run(argv, check=False, capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"{source} cannot be had here: {tried.stderr.strip().splitlines()[-1]}")

    return check


# -- Recordings of jobs that never ran -----------------------------------------------------------

START = 1_000_000_000_000  # nanoseconds since boot


class Story:
    """A recording whose every value is known. Times are milliseconds, sizes KiB."""

    def __init__(self, path: Path, *command: str) -> None:
        self.path = path
        self.totals: list[tuple[int, int]] = []
        """Time in microseconds and bytes, of each tick."""
        self._recorder = Recorder(str(path), overwrite=True)
        self._recorder.begin(Beginning(command or ("make",), Clock(START, START), START, 10**7))
        self._records: list[Observation] = []
        self._text = bytearray()
        self._held: dict[int, int] = {}

    def start(self, serial: int, at: float, *argv: str, parent: int = 1, pid: int = 0) -> None:
        valid = observations.HAS_START | (observations.HAS_PARENT if serial > 1 else 0)
        self._held[serial] = 0
        self._add(observations.STARTED, at, serial, parent, self._time(at), valid, pid)
        self.execute(serial, at, *argv)

    def execute(self, serial: int, at: float, *argv: str) -> None:
        words = [word.encode("utf-8", "surrogateescape") for word in argv]
        name = words[0].rsplit(b"/", 1)[-1]
        text = b"\0".join((name, b"/bin/" + name, *words))
        where = len(self._text)
        self._text += text
        valid = observations.HAS_EXE | observations.HAS_ARGV
        self._add(observations.IMAGE, at, serial, where, len(text), valid)

    def memory(self, serial: int, at: float, size: int) -> None:
        self._held[serial] = size * 1024
        self._add(observations.MEMORY, at, serial, size * 1024, 0, observations.HAS_RSS)

    def exact(self, serial: int, at: float, size: int) -> None:
        """The kernel's record of a process that no sample saw."""
        valid = observations.HAS_WATERMARK | observations.FINAL
        self._add(observations.MEMORY, at, serial, 0, size * 1024, valid)

    def exit(self, serial: int, at: float, status: int = 0) -> None:
        del self._held[serial]
        valid = observations.HAS_STATUS | observations.BY_EVENT
        self._add(observations.EXITED, at, serial, status, 0, valid)

    def tick(self, at: float) -> None:
        total = sum(self._held.values())
        self.totals.append((round(at * 1000), total))
        self._add(observations.TICK, at, 0, total, len(self._held), 0)
        if len(self._records) > 5000:
            self.cut_short()

    def footprint(self, serial: int, at: float, size: int) -> None:
        """Its highest, at its end; of serial 0, that of all of them together, now."""
        if serial:
            valid = observations.HAS_WATERMARK | observations.FINAL
            self._add(observations.FOOTPRINT, at, serial, 0, size * 1024, valid)
        else:
            valid = observations.HAS_FOOTPRINT
            self._add(observations.FOOTPRINT, at, 0, size * 1024, 1, valid)

    def pss(self, at: float, size: int) -> None:
        total = sum(self._held.values())
        self._add(observations.PSS, at, total, size * 1024, 0, 0)

    def end(
        self,
        at: float,
        limit: int | None = None,
        *,
        status: int = 0,
        limit_outcome: LimitOutcome | None = None,
    ) -> Path:
        """`limit` in KiB; `status` as wait(2) gives it."""
        self.cut_short()
        source = None if limit is None else "cgroup v2"
        size = None if limit is None else limit * 1024
        self._recorder.end(
            Ending(
                self._time(at),
                status,
                Overhead(10**7, 1 << 24),
                MemoryLimit(size, source, None, None, None, None),
                limit_outcome=limit_outcome,
            )
        )
        return self.path

    def cut_short(self) -> Path:
        """Without its last line."""
        self._recorder.add(Batch(self._records, bytes(self._text)))
        self._records, self._text = [], bytearray()
        return self.path

    def _time(self, at: float) -> int:
        return START + round(at * 1e6)

    def _add(
        self, kind: int, at: float, serial: int, value: int, second: int, valid: int, pid: int = 0
    ) -> None:
        self._records.append(
            (self._time(at), serial, value, second, kind, valid, pid or 100 + serial, 100)
        )


@pytest.fixture
def story(tmp_path: Path) -> Callable[..., Story]:
    """story(NAME, *COMMAND): begins a recording of that name."""
    return lambda name, *command: Story(tmp_path / name, *command)


# -- A /proc that is made up ---------------------------------------------------------------------

PAGE = os.sysconf("SC_PAGE_SIZE")
FORKNOEXEC = 0x40


@dataclass(frozen=True)
class FakeProcess:
    """What the files of a process say. None: there is no such file."""

    pid: int
    ppid: int = 1
    name: bytes = b"sh"
    state: str = "S"
    flags: int = 0
    threads: int = 1
    start: int = 1000
    start_stack: int = 0x7FFC_0000_1000
    size: int = 500
    rss: int = 100
    text: int = 19
    watermark: int | None = None
    """Pages."""
    argv: tuple[bytes, ...] | None = (b"sh", b"-c", b"x")
    exe: str | None = "/bin/sh"
    cwd: str | None = None
    tids: tuple[int, ...] = ()
    """Threads beside the first."""
    missing: frozenset[str] = frozenset()

    @property
    def stat(self) -> bytes:
        fields = [b"0"] * 53
        for number, value in {
            3: self.state,
            4: self.ppid,
            5: -1,
            8: -1,
            9: self.flags,
            18: 20,
            20: self.threads,
            22: self.start,
            23: self.size * PAGE,
            24: self.rss,
            25: 2**64 - 1,
            # In the middle of execve there is no code; without memory neither.
            26: 0x5000 if self.size and self.text else 0,
            28: self.start_stack,
        }.items():
            fields[number] = str(value).encode()
        return b"%d (%s) %s\n" % (self.pid, self.name, b" ".join(fields[3:]))

    @property
    def statm(self) -> bytes:
        return b"%d %d 50 %d 0 60 0\n" % (self.size, self.rss, self.text)

    @property
    def status(self) -> bytes:
        mark = self.watermark
        memory = b"" if mark is None else b"VmHWM:\t%8d kB\n" % (mark * PAGE // 1024)
        return b"Name:\t%s\nPid:\t%d\n%sThreads:\t%d\n" % (
            self.name.replace(b"\n", b"\\n"),
            self.pid,
            memory,
            self.threads,
        )


class FakeProc:
    """A /proc: processes are added, changed, and taken away; their files follow."""

    def __init__(self, root: Path, *, lists_children: bool = True) -> None:
        self.root = root
        self.lists_children = lists_children
        self.processes: dict[int, FakeProcess] = {}
        self.thread_of: dict[int, int] = {}
        root.mkdir()

    def add(self, pid: int, *, thread: int | None = None, **facts: Any) -> FakeProcess:
        """A new process; `thread` of its parent started it."""
        fake = FakeProcess(pid, **facts)
        assert pid not in self.processes
        self.processes[pid] = fake
        self.thread_of[pid] = thread or fake.ppid
        self._write(fake)
        self._list_children(fake.ppid, self.thread_of[pid])
        return fake

    def change(self, pid: int, **facts: Any) -> None:
        """Files are written in place, so that kept descriptors see it."""
        before = self.processes[pid]
        fake = self.processes[pid] = replace(before, **facts)
        if fake.ppid != before.ppid:
            self.thread_of[pid] = fake.ppid
            self._list_children(before.ppid)
            self._list_children(fake.ppid)
        self._write(fake)

    def exec(self, pid: int, **facts: Any) -> None:
        """Another program: another text, another stack, no longer a fork."""
        before = self.processes[pid]
        new = {
            "flags": before.flags & ~FORKNOEXEC,
            "text": before.text + 7,
            "start_stack": before.start_stack + 0x1000,
            "watermark": None,
        }
        self.change(pid, **{**new, **facts})

    def zombie(self, pid: int) -> None:
        self.change(pid, state="Z", size=0, rss=0, text=0, watermark=None, start_stack=0, argv=())

    def remove(self, pid: int) -> None:
        """It is reaped. Its children, if any, are its parent's no more."""
        self.zombie(pid)
        fake = self.processes.pop(pid)
        for path in self._children_files(fake):
            path.write_bytes(b"")
        shutil.rmtree(self.root / str(pid))
        self._list_children(fake.ppid)

    def _write(self, fake: FakeProcess) -> None:
        where = self.root / str(fake.pid)
        where.mkdir(exist_ok=True)
        for name, text in {
            "stat": fake.stat,
            "statm": fake.statm,
            "status": fake.status,
            "cmdline": None if fake.argv is None else b"".join(w + b"\0" for w in fake.argv),
        }.items():
            if text is None or name in fake.missing:
                (where / name).unlink(missing_ok=True)
            else:
                (where / name).write_bytes(text)
        for name, target in {"exe": fake.exe, "cwd": fake.cwd}.items():
            (where / name).unlink(missing_ok=True)
            if target is not None:
                (where / name).symlink_to(target)
        self._write_threads(fake)

    def _write_threads(self, fake: FakeProcess) -> None:
        task = self.root / str(fake.pid) / "task"
        task.mkdir(exist_ok=True)
        wanted = {fake.pid, *fake.tids}
        for gone in {int(path.name) for path in task.iterdir()} - wanted:
            shutil.rmtree(task / str(gone))
        for tid in wanted:
            (task / str(tid)).mkdir(exist_ok=True)
            if tid != fake.pid:
                # A thread shares the memory of its process, and has it when the first is gone.
                memory = fake.statm if fake.size else replace(fake, size=500, rss=77).statm
                (task / str(tid) / "statm").write_bytes(memory)
        if self.lists_children and "children" not in fake.missing:
            self._list_children(fake.pid)

    def _children_files(self, fake: FakeProcess) -> Iterator[Path]:
        for tid in (fake.pid, *fake.tids):
            path = self.root / str(fake.pid) / "task" / str(tid) / "children"
            if path.exists():
                yield path

    def _list_children(self, pid: int, thread: int | None = None) -> None:
        """Writes the lists of a process's threads, or of one, as the kernel does: "12 13 "."""
        fake = self.processes.get(pid)
        if not fake or not self.lists_children:
            return
        for tid in (thread,) if thread else (pid, *fake.tids):
            children = [
                each.pid
                for each in self.processes.values()
                if each.ppid == pid and self.thread_of[each.pid] == tid
            ]
            path = self.root / str(pid) / "task" / str(tid) / "children"
            path.write_bytes(b"".join(b"%d " % child for child in children))


@pytest.fixture
def new_tree() -> Callable[..., FakeProc]:
    """Makes an empty /proc in a folder."""
    return FakeProc
