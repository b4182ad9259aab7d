"""Runs a command and watches it: the launcher, the sampler and the job put together."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from memwatch import cgroup, native, tiers
from memwatch.enforcer import Enforcer
from memwatch.groups import COMMAND
from memwatch.job import Job
from memwatch.launcher import Launcher
from memwatch.limits import NO_LIMITS, Guard, Limits
from memwatch.monitor import Accounts, watch
from memwatch.observations import Batch, Observer
from memwatch.profile import Beginning, Clock, Ending, Overhead, Profile, Source, from_job

if TYPE_CHECKING:
    from memwatch.recording import Recorder

_running = Lock()

SOURCES = {
    tier.id: tier.source
    for tier in tiers.of_backend(native.backend())
    if tier.by_itself and tier.source != tiers.SAMPLING
}
"""Ways of this platform to learn what samples cannot tell, that leave the job alone. All are used
that work."""

PSS_MODES = {"off": native.PSS_OFF, "peaks": native.PSS_PEAKS, "always": native.PSS_ALWAYS}
"""When the job's memory is summed with shared pages counted once: never; when the total is at a
new high, for 2 % of the time; all the time."""


SEEN_EVERY = 1_000_000_000
"""Nanoseconds between two looks at what was observed, unless there is much of it."""

RECORDED_EVERY = 800_000_000
"""The same while it is recorded. As much, and the time it takes to write, may be missing at the end
of a recording that is cut short by a kill: less than a second in all."""

SHOWN_EVERY = 100_000_000
"""The same while somebody looks on."""


def run(
    command: Sequence[str],
    *,
    interval: float = 0.5,
    exact: bool = False,
    burst: float = 0.0,
    pss: str = "peaks",
    sources: Collection[str] = tuple(SOURCES),
    timeline: bool = False,
    group_by: str = COMMAND,
    env: Mapping[str, str] | None = None,
    stdout: int = -1,
    stderr: int = -1,
) -> Profile:
    """Runs `command` to its end and returns the profile of everything it started.

    `interval` is in seconds; for the first `burst` seconds it is a millisecond.
    `exact` stops each process for a moment before it exits or executes, to read
    its peak. `pss` is one of PSS_MODES, `sources` some of SOURCES. `stdout` and
    `stderr` are descriptors for the command; -1 lets it have this process's own.
    With `timeline` the profile keeps every tick (24 bytes each). `group_by` is what
    its groups are made by, as `--group-by` takes it.

    Called from the main thread, signals sent to this process meanwhile go on
    to the command. Orphans of the command become children of this process. So a
    child that this process itself starts meanwhile may be taken for one: it may
    be in the profile, but it is never waited for. For the same reason there is
    one run at a time: a second one raises RuntimeError.

    Raises OSError when the command cannot be started, and ValueError for an empty
    command, an interval or a `group_by` that is none. An exception that strikes meanwhile
    (KeyboardInterrupt) kills the command, as in subprocess.run().
    """
    if not _running.acquire(blocking=False):
        raise RuntimeError("another memwatch.run() is under way in this process")
    try:
        with Launcher() as launcher:
            return watch_command(
                launcher,
                command,
                interval=interval,
                exact=exact,
                burst=burst,
                pss=pss,
                sources=sources,
                timeline=timeline,
                group_by=group_by,
                env=env,
                stdout=stdout,
                stderr=stderr,
            )
    finally:
        _running.release()


def watch_command(
    launcher: Launcher,
    command: Sequence[str],
    *,
    interval: float,
    exact: bool = False,
    burst: float = 0.0,
    pss: str = "peaks",
    sources: Collection[str] = tuple(SOURCES),
    timeline: bool = False,
    group_by: str | None = None,
    recorder: Recorder | None = None,
    on_look: Callable[[Job, Batch], None] | None = None,
    observers: Sequence[Observer] = (),
    limits: Limits = NO_LIMITS,
    kill_after: float | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int = -1,
    stderr: int = -1,
    has_other_children: bool = True,
) -> Profile:
    """run(), for a caller that brings the launcher and goes on using it.

    Without `has_other_children` every child of this process is taken for the job's.
    `on_look` is called some times a second with the job as it is, and with what
    was observed since the last call; each of `observers` with every batch. When one
    of `limits` is exceeded the job is ended, by SIGTERM and after `kill_after` seconds
    by SIGKILL; unless that is None: then the profile tells of it only. That needs
    `has_other_children` to be false.
    """
    if not command:
        raise ValueError("the command is empty")
    if not 1e-6 <= interval <= 1e6:
        raise ValueError(f"the interval is {interval!r}: give seconds, from 1e-6 to 1e6")
    if native.backend() == "unsupported":
        system = os.uname().sysname
        raise OSError(errno.ENOTSUP, f"memwatch needs Linux or macOS; it does not support {system}")
    interval_ns = round(interval * 1e9)
    cpu_before = native.own_usage().cpu
    job = Job(timeline=timeline, group_by=group_by or COMMAND)
    hook = _Hook(exact)
    sampler = native.Sampler(
        interval_ns,
        batch=SHOWN_EVERY if on_look else RECORDED_EVERY if recorder else SEEN_EVERY,
        burst=round(burst * 1e9),
        sources=sum(SOURCES[name] for name in sources),
        pss=PSS_MODES[pss],
        hook=hook.hook,
        adopter_pid=os.getpid(),
        has_other_children=has_other_children,
        max_descriptors=launcher.spare_descriptors,
        total_limit=limits.total_rss or 0,
        process_limit=limits.process_rss or 0,
        pss_limit=limits.total_pss or 0,
    )
    enforcer = Enforcer(limits, kill_after, sampler.signal)

    takers = [*([recorder.add] if recorder else []), *observers]

    def on_each(batch: Batch) -> None:
        for take in takers:
            take(batch)
        if on_look:
            on_look(job, batch)

    limit = cgroup.Watch()
    try:
        clock = Clock(time.time_ns(), native.now())
        beginning = Beginning(
            tuple(command), clock, native.now(), interval_ns, backend=native.backend()
        )
        if recorder:
            recorder.begin(beginning)
        launcher.spawn(command, env=env, stdout=stdout, stderr=stderr, hook=hook.hook)
        hook.look_at(launcher.pid)
        failure = _follow(
            launcher,
            sampler,
            Guard(job, limits, enforcer.on_breach) if limits.any else job,
            on_other=lambda: launcher.forward_signals({p.pid for p in job.live.values()}),
            on_batch=on_each,
            on_wake=enforcer.look,
            timeout=lambda: enforcer.timeout or (1.0 if on_look else None),
        )
        end = native.now()
        outcome = enforcer.finish(launcher.take_signals)
        stats = sampler.stats()
    finally:
        sampler.close()
        hook.close()
    status = job.root_status
    if status is None:
        status = launcher.wait_status()
        end = native.now()
    if stats.error:
        failure = OSError(stats.error, os.strerror(stats.error))
    usage = native.own_usage()
    used, advice = _sources(stats, sources, hook)
    ending = Ending(
        end,
        status,
        Overhead(usage.cpu - cpu_before, usage.rss_peak),
        limit.end(),
        sources=used,
        lost=stats.lost,
        held_back=hook.held_back(job.executables),
        advice=advice,
        unkept=stats.unkept,
        unreadable=stats.unreadable,
        scanning=stats.scanning,
        error=repr(failure) if failure else None,
        limits=outcome,
    )
    if recorder:
        recorder.end(ending)
    return from_job(job, beginning, ending)


def _follow(
    launcher: Launcher, sampler: native.Sampler, accounts: Accounts, **watching: Any
) -> Exception | None:
    """From here on the command runs, and nothing may keep its exit status from the caller: what
    goes wrong is returned."""
    try:
        sampler.start(launcher.pid)
        return watch(sampler, accounts, other_fd=launcher.signal_fd, **watching)
    except (OSError, MemoryError) as error:
        return error
    except BaseException:
        launcher.kill()
        raise


class _Hook:
    """The exit hook, if it is wanted and can be had."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.hook: native.Hook | None = None
        self.error = 0
        self.no_new_privileges = False
        if not wanted:
            return
        try:
            self.hook = native.Hook()
        except OSError as error:
            self.error = error.errno or 0

    def look_at(self, pid: int) -> None:
        """After the command was started: whether it is in place, and at what price."""
        if not self.hook:
            return
        self.error = self.hook.error()
        if self.error:
            return
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
                self.no_new_privileges = any(
                    line.split() == ["NoNewPrivs:", "1"] for line in status
                )
        except OSError:  # it has ended already
            pass

    def held_back(self, executables: Collection[str]) -> tuple[str, ...]:
        """Those of them that would have run as another user without the hook."""
        if not self.no_new_privileges:
            return ()

        def changes_user(path: str) -> bool:
            try:
                return bool(os.stat(path).st_mode & stat.S_ISUID)
            except OSError:
                return False

        return tuple(sorted(filter(changes_user, executables)))

    def close(self) -> None:
        if self.hook:
            self.hook.close()


