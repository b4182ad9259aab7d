"""Tests the jobs of benchmarks/total_truth.py: what they count as their need is what they need."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from support.paths import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and control groups"),
]

# MiB that each job touches on purpose. Larger jobs do nothing that these do not.
TOUCHED = {
    "shared": 200,
    "attach": 200,
    "memmap": 300,
    "thp": 250,
    "reserved": 90,
    "relay": 240,
    "mixed": 340,
    "back": 400,
}
# What six interpreters need besides, at most, in MiB.
PYTHON = 24


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


control_group = benchmark("control_group")


@pytest.fixture
def shm() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="memwatch-test-", dir="/dev/shm") as folder:
        yield Path(folder)


def command(name: str, folder: Path, shm: Path) -> list[str]:
    script = str(ROOT / "benchmarks" / "known_needs.py")
    return [sys.executable, "-I", "-S", script, name, "0.2", str(folder), str(shm)]


def need_kib(folder: Path) -> int:
    return json.loads((folder / "need.json").read_text())["need_kib"]


@pytest.mark.parametrize("name", TOUCHED)
def test_need_is_what_was_touched_and_python(name: str, tmp_path: Path, shm: Path) -> None:
    subprocess.run(command(name, tmp_path, shm), check=True)
    touched = TOUCHED[name] * 1024
    assert touched <= need_kib(tmp_path) <= touched + PYTHON * 1024
    assert not list(shm.parent.glob(f"{shm.name}-*"))
    assert not list(shm.iterdir())


@pytest.mark.parametrize("name", TOUCHED)
def test_control_group_is_charged_the_need(name: str, tmp_path: Path, shm: Path) -> None:
    try:
        group = control_group.ControlGroup(f"memwatch-test-{os.getpid()}")
    except control_group.Missing as why:
        pytest.skip(str(why))
    try:
        charged = group.run(command(name, tmp_path, shm))
    finally:
        group.remove()
    assert charged == pytest.approx(need_kib(tmp_path), rel=0.02, abs=5 * 1024)


def test_group_is_made_where_the_memory_controller_is_passed_on(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("\n")
    with pytest.raises(control_group.Missing):
        control_group.passing_on(own)
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert control_group.passing_on(own) == own.parent


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (1, "cache 9\nrss 8\ntotal_rss 100\ntotal_shmem 20\ntotal_swap 3\ntotal_cache 29\n"),
        (2, "anon 100\nfile 29\nshmem 23\nkernel 7\n"),
    ],
)
def test_cache_is_not_needed(version: int, text: str) -> None:
    assert control_group.needed(text, version) == 123
