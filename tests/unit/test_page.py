"""The page of `memwatch view`, without a browser: its packing, content and safety."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from array import array
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.totals import Timeline
from memwatch.model.tracks import Track
from memwatch.storage.load import load
from memwatch.view import model
from memwatch.view.model import command_line, page_of
from memwatch.view.page import render
from memwatch.view.payload import Column, pack
from memwatch.view.thinning import thin_timeline, thin_tracks

# -- Packing -------------------------------------------------------------------------------------


def unpack(text: str) -> tuple[dict, dict[str, list[int]]]:
    """Unpacks as the page does, by the description in payload.py."""
    whole = gzip.decompress(base64.b64decode(text))
    at = 4 + int.from_bytes(whole[:4], "little")
    document = json.loads(whole[4:at])
    columns = {}
    for name, count, length, scale, order in document["columns"]:
        numbers, number, shift = [], 0, 0
        for byte in whole[at : at + length]:
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                numbers.append(-(number + 1) // 2 if number & 1 else number // 2)
                number, shift = 0, 0
        for _ in range(order):
            for i in range(1, len(numbers)):
                numbers[i] += numbers[i - 1]
        assert len(numbers) == count
        columns[name] = [number * scale for number in numbers]
        at += length
    assert at == len(whole)
    return document, columns


numbers = st.lists(st.integers(-(2**50), 2**50))


@given(st.lists(st.tuples(numbers, st.integers(0, 2), st.sampled_from((1, 1024, 4096)))))
def test_columns_come_back(given_columns):
    columns = [
        Column(str(i), [value * scale % 2**52 for value in values], order)
        for i, (values, order, scale) in enumerate(given_columns)
    ]
    document, found = unpack(pack({"a": "</script>\ud800"}, columns))
    assert document["a"] == "</script>\ud800"
    assert found == {column.name: list(column.values) for column in columns}


def test_a_payload_is_plain_text_and_always_the_same():
    packed = pack({}, [Column("a", [1, 2, 3])])
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", packed)
    assert packed == pack({}, [Column("a", [1, 2, 3])])


def test_steady_columns_are_small():
    """A million ticks at a steady interval are a few KB."""
    steady = [10_000 * i for i in range(100_000)]
    assert len(pack({}, [Column("a", steady, 2)])) < 1000


# -- Thinning ------------------------------------------------------------------------------------

samples = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1)


@given(st.lists(samples, min_size=1, max_size=5), st.integers(1, 30), st.integers(1, 5000))
def test_thinned_tracks_keep_the_highest(processes, most, interval):
    tracks = {}
    for serial, pairs in enumerate(processes):
        pairs.sort()
        tracks[serial] = Track(
            *(array("q", column) for column in zip(*pairs, strict=True)),
            array("q", (size // 2 for _, size in pairs)),
        )
    thinned, span = thin_tracks(tracks, interval, most)
    number = sum(len(track.times) for track in thinned.values())
    assert number <= max(most, len(tracks))
    assert thinned.keys() == tracks.keys()
    for serial, track in tracks.items():
        made = list(zip(*track, strict=True))
        kept = list(zip(*thinned[serial], strict=True))
        assert set(kept) <= set(made)
        assert list(thinned[serial].times) == sorted(thinned[serial].times)
        assert max(thinned[serial].rss) == max(track.rss)
        if span is None:
            assert kept == made
        else:
            for time, size, _ in made:
                near = [high for at, high, _ in kept if at // span == time // span]
                assert len(near) == 1
                assert near[0] >= size


def test_a_thinned_timeline_keeps_its_peak():
    times = array("q", range(0, 1000, 10))
    totals = array("q", (i * 7919 % 101 for i in range(100)))
    counts = array("q", range(100))
    shared = [None if i % 3 else i for i in range(100)]
    unknown = [None] * 100
    whole = Timeline(times, totals, counts, shared, unknown, unknown, unknown)
    thin, span = thin_timeline(whole, 10, 20)
    assert len(thin.times) <= 20
    assert span == 80
    at = list(thin.totals).index(max(totals))
    assert counts[list(totals).index(max(totals))] == thin.counts[at]
    assert shared[list(totals).index(max(totals))] == thin.shared[at]
    assert set(thin.rows()) <= set(whole.rows())


# -- Content -------------------------------------------------------------------------------------


@pytest.fixture
def build(story) -> Path:
    """Records make, a shell that executes a compiler, and a process that no sample saw."""
    recording = story("build.jsonl", "make", "-j2")
    recording.start(1, "make", "-j2", at=0)
    recording.memory(1, 2048, at=1)
    recording.start(2, "sh", "-c", "cc1 a.c", parent=1, at=5)
    recording.memory(2, 1024, at=10)
    recording.tick()
    recording.execute(2, "/usr/lib/cc1", "a.c", at=12)
    recording.memory(2, 30000, at=20)
    recording.tick()
    recording.start(3, "true", parent=1, at=22)
    recording.final(3, 700, at=23)
    recording.exit(3, 0, by_event=True)
    recording.pss(29000, at=20)
    recording.exit(2, 256, by_event=True, at=27)
    recording.tick(at=30)
    return recording.end(40, limit=65536)


def described(path: Path, group_by: str | None = None, **limits: int):
    results = load(str(path), timeline=True, tracks=True, group_by=group_by)
    page = page_of(results.profile, results.tracks, path.name, results.host, **limits)
    return page, {column.name: list(column.values) for column in page.columns}


def test_columns(build):
    page, columns = described(build)
    words = page.document["words"]
    assert columns["pid"] == [101, 102, 103]
    assert columns["parent"] == [-1, 0, 0]
    assert columns["begin"] == [0, 5000, 22000]
    assert columns["end"][1:] == [27000, 23000]
    assert columns["running"] == [False, False, False]
    assert columns["status"] == [0, 256, 0]
    assert columns["peak"] == [2048 << 10, 30000 << 10, 700 << 10]
    assert [page.document["peak_sources"][i] for i in columns["peak_source"]] == [
        *("sampled", "sampled", "exact")
    ]
    assert [words[i] for i in columns["name"]] == ["make", "cc1", "true"]
    assert [words[i] for i in columns["program_line"]] == [
        *("make -j2", "sh -c 'cc1 a.c'", "/usr/lib/cc1 a.c", "true")
    ]
    assert columns["program_later"] == [0, 0, 7000, 0]
    assert columns["moment"] == [1000, 10000, 20000, 30000]
    assert [columns["moment"][i] for i in columns["tick"]] == [10000, 20000, 30000]
    assert columns["total"] == [3072 << 10, 32048 << 10, 2048 << 10]
    assert columns["sample_count"] == [1, 2, 0]
    assert [columns["moment"][i] for i in columns["sample_moment"]] == [1000, 10000, 20000]
    assert columns["pss_total"] == [29000 << 10]
    assert page.document["limit"] == 65536 << 10
    assert page.document["duration"] == 40000


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("command", ["make", "sh", "cc1", "true"]),
        ("exe", ["/usr/bin/make", "/usr/bin/sh", "/usr/bin/cc1", "/usr/bin/true"]),
        ("ppid", ["(no parent in the job)", *["make (pid 101)"] * 3]),
        (r"(\w)\.c", ["(no match)", "a", "a", "(no match)"]),
        ("source", [*["(not a compiler)"] * 2, "a.c", "(not a compiler)"]),
    ],
)
def test_each_program_has_its_group(build, by, names):
    page, columns = described(build, by)
    assert [page.document["groups"][g][0] for g in columns["program_group"]] == names
    assert page.document["group_by"] == (by if by.isalpha() else "match")


def test_the_static_page_names_the_group_key(memwatch, build):
    words = ("--no-open", "--group-by", "exe", "--html", "out.html")
    assert memwatch.run("view", *words, build).code == 0
    text = (memwatch.room / "out.html").read_text("utf-8")
    assert "group (by exe)" in text
    assert "/usr/bin/cc1" in text


def test_unknown_figures_are_not_zero(story):
    recording = story("short.jsonl")
    recording.start(1, "sh", at=0)
    recording.start(2, "true", parent=1, at=1)
    page, columns = described(recording.end(5))
    assert columns["status"] == [0, -1]
    assert columns["running"] == [False, True]
    for name in ("user", "system", "read", "written"):
        assert columns[name] == [-1, -1]
    assert page.document["max_total"] is None
    assert page.document["limit"] is None
    assert page.document["groups"][0][2:] == [None, None, None]
    assert page.facts[0].value == "unknown"


def test_footprints_are_among_the_facts(story, build):
    recording = story("mac.jsonl")
    recording.start(1, "make", at=0)
    recording.memory(1, 2048, at=1)
    recording.footprints(3072, 1)
    recording.tick()
    recording.final_footprint(1, 4096, at=2)
    recording.exit(1, 0, by_event=True)
    facts = {fact.name: (fact.value, fact.how) for fact in described(recording.end(5))[0].facts}
    how = "at 0.00 s, compressed memory counted; without 1 process that could not be read"
    assert facts["Peak total footprint"] == ("3.0 MiB", how)
    assert facts["Largest footprint"] == ("4.0 MiB", "make, pid 101, exact")
    assert facts["Peak total RSS"][0] == "2.0 MiB"
    assert not [fact for fact in described(build)[0].facts if "footprint" in fact.name]


def test_a_large_recording_is_thinned_with_a_note(build, monkeypatch):
    monkeypatch.setattr(model, "MOST_SAMPLES", 2)
    monkeypatch.setattr(model, "MOST_TICKS", 1)
    page, columns = described(build)
    assert columns["total"] == [32048 << 10]
    assert columns["sample_rss"] == [2048 << 10, 30000 << 10]
    assert page.document["thinned"]
    assert "Too many samples for a page" in page.notes[0]
    assert page.notes[1].startswith("Of the totals the highest of every ")


def test_too_many_processes_are_left_out_with_a_note(build, monkeypatch):
    monkeypatch.setattr(model, "MOST_PROCESSES", 4)
    page, columns = described(build, share=2)
    assert columns["pid"] == [101, 102]
    assert "Of 3 processes the 2 with the highest peaks are shown" in page.notes[0]
    assert not described(build)[0].document["thinned"]


def test_a_recording_that_stops_early_has_a_note(story):
    recording = story("cut.jsonl")
    recording.start(1, "make", at=0)
    recording.memory(1, 2048, at=1)
    recording.tick(at=10)
    page, _ = described(recording.cut_short())
    assert page.document["warning"].startswith("The recording stops early: memwatch was killed")
    assert page.document["warning"].endswith(" At its last sample the job held 2.0 MiB at 0.01 s.")
    assert any("The recording stops early: memwatch was killed" in note for note in page.notes)
    assert page.facts[0].how.endswith("a lower bound")


def out_of_memory(story, oom_kills: int) -> Path:
    """A shell whose two children SIGKILL ended, and another one that ended otherwise."""
    recording = story("killed.jsonl")
    recording.start(1, "sh", at=0).memory(1, 1024)
    for serial in (2, 3, 4):
        recording.start(serial, "work", parent=1).memory(serial, 4096)
    recording.tick(at=10)
    for serial, status in ((2, 9), (3, 9), (4, 0), (1, 0)):
        recording.exit(serial, status, by_event=True, at=20)
    return recording.end(30, limit=8192, oom_kills=oom_kills)


@pytest.mark.parametrize(
    ("oom_kills", "killed_by", "warning"),
    [
        (0, "SIGKILL", ""),
        (1, "out of memory?", "the OOM killer ended 1 of pid 102 work (at least 4.0 MiB), pid 103"),
        (2, "out of memory", "the OOM killer ended pid 102 work (at least 4.0 MiB), pid 103"),
    ],
)
def test_a_lane_shows_what_killed_its_process(story, oom_kills, killed_by, warning):
    page, columns = described(out_of_memory(story, oom_kills))
    words = [page.document["killed_by"][number] for number in columns["killed"]]
    assert words == ["", killed_by, killed_by, ""]
    assert warning in page.document["warning"]
    assert bool(page.document["warning"]) == bool(warning)


HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;&quot;'\"",
    "\u202egnp.exe",
    "a\x1b[2Jb\r\nc\0d",
    "\udcff\ud800",
    "{{script}}{{data}}\\1",
    "javascript:alert(1)",
    "x" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_command_line_is_shown_safely(text):
    shown = command_line(["sh", "-c", text])
    assert shown.isprintable()
    assert len(shown) < 2100
    shown.encode("utf-8")


class Elements(HTMLParser):
    """Collects the tags, attribute names and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def hostile(story) -> Path:
    recording = story("<b>&.jsonl", "make", *(text.replace("\0", "") for text in HOSTILE))
    recording.start(1, "make", at=0)
    for serial, text in enumerate(HOSTILE, 2):
        word = text.replace("\0", "").replace("\ud800", "")
        recording.start(serial, f"/bin/{word.replace('/', '-')[:200]}", word, parent=1, at=serial)
        recording.memory(serial, 1000 + serial, at=serial + 0.5)
    recording.tick(at=20)
    return recording.end(30)


