"""Names of files with parts that differ from run to run and rank to rank: "out.%h.%r.jsonl"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """Where and when a run takes place."""

    host: str
    pid: int
    realtime: float
    """Seconds since 1970."""
    environment: Mapping[str, str]
    number: int = 1
    """Of the run, where one command is run several times."""


# What launchers tell a rank: Open MPI, PMIx, MPICH and Intel MPI, Slurm. In this order: an mpirun
# within a Slurm job leaves that job's own SLURM_PROCID to all its ranks.
_RANK = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")


def expand(template: str, place: Place) -> str:
    """Replaces %h host, %r rank, %p process id of memwatch, %j job id, %t start time (UTC), %n
    number of the run, %%.

    Raises ValueError, with the reason and the remedy, for anything else after a "%", and where
    there is no such thing.
    """
    values: dict[str, Callable[[], str]] = {
        "h": lambda: place.host,
        "r": lambda: _told(place, _RANK, "%r", "rank: start it with mpirun or srun"),
        "p": lambda: str(place.pid),
        "j": lambda: _told(place, _JOB, "%j", "job id: submit it to a batch system"),
        "t": lambda: _date(place.realtime),
        "n": lambda: str(place.number),
        "%": lambda: "%",
    }

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1])
        if not found:
            raise ValueError(
                f"%{match[1]} means nothing: write %h, %r, %p, %j, %t or %n, and %% for a %"
            )
        return found()

    return re.sub("%(.?)", value, template, flags=re.DOTALL)


def _told(place: Place, names: tuple[str, ...], what: str, remedy: str) -> str:
    for name in names:
        if text := place.environment.get(name):
            # It becomes a part of a file's name, never a path.
            return text.replace("/", "_")
    raise ValueError(f"there is nothing for {what}: this run has no {remedy}, or leave {what} out")


def _date(realtime: float) -> str:
    import time

    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(realtime))
