"""Measures memwatch beside other tools of its kind, on jobs whose truth is known.

python benchmarks/peers.py [--quick] [--rounds N] [--jobs tree,build] [--json FILE]

`pip install '.[peers]'` installs the others; one that is missing, or cannot run here, is skipped
with its reason. Tools that sample are asked for a sample every 10 ms (memwatch also for 1 ms), and
for all processes below the command.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import c_project
from arguments import Arguments, measure_each
from programs import (
    Finished,
    compile_program,
    count_by_strace,
    memwatch_command,
    print_table,
    run_timed,
    spread,
)

INTERVAL = 0.01
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024

SUM_OF_RSS = "sum of RSS"
CHARGED = "charged to the cgroup"
"""Each page once, with page cache and kernel memory."""


class Job(NamedTuple):
    title: str
    command: list[str]
    directory: Path
    prepare: Callable[[], object]
    """Resets the job, so that it does the same work again."""


class Truth(NamedTuple):
    peak_kib: int | None
    """The sum of RSS."""
    processes: int | None


class Seen(NamedTuple):
    """What a tool reported. None: it does not report it."""

    peak_kib: float
    processes: int | None
    achieved_ms: float | None
    """Mean time from one sample to the next."""


class Result(NamedTuple):
    seen: Seen
    wall: float
    """Seconds of the tool from its start to its end; 0 if the job does not run below the tool."""
    cpu: float | None
    """CPU seconds of the tool and of the helpers it started; None if that cannot be told."""


class Missing(Exception):
    """Why a tool cannot be measured here."""


class Peer(NamedTuple):
    name: str
    asked_ms: int | None
    """The interval asked for; None: the tool does not sample."""
    number: str
    """What its peak measures."""
    version: Callable[[], str]
    """Raises Missing."""
    run: Callable[[Job, Path, float], Result]
    """Runs the job and puts files into the folder. The number is the CPU of the job by itself."""


def package(name: str) -> Callable[[], str]:
    def version() -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            raise Missing(f"{name} is not installed") from None

    return version


def mean_gap(times: Sequence[float]) -> float | None:
    """Returns the mean milliseconds between times in seconds."""
    return 1000 * (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None


def finished(tool: str, done: Finished) -> Finished:
    if done.code:
        sys.exit(f"{tool} failed with exit code {done.code}")
    return done


def run_memwatch(interval: str) -> Callable[[Job, Path, float], Result]:
    def run(job: Job, _out: Path, _job_cpu: float) -> Result:
        options = ["run", "--quiet", "--json", "-i", interval, "--"]
        done = run_timed([*memwatch_command(), *options, *job.command], cwd=job.directory)
        report = json.loads(finished("memwatch", done).stdout)
        achieved = report["accuracy"]["achieved_interval_ms"]
        seen = Seen(report["max_total_rss_kib"], report["process_count"], achieved)
        return Result(seen, done.wall, done.cpu)

    return run


def run_psrecord(job: Job, out: Path, _job_cpu: float) -> Result:
    # Its shell would be one more process.
    command = "exec " + " ".join(job.command)
    log = ["--log", str(out / "log"), "--log-format", "csv"]
    options = ["--include-children", "--interval", str(INTERVAL), *log]
    done = finished("psrecord", run_timed([tool("psrecord"), command, *options], cwd=job.directory))
    with open(out / "log", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    peak = max(float(row["mem_real"]) for row in rows)
    gap = mean_gap([float(row["elapsed_time"]) for row in rows])
    return Result(Seen(peak * 1024, None, gap), done.wall, done.cpu)


def run_mprof(job: Job, out: Path, _job_cpu: float) -> Result:
    options = ["run", "-C", "-M", "-T", str(INTERVAL), "-o", str(out / "log")]
    done = run_timed([tool("mprof"), *options, *job.command], cwd=job.directory)
    finished("mprof", done)
    totals, times = [], []
    children = set()
    for line in (out / "log").read_text().splitlines():
        kind, value, *rest = line.split()
        if kind == "MEM":
            totals.append(float(value))
            times.append(float(rest[0]))
        elif kind == "CHLD":
            children.add(value)
    seen = Seen(max(totals, default=0) * 1024, len(children) + 1, mean_gap(times))
    return Result(seen, done.wall, done.cpu)


def run_procpath(job: Job, out: Path, _job_cpu: float) -> Result:
    """Attaches procpath to a running process; so it misses the beginning."""
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
        samples = connection.execute("SELECT ts, SUM(stat_rss) FROM record GROUP BY ts ORDER BY ts")
        times, totals = zip(*samples, strict=True)
        rows = connection.execute("SELECT COUNT(DISTINCT stat_pid) FROM record")
        (processes,) = rows.fetchone()
    seen = Seen(max(totals) * PAGE_KIB, processes, mean_gap(times))
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
    times = []
    for line in (out / "duct_usage.jsonl").read_text().splitlines():
        sample = json.loads(line)
        pids.update(sample["processes"])
        times.append(datetime.fromisoformat(sample["timestamp"]).timestamp())
    summary = json.loads((out / "duct_info.json").read_text())["execution_summary"]
    # A line may stand for several samples.
    gap = 1000 * (times[-1] - times[0]) / (summary["num_samples"] - 1)
    seen = Seen(summary["peak_rss"] / 1024, len(pids), gap)
    # It starts a ps for each sample: the CPU of these is in that of its children, beside the job's.
    return Result(seen, done.wall, done.cpu_with_children - job_cpu)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def runexec_version() -> str:
    version = package("BenchExec")()
    check = [tool("runexec"), "--no-container", "--output", os.devnull, "--", "true"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    if "memory=" not in done.stdout:
        raise Missing("runexec may not use the memory cgroup here")
    return version


def run_runexec(job: Job, out: Path, job_cpu: float) -> Result:
    """Runs the job in a cgroup of its own, without BenchExec's container."""
    options = ["--no-container", "--output", str(out / "log"), "--dir", str(job.directory)]
    done = finished("runexec", run_timed([tool("runexec"), *options, "--", *job.command]))
    found = re.search(rb"^memory=(\d+)B$", done.stdout, re.MULTILINE)
    if not found:
        sys.exit("runexec reported no memory")
    seen = Seen(int(found[1]) / 1024, None, None)
    return Result(seen, done.wall, done.cpu_with_children - job_cpu)


