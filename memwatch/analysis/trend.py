"""Finds steady growth in a series of sizes: the arithmetic of the leak check.

Memory that a process frees and takes again, as a garbage collector or a cache does, is no sign of a
leak. So the check does not use what the process held, but what it *kept*: at each time, the least
that it held from then on.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from statistics import fmean, median
from typing import NamedTuple

FEWEST_STRETCHES = 64
"""Stretches that a series of the shortest time of interest has."""

MOST_STRETCHES = 4 * FEWEST_STRETCHES

# Parts of the whole time. Programs fill their tables first, and free memory last. What is kept at
# one time is known only later, so what follows JUDGED_TO, up to SEEN_TO, is used for that alone.
WARM_UP = 0.15
JUDGED_TO = 0.9
SEEN_TO = 0.95

# What separates steady growth from everything else, see steady_growth(). Chosen so that of a
# thousand series of each kind in benchmarks/leak_check.py nearly none is judged wrong.
PARTS = 16
LARGEST_PART = 0.3
SMALLEST_QUARTER = 0.06
SMALLEST_LATER_HALF = 0.7
WORST_FIT = 0.9


class Lows:
    """The lowest size in each of many stretches of time, which all have the same length.

    At first a stretch has the length `width`, in the unit of the times. When there would be more
    than MOST_STRETCHES, each two become one of twice the length.
    """

    __slots__ = ("_held", "start", "values", "width")

    def __init__(self, time: int, value: int, width: int) -> None:
        self.start = time
        self.width = width
        self.values = array("q", (value,))
        self._held = value

    def add(self, time: int, value: int) -> None:
        """Notes that the size is `value` from now on."""
        self.hold(time)
        self.values[-1] = min(self.values[-1], value)
        self._held = value

    def hold(self, time: int) -> None:
        """Notes that the size has not changed until now."""
        place = (time - self.start) // self.width
        while place >= MOST_STRETCHES:
            # If the number is odd, the last stretch is not full yet.
            pairs = zip_longest(self.values[::2], self.values[1::2], fillvalue=self._held)
            self.values = array("q", map(min, pairs))
            self.width *= 2
            place //= 2
        missing = place + 1 - len(self.values)
        if missing > 0:
            self.values.extend((self._held,) * missing)


class Trend(NamedTuple):
    """Steady growth, as the straight line of Theil and Sen through the series."""

    first: int
    """The place in the series at which the line begins."""
    last: int
    """The place at which it ends."""
    low: float
    """The line's value at the first place."""
    high: float
    """The line's value at the last place."""
    fit: float
    """The part of the variation that the line explains, 1 at most."""


def steady_growth(lows: Sequence[int], least: float) -> Trend | None:
    """Returns the trend of a series that grows steadily, by the part `least` of what was kept at
    first (0.5 is 50 %) or more; None when it does not. Growth is not steady when

    - a quarter of the time contributes next to nothing: a plateau,
    - the later half contributes much less than the first: a cache that fills,
    - a short time contributes much: one step, or a few.
    """
    first = round(len(lows) * WARM_UP)
    last = round(len(lows) * JUDGED_TO) - 1
    kept = least_from_then_on(lows[first : round(len(lows) * SEEN_TO)])[: last - first + 1]
    if len(kept) <= PARTS:
        return None
    at = [kept[(len(kept) - 1) * part // PARTS] for part in range(PARTS + 1)]
    gains = [later - sooner for sooner, later in pairwise(at)]
    quarters = [sum(gains[i : i + PARTS // 4]) for i in range(0, PARTS, PARTS // 4)]
    whole = sum(quarters)
    if (
        not whole
        or max(gains) > LARGEST_PART * whole
        or min(quarters) < SMALLEST_QUARTER * whole
        or sum(quarters[2:]) < SMALLEST_LATER_HALF * sum(quarters[:2])
    ):
        return None
    slope, low = theil_sen(kept)
    trend = Trend(first, last, low, low + slope * (last - first), _fit(kept, slope, low))
    if trend.fit < WORST_FIT or low <= 0 or trend.high - low < least * low:
        return None
    return trend


def least_from_then_on(values: Sequence[int]) -> array[int]:
    """Returns for each value the least of it and all values that follow."""
    kept = array("q", values)
    for place in range(len(kept) - 2, -1, -1):
        kept[place] = min(kept[place], kept[place + 1])
    return kept


def theil_sen(values: Sequence[float]) -> tuple[float, float]:
    """Returns the slope of the line through evenly spaced values, and its value at the first place.

    The slope is the median of the slopes between all pairs of points, so up to 29 % of the points
    may be outliers without much effect (Sen 1968, doi:10.1080/01621459.1968.10480934). Half of the
    points are above the line. The time taken grows with the square of their number.
    """
    slopes = [
        (later - sooner) / steps
        for steps in range(1, len(values))
        for sooner, later in zip(values, values[steps:], strict=False)
    ]
    slope = median(slopes)
    return slope, median(value - slope * place for place, value in enumerate(values))


def _fit(values: Sequence[float], slope: float, low: float) -> float:
    """Returns the part of the variation around the mean that the line explains: R squared."""
    mean = fmean(values)
    around = sum((value - mean) ** 2 for value in values)
    missed = sum((value - low - slope * place) ** 2 for place, value in enumerate(values))
    return 1 - missed / around
