"""Measures how near the total of memwatch comes to the need of jobs whose need is known.

python benchmarks/total_truth.py [--quick] [--interval 10] [--long] [--rounds N]
                                 [--only NAME,...] [--memwatch PATH] [--json FILE]

The jobs are in known_needs.py; each counts its own need. Before it runs under memwatch, it runs
without memwatch in a control group of its own, where one can be made: what the kernel charges to
the group must agree. It also runs with `--pss off`, to know what the sums cost. Under memwatch it
is in no group of its own, as a user's job.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from arguments import Arguments, measure_each
from control_group import HUGE, ControlGroup, Missing
from known_needs import JOBS
from programs import memwatch_command, print_table, succeed

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
LONG = 2.5
"""Seconds for which a job keeps its memory with --long, at least."""
HUGE_PAGES = 100

# How far the best figure may be from the need, as a part of it or in KiB, whichever is more.
NEAR = (0.10, 10 * 1024)
# How well the need is known: the group is read every 2 ms, and the kernel updates it in batches.
AGREES = (0.02, 5 * 1024)
# The job counts its need once, and its processes need a little more or less at other times.
KNOWN = (0.01, 2 * 1024)
# Goals for the CPU that memwatch uses, as a part of the duration of a long or short run.
CPU, CPU_SHORT, SHORT = 0.02, 0.05, 1.0


class Places(NamedTuple):
    """Folders for one run of the benchmark."""

    disk: Path
    shm: Path


class Row(NamedTuple):
    """What is known about one run of a job. Sizes in KiB; None: unknown."""

    name: str
    need: int
    touched: int
    charged: int | None
    """The highest need of the control group."""
    rss: int | None
    pss: int | None
    low: int | None
    best: int | None
    high: int | None
    source: str | None
    cpu: float
    """CPU time of memwatch as a part of the run's duration."""
    cpu_without_sums: float | None
    """The same of a run with --pss off."""
    seconds: float

    def agrees(self) -> bool | None:
        return None if self.charged is None else within(self.charged, self.need, AGREES)

    def is_near(self) -> bool | None:
        return None if self.best is None else within(self.best, self.need, NEAR)

    def is_inside(self) -> bool | None:
        """Returns whether the bounds hold. An unknown bound says nothing, so it is no success."""
        if self.low is None or self.high is None:
            return None
        slack = allowance(self.need, KNOWN)
        return self.low - slack <= self.need <= self.high + slack

    def is_cheap(self) -> bool:
        return self.cpu <= self._cpu_goal()

    def has_cheap_sums(self) -> bool | None:
        without = self.cpu_without_sums
        return None if without is None else self.cpu - without <= self._cpu_goal()

    def _cpu_goal(self) -> float:
        return CPU_SHORT if self.seconds < SHORT else CPU


def allowance(kib: int, margin: tuple[float, int]) -> float:
    return max(margin[0] * kib, margin[1])


def within(kib: int, need: int, margin: tuple[float, int]) -> bool:
    return abs(kib - need) <= allowance(need, margin)


# One job ------------------------------------------------------------------------------------------


def measure(name: str, places: Places, chosen: argparse.Namespace) -> Row:
    """Runs a job without and with memwatch. Raises Missing if it cannot run here."""
    seconds = max(JOBS[name].seconds, LONG if chosen.long else 0)
    # Without the packages of this Python: they would be part of the need.
    job = [sys.executable, "-I", "-S", HERE / "known_needs.py", name, seconds, *places]
    job = list(map(str, job))
    with needed_by(name, places.disk):
        charged = None if chosen.quick else charge(job)
        without_sums = None if chosen.quick else cpu_share(watch(job, chosen, "--pss", "off"))
        found = watch(job, chosen)
    need = json.loads((places.disk / "need.json").read_text())
    footprint = "max_total_footprint"
    return Row(
        name,
        need["need_kib"],
        need["touched_kib"],
        charged,
        found["max_total_rss_kib"],
        found["max_total_pss_kib"],
        found.get(f"{footprint}_low_kib"),
        found.get(f"{footprint}_kib"),
        found.get(f"{footprint}_high_kib"),
        found.get(f"{footprint}_source"),
        cpu_share(found),
        without_sums,
        found["duration_seconds"],
    )


def watch(job: Sequence[str], chosen: argparse.Namespace, *options: str) -> dict[str, Any]:
    """Runs a job under memwatch, and returns the JSON of the run."""
    command = [chosen.memwatch] if chosen.memwatch else memwatch_command()
    options = ("--quiet", "--json", "-i", chosen.interval, *options)
    return json.loads(succeed([*command, "run", *options, "--", *job]).stdout)


def cpu_share(found: dict[str, Any]) -> float:
    """Returns the CPU time of memwatch as a part of the run's duration."""
    return found["memwatch"]["cpu_seconds"] / found["duration_seconds"]


def charge(job: Sequence[str]) -> int | None:
    """Returns the highest need that the kernel charges to a job, None without a control group."""
    try:
        group = ControlGroup(f"memwatch-truth-{os.getpid()}")
    except Missing:
        return None
    try:
        return group.run(job)
    finally:
        group.remove()


@contextmanager
def needed_by(name: str, disk: Path) -> Iterator[None]:
    """Prepares what two of the jobs need, and puts it back. Raises Missing if it cannot."""
    if name == "file":
        with a_file(disk / "file", 1024):
            yield
    elif name == "hugetlb":
        with huge_pages(HUGE_PAGES):
            yield
    else:
        yield


