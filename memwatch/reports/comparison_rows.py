"""What every form of a comparison shows: the verdict in words and the rows of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from memwatch.analysis import wording
from memwatch.analysis.comparison import Change, ClassChange, Comparison, Verdict
from memwatch.analysis.confidence import LEVEL
from memwatch.model.profile import Profile
from memwatch.units import command_text, count, format_size, printable

# Rows of a table before "... and N more". What has a threshold of its own is always listed.
ROWS = 15

# Where a name is cut.
LONGEST_NAME = 40

PLAIN = "Only one run each, so noise is unknown; use run --repeat 5."


# The verdict --------------------------------------------------------------------------------------


def verdict_line(comparison: Comparison) -> str:
    """Returns the verdict in a sentence that names all that regressed, or else what decides."""
    line = "; ".join(in_words(change) for change in decisive(comparison))
    return f"{line} (one run each)" if comparison.is_plain else line


def decisive(comparison: Comparison) -> Sequence[Change]:
    """Returns the changes that have the verdict of the whole comparison."""
    gating = comparison.gating
    return [each for each in gating if each.verdict is comparison.verdict] or gating[:1]


def in_words(change: Change) -> str:
    """As "total RSS: between 3.1 % and 9.8 % more, 95 % confidence: a regression (allowed: …)"."""
    name = printable(change.quantity)
    if change.verdict is Verdict.UNKNOWN:
        sides = [
            side
            for side, value in (("base", change.base), ("candidate", change.candidate))
            if value is None
        ]
        if change.doubt:
            return f"{name}: {_unproven(change)}: in {change.doubt.where}, {change.doubt.why}"
        remedy = f" ({change.remedy})" if change.remedy else ""
        return f"{name}: unknown in {' and '.join(sides)}{remedy}, so there is no verdict"
    verdict = {
        Verdict.REGRESSION: "a regression",
        Verdict.IMPROVEMENT: "an improvement",
        Verdict.NO_CHANGE: "no regression",
        Verdict.UNCERTAIN: "uncertain, more runs are needed",
    }[change.verdict]
    if change.is_estimate:
        if change.verdict is Verdict.UNCERTAIN:
            verdict = f"uncertain, {change.remedy}"
        else:
            verdict = f"probably {verdict}"
    return f"{name}: {_how_much(change)}: {verdict} (allowed: {change.threshold})"


def _unproven(change: Change) -> str:
    """Returns what the sizes seem to show, and that this is not proven."""
    difference = change.difference or 0
    if not change.threshold.is_exceeded(change.base or 0, difference):
        return "no verdict"
    direction, kind = ("less", "an improvement") if difference < 0 else ("more", "a regression")
    return f"{_amount(change, difference)} {direction}, but not {kind}"


def _how_much(change: Change) -> str:
    text = _by_runs(change)
    if change.bounds and change.is_estimate:
        base, candidate = (wording.between(*each) for each in change.bounds)
        text += f", by the best estimates, but the bounds overlap ({base}, now {candidate})"
    return text


def _by_runs(change: Change) -> str:
    middle = _directed(change, change.difference or 0)
    interval = change.interval
    if interval is None:
        return middle
    low, high = _amount(change, interval.low), _amount(change, interval.high)
    if interval.low < 0 < interval.high:
        how = f"between {low} less and {high} more"
    elif low == high:
        how = middle
    elif interval.low >= 0:
        how = f"between {low} and {high} more"
    else:
        how = f"between {high} and {low} less"
    how = f"{how}, {_level(interval.level)} confidence"
    return f"{middle} by the medians, but {how}" if change.verdict is Verdict.UNCERTAIN else how


def _directed(change: Change, size: float) -> str:
    return f"{_amount(change, size)} {'less' if size < 0 else 'more'}" if size else "the same"


def _amount(change: Change, size: float) -> str:
    """Formats a difference as "3.1 %", or in bytes where the base holds none."""
    part = change.part(size)
    return format_size(round(abs(size))) if part is None else _percent(abs(part))


def _percent(part: float) -> str:
    return f"{part * 100:,.1f} %"


def _level(level: float) -> str:
    return f"{level:.0%}".replace("%", " %")


def decision(verdict: Verdict) -> str:
    """Returns the verdict of a change that gates, in a word or two."""
    return "no regression" if verdict is Verdict.NO_CHANGE else verdict.value


# Rows ---------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One row of a table, each cell as text."""

    name: str
    base: str
    candidate: str
    change: str
    relative: str
    interval: str
    word: str
    """The verdict in a word; empty where nothing changed."""


def figures(comparison: Comparison) -> Iterator[Row]:
    """Yields the rows of the whole job."""
    for metric, change in comparison.totals.items():
        yield _row(f"Total {metric}", change, comparison)
    largest = comparison.per_process
    yield _row(f"Largest process, {largest.metric}", largest, comparison)
    sides = comparison.base, comparison.candidate
    was, now = (median(len(each.processes) for each in side) for side in sides)
    yield Row("Processes", f"{was:,g}", f"{now:,g}", f"{now - was:+,g}", "", "", "")
    was, now = (median(each.duration for each in side) for side in sides)
    part = _signed_percent(now / was - 1) if was else ""
    yield Row("Duration", f"{was:.2f} s", f"{now:.2f} s", f"{now - was:+.2f} s", part, "", "")


