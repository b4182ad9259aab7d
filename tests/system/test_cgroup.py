"""Tests of memory limits of control groups: parsers, fake trees, and a real group with a limit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memwatch.model.memory_limit import MemoryLimit
from memwatch.runner import cgroup
from memwatch.runner.cgroup import CgroupLimit, CgroupPaths, MemoryCgroup, Mount, folders_of
from memwatch.runner.kernel_files import parse_entry, parse_number, read_text
from support.control_group import limited_group
from support.fake_cgroups import Tree, escape

MIB = 1 << 20
UNLIMITED_V1 = "9223372036854771712\n"

# Real contents of process files -----------------------------------------------------------------

V2_SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
V2_MOUNTS = """\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 \
rw,nsdelegate,memory_recursiveprot
30 22 0:27 / /sys/fs/pstore rw,nosuid shared:10 - pstore pstore rw
"""

V1_SESSION = """\
12:pids:/user.slice/user-1000.slice/session-3.scope
11:hugetlb:/
10:cpu,cpuacct:/user.slice
9:memory:/user.slice/user-1000.slice/session-3.scope
1:name=systemd:/user.slice/user-1000.slice/session-3.scope
0::/user.slice/user-1000.slice/session-3.scope
"""
V1_MOUNTS = """\
31 22 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,mode=755
32 31 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:27 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
40 31 0:34 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec shared:18 - cgroup cgroup rw,memory
41 31 0:35 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:19 - cgroup cgroup rw,cpu,cpuacct
"""

CONTAINER = "/docker/3f0c1d5b8a0e"
DOCKER_V1_MOUNTS = f"""\
724 723 0:34 {CONTAINER} /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:18 - \
cgroup cgroup rw,memory
725 723 0:35 {CONTAINER} /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct
"""


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (V2_SESSION, CgroupPaths(None, "/user.slice/user-1000.slice/session-3.scope")),
        (
            V1_SESSION,
            CgroupPaths(*["/user.slice/user-1000.slice/session-3.scope"] * 2),
        ),
        # Hybrid, with the job in a group of only one hierarchy.
        ("4:memory:/process/1\n2:cpuacct:/\n0::/\n", CgroupPaths("/process/1", "/")),
        (f"4:cpu,memory,hugetlb:{CONTAINER}\n", CgroupPaths(CONTAINER, None)),
        ("0::/\n", CgroupPaths(None, "/")),
        # A group with a colon and blanks in its name, and one that has been removed.
        ("0::/a:b c/d\n", CgroupPaths(None, "/a:b c/d")),
        ("0::/gone (deleted)\n", CgroupPaths(None, "/gone (deleted)")),
        # Moved out of the namespace from which it reads.
        ("0::/../other\n", CgroupPaths(None, "/../other")),
        # A named hierarchy called "memory", not the memory controller.
        ("1:name=memory:/a\n", CgroupPaths(None, None)),
        ("1:memory_recursive:/a\n", CgroupPaths(None, None)),
        ("", CgroupPaths(None, None)),
        ("garbage\n\n::\n0:\n0::relative\n:memory\n", CgroupPaths(None, None)),
        # Not line ends, although Python's splitlines() treats them so.
        ("0::/a\x0cb\x1cc\u2028d\n", CgroupPaths(None, "/a\x0cb\x1cc\u2028d")),
    ],
)
def test_membership(text: str, paths: CgroupPaths) -> None:
    assert cgroup.parse_cgroup_paths(text) == paths


@pytest.mark.parametrize(
    ("text", "mounts"),
    [
        (V2_MOUNTS, [Mount(2, "/", "/sys/fs/cgroup")]),
        (
            V1_MOUNTS,
            [Mount(2, "/", "/sys/fs/cgroup/unified"), Mount(1, "/", "/sys/fs/cgroup/memory")],
        ),
        (DOCKER_V1_MOUNTS, [Mount(1, CONTAINER, "/sys/fs/cgroup/memory")]),
        # No optional field; more than one.
        ("35 31 0:32 / /c rw - cgroup cgroup rw,memory\n", [Mount(1, "/", "/c")]),
        ("35 31 0:32 / /c rw shared:1 master:2 - cgroup2 none rw\n", [Mount(2, "/", "/c")]),
        # The mount source, like any field, may be empty.
        ("35 31 0:32 / /c rw - cgroup2  rw\n", [Mount(2, "/", "/c")]),
        (
            "35 31 0:32 /a\\134b /with\\040blank\\011tab\\012line rw - cgroup2 x rw\n",
            [Mount(2, "/a\\b", "/with blank\ttab\nline")],
        ),
        ("35 31 0:32 / /c rw - cgroup cgroup rw,memory_like,cpu\n", []),
        ("35 31 0:32 / /c rw - cgroupfs x rw,memory\n", []),
        ("35 31 / /c rw - cgroup2 x rw\n", []),
        (" - cgroup2 x rw\n - \n-\n35 31 0:32 / /c rw cgroup2 x rw\n", []),
        ("", []),
    ],
)
def test_mounts(text: str, mounts: list[Mount]) -> None:
    assert cgroup.parse_mounts(text) == mounts


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/", (["/c"], True)),
        ("/", "/a/b", (["/c/a/b", "/c/a", "/c"], True)),
        # A container with version 1: the host's names are visible, but only its own group.
        (CONTAINER, CONTAINER, (["/c"], True)),
        (CONTAINER, f"{CONTAINER}/job", (["/c/job", "/c"], True)),
        (CONTAINER, f"{CONTAINER}-other", None),
        (CONTAINER, "/", None),
        # A cgroup namespace made after the mount: the path down is unknown.
        ("/../..", "/", (["/c"], False)),
        ("/../..", "/..", (["/c"], False)),
        ("/..", "/..", (["/c"], True)),
        ("/..", "/../beside", (["/c/beside", "/c"], True)),
        ("/../beside", "/", None),
        # The process was moved out of its namespace: it is not below this mount despite the names.
        ("/", "/..", None),
        ("/", "/../beside", None),
    ],
)
def test_folders(root: str, path: str, expected: object) -> None:
    assert folders_of(Mount(2, root, "/c"), path) == expected


def test_folders_below_the_root_folder() -> None:
    assert folders_of(Mount(2, "/", "/"), "/a") == (["/a", ""], True)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max\n", None),
        ("67108864\n", 64 * MIB),
        ("0\n", 0),
        (UNLIMITED_V1, None),
        ("9223372036854710272\n", None),  # pages of 64 KiB
        ("9223372036854775807\n", None),  # Linux before 3.19
        ("18446744073709551615\n", None),
        ("8796093018112\n", None),  # 32 bit
        ("8796093022208\n", 8 << 40),
        ("", None),
        ("-1\n", None),
        ("1e6\n", None),
        ("\u0661\n", None),
        ("9" * 5000, None),
    ],
)
def test_limits(text: str, limit: int | None) -> None:
    assert cgroup.parse_limit(text) == limit


def test_entries() -> None:
    events = "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n"
    assert parse_entry(events, "oom_kill") == "2"
    assert parse_entry(events, "oom") == "3"
    assert parse_entry(events, "low") == "0"
    assert parse_entry(events, "kill") == ""
    assert parse_entry("", "low") == ""
    assert parse_entry("CapEff:\t00ff\n", "CapEff:") == "00ff"
    assert parse_entry("low", "low") == ""


def test_meminfo() -> None:
    text = "MemTotal:       24684096 kB\nMemFree:        22936868 kB\nMemAvailable:   24247792 kB\n"
    assert cgroup.parse_meminfo(text) == (24684096 * 1024, 24247792 * 1024)
    # MemAvailable came with Linux 3.14.
    assert cgroup.parse_meminfo("MemTotal: 4 kB\n") == (4096, None)
    assert cgroup.parse_meminfo("MemTotal: 4\nMemAvailable: x kB\n") == (None, None)


# Properties of the parsers ------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_characters="/\n\0", exclude_categories=["Cs"]), min_size=1)
PARTS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), max_size=5)


@given(st.text())
def test_unescape_reverses_escape(text: str) -> None:
    assert cgroup.unescape(escape(text)) == text


@given(PARTS, PARTS, st.lists(st.sampled_from(["shared:1", "master:22", "unbindable"])))
def test_any_mount_is_read(root: list[str], point: list[str], optional: list[str]) -> None:
    root_path, point_path = "/" + "/".join(root), "/" + "/".join(point)
    fields = ["36", "35", "98:0", escape(root_path), escape(point_path), "rw", *optional]
    line = " ".join([*fields, "-", "cgroup2", "cgroup2", "rw,nsdelegate"])
    assert cgroup.parse_mounts(f"{line}\n") == [Mount(2, root_path, point_path)]


@given(PARTS, st.sampled_from(["memory", "cpu,memory", "memory,hugetlb"]))
def test_any_group_is_read(parts: list[str], controllers: str) -> None:
    path = "/" + "/".join(parts)
    text = f"9:{controllers}:{path}\n8:cpuset:/other\n0::/other\n"
    assert cgroup.parse_cgroup_paths(text) == CgroupPaths(path, "/other")


@given(PARTS, PARTS, PARTS)
def test_folders_lead_from_the_group_to_the_mount(
    root: list[str], below: list[str], point: list[str]
) -> None:
    point_path = "/" + "/".join(point)
    mount = Mount(1, "/" + "/".join(root), point_path)
    shown = folders_of(mount, "/" + "/".join([*root, *below]))
    assert shown
    folders, own = shown
    assert own
    assert len(folders) == len(below) + 1
    assert folders[-1] == point_path.rstrip("/")
    for inner, outer in pairwise(folders):
        assert inner.rpartition("/")[0] == outer


WILD_PATHS = st.lists(st.sampled_from(["..", "a", "b", "", "."]), max_size=6).map(
    lambda parts: "/" + "/".join(parts)
)


@given(WILD_PATHS, WILD_PATHS)
def test_no_folder_is_outside_the_mount(root: str, path: str) -> None:
    shown = folders_of(Mount(2, root, "/c"), path)
    for folder in shown[0] if shown else ():
        assert folder == "/c" or folder.startswith("/c/")
        assert ".." not in folder.split("/")


@given(st.text())
@example(V1_MOUNTS)
@example("0::\n")
def test_parsers_take_anything(text: str) -> None:
    cgroup.parse_cgroup_paths(text)
    cgroup.parse_mounts(text)
    cgroup.parse_meminfo(text)
    parse_entry(text, "oom_kill")
    limit = cgroup.parse_limit(text)
    assert limit is None or 0 <= limit < 1 << 62
    number = parse_number(text)
    assert number is None or number >= 0


# Fake trees ---------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def v2_host(tree: Tree) -> None:
    """A session under systemd. The root of all groups has no limit and counts no OOM kills."""
    tree.member("0::/user.slice/job.scope\n")
    tree.mount(2, "/", "c")
    tree.group("c/user.slice", max="max", high="max", current=30 * MIB, events="oom_kill 9")
    tree.group("c/user.slice/job.scope", max="max", high="max", current=MIB, events="oom_kill 2")


def v1_host(tree: Tree) -> None:
    tree.member("9:memory:/user.slice/job.scope\n0::/elsewhere\n")
    tree.mount(2, "/", "unified")
    tree.mount(1, "/", "c")
    tree.group("c", limit_in_bytes=UNLIMITED_V1.strip(), usage_in_bytes=900 * MIB)
    tree.group("c/user.slice", limit_in_bytes=UNLIMITED_V1.strip(), usage_in_bytes=30 * MIB)
    tree.group(
        "c/user.slice/job.scope",
        limit_in_bytes=UNLIMITED_V1.strip(),
        usage_in_bytes=MIB,
        stat=f"cache 0\nhierarchical_memory_limit {UNLIMITED_V1.strip()}\ntotal_rss 5",
        oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    )


def test_no_limit_of_version_2(tree: Tree) -> None:
    v2_host(tree)
    group = tree.find()
    assert group == MemoryCgroup(
        2,
        "/user.slice/job.scope",
        tree.folders("c/user.slice/job.scope", "c/user.slice", "c"),
        True,
    )
    assert group.limit() is None
    assert group.throttled_at() is None
    assert group.usage() == MIB
    assert group.oom_kills() == 2


def test_no_limit_of_version_1(tree: Tree) -> None:
    v1_host(tree)
    group = tree.find()
    assert group == MemoryCgroup(
        1,
        "/user.slice/job.scope",
        tree.folders("c/user.slice/job.scope", "c/user.slice", "c"),
        True,
    )
    assert group.limit() is None
    assert group.throttled_at() is None
    assert group.usage() == MIB
    assert group.oom_kills() == 2


def test_own_limit(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice", max=200 * MIB)
    tree.group("c/user.slice/job.scope", max=100 * MIB)
    (folder,) = tree.folders("c/user.slice/job.scope")
    assert tree.find().limit() == CgroupLimit(100 * MIB, folder, MIB)


def test_a_group_above_is_tighter(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice", max=50 * MIB)
    tree.group("c/user.slice/job.scope", max=100 * MIB)
    (folder,) = tree.folders("c/user.slice")
    assert tree.find().limit() == CgroupLimit(50 * MIB, folder, 30 * MIB)


def test_the_outermost_of_equal_limits_is_chosen(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice", max=50 * MIB)
    tree.group("c/user.slice/job.scope", max=50 * MIB)
    (folder,) = tree.folders("c/user.slice")
    assert tree.find().limit() == CgroupLimit(50 * MIB, folder, 30 * MIB)


def test_a_limit_of_zero_is_a_limit(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice/job.scope", max=0)
    limit = tree.find().limit()
    assert limit
    assert limit.bytes == 0


def test_throttling(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice", high=70 * MIB)
    tree.group("c/user.slice/job.scope", high=80 * MIB)
    assert tree.find().throttled_at() == 70 * MIB


def test_a_group_above_is_tighter_in_version_1(tree: Tree) -> None:
    v1_host(tree)
    tree.group("c/user.slice", limit_in_bytes=50 * MIB)
    tree.group("c/user.slice/job.scope", stat=f"hierarchical_memory_limit {50 * MIB}")
    (folder,) = tree.folders("c/user.slice")
    assert tree.find().limit() == CgroupLimit(50 * MIB, folder, 30 * MIB)


def test_version_1_without_hierarchical_memory_limit(tree: Tree) -> None:
    v1_host(tree)
    tree.group("c/user.slice", limit_in_bytes=50 * MIB)
    tree.group("c/user.slice/job.scope", stat="cache 0")
    (folder,) = tree.folders("c/user.slice")
    assert tree.find().limit() == CgroupLimit(50 * MIB, folder, 30 * MIB)


def test_a_group_without_use_hierarchy_ignores_the_limits_above(tree: Tree) -> None:
    """memory.use_hierarchy was 0, before Linux 5.11."""
    v1_host(tree)
    tree.group("c/user.slice", limit_in_bytes=50 * MIB)
    tree.group(
        "c/user.slice/job.scope",
        limit_in_bytes=100 * MIB,
        stat=f"hierarchical_memory_limit {100 * MIB}",
    )
    (folder,) = tree.folders("c/user.slice/job.scope")
    assert tree.find().limit() == CgroupLimit(100 * MIB, folder, MIB)


def test_a_limit_above_what_a_container_sees(tree: Tree) -> None:
    """Version 1 with the host's names: the pod has a limit, the container itself has none."""
    path = "/kubepods/burstable/pod7/3f0c"
    tree.member(f"5:memory:{path}\n")
    tree.mount(1, path, "c")
    tree.group(
        "c",
        limit_in_bytes=UNLIMITED_V1.strip(),
        usage_in_bytes=3 * MIB,
        stat=f"hierarchical_memory_limit {50 * MIB}",
        oom_control="oom_kill 1",
    )
    group = tree.find()
    assert group.folders == tree.folders("c")
    assert group.limit() == CgroupLimit(50 * MIB, None, 3 * MIB)
    assert group.oom_kills() == 1


