"""How much more memory is too much: "5%", "50M", and for one group "rustc=10%"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from memwatch.units import format_size, parse_size

_PERCENT = re.compile(r"(\d{1,6}(?:\.\d*)?|\.\d+)\s*%", re.ASCII)


class Threshold(NamedTuple):
    """What is allowed. Where both are set, the larger of the two is."""

    relative: float | None = None
    """Part of the base: 0.05 for 5 %."""
    absolute: int | None = None
    """Bytes."""

    def allowed(self, base: int) -> float:
        """The largest change of `base` that does not count. Both in bytes."""
        return max((self.relative or 0) * base, self.absolute or 0)

    def is_exceeded(self, base: int, difference: int) -> bool:
        """Whether it counts, as an increase or as a decrease, that `base` changed so much."""
        return abs(difference) > self.allowed(base)

    def __str__(self) -> str:
        """As "5 %", "50.0 MiB" or "5 %, at least 1.0 MiB"."""
        parts = []
        if self.relative is not None:
            parts.append(f"{self.relative * 100:.6g} %")
        if self.absolute is not None:
            parts.append(format_size(self.absolute))
        return ", at least ".join(parts)


DEFAULT = Threshold(0.05, 1 << 20)
"""The second part because small jobs differ by some 100 KiB from run to run, of which 5 % is
nothing: where libraries lie in memory, how the kernel counts."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    default: Threshold = DEFAULT
    groups: Mapping[str, Threshold] = field(default_factory=dict)
    """For groups that have one of their own, by name."""

    def of_group(self, name: str) -> Threshold:
        return self.groups.get(name, self.default)


def parse_threshold(text: str) -> Threshold:
    """From "5%", "0.5 %" or a size as units.parse_size() takes it. Raises ValueError."""
    if match := _PERCENT.fullmatch(text.strip()):
        return Threshold(relative=float(match[1]) / 100)
    return Threshold(absolute=parse_size(text))


def parse_thresholds(texts: Iterable[str]) -> Thresholds:
    """From "5%" for all that has none of its own, and "NAME=5%" for a group.

    Raises ValueError with the reason and the remedy.
    """
    found: dict[str | None, Threshold] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            threshold = parse_threshold(value)
        except ValueError:
            raise ValueError(
                f"{text!r} is no threshold: write 5%, 50M, or for one group rustc=10%"
            ) from None
        if equals and not name:
            raise ValueError(f"{text!r} names no group: write 5% or, for one group, rustc=10%")
        key = name if equals else None
        if key in found:
            what = f"the threshold of {name!r}" if equals else "the threshold for all"
            raise ValueError(f"{text!r}: {what} is there already: give one")
        found[key] = threshold
    groups = {name: each for name, each in found.items() if name is not None}
    return Thresholds(found.get(None, DEFAULT), groups)
