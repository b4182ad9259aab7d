"""File names with parts that differ from run to run and from rank to rank: "out.%h.%r.jsonl"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple


class RunContext(NamedTuple):
    """What distinguishes a run from other runs: host, time, rank."""

    host: str
    pid: int
    realtime: float
    """Seconds since 1970."""
    environment: Mapping[str, str]
    number: int = 1
    """Number of the run, where one command is run several times."""


# Variables in which launchers give a rank: Open MPI, PMIx, MPICH and Intel MPI, Slurm. The order
# matters: an mpirun within a Slurm job leaves the job's own SLURM_PROCID to all its ranks.
_RANK = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")


def expand(template: str, context: RunContext) -> str:
    """Replaces %h host, %r rank, %p process id of memwatch, %j job id, %t start time (UTC), %n
    number of the run, %%.

    Raises ValueError, with the reason and the remedy, for anything else after a "%", and where
    this run has no rank or job id.
    """
    variables = context.environment
    values: dict[str, Callable[[], str]] = {
        "h": lambda: context.host,
        "r": lambda: _variable(variables, _RANK, "%r", "rank: start it with mpirun or srun"),
        "p": lambda: str(context.pid),
        "j": lambda: _variable(variables, _JOB, "%j", "job id: submit it to a batch system"),
        "t": lambda: _date(context.realtime),
        "n": lambda: str(context.number),
        "%": lambda: "%",
    }

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1])
        if not found:
            raise ValueError(
                f"%{match[1]} is not a placeholder: use %h, %r, %p, %j, %t or %n, and %% for a %"
            )
        return found()

    return re.sub("%(.?)", value, template, flags=re.DOTALL)


def _variable(
    variables: Mapping[str, str], names: tuple[str, ...], placeholder: str, remedy: str
) -> str:
    """Returns the first of the variables that is set. Raises ValueError when none is."""
    for name in names:
        if text := variables.get(name):
            # It becomes a part of a file's name, never a path.
            return text.replace("/", "_")
    raise ValueError(
        f"there is no value for {placeholder}: this run has no {remedy}, or leave {placeholder} out"
    )


def _date(realtime: float) -> str:
    import time

    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(realtime))
