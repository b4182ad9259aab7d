"""Readings of an account: what is handed over, and when the reader is woken."""

from __future__ import annotations

import pytest

from memwatch.model.account_watch import AccountWatch
from support.scripted import MIB, MS

LIMIT = 100 * MIB


class Watched:
    """A watch with scripted readings, in milliseconds and MiB."""

    def __init__(self, *story: tuple[float, float]) -> None:
        self.woken = 0
        self.watch = AccountWatch(LIMIT, self._wake)
        self.add(*story)

    def _wake(self) -> None:
        self.woken += 1

    def add(self, *story: tuple[float, float]) -> None:
        for time, size in story:
            self.watch.add(round(size * MIB), round(time * MS))

    def taken(self) -> list[tuple[float, float]]:
        return [(each.time / MS, each.footprint / MIB) for each in self.watch.take()]


def test_two_readings_must_agree() -> None:
    watched = Watched((1, 500))
    assert watched.taken() == []
    watched.add((2, 90), (3, 120), (4, 110))
    assert watched.taken() == [(2, 90), (3, 90), (4, 110)]
    watched.add((5, 300))
    assert watched.taken() == [(5, 110)]


@pytest.mark.parametrize(
    ("story", "woken"),
    [
        ([(10, 10), (20, 20), (30, 25)], 0),
        ([(10, 10), (20, 101)], 1),  # it comes near
        ([(10, 10), (20, 101), (30, 101)], 2),  # it is exceeded
        ([(10, 10), (20, 101), (30, 10), (40, 101)], 1),
        ([(10, 10), (20, 90), (119, 91), (120, 92), (219, 93), (220, 94)], 3),  # now and then
        ([(10, 10), (20, 101), (30, 101), (40, 103), (50, 103)], 2),
        ([(10, 10), (20, 101), (30, 101), (40, 104), (50, 104)], 3),  # it grows on
        ([(10, 101), (20, 101)], 1),  # from the first on
        ([(10, 100), (20, 100)], 0),
    ],
)
def test_the_reader_is_woken_for_what_matters(story: list[tuple[float, float]], woken: int) -> None:
    assert Watched(*story).woken == woken


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([(10, 99)], False),
        ([(10, 79), (20, 80)], False),
        ([(10, 79), (20, 81)], True),
        ([(10, 10), (20, 32)], False),
        ([(10, 10), (20, 33)], True),  # in 30 ms
        ([(10, 10), (12, 15)], False),
        ([(10, 10), (12, 16)], True),
        ([(10, 10), (20, 33), (30, 33)], False),
        ([(10, 79), (20, 81), (1019, 81)], True),
        ([(10, 79), (20, 81), (1020, 81)], False),  # it stands still
        ([(10, 79), (20, 81), (1020, 81), (1030, 82)], True),
        ([(10, 81), (20, 81)], False),
        ([(10, 79), (20, 99), (30, 79)], False),
    ],
)
def test_near_the_limit(story: list[tuple[float, float]], expected: bool) -> None:
    assert Watched(*story).watch.is_near == expected
