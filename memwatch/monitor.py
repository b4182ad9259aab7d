"""The loop: sleeps until there is something to read, applies it, until the job has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from memwatch.observations import Batch

WAKE_ENDED = 2
WAKE_OTHER = 4


class Source(Protocol):
    """What gives observations: `native.Sampler`, or a script in a test."""

    def wait(self, timeout: float | None = None, other_fd: int = -1) -> int: ...
    def read(self) -> Batch: ...


class Accounts(Protocol):
    """What observations are applied to: a `Job`, or a `Guard` of one."""

    def apply(self, batch: Batch) -> None: ...


def watch(
    source: Source,
    accounts: Accounts,
    *,
    other_fd: int = -1,
    on_other: Callable[[], None] = lambda: None,
    on_batch: Callable[[Batch], None] = lambda _batch: None,
    on_wake: Callable[[], None] = lambda: None,
    timeout: Callable[[], float | None] = lambda: None,
) -> Exception | None:
    """Returns when the job's first process has ended and all is applied.

    `on_batch` is called for each batch that was applied, an empty one when there
    was none for as many seconds as `timeout` then says; `on_other` when `other_fd` is readable: the
    command's signals; `on_wake` each time, whatever went wrong.
    An error in applying is returned, not raised: it stops the accounts, but the
    command goes on and its signals with it.
    """
    failure: Exception | None = None
    ended = False
    while not ended:
        reasons = source.wait(timeout(), other_fd)
        ended = bool(reasons & WAKE_ENDED)
        batch = source.read()
        if failure is None:
            try:
                accounts.apply(batch)
                on_batch(batch)
            except Exception as error:
                failure = error
        on_wake()
        if reasons & WAKE_OTHER:
            on_other()
    return failure
