"""Adds up by group what each process held at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memwatch.model.totals import Holder


class Holding(NamedTuple):
    """What the processes of one group held together."""

    group: str
    processes: int
    rss: int
    """Bytes."""


def by_group(holders: Iterable[Holder]) -> list[Holding]:
    """Returns what each group held, largest first."""
    sizes: dict[str, list[int]] = {}
    for holder in holders:
        sizes.setdefault(holder.group, []).append(holder.rss)
    held = [Holding(group, len(each), sum(each)) for group, each in sizes.items()]
    return sorted(held, key=lambda holding: -holding.rss)
