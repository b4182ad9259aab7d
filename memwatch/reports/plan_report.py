"""A plan as text for a terminal and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memwatch.analysis import wording
from memwatch.analysis.ending import How, ending
from memwatch.analysis.plan import BAND, MARGIN, Forecast
from memwatch.analysis.plan_sizes import Sizes, size_of_job
from memwatch.analysis.workload import Workload
from memwatch.model.metric import Metric
from memwatch.model.processes import EXACT, SAMPLED, UNKNOWN, WATERMARK
from memwatch.model.profile import Profile
from memwatch.reports.summary import duration
from memwatch.units import (
    Style,
    command_text,
    count,
    cut,
    format_duration,
    format_interval,
    format_size,
    kib,
    printable,
    unicode_text,
)

OPTION = "option"
RECORDING = "recording"
HERE = "here"


@dataclass(frozen=True, slots=True)
class Budget:
    """The memory that the job must fit in."""

    size: int
    """Bytes."""
    origin: str
    """Where the size is from: OPTION, RECORDING (where the job ran), HERE (this machine)."""
    limit: str
    """What sets the size, in words."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and everything that a report shows of it."""

    path: str
    profile: Profile
    work: Workload
    sizes: Sizes
    """What the plan was made with."""
    pattern: str | None
    """The regular expression that chose the tasks; None: they were found."""
    forecasts: tuple[Forecast, ...]
    memory: Budget | None
    """None: unknown; what fits is unknown then."""
    fitting: tuple[bool, ...]
    """Whether each forecast fits the memory."""
    most: int | None
    """The largest number of jobs that fits; 0: not even one fits; None: the memory is unknown, or
    the job was not parallel and no number of jobs was asked for."""
    most_tried: int
    cpus: int | None
    """Of this machine."""

    @property
    def metric(self) -> Metric:
        """What all sizes are measured in."""
        return self.sizes.metric


def lines(planned: Planned, *, width: int, bold: Style, dim: Style) -> Iterator[str]:
    """Yields the report line by line."""
    profile = planned.profile
    command = command_text(profile.command)
    yield ""
    yield f"{bold('Plan for:')} {cut(command, width - 10)}"
    yield f"Tasks:    {_tasks(planned)}"
    metric = planned.metric
    peak = wording.size(size_of_job(profile, metric))
    yield f"Recorded: peak {metric} {peak}, {duration(profile)}"
    for warning in warnings(planned):
        text = f"Warning:  {warning}"
        yield from map(bold, textwrap.wrap(text, max(width, 20), subsequent_indent=" " * 10))
    if planned.memory:
        yield f"Memory:   {format_size(planned.memory.size)}  ({planned.memory.limit})"
    yield ""
    yield from _table(planned, bold, dim)
    if planned.memory or planned.work.serial:
        yield ""
        yield from map(bold, textwrap.wrap(_conclusion(planned), max(width, 20)))
    yield ""
    for note in notes(planned):
        yield from map(dim, textwrap.wrap(note, max(width, 20)))


def _tasks(planned: Planned) -> str:
    work = planned.work
    number = len(work.tasks)
    noun, plural = ("worker", "workers") if work.side_by_side else ("process", "processes")
    if planned.pattern is not None:
        pattern = f"{printable(planned.pattern)!r}"
        if work.supervisors:
            which = f"started by {_supervisors(work)} to run {pattern}"
        else:
            which = f"matching {pattern}"
    else:
        which = f"started by {_supervisors(work)}"
    at_once = f"{work.at_once} at once ({work.average:.1f} on average)"
    if work.side_by_side:
        at_once = "all at once"
    elif work.serial:
        at_once = "one at a time (not parallel)"
    return f"{count(number, noun, plural)} {which}, {at_once}"


def _supervisors(work: Workload) -> str:
    return ", ".join(
        printable(name) if processes == 1 else f"{printable(name)} × {processes}"
        for name, processes in work.supervisors.items()
    )


def _table(planned: Planned, bold: Style, dim: Style) -> Iterator[str]:
    title = f"expected peak {planned.metric}"
    yield dim(f"  {'jobs':>5}  {title}  {f'{BAND:.0%} band':>21}  {'expected duration':>19}")
    for forecast, fits in zip(planned.forecasts, planned.fitting, strict=True):
        band = f"{format_size(forecast.low):>9} – {format_size(forecast.high):>9}"
        peak = f"{format_size(forecast.peak):>{len(title)}}"
        remark = "" if fits or not planned.memory else "  does not fit"
        yield f"  {forecast.jobs:>5}  {bold(peak)}  {band}  {_time(forecast):>19}{remark}"


