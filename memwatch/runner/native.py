"""The only importer of the C extension: buffers, decoding, exceptions from errno.

What each call means is written in csrc/api.h. Times are nanoseconds and sizes
are bytes, as there; a failure raises OSError.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from memwatch.model.observations import HAS_PARENT, HAS_START, HAS_WATERMARK, Batch
from memwatch.runner._native import ffi, lib

_RECORD = struct.Struct("=qQQQIIiiQ")
assert _RECORD.size == ffi.sizeof("mw_observation")

WAKE_BATCH = 1
WAKE_ENDED = 2
WAKE_OTHER = 4

_LONGEST_WAIT = (1 << 31) - 1
"""Milliseconds."""

_MOST_PIDS = 1 << 16
"""Pids that Sampler.signal() returns at most."""


def _check(result: int, subject: str | None = None) -> int:
    """Returns a result that is not negative; raises OSError about `subject` otherwise."""
    if result < 0:
        raise OSError(-result, os.strerror(-result), subject)
    return result


def now() -> int:
    """Returns nanoseconds since boot, suspend included: the clock of every observation."""
    return int(lib.mw_now())


def build_date() -> str:
    """Returns the date of the build, as "2025-11-20"."""
    return _text(lib.mw_build_date())


def build_target() -> str:
    """Returns the platform of the build, as "linux-x86_64"."""
    return _text(lib.mw_build_target())


def backend() -> str:
    """Returns the platform code in use: "linux", "darwin" (macOS), or "unsupported"."""
    return _text(lib.mw_backend())


def _text(value: Any) -> str:
    return str(ffi.string(value).decode())


class ProcessInfo(NamedTuple):
    """One process of the machine. None means that a value could not be read."""

    pid: int
    ppid: int | None
    start: int | None
    state: str
    name: str


def scan(proc_root: str = "/proc") -> list[ProcessInfo]:
    """Returns every process on the machine, in the order in which the system lists them."""
    capacity = 512
    count = ffi.new("size_t *")
    while True:
        rows = ffi.new("mw_process[]", capacity)
        result = lib.mw_scan(os.fsencode(proc_root), rows, capacity, count)
        if result != -errno.ENOBUFS:
            break
        capacity = count[0] + count[0] // 4
    _check(result, proc_root)
    return [
        ProcessInfo(
            row.pid,
            row.ppid if row.valid & HAS_PARENT else None,
            row.start if row.valid & HAS_START else None,
            row.state.decode("ascii", "replace"),
            ffi.string(row.name).decode("utf-8", "backslashreplace"),
        )
        for row in rows[0 : count[0]]
    ]


class GroupEntry:
    """The control group that `spawn` puts a command in before it executes anything."""

    def __init__(self, file: str) -> None:
        """`file` is the cgroup.procs of the group."""
        self.file = file
        self.error = 0
        """After `spawn`: the errno that says why the command is not in it, or 0."""


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int = -1,
    stderr: int = -1,
    blocked_signals: Iterable[int] = (),
    default_signals: Iterable[int] = (),
    nofile_soft: int = 0,
    hook: Hook | None = None,
    group: GroupEntry | None = None,
) -> int:
    """Starts a command and returns its pid once it runs. `stdout` and `stderr` are descriptors; -1
    stands for this process's own."""
    # The options only point to these two.
    group_file = _c_string(os.fsencode(group.file)) if group else ffi.NULL
    group_error = ffi.new("int32_t *")
    options = ffi.new(
        "mw_spawn_options *",
        {
            "blocked_signals": _signal_bits(blocked_signals),
            "default_signals": _signal_bits(default_signals),
            "nofile_soft": nofile_soft,
            "stdout_fd": stdout,
            "stderr_fd": stderr,
            "hook": hook.handle if hook else ffi.NULL,
            "group_file": group_file,
            "group_error": group_error,
        },
    )
    arguments = [_c_string(os.fsencode(word)) for word in argv]
    variables = [
        _c_string(os.fsencode(name) + b"=" + os.fsencode(value)) for name, value in env.items()
    ]
    pid = ffi.new("int32_t *")
    _check(
        lib.mw_spawn(
            options,
            ffi.new("char *[]", [*arguments, ffi.NULL]),
            ffi.new("char *[]", [*variables, ffi.NULL]),
            pid,
        ),
        argv[0],
    )
    if group:
        group.error = -group_error[0]
    return int(pid[0])


def _c_string(text: bytes) -> Any:
    if b"\0" in text:
        raise ValueError("embedded null byte")
    return ffi.new("char[]", text)


def _signal_bits(signals: Iterable[int]) -> int:
    return sum(1 << (number - 1) for number in set(signals))


