"""The account of a job's own control group: bounds of the footprint, and the history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.cgroup_account import (
    LONGEST_HISTORY,
    CgroupAccount,
    CgroupSample,
    CgroupSpan,
    History,
    merged,
)

SAMPLE = CgroupSample(10, anon=100, shmem=20, swap=3, file=1000, kernel=50, huge=None)


def test_the_footprint_is_what_cannot_be_dropped() -> None:
    assert SAMPLE.footprint == 123
    assert SAMPLE._replace(swap=None).footprint == 120
    assert SAMPLE._replace(huge=1000).footprint == 1123


@pytest.mark.parametrize(("peak", "certain"), [(None, 1123), (500, 1123), (120, 1123), (90, 1093)])
def test_no_more_than_the_peak_was_in_memory(peak: int | None, certain: int) -> None:
    """Swap and huge pages are not in it."""
    assert SAMPLE._replace(huge=1000).certain(peak) == certain


@pytest.mark.parametrize(
    ("account", "low", "high"),
    [
        (CgroupAccount(reason="no"), None, None),
        (CgroupAccount(peak=900), None, None),
        (CgroupAccount(peak=900, swap_peak=0), None, 900),
        (CgroupAccount(peak=900, swap_peak=30, largest=SAMPLE), 123, 930),
        # A sample that is off.
        (CgroupAccount(peak=100, swap_peak=0, largest=SAMPLE), 100, 100),
        # The sum of two peaks, which may have been at different times, is the weaker bound.
        (CgroupAccount(peak=900, swap_peak=30, peak_with_swap=910), None, 910),
    ],
)
def test_bounds(account: CgroupAccount, low: int | None, high: int | None) -> None:
    assert (account.footprint_low, account.footprint_high) == (low, high)


def test_a_merged_span_has_the_highest_values() -> None:
    spans = [CgroupSpan(1, 5, 9), CgroupSpan(2, 7, 8)]
    assert merged(spans) == CgroupSpan(2, 7, 9)
    assert merged([*spans, CgroupSpan(3, 1, None)]) == CgroupSpan(3, 7, None)


SPANS = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=3 * LONGEST_HISTORY)


@given(SPANS)
def test_a_history_is_bounded_and_loses_no_peak(values: list[tuple[int, int]]) -> None:
    history = History()
    spans = [CgroupSpan(time, *each) for time, each in enumerate(values)]
    for span in spans:
        history.add(span)
    kept = history.spans()
    assert len(kept) <= LONGEST_HISTORY
    assert sorted(span.end for span in kept) == [span.end for span in kept]
    assert (kept == tuple(spans)) == (len(spans) < LONGEST_HISTORY)
    if spans:
        assert merged(kept) == merged(spans)
    # Each span of the result covers those up to its end.
    begin = 0
    for each in kept:
        assert each == merged(spans[begin : each.end + 1])
        begin = each.end + 1


def test_a_long_history_is_bounded() -> None:
    history = History()
    for time in range(100_000):
        history.add(CgroupSpan(time, time % 1000, time))
    kept = history.spans()
    assert LONGEST_HISTORY / 2 <= len(kept) <= LONGEST_HISTORY
    assert merged(kept) == CgroupSpan(99_999, 999, 99_999)
