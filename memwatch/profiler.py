"""Runs a command and watches it: the launcher, the sampler and the job put together."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from threading import Lock

from memwatch import native
from memwatch.job import Job
from memwatch.launcher import Launcher
from memwatch.monitor import watch
from memwatch.profile import Clock, Overhead, Profile, Sampling, from_job

_running = Lock()


def run(
    command: Sequence[str],
    *,
    interval: float = 0.5,
    timeline: bool = False,
    env: Mapping[str, str] | None = None,
    stdout: int = -1,
    stderr: int = -1,
) -> Profile:
    """Runs `command` to its end and returns the profile of everything it started.

    `interval` is in seconds. `stdout` and `stderr` are descriptors for the
    command; -1 lets it have this process's own. With `timeline` the profile
    keeps every tick (24 bytes each).

    Called from the main thread, signals sent to this process meanwhile go on
    to the command. Orphans of the command become children of this process. So a
    child that this process itself starts meanwhile may be taken for one: it may
    be in the profile, but it is never waited for. For the same reason there is
    one run at a time: a second one raises RuntimeError.

    Raises OSError when the command cannot be started, and ValueError for an empty
    command or an interval that is none. An exception that strikes meanwhile
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
                timeline=timeline,
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
    timeline: bool = False,
    env: Mapping[str, str] | None = None,
    stdout: int = -1,
    stderr: int = -1,
    has_other_children: bool = True,
) -> Profile:
    """run(), for a caller that brings the launcher and goes on using it.

    Without `has_other_children` every child of this process is taken for the job's.
    """
    if not command:
        raise ValueError("the command is empty")
    if not 1e-6 <= interval <= 1e6:
        raise ValueError(f"the interval is {interval!r}: give seconds, from 1e-6 to 1e6")
    interval_ns = round(interval * 1e9)
    cpu_before = native.own_usage().cpu
    job = Job(timeline=timeline)
    sampler = native.Sampler(
        interval_ns,
        adopter_pid=os.getpid(),
        has_other_children=has_other_children,
        max_descriptors=launcher.spare_descriptors,
    )
    failure: Exception | None = None
    try:
        clock = Clock(time.time_ns(), native.now())
        start = native.now()
        launcher.spawn(command, env=env, stdout=stdout, stderr=stderr)
        # From here on the command runs, and nothing may keep its exit status from the caller.
        try:
            sampler.start(launcher.pid)
            failure = watch(
                sampler,
                job,
                other_fd=launcher.signal_fd,
                on_other=lambda: launcher.forward_signals({p.pid for p in job.live.values()}),
            )
        except (OSError, MemoryError) as error:
            failure = error
        except BaseException:
            launcher.kill()
            raise
        stats = sampler.stats()
    finally:
        sampler.close()
    status = job.root_status
    if status is None:
        status = launcher.wait_status()
    end = native.now()
    if stats.error:
        failure = OSError(stats.error, os.strerror(stats.error))
    usage = native.own_usage()
    return from_job(
        job,
        command=tuple(command),
        clock=clock,
        start=start,
        end=end,
        exit_status=status,
        sampling=Sampling(
            interval=interval_ns,
            achieved=job.ticks.achieved,
            ticks=job.ticks.count,
            late=job.ticks.late,
            skipped=job.ticks.skipped,
            unkept=stats.unkept,
            unreadable=stats.unreadable,
            scanning=stats.scanning,
            error=repr(failure) if failure else None,
        ),
        overhead=Overhead(usage.cpu - cpu_before, usage.rss_peak),
    )
