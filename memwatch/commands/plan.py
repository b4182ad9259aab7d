"""`memwatch plan`: forecasts what a job needs with other numbers of jobs at once."""

from __future__ import annotations

import os
import re

import click

from memwatch.analysis.ending import ending
from memwatch.analysis.plan import Plan
from memwatch.analysis.plan_sizes import NotPlannedError, Sizes
from memwatch.analysis.workload import NoTasks, Workload, workload
from memwatch.commands.shared import options, terminal
from memwatch.commands.shared.files import load_results
from memwatch.messages import print_json, print_lines
from memwatch.model.memory_limit import MACHINE, MemoryLimit
from memwatch.model.metric import Metric
from memwatch.model.profile import Profile
from memwatch.reports.plan_report import HERE, OPTION, RECORDING, Budget, Planned, document, lines
from memwatch.storage.load import Results
from memwatch.units import format_size, printable

MOST_JOBS = 4096
USUAL_JOBS = (1, 2, 4, 8, 16)


def numbers(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Returns the numbers of "4,8,16" in ascending order."""
    if value is None:
        return None
    found = set()
    for word in value.split(","):
        text = word.strip()
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise click.BadParameter(f"{value!r} is not a list of numbers: write 4 or 4,8,16.")
        number = int(text)
        if not 1 <= number <= MOST_JOBS:
            raise click.BadParameter(f"{text} is out of range: write 1 to {MOST_JOBS}.")
        found.add(number)
    return tuple(sorted(found))


@click.command("plan")
@click.option(
    "--jobs",
    callback=numbers,
    metavar="N,...",
    help="Numbers of jobs at once.  [default: 1,2,4,8,16 and as recorded; 1 if the job was not "
    "parallel]",
)
@options.size_option(
    "--memory",
    help="Memory that the job must fit in: 32G, 1.5GiB, 8GB.  [default: the recorded limit, or "
    "that of this machine]",
)
@click.option(
    "--worker",
    callback=options.regex,
    metavar="REGEX",
    help="Tasks are what make or the like started to get a process that matches (name or command "
    "line), each with all it starts.  [default: those of the widest fan-out]",
)
@options.METRIC
@options.JSON
@options.FILE
def command(
    jobs: tuple[int, ...] | None,
    memory: int | None,
    worker: re.Pattern[str] | None,
    metric: Metric | None,
    as_json: bool,
    path: str,
) -> int:
    """Forecast how much memory FILE's job needs with other numbers of jobs at once.

    FILE is a recording (`memwatch run -o FILE`), or the JSON of a run. Its
    tasks (compilers that make started, workers of a pool) are replayed, N at a
    time. Shows the expected peak with a 95 % band, the expected duration, and
    the largest N that fits the memory with 10 % left free.

    \b
    Examples:
      memwatch run -i 10 -o build.jsonl -- make -j2
      memwatch plan build.jsonl
      memwatch plan build.jsonl --jobs 4,8,16 --memory 32G
      memwatch plan tests.jsonl --worker 'pytest.*gw'
    """
    results = load_results(path, tracks=True, footprints=True)
    try:
        sizes = Sizes(results.profile, results.tracks, results.footprints, metric)
        work = workload(results.profile, sizes, worker)
    except NotPlannedError as error:
        raise click.ClickException(f"{path!r}: {error}") from None
    except NoTasks as error:
        raise click.ClickException(f"{path!r}: {error}{_doubt(results.profile)}") from None
    if not any(task.peak for task in work.tasks):
        raise click.ClickException(
            f"{path!r}: the memory of its tasks is unknown; record with --exact, or at a "
            f"shorter interval{_doubt(results.profile)}"
        )
    planned = _plan(results, work, sizes, worker, jobs, _memory(results, memory))
    if as_json:
        return 0 if print_json(document(planned)) else 1
    bold, dim = terminal.styles(1)
    report = lines(planned, width=terminal.width(1), bold=bold, dim=dim)
    return 0 if print_lines(report) else 1


def _doubt(profile: Profile) -> str:
    """Returns why the job may not have done all its work, to go on a sentence with."""
    why = ending(profile).why
    return "" if why is None else f"; it may be incomplete: {why}"


def _plan(
    results: Results,
    work: Workload,
    sizes: Sizes,
    worker: re.Pattern[str] | None,
    jobs: tuple[int, ...] | None,
    memory: Budget | None,
) -> Planned:
    cpus = _cpus()
    plan = Plan(work, cpus)
    # More at once would be a guess for a job that was not parallel: it is made only when asked.
    usual = (1,) if work.serial else tuple(sorted({*USUAL_JOBS, work.at_once}))
    chosen = jobs or usual
    is_guess = work.serial and not jobs
    forecasts = tuple(map(plan.forecast, chosen))
    return Planned(
        path=results.path,
        profile=results.profile,
        work=work,
        sizes=sizes,
        pattern=worker.pattern if worker else None,
        forecasts=forecasts,
        memory=memory,
        fitting=tuple(bool(memory and plan.fits(number, memory.size)) for number in chosen),
        most=plan.most_that_fit(memory.size) if memory and not is_guess else None,
        most_tried=plan.most_jobs(),
        cpus=cpus,
    )


def _memory(results: Results, given: int | None) -> Budget | None:
    """Returns the first there is: the given size, the recorded limit, the limit of this machine."""
    if given is not None:
        return Budget(given, OPTION, "--memory")
    recorded = results.profile.memory_limit
    if recorded.limit_bytes is not None:
        return _limit(recorded, recorded.limit_bytes, RECORDING)
    from memwatch.runner import cgroup

    here = cgroup.LimitWatch().end()
    return None if here.limit_bytes is None else _limit(here, here.limit_bytes, HERE)


def _limit(limit: MemoryLimit, size: int, origin: str) -> Budget:
    if limit.source != MACHINE:
        where = "where it was recorded" if origin == RECORDING else "here"
        path = f" {printable(limit.path)}" if limit.path else ""
        return Budget(size, origin, f"limit of {limit.source}{path} {where}")
    # Memory that others use on a machine is not available. In a control group most of the usage is
    # page cache, which is.
    used = limit.usage_bytes or 0
    what = "the machine it was recorded on" if origin == RECORDING else "this machine"
    less = f", less {format_size(used)} in use before it" if used else ""
    return Budget(max(size - used, 1), origin, f"{what} has {format_size(size)}{less}")


def _cpus() -> int | None:
    """Returns how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
