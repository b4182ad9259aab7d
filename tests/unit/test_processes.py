"""ProcessTable, which keeps rows unchanged, and the peaks and programs of a process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.groups import RunningGroup
from memwatch.model.observations import ProgramText
from memwatch.model.process_table import ProcessTable
from memwatch.model.processes import (
    EXACT,
    FOUND_BY,
    FOUND_BY_EVENT,
    FOUND_BY_SAMPLING,
    HELD_SOURCES,
    NO_FOOTPRINT,
    NO_PEAK,
    NO_USAGE,
    PEAK_SOURCES,
    SAMPLED,
    UNKNOWN,
    WATERMARK,
    Footprint,
    Held,
    LiveProcess,
    Peak,
    Process,
    Program,
    Usage,
)
from memwatch.model.spill import MOST_IN_MEMORY

times = st.integers(0, 2**63 - 1)
pids = st.integers(0, 2**31 - 1)
# Decoded text: neither NUL, which separates the words of a command line, nor lone surrogates.
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
texts = st.builds(
    ProgramText,
    name=words,
    exe=st.none() | words,
    # A command line that could be read has a word at least, if an empty one.
    argv=st.none() | st.lists(words, min_size=1, max_size=5).map(tuple),
    argv_cut=st.booleans(),
    cwd=st.none() | words,
)
peaks = st.builds(Peak, rss=times, time=times, source=st.sampled_from(PEAK_SOURCES))
footprints = st.just(NO_FOOTPRINT) | st.builds(
    Footprint, size=times, source=st.sampled_from(PEAK_SOURCES).filter(UNKNOWN.__ne__)
)
programs = st.builds(
    Program, text=texts, since=times, inherited=st.booleans(), peak=peaks, footprint=footprints
)
# Zero is a value and not unknown: a process may have read nothing.
usages = st.builds(Usage, *[st.none() | times] * len(Usage._fields))
sizes = st.integers(0, 2**62)
processes = st.builds(
    Process,
    serial=st.integers(1, 2**63 - 1),
    pid=pids,
    ppid=pids,
    parent=st.none() | st.integers(1, 2**63 - 1),
    start=st.none() | times,
    first_seen=times,
    last_seen=times,
    exit_status=st.none() | st.integers(0, 0xFFFF),
    alive=st.booleans(),
    programs=st.lists(programs, min_size=1, max_size=4).map(tuple),
    found_by=st.sampled_from(FOUND_BY),
    end_known=st.booleans(),
    sampled=st.booleans(),
    usage=usages,
    held_by_sample=st.none()
    | st.builds(Held, sizes, sizes, st.none() | sizes, st.sampled_from(HELD_SOURCES)),
)


def table_of(rows: Sequence[Process]) -> ProcessTable:
    table = ProcessTable()
    for row in rows:
        table.add(row)
    return table


@given(st.lists(processes, max_size=6))
def test_what_goes_in_comes_out(rows: list[Process]) -> None:
    table = table_of(rows)
    assert len(table) == len(rows)
    assert list(table) == rows
    assert [table[i] for i in range(len(rows))] == rows
    assert list(reversed(table)) == rows[::-1]


def test_each_usage_field_is_stored_separately() -> None:
    # The numbers differ, so that two swapped fields are noticed.
    usage = Usage(user=1, system=2, read=3, written=4, final_watermark=5)
    row = process(1)._replace(found_by=FOUND_BY_EVENT, end_known=True, sampled=False, usage=usage)
    assert table_of([row])[0] == row
    for name in Usage._fields:
        row = process(1)._replace(usage=NO_USAGE._replace(**{name: 0}))
        assert table_of([row])[0].usage == row.usage
    assert (None,) * len(Usage._fields) == NO_USAGE


def process(serial: int, *programs: Program) -> Process:
    return Process(
        serial=serial,
        pid=100 + serial,
        ppid=1,
        parent=None,
        start=None,
        first_seen=1,
        last_seen=2,
        exit_status=None,
        alive=False,
        programs=programs or (ran("sh", 1),),
        found_by=FOUND_BY_SAMPLING,
        end_known=False,
        sampled=True,
        usage=NO_USAGE,
    )


def ran(name: str, rss: int | None, *, inherited: bool = False, source: str = SAMPLED) -> Program:
    peak = NO_PEAK if rss is None else Peak(rss, 5, source)
    return Program(ProgramText(name, None, None, False), 1, inherited, peak)


@given(
    st.slices(7),
    st.integers(0, 7),
)
def test_slices_are_those_of_a_list(chosen: slice, length: int) -> None:
    rows = [process(serial) for serial in range(1, length + 1)]
    assert table_of(rows)[chosen] == rows[chosen]


def test_indexes_are_those_of_a_list() -> None:
    rows = [process(serial) for serial in (1, 2, 3)]
    table = table_of(rows)
    assert table[-1] == rows[2]
    assert table[-3] == rows[0]
    for index in (3, -4, 10**9):
        with pytest.raises(IndexError):
            table[index]
    with pytest.raises(IndexError):
        ProcessTable()[0]


def test_a_table_is_a_sequence() -> None:
    rows = [process(serial) for serial in (1, 2, 3)]
    table = table_of(rows)
    assert rows[1] in table
    assert process(4) not in table
    assert table.index(rows[2]) == 2
    assert not ProcessTable()


def test_a_process_takes_little_memory() -> None:
    table = ProcessTable()
    count = 20_000
    for serial in range(1, count + 1):
        table.add(process(serial, ran("make", 1, inherited=True), ran("cc", 2)))
    # A row and two programs, of which some may be in a file.
    assert len(table._rows) < count * 200
    assert len(table._rows._newest) <= MOST_IN_MEMORY < len(table._rows)
    assert [each.serial for each in table] == list(range(1, count + 1))
    assert [table[i].serial for i in (0, 77, -1)] == [1, 78, count]


# The program of a process's peak


@pytest.mark.parametrize(
    ("programs", "name", "rss"),
    [
        ((ran("sh", 5),), "sh", 5),
        ((ran("sh", 5), ran("python", 9)), "python", 9),
        ((ran("python", 9), ran("sh", 5)), "python", 9),
        # Memory that it shared with its parent before the first exec does not count...
        ((ran("make", 90, inherited=True), ran("cc", 9)), "cc", 9),
        # ... unless there was no exec.
        ((ran("make", 90, inherited=True),), "make", 90),
        ((ran("make", 90, inherited=True), ran("cc", None)), "cc", None),
        ((ran("a", 7), ran("b", 7)), "a", 7),
    ],
)
def test_the_program_of_the_peak(programs: tuple[Program, ...], name: str, rss: int | None) -> None:
    each = process(1, *programs)
    assert each.peak_program.text.name == name
    assert each.peak == (NO_PEAK if rss is None else Peak(rss, 5, SAMPLED))


@pytest.mark.parametrize(
    ("programs", "source"),
    [
        ((ran("sh", 5, source=EXACT),), EXACT),
        ((ran("sh", 5, source=EXACT), ran("cc", 9, source=EXACT)), EXACT),
        # The smaller program may have held more than was seen.
        ((ran("sh", 5, source=WATERMARK), ran("cc", 9, source=EXACT)), WATERMARK),
        ((ran("cc", 9, source=EXACT), ran("sh", 5, source=SAMPLED)), WATERMARK),
        ((ran("cc", 9, source=EXACT), ran("sh", None)), WATERMARK),
        # The source is no better than that of the largest program.
        ((ran("sh", 5, source=EXACT), ran("cc", 9, source=SAMPLED)), SAMPLED),
        ((ran("sh", 5, source=EXACT), ran("cc", 9, source=WATERMARK)), WATERMARK),
        # What it ran before the first exec does not matter...
        ((ran("make", 90, inherited=True), ran("cc", 9, source=EXACT)), EXACT),
        ((ran("make", None, inherited=True), ran("cc", 9, source=EXACT)), EXACT),
        # ... unless there was no exec.
        ((ran("make", 90, inherited=True, source=EXACT),), EXACT),
        ((ran("make", None, inherited=True),), UNKNOWN),
    ],
)
def test_a_peak_is_exact_when_that_of_every_program_is(
    programs: tuple[Program, ...], source: str
) -> None:
    each = process(1, *programs)
    assert each.peak.source == source
    assert each.peak[:2] == each.peak_program.peak[:2]
    assert table_of([each])[0].peak == each.peak


def test_a_footprint_is_exact_when_that_of_every_program_is() -> None:
    exact, bound = Footprint(5, EXACT), Footprint(4, WATERMARK)
    sh, cc = ran("sh", 1)._replace(footprint=bound), ran("cc", 1)._replace(footprint=exact)
    assert process(1, cc).footprint == exact
    assert process(1, sh, cc).footprint == Footprint(5, WATERMARK)
    assert process(1, sh._replace(inherited=True), cc).footprint == exact
    assert process(1, ran("sh", 1), cc).footprint == Footprint(5, WATERMARK)
    assert process(1, ran("sh", 1)).footprint == NO_FOOTPRINT


def test_a_missing_footprint_takes_no_room() -> None:
    without = process(1, ran("sh", 1), ran("cc", 1))
    programs = tuple(each._replace(footprint=Footprint(0, SAMPLED)) for each in without.programs)
    sizes = [len(table_of([row])._rows) for row in (without, without._replace(programs=programs))]
    assert sizes[1] - sizes[0] == 2 * 8


def test_the_sources_are_in_the_order_of_their_strength() -> None:
    assert PEAK_SOURCES == (UNKNOWN, SAMPLED, WATERMARK, EXACT)


def test_command_and_argv_are_of_the_last_program() -> None:
    last = Program(ProgramText("cc", "/usr/bin/cc", ("cc", "-c"), False), 1, False, NO_PEAK)
    each = process(1, ran("sh", 5), last)
    assert each.command == "cc"
    assert each.argv == ("cc", "-c")


# A process while it runs


def live() -> LiveProcess:
    return LiveProcess(1, 101, 1, None, 7, 10, RunningGroup("?"), FOUND_BY_EVENT)


def test_a_new_program_starts_from_nothing() -> None:
    each = live()
    each.begin_program(ProgramText("sh", None, None, False), 10, inherited=True)
    each.peak, each.peak_time, each.peak_source = 50, 12, WATERMARK
    assert each.end_program() == Peak(50, 12, WATERMARK)
    each.begin_program(ProgramText("cc", None, None, False), 20, inherited=False)
    assert each.end_program() == NO_PEAK
    ended = each.end(30, 0, alive=False, end_known=True)
    assert [(i.text.name, i.since, i.inherited, i.peak.source) for i in ended.programs] == [
        ("sh", 10, True, WATERMARK),
        ("cc", 20, False, UNKNOWN),
    ]
    assert ended.start == 7
    assert ended.found_by == FOUND_BY_EVENT
    assert ended.end_known
    assert not ended.sampled
    assert ended.usage == NO_USAGE


def test_the_final_watermark_is_of_the_last_program() -> None:
    each = live()
    each.begin_program(ProgramText("sh", None, None, False), 10, inherited=False)
    each.final_watermark = 50
    each.end_program()
    each.begin_program(ProgramText("cc", None, None, False), 20, inherited=False)
    each.usage = Usage(user=1, system=2)
    each.end_program()
    assert each.end(30, 0, alive=False, end_known=True).usage == Usage(1, 2)
    each.final_watermark = 70
    assert each.end(30, 0, alive=False, end_known=True).usage == Usage(1, 2, final_watermark=70)


def test_the_program_at_a_time() -> None:
    each = live()
    assert each.program_at(12) is None
    for time, name in ((10, "sh"), (20, "env"), (30, "python")):
        if each.program:
            each.end_program()
        each.begin_program(ProgramText(name, None, None, False), time, inherited=False)

    def name_at(time: int) -> str:
        text = each.program_at(time)
        assert text
        return text.name

    # Before the process was first seen, its first known program is assumed.
    assert [name_at(time) for time in (5, 10, 19, 20, 29, 30, 99)] == [
        *("sh", "sh", "sh", "env", "env", "python", "python")
    ]


def test_last_seen_is_never_before_first_seen() -> None:
    each = live()
    each.end_program()
    assert each.end(5, None, alive=False, end_known=False).last_seen == 10
