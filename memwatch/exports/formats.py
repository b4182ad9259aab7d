"""All formats, by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from memwatch.exports import bmf, csv, firefox, gha, openmetrics, otlp, perfetto
from memwatch.storage.load import Results


class Format(NamedTuple):
    """A format, and what it needs of the results."""

    export: Callable[[Results], Iterator[bytes]]
    """Yields the file piece by piece."""
    is_text: bool = True
    uses_samples: bool = False
    """Whether it shows values over time, which load() must then read."""
    needs_samples: bool = False
    """Whether it shows nothing else."""


FORMATS = {
    "perfetto": Format(perfetto.export, is_text=False, uses_samples=True),
    "firefox": Format(firefox.export, uses_samples=True),
    "csv": Format(csv.export, uses_samples=True, needs_samples=True),
    "openmetrics": Format(openmetrics.export),
    "otlp": Format(otlp.export, uses_samples=True),
    "gha": Format(gha.export),
    "bmf": Format(bmf.export),
}
