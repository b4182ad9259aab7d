"""The `memwatch` command: its subcommands, and the one place that reports their errors."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from memwatch import settings
from memwatch.messages import complain, hold_standard_descriptors, print_lines, try_write
from memwatch.version import __version__

COMMANDS = ("run", "report", "view", "compare", "ci-check", "plan", "export", "doctor")


class LazyGroup(click.Group):
    """Imports a subcommand's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"memwatch.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, words = super().resolve_command(ctx, args)
        is_run = not ctx.resilient_parsing  # which is set while a shell completes a line
        if is_run and command and words[:1] not in (["--help"], ["-h"]):
            settings.apply(ctx, command, words, COMMANDS)
        return name, command, words

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            settings.name_origin(error)
            raise


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from platform import python_implementation, python_version

    from memwatch.runner import native

    # What a bug report needs. The version of a backend is that of the system it runs on.
    system = os.uname()
    is_printed = print_lines(
        (
            f"memwatch {__version__}",
            f"Build date:  {native.build_date()}",
            f"Target:      {native.build_target()}",
            f"Backend:     {native.backend()}, on {system.sysname} {system.release}",
            # The "t" of a free-threaded build is in the flags only.
            f"Python:      {python_implementation()} {python_version()}{sys.abiflags}",
        )
    )
    ctx.exit(0 if is_printed else 1)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    no_args_is_help=False,  # True would put the whole help into the error
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version, build date, target platform, and the system it runs on.",
)
def cli() -> None:
    """Profile the memory of a whole job: every process it starts, totals over time, peaks."""


def main() -> None:
    """Runs the command line and exits, with 1 for any error of memwatch itself."""
    hold_standard_descriptors()
    if asked := os.environ.get("_MEMWATCH_COMPLETE"):
        from memwatch import completion

        _exit(completion.answer(cli, asked, sys.argv[1:]))
    try:
        code = cli.main(prog_name="memwatch", standalone_mode=False)
    except click.ClickException as error:
        code = 1
        _complain(error)
    except click.Abort:
        code = 130
    except OSError as error:
        code = 1
        complain(str(error))
    _exit(code or 0)


def _exit(code: int) -> NoReturn:
    """Ends the process without finalizing the interpreter.

    That would take 10 ms more, half of the time from the end of the command to the end of memwatch,
    and nothing is left to save except what --help may have printed.
    """
    if sys.stdout is not None and not try_write(sys.stdout.flush):
        code = code or 1
    os._exit(code)


def _complain(error: click.ClickException) -> None:
    """Reports an error in one line that names the input and the remedy."""
    text = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx:
        text = f"{text.rstrip('.')}. See '{error.ctx.command_path} --help'."
    complain(text)
