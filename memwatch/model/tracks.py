"""Every memory sample of each process, for charts and for export."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.observations import HAS_RSS, MEMORY, PSS, Batch


class Track(NamedTuple):
    """The samples of one process. Each value holds until the time of the next, the last one until
    the process's end."""

    times: array[int]
    """Nanoseconds since boot, in ascending order; two may be equal."""
    rss: array[int]
    """Bytes."""


class PssSum(NamedTuple):
    """One sum of the proportional set sizes of all processes."""

    time: int
    total: int
    """Bytes."""
    unread: int
    """Number of processes counted with their resident size instead, which is larger."""


class Tracks:
    """Collects the samples: 16 bytes for each change of a process's memory."""

    def __init__(self) -> None:
        self.by_serial: dict[int, Track] = {}
        self.pss: list[PssSum] = []
        """Every sum that was made, in order."""

    def apply(self, batch: Batch) -> None:
        """Collects the samples of a batch."""
        for time, serial, value, second, kind, valid, _pid, _ppid, _third in batch.records:
            if kind == MEMORY and valid & HAS_RSS:
                track = self.by_serial.get(serial)
                if track is None:
                    track = self.by_serial[serial] = Track(array("q"), array("q"))
                track.times.append(time)
                track.rss.append(value)
            elif kind == PSS:
                self.pss.append(PssSum(time, value, second))
