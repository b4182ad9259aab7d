"""Starts the command as if memwatch were not there: signals, limits, exit status.

Everything global that is changed for it is put back: the signal mask, the
subreaper flag, the limit on open files.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Container, Mapping, Sequence
from types import TracebackType

from memwatch.messages import complain
from memwatch.runner import native

# Sent to memwatch by another process, these are meant for the command. Sent by the terminal,
# they have reached it already: it is in the same process group.
FORWARDED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)

# Of these, what asks for an end.
ENDING = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}

# Python ignores these; a command expects them at their default.
DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ)

# Left for memwatch itself: the report's files, and Python's imports.
RESERVED_DESCRIPTORS = 32


class Launcher:
    """Runs one command, or several after each other; use it in a `with` statement."""

    def __init__(self) -> None:
        self.pid = 0
        self.told_to_end = 0
        """The signal that asked for it, from outside the job; 0: none."""
        self._signals: native.SignalQueue | None = None
        self._blocked: set[int] = set()
        self._sigchld: object = None
        self._was_subreaper: bool | None = None
        self._nofile: tuple[int, int] | None = None

    def __enter__(self) -> Launcher:
        self._block_signals()
        try:
            self._was_subreaper = native.subreaper(True)
        except OSError:
            self._was_subreaper = None
        self._raise_nofile()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._nofile:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._nofile)
        if self._was_subreaper is not None:
            native.subreaper(self._was_subreaper)
        self._unblock_signals()

    @property
    def signal_fd(self) -> int:
        """Readable when there is something for forward_signals(); -1 when it never is."""
        return self._signals.fd if self._signals else -1

    @property
    def spare_descriptors(self) -> int:
        """How many descriptors the sampler may keep."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft == resource.RLIM_INFINITY:
            return 1 << 20
        try:
            taken = len(os.listdir("/dev/fd"))
        except OSError:  # no /proc is mounted
            taken = 0
        return max(0, soft - taken - RESERVED_DESCRIPTORS)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: int = -1,
        stderr: int = -1,
        hook: native.Hook | None = None,
    ) -> None:
        """Starts the command. Raises OSError, with argv[0] as its file name, if it cannot."""
        self.pid = native.spawn(
            argv,
            os.environ if env is None else env,
            stdout=stdout,
            stderr=stderr,
            blocked_signals=self._blocked,
            default_signals=DEFAULTED,
            nofile_soft=self._nofile[0] if self._nofile else 0,
            hook=hook,
        )

    def forward_signals(self, job: Container[int] = ()) -> None:
        """Passes on what other processes sent to memwatch.

        What a process of the job (their pids) sends is meant for its whole group, and so has
        reached the command already. macOS does not tell who it was: there it goes on, too, but for
        what a terminal sends.
        """
        while self._signals and (taken := self._signals.next()):
            if taken.sender in job:
                continue
            self._note(taken)
            # Of a terminal that goes away only the leader of the session is told.
            from_terminal = taken.from_kernel and not (
                taken.number == signal.SIGHUP and os.getsid(0) == os.getpid()
            )
            if not from_terminal:
                self.send(taken.number)

    def take_signals(self) -> bool:
        """What came since the command ended goes to nobody. Whether any, then or before, has asked
        for the end."""
        while self._signals and (taken := self._signals.next()):
            if taken.sender != self.pid:
                self._note(taken)
        return bool(self.told_to_end)

    def _note(self, taken: native.Signal) -> None:
        if taken.number in ENDING:
            self.told_to_end = taken.number

    def send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            complain(f"cannot forward signal {number}: {error.strerror}")

    def kill(self) -> None:
        """Ends the command at once."""
        self.send(signal.SIGKILL)
        self.wait_status()

    def wait_status(self) -> int | None:
        """The root's wait status, where nobody else took it."""
        try:
            return os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            return None

    def _block_signals(self) -> None:
        import threading

        # Signal handling belongs to the main thread; elsewhere it is left alone.
        if threading.current_thread() is not threading.main_thread():
            return
        # A parent may have left SIGCHLD ignored: then no exit status would reach us.
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
            self._sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        try:
            self._signals = native.SignalQueue(FORWARDED)
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)

    def _unblock_signals(self) -> None:
        if not self._signals:
            return
        # What came too late for the command must not strike the caller.
        while self._signals.next():
            pass
        self._signals.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        if self._sigchld is not None:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def _raise_nofile(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == hard:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return
        self._nofile = (soft, hard)
