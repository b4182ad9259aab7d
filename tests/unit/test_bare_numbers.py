"""What a number without a unit means for each option: the same everywhere, or it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import click
import pytest

from memwatch.cli import COMMANDS, cli

MIB = 1 << 20


class Kind(NamedTuple):
    """The bare numbers that an option accepts, with their meaning, and those that it refuses, with
    the remedy."""

    accepted: Mapping[str, object]
    refused: Mapping[str, str]


MILLISECONDS = Kind({"10": 0.01}, {"0.5": "write 0.5ms or 0.5s", "1.": "write 1.ms or 1.s"})
TIME = Kind({}, {"5": "write 5s or 5ms", "2.5": "write 2.5s or 2.5ms"})
SIZE = Kind(
    {"1048576": MIB, "8589934592": 8192 * MIB},
    {
        "500": "write 500M, 500G, or 500B for bytes",
        "1048575": "write 1048575M",
        "1.5": "write 1.5M",
    },
)
PERCENT = Kind({}, {"50": "write 50%", "2.5": "write 2.5%"})
CHANGE = Kind(
    {},
    {
        "5": "give 5%, 5M or 5B",
        ".5": "give .5%, .5M",
        "4096": "4096M or 4096B",
        "rustc=5": "give rustc=5%, rustc=5M or rustc=5B",
    },
)
COUNT = Kind({"4": 4}, {})
COUNTS = Kind({"4": (4,), "4,8": (4, 8)}, {})
NO_NUMBER = Kind({}, {})
"""Names of files, words, patterns."""

KINDS = {
    "--interval": MILLISECONDS,
    "--burst": MILLISECONDS,
    "--kill-after": TIME,
    "--leak-min-duration": TIME,
    "--leak-min-growth": PERCENT,
    "--max-total-rss": SIZE,
    "--max-per-proc-rss": SIZE,
    "--max-total-pss": SIZE,
    "--max-total-footprint": SIZE,
    "--min-available": SIZE,
    "--memory": SIZE,
    "--threshold": CHANGE,
    "--repeat": COUNT,
    "--top": COUNT,
    "--jobs": COUNTS,
    "--base": NO_NUMBER,
    "--baseline": NO_NUMBER,
    "--candidate": NO_NUMBER,
    "--csv": NO_NUMBER,
    "--exclude": NO_NUMBER,
    "--format": NO_NUMBER,
    "--group-by": NO_NUMBER,
    "--html": NO_NUMBER,
    "--include": NO_NUMBER,
    "--junit": NO_NUMBER,
    "--metric": NO_NUMBER,
    "--on-limit": NO_NUMBER,
    "--output": NO_NUMBER,
    "--post-run-cmd": NO_NUMBER,
    "--pss": NO_NUMBER,
    "--sources": NO_NUMBER,
    "--timeline": NO_NUMBER,
    "--worker": NO_NUMBER,
}
"""Every option that takes a value, whichever subcommand has it."""


def options() -> Iterator[tuple[click.Command, str, click.Option]]:
    """Yields each option that takes a value, with its subcommand and its long name."""
    with click.Context(cli) as context:
        for name in COMMANDS:
            command = cli.get_command(context, name)
            assert command is not None
            for param in command.params:
                if isinstance(param, click.Option) and not param.is_flag:
                    yield command, max(param.opts, key=len), param


def value(command: click.Command, option: click.Option, text: str) -> object:
    """Returns what a subcommand gets for the text. Raises click.BadParameter."""
    with click.Context(command) as context:
        return option.process_value(context, (text,) if option.multiple else text)


CASES = [
    pytest.param(command, option, KINDS.get(name, NO_NUMBER), id=f"{command.name} {name}")
    for command, name, option in options()
]


def test_every_option_has_a_kind() -> None:
    """A new option that takes a value must be added to KINDS."""
    assert {name for _, name, _ in options()} == set(KINDS)


@pytest.mark.parametrize(("command", "option", "kind"), CASES)
def test_what_a_bare_number_means(command: click.Command, option: click.Option, kind: Kind) -> None:
    for text, meaning in kind.accepted.items():
        assert value(command, option, text) == meaning, text
    for text, remedy in kind.refused.items():
        with pytest.raises(click.BadParameter) as refused:
            value(command, option, text)
        message = refused.value.message
        assert message.startswith(f"'{text}' has no unit: "), message
        assert remedy in message
        first = re.search(r"(?:write|give) ([^ ,]+)", message)
        assert first
        assert value(command, option, first[1].rstrip(".")) is not None