def rendered(path: Path) -> str:
    results = load(str(path), timeline=True, tracks=True)
    page = page_of(results.profile, results.tracks, results.path, results.host)
    return render([(page, results.profile)])


def test_hostile_text_makes_no_element(hostile):
    html = rendered(hostile)
    elements = Elements(html)
    assert elements.tags.count("script") == 2
    assert not {"img", "b", "iframe", "link", "object"} & set(elements.tags)
    assert not {"src", "href", "onerror", "style"} & elements.attributes
    assert any("</script><img src=x onerror=alert(1)>" in text for text in elements.text)
    html.encode("utf-8")


def test_only_its_own_program_and_style_may_run(build):
    html = rendered(build)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    # No placeholder is left, and no address is named.
    assert "{{" not in html
    assert not re.findall(r"https?://", html)


def test_the_tables_are_there_without_scripts(build):
    text = Elements(rendered(build)).text
    for expected in ("make -j2", "31.3 MiB", "29.3 MiB", "sampled", "exact", "/usr/lib/cc1 a.c"):
        assert any(expected in each for each in text), expected


# -- The command ---------------------------------------------------------------------------------


def test_writes_to_the_path_that_html_names(memwatch, build):
    result = memwatch.run("view", "--no-open", "--html", "out.html", build)
    assert (result.code, result.out, result.err) == (0, b"out.html\n", b"")
    assert "make -j2" in (memwatch.room / "out.html").read_text("utf-8")


