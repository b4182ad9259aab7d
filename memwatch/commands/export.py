"""`memwatch export`: writes results in the formats of other tools."""

from __future__ import annotations

import os
import secrets
import stat
import zlib
from collections.abc import Iterable, Iterator
from functools import partial

import click

from memwatch.commands.shared import options
from memwatch.commands.shared.files import (
    are_one_file,
    cannot_write,
    exists,
    is_input,
    load_results,
)
from memwatch.exports.formats import FORMATS
from memwatch.messages import try_write, write_stdout_bytes
from memwatch.storage.load import Results


@click.command("export")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="perfetto: trace for ui.perfetto.dev; firefox: profile for profiler.firefox.com; csv: "
    "every sample of every process; openmetrics: for Prometheus' node_exporter; otlp: "
    "OpenTelemetry metrics; gha: github-action-benchmark; bmf: Bencher.",
)
@options.file(
    "-o",
    "--output",
    metavar="OUT",
    default="-",
    help="Where to write; - is standard output, the default for all formats except perfetto.",
)
@options.force("--output")
@options.FILE
def command(format_name: str, output: str, force: bool, path: str) -> int:
    """Write FILE, a recording or the JSON of a run, in the format of another tool.

    A recording (`memwatch run -o FILE`) has the memory of each process over
    time; the JSON of a run has only its peak. OUT appears when it is complete.

    \b
    Examples:
      memwatch export build.jsonl --format perfetto -o build.pftrace
      memwatch export build.jsonl --format csv -o samples.csv
      memwatch export build.json --format gha -o benchmark.json
    """
    chosen = FORMATS[format_name]
    if output == "-":
        if not chosen.is_text:
            raise click.UsageError(f"{format_name} output is binary: give a file with -o OUT")
        pieces = chosen.export(_load(path, format_name))
        return 0 if try_write(partial(write_stdout_bytes, pieces)) else 1
    if are_one_file(output, path):
        raise is_input(path)
    if not force and is_file(output):
        raise exists(output)
    pieces = chosen.export(_load(path, format_name))
    if output.endswith(".gz"):
        pieces = gzipped(pieces)
    try:
        write_whole(output, pieces, overwrite=force)
    except FileExistsError:
        raise exists(output) from None
    except OSError as error:
        raise cannot_write(output, error) from None
    return 0


def _load(path: str, format_name: str) -> Results:
    chosen = FORMATS[format_name]
    samples = chosen.uses_samples
    results = load_results(path, timeline=samples, tracks=samples, group_by="command")
    if chosen.needs_samples and results.tracks is None:
        raise click.ClickException(
            f"{path!r} has no samples, only peaks: {format_name} needs a recording "
            "(memwatch run -o FILE)"
        )
    return results


def is_file(path: str) -> bool:
    """Whether something is there that would be lost: not a pipe, a terminal or another device."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return os.path.lexists(path)


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compresses a file piece by piece."""
    gzip = zlib.compressobj(level=1, wbits=31)
    yield from map(gzip.compress, pieces)
    yield gzip.flush()


def write_whole(path: str, pieces: Iterable[bytes], *, overwrite: bool) -> None:
    """Writes a file beside its place, and moves it there when it is complete.

    So a reader like node_exporter never sees a part of it. A device is written to directly. Raises
    OSError, and FileExistsError when there is a file that is not to be overwritten.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as out:
            out.writelines(pieces)
        return
    beside = os.path.join(os.path.dirname(target), f".memwatch-{secrets.token_hex(8)}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(fd, "wb") as out:
            out.writelines(pieces)
        if not overwrite and os.path.lexists(target):
            raise FileExistsError(target)
        os.rename(beside, target)
    except BaseException:
        os.unlink(beside)
        raise
