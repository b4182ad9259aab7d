"""The memory limit that applied to a job, and the OOM kills while it ran. Sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass

CGROUP_V2 = "cgroup v2"
CGROUP_V1 = "cgroup v1"
MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The tightest memory limit that applied to a job. None means unknown, unless a field says
    otherwise."""

    limit_bytes: int | None
    """The tightest of the limits of every control group from the job's to the root, and of the
    memory that the machine has."""
    source: str | None
    """What sets the limit: CGROUP_V2, CGROUP_V1 or MACHINE; None when limit_bytes is None."""
    path: str | None
    """Folder of the control group that sets it; None for the machine, and for a control group
    that cannot be seen from here (a container's parent)."""
    usage_bytes: int | None
    """What that control group, or the machine, held just before the job began."""
    oom_kills: int | None
    """Processes that the OOM killer ended in the job's control group during the run. Processes of
    that group that are not of the job also count, unless the job had a group of its own."""
    machine_oom_kills: int | None
    """Processes that the OOM killer ended on the whole machine, for any reason."""

    def headroom(self, peak: int) -> int | None:
        """Returns how much more than `peak` the limit allows; negative when shared pages were
        counted more than once."""
        return None if self.limit_bytes is None else self.limit_bytes - peak
