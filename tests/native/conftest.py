"""Fixture with the toolchain of the C tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import CSRC
from support.toolchain import NewToolchain, Toolchain

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toolchain(new_toolchain: NewToolchain) -> Toolchain:
    return new_toolchain(HERE, [f"-I{CSRC}/linux"])
