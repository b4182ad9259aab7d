"""A Profile as CSV: a file of processes, and a file of totals over time."""

from __future__ import annotations

import csv
from typing import TextIO

from memwatch.model.filters import Shown
from memwatch.model.processes import UNKNOWN
from memwatch.model.profile import Profile
from memwatch.units import format_date, kib, printable


def write_processes(profile: Profile, shown: Shown, out: TextIO) -> None:
    """Writes one row a process, highest peak first; an unknown peak is an empty field.

    A row is one line: a control character in a command line is written as an escape. (The csv
    module of Python 3.12 and older would not even quote a carriage return.)
    """
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        ("pid", "ppid", "command", "max_rss_kib", "max_rss_mib", "first_seen", "last_seen")
    )
    for process in shown.processes:
        known = process.peak.source != UNKNOWN
        rows.writerow(
            (
                process.pid,
                process.ppid,
                printable(" ".join(process.argv) if process.argv else process.command),
                kib(process.peak.rss) if known else "",
                f"{process.peak.rss / 2**20:.2f}" if known else "",
                _date(profile, process.first_seen),
                _date(profile, process.last_seen),
            )
        )


def write_timeline(profile: Profile, out: TextIO) -> None:
    """Writes one row a tick; an unknown size is an empty field.

    The profile must have been made with its timeline.
    """
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        (
            *("timestamp", "elapsed_seconds", "total_rss_kib", "total_rss_mib", "process_count"),
            *("total_shared_kib", "total_shmem_kib", "total_swapped_kib"),
            "total_footprint_low_kib",
        )
    )
    assert profile.timeline is not None
    for row in profile.timeline.rows():
        parts = (row.shared, row.shmem, row.swapped, row.footprint_low)
        rows.writerow(
            (
                _date(profile, row.time),
                f"{profile.elapsed(row.time):.3f}",
                kib(row.total),
                f"{row.total / 2**20:.2f}",
                row.processes,
                *("" if size is None else kib(size) for size in parts),
            )
        )


def _date(profile: Profile, time: int) -> str:
    return format_date(profile.clock.realtime_at(time))
