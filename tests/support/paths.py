"""Paths of the source code and the tests."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
CSRC = ROOT / "csrc"
PROGRAMS = TESTS / "programs"
GOLDEN = TESTS / "golden"
