"""What a shell completes after `memwatch`, and the scripts that let bash, zsh and fish ask for it.

`_MEMWATCH_COMPLETE=bash_source memwatch` prints the script. That calls, at each TAB,
`_MEMWATCH_COMPLETE=bash_complete memwatch WORD...` with the words up to the cursor, of which the
last may be empty, and gets a line for each possibility: "KIND\tVALUE\tHELP". KIND is

    plain    VALUE can stand there; HELP tells about it, or is empty
    file     the name of a file, of which there is VALUE so far
    dir      the same of a folder
    command  another command begins with word VALUE, where `memwatch` itself is word 0

These are our own, and not click's, since those know no commands within commands, nor
`--option=value` in all shells, and change from release to release beside scripts that are
installed.
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
        complain(f"{VARIABLE}={instruction!r} asks for nothing known: write one of {known}")
        return 1
    if what == "source":
        text = [files("memwatch.completion").joinpath(SCRIPTS[shell]).read_text("utf-8")]
    else:
        # In the middle of a line that somebody is typing nothing may be said but the answer.
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
    """The answer. Bash makes `--option`, `=`, `value` of `--option=value`."""
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
    """The words with options and their values in one again, and where each began."""
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
    """Where among the words the command of `memwatch run` begins; None: not among them."""
    if args[:1] != ["run"]:
        return None
    command = cli.get_command(click.Context(cli), "run")
    assert command
    given = command.make_context("run", list(args[1:]), resilient_parsing=True).params["words"]
    return len(args) - len(given) if given else None
