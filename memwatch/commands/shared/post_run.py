"""`memwatch run --post-run-cmd`: runs the user's command after the report."""

from __future__ import annotations

import os
import select
import shlex
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from memwatch.messages import complain
from memwatch.runner import native
from memwatch.runner.launcher import Launcher
from memwatch.units import kib

if TYPE_CHECKING:
    from memwatch.analysis.leaks import Leaks
    from memwatch.model.profile import Profile

# The environment variables of the command. No subcommand has that name, so they are not settings.
PREFIX = "MEMWATCH_RESULT"


class PostRun:
    """The command and the file that it reads. The file exists within the `with` statement."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._path: str | None = None

    def __enter__(self) -> PostRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        path, self._path = self._path, None
        if path:
            with suppress(OSError):
                os.unlink(path)

    def keep(self, fill: Callable[[TextIO], None]) -> str | None:
        """Writes the JSON to a new file. Returns its path; None when it cannot be written."""
        try:
            fd, self._path = tempfile.mkstemp(prefix="memwatch-", suffix=".json")
            with open(fd, "w", encoding="utf-8", newline="") as out:
                fill(out)
        except OSError as error:
            why = f"its JSON could not be written: {error.strerror}"
            complain(f"the post-run command was not run: {why}")
            self._remove()
        return self._path

    def run(
        self, launcher: Launcher, profile: Profile, leaks: Leaks | None, *, stdout: int
    ) -> bool:
        """Runs the command to its end. Returns whether all went well; complains if not.

        It is started as the job was, with the same signals. Signals that memwatch gets in the
        meantime are forwarded to it.
        """
        if self._path is None:
            return False
        command = self._command.replace("{}", shlex.quote(self._path))
        kept = {name: value for name, value in os.environ.items() if not _is_result(name)}
        env = {**kept, PREFIX: self._path, **figures(profile, leaks)}
        try:
            status = _run(launcher, ("/bin/sh", "-c", command), env, stdout)
        except OSError as error:
            complain(f"the post-run command could not be run: {error.strerror}")
            return False
        code = os.waitstatus_to_exitcode(status)
        if code > 0:
            complain(f"the post-run command failed: exit code {code}")
        elif code < 0:
            complain(f"the post-run command was killed by {_name(-code)}")
        return code == 0


def figures(profile: Profile, leaks: Leaks | None) -> dict[str, str]:
    """Returns the key figures as environment variables; one that is unknown is left out."""
    outcome = profile.limit_outcome
    values = {
        "EXIT_CODE": profile.exit_code,
        "SIGNAL": profile.signal,
        "DURATION_SECONDS": round(profile.duration, 6),
        "SAMPLES": profile.sampling.ticks,
        "PROCESS_COUNT": len(profile.processes),
        "MAX_TOTAL_RSS_KIB": _kib(profile.total_rss.size),
        "MAX_TOTAL_PSS_KIB": _kib(profile.total_pss.comparable),
        "MAX_PROCESS_RSS_KIB": _kib(profile.process_rss.size),
        "LIMIT": outcome.breaches[0].limit if outcome and outcome.breaches else None,
        "LEAKS": len(leaks.found) if leaks else None,
    }
    return {f"{PREFIX}_{name}": f"{value}" for name, value in values.items() if value is not None}


def _run(launcher: Launcher, argv: tuple[str, ...], env: dict[str, str], stdout: int) -> int:
    """Runs a command and returns its wait status. Signals are forwarded to it while it runs."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        children = native.SignalQueue((signal.SIGCHLD,))
        try:
            launcher.spawn(argv, env=env, stdout=stdout)
            return _wait(launcher, children)
        finally:
            children.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _wait(launcher: Launcher, children: native.SignalQueue) -> int:
    watched = [fd for fd in (children.fd, launcher.signal_fd) if fd >= 0]
    while True:
        pid, status = os.waitpid(launcher.pid, os.WNOHANG)
        if pid:
            return status
        select.select(watched, (), ())
        while children.next():
            pass
        launcher.forward_signals((launcher.pid,))


def _is_result(name: str) -> bool:
    """Whether a variable is from another memwatch around this one, and so not of this job."""
    return name == PREFIX or name.startswith(f"{PREFIX}_")


def _kib(size: int | None) -> int | None:
    return None if size is None else kib(size)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
