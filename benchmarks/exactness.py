"""Measures what completeness costs: the wall time of whole jobs in pairs, and what was found.

python benchmarks/exactness.py [--quick] [--pairs N] [--jobs build,script] [--json FILE]

The jobs are a C project of 60 files, built by make -j2, and a shell script of 2,000 commands.
As root, the kernel's exit records make all peaks exact. The second half runs as the user nobody,
which needs --exact (the exit hook). Each half has its own plain run to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import c_project
from arguments import Arguments, measure_each
from programs import (
    Finished,
    count_by_strace,
    memwatch_command,
    print_table,
    ratio,
    succeed,
)

NOBODY = 65534
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]

COMMANDS = 2000
# Small programs that configure scripts use; no shell has them built in.
LINES = (
    "/bin/true",
    "expr 3 + 4 >/dev/null",
    "cat /dev/null",
    "dirname /usr/lib/x >/dev/null",
    "sed -n 1p /dev/null",
)


class Job(NamedTuple):
    title: str
    command: list[str]
    directory: Path
    prepare: Callable[[], object]
    """Resets the job, so that it does the same work again."""


class Run(NamedTuple):
    name: str
    prefix: list[str]
    baseline: str
    """The name of the run that this one is compared with."""


def runs_here() -> list[Run]:
    def run(name: str, baseline: str, *options: str, prefix: Sequence[str] = ()) -> Run:
        words = [*memwatch_command(), "run", "--json", "-i", "10", *options, "--"]
        return Run(name, [*prefix, *words], baseline)

    user = "root" if os.geteuid() == 0 else "this user"
    runs = [
        Run(f"plain, {user}", [], f"plain, {user}"),
        run(f"-i 10, {user}", f"plain, {user}"),
        run(f"-i 10 --exact, {user}", f"plain, {user}", "--exact"),
    ]
    if nobody_can_run():
        plain = "plain, nobody"
        runs += [
            Run(plain, AS_NOBODY, plain),
            run("-i 10, nobody", plain, prefix=AS_NOBODY),
            run("-i 10 --exact, nobody", plain, "--exact", prefix=AS_NOBODY),
        ]
    return runs


def nobody_can_run() -> bool:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("Not root, or no setpriv: nothing is run as another user.")
        return False
    check = [*AS_NOBODY, sys.executable, "-c", "import memwatch"]
    if subprocess.run(check, cwd="/", capture_output=True, check=False).returncode:
        print(f"The user nobody cannot read {sys.executable} or memwatch: its runs are left out.")
        return False
    return True


def build_job(directory: Path) -> Job:
    project = directory / "project"
    c_project.write(project)
    command = ["make", "-s", "-j2"]

    def clean() -> None:
        succeed(["make", "-s", "clean"], project)
        project.chmod(0o777)  # the next build may be another user's

    clean()
    return Job(f"make -j2 of {c_project.FILES} C files", command, project, clean)


def script_job(directory: Path) -> Job:
    script = directory / "script.sh"
    lines = [LINES[number % len(LINES)] for number in range(COMMANDS)]
    script.write_text("\n".join(lines) + "\n")
    return Job(
        f"a shell script of {COMMANDS:,} commands",
        ["sh", str(script)],
        directory,
        lambda: None,
    )


JOBS = {"build": build_job, "script": script_job}


class Seen(NamedTuple):
    """What a report contains about the job's processes."""

    processes: int
    exact: int
    with_argv: int


def seen(done: Finished) -> Seen | None:
    if not done.stdout.startswith(b"{"):
        return None
    report = json.loads(done.stdout)
    processes = report["processes"]
    return Seen(
        len(processes),
        sum(each["peak_source"] == "exact" for each in processes),
        sum(bool(each["argv"]) for each in processes),
    )


def measure(job: Job, chosen: argparse.Namespace) -> object:
    """Makes every run once in each round, in an order that changes."""
    runs = runs_here()
    job.prepare()
    truth = count_by_strace(job.command, job.directory)
    results: dict[str, list[Finished]] = {run.name: [] for run in runs}
    for number in range(chosen.pairs):
        turn = number % len(runs)
        for run in runs[turn:] + runs[:turn]:
            job.prepare()
            results[run.name].append(succeed([*run.prefix, *job.command], job.directory))
        print(".", end="", file=sys.stderr, flush=True)
    rows = []
    for run in runs:
        done = results[run.name]
        counts = [each for each in map(seen, done) if each]
        rows.append(
            [
                run.name,
                f"{statistics.median(each.wall for each in done):.2f}",
                ratio(done, results[run.baseline], "wall"),
                ratio(done, results[run.baseline], "cpu_with_children"),
                least_most([each.processes for each in counts]),
                least_most([each.exact for each in counts]),
                least_most([each.with_argv for each in counts]),
            ]
        )
    print_table(
        f"{job.title}, {truth or 'an unknown number of'} processes, {chosen.pairs} pairs:",
        ("run", "wall s", "wall ratio", "CPU ratio", "reported", "exact", "with command line"),
        rows,
    )
    return {
        "processes": truth,
        "runs": {name: [each[1:4] for each in done] for name, done in results.items()},
    }


def least_most(values: Sequence[int]) -> str:
    if not values:
        return ""
    least, most = min(values), max(values)
    return f"{least:,}" if least == most else f"{least:,} – {most:,}"


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.repeats("--pairs", 12, 2)
    arguments.names("--jobs", JOBS)
    chosen = arguments.parse()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        measure_each(
            chosen.jobs,
            lambda job: measure(JOBS[job](directory), chosen),
            chosen,
            pairs=chosen.pairs,
        )


if __name__ == "__main__":
    main()
