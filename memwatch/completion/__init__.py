"""Shell completion: what can follow `memwatch ...`, and the scripts for bash, zsh and fish.

`_MEMWATCH_COMPLETE=bash_source memwatch` prints the script. At each TAB the script calls
`_MEMWATCH_COMPLETE=bash_complete memwatch WORD...` with the words up to the cursor, of which the
last may be empty. The answer has a line for each possibility: "KIND\tVALUE\tHELP". KIND is

    plain    VALUE can stand there; HELP describes it, or is empty
    file     the name of a file, which begins with VALUE
    dir      the name of a folder, which begins with VALUE
    command  another command begins at word VALUE, where `memwatch` itself is word 0

The scripts are our own because click's do not complete a command within a command, nor
`--option=value` in all shells, and because their protocol changes between releases of click, while
an installed script stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.resources import files

import click
from click.shell_completion import ShellComplete

from memwatch.messages import complain, write_stdout

VARIABLE = "_MEMWATCH_COMPLETE"

SCRIPTS = {"bash": "memwatch.bash", "zsh": "_memwatch", "fish": "memwatch.fish"}


def answer(cli: click.Group, instruction: str, words: Sequence[str]) -> int:
    """Prints what the variable asks for. Returns the exit code.

    `words` are those after `memwatch`.
    """
    shell, _, what = instruction.partition("_")
    if shell not in SCRIPTS or what not in ("source", "complete"):
        known = ", ".join(f"{each}_source" for each in SCRIPTS)
        complain(f"unknown {VARIABLE}={instruction!r}: write one of {known}")
        return 1
    if what == "source":
        text = [files("memwatch.completion").joinpath(SCRIPTS[shell]).read_text("utf-8")]
    else:
        # While the user is typing a line, nothing except the answer may be printed.
        os.environ.pop(VARIABLE)
        try:
            text = list(lines(cli, words, splits_equals=shell == "bash"))
        except Exception:
            return 1
    try:
        write_stdout(lambda out: out.writelines(text))
    except OSError:
        return 1
    return 0


def lines(cli: click.Group, words: Sequence[str], *, splits_equals: bool) -> Iterator[str]:
    """Yields the answer. Bash splits `--option=value` into `--option`, `=`, `value`."""
    args, places = _joined(words) if splits_equals else (list(words), list(range(len(words))))
    incomplete = args.pop() if args else ""
    start = _command_start(cli, args)
    if start is not None:
        yield f"command\t{places[start] + 1}\t\n"
        return
    for item in ShellComplete(cli, {}, "memwatch", VARIABLE).get_completions(args, incomplete):
        value = places[len(args)] + 1 if item.type == "command" else item.value
        yield f"{item.type}\t{value}\t{' '.join((item.help or '').split())}\n"


def _joined(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Joins options with their values again. Returns the words, and where each began."""
    args: list[str] = []
    places: list[int] = []
    for place, word in enumerate(words):
        after_option = bool(args) and args[-1].startswith("--") and args[-1] != "--"
        if after_option and (word == "=" or (args[-1].endswith("=") and words[place - 1] == "=")):
            args[-1] += word
        else:
            args.append(word)
            places.append(place)
    return args, places


def _command_start(cli: click.Group, args: Sequence[str]) -> int | None:
    """Returns where among the words the command of `memwatch run` begins; None if it does not."""
    if args[:1] != ["run"]:
        return None
    command = cli.get_command(click.Context(cli), "run")
    assert command
    given = command.make_context("run", list(args[1:]), resilient_parsing=True).params["words"]
    return len(args) - len(given) if given else None
