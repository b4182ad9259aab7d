"""The sampler on a fake /proc made of files, one tick at a time, at times the test chooses.

Files differ from a real /proc in one point. For a process that has ended, reading a
kept descriptor fails with ESRCH in /proc, but gives the old text from a file. So a
process that ends leaves zeros in its `statm`, as a zombie does, and no directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memwatch.model.job import Job
from memwatch.model.observations import (
    ARGV_CUT,
    EXITED,
    HAS_ARGV,
    HAS_CWD,
    HAS_EXE,
    HAS_PARENT,
    HAS_RSS,
    HAS_SHARED,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    INHERITED,
    MEMORY,
    SAME_IMAGE,
    STARTED,
    TICK,
    TICK_DETAILED,
    TICK_PARTIAL,
    ProgramText,
    decode_program,
)
from memwatch.runner import native
from support.fake_proc import FakeProc

pytestmark = pytest.mark.skipif(native.backend() != "linux", reason="it has no /proc")


PAGE = os.sysconf("SC_PAGE_SIZE")
CLOCK_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
MS = 1_000_000
FORKNOEXEC = 0x40
IMAGE_TEXT = (128 << 10) + 2 * 4096 + 64

# Above the kernel's largest pid (4,194,304), so that no process here has one of them.
ROOT = 5_000_001


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


class Watch:
    """A sampler that ticks when the test calls it, and a Job that gets every observation."""

    def __init__(self, tree: FakeProc, *, kept: bool = True, **options: Any) -> None:
        if not kept:
            options["max_descriptors"] = 0
        self.tree = tree
        self.sampler = native.Sampler(10 * MS, proc_root=str(tree.root), **options)
        self.job = Job(timeline=True)
        self.facts: list[Fact] = []
        """The observations of the last tick."""

    def tick(self, milliseconds: float) -> list[Fact]:
        time = round(milliseconds * MS)
        self.sampler.tick(ROOT, time)
        batch = self.sampler.read()
        self.job.apply(batch)
        self.facts = []
        for record in batch.records:
            fact = Fact(*record, None)
            if fact.kind == IMAGE:
                text = batch.text[fact.value : fact.value + fact.second]
                fact = fact._replace(program=decode_program(text, fact.valid))
            self.facts.append(fact)
        assert {fact.time for fact in self.facts} == {time}
        # A TICK is the last observation of its tick and contains the sum.
        assert [fact.kind for fact in self.facts].count(TICK) == 1
        assert self.facts[-1].kind == TICK
        assert self.facts[-1].value == sum(each.rss for each in self.job.live.values())
        assert self.facts[-1].second == len(self.job.live)
        return self.facts

    def all(self, kind: int, pid: int | None = None) -> list[Fact]:
        """Returns the observations of one kind in the last tick."""
        return [fact for fact in self.facts if fact.kind == kind and pid in (None, fact.pid)]

    def one(self, kind: int, pid: int | None = None) -> Fact:
        (fact,) = self.all(kind, pid)
        return fact

    @property
    def end(self) -> Fact:
        return self.facts[-1]

    @property
    def live(self) -> set[int]:
        return {each.pid for each in self.job.live.values()}


@pytest.fixture
def tree(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def watch() -> Iterator[Callable[..., Watch]]:
    made: list[Watch] = []

    def make(tree: FakeProc, **options: Any) -> Watch:
        made.append(Watch(tree, **options))
        return made[-1]

    yield make
    for each in made:
        each.sampler.close()


Watcher = Callable[..., Watch]

# Both ways to read a process: descriptors that stay open, and paths.
both = pytest.mark.parametrize("kept", [True, False], ids=["kept", "by path"])


# One process


@both
def test_one_process(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, ppid=77, start=1234, rss=100)
    seen = watch(tree, kept=kept)
    facts = seen.tick(5)
    kinds = [fact.kind for fact in facts]
    assert kinds[:3] == [STARTED, IMAGE, MEMORY]
    assert facts[0] == Fact(5 * MS, 1, 0, 1234 * CLOCK_TICK, STARTED, HAS_START, ROOT, 77, 0, None)
    assert facts[1].program == ProgramText("sh", "/bin/sh", ("sh", "-c", "x"), False)
    assert facts[1].valid == HAS_EXE | HAS_ARGV
    assert (facts[2].value, facts[2].valid) == (100 * PAGE, HAS_RSS | HAS_SHARED)
    assert (seen.end.process, seen.end.value, seen.end.second) == (0, 100 * PAGE, 1)
    assert seen.end.valid == HAS_RSS | HAS_SHARED | TICK_DETAILED
    unkept = 0 if kept else 1
    assert seen.sampler.stats() == native.SamplerStats(unkept, 0, False, 0, 0, 0, 0, 0, 0, 0)


@both
def test_unchanged_memory_is_reported_once(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, rss=100)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.tick(1) == [seen.end]
    assert seen.end.value == 100 * PAGE
    tree.change(ROOT, rss=120)
    seen.tick(2)
    assert seen.one(MEMORY).value == 120 * PAGE
    tree.change(ROOT, rss=90)
    seen.tick(3)
    assert seen.one(MEMORY).value == seen.end.value == 90 * PAGE


@both
def test_a_root_that_ended_before_the_first_tick(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    seen = watch(tree, kept=kept)
    assert seen.tick(0) == [seen.end]
    assert (seen.end.value, seen.end.second) == (0, 0)
    assert seen.sampler.wait(0) & native.WAKE_ENDED


def test_a_missing_proc_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        native.Sampler(MS, proc_root=str(tmp_path / "none"))
    assert caught.value.filename == str(tmp_path / "none")


# Children


@both
def test_a_whole_tree_is_found_in_one_tick(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    for child in range(3):
        tree.add(ROOT + 10 + child, ppid=ROOT, rss=10)
    tree.add(ROOT + 20, ppid=ROOT + 10, rss=5)
    tree.add(ROOT + 30, ppid=ROOT + 20, rss=1)
    seen.tick(1)
    started = {fact.pid: fact for fact in seen.all(STARTED)}
    assert set(started) == {ROOT + 10, ROOT + 11, ROOT + 12, ROOT + 20, ROOT + 30}
    serials = {pid: fact.process for pid, fact in started.items()} | {ROOT: 1}
    for pid, fact in started.items():
        assert fact.valid == HAS_PARENT | HAS_START
        assert fact.ppid == tree.processes[pid].ppid
        assert fact.value == serials[fact.ppid]
    assert seen.end.value == (100 + 30 + 5 + 1) * PAGE
    assert seen.end.second == 6


@both
def test_a_child_that_is_being_released(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    """Its `stat` has zeros by then, which are ignored."""
    tree.add(ROOT)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.add(ROOT + 1, ppid=ROOT)
    tree.change(ROOT + 1, ppid=0, state="X", threads=0, size=0, rss=0)
    seen.tick(1)
    assert seen.all(STARTED) == []
    assert seen.live == {ROOT}


@both
def test_one_child_ends_and_another_starts(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT, rss=10)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.remove(ROOT + 1)
    tree.add(ROOT + 2, ppid=ROOT, rss=20)
    seen.tick(1)
    assert seen.one(EXITED).pid == ROOT + 1
    assert seen.one(STARTED).pid == ROOT + 2
    assert seen.end.value == 120 * PAGE
    assert seen.end.second == 2


@both
def test_many_children_start_and_end(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    seen = watch(tree, kept=kept)
    live: list[int] = []
    for step in range(6):
        for _ in range(30):
            live.append(tree.add(ROOT + 1 + len(tree.processes) + 1000 * step, ppid=ROOT).pid)
        gone, live = live[::3], [pid for i, pid in enumerate(live) if i % 3]
        seen.tick(step * 10)
        for pid in gone:
            tree.remove(pid)
    seen.tick(100)
    assert seen.live == {ROOT, *live}
    assert len({each.serial for each in seen.job.processes}) == len(seen.job.processes)
    assert len(seen.job.processes) + len(seen.job.live) == 6 * 30 + 1


@both
def test_a_list_of_children_longer_than_a_page(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    # 2,000 numbers of 8 bytes, and one number of another length so that a page ends within one.
    children = [ROOT + 1 + i for i in range(2000)]
    text = b"".join(b"%d " % child for child in (7, *children))
    assert len(text) > 3 * 4096
    assert text[4095:4097].isdigit()
    path = tree.root / str(ROOT) / "task" / str(ROOT) / "children"
    for child in children:
        where = tree.root / str(child)
        where.mkdir()
        fake = replace(tree.processes[ROOT], pid=child, ppid=ROOT)
        (where / "stat").write_bytes(fake.stat)
        (where / "statm").write_bytes(fake.statm)
    path.write_bytes(text)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.live == {ROOT, *children}
    assert seen.end.second == 2001


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_list_of_children_that_ends_where_a_page_ends(
    tree: FakeProc, watch: Watcher, extra: int
) -> None:
    tree.add(ROOT)
    last = tree.add(ROOT + 1, ppid=ROOT).pid
    end = b"%d " % last
    text = b" " * (4096 + extra - len(end)) + end
    (tree.root / str(ROOT) / "task" / str(ROOT) / "children").write_bytes(text)
    seen = watch(tree)
    seen.tick(0)
    assert seen.live == {ROOT, last}


@pytest.mark.parametrize(
    "junk", [b"x", b"12x ", b"-5 ", b"0 ", b"99999999999999999999 ", b"\0" * 50]
)
def test_a_list_of_children_that_is_not_valid(tree: FakeProc, watch: Watcher, junk: bytes) -> None:
    tree.add(ROOT)
    (tree.root / str(ROOT) / "task" / str(ROOT) / "children").write_bytes(junk)
    seen = watch(tree)
    seen.tick(0)
    assert seen.live == {ROOT}


# Threads


def needs_link_counts(tree: FakeProc) -> None:
    """Skips without link counts of directories: the sampler counts threads by them."""
    if os.stat(tree.root).st_nlink != 2 + len(tree.processes):
        pytest.skip("this file system does not count a directory's links (btrfs)")


@both
def test_children_of_threads(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tids = (ROOT + 100, ROOT + 101)
    tree.add(ROOT, tids=tids, threads=3)
    needs_link_counts(tree)
    tree.add(ROOT + 1, ppid=ROOT, thread=tids[0])
    tree.add(ROOT + 2, ppid=ROOT, thread=tids[1])
    tree.add(ROOT + 3, ppid=ROOT)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.live == {ROOT, ROOT + 1, ROOT + 2, ROOT + 3}


@both
def test_threads_that_come_later_are_noticed(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    needs_link_counts(tree)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    # A thread brings a stack.
    tree.change(ROOT, tids=(ROOT + 100,), threads=2, size=20000)
    tree.add(ROOT + 1, ppid=ROOT, thread=ROOT + 100)
    seen.tick(16)
    assert seen.live == {ROOT, ROOT + 1}


@both
def test_a_hundred_threads_are_read_in_turn(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tids = tuple(ROOT + 1000 + i for i in range(100))
    tree.add(ROOT, tids=tids, threads=101)
    needs_link_counts(tree)
    children = {tree.add(ROOT + 1 + i, ppid=ROOT, thread=tid).pid for i, tid in enumerate(tids)}
    seen = watch(tree, kept=kept)
    found = []
    for tick in range(4):
        seen.tick(tick)
        found.append(len(seen.live) - 1)
    # The first tick reads twice, also on finding the process: no short child is missed.
    assert found == [64, 96, 100, 100]
    assert seen.live == {ROOT, *children}


@both
def test_a_thread_that_replaced_another(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, tids=(ROOT + 100,), threads=2)
    needs_link_counts(tree)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.change(ROOT, tids=(ROOT + 101,))
    tree.add(ROOT + 1, ppid=ROOT, thread=ROOT + 101)
    seen.tick(128)
    assert seen.live == {ROOT, ROOT + 1}


# Programs


def test_exec_shows_in_the_text_pages(tree: FakeProc, watch: Watcher) -> None:
    tree.add(ROOT)
    seen = watch(tree)
    seen.tick(0)
    tree.change(ROOT, text=1, name=b"python", argv=(b"python", b"x.py"), rss=100)
    seen.tick(1)
    program = seen.one(IMAGE)
    assert program.program is not None
    assert program.program.argv == ("python", "x.py")
    assert not program.valid & SAME_IMAGE
    # The memory of the new program is reported, although the size is the same.
    assert seen.one(MEMORY).value == 100 * PAGE
    assert seen.tick(2) == [seen.end]


def test_exec_shows_in_the_stack_without_descriptors(tree: FakeProc, watch: Watcher) -> None:
    tree.add(ROOT, start_stack=1000)
    seen = watch(tree, kept=False)
    seen.tick(0)
    tree.change(ROOT, start_stack=2000, name=b"python", rss=100)
    seen.tick(1)
    program = seen.one(IMAGE)
    assert program.program is not None
    assert program.program.name == "python"
    assert seen.one(MEMORY).value == 100 * PAGE


@both
def test_exec_of_the_same_program_shows_at_an_inspection(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    tree.add(ROOT, start_stack=1000)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.change(ROOT, start_stack=2000)
    seen.tick(16)
    assert not seen.one(IMAGE).valid & SAME_IMAGE
    assert seen.tick(17) == [seen.end]


@both
def test_a_hidden_stack_address_is_no_exec(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    # Without the right to trace it, field 28 is 0.
    tree.add(ROOT, start_stack=0)
    seen = watch(tree, kept=kept)
    for tick in (0, 1, 16, 48, 112):
        seen.tick(tick)
    (process,) = seen.job.live.values()
    assert process.programs == []


@both
def test_forked_then_exec(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, name=b"make", argv=(b"make",))
    child = tree.add(ROOT + 1, ppid=ROOT, name=b"make", argv=(b"make",), flags=FORKNOEXEC).pid
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.one(IMAGE, child).valid & INHERITED
    assert not seen.one(IMAGE, ROOT).valid & INHERITED
    assert seen.tick(1) == [seen.end]
    tree.exec(child, name=b"cc", argv=(b"cc", b"-c"))
    seen.tick(2)
    program = seen.one(IMAGE)
    assert program.pid == child
    assert not program.valid & (INHERITED | SAME_IMAGE)
    process = seen.job.live[program.process]
    assert [each.inherited for each in process.programs] == [True]
    assert process.program is not None
    assert process.program.name == "cc"


@both
def test_a_fork_that_execs_between_finding_and_reading_is_seen(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    """The exec clears the flag, even if stack and text are the same."""
    tree.add(ROOT, flags=FORKNOEXEC)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.change(ROOT, flags=0)
    seen.tick(16)
    assert not seen.one(IMAGE).valid & INHERITED


def test_first_seen_in_the_middle_of_an_exec_is_one_program(tree: FakeProc, watch: Watcher) -> None:
    """The kernel has made the new memory but not loaded the program: no text, no arguments."""
    tree.add(ROOT, size=33, rss=1, text=0, start_stack=0, argv=())
    seen = watch(tree)
    seen.tick(0)
    assert len(seen.all(IMAGE)) == 1
    tree.change(ROOT, size=500, rss=100, text=5, start_stack=1000, argv=(b"sh",))
    for tick in (1, 2, 16, 48):
        seen.tick(tick)
    (process,) = seen.job.live.values()
    assert process.programs == []
    assert process.program is not None
    assert process.program.argv == ("sh",)
    assert process.peak == 100 * PAGE


@both
def test_the_working_directory(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, cwd="/home/x/a project")
    seen = watch(tree, kept=kept)
    seen.tick(0)
    program = seen.one(IMAGE)
    assert program.valid == HAS_EXE | HAS_CWD | HAS_ARGV
    assert program.program == ProgramText(
        "sh", "/bin/sh", ("sh", "-c", "x"), False, "/home/x/a project"
    )
    # A later change of directory is not reported.
    tree.change(ROOT, cwd="/")
    assert seen.tick(1) == [seen.end]


@both
def test_a_directory_without_a_command_line(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, cwd="/" + "d" * 4000, exe=None, argv=None)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    program = seen.one(IMAGE)
    assert program.valid == HAS_CWD
    assert program.program == ProgramText("sh", None, None, False, "/" + "d" * 4000)


@both
def test_an_exec_seen_in_the_middle_is_one_exec(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, start_stack=1000)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.change(ROOT, size=33, rss=1, text=0, start_stack=0, argv=(), name=b"python")
    seen.tick(1)
    tree.change(ROOT, size=500, rss=100, text=5, start_stack=2000, argv=(b"python",))
    for tick in (2, 3, 16, 48, 112):
        seen.tick(tick)
    (process,) = seen.job.live.values()
    assert [each.text.name for each in process.programs] == ["sh"]
    assert process.program is not None
    assert process.program.argv == ("python",)


@both
def test_a_missing_command_line_is_read_again(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, argv=())
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.one(IMAGE).valid == HAS_EXE
    tree.change(ROOT, argv=(b"sh", b"late"))
    seen.tick(1)
    program = seen.one(IMAGE)
    assert program.valid == HAS_EXE | HAS_ARGV | SAME_IMAGE
    assert program.program is not None
    assert program.program.argv == ("sh", "late")
    assert seen.tick(2) == [seen.end]


@both
def test_a_command_line_that_stays_missing_is_given_up(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    tree.add(ROOT, argv=None)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.one(IMAGE).valid == HAS_EXE
    for tick in (1, 2, 3):
        assert seen.tick(tick) == [seen.end]
    tree.change(ROOT, argv=(b"sh", b"too late"))
    assert seen.tick(4) == [seen.end]


@both
def test_a_command_line_of_a_megabyte_is_cut(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    words = tuple(b"%099d" % i for i in range(10_000))
    tree.add(ROOT, name=b"cc", exe="/bin/cc", argv=words)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    program = seen.one(IMAGE)
    assert program.valid == HAS_EXE | HAS_ARGV | ARGV_CUT
    assert program.second == IMAGE_TEXT
    assert program.program is not None
    assert program.program.argv_cut
    assert program.program.argv is not None
    assert program.program.argv[:1000] == tuple(word.decode() for word in words[:1000])
    # There are whole words at least up to the kernel's limit for one argument.
    assert len(b"\0".join(words[: len(program.program.argv) - 1])) > 128 << 10


HOSTILE = [
    b"a) S 1 (b",
    b")",
    b"((((",
    b" ",
    b"\n\n) Z 0",
    b"\x1b[2J\x07",
    b"\xff\xfe\xfd",
    b"0123456789abcde",
    b"",
]


@both
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(tree: FakeProc, watch: Watcher, kept: bool, name: bytes) -> None:
    tree.add(ROOT, name=name, rss=33, argv=(name,), exe="/tmp/" + os.fsdecode(name))
    tree.add(ROOT + 1, ppid=ROOT, name=name, rss=1)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    program = seen.one(IMAGE, ROOT).program
    assert program is not None
    assert program.name == name.decode("utf-8", "backslashreplace")
    assert seen.end.value == 34 * PAGE
    assert seen.live == {ROOT, ROOT + 1}


# Watermarks


@both
def test_the_watermark_is_read_at_inspections_twice_as_far_apart_each_time(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    fake = tree.add(ROOT, rss=100, watermark=100)
    status = tree.root / str(ROOT) / "status"
    seen = watch(tree, kept=kept)
    reported = []
    for tick in range(0, 4200, 8):
        # Higher each time, so that every inspection has something to report.
        status.write_bytes(replace(fake, watermark=1000 + tick).status)
        seen.tick(tick)
        reported += [tick for fact in seen.all(MEMORY) if fact.valid & HAS_WATERMARK]
    gaps = [b - a for a, b in zip([0, *reported], reported, strict=False)]
    assert gaps[:7] == [16, 32, 64, 128, 256, 512, 1000]
    assert set(gaps[7:]) == {1000}


@both
def test_unchanged_memory_is_inspected_less_and_less_often(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    tree.add(ROOT, rss=100, watermark=100)
    seen = watch(tree, kept=kept)
    # Inspections are due at 16, 48, 112 ... 16 * (2**k - 1).
    for tick in (0, *(16 * (2**k - 1) for k in range(1, 10))):
        seen.tick(tick)
    tree.change(ROOT, watermark=200)
    assert seen.tick(16 * 1023 - 1) == [seen.end]
    seen.tick(16 * 1023)
    assert seen.one(MEMORY).second == 200 * PAGE
    # After a change the next inspection is at most a second later.
    tree.change(ROOT, watermark=300)
    seen.tick(16 * 1023 + 1000)
    assert seen.one(MEMORY).second == 300 * PAGE


@both
def test_only_a_higher_watermark_is_reported(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, rss=100, watermark=150)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    seen.tick(16)
    fact = seen.one(MEMORY)
    assert (fact.value, fact.second) == (100 * PAGE, 150 * PAGE)
    assert fact.valid == HAS_RSS | HAS_SHARED | HAS_WATERMARK
    assert seen.tick(48) == [seen.end]
    # Memory is reported without the watermark if that is unchanged.
    tree.change(ROOT, rss=90)
    seen.tick(112)
    assert seen.one(MEMORY).valid == HAS_RSS | HAS_SHARED
    tree.change(ROOT, watermark=151)
    seen.tick(240)
    assert seen.one(MEMORY).second == 151 * PAGE


@both
def test_a_new_program_has_a_new_watermark(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, rss=100, watermark=150)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    seen.tick(16)
    tree.exec(ROOT, rss=10, watermark=12, name=b"true")
    seen.tick(20)
    assert seen.one(MEMORY).valid == HAS_RSS | HAS_SHARED
    seen.tick(36)
    assert seen.one(MEMORY).second == 12 * PAGE
    (process,) = seen.job.live.values()
    assert [each.peak.rss for each in process.programs] == [150 * PAGE]
    assert process.peak == 12 * PAGE


@both
@pytest.mark.parametrize("gone", [{"missing": frozenset({"status"})}, {"watermark": None}])
def test_a_watermark_that_cannot_be_read(
    tree: FakeProc, watch: Watcher, kept: bool, gone: dict[str, Any]
) -> None:
    tree.add(ROOT, rss=100, **gone)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.tick(16) == [seen.end]
    assert seen.end.value == 100 * PAGE


# Ends


@both
def test_a_zombie_has_ended(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT, rss=10)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.zombie(ROOT + 1)
    seen.tick(1)
    ended = seen.one(EXITED)
    assert (ended.pid, ended.valid) == (ROOT + 1, 0)
    assert (seen.end.value, seen.end.second) == (100 * PAGE, 1)
    # Its end is reported once, however long the zombie stays.
    assert seen.tick(2) == [seen.end]
    tree.remove(ROOT + 1)
    assert seen.tick(3) == [seen.end]


@both
def test_first_seen_as_a_zombie(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT, name=b"short")
    tree.zombie(ROOT + 1)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert [fact.kind for fact in seen.facts if fact.pid == ROOT + 1] == [STARTED, IMAGE, EXITED]
    (process,) = seen.job.processes
    assert process.command == "short"
    assert process.peak.source == "unknown"
    assert seen.end.second == 1


@both
def test_the_end_of_the_root_ends_the_job(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert not seen.sampler.wait(0) & native.WAKE_ENDED
    tree.zombie(ROOT)
    seen.tick(1)
    assert seen.one(EXITED).process == 1
    assert seen.sampler.wait(0) & native.WAKE_ENDED
    assert seen.live == {ROOT + 1}


@both
def test_a_leader_that_ended_before_its_other_threads(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    tids = (ROOT + 100,)
    tree.add(ROOT, tids=tids, threads=2, rss=100)
    needs_link_counts(tree)
    tree.add(ROOT + 1, ppid=ROOT, thread=tids[0], rss=10)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.change(ROOT, state="Z", size=0, rss=0, text=0, start_stack=0)
    seen.tick(1)
    assert seen.all(EXITED) == []
    # The size is that of the other thread in the fake tree.
    assert seen.one(MEMORY).value == 77 * PAGE
    # Its new children are still found.
    tree.add(ROOT + 2, ppid=ROOT, thread=tids[0], rss=1)
    seen.tick(2)
    assert seen.live == {ROOT, ROOT + 1, ROOT + 2}
    tree.change(ROOT, threads=1, tids=())
    seen.tick(3)
    assert seen.one(EXITED).pid == ROOT


@both
def test_an_exiting_process_has_not_ended(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT, rss=100)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    tree.change(ROOT, state="R", size=0, rss=0, text=0, start_stack=0, argv=())
    seen.tick(1)
    assert seen.all(EXITED) == []
    assert seen.all(IMAGE) == []
    assert (seen.end.value, seen.end.second) == (0, 1)
    tree.zombie(ROOT)
    seen.tick(2)
    assert seen.one(EXITED).pid == ROOT
    (process,) = seen.job.processes
    assert process.peak.rss == 100 * PAGE


@both
def test_a_reused_pid(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT, name=b"cc", rss=70, start=2000)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    first = seen.one(STARTED, ROOT + 1).process
    tree.remove(ROOT + 1)
    tree.add(ROOT + 1, ppid=ROOT, name=b"ld", rss=90, start=2001)
    seen.tick(1)
    assert seen.one(EXITED).process == first
    seen.tick(2)
    started = seen.one(STARTED)
    assert started.pid == ROOT + 1
    assert started.process == first + 1
    assert started.second == 2001 * CLOCK_TICK
    assert seen.end.value == 190 * PAGE
    seen.job.finish()
    assert [(each.command, each.peak.rss) for each in seen.job.processes] == [
        ("cc", 70 * PAGE),
        ("sh", 100 * PAGE),
        ("ld", 90 * PAGE),
    ]


# Orphans


ADOPTER = ROOT + 900


@both
@pytest.mark.parametrize("lists_children", [True, False])
def test_orphans_are_found_at_the_adopter(
    tmp_path: Path, watch: Watcher, kept: bool, lists_children: bool
) -> None:
    tree = FakeProc(tmp_path / "proc", lists_children=lists_children)
    tree.add(ADOPTER)
    before = tree.add(ADOPTER + 1, ppid=ADOPTER).pid
    seen = watch(tree, kept=kept, adopter_pid=ADOPTER)
    tree.add(ROOT, ppid=ADOPTER)
    seen.tick(0)
    orphan = tree.add(ROOT + 1, ppid=ADOPTER, rss=10).pid
    tree.add(ROOT + 2, ppid=orphan, rss=1)
    seen.tick(1)
    # A child that the adopter had before the job is not part of the job.
    assert before not in seen.live
    assert seen.live == {ROOT, orphan, ROOT + 2}
    assert not seen.one(STARTED, orphan).valid & HAS_PARENT
    assert seen.one(STARTED, orphan).ppid == ADOPTER


@both
def test_reparenting_is_no_new_process(tree: FakeProc, watch: Watcher, kept: bool) -> None:
    tree.add(ADOPTER)
    tree.add(ROOT, ppid=ADOPTER)
    tree.add(ROOT + 1, ppid=ROOT)
    tree.add(ROOT + 2, ppid=ROOT + 1)
    seen = watch(tree, kept=kept, adopter_pid=ADOPTER)
    seen.tick(0)
    tree.change(ROOT + 2, ppid=ADOPTER)
    tree.remove(ROOT + 1)
    seen.tick(1)
    assert seen.all(STARTED) == []
    assert seen.one(EXITED).pid == ROOT + 1
    seen.job.finish()
    parents = {each.pid: each.ppid for each in seen.job.processes}
    assert parents[ROOT + 2] == ROOT + 1


# Kernels without lists of children


@both
def test_without_lists_of_children_the_machine_is_scanned(
    tmp_path: Path, watch: Watcher, kept: bool
) -> None:
    tree = FakeProc(tmp_path / "proc", lists_children=False)
    tree.add(ROOT)
    # A grandchild that comes before its parent in the directory, whatever its order.
    for i in range(4):
        tree.add(ROOT + 10 + i, ppid=ROOT + 10 + i + 1 if i < 3 else ROOT)
        tree.add(ROOT + 20 + i, ppid=ROOT + 20 + i - 1 if i else ROOT)
    tree.add(ROOT + 50, ppid=1)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.sampler.stats().scanning
    seen.tick(1)
    assert seen.live == set(tree.processes) - {ROOT + 50}
    assert seen.sampler.stats().scanning
    tree.add(ROOT + 60, ppid=ROOT + 10)
    seen.tick(2)
    assert seen.one(STARTED).pid == ROOT + 60
    # Directories that are no process are not taken for one.
    for name in ("self", "12x", "0", "-3", "99999999999", "sys"):
        (tree.root / name).mkdir()
    seen.tick(3)
    assert seen.facts == [seen.end]


def test_a_process_that_ends_does_not_start_a_scan(tree: FakeProc, watch: Watcher) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT)
    seen = watch(tree, kept=False)
    seen.tick(0)
    tree.remove(ROOT + 1)
    tree.remove(ROOT)
    seen.tick(1)
    assert not seen.sampler.stats().scanning


# Missing and incomplete files


@both
@pytest.mark.parametrize(
    "missing",
    [{"stat"}, {"stat", "statm"}, {"stat", "statm", "status", "cmdline", "children"}],
    ids=lambda names: "+".join(sorted(names)),
)
def test_a_child_that_vanished_while_it_was_read(
    tree: FakeProc, watch: Watcher, kept: bool, missing: set[str]
) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT, missing=frozenset(missing))
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.live == {ROOT}
    assert [fact.pid for fact in seen.all(STARTED)] == [ROOT]


@both
@pytest.mark.parametrize("text", [b"", b"1", b"5000002 (sh", b"5000002 (sh) S 1 2 3", b"\0" * 99])
def test_a_child_with_an_incomplete_stat(
    tree: FakeProc, watch: Watcher, kept: bool, text: bytes
) -> None:
    tree.add(ROOT)
    tree.add(ROOT + 1, ppid=ROOT)
    (tree.root / str(ROOT + 1) / "stat").write_bytes(text)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.live == {ROOT}
    # It is found as soon as its `stat` can be read.
    tree.change(ROOT + 1, rss=3)
    seen.tick(1)
    assert seen.live == {ROOT, ROOT + 1}


@pytest.mark.parametrize("text", [b"", b"500", b"500 100 50", b"500 100 50 1", b"x\n"])
def test_an_incomplete_statm_is_unknown_memory(tree: FakeProc, watch: Watcher, text: bytes) -> None:
    tree.add(ROOT, rss=100)
    seen = watch(tree)
    seen.tick(0)
    (tree.root / str(ROOT) / "statm").write_bytes(text)
    seen.tick(1)
    assert seen.facts == [seen.end]
    assert seen.end.valid & TICK_PARTIAL
    assert seen.sampler.stats().unreadable == 1
    tree.change(ROOT, rss=120)
    seen.tick(2)
    assert not seen.end.valid & TICK_PARTIAL
    assert seen.end.value == 120 * PAGE
    assert seen.sampler.stats().unreadable == 1


@both
def test_without_exe_and_cmdline_there_is_a_name(
    tree: FakeProc, watch: Watcher, kept: bool
) -> None:
    tree.add(ROOT, name=b"kthreadd", exe=None, argv=None)
    seen = watch(tree, kept=kept)
    seen.tick(0)
    assert seen.one(IMAGE).program == ProgramText("kthreadd", None, None, False)
    assert seen.one(IMAGE).valid == 0


# Descriptors


def open_descriptors(tree: FakeProc) -> int:
    """Counts the descriptors of this process that are open below the tree."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith(f"{tree.root}/")
        except FileNotFoundError:
            continue
    return count


