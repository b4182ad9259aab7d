"""Confidence intervals for the difference of two medians, from a few runs each.

The interval covers two others:

- the percentile interval of the bootstrap of the difference of the medians. It follows the
  spread of each side separately, but with about five runs it is often too narrow;
- the interval that belongs to the Mann-Whitney test, between order statistics of all pairwise
  differences. If both sides come from the same distribution, of any kind, the chance that the
  interval does not contain zero is at most what the level claims. That chance is counted, not
  approximated.

Nothing is drawn at random. The median of a resample is one of the values, with a probability that
can be computed, so the bootstrap is exact, as with infinitely many resamples. The same values
always give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb
from statistics import median
from typing import NamedTuple

LEVEL = 0.95


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float
    level: float
    """Confidence that the difference lies within: LEVEL, or less where there are too few values for
    that."""


def difference(base: Sequence[int], candidate: Sequence[int]) -> Interval | None:
    """Returns the interval of median(candidate) - median(base); None with one value on each side.

    It takes half a second for 100 values on either side, and grows with the fourth power.
    """
    if not base or not candidate or len(base) + len(candidate) < 3:
        return None
    rank, level = _rank(len(base), len(candidate))
    pairs = sorted(after - before for before in base for after in candidate)
    low, high = pairs[rank - 1], pairs[-rank]
    first, last = _bootstrap(base, candidate, (1 - level) / 2)
    middle = median(candidate) - median(base)
    return Interval(min(low, first, middle), max(high, last, middle), level)


@lru_cache(maxsize=16)
def _rank(one: int, other: int) -> tuple[int, float]:
    """Returns which of the pairwise differences, counted from either end, bounds the interval, and
    its level: LEVEL, or the highest level that is possible."""
    total = comb(one + other, one)
    tail = 0
    rank = 0
    for ways in _rank_sums(one, other):
        tail += ways
        if tail / total > (1 - LEVEL) / 2:
            break
        rank += 1
    if rank:
        return rank, LEVEL
    return 1, 1 - 2 / total


def _rank_sums(one: int, other: int) -> list[int]:
    """Returns in how many orders of all values the U of Mann and Whitney is 0, 1, 2, ..., up to the
    middle.

    These are coefficients of the Gaussian binomial: the product of
    (1 - q^(other + i)) / (1 - q^i).
    """
    size = one * other // 2 + 1
    ways = [1] + [0] * (size - 1)
    for i in range(1, one + 1):
        for at in range(size - 1, other + i - 1, -1):
            ways[at] -= ways[at - other - i]
        for at in range(i, size):
            ways[at] += ways[at - i]
    return ways


def _bootstrap(base: Sequence[int], candidate: Sequence[int], tail: float) -> tuple[int, int]:
    """Returns the range of the differences of resampled medians without a `tail` at each end."""
    chances = sorted(
        (after - before, before_chance * after_chance)
        for before, before_chance in _resampled_median(base)
        for after, after_chance in _resampled_median(candidate)
    )
    return _quantile(chances, tail), _quantile(chances[::-1], tail)


def _quantile(chances: list[tuple[int, float]], tail: float) -> int:
    """Returns the first value at which the chances add up to more than `tail`."""
    seen = 0.0
    for value, chance in chances:
        seen += chance
        if seen > tail:
            return value
    return chances[-1][0]


def _resampled_median(values: Sequence[int]) -> list[tuple[int, float]]:
    """Returns each value with the chance that it is the median of values drawn with replacement."""
    return list(zip(sorted(values), _chances(len(values)), strict=True))


@lru_cache(maxsize=16)
def _chances(number: int) -> tuple[float, ...]:
    """Returns for each of `number` values, in order of size, the chance that it is the median of as
    many values drawn from them.

    If the number is even, one value less is drawn, so that the median is one of the values. That
    makes the interval a little wider, never narrower.
    """
    drawn = number - 1 + number % 2

    def at_most(place: int) -> int:
        """Returns in how many ways more than half of the drawn values are among the `place`
        smallest."""
        return sum(
            comb(drawn, many) * place**many * (number - place) ** (drawn - many)
            for many in range(drawn // 2 + 1, drawn + 1)
        )

    ways = [at_most(place) for place in range(number + 1)]
    return tuple((ways[place + 1] - ways[place]) / number**drawn for place in range(number))
