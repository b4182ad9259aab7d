"""memwatch beside other tools of its kind, on jobs of which the truth is known.

python benchmarks/peers.py [--rounds N] [--jobs tree,build] [--json FILE]

`pip install -e .[peers]` installs the others; one that is missing is skipped.
All are asked for a sample every 10 ms and for the processes below the command.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import c_project
from programs import (
    Finished,
    compile_program,
    count_by_strace,
    machine,
    memwatch_command,
    print_table,
    run_timed,
    spread,
)

INTERVAL = 0.01
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


class Job(NamedTuple):
    title: str
    command: list[str]
    directory: Path
    prepare: Callable[[], object]
    """What makes it do the same again."""


class Truth(NamedTuple):
    peak_kib: int | None
    processes: int | None


class Seen(NamedTuple):
    """What a tool reported. None: it does not say."""

    peak_kib: float
    processes: int | None
    samples: int | None


class Result(NamedTuple):
    seen: Seen
    wall: float
    cpu: float
    """Of the tool and of the helpers it started."""


class Peer(NamedTuple):
    name: str
    package: str
    run: Callable[[Job, Path, float], Result]
    """Runs the job; files go to the folder. The number is the CPU of the job by itself."""


def finished(tool: str, done: Finished) -> Finished:
    if done.code:
        sys.exit(f"{tool} failed with exit code {done.code}")
    return done


def run_memwatch(interval: str) -> Callable[[Job, Path, float], Result]:
    def run(job: Job, _out: Path, _job_cpu: float) -> Result:
        options = ["run", "--quiet", "--json", "-i", interval, "--"]
        done = run_timed([*memwatch_command(), *options, *job.command], cwd=job.directory)
        report = json.loads(finished("memwatch", done).stdout)
        seen = Seen(report["max_total_rss_kib"], report["process_count"], report["samples"])
        return Result(seen, done.wall, done.cpu)

    return run


def run_psrecord(job: Job, out: Path, _job_cpu: float) -> Result:
    # Its shell would be one process more.
    command = "exec " + " ".join(job.command)
    log = ["--log", str(out / "log"), "--log-format", "csv"]
    options = ["--include-children", "--interval", str(INTERVAL), *log]
    done = finished("psrecord", run_timed([tool("psrecord"), command, *options], cwd=job.directory))
    with open(out / "log", encoding="utf-8") as file:
        rows = [float(row["mem_real"]) for row in csv.DictReader(file)]
    return Result(Seen(max(rows, default=0) * 1024, None, len(rows)), done.wall, done.cpu)


def run_mprof(job: Job, out: Path, _job_cpu: float) -> Result:
    options = ["run", "-C", "-M", "-T", str(INTERVAL), "-o", str(out / "log")]
    done = run_timed([tool("mprof"), *options, *job.command], cwd=job.directory)
    finished("mprof", done)
    totals = []
    children = set()
    for line in (out / "log").read_text().splitlines():
        kind, value, *_ = line.split()
        if kind == "MEM":
            totals.append(float(value))
        elif kind == "CHLD":
            children.add(value)
    seen = Seen(max(totals, default=0) * 1024, len(children) + 1, len(totals))
    return Result(seen, done.wall, done.cpu)


def run_procpath(job: Job, out: Path, _job_cpu: float) -> Result:
    """It attaches to a process that runs already, and so misses the beginning."""
    started = subprocess.Popen(
        job.command, cwd=job.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    database = out / "log.sqlite"
    query = f"$..children[?(@.stat.pid == {started.pid})]"
    options = ["record", "-i", str(INTERVAL), "-d", str(database), "-f", "stat"]
    recorder = subprocess.Popen(
        [tool("procpath"), *options, "--stop-without-result", query], stderr=subprocess.DEVNULL
    )
    started.wait()
    _, status, usage = os.wait4(recorder.pid, 0)
    recorder.returncode = os.waitstatus_to_exitcode(status)
    if recorder.returncode:
        sys.exit(f"procpath failed with exit code {recorder.returncode}")
    with closing(sqlite3.connect(database)) as connection:
        totals = [
            total for (total,) in connection.execute("SELECT SUM(stat_rss) FROM record GROUP BY ts")
        ]
        rows = connection.execute("SELECT COUNT(DISTINCT stat_pid) FROM record")
        (processes,) = rows.fetchone()
    seen = Seen(max(totals, default=0) * PAGE_KIB, processes, len(totals))
    # The job does not run below it: its wall time says nothing about procpath.
    return Result(seen, 0, usage.ru_utime + usage.ru_stime)


def run_duct(job: Job, out: Path, job_cpu: float) -> Result:
    quiet = ["-q", "-c", "none", "-o", "none", "--clobber", "-p", str(out / "duct_")]
    times = ["--sample-interval", str(INTERVAL), "--report-interval", str(INTERVAL)]
    done = run_timed(
        [tool("con-duct"), "run", *quiet, *times, *job.command],
        cwd=job.directory,
    )
    finished("con-duct", done)
    pids: set[str] = set()
    for line in (out / "duct_usage.jsonl").read_text().splitlines():
        pids.update(json.loads(line)["processes"])
    summary = json.loads((out / "duct_info.json").read_text())["execution_summary"]
    seen = Seen(summary["peak_rss"] / 1024, len(pids), summary["num_samples"])
    # It starts a ps for each sample: those are its children as the job is.
    return Result(seen, done.wall, done.cpu_with_children - job_cpu)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


PEERS = [
    Peer("memwatch -i 10", "memwatch", run_memwatch("10")),
    Peer("memwatch -i 1", "memwatch", run_memwatch("1")),
    Peer("psrecord", "psrecord", run_psrecord),
    Peer("mprof", "memory-profiler", run_mprof),
    Peer("procpath", "procpath", run_procpath),
    Peer("con-duct", "con-duct", run_duct),
]


def installed() -> Iterator[Peer]:
    for peer in PEERS:
        try:
            version = metadata.version(peer.package)
        except metadata.PackageNotFoundError:
            print(f"{peer.name}: skipped, {peer.package} is not installed")
            continue
        yield peer._replace(name=f"{peer.name} ({version})")


def known_tree(directory: Path) -> tuple[Job, Callable[[], Truth]]:
    facts = directory / "facts.json"
    program = compile_program("known_tree", directory)
    job = Job(
        "Eleven processes, one a daemon with 160 of 520 MiB, held for 2 s",
        [program, "40", "2", str(facts)],
        directory,
        lambda: None,
    )

    def truth() -> Truth:
        found = json.loads(facts.read_text())
        return Truth(found["rss_kib"], found["processes"])

    return job, truth


def small_build(directory: Path) -> tuple[Job, Callable[[], Truth]]:
    project = directory / "project"
    c_project.write(project)

    def clean() -> None:
        subprocess.run(["make", "-s", "clean"], cwd=project, check=True)

    job = Job(f"make -j2 of {c_project.FILES} C files", ["make", "-s", "-j2"], project, clean)
    clean()
    processes = count_by_strace(job.command, job.directory)
    return job, lambda: Truth(None, processes)


def measure(job: Job, peers: list[Peer], rounds: int) -> tuple[list[Finished], list[list[Result]]]:
    """Plain and under each tool, round after round."""
    plain: list[Finished] = []
    results: list[list[Result]] = [[] for _ in peers]
    for _ in range(rounds):
        job.prepare()
        plain.append(finished(job.command[0], run_timed(job.command, cwd=job.directory)))
        for peer, taken in zip(peers, results, strict=True):
            job.prepare()
            with tempfile.TemporaryDirectory() as out:
                taken.append(peer.run(job, Path(out), plain[-1].cpu_with_children))
            print(".", end="", file=sys.stderr, flush=True)
    return plain, results


def print_job(
    job: Job, truth: Truth, peers: list[Peer], plain: list[Finished], results: list[list[Result]]
) -> None:
    known = "unknown" if truth.peak_kib is None else f"{truth.peak_kib / 1024:.1f}"
    seconds = statistics.median(done.wall for done in plain)
    rows: list[list[object]] = [["**truth**", known, _or_dash(truth.processes), "", "0", "1"]]
    for peer, taken in zip(peers, results, strict=True):
        walls = [result.wall / done.wall for result, done in zip(taken, plain, strict=True)]
        middle = sorted(taken, key=lambda result: result.seen.peak_kib)[len(taken) // 2].seen
        rows.append(
            [
                peer.name,
                f"{middle.peak_kib / 1024:.1f}",
                _or_dash(middle.processes),
                _or_dash(middle.samples),
                f"{statistics.median(result.cpu for result in taken):.2f}",
                spread(walls) if taken[0].wall else "–",
            ]
        )
    print_table(
        f"{job.title} (plain {seconds:.1f} s), {len(plain)} rounds:",
        ("tool", "peak MiB", "processes", "samples", "CPU s of the tool", "wall ratio"),
        rows,
    )


def _or_dash(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


JOBS = {"tree": known_tree, "build": small_build}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--jobs", default=",".join(JOBS), help="default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="write every single figure")
    chosen = parser.parse_args()
    names = chosen.jobs.split(",")
    if unknown := set(names) - set(JOBS):
        parser.error(f"unknown job: {', '.join(unknown)}")

    # con-duct looks for its own command in PATH.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    where = machine()
    print(where, flush=True)
    record: dict[str, object] = {"machine": where, "rounds": chosen.rounds}
    peers = list(installed())
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            job, truth = JOBS[name](Path(directory))
            plain, results = measure(job, peers, chosen.rounds)
            print_job(job, truth(), peers, plain, results)
            by_name = dict(zip((peer.name for peer in peers), results, strict=True))
            record[name] = {"truth": truth(), "results": by_name}
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as out:
            json.dump(record, out, indent=1)


if __name__ == "__main__":
    main()
