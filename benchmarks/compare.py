"""Measures how often `memwatch compare` is right, on real runs and on simulated noise.

python benchmarks/compare.py [--quick] [--parts real,noise] [--jobs data,pool,loose] [--json FILE]

Real runs: sets of 5 runs of a program are compared with sets of 5 of the same program, and of the
same program with 10 % more memory. Simulated noise: how often the interval of two sets from one
distribution excludes zero, which must be rare whatever the distribution.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from arguments import Arguments, measure_each
from programs import memwatch_command, print_table, spread

RUNS = 5
MORE = 1.1

# Words of random length in a dictionary, and lists: the memory of a program whose input differs by
# some 2 % from run to run.
DATA = """
import random, sys
size = int(200_000 * float(sys.argv[1]) * random.gauss(1, 0.02))
words = {}
for _ in range(size):
    words[random.random()] = "x" * random.randrange(200)
rows = [[random.random()] * random.randrange(16) for _ in range(size // 3)]
rows.sort(key=len)
"""

# Four workers, each with some 40 MiB of its own, that hold it until all have finished.
POOL = """
import random, subprocess, sys
part = '''
import random, sys
kept = [bytearray(random.randrange(1, 20_000)) for _ in range(int(4_000 * float(sys.argv[1])))]
print("done", flush=True)
sys.stdin.read()
'''
command = [sys.executable, "-c", part, sys.argv[1]]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
workers = [subprocess.Popen(command, **pipes) for _ in range(4)]
for worker in workers:
    worker.stdout.readline()
for worker in workers:
    worker.communicate()
"""

# The same, but each ends by itself: on a busy machine one may end before the last begins.
LOOSE = """
import random, subprocess, sys
part = '''
import random, sys, time
kept = [bytearray(random.randrange(1, 20_000)) for _ in range(int(4_000 * float(sys.argv[1])))]
time.sleep(random.uniform(0.2, 0.3))
'''
command = [sys.executable, "-c", part, sys.argv[1]]
for worker in [subprocess.Popen(command) for _ in range(4)]:
    worker.wait()
"""

JOBS = {"data": DATA, "pool": POOL, "loose": LOOSE}


def part_real(directory: Path, chosen: argparse.Namespace) -> object:
    sets = 4 if chosen.quick else 20
    rows, spreads = [], []
    for name in chosen.jobs:
        script = directory / f"{name}.py"
        script.write_text(JOBS[name])
        base_need = _need(script, 1.0)
        # The whole total has to grow, not only the part that the script adds to a bare interpreter.
        scale = _scale(script, base_need * MORE)
        more = _need(script, scale) / base_need - 1
        same: Counter[str] = Counter()
        grown: Counter[str] = Counter()
        spans = []
        for number in range(sets):
            # In turn, so that other work of the machine affects all three alike.
            files: dict[str, list[str]] = {"base": [], "same": [], "more": []}
            for turn in range(RUNS):
                order = random.Random(1000 * number + turn).sample(sorted(files), 3)
                for kind in order:
                    path = str(directory / f"{kind}.{turn}.json")
                    _profile(script, scale if kind == "more" else 1.0, path)
                    files[kind].append(path)
            totals = [
                json.loads(Path(path).read_text())["max_total_rss_kib"] for path in files["base"]
            ]
            spans.append(100 * (max(totals) - min(totals)) / median(totals))
            same[_compare(files["base"], files["same"])] += 1
            grown[_compare(files["base"], files["more"])] += 1
        for kind, verdicts in (("the same", same), (f"{more:.1%} more", grown)):
            text = ", ".join(f"{verdict} {many}" for verdict, many in verdicts.most_common())
            rows.append([f"{name}, {kind}", str(sets), str(verdicts["regression"]), text])
        spreads.append([name, spread(spans, 1)])
    print_table(
        f"Two sets of {RUNS} runs at -i 10:",
        ("job and candidate", "comparisons", "regression", "verdicts"),
        rows,
    )
    print_table(
        "Range of the 5 runs of a base, % of their median:",
        ("job", "median (least – most)"),
        spreads,
    )
    return {"verdicts": rows, "ranges": spreads}


def _profile(script: Path, scale: float, path: str) -> dict[str, object]:
    words = ["run", "--json", "-i", "10", "--", sys.executable, str(script), str(scale)]
    with open(path, "w", encoding="utf-8") as out:
        subprocess.run([*memwatch_command(), *words], check=True, stdout=out)
    document: dict[str, object] = json.loads(Path(path).read_text())
    return document


def _need(script: Path, scale: float) -> float:
    """Returns the median total in KiB."""
    path = str(script.with_suffix(".json"))
    totals = [_profile(script, scale, path)["max_total_rss_kib"] for _ in range(RUNS)]
    return median(float(str(total)) for total in totals)


def _scale(script: Path, wanted: float) -> float:
    """Returns the scale with which the script needs so much; its need grows linearly."""
    step = 0.2
    at_one, above = _need(script, 1.0), _need(script, 1 + step)
    return 1 + step * (wanted - at_one) / (above - at_one)


def _compare(base: Sequence[str], candidate: Sequence[str]) -> str:
    words = ["compare", "--json", "--base", *base, "--candidate", *candidate]
    done = subprocess.run([*memwatch_command(), *words], check=False, capture_output=True)
    verdict: str = json.loads(done.stdout)["verdict"]
    if done.returncode != (verdict == "regression"):
        sys.exit(f"exit code {done.returncode} with the verdict {verdict}")
    return verdict


# Simulated noise, relative to the size of the job.
def _noises(pick: random.Random) -> dict[str, Callable[[], float]]:
    def two_levels(chance: float, step: float) -> Callable[[], float]:
        return lambda: 1 + step * (pick.random() < chance) + 0.005 * pick.gauss(0, 1)

    return {
        "constant": lambda: 1.0,
        "normal, 1 %": lambda: 1 + 0.01 * pick.gauss(0, 1),
        "normal, 10 %": lambda: 1 + 0.1 * pick.gauss(0, 1),
        "skewed: log-normal, 2 %": lambda: 1 + 0.02 * pick.lognormvariate(0, 1),
        "skewed: log-normal, 30 %": lambda: pick.lognormvariate(0, 0.3),
        "two levels, 20 % apart, even": two_levels(0.5, 0.2),
        "two levels, 30 % apart, 1 in 5": two_levels(0.2, 0.3),
    }


def part_noise(_directory: Path, chosen: argparse.Namespace) -> object:
    from memwatch.analysis.comparison import Verdict, judge
    from memwatch.analysis.thresholds import DEFAULT

    trials = 500 if chosen.quick else 10_000
    rows = []
    for sizes in ((5, 5), (4, 4), (3, 3), (5, 3), (10, 10)):
        for name, draw in _noises(random.Random(sum(sizes))).items():
            above, alarms, found, level = 0, 0, 0, 0.0
            for _ in range(trials):
                base, candidate = (
                    [round(2**30 * draw()) for _ in range(number)] for number in sizes
                )
                same = judge("", base, candidate, DEFAULT, gates=True)
                grown = judge("", base, [round(MORE * x) for x in candidate], DEFAULT, gates=True)
                assert same.interval
                level = same.interval.level
                above += same.interval.low > 0
                alarms += same.verdict is Verdict.REGRESSION
                found += grown.verdict is Verdict.REGRESSION
            shares = [f"{100 * many / trials:.2f}" for many in (above, alarms)]
            sets = f"{sizes[0]} and {sizes[1]}"
            rows.append([f"{sets}, {name}", f"{level:.0%}", *shares, f"{100 * found / trials:.1f}"])
    print_table(
        f"Two sets from one distribution, and 10 % more, {trials:,} trials each:",
        ("runs and noise", "confidence", "above zero %", "regression %", "of 10 % more %"),
        rows,
    )
    return rows


PARTS = {"real": part_real, "noise": part_noise}


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.names("--parts", PARTS)
    arguments.names("--jobs", JOBS)
    chosen = arguments.parse()
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        measure_each(chosen.parts, lambda part: PARTS[part](Path(name), chosen), chosen)


if __name__ == "__main__":
    main()
