"""A machine whose memory is modelled page by page, so that what a job needs is known."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable

from memwatch.model.footprint_bounds import FootprintBounds
from memwatch.model.observations import TICK_DETAILED
from support.scripted import MIB, Script

PAGE = 4096


class Machine:
    """Processes with pages, of which every fault is counted: what a kernel does, in small."""

    def __init__(self) -> None:
        self.script = Script(size_unit=PAGE)
        self.pages: dict[int, list[int]] = {}
        """The pages of each live process, by their numbers."""
        self.faults: dict[int, int] = {}
        self.watermarks: dict[int, int] = {}
        self.stored = self.stored_by_others = 0
        """Pages in file systems in memory since the beginning, of the job and of others."""
        self.most = 0
        self.names: dict[int, str] = {}
        """The program of each process."""
        self.parents: dict[int, int] = {}
        self.ticks: defaultdict[int, int] = defaultdict(int)
        """How many ticks each process has seen."""
        self.inherited: set[int] = set()
        """The processes that run the program of their parents."""
        self._numbers = itertools.count()
        self._serials = itertools.count(1)
        self._new_processes: list[int] = []

    def start(self) -> int:
        serial = next(self._serials)
        self.pages[serial] = []
        self.faults[serial] = self.watermarks[serial] = 0
        self.script.start(serial, parent=1 if serial > 1 else None, began=self.script.now)
        self.script.execute(serial, "job")
        self.names[serial], self.parents[serial] = "job", 1 if serial > 1 else 0
        return serial

    def fork(self, parent: int) -> int:
        serial = next(self._serials)
        self.pages[serial] = list(self.pages[parent])
        self.faults[serial] = 0
        self.watermarks[serial] = len(self.pages[serial])
        self.script.start(serial, parent=parent, began=self.script.now)
        self.script.execute(serial, self.names[parent], inherited=True)
        self.names[serial], self.parents[serial] = self.names[parent], parent
        self.inherited.add(serial)
        return serial

    def execute(self, serial: int, name: str = "other") -> None:
        self.pages[serial] = []
        self.watermarks[serial] = 0
        self.script.execute(serial, name)
        self.names[serial] = name
        self.inherited.discard(serial)

    def grow(self, serial: int, pages: int) -> None:
        self.pages[serial] += [next(self._numbers) for _ in range(pages)]
        self.faults[serial] += pages
        self.watermarks[serial] = max(self.watermarks[serial], len(self.pages[serial]))

    def shrink(self, serial: int, pages: int) -> None:
        del self.pages[serial][:pages]

    def give_back(self, serial: int, pages: int) -> None:
        """Frees the last pages that it got."""
        del self.pages[serial][-pages:]

    def write(self, serial: int, pages: int) -> None:
        """Writes to the first pages: those that others have are copied."""
        own = self.pages[serial]
        others = set().union(*(held for other, held in self.pages.items() if other != serial))
        for index in range(min(pages, len(own))):
            if own[index] in others:
                own[index] = next(self._numbers)
                self.faults[serial] += 1

    def exit(self, serial: int) -> None:
        del self.pages[serial]
        self.script.faults(serial, self.faults[serial])
        self.script.exit(serial)

    @property
    def truth(self) -> int:
        """How many pages there are, each counted once."""
        return len(set().union(*self.pages.values())) + self.stored

    def tick(self, *, detailed: bool = True, order: random.Random | None = None) -> None:
        self.most = max(self.most, self.truth)
        serials = list(self.pages)
        if order:
            order.shuffle(serials)
        for serial in serials:
            watermark = self.watermarks[serial] if detailed else None
            self.script.memory(serial, len(self.pages[serial]), watermark, shared=0)
            if detailed:
                self.script.faults(serial, self.faults[serial])
        # Not all files of the job are found.
        found = order.randint(0, self.stored) if order else self.stored
        self.script.tmpfs(self.stored + self.stored_by_others, found)
        self.script.tick(flags=TICK_DETAILED if detailed else 0)
        self.script.now += 1
        for serial in serials:
            self.ticks[serial] += 1

    def footprint(self) -> FootprintBounds:
        bounds = self.script.job(finish=False).footprint.finish()
        assert bounds
        return bounds


# Sizes that the faults of a process are read for.
BIG = 2 * MIB // PAGE


def store(machine: Machine, rng: random.Random) -> None:
    """Stores files in memory, or removes some."""
    machine.stored = rng.choice([0, machine.stored // 2, machine.stored + BIG])
    machine.stored_by_others = rng.choice([0, machine.stored_by_others + 2 * BIG])


def change(machine: Machine, rng: random.Random) -> None:
    """Makes one random change."""
    live = list(machine.pages)
    serial = rng.choice(live)
    pages = rng.randrange(BIG, 4 * BIG)
    changes: list[Callable[[], object]] = [
        lambda: machine.grow(serial, pages),
        lambda: machine.write(serial, pages),
        lambda: machine.shrink(serial, pages),
        lambda: store(machine, rng),
    ]
    if len(live) < 6:
        changes += [lambda: machine.fork(serial)] * 2
    if serial != 1:
        changes += [lambda: machine.exit(serial), lambda: machine.execute(serial)]
    rng.choice(changes)()
    # Without a step, nothing tells whether a fork was before or after an execve.
    machine.script.now += rng.randrange(2)
