"""Tests of what the totals of a job are said not to count."""

from __future__ import annotations

import pytest

from memwatch.model.cgroup_account import CgroupAccount, CgroupSample
from memwatch.model.footprint_bounds import ALONE, CONTROL_GROUP
from memwatch.model.observations import TICK_DETAILED
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, Profile, from_job
from memwatch.model.uncounted import KINDS, uncounted
from support.schema import Schema
from support.scripted import MIB, NO_LIMIT, Script

NEVER = {"device memory", "other processes"}
WITHOUT_ACCOUNT = NEVER | {"page cache", "kernel memory"}


def profile(script: Script, backend: str, account: CgroupAccount | None = None) -> Profile:
    return from_job(
        script.job(finish=False),
        Beginning(("job",), Clock(0, 0), 0, 1, backend),
        Ending(4, 0, Overhead(0, None), NO_LIMIT, cgroup=account),
    )


def split_job() -> Script:
    """A job whose samples tell what is shared, so that it has a footprint."""
    script = Script(size_unit=MIB)
    script.start(1, at=1).memory(1, 10, shared=2)
    return script.tick(flags=TICK_DETAILED)


def account(swap: int | None, huge: int | None = None) -> CgroupAccount:
    largest = CgroupSample(1, 20 * MIB, 0, swap, 0, 0, huge)
    return CgroupAccount(version=2, path="/job", peak=30 * MIB, largest=largest, samples=1)


def test_without_a_control_group() -> None:
    seen = profile(split_job(), "linux")
    assert seen.footprint
    assert seen.footprint.source == ALONE
    missing = uncounted(seen)
    assert set(missing.rss) == set(KINDS) - {"charged to other groups"}
    assert missing.footprint is not None
    assert set(missing.footprint) == WITHOUT_ACCOUNT | {"unmapped shared memory"}
    assert missing.cgroup is None


def test_old_kernels_have_no_footprint() -> None:
    script = Script(size_unit=MIB).start(1, at=1).memory(1, 10).tick(10)
    assert uncounted(profile(script, "linux")).footprint is None


@pytest.mark.parametrize(("swap", "more"), [(0, set()), (None, {"swap"})])
def test_the_account_of_a_control_group_counts_more(swap: int | None, more: set[str]) -> None:
    seen = profile(split_job(), "linux", account(swap))
    assert seen.footprint
    assert seen.footprint.source == CONTROL_GROUP
    missing = uncounted(seen)
    # Without a count of the group, the huge pages of each process are added.
    assert missing.footprint is not None
    assert missing.cgroup is not None
    assert set(missing.footprint) == WITHOUT_ACCOUNT | more
    # Page cache and kernel memory are in the peak of all memory.
    assert set(missing.cgroup) == NEVER | {
        "swap",
        "huge pages",
        "charged to other groups",
    }


@pytest.mark.parametrize("useless", [CgroupAccount("no permission"), CgroupAccount(version=2)])
def test_an_account_that_has_nothing_counts_nothing(useless: CgroupAccount) -> None:
    assert uncounted(profile(split_job(), "linux", useless)) == uncounted(
        profile(split_job(), "linux")
    )


def test_macos() -> None:
    script = Script(size_unit=MIB).start(1, at=1).memory(1, 10).footprint(1, 5, 6)
    missing = uncounted(profile(script.footprints(5, 0).tick(10), "darwin"))
    assert missing.footprint is not None
    assert set(missing.footprint) == WITHOUT_ACCOUNT | {"unmapped shared memory"}
    # The footprint of macOS has what is compressed, which no resident size has.
    assert set(missing.rss) == {*missing.footprint, "swap"}


def test_the_schema_has_the_same_kinds() -> None:
    assert Schema("profile").document["$defs"]["uncounted"]["enum"] == list(KINDS)