def test_a_container_with_its_own_namespace(tree: Tree) -> None:
    """Version 2: its group appears as the root group, but has limits."""
    tree.member("0::/\n")
    tree.mount(2, "/", "c")
    tree.group("c", max=50 * MIB, current=MIB, events="oom_kill 0")
    group = tree.find()
    (folder,) = tree.folders("c")
    assert group.limit() == CgroupLimit(50 * MIB, folder, MIB)
    assert group.oom_kills() == 0


def test_a_container_with_the_hosts_names(tree: Tree) -> None:
    """docker run --cgroupns=host, version 2."""
    tree.member("0::/system.slice/docker-3f0c.scope\n")
    tree.mount(2, "/", "c")
    tree.group("c/system.slice", max="max")
    tree.group("c/system.slice/docker-3f0c.scope", max=50 * MIB, current=MIB)
    (folder,) = tree.folders("c/system.slice/docker-3f0c.scope")
    assert tree.find().limit() == CgroupLimit(50 * MIB, folder, MIB)


def test_a_namespace_made_after_the_mount(tree: Tree) -> None:
    """unshare -C, bwrap: the groups above are readable, the group's own folder is unknown."""
    tree.member("0::/\n")
    tree.mount(2, "/../..", "c")
    tree.group("c", max=50 * MIB, current=40 * MIB, events="oom_kill 7")
    group = tree.find()
    (folder,) = tree.folders("c")
    assert not group.own_is_visible
    assert group.limit() == CgroupLimit(50 * MIB, folder, 40 * MIB)
    assert group.usage() is None
    assert group.oom_kills() is None


