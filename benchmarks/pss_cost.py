"""Measures what reading a proportional set size costs the reader and the process that is read.

python benchmarks/pss_cost.py [--quick] [--parts cost,harm] [--json FILE]

`smaps_rollup` is opened, read and closed as memwatch does it, for processes of a known size: in
turn, with a rest between, so that caches are as cold as in a job. The harm is measured with a
process that maps, touches and unmaps memory all the time, which needs the lock that the reader
holds. It is compared with the same process while another one of its size is read: so the reader's
own use of the CPU and of the caches is in both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from arguments import Arguments, measure_each
from programs import compile_program, print_table, spread

REST = 0.005
CHUNK_KIB = 64


class Load:
    """A running pss_load."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.path = f"/proc/{process.pid}/smaps_rollup"

    def work(self, seconds: float) -> tuple[int, float]:
        """Returns how often it mapped and unmapped, and the slowest time in ms."""
        assert self._process.stdin
        assert self._process.stdout
        print(seconds, file=self._process.stdin, flush=True)
        times, slowest = self._process.stdout.readline().split()
        return int(times), float(slowest) / 1e6


@contextmanager
def load_of(program: str, mib: int) -> Iterator[Load]:
    process = subprocess.Popen(
        [program, str(mib), str(CHUNK_KIB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            sys.exit(f"pss_load could not hold {mib} MiB")
        yield Load(process)
    finally:
        process.kill()
        process.communicate()


def read_once(path: str) -> float:
    """Reads the file once and returns the seconds it took."""
    start = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 4096)
    os.close(fd)
    return time.perf_counter() - start


class Reader(threading.Thread):
    """Reads a file again and again, for a part of the time."""

    def __init__(self, path: str, part: float) -> None:
        super().__init__()
        self.path = path
        self.part = part
        self.taken: list[float] = []
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.is_set():
            self.taken.append(read_once(self.path))
            self._stop_it.wait(self.taken[-1] / self.part - self.taken[-1])

    def stop(self) -> None:
        self._stop_it.set()
        self.join()


def part_cost(program: str, chosen: argparse.Namespace) -> object:
    taken: dict[int, list[float]] = {mib: [] for mib in (0, *chosen.sizes)}
    with ExitStack() as stack:
        loads = {mib: stack.enter_context(load_of(program, mib)) for mib in taken}
        for _ in range(chosen.rounds * 5):
            for mib, load in loads.items():
                time.sleep(REST)
                taken[mib].append(read_once(load.path) * 1e6)
    empty = statistics.median(taken[0])
    rows = []
    for mib, values in taken.items():
        per_mib = f"{(statistics.median(values) - empty) / mib:.1f}" if mib else "–"
        rows.append([f"{mib:,} MiB", spread(values, 0), per_mib])
    print_table(
        f"One read of `smaps_rollup`, pages of 4 KiB, {chosen.rounds * 5} rounds:",
        ("touched", "µs", "µs per MiB"),
        rows,
    )
    return taken


def part_harm(program: str, chosen: argparse.Namespace) -> object:
    rows, record = [], []
    for mib in chosen.sizes:
        with load_of(program, mib) as load, load_of(program, mib) as twin:
            for part in (0.02, 1.0):
                results = [_harm(load, twin, part, chosen) for _ in range(chosen.rounds)]
                held = [result["held"]["times"] / result["beside"]["times"] for result in results]
                rows.append(
                    [
                        f"{mib:,} MiB, {part:.0%} of the time",
                        spread(held, 3),
                        *(
                            f"{statistics.median(r[kind]['slowest_ms'] for r in results):.1f}"
                            for kind in ("alone", "beside", "held")
                        ),
                        f"{statistics.median(r['held']['read_ms'] for r in results):.2f}",
                    ]
                )
                record.append({"mib": mib, "part": part, "rounds": results})
        print(".", end="", file=sys.stderr, flush=True)
    print_table(
        f"Mapping, touching and unmapping {CHUNK_KIB} KiB, {chosen.rounds} rounds "
        f"of {chosen.seconds:g} s:",
        (
            "read",
            "pace, it is read / another is read",
            "slowest ms, alone",
            "another is read",
            "it is read",
            "one read ms",
        ),
        rows,
    )
    return record


def _harm(
    load: Load, twin: Load, part: float, chosen: argparse.Namespace
) -> dict[str, dict[str, float]]:
    found = {}
    for kind, path in (("alone", None), ("beside", twin.path), ("held", load.path)):
        reader = Reader(path, part) if path else None
        if reader:
            reader.start()
        times, slowest = load.work(chosen.seconds)
        found[kind] = {"times": times, "slowest_ms": slowest}
        if reader:
            reader.stop()
            found[kind]["read_ms"] = statistics.median(reader.taken) * 1e3
    return found


PARTS = {"cost": part_cost, "harm": part_harm}


def main() -> None:
    arguments = Arguments(__doc__, "3 short rounds")
    arguments.repeats("--rounds", 9, 3)
    arguments.names("--parts", PARTS)
    add = arguments.parser.add_argument
    add("--seconds", type=float, help="of work in each round, default 1, with --quick 0.3")
    add("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="MiB")
    chosen = arguments.parse()
    chosen.seconds = chosen.seconds or (0.3 if chosen.quick else 1)
    with tempfile.TemporaryDirectory() as directory:
        program = compile_program("pss_load", directory)
        measure_each(chosen.parts, lambda part: PARTS[part](program, chosen), chosen)


if __name__ == "__main__":
    main()
