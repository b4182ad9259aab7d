"""How far a difference of two medians can be trusted, from a few runs each.

The interval is the hull of two:

- the percentile interval of the bootstrap of the difference of the medians. It follows the
  spread of each side by itself, but with some five runs it is too narrow as often as not;
- the interval that belongs to the Mann-Whitney test, between order statistics of all pairwise
  differences. Where both sides come from one distribution, whatever that is, the chance that it
  leaves zero out is at most what is claimed: it is counted, not approximated.

Nothing is drawn at random: the median of a resample is one of the values, each with a probability
that can be written down, so the bootstrap is computed as if there had been infinitely many
resamples. The same values always give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb
from statistics import median
from typing import NamedTuple

LEVEL = 0.95


class Interval(NamedTuple):
    low: float
    high: float
    level: float
    """Confidence that the difference lies between them: LEVEL, or what so few values can give."""


def difference(base: Sequence[int], candidate: Sequence[int]) -> Interval | None:
    """Where median(candidate) - median(base) lies; None for single values, which tell nothing.

    Takes half a second for 100 values on either side, and grows with the fourth power.
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
    """Which of the pairwise differences, counted from either end, bounds the interval; its level.

    The level is LEVEL where that can be had.
    """
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
    """In how many orders of all values U of Mann and Whitney is 0, 1, 2, ..., as far as the middle.

    Coefficients of the Gaussian binomial: the product of (1 - q^(other + i)) / (1 - q^i).
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
    """What is left of the differences of resampled medians without a `tail` at each end."""
    chances = sorted(
        (after - before, before_chance * after_chance)
        for before, before_chance in _resampled_median(base)
        for after, after_chance in _resampled_median(candidate)
    )
    return _cut(chances, tail), _cut(chances[::-1], tail)


def _cut(chances: list[tuple[int, float]], tail: float) -> int:
    seen = 0.0
    for value, chance in chances:
        seen += chance
        if seen > tail:
            return value
    return chances[-1][0]


def _resampled_median(values: Sequence[int]) -> list[tuple[int, float]]:
    """Each value, and the chance that it is the median of values drawn with replacement."""
    return list(zip(sorted(values), _chances(len(values)), strict=True))


@lru_cache(maxsize=16)
def _chances(number: int) -> tuple[float, ...]:
    """Of each of so many values, by size, to be the median of as many that are drawn from them.

    Of an even number one less is drawn, so that the median is one of them; that makes the
    interval a little wider, not narrower.
    """
    drawn = number - 1 + number % 2

    def at_most(place: int) -> int:
        """In how many ways more than half of the drawn are among the `place` smallest."""
        return sum(
            comb(drawn, many) * place**many * (number - place) ** (drawn - many)
            for many in range(drawn // 2 + 1, drawn + 1)
        )

    ways = [at_most(place) for place in range(number + 1)]
    return tuple((ways[place + 1] - ways[place]) / number**drawn for place in range(number))