def test_a_group_without_a_folder(tree: Tree) -> None:
    v2_host(tree)
    tree.member("0::/user.slice/gone.scope (deleted)\n")
    tree.group("c/user.slice", max=50 * MIB)
    group = tree.find()
    assert group.folders == tree.folders("c/user.slice", "c")
    assert not group.own_is_visible
    limit = group.limit()
    assert limit
    assert limit.bytes == 50 * MIB
    assert group.oom_kills() is None


def test_a_group_without_the_memory_controller(tree: Tree) -> None:
    """Its memory is charged to the nearest group above that has it."""
    v2_host(tree)
    tree.member("0::/user.slice/plain\n")
    tree.group("c/user.slice/plain")
    group = tree.find()
    assert group.own_is_visible
    assert group.oom_kills() == 9
    assert group.usage() is None


def test_the_root_group(tree: Tree) -> None:
    tree.member("0::/\n")
    tree.mount(2, "/", "c")
    group = tree.find()
    assert group.limit() is None
    assert group.oom_kills() is None


def test_the_mount_that_shows_most_groups_is_used(tree: Tree) -> None:
    v2_host(tree)
    tree.mountinfo = ""
    tree.mount(2, "/user.slice", "part")
    tree.mount(2, "/", "c")
    assert tree.find().folders[-1] == str(tree.folder / "c")


