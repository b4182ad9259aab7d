"""Files in tests/golden, with which reports are compared to the letter.

After a change that is meant to change a report, write the files anew, and read the difference:

    MEMWATCH_WRITE_GOLDEN=1 pytest tests/unit; git diff tests/golden
"""

from __future__ import annotations

import os

from support.paths import GOLDEN


def check_golden(name: str, text: str) -> None:
    """Compares with a golden file, or writes it."""
    path = GOLDEN / name
    # Escapes that a hostile name might get through would be lost on a reader of the file.
    data = text.encode("utf-8")
    if os.environ.get("MEMWATCH_WRITE_GOLDEN"):
        path.write_bytes(data)
    assert text == path.read_bytes().decode("utf-8")
