"""Confidence intervals of a difference of medians, and how often they are wrong."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product
from math import comb
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.analysis.confidence import LEVEL, _chances, _rank, difference

VALUES = st.lists(st.integers(0, 10**12), min_size=1, max_size=8)


# -- The error rate ------------------------------------------------------------------------------


def splits(values, first):
    """Yields every split of the values into `first` base values and the rest as candidates.

    All are equally likely if both sides come from one distribution.
    """
    for chosen in combinations(range(len(values)), first):
        rest = [place for place in range(len(values)) if place not in chosen]
        yield [values[place] for place in chosen], [values[place] for place in rest]


def share_above_zero(values, first):
    found = [difference(base, candidate).low > 0 for base, candidate in splits(values, first)]
    return sum(found) / len(found)


@pytest.mark.parametrize(
    ("base", "candidate", "level"),
    [(5, 5, 0.95), (4, 4, 0.95), (3, 5, 0.95), (3, 3, 0.9), (2, 2, 2 / 3), (1, 5, 2 / 3)],
)
@pytest.mark.parametrize(
    "make",
    [lambda n: n, lambda n: 3**n, lambda n: n % 2 * 1000 + n, lambda n: n**2 % 7, lambda n: 7],
    ids=["even", "skewed", "two levels", "ties", "constant"],
)
def test_false_alarms_are_no_more_than_claimed(base, candidate, level, make):
    values = [make(n) for n in range(base + candidate)]
    interval = difference(values[:base], values[base:])
    assert interval.level == pytest.approx(level)
    assert share_above_zero(values, base) <= (1 - level) / 2 + 1e-9


@given(st.lists(st.integers(0, 30), min_size=8, max_size=8))
def test_false_alarms_of_any_values(values):
    assert share_above_zero(values, 4) <= (1 - LEVEL) / 2


def test_a_difference_is_found():
    assert difference([100, 101, 102, 103, 104], [110, 111, 112, 113, 114]) == (7, 13, LEVEL)
    assert difference([100] * 5, [110] * 5) == (10, 10, LEVEL)


def test_one_outlier_does_not_hide_a_difference():
    interval = difference([100, 100, 101, 101, 99], [110, 111, 110, 30, 111])
    assert interval.low <= 0  # right: one run in five contradicts it
    interval = difference([100, 100, 101, 101, 99, 100, 99], [110, 111, 110, 400, 111, 110, 109])
    assert 0 < interval.low <= interval.high < 20


# -- Properties of the interval ------------------------------------------------------------------


@pytest.mark.parametrize(("base", "candidate"), [([], [1, 2, 3]), ([1, 2, 3], []), ([1], [2])])
def test_single_values_give_no_interval(base, candidate):
    assert difference(base, candidate) is None


@given(VALUES, VALUES)
def test_an_interval_contains_the_difference_of_the_medians(base, candidate):
    interval = difference(base, candidate)
    if interval is None:
        assert len(base) == len(candidate) == 1
        return
    assert interval.low <= median(candidate) - median(base) <= interval.high
    assert min(candidate) - max(base) <= interval.low
    assert interval.high <= max(candidate) - min(base)
    assert 0 < interval.level <= LEVEL


@given(VALUES, VALUES, st.randoms(use_true_random=False), st.integers(0, 10**12))
def test_order_direction_and_shift(base, candidate, random, shift):
    interval = difference(base, candidate)
    if interval is None:
        return
    mixed = random.sample(base, len(base)), random.sample(candidate, len(candidate))
    assert difference(*mixed) == interval
    low, high, level = interval
    assert difference(candidate, base) == (-high, -low, level)
    shifted = [value + shift for value in candidate]
    assert difference(base, shifted) == (low + shift, high + shift, level)


# -- Parts of the computation, compared with a full count ----------------------------------------


@pytest.mark.parametrize(
    ("one", "other"), [(1, 2), (2, 2), (3, 3), (3, 4), (4, 4), (5, 3), (5, 5), (6, 5), (2, 9)]
)
def test_rank_is_that_of_mann_and_whitney(one, other):
    counts: Counter[int] = Counter()
    for base, candidate in splits(range(one + other), one):
        counts[sum(after < before for before in base for after in candidate)] += 1
    total = comb(one + other, one)
    tails = [sum(counts[u] for u in range(rank)) / total for rank in range(1, one * other // 2 + 1)]
    fitting = [rank for rank, tail in enumerate(tails, 1) if tail <= (1 - LEVEL) / 2]
    expected = (fitting[-1], LEVEL) if fitting else (1, pytest.approx(1 - 2 / total))
    assert _rank(one, other) == expected


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_resampled_median(number):
    drawn = number if number % 2 else number - 1
    counts = Counter(sorted(places)[drawn // 2] for places in product(range(number), repeat=drawn))
    expected = [counts[place] / number**drawn for place in range(number)]
    assert _chances(number) == pytest.approx(expected)


def test_many_values():
    base = [10**9 + 7919 * n % 10_007 for n in range(100)]
    candidate = [value + 5000 for value in base]
    low, high, level = difference(base, candidate)
    assert 0 < low < 5000 < high < 10_000
    assert level == LEVEL
