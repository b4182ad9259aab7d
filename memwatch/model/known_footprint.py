"""What is known of the footprint of a job that has ended and of its groups, and what that says of a
limit: by its samples, and by the kernel's account of its own control group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from memwatch.model.footprint_bounds import (
    CONTROL_GROUP,
    ONE_PROCESS,
    SYSTEM,
    FootprintBounds,
    FootprintSplit,
)
from memwatch.model.groups import Group
from memwatch.model.job import Job
from memwatch.model.limits import TOTAL_FOOTPRINT, Breach, LimitOutcome

if TYPE_CHECKING:
    from memwatch.model.cgroup_account import CgroupAccount


def total_footprint(job: Job, account: CgroupAccount | None) -> FootprintBounds | None:
    """Returns the highest footprint of a job that has ended; None when none is known. `account` is
    that of its own control group."""
    if peak := job.footprint_peak:
        return FootprintBounds(peak.total, peak.total, None, peak.time, SYSTEM, None)
    bounds = job.footprint.finish()
    return _by_account(bounds, account) if bounds and account else bounds


def _by_account(bounds: FootprintBounds, account: CgroupAccount) -> FootprintBounds:
    """Returns the bounds that follow with the kernel's account of the job's own group, which may
    know nothing of the huge pages of hugetlbfs."""
    largest, sampled = account.largest, account.footprint_low
    if largest is None or sampled is None:
        return bounds
    huge = bounds.split.huge if bounds.split else 0
    high = bounds.high
    if account.footprint_high is not None:
        charged = account.footprint_high + huge
        high = charged if high is None else min(high, charged)
    if largest.huge is None:
        sampled += huge
    if high is not None:
        # The account has also what was stored where no process of memwatch can see it: in a file
        # system that only the job has mounted.
        high = max(high, sampled)
    # The estimate by page faults is less certain than the sample of the account.
    best = max(sampled, bounds.best if bounds.source == ONE_PROCESS else bounds.low)
    if high is not None:
        best = min(best, high)
    low = min(max(sampled, bounds.low), best)
    split = FootprintSplit(largest.anon, largest.shmem, largest.swap or 0, largest.huge or huge, 0)
    is_split = sum(split[:4]) == best  # the last is a part of another
    return FootprintBounds(
        low, best, high, largest.time, CONTROL_GROUP, split if is_split else None
    )


def within(groups: Iterable[Group], total: FootprintBounds | None) -> tuple[Group, ...]:
    """Returns groups, none of which has held more than the whole job."""
    return tuple(group._replace(footprint=_part_of(group.footprint, total)) for group in groups)


def _part_of(
    bounds: FootprintBounds | None, total: FootprintBounds | None
) -> FootprintBounds | None:
    if not bounds or not total or total.high is None or bounds.high is None:
        return bounds
    high = max(bounds.low, min(bounds.high, total.high))
    return bounds._replace(best=min(bounds.best, high), high=high)


def judged(
    outcome: LimitOutcome | None, bounds: FootprintBounds | None, job: Job
) -> LimitOutcome | None:
    """Returns what became of the limits, where the account decides on that on the footprint: it was
    exceeded unnoticed, or kept where the samples have left that open."""
    if not outcome or not bounds or bounds.source != CONTROL_GROUP:
        return outcome
    allowed = outcome.limits.total_footprint
    breaches = outcome.breaches
    if allowed is None or any(each.limit == TOTAL_FOOTPRINT for each in breaches):
        return outcome
    if bounds.low > allowed:
        breaches = (*breaches, _late_breach(allowed, bounds, job))
    elif bounds.high is None or bounds.high > allowed:
        return outcome
    left = tuple(name for name in outcome.inconclusive if name != TOTAL_FOOTPRINT)
    return replace(outcome, breaches=breaches, inconclusive=left)


def _late_breach(allowed: int, bounds: FootprintBounds, job: Job) -> Breach:
    """Returns a breach that was found when the job had ended."""
    at = bounds.time
    alive = sum(each.first_seen <= at <= each.last_seen for each in job.processes)
    return Breach(
        TOTAL_FOOTPRINT, allowed, bounds.low, at, alive, None, None, None, (), by_account=True
    )