def subreaper(enable: bool) -> bool:
    """Sets whether this process adopts the orphans below it; returns whether it did before."""
    previous = ffi.new("int *")
    _check(lib.mw_subreaper(enable, previous))
    return bool(previous[0])


class Signal(NamedTuple):
    """A signal that this process received."""

    number: int
    sender: int
    """Pid of the process that sent it; 0 when the kernel sent it, or the system does not report
    it."""
    from_kernel: bool
    """Whether the terminal or the kernel sent it, to a whole group, and not a process."""


class SignalQueue:
    """Signals that the caller has blocked. `fd` is readable while one waits."""

    def __init__(self, signals: Iterable[int]) -> None:
        self.fd = _check(lib.mw_signals_open(_signal_bits(signals)))

    def next(self) -> Signal | None:
        """Takes the next signal; None when no signal waits."""
        signal = ffi.new("mw_signal *")
        if not _check(lib.mw_signals_next(self.fd, signal)):
            return None
        return Signal(signal.number, signal.sender, bool(signal.from_kernel))

    def close(self) -> None:
        """Closes the descriptor; the signals stay blocked."""
        os.close(self.fd)


class OwnUsage(NamedTuple):
    """What this process has used so far."""

    cpu: int
    """CPU time in nanoseconds."""
    rss_peak: int | None
    """Highest RSS in bytes; None when it is unknown."""


def own_usage() -> OwnUsage:
    """Returns what this process has used so far."""
    usage = ffi.new("mw_usage *")
    _check(lib.mw_own_usage(usage))
    return OwnUsage(usage.cpu, usage.rss_peak if usage.valid & HAS_WATERMARK else None)


TMPFS_MOST = 8
"""File systems in memory that a sampler watches at most."""

PSS_OFF = 0
PSS_PEAKS = 1
PSS_ALWAYS = 2


def probe(source: int) -> int:
    """Tries a source: returns 0 when it works here, or the errno that says why not."""
    return -int(lib.mw_probe(source))


class Hook:
    """The exit hook of one command: pass it to `spawn` and to the sampler."""

    def __init__(self) -> None:
        made = ffi.new("mw_hook **")
        _check(lib.mw_hook_new(made))
        self.handle = ffi.gc(made[0], lib.mw_hook_free)

    def error(self) -> int:
        """Returns, after `spawn`, 0 when it is in place, or the errno that says why it is not."""
        return -int(lib.mw_hook_state(self.handle))

    def close(self) -> None:
        """Frees the hook. The sampler that used it has been closed before."""
        ffi.release(self.handle)


class SignalledProcesses(NamedTuple):
    """The processes that a signal has reached."""

    living: list[int]
    """Pids of the job's living processes: the first 65,536 where there are more."""
    ended: int
    """Orphans that had ended since the last time; 0 while the sampler runs, which reaps them."""


class SamplerStats(NamedTuple):
    """How the sampling went, for the report."""

    unkept: int
    """Processes read without a kept descriptor: the limit on open files was reached."""
    unreadable: int
    """Processes whose memory could not be read."""
    scanning: bool
    """Whether the whole machine is scanned each tick, because the kernel has no lists of
    children."""
    lost: int
    """Messages of event sources that were lost."""
    sources: int
    """The sources in use, combined with `|`."""
    connector_error: int
    """The errno that says why this source is not in use; 0 when it is, or was not wanted."""
    perf_error: int
    taskstats_error: int
    kqueue_error: int
    """The errno as for the others; also set when kqueue refused a single process."""
    error: int
    """The errno that ended the sampling early, or 0."""


class GroupLimits(NamedTuple):
    """The limits of the control groups that a process is in."""

    version: int
    """Of the hierarchy: 1 or 2."""
    limits: tuple[tuple[str, int], ...]
    """Folders, each with its limit in bytes."""


