"""The user that memwatch runs as in a test: the caller, or "nobody", without privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534


class User:
    """A user, and a folder that this user can write to."""

    def __init__(self, name: str, room: Path) -> None:
        self.name = name
        self.room = room
        self.prefix: list[str] = []
        self.uid = NOBODY if name == "nobody" else os.geteuid()
        if name == "nobody":
            ids = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
            self.prefix = ["setpriv", *ids]
            os.chown(room, NOBODY, NOBODY)


def user_named(name: str, room: Path) -> User:
    """Returns a user; skips the test if it cannot run as that user."""
    if name == "nobody":
        if os.geteuid() != 0:
            pytest.skip("needs root to become another user")
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv to become another user")
    made = User(name, room)
    if made.prefix:
        check = [*made.prefix, sys.executable, "-c", "import memwatch"]
        if subprocess.run(check, cwd=room, capture_output=True, check=False).returncode:
            pytest.skip(f"{sys.executable} or memwatch is not readable for uid {NOBODY}")
    return made
