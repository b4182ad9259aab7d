"""Option values: which are accepted, and the one-line error with a remedy for the others."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
from click.testing import CliRunner

from memwatch.commands.shared import options
from memwatch.runner import profiler

EVERY_SOURCE = ("connector", "perf", "taskstats")


@click.command()
@click.option("--interval", callback=options.interval, default="500")
@click.option("--burst", callback=options.burst)
@click.option("--sources", callback=options.sources, default="auto")
@click.option("--regex", callback=options.regex)
@click.option("--top", callback=options.top, default="10")
def taken(**values: Any) -> None:
    click.echo(repr(values))


def take(name: str, value: str) -> Any:
    """Returns the option's value as a command gets it. Raises click.BadParameter."""
    with taken.make_context("taken", [f"--{name}={value}"]) as context:
        return context.params[name]


def refusal(name: str, value: str) -> str:
    result = CliRunner().invoke(taken, [f"--{name}={value}"])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error:")]
    return line


def test_defaults_go_through_the_same_callbacks() -> None:
    with taken.make_context("taken", []) as context:
        assert context.params == {
            "interval": 0.5,
            "burst": 0.0,
            "sources": EVERY_SOURCE,
            "regex": None,
            "top": 10,
        }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 0.01),
        ("0.5ms", 0.0005),
        ("10ms", 0.01),
        ("1s", 1.0),
        ("0.1ms", 1e-4),
        ("100us", 1e-4),
        ("3600s", 3600.0),
        ("60min", 3600.0),
    ],
)
def test_interval(text: str, seconds: float) -> None:
    assert take("interval", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ten", "10h", "-5", "1e3", "1ſ", "nan"])
def test_bad_intervals(text: str) -> None:
    line = refusal("interval", text)
    assert repr(text) in line
    assert "write 10 (milliseconds), 10ms or 1s" in line


@pytest.mark.parametrize("text", ["0", "0.09ms", "99us", "3601s", "61min", "9" * 400])
def test_an_interval_out_of_range(text: str) -> None:
    assert "write 0.1ms to 3600s" in refusal("interval", text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500", 0.5),
        ("0", 0.0),
        ("1.5s", 1.5),
        ("2min", 120.0),
        ("250us", 0.00025),
        ("60min", 3600.0),
    ],
)
def test_burst(text: str, seconds: float) -> None:
    assert take("burst", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1h", "1e3", "nan", "inf"])
def test_bad_bursts(text: str) -> None:
    line = refusal("burst", text)
    assert "--burst" in line
    assert repr(text) in line
    assert "write 500 (milliseconds), 500ms or 1s" in line


@pytest.mark.parametrize("text", ["3601s", "61min", "9" * 400])
def test_a_burst_out_of_range(text: str) -> None:
    assert "write 3600s at most" in refusal("burst", text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("auto", EVERY_SOURCE),
        ("none", ()),
        ("perf", ("perf",)),
        ("taskstats,connector", ("taskstats", "connector")),
        ("perf,perf", ("perf",)),
    ],
)
def test_sources(text: str, names: tuple[str, ...]) -> None:
    assert take("sources", text) == names


def test_auto_is_every_source() -> None:
    assert take("sources", "auto") == tuple(profiler.SOURCES)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("", ""),
        ("perv", "perv"),
        ("connector,perv", "perv"),
        ("connector, perf", " perf"),
        ("connector,", ""),
        ("none,perf", "none"),
        ("auto,perf", "auto"),
        # The hook is chosen with --exact.
        ("hook", "hook"),
        ("PERF", "PERF"),
    ],
)
def test_bad_sources(text: str, culprit: str) -> None:
    line = refusal("sources", text)
    assert "--sources" in line
    assert repr(culprit) in line
    assert "write auto, none, or some of connector, perf, taskstats" in line


@pytest.mark.parametrize("text", ["", "cc", "^a|b$", r"\bcc1plus\b", "é"])
def test_regex(text: str) -> None:
    value = take("regex", text)
    assert isinstance(value, re.Pattern)
    assert value.pattern == text


@pytest.mark.parametrize("text", ["(", "[a", "*", "a{2,1}", "(?P<n", "a{99999999999999999999}"])
def test_bad_regexes(text: str) -> None:
    line = refusal("regex", text)
    assert repr(text) in line
    assert "is not a regular expression" in line


@pytest.mark.parametrize(("text", "rows"), [("all", None), ("0", 0), ("1", 1), ("25", 25)])
def test_top(text: str, rows: int | None) -> None:
    assert take("top", text) == rows


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "ALL", "ten", " 5", "1_0", "²", "٥"])
def test_bad_tops(text: str) -> None:
    assert "neither a number of processes nor 'all'" in refusal("top", text)


def test_a_top_too_long_for_python() -> None:
    # int() refuses more than 4,300 digits.
    assert "neither a number of processes nor 'all'" in refusal("top", "9" * 5000)
