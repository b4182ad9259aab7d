"""Tests of --cgroup: where a group may be made, its account, and real jobs in a group."""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memwatch as library
from memwatch.model.account_watch import AccountWatch
from memwatch.model.cgroup_account import AccountReading, CgroupAccount, CgroupSample, CgroupSpan
from memwatch.model.sources import Refusal
from memwatch.runner import cgroup_place, native
from memwatch.runner.cgroup_place import Place, find_place
from memwatch.runner.cgroup_reader import (
    CgroupReader,
    SpanPeak,
    Stat,
    Totals,
    machine_has_swap,
    not_in_memory,
    parse_pressure,
    parse_stat,
)
from memwatch.runner.cgroup_sampler import (
    IN_ADVANCE,
    SHORTEST_GAP,
    USUAL,
    WITH_LIMIT,
    CgroupSampler,
    gap,
)
from memwatch.runner.job_cgroup import JobCgroup, MadeGroup
from support.command import Memwatch, Result
from support.fake_cgroups import Tree
from support.waiting import wait_until

MIB = 1 << 20

# Parsers ------------------------------------------------------------------------------------------

# Linux 6.12, without the lines that nobody reads.
STAT_V2 = """\
anon 314572800
file 12582912
kernel 2097152
kernel_stack 16384
shmem 4194304
zswap 0
swapcached 1048576
file_mapped 8388608
anon_thp 0
hugetlb 6291456
"""
STAT_V1 = """\
cache 4096
rss 8192
shmem 0
swap 0
hierarchical_memory_limit 9223372036854771712
total_cache 12582912
total_rss 314572800
total_rss_huge 0
total_shmem 4194304
total_swap 1048576
"""
PRESSURE = """\
some avg10=0.00 avg60=0.12 avg300=0.00 total=15546
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""


@pytest.mark.parametrize(
    ("text", "version", "stat"),
    [
        (STAT_V2, 2, Stat(300 * MIB, 4 * MIB, 12 * MIB, 2 * MIB, None, 6 * MIB, MIB)),
        (STAT_V1, 1, Stat(300 * MIB, 4 * MIB, 12 * MIB, None, MIB, None, None)),
        # Before Linux 5.18, and without the account of swap.
        ("anon 1\nfile 2\nshmem 3\n", 2, Stat(1, 3, 2, None, None, None, None)),
        ("total_rss 1\ntotal_cache 2\ntotal_shmem 3\n", 1, Stat(1, 3, 2, None, None, None, None)),
        (STAT_V2, 1, None),
        (STAT_V1, 2, None),
        ("anon 1\nfile 2\n", 2, None),
        ("anon -1\nfile 2\nshmem 3\n", 2, None),
        ("", 2, None),
    ],
)
def test_stat(text: str, version: int, stat: Stat | None) -> None:
    assert parse_stat(text, version) == stat


@pytest.mark.parametrize(
    ("swap", "cached", "expected"),
    [(9, 4, 5), (4, 9, 0), (9, None, None), (0, None, 0), (None, 4, None), (None, None, None)],
)
def test_pages_of_swap_that_are_also_in_memory_count_once(
    swap: int | None, cached: int | None, expected: int | None
) -> None:
    assert not_in_memory(swap, cached) == expected


@pytest.mark.parametrize(
    ("text", "times"),
    [
        (PRESSURE, (15_546_000, 0)),
        ("some avg10=0.00 total=7\n", (7000, None)),
        ("some total=x\nfull\n", (None, None)),
        ("", (None, None)),
    ],
)
def test_pressure(text: str, times: tuple[int | None, int | None]) -> None:
    assert parse_pressure(text) == times


@given(st.text(), st.sampled_from([1, 2]))
def test_parsers_take_anything(text: str, version: int) -> None:
    parse_stat(text, version)
    parse_stat(f"anon {text}\nfile 1\nshmem 1", version)
    parse_pressure(text)
    parse_pressure(f"some total={text}")


# Where a group may be made ------------------------------------------------------------------------

HOME = "c/user.slice/job.scope"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice does not depend on the machine that runs the tests."""
    monkeypatch.setattr(cgroup_place, "SYSTEMD", "/nowhere")


