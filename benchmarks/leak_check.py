"""Measures how often `--leaks` is wrong: random series of many kinds, judged like a process.

python benchmarks/leak_check.py [--number N]

A series is what a process holds at each of its samples, in MiB. Its length, size, noise and the
figures of its kind are drawn at random; the same seed gives the same series.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable
from itertools import accumulate

from memwatch.analysis.trend import FEWEST_STRETCHES, Lows, steady_growth

Random = random.Random
Kind = Callable[[Random, int, float], list[float]]

MIB = 1 << 20
# A sample every half second, and the defaults of --leaks.
TICK = 500_000_000
MIN_DURATION = 60_000_000_000
MIN_GROWTH = 0.5


def flat(r: Random, n: int, base: float) -> list[float]:
    return [base] * n


def sawtooth(r: Random, n: int, base: float) -> list[float]:
    """A garbage collector."""
    height, period = base * r.uniform(0.3, 5), n * r.uniform(0.02, 0.5)
    phase = r.uniform(0, period)
    return [base + height * ((i + phase) % period / period) for i in range(n)]


def irregular_sawtooth(r: Random, n: int, base: float) -> list[float]:
    height = base * r.uniform(0.3, 5)
    pace, value, top, out = height / (n * r.uniform(0.02, 0.4)), base, base + height, []
    for _ in range(n):
        value += pace * r.uniform(0.5, 1.5)
        if value > top:
            value, top = base * r.uniform(0.95, 1.1), base + height * r.uniform(0.6, 1.2)
        out.append(value)
    return out


def plateau(r: Random, n: int, base: float) -> list[float]:
    """Grows evenly until it has all it needs."""
    growth, end = base * r.uniform(0.6, 10), n * r.uniform(0.02, 0.7)
    return [base + growth * min(1, i / end) for i in range(n)]


def cache(r: Random, n: int, base: float) -> list[float]:
    """Keys at random: the fuller it is, the fewer are new."""
    growth, pace = base * r.uniform(0.6, 10), n * r.uniform(0.05, 0.5)
    return [base + growth * (1 - math.exp(-i / pace)) for i in range(n)]


def logarithm(r: Random, n: int, base: float) -> list[float]:
    """A cache that is never full, but fills more and more slowly."""
    growth, bend = base * r.uniform(0.6, 5), r.uniform(20, 1000)
    return [base + growth * math.log1p(bend * i / n) / math.log1p(bend) for i in range(n)]


def one_step(r: Random, n: int, base: float) -> list[float]:
    growth, at = base * r.uniform(0.6, 10), n * r.random()
    return [base + growth * (i > at) for i in range(n)]


def few_steps(r: Random, n: int, base: float) -> list[float]:
    steps = [(n * r.random(), base * r.uniform(0.3, 3)) for _ in range(r.randint(2, 3))]
    return [base + sum(size for at, size in steps if i > at) for i in range(n)]


def around_a_level(r: Random, n: int, base: float) -> list[float]:
    """A random walk that is drawn back to a level (Ornstein and Uhlenbeck)."""
    return [max(base * 0.05, base + x) for x in _drawn_back(r, n, r.uniform(0.05, 0.5) * base, 0.2)]


def free_walk(r: Random, n: int, base: float) -> list[float]:
    """A random walk that nothing draws back: sometimes it grows steadily."""
    step = base * r.uniform(0.2, 2) / math.sqrt(n)
    walk = accumulate((r.gauss(0, step) for _ in range(n)), initial=base)
    return [max(base * 0.05, value) for value in walk][:n]


def sine(r: Random, n: int, base: float) -> list[float]:
    height, period = base * r.uniform(0.3, 5), n * r.uniform(0.02, 0.6)
    phase = r.uniform(0, math.tau)
    return [base + height * (1 + math.sin(math.tau * i / period + phase)) for i in range(n)]


def requests(r: Random, n: int, base: float) -> list[float]:
    """Busy and idle in turn."""
    height, period = base * r.uniform(0.3, 5), n * r.uniform(0.02, 0.6)
    phase, busy = r.uniform(0, period), r.uniform(0.2, 0.8)
    return [base + height * ((i + phase) % period < busy * period) for i in range(n)]


def late_growth(r: Random, n: int, base: float) -> list[float]:
    growth, at = base * r.uniform(0.6, 10), n * r.uniform(0.5, 0.95)
    return [base + growth * max(0, (i - at) / (n - at)) for i in range(n)]


def decline(r: Random, n: int, base: float) -> list[float]:
    loss = base * r.uniform(0.2, 0.9)
    return [base - loss * i / n for i in range(n)]


def too_little(r: Random, n: int, base: float) -> list[float]:
    """Grows steadily, but by less than the threshold."""
    growth = base * r.uniform(0.05, 0.4)
    return [base + growth * i / n for i in range(n)]


def up_and_down(r: Random, n: int, base: float) -> list[float]:
    height, top = base * r.uniform(0.6, 5), n * r.uniform(0.3, 0.8)
    return [base + height * max(0, 1 - abs(i - top) / top) for i in range(n)]


def line(r: Random, n: int, base: float) -> list[float]:
    growth = base * r.uniform(1.2, 10)
    return [base + growth * i / n for i in range(n)]


def rising_sawtooth(r: Random, n: int, base: float) -> list[float]:
    """Its lowest level leaks."""
    growth, height = base * r.uniform(1.2, 6), base * r.uniform(0.1, 2)
    period = n * r.uniform(0.01, 0.1)
    phase = r.uniform(0, period)
    return [base + growth * i / n + height * ((i + phase) % period / period) for i in range(n)]


def many_steps(r: Random, n: int, base: float) -> list[float]:
    growth, steps = base * r.uniform(1.2, 6), r.randint(12, 60)
    return [base + growth * (i * steps // n) / steps for i in range(n)]


def large_start(r: Random, n: int, base: float) -> list[float]:
    """Needs more at its start than later."""
    growth, start = base * r.uniform(1.2, 6), base * r.uniform(1, 10)
    return [base + growth * i / n + start * (i < n * 0.1) for i in range(n)]


def freed_at_exit(r: Random, n: int, base: float) -> list[float]:
    growth = base * r.uniform(1.2, 6)
    return [base + growth * i / n if i < n * 0.97 else base * 0.1 for i in range(n)]


def faster_and_faster(r: Random, n: int, base: float) -> list[float]:
    growth = base * r.uniform(2, 6)
    return [base + growth * (i / n) ** 1.5 for i in range(n)]


def load_on_top(r: Random, n: int, base: float) -> list[float]:
    growth = base * r.uniform(1.5, 6)
    load = _drawn_back(r, n, base * r.uniform(0.02, 0.15), 0.03)
    return [base + growth * i / n + x for i, x in enumerate(load)]


def lumps(r: Random, n: int, base: float) -> list[float]:
    """Leaks at one sample in five, by random sizes."""
    growth = base * r.uniform(1.5, 6)
    lump = growth * 5 / n
    sizes = (lump * r.expovariate(1) * (r.random() < 0.2) for _ in range(n - 1))
    return list(accumulate(sizes, initial=base))


def garbage_on_top(r: Random, n: int, base: float) -> list[float]:
    """Leaks, while up to 70 % of the whole leak comes and goes, 60 times."""
    growth = base * r.uniform(1.2, 6)
    most, turns = growth * r.uniform(0.1, 0.7), 60
    garbage = [most * math.sqrt(r.random()) for _ in range(turns)]
    return [base + growth * i / n + garbage[i * turns // n] for i in range(n)]


def _drawn_back(r: Random, n: int, spread: float, longest: float) -> list[float]:
    pull = n * r.uniform(0.005, longest)
    step = spread * math.sqrt(2 / pull)
    value, out = 0.0, []
    for _ in range(n):
        value += -value / pull + r.gauss(0, step)
        out.append(value)
    return out


CLEAN: tuple[Kind, ...] = (
    *(flat, sawtooth, irregular_sawtooth, plateau, cache, logarithm, one_step, few_steps),
    *(around_a_level, free_walk, sine, requests, late_growth, decline, too_little, up_and_down),
)
LEAKING: tuple[Kind, ...] = (
    *(line, rising_sawtooth, many_steps, large_start, freed_at_exit, faster_and_faster),
    *(load_on_top, lumps, garbage_on_top),
)


def series(kind: Kind, seed: int) -> list[float]:
    """Returns a series of a kind, with noise of up to 5 %."""
    r = Random(f"{kind.__name__} {seed}")
    drawn = kind(r, r.choice((130, 200, 240, 400, 1200)), 10 ** r.uniform(0.5, 3))
    noise = r.choice((0, 0.005, 0.01, 0.02, 0.05)) * sum(drawn) / len(drawn)
    return [max(0.1, value + r.gauss(0, noise)) for value in drawn]


def is_judged_to_leak(values: list[float]) -> bool:
    lows = Lows(0, round(values[0] * MIB), MIN_DURATION // FEWEST_STRETCHES)
    for place, value in enumerate(values):
        lows.add(place * TICK, round(value * MIB))
    return steady_growth(lows.values, MIN_GROWTH) is not None


def rate(kind: Kind, seeds: range) -> float:
    """Returns how many of 1,000 such series are reported as leaks."""
    return 1000 * sum(is_judged_to_leak(series(kind, seed)) for seed in seeds) / len(seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1000, help="series of each kind")
    seeds = range(parser.parse_args().number)
    for title, kinds in (("no leak", CLEAN), ("leak", LEAKING)):
        print(f"| {title} | reported, of 1,000 |\n|---|---|")
        for kind in kinds:
            print(f"| {kind.__name__.replace('_', ' ')} | {rate(kind, seeds):.0f} |")
            sys.stdout.flush()
        print()


if __name__ == "__main__":
    main()
