"""Filters: which processes are shown, and in which order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.filters import Filter, apply
from memwatch.model.observations import ProgramText
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import (
    FOUND_BY_SAMPLING,
    NO_PEAK,
    NO_USAGE,
    SAMPLED,
    Peak,
    Process,
    Program,
)


def process(serial: int, name: str, rss: int | None) -> Process:
    peak = NO_PEAK if rss is None else Peak(rss, 5, SAMPLED)
    program = Program(ProgramText(name, None, None, False), 1, False, peak)
    return Process(
        *(serial, 100, 1, None, None, 1, 2, None, False, (program,)),
        *(FOUND_BY_SAMPLING, False, rss is not None, NO_USAGE),
    )


# Few values, so that some are equal, and the highest possible one.
sizes = st.none() | st.integers(0, 3) | st.integers(0, 2**63 - 1)
tables = st.lists(
    st.tuples(st.integers(1, 2**63 - 1), st.sampled_from(["cc1", "ld", "make"]), sizes),
    max_size=30,
    unique_by=lambda row: row[0],
)


@given(tables, st.sampled_from([None, "cc1|ld"]), st.sampled_from([None, "ld"]))
def test_highest_peak_first(
    rows: list[tuple[int, str, int | None]], include: str | None, exclude: str | None
) -> None:
    table = ProcessTable()
    for row in rows:
        table.add(process(*row))
    chosen = Filter(include and re.compile(include), exclude and re.compile(exclude))
    shown = apply(table, chosen)

    def is_shown(name: str) -> bool:
        return (not include or name in ("cc1", "ld")) and not (exclude and name == "ld")

    expected = sorted(
        (process(*row) for row in rows if is_shown(row[1])),
        key=lambda each: (-each.peak.rss, each.serial),
    )
    assert list(shown.processes) == expected
    assert shown.processes[:2] == expected[:2]
    assert shown.processes[1:-1] == expected[1:-1]
    assert shown.hidden == len(rows) - len(expected)
    assert shown.hidden_rss == sum(rss or 0 for _, name, rss in rows if not is_shown(name))
    with pytest.raises(IndexError):
        shown.processes[len(expected)]
