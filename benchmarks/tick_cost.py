"""Measures what one tick costs: memwatch, the floor (floor.c) and psutil on the same jobs.

python benchmarks/tick_cost.py [--quick] [--parts cost,unrelated,busy,pace] [--json FILE]

The three are measured in turn, round after round, and compared within a round.
memwatch is the real command, without its start-up and its report: the CPU
clocks that the kernel keeps of its threads are read twice while the job stands
still. As a check, the same job is also run for a short time, and the difference
of the CPU that memwatch itself reports is divided by the difference of its
samples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, NamedTuple

from arguments import Arguments, measure_each
from programs import (
    HERE,
    compile_program,
    idle_tree,
    memwatch_command,
    print_table,
    process_clock,
    run_timed,
    spread,
)

import memwatch

UNRELATED = 2000

# The first ticks of a job are dense, and young processes are inspected (VmHWM, threads). This takes
# less than so many seconds. The job lives a little longer than the measured time.
SETTLING = 1.5
ENDING = 0.5

PACE_SECONDS = 5


class Job(NamedTuple):
    processes: int
    interval_ms: float
    change_ms: float = 0


class Tick(NamedTuple):
    """CPU microseconds per tick."""

    cost: float
    python: float = 0
    """The share of memwatch's main thread: the Python side."""
    slope: float = 0
    """The cost according to memwatch's own account of a short and a long run."""


class Measure:
    """The programs, and how many seconds of ticks each measurement takes."""

    def __init__(self, directory: str, seconds: Callable[[float], float]) -> None:
        self.tree = compile_program("idle_tree", directory)
        self.floor_program = compile_program("floor", directory)
        self.seconds = seconds

    def memwatch(self, job: Job) -> Tick:
        seconds = self.seconds(job.interval_ms)
        with memwatch_on(self, job, SETTLING) as child:
            short = child.report(job)
        with memwatch_on(self, job, SETTLING + seconds + ENDING) as child:
            time.sleep(SETTLING)
            before = child.clocks()
            time.sleep(seconds)
            after = child.clocks()
            long = child.report(job)
        # The interval that was achieved does not depend on when the sleeps ended.
        ticks = (after.time - before.time) * 1e3 / long["accuracy"]["achieved_interval_ms"]
        samples = long["samples"] - short["samples"]
        slope = long["memwatch"]["cpu_seconds"] - short["memwatch"]["cpu_seconds"]
        return Tick(
            (after.process - before.process) / ticks * 1e6,
            (after.main_thread - before.main_thread) / ticks * 1e6,
            slope / samples * 1e6,
        )

    def floor(self, job: Job) -> Tick:
        return self._loop([self.floor_program], job)

    def psutil(self, job: Job) -> Tick:
        return self._loop([sys.executable, str(HERE / "psutil_loop.py")], job)

    def _loop(self, program: list[str], job: Job) -> Tick:
        seconds = self.seconds(job.interval_ms)
        with idle_tree(self.tree, job.processes, change_ms=job.change_ms) as root:
            arguments = [str(round(job.interval_ms * 1e6)), str(seconds), str(root)]
            output = subprocess.run([*program, *arguments], check=True, stdout=subprocess.PIPE)
        report = json.loads(output.stdout)
        if report["processes"] != job.processes:
            sys.exit(f"{program[-1]}: {report['processes']} processes, not {job.processes}")
        return Tick(report["cpu_ns"] / report["ticks"] / 1e3)


class Clocks(NamedTuple):
    """Seconds."""

    time: float
    process: float
    main_thread: float


class MemwatchRun:
    """`memwatch run` on an idle_tree."""

    def __init__(self, child: subprocess.Popen[bytes], out: IO[bytes]) -> None:
        self._child = child
        self._out = out

    def clocks(self) -> Clocks:
        pid = self._child.pid
        with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as schedstat:
            main_thread = int(schedstat.read().split()[0]) / 1e9
        process = time.clock_gettime(process_clock(pid))
        return Clocks(time.monotonic(), process, main_thread)

    def report(self, job: Job) -> Any:
        """Waits for its end and returns its JSON."""
        if self._child.wait():
            sys.exit(f"memwatch failed with exit code {self._child.returncode}")
        self._out.seek(0)
        report = json.load(self._out)
        if report["process_count"] != job.processes:
            sys.exit(f"{report['process_count']} processes seen, not {job.processes}")
        return report


