"""A pseudo-terminal for a program, and what the program writes to its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Sequence
from typing import Any

from support.command import Memwatch
from support.waiting import wait_until


class Terminal:
    """A terminal in which a program runs as the session leader."""

    def __init__(
        self,
        memwatch: Memwatch,
        argv: Sequence[str | bytes],
        *,
        rows: int = 24,
        columns: int = 80,
        env: dict[str, str] | None = None,
        **how: Any,
    ) -> None:
        """`how` is for subprocess.Popen, such as a stream that is not the terminal."""
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.attributes = termios.tcgetattr(self.master)

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.watch = memwatch.popen(
            argv,
            **({"stdin": slave, "stdout": slave, "stderr": slave} | how),
            env={"TERM": "xterm"} | (env or {}),
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)
        os.set_blocking(self.master, False)
        self.shown = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        assert os.write(self.master, keys) == len(keys)

    def pump(self) -> None:
        """Reads what has been written to the screen."""
        try:
            while text := os.read(self.master, 65536):
                self.shown += text
        except BlockingIOError:
            pass
        except OSError:
            pass  # EIO: no process has the terminal open any more

    def expect(self, text: bytes) -> None:
        def there() -> bool:
            self.pump()
            return text in self.shown

        wait_until(there, f"{text!r} on the screen")

    def end(self) -> int:
        """Waits for the program and returns its exit code."""

        def ended() -> bool:
            self.pump()
            return self.watch.process.poll() is not None

        wait_until(ended, "the end")
        self.pump()
        return self.watch.process.returncode

    def lines(self) -> list[str]:
        """Returns the lines on the screen, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown.decode()).splitlines()

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