@contextmanager
def a_file(path: Path, mib: int) -> Iterator[None]:
    """Makes a file, and has it in the page cache: what the disk does is no matter here."""
    if is_tmpfs(path.parent):
        raise Missing(f"{path.parent} is in memory: set TMPDIR to a folder on a disk")
    try:
        with path.open("wb") as file:
            for _ in range(mib):
                file.write(bytes(MIB))
        yield
    finally:
        path.unlink(missing_ok=True)


def is_tmpfs(folder: Path) -> bool:
    device = folder.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    kinds = [line.split(" - ")[1].split()[0] for line in lines if line.split()[2] == name]
    return "tmpfs" in kinds


@contextmanager
def huge_pages(number: int) -> Iterator[None]:
    """Reserves so many more huge pages than the machine has now, and gives them back."""
    file = HUGE / "nr_hugepages"
    try:
        before = int(file.read_text())
        file.write_text(str(before + number))
    except OSError as error:
        raise Missing(f"huge pages cannot be reserved: {error}") from None
    try:
        if (got := int(file.read_text()) - before) < number:
            raise Missing(f"the machine had only {got} of {number} huge pages")
        yield
    finally:
        file.write_text(str(before))


@contextmanager
def folders() -> Iterator[Places]:
    """Makes the folders, and removes them with all that a job may have left in memory."""
    with (
        tempfile.TemporaryDirectory(prefix="memwatch-truth-") as disk,
        tempfile.TemporaryDirectory(prefix="memwatch-truth-", dir="/dev/shm") as shm,
    ):
        try:
            yield Places(Path(disk), Path(shm))
        finally:
            for left in Path("/dev/shm").glob(f"{Path(shm).name}-*"):
                left.unlink()


# The tables ---------------------------------------------------------------------------------------


def print_rows(rows: Sequence[Row], title: str) -> None:
    table = [
        [
            JOBS[row.name].title,
            *map(mib, (row.touched, row.need, row.charged, row.rss, row.pss)),
            *map(mib, (row.low, row.best, row.high)),
            row.source or "–",
            *map(word, (row.agrees(), row.is_near(), row.is_inside())),
            *map(percent, (row.cpu, row.cpu_without_sums)),
        ]
        for row in rows
    ]
    print_table(
        title,
        (
            "job (sizes in MiB)",
            "touched",
            "need",
            "charged",
            "RSS",
            "PSS",
            "low",
            "best",
            "high",
            "source",
            "need = charged",
            "best is near",
            "low ≤ need ≤ high",
            "CPU",
            "with --pss off",
        ),
        table,
    )


def mib(kib: int | None) -> str:
    return "–" if kib is None else f"{kib / 1024:,.1f}"


def percent(part: float | None) -> str:
    return "–" if part is None else f"{part:.1%}"


def word(verdict: bool | None) -> str:
    return {None: "–", True: "yes", False: "NO"}[verdict]


def print_counts(rows: Sequence[Row]) -> None:
    """Prints how many jobs pass. Parts of one job are counted once, if all of them pass."""
    questions: dict[str, Callable[[Row], bool | None]] = {
        "the job's count and the control group agree within 2 % or 5 MiB": Row.agrees,
        "best within 10 % or 10 MiB of the need": Row.is_near,
        "need within [low, high]": Row.is_inside,
        "CPU of memwatch ≤ 2 % of the run, ≤ 5 % if it is under 1 s": Row.is_cheap,
        "the same of what it is above the CPU of --pss off": Row.has_cheap_sums,
    }
    table = []
    for text, question in questions.items():
        if all(question(row) is None for row in rows):
            table.append([text, "not measured"])
            continue
        verdicts: dict[str, bool] = {}
        for row in rows:
            job = JOBS[row.name].part_of or row.name
            verdicts[job] = verdicts.get(job, True) and bool(question(row))
        table.append([text, f"{sum(verdicts.values())} of {len(verdicts)}"])
    print_table("In every round:", ("what", "jobs"), table)


def program(name: str) -> str:
    if not (path := shutil.which(name)):
        raise argparse.ArgumentTypeError(f"{name} is no program that can be run")
    return path


def main() -> None:
    arguments = Arguments(__doc__, "one run of each job, without its comparisons")
    arguments.repeats("--rounds", 1, 1)
    arguments.names("--only", JOBS)
    add = arguments.parser.add_argument
    add("--interval", default="10", metavar="TIME", help="as of memwatch run -i, default 10")
    add("--long", action="store_true", help=f"each job keeps its memory for {LONG} s at least")
    add("--memwatch", metavar="PATH", type=program, help="default: the one of this Python")
    chosen = arguments.parse()
    # So that huge pages and files in memory are given back then as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows: list[Row] = []

    def each(name: str) -> object:
        try:
            new = [measure(name, places, chosen) for _ in range(chosen.rounds)]
        except Missing as why:
            print(f"{JOBS[name].title}: skipped, {why}")
            return str(why)
        print(".", end="", file=sys.stderr, flush=True)
        rows.extend(new)
        return [row._asdict() for row in new]

    with folders() as places:
        measure_each(chosen.only, each, chosen, interval=chosen.interval, long=chosen.long)
    print_rows(rows, f"Under `memwatch run -i {chosen.interval}`:")
    print_counts(rows)


if __name__ == "__main__":
    main()