def test_never_overwrites_without_force(memwatch, build):
    out = memwatch.room / "out.html"
    out.write_text("mine")
    result = memwatch.run("view", "--no-open", "--html", out, build)
    assert result.code == 1
    assert "--force" in result.one_line()
    assert out.read_text() == "mine"
    assert memwatch.run("view", "--no-open", "--force", "--html", out, build).code == 0
    assert out.read_text("utf-8").startswith("<!doctype html>")


def test_does_not_overwrite_what_it_shows(memwatch, build):
    before = build.read_bytes()
    result = memwatch.run("view", "--no-open", "--force", "--html", build, build)
    assert result.code == 1
    assert repr(str(build)) in result.one_line()
    assert build.read_bytes() == before


def test_temporary_pages_have_names_of_their_own(memwatch, build):
    first = memwatch.run("view", "--no-open", build)
    second = memwatch.run("view", "--no-open", build)
    paths = [Path(result.out.decode().strip()) for result in (first, second)]
    assert paths[0] != paths[1]
    for path in paths:
        assert re.fullmatch(r"memwatch-build-\w+\.html", path.name)
        assert path.parent == memwatch.room
        assert path.stat().st_mode & 0o077 == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), (b"", "holds no results"), (b"{}", "max_total_rss_kib")],
)
def test_refuses_a_file_without_results(memwatch, content, message):
    bad = memwatch.room / "bad.json"
    if content is not None:
        bad.write_bytes(content)
    result = memwatch.run("view", "--no-open", "--html", "out.html", bad)
    assert result.code == 1
    assert message in result.one_line()
    assert "bad.json" in result.one_line()
    assert not (memwatch.room / "out.html").exists()