def _time(forecast: Forecast) -> str:
    if forecast.duration is None:
        return "unknown"
    seconds = forecast.duration / 1e9
    time = (format_interval if seconds < 1 else format_duration)(seconds)
    return f"at least {time}" if forecast.cpu_bound else time


def _conclusion(planned: Planned) -> str:
    most = planned.most
    if most is None:
        return (
            f"Not parallel: the {len(planned.work.tasks):,} tasks ran one after another. Whether "
            "the job can run more at once is unknown: record it so (make -j2), or give numbers "
            "with --jobs to assume that it can."
        )
    free = f"with {MARGIN:.0%} of the memory left free"
    if not most:
        return f"Not even one job is expected to fit {free}."
    fit = f"{'is' if most == 1 else 'are'} expected to fit {free}"
    if planned.work.serial:
        fit += ", if they can run at once"
    if most < planned.most_tried:
        return f"{'' if most == 1 else 'Up to '}{count(most, 'job')} {fit}."
    if planned.work.side_by_side:
        return f"{count(most, 'job')} {fit}; more were not tried."
    return f"{'The only task' if most == 1 else f'All {most:,} tasks at once'} {fit}."


def warnings(planned: Planned) -> Iterator[str]:
    """Yields why the job may need more than the figures show."""
    ended, stopped_early = ending(planned.profile), wording.stopped_early(planned.profile)
    if ended.why and ended.how is not How.CUT_SHORT:
        yield f"The recorded job may be incomplete: {ended.why}."
    if stopped_early:
        yield f"{stopped_early}."


def notes(planned: Planned) -> Iterator[str]:
    """Yields how the figures were made, and what limits them."""
    work = planned.work
    orders = min((each.orders for each in planned.forecasts), default=0)
    if work.side_by_side:
        yield (
            "Expected, not measured. All tasks ran side by side and none replaced another, so they "
            "are treated as workers, each as recorded, however many there are. The band covers "
            f"{BAND:.0%} of {orders} random choices of workers. A recording does not show how they "
            "would share the work."
        )
    else:
        yield (
            "Expected, not measured. The recorded tasks are replayed in their order, each as soon "
            "as a slot is free, and what the rest of the job held is added. The band covers "
            f"{BAND:.0%} of {orders} random orders."
        )
        yield from _dependencies(work)
        yield from _durations(planned)
    yield from _doubts(planned)
    yield _shared_pages(planned)


def _shared_pages(planned: Planned) -> str:
    profile = planned.profile
    if planned.sizes.are_estimates:
        return (
            "Peaks are sums of what each process holds alone, by the best estimate. What forked "
            "processes share is their parent's, and shared memory "
            f"({format_size(planned.sizes.shared)}) counts once for any number of jobs."
        )
    if planned.metric is Metric.FOOTPRINT:
        return "Peaks are sums of the footprints that macOS charges the processes for."
    text = "Peaks are sums of RSS, which count shared pages once per process."
    pss = profile.max_total_pss
    if pss and profile.total_pss.at_peak and pss.total < pss.rss:
        less = f"{'at least ' if pss.unread else ''}{1 - pss.total / pss.rss:.0%} less"
        text += f" At the recorded peak the sum that counts them once (PSS) was {less}."
    return text


def _dependencies(work: Workload) -> Iterator[str]:
    if len(work.tasks) == 1:
        return
    if work.at_once == 1:
        yield (
            "Recorded one at a time, so dependencies between tasks cannot be seen, and none are "
            "assumed. Record two or more at a time to see them."
        )
        return
    if work.waits:
        late = len(work.waits)
        yield (
            f"{count(late, 'task')} began late although a slot was free: "
            f"{'it is' if late == 1 else 'they are'} assumed to depend on the tasks that had "
            "finished by then."
        )
    yield (
        f"With more than {work.at_once} at once, there may be dependencies that a "
        f"{work.at_once}-job recording cannot show: then the peak is lower and the duration longer."
    )


