"""What is known of a footprint: its bounds and its parts, and how the best estimate is known.

Sizes are bytes.
"""

from __future__ import annotations

from typing import NamedTuple

SYSTEM = "system"


class Parts(NamedTuple):
    """What one process, or the job, holds beside anonymous pages."""

    shmem: int = 0
    """Resident shared memory."""
    swapped: int = 0
    huge: int = 0
    """In huge pages of hugetlbfs."""


NO_PARTS = Parts()

ALONE = "no sharing"
FAULTS = "page faults"
SHARED = "shared memory"
PSS_SUM = "sum of shares"
ONE_PROCESS = "one process"
CONTROL_GROUP = "control group"

FOOTPRINT_SOURCES = (ALONE, FAULTS, SHARED, PSS_SUM, ONE_PROCESS, CONTROL_GROUP, SYSTEM)
"""How the best estimate is known.

no sharing: nothing that matters was shared, so that the bounds are one. page
faults: estimated from the growth and the page faults of forked processes.
shared memory: what processes map of it is taken to be the same, and files in
memory to be the job's. sum of shares: from the proportional shares (PSS) of all
processes. one process: from the peak of a single process, which is more than
any sample of the job. control group: the kernel's account of the job's own
group. system: a sum of what the system charges each process for
(macOS).
"""


class FootprintSplit(NamedTuple):
    """What a footprint consists of."""

    anonymous: int
    shmem: int
    swapped: int
    huge: int
    stored: int
    """Bytes of `shmem` that were stored in file systems in memory and, as far as is known, mapped
    by no process. Others than the job may have stored some of them."""


class FootprintBounds(NamedTuple):
    """The highest footprint of a job: each of the three at its own tick."""

    low: int
    """The job held at least this."""
    best: int
    high: int | None
    """The job held at most this; None where nothing bounds it."""
    time: int
    """Time of the tick at which the best estimate was highest."""
    source: str
    """How the best estimate is known: one of FOOTPRINT_SOURCES."""
    split: FootprintSplit | None
    """The parts of the best estimate; None where they are not known."""


def source_of_estimate(best: int, apart: int, of_families: int, of_parts: int) -> str:
    """Returns how a best estimate between two bounds is known. `apart` is how far apart they are;
    the other two are how much of it is due to forked processes and to shared memory."""
    if apart <= negligible(best):
        return ALONE
    return FAULTS if of_families >= of_parts else SHARED


def negligible(size: int) -> int:
    """Returns the bytes that do not matter beside a size."""
    return max(size // 100, 1 << 20)