@contextmanager
def memwatch_on(measure: Measure, job: Job, seconds: float) -> Iterator[MemwatchRun]:
    words = [measure.tree, str(job.processes), str(seconds), str(job.change_ms)]
    options = ["run", "--quiet", "--json", "-i", str(job.interval_ms), "--"]
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [*memwatch_command(), *options, *words], stdout=out, stderr=subprocess.DEVNULL
        )
        try:
            yield MemwatchRun(child, out)
        finally:
            # memwatch forwards the signal to the job, which ends all its processes.
            child.terminate()
            child.wait()


def compare(measure: Measure, job: Job, rounds: int, tools: list[str]) -> dict[str, list[Tick]]:
    """Measures every tool once in each round, in an order that changes."""
    results: dict[str, list[Tick]] = {tool: [] for tool in tools}
    for number in range(rounds):
        turn = number % len(tools)
        for tool in tools[turn:] + tools[:turn]:
            results[tool].append(getattr(measure, tool)(job))
    return results


def ratios(above: list[Tick], below: list[Tick]) -> list[float]:
    return [a.cost / b.cost for a, b in zip(above, below, strict=True)]


def median(ticks: list[Tick]) -> float:
    return statistics.median(tick.cost for tick in ticks)


def cost_rows(
    measure: Measure, jobs: list[Job], chosen: argparse.Namespace, record: list[dict[str, object]]
) -> list[list[object]]:
    rows: list[list[object]] = []
    for job in jobs:
        found = compare(measure, job, chosen.rounds, chosen.tools)
        floor, ours, psutil = found["floor"], found["memwatch"], found.get("psutil")
        python = statistics.median(tick.python / tick.cost for tick in ours)
        slope = [Tick(tick.slope) for tick in ours]
        rows.append(
            [
                f"{job.processes:,} at {job.interval_ms:g} ms",
                f"{median(floor):.1f}",
                f"{median(ours):.1f}",
                f"{median(psutil):.0f}" if psutil else "–",
                spread(ratios(ours, floor)),
                f"{statistics.median(ratios(psutil, ours)):.1f}" if psutil else "–",
                f"{median(ours) / job.processes:.2f}",
                f"{python:.0%}",
                spread(ratios(slope, floor)),
            ]
        )
        record.append({"job": job._asdict(), "us_per_tick": found})
        print(".", end="", file=sys.stderr, flush=True)
    return rows


COST_HEADER = (
    "live processes",
    "floor µs",
    "memwatch µs",
    "psutil µs",
    "memwatch / floor",
    "psutil / memwatch",
    "memwatch µs per process",
    "share of Python",
    "own account / floor",
)


def part_cost(measure: Measure, chosen: argparse.Namespace) -> object:
    record: list[dict[str, object]] = []
    jobs = [Job(n, ms) for ms in chosen.intervals for n in chosen.processes]
    rows = cost_rows(measure, jobs, chosen, record)
    print_table(f"CPU per tick, median of {chosen.rounds} rounds:", COST_HEADER, rows)
    return record


def part_busy(measure: Measure, chosen: argparse.Namespace) -> object:
    """Measures a job in which every process changes its resident size every 5 ms."""
    record: list[dict[str, object]] = []
    jobs = [Job(n, ms, 5) for ms in chosen.intervals for n in (10, 100)]
    rows = cost_rows(measure, jobs, chosen, record)
    print_table("The same, each process changing its RSS every 5 ms:", COST_HEADER, rows)
    return record


def part_unrelated(measure: Measure, chosen: argparse.Namespace) -> object:
    """Measures a job of 10 with and without many other processes on the machine, in turn."""
    record = []
    rows = []
    tools = chosen.tools
    for ms in chosen.intervals:
        job = Job(10, ms)
        alone: dict[str, list[Tick]] = {tool: [] for tool in tools}
        crowded: dict[str, list[Tick]] = {tool: [] for tool in tools}
        for number in range(chosen.rounds):
            for crowd in (number % 2, 1 - number % 2):
                with ExitStack() as stack:
                    if crowd:
                        stack.enter_context(idle_tree(measure.tree, UNRELATED))
                    for tool, ticks in compare(measure, job, 1, tools).items():
                        (crowded if crowd else alone)[tool] += ticks
        for tool in tools:
            rows.append(
                [
                    f"{tool}, 10 at {ms:g} ms",
                    f"{median(alone[tool]):.1f}",
                    f"{median(crowded[tool]):.1f}",
                    spread(ratios(crowded[tool], alone[tool])),
                ]
            )
        record.append({"job": job._asdict(), "alone": alone, "crowded": crowded})
        print(".", end="", file=sys.stderr, flush=True)
    print_table(
        f"CPU per tick (µs) with {UNRELATED:,} unrelated processes on the machine:",
        ("tool", "without", "with", "with / without"),
        rows,
    )
    return record


