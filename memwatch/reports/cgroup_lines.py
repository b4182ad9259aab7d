"""The lines of the summary on the job's own control group (--cgroup)."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch.model.cgroup_account import CgroupAccount, CgroupSample
from memwatch.model.memory_limit import MACHINE
from memwatch.model.profile import Profile
from memwatch.units import Style, format_duration, format_interval, format_size, printable

_MARGIN = " " * 17

# How close to the limit of the group, in bytes, a peak is at the limit: the kernel charges in
# batches of 64 pages for each CPU.
AT_THE_LIMIT = 1 << 20


def lines(profile: Profile, account: CgroupAccount, bold: Style) -> Iterator[str]:
    """Yields the lines."""
    if account.reason is not None:
        yield f"Control group:   none of its own: {printable(account.reason)}"
        return
    if account.peak is not None:
        size = bold(format_size(account.peak))
        about = "peak of all memory, page cache and kernel included, exact"
        yield f"Control group:   {size}  ({about}{_limited(profile, account.peak)})"
    if account.largest:
        begin = _MARGIN if account.peak is not None else "Control group:   "
        size = bold(f"at least {format_size(account.largest.footprint)}")
        at = f"at {profile.elapsed(account.largest.time):.2f} s"
        yield f"{begin}{size} could not be dropped  ({at}: {_split(account.largest)})"
    yield from _trouble(account)


def _limited(profile: Profile, peak: int) -> str:
    limit = profile.memory_limit
    if limit.source in (None, MACHINE) or limit.limit_bytes is None:
        return ""
    is_reached = limit.limit_bytes - peak < AT_THE_LIMIT
    return "; at its limit: the job may need more" if is_reached else ""


def _split(sample: CgroupSample) -> str:
    parts = [f"{format_size(sample.anon)} anonymous", f"{format_size(sample.shmem)} shared"]
    if sample.swap:
        parts.append(f"{format_size(sample.swap)} swapped")
    if sample.huge:
        parts.append(f"{format_size(sample.huge)} in huge pages")
    return ", ".join(parts)


def _trouble(account: CgroupAccount) -> Iterator[str]:
    """Yields what the job suffered, and what is left of the group."""
    if account.swap_peak:
        yield f"{_MARGIN}up to {format_size(account.swap_peak)} swapped out"
    if account.stall_some:
        some = _time(account.stall_some)
        full = _time(account.stall_full or 0)
        yield f"{_MARGIN}waited for memory for {some}, the whole job at once for {full}"
    if account.remains is not None:
        yield f"{_MARGIN}could not be removed, it is still in use: {printable(account.remains)}"


def _time(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    return (format_interval if seconds < 1 else format_duration)(seconds)
