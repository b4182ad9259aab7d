"""The sources of facts about processes: what each gives, why it fails, and what to do then.

This is knowledge only. Whether a source works here is found out by trying it (native.probe), which
gives 0 or an errno; with the facts of runner/system_facts.py that number becomes a reason.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import NamedTuple

# mw_source in csrc/api.h.
CONNECTOR = 1
PERF = 2
TASKSTATS = 4
HOOK = 8
KQUEUE = 16

SAMPLING = 0

# Platforms, by the name of their code (native.backend()).
LINUX = "linux"
DARWIN = "darwin"


class Facts(NamedTuple):
    """What decides on this system whether a source works. None means unknown."""

    euid: int
    capabilities: frozenset[str] | None
    """Names of the CAPABILITIES in effect."""
    kernel: tuple[int, int] | None
    """(6, 18) for Linux 6.18.44; None also for another system."""
    perf_event_paranoid: int | None
    initial_pid_namespace: bool | None
    """Whether this is the machine's own pid namespace; False in most containers."""
    initial_user_namespace: bool | None
    """Whether this is the machine's own user namespace; False where root is root of a container
    only."""


# Capabilities that matter here, and their numbers: capabilities(7).
CAPABILITIES = {
    "NET_ADMIN": 12,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_RESOURCE": 24,
    "PERFMON": 38,
}


class Source(NamedTuple):
    """A way to learn about processes and their peaks."""

    number: int
    """Its value in mw_source of csrc/api.h; SAMPLING for samples."""
    id: str
    """Its name in files and options."""
    name: str
    """Its name for people."""
    gives: str
    by_itself: bool
    """Whether `memwatch run` uses it automatically where it works."""


LINUX_SOURCES = (
    Source(
        SAMPLING,
        "sampling",
        "sampling (/proc)",
        "what runs at each tick, its peak so far",
        True,
    ),
    Source(
        CONNECTOR,
        "connector",
        "process events (proc connector)",
        "each start, exec and end of a process",
        True,
    ),
    Source(
        PERF,
        "perf",
        "process events (perf)",
        "each start, exec and end of a process",
        True,
    ),
    Source(
        TASKSTATS,
        "taskstats",
        "kernel exit records (taskstats)",
        "exact peak, CPU, I/O of every process",
        True,
    ),
    Source(
        HOOK,
        "hook",
        "exit hook (seccomp)",
        "exact peak of every process",
        False,
    ),
)
DARWIN_SOURCES = (
    Source(
        SAMPLING,
        "sampling",
        "sampling (libproc)",
        "what runs at each tick, its RSS then, its peak footprint so far",
        True,
    ),
    Source(
        KQUEUE,
        "kqueue",
        "process events (kqueue)",
        "each fork, exec and end: a sample at once, its exact peak footprint",
        True,
    ),
)

COMPLETE_SOURCES = frozenset({"connector", "perf", "taskstats"})
"""Ids of the sources that report every process, however short. Processes that are killed do not
pass the exit hook; kqueue reports that a process has forked, not the child's pid."""


IDS = {source.number: source.id for source in (*LINUX_SOURCES, *DARWIN_SOURCES)}


def of_backend(backend: str) -> tuple[Source, ...]:
    """Returns the sources of a platform."""
    return DARWIN_SOURCES if backend == DARWIN else LINUX_SOURCES


class Refusal(NamedTuple):
    """Why a source does not work here."""

    reason: str
    remedy: str | None
    """What would make it work; None when nothing would."""


_AS_ROOT = "run as root"
_WITH_NET_ADMIN = "run as root, or with CAP_NET_ADMIN"
_ON_THE_HOST = "run memwatch on the host instead"


def why_not(source: int, error: int, facts: Facts) -> Refusal | None:
    """Returns what an errno of a probe means; None for 0."""
    if error == 0:
        return None
    if error == errno.ENOTSUP and not facts.kernel:
        return Refusal("not available on this system", None)
    known = {
        SAMPLING: _sampling,
        CONNECTOR: _connector,
        PERF: _perf,
        TASKSTATS: _taskstats,
        HOOK: _hook,
        KQUEUE: _kqueue,
    }[source]
    # An errno without an entry here still has a name.
    return known(error, facts) or Refusal(f"it failed: {os.strerror(error)}", None)


def _sampling(error: int, _facts: Facts) -> Refusal | None:
    if error == errno.ENOENT:
        return Refusal("/proc is not mounted", "mount -t proc proc /proc (as root)")
    return None


def _connector(error: int, facts: Facts) -> Refusal | None:
    if refusal := _namespaces(error, facts):
        return refusal
    if error in (errno.EPERM, errno.EACCES):
        if facts.kernel and facts.kernel >= (6, 6):
            return Refusal("forbidden, by a security module most likely", _AS_ROOT)
        return Refusal("needs CAP_NET_ADMIN before Linux 6.6", _WITH_NET_ADMIN)
    if error in (errno.ENOTSUP, errno.EPROTONOSUPPORT):
        return _not_built_in("CONFIG_PROC_EVENTS")
    return None


def _perf(error: int, facts: Facts) -> Refusal | None:
    if error in (errno.EACCES, errno.EPERM):
        level = facts.perf_event_paranoid
        if level is not None and level > 2 and not _has(facts, "PERFMON", "SYS_ADMIN"):
            return Refusal(
                f"kernel.perf_event_paranoid is {level}: for root only",
                "sysctl kernel.perf_event_paranoid=2 (as root), or run with CAP_PERFMON",
            )
        if facts.initial_pid_namespace is False:
            return Refusal(
                "forbidden, by the container's seccomp profile most likely",
                "give the container CAP_PERFMON (docker run --cap-add PERFMON)",
            )
        return Refusal("forbidden, by a security module or kernel.perf_event_mlock_kb", _AS_ROOT)
    if error in (errno.EMFILE, errno.ENFILE):
        return Refusal(
            "it takes a descriptor for each CPU, and the limit on open files is too low",
            "ulimit -n 4096",
        )
    if error in (errno.ENOTSUP, errno.ENOSYS, errno.ENOENT, errno.ENODEV):
        return _not_built_in("CONFIG_PERF_EVENTS")
    return None


