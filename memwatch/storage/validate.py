"""Checks that values from a file have their declared types, so that nothing fails on them later.

JSON does not fix types: a damaged or handmade file may have anything anywhere.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeAlias, TypeVar

from memwatch.model.limits import BREACH_EXIT_CODES

LARGEST_NUMBER = 1 << 62
"""The largest number that is accepted: differences then fit into 64 bits, and times have dates."""

T = TypeVar("T")


def checked(value: T) -> T:
    """Returns the dataclass or named tuple. Raises TypeError if a field has another type.

    A field that is itself such an object must be checked where it is made.
    """
    for name, is_valid in _checks_of(type(value)):
        field = getattr(value, name)
        if not is_valid(field):
            raise TypeError(f"{name} cannot be {_shortened(field)}")
    return value


def whole(value: Any) -> int:
    """Returns a whole number. Raises TypeError for anything else."""
    if not _is_whole(value):
        raise TypeError(f"{_shortened(value)} is not a whole number, or too large")
    number: int = value
    return number


def text(value: Any) -> str:
    """Returns a string. Raises TypeError for anything else."""
    if not _is_text(value):
        raise TypeError(f"{_shortened(value)} is not a string")
    words: str = value
    return words


def limit_name(value: Any) -> str:
    """Returns the name of a limit. Raises ValueError or TypeError for anything else."""
    if value not in BREACH_EXIT_CODES:
        raise ValueError(f"there is no limit {value!r}")
    return text(value)


def limit_names(values: Any) -> tuple[str, ...]:
    """Returns the names of limits. Raises ValueError or TypeError for anything else."""
    return tuple(map(limit_name, values))


def wait_status(value: int | None) -> int | None:
    """Returns what wait(2) gives for a process that has ended, or None. Raises TypeError for
    anything else."""
    if value is None or (
        0 <= whole(value) <= 0xFFFF and (os.WIFEXITED(value) or os.WIFSIGNALED(value))
    ):
        return value
    raise TypeError(f"{value} is not an exit status")


def check_records(records: Sequence[tuple[Any, ...]], columns: int) -> None:
    """Raises TypeError unless each record has `columns` whole numbers."""
    # There may be millions of values, so this has no loop in Python.
    values = list(chain.from_iterable(records))
    if (
        set(map(len, records)) - {columns}
        or set(map(type, values)) - {int}
        or (values and not -LARGEST_NUMBER <= min(values) <= max(values) <= LARGEST_NUMBER)
    ):
        raise TypeError(f"a record does not have {columns} whole numbers")


def in_words(error: Exception) -> str:
    """Returns what is wrong with a file, from the error that was raised while it was read."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, IndexError):
        return "a list is too short"
    if isinstance(error, TypeError | AttributeError):
        return f"a value has the wrong type: {error}"
    return str(error)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _is_whole(value: Any) -> bool:
    return type(value) is int and -LARGEST_NUMBER <= value <= LARGEST_NUMBER


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (type(value) is float and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _are_texts(value: Any) -> bool:
    return type(value) is tuple and all(map(_is_text, value))


def _are_whole(value: Any) -> bool:
    return type(value) is tuple and all(map(_is_whole, value))


def _are_counts(value: Any) -> bool:
    return type(value) is dict and all(map(_is_text, value)) and all(map(_is_whole, value.values()))


_BY_TYPE: dict[str, Callable[[Any], bool]] = {
    "int": _is_whole,
    "float": _is_number,
    "str": _is_text,
    "bool": _is_flag,
    "tuple[str, ...]": _are_texts,
    "tuple[int, ...]": _are_whole,
    "Mapping[str, int]": _are_counts,
}


_Checks: TypeAlias = "tuple[tuple[str, Callable[[Any], bool]], ...]"
_KNOWN: dict[Any, _Checks] = {}


def _checks_of(kind: Any) -> _Checks:
    if kind not in _KNOWN:
        checks = []
        for name, declared in kind.__annotations__.items():
            words = getattr(declared, "__forward_arg__", declared)  # the first of a named tuple
            base = words.removesuffix(" | None")
            if base in _BY_TYPE:
                is_valid = _BY_TYPE[base]
                checks.append((name, is_valid if base == words else _or_none(is_valid)))
        _KNOWN[kind] = tuple(checks)
    return _KNOWN[kind]


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)
