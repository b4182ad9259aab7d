"""Puts the HTML file together: style, scripts, data, and tables that work without scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from memwatch.model.groups import described
from memwatch.model.processes import UNKNOWN, Process
from memwatch.model.profile import Profile
from memwatch.units import count, format_size, printable
from memwatch.version import __version__
from memwatch.view.model import Page, command_line
from memwatch.view.payload import pack

# Rows of the tables that are shown without scripts, and on paper.
PROCESSES = 25
GROUPS = 25

# The scripts in their order: each uses those before it.
_SCRIPTS = (
    *("data.js", "time.js", "chart.js", "lanes.js", "tables.js"),
    *("state.js", "top.js", "choose.js", "pointer.js", "viewer.js"),
)


def render(pages: Sequence[tuple[Page, Profile]]) -> str:
    """Returns the whole file. It needs no other file, and loads nothing."""
    style = _read("viewer.css")
    script = "(() => {\n'use strict';\n" + "\n".join(map(_read, _SCRIPTS)) + "})();\n"
    title = " · ".join(page.command for page, _ in pages)
    parts = {
        "title": escape(title[:200]),
        # Nothing except these two is run, whatever a command line may contain.
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "style": style,
        "script": script,
        "version": escape(__version__),
        "static": "\n".join(_static(page, profile) for page, profile in pages),
        "data": "\n".join(_data(page) for page, _ in pages),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("page.html"))


def _read(name: str) -> str:
    return files("memwatch.view").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _data(page: Page) -> str:
    packed = pack(page.document, page.columns)
    return f'<script type="application/octet-stream" class="data">{packed}</script>'


def _static(page: Page, profile: Profile) -> str:
    return "\n".join(
        [
            '<section class="static">',
            f"<h1><code>{escape(page.command)}</code></h1>",
            f"<p>{escape(_origin(page))}</p>",
            *_facts(page),
            *_groups(profile),
            *_processes(profile),
            "</section>",
        ]
    )


def _origin(page: Page) -> str:
    host = page.document["host"]
    on = f" on {host}" if host else ""
    return f"{page.label}: started {page.document['started']}{on}"


def _facts(page: Page) -> Iterator[str]:
    rows = [(fact.name, fact.value, fact.how) for fact in page.facts]
    yield from _table("Summary", ("", "", "how it is known"), rows, numbers=())
    yield "<ul>"
    yield from (f"<li>{escape(note)}</li>" for note in page.notes)
    yield "</ul>"


def _groups(profile: Profile) -> Iterator[str]:
    rows = [
        (
            printable(group.name),
            f"{group.processes:,}",
            format_size(group.peak_rss) if group.peak_known else UNKNOWN,
            format_size(group.sum_of_peaks) if group.known else UNKNOWN,
            format_size(group.footprint.best) if group.footprint else UNKNOWN,
        )
        for group in profile.groups[:GROUPS]
    ]
    group = f"group ({printable(described(profile.group_by))})"
    head = (group, "processes", "peak at one time", "sum of peaks", "footprint")
    yield from _table("Groups", head, rows, numbers=(1, 2, 3, 4), of=len(profile.groups))


def _processes(profile: Profile) -> Iterator[str]:
    ranked = sorted(profile.processes, key=lambda process: (-process.peak.rss, process.serial))
    rows = [_process(profile, process) for process in ranked[:PROCESSES]]
    head = ("process", "pid", "peak RSS", "peak is", "start, s", "end, s", "command line")
    yield from _table("Processes", head, rows, numbers=(1, 2, 4, 5), of=len(ranked))


def _process(profile: Profile, process: Process) -> tuple[str, ...]:
    peak = process.peak
    begin = process.first_seen if process.start is None else process.start
    return (
        printable(process.command),
        str(process.pid),
        UNKNOWN if peak.source == UNKNOWN else format_size(peak.rss),
        peak.source,
        f"{profile.elapsed(begin):.3f}",
        f"{profile.elapsed(process.last_seen):.3f}" if not process.alive else "running",
        command_line(process.argv, cut=process.programs[-1].text.argv_cut) or UNKNOWN,
    )


def _table(
    title: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int],
    of: int = 0,
) -> Iterator[str]:
    """Yields a table. `of` is how many rows there are in all."""
    rows = list(rows)
    more = f": the first {count(len(rows), 'row')} of {of:,}" if of > len(rows) else ""
    yield f"<table><caption>{title}{more}</caption>"
    cells = ((index in numbers, text) for index, text in enumerate(head))
    yield f"<thead><tr>{''.join(_cell('th', *cell) for cell in cells)}</tr></thead><tbody>"
    for row in rows:
        cells = ((index in numbers, text) for index, text in enumerate(row))
        yield f"<tr>{''.join(_cell('td', *cell) for cell in cells)}</tr>"
    yield "</tbody></table>"


def _cell(tag: str, is_number: bool, text: str) -> str:
    kind = ' class="number"' if is_number else ""
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"
