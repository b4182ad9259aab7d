"""Thresholds: how they are read and printed, and when a change exceeds them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.analysis.thresholds import (
    DEFAULT,
    Threshold,
    Thresholds,
    parse_threshold,
    parse_thresholds,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5%", Threshold(relative=0.05)),
        (" 0.5 % ", Threshold(relative=0.005)),
        (".5%", Threshold(relative=0.005)),
        ("0%", Threshold(relative=0.0)),
        ("150%", Threshold(relative=1.5)),
        ("50M", Threshold(absolute=50 * MIB)),
        ("1.5GiB", Threshold(absolute=3 << 29)),
        ("8GB", Threshold(absolute=8 * 10**9)),
        ("4096B", Threshold(absolute=4096)),
    ],
)
def test_one(text, expected):
    assert parse_threshold(text) == expected


@pytest.mark.parametrize(
    "text", ["", "%", "5%%", "-5%", "5 percent", "1e3%", "9999999%", "nan%", "0", "5X", "٥%"]
)
def test_bad_thresholds(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the caller makes the message
        parse_threshold(text)


def test_several():
    assert parse_thresholds([]) == Thresholds(DEFAULT, {})
    several = parse_thresholds(["rustc=10%", "50M", "a=b=1%"])
    assert several == Thresholds(
        Threshold(absolute=50 * MIB), {"rustc": Threshold(0.1), "a=b": Threshold(0.01)}
    )
    assert several.of_group("rustc") == Threshold(0.1)
    assert several.of_group("cc1") == Threshold(absolute=50 * MIB)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["rustc="], "'rustc=' is not a threshold: give 5%, 50M, or for one group rustc=10%"),
        (["rustc"], "'rustc' is not a threshold"),
        (["=5%"], "'=5%' names no group"),
        (["5"], "'5' has no unit: give 5%, 5M or 5B"),
        (["rustc=5"], "'rustc=5' has no unit: give rustc=5%, rustc=5M or rustc=5B"),
        (["5%", "1M"], "'1M' is a second threshold for everything: give only one"),
        (["a=5%", "a=1M"], "'a=1M' is a second threshold for 'a': give only one"),
    ],
)
def test_refused(texts, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_thresholds(texts)


@pytest.mark.parametrize(
    ("threshold", "base", "difference", "exceeded"),
    [
        (Threshold(relative=0.05), 1000, 50, False),
        (Threshold(relative=0.05), 1000, 51, True),
        (Threshold(relative=0.05), 1000, -51, True),
        (Threshold(relative=0.0), 1000, 1, True),
        (Threshold(relative=0.0), 1000, 0, False),
        (Threshold(absolute=100), 10, 100, False),
        (Threshold(absolute=100), 10, 101, True),
        # Both: the larger one counts.
        (DEFAULT, 10 * MIB, MIB, False),
        (DEFAULT, 10 * MIB, MIB + 1, True),
        (DEFAULT, 100 * MIB, 5 * MIB, False),
        (DEFAULT, 100 * MIB, 5 * MIB + 1, True),
        (Threshold(relative=0.05), 0, 1, True),
    ],
)
def test_exceeded(threshold, base, difference, exceeded):
    assert threshold.is_exceeded(base, difference) is exceeded


def test_in_words():
    assert str(DEFAULT) == "5 %, at least 1.0 MiB"
    assert str(Threshold(relative=0.005)) == "0.5 %"
    assert str(Threshold(absolute=50 * MIB)) == "50.0 MiB"


@given(st.integers(0, 10**6))
def test_percent_is_read_as_written(hundredths):
    text = f"{hundredths // 100}.{hundredths % 100:02}%"
    assert parse_threshold(text).relative == pytest.approx(hundredths / 10_000, abs=1e-12)
