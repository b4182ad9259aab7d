"""Fixtures for tests over real processes: programs, users, memwatch as a command, no leftovers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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

pytest_plugins = ["support.selection"]

# -- Users ---------------------------------------------------------------------------------------


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
