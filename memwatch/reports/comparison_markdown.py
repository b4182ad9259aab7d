"""A Comparison as Markdown, for a comment on a pull request or the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from memwatch.analysis.comparison import Comparison
from memwatch.reports import comparison_rows
from memwatch.units import printable


def markdown(comparison: Comparison, files: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    """Yields the lines. `files` are those of the base and of the candidate, in the order of their
    profiles."""
    yield "### Memory: " + _escape(comparison_rows.verdict_line(comparison))
    yield ""
    columns = comparison_rows.headings(comparison)
    figures = map(_cells, comparison_rows.figures(comparison))
    yield from _table(["", *columns[:3], "", *columns[3:], ""], figures)
    rows, more = comparison_rows.groups(comparison)
    if rows:
        header = [_escape(comparison.group_by), *columns[:3], "", *columns[3:], ""]
        title = f"{comparison_rows.group_title(comparison)}{_and_more(more)}"
        yield from _folded(title, _table(header, map(_cells, rows)))
    counted, more = comparison_rows.classes(comparison)
    if counted:
        header = ["program", "processes", *columns[:3], "", *columns[3:], ""]
        cells = ([_escape(row.name), number, *row[1:]] for number, row in counted)
        title = f"{comparison_rows.class_title(comparison)}{_and_more(more)}"
        yield from _folded(title, _table(header, cells))
    yield ""
    for side, profiles, names in (
        ("Base", comparison.base, files[0]),
        ("Candidate", comparison.candidate, files[1]),
    ):
        yield f"- {side}: {_escape(comparison_rows.side(profiles, names))}"
    for remark in comparison_rows.remarks(comparison):
        yield f"- {_escape(remark)}"


def _folded(title: str, table: Iterator[str]) -> Iterator[str]:
    """Puts a table below a title that unfolds it."""
    yield ""
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from table
    yield ""
    yield "</details>"


def _and_more(number: int) -> str:
    return f" ({number:,} more in the JSON)" if number else ""


def _cells(row: comparison_rows.Row) -> list[str]:
    return [_escape(row.name), *row[1:]]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yields a table whose cells are Markdown already."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' + '---:|' * (len(header) - 2)}---|"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Keeps a name from being read as the end of a table, a tag or a mention."""
    return re.sub(r"([\\`*_{}\[\]<>|#@~&$])", r"\\\1", printable(text))
