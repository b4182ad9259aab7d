"""Measures what a recording costs, and what is left of one when memwatch is killed.

python benchmarks/recording.py [--quick] [--parts cost,memory,killed] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arguments import Arguments, measure_each
from programs import (
    compile_program,
    memwatch_command,
    print_table,
    process_clock,
    spread,
)

PROCESSES = 10
CHANGE_MS = 10
"""How often each of them changes its memory: once per tick."""


def part_cost(directory: Path, chosen: argparse.Namespace) -> object:
    """Measures the CPU of memwatch while the job runs, without start-up and report."""
    tree = compile_program("idle_tree", directory)
    seconds, rounds = (2.0, 2) if chosen.quick else (10.0, 6)
    rows = []
    for change_ms in (0, CHANGE_MS):
        used: dict[str, list[float]] = {"plain": [], "-o": [], "-o, gzip": []}
        for _ in range(rounds):
            for name, values in used.items():
                file = {"plain": None, "-o": "a.jsonl", "-o, gzip": "a.jsonl.gz"}[name]
                output = ["-o", str(directory / file), "--force"] if file else []
                values.append(_cpu(tree, change_ms, seconds, output))
        for name, values in used.items():
            more = [each / plain - 1 for each, plain in zip(values, used["plain"], strict=True)]
            job = f"change each {change_ms} ms" if change_ms else "still"
            rows.append(
                [
                    f"{PROCESSES} processes, {job}, {name}",
                    f"{sum(values) / len(values) / seconds * 1e3:.1f}",
                    "" if name == "plain" else spread([100 * each for each in more], 1),
                ]
            )
    print_table(
        f"CPU at -i 10, {rounds} rounds of {seconds:g} s:",
        ("job", "ms per second", "more %"),
        rows,
    )
    return rows


def _cpu(tree: str, change_ms: float, seconds: float, output: list[str]) -> float:
    words = [*memwatch_command(), "run", "--quiet", "-i", "10", *output, "--"]
    job = [tree, str(PROCESSES), str(seconds + 3), str(change_ms)]
    child = subprocess.Popen([*words, *job], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()  # all processes run
    time.sleep(1)
    before = time.clock_gettime(process_clock(child.pid))
    time.sleep(seconds)
    used = time.clock_gettime(process_clock(child.pid)) - before
    child.send_signal(signal.SIGTERM)
    child.wait()
    child.stdout.close()
    return used


def part_memory(directory: Path, chosen: argparse.Namespace) -> object:
    """Measures the memory of memwatch's own process, reports included."""
    tree = compile_program("idle_tree", directory)
    rows = []
    # They change every 10 ms, which makes some 10,000 samples per second.
    processes = 100
    for seconds in (5, 10) if chosen.quick else (10, 110):
        words = ["run", "--json", "-i", "10", "-o", str(directory / "m.jsonl"), "--force", "--"]
        job = [tree, str(processes), str(seconds), str(CHANGE_MS)]
        done = subprocess.run(
            [*memwatch_command(), *words, *job], check=True, capture_output=True, text=True
        )
        report = json.loads(done.stdout)
        with open(directory / "m.jsonl", encoding="utf-8") as lines:
            samples = sum(
                each[4] == 3 for line in lines for each in json.loads(line).get("records", ())
            )
        rows.append(
            [
                f"{processes} processes, {seconds} s",
                f"{samples:,}",
                f"{report['memwatch']['max_rss_kib'] / 1024:.1f}",
            ]
        )
    print_table("memwatch's own memory with -o and --json:", ("job", "samples", "MiB"), rows)
    return rows


def part_killed(directory: Path, chosen: argparse.Namespace) -> object:
    """Kills memwatch at a random time, and measures what the recording lacks."""
    tree = compile_program("idle_tree", directory)
    pick = random.Random(1)
    lost = []
    for number in range(4 if chosen.quick else 20):
        path = directory / f"k{number}.jsonl{'.gz' if number % 2 else ''}"
        words = [*memwatch_command(), "run", "--quiet", "-i", "10", "-o", str(path), "--"]
        child = subprocess.Popen(
            [*words, tree, str(PROCESSES), "20", str(CHANGE_MS)],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdout
        child.stdout.readline()
        time.sleep(pick.uniform(0.2, 3))
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        child.kill()
        os.killpg(child.pid, signal.SIGKILL)  # the job
        child.wait()
        child.stdout.close()
        lost.append((at - _last_record(path)) / 1e9)
        report = [*memwatch_command(), "report", "--quiet", str(path)]
        if subprocess.run(report, check=False).returncode:
            sys.exit(f"{path} cannot be read")
    print_table(
        "After SIGKILL at a random time:",
        ("recordings", "readable", "lost, s"),
        [[str(len(lost)), str(len(lost)), spread(lost)]],
    )
    return lost


def _last_record(path: Path) -> int:
    """Returns the time of the last record, in nanoseconds since boot."""
    from memwatch.storage.recording import Recording

    recording = Recording(str(path))
    last = recording.beginning.start
    for batch in recording.batches():
        last = max(last, batch.records[-1][0])
    return last


PARTS = {"cost": part_cost, "memory": part_memory, "killed": part_killed}


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.names("--parts", PARTS)
    chosen = arguments.parse()
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        measure_each(chosen.parts, lambda part: PARTS[part](Path(name), chosen), chosen)


if __name__ == "__main__":
    main()
