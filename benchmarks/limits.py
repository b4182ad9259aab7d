"""Measures how soon a job that exceeds a limit gets SIGTERM, how far a job gets that resists, and
whether an innocent job is ended.

python benchmarks/limits.py [--quick] [--rounds N] [--runs N] [--parts NAME,...] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arguments import Arguments, measure_each
from programs import HERE, compile_program, memwatch_command, print_table, spread

INTERVAL_MS = 10
LIMIT_MIB = 100

CHURN_MIB = 200
CHURN_LIMIT_MIB = 250
"""The job holds 200 MiB, 4 MiB in each of 5 processes, and its programs: 221 to 226 MiB."""
CHURN_MS = 3000

RUSH_LIMIT_MIB = 500


def part_notice(directory: Path, program: str, rounds: int) -> object:
    """Measures from the moment of too much memory to SIGTERM, both by the job's own clock."""
    rows = []
    # Only a job of one process knows when its total is too much.
    for option, children in (("--max-per-proc-rss", 10), ("--max-total-rss", 0)):
        late, overshoot = [], []
        for _ in range(rounds):
            times = directory / "times"
            job = [program, "grow", LIMIT_MIB, times, children]
            report = _run([option, f"{LIMIT_MIB}M", "--", *job])
            crossed, ended = map(int, times.read_text().split())
            late.append((ended - crossed) / 1e6)
            (breach,) = report["limits"]["exceeded"]
            overshoot.append(breach["size_kib"] / 1024 - LIMIT_MIB)
        within = sum(each <= 2 * INTERVAL_MS for each in late)
        name = f"{option}, {children} children"
        rows.append([name, spread(late, 1), f"{within} of {rounds}", spread(overshoot, 1)])
    print_table(
        f"A job that grows by 1 MiB per ms, -i {INTERVAL_MS}, {rounds} times:",
        ("limit", "ms to SIGTERM", f"<= {2 * INTERVAL_MS} ms", "MiB above it when noticed"),
        rows,
    )
    return rows


def part_left(program: str, rounds: int) -> object:
    """Counts the processes of the job that are alive a second after memwatch has ended."""
    rows = []
    for options in ([], ["--sources", "none"], ["--exact", "--sources", "none"]):
        left, killed, took = [], [], []
        for _ in range(rounds):
            begun = time.monotonic()
            words = [*options, "--max-total-rss", f"{LIMIT_MIB}M", "--kill-after", "500ms"]
            report = _run([*words, "--", program, "stubborn", LIMIT_MIB])
            took.append(time.monotonic() - begun)
            time.sleep(1)
            found = subprocess.run(
                ["pgrep", "-c", "-f", f"^{program} stubborn"],
                capture_output=True,
                text=True,
                check=False,
            )
            left.append(int(found.stdout))
            killed.append(len(report["limits"]["killed_pids"]))
        name = " ".join(options) or "default"
        rows.append([name, str(sum(left)), spread(killed, 0), spread(took, 2)])
    print_table(
        f"A job that resists its end, {rounds} times each:",
        ("options", "alive 1 s later, total", "killed", "seconds until memwatch ended"),
        rows,
    )
    return rows


def part_innocent(churn: str, runs: int) -> object:
    """Counts the jobs that are ended although they hold a tenth less than their limit."""
    rows = []
    for options in (
        ["--max-total-pss", f"{CHURN_LIMIT_MIB}M"],
        ["--max-total-pss", f"{CHURN_LIMIT_MIB}M", "--pss", "always"],
        ["--max-total-footprint", f"{CHURN_LIMIT_MIB}M"],
        ["--cgroup", "--max-total-footprint", f"{CHURN_LIMIT_MIB}M"],
    ):
        ended = unsure = 0
        for _ in range(runs):
            report = _report([*options, "--", churn, 5, CHURN_MIB, CHURN_MS])
            ended += bool(report["limits"]["exceeded"])
            unsure += bool(report["limits"]["inconclusive"])
        rows.append([" ".join(options), str(runs), str(ended), str(unsure)])
    print_table(
        f"Five processes that map and unmap {CHURN_MIB} MiB of shared memory:",
        ("options", "runs", "ended", "inconclusive"),
        rows,
    )
    return rows


def part_guilty(directory: Path, program: str, runs: int) -> object:
    """Measures how much a job holds at last, by its own account, that grows by a GiB per second
    and ignores SIGTERM."""
    rows = []
    for option in (
        *("--max-total-rss", "--max-total-footprint", "--max-total-pss"),
        "--cgroup --max-total-footprint",
    ):
        stored = ("shm",) if option.endswith("--max-total-footprint") else ()
        for how in ("one", "forks", "daemon", "child", *stored):
            above = []
            for _ in range(runs):
                account = directory / "account"
                words = [*option.split(), f"{RUSH_LIMIT_MIB}M", "--", program, "rush", how, account]
                report = _report([*words, RUSH_LIMIT_MIB * 6])
                assert report["limits"]["exceeded"], report["limits"]
                held = int.from_bytes(account.read_bytes(), sys.byteorder) / 2**20
                above.append(held - RUSH_LIMIT_MIB)
            most = max(RUSH_LIMIT_MIB / 10, 1024 / 10)
            within = sum(each <= most for each in above)
            rows.append([f"{option}, {how}", spread(above, 0), f"{within} of {runs}"])
    print_table(
        f"A job that grows by 1 GiB/s and ignores SIGTERM, limit {RUSH_LIMIT_MIB} MiB, no other "
        "options:",
        ("limit, job", "MiB above it at last", "<= 10 % or 100 ms"),
        rows,
    )
    return rows


def _report(words: list[object]) -> dict:
    """Runs memwatch with its defaults."""
    argv = [*memwatch_command(), "run", "--json", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 10), done.stderr
    return json.loads(done.stdout)


def _run(words: list[object]) -> dict:
    argv = [*memwatch_command(), "run", "--json", "-i", str(INTERVAL_MS), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (10, 11), done.stderr
    return json.loads(done.stdout)


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.repeats("--rounds", 20, 5)
    arguments.repeats("--runs", 20, 3)
    arguments.names("--parts", ("notice", "left", "innocent", "guilty"))
    chosen = arguments.parse()
    with tempfile.TemporaryDirectory() as name:
        program = compile_program("limit_job", name)
        churn = compile_program("churn", name, HERE.parent / "tests" / "programs")
        parts = {
            "notice": lambda: part_notice(Path(name), program, chosen.rounds),
            "left": lambda: part_left(program, chosen.rounds),
            "innocent": lambda: part_innocent(churn, chosen.runs),
            "guilty": lambda: part_guilty(Path(name), program, chosen.runs),
        }
        measure_each(chosen.parts, lambda part: parts[part](), chosen, rounds=chosen.rounds)


if __name__ == "__main__":
    main()
