"""A series of runs as text, and as JSON with the keys of schema/repeats.schema.json."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

from memwatch.analysis import wording
from memwatch.analysis.repeats import RepeatedRun, Series, Spread
from memwatch.units import (
    Style,
    command_text,
    count,
    cut,
    format_interval,
    format_size,
    kib,
    unicode_text,
)

_SIZES: tuple[tuple[str, str, Callable[[RepeatedRun], float | None]], ...] = (
    ("Total RSS", "total_rss_kib", lambda run: run.total_rss),
    ("Total PSS", "total_pss_kib", lambda run: run.total_pss),
    ("Largest process, RSS", "largest_process_kib", lambda run: run.largest),
)
_OTHERS: tuple[
    tuple[str, str, Callable[[RepeatedRun], float | None], Callable[[float], str]], ...
] = (
    ("Processes", "processes", lambda run: run.processes, lambda value: f"{value:,g}"),
    ("Duration", "duration_seconds", lambda run: run.duration, lambda value: f"{value:.2f} s"),
)
_NAME = max(map(len, [*(name for name, *_ in _SIZES), *(name for name, *_ in _OTHERS)]))


def progress(run: RepeatedRun, wanted: int) -> str:
    """Returns one line on a run that is over."""
    parts = [
        f"{name} {wording.size(size)}"
        for name, size in (("total RSS", run.total_rss), ("largest process", run.largest))
    ]
    parts.append(format_interval(run.duration))
    if run.exit_code != 0:
        parts.append(f"exit code {run.exit_code}")
    return f"run {run.number} of {wanted}: {', '.join(parts)}"


def lines(series: Series, *, width: int, bold: Style, dim: Style) -> Iterator[str]:
    """Yields the report line by line."""
    yield ""
    yield f"{bold('Job:')} {cut(command_text(series.command), width - 5)}"
    counted = len(series.counted)
    runs = f"{counted}" if counted == series.wanted else f"{counted} of {series.wanted}"
    yield f"Runs:  {runs}, a sample every {format_interval(series.interval / 1e9)}"
    if counted:
        yield ""
        yield dim(f"{'':<{_NAME}}  {'median':>10}  {'lowest':>10}  {'highest':>10}  {'spread':>7}")
        for name, _, read in _SIZES:
            yield from _row(name, series.spread(read), format_size, counted, bold)
        for name, _, read, form in _OTHERS:
            yield from _row(name, series.spread(read), form, counted, bold)
    yield ""
    yield from _notes(series, dim)


def _row(
    name: str, spread: Spread | None, form: Callable[[Any], str], counted: int, bold: Style
) -> Iterator[str]:
    if spread is None:
        return
    ends = "  ".join(f"{form(value):>10}" for value in (spread.least, spread.most))
    relative = "" if spread.relative is None else f"{spread.relative * 100:.1f} %"
    known = "" if spread.known == counted else f"  (known in {count(spread.known, 'run')})"
    median = bold(f"{form(spread.median):>10}")
    yield f"{name:<{_NAME}}  {median}  {ends}  {relative:>7}{known}".rstrip()


def _notes(series: Series, dim: Style) -> Iterator[str]:
    failed = series.failed
    if series.signal:
        name = signal.Signals(series.signal).name
        last = f"run {series.runs[-1].number} is not counted" if series.runs else "no run was made"
        yield f"Ended by {name}: {last}."
    elif failed:
        yield (
            f"Run {failed.number} ended with exit code {failed.exit_code}: it is not counted, and "
            "no more runs were made."
        )
    for run in series.runs:
        if run.doubt and run is not failed:
            yield f"Run {run.number} is not counted: {run.doubt}."
    for number in series.left_behind:
        yield f"Run {number} left processes behind: later runs may include what those do."
    counted = series.counted
    if not counted:
        return
    yield dim(
        "Total RSS is the highest sum at one sample, or the peak of one process if that is higher."
    )
    exact = sum(run.is_exact for run in counted)
    if exact == len(counted):
        yield dim("All process peaks are exact.")
    else:
        runs = count(len(counted) - exact, "run")
        yield dim(f"Some process peaks are lower bounds in {runs}.")


def document(series: Series) -> dict[str, Any]:
    """Returns the document for JSON."""
    reads = [(key, read) for _, key, read in _SIZES]
    others = [(key, read) for _, key, read, _ in _OTHERS]
    return {
        "command": [unicode_text(word) for word in series.command],
        "interval_ms": series.interval / 1e6,
        "repeats": series.wanted,
        "counted": len(series.counted),
        "exit_code": series.exit_code,
        "ended_by_signal": series.signal or None,
        "left_processes_behind": list(series.left_behind),
        "runs": [
            {
                "number": run.number,
                "exit_code": run.exit_code,
                "counted": run in series.counted,
                "recording": None if run.recording is None else unicode_text(run.recording),
                "all_peaks_exact": run.is_exact,
                **{key: _kib(read(run)) for key, read in reads},
                **{key: read(run) for key, read in others},
            }
            for run in series.runs
        ],
        "spread": {
            **{key: _spread(series.spread(read), _kib) for key, read in reads},
            **{key: _spread(series.spread(read), lambda value: value) for key, read in others},
        },
    }


def _kib(size: float | None) -> int | None:
    return None if size is None else kib(round(size))


def _spread(
    spread: Spread | None, form: Callable[[float], float | None]
) -> dict[str, float | None] | None:
    if spread is None:
        return None
    return {
        "median": form(spread.median),
        "min": form(spread.least),
        "max": form(spread.most),
        "runs": spread.known,
    }
