"""What the leak check found, as lines of the summary."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch.analysis.leaks import FEWEST_SAMPLES, Leaks
from memwatch.units import (
    Style,
    count,
    cut,
    format_duration,
    format_interval,
    format_size,
    printable,
)


def lines(leaks: Leaks, *, width: int, bold: Style, dim: Style) -> Iterator[str]:
    """Yields the section line by line."""
    yield ""
    if not leaks.found:
        yield f"{bold('Leak check:')} {_nothing(leaks)}"
        return
    yield bold("Possible leaks:") + dim(
        "  (heuristic: sampled RSS grew steadily and was never given back)"
    )
    for leak in leaks.found:
        what = "the job's total"
        if leak.process:
            program = leak.process.program
            words = [program.name, *(program.argv or ())[1:]]
            what = f"pid {leak.process.pid}  {' '.join(map(printable, words))}"
        rate = f"{format_size(round(leak.rate))}/h"
        yield f"  {bold(f'{rate:>12}')}  {cut(what, max(width - 16, 20))}"
        took = format_duration((leak.end - leak.start) / 1e9)
        yield (
            f"                from {format_size(leak.low)} to {format_size(leak.high)} "
            f"({leak.growth * 100:+.0f} %) in {took}; "
            f"a straight line explains {int(leak.fit * 100)} % of it"
        )


def _nothing(leaks: Leaks) -> str:
    long = f"ran for {format_interval(leaks.min_duration / 1e9)} or longer"
    if not leaks.judged and not leaks.total_judged:
        return f"not possible: nothing {long} with at least {FEWEST_SAMPLES} samples."
    found = f"no process {long}, and the job's total did not grow"
    if leaks.judged:
        found = f"{count(leaks.judged, 'process', 'processes')} {long} and none grew"
    return f"nothing found: {found} steadily by {leaks.min_growth * 100:g} % or more (heuristic)."
