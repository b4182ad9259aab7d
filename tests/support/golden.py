"""Compares reports with the files in tests/golden, byte for byte.

After a change that is meant to change a report, write the files again and read the difference:

    MEMWATCH_WRITE_GOLDEN=1 pytest tests/unit; git diff tests/golden
"""

from __future__ import annotations

import os

from support.paths import GOLDEN


def check_golden(name: str, text: str) -> None:
    """Compares a text with a golden file; with MEMWATCH_WRITE_GOLDEN set, writes the file first."""
    path = GOLDEN / name
    # Bytes, so that line ends and control characters are compared as they are.
    data = text.encode("utf-8")
    if os.environ.get("MEMWATCH_WRITE_GOLDEN"):
        path.write_bytes(data)
    assert text == path.read_bytes().decode("utf-8")