def _taskstats(error: int, facts: Facts) -> Refusal | None:
    if refusal := _namespaces(error, facts):
        return refusal
    if error in (errno.EPERM, errno.EACCES):
        return Refusal("needs CAP_NET_ADMIN", _WITH_NET_ADMIN)
    if error in (errno.ENOTSUP, errno.ENOENT):
        return _not_built_in("CONFIG_TASKSTATS")
    return None


def _hook(error: int, facts: Facts) -> Refusal | None:
    if error == errno.EBUSY:
        return Refusal(
            "an exit hook is in place already: of a memwatch run --exact around this, "
            "or of the container",
            "run it outside of that",
        )
    if error in (errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
        if facts.kernel and facts.kernel < (5, 9):
            return Refusal("needs Linux 5.9", None)
        return _not_built_in("CONFIG_SECCOMP_FILTER")
    if error in (errno.EPERM, errno.EACCES):
        return Refusal(
            "seccomp is forbidden, by a container's seccomp profile most likely",
            "allow the seccomp system call in that profile",
        )
    return None


def _kqueue(error: int, _facts: Facts) -> Refusal | None:
    if error in (errno.EMFILE, errno.ENFILE):
        return Refusal(
            "it takes a descriptor, and the limit on open files is too low", "ulimit -n 4096"
        )
    return None


def _namespaces(error: int, facts: Facts) -> Refusal | None:
    """Returns the refusal if this process is not in the machine's own namespaces.

    The kernel sends netlink events about processes to those only, whatever the privilege. The
    usual errno for that is ENXIO, but in a container it may be any other.
    """
    if facts.initial_pid_namespace is False:
        return Refusal(
            "the kernel does not report it in a pid namespace (a container)", _ON_THE_HOST
        )
    if facts.initial_user_namespace is False:
        return Refusal("the kernel does not report it in a user namespace", _ON_THE_HOST)
    if error in (errno.ENXIO, errno.ECONNREFUSED):
        return Refusal(
            "the kernel does not report it in a network namespace",
            "use the host's network (docker run --network=host)",
        )
    return None


def _not_built_in(option: str) -> Refusal:
    return Refusal(f"the kernel was built without it ({option})", None)


def _has(facts: Facts, *capabilities: str) -> bool:
    return facts.capabilities is not None and not facts.capabilities.isdisjoint(capabilities)


def caveat(source: int, facts: Facts) -> str | None:
    """Returns the drawback of a source that works; None when it has none."""
    if source == HOOK and not _has(facts, "SYS_ADMIN"):
        # It takes no_new_privs then: seccomp(2).
        return "sudo and other set-user-ID programs fail in the command without CAP_SYS_ADMIN"
    return None


def instead_of(source: int, errors: Mapping[int, int]) -> str | None:
    """Returns the name of a source that works and gives the same or more, so that this one is not
    needed."""
    for others in ((CONNECTOR, PERF), (PERF, CONNECTOR), (HOOK, TASKSTATS)):
        if others[0] == source and errors.get(others[1]) == 0:
            return next(source.name for source in LINUX_SOURCES if source.number == others[1])
    return None


class Outlook(NamedTuple):
    """What `memwatch run` finds out with the sources that work."""

    every_process: bool
    exact_peaks: bool
    text: str
    """Both in words."""
    more: str | None
    """What to do to get more; None when there is no more, or nothing would help."""


def outlook(errors: Mapping[int, int], facts: Facts) -> Outlook:
    """Returns the outlook from the errno of each probe; a source that is not in `errors` was not
    tried."""

    def works(source: int) -> bool:
        return errors.get(source) == 0

    if errors.get(SAMPLING):
        refusal = why_not(SAMPLING, errors[SAMPLING], facts)
        return Outlook(False, False, "nothing", refusal.remedy if refusal else None)
    if KQUEUE in errors:
        return _outlook_on_darwin(errors, facts)
    every, exact = works(CONNECTOR) or works(PERF), works(TASKSTATS)
    if exact:
        text = "every process, exact peaks"
    elif every:
        text = "every process; peaks are lower bounds"
    else:
        text = "processes that live longer than the interval; peaks are lower bounds"
    return Outlook(every or exact, exact, text, None if exact else exact_peaks(errors, facts))


def _outlook_on_darwin(errors: Mapping[int, int], facts: Facts) -> Outlook:
    """Returns the outlook on macOS, which keeps no peak RSS and does not report the pid of a
    forked process."""
    refusal = why_not(KQUEUE, errors[KQUEUE], facts)
    if refusal:
        return Outlook(
            False,
            False,
            "processes that live longer than the interval; peaks are lower bounds",
            refusal.remedy,
        )
    text = (
        "nearly every process; peak RSS is a lower bound, peak footprint exact where it can be "
        "read in time"
    )
    return Outlook(False, False, text, None)


def exact_peaks(errors: Mapping[int, int], facts: Facts) -> str | None:
    """Returns what to do for exact peaks where there are no exit records; None when nothing would
    help."""
    if errors.get(HOOK) == 0:
        return "memwatch run --exact"
    for source in (TASKSTATS, HOOK):
        refusal = why_not(source, errors.get(source, 0), facts)
        if refusal and refusal.remedy:
            return refusal.remedy
    return None
