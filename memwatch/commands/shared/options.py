"""Option values that subcommands share. Each refuses bad input in one line with the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from memwatch.model.groups import KINDS
from memwatch.units import parse_duration, parse_interval, parse_percent, parse_size

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from memwatch.analysis.thresholds import Thresholds

SHORTEST_INTERVAL = 1e-4
LONGEST_INTERVAL = 3600.0
LONGEST_DURATION = 6e6
SMALLEST_GROWTH = 0.01
LARGEST_GROWTH = 100.0


def is_typed(name: str) -> bool:
    """Whether the running subcommand has it from its command line, not from a setting. `name` is
    that of the parameter."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """For a shell's completion: the name of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def another_command(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """For a shell's completion: the first word of a command."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="command")]


def some_of(*words: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """For a shell's completion: words that are not all that can be written."""

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


T = TypeVar("T")


def _parsed(parse: Callable[[str], T], value: str, otherwise: str) -> T:
    """`parse` raises ValueError for what `otherwise` is said of."""
    try:
        return parse(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is {otherwise}.") from None


def interval(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Seconds, from "10" (milliseconds), "0.5", "10ms" or "1s"."""
    seconds = _parsed(parse_interval, value, "not an interval: write 10, 0.5, 10ms or 1s")
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise click.BadParameter(f"{value!r} is out of range: write 0.1ms to 3600s.")
    return seconds


def duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Seconds, from "5", "1.5s", "500ms" or "2min"."""
    seconds = _parsed(parse_duration, value, "not a duration: write 5 (seconds), 500ms or 2min")
    if not seconds <= LONGEST_DURATION:
        raise click.BadParameter(f"{value!r} is out of range: write 100000min at most.")
    return seconds


def size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Bytes, from "512M", "1.5GiB" or "4096"."""
    if value is None:
        return None
    return _parsed(
        parse_size, value, "not a size: write 512M, 1.5GiB (of 1024), 8GB (of 1000) or bytes"
    )


def burst(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float:
    """Seconds, from a number of milliseconds, or as an interval is written."""
    if value is None:
        return 0.0
    seconds = _parsed(parse_interval, value, "not a time: write 500 (milliseconds), 500ms or 1s")
    if not seconds <= LONGEST_INTERVAL:
        raise click.BadParameter(f"{value!r} is out of range: write 3600s at most.")
    return seconds


def watched(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """As duration(), of a length that makes sense for a look at a trend."""
    seconds = duration(ctx, param, value)
    if seconds < 1:
        raise click.BadParameter(f"{value!r} is out of range: write 1s to 100000min.")
    return seconds


def growth(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """A part, 0.5 from "50%" or "50"."""
    part = _parsed(parse_percent, value, "not a percentage: write 50% or 50")
    if not SMALLEST_GROWTH <= part <= LARGEST_GROWTH:
        raise click.BadParameter(f"{value!r} is out of range: write 1% to 10000%.")
    return part


def sources(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    """Names out of event_sources.SOURCES."""
    from memwatch.runner.event_sources import SOURCES

    if value == "auto":
        return tuple(SOURCES)
    if value == "none":
        return ()
    names = tuple(dict.fromkeys(value.split(",")))
    for name in names:
        if name not in SOURCES:
            known = ", ".join(SOURCES)
            raise click.BadParameter(
                f"{name!r} is no source: write auto, none, or some of {known}."
            )
    return names


def shell_command(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Anything but nothing: what a variable holds that was never set."""
    if value is not None and not value.strip():
        raise click.BadParameter("the command is empty: write one, or leave the option out.")
    return value


def regex(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> re.Pattern[str] | None:
    """A compiled regular expression, in Python's syntax."""
    if value is None:
        return None
    try:
        return re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise click.BadParameter(f"{value!r} is not a regular expression: {error}.") from None


def group_by(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """What groups.group_key() takes. None: not said."""
    if value is None:
        return None
    from memwatch.model.groups import group_key

    try:
        group_key(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    return value


GROUP_BY = click.option(
    "--group-by",
    callback=group_by,
    shell_complete=some_of(*KINDS),
    metavar="KEY",
    help="Group processes by command (the default), exe, ppid, cwd, source (what a compiler "
    "compiles), or a REGEX whose first group is the key.",
)


def top(_ctx: click.Context, _param: click.Parameter, value: str) -> int | None:
    """A number of rows, or None for "all"."""
    if value == "all":
        return None
    # Python refuses to read a number of more than 4300 digits.
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise click.BadParameter(f"{value!r} is neither a number of processes nor 'all'.")
    return int(value)


def thresholds(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> Thresholds:
    """From "5%", "50M" and "GROUP=5%"."""
    from memwatch.analysis.thresholds import parse_thresholds

    try:
        return parse_thresholds(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
