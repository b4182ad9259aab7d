"""Measures single steps with pytest-benchmark: `pytest benchmarks/test_micro.py`.

This compares a change with the state before it, on one machine within one hour:
`--benchmark-save=before`, then `--benchmark-compare`.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator

import pytest
from programs import compile_program, idle_tree

from memwatch.model.filters import Filter, apply
from memwatch.model.job import Job
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import (
    EXITED,
    HAS_ARGV,
    HAS_EXE,
    HAS_PARENT,
    HAS_RSS,
    HAS_SHARED,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    MEMORY,
    STARTED,
    TICK,
    TICK_DETAILED,
    Batch,
    Observation,
)
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, Profile, from_job
from memwatch.runner import native
from memwatch.storage import profile_json_writer

INTERVAL = 1_000_000
MIB = 1 << 20


class Script:
    """Makes observations like those of the sampler."""

    def __init__(self) -> None:
        self.records: list[Observation] = []
        self.text = bytearray()
        self.time = 0
        self.rss: dict[int, int] = {}
        self._random = random.Random(1)
        self._last = 0

    def start(self, parent: int) -> int:
        self._last += 1
        serial = self._last
        program = b"cc1\0/usr/lib/gcc/cc1\0cc1\0-O2\0file%d.c\0" % serial
        pid, ppid = 1000 + serial, 1000 + parent
        valid = HAS_START | (HAS_PARENT if parent else 0)
        self.records += [
            (self.time, serial, parent, self.time, STARTED, valid, pid, ppid, 0),
            (self.time, serial, len(self.text), len(program), IMAGE, HAS_EXE | HAS_ARGV, pid, 0, 0),
        ]
        self.text += program
        self.rss[serial] = 0
        self.memory(serial)
        return serial

    def memory(self, serial: int) -> None:
        size = self.rss[serial] = self._random.randrange(1, 200) * MIB
        pid, valid = 1000 + serial, HAS_RSS | HAS_WATERMARK | HAS_SHARED
        record = (self.time, serial, size, size + MIB, MEMORY, valid, pid, 0, size // 4)
        self.records.append(record)

    def exit(self, serial: int) -> None:
        del self.rss[serial]
        self.records.append((self.time, serial, 0, 0, EXITED, HAS_STATUS, 1000 + serial, 0, 0))

    def tick(self) -> None:
        total = sum(self.rss.values())
        shared = sum(size // 4 for size in self.rss.values())
        valid = HAS_RSS | HAS_SHARED | TICK_DETAILED
        self.records.append((self.time, 0, total, len(self.rss), TICK, valid, 0, 0, shared))
        self.time += INTERVAL

    def take(self) -> Batch:
        batch = Batch(self.records, bytes(self.text))
        self.records, self.text = [], bytearray()
        return batch


def quiet(script: Script) -> None:
    """Makes 1,000 ticks in which nothing changes."""
    for _ in range(1000):
        script.tick()


def memory_heavy(script: Script) -> None:
    """Makes 100 ticks in which each of the ten processes changes."""
    for _ in range(100):
        for serial in list(script.rss):
            script.memory(serial)
        script.tick()


def fork_heavy(script: Script) -> None:
    """Makes 100 ticks; in each, two processes start and those of the last tick end."""
    ending: list[int] = []
    for _ in range(100):
        for serial in ending:
            script.exit(serial)
        ending = [script.start(1), script.start(1)]
        script.tick()
    for serial in ending:
        script.exit(serial)
    script.tick()


@pytest.mark.parametrize("scene", [quiet, memory_heavy, fork_heavy])
def test_apply(benchmark, scene: Callable[[Script], None]) -> None:
    script = Script()
    root = script.start(0)
    for _ in range(9):
        script.start(root)
    script.tick()
    start = script.take()
    scene(script)
    batch = script.take()

    def fresh() -> tuple[tuple[Job, Batch], dict[str, object]]:
        job = Job()
        job.apply(start)
        return (job, batch), {}

    result = benchmark.pedantic(_apply, setup=fresh, rounds=100, warmup_rounds=5)
    benchmark.extra_info["records"] = len(batch.records)
    assert len(result.live) == 10
    assert result.ticks.count == 1 + sum(record[4] == TICK for record in batch.records)


def _apply(job: Job, batch: Batch) -> Job:
    job.apply(batch)
    return job


@pytest.mark.parametrize("records", [500])
def test_decode(benchmark, records: int) -> None:
    """Measures the way from the buffer of C to tuples, as native.Sampler.read() does it."""
    packed = native._RECORD.pack(1, 2, 3, 4, TICK, HAS_RSS, 5, 6, 7) * records
    buffer = native.ffi.new("mw_observation[]", records)
    native.ffi.memmove(buffer, packed, len(packed))

    def decode() -> list[Observation]:
        return list(native._RECORD.iter_unpack(native.ffi.buffer(buffer, len(packed))[:]))

    assert len(benchmark(decode)) == records


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compile_program("idle_tree", tmp_path_factory.mktemp("programs"))


@pytest.fixture
def sampler() -> Iterator[native.Sampler]:
    made = native.Sampler(INTERVAL)
    yield made
    made.close()


@pytest.mark.parametrize("processes", [1, 10, 100, 1000])
def test_tick(benchmark, tree: str, sampler: native.Sampler, processes: int) -> None:
    """Measures a tick with warm caches and no wake-up: the reads, and what memwatch adds."""
    with idle_tree(tree, processes) as root:
        sampler.tick(root, 0)  # attaches
        assert sampler.read().records[-1][3] == processes
        # The same time again, so that no process is due for an inspection.
        benchmark.pedantic(sampler.tick, args=(root, 0), rounds=200, warmup_rounds=10)
        records = sampler.read().records
    assert {record[3] for record in records if record[4] == TICK} == {processes}


@pytest.mark.parametrize("processes", [100, 1000])
def test_attach(benchmark, tree: str, processes: int) -> None:
    """Measures the first tick, which opens every process and reads its command line."""
    with idle_tree(tree, processes) as root:
        made: list[native.Sampler] = []

        def fresh() -> tuple[tuple[native.Sampler], dict[str, object]]:
            while made:
                made.pop().close()
            made.append(native.Sampler(INTERVAL))
            return (made[0],), {}

        benchmark.pedantic(lambda new: new.tick(root, 0), setup=fresh, rounds=10)
        assert made[0].read().records[-1][3] == processes
        made[0].close()


@pytest.mark.parametrize("processes", [100, 1000])
def test_scan(benchmark, tree: str, processes: int) -> None:
    """Measures a scan of all processes on the machine; so many belong to idle_tree."""
    with idle_tree(tree, processes) as root:
        found = benchmark(native.scan)
    assert sum(process.ppid == root for process in found) == processes - 1


def test_json_report(benchmark) -> None:
    """Measures the JSON of 10,000 processes."""
    script = Script()
    for serial in range(10_000):
        script.start(1 if serial else 0)
    script.tick()
    job = Job()
    job.apply(script.take())
    profile = _profile(job, script.time)

    def report() -> str:
        out = io.StringIO()
        profile_json_writer.write(profile, apply(profile.processes, Filter()), out)
        return out.getvalue()

    assert benchmark(report).count('"serial"') == 10_000


def _profile(job: Job, end: int) -> Profile:
    return from_job(
        job,
        Beginning(("make",), Clock(0, 0), 0, INTERVAL),
        Ending(end, 0, Overhead(0, None), MemoryLimit(None, None, None, None, None, None)),
    )
