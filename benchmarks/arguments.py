"""The command line that the benchmarks share, and what each does with it: measure, print, write."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from programs import is_editable, machine


class Arguments:
    """A parser with `--quick` and `--json FILE`. A benchmark adds its own options to `parser`."""

    def __init__(self, description: str, quick: str = "a first impression") -> None:
        self.parser = argparse.ArgumentParser(description=description.splitlines()[0])
        self.parser.add_argument("--quick", action="store_true", help=quick)
        self.parser.add_argument("--json", metavar="FILE", help="write every single figure to FILE")
        self._repeats: dict[str, tuple[int, int]] = {}

    def repeats(self, flag: str, usual: int, quick: int) -> None:
        """Adds a number of repetitions with its default, and its default with --quick."""
        text = f"default {usual}, with --quick {quick}"
        action = self.parser.add_argument(flag, type=int, metavar="N", help=text)
        self._repeats[action.dest] = (usual, quick)

    def names(self, flag: str, known: Iterable[str]) -> None:
        """Adds a choice of some of these names, separated by commas; by default all."""
        every = list(known)

        def names(text: str) -> list[str]:
            found = text.split(",")
            if unknown := sorted(set(found) - set(every)):
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
            return found

        text = f"some of {','.join(every)}; default all"
        self.parser.add_argument(flag, type=names, default=every, metavar="NAME,...", help=text)

    def parse(self) -> argparse.Namespace:
        chosen = self.parser.parse_args()
        for name, (usual, quick) in self._repeats.items():
            if getattr(chosen, name) is None:
                setattr(chosen, name, quick if chosen.quick else usual)
        return chosen


def measure_each(
    names: Sequence[str],
    measure: Callable[[str], object],
    chosen: argparse.Namespace,
    **facts: object,
) -> None:
    """Says where it measures, measures each, and writes the figures to the file of --json.

    What `measure` returns goes into the file under the name, beside the machine and `facts`.
    """
    figures: dict[str, object] = {"machine": machine(), **facts}
    print(figures["machine"], flush=True)
    if is_editable():
        print("An editable install: Python itself starts about 20 ms later with its import hook.")
    for name in names:
        figures[name] = measure(name)
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")
