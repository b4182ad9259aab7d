"""A damaged file of results gives results or one line of an error, whatever is wrong with it."""

from __future__ import annotations

import copy
import json
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from memwatch.cli import cli
from memwatch.results import BadResults, load

NAN, INFINITY = float("nan"), float("inf")
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "\ud800", "2026-99-01T00:00:00.000000Z", [], {}, [1], {"a": 1}),
    *(0, -1, 1, 0.5, 2**31, 2**62, -(2**62), 2**63, 10**18, 10**30, -1e30, 1e300, NAN, INFINITY),
)
TRIES = 5
"""Values for each place in a file: all of them would take minutes."""

COMMANDS = (
    ("report", "FILE", "--tree", "--csv", "/dev/null"),
    ("report", "FILE", "--quiet", "--timeline", "/dev/null"),
    ("report", "FILE", "--json", "--group-by", "exe"),
    ("report", "FILE", "--leaks", "--leak-min-duration", "1s"),
    ("view", "FILE", "--html", "/dev/null", "--force", "--no-open"),
    ("compare", "FILE", "WHOLE"),
    ("compare", "WHOLE", "FILE", "--json"),
    ("compare", "WHOLE", "FILE", "--markdown"),
    ("ci-check", "FILE", "--max-total-rss", "1M", "--max-per-proc-rss", "8G"),
    ("ci-check", "FILE", "--baseline", "WHOLE", "--max-total-pss", "1G", "--junit", "/dev/null"),
    ("plan", "FILE"),
    ("plan", "FILE", "--json"),
    ("export", "FILE", "--format", "perfetto", "-o", "/dev/null"),
    ("export", "FILE", "--format", "firefox", "-o", "/dev/null"),
    ("export", "FILE", "--format", "csv", "-o", "/dev/null"),
    ("export", "FILE", "--format", "openmetrics", "-o", "/dev/null"),
    ("export", "FILE", "--format", "otlp", "-o", "/dev/null"),
    ("export", "FILE", "--format", "bmf", "-o", "/dev/null"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something is within a document, and where it has parts."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*path, index))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    whole = document
    for key in path[:-1]:
        whole = whole[key]
    whole[path[-1]] = value
    return document


@pytest.fixture
def silent() -> Iterator[None]:
    """Commands write to descriptors."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    yield
    for number, old in enumerate(kept, 1):
        os.dup2(old, number)
    for each in (*kept, nowhere):
        os.close(each)


def survives(path: Path, whole: Path, story: str) -> bool:
    """Whether it could be read. Whatever is no error of ours comes through."""
    try:
        load(str(path), timeline=True, tracks=True)
    except BadResults as error:
        assert "\n" not in str(error), story
        return False
    for words in COMMANDS:
        names = {"FILE": str(path), "WHOLE": str(whole)}
        try:
            cli.main([names.get(word, word) for word in words], standalone_mode=False)
        except click.ClickException:
            pass
        except Exception as error:
            raise AssertionError(f"{' '.join(words)}: {story}") from error
    return True


def of_a_run(memwatch: Any) -> tuple[Path, Path]:
    """Its recording, and its JSON."""
    command = "dd if=/dev/zero of=/dev/null bs=4M count=40; ls; exit 3"
    words = ("-i", "5", "--max-total-rss", "1M", "--max-per-proc-rss", "1M", "--on-limit", "report")
    memwatch.run(
        *("run", *words, "-o", "a.jsonl", "--json", "--timeline", "/dev/null", "--silent"),
        *("--", "sh", "-c", command),
    )
    again = memwatch.run("report", "a.jsonl", "--json", "--timeline", "/dev/null")
    (memwatch.room / "a.json").write_bytes(again.out)
    return memwatch.room / "a.jsonl", memwatch.room / "a.json"


# Not an error of its own, but of a calendar that will change.
warnings.filterwarnings("ignore", category=DeprecationWarning, module="_strptime")


@pytest.mark.parametrize("kind", ["recording", "json"])
def test_damaged(memwatch, silent, kind):
    chance = random.Random(5)
    recording, document = of_a_run(memwatch)
    whole = recording if kind == "recording" else document
    lines = whole.read_text().splitlines() if kind == "recording" else [whole.read_text()]
    damaged = whole.with_name(f"damaged{whole.suffix}")
    assert survives(whole, whole, "as it was")
    outcomes = set()
    for number in sorted({0, 1, len(lines) // 2, len(lines) - 1} & set(range(len(lines)))):
        content = json.loads(lines[number])
        everywhere = list(places(content))
        for path in chance.sample(everywhere, min(len(everywhere), 250)):
            for value in chance.sample(VALUES, TRIES):
                text = json.dumps(changed(content, path, value))
                damaged.write_text("\n".join([*lines[:number], text, *lines[number + 1 :], ""]))
                where = ".".join(map(str, path))
                outcomes.add(survives(damaged, whole, f"line {number + 1}: {where} = {value!r}"))
    assert outcomes == {True, False}