def _durations(planned: Planned) -> Iterator[str]:
    text = "Durations assume that tasks run as fast as they were recorded, each on its own CPU"
    cpu = planned.work.cpu
    if cpu is None or not planned.cpus:
        yield f"{text}; the CPU time of the job is unknown, so they may be too short."
        return
    known = all(process.usage.user is not None for process in planned.profile.processes)
    used = f"used {'' if known else 'at least '}{_cpu_time(cpu)} of CPU"
    cpus, need = count(planned.cpus, "CPU"), "needs" if planned.cpus == 1 else "need"
    time = _cpu_time(cpu / planned.cpus)
    yield f"{text}. The job {used}: the {cpus} here {need} at least {time}."


def _cpu_time(nanoseconds: float) -> str:
    seconds = nanoseconds / 1e9
    return f"{seconds:.1f} s" if seconds >= 1 else format_interval(seconds)


def _doubts(planned: Planned) -> Iterator[str]:
    profile, work = planned.profile, planned.work
    if not work.sampled:
        yield (
            "The file has no samples: each process is assumed to hold its peak for its whole life, "
            "so the peaks are too high rather than too low. A recording (memwatch run -o) gives "
            "better ones."
        )
    if work.unended:
        yield (
            f"{count(work.unended, 'task')} still ran when the recording ended: the full duration "
            f"and size of {'that task is' if work.unended == 1 else 'those tasks are'} unknown."
        )
    if work.unknown:
        unknown = count(work.unknown, "process", "processes")
        yield f"The memory of {unknown} is unknown and counted as zero: the peaks are too low."
    peaks = profile.accuracy.peaks
    if planned.metric is Metric.FOOTPRINT:
        peaks = profile.accuracy.footprints or peaks
    bounds = peaks.get(SAMPLED, 0) + peaks.get(WATERMARK, 0)
    if bounds and bounds > peaks.get(EXACT, 0) + peaks.get(UNKNOWN, 0):
        yield (
            "Most recorded peaks are lower bounds from samples: record with --exact, or at a "
            "shorter interval, for better ones."
        )
    unseen = profile.accuracy.never_sampled
    if planned.sizes.are_estimates and unseen:
        processes = count(unseen, "process", "processes")
        yield (
            f"{processes} ended before a sample: instead of the footprint their peak RSS counts, "
            "which is more."
        )
    if not profile.complete:
        yield "Processes that lived too briefly to be seen are missing."


# As JSON ------------------------------------------------------------------------------------------


def _duration_source(forecast: Forecast) -> str | None:
    if forecast.duration is None:
        return None
    return "cpu" if forecast.cpu_bound else "replay"


def document(planned: Planned) -> dict[str, Any]:
    """Returns the document that schema/plan.schema.json describes."""
    profile, work, memory = planned.profile, planned.work, planned.memory
    rss, footprint = profile.max_total_rss, profile.total_footprint.size
    return {
        "file": unicode_text(planned.path),
        "command": [unicode_text(word) for word in profile.command],
        "metric": planned.metric.value,
        "recorded": {
            "max_total_rss_kib": None if rss is None else kib(rss),
            "max_total_footprint_kib": None if footprint is None else kib(footprint),
            "duration_seconds": round(profile.duration, 6),
            "jobs": work.at_once,
            "mean_jobs": round(work.average, 3),
        },
        "tasks": {
            "count": len(work.tasks),
            "side_by_side": work.side_by_side,
            "serial": work.serial,
            "pattern": None if planned.pattern is None else unicode_text(planned.pattern),
            "supervisors": [
                {"command": name, "processes": processes}
                for name, processes in work.supervisors.items()
            ],
            "waits": len(work.waits),
            "unended": work.unended,
            "unknown_processes": work.unknown,
            "sampled": work.sampled,
        },
        "memory": {
            "size_kib": kib(memory.size) if memory else None,
            "origin": memory.origin if memory else None,
            "margin": MARGIN,
        },
        "plans": [
            {
                "jobs": forecast.jobs,
                "expected_peak_kib": kib(forecast.peak),
                "band_low_kib": kib(forecast.low),
                "band_high_kib": kib(forecast.high),
                "orders": forecast.orders,
                "expected_duration_seconds": (
                    None if forecast.duration is None else round(forecast.duration / 1e9, 6)
                ),
                "expected_duration_source": _duration_source(forecast),
                "fits": fits if memory else None,
            }
            for forecast, fits in zip(planned.forecasts, planned.fitting, strict=True)
        ],
        "most_jobs": planned.most,
        "most_jobs_tried": planned.most_tried,
        "notes": [*warnings(planned), *notes(planned)],
    }
