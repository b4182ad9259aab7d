"""Small files in which the kernel tells something, and what lines of them mean."""

from __future__ import annotations

import os


def read_text(path: str) -> str:
    """The whole file; empty when it cannot be read. Bytes that are no text are kept as
    os.fsdecode() has them, since some of it are paths."""
    try:
        # Not open(): half of its time goes into buffers that these files do not need.
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
    """A number without a sign; None for anything else."""
    text = text.strip()
    # 2**64 has 20 digits; Python refuses to read a number of more than 4300.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def parse_entry(text: str, key: str) -> str:
    """The value of the first line that begins with `key` and a blank or a tab; empty without."""
    for line in text.split("\n"):
        if line.startswith(key) and line[len(key) : len(key) + 1] in (" ", "\t"):
            return line[len(key) + 1 :].strip()
    return ""
