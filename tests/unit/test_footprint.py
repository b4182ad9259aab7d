"""The footprint of a job and its bounds, against a model of memory page by page."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.model.footprint_bounds import (
    ALONE,
    FAULTS,
    ONE_PROCESS,
    PSS_SUM,
    SHARED,
)
from memwatch.model.observations import TICK_DETAILED
from memwatch.model.spikes import Spikes
from support.pages import BIG, PAGE, Machine, change
from support.scripted import MIB, Script


@given(seed=st.integers(0, 1 << 32), ticks=st.integers(2, 40), detailed=st.integers(1, 10))
@settings(max_examples=300, deadline=None)
def test_the_truth_is_between_the_bounds(seed, ticks, detailed):
    rng = random.Random(seed)
    machine = Machine()
    machine.grow(machine.start(), 8 * BIG)
    machine.tick()
    for _ in range(ticks):
        for _ in range(rng.randrange(1, 5)):
            change(machine, rng)
        machine.tick(detailed=rng.randrange(10) < detailed, order=rng)
    bounds = machine.footprint()
    assert bounds.low <= machine.most * PAGE
    assert bounds.high is not None
    assert bounds.high >= machine.most * PAGE
    assert bounds.low <= bounds.best <= bounds.high


def family(size: int, children: int) -> tuple[Machine, list[int]]:
    machine = Machine()
    root = machine.start()
    machine.grow(root, size)
    machine.tick()
    return machine, [machine.fork(root) for _ in range(children)]


def test_children_that_grow_are_counted_to_the_page():
    machine, children = family(75_000, 8)
    machine.tick()
    for child in children:
        machine.grow(child, 5_000)
    machine.tick()
    bounds = machine.footprint()
    truth = (75_000 + 8 * 5_000) * PAGE
    assert (bounds.low, bounds.best, bounds.high) == (truth, truth, truth)
    assert bounds.source == ALONE


def test_copies_on_write_are_bounded_and_estimated_by_faults():
    machine, children = family(75_000, 6)
    machine.tick()
    for child in children:
        machine.write(child, 25_000)
    machine.tick()
    bounds = machine.footprint()
    assert bounds.low == 75_000 * PAGE
    assert bounds.best == bounds.high == (75_000 + 6 * 25_000) * PAGE == machine.most * PAGE
    assert bounds.source == FAULTS


def test_memory_that_is_given_back_and_got_again_is_no_copy():
    machine, children = family(75_000, 4)
    machine.tick()
    for _ in range(3):
        for each in (1, *children):
            machine.grow(each, 5_000)
        machine.tick()
        for each in (1, *children):
            machine.give_back(each, 5_000)
        machine.tick()
    for child in children:
        machine.write(child, 10_000)
    machine.tick()
    bounds = machine.footprint()
    assert bounds.best == machine.most * PAGE == (75_000 + 4 * 10_000) * PAGE
    assert bounds.high is not None
    assert bounds.low < bounds.best < bounds.high
    assert bounds.source == FAULTS


def test_a_relay_of_workers_hands_its_memory_on():
    machine = Machine()
    worker = machine.start()
    machine.start()
    machine.grow(worker, 50_000)
    machine.tick()
    for _ in range(5):
        successor = machine.fork(worker)
        machine.tick()
        if worker != 1:
            machine.exit(worker)
        machine.tick()
        worker = successor
    bounds = machine.footprint()
    assert (bounds.low, bounds.best, bounds.high) == (50_000 * PAGE,) * 3


def test_huge_pages_take_one_fault_for_many_pages():
    machine, (child,) = family(5_000, 1)
    machine.tick()
    machine.grow(child, 20_000)
    machine.faults[child] = 40
    machine.script.huge_faults(20_000)
    machine.tick()
    bounds = machine.footprint()
    assert bounds.low == 25_000 * PAGE
    assert bounds.high is not None
    assert 25_000 * PAGE <= bounds.high <= 25_040 * PAGE


def test_without_faults_only_the_sum_bounds_it():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 100, shared=0).tick()
    script.start(2, parent=1).execute(2, "job", inherited=True).memory(2, 100, shared=0).tick()
    bounds = script.job(finish=False).footprint.finish()
    assert bounds
    assert (bounds.low, bounds.high) == (100 * MIB, 200 * MIB)


@pytest.mark.parametrize("stored", [0, 200])
def test_shared_memory_counts_once_at_best(stored):
    script = Script(size_unit=MIB).start(1, "job").memory(1, 210, shared=205).parts(1, 200)
    for serial in (2, 3):
        script.start(serial, "other", parent=1).memory(serial, 210, shared=205).parts(serial, 200)
    bounds = script.tmpfs(stored).tick(flags=TICK_DETAILED).job(finish=False).footprint.finish()
    assert bounds
    assert bounds.low == bounds.best == (15 + 200) * MIB
    assert bounds.high == (15 + 600 + stored) * MIB
    assert bounds.split
    assert (bounds.split.shmem, bounds.split.stored) == (200 * MIB, 0)


def test_pages_of_files_do_not_count():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 1003, shared=1000)
    bounds = script.tick(flags=TICK_DETAILED).job(finish=False).footprint.finish()
    assert bounds
    assert (bounds.low, bounds.best, bounds.high) == (3 * MIB,) * 3


def test_files_in_memory_swap_and_huge_pages_count():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 10, shared=0)
    script.parts(1, 0, swapped=30, huge=200).tmpfs(500).tick(flags=TICK_DETAILED)
    bounds = script.job(finish=False).footprint.finish()
    assert bounds
    # Swap was read a while ago, perhaps, and files in memory may be another job's.
    assert bounds.low == (10 + 200) * MIB
    assert bounds.best == bounds.high == (10 + 30 + 200 + 500) * MIB
    assert bounds.source == SHARED
    assert bounds.split
    assert bounds.split == (10 * MIB, 500 * MIB, 30 * MIB, 200 * MIB, 500 * MIB)


def test_files_in_memory_count_for_certain_where_the_job_has_written_them():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 10, shared=0)
    script.tmpfs(500, written=400).tick(flags=TICK_DETAILED)
    bounds = script.job(finish=False).footprint.finish()
    assert bounds
    assert bounds.low == (10 + 400) * MIB
    assert bounds.best == bounds.high == (10 + 500) * MIB
    assert bounds.source == SHARED


def test_files_in_memory_may_be_the_shared_memory_of_the_job():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 310, shared=300).parts(1, 300)
    script.tmpfs(400, written=400).tick(flags=TICK_DETAILED)
    bounds = script.job(finish=False).footprint.finish()
    assert bounds
    assert bounds.low == bounds.best == (10 + 400) * MIB
    assert bounds.high == (10 + 300 + 400) * MIB


def test_files_in_memory_that_the_job_has_written_are_all_there_is():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 10, shared=0)
    script.tmpfs(400, written=400).tick(flags=TICK_DETAILED).tmpfs(0).tick(flags=TICK_DETAILED)
    bounds = script.job(finish=False).footprint.finish()
    assert bounds
    assert (bounds.low, bounds.best, bounds.high) == (410 * MIB,) * 3
    assert bounds.source == ALONE


@pytest.mark.parametrize(
    ("stored_before", "best", "source"), [(0, 570, SHARED), (500, 580, PSS_SUM)]
)
def test_a_sum_of_shares_counts_only_where_as_much_was_stored(stored_before, best, source):
    script = Script(size_unit=MIB).start(1, "job").memory(1, 70, shared=0)
    script.start(2, parent=1).execute(2, "job", inherited=True).memory(2, 50, shared=0)
    script.tmpfs(stored_before).tick(flags=TICK_DETAILED).pss(90, footprint=80)
    script.tmpfs(500).tick(flags=TICK_DETAILED)
    bounds = script.job(finish=False).footprint.finish()
    assert bounds
    assert (bounds.best, bounds.source) == (best * MIB, source)


def test_a_peak_between_samples_is_the_best_estimate():
    script = Script(size_unit=MIB).start(1, "job").memory(1, 110, shared=10)
    script.tick(flags=TICK_DETAILED).memory(1, 0, shared=0).final(1, 610).exit(1).tick()
    bounds = script.job().footprint.finish()
    assert bounds
    assert (bounds.low, bounds.best, bounds.source) == (100 * MIB, 600 * MIB, ONE_PROCESS)
    assert bounds.high is not None
    assert bounds.high >= 600 * MIB


def test_spikes_add_up_where_processes_lived_at_one_time():
    spikes = Spikes()
    spikes.add(0, 10, 100 * 1024)
    spikes.add(5, 20, 50 * 1024)
    spikes.add(20, 30, 120 * 1024)
    assert spikes.highest() == 150 * 1024
    assert Spikes().highest() == 0
