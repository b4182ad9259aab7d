"""Reads small files of the kernel (/proc, cgroups), and parses entries in them."""

from __future__ import annotations

import os


def read_text(path: str) -> str:
    """Returns the content of a file; empty when it cannot be read. Bytes that are not text are
    kept as os.fsdecode() has them, since some of these files hold paths."""
    try:
        # open() would spend half of its time on buffers that these files do not need.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return os.fsdecode(b"".join(chunks))
    except OSError:
        return ""
    finally:
        os.close(fd)


def parse_number(text: str) -> int | None:
    """Returns a number without a sign; None for anything else."""
    text = text.strip()
    # 2**64 has 20 digits; Python refuses to convert a number of more than 4300 digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def parse_entry(text: str, key: str) -> str:
    """Returns the value of the first line that begins with `key` and a blank or a tab; empty when
    there is no such line."""
    for line in text.split("\n"):
        if line.startswith(key) and line[len(key) : len(key) + 1] in (" ", "\t"):
            return line[len(key) + 1 :].strip()
    return ""
