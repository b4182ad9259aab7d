"""Samples the account of a job's control group, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from memwatch.model.cgroup_account import CgroupSample, CgroupSpan, History
from memwatch.runner.cgroup_reader import CgroupReader

# A job that has run for a second is sampled at intervals of a twentieth of its age, so that the
# samples of a short job are close enough to its peak.
SHORTEST_GAP = 0.002
LONGEST_GAP = 0.1
GAP_OF_AGE = 0.05

# The part of the time that the thread may use (0.5 %), and the CPU time that it may use in advance
# (20 ms), in seconds.
SHARE = 0.005
IN_ADVANCE = 0.02


def gap(age: float, used: float) -> float:
    """Returns the seconds to the next sample of a job that has run for `age` seconds, of which the
    samples have used `used`."""
    wanted = min(max(age * GAP_OF_AGE, SHORTEST_GAP), LONGEST_GAP)
    return max(wanted, (used - IN_ADVANCE) / SHARE - age)


class CgroupSampler:
    """Keeps what matters of the samples of one group."""

    def __init__(self, reader: CgroupReader, now: Callable[[], int]) -> None:
        """`now` returns nanoseconds since boot."""
        self._reader = reader
        self._now = now
        self._history = History()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.largest: CgroupSample | None = None
        """The sample with the highest footprint."""
        self.count = 0
        self.peak_time: int | None = None
        """When the first sample at or after the peak of all memory was taken."""
        self._peak = 0

    def start(self) -> None:
        """Starts the thread. Without one, where the system allows no more, the last sample is the
        only one."""
        thread = threading.Thread(target=self._run, name="memwatch-cgroup", daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """Ends the thread, and takes a last sample."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self.sample()

    def sample(self) -> None:
        """Takes a sample."""
        now = self._now()
        sample = self._reader.sample(now)
        if not sample:
            return
        self.count += 1
        if not self.largest or sample.footprint > self.largest.footprint:
            self.largest = sample
        peak = self._reader.peak()
        if peak is not None and peak > self._peak:
            self._peak, self.peak_time = peak, now
        self._history.add(CgroupSpan(now, sample.footprint, self._reader.take_span_peak()))

    def spans(self) -> tuple[CgroupSpan, ...]:
        """Returns all samples in order, merged where there are many."""
        return self._history.spans()

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._stop.wait(gap(time.monotonic() - begin, time.thread_time())):
            self.sample()
