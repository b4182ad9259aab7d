"""Samples the account of a job's control group, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from memwatch.model.account_watch import AccountWatch
from memwatch.model.cgroup_account import CgroupSample, CgroupSpan, History
from memwatch.model.limits import LONGEST_INTERVAL
from memwatch.runner.cgroup_reader import CgroupReader

# A job that has run for a second is sampled at intervals of a twentieth of its age, so that the
# samples of a short job are close enough to its peak.
SHORTEST_GAP = 0.002
GAP_OF_AGE = 0.05

# The CPU time that the thread may use in advance, in seconds.
IN_ADVANCE = 0.02


class Pace(NamedTuple):
    """How often an account is sampled."""

    longest: float
    """Seconds between two samples at most, unless that takes more than `share`."""
    share: float
    """The part of the time that the thread may use."""


# A sample, and to wake for it, takes 0.2 to 0.3 ms of CPU time (Linux 6.18, version 1, a virtual
# machine with 2 cores): 0.3 % of a core at 100 ms, 3 % at 10 ms, and near a limit 11 % at 2 ms, of
# which 5 % are permitted over the whole run.
USUAL = Pace(0.1, 0.005)
WITH_LIMIT = Pace(LONGEST_INTERVAL / 1e9, 0.05)


def gap(age: float, used: float, pace: Pace = USUAL, *, is_near: bool = False) -> float:
    """Returns the seconds to the next sample of a job that has run for `age` seconds, of which the
    samples have used `used`. `is_near`: it may soon exceed its limit."""
    wanted = SHORTEST_GAP if is_near else min(max(age * GAP_OF_AGE, SHORTEST_GAP), pace.longest)
    return max(wanted, (used - IN_ADVANCE) / pace.share - age)


class CgroupSampler:
    """Keeps what matters of the samples of one group."""

    def __init__(
        self, reader: CgroupReader, now: Callable[[], int], watch: AccountWatch | None = None
    ) -> None:
        """`now` returns nanoseconds since boot. `watch` receives what is certain of the footprint,
        for a limit on it."""
        self._reader = reader
        self._now = now
        self._watch = watch
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
        if self._watch:
            self._watch.add(sample.certain(peak), now)
        self._history.add(CgroupSpan(now, sample.footprint, self._reader.take_span_peak()))

    def spans(self) -> tuple[CgroupSpan, ...]:
        """Returns all samples in order, merged where there are many."""
        return self._history.spans()

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._stop.wait(self._gap(time.monotonic() - begin)):
            self.sample()

    def _gap(self, age: float) -> float:
        if not self._watch:
            return gap(age, time.thread_time())
        return gap(age, time.thread_time(), WITH_LIMIT, is_near=self._watch.is_near)
