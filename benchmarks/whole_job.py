"""Measures what memwatch costs a whole job: time, CPU, start-up, the end, its own memory.

python benchmarks/whole_job.py [--quick] [--pairs N] [--parts build,startup,end,memory]
                               [--json FILE]

The job is a C project of 60 files, written by c_project.py and built by make -j2.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import c_project
from arguments import Arguments, measure_each
from programs import (
    Finished,
    compile_program,
    memwatch_command,
    print_table,
    ratio,
    spread,
    succeed,
)

MAKE = ["make", "-s", "-j2"]


def memwatch_run(interval: str, *options: str) -> list[str]:
    return [*memwatch_command(), "run", "--quiet", "-i", interval, *options, "--"]


def build(directory: Path, prefix: Sequence[str]) -> Finished:
    succeed(["make", "-s", "clean"], directory)
    return succeed([*prefix, *MAKE], directory)


def part_build(directory: Path, chosen: argparse.Namespace) -> object:
    """Builds plain and under memwatch in each round, in an order that changes."""
    project = directory / "project"
    c_project.write(project)
    prefixes = {"plain": [], "-i 10": memwatch_run("10"), "-i 1": memwatch_run("1")}
    names = list(prefixes)
    results: dict[str, list[Finished]] = {name: [] for name in names}
    build(project, [])  # warms the page cache
    for number in range(chosen.pairs):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            results[name].append(build(project, prefixes[name]))
        print(".", end="", file=sys.stderr, flush=True)
    plain = results["plain"]
    rows = [
        [
            name,
            f"{statistics.median(done.wall for done in results[name]):.2f}",
            f"{statistics.median(done.cpu_with_children for done in results[name]):.2f}",
            f"{statistics.median(done.cpu for done in results[name]):.3f}",
            ratio(results[name], plain, "wall"),
            ratio(results[name], plain, "cpu_with_children"),
        ]
        for name in names
    ]
    print_table(
        f"make -j2 of {c_project.FILES} C files, {chosen.pairs} pairs:",
        ("run", "wall s", "CPU s", "make or memwatch itself, CPU s", "wall ratio", "CPU ratio"),
        rows,
    )
    return {name: [done[1:4] for done in results[name]] for name in names}


def part_startup(directory: Path, chosen: argparse.Namespace) -> object:
    stamp_exit = compile_program("stamp_exit", directory)
    stamp = directory / "stamp"
    commands = {
        "true": ["true"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "memwatch run --quiet -- true": [*memwatch_run("500"), "true"],
    }
    reaching = {
        "true": [stamp_exit, "0", str(stamp)],
        "memwatch run --quiet -- true": [*memwatch_run("500"), stamp_exit, "0", str(stamp)],
    }
    whole: dict[str, list[Finished]] = {name: [] for name in commands}
    until: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(chosen.pairs * 3):
        for name, command in commands.items():
            whole[name].append(succeed(command))
            if name in reaching:
                done = succeed(reaching[name])
                until[name].append((float(stamp.read_text()) - done.started) * 1e3)
    rows = [
        [
            name,
            spread([done.wall * 1e3 for done in whole[name]], 1),
            f"{statistics.median(done.cpu_with_children for done in whole[name]) * 1e3:.1f}",
            spread(until[name], 1) if until[name] else "",
        ]
        for name in commands
    ]
    print_table(
        f"Start-up, median of {chosen.pairs * 3} (ms):",
        ("command", "wall", "CPU", "until the command's main() has run"),
        rows,
    )
    return {name: {"wall": [done.wall for done in whole[name]]} for name in commands}


def part_end(directory: Path, chosen: argparse.Namespace) -> object:
    """Measures from the job's last instruction to the return of wait() for memwatch."""
    stamp_exit = compile_program("stamp_exit", directory)
    stamp = directory / "stamp"
    job = [stamp_exit, "0.3", str(stamp)]
    prefixes = {"plain": [], **{f"-i {each}": memwatch_run(each) for each in ("10", "500", "60s")}}
    delays: dict[str, list[float]] = {name: [] for name in prefixes}
    for _ in range(chosen.pairs):
        for name, prefix in prefixes.items():
            done = succeed([*prefix, *job])
            delays[name].append((done.ended - float(stamp.read_text())) * 1e3)
    print_table(
        f"From the exit of the job to the exit of the process started, {chosen.pairs} runs (ms):",
        ("run", "median (min – max)"),
        [[name, spread(each, 1)] for name, each in delays.items()],
    )
    return delays


def part_memory(directory: Path, chosen: argparse.Namespace) -> object:
    tree = compile_program("idle_tree", directory)
    project = directory / "project"
    c_project.write(project)
    succeed(["make", "-s", "clean"], project)
    jobs = {
        "true, -i 10": ("10", ["true"]),
        "10 idle processes for 5 s, -i 1": ("1", [tree, "10", "5"]),
        "1,000 idle processes for 5 s, -i 10": ("10", [tree, "1000", "5"]),
        "the build, -i 1": ("1", MAKE),
    }
    if chosen.quick:
        del jobs["the build, -i 1"]
    rows = []
    for name, (interval, command) in jobs.items():
        own, polled = _memory(memwatch_run(interval, "--json") + command, project)
        rows.append([name, f"{own / 1024:.1f}", f"{polled / 1024:.1f}"])
    print_table(
        "memwatch's own resident memory (MiB):",
        ("job", "its JSON, before the report", "VmHWM from outside, report included"),
        rows,
    )
    return rows


def _memory(argv: Sequence[str], cwd: Path) -> tuple[int, int]:
    """Returns memwatch.max_rss_kib of its JSON and the VmHWM seen from outside, in KiB."""
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, cwd=cwd, stdout=out, stderr=subprocess.DEVNULL)
        highest = 0
        status = Path(f"/proc/{child.pid}/status")
        while child.poll() is None:
            found = re.search(r"^VmHWM:\s+(\d+)", status.read_text(), re.MULTILINE)
            if found:  # a zombie has none
                highest = max(highest, int(found[1]))
            time.sleep(0.002)
        if child.returncode:
            sys.exit(f"{argv[0]} failed with exit code {child.returncode}")
        out.seek(0)
        return json.load(out)["memwatch"]["max_rss_kib"], highest


PARTS = {
    "startup": part_startup,
    "end": part_end,
    "memory": part_memory,
    "build": part_build,
}


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.repeats("--pairs", 12, 2)
    arguments.names("--parts", PARTS)
    chosen = arguments.parse()
    succeed([*memwatch_run("500"), "true"])  # writes its bytecode, if there is none
    with tempfile.TemporaryDirectory() as directory:
        measure_each(
            chosen.parts,
            lambda part: PARTS[part](Path(directory), chosen),
            chosen,
            pairs=chosen.pairs,
        )


if __name__ == "__main__":
    main()
