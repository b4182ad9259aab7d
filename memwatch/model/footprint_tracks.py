"""Every sample of the physical footprint of each process, which only macOS has."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from memwatch.model.observations import FOOTPRINT, HAS_FOOTPRINT, Batch


class FootprintTrack(NamedTuple):
    """The samples of one process. Each value holds until the time of the next, the last one until
    the process's end."""

    times: array[int]
    """Nanoseconds since boot, in ascending order; two may be equal."""
    sizes: array[int]
    """Bytes."""


class FootprintTracks:
    """Collects the samples."""

    def __init__(self) -> None:
        self.by_serial: dict[int, FootprintTrack] = {}

    def apply(self, batch: Batch) -> None:
        """Collects the samples of a batch."""
        for time, serial, value, _second, kind, valid, _pid, _ppid, _third in batch.records:
            if kind == FOOTPRINT and serial and valid & HAS_FOOTPRINT:
                track = self.by_serial.get(serial)
                if track is None:
                    track = self.by_serial[serial] = FootprintTrack(array("q"), array("q"))
                track.times.append(time)
                track.sizes.append(value)