def v2_scope(tree: Tree, *pids: int, passes_on: str = "") -> None:
    """memwatch in a group of its own or with others; the groups above have the controllers."""
    tree.member("0::/user.slice/job.scope\n")
    tree.mount(2, "/", "c")
    for name, controllers in (("c", "memory pids"), ("c/user.slice", "memory pids")):
        tree.group(name)
        tree.write(f"{name}/cgroup.subtree_control", f"{controllers}\n")
    tree.group(HOME, max="max", high="max")
    tree.write(f"{HOME}/cgroup.controllers", "memory pids\n")
    tree.write(f"{HOME}/cgroup.subtree_control", f"{passes_on}\n")
    tree.write(f"{HOME}/cgroup.procs", "".join(f"{pid}\n" for pid in pids))


def v1_group(tree: Tree) -> None:
    tree.member("9:memory:/user.slice/job.scope\n0::/elsewhere\n")
    tree.mount(1, "/", "c")
    tree.group("c/user.slice")
    tree.group(HOME, use_hierarchy="1", stat=f"hierarchical_memory_limit {50 * MIB}")


def place_in(tree: Tree) -> Place:
    place = find_place(str(tree.proc))
    assert isinstance(place, Place), place
    return place


def refusal_in(tree: Tree) -> Refusal:
    refusal = find_place(str(tree.proc))
    assert isinstance(refusal, Refusal), refusal
    return refusal


def test_version_1_makes_it_in_the_group_of_memwatch(tree: Tree) -> None:
    v1_group(tree)
    (home,) = tree.folders(HOME)
    assert place_in(tree) == Place(1, home, home, 50 * MIB)


def test_version_1_without_a_hierarchy_would_escape_the_limit(tree: Tree) -> None:
    v1_group(tree)
    tree.group(HOME, use_hierarchy="0")
    assert "memory.use_hierarchy is 0" in refusal_in(tree).reason


def test_alone_in_its_group_memwatch_steps_aside(tree: Tree) -> None:
    child = 4_000_001  # above any pid
    v2_scope(tree, os.getpid(), child)
    tree.write(f"proc/{child}/status", f"Name:\tx\nPPid:\t{os.getpid()}\n")
    (home,) = tree.folders(HOME)
    assert place_in(tree) == Place(2, home, home, None, steps_aside=True)


@pytest.mark.parametrize("other", ["1", "0", "4000001"])
def test_beside_other_processes_the_group_is_made_beside(tree: Tree, other: str) -> None:
    """They are never moved; 0 is a process outside of the pid namespace."""
    v2_scope(tree, os.getpid(), int(other))
    home, above = tree.folders(HOME, "c/user.slice")
    tree.group("c/user.slice", max=70 * MIB)
    assert place_in(tree) == Place(2, above, home, 70 * MIB)


@pytest.mark.parametrize(
    ("name", "value", "escapes"),
    [
        ("memory.max", "104857600", True),
        ("memory.high", "104857600", True),
        ("pids.max", "500", True),
        ("cpu.max", "50000 100000", True),
        ("cpu.max", "max 100000", False),
        ("cpuset.cpus", "0-1", True),
        ("cpuset.cpus", "", False),
        ("io.max", "8:0 rbps=1 wbps=max", True),
    ],
)
def test_a_job_does_not_escape_a_limit(tree: Tree, name: str, value: str, escapes: bool) -> None:
    v2_scope(tree, os.getpid(), 1)
    tree.write(f"{HOME}/{name}", f"{value}\n")
    found = find_place(str(tree.proc))
    assert isinstance(found, Refusal) == escapes
    if escapes:
        assert f"would escape its {name}" in found.reason


def test_a_group_that_passes_the_controller_on(tree: Tree) -> None:
    v2_scope(tree, os.getpid(), 1, passes_on="pids memory")
    (home,) = tree.folders(HOME)
    assert place_in(tree) == Place(2, home, home, None)


def test_a_container_with_a_shell(tree: Tree) -> None:
    """Its group is the root of what it sees, so there is nothing above to make a group in."""
    tree.member("0::/\n")
    tree.mount(2, "/", "c")
    tree.write("c/cgroup.controllers", "memory pids\n")
    tree.write("c/cgroup.procs", f"1\n{os.getpid()}\n")
    assert "other processes are in" in refusal_in(tree).reason
    tree.write("c/cgroup.procs", f"{os.getpid()}\n")
    assert place_in(tree).steps_aside


def test_no_memory_controller(tree: Tree) -> None:
    v2_scope(tree, os.getpid())
    tree.write(f"{HOME}/cgroup.controllers", "pids\n")
    assert "has no memory controller" in refusal_in(tree).reason


