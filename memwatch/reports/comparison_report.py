"""A Comparison as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memwatch.analysis.comparison import Comparison
from memwatch.reports import comparison_rows
from memwatch.reports.comparison_rows import Row
from memwatch.units import Style, count, cut


def lines(
    comparison: Comparison,
    files: tuple[Sequence[str], Sequence[str]],
    *,
    width: int,
    bold: Style,
    dim: Style,
) -> Iterator[str]:
    """Yields the report line by line. `files` are those of the base and of the candidate, in the
    order of their profiles."""
    base, candidate, change, confidence = comparison_rows.headings(comparison)
    yield cut(f"Base:       {comparison_rows.side(comparison.base, files[0])}", width)
    yield cut(f"Candidate:  {comparison_rows.side(comparison.candidate, files[1])}", width)
    yield ""
    header = Row("", base, candidate, change, "", confidence, "")
    yield from _table(header, [*comparison_rows.figures(comparison)], bold, dim)
    yield from _groups(comparison, header, bold, dim)
    yield from _classes(comparison, header, bold, dim)
    yield ""
    yield from comparison_rows.remarks(comparison)
    decisive = comparison_rows.decisive(comparison)
    if len(decisive) == 1:
        yield bold(f"Verdict: {comparison_rows.verdict_line(comparison)}")
        return
    yield bold(f"Verdict: {comparison_rows.decision(comparison.verdict)}")
    for each in decisive:
        yield bold(f"  {comparison_rows.in_words(each)}")


def _groups(comparison: Comparison, header: Row, bold: Style, dim: Style) -> Iterator[str]:
    rows, more = comparison_rows.groups(comparison)
    if not rows:
        return
    yield ""
    yield bold(f"{comparison_rows.group_title(comparison)}:")
    header = header._replace(name=comparison_rows.short_name(comparison.group_by))
    yield from _table(header, rows, bold, dim, indent="  ")
    if more:
        yield dim(f"  … and {count(more, 'group')} that changed less (--json has all)")


def _classes(comparison: Comparison, header: Row, bold: Style, dim: Style) -> Iterator[str]:
    counted, more = comparison_rows.classes(comparison)
    if not counted:
        return
    yield ""
    yield bold(f"{comparison_rows.class_title(comparison)}:")
    widest = max(len("processes"), *(len(number) for number, _ in counted))
    rows = [row._replace(name=f"{number:>{widest}}  {row.name}") for number, row in counted]
    header = header._replace(name=f"{'processes':>{widest}}  program")
    yield from _table(header, rows, bold, dim, indent="  ")
    if more:
        yield dim(f"  … and {more:,} more (--json has all)")


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
