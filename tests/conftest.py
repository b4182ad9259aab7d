"""Fixtures for tests over real processes: programs, users, memwatch as a command, no leftovers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from support import survivors
from support.command import Memwatch
from support.exit_records import ExitRecords
from support.scripted import ScriptedRecording
from support.sources import need_source
from support.storms import Storm
from support.terminal import Terminal
from support.toolchain import NewToolchain, Programs, Toolchain
from support.users import User, user_named

# -- Which tests run, and as which user ----------------------------------------------------------


# The same examples each time, however long one takes: a test never fails by chance. Others are
# found with --hypothesis-profile=explore.
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")

SLOW = pytest.StashKey[int]()
"""How many slow tests were left out."""

MOST_WORKERS = 4
WHAT_IS_SLOW = "storms, sanitizers, fuzzing, a browser, packages, builds for other systems"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help=f"run the slow tests as well: {WHAT_IS_SLOW}"
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "both_users: runs the test as the caller and, when that is root, as nobody too",
        "slow: runs only with --all, or when its file is named on the command line",
    ):
        config.addinivalue_line("markers", marker)


def named_files(config: pytest.Config) -> set[Path]:
    """The files of tests that were named on the command line."""
    words = (config.invocation_params.dir / word.split("::")[0] for word in config.args)
    return {word for word in words if word.is_file()}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Shares the tests out among processes, where pytest-xdist is installed and nothing else was
    asked for. Slow ones are not: they flood the machine with processes, or measure all of it."""
    if hasattr(config, "workerinput"):
        return  # it is one of them
    option = config.option
    alone = option.all or option.usepdb or option.collectonly or named_files(config)
    if getattr(option, "numprocesses", 0) is None and not alone:
        option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)
        option.dist = "loadfile"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    named = named_files(config)
    slow = [item for item in items if item.get_closest_marker("slow") and item.path not in named]
    config.stash[SLOW] = len(slow)
    config.hook.pytest_deselected(items=slow)
    left_out = set(slow)
    items[:] = [item for item in items if item not in left_out]


def pytest_report_header(config: pytest.Config) -> list[str]:
    if config.getoption("--all"):
        return []
    return [f"left out: slow tests ({WHAT_IS_SLOW}); `pytest --all` runs them"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells how many it left out: each has collected all."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["slow"] = session.config.stash.get(SLOW, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[SLOW] = getattr(node, "workeroutput", {}).get("slow", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if count := config.stash.get(SLOW, 0):
        terminalreporter.write_line(f"{count} slow tests were left out: `pytest --all` runs them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_users"):
        metafunc.parametrize("user", ["caller", "nobody"], indirect=True)


@pytest.fixture
def room() -> Iterator[Path]:
    """An empty folder that can be given to any user; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="memwatch-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def user(request: pytest.FixtureRequest, room: Path) -> User:
    return user_named(getattr(request, "param", "caller"), room)


@pytest.fixture
def needs(user: User) -> Callable[[str], None]:
    """Skips the test where `user` cannot have a source of events."""
    return partial(need_source, user)


# -- Programs ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """programs(NAME): tests/programs/NAME.c, compiled."""
    with tempfile.TemporaryDirectory(prefix="memwatch-programs-") as folder:
        yield Programs(Path(folder))


@pytest.fixture
def burner(programs: Programs) -> Path:
    return programs("burner")


@pytest.fixture
def probe(programs: Programs) -> Path:
    return programs("probe")


@pytest.fixture(scope="session")
def new_toolchain(
    tmp_path_factory: pytest.TempPathFactory,
) -> NewToolchain:

    def make(folder: Path, flags: Sequence[str]) -> Toolchain:
        return Toolchain(tmp_path_factory.mktemp(folder.name), folder, flags)

    return make


# -- memwatch as a command, and at a terminal ----------------------------------------------------


@pytest.fixture
def no_survivors() -> Iterator[None]:
    """Fails a test that leaves processes behind, and ends them."""
    with survivors.no_survivors():
        yield


@pytest.fixture
def memwatch(user: User, no_survivors: None, programs: Programs) -> Iterator[Memwatch]:
    made = Memwatch(user, partial(programs, "burner"))
    yield made
    made.close()


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


# -- Jobs whose truth is known -------------------------------------------------------------------


@pytest.fixture
def storm(programs: Programs, room: Path) -> Storm:
    return Storm(programs.static("storm"), room)


@pytest.fixture
def exit_records() -> Iterator[ExitRecords]:
    """The kernel's, from now on."""
    try:
        records = ExitRecords()
    except OSError as error:
        pytest.skip(f"needs the kernel's exit records (taskstats) to compare with: {error}")
    yield records
    records.close()


@pytest.fixture
def story(tmp_path: Path) -> Callable[..., ScriptedRecording]:
    """story(NAME, *COMMAND): begins a recording of that name, of a job that never ran."""
    return lambda name, *command: ScriptedRecording(tmp_path / name, *command)
