"""What each process holds over time of what the system cannot simply drop."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.processes import LiveProcess


class FootprintTrack(NamedTuple):
    """The sizes of one process. Each holds until the time of the next, the last one until the
    process's end."""

    times: array[int]
    """Nanoseconds since boot, in ascending order; two may be equal."""
    sizes: array[int]
    """Bytes."""


class FootprintTracks:
    """Collects the sizes: 16 bytes for each change.

    On macOS a size is the physical footprint. On Linux it is what a process holds alone, by the
    best estimate: what forked processes share with their parent is the parent's. Shared memory is
    left out, since it is the same for many.
    """

    def __init__(self) -> None:
        self.changed: set[LiveProcess] = set()
        """Processes whose memory has changed since the last tick."""
        self.by_serial: dict[int, FootprintTrack] = {}

    def add(self, serial: int, time: int, size: int) -> None:
        """Adds a size, if it differs from the one before."""
        track = self.by_serial.get(serial)
        if track is None:
            track = self.by_serial[serial] = FootprintTrack(array("q"), array("q"))
        elif track.sizes[-1] == size:
            return
        track.times.append(time)
        track.sizes.append(size)