def _sources(
    stats: native.SamplerStats, wanted: Collection[str], hook: _Hook
) -> tuple[tuple[Source, ...], str | None]:
    """What became of each source, and what would make the peaks exact."""
    errors = {
        tiers.CONNECTOR: stats.connector_error,
        tiers.PERF: stats.perf_error,
        tiers.TASKSTATS: stats.taskstats_error,
        tiers.KQUEUE: stats.kqueue_error,
    }
    errors = {source: errors[source] for source in map(SOURCES.__getitem__, wanted)}
    if stats.sources & tiers.CONNECTOR:
        errors.pop(tiers.PERF, None)
    if hook.wanted:
        errors[tiers.HOOK] = hook.error
    if not any(errors.values()) and errors.get(tiers.TASKSTATS) == 0:
        return tuple(Source(tiers.IDS[source], True, None) for source in errors), None
    from memwatch.facts import read_facts

    facts = read_facts()
    used = []
    for source, error in errors.items():
        refusal = tiers.why_not(source, error, facts)
        used.append(Source(tiers.IDS[source], not error, refusal.reason if refusal else None))
    if hook.wanted and not hook.error:
        return tuple(used), None
    if not hook.wanted:
        errors[tiers.HOOK] = native.probe(tiers.HOOK)
    return tuple(used), tiers.exact_peaks(errors, facts)
