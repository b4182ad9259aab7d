"""Options that subcommands share, and their values.

Each value refuses bad input in one line that names the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from memwatch.model.groups import KINDS
from memwatch.model.metric import Metric
from memwatch.units import (
    UnitMissing,
    parse_duration,
    parse_interval,
    parse_percent,
    parse_size,
    suggestion,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from memwatch.analysis.thresholds import Thresholds

# Seconds.
SHORTEST_INTERVAL = 1e-4
LONGEST_INTERVAL = 3600.0
LONGEST_DURATION = 6e6
# Parts: 0.5 is 50 %.
SMALLEST_GROWTH = 0.01
LARGEST_GROWTH = 100.0

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


def is_typed(name: str) -> bool:
    """Whether the value of a parameter is from the command line, not from a setting."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Completes the name of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def another_command(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Completes the first word of a command."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="command")]


def some_of(*words: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Returns a completion that proposes words, although others are accepted."""

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


# Values -------------------------------------------------------------------------------------------


def _parsed(parse: Callable[[str], T], value: str, problem: str) -> T:
    """Calls `parse`; when that raises ValueError, reports "'x' is …" with the problem."""
    try:
        return parse(value)
    except UnitMissing as missing:
        raise click.BadParameter(f"{value!r} has no unit: write {missing}.") from None
    except ValueError:
        raise click.BadParameter(f"{value!r} is {problem}.") from None


def interval(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Returns seconds, from "10" (milliseconds), "10ms", "0.5ms" or "1s"."""
    seconds = _parsed(parse_interval, value, "not an interval: write 10 (milliseconds), 10ms or 1s")
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise click.BadParameter(f"{value!r} is out of range: write 0.1ms to 3600s.")
    return seconds


def duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Returns seconds, from "5s", "500ms" or "2min"."""
    seconds = _parsed(parse_duration, value, "not a duration: write 5s, 500ms or 2min")
    if not seconds <= LONGEST_DURATION:
        raise click.BadParameter(f"{value!r} is out of range: write 100000min at most.")
    return seconds


def size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Returns bytes, from "512M", "1.5GiB" or "536870912"."""
    if value is None:
        return None
    return _parsed(
        parse_size, value, "not a size: write 512M, 1.5GiB (of 1024), 8GB (of 1000) or bytes"
    )


def burst(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float:
    """Returns seconds, from milliseconds or from anything that interval() takes."""
    if value is None:
        return 0.0
    seconds = _parsed(parse_interval, value, "not a time: write 500 (milliseconds), 500ms or 1s")
    if not seconds <= LONGEST_INTERVAL:
        raise click.BadParameter(f"{value!r} is out of range: write 3600s at most.")
    return seconds


def watched(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Returns what duration() does, if it is long enough to judge a trend."""
    seconds = duration(ctx, param, value)
    if seconds < 1:
        raise click.BadParameter(f"{value!r} is out of range: write 1s to 100000min.")
    return seconds


def growth(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Returns a part: 0.5 from "50%"."""
    part = _parsed(parse_percent, value, "not a percentage: write 50%")
    if not SMALLEST_GROWTH <= part <= LARGEST_GROWTH:
        raise click.BadParameter(f"{value!r} is out of range: write 1% to 10000%.")
    return part


def sources(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    """Returns names out of event_sources.SOURCES."""
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
                f"unknown source {name!r}: write auto, none, or some of {known}."
            )
    return names


def shell_command(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Rejects an empty command (an unset shell variable)."""
    if value is not None and not value.strip():
        raise click.BadParameter("the command is empty: write one, or leave the option out.")
    return value


def regex(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> re.Pattern[str] | None:
    """Returns a compiled regular expression, in Python's syntax."""
    if value is None:
        return None
    try:
        return re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise click.BadParameter(f"{value!r} is not a regular expression: {error}.") from None


def group_by(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Returns a key that groups.group_key() takes; None when none was given."""
    if value is None:
        return None
    from memwatch.model.groups import UnknownKeyError, group_key

    try:
        group_key(value)
    except UnknownKeyError:
        hint = suggestion(value, KINDS)
        raise click.BadParameter(
            f"unknown key {value!r} ({hint}); to use it as a regex write '({value})'."
        ) from None
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    return value


def metric(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Metric | None:
    """Returns the metric of that name; None when none was given."""
    return None if value is None else Metric(value)


def top(_ctx: click.Context, _param: click.Parameter, value: str) -> int | None:
    """Returns a number of rows, or None for "all"."""
    if value == "all":
        return None
    # Python refuses to read a number of more than 4300 digits.
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise click.BadParameter(f"{value!r} is neither a number of processes nor 'all'.")
    return int(value)


def thresholds(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> Thresholds:
    """Returns thresholds, from "5%", "50M" and "GROUP=5%"."""
    from memwatch.analysis.thresholds import parse_thresholds

    try:
        return parse_thresholds(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


# Options ------------------------------------------------------------------------------------------

FILE: Callable[[Any], Any] = click.argument("path", metavar="FILE", shell_complete=files)
"""The file that the subcommand reads."""

JSON: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Write JSON.")

GROUP_BY: Callable[[Any], Any] = click.option(
    "--group-by",
    callback=group_by,
    shell_complete=some_of(*KINDS),
    metavar="KEY",
    help="Group processes by command (the default), exe, ppid, cwd, source (what a compiler "
    "compiles), or a REGEX whose first group is the key.",
)


METRIC: Callable[[Any], Any] = click.option(
    "--metric",
    type=click.Choice([each.value for each in Metric]),
    callback=metric,
    help="What to go by: RSS, which counts shared pages once per process, PSS, or the footprint, "
    "which is the memory that the system cannot simply drop.  [default: rss, for jobs on macOS "
    "footprint]",
)


def force(option: str) -> Callable[[Command], Command]:
    """Makes --force, which lets an option overwrite a file."""
    return click.option("--force", is_flag=True, help=f"Let {option} overwrite a file.")


def file(
    *names: str,
    help: str,
    metavar: str = "FILE",
    multiple: bool = False,
    default: str | None = None,
) -> Callable[[Command], Command]:
    """Makes an option that names a file."""
    return click.option(
        *names,
        shell_complete=files,
        multiple=multiple,
        metavar=metavar,
        default=default,
        help=help,
    )


def size_option(name: str, help: str) -> Callable[[Command], Command]:
    """Makes an option that takes a size."""
    return click.option(name, callback=size, metavar="SIZE", help=help)


def threshold(allowed: str) -> Callable[[Command], Command]:
    """Makes --threshold; `allowed` completes the sentence "Allowed increase: …"."""
    return click.option(
        "--threshold",
        "thresholds",
        callback=thresholds,
        multiple=True,
        metavar="[GROUP=]5%|50M",
        help=f"Allowed increase: {allowed} Can be given several times.  "
        "[default: 5 %, at least 1 MiB]",
    )
