"""Measures the page of a large recording: its size, and how fast it is made, shown and zoomed.

python benchmarks/viewer.py [--quick] [--processes N] [--ticks N] [--samples N] [--keep FOLDER]
                            [--json FILE]

The recording is simulated, written as `memwatch run -o` writes one, and shown as `memwatch view`
does, in a headless Chromium. Times in the browser are its own (performance.now): for a frame, the
time that the page's program takes to draw it, and the time from one frame to the next.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arguments import Arguments, measure_each
from programs import print_table

from memwatch.model.memory_limit import MACHINE, MemoryLimit
from memwatch.model.observations import (
    EXITED,
    HAS_ARGV,
    HAS_EXE,
    HAS_PARENT,
    HAS_RSS,
    HAS_START,
    HAS_STATUS,
    IMAGE,
    MEMORY,
    STARTED,
    TICK,
    Batch,
    Observation,
)
from memwatch.model.profile import Beginning, Clock, Ending, Overhead
from memwatch.storage.recording import Recorder

NAMES = ("cc1", "cc1plus", "as", "ld", "gcc", "g++", "make", "sh", "sed", "python3", "rustc")
NAMES += ("ar", "cmake", "ninja", "collect2", "perl", "awk", "grep", "cp", "install")
TICK_NS = 10_000_000
PAGE = 4096
SECOND = 1_000_000_000


def record(path: Path, processes: int, ticks: int, samples: int) -> None:
    """Writes a build of `processes`, some at a time, with some `samples` in all."""
    chance = random.Random(1)
    recorder = Recorder(str(path), overwrite=True)
    start = 1000 * SECOND
    recorder.begin(Beginning(("make", "-j16"), Clock(1_700_000_000 * SECOND, 0), start, TICK_NS))
    # Most have a sample at each tick, and some end early.
    life = 1.105 * samples / processes
    begins: dict[int, list[int]] = {}
    for serial in range(2, processes + 1):
        begins.setdefault(int(chance.random() * (ticks - life * 2)), []).append(serial)
    begins.setdefault(0, []).insert(0, 1)
    live: dict[int, list[int]] = {}  # serial: pages, last tick
    records: list[Observation] = []
    text = bytearray()
    total = 0
    for tick in range(ticks):
        # With the spread of a timer.
        now = start + (tick + 1) * TICK_NS + int(chance.gauss(60_000, 15_000))
        for serial in begins.get(tick, ()):
            name = "make" if serial == 1 else NAMES[int(chance.paretovariate(0.7)) % 20]
            words = (name, "-O2", f"-Iinclude/{serial % 97}", "-c", f"src/unit{serial}.c")
            image = b"\0".join(word.encode() for word in (name, f"/usr/bin/{name}", *words))
            valid = HAS_START | (HAS_PARENT if serial > 1 else 0)
            began = now - 2_000_000
            records.append((began, serial, 1, began, STARTED, valid, 100 + serial, 101))
            records.append(
                (began, serial, len(text), len(image), IMAGE, HAS_EXE | HAS_ARGV, 100 + serial, 101)
            )
            text += image
            pages = int(chance.lognormvariate(7, 1))
            length = ticks if serial == 1 else 1 + int(chance.expovariate(1 / max(life - 10, 1)))
            live[serial] = [pages, tick + length]
            total += pages
            records.append((now, serial, pages * PAGE, 0, MEMORY, HAS_RSS, 100 + serial, 101))
        for serial, state in list(live.items()):
            if tick >= state[1]:
                records.append((now, serial, 0, 0, EXITED, HAS_STATUS, 100 + serial, 101))
                total -= state[0]
                del live[serial]
            elif serial > 1 or tick % 50 == 0:
                # Most programs grow, a little at a time.
                step = int(chance.gauss(6, 20))
                if step and state[0] + step > 0:
                    state[0] += step
                    total += step
                    records.append(
                        (now, serial, state[0] * PAGE, 0, MEMORY, HAS_RSS, 100 + serial, 101)
                    )
        records.append((now, 0, total * PAGE, len(live), TICK, 0, 0, 0))
        if len(records) > 5000:
            recorder.add(Batch(records, bytes(text)))
            records, text = [], bytearray()
    recorder.add(Batch(records, bytes(text)))
    limit = MemoryLimit(8 << 30, MACHINE, None, 1 << 30, 0, 0)
    recorder.end(Ending(start + (ticks + 2) * TICK_NS, 0, Overhead(SECOND, 20 << 20), limit))


# Zooms and pans like a wheel, one change per frame.
FRAMES = """async () => {
    const canvas = document.getElementById('chart');
    const box = canvas.getBoundingClientRect();
    const frame = () => new Promise(requestAnimationFrame);
    const [draws, gaps] = [[], []];
    for (let i = 0; i < 120; i++) {
        const wheel = {bubbles: true, cancelable: true, clientX: box.x + box.width * 0.4,
            clientY: box.y + 50, deltaY: i % 60 < 30 ? -100 : 100};
        const before = performance.now();
        canvas.dispatchEvent(new WheelEvent('wheel', wheel));
        await frame();
        await frame();
        draws.push(memwatch.drawTime);
        gaps.push((performance.now() - before) / 2);
    }
    return [draws, gaps];
}"""

PAINTED = """async () => {
    const begun = memwatch.begun;
    while (memwatch.painted === null) await new Promise(requestAnimationFrame);
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    return [memwatch.painted, memwatch.painted - begun, paint.startTime];
}"""


def browse(page: Path, rounds: int) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("there is no chromium in PATH")
    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(rounds):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(page.as_uri())
            shown, own, tables = tab.evaluate(PAINTED)
            found.setdefault("first paint of the static tables, ms", []).append(tables)
            found.setdefault("first paint, ms", []).append(shown)
            found.setdefault("share of the page's own program, ms", []).append(own)
            heap = tab.evaluate("performance.memory.usedJSHeapSize / 2**20")
            found.setdefault("heap, MiB", []).append(heap)
            for name, prepare in (
                ("groups", ""),
                ("processes by parent", "document.getElementById('by-parent').click()"),
                (
                    "processes by command",
                    "document.getElementById('by-command').click();"
                    "document.getElementById('fold').click()",
                ),
            ):
                if prepare:
                    tab.evaluate(prepare)
                draws, gaps = tab.evaluate(FRAMES)
                found.setdefault(f"zoom, drawing ({name}), ms", []).extend(draws)
                found.setdefault(f"zoom, frame to frame ({name}), ms", []).extend(gaps)
            tab.close()
        browser.close()
    return found


def measure(chosen: argparse.Namespace) -> dict[str, list[float]]:
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="memwatch-viewer-"))
    recording, page = folder / "large.jsonl", folder / "large.html"
    record(recording, chosen.processes, chosen.ticks, chosen.samples)
    view = [sys.executable, "-m", "memwatch", "view", "--no-open", "--force"]
    began = time.perf_counter()
    subprocess.run([*view, "--html", page, recording], check=True, stdout=subprocess.DEVNULL)
    figures = {"page made in, s": [time.perf_counter() - began]}
    figures["HTML, MB"] = [page.stat().st_size / 1e6]
    figures["recording, MB"] = [recording.stat().st_size / 1e6]
    figures |= browse(page, chosen.rounds)
    if not chosen.keep:
        shutil.rmtree(folder)
    print_table(
        f"The page of {chosen.processes:,} processes and {chosen.samples:,} samples:",
        ("figure", "median", "highest"),
        [
            [name, f"{statistics.median(values):.2f}", f"{max(values):.2f}"]
            for name, values in figures.items()
        ],
    )
    return figures


def main() -> None:
    arguments = Arguments(__doc__, "1 round")
    arguments.repeats("--rounds", 3, 1)
    add = arguments.parser.add_argument
    add("--processes", type=int, default=10_000, help="default %(default)s")
    add("--ticks", type=int, default=100_000, help="default %(default)s")
    add("--samples", type=int, default=1_000_000, help="default %(default)s")
    add("--keep", type=Path, metavar="FOLDER", help="keep the recording and the page there")
    chosen = arguments.parse()
    measure_each(["page"], lambda _: measure(chosen), chosen)


if __name__ == "__main__":
    main()
