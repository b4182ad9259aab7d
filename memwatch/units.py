"""Parses and formats numbers, times and text, as people write and read them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable

Style = Callable[[str], str]
"""Makes text bold or dim, or returns it unchanged."""

_INTERVAL = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s|min)?", re.IGNORECASE | re.ASCII)
# In nanoseconds, because a product with 1e-6 would make 100us a little less than 0.1ms.
_UNITS = {"us": 1e3, "ms": 1e6, "s": 1e9, "min": 6e10}


class UnitMissing(ValueError):
    """A number without a unit that could mean two things. The text is what to write instead."""


def parse_interval(text: str) -> float:
    """Returns seconds for "10", "10ms", "0.5ms" or "1s"; a bare whole number is milliseconds.

    Raises UnitMissing for a bare fraction, which looks like seconds, and ValueError for anything
    else.
    """
    number, unit = _time(text)
    if not unit and not number.isdigit() and float(number):
        raise UnitMissing(f"{number}ms or {number}s")
    return _seconds(number, unit or "ms")


def parse_duration(text: str) -> float:
    """Returns seconds for "5s", "500ms" or "2min". Only 0 needs no unit.

    Raises UnitMissing for any other bare number, and ValueError for anything else.
    """
    number, unit = _time(text)
    if not unit and float(number):
        raise UnitMissing(f"{number}s or {number}ms")
    return _seconds(number, unit or "s")


def _time(text: str) -> tuple[str, str]:
    """Returns the number and the unit of a time; "" for no unit."""
    match = _INTERVAL.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    return match[1], match[2] or ""


def _seconds(number: str, unit: str) -> float:
    return float(number) * _UNITS[unit.lower()] / 1e9


_PERCENT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", re.ASCII)


def parse_percent(text: str) -> float:
    """Returns 0.5 for "50%". Raises UnitMissing for "50", and ValueError for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    if not match[2]:
        raise UnitMissing(f"{match[1]}%")
    return float(match[1]) / 100


# Compiled when first used (by re, which keeps it), since most runs are given no size.
_SIZE = r"(\d*)(?:\.(\d*))?\s*(?:([kmgt])(i?b)?|b)?"
_MOST = 1 << 62

# A program needs more. A bare number below it is hardly meant in bytes: 500 is rather 500 MiB.
_LEAST_BARE = 1 << 20


def parse_size(text: str) -> int:
    """Returns bytes for "512M", "1.5GiB", "8GB", "4096B" or "536870912".

    K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024, KB, MB, GB, TB of 1000. Raises UnitMissing
    for a bare number below 1 MiB, and ValueError for anything else, for less than a byte, and for
    more than any machine has.
    """
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if not match:
        raise ValueError(text)
    whole, part, prefix, suffix = match.groups()
    base = 1000 if suffix and suffix.lower() == "b" else 1024
    unit = base ** ("kmgt".index(prefix.lower()) + 1 if prefix else 0)
    digits = whole + (part or "")
    size: int = int(digits) * unit // 10 ** len(part or "")  # int("") raises ValueError
    if not 0 < size < _MOST:
        raise ValueError(text)
    if size < _LEAST_BARE and text.strip()[-1] in "0123456789.":
        number = text.strip()
        in_bytes = f", {number}G, or {number}B for bytes" if number.isdigit() else f" or {number}G"
        raise UnitMissing(f"{number}M{in_bytes}")
    return size


def format_size(size: int) -> str:
    """Returns bytes as "912.0 MiB"."""
    value = size / 1024
    # A value that would be rounded to 1024 of a unit is 1 of the next unit.
    if value < 1023.5:
        return f"{value:.0f} KiB"
    for unit in ("MiB", "GiB"):
        value /= 1024
        if value < 1023.95:
            return f"{value:.1f} {unit}"
    value /= 1024
    return f"{value:.1f} TiB"


def kib(size: int) -> int:
    """Returns bytes in whole KiB. The kernel counts in pages, so nothing is lost."""
    return size // 1024


def format_duration(seconds: float) -> str:
    """Returns seconds as "00:03:21.4"."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{tenths // 10:02}.{tenths % 10}"


def format_interval(seconds: float) -> str:
    """Returns seconds as "10 ms", "9.98 ms" or "1.5 s"."""
    if seconds >= 0.9995:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"
    return f"{seconds * 1000:.3g} ms"


def format_date(realtime: int) -> str:
    """Returns nanoseconds since 1970 as "2025-11-20T18:02:34.123456Z"."""
    seconds, rest = divmod(realtime, 1_000_000_000)
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{date}.{rest // 1000:06}Z"


def printable(text: str) -> str:
    """Returns text as one line that cannot control a terminal. A byte that is not UTF-8 becomes
    \\xNN."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in unicode_text(text)
    )


def command_text(words: Iterable[str]) -> str:
    """Returns a command line quoted for a shell, and printable()."""
    import shlex

    return printable(shlex.join(words))


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Returns the text, shortened to `width` characters with an ellipsis at its end."""
    return text if len(text) <= width else text[: max(width - len(ellipsis), 1)] + ellipsis


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Returns "1 process" or "4,281 processes"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def suggestion(word: str, known: Collection[str]) -> str:
    """Returns the known word that was probably meant, or all of them, for an error message."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"


def unicode_text(text: str) -> str:
    """Returns text of the system in a form that UTF-8 can hold.

    Python has a lone surrogate for a byte that is not UTF-8, and strict parsers of JSON refuse
    lone surrogates. Such a byte becomes \\xNN.
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte, in JSON made by hand
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
