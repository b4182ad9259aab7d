"""Reads the facts that sources.py needs: the kernel, and what this process may do here."""

from __future__ import annotations

import os
import re

from memwatch.model.sources import CAPABILITIES, Facts
from memwatch.runner.kernel_files import parse_entry, read_text

# Numbers of the namespaces that a machine boots with: include/linux/proc_ns.h.
INITIAL_USER_NAMESPACE = 0xEFFFFFFD
INITIAL_PID_NAMESPACE = 0xEFFFFFFC


def parse_release(text: str) -> tuple[int, int] | None:
    """Returns (6, 18) for "6.18.44-generic"."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text, re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def parse_capabilities(status: str) -> frozenset[str] | None:
    """Returns the names of the CAPABILITIES that /proc/PID/status lists as in effect."""
    match = re.fullmatch(r"[0-9a-fA-F]{1,32}", parse_entry(status, "CapEff:"))
    if not match:
        return None
    bits = int(match[0], 16)
    return frozenset(name for name, number in CAPABILITIES.items() if bits >> number & 1)


def parse_level(text: str) -> int | None:
    """Returns the value of a sysctl that is a small number, maybe negative."""
    match = re.fullmatch(r"\s*(-?\d{1,9})\s*", text, re.ASCII)
    return int(match[1]) if match else None


def parse_namespace(link: str) -> int | None:
    """Returns the number in "pid:[4026531836]"."""
    match = re.fullmatch(r"\w+:\[(\d{1,20})\]", link, re.ASCII)
    return int(match[1]) if match else None


def parse_hidepid(mountinfo: str) -> str | None:
    """Returns how /proc hides other users' processes; None when it does not. See hidepid in
    proc(5)."""
    found = None
    for line in mountinfo.split("\n"):
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[4:5] != ["/proc"] or not source.startswith("proc "):
            continue
        # The last mount hides the others.
        options = source.rpartition(" ")[2].split(",")
        values = [each.partition("=")[2] for each in options if each.startswith("hidepid=")]
        found = values[-1] if values else None
    return None if found in ("0", "off") else found


def read_facts(proc_root: str = "/proc") -> Facts:
    """Reads the facts of this process and this system."""
    name = os.uname()
    return Facts(
        euid=os.geteuid(),
        capabilities=parse_capabilities(read_text(f"{proc_root}/self/status")),
        kernel=parse_release(name.release) if name.sysname == "Linux" else None,
        perf_event_paranoid=parse_level(read_text(f"{proc_root}/sys/kernel/perf_event_paranoid")),
        initial_pid_namespace=_is_initial(f"{proc_root}/self/ns/pid", INITIAL_PID_NAMESPACE),
        initial_user_namespace=_is_initial(f"{proc_root}/self/ns/user", INITIAL_USER_NAMESPACE),
    )


def _is_initial(link: str, initial: int) -> bool | None:
    """Returns whether a link names the namespace with that number; None when it cannot be read."""
    try:
        number = parse_namespace(os.readlink(link))
    except OSError:
        return None
    return None if number is None else number == initial
