"""The formats there are, by the name that the command line has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from memwatch.exports import bmf, csv, firefox, gha, openmetrics, otlp, perfetto
from memwatch.storage.load import Results


class Format(NamedTuple):
    export: Callable[[Results], Iterator[bytes]]
    """The file, piece by piece."""
    is_text: bool = True
    uses_samples: bool = False
    """It shows values over time, so load() should bring them."""
    needs_samples: bool = False
    """It shows nothing else."""


FORMATS = {
    "perfetto": Format(perfetto.export, is_text=False, uses_samples=True),
    "firefox": Format(firefox.export, uses_samples=True),
    "csv": Format(csv.export, uses_samples=True, needs_samples=True),
    "openmetrics": Format(openmetrics.export),
    "otlp": Format(otlp.export, uses_samples=True),
    "gha": Format(gha.export),
    "bmf": Format(bmf.export),
}