def test_no_visible_group(tree: Tree) -> None:
    assert "is visible here" in refusal_in(tree).reason
    v2_scope(tree, os.getpid())
    tree.member("0::/user.slice/gone.scope (deleted)\n")
    assert "is visible here" in refusal_in(tree).reason


def test_a_user_who_may_not_write(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    v2_scope(tree, os.getpid())
    (home,) = tree.folders(HOME)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = f"uid 1000 may not make a control group in {home}"
    assert refusal_in(tree) == Refusal(reason, "run as root")
    monkeypatch.setattr(cgroup_place, "SYSTEMD", str(tree.folder))
    remedy = "use systemd-run --user --scope -p Delegate=yes memwatch run --cgroup ..."
    assert refusal_in(tree) == Refusal(reason, remedy)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert refusal_in(tree).remedy == remedy.replace("--user ", "")


# A group is made and removed ----------------------------------------------------------------------


def test_nothing_remains_of_a_group_on_a_fake_tree(tree: Tree) -> None:
    v2_scope(tree, os.getpid())
    tree.group("c/user.slice", max=70 * MIB)
    home = tree.folder / HOME
    before = sorted(home.iterdir())
    group = MadeGroup(place_in(tree))
    made = sorted(set(home.iterdir()) - set(before))
    assert [str(path) for path in made] == [group.folder, f"{group.folder}-self"]
    assert (home / "cgroup.subtree_control").read_text().startswith("+memory")
    assert group.remove()
    assert sorted(home.iterdir()) == before
    assert (home / "cgroup.subtree_control").read_text().startswith("-memory")


def test_nothing_remains_of_a_group_that_could_not_be_made(tree: Tree) -> None:
    v2_scope(tree, os.getpid())
    home = tree.folder / HOME
    place = place_in(tree)
    (home / "cgroup.subtree_control").unlink()
    before = sorted(home.iterdir())
    with pytest.raises(FileNotFoundError):
        MadeGroup(place)
    assert sorted(home.iterdir()) == before


def test_a_group_that_cannot_be_made_is_a_reason(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    v1_group(tree)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", refuse)
    group = JobCgroup(str(tree.proc))
    assert group.entry is None
    account = group.end()
    assert account == CgroupAccount(
        reason="the control group cannot be made: No space left on device"
    )


def test_only_linux_has_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "backend", lambda: "darwin")
    group = JobCgroup()
    group.check()
    assert group.end() == CgroupAccount(reason="only Linux has control groups")


# The account --------------------------------------------------------------------------------------


def test_the_account_of_version_2(tree: Tree) -> None:
    tree.group(
        "g",
        stat=STAT_V2.replace("hugetlb 6291456\n", ""),
        events="oom 1\noom_kill 2",
        pressure=PRESSURE,
    )
    tree.group("g", **{"swap.current": 3 * MIB, "swap.peak": 5 * MIB})
    tree.write("g/hugetlb.2MB.current", f"{4 * MIB}\n")
    tree.write("g/hugetlb.1GB.current", "0\n")
    tree.write("g/hugetlb.2MB.rsvd.current", f"{64 * MIB}\n")
    tree.group("g", peak="")
    reader = CgroupReader(str(tree.folder / "g"), 2)
    # Now, since a plain file keeps what is written to reset the peak.
    tree.group("g", peak=400 * MIB)
    assert reader.sample(7) == CgroupSample(
        7, 300 * MIB, 4 * MIB, 2 * MIB, 8 * MIB, 2 * MIB, 4 * MIB
    )
    assert reader.totals() == Totals(400 * MIB, None, 5 * MIB, 15_546_000, 0, 2)
    reader.close()
    assert reader.sample(8) is None


def test_the_account_of_version_1(tree: Tree) -> None:
    tree.group(
        "g",
        stat=STAT_V1,
        max_usage_in_bytes=400 * MIB,
        oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    )
    tree.group("g", **{"memsw.max_usage_in_bytes": 410 * MIB, "kmem.usage_in_bytes": 2 * MIB})
    reader = CgroupReader(str(tree.folder / "g"), 1)
    assert reader.sample(7) == CgroupSample(7, 300 * MIB, 4 * MIB, MIB, 8 * MIB, 2 * MIB, None)
    assert reader.totals() == Totals(400 * MIB, 410 * MIB, None, None, None, 2)
    assert reader.take_span_peak() is None
    reader.close()


@pytest.mark.parametrize("version", [1, 2])
def test_what_an_old_kernel_does_not_have_is_unknown(tree: Tree, version: int) -> None:
    names = (
        ("anon", "file", "shmem") if version == 2 else ("total_rss", "total_cache", "total_shmem")
    )
    tree.group("g", stat="\n".join(f"{name} 4096" for name in names))
    reader = CgroupReader(str(tree.folder / "g"), version)
    assert reader.sample(7) == CgroupSample(7, 4096, 4096, None, 0, None, None)
    assert set(reader.totals()) == {None}
    reader.close()
    # No swap is known to be none on a machine without swap.
    reader = CgroupReader(str(tree.folder / "g"), version, has_swap=False)
    sample = reader.sample(7)
    assert sample
    assert (sample.swap, reader.totals().swap_peak) == (0, 0)
    reader.close()


def test_swap_of_the_machine(tree: Tree) -> None:
    assert machine_has_swap(str(tree.proc))
    tree.write("proc/meminfo", "SwapTotal:       2097148 kB\n")
    assert machine_has_swap(str(tree.proc))
    tree.write("proc/meminfo", "SwapTotal:             0 kB\n")
    assert not machine_has_swap(str(tree.proc))


def test_the_peak_of_a_span(tmp_path: Path) -> None:
    """A plain file keeps what is written: the reset. Where none can be written, there are none."""
    assert SpanPeak(str(tmp_path)).take() is None
    (tmp_path / "memory.peak").write_text("1048576\n")
    span = SpanPeak(str(tmp_path))
    assert (tmp_path / "memory.peak").read_text() == "reset76\n"
    (tmp_path / "memory.peak").write_text("2097152\n")
    assert span.take() == 2 * MIB
    assert (tmp_path / "memory.peak").read_text() == "reset52\n"
    span.close()
    assert span.take() is None


def test_the_largest_sample_is_kept(tree: Tree) -> None:
    clock = iter(range(100))
    tree.group("g", stat="anon 5\nfile 2\nshmem 1\n", peak=10)
    reader = CgroupReader(str(tree.folder / "g"), 2)
    sampler = CgroupSampler(reader, lambda: next(clock))
    for anon, peak in ((5, 10), (9, 30), (8, 30), (2, 30)):
        tree.group("g", stat=f"anon {anon}\nfile 2\nshmem 1\n", peak=peak)
        sampler.sample()
    reader.close()
    sampler.sample()
    assert sampler.largest == CgroupSample(1, 9, 1, None, 1, None, None)
    assert sampler.peak_time == 1
    assert sampler.count == 4
    assert sampler.spans() == tuple(
        CgroupSpan(time, *each) for time, each in enumerate(((6, 10), (10, 30), (9, 30), (3, 30)))
    )


def test_samples_are_handed_over_for_a_limit(tree: Tree) -> None:
    """No more than the peak was in memory; page cache and kernel memory do not count."""
    clock, woken = iter(range(100)), []
    tree.group("g", stat="anon 0\nfile 0\nshmem 0\n", peak=0)
    reader = CgroupReader(str(tree.folder / "g"), 2)
    watch = AccountWatch(10, lambda: woken.append(True))
    sampler = CgroupSampler(reader, lambda: next(clock), watch)
    for anon, shmem, peak in ((1, 1, 99), (4, 5, 99), (7, 5, 99), (15, 5, 11)):
        tree.group("g", peak=peak)
        tree.group("g", stat=f"anon {anon}\nfile {shmem + 50}\nshmem {shmem}\nkernel 20\n")
        sampler.sample()
    reader.close()
    readings = [AccountReading(*each) for each in ((1, 2), (2, 9), (3, 11))]
    assert list(watch.take()) == readings
    assert len(woken) == 2  # near, and above


def test_the_pace_of_the_samples() -> None:
    assert gap(0, 0) == SHORTEST_GAP
    assert gap(1, 0.001) == pytest.approx(0.05)
    assert gap(3600, 1) == USUAL.longest
    # What is more than half a percent of the time is waited for.
    assert gap(1, IN_ADVANCE + 0.01) == pytest.approx(1)


def test_the_pace_of_the_samples_with_a_limit() -> None:
    assert gap(0, 0, WITH_LIMIT) == SHORTEST_GAP
    assert gap(3600, 1, WITH_LIMIT) == WITH_LIMIT.longest == 0.01
    assert gap(3600, 1, WITH_LIMIT, is_near=True) == SHORTEST_GAP
    # Five percent.
    assert gap(1, IN_ADVANCE + 0.1, WITH_LIMIT, is_near=True) == pytest.approx(1)


# By how much memory.stat may be off: up to 500 pages were seen on 2 CPUs.
SLACK = 512 * mmap.PAGESIZE * (os.cpu_count() or 1)

# Real groups --------------------------------------------------------------------------------------


@pytest.fixture
def place() -> Place:
    """Where this process may make a group; skips the test where it may not."""
    found = find_place()
    if isinstance(found, Refusal):
        pytest.skip(f"no control group can be made here: {found.reason}")
    return found


Started = Callable[..., tuple[JobCgroup, int, Path]]


@pytest.fixture
def started(place: Place, burner: Path, tmp_path: Path) -> Iterator[Started]:
    """Starts the burner in a group, and waits until it has done what comes before its mark."""
    jobs: list[tuple[JobCgroup, int]] = []

    def start(*words: str) -> tuple[JobCgroup, int, Path]:
        group = JobCgroup()
        assert group.entry, group.refusal
        marks = tmp_path / "marks"
        env = {"BURNER_MARKS": str(marks)}
        argv = [str(burner), *words, "mark", "ready", "hold", "60000"]
        pid = native.spawn(argv, env, group=group.entry)
        jobs.append((group, pid))
        group.check()
        assert group.refusal is None
        folder = Path(group.entry.file).parent
        wait_until(lambda: marks.exists() and "ready" in marks.read_text(), "the burner is ready")
        return group, pid, folder

    yield start
    for group, pid in jobs:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        group.close()


def test_anonymous_memory_is_counted_and_nothing_remains(started: Started, place: Place) -> None:
    group, pid, folder = started("touch", "64")
    assert str(pid) in (folder / "cgroup.procs").read_text().split()
    account = group.end()  # takes a sample while the process still runs
    assert account.version == place.version
    assert account.path == str(folder)
    assert account.largest
    assert account.peak
    assert 64 * MIB - SLACK <= account.largest.anon <= account.peak + SLACK
    assert 64 * MIB <= account.peak < 80 * MIB + SLACK
    assert account.footprint_low is not None
    assert account.footprint_high is not None
    assert account.footprint_low <= account.footprint_high
    assert account.oom_kills == 0
    assert account.remains is None
    # The process goes on, in the group in which it would have been.
    assert not folder.exists()
    home = Path(place.home, "cgroup.procs").read_text().split()
    assert str(pid) in home
    assert str(os.getpid()) in home
    assert group.close()


@pytest.mark.parametrize("name", ["tmpfs", "page cache"])
def test_what_belongs_to_no_process(place: Place, name: str, tmp_path: Path) -> None:
    """A file in tmpfs cannot be dropped, and stays when its writer has ended; the cache can."""
    folder = "/dev/shm" if name == "tmpfs" else str(tmp_path)
    if name == "tmpfs" and not os.path.isdir(folder):
        pytest.skip("needs /dev/shm")
    group = JobCgroup()
    assert group.entry
    with NamedTemporaryFile(dir=folder) as file:
        script = f"import os; f = open({file.name!r}, 'wb'); f.write(bytes(48 << 20)); f.flush()"
        script += "; os.fsync(f.fileno())"
        pid = native.spawn([sys.executable, "-c", script], os.environ, group=group.entry)
        group.check()
        assert os.waitpid(pid, 0)[1] == 0
        account = group.end()
    largest = account.largest
    assert largest
    assert account.peak
    assert account.peak > 48 * MIB
    if name == "tmpfs":
        assert 48 * MIB - SLACK <= largest.shmem <= 48 * MIB + SLACK
        assert largest.footprint >= 48 * MIB - SLACK
    else:
        # bytes() of that size was anonymous memory of the process for a moment.
        assert largest.shmem < MIB
        assert account.history[-1].footprint < 8 * MIB + SLACK


def test_an_oom_kill_is_counted(place: Place, burner: Path) -> None:
    group = JobCgroup()
    assert group.entry
    folder = Path(group.entry.file).parent
    limit = "memory.max" if place.version == 2 else "memory.limit_in_bytes"
    (folder / limit).write_text(str(32 * MIB))
    for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
        if (folder / name).exists():
            (folder / name).write_text("0" if place.version == 2 else str(32 * MIB))
    pid = native.spawn([str(burner), "touch", "64"], {}, group=group.entry)
    group.check()
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    account = group.end()
    assert account.oom_kills == 1
    assert account.peak
    assert account.peak <= 32 * MIB


def test_a_group_that_is_still_used_remains_and_is_named(started: Started) -> None:
    group, pid, folder = started()
    inner = folder / "inner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(pid))
    try:
        account = group.end()
        assert account.remains == account.path == str(folder)
        assert (inner / "cgroup.procs").read_text().split() == [str(pid)]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

        def removed() -> bool:
            with suppress(OSError):
                inner.rmdir()
                folder.rmdir()
            return not folder.exists()

        wait_until(removed, f"{folder} is removed")


def groups_of(place: Place) -> list[str]:
    return sorted(entry.name for entry in os.scandir(place.parent) if entry.is_dir())


def test_a_command_that_cannot_be_started_leaves_nothing(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        library.run(["/no/such/program"], cgroup=True)
    assert not [name for name in groups_of(place) if name.startswith(f"memwatch-{os.getpid()}-")]


def test_the_library_has_the_account(place: Place) -> None:
    profile = library.run(["true"], cgroup=True)
    account = profile.cgroup
    assert account
    assert account.reason is None
    assert account.peak
    assert profile.memory_limit.oom_kills == account.oom_kills == 0
    assert library.run(["true"]).cgroup is None


def test_the_account_covers_a_job_that_could_not_be_sampled(
    place: Place, burner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(native.Sampler, "start", refuse)
    profile = library.run([str(burner), "touch", "64", "exit", "3"], cgroup=True)
    assert profile.exit_code == 3
    assert profile.sampling.error
    assert profile.cgroup
    assert profile.cgroup.peak
    assert profile.cgroup.peak >= 64 * MIB
    assert profile.cgroup.remains is None


def test_a_command_runs_in_a_group_from_its_start(place: Place, memwatch: Memwatch) -> None:
    result = memwatch.run(
        "run", "--cgroup", "--json", "--", "sh", "-c", "cat /proc/self/cgroup >&2"
    )
    assert result.code == 0
    account = result.json["cgroup"]
    assert account["reason"] is None
    assert account["path"].startswith(f"{place.parent}/memwatch-")
    name = account["path"].rpartition("/")[2]
    assert f"/{name}\n" in result.text
    assert not os.path.exists(account["path"])
    assert account["samples"] > 0
    assert account["peak_kib"] > 0


def test_a_recording_has_the_account(place: Place, memwatch: Memwatch, tmp_path: Path) -> None:
    recording = str(tmp_path / "r.jsonl")
    json_path = str(tmp_path / "r.json")
    words = ("run", "--cgroup", "--timeline", str(tmp_path / "t.csv"), "--json", "-o", recording)
    first = memwatch.run(*words, "--", "true")
    again = memwatch.run("report", "--json", "--timeline", str(tmp_path / "u.csv"), recording)
    assert first.json["cgroup"] == again.json["cgroup"]
    assert len(first.json["cgroup"]["timeline"]) == first.json["cgroup"]["samples"]
    Path(json_path).write_text(json.dumps(first.json))
    text = memwatch.run("report", json_path).text + memwatch.run("report", json_path).out.decode()
    assert "Control group:" in text


@pytest.mark.parametrize("user", ["nobody"], indirect=True)
def test_where_none_may_be_made_the_run_goes_on(memwatch: Memwatch) -> None:
    result = memwatch.run("run", "--cgroup", "--json", "--", "sh", "-c", "exit 3")
    assert result.code == 3
    assert result.one_line().startswith("memwatch: --cgroup is not possible: ")
    account = result.json["cgroup"]
    assert account["reason"] in result.text
    assert account["peak_kib"] is None
    assert memwatch.run("run", "--cgroup", "--quiet", "--", "true").one_line()
    text = memwatch.run("run", "--cgroup", "--", "true").text
    assert f"Control group:   none of its own: {account['reason']}" in text


# Limits -------------------------------------------------------------------------------------------

Fill = Callable[..., list[object]]

FILL = """
folder=$(mktemp -d) && mount -t tmpfs -o size=2g none "$folder" || exit 77
i=0
while [ $i -lt $1 ]; do head -c 1048576 /dev/zero >> "$folder/file"; i=$((i + 1)); done
"""
"""A shell's script that stores MiB in a file system that nobody else has mounted."""

COPIES = """
import os, sys, time
held = bytearray(8 << 20)
ends = os.pipe()
for _ in range(30):
    if not os.fork():
        if sys.argv[1] == "writes":
            for page in range(0, len(held), 4096):
                held[page] = 1
        os.close(ends[1])
        os.read(ends[0], 1)
        os._exit(0)
if sys.argv[1] == "writes":
    time.sleep(60)
"""
"""A program that forks 30 processes, which share 8 MiB, or write to each page and so get copies: no
process grows."""


@pytest.fixture
def fill(place: Place, tmp_path: Path) -> Fill:
    """Returns a command that stores MiB where only the account sees them."""

    def command(mib: int, *, first: str = "", then: str = "") -> list[object]:
        script = f"{first}\ncd {tmp_path}\nTMPDIR={tmp_path}\n{FILL}{then}"
        return ["unshare", "-m", "sh", "-c", script, "sh", mib]

    words = [str(word) for word in command(0)]
    if subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("needs a mount namespace with a tmpfs of its own")
    return command


def limited(memwatch: Memwatch, *options: str, command: list[object]) -> Result:
    words = ("run", "--cgroup", "--json", "--max-total-footprint", "150M", *options)
    return memwatch.run(*words, "--", *map(str, command))


def found_by_account(result: Result) -> dict[str, object]:
    """Returns what became of the limits, where only the account has shown that it was exceeded."""
    limits: dict[str, object] = result.json["limits"]
    (breach,) = result.json["limits"]["exceeded"]
    assert (breach["limit"], breach["by_account"]) == ("max_total_footprint", True), result.text
    assert 150 * 1024 < breach["size_kib"] <= result.json["max_total_footprint_kib"]
    assert breach["processes"] > 0
    assert result.json["limits"]["inconclusive"] == []
    assert "by the control group's account" in result.text
    return limits


def test_the_account_ends_a_job_at_its_limit(memwatch: Memwatch, fill: Fill) -> None:
    """The job would not end by itself."""
    result = limited(memwatch, command=fill(600, then="exec sleep 60"))
    assert result.code == 10, result.text
    limits = found_by_account(result)
    assert (limits["signalled"], limits["killed_pids"]) == (True, [])
    assert result.json["signal"] == signal.SIGTERM
    assert result.json["max_total_rss_kib"] < 100 * 1024


def test_a_job_just_below_its_limit_is_not_ended(memwatch: Memwatch, fill: Fill) -> None:
    result = limited(memwatch, command=fill(140))
    assert result.code == 0, result.text
    assert result.json["limits"]["exceeded"] == result.json["limits"]["inconclusive"] == []
    assert result.json["max_total_footprint_low_kib"] > 100 * 1024


def test_the_account_sees_a_job_grow_on(memwatch: Memwatch, fill: Fill) -> None:
    command = fill(1500, first="trap '' TERM", then="exec sleep 60")
    result = limited(memwatch, "--kill-after", "120s", command=command)
    assert result.code == 10, result.text
    limits = found_by_account(result)
    assert limits["grew_after_sigterm"]
    assert limits["killed_pids"]
    assert result.json["cgroup"]["remains"] is None
    assert result.json["signal"] == signal.SIGKILL


def test_the_account_only_reports_a_limit(memwatch: Memwatch, fill: Fill) -> None:
    result = limited(memwatch, "--on-limit", "report", command=fill(200, then="exit 3"))
    assert result.code == 3, result.text
    assert not found_by_account(result)["signalled"]


@pytest.mark.parametrize("how", ["writes", "shares"])
def test_forked_processes_that_share_memory(place: Place, memwatch: Memwatch, how: str) -> None:
    """By the samples, without sums of shares, each may have copied everything, or nothing."""
    result = limited(memwatch, "--pss", "off", command=[sys.executable, "-c", COPIES, how])
    assert result.json["max_total_rss_kib"] > 150 * 1024
    if how == "writes":
        assert result.code == 10, result.text
        assert found_by_account(result)["signalled"]
    else:
        assert result.code == 0, result.text
        assert result.json["limits"]["exceeded"] == result.json["limits"]["inconclusive"] == []
