"""What single processes held of what the kernel cannot simply drop, with its bounds."""

from __future__ import annotations

import pytest

from memwatch.model.observations import TICK_DETAILED
from memwatch.model.processes import PEAK, SAMPLED, SYSTEM, Held
from support.scripted import MIB, Script


def script() -> Script:
    return Script("server", size_unit=MIB, step=1)


def held(story: Script, serial: int = 1) -> Held | None:
    """Returns what a process held, in MiB."""
    found = {process.serial: process for process in story.job().processes}[serial].held
    if found is None:
        return None
    sizes = [None if size is None else size / MIB for size in found[:3]]
    return Held(*sizes, found.source)


def test_files_do_not_count():
    story = script()
    story.start(1, "server").memory(1, 100, shared=60).tick()
    story.memory(1, 150, shared=120).tick().exit(1, 0)
    assert held(story) == Held(40, 40, None, SAMPLED)


def test_shared_memory_swap_and_huge_pages_count():
    story = script()
    story.start(1, "server").memory(1, 100, shared=60)
    story.parts(1, 50, 7, 200).tick(flags=TICK_DETAILED).exit(1, 0)
    assert held(story) == Held(297, 297, None, SAMPLED)


def test_what_was_read_before_is_no_lower_bound():
    """Swap may have come back, and shared memory may have become files."""
    story = script()
    story.start(1, "server").memory(1, 100, shared=60).parts(1, 50).tick(flags=TICK_DETAILED)
    story.memory(1, 160, shared=60).tick()
    story.memory(1, 20, shared=10).tick().exit(1, 0)
    assert held(story) == Held(150, 100, None, SAMPLED)


def test_both_sizes_are_of_one_tick():
    """Shared memory goes, anonymous memory comes: they were never held together."""
    story = script()
    story.start(1, "server").memory(1, 110, shared=100).parts(1, 100).tick(flags=TICK_DETAILED)
    story.memory(1, 110, shared=0).parts(1, 0).tick(flags=TICK_DETAILED).exit(1, 0)
    assert held(story) == Held(110, 110, None, SAMPLED)


def test_an_exact_peak_is_the_upper_bound():
    story = script()
    story.start(1, "server").memory(1, 100, shared=20).parts(1, 0, 5).tick(flags=TICK_DETAILED)
    story.final(1, 100.5).exit(1, 0)
    assert held(story) == Held(85, 85, 105.5, SAMPLED)


def test_a_peak_between_samples_is_the_best_estimate():
    story = script()
    story.start(1, "server").memory(1, 100, shared=20).tick(flags=TICK_DETAILED)
    story.final(1, 300).exit(1, 0)
    assert held(story) == Held(280, 80, 300, PEAK)


def test_what_is_inherited_ends_with_an_exec():
    story = script()
    story.start(1, "server").memory(1, 400, shared=0).tick()
    story.start(2, parent=1).execute(2, "server", inherited=True).memory(2, 400, shared=0).tick()
    story.execute(2, "ls").memory(2, 3, shared=1).tick().exit(2, 0).exit(1, 0)
    assert held(story, 2) == Held(2, 2, None, SAMPLED)


@pytest.mark.parametrize("shared", [None, 0])
def test_unknown_is_not_zero(shared):
    story = script()
    story.start(1, "server").memory(1, 100, shared=shared).tick().exit(1, 0)
    assert held(story) == (None if shared is None else Held(100, 100, None, SAMPLED))


def test_a_process_that_no_sample_saw_has_none():
    story = script()
    story.start(1, "server").final(1, 100).exit(1, 0)
    assert held(story) is None


def test_macos_keeps_it():
    story = script()
    story.start(1, "server").memory(1, 100).footprint(1, 70, 90).tick()
    story.final_footprint(1, 95).exit(1, 0)
    assert held(story) == Held(95, 95, 95, SYSTEM)
    story = script()
    story.start(1, "server").memory(1, 100).footprint(1, 70, 90).tick().exit(1, 0)
    assert held(story) == Held(90, 90, None, SYSTEM)
