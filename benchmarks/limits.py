"""Measures how soon a job that exceeds a limit gets SIGTERM, and whether a process of it is left.

python benchmarks/limits.py [--quick] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from arguments import Arguments, measure_each
from programs import compile_program, memwatch_command, print_table, spread

INTERVAL_MS = 10
LIMIT_MIB = 100


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


def _run(words: list[object]) -> dict:
    argv = [*memwatch_command(), "run", "--json", "-i", str(INTERVAL_MS), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (10, 11), done.stderr
    return json.loads(done.stdout)


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.repeats("--rounds", 20, 5)
    chosen = arguments.parse()
    with tempfile.TemporaryDirectory() as name:
        program = compile_program("limit_job", name)
        parts = {
            "notice": lambda: part_notice(Path(name), program, chosen.rounds),
            "left": lambda: part_left(program, chosen.rounds),
        }
        measure_each(list(parts), lambda part: parts[part](), chosen, rounds=chosen.rounds)


if __name__ == "__main__":
    main()
