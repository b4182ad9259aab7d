"""Measures how near `memwatch plan` comes to the truth: recorded with -j1 and -j2, run with -j4.

python benchmarks/plan.py [--quick] [--projects 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from arguments import Arguments, measure_each
from programs import compile_program, memwatch_command, print_table, spread

SEED = 77
GOAL = 0.15
RUNS = 3

# The kinds of projects, and for each a function that draws a task's MiB and milliseconds.
SHAPES = (
    ("equal", lambda pick: (30, 30)),
    ("uniform", lambda pick: (pick.randint(5, 60), pick.randint(100, 600))),
    ("skewed", lambda pick: (_skewed(pick, 12, 120), _skewed(pick, 150, 1500))),
    ("large take longer", lambda pick: (mib := _skewed(pick, 15, 100), 100 + 10 * mib)),
    ("few large", lambda pick: (pick.choice([5, 5, 5, 5, 90]), pick.randint(150, 400))),
)


def _skewed(pick: random.Random, middle: int, most: int) -> int:
    return min(most, max(2, round(pick.lognormvariate(0, 0.8) * middle)))


def write_project(directory: Path, task: str, number: int, small: bool) -> str:
    """Writes a Makefile of tasks and returns its kind.

    Every second project has a link that needs all tasks.
    """
    pick = random.Random(SEED * 1000 + number)
    name, shape = SHAPES[number % len(SHAPES)]
    has_link = number % 2 == 0
    count = 12 if small else pick.randint(24, 48)
    rules = []
    for each in range(count):
        mib, ms = (30, 300) if name == "equal" else shape(pick)
        # Like a compiler driver: a process that waits for the one that does the work.
        rules.append(f"t{each}:\n\t@sh -c '{task} {mib} {ms}; exit'\n")
    names = " ".join(f"t{each}" for each in range(count))
    link = f"\t@{task} 70 300\n" if has_link else "\t@:\n"
    (directory / "Makefile").write_text(f"all: {names}\n{link}{''.join(rules)}")
    return f"{name}{', link' if has_link else ''}, {count} tasks"


def record(project: Path, jobs: int, interval: str, path: Path | None = None) -> dict[str, Any]:
    words = ["run", "--json", "-i", interval, *(["-o", str(path)] if path else []), "--"]
    done = subprocess.run(
        [*memwatch_command(), *words, "make", "-s", f"-j{jobs}"],
        cwd=project,
        check=True,
        capture_output=True,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the run with the median peak: other work on the machine spoils one now and then."""
    return sorted(runs, key=lambda run: int(run["max_total_rss_kib"]))[len(runs) // 2]


def plan(path: Path, jobs: int) -> dict[str, Any]:
    words = [*memwatch_command(), "plan", str(path), "--jobs", str(jobs), "--json"]
    done = subprocess.run(words, check=True, capture_output=True)
    (found,) = json.loads(done.stdout)["plans"]
    return dict(found)


def main() -> None:
    arguments = Arguments(__doc__, "small projects")
    arguments.repeats("--projects", 10, 10)
    arguments.parser.add_argument("--interval", default="10", help="default %(default)s")
    chosen = arguments.parse()
    every: list[dict[str, Any]] = []

    def measure(_name: str) -> object:
        every.extend(projects(chosen))
        return every

    measure_each(["projects"], measure, chosen)
    if sum(abs(_error(each)) > GOAL for each in every if each["recorded_jobs"] == 2) > 1:
        sys.exit(f"more than one project is off by more than {GOAL:.0%}")


def projects(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Records, plans and runs each project."""
    every = []
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        task = compile_program("plan_task", room)
        for number in range(chosen.projects):
            project = room / f"project{number}"
            project.mkdir()
            kind = write_project(project, task, number, chosen.quick)
            run = middle([record(project, 4, chosen.interval) for _ in range(RUNS)])
            truth = {key: run[key] for key in ("max_total_rss_kib", "duration_seconds")}
            for jobs in (1, 2):
                path = room / f"project{number}-j{jobs}.jsonl"
                record(project, jobs, chosen.interval, path)
                expected = plan(path, 4)
                every.append({"kind": kind, "recorded_jobs": jobs, **expected, "truth": truth})
    print_projects(every, chosen.interval)
    return every


def print_projects(every: list[dict[str, Any]], interval: str) -> None:
    print_table(
        f"-j4 expected and measured (median of {RUNS}), -i {interval}:",
        ("project", "from", "expected, MiB", "band", "measured", "off %", "time off %"),
        [_row(each) for each in every],
    )
    summary = []
    for jobs in (1, 2):
        errors = [_error(each) for each in every if each["recorded_jobs"] == jobs]
        near = sum(abs(error) <= GOAL for error in errors)
        inside = sum(
            each["band_low_kib"] <= each["truth"]["max_total_rss_kib"] <= each["band_high_kib"]
            for each in every
            if each["recorded_jobs"] == jobs
        )
        off = spread([100 * abs(error) for error in errors], 1)
        summary.append([f"-j{jobs}", f"{near} of {len(errors)}", f"{inside} of {len(errors)}", off])
    print_table(
        "Peak of -j4:",
        ("recorded with", f"within {GOAL:.0%}", "in the band", "off by %"),
        summary,
    )


def _error(one: dict[str, Any]) -> float:
    return float(one["expected_peak_kib"] / one["truth"]["max_total_rss_kib"] - 1)


def _row(one: dict[str, Any]) -> list[str]:
    truth = one["truth"]
    mib = [one[key] / 1024 for key in ("expected_peak_kib", "band_low_kib", "band_high_kib")]
    time = one["expected_duration_seconds"] / truth["duration_seconds"] - 1
    return [
        one["kind"],
        f"-j{one['recorded_jobs']}",
        f"{mib[0]:.1f}",
        f"{mib[1]:.0f} – {mib[2]:.0f}",
        f"{truth['max_total_rss_kib'] / 1024:.1f}",
        f"{100 * _error(one):+.1f}",
        f"{100 * time:+.1f}",
    ]


if __name__ == "__main__":
    main()
