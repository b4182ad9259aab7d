"""Notes on a comparison: how far it holds, as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from memwatch.analysis import wording
from memwatch.analysis.ending import How, ending
from memwatch.analysis.thresholds import Thresholds
from memwatch.model.figure import Why
from memwatch.model.metric import Metric, total
from memwatch.model.profile import Profile
from memwatch.units import count, format_interval, printable

_Sides: TypeAlias = Mapping[str, Sequence[Profile]]


def notes_on(
    base: Sequence[Profile],
    candidate: Sequence[Profile],
    thresholds: Thresholds,
    metric: Metric,
    of_groups: Metric,
) -> Iterable[str]:
    """Yields the notes: on single runs, on how the sides differ, on the totals and peaks. `metric`
    is what decides, `of_groups` what groups are compared by."""
    sides: _Sides = {"base": base, "candidate": candidate}
    runs = [*base, *candidate]
    for name, side in sides.items():
        for number, profile in enumerate(side, 1):
            where = name if len(side) == 1 else f"{name} run {number}"
            yield from (f"{where}: {text}" for text in _on_run(profile))
    yield from _on_setup(sides, runs)
    yield from _on_totals(runs, metric)
    if metric is not of_groups and any(len(profile.groups) > 1 for profile in runs):
        yield f"Groups are compared by {of_groups}, since {why_no_group_metric(metric)}."
    yield from _on_peaks(sides)
    known = {group.name for profile in runs for group in profile.groups}
    for name in sorted(thresholds.groups.keys() - known):
        yield (
            f"No group is called {printable(name)!r}, so its threshold has no effect: "
            "check the spelling."
        )


def why_no_group_metric(metric: Metric) -> str:
    """Returns why groups cannot be compared in that metric, as a part of a sentence."""
    if metric is Metric.FOOTPRINT:
        return "a file does not have their footprint"
    return f"their {metric} is not measured"


def _on_run(profile: Profile) -> Iterable[str]:
    ended = ending(profile)
    if ended.why and ended.how is not How.CUT_SHORT:
        yield f"{ended.why}; it may not have finished its work."
    if profile.sampling.error:
        yield f"only a part was seen, so its peaks are lower bounds: {profile.sampling.error}."
    if profile.sampling.unreadable:
        unreadable = count(profile.sampling.unreadable, "process", "processes")
        yield f"the memory of {unreadable} could not be read: totals are lower bounds."
    if profile.max_total_footprint and (unread := profile.max_total_footprint.unread):
        processes = count(unread, "process", "processes")
        yield f"the footprint of {processes} could not be read: the total is a lower bound."
    if profile.total_rss.size is None:
        yield "its memory was not seen."


def _on_setup(sides: _Sides, runs: Sequence[Profile]) -> Iterable[str]:
    if len({profile.command for profile in runs}) > 1:
        yield "The commands differ."
    if len({profile.backend for profile in runs}) > 1:
        yield "The platforms differ (Linux, macOS), and they count resident memory differently."
    base, candidate = (sorted({each.sampling.interval for each in side}) for side in sides.values())
    if base != candidate:
        both = (
            " and ".join(format_interval(each / 1e9) for each in side) for side in (base, candidate)
        )
        yield (
            f"The intervals differ ({', '.join(both)}): the shorter one sees peaks that the other "
            "misses."
        )


def how_to_know(runs: Iterable[Profile], metric: Metric) -> str | None:
    """Returns why the total in that metric is unknown in a run, and the remedy; None where nothing
    is to be done, or it is known in all."""
    for profile in runs:
        if total(profile, metric).comparable is not None or profile.total_rss.size is None:
            continue
        if metric is Metric.PSS and profile.max_total_pss:
            return "not measured at the peak, or only in part: record with --pss always"
        if metric is Metric.PSS:
            return wording.not_measured(profile)
        if metric is Metric.FOOTPRINT:
            return wording.NO_FOOTPRINT
    return None


def _on_totals(runs: Sequence[Profile], metric: Metric) -> Iterable[str]:
    alone = sum(profile.total_rss.why is Why.ONE_PROCESS for profile in runs)
    if alone:
        yield (
            f"In {alone} of {len(runs)} runs one process alone held more than any sample of the "
            "job: its peak counts as the total RSS."
        )
    for each, how, has_any in (
        (
            Metric.PSS,
            "was not measured at the peak, or only in part",
            any(profile.max_total_pss for profile in runs),
        ),
        (Metric.FOOTPRINT, "is unknown", any(profile.footprint for profile in runs)),
    ):
        without = sum(total(profile, each).comparable is None for profile in runs)
        if without and has_any and each is not metric:
            yield f"Total {each} is not compared: in {without} of {len(runs)} runs it {how}."


def _on_peaks(sides: _Sides) -> Iterable[str]:
    exact = [name for name, side in sides.items() if all(run.accuracy.all_exact for run in side)]
    if not exact:
        yield "Some process peaks are lower bounds."
    elif len(exact) == 1:
        (other,) = sides.keys() - exact
        yield f"All process peaks are exact in {exact[0]}; some are lower bounds in {other}."
