"""`memwatch view`: makes one HTML page of results and opens it in the browser."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress

import click

from memwatch.commands.shared import options
from memwatch.commands.shared.files import are_one_file, exists, is_input, load_results
from memwatch.messages import complain, print_lines
from memwatch.storage.load import Results


@click.command("view")
@options.file(
    "--html", "out", metavar="OUT", help="Write the page to OUT, not to a temporary file."
)
@click.option("--no-open", is_flag=True, help="Only write the page: do not open the browser.")
@options.GROUP_BY
@options.force("--html")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, shell_complete=options.files)
def command(
    out: str | None, no_open: bool, group_by: str | None, force: bool, paths: tuple[str, ...]
) -> int:
    """Show FILE, a recording (`memwatch run -o FILE`) or the JSON of a run, in the browser.

    Makes one HTML file that needs nothing else: the total over time by group,
    each process over its life, tables to sort and search. Several files share
    one time axis, each from the start of its command. Prints the path of the
    page.

    \b
    Examples:
      memwatch view build.jsonl
      memwatch view before.jsonl after.jsonl
      memwatch view build.jsonl --group-by source
      memwatch view build.jsonl.gz --html build.html --no-open
    """
    if out is not None:
        _check(out, paths, overwrite=force)
    results = [load_results(path, timeline=True, tracks=True, group_by=group_by) for path in paths]
    html = _render(results).encode("utf-8", "backslashreplace")
    try:
        written = _write_temporary(html, paths[0]) if out is None else _write(out, html, force)
    except OSError as error:
        where = repr(out) if out is not None else "a temporary file"
        raise click.ClickException(
            f"cannot write {where}: {error.strerror}; choose another with --html"
        ) from None
    is_printed = print_lines([written])
    if not no_open:
        _open(written)
    return 0 if is_printed else 1


def _check(out: str, paths: tuple[str, ...], *, overwrite: bool) -> None:
    """Refuses a bad output before the work. Raises ClickException."""
    if any(are_one_file(out, path) for path in paths):
        raise is_input(out)
    if os.path.lexists(out) and not overwrite:
        raise exists(out)
    folder = os.path.dirname(out) or "."
    if not os.path.isdir(folder):
        raise click.ClickException(f"cannot write {out!r}: there is no folder {folder!r}")


def _render(results: list[Results]) -> str:
    from memwatch.view.model import page_of
    from memwatch.view.page import render

    return render(
        [
            (page_of(each.profile, each.tracks, each.path, each.host, len(results)), each.profile)
            for each in results
        ]
    )


def _write(path: str, html: bytes, overwrite: bool) -> str:
    """Writes the page and returns its path. Raises OSError; a new file is removed then."""
    is_new = not os.path.lexists(path)
    how = os.O_TRUNC if overwrite else os.O_EXCL
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o666)
    try:
        with open(fd, "wb") as file:
            file.write(html)
    except OSError:
        if is_new:
            os.unlink(path)
        raise
    return path


def _write_temporary(html: bytes, source: str) -> str:
    """Writes the page to a new file, named after its source. Returns the path. Raises OSError."""
    stem = os.path.basename(source).split(".")[0]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:60]
    fd, path = tempfile.mkstemp(prefix=f"memwatch-{stem}-", suffix=".html")
    try:
        with open(fd, "wb") as file:
            file.write(html)
    except OSError:
        with suppress(OSError):
            os.unlink(path)
        raise
    return path


def _open(path: str) -> None:
    import webbrowser
    from pathlib import Path

    if not webbrowser.open(Path(path).absolute().as_uri()):
        complain("no browser was found: open the page yourself, or set BROWSER")
