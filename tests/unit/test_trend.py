"""The detection of steady growth: which shapes of memory use are leaks, and which are not."""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.analysis.trend import (
    FEWEST_STRETCHES,
    MOST_STRETCHES,
    Lows,
    Trend,
    least_from_then_on,
    steady_growth,
    theil_sen,
)

MIB = 1 << 20
SECOND = 1_000_000_000
SAMPLES = 600

Shape = Callable[[float], float]


def judged(shape: Shape, *, noise: float = 0.02, least: float = 0.5) -> Trend | None:
    """Returns the trend of `shape`, a size in MiB over a time from 0 to 1.

    It is sampled every half second for five minutes, with noise relative to its mean.
    """
    values = [shape(place / SAMPLES) for place in range(SAMPLES)]
    width = noise * sum(values) / len(values)
    r = random.Random(5)
    lows = Lows(0, round(values[0] * MIB), 60 * SECOND // FEWEST_STRETCHES)
    for place, value in enumerate(values):
        lows.add(place * SECOND // 2, round(max(0.1, value + r.gauss(0, width)) * MIB))
    return steady_growth(lows.values, least)


def walk(t: float) -> float:
    """Stays around 200: three waves with unrelated periods."""
    return 200 + 30 * math.sin(9.1 * t) + 20 * math.sin(23.7 * t + 1) + 10 * math.sin(61 * t + 2)


# -- The test set: 20 of 20 ----------------------------------------------------------------------

NO_LEAK: dict[str, Shape] = {
    "flat": lambda t: 100,
    "sawtooth": lambda t: 50 + 150 * (8 * t % 1),
    "large teeth, two and a half": lambda t: 50 + 300 * (2.5 * t % 1),
    "plateau after growth": lambda t: 50 + 500 * min(1, t / 0.4),
    "plateau after long growth": lambda t: 50 + 500 * min(1, t / 0.7),
    "cache that fills": lambda t: 50 + 400 * (1 - math.exp(-4 * t)),
    "cache that fills slowly": lambda t: 50 + 400 * (1 - math.exp(-2 * t)),
    "step": lambda t: 50 + 200 * (t > 0.5),
    "three steps": lambda t: 50 + 100 * sum(t > at for at in (0.3, 0.5, 0.75)),
    "around a level": walk,
    "load by day and night": lambda t: 200 + 150 * math.sin(12 * t),
    "grows as it ends": lambda t: 100 + 400 * max(0, t - 0.7),
    "too little growth": lambda t: 100 + 40 * t,
}
LEAK: dict[str, Shape] = {
    "line": lambda t: 50 + 200 * t,
    "line below teeth": lambda t: 50 + 200 * t + 100 * (15 * t % 1),
    "line with a load": lambda t: 50 + 300 * t + 10 * math.sin(90 * t),
    "twenty steps": lambda t: 50 + 10 * (20 * t // 1),
    "line after a large start": lambda t: (600 if t < 0.05 else 50) + 200 * t,
    "line, freed at the end": lambda t: 50 + 200 * t if t < 0.98 else 20,
    "faster and faster": lambda t: 50 + 300 * t**1.5,
}


def test_there_are_twenty():
    assert len(NO_LEAK) + len(LEAK) == 20


@pytest.mark.parametrize("noise", [0, 0.02, 0.04])
@pytest.mark.parametrize("name", NO_LEAK)
def test_no_leak(name, noise):
    assert judged(NO_LEAK[name], noise=noise) is None


@pytest.mark.parametrize("noise", [0, 0.02, 0.04])
@pytest.mark.parametrize("name", LEAK)
def test_leak(name, noise):
    assert judged(LEAK[name], noise=noise) is not None


# -- Larger families -----------------------------------------------------------------------------


def leak_check() -> ModuleType:
    path = Path(__file__).parent.parent.parent / "benchmarks" / "leak_check.py"
    if not path.exists():
        pytest.skip("needs the benchmarks' series")
    spec = importlib.util.spec_from_file_location("leak_check", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Limits for each 1,000 series, where they are not 20 alarms or 900 leaks found.
# benchmarks/README.md has the measured rates.
MORE_ALARMS = {"free_walk": 100}
FEWER_FOUND = {"lumps": 500, "garbage_on_top": 350}
SEEDS = range(60)


def test_false_alarms_are_rare():
    series = leak_check()
    rates = {kind.__name__: series.rate(kind, SEEDS) for kind in series.CLEAN}
    assert {n: r for n, r in rates.items() if r > MORE_ALARMS.get(n, 20)} == {}


def test_most_leaks_are_found():
    series = leak_check()
    rates = {kind.__name__: series.rate(kind, SEEDS) for kind in series.LEAKING}
    assert {n: r for n, r in rates.items() if r < FEWER_FOUND.get(n, 900)} == {}


# -- The trend -----------------------------------------------------------------------------------


def test_the_trend_of_a_line():
    trend = steady_growth([1000 + 100 * place for place in range(100)], 0.5)
    assert trend == Trend(first=15, last=89, low=2500.0, high=9900.0, fit=1.0)


def test_growth_is_counted_after_the_warm_up():
    # From 115 to 189, which is 64 %.
    values = [100 + place for place in range(100)]
    assert steady_growth(values, 0.64)
    assert not steady_growth(values, 0.65)


def test_half_of_the_variation_does_not_make_a_line():
    trend = judged(LEAK["line below teeth"])
    assert trend
    assert 0.9 <= trend.fit < 1


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=MOST_STRETCHES), st.integers(1, 1000))
def test_the_scale_does_not_matter(values, factor):
    one, other = steady_growth(values, 0.5), steady_growth([v * factor for v in values], 0.5)
    assert (one is None) == (other is None)


@given(st.lists(st.integers(1, 1 << 40), max_size=MOST_STRETCHES))
def test_memory_that_only_falls_is_no_leak(values):
    assert steady_growth(sorted(values, reverse=True), 0.01) is None


@given(st.lists(st.integers(0, 1 << 62), max_size=50))
def test_least_from_then_on(values):
    kept = least_from_then_on(values)
    assert list(kept) == [min(values[place:]) for place in range(len(values))]
    assert all(sooner <= later for sooner, later in pairwise(kept))


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(5, 60), st.data())
def test_theil_sen_finds_the_line_in_spite_of_outliers(slope, low, number, data):
    values = [low + slope * place for place in range(number)]
    # A quarter of the points spoils less than half of the pairs.
    for place in data.draw(st.sets(st.integers(0, number - 1), max_size=number // 4)):
        values[place] = data.draw(st.integers(-(10**6), 10**6))
    assert theil_sen(values) == (slope, low)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30))
def test_theil_sen_is_the_median_of_the_slopes_of_all_pairs(values):
    pairs = [(i, j) for j in range(len(values)) for i in range(j)]
    slope, low = theil_sen(values)
    assert slope == median((values[j] - values[i]) / (j - i) for i, j in pairs)
    assert low == median(value - slope * place for place, value in enumerate(values))


# -- Lows ----------------------------------------------------------------------------------------


@given(
    st.integers(-100, 100),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 1000)), max_size=60),
)
def test_lows_are_the_least_of_each_stretch(start, width, changes):
    changes = sorted(changes, key=lambda change: change[0])
    lows = Lows(start, 500, width)
    for time, value in changes:
        lows.add(start + time, value)
    assert len(lows.values) <= MOST_STRETCHES
    assert lows.width in {width * 2**n for n in range(20)}
    end = changes[-1][0] if changes else 0
    assert len(lows.values) == end // lows.width + 1
    held = 500
    expected = [10**9] * len(lows.values)
    rest = [*changes, (end, 0)]
    # A value is held from one change to the next. A stretch includes the value at its start.
    at = 0
    expected[0] = held
    for time, value in rest:
        for place in range(at // lows.width, time // lows.width + 1):
            if place * lows.width >= at or place == at // lows.width:
                expected[place] = min(expected[place], held)
        at, held = time, value
    if changes:
        expected[-1] = min(expected[-1], changes[-1][1])
    assert list(lows.values) == expected


def test_lows_hold_the_last_value():
    lows = Lows(0, 7, 10)
    lows.hold(35)
    lows.hold(20)
    assert list(lows.values) == [7, 7, 7, 7]


def test_lows_of_a_long_time_are_few():
    lows = Lows(0, 1, 1)
    lows.add(10**15, 2)
    assert FEWEST_STRETCHES <= len(lows.values) <= MOST_STRETCHES
    assert set(lows.values) == {1}
