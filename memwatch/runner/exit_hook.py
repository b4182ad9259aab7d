"""The exit hook of one run: installs it if it is wanted and possible, and finds what it breaks."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection

from memwatch.runner import native


class ExitHook:
    """The exit hook (seccomp) of one command, or the reason why there is none."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.handle: native.Hook | None = None
        """Goes to `native.spawn` and `native.Sampler`; None when there is no hook."""
        self.error = 0
        """The errno that says why it is not in place; 0 when it is, or is not wanted."""
        self._no_new_privileges = False
        if not wanted:
            return
        try:
            self.handle = native.Hook()
        except OSError as error:
            self.error = error.errno or 0

    def check(self, pid: int) -> None:
        """Reads, once the command has started, whether the hook is in place and whether the command
        runs with no_new_privs because of it."""
        if not self.handle:
            return
        self.error = self.handle.error()
        if self.error:
            return
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
                self._no_new_privileges = any(
                    line.split() == ["NoNewPrivs:", "1"] for line in status
                )
        except OSError:  # the command has ended already
            pass

    def blocked_setuid(self, executables: Collection[str]) -> tuple[str, ...]:
        """Returns the set-user-ID programs among `executables`, which could not change user because
        of the hook."""
        if not self._no_new_privileges:
            return ()

        def changes_user(path: str) -> bool:
            try:
                return bool(os.stat(path).st_mode & stat.S_ISUID)
            except OSError:
                return False

        return tuple(sorted(filter(changes_user, executables)))

    def close(self) -> None:
        """Frees the hook, after the sampler that used it was closed."""
        if self.handle:
            self.handle.close()