# A unit reads the peak of its own cgroup (v2) when its command has ended.
READ_PEAK = """"$@" >&2; code=$?
cat "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/memory.peak"; exit $code"""


def systemd_version() -> str:
    if not shutil.which("systemd-run") or not os.path.isdir("/run/systemd/system"):
        raise Missing("systemd does not run here")
    if "memory" not in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        raise Missing("it needs cgroup v2 with the memory controller")
    done = subprocess.run(["systemd-run", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def run_systemd(job: Job, _out: Path, _job_cpu: float) -> Result:
    """Runs the job as a unit of systemd, which does not run below systemd-run."""
    options = ["--quiet", "--wait", "--pipe", "--collect", "-p", "MemoryAccounting=yes"]
    where = ["-p", f"WorkingDirectory={job.directory}"]
    shell = ["sh", "-c", READ_PEAK, "sh", *job.command]
    done = finished("systemd-run", run_timed(["systemd-run", *options, *where, *shell]))
    return Result(Seen(int(done.stdout) / 1024, None, None), 0, None)


PEERS = [
    Peer("memwatch -i 10", 10, SUM_OF_RSS, package("memwatch"), run_memwatch("10")),
    Peer("memwatch -i 1", 1, SUM_OF_RSS, package("memwatch"), run_memwatch("1")),
    Peer("psrecord", 10, SUM_OF_RSS, package("psrecord"), run_psrecord),
    Peer("mprof", 10, SUM_OF_RSS, package("memory-profiler"), run_mprof),
    Peer("procpath", 10, SUM_OF_RSS, package("procpath"), run_procpath),
    Peer("con-duct", 10, SUM_OF_RSS, package("con-duct"), run_duct),
    Peer("runexec", None, CHARGED, runexec_version, run_runexec),
    Peer("systemd-run", None, CHARGED, systemd_version, run_systemd),
]


def available() -> Iterator[Peer]:
    for peer in PEERS:
        try:
            version = peer.version()
        except Missing as reason:
            print(f"{peer.name}: skipped, {reason}")
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
    """Runs the job plain and under each tool, round after round."""
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
    rows: list[list[object]] = [
        ["**truth**", SUM_OF_RSS, known, or_dash(truth.processes), "", "", "0", "1"]
    ]
    for peer, taken in zip(peers, results, strict=True):
        walls = [result.wall / done.wall for result, done in zip(taken, plain, strict=True)]
        middle = sorted(taken, key=lambda result: result.seen.peak_kib)[len(taken) // 2].seen
        gaps = [result.seen.achieved_ms for result in taken if result.seen.achieved_ms]
        cpus = [result.cpu for result in taken if result.cpu is not None]
        rows.append(
            [
                peer.name,
                peer.number,
                f"{middle.peak_kib / 1024:.1f}",
                or_dash(middle.processes),
                or_dash(peer.asked_ms),
                f"{statistics.median(gaps):.1f}" if gaps else "–",
                f"{statistics.median(cpus):.2f}" if cpus else "–",
                spread(walls) if taken[0].wall else "–",
            ]
        )
    header = ("tool", "its number", "peak MiB", "processes", "ms asked", "ms achieved")
    print_table(
        f"{job.title} (plain {seconds:.1f} s), {len(plain)} rounds:",
        (*header, "CPU s of the tool", "wall ratio"),
        rows,
    )


def or_dash(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


JOBS = {"tree": known_tree, "build": small_build}


def main() -> None:
    arguments = Arguments(__doc__, "1 round")
    arguments.repeats("--rounds", 3, 1)
    arguments.names("--jobs", JOBS)
    chosen = arguments.parse()
    # con-duct looks for its own command in PATH.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    peers = list(available())
    with tempfile.TemporaryDirectory() as directory:

        def one(name: str) -> object:
            job, truth = JOBS[name](Path(directory))
            plain, results = measure(job, peers, chosen.rounds)
            print_job(job, truth(), peers, plain, results)
            by_name = dict(zip((peer.name for peer in peers), results, strict=True))
            return {"truth": truth(), "results": by_name}

        measure_each(chosen.jobs, one, chosen, rounds=chosen.rounds)


if __name__ == "__main__":
    main()
