"""Starts the command as if memwatch were not there: signals, limits, exit status.

Every global setting that is changed for it is restored afterwards: the signal
mask, the subreaper flag, the limit on open files.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Container, Mapping, Sequence
from types import TracebackType

from memwatch.messages import complain
from memwatch.runner import native

# Signals that are meant for the command if another process sends them to memwatch. If the terminal
# sends them, they have reached the command already, which is in the same process group.
FORWARDED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)

# The forwarded signals that ask for an end.
END_SIGNALS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}

# Signals that Python ignores, and that a command expects at their default.
DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ)

# Descriptors left for memwatch itself: the report's files, and Python's imports.
RESERVED_DESCRIPTORS = 32


class Launcher:
    """Runs one command, or several one after the other; use it in a `with` statement."""

    def __init__(self) -> None:
        self.pid = 0
        self.end_signal = 0
        """The signal from outside the job that asked for an end; 0 when none did."""
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
        """Descriptor that is readable when forward_signals() has a signal to forward; -1 when
        signals are not handled here."""
        return self._signals.fd if self._signals else -1

    @property
    def spare_descriptors(self) -> int:
        """Number of descriptors that the sampler may keep."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft == resource.RLIM_INFINITY:
            return 1 << 20
        try:
            in_use = len(os.listdir("/dev/fd"))
        except OSError:  # no /proc is mounted
            in_use = 0
        return max(0, soft - in_use - RESERVED_DESCRIPTORS)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: int = -1,
        stderr: int = -1,
        hook: native.Hook | None = None,
        group: native.GroupEntry | None = None,
    ) -> None:
        """Starts the command. Raises OSError, with argv[0] as its file name, if that fails."""
        self.pid = native.spawn(
            argv,
            os.environ if env is None else env,
            stdout=stdout,
            stderr=stderr,
            blocked_signals=self._blocked,
            default_signals=DEFAULTED,
            nofile_soft=self._nofile[0] if self._nofile else 0,
            hook=hook,
            group=group,
        )

    def forward_signals(self, job: Container[int] = ()) -> None:
        """Forwards the signals that other processes sent to memwatch. `job` has the pids of the
        job's processes.

        A process of the job sends a signal to its whole group, so it has reached the command
        already. macOS does not report the sender: there such a signal is forwarded again, unless a
        terminal sent it.
        """
        while self._signals and (received := self._signals.next()):
            if received.sender in job:
                continue
            self._note_end_signal(received)
            # When a terminal disconnects, only the leader of the session receives SIGHUP.
            from_terminal = received.from_kernel and not (
                received.number == signal.SIGHUP and os.getsid(0) == os.getpid()
            )
            if not from_terminal:
                self.send(received.number)

    def discard_signals(self) -> bool:
        """Discards the signals that arrived since the command ended. Returns whether a signal, then
        or before, asked for the end."""
        while self._signals and (received := self._signals.next()):
            if received.sender != self.pid:
                self._note_end_signal(received)
        return bool(self.end_signal)

    def _note_end_signal(self, received: native.Signal) -> None:
        if received.number in END_SIGNALS:
            self.end_signal = received.number

    def send(self, number: int) -> None:
        """Sends a signal to the command, if it still runs."""
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
        """Waits for the command. Returns its wait status; None when it has been taken elsewhere."""
        try:
            return os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            return None

    def _block_signals(self) -> None:
        import threading

        # Signal handling belongs to the main thread; in other threads it is left alone.
        if threading.current_thread() is not threading.main_thread():
            return
        # A parent may have left SIGCHLD ignored, and then the kernel discards exit statuses.
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
        # A signal that came too late for the command must not reach the caller.
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
