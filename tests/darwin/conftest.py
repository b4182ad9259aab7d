"""Fixtures that build the Darwin files on Linux with the fake macOS, and play scripts to them."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memwatch.model.job import Job
from memwatch.model.observations import IMAGE, TICK, Batch, Observation, ProgramText, decode_program
from support.paths import CSRC, ROOT
from support.toolchain import NewToolchain, Toolchain

HERE = Path(__file__).parent

FAKE = tuple(str(path) for path in sorted(HERE.glob("fake/*.c")))
DARWIN = tuple(f"darwin/{path.name}" for path in sorted(CSRC.glob("darwin/*.c")))

# Functions of both systems, which the fake replaces for fake processes.
WRAPPED = (
    *("clock_gettime", "close", "getpgid", "getpid", "geteuid", "getsid", "kill"),
    *("wait4", "waitpid"),
)
WRAPS = tuple(f"-Wl,--wrap={name}" for name in WRAPPED)

MEMORY = "address,undefined"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the fake macOS is made for Linux")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(on_linux)


@pytest.fixture(scope="session")
def common_sources() -> tuple[str, ...]:
    """The sources that the build uses for every platform."""
    before = os.getcwd()
    os.chdir(ROOT)
    try:
        return tuple(runpy.run_path(str(CSRC / "build_ffi.py"))["COMMON"])
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def toolchain(new_toolchain: NewToolchain) -> Toolchain:
    folders = (HERE / "include", HERE / "fake", HERE.parent / "native", CSRC / "darwin")
    return new_toolchain(HERE, [*(f"-I{folder}" for folder in folders), *WRAPS])


# -- Playing scripts -----------------------------------------------------------------------------


class Fact(NamedTuple):
    """One observation."""

    time: int
    process: int
    value: int
    second: int
    kind: int
    valid: int
    pid: int
    ppid: int
    third: int
    program: ProgramText | None


class Row(NamedTuple):
    """One process of a scan."""

    pid: int
    ppid: int
    start: int
    valid: int
    state: str
    name: str


class Stats(NamedTuple):
    unkept: int
    unreadable: int
    scanning: int
    lost: int
    sources: int
    error: int


class Played:
    """The results of a script. There is a batch for each `tick` of the plan, in order."""

    def __init__(self, output: str) -> None:
        self.batches: list[Batch] = []
        self.answers: list[list[str]] = []
        """The answers to `new`, `signal`, `scan`, `probe` and `calls`, each with its words."""
        self.rows: list[Row] = []
        self.errors: list[int] = []
        """The error of each tick, or 0."""
        self.stats: Stats | None = None
        records: list[Observation] = []
        for line in output.splitlines():
            verb, *words = line.split(" ")
            match verb:
                case "observed":
                    records.append(tuple(map(int, words)))  # type: ignore[arg-type]
                case "text":
                    self.batches.append(Batch(records, bytes.fromhex(words[0])))
                    records = []
                case "tick":
                    self.errors.append(int(words[0]))
                case "row":
                    pid, ppid, start, valid, state, *name = words
                    row = (int(pid), int(ppid), int(start), int(valid), state, " ".join(name))
                    self.rows.append(Row(*row))
                case "stats":
                    self.stats = Stats(*map(int, words))
                case _:
                    self.answers.append([verb, *words])
        self.job = Job(timeline=True)
        for batch in self.batches:
            self.job.apply(batch)
            # The sums of a tick must match its observations.
            if batch.records and batch.records[-1][4] == TICK:
                assert batch.records[-1][2] == sum(each.rss for each in self.job.live.values())
                assert batch.records[-1][3] == len(self.job.live)

    def all(self, kind: int, pid: int | None = None, tick: int | None = None) -> list[Fact]:
        """Returns the observations of one tick, counted from 0, or of all ticks."""
        found = []
        for batch in self.batches if tick is None else [self.batches[tick]]:
            for record in batch.records:
                fact = Fact(*record, None)
                if fact.kind != kind or pid not in (None, fact.pid):
                    continue
                if kind == IMAGE:
                    text = batch.text[fact.value : fact.value + fact.second]
                    fact = fact._replace(program=decode_program(text, fact.valid) if text else None)
                found.append(fact)
        return found

    def one(self, kind: int, pid: int | None = None, tick: int | None = None) -> Fact:
        (fact,) = self.all(kind, pid, tick)
        return fact

    def answer(self, verb: str) -> list[str]:
        """Returns the words of the only answer to this line of the plan."""
        (words,) = [words for given, *words in self.answers if given == verb]
        return words

    @property
    def live(self) -> set[int]:
        return {each.pid for each in self.job.live.values()}


Play = Callable[..., Played]

ME = 50
JOB = 100


@pytest.fixture
def play(
    toolchain: Toolchain, common_sources: tuple[str, ...], tmp_path: Path
) -> Callable[..., Played]:
    """Makes play(SCRIPT, PLAN), which plays a script to a sampler under sanitizers.

    The script begins with memwatch itself (pid 50, uid 501) and the job's root (100), its child.
    """
    compiler = toolchain.any_compiler(MEMORY)
    player = toolchain.build(compiler, MEMORY, "player.c", [*common_sources, *DARWIN], FAKE)

    def played(
        script: str,
        plan: str,
        *,
        adopter: int = ME,
        others: bool = False,
        sources: int = 16,
        uid: int = 501,
        before: str = "",
    ) -> Played:
        (tmp_path / "script").write_text(
            f"{before}\nme {ME} {uid}\nstart {ME} 1 memwatch\n"
            f"start {JOB} {ME} make make all\n{script}\n"
        )
        job = f"job {JOB} {adopter} {int(others)} {sources}\n"
        (tmp_path / "plan").write_text(job + "\n".join(each.strip() for each in plan.split(",")))
        done = subprocess.run(
            [player, tmp_path / "script", tmp_path / "plan"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        return Played(done.stdout)

    return played


# -- All of memwatch -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def library(common_sources: tuple[str, ...]) -> Iterator[Path]:
    """A folder with a copy of memwatch whose extension is the Darwin files and the fake."""
    cffi = pytest.importorskip("cffi")
    pytest.importorskip("setuptools")
    if not shutil.which("cc"):
        pytest.skip("cc is not installed")
    # pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="memwatch-darwin-"))
    folder.chmod(0o755)
    shutil.copytree(
        ROOT / "memwatch",
        folder / "memwatch",
        ignore=shutil.ignore_patterns("*.so", "__pycache__", "_native.c"),
    )
    ffi = cffi.FFI()
    ffi.cdef((CSRC / "api.h").read_text())
    ffi.cdef((HERE / "fake" / "fake.h").read_text())
    ffi.set_source(
        "memwatch.runner._native",
        '#include "memwatch.h"\n#include "fake.h"\n',
        sources=[*(str(CSRC / name) for name in (*common_sources, *DARWIN)), *FAKE],
        include_dirs=[str(each) for each in (HERE / "include", HERE / "fake", CSRC)],
        define_macros=[
            ("_GNU_SOURCE", None),
            ("MW_BUILD_DATE", '"2025-01-01"'),
            ("MW_BUILD_TARGET", '"macosx-11.0-arm64"'),
        ],
        extra_compile_args=["-std=c11", "-O1", "-g", "-pthread"],
        # glibc has a sysctl() for old programs, which would be found first.
        extra_link_args=["-pthread", "-Wl,-Bsymbolic", *WRAPS],
        py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
    )
    ffi.compile(tmpdir=str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def darwin_env(library: Path) -> dict[str, str]:
    """The variables with which Python imports that memwatch, with real processes."""
    return {"PYTHONPATH": str(library), "FAKE_MACOS": "125/3"}
