"""OpenMetrics text, which is also valid in the text format of Prometheus.

All metrics are gauges without a time, as the textfile collector of node_exporter requires. Unknown
values are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from memwatch.analysis import wording
from memwatch.exports.known import duration, footprint_bounds
from memwatch.exports.text import job_name, utf8
from memwatch.model.groups import Group
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import unicode_text
from memwatch.version import __version__

# Each value of a label becomes a series of its own in the database.
MOST_PROGRAMS = 20

Labels: TypeAlias = dict[str, str]


class Metric(NamedTuple):
    """A metric and its values, each with its labels."""

    name: str
    """Ends in the unit, if there is one."""
    unit: str
    help: str
    values: list[tuple[Labels, float | None]]


def export(results: Results) -> Iterator[bytes]:
    """Yields the file."""
    return utf8(_lines(results))


def _lines(results: Results) -> Iterator[str]:
    job = {"command": job_name(results.profile.command)}
    for metric in (*_job(results), *_processes(results.profile), *_accuracy(results.profile)):
        known = [(labels, value) for labels, value in metric.values if value is not None]
        if not known:
            continue
        name = f"memwatch_{metric.name}"
        yield f"# HELP {name} {metric.help}\n# TYPE {name} gauge\n"
        if metric.unit:
            yield f"# UNIT {name} {metric.unit}\n"
        for labels, value in known:
            pairs = ",".join(f'{key}="{_escape(text)}"' for key, text in {**job, **labels}.items())
            yield f"{name}{{{pairs}}} {value}\n"
    yield "# EOF\n"


def _job(results: Results) -> Iterator[Metric]:
    profile = results.profile
    limit = profile.memory_limit
    footprint = profile.max_total_footprint
    bounds = footprint_bounds(profile)
    about = {"version": __version__}
    if results.host is not None:
        about["host"] = unicode_text(results.host)
    yield Metric("job_info", "", "A job that memwatch has recorded.", [(about, 1)])
    for name, unit, what, value in (
        (
            "job_rss_max_bytes",
            "bytes",
            "Highest sum of the resident set sizes of all processes at one sample, or the highest "
            "peak of one process if that is higher.",
            profile.total_rss.size,
        ),
        (
            "job_pss_max_bytes",
            "bytes",
            f"Highest sum of proportional set sizes: {wording.SHARED_ONCE}.",
            profile.total_pss.comparable,
        ),
        (
            "job_phys_footprint_max_bytes",
            "bytes",
            "Highest sum of physical footprints at one sample: the memory that macOS charges for.",
            footprint.total if footprint and not footprint.unread else None,
        ),
        (
            "job_footprint_max_bytes",
            "bytes",
            "Highest footprint: the memory that the kernel cannot simply drop, each page counted "
            "once. The best estimate between the two bounds that follow.",
            bounds.best if bounds else None,
        ),
        (
            "job_footprint_max_low_bytes",
            "bytes",
            "The highest footprint is at least this.",
            bounds.low if bounds else None,
        ),
        (
            "job_footprint_max_high_bytes",
            "bytes",
            "The highest footprint is at most this.",
            bounds.high if bounds else None,
        ),
        (
            "job_memory_limit_bytes",
            "bytes",
            "The tightest memory limit of the job's control groups and the machine.",
            limit.limit_bytes,
        ),
        (
            "job_oom_kills",
            "",
            "Processes in the job's control group that the OOM killer ended during the run.",
            limit.oom_kills,
        ),
        (
            "job_start_time_seconds",
            "seconds",
            "When the command started, since 1970.",
            profile.clock.realtime_at(profile.start) / 1e9,
        ),
        (
            "job_duration_seconds",
            "seconds",
            "From the start of the command to its end.",
            duration(profile),
        ),
        (
            "job_exit_code",
            "",
            "Exit code of the command; 128 + N if signal N killed it.",
            profile.exit_code,
        ),
    ):
        yield Metric(name, unit, what, [({}, value)])


def _processes(profile: Profile) -> Iterator[Metric]:
    yield Metric("job_processes", "", "Processes of the job.", [({}, len(profile.processes))])
    if largest := profile.largest:
        labels = {"program": largest.command, "peak_source": largest.peak.source}
        yield Metric(
            "job_process_rss_max_bytes",
            "bytes",
            "Highest resident set size of one process. A lower bound unless peak_source is exact.",
            [(labels, largest.peak.rss)],
        )
    if process := profile.largest_footprint:
        labels = {"program": process.command, "peak_source": process.footprint.source}
        yield Metric(
            "job_process_phys_footprint_max_bytes",
            "bytes",
            "Highest physical footprint of one process. A lower bound unless peak_source is exact.",
            [(labels, process.footprint.size)],
        )
    yield Metric("job_programs", "", "Programs that ran.", [({}, len(profile.groups))])
    yield Metric(
        "job_program_rss_max_bytes",
        "bytes",
        "Highest sum over the processes of one program at one sample, or the highest peak of one "
        f"of them if that is higher; for the {MOST_PROGRAMS} programs with the most. "
        "The times differ, so the sum of these means nothing.",
        [_program(group) for group in profile.groups[:MOST_PROGRAMS]],
    )
    yield Metric(
        "job_program_footprint_max_bytes",
        "bytes",
        "Highest footprint of the processes of one program, by the best estimate; for the same "
        "programs. What two programs share counts in both, so the sum of these means nothing.",
        [
            ({"program": group.name}, group.footprint.best if group.footprint else None)
            for group in profile.groups[:MOST_PROGRAMS]
        ],
    )


def _program(group: Group) -> tuple[Labels, float | None]:
    return {"program": group.name}, group.peak_rss if group.peak_known else None


def _accuracy(profile: Profile) -> Iterator[Metric]:
    overhead = profile.overhead
    yield Metric(
        "job_peaks",
        "",
        "Processes by how their peak is known; all except exact are lower bounds.",
        [({"source": source}, many) for source, many in profile.accuracy.peaks.items()],
    )
    yield Metric(
        "job_processes_found",
        "",
        "Processes by the source that reported them first.",
        [({"by": way}, many) for way, many in profile.accuracy.found_by.items()],
    )
    yield Metric(
        "job_complete",
        "",
        "1 if the kernel reported every process to the end; 0 if some may be missing.",
        [({}, int(profile.complete))],
    )
    yield Metric("job_samples", "", "Samples taken.", [({}, profile.sampling.ticks)])
    yield Metric(
        "cpu_seconds",
        "seconds",
        "CPU time that memwatch itself used.",
        [({}, None if overhead.cpu is None else overhead.cpu / 1e9)],
    )
    yield Metric(
        "rss_max_bytes",
        "bytes",
        "Highest resident set size of memwatch itself.",
        [({}, overhead.rss_peak)],
    )


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
