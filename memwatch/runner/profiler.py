"""Runs a command and profiles it: connects the launcher, the sampler and the job."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from memwatch.model.groups import COMMAND
from memwatch.model.job import Job
from memwatch.model.limits import LONGEST_INTERVAL, NO_LIMITS, LimitChecker, Limits
from memwatch.model.observations import Batch, Observer
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, Profile, from_job
from memwatch.runner import native, tmpfs
from memwatch.runner.cgroup import LimitWatch
from memwatch.runner.cgroup import limits as cgroup_limits
from memwatch.runner.enforcer import Enforcer
from memwatch.runner.event_sources import SOURCES, outcomes
from memwatch.runner.exit_hook import ExitHook
from memwatch.runner.launcher import Launcher
from memwatch.runner.loop import follow
from memwatch.units import UnitMissing, parse_interval, printable

if TYPE_CHECKING:
    from memwatch.model.account_watch import AccountWatch
    from memwatch.model.cgroup_account import CgroupAccount
    from memwatch.runner.job_cgroup import JobCgroup

_running = Lock()

PSS_MODES = {"off": native.PSS_OFF, "peaks": native.PSS_PEAKS, "always": native.PSS_ALWAYS}
"""When the job's memory is summed with shared pages counted once: never; near the highest total,
for at most 2 % of the time (5 % of less than a second); all the time."""

READ_EVERY = 1_000_000_000
"""Nanoseconds between two reads of the observations, unless many of them wait."""

RECORDED_EVERY = 800_000_000
"""Nanoseconds between two reads while they are recorded. A kill may cut off so much, plus the time
for writing, from the end of a recording: less than a second in all."""

SHOWN_EVERY = 100_000_000
"""Nanoseconds between two reads while progress is shown."""


class RunRecorder(Protocol):
    """Receives every observation, between a beginning and an ending."""

    def begin(self, beginning: Beginning) -> None:
        """Runs before the command starts."""

    def add(self, batch: Batch) -> None:
        """Runs for each batch."""

    def end(self, ending: Ending) -> None:
        """Runs when the job is over."""


class RunOptions(NamedTuple):
    """The options of one run, to be given by name. Times are seconds, sizes are bytes.

    A named tuple, since a dataclass of so many fields would take a millisecond of each start.
    """

    interval: float = 0.5
    """With limits, no more than LONGEST_INTERVAL is used."""
    exact: bool = False
    """Stop each process for a moment before it exits or executes, to read its peak."""
    burst: float = 0.0
    """How long the interval is a millisecond at the start."""
    pss: str = "peaks"
    """A key of PSS_MODES."""
    sources: tuple[str, ...] = tuple(SOURCES)
    """Keys of SOURCES."""
    timeline: bool = False
    """Keep every tick in the profile (56 bytes each)."""
    group_by: str = COMMAND
    """As `--group-by` takes it."""
    cgroup: bool = False
    """Run the command in a control group of its own, where one may be made."""
    limits: Limits = NO_LIMITS
    kill_after: float | None = None
    """Time between SIGTERM and SIGKILL when a limit is exceeded; None only reports it. A number
    requires that `has_other_children` is false."""
    env: Mapping[str, str] | None = None
    """The command's environment; None for this process's own."""
    stdout: int = -1
    """Descriptor for the command; -1 for this process's own."""
    stderr: int = -1
    has_other_children: bool = True
    """Whether this process may have children that do not belong to the job."""


def run(
    command: Sequence[str],
    *,
    interval: float | str = 0.5,
    exact: bool = False,
    burst: float | str = 0.0,
    pss: str = "peaks",
    sources: Collection[str] = tuple(SOURCES),
    timeline: bool = False,
    group_by: str = COMMAND,
    cgroup: bool = False,
    env: Mapping[str, str] | None = None,
    stdout: int = -1,
    stderr: int = -1,
) -> Profile:
    """Runs `command` to its end and returns the profile of everything it started.

    `interval` and `burst` are text as the command line takes it ("10ms", "2s"), or a number of
    seconds below 1. A number from 1 on is refused, because on the command line it would be
    milliseconds. The other arguments are fields of RunOptions.

    Signals sent to this process while it runs are
    forwarded to the command, if this is called from the main thread. Orphans of the command become
    children of this process. So a child that this process itself starts in the meantime may be
    taken for one of the job's: it may be in the profile, but it is never waited for. For the same
    reason there is one run at a time: a second one raises RuntimeError.

    Raises OSError when the command cannot be started, and ValueError for an empty command or a bad
    interval, burst or `group_by`. An exception raised in the meantime (KeyboardInterrupt) kills the
    command, as in subprocess.run().
    """
    options = RunOptions(
        interval=_seconds("interval", interval),
        exact=exact,
        burst=_seconds("burst", burst),
        pss=pss,
        sources=tuple(sources),
        timeline=timeline,
        group_by=group_by,
        cgroup=cgroup,
        env=env,
        stdout=stdout,
        stderr=stderr,
    )
    if not _running.acquire(blocking=False):
        raise RuntimeError("another memwatch.run() is under way in this process")
    try:
        with Launcher() as launcher:
            return profile_command(launcher, command, options)
    finally:
        _running.release()


