"""Finds out without memwatch which event sources are available here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.exit_records import ExitRecords
from support.users import User

# Programs that print nothing when an event source is available, otherwise why not.
_ATTEMPTS = {
    "connector": """
import os, socket, struct
if os.stat("/proc/self/ns/pid").st_ino != 0xEFFFFFFC:
    raise SystemExit("not in the first pid namespace")
s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
s.bind((0, 1))
""",
    "perf": """
import ctypes, os, platform
number = {"x86_64": 298, "aarch64": 241}[platform.machine()]
attr = (ctypes.c_uint64 * 16)()
ctypes.memmove(attr, bytes([1, 0, 0, 0, 112, 0, 0, 0, 9]), 9)
attr[5] = 1 << 0 | 1 << 5 | 1 << 6  # disabled, exclude_kernel, exclude_hv
call = ctypes.CDLL(None, use_errno=True).syscall
if call(number, attr, 0, -1, -1, 8) < 0:
    raise SystemExit("perf_event_open: " + os.strerror(ctypes.get_errno()))
""",
    "hook": """
from pathlib import Path
actions = Path("/proc/sys/kernel/seccomp/actions_avail")
if not actions.exists() or "user_notif" not in actions.read_text():
    raise SystemExit("no seccomp notifications")
""",
}


def need_source(user: User, source: str) -> None:
    """Skips the test if `user` cannot use an event source."""
    if source == "taskstats":
        if user.prefix:
            pytest.skip("exit records need CAP_NET_ADMIN")
        try:
            ExitRecords().close()
        except OSError as error:
            pytest.skip(f"exit records are not available here: {error}")
        return
    argv = [*user.prefix, sys.executable, "-c", _ATTEMPTS[source]]
    tried = subprocess.run(argv, check=False, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"{source} is not available here: {tried.stderr.strip().splitlines()[-1]}")
