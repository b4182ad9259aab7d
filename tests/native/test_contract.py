"""Tests that each platform has the files named in platform.h, with the functions of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).parent.parent.parent / "csrc"
PLATFORMS = ("linux", "darwin")

HEADING = re.compile(r"^/\* -- (\w+\.c)(.*?)\*/$", re.M | re.S)
DECLARED = re.compile(r"^[a-z][\w ]*?\**(mw_\w+)\([^;{]*\);", re.M)
OF_API = re.compile(r"\b(mw_\w+)\(\)")


def contract() -> dict[str, list[str]]:
    """Returns the functions that each file has to define, in the order of platform.h."""
    # The part before the first heading, then for each heading: file, rest, section.
    _, *parts = HEADING.split((CSRC / "platform.h").read_text())
    return {
        name: [*OF_API.findall(heading), *DECLARED.findall(section)]
        for name, heading, section in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def defined(text: str) -> list[str]:
    return re.findall(r"^[a-z][\w ]*?\**(mw_\w+)\([^;{]*\) \{", text, re.M)


def test_the_contract_is_read_completely():
    declared = [name for names in contract().values() for name in names]
    assert {"mw_platform_open", "mw_platform_reap", "mw_now", "mw_hook_install"} <= {*declared}
    assert len(declared) == len({*declared})


@pytest.mark.parametrize("platform", PLATFORMS)
def test_platforms_are_mirrors(platform):
    assert (CSRC / platform / "state.h").exists()
    for name, functions in contract().items():
        assert {*functions} <= {*defined((CSRC / platform / name).read_text())}, name


def test_the_template_has_everything_in_the_same_order():
    text = (CSRC / "unsupported.c").read_text()
    assert re.findall(r"^/\* -- (\w+\.c) ", text, re.M) == [*contract()]
    sections = re.split(r"^/\* -- .*$", text, flags=re.M)[1:]
    for (name, functions), section in zip(contract().items(), sections, strict=True):
        assert {*functions} == {*defined(section)}, name