class Sampler:
    """A sampler of one job. `start` runs it in a thread; `tick` is for a caller with a clock of its
    own."""

    def __init__(
        self,
        interval: int,
        *,
        proc_root: str = "/proc",
        adopter_pid: int = 0,
        has_other_children: bool = True,
        max_descriptors: int = 1 << 20,
        batch: int = 1_000_000_000,
        burst: int = 0,
        sources: int = 0,
        pss: int = PSS_OFF,
        hook: Hook | None = None,
        total_limit: int = 0,
        process_limit: int = 0,
        pss_limit: int = 0,
        footprint_limit: int = 0,
        min_available: int = 0,
        groups: GroupLimits | None = None,
        tmpfs: Sequence[int] = (),
    ) -> None:
        root = ffi.new("char[]", os.fsencode(proc_root))
        paths, sizes = zip(*groups.limits, strict=True) if groups and groups.limits else ((), ())
        group_folders = [_c_string(os.fsencode(path)) for path in paths]
        group_limits = ffi.new("mw_group_limit[]", list(zip(group_folders, sizes, strict=True)))
        folders = ffi.new("int32_t[]", tmpfs)
        options = ffi.new(
            "mw_sampler_options *",
            {
                "proc_root": root,
                "interval": interval,
                "batch": batch,
                "adopter_pid": adopter_pid,
                "has_other_children": has_other_children,
                "max_descriptors": max_descriptors,
                "burst": burst,
                "sources": sources,
                "pss": pss,
                "hook": hook.handle if hook else ffi.NULL,
                "total_limit": total_limit,
                "process_limit": process_limit,
                "pss_limit": pss_limit,
                "tmpfs": folders,
                "tmpfs_count": len(tmpfs),
                "footprint_limit": footprint_limit,
                "min_available": min_available,
                "groups": group_limits,
                "group_count": len(group_folders),
                "group_version": groups.version if groups else 0,
            },
        )
        made = ffi.new("mw_sampler **")
        _check(lib.mw_sampler_new(options, made), proc_root)
        self._sampler = ffi.gc(made[0], lib.mw_sampler_free)
        self._count = ffi.new("size_t *")
        self._text_count = ffi.new("size_t *")
        self._grow(4096, 1 << 14)

    def _grow(self, records: int, text: int) -> None:
        self._records = ffi.new("mw_observation[]", records)
        self._text = ffi.new("char[]", text)

    def start(self, root_pid: int) -> None:
        """Starts the thread that samples the job of a process."""
        _check(lib.mw_sampler_start(self._sampler, root_pid))

    def tick(self, root_pid: int, time: int) -> None:
        """Makes one tick, without a thread."""
        _check(lib.mw_sampler_tick(self._sampler, root_pid, time))

    def wait(self, timeout: float | None = None, other_fd: int = -1) -> int:
        """Sleeps until there is a reason to go on. Returns the reasons, WAKE_* combined with `|`;
        0 after `timeout` seconds, or for `wake` alone."""
        milliseconds = -1 if timeout is None else min(round(timeout * 1000), _LONGEST_WAIT)
        return _check(lib.mw_sampler_wait(self._sampler, other_fd, milliseconds))

    def wake(self) -> None:
        """Makes `wait` return. From any thread."""
        lib.mw_sampler_wake(self._sampler)

    def read(self) -> Batch:
        """Returns everything observed since the last call."""
        while True:
            result = lib.mw_sampler_read(
                self._sampler,
                self._records,
                len(self._records),
                self._text,
                len(self._text),
                self._count,
                self._text_count,
            )
            count, text_count = self._count[0], self._text_count[0]
            if result != -errno.ENOBUFS:
                break
            self._grow(max(count * 2, len(self._records)), max(text_count * 2, len(self._text)))
        _check(result)
        size = count * _RECORD.size
        # Copied, because the buffer is used again.
        records = list(_RECORD.iter_unpack(ffi.buffer(self._records, size)[:]))
        return Batch(records, ffi.buffer(self._text, text_count)[:])

    def signal(self, number: int) -> SignalledProcesses:
        """Sends a signal to every living process of the job; with 0 it only lists them."""
        pids = ffi.new("int32_t[]", _MOST_PIDS)
        result = lib.mw_sampler_signal(self._sampler, number, pids, _MOST_PIDS, self._count)
        ended = _check(result)
        return SignalledProcesses(list(pids[0 : min(self._count[0], _MOST_PIDS)]), ended)

    def resident(self, pids: Sequence[int]) -> int:
        """Returns the sum of the resident sizes of processes; those that have ended hold nothing.
        With a limit on the footprint, files in memory that they write are added."""
        total = ffi.new("uint64_t *")
        lib.mw_sampler_resident(self._sampler, ffi.new("int32_t[]", pids), len(pids), total)
        return int(total[0])

    def stats(self) -> SamplerStats:
        """Returns how the sampling has gone so far."""
        stats = ffi.new("mw_sampler_stats *")
        lib.mw_sampler_stats_read(self._sampler, stats)
        return SamplerStats(
            stats.unkept,
            stats.unreadable,
            bool(stats.scanning),
            stats.lost,
            stats.sources,
            -stats.connector_error,
            -stats.perf_error,
            -stats.taskstats_error,
            -stats.kqueue_error,
            -stats.error,
        )

    def close(self) -> None:
        """Stops the thread and frees the sampler."""
        ffi.release(self._sampler)
