"""The footprint of each group and its bounds, against a model of memory page by page."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.model.footprint_bounds import ALONE, FAULTS, ONE_PROCESS, SHARED, SYSTEM
from memwatch.model.groups import COMMAND, PARENT, Group
from memwatch.model.observations import TICK_DETAILED
from support.pages import BIG, PAGE, Machine, change
from support.scripted import MIB, Script


def groups_of(script: Script, by: str = COMMAND) -> dict[str, Group]:
    return {group.name: group for group in script.job(group_by=by).groups()}


class Truth:
    """The most pages that each group had at a tick."""

    def __init__(self, machine: Machine, by: str) -> None:
        self.machine = machine
        self.by = by
        self.at_most: defaultdict[str, int] = defaultdict(int)
        """With processes that may not count in their group yet."""
        self.at_least: defaultdict[str, int] = defaultdict(int)
        """Without those."""

    def key(self, serial: int) -> str:
        if self.by == COMMAND:
            return self.machine.names[serial]
        return f"(pid {100 + self.machine.parents[serial]})"

    def note(self) -> None:
        """Notes what the groups have, after a tick."""
        machine = self.machine
        new = {serial for serial in machine.inherited if machine.ticks[serial] <= 1}
        for most, serials in (
            (self.at_most, machine.pages.keys()),
            (self.at_least, machine.pages.keys() - new),
        ):
            pages: defaultdict[str, set[int]] = defaultdict(set)
            for serial in serials:
                pages[self.key(serial)].update(machine.pages[serial])
            for name, each in pages.items():
                most[name] = max(most[name], len(each))


@given(
    seed=st.integers(0, 1 << 32),
    ticks=st.integers(2, 40),
    detailed=st.integers(1, 10),
    by=st.sampled_from([COMMAND, PARENT]),
)
@settings(max_examples=300, deadline=None)
def test_the_truth_is_between_the_bounds(seed, ticks, detailed, by):
    rng = random.Random(seed)
    machine = Machine()
    truth = Truth(machine, by)
    machine.grow(machine.start(), 8 * BIG)
    machine.tick()
    truth.note()
    for _ in range(ticks):
        for _ in range(rng.randrange(1, 5)):
            change(machine, rng)
        machine.tick(detailed=rng.randrange(10) < detailed, order=rng)
        truth.note()
    groups = groups_of(machine.script, by)
    for name in truth.at_most:
        found = [group for key, group in groups.items() if key.endswith(name)]
        if not found:
            continue
        bounds = found[0].footprint
        if bounds is None:
            assert not truth.at_least[name]
            continue
        assert bounds.low <= truth.at_most[name] * PAGE
        assert bounds.high is not None
        assert bounds.high >= truth.at_least[name] * PAGE
        assert bounds.low <= bounds.best <= bounds.high


def test_processes_that_share_nothing_add_up():
    script = Script(size_unit=MIB).start(1, "make").memory(1, 3, shared=2)
    script.start(2, "cc1", parent=1).memory(2, 60, shared=20)
    script.start(3, "cc1", parent=1).memory(3, 90, shared=20).tick(flags=TICK_DETAILED)
    groups = groups_of(script)
    assert groups["make"].footprint == (1 * MIB, 1 * MIB, 1 * MIB, 0, ALONE, None)
    assert groups["cc1"].footprint == (110 * MIB, 110 * MIB, 110 * MIB, 0, ALONE, None)


def pool(by: str) -> dict[str, Group]:
    machine = Machine()
    root = machine.start()
    machine.grow(root, 75_000)
    machine.tick()
    children = [machine.fork(root) for _ in range(8)]
    machine.tick()
    for child in children:
        machine.grow(child, 5_000)
    machine.tick()
    return groups_of(machine.script, by)


def test_forked_processes_count_what_they_share_once():
    truth = (75_000 + 8 * 5_000) * PAGE
    (group,) = pool(COMMAND).values()
    assert group.footprint
    assert group.footprint[:3] == (truth, truth, truth)
    assert group.footprint.source == ALONE


def test_what_was_inherited_from_another_group_counts_once():
    group = pool(PARENT)["job (pid 101)"]
    bounds = group.footprint
    assert bounds
    assert bounds.low == 80_000 * PAGE
    assert bounds.best == (75_000 + 8 * 5_000) * PAGE
    # Each may have kept another state of the pages of their parent.
    assert bounds.high == 8 * 80_000 * PAGE
    assert bounds.source == FAULTS


def test_shared_memory_counts_once_in_each_group():
    script = Script(size_unit=MIB).start(1, "one").memory(1, 210, shared=205).parts(1, 200)
    for serial in (2, 3):
        script.start(serial, "two", parent=1).memory(serial, 210, shared=205)
        script.parts(serial, 200, swapped=3, huge=4)
    groups = groups_of(script.tick(flags=TICK_DETAILED))
    assert groups["one"].footprint == (205 * MIB, 205 * MIB, 205 * MIB, 0, ALONE, None)
    bounds = groups["two"].footprint
    assert bounds
    assert (bounds.low, bounds.best) == ((10 + 200 + 4) * MIB, (10 + 200 + 6 + 8) * MIB)
    assert bounds.high == (10 + 400 + 6 + 8) * MIB
    assert bounds.source == SHARED


def test_a_peak_between_samples_is_the_best_estimate():
    script = Script(size_unit=MIB).start(1, "make").memory(1, 3, shared=0)
    script.start(2, "cc1", parent=1).memory(2, 60, shared=20).tick(flags=TICK_DETAILED)
    script.final(2, 500).exit(2).tick(flags=TICK_DETAILED)
    bounds = groups_of(script)["cc1"].footprint
    assert bounds
    assert (bounds.low, bounds.best, bounds.high) == (40 * MIB, 480 * MIB, 480 * MIB)
    assert bounds.source == ONE_PROCESS


def test_a_group_without_samples_has_no_footprint():
    script = Script(size_unit=MIB).start(1, "make").memory(1, 3, shared=0).tick()
    script.start(2, "true", parent=1).final(2, 2).exit(2).tick()
    groups = groups_of(script)
    assert groups["true"].footprint is None
    assert groups["make"].footprint


def test_without_a_split_no_footprint_is_known():
    script = Script(size_unit=MIB).start(1, "make").memory(1, 3).tick()
    assert groups_of(script)["make"].footprint is None


def test_the_footprints_of_the_system_add_up():
    script = Script(size_unit=MIB).start(1, "make").memory(1, 3).footprint(1, 2)
    script.start(2, "cc1", parent=1).memory(2, 60).footprint(2, 40)
    script.start(3, "cc1", parent=1).memory(3, 60).footprint(3, 30).tick()
    bounds = groups_of(script)["cc1"].footprint
    assert bounds == (70 * MIB, 70 * MIB, None, 0, SYSTEM, None)
