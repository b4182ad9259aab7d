"""Tests of `memwatch doctor`: its conclusions, its report, and that both are true here."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import fcntl
import json
import os
import platform
import pty
import re
import resource
import shutil
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.commands import doctor
from memwatch.model import sources
from memwatch.model.sources import (
    CONNECTOR,
    DARWIN_SOURCES,
    HOOK,
    KQUEUE,
    LINUX_SOURCES,
    PERF,
    SAMPLING,
    TASKSTATS,
    Facts,
    why_not,
)
from memwatch.reports.checkup import Checkup, Memory, System
from memwatch.reports.doctor_json import document
from memwatch.reports.doctor_report import lines
from memwatch.runner import cgroup, native
from memwatch.runner import system_facts as facts_module
from memwatch.runner._native import lib
from memwatch.runner.kernel_files import read_text
from memwatch.runner.system_facts import (
    parse_capabilities,
    parse_hidepid,
    parse_level,
    parse_namespace,
    parse_release,
    read_facts,
)
from support.schema import Schema, written_keys

MIB = 1 << 20

SCHEMA = Schema("doctor")

ALL_CAPABILITIES = frozenset(sources.CAPABILITIES)

ROOT = Facts(
    euid=0,
    capabilities=ALL_CAPABILITIES,
    kernel=(6, 18),
    perf_event_paranoid=2,
    initial_pid_namespace=True,
    initial_user_namespace=True,
)
USER = ROOT._replace(euid=1000, capabilities=frozenset())
DEBIAN = USER._replace(kernel=(6, 1), perf_event_paranoid=3)
CONTAINER = ROOT._replace(capabilities=frozenset(), initial_pid_namespace=False)
ROOTLESS = ROOT._replace(initial_user_namespace=False)
ELSEWHERE = Facts(1000, None, None, None, None, None)


# Facts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("6.18.44", (6, 18)),
        ("5.10.0-33-amd64", (5, 10)),
        ("4.18.0-553.el8_10.x86_64", (4, 18)),
        ("6.6-rc1", (6, 6)),
        ("3.10", (3, 10)),
        ("", None),
        ("next-20250101", None),
        ("6", None),
    ],
)
def test_release(text: str, release: tuple[int, int] | None) -> None:
    assert parse_release(text) == release


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        ("0000000000000000", frozenset()),
        ("000001ffffffffff", ALL_CAPABILITIES),
        ("0000000000001000", {"NET_ADMIN"}),
        ("0000004001280000", {"SYS_PTRACE", "SYS_ADMIN", "SYS_RESOURCE", "PERFMON"}),
        # Docker's default set: none of these.
        ("00000000a80425fb", frozenset()),
        ("zzz", None),
        ("", None),
    ],
)
def test_capabilities(bits: str, names: set[str] | None) -> None:
    status = f"Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t{bits}\nCapBnd:\tffffffffffffffff\n"
    assert parse_capabilities(status) == names


def test_capabilities_that_are_not_in_the_file() -> None:
    assert parse_capabilities("Name:\tx\n") is None


@pytest.mark.parametrize(
    ("text", "level"),
    [("2\n", 2), ("-1\n", -1), ("4", 4), ("", None), ("two", None), ("9" * 5000, None)],
)
def test_level(text: str, level: int | None) -> None:
    assert parse_level(text) == level


def test_namespace() -> None:
    assert parse_namespace("pid:[4026531836]") == facts_module.INITIAL_PID_NAMESPACE
    assert parse_namespace("user:[4026531837]") == facts_module.INITIAL_USER_NAMESPACE
    assert parse_namespace("pid:[]") is None
    assert parse_namespace("") is None


@pytest.mark.parametrize(
    ("lines_", "hidden"),
    [
        ("22 27 0:21 / /proc rw,relatime - proc proc rw\n", None),
        ("22 27 0:21 / /proc rw shared:5 - proc proc rw,hidepid=2,gid=9\n", "2"),
        ("22 27 0:21 / /proc rw - proc proc rw,hidepid=invisible\n", "invisible"),
        ("22 27 0:21 / /proc rw - proc proc rw,hidepid=off\n", None),
        ("22 27 0:21 / /proc rw - proc proc rw,hidepid=0\n", None),
        # A proc mounted elsewhere, and one that covers the first.
        ("22 27 0:21 / /other/proc rw - proc proc rw,hidepid=2\n", None),
        (
            "22 27 0:21 / /proc rw - proc proc rw,hidepid=2\n"
            "30 22 0:40 / /proc rw - proc proc rw\n",
            None,
        ),
        ("22 27 0:21 / /proc rw - proc\n22 27\n - \n", None),
        ("", None),
    ],
)
def test_hidepid(lines_: str, hidden: str | None) -> None:
    assert parse_hidepid(lines_) == hidden


@given(st.text())
def test_parsers_of_facts_take_anything(text: str) -> None:
    for parse in (parse_release, parse_capabilities, parse_level, parse_namespace, parse_hidepid):
        parse(text)
    parse_capabilities(f"CapEff:\t{text}")
    parse_hidepid(f"1 2 0:3 / /proc rw - proc proc {text}")


def test_facts_of_this_process() -> None:
    facts = read_facts()
    assert facts.euid == os.geteuid()
    major, minor = platform.release().split(".")[:2]
    assert facts.kernel == (int(major), int(re.match(r"\d+", minor)[0]))
    assert facts.capabilities is not None
    # Only a process with all of them is sure to have this one.
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    effective = data[0] | data[3] << 32
    held = {name for name, number in sources.CAPABILITIES.items() if effective >> number & 1}
    assert facts.capabilities == held


def test_facts_when_nothing_can_be_read(tmp_path: Path) -> None:
    facts = read_facts(str(tmp_path))
    assert facts.capabilities is None
    assert facts.perf_event_paranoid is None
    assert facts.initial_pid_namespace is None
    assert facts.initial_user_namespace is None


# Sources ------------------------------------------------------------------------------------------


def test_python_and_c_mean_the_same_sources() -> None:
    assert (CONNECTOR, PERF, TASKSTATS, HOOK, KQUEUE) == (
        lib.MW_CONNECTOR,
        lib.MW_PERF,
        lib.MW_TASKSTATS,
        lib.MW_HOOK,
        lib.MW_KQUEUE,
    )


def test_each_source_is_listed_once() -> None:
    assert [source.number for source in LINUX_SOURCES] == [
        SAMPLING,
        CONNECTOR,
        PERF,
        TASKSTATS,
        HOOK,
    ]
    assert [source.number for source in DARWIN_SOURCES] == [SAMPLING, KQUEUE]
    for backend in ("linux", "darwin", "unsupported"):
        found = sources.of_backend(backend)
        assert (
            len({source.id for source in found})
            == len({source.name for source in found})
            == len(found)
        )
    assert set(sources.IDS) == {SAMPLING, CONNECTOR, PERF, TASKSTATS, HOOK, KQUEUE}


def test_the_sources_that_make_a_profile_complete_exist() -> None:
    assert set(sources.IDS.values()) > sources.COMPLETE_SOURCES


# source, errno, facts; text in the reason and in the remedy; None: there is no remedy.
REFUSALS = [
    (SAMPLING, errno.ENOENT, ROOT, "/proc is not mounted", "mount -t proc"),
    (CONNECTOR, errno.EPERM, DEBIAN, "before Linux 6.6", "as root, or with CAP_NET_ADMIN"),
    (CONNECTOR, errno.EPERM, USER, "security module", "run as root"),
    (CONNECTOR, errno.ENOTSUP, USER, "CONFIG_PROC_EVENTS", None),
    (CONNECTOR, errno.EPROTONOSUPPORT, ROOT, "CONFIG_PROC_EVENTS", None),
    (CONNECTOR, errno.ENXIO, CONTAINER, "pid namespace", "on the host"),
    (CONNECTOR, errno.EPERM, CONTAINER, "pid namespace", "on the host"),
    (CONNECTOR, errno.ENXIO, ROOTLESS, "user namespace", "on the host"),
    (CONNECTOR, errno.ENXIO, ROOT, "network namespace", "--network=host"),
    (CONNECTOR, errno.ECONNREFUSED, ROOT, "network namespace", "--network=host"),
    (PERF, errno.EACCES, DEBIAN, "perf_event_paranoid is 3", "sysctl kernel.perf_event_paranoid=2"),
    (PERF, errno.EPERM, DEBIAN, "perf_event_paranoid is 3", "CAP_PERFMON"),
    (PERF, errno.EPERM, CONTAINER, "container's seccomp profile", "--cap-add PERFMON"),
    (PERF, errno.EACCES, USER, "security module", "run as root"),
    (PERF, errno.EMFILE, USER, "limit on open files", "ulimit -n"),
    (PERF, errno.ENOSYS, USER, "CONFIG_PERF_EVENTS", None),
    (PERF, errno.ENOTSUP, USER, "CONFIG_PERF_EVENTS", None),
    (TASKSTATS, errno.EPERM, USER, "needs CAP_NET_ADMIN", "as root, or with CAP_NET_ADMIN"),
    (TASKSTATS, errno.ENOTSUP, ROOT, "CONFIG_TASKSTATS", None),
    (TASKSTATS, errno.ENOENT, ROOT, "CONFIG_TASKSTATS", None),
    (TASKSTATS, errno.EINVAL, CONTAINER, "pid namespace", "on the host"),
    (TASKSTATS, errno.EPERM, ROOTLESS, "user namespace", "on the host"),
    (TASKSTATS, errno.ENXIO, ROOT, "network namespace", "--network=host"),
    (HOOK, errno.EBUSY, USER, "in place already", "outside"),
    (HOOK, errno.EINVAL, USER._replace(kernel=(4, 18)), "needs Linux 5.9", None),
    (HOOK, errno.ENOSYS, USER, "CONFIG_SECCOMP_FILTER", None),
    (HOOK, errno.ENOTSUP, USER, "CONFIG_SECCOMP_FILTER", None),
    (HOOK, errno.EPERM, CONTAINER, "seccomp", "profile"),
    (KQUEUE, errno.EMFILE, ELSEWHERE, "limit on open files", "ulimit -n"),
    (KQUEUE, errno.ENOTSUP, ELSEWHERE, "not available on this system", None),
    (KQUEUE, errno.ENOMEM, ELSEWHERE, "Cannot allocate memory", None),
    (SAMPLING, errno.EPERM, ELSEWHERE, "Operation not permitted", None),
    (PERF, errno.ENOTSUP, ELSEWHERE, "not available on this system", None),
    (HOOK, errno.ENOTSUP, ELSEWHERE, "not available on this system", None),
    (TASKSTATS, errno.ENOMEM, USER, "Cannot allocate memory", None),
    (HOOK, 9999, USER, "9999", None),
]


@pytest.mark.parametrize(
    ("source", "error", "facts", "reason", "remedy"),
    REFUSALS,
    ids=[
        f"{each[0]}-{errno.errorcode.get(each[1], each[1])}-{i}" for i, each in enumerate(REFUSALS)
    ],
)
def test_reason_and_remedy(
    source: int, error: int, facts: Facts, reason: str, remedy: str | None
) -> None:
    refusal = why_not(source, error, facts)
    assert refusal
    assert reason in refusal.reason
    if remedy is None:
        assert refusal.remedy is None
    else:
        assert refusal.remedy
        assert remedy in refusal.remedy


@pytest.mark.parametrize("source", sources.IDS)
@pytest.mark.parametrize("facts", [ROOT, USER, DEBIAN, CONTAINER, ROOTLESS, ELSEWHERE])
def test_every_errno_has_a_reason_of_one_line(source: int, facts: Facts) -> None:
    assert why_not(source, 0, facts) is None
    for error in errno.errorcode:
        refusal = why_not(source, error, facts)
        assert refusal
        for text in (refusal.reason, refusal.remedy or "x"):
            assert 0 < len(text) < 100
            assert text.isprintable()


EPERM = errno.EPERM


@pytest.mark.parametrize(
    ("errors", "facts", "every", "exact", "more"),
    [
        ({CONNECTOR: 0, PERF: 0, TASKSTATS: 0, HOOK: 0}, ROOT, True, True, None),
        ({CONNECTOR: EPERM, PERF: EPERM, TASKSTATS: 0, HOOK: EPERM}, ROOT, True, True, None),
        ({CONNECTOR: 0, PERF: EPERM, TASKSTATS: EPERM, HOOK: 0}, USER, True, False, "--exact"),
        ({CONNECTOR: EPERM, PERF: 0, TASKSTATS: EPERM, HOOK: 0}, USER, True, False, "--exact"),
        ({CONNECTOR: 0, PERF: 0, TASKSTATS: EPERM, HOOK: errno.EBUSY}, USER, True, False, "root"),
        ({CONNECTOR: EPERM, PERF: EPERM, TASKSTATS: EPERM, HOOK: 0}, USER, False, False, "--exact"),
        (
            dict.fromkeys((CONNECTOR, PERF, TASKSTATS, HOOK), errno.ENOTSUP),
            USER,
            False,
            False,
            None,
        ),
        ({SAMPLING: errno.ENOENT, TASKSTATS: 0, HOOK: 0}, ROOT, False, False, "mount"),
        # Nothing was tried, so nothing is promised.
        ({}, ROOT, False, False, None),
        # macOS: a fork event does not name the child, and there is no peak RSS.
        ({SAMPLING: 0, KQUEUE: errno.EMFILE}, ELSEWHERE, False, False, "ulimit"),
        ({SAMPLING: errno.EPERM, KQUEUE: 0}, ELSEWHERE, False, False, None),
    ],
)
def test_outlook(
    errors: dict[int, int], facts: Facts, every: bool, exact: bool, more: str | None
) -> None:
    outlook = sources.outlook(errors, facts)
    assert (outlook.every_process, outlook.exact_peaks) == (every, exact)
    assert ("every process" in outlook.text) == every
    assert ("exact peaks" in outlook.text) == exact
    if more is None:
        assert outlook.more is None
    else:
        assert outlook.more
        assert more in outlook.more


def test_what_is_not_needed() -> None:
    assert sources.instead_of(PERF, {CONNECTOR: 0}) == "process events (proc connector)"
    assert sources.instead_of(CONNECTOR, {PERF: 0}) == "process events (perf)"
    assert sources.instead_of(HOOK, {TASKSTATS: 0}) == "kernel exit records (taskstats)"
    assert sources.instead_of(TASKSTATS, {HOOK: 0}) is None
    assert sources.instead_of(PERF, {CONNECTOR: EPERM}) is None


# The report ---------------------------------------------------------------------------------------

SYSTEM = System(
    kernel="Linux",
    release="6.18.44",
    product=None,
    machine="x86_64",
    cpus=8,
    page_size=4096,
    children_lists=True,
    pss=True,
    pidfd=True,
    subreaper=True,
    hidepid=None,
    open_files=(1024, 1048576),
)
MEMORY = Memory(
    total=16384 * MIB,
    available=8192 * MIB,
    cgroup_version=2,
    cgroup="/job.scope",
    usage=10 * MIB,
    limit=512 * MIB,
    limit_folder="/sys/fs/cgroup/job.scope",
    limit_usage=100 * MIB,
    throttled_at=256 * MIB,
    oom_kills=3,
    machine_oom_kills=4,
    own_group="/sys/fs/cgroup/job.scope",
)
NO_GROUP = sources.Refusal("uid 1000 may not make a control group in /c", "run as root")
MAC = dataclasses.replace(
    SYSTEM,
    kernel="Darwin",
    release="23.5.0",
    product="macOS 14.5",
    machine="arm64",
    page_size=16384,
    children_lists=False,
    pss=False,
    pidfd=False,
    subreaper=False,
    open_files=(256, None),
)
MAC_MEMORY = Memory(total=16384 * MIB)
MAC_WORKS = {SAMPLING: 0, KQUEUE: 0}
WORKS = dict.fromkeys((SAMPLING, CONNECTOR, PERF, TASKSTATS, HOOK), 0)
FAILS = WORKS | {CONNECTOR: EPERM, PERF: errno.EACCES, TASKSTATS: EPERM, HOOK: errno.EBUSY}

CHECKUPS = {
    "all works": Checkup("0.1.0", "linux-x86_64", "linux", WORKS, ROOT, SYSTEM, MEMORY),
    "nothing works": Checkup("0.1.0", "linux-x86_64", "linux", FAILS, DEBIAN, SYSTEM, MEMORY),
    "old and hidden": Checkup(
        "0.1.0",
        "linux-x86_64",
        "linux",
        WORKS | {TASKSTATS: EPERM},
        CONTAINER._replace(capabilities=None, kernel=(6, 8)),
        System(
            *("Linux", "6.8.0", None, "aarch64", None, 65536, False, False, False, False, "2"),
            (None, None),
        ),
        Memory(),
    ),
    "hostile": Checkup(
        "0.1.0",
        "linux-x86_64",
        "linux",
        WORKS,
        ROOT,
        SYSTEM,
        dataclasses.replace(
            MEMORY,
            cgroup="/\x1b[2J\n\udcff",
            own_group="/c/\x1b[2J\n\udcff",
            limit_folder="/c/\x1b[2J\n\udcff" + "x" * 200,
            oom_kills=None,
        ),
    ),
    "hidden limit": Checkup(
        "0.1.0",
        "linux-x86_64",
        "linux",
        WORKS,
        USER,
        SYSTEM,
        Memory(
            cgroup_version=1,
            cgroup="/",
            limit=MIB,
            machine_oom_kills=0,
            own_group_refusal=NO_GROUP,
        ),
    ),
    "mac": Checkup("0.1.0", "darwin-arm64", "darwin", MAC_WORKS, ELSEWHERE, MAC, MAC_MEMORY),
    "mac, as root": Checkup(
        "0.1.0",
        "darwin-x86_64",
        "darwin",
        {SAMPLING: 0, KQUEUE: errno.EMFILE},
        ELSEWHERE._replace(euid=0),
        dataclasses.replace(MAC, product=None, page_size=4096, open_files=(None, None)),
        Memory(),
    ),
    "elsewhere": Checkup(
        "0.1.0",
        "plan9-mips",
        "unsupported",
        dict.fromkeys(WORKS, errno.ENOTSUP),
        ELSEWHERE,
        dataclasses.replace(SYSTEM, kernel="Plan 9", release="4"),
        Memory(),
    ),
}


def text_of(checkup: Checkup, width: int = 100) -> str:
    plain = list(lines(checkup, width=width, bold=str, dim=str))
    assert not [line for line in plain if "\n" in line]
    return "\n".join(plain)


@pytest.mark.parametrize("name", CHECKUPS)
@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 100, 200])
def test_lines_fit_the_terminal(name: str, width: int) -> None:
    for line in text_of(CHECKUPS[name], width).split("\n"):
        assert line.isprintable()
        assert line == line.rstrip()
        if len(line) > max(width, 48):  # the longest name with its symbol, or a label and a word
            assert len(line.split()) <= 2 or "xxx" in line, line


def test_colours_change_nothing_else() -> None:
    def brackets(text: str) -> str:
        return f"<{text}>"

    for checkup in CHECKUPS.values():
        colored = "\n".join(lines(checkup, width=60, bold=brackets, dim=brackets))
        assert re.sub("[<>]", "", colored) == text_of(checkup, 60)
        assert "<memwatch run gives here:>" in colored


def test_report_when_everything_works() -> None:
    text = text_of(CHECKUPS["all works"])
    assert text.count("\n  yes  ") == len(LINUX_SOURCES)
    assert "\n  no " not in text
    assert "why:" not in text
    assert "but:" not in text
    assert text.endswith("\nmemwatch run gives here: every process, exact peaks")
    assert "512.0 MiB (100.0 MiB in use), set by cgroup v2 /sys/fs/cgroup/job.scope" in text
    assert "from 256.0 MiB on" in text
    assert "3 so far in this cgroup, 4 on the machine" in text
    assert "1,024; memwatch raises" in text
    assert "warning" not in text


def test_report_when_nothing_works() -> None:
    text = text_of(CHECKUPS["nothing works"])
    assert text.count("\n  yes  ") == 1
    assert text.count("       why: ") == 4
    assert text.count("       fix: ") == 4
    assert "perf_event_paranoid is 3" in text
    assert text.endswith("\nFor every process and exact peaks: run as root, or with CAP_NET_ADMIN")


def test_report_names_what_is_not_needed() -> None:
    checkup = dataclasses.replace(CHECKUPS["nothing works"], errors=FAILS | {TASKSTATS: 0, PERF: 0})
    text = text_of(checkup)
    assert "fix: not needed: process events (perf) works" in text
    assert "fix: not needed: kernel exit records (taskstats) works" in text
    assert "run as root" not in text


def test_report_warns() -> None:
    text = text_of(CHECKUPS["old and hidden"])
    assert "RSS is imprecise on Linux 6.2 to 6.15" in text
    assert "each tick scans the whole machine" in text
    assert "hidepid=2" in text
    assert "open files    no limit" in text
    assert "no control group" in text
    assert "not counted" in text
    assert "but: sudo" in text


@pytest.mark.parametrize(
    ("kernel", "cpus", "warning"),
    [
        ((6, 1), 8, None),
        ((6, 2), 8, "1.0 MiB for a process on 8 CPUs"),
        ((6, 15), 64, "32.0 MiB for a process on 64 CPUs"),
        ((6, 16), 64, None),
        (None, 64, None),
    ],
)
def test_imprecise_kernels(kernel: tuple[int, int] | None, cpus: int, warning: str | None) -> None:
    checkup = dataclasses.replace(
        CHECKUPS["all works"],
        facts=ROOT._replace(kernel=kernel),
        system=dataclasses.replace(SYSTEM, cpus=cpus),
    )
    text = text_of(checkup, 200)
    assert ("imprecise" in text) == bool(warning)
    assert warning is None or warning in text
    assert document(checkup)["kernel"]["imprecise_rss"] == bool(warning)


def test_report_of_a_group_for_the_job() -> None:
    text = text_of(CHECKUPS["all works"], 200)
    assert "own group     --cgroup gives the job one, in /sys/fs/cgroup/job.scope" in text
    text = text_of(CHECKUPS["hidden limit"], 200)
    assert f"--cgroup cannot give the job one: {NO_GROUP.reason}; run as root" in text
    memory = document(CHECKUPS["hidden limit"])["memory"]
    assert memory["own_group_folder"] is None
    assert (memory["own_group_reason"], memory["own_group_remedy"]) == NO_GROUP


def test_report_of_a_limit_that_is_not_visible() -> None:
    text = text_of(CHECKUPS["hidden limit"], 200)
    assert "1.0 MiB, set by a cgroup v1 group above that is not visible here" in text
    assert "counted for the machine only: 0 so far" in text


def test_report_of_a_system_that_is_not_supported() -> None:
    text = text_of(CHECKUPS["elsewhere"])
    assert text.startswith("memwatch 0.1.0 (unsupported backend) on Plan 9 4, x86_64\n")
    assert "pidfd" not in text
    assert text.endswith("\nmemwatch run gives here: nothing")


def test_report_of_a_mac() -> None:
    text = text_of(CHECKUPS["mac"])
    assert text.startswith("memwatch 0.1.0 (darwin backend) on macOS 14.5 (Darwin 23.5.0), arm64\n")
    assert text.count("\n  yes  ") == len(DARWIN_SOURCES)
    assert "  yes  sampling (libproc)" in text
    assert "  yes  process events (kqueue)" in text
    assert "page size     16 KiB" in text
    assert "noticed at once (kqueue)" in text
    assert "through sudo" in text
    assert "machine       16.0 GiB\n" in text
    assert text.endswith(
        "\nmemwatch run gives here: nearly every process; peak RSS is a lower bound, peak "
        "footprint exact where\nit can be read in time"
    )
    # Nothing that applies only to Linux.
    for word in ("/proc", "cgroup", "capabilit", "taskstats", "seccomp", "--exact", "pidfd"):
        assert word not in text


def test_report_of_a_mac_as_root_without_events() -> None:
    text = text_of(CHECKUPS["mac, as root"])
    assert text.startswith("memwatch 0.1.0 (darwin backend) on Darwin 23.5.0, arm64\n")
    assert "through sudo" not in text
    assert "noticed at the next tick" in text
    assert "open files    no limit" in text
    assert "why: it takes a descriptor" in text
    assert "with the peak of each program so far\n" in text
    assert text.endswith("To get more: ulimit -n 4096")


# The document -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKUPS)
def test_a_document_is_valid(name: str) -> None:
    text = json.dumps(document(CHECKUPS[name]))
    text.encode("utf-8")
    SCHEMA.validate(json.loads(text, parse_constant=pytest.fail))
    assert "\\ud" not in text  # a lone surrogate, which strict parsers reject


def test_schema_and_document_have_the_same_keys() -> None:
    SCHEMA.check()
    assert SCHEMA.places() == written_keys(document(CHECKUPS["all works"]))


def test_every_key_is_described_at_length() -> None:
    for at, key, description, _ in SCHEMA.described():
        assert len(description.split()) > 2, f"{at}.{key}"
        assert description.endswith("."), f"{at}.{key}"
        assert not key.endswith("_kib") or "KiB" in description, f"{at}.{key}"


def test_every_key_is_required() -> None:
    for at, key in sorted(SCHEMA.places()):
        found = document(CHECKUPS["all works"])
        place: Any = found
        for word in at.replace("[]", ".0").split(".") if at else ():
            place = place[int(word) if word.isdigit() else word]
        del place[key]
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(found)


def test_the_values_of_a_document() -> None:
    found = document(CHECKUPS["nothing works"])
    by_id = {source["id"]: source for source in found["tiers"]}
    assert by_id["sampling"]["works"]
    assert not by_id["perf"]["works"]
    assert by_id["perf"]["error"] == "EACCES"
    assert by_id["connector"]["error"] == "EPERM"
    assert by_id["hook"]["by_itself"] is False
    assert found["user"] == {
        "euid": 1000,
        "capabilities": [],
        "initial_pid_namespace": True,
        "initial_user_namespace": True,
    }
    assert found["memory"]["limit_kib"] == 512 * 1024
    assert found["memory"]["throttled_at_kib"] == 256 * 1024
    assert found["run"]["every_process"] is False


# The command, with failing sources ---------------------------------------------------------------


def run_here(monkeypatch: pytest.MonkeyPatch, errors: dict[int, int], *words: str) -> int:
    monkeypatch.setattr(native, "probe", lambda source: errors[source])
    code = doctor.command.main(args=list(words), standalone_mode=False)
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("source", [CONNECTOR, PERF, TASKSTATS, HOOK])
@pytest.mark.parametrize(
    "error",
    [
        *(errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENXIO, errno.EBUSY, errno.EMFILE),
        *(errno.EINVAL, errno.ENOSYS, errno.ENOENT, errno.ENOMEM),
    ],
    ids=errno.errorcode.get,
)
def test_a_source_that_fails(monkeypatch, capfd, source: int, error: int) -> None:
    errors = WORKS | {source: error}
    assert run_here(monkeypatch, errors, "--json") == 0
    found = json.loads(capfd.readouterr().out)
    SCHEMA.validate(found)
    for each, tier in zip(LINUX_SOURCES, found["tiers"], strict=True):
        assert tier["works"] == (each.number != source)
        if each.number == source:
            assert tier["error"] == errno.errorcode[error]
            assert tier["reason"]
    assert found["run"]["exact_peaks"] == (source != TASKSTATS)

    assert run_here(monkeypatch, errors) == 0
    text = capfd.readouterr().out
    assert text.count("\n       why: ") == 1
    assert "memwatch run gives here: every process" in text.replace("\n", " ")


@pytest.mark.parametrize("euid", [0, 501])
def test_on_a_mac(monkeypatch, capfd, tmp_path, euid: int) -> None:
    """A mac, except for the system calls: no /proc and nothing else of Linux can be read."""
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(native, "backend", lambda: "darwin")
    monkeypatch.setattr(native, "build_target", lambda: "darwin-arm64")
    monkeypatch.setattr(native, "subreaper", refuse)
    monkeypatch.setattr(doctor, "read_facts", lambda: ELSEWHERE._replace(euid=euid))
    monkeypatch.setattr(doctor, "read_text", lambda path: read_text(missing))
    monkeypatch.setattr(cgroup, "read_text", lambda path: read_text(missing))
    monkeypatch.setattr(cgroup, "machine_memory", lambda: (1 << 34, None))
    monkeypatch.setattr(platform, "mac_ver", lambda: ("14.5", ("", "", ""), "arm64"))
    monkeypatch.setattr(native, "scan", list)
    assert run_here(monkeypatch, {KQUEUE: 0}) == 0
    text = capfd.readouterr().out
    assert " on macOS 14.5 (" in text
    assert "memwatch run gives here: nearly every process" in text
    assert run_here(monkeypatch, {KQUEUE: 0}, "--json") == 0
    found = json.loads(capfd.readouterr().out)
    SCHEMA.validate(found)
    assert [source["id"] for source in found["tiers"]] == ["sampling", "kqueue"]
    assert all(source["works"] for source in found["tiers"])
    assert found["memwatch"]["backend"] == "darwin"
    assert found["kernel"]["product"] == "macOS 14.5"
    assert found["memory"]["total_kib"] == 1 << 24
    assert found["memory"]["cgroup"] is None
    assert found["system"]["subreaper"] is False

    def fail() -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(native, "scan", fail)
    assert run_here(monkeypatch, {KQUEUE: 0}, "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["tiers"][0]["error"] == "EPERM"
    assert found["run"]["text"] == "nothing"


def refuse(enable: bool) -> bool:
    raise OSError(errno.ENOTSUP, "no such thing")


def test_the_checks_change_nothing() -> None:
    prctl = ctypes.CDLL(None).prctl
    get_subreaper, set_subreaper = 37, 36

    def flag() -> int:
        value = ctypes.c_int()
        assert prctl(get_subreaper, ctypes.byref(value)) == 0
        return value.value

    before, descriptors = flag(), os.listdir("/dev/fd")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for value in (0, 1):
            assert prctl(set_subreaper, value) == 0
            checkup = doctor.examine()
            assert checkup.system.subreaper
            assert flag() == value
    finally:
        prctl(set_subreaper, before)
    assert os.listdir("/dev/fd") == descriptors
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


# The command on this system -----------------------------------------------------------------------


@pytest.mark.both_users
def test_document_is_true_here(memwatch) -> None:
    result = memwatch.run("doctor", "--json")
    assert result.code == 0
    assert result.err == b""
    found = result.json
    SCHEMA.validate(found)
    assert found["user"]["euid"] == (65534 if memwatch.user.prefix else os.geteuid())
    if memwatch.user.prefix:
        assert found["user"]["capabilities"] == []
    assert found["kernel"]["release"] == platform.release()
    assert found["kernel"]["machine"] == platform.machine()
    assert found["tiers"][0]["id"] == "sampling"
    assert found["tiers"][0]["works"]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert found["system"]["open_files_hard"] == (None if hard == -1 else hard)
    assert found["memory"]["total_kib"] * 1024 == (
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )
    working = {source["id"] for source in found["tiers"] if source["works"]}
    assert found["run"]["exact_peaks"] == ("taskstats" in working)
    assert found["run"]["every_process"] == bool(working & {"connector", "perf", "taskstats"})


@pytest.mark.both_users
def test_text_on_a_pipe(memwatch) -> None:
    result = memwatch.run("doctor")
    assert result.code == 0
    assert result.err == b""
    text = result.out.decode()
    assert "\x1b" not in text
    assert text.startswith("memwatch ")
    assert "\n  yes  sampling (/proc)" in text
    assert "\nmemwatch run gives here: " in text
    assert ("uid 65534" in text) == bool(memwatch.user.prefix)


def test_bad_usage_is_one_line(memwatch) -> None:
    for words in (["doctor", "now"], ["doctor", "--xml"]):
        result = memwatch.run(*words)
        assert result.code == 1
        assert "memwatch doctor --help" in result.one_line()


def test_output_that_cannot_be_written(memwatch) -> None:
    for words in ([], ["--json"]):
        with open("/dev/full", "wb") as full:
            result = memwatch.start("doctor", *words, stdout=full).end()
        assert result.code == 1
        assert "cannot write to standard output" in result.one_line()


def test_help_lists_the_command(memwatch) -> None:
    text = memwatch.run("--help").out.decode()
    assert re.search(r"^  doctor +Show what memwatch can find out here", text, re.MULTILINE)


def shown_on_a_terminal(memwatch, env: dict[str, str], columns: int) -> str:
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
        watch = memwatch.start("doctor", stdout=slave, env={"TERM": "xterm"} | env)
        os.close(slave)
        shown = b""
        try:
            while text := os.read(master, 65536):
                shown += text
        except OSError:
            pass  # EIO: no process has the terminal open any more
        assert watch.end().code == 0
    finally:
        os.close(master)
    return shown.decode()


@pytest.mark.parametrize(
    ("env", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=str,
)
def test_colours(memwatch, env: dict[str, str], colored: bool) -> None:
    assert ("\x1b[" in shown_on_a_terminal(memwatch, env, 80)) == colored


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_window(memwatch, columns: int) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown_on_a_terminal(memwatch, {}, columns))
    found = shown.splitlines()
    assert len(found) > 15
    for line in found:
        assert len(line) <= columns or len(line.split()) <= 2, line


def test_in_a_pid_namespace(memwatch) -> None:
    enter = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no permission to make a pid namespace here")
    result = memwatch.popen([*enter, *memwatch.argv("doctor", "--json")]).end()
    assert result.code == 0
    found = result.json
    SCHEMA.validate(found)
    assert found["user"]["initial_pid_namespace"] is False
    for source in found["tiers"]:
        if source["id"] in ("connector", "taskstats"):
            assert not source["works"]
            assert "pid namespace" in source["reason"]
    text = memwatch.popen([*enter, *memwatch.argv("doctor")]).end().out.decode()
    assert "its own pid namespace" in text


def test_under_another_exit_hook(memwatch) -> None:
    if error := native.probe(HOOK):
        pytest.skip(f"the exit hook is not available here: {os.strerror(error)}")
    inner = memwatch.argv("doctor", "--json")
    result = memwatch.run("run", "--quiet", "--exact", "--sources", "none", "--", *inner)
    assert result.code == 0
    (hook,) = [source for source in result.json["tiers"] if source["id"] == "hook"]
    assert not hook["works"]
    assert hook["error"] == "EBUSY"
    assert "in place already" in hook["reason"]
