"""Options from the environment and the project: MEMWATCH_RUN_INTERVAL, [tool.memwatch.run].

The command line comes first, then the environment, then the nearest pyproject.toml, then the
default. Values are checked like those of the command line, and refused with the same messages.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from memwatch.messages import complain
from memwatch.units import printable, suggestion

PROJECT = "pyproject.toml"

# Options that ask for something and are not settings.
QUESTIONS = ("help", "show-settings")

# Options that write files or run programs: a project must not do that to a user who only entered
# its folder, and a memwatch within the job must not write to the same file.
NOT_IN_PROJECTS = frozenset({"output", "force", "csv", "timeline", "html", "junit", "post-run-cmd"})

_META = "memwatch.settings"


class Setting(NamedTuple):
    """The value of an option, and where it comes from."""

    value: str | bool | list[str]
    text: str
    """The value as it was given."""
    origin: str
    """An environment variable, or a key and its file."""


class _Applied(NamedTuple):
    settings: Mapping[str, Setting]
    """By the name of the parameter."""
    words: Sequence[str]
    """The command line."""


def apply(
    ctx: click.Context, command: click.Command, words: Sequence[str], commands: Collection[str]
) -> None:
    """Makes the settings of a subcommand its defaults. Raises ClickException.

    `ctx` is the context of the group, `commands` are all its subcommands.
    """
    name = command.name or ""
    options = {
        _name(param): param
        for param in command.params
        if isinstance(param, click.Option) and _name(param) not in QUESTIONS
    }
    settings = {**_of_project(name, options, commands), **_of_environment(name, options)}
    found = {str(options[key].name): setting for key, setting in settings.items()}
    ctx.meta[_META] = _Applied(found, tuple(words))
    ctx.default_map = {name: {key: setting.value for key, setting in found.items()}}


def name_origin(error: click.BadParameter) -> None:
    """Makes an error name the origin of a bad value that is not from the command line."""
    if error.ctx and error.param and error.param.name:
        source = error.ctx.get_parameter_source(error.param.name)
        if source == ParameterSource.DEFAULT_MAP:
            error.param_hint = error.ctx.meta[_META].settings[error.param.name].origin


def origins(ctx: click.Context, *names: str) -> str:
    """Returns the origins of those parameters whose values are settings, as " (…)", for an error
    that names options that were not typed. Empty when there are none."""
    applied: _Applied = ctx.meta[_META]
    found = [
        applied.settings[name].origin
        for name in names
        if ctx.get_parameter_source(name) == ParameterSource.DEFAULT_MAP
    ]
    return f" ({', '.join(found)})" if found else ""


def lines(ctx: click.Context) -> Iterator[str]:
    """Yields a line for each option of the subcommand: its value and where that comes from."""
    applied: _Applied = ctx.meta[_META]
    given, _, _ = ctx.command.make_parser(ctx).parse_args(list(applied.words))
    rows = []
    for param in ctx.command.params:
        if not isinstance(param, click.Option) or _name(param) in QUESTIONS:
            continue
        name = str(param.name)
        source = ctx.get_parameter_source(name)
        if source == ParameterSource.COMMANDLINE:
            text, origin = _text(given[name]), "command line"
        elif source == ParameterSource.DEFAULT_MAP:
            _, text, origin = applied.settings[name]
        else:
            text, origin = _text(param.to_info_dict()["default"]), "default"
        rows.append((_name(param), printable(text), origin))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, text, origin in rows:
        yield f"{name:<{widths[0]}}  {text:<{widths[1]}}  {origin}"


def _name(option: click.Option) -> str:
    """Returns the name of an option without the dashes."""
    return next((opt[2:] for opt in option.opts if opt.startswith("--")), str(option.name))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


# The environment ----------------------------------------------------------------------------------


def _of_environment(command: str, options: Mapping[str, click.Option]) -> dict[str, Setting]:
    """Returns the settings from the environment, and removes them there.

    They are for this memwatch, not for one that the job runs, which would write to the same files.
    """
    prefix = f"MEMWATCH_{_upper(command)}_"
    names = {prefix + _upper(key): key for key in options}
    found = {}
    for variable in [each for each in os.environ if each.startswith(prefix)]:
        text = os.environ.pop(variable)
        key = names.get(variable)
        if key is None:
            asks = variable in {prefix + _upper(each) for each in QUESTIONS}
            remedy = "write it on the command line" if asks else suggestion(variable, names)
            complain(f"ignoring {printable(variable)}, which is not a setting ({remedy})")
        elif text:
            value = text.split() if options[key].multiple else text
            found[key] = Setting(value, text, f"environment variable {variable}")
    return found


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


# The project --------------------------------------------------------------------------------------


def _of_project(
    command: str, options: Mapping[str, click.Option], commands: Collection[str]
) -> dict[str, Setting]:
    path, tables = _read_project()
    for key, table in tables.items():
        if key not in commands:
            under = f"write it under [tool.memwatch.{command}]" if key in options else ""
            remedy = under or suggestion(key, commands)
            raise click.ClickException(
                f"{path!r}: unknown key {key!r} in [tool.memwatch] ({remedy})"
            )
        if not isinstance(table, dict):
            raise click.ClickException(
                f"{path!r}: {key!r} in [tool.memwatch] is not a table: write [tool.memwatch.{key}]"
            )
    place = f"[tool.memwatch.{command}] of {path!r}"
    found = {}
    for key, value in tables.get(command, {}).items():
        if key in NOT_IN_PROJECTS:
            raise click.ClickException(
                f"{key!r} in {place}: an option that writes files or runs programs can only be set "
                "by an environment variable or on the command line; remove it there"
            )
        if key not in options:
            raise click.ClickException(
                f"unknown setting {key!r} in {place} ({suggestion(key, options)})"
            )
        checked = _checked(value, options[key])
        if checked is None:
            raise click.ClickException(
                f"{key!r} in {place} is {_kind(value)}: write {_example(key, options[key])}"
            )
        found[key] = Setting(checked, _text(checked), f"{key!r} in {place}")
    return found


def _checked(value: Any, option: click.Option) -> str | bool | list[str] | None:
    """Returns the value as click takes it; None when it is of the wrong type."""
    if option.is_flag:
        return value if isinstance(value, bool) else None
    if option.multiple:
        return [str(each) for each in value] if _is_list(value) else None
    return str(value) if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_plain, value))


def _kind(value: Any) -> str:
    kinds = {bool: "a boolean", dict: "a table", list: "an array", str: "a string"}
    numbers = {int: "a number", float: "a number"}
    return (kinds | numbers).get(type(value), "a date or time")


def _example(key: str, option: click.Option) -> str:
    if option.is_flag:
        return f"{key} = true"
    return f'{key} = ["…"]' if option.multiple else f'{key} = "…"'


def _read_project() -> tuple[str, dict[str, Any]]:
    """Returns the path of the nearest pyproject.toml upward and its [tool.memwatch]; ("", {}) for
    none."""
    for path in _candidates():
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                continue
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            # In a folder that may not be searched, assume that there is none.
            if not os.path.lexists(path):
                continue
            raise click.ClickException(
                f"cannot read {path!r}, which may have settings: {error.strerror}; make it "
                "readable, or work elsewhere"
            ) from None
        # Most projects do not name memwatch: parsing them would cost more than all the rest here.
        return (path, _parse(path, data)) if b"tool.memwatch" in data else ("", {})
    return "", {}


def _candidates() -> Iterator[str]:
    try:
        folder = os.getcwd()
    except OSError:  # the folder was removed
        return
    while True:
        yield os.path.join(folder, PROJECT)
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _parse(path: str, data: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{path!r} is not valid TOML: {error}; correct it") from None
    tool = document.get("tool")
    tables = tool.get("memwatch", {}) if isinstance(tool, dict) else {}
    if not isinstance(tables, dict):
        raise click.ClickException(
            f"{path!r}: 'memwatch' in [tool] is not a table: write [tool.memwatch.run]"
        )
    return tables
