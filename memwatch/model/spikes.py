"""How much more than its samples a job may have held between them."""

from __future__ import annotations

from memwatch.model.spill import Numbers, Rows

_SIZE_BITS = 40
_SIZE_MASK = (1 << _SIZE_BITS) - 1


class Spikes:
    """The processes whose peak is above every sample of them, or that no sample has seen.

    When a process reached its peak is not known, so it counts for as long as it lived: at most
    what all processes that lived at one time had beyond their samples is what the samples of the
    whole job may have missed.
    """

    def __init__(self) -> None:
        self._starts = Numbers()
        self._lives = Numbers()
        self._sizes = Numbers()
        self._rows = Rows((self._starts, self._lives, self._sizes))

    def add(self, start: int, end: int, size: int) -> None:
        """Adds a process that lived from `start` to `end` and held up to `size` bytes more than was
        sampled."""
        self._rows.add((start, end - start, size))

    def highest(self) -> int:
        """Returns the highest sum over processes that lived at one time, in bytes."""
        # A number each, since there may be half a million. A process that ends as another begins
        # has made room for it: the last bit puts ends first.
        self._rows.flush()
        changes: list[int] = []
        for start, life, size in zip(self._starts, self._lives, self._sizes, strict=True):
            kib = -(-size // 1024)
            changes.append((start << 1 | 1) << _SIZE_BITS | kib)
            changes.append((start + life) << 1 << _SIZE_BITS | kib)
        changes.sort()
        highest = now = 0
        for change in changes:
            kib = change & _SIZE_MASK
            if change >> _SIZE_BITS & 1:
                now += kib
                highest = max(highest, now)
            else:
                now -= kib
        return highest * 1024
