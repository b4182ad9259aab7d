"""Parsing and formatting of sizes, times, dates, counts and command lines."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memwatch.units import (
    UnitMissing,
    command_text,
    count,
    cut,
    format_date,
    format_duration,
    format_interval,
    format_size,
    kib,
    parse_duration,
    parse_interval,
    parse_percent,
    parse_size,
    printable,
)

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 0.01),
        ("0.5ms", 0.0005),
        (".5ms", 0.0005),
        ("5.s", 5.0),
        ("10ms", 0.01),
        ("10 ms", 0.01),
        (" 1s ", 1.0),
        ("1.5S", 1.5),
        ("250us", 0.00025),
        ("2min", 120.0),
        ("0", 0.0),
        ("0.0", 0.0),
    ],
)
def test_parse_interval(text: str, seconds: float) -> None:
    assert parse_interval(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "ms", "-1", "+1", "1e3", "1_0", "0x10", "nan", "inf", "1 0", "1h", "1,5"),
        # Digits and letters of other scripts, which Python would accept.
        *("١٠", "1ſ", "10\u00b5s", "1\0"),
    ],
)
def test_bad_intervals(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_interval(text)


@given(
    st.integers(0, 10**9),
    st.integers(0, 999),
    st.sampled_from(sorted(UNITS)),
    st.sampled_from(["", " "]),
)
def test_parse_interval_reads_what_is_printed(whole: int, part: int, unit: str, gap: str) -> None:
    text = f"{whole}.{part:03}{gap}{unit}"
    assert parse_interval(text) == pytest.approx((whole + part / 1000) * UNITS[unit])


@pytest.mark.parametrize(
    ("parse", "text", "remedy"),
    [
        (parse_interval, "0.5", "0.5ms or 0.5s"),
        (parse_interval, " 1.0 ", "1.0ms or 1.0s"),
        (parse_duration, "5", "5s or 5ms"),
        (parse_percent, "50", "50%"),
        (parse_size, "500", "500M, 500G, or 500B for bytes"),
        (parse_size, "1048575", "1048575M, 1048575G, or 1048575B for bytes"),
        (parse_size, "1.5", "1.5M or 1.5G"),
    ],
)
def test_a_unit_is_missing(parse: Callable[[str], float], text: str, remedy: str) -> None:
    with pytest.raises(UnitMissing, match=f"^{re.escape(remedy)}$"):
        parse(text)


def test_zero_needs_no_unit() -> None:
    assert parse_duration("0") == parse_duration("0s") == 0


@given(st.text())
@example("1ſ")
def test_parse_interval_gives_a_number_or_valueerror(text: str) -> None:
    try:
        seconds = parse_interval(text)
    except ValueError:
        return
    assert seconds >= 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20),
        ("4096b", 4096),
        ("4096 B", 4096),
        ("1k", 1024),
        ("512M", 512 << 20),
        ("8G", 8 << 30),
        ("8GB", 8 * 10**9),
        ("1.5GiB", 3 << 29),
        (" .5 gib ", 1 << 29),
        ("2.T", 2 << 40),
        ("9007199254740993", (1 << 53) + 1),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", ".", "G", "1X", "-1", "1e9", "1,5G", "0", "0.1", "8 G B", "1P", "9" * 20, "9" * 5000],
)
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (Python words the error for too many digits)
        parse_size(text)


@given(st.integers(1, 1 << 40), st.sampled_from(["KiB", "KB", "k", "MB", "M"]))
def test_parse_size_is_exact(number: int, unit: str) -> None:
    base = 1000 if unit in ("KB", "MB") else 1024
    assert parse_size(f"{number}{unit}") == number * base ** (2 if unit[0] == "M" else 1)


KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 KiB"),
        (KIB, "1 KiB"),
        (4 * KIB, "4 KiB"),
        (1023 * KIB, "1023 KiB"),
        (MIB - KIB // 4, "1.0 MiB"),
        (MIB - 1, "1.0 MiB"),
        (MIB, "1.0 MiB"),
        (912 * MIB, "912.0 MiB"),
        (GIB - MIB // 10, "1023.9 MiB"),
        (GIB - MIB // 100, "1.0 GiB"),
        (GIB, "1.0 GiB"),
        (1024 * GIB - 1, "1.0 TiB"),
        (TIB, "1.0 TiB"),
        (5000 * TIB, "5000.0 TiB"),
    ],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 1 << 60))
@example(MIB - KIB // 2)
@example(GIB - MIB // 20)
def test_format_size_is_right_and_short(size: int) -> None:
    number, unit = format_size(size).split(" ")
    scale = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}[unit]
    step = 1 if unit == "KiB" else 0.1
    assert abs(float(number) * scale - size) <= step * scale / 2 * 1.001
    if unit != "TiB":
        assert float(number) < 1024
    if unit != "KiB":
        assert float(number) >= 1


@given(st.integers(0, 1 << 60), st.integers(0, 1 << 60))
def test_kib_rounds_down_and_keeps_the_order(a: int, b: int) -> None:
    assert kib(a) * 1024 <= a < (kib(a) + 1) * 1024
    assert (kib(a) <= kib(b)) or a > b


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00.0"),
        (0.04, "00:00:00.0"),
        (0.06, "00:00:00.1"),
        (59.94, "00:00:59.9"),
        (59.96, "00:01:00.0"),
        (201.4, "00:03:21.4"),
        (3599.94, "00:59:59.9"),
        (3599.99, "01:00:00.0"),
        (86400, "24:00:00.0"),
        (360000, "100:00:00.0"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 1e7))
def test_format_duration_reads_back(seconds: float) -> None:
    text = format_duration(seconds)
    assert re.fullmatch(r"\d{2,}:[0-5]\d:[0-5]\d\.\d", text)
    hours, minutes, rest = text.split(":")
    assert int(hours) * 3600 + int(minutes) * 60 + float(rest) == pytest.approx(seconds, abs=0.0501)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "10 ms"),
        (0.00998, "9.98 ms"),
        (0.0001, "0.1 ms"),
        (0.5, "500 ms"),
        (0.50004, "500 ms"),
        (0.9994, "999 ms"),
        # Just under a second, as an interval of one second is achieved.
        (0.9996, "1 s"),
        (0.99999, "1 s"),
        (1.0, "1 s"),
        (1.00004, "1 s"),
        (1.5, "1.5 s"),
        (3600, "3600 s"),
        (36000, "36000 s"),
    ],
)
def test_format_interval(seconds: float, text: str) -> None:
    assert format_interval(seconds) == text


@given(st.floats(1e-4, 1e6))
def test_format_interval_is_right_to_three_digits(seconds: float) -> None:
    number, unit = format_interval(seconds).split(" ")
    assert re.fullmatch(r"[0-9.]+", number)
    assert math.isclose(float(number) * UNITS[unit], seconds, rel_tol=0.0051)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_763_661_754_123_999_999, "2025-11-20T18:02:34.123999Z"),
        (1_763_661_754_999_999_999, "2025-11-20T18:02:34.999999Z"),
        # Leap day, and a clock that was never set.
        (1_709_164_800_000_000_000, "2024-02-29T00:00:00.000000Z"),
        (-1_000_000, "1969-12-31T23:59:59.999000Z"),
    ],
)
def test_format_date(nanoseconds: int, text: str) -> None:
    assert format_date(nanoseconds) == text


@given(st.integers(0, 253_402_300_799 * 10**9))
def test_format_date_is_iso_8601_in_utc(nanoseconds: int) -> None:
    date = datetime.datetime.strptime(format_date(nanoseconds), "%Y-%m-%dT%H:%M:%S.%fZ")
    epoch = datetime.datetime(1970, 1, 1)
    assert (date - epoch) // datetime.timedelta(microseconds=1) == nanoseconds // 1000


def test_count() -> None:
    assert count(0, "process", "processes") == "0 processes"
    assert count(1, "process", "processes") == "1 process"
    assert count(4281, "process", "processes") == "4,281 processes"
    assert count(2, "group") == "2 groups"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("make", "-j8"), "make -j8"),
        (("sh", "-c", "a b"), "sh -c 'a b'"),
        (("a\n", "\x1b[2J"), r"'a\n' '\x1b[2J'"),
        # A byte that is not UTF-8, and a surrogate that stands for no byte.
        (("caf\udce9", "x"), r"'caf\xe9' x"),
        (("\ud800",), r"'\ud800'"),
        (("", "é"), "'' 'é'"),
    ],
)
def test_a_command_is_one_line_that_a_shell_would_accept(words: tuple[str, ...], text: str) -> None:
    assert command_text(words) == text


@given(st.text())
def test_printable_text_is_not_changed_again(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("width", "text"), [(5, "words"), (4, "wor…"), (2, "w…"), (1, "w…"), (0, "w…")]
)
def test_a_text_is_cut_to_the_width(width: int, text: str) -> None:
    assert cut("words", width) == text
