"""Thresholds: how much more memory is allowed: "5%", "50M", and for one group "rustc=10%"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from memwatch.units import UnitMissing, format_size, parse_size

_PERCENT = re.compile(r"(\d{1,6}(?:\.\d*)?|\.\d+)\s*%", re.ASCII)
_BARE = re.compile(r"\d+(\.\d*)?|\.\d+", re.ASCII)


class Threshold(NamedTuple):
    """The allowed change. Where both parts are set, the larger one counts."""

    relative: float | None = None
    """Part of the base: 0.05 for 5 %."""
    absolute: int | None = None
    """Bytes."""

    def allowed(self, base: int) -> float:
        """Returns the largest change of `base` that is allowed, both in bytes."""
        return max((self.relative or 0) * base, self.absolute or 0)

    def is_exceeded(self, base: int, difference: int) -> bool:
        """Returns whether a change of `base`, up or down, is larger than allowed."""
        return abs(difference) > self.allowed(base)

    def __str__(self) -> str:
        """Returns "5 %", "50.0 MiB" or "5 %, at least 1.0 MiB"."""
        parts = []
        if self.relative is not None:
            parts.append(f"{self.relative * 100:.6g} %")
        if self.absolute is not None:
            parts.append(format_size(self.absolute))
        return ", at least ".join(parts)


DEFAULT = Threshold(0.05, 1 << 20)
"""It has an absolute part because the memory of any job differs by some 100 KiB from run to run
(where libraries lie in memory, how the kernel counts). That can be over 5 % of a small job."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The threshold of each quantity of a comparison."""

    default: Threshold = DEFAULT
    groups: Mapping[str, Threshold] = field(default_factory=dict)
    """Thresholds of single groups, by name."""

    def of_group(self, name: str) -> Threshold:
        """Returns the threshold of a group."""
        return self.groups.get(name, self.default)


def parse_threshold(text: str) -> Threshold:
    """Parses "5%", "0.5 %" or a size with its unit, as units.parse_size() takes it.

    Raises UnitMissing for a bare number, and ValueError for anything else.
    """
    if match := _PERCENT.fullmatch(text.strip()):
        return Threshold(relative=float(match[1]) / 100)
    if _BARE.fullmatch(text.strip()):
        raise UnitMissing(text)
    return Threshold(absolute=parse_size(text))


def parse_thresholds(texts: Iterable[str]) -> Thresholds:
    """Parses "5%", the default threshold, and "NAME=5%", the threshold of a group.

    Raises ValueError with the reason and the remedy.
    """
    found: dict[str | None, Threshold] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            threshold = parse_threshold(value)
        except UnitMissing:
            bare = text.strip()
            raise ValueError(f"{text!r} has no unit: give {bare}%, {bare}M or {bare}B") from None
        except ValueError:
            raise ValueError(
                f"{text!r} is not a threshold: give 5%, 50M, or for one group rustc=10%"
            ) from None
        if equals and not name:
            raise ValueError(f"{text!r} names no group: give 5% or, for one group, rustc=10%")
        key = name if equals else None
        if key in found:
            subject = f"for {name!r}" if equals else "for everything"
            raise ValueError(f"{text!r} is a second threshold {subject}: give only one")
        found[key] = threshold
    groups = {name: each for name, each in found.items() if name is not None}
    return Thresholds(found.get(None, DEFAULT), groups)
