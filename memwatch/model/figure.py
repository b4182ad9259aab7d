"""A size and how far it is known: the one type for the totals of a job."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Bound(Enum):
    """How a figure's size relates to the truth."""

    EXACT = "exact"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    UNKNOWN = "unknown"


class Why(Enum):
    """Why a figure is no more, and no less, than it is."""

    SAMPLED = "the highest of the samples: there may have been more between two of them"
    ONE_PROCESS = "the peak of one process, which is more than any sample of the whole job"
    ALL_EXACT = "every process is in the report, each with its exact peak"
    LOWER_BOUNDS = "some peaks are lower bounds, or some processes may be missing"
    WITH_RSS = "measured at the peak, some processes counted with their RSS, which is more"
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
    """Nanoseconds since boot, of the sample or the peak; None when the bound is UNKNOWN."""

    @property
    def at_peak(self) -> bool:
        """Whether it was measured when the job held most."""
        return self.size is not None and self.why is not Why.ELSEWHERE

    @property
    def comparable(self) -> int | None:
        """The size, where it can stand beside that of another run: measured when the job held most,
        and of nothing but what its name says. None elsewhere."""
        return self.size if self.at_peak and self.why is not Why.WITH_RSS else None


def unknown(why: Why) -> Figure:
    return Figure(None, Bound.UNKNOWN, why)
