"""What the leak check found, in the summary and in the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memwatch.leaks import FEWEST_SAMPLES, Leak, Leaks
from memwatch.profile import Profile
from memwatch.units import (
    Style,
    count,
    cut,
    format_date,
    format_duration,
    format_interval,
    format_size,
    kib,
    printable,
    unicode_text,
)


def lines(leaks: Leaks, *, width: int, bold: Style, dim: Style) -> Iterator[str]:
    yield ""
    if not leaks.found:
        yield f"{bold('Leak check:')} {_nothing(leaks)}"
        return
    yield bold("Possible leaks:") + dim(
        "  (a heuristic: sampled RSS that grew steadily and was not given back)"
    )
    for leak in leaks.found:
        who = "the job's total"
        if leak.process:
            program = leak.process.program
            words = [program.name, *(program.argv or ())[1:]]
            who = f"pid {leak.process.pid}  {' '.join(map(printable, words))}"
        rate = f"{format_size(round(leak.rate))}/h"
        yield f"  {bold(f'{rate:>12}')}  {cut(who, max(width - 16, 20))}"
        took = format_duration((leak.end - leak.start) / 1e9)
        yield (
            f"                from {format_size(leak.low)} to {format_size(leak.high)} "
            f"({leak.growth * 100:+.0f} %) in {took}; "
            f"a straight line explains {int(leak.fit * 100)} % of that"
        )


def _nothing(leaks: Leaks) -> str:
    long = f"ran for {format_interval(leaks.min_duration / 1e9)} or longer"
    if not leaks.judged and not leaks.total_judged:
        return f"not possible: nothing {long} and was in {FEWEST_SAMPLES} samples."
    who = f"no process {long}, and the job's total did not grow"
    if leaks.judged:
        who = f"of {count(leaks.judged, 'process', 'processes')} that {long} none grew"
    return f"nothing found: {who} steadily by {leaks.min_growth * 100:g} % or more (a heuristic)."


def document(leaks: Leaks, profile: Profile) -> dict[str, Any]:
    """The value of "leaks" in the JSON."""
    return {
        "heuristic": True,
        "min_growth_percent": round(leaks.min_growth * 100, 4),
        "min_duration_seconds": leaks.min_duration / 1e9,
        "processes_judged": leaks.judged,
        "total_judged": leaks.total_judged,
        "found": [_leak(leak, profile) for leak in leaks.found],
    }


def _leak(leak: Leak, profile: Profile) -> dict[str, Any]:
    process = leak.process
    argv = process.program.argv if process else None
    return {
        "kind": "process" if process else "total",
        "pid": process.pid if process else None,
        "serial": process.serial if process else None,
        "command": unicode_text(process.program.name) if process else None,
        "argv": None if argv is None else [unicode_text(word) for word in argv],
        "rate_kib_per_hour": round(leak.rate / 1024),
        "fit": round(leak.fit, 4),
        "growth_percent": round(leak.growth * 100, 1),
        "from_kib": kib(leak.low),
        "to_kib": kib(leak.high),
        "from_time": format_date(profile.clock.realtime_at(leak.start)),
        "to_time": format_date(profile.clock.realtime_at(leak.end)),
        "rss_source": "sampled",
    }