def part_pace(measure: Measure, chosen: argparse.Namespace) -> object:
    """Measures the interval achieved, as the command and as a library beside busy Python."""
    record = []
    rows = []
    for busy, ms in [(False, 10.0), (False, 1.0), (True, 10.0), (True, 1.0)]:
        runs = [_pace(measure, ms, busy) for _ in range(chosen.rounds)]
        achieved = [run["achieved_ms"] for run in runs]
        late = [(run["late"] + run["skipped"]) / run["ticks"] * 100 for run in runs]
        rows.append(
            [
                f"{'library, Python busy' if busy else 'command, idle machine'}, -i {ms:g}",
                spread(achieved, 3),
                sum(run["ticks"] for run in runs),
                sum(run["late"] for run in runs),
                sum(run["skipped"] for run in runs),
                spread(late, 2),
            ]
        )
        record.append({"busy": busy, "interval_ms": ms, "runs": runs})
        print(".", end="", file=sys.stderr, flush=True)
    print_table(
        f"The interval achieved, 10 processes, {chosen.rounds} runs of {PACE_SECONDS} s:",
        ("case", "achieved ms", "ticks", "late", "skipped", "late or skipped %"),
        rows,
    )
    return record


def _pace(measure: Measure, interval_ms: float, busy: bool) -> dict[str, float]:
    job = [measure.tree, "10", str(PACE_SECONDS)]
    if not busy:
        options = ["run", "--quiet", "--json", "-i", str(interval_ms), "--"]
        report = json.loads(run_timed([*memwatch_command(), *options, *job]).stdout)
        sampling = report["accuracy"]
        return {
            "achieved_ms": sampling["achieved_interval_ms"],
            "ticks": report["samples"],
            "late": sampling["late_ticks"],
            "skipped": sampling["skipped_ticks"],
        }
    stop = threading.Event()
    thread = threading.Thread(target=_keep_python_busy, args=(stop,))
    thread.start()
    try:
        # The job's "ready" goes to stderr: stdout is for the tables.
        with open("/dev/null", "wb") as nowhere:
            profile = memwatch.run(job, interval=interval_ms / 1e3, stdout=nowhere.fileno())
    finally:
        stop.set()
        thread.join()
    taken = profile.sampling
    return {
        "achieved_ms": (taken.achieved or 0) / 1e6,
        "ticks": taken.ticks,
        "late": taken.late,
        "skipped": taken.skipped,
    }


def _keep_python_busy(stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        for _ in range(10000):
            number += 1


PARTS = {
    "cost": part_cost,
    "unrelated": part_unrelated,
    "busy": part_busy,
    "pace": part_pace,
}


def main() -> None:
    arguments = Arguments(__doc__, "2 short rounds, no 1,000 processes")
    arguments.repeats("--rounds", 7, 2)
    arguments.names("--parts", PARTS)
    add = arguments.parser.add_argument
    add("--seconds", type=float, help="of ticks in each measurement, default 3 to 10")
    add("--processes", type=int, nargs="+", help="default 1 10 100 1000")
    add("--intervals", type=float, nargs="+", default=[10, 1], help="milliseconds")
    add("--no-psutil", action="store_true", help="saves a third of the time")
    chosen = arguments.parse()
    chosen.processes = chosen.processes or ([1, 10, 100] if chosen.quick else [1, 10, 100, 1000])
    chosen.tools = ["floor", "memwatch"] if chosen.no_psutil else ["floor", "memwatch", "psutil"]

    def seconds(interval_ms: float) -> float:
        """Returns how long it takes for enough ticks for a stable mean."""
        return chosen.seconds or (2 if chosen.quick else min(max(interval_ms, 3), 10))

    with tempfile.TemporaryDirectory() as directory:
        measure = Measure(directory, seconds)
        measure_each(
            chosen.parts,
            lambda part: PARTS[part](measure, chosen),
            chosen,
            rounds=chosen.rounds,
        )


if __name__ == "__main__":
    main()
