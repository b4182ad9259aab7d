"""The loop of a run: it sleeps, reads and applies observations until the job has ended."""

from __future__ import annotations

from typing import Protocol

from memwatch.model.observations import Batch
from memwatch.runner.native import WAKE_ENDED, WAKE_OTHER


class Stream(Protocol):
    """A provider of observations: `native.Sampler`, or a script in a test."""

    def wait(self, timeout: float | None = None, other_fd: int = -1) -> int:
        """Sleeps until there is a reason to go on; returns the reasons, WAKE_* joined by `|`."""

    def read(self) -> Batch:
        """Returns everything observed since the last call."""


class Follower(Protocol):
    """A receiver of observations that also acts each time the loop wakes."""

    def apply(self, batch: Batch) -> None:
        """Receives a batch; it is empty when `timeout` has passed without observations."""

    def on_wake(self) -> None:
        """Runs each time the loop wakes, even after `apply` has failed."""

    def on_signal(self) -> None:
        """Runs when `signal_fd` is readable."""

    @property
    def signal_fd(self) -> int:
        """Descriptor that wakes the loop when it is readable; -1 for none."""

    @property
    def timeout(self) -> float | None:
        """Seconds to sleep at most; None for no limit."""


def follow(stream: Stream, follower: Follower) -> Exception | None:
    """Returns when the job's first process has ended and everything is applied.

    An exception from `apply` is returned, not raised: nothing is applied after it, but the command
    goes on, and signals are still forwarded to it.
    """
    failure: Exception | None = None
    ended = False
    while not ended:
        reasons = stream.wait(follower.timeout, follower.signal_fd)
        ended = bool(reasons & WAKE_ENDED)
        batch = stream.read()
        if failure is None:
            try:
                follower.apply(batch)
            except Exception as error:
                failure = error
        follower.on_wake()
        if reasons & WAKE_OTHER:
            follower.on_signal()
    return failure