@pytest.mark.parametrize("most", [0, 1, 5, 40, 1000])
def test_descriptors_stay_within_their_number(tree: FakeProc, watch: Watcher, most: int) -> None:
    tids = tuple(ROOT + 1000 + i for i in range(10))
    tree.add(ROOT, tids=tids, threads=11)
    for i in range(20):
        tree.add(ROOT + 1 + i, ppid=ROOT, thread=tids[i % 10])
    seen = watch(tree, max_descriptors=most)
    for tick in (0, 1, 16):
        seen.tick(tick)
        assert open_descriptors(tree) <= most
    assert seen.end.second == 21
    assert (seen.sampler.stats().unkept == 0) == (most == 1000)
    # The descriptors of a process that ends are free for the next process.
    for i in range(20):
        tree.remove(ROOT + 1 + i)
    seen.tick(17)
    unkept = seen.sampler.stats().unkept
    if most >= 40:
        tree.add(ROOT + 50, ppid=ROOT)
        seen.tick(18)
        assert seen.sampler.stats().unkept == unkept
    seen.sampler.close()
    assert open_descriptors(tree) == 0


# Processes that may not be read


def test_unreadable_processes_are_unknown_and_not_zero(tmp_path: Path) -> None:
    if os.getuid():
        check_unreadable(FakeProc(tmp_path / "proc"))
        return
    # Root may read everything, so the test runs itself as another user.
    setpriv = shutil.which("setpriv")
    if not setpriv:
        pytest.skip("needs setpriv")
    os.chown(tmp_path, 65534, 65534)
    for parent in tmp_path.parents:
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
            # Pytest's own folder, closed to others. This one is opened for passing through.
            parent.chmod(parent.stat().st_mode | 0o011)
    test = f"{__file__}::{test_unreadable_processes_are_unknown_and_not_zero.__name__}"
    drop = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if subprocess.run(
        [*drop, sys.executable, "-c", ""], capture_output=True, check=False
    ).returncode:
        pytest.skip("this Python may only be run by root")
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run(
        [*drop, sys.executable, "-m", "pytest", *options, f"--basetemp={tmp_path}/other", test],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def check_unreadable(tree: FakeProc) -> None:
    tree.add(ROOT, rss=100)
    tree.add(ROOT + 1, ppid=ROOT, rss=50)
    tree.add(ROOT + 2, ppid=ROOT, rss=25)
    closed = tree.root / str(ROOT + 1)
    closed.chmod(0)
    for name in ("stat", "statm", "status"):
        (tree.root / str(ROOT + 2) / name).chmod(0)
    seen = Watch(tree)
    try:
        for tick in (0, 1, 16):
            seen.tick(tick)
            assert seen.end.valid & TICK_PARTIAL
            assert (seen.end.value, seen.end.second) == (100 * PAGE, 3)
        assert seen.sampler.stats().unreadable == 2
        assert not seen.sampler.stats().scanning
        # Reading may be allowed again: a program may drop the rights it was started with.
        closed.chmod(0o755)
        seen.tick(20)
        assert seen.end.value == 150 * PAGE
        seen.job.finish()
        peaks = {each.pid: each.peak for each in seen.job.processes}
        assert peaks[ROOT + 1].rss == 50 * PAGE
        assert peaks[ROOT + 2].source == "unknown"
        assert seen.job.partial
    finally:
        seen.sampler.close()
        closed.chmod(0o755)


# The scan of the whole machine


def test_scan(tree: FakeProc) -> None:
    for i in range(700):
        tree.add(ROOT + i, ppid=ROOT, rss=i, start=i, name=b"p%d" % i)
    tree.zombie(ROOT + 3)
    tree.add(ROOT + 800, name=b") \xff(")
    (tree.root / "self").mkdir()
    (tree.root / str(ROOT + 801)).mkdir()
    rows = {row.pid: row for row in native.scan(str(tree.root))}
    assert set(rows) == set(tree.processes)
    assert rows[ROOT + 5] == (ROOT + 5, ROOT, 5 * CLOCK_TICK, "S", "p5")
    assert rows[ROOT + 3].state == "Z"
    assert rows[ROOT + 800].name == ") \\xff("


def test_scan_of_nothing(tmp_path: Path) -> None:
    assert native.scan(str(tmp_path)) == []
    with pytest.raises(FileNotFoundError):
        native.scan(str(tmp_path / "none"))


# Misuse


def test_a_sampler_needs_an_interval(tree: FakeProc) -> None:
    for interval in (0, -1):
        with pytest.raises(OSError, match="Invalid argument"):
            native.Sampler(interval, proc_root=str(tree.root))


def test_there_is_no_exit_status_without_being_the_parent(tree: FakeProc, watch: Watcher) -> None:
    tree.add(ROOT)
    seen = watch(tree)
    seen.tick(0)
    tree.remove(ROOT)
    seen.tick(1)
    assert not seen.one(EXITED).valid & HAS_STATUS
