"""How soon a job that exceeds a limit is told to end, and whether anything of it is left.

python benchmarks/limits.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from programs import compile_program, machine, memwatch_command, print_table, spread

INTERVAL_MS = 10
LIMIT_MIB = 100


def part_notice(directory: Path, program: Path, rounds: int) -> None:
    """From the moment the job held too much to that when SIGTERM came, in both by its own clock."""
    rows = []
    # Of the total only a process without children knows when it is too much.
    for option, children in (("--max-per-proc-rss", 10), ("--max-total-rss", 0)):
        late, overshoot = [], []
        for _ in range(rounds):
            times = directory / "times"
            job = [program, "grow", LIMIT_MIB, times, children]
            report = _run([option, f"{LIMIT_MIB}M", "--", *job])
            crossed, told = map(int, times.read_text().split())
            late.append((told - crossed) / 1e6)
            (breach,) = report["limits"]["exceeded"]
            overshoot.append(breach["size_kib"] / 1024 - LIMIT_MIB)
        within = sum(each <= 2 * INTERVAL_MS for each in late)
        name = f"{option}, {children} children"
        rows.append([name, spread(late, 1), f"{within} of {rounds}", spread(overshoot, 1)])
    print_table(
        f"A job that grows by 1 MiB a ms, -i {INTERVAL_MS}, {rounds} times:",
        ("limit", "ms to SIGTERM", f"<= {2 * INTERVAL_MS} ms", "MiB above it when noticed"),
        rows,
    )


def part_left(program: Path, rounds: int) -> None:
    """Processes of the job that are alive a second after memwatch has ended."""
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
        f"A job that does not want to end, {rounds} times each:",
        ("options", "alive 1 s later, all", "killed", "seconds in all"),
        rows,
    )


def _run(words: list[object]) -> dict:
    argv = [*memwatch_command(), "run", "--json", "-i", str(INTERVAL_MS), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (10, 11), done.stderr
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    rounds = 5 if parser.parse_args().quick else 20
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = compile_program("limit_job", directory)
        part_notice(directory, program, rounds)
        part_left(program, rounds)


if __name__ == "__main__":
    main()
