"""The line of `run --live`: its parts, and that it fits the width."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wcwidth import wcswidth

from memwatch.model.job import Job
from memwatch.model.observations import (
    TICK_PARTIAL,
    Batch,
)
from memwatch.reports.live_text import (
    Largest,
    State,
    Tick,
    columns,
    cut_to_columns,
    format_elapsed,
    last_tick,
    line,
    state,
)
from support.scripted import MIB, Script

sizes = st.integers(0, 1 << 50)
names = st.text(max_size=40) | st.text("編譯ｶ한🙂é\u0301\u200d\ufe0f\t\x1b", max_size=20)
states = st.builds(
    State,
    elapsed=st.floats(0, 1e7),
    total=st.none() | sizes,
    max_total=st.none() | sizes,
    partial=st.booleans(),
    processes=st.none() | st.integers(0, 10**6),
    largest=st.none() | st.builds(Largest, names, st.integers(1, 1 << 22), sizes),
)
SOME = State(201.9, 112 * MIB, 140 * MIB, False, 8, Largest("cc1", 23167, 45 * MIB))


@given(states, st.integers(0, 250))
@example(SOME._replace(largest=Largest("編" * 30, 1, MIB)), 60)
def test_fits(state: State, width: int) -> None:
    text = line(state, width)
    assert text.isprintable()
    assert 0 <= wcswidth(text) <= columns(text) <= width


@given(states, st.integers(0, 250))
def test_a_wider_line_has_no_fewer_parts(state: State, width: int) -> None:
    narrow, wide = (len(line(state, each).split("  ")) for each in (width, width + 1))
    assert narrow <= wide


def test_a_line_has_all_parts_that_fit() -> None:
    whole = "3:21  RSS 112.0 MiB  max 140.0 MiB  8 processes  largest 45.0 MiB cc1 (pid 23167)"
    assert line(SOME, 200) == line(SOME, len(whole)) == whole
    without_pid = whole.removesuffix(" (pid 23167)")
    assert line(SOME, len(whole) - 1) == line(SOME, len(without_pid)) == without_pid
    without_largest = whole.partition("  largest")[0]
    assert line(SOME, len(without_pid) - 1) == without_largest
    assert line(SOME, len(without_largest) - 1) == "3:21  RSS 112.0 MiB  max 140.0 MiB"
    assert line(SOME, 4) == "3:21"
    assert line(SOME, 0) == ""


def test_long_name_is_cut() -> None:
    long = SOME._replace(largest=Largest("x" * 50, 1, 45 * MIB))
    text = line(long, 79)
    assert "  largest 45.0 MiB xxxxxxx" in text
    assert text.endswith("x…")
    assert columns(text) == 79


def test_unknown_is_not_zero() -> None:
    nothing = State(0, None, None, False, None, None)
    assert line(nothing, 80) == "0:00  RSS unknown"
    assert line(nothing._replace(total=0, max_total=MIB, processes=0), 80) == (
        "0:00  RSS 0 KiB  max 1.0 MiB  0 processes"
    )


def test_a_partial_total_is_shown_as_a_lower_bound() -> None:
    assert line(SOME._replace(partial=True), 200).startswith(
        "3:21  RSS ≥ 112.0 MiB  max ≥ 140.0 MiB  8 "
    )


def test_control_characters_in_a_name_are_escaped() -> None:
    hostile = SOME._replace(largest=Largest("a\x1b[2Jb\n", 1, MIB))
    assert r"a\x1b[2Jb\n" in line(hostile, 200)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.99, "0:59"),
        (60, "1:00"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (360_000, "100:00:00"),
    ],
)
def test_elapsed(seconds: float, text: str) -> None:
    assert format_elapsed(seconds) == text


@given(names, st.integers(0, 60))
def test_cut_keeps_as_much_as_fits(text: str, width: int) -> None:
    kept = cut_to_columns(text, width)
    assert columns(kept) <= width
    if kept != text and width >= columns("…"):
        assert kept.endswith("…")
        assert text.startswith(kept[:-1])
        assert columns(text[: len(kept)]) + columns("…") > width


# The state of a job


def test_state_of_a_job() -> None:
    script = Script(size_unit=MIB).start(1, at=1).execute(1, name="make")
    script.start(2).execute(2, name="cc1").start(3)
    script.memory(1, 3).memory(2, 9).tick()
    # A sample between two ticks is in no total yet.
    first = script.memory(2, 5, at=2).take()
    job = Job()
    assert state(job, last_tick(Batch([], b"")), 0) == State(0, None, None, False, None, None)
    job.apply(first)
    tick = last_tick(first)
    assert tick == Tick(12 * MIB, 3)
    assert state(job, tick, 7) == State(
        7, 12 * MIB, 12 * MIB, False, 3, Largest("cc1", 102, 5 * MIB)
    )
    job.apply(second := script.tick(flags=TICK_PARTIAL, at=3).take())
    assert state(job, last_tick(second), 8) == State(
        8, 8 * MIB, 12 * MIB, True, 3, Largest("cc1", 102, 5 * MIB)
    )


def test_a_job_without_any_memory_sample() -> None:
    job = Job()
    job.apply(only := Script().start(1, at=1).tick(flags=TICK_PARTIAL).batch())
    assert state(job, last_tick(only), 1) == State(1, None, None, True, 1, None)


def test_a_largest_process_without_a_known_program() -> None:
    job = Script(size_unit=MIB).start(1, at=1).memory(1, 1).job(finish=False)
    assert state(job, None, 1).largest == Largest("?", 101, MIB)