def _row(name: str, change: Change, comparison: Comparison) -> Row:
    difference = change.difference
    return Row(
        name,
        "–" if change.is_new else wording.size(change.base),
        "–" if change.is_gone else wording.size(change.candidate),
        "" if difference is None else _signed(difference),
        "" if change.relative is None else _signed_percent(change.relative),
        _interval(change, comparison),
        _word(change),
    )


def _signed(size: int) -> str:
    sign = "-" if size < 0 else "+" if size else ""
    return sign + format_size(abs(size))


def _signed_percent(part: float) -> str:
    text = _percent(abs(part))
    return text if text == "0.0 %" else f"{'-' if part < 0 else '+'}{text}"


def _interval(change: Change, comparison: Comparison) -> str:
    """Formats the confidence interval as "+3.1 … +9.8 %"."""
    interval = change.interval
    if interval is None or change.is_new or change.is_gone:
        return ""
    low, high = change.part(interval.low), change.part(interval.high)
    if low is None or high is None:
        text = f"{_signed(round(interval.low))} … {_signed(round(interval.high))}"
    else:
        text = f"{_signed_percent(low).removesuffix(' %')} … {_signed_percent(high)}"
    usual = comparison.total.interval
    return text if usual and usual.level == interval.level else f"{text} ({_level(interval.level)})"


def _word(change: Change) -> str:
    presence = "new" if change.is_new else "gone" if change.is_gone else ""
    if not change.gates:
        words = {Verdict.REGRESSION: "more", Verdict.IMPROVEMENT: "less", Verdict.NO_CHANGE: ""}
        return presence or words.get(change.verdict, change.verdict.value)
    word = decision(change.verdict)
    return f"{word}, {presence}" if presence else word


def groups(comparison: Comparison) -> tuple[list[Row], int]:
    """Returns the rows of the groups that are shown, and how many more groups there are."""
    listed = [each for each in comparison.groups if each.gates or len(comparison.groups) > 1]
    shown = [each for place, each in enumerate(listed) if place < ROWS or each.gates]
    rows = [_row(short_name(each.name), each, comparison) for each in shown]
    return rows, len(listed) - len(shown)


def classes(comparison: Comparison) -> tuple[list[tuple[str, Row]], int]:
    """Returns the classes of processes that differ, and how many more of them there are.

    Each comes with its numbers of processes.
    """
    changed = [
        each
        for each in comparison.classes
        if each.base_count != each.candidate_count or each.peak.verdict is not Verdict.NO_CHANGE
    ]
    shown = changed[:ROWS]
    rows = [(_counts(each), _row(short_name(each.name), each.peak, comparison)) for each in shown]
    return rows, len(changed) - len(shown)


def _counts(change: ClassChange) -> str:
    if change.base_count == change.candidate_count:
        return f"{change.base_count:,}"
    return f"{change.base_count:,} → {change.candidate_count:,}"


def short_name(text: str) -> str:
    """Cuts a name to the width of a column; a path loses its beginning, which says less."""
    text = printable(text)
    if len(text) <= LONGEST_NAME:
        return text
    return "…" + text[1 - LONGEST_NAME :] if "/" in text else text[: LONGEST_NAME - 1] + "…"


def group_title(comparison: Comparison) -> str:
    """Returns the title of the table of groups."""
    return f"Groups, peak {comparison.group_metric} at one time"


def class_title(comparison: Comparison) -> str:
    """Returns the title of the table of classes."""
    return (
        f"Processes that differ, highest peak {comparison.per_process.metric} of a single process"
    )


def headings(comparison: Comparison) -> tuple[str, str, str, str]:
    """Returns the headings of the three columns of values and of the column of intervals."""
    sides = (comparison.base, comparison.candidate)
    many = max(map(len, sides)) > 1
    interval = comparison.total.interval
    return (
        "base" + (" (median)" if many else ""),
        "candidate" + (" (median)" if many else ""),
        "change",
        f"{_level(interval.level)} confidence" if interval else "",
    )


# Around the tables --------------------------------------------------------------------------------


def side(profiles: Sequence[Profile], files: Sequence[str]) -> str:
    """Describes one side as "5 runs of make -j8 (a.1.jsonl … a.5.jsonl)"."""
    commands = list(dict.fromkeys(each.command for each in profiles))
    command = command_text(commands[0])
    if len(commands) > 1:
        command = f"{count(len(commands), 'different command')}, the first {command}"
    runs = f"{len(profiles)} runs of " if len(profiles) > 1 else ""
    names = printable(files[0])
    if len(files) > 1:
        names += f"{', ' if len(files) == 2 else ' … '}{printable(files[-1])}"
    return f"{runs}{command}  ({names})"


def remarks(comparison: Comparison) -> Iterator[str]:
    """Yields sentences that limit what the comparison proves."""
    yield from comparison.notes
    total = comparison.total
    if total.bounds and not total.is_estimate:
        base, candidate = (wording.between(*each) for each in total.bounds)
        yield (
            f"The {total.metric} is a best estimate: the base certainly held {base}, the candidate "
            f"{candidate}."
        )
    if comparison.is_plain:
        yield PLAIN
    interval = comparison.total.interval
    if interval and interval.level < LEVEL:
        total = comparison.total
        runs = f"{len(total.base_values)} and {len(total.candidate_values)}"
        yield (
            f"{runs} runs give at most {_level(interval.level)} confidence; "
            f"5 and 5 give {_level(LEVEL)}."
        )
