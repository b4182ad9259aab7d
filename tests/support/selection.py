"""A pytest plugin that chooses which tests run, in how many processes and as which users."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# The same examples in each run, without a deadline, so that no test fails by chance. Other
# examples: --hypothesis-profile=explore.
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")

SLOW = pytest.StashKey[int]()
"""The number of slow tests that were left out."""

WHAT_IS_SLOW = "storms, sanitizers, fuzzing, a browser, packages, builds for other systems"

MOST_WORKERS = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    what = f"run the slow tests as well: {WHAT_IS_SLOW}"
    parser.addoption("--all", action="store_true", help=what)


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "both_users: runs the test as the caller and, when that is root, as nobody too",
        "slow: runs only with --all, or when its file is named on the command line",
    ):
        config.addinivalue_line("markers", marker)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_users"):
        metafunc.parametrize("user", ["caller", "nobody"], indirect=True)


def named_files(config: pytest.Config) -> set[Path]:
    """Returns the test files that were named on the command line."""
    words = (config.invocation_params.dir / word.split("::")[0] for word in config.args)
    return {word for word in words if word.is_file()}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Distributes the tests over processes if pytest-xdist is installed and -n was not given.

    With --all they run one by one: slow tests flood the machine with processes, or watch all of it.
    """
    if hasattr(config, "workerinput"):
        return  # this is one of those processes
    option = config.option
    alone = option.all or option.usepdb or option.collectonly or named_files(config)
    if getattr(option, "numprocesses", 0) is None and not alone:
        # One more than there are processors: tests wait much of their time.
        option.numprocesses = min((os.cpu_count() or 1) + 1, MOST_WORKERS)
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
    """Reports how many tests were left out to the first process: each worker collects all."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["slow"] = session.config.stash.get(SLOW, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Receives that number from `node`, a process of xdist that has ended."""
    node.config.stash[SLOW] = getattr(node, "workeroutput", {}).get("slow", 0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if count := config.stash.get(SLOW, 0):
        terminalreporter.write_line(f"{count} slow tests were left out: `pytest --all` runs them")
