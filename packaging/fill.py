#!/usr/bin/env python3
"""Makes the files that distributions need for a release, from its sdist.

packaging/fill.py dist/memwatch-1.2.3.tar.gz -o FOLDER writes homebrew/, conda-forge/, nix/ and
debian/ there, with the version, the address and the hashes filled in. With --resources the formula
gets the newest version on PyPI of each Python package that it includes; without it, the formula
keeps the versions that it has. It needs only the standard library.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from email.message import Message
from email.parser import Parser
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

TEMPLATES = Path(__file__).parent
FOLDERS = ("homebrew", "conda-forge", "nix", "debian")

PLACEHOLDER = re.compile(r"@([A-Z0-9_]+)@")
RESOURCE = re.compile(r'(  resource "([^"]+)" do\n)    url "[^"]*"\n    sha256 "[^"]*"\n')


class BadSdist(Exception):
    """The given file is not an sdist of memwatch."""


class BadAnswer(Exception):
    """PyPI has no sdist of a package."""


class Sdist(NamedTuple):
    """What a release needs to know of its sdist."""

    version: str
    sha256: bytes
    made: float
    """When it was made, in seconds since 1970."""


def read_sdist(path: Path) -> Sdist:
    """Reads version, hash and date of an sdist. Raises BadSdist, OSError."""
    data = path.read_bytes()
    metadata, made = Message(), 0.0
    try:
        with tarfile.open(path, "r:gz") as archive:
            members = [each for each in archive if each.name.endswith("/PKG-INFO")]
            for member in sorted(members, key=lambda each: len(each.name))[:1]:
                file = archive.extractfile(member)
                metadata = Parser().parsestr(file.read().decode() if file else "")
                made = member.mtime
    except (tarfile.TarError, EOFError, ValueError):
        pass  # reported below, with the same remedy
    if metadata["Name"] != "memwatch" or not metadata["Version"]:
        raise BadSdist(
            f"{str(path)!r} is not an sdist of memwatch: make one with python -m build --sdist"
        )
    return Sdist(metadata["Version"], hashlib.sha256(data).digest(), made)


def values(sdist: Sdist) -> dict[str, str]:
    """Returns the value of each placeholder @NAME@."""
    version = sdist.version
    return {
        "VERSION": version,
        # With "~" a candidate sorts before its release.
        "DEBIAN_VERSION": re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", version),
        "URL": f"https://files.pythonhosted.org/packages/source/m/memwatch/memwatch-{version}.tar.gz",
        "SHA256": sdist.sha256.hex(),
        # The format of hashes in nix: https://www.w3.org/TR/SRI/
        "SRI": f"sha256-{base64.b64encode(sdist.sha256).decode()}",
        "DATE": format_datetime(datetime.fromtimestamp(sdist.made, timezone.utc)),
    }


def fill(template: str, values: Mapping[str, str]) -> str:
    """Returns the template with its placeholders replaced. Raises KeyError for an unknown one."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], template)


def with_resources(formula: str, ask: Callable[[str], Mapping[str, Any]]) -> str:
    """Returns the formula with the newest sdist of each resource. `ask` returns PyPI's JSON of a
    project. Raises BadAnswer.
    """

    def replace(found: re.Match[str]) -> str:
        try:
            newest = next(file for file in ask(found[2])["urls"] if file["packagetype"] == "sdist")
            url, sha256 = newest["url"], newest["digests"]["sha256"]
        except (StopIteration, LookupError, TypeError, ValueError):
            raise BadAnswer(f"PyPI has no sdist of {found[2]}: try without --resources") from None
        return f'{found[1]}    url "{url}"\n    sha256 "{sha256}"\n'

    return RESOURCE.sub(replace, formula)


def ask_pypi(project: str) -> Mapping[str, Any]:
    """Returns PyPI's JSON of a project. Raises OSError."""
    with urlopen(f"https://pypi.org/pypi/{project}/json", timeout=30) as answer:
        return dict(json.load(answer))


def templates() -> Iterator[Path]:
    """Yields the templates of all distributions."""
    for folder in FOLDERS:
        yield from sorted(path for path in (TEMPLATES / folder).rglob("*") if path.is_file())


def main() -> None:
    """Fills all templates, as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sdist", type=Path, metavar="SDIST")
    parser.add_argument("-o", "--output", type=Path, default=Path("dist/packaging"))
    parser.add_argument("--resources", action="store_true", help="ask PyPI for the newest")
    given = parser.parse_args()
    try:
        known = values(read_sdist(given.sdist))
        for path in templates():
            text = fill(path.read_text(encoding="utf-8"), known)
            if given.resources and path.suffix == ".rb":
                text = with_resources(text, ask_pypi)
            target = given.output / path.relative_to(TEMPLATES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            shutil.copymode(path, target)
    except (BadSdist, BadAnswer, OSError) as error:
        sys.exit(f"fill.py: {error}")


if __name__ == "__main__":
    main()