def _seconds(name: str, value: float | str) -> float:
    """Returns the seconds of an argument of run(). Raises ValueError."""
    if not isinstance(value, str):
        if 1 <= value < math.inf:
            raise ValueError(
                f"the {name} is {value!r}: a number is seconds and must be below 1; write "
                f"'{value}ms' or '{value}s'"
            )
        return value
    try:
        return parse_interval(value)
    except UnitMissing as missing:
        raise ValueError(f"the {name} {value!r} has no unit: write {missing}") from None
    except ValueError:
        raise ValueError(f"the {name} {value!r} is no time: write '10ms' or '1s'") from None


def profile_command(
    launcher: Launcher,
    command: Sequence[str],
    options: RunOptions,
    *,
    recorder: RunRecorder | None = None,
    observers: Sequence[Observer] = (),
    on_progress: Callable[[Job, Batch], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Profile:
    """Does what run() does, with the caller's launcher, which can be used again afterwards.

    `recorder` and each of `observers` receive every batch. `on_progress` is called several times a
    second with the job and the observations since the last call. `warn` is called with a line when
    something that was asked for is not possible, once the command runs.
    """
    run = Run(
        launcher,
        command,
        options,
        recorder=recorder,
        observers=observers,
        on_progress=on_progress,
        warn=warn,
    )
    run.open()
    try:
        run.start()
        run.follow()
    finally:
        run.close()
    return from_job(run.job, run.beginning, run.ending())


class Run:
    """One run of a command. Call open, start, follow, close and ending once each, in this order."""

    beginning: Beginning
    """Set by start()."""

    def __init__(
        self,
        launcher: Launcher,
        command: Sequence[str],
        options: RunOptions,
        *,
        recorder: RunRecorder | None = None,
        observers: Sequence[Observer] = (),
        on_progress: Callable[[Job, Batch], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        if not command:
            raise ValueError("the command is empty")
        if not 1e-6 <= options.interval <= 1e6:
            raise ValueError(
                f"the interval is {options.interval!r} seconds: write '0.001ms' to '1000000s'"
            )
        if not 0 <= options.burst <= 1e6:
            raise ValueError(f"the burst is {options.burst!r} seconds: write '0s' to '1000000s'")
        asked = round(options.interval * 1e9)
        self._interval = min(asked, LONGEST_INTERVAL) if options.limits.any else asked
        self._requested = asked if asked != self._interval else None
        self._directory = _working_directory()
        self.job = Job(
            timeline=options.timeline, group_by=options.group_by, directory=self._directory
        )
        self._launcher = launcher
        self._command = command
        self._options = options
        self._recorder = recorder
        self._observers = [*([recorder.add] if recorder else []), *observers]
        self._on_progress = on_progress
        self._warn = warn
        self._failure: Exception | None = None
        self._cgroup: JobCgroup | None = None
        self._watch: AccountWatch | None = None
        self._account: CgroupAccount | None = None

    def open(self) -> None:
        """Creates everything that can fail before the command runs. Raises OSError."""
        if native.backend() == "unsupported":
            name = os.uname().sysname
            raise OSError(
                errno.ENOTSUP, f"memwatch needs Linux or macOS; it does not support {name}"
            )
        options = self._options
        limits = options.limits
        self._cpu_before = native.own_usage().cpu
        self._tmpfs = tmpfs.open_all()
        self._hook = ExitHook(options.exact)
        self._sampler = native.Sampler(
            self._interval,
            batch=self._read_every(),
            burst=round(options.burst * 1e9),
            sources=sum(SOURCES[name] for name in options.sources),
            pss=PSS_MODES[options.pss],
            hook=self._hook.handle,
            adopter_pid=os.getpid(),
            has_other_children=options.has_other_children,
            max_descriptors=self._launcher.spare_descriptors,
            total_limit=limits.total_rss or 0,
            process_limit=limits.process_rss or 0,
            pss_limit=limits.total_pss or 0,
            footprint_limit=limits.total_footprint or 0,
            min_available=limits.min_available or 0,
            groups=cgroup_limits() if limits.min_available else None,
            tmpfs=self._tmpfs,
        )
        self._enforcer = Enforcer(limits, options.kill_after, self._sampler, self.job.live_programs)
        self._checker = LimitChecker(
            self.job, limits, self._enforcer.on_breach, self._enforcer.on_growth
        )
        self._memory_limit = LimitWatch()
        if options.cgroup:
            from memwatch.runner.job_cgroup import JobCgroup

            if limits.total_footprint:
                from memwatch.model.account_watch import AccountWatch

                self._watch = AccountWatch(limits.total_footprint, self._sampler.wake)
            self._cgroup = JobCgroup(watch=self._watch)
        self._apply = self._checker.apply if limits.any else self.job.apply

    def _read_every(self) -> int:
        if self._on_progress:
            return SHOWN_EVERY
        return RECORDED_EVERY if self._recorder else READ_EVERY

    def start(self) -> None:
        """Starts the command. Raises OSError when it cannot be started."""
        self.beginning = Beginning(
            tuple(self._command),
            Clock(time.time_ns(), native.now()),
            native.now(),
            self._interval,
            backend=native.backend(),
            requested_interval=self._requested,
            directory=self._directory,
        )
        if self._recorder:
            self._recorder.begin(self.beginning)
        self._launcher.spawn(
            self._command,
            env=self._options.env,
            stdout=self._options.stdout,
            stderr=self._options.stderr,
            hook=self._hook.handle,
            group=self._cgroup.entry if self._cgroup else None,
        )
        self._hook.check(self._launcher.pid)
        if self._cgroup:
            self._cgroup.check()
            if self._warn and (refusal := self._cgroup.refusal):
                why = "; ".join(filter(None, refusal))
                self._warn(f"--cgroup is not possible: {printable(why)}")

    def follow(self) -> None:
        """Follows the job until the command has ended, and ends its processes if a limit asks for
        it.

        No failure from here on may keep the command's exit status from the caller.
        """
        try:
            self._sampler.start(self._launcher.pid)
            self._failure = follow(self._sampler, self)
        except (OSError, MemoryError) as error:
            self._failure = error
        except BaseException:
            self._launcher.kill()
            raise
        self._end = native.now()
        self._stats = self._sampler.stats()
        self._status = self.job.root_status
        if self._status is None:  # the sampling ended before the command
            self._status = self._launcher.wait_status()
            self._end = native.now()
        if self._cgroup:
            self._cgroup.stop()
        is_complete = not (self._failure or self._stats.error)
        self._limit_outcome = self._enforcer.finish(
            self._launcher.discard_signals, self._checker.inconclusive(complete=is_complete)
        )
        self._account = self._cgroup.end() if self._cgroup else None

    def apply(self, batch: Batch) -> None:
        """Applies a batch of observations (loop.Follower)."""
        self._apply(batch)
        if self._watch:
            for reading in self._watch.take():
                self._checker.account(reading)
        for observe in self._observers:
            observe(batch)
        if self._on_progress:
            self._on_progress(self.job, batch)

    def on_wake(self) -> None:
        """Kills the processes that SIGTERM did not end in time after a breach (loop.Follower)."""
        self._enforcer.kill_if_due()

    def on_signal(self) -> None:
        """Forwards signals to the command (loop.Follower)."""
        self._launcher.forward_signals({process.pid for process in self.job.live.values()})

    @property
    def signal_fd(self) -> int:
        """Descriptor that is readable when there is a signal to forward (loop.Follower)."""
        return self._launcher.signal_fd

    @property
    def timeout(self) -> float | None:
        """Seconds that the loop may sleep; None for no limit (loop.Follower)."""
        return self._enforcer.timeout or (1.0 if self._on_progress else None)

    def close(self) -> None:
        """Frees the sampler, the hook and the control group."""
        if self._cgroup:
            self._cgroup.close()
        self._sampler.close()
        self._hook.close()
        for fd in self._tmpfs:
            os.close(fd)

    def ending(self) -> Ending:
        """Returns what is known only when the run is over, and ends the recording with it."""
        stats = self._stats
        if stats.error:
            self._failure = OSError(stats.error, os.strerror(stats.error))
        usage = native.own_usage()
        sources, advice = outcomes(stats, self._options.sources, self._hook)
        ending = Ending(
            self._end,
            self._status,
            Overhead(usage.cpu - self._cpu_before, usage.rss_peak),
            self._memory_limit.end(self._account.oom_kills if self._account else None),
            sources=sources,
            lost=stats.lost,
            held_back=self._hook.blocked_setuid(self.job.executables),
            advice=advice,
            unkept=stats.unkept,
            unreadable=stats.unreadable,
            scanning=stats.scanning,
            error=_in_words(self._failure) if self._failure else None,
            limit_outcome=self._limit_outcome,
            cgroup=self._account,
        )
        if self._recorder:
            self._recorder.end(ending)
        return ending


def _in_words(failure: Exception) -> str:
    """Returns what ended the sampling, as the summary shows it."""
    if isinstance(failure, MemoryError):
        return "memwatch ran out of memory"
    if isinstance(failure, OSError) and failure.strerror:
        name = errno.errorcode.get(failure.errno or 0, "")
        return f"{failure.strerror} ({name})" if name else failure.strerror
    return f"an error in memwatch itself, please report it: {type(failure).__name__}: {failure}"


def _working_directory() -> str | None:
    """Returns the path of the working directory; None where it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return None