def test_a_mount_that_another_one_hides(tree: Tree) -> None:
    v2_host(tree)
    tree.mountinfo = ""
    tree.mount(2, "/", "hidden")
    (tree.folder / "hidden/cgroup.procs").unlink()
    tree.mount(2, "/", "c")
    assert tree.find().folders[-1] == str(tree.folder / "c")


@pytest.mark.parametrize("point", ["with blank", "tab\tnewline\n", "back\\slash\\040", "caf\u00e9"])
def test_a_mount_point_with_any_name(tree: Tree, point: str) -> None:
    tree.member("0::/job\n")
    tree.mount(2, "/", point)
    tree.group(f"{point}/job", max=50 * MIB)
    limit = tree.find().limit()
    assert limit
    assert limit.folder == str(tree.folder / point / "job")


def test_a_group_name_that_is_not_utf_8(tree: Tree) -> None:
    tree.write("proc/self/cgroup", b"0::/j\xffb\n")
    tree.mount(2, "/", "c")
    job = os.fsencode(tree.folder / "c") + b"/j\xffb"
    os.mkdir(job)
    for name, text in ((b"cgroup.procs", b""), (b"memory.max", b"1048576\n")):
        Path(os.fsdecode(job + b"/" + name)).write_bytes(text)
    assert tree.find().limit() == CgroupLimit(MIB, os.fsdecode(job), None)


