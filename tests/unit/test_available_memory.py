"""The memory that is left to a job, from a fake /proc and fake control groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memwatch.model.observations import AVAILABLE, IN_GROUP, TICK
from memwatch.runner import cgroup, native
from memwatch.runner.native import GroupLimits
from support.fake_proc import PAGE, FakeProc

pytestmark = pytest.mark.skipif(native.backend() != "linux", reason="it has no /proc")

MS = 1_000_000
MIB = 1 << 20
ROOT = 5_000_001


class Reader:
    """A sampler of one process in a fake machine, whose ticks are made by the test."""

    def __init__(self, root: Path, groups: GroupLimits | None = None) -> None:
        self.tree = FakeProc(root / "proc")
        self.tree.add(ROOT)
        self.machine(500)
        self.sampler = native.Sampler(
            10 * MS, proc_root=str(self.tree.root), min_available=100 * MIB, groups=groups
        )
        self._time = 0

    def machine(self, available: int) -> None:
        """Sets what the machine has available, in MiB."""
        text = f"MemTotal:  999999 kB\nMemFree:  1 kB\nMemAvailable:  {available * 1024} kB\n"
        (self.tree.root / "meminfo").write_text(text)

    def read(self) -> tuple[int, bool] | None:
        """Makes a tick. Returns what is left, in MiB, and whether a group has so little; None when
        nothing was observed."""
        self._time += 10 * MS
        self.sampler.tick(ROOT, self._time)
        records = [each for each in self.sampler.read().records if each[4] == AVAILABLE]
        assert len(records) < 2
        return (records[0][2] // MIB, bool(records[0][5] & IN_GROUP)) if records else None


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(groups: GroupLimits | None = None) -> Reader:
        made.append(Reader(tmp_path, groups))
        return made[-1]

    yield make
    for each in made:
        each.sampler.close()


def group(folder: Path, usage: int, inactive: int, *, version: int = 2) -> Path:
    """Makes the files of a control group. Sizes are MiB."""
    folder.mkdir(exist_ok=True)
    name = "memory.current" if version == 2 else "memory.usage_in_bytes"
    (folder / name).write_text(f"{usage * MIB}\n")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 1\n{key} {inactive * MIB}\n")
    return folder


def test_the_machine(reader: Callable[..., Reader]) -> None:
    """What is left is reported when it is lower by a MiB than ever, and when it is too little."""
    it = reader()
    assert it.read() == (500, False)
    assert it.read() is None
    it.machine(600)
    assert it.read() is None
    it.machine(499)
    assert it.read() == (499, False)
    it.machine(99)
    assert [it.read(), it.read()] == [(99, False)] * 2


def test_it_is_read_every_ten_milliseconds(reader: Callable[..., Reader]) -> None:
    it = reader()
    it.sampler.tick(ROOT, 1 * MS)
    it.machine(300)
    it.sampler.tick(ROOT, 10 * MS)
    it.sampler.tick(ROOT, 11 * MS)
    kinds = [record[4] for record in it.sampler.read().records]
    assert [kind for kind in kinds if kind in (TICK, AVAILABLE)] == [
        *(TICK, AVAILABLE),
        *(TICK,),
        *(TICK, AVAILABLE),
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_a_group(reader: Callable[..., Reader], tmp_path: Path, version: int) -> None:
    """Page cache that can be dropped is left; it is read only where it matters."""
    folder = group(tmp_path / "job", 100, 30, version=version)
    it = reader(GroupLimits(version, ((str(folder), 256 * MIB),)))
    assert it.read() == (156, True)  # without 30 of cache
    group(folder, 200, 100, version=version)
    assert it.read() is None  # 56 and 100 of cache
    group(folder, 250, 20, version=version)
    assert it.read() == (26, True)
    group(folder, 400, 20, version=version)  # above its limit, as after it was lowered
    assert it.read() == (0, True)


def test_the_least_of_several(reader: Callable[..., Reader], tmp_path: Path) -> None:
    """The group above may be fuller, and one of which nothing can be read does not count."""
    inner, outer = group(tmp_path / "inner", 10, 0), group(tmp_path / "outer", 800, 0)
    limits = ((str(inner), 200 * MIB), (str(outer), 950 * MIB), (str(tmp_path / "x"), MIB))
    it = reader(GroupLimits(2, limits))
    assert it.read() == (150, True)
    it.machine(120)
    assert it.read() == (120, False)


def test_a_machine_that_does_not_say(tmp_path: Path) -> None:
    """Before Linux 3.14: nothing is observed, so the limit is inconclusive."""
    it = Reader(tmp_path)
    (it.tree.root / "meminfo").write_text("MemTotal:  999999 kB\nMemFree:  1 kB\n")
    assert it.read() is None
    it.sampler.close()


def test_the_resident_sizes_of_some_processes(reader: Callable[..., Reader]) -> None:
    it = reader()
    it.tree.add(ROOT + 1, rss=50)
    it.tree.add(ROOT + 2, rss=7)
    assert it.sampler.resident([ROOT + 1, ROOT + 2, ROOT + 3]) == 57 * PAGE
    assert it.sampler.resident([]) == 0


# The limits of the groups


def fake_groups(root: Path, limits: dict[str, str]) -> Path:
    """Makes a /proc in which the process is in the group /a/b of version 2, with these limits."""
    proc = root / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    (proc / "self" / "mountinfo").write_text(f"30 23 0:26 / {root}/fs rw - cgroup2 none rw\n")
    for path in ("", "a", "a/b"):
        folder = root / "fs" / path
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").touch()
        if path in limits:
            (folder / "memory.max").write_text(limits[path] + "\n")
    return proc


def test_every_limit_on_the_way_to_the_root(tmp_path: Path) -> None:
    proc = fake_groups(tmp_path, {"a": "1000", "a/b": "2000"})
    folder = tmp_path / "fs" / "a"
    assert cgroup.limits(str(proc)) == GroupLimits(2, ((f"{folder}/b", 2000), (f"{folder}", 1000)))


def test_no_limit(tmp_path: Path) -> None:
    proc = fake_groups(tmp_path, {"a/b": "max"})
    assert cgroup.limits(str(proc)) == GroupLimits(2, ())
    assert cgroup.limits(str(tmp_path / "nothing")) is None
