"""What `memwatch doctor` found out: the system, its memory, and the errno of each source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memwatch.model.sources import Facts, Refusal, Source, why_not


@dataclass(frozen=True, slots=True)
class System:
    """What `run` relies on besides the sources of model/sources.py. None is unknown."""

    kernel: str
    """As uname(2) gives it, like the next two."""
    release: str
    product: str | None
    """The name of the whole system, "macOS 14.5"; None where only the kernel has a name."""
    machine: str
    cpus: int | None
    page_size: int
    children_lists: bool
    """Whether /proc lists the children of a process."""
    pss: bool
    """Whether /proc/PID/smaps_rollup can be read."""
    pidfd: bool
    subreaper: bool
    """Whether orphans can be kept in the job."""
    hidepid: str | None
    """The mount option of /proc that hides other users' processes, where it is set."""
    open_files: tuple[int | None, int | None]
    """Soft and hard limit; None: no limit."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Limits and use, in bytes. None is unknown, or that there is none."""

    total: int | None = None
    """Of the machine, like the next."""
    available: int | None = None
    cgroup_version: int | None = None
    """None: in no control group that is visible; the fields below are None then."""
    cgroup: str | None = None
    usage: int | None = None
    limit: int | None = None
    limit_folder: str | None = None
    limit_usage: int | None = None
    throttled_at: int | None = None
    oom_kills: int | None = None
    machine_oom_kills: int | None = None
    own_group: str | None = None
    """Folder in which `run --cgroup` makes a group for a job; None where it cannot."""
    own_group_refusal: Refusal | None = None
    """Why it cannot; None where it can, and where the system has no control groups."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """Everything that `memwatch doctor` reports."""

    version: str
    target: str
    backend: str
    errors: Mapping[int, int]
    """The errno of each source's probe: 0 where the source works."""
    facts: Facts
    system: System
    memory: Memory

    @property
    def imprecise_rss(self) -> bool:
        """Whether RSS is imprecise: between Linux 6.2 (f1a7941243c1) and 6.16 the kernel reads it
        without what each CPU has not added up yet."""
        kernel = self.facts.kernel
        return kernel is not None and (6, 2) <= kernel < (6, 16)

    def refusal(self, source: Source) -> Refusal | None:
        """Returns why a source does not work here; None where it does."""
        return why_not(source.number, self.errors.get(source.number, 0), self.facts)
