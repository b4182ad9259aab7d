"""What the totals of a job do not count: kinds of memory that it may use all the same.

The kinds are the same for every job of a platform, except that the account of a control group of
its own (`--cgroup`) counts more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memwatch.model.footprint_bounds import CONTROL_GROUP
from memwatch.model.sources import DARWIN

if TYPE_CHECKING:
    from memwatch.model.profile import Profile

SWAP = "swap"
HUGE_PAGES = "huge pages"
FILES_IN_MEMORY = "files in tmpfs"
UNMAPPED = "unmapped shared memory"
PAGE_CACHE = "page cache"
KERNEL = "kernel memory"
DEVICES = "device memory"
OTHER_GROUPS = "charged to other groups"
OTHER_PROCESSES = "other processes"

KINDS = (
    *(SWAP, HUGE_PAGES, FILES_IN_MEMORY, UNMAPPED, PAGE_CACHE, KERNEL, DEVICES),
    *(OTHER_GROUPS, OTHER_PROCESSES),
)
"""The kinds of memory that a total may not count.

swap: what is swapped out, on macOS also what is compressed. huge pages: those of hugetlbfs. files
in tmpfs: what the job has stored there and no process maps. unmapped shared memory: other shared
memory that no process maps (memfd, System V). page cache: pages of files that no process maps; for
a footprint, all pages of files. kernel memory: page tables, kernel stacks, socket buffers, slab.
device memory: memory of its own that a device has, such as a GPU. charged to other groups: pages
that another group of processes used first. other processes: those that work for the job and are not
of it, such as a container's daemon or a compile server.
"""


class Uncounted(NamedTuple):
    """The kinds that each total does not count."""

    rss: tuple[str, ...]
    """The totals of RSS and PSS."""
    footprint: tuple[str, ...] | None
    """The best estimate of the footprint; None where there is none."""
    cgroup: tuple[str, ...] | None
    """The peak of the job's own control group; None where there is none."""


def uncounted(profile: Profile) -> Uncounted:
    """Returns what the totals of a profile do not count."""
    return Uncounted(_in_rss(profile), _in_footprint(profile), _in_account(profile))


def _in_rss(profile: Profile) -> tuple[str, ...]:
    if profile.backend == DARWIN:
        return SWAP, UNMAPPED, PAGE_CACHE, KERNEL, DEVICES, OTHER_PROCESSES
    return tuple(kind for kind in KINDS if kind != OTHER_GROUPS)


def _in_footprint(profile: Profile) -> tuple[str, ...] | None:
    bounds, account = profile.footprint, profile.cgroup
    if not bounds:
        return None
    always = (PAGE_CACHE, KERNEL, DEVICES, OTHER_PROCESSES)
    if bounds.source != CONTROL_GROUP or not account or not account.largest:
        return UNMAPPED, *always
    return always if account.largest.swap is not None else (SWAP, *always)


def _in_account(profile: Profile) -> tuple[str, ...] | None:
    account = profile.cgroup
    if not account or account.peak is None:
        return None
    return SWAP, HUGE_PAGES, DEVICES, OTHER_GROUPS, OTHER_PROCESSES
