"""A Comparison as text, as Markdown, and as JSON: the keys of schema/comparison.schema.json."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

from memwatch.analysis.comparison import Change, ClassChange, Comparison, Verdict
from memwatch.analysis.confidence import LEVEL
from memwatch.model.profile import Profile
from memwatch.units import (
    Style,
    command_text,
    count,
    cut,
    format_size,
    kib,
    printable,
    unicode_text,
)

# Rows of a table before "... and N more". What has a threshold of its own is always listed.
ROWS = 15

# Where a name is cut.
LONGEST_NAME = 40

PLAIN = (
    "One run each: a plain comparison. How much runs differ by themselves: run --repeat 5 tells."
)


# In words -----------------------------------------------------------------------------------------


def verdict_line(comparison: Comparison) -> str:
    """The verdict in a sentence: of all that regressed, else of what decides."""
    line = "; ".join(in_words(change) for change in _decisive(comparison))
    return f"{line} (one run each)" if comparison.is_plain else line


def _decisive(comparison: Comparison) -> Sequence[Change]:
    """What has the verdict of the whole."""
    gating = comparison.gating
    return [each for each in gating if each.verdict is comparison.verdict] or gating[:1]


def in_words(change: Change) -> str:
    """As "total RSS: between 3.1 % and 9.8 % more, 95 % confidence: a regression (allowed: …)"."""
    name = printable(change.name)
    if change.verdict is Verdict.UNKNOWN:
        sides = [
            side
            for side, value in (("base", change.base), ("candidate", change.candidate))
            if value is None
        ]
        if not sides:
            return f"{name}: only a part of a run was seen, so there is no verdict"
        return f"{name}: unknown in {' and '.join(sides)}, so there is no verdict"
    verdict = {
        Verdict.REGRESSION: "a regression",
        Verdict.IMPROVEMENT: "an improvement",
        Verdict.NO_CHANGE: "no regression",
        Verdict.UNCERTAIN: "uncertain, more runs would tell",
    }[change.verdict]
    return f"{name}: {_how_much(change)}: {verdict} (allowed: {change.threshold})"


def _how_much(change: Change) -> str:
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
    """As "3.1 %"; in bytes where the base has none."""
    part = change.part(size)
    return format_size(round(abs(size))) if part is None else _percent(abs(part))


def _percent(part: float) -> str:
    return f"{part * 100:,.1f} %"


def _level(level: float) -> str:
    return f"{level:.0%}".replace("%", " %")


# What all forms show ------------------------------------------------------------------------------


class Row(NamedTuple):
    name: str
    base: str
    candidate: str
    change: str
    relative: str
    interval: str
    word: str
    """The verdict in a word; empty where there is nothing to say."""


def _figures(comparison: Comparison) -> Iterator[Row]:
    yield _row("Total RSS", comparison.total, comparison)
    if comparison.pss:
        yield _row("Total PSS", comparison.pss, comparison)
    yield _row("Largest process", comparison.per_process, comparison)
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
        "–" if change.is_new else _size(change.base),
        "–" if change.is_gone else _size(change.candidate),
        "" if difference is None else _signed(difference),
        "" if change.relative is None else _signed_percent(change.relative),
        _interval(change, comparison),
        _word(change),
    )


def _size(size: int | None) -> str:
    return "unknown" if size is None else format_size(size)


def _signed(size: int) -> str:
    sign = "-" if size < 0 else "+" if size else ""
    return sign + format_size(abs(size))


def _signed_percent(part: float) -> str:
    text = _percent(abs(part))
    return text if text == "0.0 %" else f"{'-' if part < 0 else '+'}{text}"


def _interval(change: Change, comparison: Comparison) -> str:
    """As "+3.1 … +9.8 %"."""
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
    word = _decision(change.verdict)
    return f"{word}, {presence}" if presence else word


def _decision(verdict: Verdict) -> str:
    """Of what decides, in a word or two."""
    return "no regression" if verdict is Verdict.NO_CHANGE else verdict.value


def _groups(comparison: Comparison) -> tuple[list[Row], int]:
    """Those that are shown, and how many more there are."""
    groups = [each for each in comparison.groups if each.gates or len(comparison.groups) > 1]
    shown = [each for place, each in enumerate(groups) if place < ROWS or each.gates]
    rows = [_row(_name(each.name), each, comparison) for each in shown]
    return rows, len(groups) - len(shown)


def _classes(comparison: Comparison) -> tuple[list[tuple[str, Row]], int]:
    """Those that differ, with their numbers of processes; and how many more there are."""
    changed = [
        each
        for each in comparison.classes
        if each.base_count != each.candidate_count or each.peak.verdict is not Verdict.NO_CHANGE
    ]
    shown = changed[:ROWS]
    rows = [(_counts(each), _row(_name(each.name), each.peak, comparison)) for each in shown]
    return rows, len(changed) - len(shown)


def _counts(change: ClassChange) -> str:
    if change.base_count == change.candidate_count:
        return f"{change.base_count:,}"
    return f"{change.base_count:,} → {change.candidate_count:,}"


def _name(text: str) -> str:
    """As a column has room for. Of a path the end says more than the beginning."""
    text = printable(text)
    if len(text) <= LONGEST_NAME:
        return text
    return "…" + text[1 - LONGEST_NAME :] if "/" in text else text[: LONGEST_NAME - 1] + "…"


def _side(profiles: Sequence[Profile], files: Sequence[str]) -> str:
    """As "5 runs of make -j8 (a.1.jsonl … a.5.jsonl)"."""
    commands = list(dict.fromkeys(each.command for each in profiles))
    command = command_text(commands[0])
    if len(commands) > 1:
        command = f"{count(len(commands), 'different command')}, the first {command}"
    runs = f"{len(profiles)} runs of " if len(profiles) > 1 else ""
    names = printable(files[0])
    if len(files) > 1:
        names += f"{', ' if len(files) == 2 else ' … '}{printable(files[-1])}"
    return f"{runs}{command}  ({names})"


def _remarks(comparison: Comparison) -> Iterator[str]:
    """How far it holds."""
    yield from comparison.notes
    if comparison.is_plain:
        yield PLAIN
    interval = comparison.total.interval
    if interval and interval.level < LEVEL:
        total = comparison.total
        runs = f"{len(total.base_values)} and {len(total.candidate_values)}"
        yield (
            f"{runs} runs allow for no more than {_level(interval.level)} confidence; "
            f"5 and 5 give {_level(LEVEL)}."
        )


def _headings(comparison: Comparison) -> tuple[str, str, str, str]:
    """Of the columns with the values, and of that with the intervals."""
    sides = (comparison.base, comparison.candidate)
    many = max(map(len, sides)) > 1
    interval = comparison.total.interval
    return (
        "base" + (" (median)" if many else ""),
        "candidate" + (" (median)" if many else ""),
        "change",
        f"{_level(interval.level)} confidence" if interval else "",
    )


# As text ------------------------------------------------------------------------------------------


def lines(
    comparison: Comparison,
    files: tuple[Sequence[str], Sequence[str]],
    *,
    width: int,
    bold: Style,
    dim: Style,
) -> Iterator[str]:
    """`files` are those of the base and of the candidate, in the order of their profiles."""
    base, candidate, change, confidence = _headings(comparison)
    yield cut(f"Base:       {_side(comparison.base, files[0])}", width)
    yield cut(f"Candidate:  {_side(comparison.candidate, files[1])}", width)
    yield ""
    header = Row("", base, candidate, change, "", confidence, "")
    yield from _table(header, [*_figures(comparison)], bold, dim)
    rows, more = _groups(comparison)
    if rows:
        yield ""
        yield bold("Groups, peak at one time:")
        yield from _table(
            header._replace(name=_name(comparison.group_by)), rows, bold, dim, indent="  "
        )
        if more:
            yield dim(f"  … and {count(more, 'group')} that changed less (--json has all)")
    counted, more = _classes(comparison)
    if counted:
        yield ""
        yield bold("Processes that differ, highest peak of a single one:")
        widest = max(len("processes"), *(len(number) for number, _ in counted))
        rows = [row._replace(name=f"{number:>{widest}}  {row.name}") for number, row in counted]
        header = header._replace(name=f"{'processes':>{widest}}  program")
        yield from _table(header, rows, bold, dim, indent="  ")
        if more:
            yield dim(f"  … and {more:,} more (--json has all)")
    yield ""
    yield from _remarks(comparison)
    decisive = _decisive(comparison)
    if len(decisive) == 1:
        yield bold(f"Verdict: {verdict_line(comparison)}")
        return
    yield bold(f"Verdict: {_decision(comparison.verdict)}")
    for each in decisive:
        yield bold(f"  {in_words(each)}")


def _table(
    header: Row, rows: Sequence[Row], bold: Style, dim: Style, indent: str = ""
) -> Iterator[str]:
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]

    def cells(row: Row) -> str:
        padded = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        padded[0] = row.name.ljust(widths[0])
        shown = [text for text, width in zip(padded[:-1], widths, strict=False) if width]
        return indent + "  ".join(shown)

    yield dim(cells(header).rstrip())
    for row in rows:
        word = bold(row.word) if row.word.startswith("regression") else row.word
        yield f"{cells(row)}  {word}".rstrip()


# As Markdown --------------------------------------------------------------------------------------


def markdown(comparison: Comparison, files: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    """The same, for a comment on a pull request or the summary of a CI job."""
    yield "### Memory: " + _escape(verdict_line(comparison))
    yield ""
    columns = _headings(comparison)
    yield from _markdown_table(["", *columns[:3], "", *columns[3:], ""], _figures(comparison))
    rows, more = _groups(comparison)
    if rows:
        yield ""
        yield f"<details><summary>Groups, peak at one time{_and_more(more)}</summary>"
        yield ""
        yield from _markdown_table(
            [_escape(comparison.group_by), *columns[:3], "", *columns[3:], ""], rows
        )
        yield ""
        yield "</details>"
    counted, more = _classes(comparison)
    if counted:
        yield ""
        yield f"<details><summary>Processes that differ{_and_more(more)}</summary>"
        yield ""
        header = ["program", "processes", *columns[:3], "", *columns[3:], ""]
        yield from _markdown_table(
            header, ([_escape(row.name), number, *row[1:]] for number, row in counted)
        )
        yield ""
        yield "</details>"
    yield ""
    for side, profiles, names in (
        ("Base", comparison.base, files[0]),
        ("Candidate", comparison.candidate, files[1]),
    ):
        yield f"- {side}: {_escape(_side(profiles, names))}"
    for remark in _remarks(comparison):
        yield f"- {_escape(remark)}"


def _and_more(number: int) -> str:
    return f" ({number:,} more in the JSON)" if number else ""


def _markdown_table(header: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' + '---:|' * (len(header) - 2)}---|"
    for row in rows:
        cells = [_escape(row[0]), *row[1:]] if isinstance(row, Row) else row
        yield f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """So that a name is shown as it is, and not as a table's end, a tag or a mention."""
    return re.sub(r"([\\`*_{}\[\]<>|#@~&$])", r"\\\1", printable(text))


