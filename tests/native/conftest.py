"""The toolchain of the C tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"


@pytest.fixture(scope="session")
def toolchain(new_toolchain: Any) -> Any:
    return new_toolchain(HERE, [f"-I{CSRC}/linux"])
