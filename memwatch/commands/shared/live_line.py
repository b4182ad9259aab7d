"""The line that `run --live` shows on standard error while the command runs.

The command uses the same terminal, and what it writes there does not pass through memwatch. So the
line is drawn in the row below the cursor, and the cursor returns to where the command left it, even
in the middle of a row. Everything after the cursor is erased first: that is an older live line,
which the command may have begun to overwrite. memwatch cannot know when the command writes: if it
writes two lines or more between two drawings, the second overwrites the live line, and if it is
shorter, the end of the live line stays visible on its right.

The command comes first. Nothing is drawn while a program controls the whole terminal (an editor, a
pager), or while the job is in the background. When the terminal accepts nothing, as after Ctrl-S,
nothing waits for it.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from memwatch.commands.shared import terminal
from memwatch.messages import write_stderr
from memwatch.model.job import Job
from memwatch.model.observations import Batch
from memwatch.reports import live_text
from memwatch.runner import native

DRAWN_EVERY = 100_000_000
"""Least time between two drawings on a terminal, in nanoseconds."""

WRITTEN_EVERY = 5_000_000_000
"""Time between two lines where there is no terminal, in nanoseconds."""

# Control sequences of the VT100: all terminal emulators know them.
_ERASE = b"\x1b[J"  # from the cursor to the end of the screen
_BELOW = b"\x1bD\x1b7\r"  # down a row, save the position, to column 1
_BACK = b"\x1b8\x1b[A"  # to the saved position, and up a row

# Width of a terminal that does not report one: a narrower terminal is unlikely.
_COLUMNS = 80


class LiveLine:
    """Draws the line while the job runs. Raises nothing: an error ends the drawing."""

    def __init__(self, now: Callable[[], int] = native.now) -> None:
        self._now = now
        self._start = now()
        self._tick: live_text.Tick | None = None
        self._at_terminal = os.isatty(2) and (os.environ.get("TERM") or "dumb") != "dumb"
        self._every = DRAWN_EVERY if self._at_terminal else WRITTEN_EVERY
        self._next = self._start + self._every
        self._dim = terminal.styles(2)[1]
        self._fd = _own_description()
        self._drawn = False
        self._rest = b""
        """What is left of a sequence that the terminal accepted only in part."""

    def show(self, job: Job, batch: Batch) -> None:
        """Draws the line if it is time.

        To be called after each batch that was applied to the job, and a few times a second.
        """
        self._tick = live_text.last_tick(batch) or self._tick
        now = self._now()
        if now < self._next or self._fd < 0 or not job.live:
            return
        self._next = now + self._every
        state = live_text.state(job, self._tick, (now - self._start) / 1e9)
        if self._at_terminal:
            self._draw(state)
        else:
            self._send(f"memwatch: {live_text.line(state, 200)}\n".encode("utf-8", "replace"))

    def close(self, *, wait: bool) -> None:
        """Erases the line. With `wait` it does so even if the terminal blocks, for a caller that
        writes to the terminal next and would block anyway."""
        if self._fd < 0:
            return
        if self._drawn and wait:
            with suppress(OSError):
                write_stderr((self._rest + _ERASE).decode())
        elif self._drawn:
            self._send(_ERASE)
        self._give_up()

    def _draw(self, state: live_text.State) -> None:
        try:
            if not _is_free():
                return
            text = live_text.line(state, terminal.width(2, _COLUMNS) - 1)
        except (OSError, termios.error):  # the terminal is gone
            self._give_up()
            return
        # Drawn even if the text is the same: the command may have overwritten it.
        line = self._dim(text).encode("utf-8", "replace")
        self._drawn |= self._send(_ERASE + _BELOW + line + _BACK)

    def _send(self, data: bytes) -> bool:
        """Writes what can be written without blocking. Returns whether any of `data` was."""
        data, before = self._rest + data, len(self._rest)
        try:
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if poll.poll(0) != [(self._fd, select.POLLOUT)]:
                return False
            with _not_stopped():
                written = os.write(self._fd, data)
        except BlockingIOError:
            return False
        except OSError:
            self._give_up()
            return False
        self._rest = data[written:] if written > before else self._rest[written:]
        return written > before

    def _give_up(self) -> None:
        if self._fd > 2:
            os.close(self._fd)
        self._fd = -1


def _is_free() -> bool:
    """Whether the terminal can be drawn on."""
    with suppress(OSError):  # it is not the controlling terminal of this session
        if os.tcgetpgrp(2) != os.getpgrp():
            return False
    # A program that reads single keys draws the screen itself.
    return bool(termios.tcgetattr(2)[3] & termios.ICANON)


@contextmanager
def _not_stopped() -> Iterator[None]:
    """Blocks SIGTTOU: a write to a terminal from the background could stop this process (stty
    tostop)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _own_description() -> int:
    """Opens the file behind standard error so that writes never block; returns 2 if that fails.

    O_NONBLOCK is a property that the command would share on descriptor 2 itself.
    """
    path = "/proc/self/fd/2"
    with suppress(OSError):
        os.tcgetpgrp(2)
        # Standard error is the terminal of this session; another user's cannot be opened by name.
        path = "/dev/tty"
    mode = os.fstat(2).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        with suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return 2
