"""Writes the manual pages: `python docs/man_pages.py FOLDER`. setup.py runs it.

click-man lays out the text of --help and of the table of exit codes in docs/output.md, with the
characters escaped that roff would interpret.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from types import SimpleNamespace

import cffi
import click

try:
    from click_man.man import ManPage
except ImportError:
    sys.exit("click-man, which makes the manual pages, is not installed: pip install click-man")

ROOT = Path(__file__).parent.parent

EXIT_CODES = "| exit code | of | meaning |\n|---|---|---|\n"

# Turns hyphenation and gaps between words off.
PLAIN = ".nh\n.ad l\n"

# Says where an option of a command can come from besides the command line.
SETTINGS = """\
.SH ENVIRONMENT
.TP
\\fBMEMWATCH_{upper}_\\fP\\fIOPTION\\fP
An option, its name in capitals with underscores: MEMWATCH_RUN_INTERVAL=10, for example.
It overrides pyproject.toml.
.SH FILES
.TP
\\fIpyproject.toml\\fP
The nearest one upward can have options below \\fB[tool.memwatch.{name}]\\fP, except those that
write files or run programs.
"""


def import_commands() -> click.Group:
    """Imports the command line, whether or not the extension can be loaded.

    The extension may be for another machine, or not built yet. Its declarations and the name of a
    backend, on which no page depends, are enough to import the rest.
    """
    ffi = cffi.FFI()
    ffi.cdef((ROOT / "csrc/api.h").read_text(encoding="utf-8"))
    lib = SimpleNamespace(mw_backend=lambda: ffi.new("char[]", b"unsupported"))
    sys.modules["memwatch.runner._native"] = SimpleNamespace(ffi=ffi, lib=lib)
    sys.path.insert(0, str(ROOT))
    from memwatch.cli import cli

    return cli


def roff(text: str) -> str:
    """Returns text with its `code` in bold and everything escaped that roff would interpret."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fP", text)
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def option(names: str, text: str) -> tuple[str, str]:
    """Returns an option as click shows it: ("-i, --interval TIME", "Time between …").

    ManPage escapes the dashes of the first string and makes its first word bold.
    """
    first, *others = names.split()
    words = [f"\\fB{word}\\fP" if word[0] == "-" else f"\\fI{word}\\fP" for word in others]
    return " ".join([first, *words]), roff(text)


def exit_codes(text: str, command: str) -> list[tuple[str, str]]:
    """Returns the exit codes of a subcommand with their meanings; with "" those of all."""
    table = text.partition(EXIT_CODES)[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    codes: dict[str, list[str]] = {}
    for code, of, meaning in rows:
        if of == "all" or f"`{command}`" in of:
            codes.setdefault(code, []).append(meaning)
    return [(code, "; ".join(texts)) for code, texts in codes.items()]


def page(ctx: click.Context, date: str, version: str, codes: str) -> str:
    command, name = ctx.command, ctx.command_path.replace(" ", "-")
    paragraphs = cleandoc(command.help or "").split("\n\n")
    examples = [each for each in paragraphs if each.startswith("\b\nExamples:\n")]
    man = ManPage(ctx.command_path)
    man.short_help = roff(brief(command).rstrip(".").replace("`", ""))
    man.synopsis = " ".join(command.collect_usage_pieces(ctx))
    man.description = roff("\n\n".join(each for each in paragraphs if each not in examples))
    options = [each for each in command.get_params(ctx) if isinstance(each, click.Option)]
    records = [each.get_help_record(ctx) for each in options]
    man.options = [option(*record) for record in records if record]
    title = f'.TH {roff(name.upper())} 1 {date} "memwatch {version}" "User Commands"\n'
    text = title + PLAIN + str(man).partition("\n")[2]
    if isinstance(command, click.Group):
        children = [child for _, child in subcommands(ctx, command)]
        text += section("COMMANDS", [(f"`{child.name}`", brief(child)) for child in children])
        text += section("EXIT STATUS", exit_codes(codes, ""))
        others = [f"{name}-{child.name}" for child in children]
    else:
        called = command.name or ""
        text += SETTINGS.format(upper=called.upper().replace("-", "_"), name=called)
        text += section("EXIT STATUS", exit_codes(codes, called))
        others = ["memwatch"]
    if examples:
        lines = [line.strip() for line in examples[0].splitlines()[2:]]
        text += "\n".join([".SH EXAMPLES", ".nf", roff("\n".join(lines)), ".fi\n"])
    return text + ".SH SEE ALSO\n" + ",\n".join(f".BR {roff(each)} (1)" for each in others) + "\n"


def brief(command: click.Command) -> str:
    """Returns the first paragraph of a command's help in one line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def section(heading: str, entries: list[tuple[str, str]]) -> str:
    return f".SH {heading}\n" + "".join(
        f".TP\n{roff(tag)}\n{roff(text)}\n" for tag, text in entries
    )


def subcommands(ctx: click.Context, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command and not command.hidden:
            yield name, command


def main(folder: Path) -> None:
    group = import_commands()
    from memwatch import __version__

    # Reproducible builds set this: https://reproducible-builds.org/specs/
    day = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    date = time.strftime("%Y-%m-%d", day)
    codes = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    top = click.Context(group, info_name="memwatch", **group.context_settings)
    children = [
        click.Context(command, info_name=name, parent=top)
        for name, command in subcommands(top, group)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for ctx in (top, *children):
        path = folder / f"{ctx.command_path.replace(' ', '-')}.1"
        path.write_text(page(ctx, date, __version__, codes), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/man_pages.py FOLDER")
    main(Path(sys.argv[1]))