@pytest.mark.parametrize(
    ("member", "mounts"),
    [
        (None, None),
        ("", ""),
        ("0::/\n", None),
        ("0::/\n", ""),
        (None, V2_MOUNTS),
        # In a group of version 1, but only version 2 is mounted.
        ("4:memory:/a\n0::/a\n", V2_MOUNTS.replace("/sys/fs/cgroup", "/nowhere")),
        ("0::/../out\n", V2_MOUNTS.replace("/sys/fs/cgroup", "/nowhere")),
    ],
)
def test_no_visible_group(tree: Tree, member: str | None, mounts: str | None) -> None:
    if member is not None:
        tree.member(member)
    if mounts is not None:
        tree.write("proc/self/mountinfo", mounts)
    assert cgroup.find(str(tree.proc)) is None


# Before and after a job ---------------------------------------------------------------------------


def test_watch_a_job_under_a_limit(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice/job.scope", max=50 * MIB)
    watch = tree.watch()
    tree.group("c/user.slice/job.scope", events="oom 1\noom_kill 4")
    tree.write("proc/vmstat", "oom_kill 8\n")
    (folder,) = tree.folders("c/user.slice/job.scope")
    limit = watch.end()
    assert limit == MemoryLimit(50 * MIB, "cgroup v2", folder, MIB, 2, 3)
    assert limit.headroom(20 * MIB) == 30 * MIB
    assert limit.headroom(60 * MIB) == -10 * MIB


def test_watch_a_job_without_a_limit(tree: Tree) -> None:
    v1_host(tree)
    assert tree.watch().end() == MemoryLimit(1 << 30, "machine", None, 256 * MIB, 0, 0)


def test_a_limit_above_the_machines_memory_is_no_limit(tree: Tree) -> None:
    v2_host(tree)
    tree.group("c/user.slice/job.scope", max=2 << 30)
    assert tree.watch().end() == MemoryLimit(1 << 30, "machine", None, 256 * MIB, 0, 0)


def test_watch_when_the_machines_memory_is_unknown(tree: Tree) -> None:
    v1_host(tree)
    tree.group("c/user.slice/job.scope", stat=f"hierarchical_memory_limit {50 * MIB}")
    for name in ("meminfo", "vmstat"):
        (tree.proc / name).unlink()
    assert tree.watch().end() == MemoryLimit(50 * MIB, "cgroup v1", None, MIB, 0, None)


def test_watch_when_nothing_is_known(tmp_path: Path) -> None:
    limit = cgroup.LimitWatch(str(tmp_path)).end()
    assert limit == MemoryLimit(None, None, None, None, None, None)
    assert limit.headroom(MIB) is None


def test_a_count_that_decreases_or_disappears_is_unknown(tree: Tree) -> None:
    v2_host(tree)
    watch = tree.watch()
    tree.group("c/user.slice/job.scope", events="oom_kill 1")
    tree.write("proc/vmstat", "pgfault 100\n")
    limit = watch.end()
    assert (limit.oom_kills, limit.machine_oom_kills) == (None, None)


FILES = (
    *("proc/self/cgroup", "proc/self/mountinfo", "proc/meminfo", "proc/vmstat"),
    *("c/user.slice/job.scope/memory.max", "c/user.slice/job.scope/memory.stat"),
    *("c/user.slice/job.scope/memory.events", "c/user.slice/job.scope/memory.oom_control"),
    *("c/user.slice/memory.limit_in_bytes", "c/user.slice/memory.current"),
)


@given(
    st.sampled_from([v1_host, v2_host]),
    st.dictionaries(st.sampled_from(FILES), st.binary(max_size=80) | st.none(), max_size=4),
)
def test_unexpected_content_is_no_error(make, changes: dict[str, bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
        make(tree)
        for name, content in changes.items():
            path = Path(folder, name)
            if content is not None:
                path.write_bytes(content)
            else:
                # A folder instead: it can be opened but not read.
                path.unlink(missing_ok=True)
                path.mkdir()
        limit = tree.watch().end()
        assert limit.limit_bytes is None or limit.limit_bytes >= 0
        assert (limit.limit_bytes is None) == (limit.source is None)
        group = cgroup.find(str(tree.proc))
        if group:
            group.throttled_at()
            group.usage()


def test_an_unreadable_file_reads_as_empty(tmp_path: Path) -> None:
    assert read_text(str(tmp_path / "missing")) == ""
    assert read_text(str(tmp_path)) == ""
    assert read_text("with a \0") == ""


# On this machine ----------------------------------------------------------------------------------


def test_the_group_of_this_process_is_found() -> None:
    group = cgroup.find()
    if not group:
        pytest.skip("no control group with the memory controller is mounted here")
    assert all(os.path.isdir(folder) for folder in group.folders)
    if group.own_is_visible:
        assert str(os.getpid()) in Path(group.folders[0], "cgroup.procs").read_text().split()


def test_the_machine_has_memory() -> None:
    total, available = cgroup.machine_memory()
    assert total
    assert available
    assert available < total
    assert total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


SIZE = 64 * MIB


@pytest.fixture
def limited():
    """A real group with a limit of 64 MiB, including swap: its folder."""
    with limited_group(SIZE) as folder:
        yield folder


READ_AND_BURST = """
import json, os, sys
from memwatch.runner import cgroup
group = cgroup.find()
watch = cgroup.LimitWatch()
pid = os.fork()
if pid == 0:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if sys.argv[1:]:
        with open(sys.argv[1] + "/cgroup.procs", "w") as file:
            file.write("0")
    memory = b"x" * (200 << 20)
    os._exit(0)
status = os.waitpid(pid, 0)[1]
end = watch.end()
print(json.dumps([group.path, group.own_is_visible, group.limit(), status,
                  end.source, end.path, end.oom_kills, end.machine_oom_kills]))
"""


def run_in(folder: Path, argv: list[str]) -> list[object]:
    procs = folder / "cgroup.procs"
    done = subprocess.run(
        argv,
        cwd="/",
        stdout=subprocess.PIPE,
        preexec_fn=lambda: procs.write_text("0") and None,
        timeout=60,
        check=True,
    )
    result = json.loads(done.stdout)
    assert isinstance(result, list)
    return result


@pytest.mark.both_users
def test_a_real_limit_and_a_real_oom_kill(limited: Path, user) -> None:
    argv = [*user.prefix, sys.executable, "-c", READ_AND_BURST]
    path, own, limit, status, source, setter, kills, machine_kills = run_in(limited, argv)
    assert str(path).endswith(f"/{limited.name}")
    assert own
    size, folder, usage = limit
    assert (size, folder) == (SIZE, str(limited))
    assert 0 < usage <= SIZE
    assert status == signal.SIGKILL
    assert source in ("cgroup v1", "cgroup v2")
    assert setter == str(limited)
    assert kills == 1
    assert machine_kills is None or machine_kills >= 1


def test_an_oom_kill_in_a_group_made_by_the_job(limited: Path) -> None:
    inner = limited / "inner"
    inner.mkdir()
    argv = [sys.executable, "-c", READ_AND_BURST, str(inner)]
    _, _, limit, status, source, _, kills, machine_kills = run_in(limited, argv)
    assert limit[0] == SIZE
    assert status == signal.SIGKILL
    # Version 1 counts it only in the group where it happened.
    assert kills == (0 if source == "cgroup v1" else 1)
    assert machine_kills is None or machine_kills >= 1


def test_a_limit_above_is_found_from_a_group_below(limited: Path) -> None:
    inner = limited / "inner"
    inner.mkdir()
    code = (
        "import json; from memwatch.runner import cgroup; "
        "print(json.dumps([*cgroup.find().limit()]))"
    )
    size, folder, _ = run_in(inner, [sys.executable, "-c", code])
    assert (size, folder) == (SIZE, str(limited))


def test_a_real_namespace(limited: Path) -> None:
    """Its own group and limit are then invisible, and must not be invented."""
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    if subprocess.run(["unshare", "-C", "true"], capture_output=True, check=False).returncode:
        pytest.skip("cgroup namespaces are not available here")
    code = (
        "import json; from memwatch.runner import cgroup; group = cgroup.find(); "
        "print(json.dumps([group.own_is_visible, group.usage(), group.oom_kills()]))"
    )
    argv = ["unshare", "-C", sys.executable, "-c", code]
    assert run_in(limited, argv) == [False, None, None]
