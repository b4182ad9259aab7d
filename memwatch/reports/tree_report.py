"""The process tree as a section of the summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from memwatch.analysis import wording
from memwatch.analysis.subtrees import Subtrees
from memwatch.analysis.tree import Branch, grow
from memwatch.model.filters import Filter
from memwatch.model.profile import Profile
from memwatch.reports.summary import LONGEST_NAME
from memwatch.units import Style, count, cut, format_size, printable

# Columns before the tree itself.
_FIGURES = 35

# How many programs of one process are named.
_PROGRAMS = 3


class _Drawing(NamedTuple):
    """The characters that a tree is drawn with."""

    child: str
    last: str
    past: str
    nothing: str
    then: str
    times: str
    cut: str


_BOXES = _Drawing("├─ ", "└─ ", "│  ", "   ", " → ", "×", "…")
_PLAIN = _Drawing("|- ", "`- ", "|  ", "   ", " -> ", "x", "...")


def tree_lines(
    profile: Profile,
    chosen: Filter,
    subtrees: Subtrees | None,
    *,
    most: int | None,
    width: int,
    plain: bool,
    bold: Style,
    dim: Style,
) -> Iterator[str]:
    """Yields the section line by line. `most` limits the tree's lines; `plain` draws in ASCII."""
    drawing = _PLAIN if plain else _BOXES
    shows = chosen.shows if chosen else None
    top = grow(profile.processes, subtrees, shows=shows, most=most)
    if not top.children and not top.hidden:
        return
    yield ""
    yield bold("Process tree (peak RSS):")
    head = "subtree" if subtrees else "sum"
    yield dim(f"  {head:>10}  {'own':>10}  {'below':>7}")
    room = max(width - _FIGURES, 24)
    folded = False
    for branch, before in _lines(top, drawing, room // 2):
        if isinstance(branch, int):
            more = count(branch, "more process", "more processes")
            yield " " * _FIGURES + dim(f"{before}{drawing.cut} {more}")
            continue
        folded |= len(branch.members) > 1
        what = _what(profile, branch, room - len(before), drawing, dim)
        yield f"  {_figures(branch)}  {dim(before)}{what}"
    if subtrees:
        meaning = "subtree: a process and all processes below it, at one time"
    else:
        meaning = "sum: the peaks of a process and of all below it, which may be at different times"
    yield dim(f"  {meaning}")
    if folded:
        yield dim(f"  {drawing.times} N: siblings that ran the same; the largest of them is shown")
    if top.hidden or (most is not None and _is_cut(top)):
        yield dim("  (--top all shows the whole tree)")


def _lines(top: Branch, drawing: _Drawing, widest: int) -> Iterator[tuple[Branch | int, str]]:
    """Yields each branch, or the number of processes hidden in its place, and what precedes it.

    Without recursion, since shells can be nested very deep. From some depth on, lines go no further
    to the right but show their depth.
    """
    todo: list[tuple[Branch | int, str, bool, int]] = []

    def add(branch: Branch, stem: str, depth: int) -> None:
        below: list[Branch | int] = [*branch.children]
        if branch.hidden:
            below.append(branch.hidden)
        todo.extend((each, stem, each is below[-1], depth) for each in reversed(below))

    add(top, "", 0)
    while todo:
        branch, stem, is_last, depth = todo.pop()
        before = stem
        if depth:
            before += drawing.last if is_last else drawing.child
        if len(stem) > widest:
            before += f"({depth}) "
        elif depth:
            stem += drawing.nothing if is_last else drawing.past
        yield branch, before
        if not isinstance(branch, int):
            add(branch, stem, depth + 1)


def _is_cut(top: Branch) -> bool:
    """Whether a branch hides processes."""
    todo = [top]
    while todo:
        branch = todo.pop()
        if branch.hidden:
            return True
        todo += branch.children
    return False


def _figures(branch: Branch) -> str:
    subtree, own = map(wording.size, (branch.subtree, branch.own))
    below = f"{branch.below:,}" if branch.below else ""
    return f"{subtree:>10}  {own:>10}  {below:>7}"


def _what(profile: Profile, branch: Branch, room: int, drawing: _Drawing, dim: Style) -> str:
    """Returns the programs that ran, and as much of the command line as fits."""
    room = max(room, 12)
    ran = [printable(name) for name in branch.programs]
    if len(ran) > _PROGRAMS:
        ran = [drawing.cut, *ran[-_PROGRAMS:]]
    name = cut(drawing.then.join(ran), min(room, LONGEST_NAME * 2), drawing.cut)
    if len(branch.members) > 1:
        note = f" {drawing.times} {len(branch.members):,}"
        if branch.own:
            note += f" (sum of peaks {format_size(branch.sum_of_peaks)})"
        return name + dim(cut(note, max(room - len(name), 8), drawing.cut))
    process = profile.processes[branch.members[0]]
    rest = f" (pid {process.pid})"
    if process.argv:
        rest += "".join(f" {printable(word)}" for word in process.argv[1:])
    left = room - len(name)
    return name + dim(cut(rest, left, drawing.cut)) if left > 4 else name
