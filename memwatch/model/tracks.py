"""What each process held over time: every sample of it, for drawings and for other programs."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.observations import HAS_RSS, MEMORY, PSS, Batch


class Track(NamedTuple):
    """A value holds from its time to that of the next, the last one to the process's end."""

    times: array[int]
    """Nanoseconds since boot, never falling."""
    rss: array[int]
    """Bytes."""


class PssSum(NamedTuple):
    time: int
    total: int
    """Bytes: the proportional set sizes of all processes added up."""
    unread: int
    """Processes of which the resident size was taken, which is more."""


class Tracks:
    """Collects them: 16 bytes for each time that the memory of a process was seen to change."""

    def __init__(self) -> None:
        self.by_serial: dict[int, Track] = {}
        self.pss: list[PssSum] = []
        """One for each time that it was summed up."""

    def apply(self, batch: Batch) -> None:
        for time, serial, value, second, kind, valid, _pid, _ppid in batch.records:
            if kind == MEMORY and valid & HAS_RSS:
                track = self.by_serial.get(serial)
                if track is None:
                    track = self.by_serial[serial] = Track(array("q"), array("q"))
                track.times.append(time)
                track.rss.append(value)
            elif kind == PSS:
                self.pss.append(PssSum(time, value, second))
