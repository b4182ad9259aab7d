"""Takes the picture of the README: records a real build, and photographs the page of `view`.

    python docs/screenshot.py

The build is that of the README's first command, in /tmp/demo, so that no path of this machine is
in the picture. The summary of the run is printed, for the README's example. Needs the `test` extra
and a chromium.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "images" / "view.png"
FOLDER = Path("/tmp/demo")
MEMWATCH = [sys.executable, "-m", "memwatch"]
BUILD = shlex.split(
    ".venv/bin/pip wheel -q --no-cache-dir --no-deps --no-binary psutil -w build psutil"
)
"""A cached wheel would not be built."""
SIZE = {"width": 1280, "height": 760}
SCALE = 1.5
"""Pixels of the picture for each pixel of the page, so that text is sharp on fine screens."""
LARGEST = 300 << 10
"""Bytes that a reader of the README has to load at most."""


def record(folder: Path) -> Path:
    """Records the build in an empty folder and returns the page of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["python3", "-m", "venv", ".venv"], cwd=folder, check=True)
    run = ["run", "-i", "10", "--exact", "--top", "2", "-o", "build.jsonl", "--", *BUILD]
    env = {**os.environ, "COLUMNS": "88"}
    subprocess.run([*MEMWATCH, *run], cwd=folder, check=True, env=env)
    page = folder / "build.html"
    view = ["view", "build.jsonl", "--no-open", "--html", str(page)]
    subprocess.run([*MEMWATCH, *view], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return page


def photograph(page: Path, picture: Path) -> None:
    """Writes the picture of the page with a lane for each program."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("there is no chromium: install Debian's, or name yours chromium in PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport=SIZE, device_scale_factor=SCALE)
        tab.goto(page.as_uri())
        tab.wait_for_function("memwatch.painted !== null")
        tab.click("#by-command")
        tab.click("#fold")
        tab.mouse.move(0, 0)
        tab.wait_for_timeout(500)
        tab.screenshot(path=picture)
        browser.close()


def main() -> None:
    photograph(record(FOLDER), PICTURE)
    size = PICTURE.stat().st_size
    print(f"{PICTURE}: {size / 1024:.0f} KiB")
    if size > LARGEST:
        sys.exit(f"the picture is larger than {LARGEST >> 10} KiB")


if __name__ == "__main__":
    main()