# As JSON ------------------------------------------------------------------------------------------


def document(comparison: Comparison, files: tuple[Sequence[str], Sequence[str]]) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict.value,
        "verdict_text": verdict_line(comparison),
        "regressions": [unicode_text(each.name) for each in comparison.regressions],
        "plain": comparison.is_plain,
        "base": _json_side(comparison.base, files[0]),
        "candidate": _json_side(comparison.candidate, files[1]),
        "total_rss": _json_change(comparison.total),
        "total_pss": _json_change(comparison.pss) if comparison.pss else None,
        "largest_process": _json_change(comparison.per_process),
        "group_by": unicode_text(comparison.group_by),
        "groups": [_json_change(each) for each in comparison.groups],
        "process_classes": [
            {
                "name": unicode_text(each.name),
                "base_processes": each.base_count,
                "candidate_processes": each.candidate_count,
                "peak": _json_change(each.peak),
            }
            for each in comparison.classes
        ],
        "notes": [unicode_text(note) for note in comparison.notes],
    }


def _json_side(profiles: Sequence[Profile], files: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "file": unicode_text(file),
            "command": [unicode_text(word) for word in profile.command],
            "exit_code": profile.exit_code,
            "duration_seconds": round(profile.duration, 6),
            "interval_ms": profile.sampling.interval / 1e6,
            "processes": len(profile.processes),
            "cut_short": profile.sampling.error is not None,
        }
        for profile, file in zip(profiles, files, strict=True)
    ]


def _json_change(change: Change) -> dict[str, Any]:
    interval = change.interval
    return {
        "name": unicode_text(change.name),
        "base_kib": _kib(change.base),
        "candidate_kib": _kib(change.candidate),
        "difference_kib": _kib(change.difference),
        "relative": _rounded(change.relative),
        "presence": "new" if change.is_new else "gone" if change.is_gone else "both",
        "confidence_interval": interval
        and {
            "level": round(interval.level, 4),
            "low_kib": _kib(interval.low),
            "high_kib": _kib(interval.high),
            "low_relative": _rounded(change.part(interval.low)),
            "high_relative": _rounded(change.part(interval.high)),
        },
        "threshold": {
            "relative": _rounded(change.threshold.relative),
            "kib": _kib(change.threshold.absolute),
        },
        "gates": change.gates,
        "verdict": change.verdict.value,
        "base_values_kib": [kib(value) for value in change.base_values],
        "candidate_values_kib": [kib(value) for value in change.candidate_values],
    }


def _kib(size: float | None) -> int | None:
    """To the nearest, for a difference may be negative."""
    return None if size is None else round(size / 1024)


def _rounded(part: float | None) -> float | None:
    return None if part is None else round(part, 6)
