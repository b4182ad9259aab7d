"""A size, its bound and the reason for it: the one type for the totals of a job."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Bound(Enum):
    """How the size of a figure relates to the true one."""

    EXACT = "exact"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    BETWEEN = "about"
    UNKNOWN = "unknown"


class Why(Enum):
    """Why a figure has its bound, or why it is unknown."""

    SAMPLED = "the highest of the samples: the job may have held more between two samples"
    ONE_PROCESS = "the peak of one process, which is more than any sample of the whole job"
    ESTIMATED = "the best estimate between what was certainly held and what was held at most"
    ALL_EXACT = "every process is in the report, each with its exact peak"
    LOWER_BOUNDS = "some peaks are lower bounds, or some processes may be missing"
    WITH_RSS = "measured at the peak, with the RSS of some processes in place of their PSS"
    CHANGING = "measured while mappings changed, so that memory may be missing"
    ELSEWHERE = "measured, but not when the job held most"
    UNREADABLE = "the memory could not be read"
    NOT_SEEN = "the job was in no sample"
    NOT_MEASURED = "never measured in this run"


class Figure(NamedTuple):
    """A size with its bound."""

    size: int | None
    """Bytes; None when the bound is UNKNOWN."""
    bound: Bound
    why: Why
    time: int | None = None
    """When the sample was taken or the peak reached, in nanoseconds since boot; None when the
    bound is UNKNOWN."""

    @property
    def source(self) -> str | None:
        """How a total RSS is known, as JSON has it: "sampled" or "one process"; None when it is
        not."""
        if self.size is None:
            return None
        return "one process" if self.why is Why.ONE_PROCESS else "sampled"

    @property
    def at_peak(self) -> bool:
        """Whether it was measured when the job held most."""
        return self.size is not None and self.why is not Why.ELSEWHERE

    @property
    def comparable(self) -> int | None:
        """The size, where it may be compared with that of another run: measured when the job held
        most, and no bound, which has a stand-in for what could not be read or leaves out what moved
        meanwhile. None otherwise."""
        is_bound = self.why in (Why.WITH_RSS, Why.CHANGING)
        return self.size if self.at_peak and not is_bound else None


def unknown(why: Why) -> Figure:
    """Returns a figure without a size."""
    return Figure(None, Bound.UNKNOWN, why)