def test_an_error_names_the_path_that_cannot_be_written(memwatch, build):
    result = memwatch.run("view", "--no-open", "--html", "nowhere/out.html", build)
    assert result.code == 1
    assert "nowhere" in result.one_line()
    if os.path.exists("/dev/full"):
        result = memwatch.run("view", "--no-open", "--force", "--html", "/dev/full", build)
        assert result.code == 1
        assert "No space left" in result.one_line()


def browser(memwatch, code: int = 0) -> dict[str, str]:
    """Makes a fake browser that records its argument. Returns the environment that selects it."""
    program = memwatch.room / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > "{memwatch.room}/opened"\nexit {code}\n')
    program.chmod(0o755)
    return {"BROWSER": f"{program} %s"}


def test_opens_the_browser(memwatch, build):
    result = memwatch.run("view", build, env=browser(memwatch))
    assert result.code == 0
    path = Path(result.out.decode().strip())
    assert (memwatch.room / "opened").read_text().strip() == path.as_uri()


def test_no_open_leaves_the_browser_closed(memwatch, build):
    memwatch.run("view", "--no-open", build, env=browser(memwatch))
    assert not (memwatch.room / "opened").exists()


def test_a_browser_that_fails_does_not_fail_the_command(memwatch, build):
    only = browser(memwatch, code=1) | {"PATH": "/nonexistent"}
    result = memwatch.run("view", "--html", "out.html", build, env=only)
    assert result.code == 0
    assert "open the page yourself" in result.one_line()
    assert (memwatch.room / "out.html").exists()


def test_run_does_not_load_what_it_does_not_need():
    code = (
        "import sys, memwatch.commands.run, memwatch.runner.profiler; "
        "parts = ('view', 'tree', 'compilers', 'membership', 'results'); "
        "sys.exit(any(f'memwatch.{name}' in sys.modules for name in parts))"
    )
    # Run elsewhere: the package in the checkout has no C module.
    assert subprocess.run([sys.executable, "-c", code], cwd="/", check=False).returncode == 0
