"""OpenMetrics text, which is Prometheus' own text format at the same time.

All are gauges without a time, as the textfile collector of node_exporter wants them. What is
unknown is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from memwatch.exports.text import job_name, utf8
from memwatch.model.groups import Group
from memwatch.model.profile import Profile
from memwatch.storage.load import Results
from memwatch.units import unicode_text
from memwatch.version import __version__

# Each value of a label is a series of its own in the database.
MOST_PROGRAMS = 20

Labels: TypeAlias = dict[str, str]


class Metric(NamedTuple):
    name: str
    """Ends in the unit, if there is one."""
    unit: str
    help: str
    values: list[tuple[Labels, float | None]]


def export(results: Results) -> Iterator[bytes]:
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
            said = ",".join(f'{key}="{_escape(text)}"' for key, text in {**job, **labels}.items())
            yield f"{name}{{{said}}} {value}\n"
    yield "# EOF\n"


def _job(results: Results) -> Iterator[Metric]:
    profile = results.profile
    pss, limit = profile.max_total_pss, profile.memory_limit
    footprint = profile.max_total_footprint
    about = {"version": __version__}
    if results.host is not None:
        about["host"] = unicode_text(results.host)
    yield Metric("job_info", "", "A job that memwatch has watched.", [(about, 1)])
    for name, unit, what, value in (
        (
            "job_rss_max_bytes",
            "bytes",
            "Highest sum of the resident set sizes of all processes at one sample.",
            profile.max_total_rss,
        ),
        (
            "job_pss_max_bytes",
            "bytes",
            "Highest sum of proportional set sizes: shared pages counted once.",
            pss.total if pss else None,
        ),
        (
            "job_pss_unread_processes",
            "",
            "Processes that are in memwatch_job_pss_max_bytes with their RSS, which is more.",
            pss.unread if pss else None,
        ),
        (
            "job_phys_footprint_max_bytes",
            "bytes",
            "Highest sum of the physical footprints at one sample: what macOS charges them for.",
            footprint.total if footprint else None,
        ),
        (
            "job_phys_footprint_unread_processes",
            "",
            "Processes that are not in memwatch_job_phys_footprint_max_bytes.",
            footprint.unread if footprint else None,
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
            "Processes that the OOM killer ended in the job's control group meanwhile.",
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
            profile.duration,
        ),
        (
            "job_exit_code",
            "",
            "The command's, 128 + N if signal N killed it.",
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
        f"of them where that is more; the {MOST_PROGRAMS} programs with the most. "
        "The times differ, so these add up to nothing.",
        [_program(group) for group in profile.groups[:MOST_PROGRAMS]],
    )


def _program(group: Group) -> tuple[Labels, float | None]:
    return {"program": group.name}, group.peak_rss if group.peak_known else None


def _accuracy(profile: Profile) -> Iterator[Metric]:
    overhead = profile.overhead
    yield Metric(
        "job_peaks",
        "",
        "Processes by how their peak is known; all but exact are lower bounds.",
        [({"source": source}, many) for source, many in profile.accuracy.peaks.items()],
    )
    yield Metric(
        "job_processes_found",
        "",
        "Processes by what told of them first.",
        [({"by": way}, many) for way, many in profile.accuracy.found_by.items()],
    )
    yield Metric(
        "job_complete",
        "",
        "1 when the kernel told of every process to the end, else some may be missing.",
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
