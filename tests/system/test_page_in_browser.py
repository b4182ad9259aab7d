"""Tests of the page in a real browser: drawing, text, mouse and keys."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memwatch.model.observations import TICK_DETAILED
from memwatch.storage.load import load
from memwatch.view.model import page_of
from memwatch.view.page import render
from support.waiting import wait_until

pytestmark = pytest.mark.slow

MARKED = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    known = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    found = os.environ.get("CHROMIUM") or next(known, None)
    if not found:
        pytest.skip("needs Chromium: apt-get install chromium, or name one in CHROMIUM")
    with playwright.sync_playwright() as driver:
        # The sandbox does not work for root in a container; the pages are our own.
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Page:
    """A page in the browser, and the errors that it logged."""

    def __init__(self, browser: Any, path: Path, **how: Any) -> None:
        self.path = path
        self.context = browser.new_context(viewport={"width": 1300, "height": 850}, **how)
        self.tab = self.context.new_page()
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.trouble.append(message.text))
        self.tab.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.tab.on("dialog", lambda dialog: self.trouble.append("dialog") or dialog.dismiss())
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())
        if how.get("java_script_enabled", True):
            self.tab.evaluate("memwatch.ready")

    def get(self, name: str) -> Any:
        return self.tab.evaluate(f"memwatch.{name}")

    def text(self, selector: str) -> str:
        return self.tab.locator(selector).inner_text()

    def settle(self) -> None:
        """Waits until changes are drawn, which happens in the next frame."""
        self.tab.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def x(self, time: float) -> float:
        return float(self.tab.evaluate(f"memwatch.x({time})"))

    def y(self, pid: int) -> float | None:
        return self.tab.evaluate(f"memwatch.y({pid})")

    def hover(self, time: float, y: float | None = None) -> dict[str, str]:
        """Returns the contents of the tooltip over the chart or a lane."""
        self.tab.mouse.move(self.x(time), self.chart_y() if y is None else y)
        self.settle()
        terms = self.tab.locator("#tip dt").all_inner_texts()
        return dict(zip(terms, self.tab.locator("#tip dd").all_inner_texts(), strict=True))

    def chart_y(self) -> float:
        box = self.tab.locator("#chart").bounding_box()
        assert box
        return float(box["y"] + box["height"] / 2)

    def wheel(self, time: float, by: float) -> None:
        self.tab.mouse.move(self.x(time), self.chart_y())
        self.tab.mouse.wheel(0, by)
        self.settle()

    def press(self, key: str) -> None:
        self.tab.keyboard.press(key)
        self.settle()

    def column(self, table: str, number: int) -> list[str]:
        """Returns the visible cells of a column."""
        rows = self.tab.locator(f"#{table} .rows .line")
        return [rows.nth(i).locator("> div").nth(number).inner_text() for i in range(rows.count())]

    def search(self, pattern: str) -> None:
        self.tab.fill("#search", pattern)
        self.settle()

    def keep(self, name: str) -> None:
        """Saves a screenshot in the folder named by MEMWATCH_SCREENSHOTS, if any."""
        folder = os.environ.get("MEMWATCH_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.tab.screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture
def show(browser, tmp_path) -> Iterator[Callable[..., Page]]:
    """Makes show(PATH...), which opens the page of these files; in the end no page may have
    logged an error."""
    opened: list[Page] = []

    def show(*paths: Path, group_by: str | None = None, **how: Any) -> Page:
        results = [load(str(path), timeline=True, tracks=True, group_by=group_by) for path in paths]
        out = tmp_path / f"page{len(opened)}.html"
        out.write_text(
            render(
                [
                    (
                        page_of(each.profile, each.tracks, each.path, each.host, len(paths)),
                        each.profile,
                    )
                    for each in results
                ]
            ),
            "utf-8",
        )
        opened.append(Page(browser, out, **how))
        return opened[-1]

    yield show
    for page in opened:
        page.context.close()
    for page in opened:
        assert page.trouble == []
        assert page.requests == [page.path.as_uri()]


TICKS = 200
MIB = 1024


@pytest.fixture
def build(story):
    """A recording of a make with three compilers in turn and a linker: 200 ticks, 5 ms apart."""
    script = story("build.jsonl", "make", "-j2", "all")
    script.start(1, "make", "-j2", "all", at=0)
    script.memory(1, 4 * MIB, at=1)
    script.pss(3 * MIB, at=2)
    for tick in range(1, TICKS):
        at = tick * 5
        for serial in (2, 3, 4):
            begin = (serial - 2) * 60 + 5
            if tick == begin:
                script.start(serial, "/usr/lib/cc1", "-O2", f"unit{serial}.c", parent=1, at=at - 1)
            if begin <= tick < begin + 50:
                script.memory(serial, (tick - begin + 1) * serial * 200, at=at)
            if tick == begin + 50:
                script.exit(serial, 256 if serial == 4 else 0, by_event=True, at=at - 2)
        if tick == 150:
            script.start(5, "ld", "-o", "a.out", MARKED, parent=1, at=at - 1)
        if 150 <= tick < 190:
            script.memory(5, 8 * MIB + (tick - 150) * 4, at=at)
        if tick == 190:
            script.exit(5, 0, by_event=True, at=at - 1)
            script.start(6, "true", "\u202egpj.exe", parent=1, at=at - 0.5)
            script.final(6, 700, at=at - 0.2)
            script.exit(6, 0, by_event=True, at=at - 0.2)
        script.tick(at=at)
    script.end(1000, limit=64 * MIB)
    return script


@pytest.fixture
def page(show, build) -> Page:
    return show(build.path)


def kib(text: str) -> int:
    """Returns the KiB in a text such as "1.5 MiB (1,536 KiB)"."""
    match = re.search(r"\(([\d,]+) KiB\)", text)
    assert match, text
    return int(match[1].replace(",", ""))


def micros(text: str) -> int:
    return round(float(text.removesuffix(" s")) * 1e6)


# -- The page after loading ----------------------------------------------------------------------


def test_the_top_has_the_figures(page, build):
    assert page.text("#command") == "make -j2 all"
    top = page.text("#facts")
    peak = max(total for _, total in build.totals)
    assert f"{peak / 2**20:.1f} MiB" in top
    assert "exit code 0" in top
    assert "64.0 MiB" in top
    assert page.tab.title() == "make -j2 all · memwatch"
    assert page.tab.locator(".static").first.is_hidden()
    assert page.get("from") == 0
    assert page.get("to") == 1_000_000
    page.keep("light")


def test_the_chart_is_drawn(page):
    """It has the colour of each group, but not that of a hidden group."""
    colours = """() => {
        const {width, height} = document.getElementById('chart');
        const copy = new OffscreenCanvas(width, height).getContext('2d');
        copy.drawImage(document.getElementById('chart'), 0, 0);
        const data = copy.getImageData(0, 0, width, height).data;
        const wanted = ['--group0', '--group1', '--group2'].map(name =>
            getComputedStyle(document.documentElement).getPropertyValue(name).trim());
        return wanted.map(hex => {
            const rgb = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
            let count = 0;
            for (let i = 0; i < data.length; i += 4) {
                count += rgb.every((value, k) => data[i + k] === value);
            }
            return count;
        });
    }"""
    before = page.tab.evaluate(colours)
    assert all(count > 500 for count in before)
    page.tab.click("#legend button[data-key='0']")
    page.settle()
    after = page.tab.evaluate(colours)
    assert after[0] == 0
    assert all(count > 500 for count in after[1:])
    assert page.tab.get_attribute("#legend button[data-key='0']", "aria-pressed") == "false"
    page.tab.click("#legend button[data-key='0']")
    page.settle()
    assert page.tab.evaluate(colours) == before


def test_the_legend_and_the_tip_leave_out_hidden_groups(page):
    assert "cc1" in page.hover(200_000)
    page.tab.click("#legend button:has-text('cc1')")
    assert "cc1" not in page.hover(200_000)
    assert "Total" in page.hover(200_000)


@pytest.fixture
def parts(show, story) -> Page:
    """A server that maps 30 MiB of files, with a worker that shares 20 MiB of memory with it."""
    script = story("parts.jsonl", "server")
    script.start(1, "server", at=0).memory(1, 100 * MIB, shared=30 * MIB).tick(at=10)
    script.tick(at=20, flags=TICK_DETAILED)
    script.start(2, "worker", parent=1).memory(1, 120 * MIB, shared=50 * MIB, at=30)
    script.parts(1, 20 * MIB, 2 * MIB).memory(2, 40 * MIB, shared=20 * MIB).parts(2, 20 * MIB)
    script.tick(flags=TICK_DETAILED).tick(at=100)
    return show(script.end(110))


def test_the_chart_shows_kinds_of_memory(parts):
    kinds = parts.tab.locator("#stack-kinds")
    assert kinds.get_attribute("aria-pressed") == "false"
    assert "worker" in parts.hover(50_000)
    kinds.focus()
    parts.press("Enter")
    assert kinds.get_attribute("aria-pressed") == "true"
    assert parts.text("#stack-groups") == "By command"
    held = parts.hover(50_000)
    shown = {name: held[name] for name in ("Anonymous", "Shared memory", "Files")}
    assert shown == {
        "Anonymous": "90.0 MiB",
        "Shared memory": "40.0 MiB",
        "Files": "30.0 MiB",
    }
    assert held["Footprint, at least"] == "110.0 MiB"
    assert "worker" not in held
    parts.keep("kinds")
    parts.tab.click("#legend button:has-text('Files')")
    assert "Files" not in parts.hover(50_000)
    parts.tab.click("#stack-groups")
    assert "worker" in parts.hover(50_000)


def test_a_lane_shows_the_parts_of_its_process(parts):
    before = parts.hover(15_000, parts.y(101))
    assert (before["· anonymous"], before["· files and shared memory"]) == ("70.0 MiB", "30.0 MiB")
    then = parts.hover(50_000, parts.y(101))
    names = ("· anonymous", "· files", "· shared memory", "Swapped out")
    assert [then[name] for name in names] == ["70.0 MiB", "30.0 MiB", "20.0 MiB", "2.0 MiB"]
    worker = parts.hover(50_000, parts.y(102))
    assert (worker["· shared memory"], "Swapped out" in worker) == ("20.0 MiB", False)


def test_without_parts_there_are_no_kinds(page):
    assert page.tab.locator("#stack-by").is_hidden()
    assert "Footprint" not in page.text("#legend")
    assert not [name for name in page.hover(200_000, page.y(101)) if "anonymous" in name]


def test_a_limit_far_above_is_noted_and_can_be_shown(show, story):
    script = story("limit.jsonl")
    script.start(1, "make", at=0)
    script.memory(1, 4 * MIB, at=1)
    script.tick(at=10)
    page = show(script.end(20, limit=4096 * MIB))
    limit = page.tab.locator("#legend button[data-key=limit]")
    assert "off the scale" in limit.inner_text()
    assert limit.get_attribute("aria-pressed") == "false"
    limit.click()
    assert limit.get_attribute("aria-pressed") == "true"
    assert limit.inner_text().startswith("Memory limit")


def test_a_screen_reader_can_reach_everything(page):
    unnamed = page.tab.evaluate(
        """() => [...document.querySelectorAll('#app button, #app canvas, #app input')]
            .filter(each => !each.closest('[hidden]') && !each.textContent.trim()
                && !each.getAttribute('aria-label') && !each.labels?.length)
            .map(each => each.outerHTML)"""
    )
    assert unnamed == []
    assert page.tab.get_attribute("#chart", "tabindex") == "0"


def test_groups_by_another_key(show, story):
    script = story("by.jsonl", "make")
    script.start(1, "make", at=0)
    script.memory(1, 2 * MIB, at=1)
    for serial, name in ((2, "a.c"), (3, "b.c")):
        script.start(serial, "cc1", name, parent=1, at=5 * serial)
        script.memory(serial, 10 * serial * MIB, at=20)
    script.tick(at=20)
    page = show(script.end(40), group_by="source")
    assert page.text("#by-command") == "By source"
    assert page.hover(25_000)["b.c"] == "30.0 MiB"
    assert page.hover(25_000)["(not a compiler)"] == "2.0 MiB"
    page.tab.click("#tab-groups")
    assert page.column("group-table", 0) == ["b.c", "a.c", "(not a compiler)"]
    page.tab.locator("#group-table .rows .line").first.click()
    page.settle()
    assert page.get("lanes") == 1


# -- Hovering ------------------------------------------------------------------------------------


def test_the_groups_under_the_pointer(page):
    tip = page.hover(452_000)
    assert (tip["cc1"], tip["make"]) == ("15.2 MiB", "4.0 MiB")
    tip = page.hover(872_000)
    assert (tip["cc1"], tip["ld"], tip["make"]) == ("39.1 MiB", "8.1 MiB", "4.0 MiB")
    assert "cc1" not in page.hover(902_000)


def test_memory_moves_to_the_new_group_at_an_exec(show, story):
    script = story("exec.jsonl", "sh")
    script.start(1, "sh", at=0)
    for tick in range(1, 11):
        if tick == 4:
            script.execute(1, "python3", "x.py", at=35)
        if tick in (2, 7):
            script.memory(1, tick * MIB, at=tick * 10)
        script.tick(at=tick * 10)
    page = show(script.end(100))
    assert page.hover(30_500)["sh"] == "2.0 MiB"
    assert page.hover(40_500)["python3"] == "2.0 MiB"
    assert "sh" not in page.hover(40_500)
    assert page.hover(75_000)["python3"] == "7.0 MiB"
    page.tab.click("#by-command")
    page.settle()
    # The header of its group: what the whole group held then.
    tip = page.hover(75_000, page.y(101) - 20)
    assert kib(tip["python3"]) == 7 * MIB


@pytest.mark.parametrize("tick", [1, 54, 55, 120, 175, 198])
def test_the_total_under_the_pointer_is_that_of_the_profile(page, build, tick):
    time, total = build.totals[tick - 1]
    tip = page.hover(time + 2000)
    # If no tick falls into the column of pixels, the time under the pointer is shown.
    assert time <= micros(tip["Time"]) < time + 5000
    assert kib(tip["Total"]) * 1024 == total


def test_no_peak_is_hidden(page, build):
    """When zoomed out, the tip has the highest tick of a column, as the chart draws it."""
    peak_time, peak = max(build.totals, key=lambda pair: pair[1])
    page.tab.set_viewport_size({"width": 600, "height": 900})
    page.settle()
    width = page.x(1_000_000) - page.x(0)
    column = 1_000_000 / width
    tip = page.hover(peak_time - column / 2)
    assert micros(tip["Time"]) == peak_time
    assert kib(tip["Total"]) * 1024 == peak


def test_a_process_under_the_pointer(page, build):
    held = {tick * 5000: (tick - 64) * 600 for tick in range(65, 115)}
    for at in (330_000, 450_000, 570_000):
        tip = page.hover(at + 2000, page.y(103))
        assert kib(tip["RSS"]) == held[at]
        assert kib(tip["Total"]) * 1024 == dict(build.totals)[at]
    assert "unit3.c" in page.text("#tip code")
    assert page.hover(900_000, page.y(103))["RSS"] == "not running"


def test_a_process_without_samples_has_its_peak(page):
    tip = page.hover(949_600, page.y(106))
    assert tip["Peak"] == "700 KiB, exact"
    assert tip["RSS"] in ("not sampled", "not running")


# -- Moving --------------------------------------------------------------------------------------


def test_the_wheel_zooms_at_the_pointer(page):
    x = page.x(300_000)
    page.wheel(300_000, -600)
    span = page.get("to") - page.get("from")
    assert 100_000 < span < 600_000
    assert page.x(300_000) == pytest.approx(x, abs=1.5)
    page.keep("zoomed")
    page.wheel(300_000, 3000)
    assert (page.get("from"), page.get("to")) == (0, 1_000_000)


def test_dragging_moves_along_the_time(page):
    page.wheel(500_000, -900)
    before = page.get("from")
    y = page.chart_y()
    span = page.get("to") - before
    page.tab.mouse.move(700, y)
    page.tab.mouse.down()
    page.tab.mouse.move(650, y, steps=3)
    page.tab.mouse.move(600, y, steps=3)
    page.tab.mouse.up()
    page.settle()
    width = page.x(page.get("to")) - page.x(page.get("from"))
    assert page.get("from") - before == pytest.approx(100 * span / width, rel=0.02)
    assert page.get("to") - page.get("from") == pytest.approx(span)


def test_a_double_click_zooms_out(page):
    page.wheel(500_000, -900)
    assert page.get("from") > 0
    page.tab.mouse.dblclick(700, page.chart_y())
    page.settle()
    assert (page.get("from"), page.get("to")) == (0, 1_000_000)


def test_keys(page):
    page.tab.mouse.move(5, 5)
    page.press("+")
    span = page.get("to") - page.get("from")
    assert span == pytest.approx(1_000_000 / 1.5)
    middle = page.get("from")
    page.press("ArrowRight")
    assert page.get("from") == pytest.approx(middle + span / 8)
    page.press("ArrowLeft")
    assert page.get("from") == pytest.approx(middle)
    page.press("-")
    page.press("-")
    assert page.get("to") - page.get("from") == 1_000_000
    for key in ("0", "Home"):
        page.press("+")
        page.press(key)
        assert page.get("to") - page.get("from") == 1_000_000
    page.press("ArrowDown")
    assert page.get("pinned") == 101
    page.press("ArrowDown")
    assert page.get("pinned") == 102
    page.press("ArrowUp")
    assert page.get("pinned") == 101
    page.press("Escape")
    assert page.get("pinned") is None
    page.press("/")
    page.tab.keyboard.type("cc1+")
    page.settle()
    assert page.tab.input_value("#search") == "cc1+"
    assert page.get("to") - page.get("from") == 1_000_000
    page.press("Escape")
    assert page.tab.input_value("#search") == ""
    page.press("?")
    page.press("Escape")
    page.press("?")
    assert page.tab.locator("#help").count() == 1


def test_the_wheel_scrolls_the_lanes(show, story):
    script = story("many.jsonl")
    script.start(1, "make", at=0)
    for serial in range(2, 200):
        script.start(serial, "cc", f"{serial}.c", parent=1, at=serial)
        script.memory(serial, 1000 + serial, at=serial + 0.5)
    script.tick(at=250)
    page = show(script.end(300))
    assert page.get("lanes") == 199
    first = page.y(101)
    page.tab.mouse.move(page.x(150_000), first + 30)
    page.tab.mouse.wheel(0, 400)
    wait_until(lambda: page.y(101) < first - 300, "the lanes to move")
    assert (page.get("from"), page.get("to")) == (0, 300_000)


# -- Lanes and tables ----------------------------------------------------------------------------


def test_lanes_are_nested_or_grouped(page):
    top = page.tab.locator("#lanes").bounding_box()["y"]
    rows = {pid: round((page.y(pid) - top) / 20 - 0.5) for pid in range(101, 107)}
    assert rows == {101: 0, 102: 1, 103: 2, 104: 3, 105: 4, 106: 5}
    page.tab.click("#by-command")
    page.settle()
    # Each group has one row more above it: cc1 is the largest, then ld, make, true.
    rows = {pid: round((page.y(pid) - top) / 20 - 0.5) for pid in range(101, 107)}
    assert rows == {102: 1, 103: 2, 104: 3, 105: 5, 101: 7, 106: 9}
    page.keep("grouped")
    page.tab.click("#fold")
    page.settle()
    assert page.get("lanes") == 4
    page.tab.click("#fold")
    page.settle()
    assert page.get("lanes") == 10


def test_only_visible_lanes_are_shown(page):
    page.wheel(100_000, -1500)
    assert page.get("lanes") < 6
    assert page.y(105) is None
    page.tab.uncheck("#in-view")
    page.settle()
    assert page.get("lanes") == 6


def test_a_click_on_a_lane_pins_it(page):
    page.tab.mouse.click(page.x(450_000), page.y(103))
    page.settle()
    assert page.get("pinned") == 103
    details = page.text("#details")
    for expected in (
        "cc1",
        "pid 103",
        "unit3.c",
        "make, pid 101",
        "29.3 MiB (30,000 KiB)",
        "sampled, a lower bound",
    ):
        assert expected in details
    assert "0.324000 s" in details
    row = page.tab.locator("#process-table [aria-selected=true]")
    assert row.locator("> div").nth(1).inner_text() == "103"
    page.keep("pinned")
    page.tab.mouse.click(page.x(450_000), page.y(103))
    page.settle()
    assert page.get("pinned") is None
    assert page.tab.locator("#details").is_hidden()


def test_a_click_on_a_row_shows_its_lane(page):
    page.wheel(900_000, -1500)
    assert page.y(102) is None
    page.tab.locator("#process-table .rows .line", has_text="unit2.c").click()
    page.settle()
    assert page.get("pinned") == 102
    assert page.y(102) is not None
    page.tab.click("#details .link")
    page.settle()
    assert page.get("pinned") == 101


def test_exits_and_unknown_values_are_shown(page):
    page.tab.locator("#process-table .rows .line", has_text="unit4.c").click()
    details = page.text("#details")
    assert re.search(r"Exit\s+1\b", details)
    assert re.search(r"CPU\s+unknown", details)
    assert re.search(r"Storage\s+unknown", details)


def test_tables_are_sorted(page):
    assert page.column("process-table", 1) == ["104", "103", "102", "105", "101", "106"]
    header = page.tab.locator("#process-table .head > div")
    header.nth(1).locator("button").click()
    assert page.column("process-table", 1) == ["106", "105", "104", "103", "102", "101"]
    assert header.nth(1).get_attribute("aria-sort") == "descending"
    header.nth(1).locator("button").click()
    assert page.column("process-table", 1) == ["101", "102", "103", "104", "105", "106"]
    header.nth(0).locator("button").click()
    assert page.column("process-table", 0) == ["cc1", "cc1", "cc1", "ld", "make", "true"]


def test_groups(page):
    page.tab.click("#tab-groups")
    assert page.column("group-table", 0) == ["cc1", "ld", "make", "true"]
    assert page.column("group-table", 1) == ["3", "1", "1", "1"]
    page.tab.locator("#group-table .rows .line").first.click()
    page.settle()
    assert page.get("lanes") == 3
    page.tab.click("#tab-processes")
    assert page.column("process-table", 0) == ["cc1"] * 3
    page.press("Escape")
    assert page.get("lanes") == 6


def test_search(page):
    page.search(r"unit[34]\.c|^true")
    assert page.column("process-table", 1) == ["104", "103", "106"]
    assert page.get("lanes") == 3
    page.search("unit(")
    assert "not a regular expression" in page.text("#search-error")
    assert page.tab.get_attribute("#search", "aria-invalid") == "true"
    assert page.get("lanes") == 3
    page.search("nothing of the kind")
    assert page.get("lanes") == 0
    page.search("")
    assert page.text("#search-error") == ""
    assert page.get("lanes") == 6


# -- Other files ---------------------------------------------------------------------------------


def test_two_files_on_one_axis(show, story, build):
    script = story("longer.jsonl", "ninja")
    script.start(1, "ninja", at=0)
    for tick in range(1, 150):
        script.memory(1, tick * 300, at=tick * 10)
        script.tick(at=tick * 10)
    script.end(1500)
    page = show(build.path, script.path)
    assert page.get("to") == 1_500_000
    tip = page.hover(502_000)
    assert kib(tip["Total, build.jsonl"]) * 1024 == dict(build.totals)[500_000]
    assert kib(tip["Total, longer.jsonl"]) == 15_000
    # After the end of one file it has no values.
    tip = page.hover(1_202_000)
    assert "Total, build.jsonl" not in tip
    assert kib(tip["Total, longer.jsonl"]) == 36_000
    page.keep("two")
    page.tab.click("#runs button:nth-child(2)")
    page.settle()
    assert page.text("#command") == "ninja"
    assert page.column("process-table", 0) == ["ninja"]
    assert page.get("to") == 1_500_000


def test_json_has_lifetimes_and_peaks(show, build, tmp_path):
    document = subprocess.run(
        [sys.executable, "-m", "memwatch", "report", "--json", build.path],
        cwd="/",
        check=True,
        capture_output=True,
    ).stdout
    path = tmp_path / "build.json"
    path.write_bytes(document)
    page = show(path)
    page.tab.click("#known summary")
    assert "no samples of single processes" in page.text("#notes")
    assert "no totals over time" in page.text("#notes")
    assert "dashed: no samples" in page.text("#lane-count")
    tip = page.hover(450_000, page.y(103))
    assert tip["RSS"] == "not sampled"
    assert tip["Peak"] == "29.3 MiB, sampled"
    assert "Total" not in tip
    page.keep("json")

    fields = json.loads(document)
    assert page.column("process-table", 1)[0] == str(
        max(fields["processes"], key=lambda each: each["max_rss_kib"])["pid"]
    )


def test_a_recording_that_was_cut_short(show, story):
    script = story("cut.jsonl")
    script.start(1, "make", at=0)
    script.memory(1, 2048, at=1)
    script.tick(at=10)
    page = show(script.cut_short())
    assert "The recording stops early: memwatch was killed" in page.text("#warning")


def test_a_process_that_was_killed_is_marked(show, story):
    script = story("killed.jsonl", "sh")
    script.start(1, "sh", at=0).memory(1, 1024)
    script.start(2, "work", parent=1).memory(2, 4096)
    script.tick(at=10).exit(2, 9, by_event=True, at=50).exit(1, 0, by_event=True, at=90)
    page = show(script.end(100, limit=8192, oom_kills=1))
    assert "the OOM killer ended pid 102 work" in page.text("#warning")
    assert page.column("process-table", 7) == ["out of memory", "0"]
    # Just before the end of its lane, and nowhere in the other lane.
    red = """([x, y]) => {
        const canvas = document.querySelector('#lane-canvas');
        const box = canvas.getBoundingClientRect();
        const copy = new OffscreenCanvas(1, 1).getContext('2d');
        copy.drawImage(canvas, Math.round(1 - (x - box.left) * devicePixelRatio),
            -Math.round((y - box.top) * devicePixelRatio));
        const [r, g, b] = copy.getImageData(0, 0, 1, 1).data;
        return r > 150 && g < 100 && b < 100;
    }"""
    end = page.x(50_000)
    assert page.tab.evaluate(red, [end, page.y(102)])
    assert not page.tab.evaluate(red, [end, page.y(101)])
    page.keep("killed")


def test_a_job_without_samples(show, story):
    script = story("nothing.jsonl", "true")
    script.start(1, "true", at=0)
    page = show(script.end(1))
    assert "unknown" in page.text("#facts")
    assert page.hover(500, page.y(101))["Peak"] == "unknown"


def test_hostile_command_lines(show, story):
    words = [MARKED, "\u202egpj.exe", "\x1b[31m", "\\x3cimg\\x3e", "${alert(1)}", "{{data}}"]
    script = story("hostile.jsonl", "make", *words)
    script.start(1, "make", *words, at=0)
    script.memory(1, 1000, at=1)
    for serial, word in enumerate(words, 2):
        script.start(serial, f"/bin/{word.replace('/', '')}", word, parent=1, at=serial)
        script.memory(serial, 100 * serial, at=serial)
    script.tick(at=20)
    page = show(script.end(30))
    assert page.tab.locator("img").count() == 0
    assert page.tab.locator("script").count() == 1
    assert MARKED in page.text("#command")
    assert "\\u202egpj.exe" in page.text("#command")
    for pid in range(102, 102 + len(words)):
        page.tab.mouse.click(page.x(15_000), page.y(pid))
        page.settle()
        assert page.get("pinned") == pid
    page.search("onerror")
    assert page.get("lanes") == 2
    page.keep("hostile")


# -- Style ---------------------------------------------------------------------------------------


def ground(page: Page) -> str:
    return str(page.tab.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_light_and_dark(show, build):
    page = show(build.path, color_scheme="dark")
    assert ground(page) == "rgb(20, 23, 28)"
    page.keep("dark")
    page.tab.click("#theme")
    assert ground(page) == "rgb(255, 255, 255)"
    page.tab.click("#theme")
    assert ground(page) == "rgb(20, 23, 28)"
    # Until the reader chooses one, it follows the system.
    other = show(build.path, color_scheme="light")
    assert ground(other) == "rgb(255, 255, 255)"
    other.tab.emulate_media(color_scheme="dark")
    # The page forbids evaluating text, which waiting for an expression would require.
    other.tab.wait_for_selector("html[data-theme=dark]")
    assert ground(other) == "rgb(20, 23, 28)"


def test_on_paper(show, build):
    page = show(build.path, color_scheme="dark")
    page.tab.emulate_media(media="print")
    assert page.tab.locator(".static table").first.is_visible()
    assert page.tab.locator("#chart").is_visible()
    assert page.tab.locator("#search").is_hidden()
    page.tab.emulate_media(media="screen")
    pdf = page.tab.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    # The screen is unchanged.
    assert ground(page) == "rgb(20, 23, 28)"


def test_without_scripts(show, build):
    page = show(build.path, java_script_enabled=False)
    text = page.text("body")
    for expected in ("make -j2 all", "39.1 MiB", "sampled", "unit4.c", "Groups", MARKED):
        assert expected in text, expected
    assert page.tab.locator("#app").is_hidden()
    assert page.tab.locator("img").count() == 0
    page.keep("no-scripts")


# -- Scale ---------------------------------------------------------------------------------------


def test_ten_thousand_processes_and_a_hundred_thousand_ticks(show, story):
    """It loads and responds; benchmarks/viewer.py measures how fast."""
    processes, ticks = 10_000, 100_000
    script = story("large.jsonl", "make", "-j64")
    script.start(1, "make", "-j64", at=0)
    script.memory(1, 4000, at=1)
    live: list[int] = []
    for tick in range(1, ticks):
        if tick % 10 == 0 and tick // 10 < processes:
            serial = tick // 10 + 1
            script.start(serial, f"cc{serial % 30}", f"{serial}.c", parent=1, at=tick)
            live.append(serial)
        if len(live) > 10:
            script.exit(live.pop(0), 0, by_event=True, at=tick)
        for serial in live:
            script.memory(serial, 1000 + (serial * 7919 + tick * 31) % 5000, at=tick)
        script.tick(at=tick)
    page = show(script.end(ticks))
    totals = dict(script.totals)
    assert "10,000 processes" in page.text("#lane-count")
    for time in (10_000_000, 55_555_000, 99_000_000):
        tip = page.hover(time)
        at = int(float(tip["Time"].removesuffix(" s").split(":")[-1]) * 1e6)
        at += 60_000_000 if ":" in tip["Time"] else 0
        assert kib(tip["Total"]) * 1024 == totals[round(at, -3)]
        # The highest in the column of pixels.
        column = 100_000_000 / (page.x(100_000_000) - page.x(0))
        start = time - column
        near = [size for when, size in script.totals if start <= when <= time + 2 * column]
        assert kib(tip["Total"]) * 1024 >= sorted(near)[len(near) // 2]
    page.keep("large")
    page.tab.click("#by-parent")
    page.settle()
    assert page.get("lanes") == processes
    page.wheel(50_000_000, -4000)
    assert 0 < page.get("lanes") < 1000
    page.search(" 5000\\.c$")
    assert page.column("process-table", 8) == ["cc20 5000.c"]
