"""Compares two sets of runs: the whole job, its groups, and classes of processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median
from typing import NamedTuple

from memwatch.analysis.comparison_notes import how_to_know, notes_on, why_no_group_metric
from memwatch.analysis.confidence import Interval, difference
from memwatch.analysis.ending import How, ending
from memwatch.analysis.process_classes import ProcessClass, class_table
from memwatch.analysis.thresholds import Threshold, Thresholds
from memwatch.analysis.wording import WITH_CGROUP
from memwatch.model.metric import (
    NOTHING,
    Known,
    Metric,
    default_metric,
    group_metric,
    known_group,
    known_total,
    largest_process,
    process_metric,
)
from memwatch.model.profile import Profile
from memwatch.units import printable

BASE, CANDIDATE = "base", "candidate"


class Verdict(Enum):
    """How a change relates to its threshold.

    With repeats a change counts when its confidence interval does not contain zero *and* the change
    of the median exceeds the threshold. The interval may reach below the threshold: it is then
    certain that the memory has changed, and the best estimate of the change is beyond the
    threshold.
    """

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    NO_CHANGE = "no change"
    UNCERTAIN = "uncertain"
    """The change of the median exceeds the threshold, but the runs of one side differ so much that
    there may be no change; or the bounds of the sides overlap, and the best estimates between them
    are not good enough to go by."""
    UNKNOWN = "unknown"
    """On one side the memory was not seen, not to the end, or of a job that ended too early."""


class NotMeasuredError(ValueError):
    """A metric is wanted of what is not measured in it. The text has the remedy."""


class Bounds(NamedTuple):
    """Between which sizes the median over the runs of one side is, in bytes."""

    low: int
    high: int | None
    """None where nothing bounds it."""


class Doubt(NamedTuple):
    """Why a run may have held less than its whole work needs."""

    side: str
    """BASE or CANDIDATE."""
    run: int | None
    """Number of the run, from 1; None where its side has only this one."""
    how: How
    """How it ended."""
    why: str
    """The reason, as a part of a sentence."""

    @property
    def where(self) -> str:
        """The run, as "the base" or "base run 2"."""
        return f"the {self.side}" if self.run is None else f"{self.side} run {self.run}"


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one quantity, in bytes."""

    name: str
    base_values: tuple[int, ...]
    """Values of the runs in which it is known. A group that a run did not have counts as 0."""
    candidate_values: tuple[int, ...]
    """The same for the candidate."""
    threshold: Threshold
    gates: bool
    """Whether its regression is a regression of the whole comparison; if not, it only informs."""
    interval: Interval | None
    """Where the difference of the medians lies; None where there is one run on either side."""
    verdict: Verdict
    doubt: Doubt | None = None
    """Why there is no verdict although the quantity is known on both sides; None otherwise."""
    metric: Metric = Metric.RSS
    """What all sizes here are measured in."""
    of_group: bool = False
    """Whether it is about the group of that name."""
    bounds: tuple[Bounds, Bounds] | None = None
    """Where the medians of the base and of the candidate are; None where the metric has no bounds,
    and where one side is unknown."""
    remedy: str | None = None
    """What would make it known, or its bounds closer; None where nothing is to be done."""

    @property
    def quantity(self) -> str:
        """What has changed, with its metric: "total RSS", "RSS of rustc"."""
        return f"{self.metric} of {self.name}" if self.of_group else self.name

    @property
    def bounds_overlap(self) -> bool:
        """Whether the bounds of the two sides overlap, so that it is not certain which side held
        more."""
        if self.bounds is None:
            return False
        base, candidate = self.bounds
        return _is_below(base.low, candidate.high) and _is_below(candidate.low, base.high)

    @property
    def is_estimate(self) -> bool:
        """Whether it seems to have changed, but its bounds do not prove it."""
        return self.bounds_overlap and self.verdict is not Verdict.NO_CHANGE

    @property
    def base(self) -> int | None:
        """The median over the base; None when no run knows the quantity."""
        return _median(self.base_values)

    @property
    def candidate(self) -> int | None:
        """The median over the candidate; None when no run knows the quantity."""
        return _median(self.candidate_values)

    @property
    def difference(self) -> int | None:
        """Candidate less base; None when one of them is unknown."""
        if self.base is None or self.candidate is None:
            return None
        return self.candidate - self.base

    @property
    def relative(self) -> float | None:
        """The difference as a part of the base; None where that is unknown or 0."""
        return None if self.difference is None else self.part(self.difference)

    @property
    def is_new(self) -> bool:
        """Whether only the candidate has it."""
        return self.base == 0 and bool(self.candidate)

    @property
    def is_gone(self) -> bool:
        """Whether only the base has it."""
        return self.candidate == 0 and bool(self.base)

    def part(self, size: float) -> float | None:
        """Returns bytes as a part of the base; None where that is unknown or 0."""
        return size / self.base if self.base else None


def _median(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None


def _is_below(low: int, high: int | None) -> bool:
    return high is None or low <= high


def judge(
    name: str,
    base: Iterable[int | None],
    candidate: Iterable[int | None],
    threshold: Threshold,
    *,
    gates: bool,
) -> Change:
    """Returns the change from some values to others. Each value is of one run; None where the run
    does not know it."""
    before = tuple(value for value in base if value is not None)
    after = tuple(value for value in candidate if value is not None)
    interval = difference(before, after)
    verdict = _verdict(_median(before), _median(after), interval, threshold)
    return Change(name, before, after, threshold, gates, interval, verdict)


def _verdict(
    base: int | None, candidate: int | None, interval: Interval | None, threshold: Threshold
) -> Verdict:
    if base is None or candidate is None:
        return Verdict.UNKNOWN
    if not threshold.is_exceeded(base, candidate - base):
        return Verdict.NO_CHANGE
    if interval and interval.low <= 0 <= interval.high:
        return Verdict.UNCERTAIN
    return Verdict.REGRESSION if candidate > base else Verdict.IMPROVEMENT


def _judge_known(
    name: str,
    metric: Metric,
    base: Sequence[Known | None],
    candidate: Sequence[Known | None],
    threshold: Threshold,
    *,
    gates: bool,
) -> Change:
    """Returns the change of the best values, with their bounds in mind."""
    before, after = ((each and each.best for each in side) for side in (base, candidate))
    change = replace(judge(name, before, after, threshold, gates=gates), metric=metric)
    sides = [[each for each in side if each] for side in (base, candidate)]
    if not all(sides) or all(each.low == each.high for side in sides for each in side):
        return change
    change = replace(change, bounds=(_bounds(sides[0]), _bounds(sides[1])))
    is_sound = all(each.is_sound for side in sides for each in side)
    has_changed = change.verdict in (Verdict.REGRESSION, Verdict.IMPROVEMENT)
    if has_changed and change.bounds_overlap and not is_sound:
        return replace(change, verdict=Verdict.UNCERTAIN)
    return change


def _bounds(runs: Sequence[Known]) -> Bounds:
    """Returns where the median of the true sizes is: between the medians of their bounds."""
    highs = [run.high for run in runs if run.high is not None]
    high = round(median(highs)) if len(highs) == len(runs) else None
    return Bounds(round(median(run.low for run in runs)), high)


def _without_unproven(change: Change, doubts: tuple[Doubt | None, Doubt | None]) -> Change:
    """Returns the change with the verdict UNKNOWN if the runs do not prove its verdict.

    `doubts` are why a run of the base, and one of the candidate, may be incomplete. The values of a
    job that was ended before its work was done, or not followed to its end, are lower bounds. In
    the candidate they can prove a regression, in the base an improvement, and nothing else.
    """
    if not change.gates or change.base is None or change.candidate is None:
        return change
    doubt = doubts[0 if change.verdict is Verdict.REGRESSION else 1]
    return replace(change, verdict=Verdict.UNKNOWN, doubt=doubt) if doubt else change


def _doubts(
    base: Sequence[Profile], candidate: Sequence[Profile]
) -> tuple[Doubt | None, Doubt | None]:
    """Returns why a run of the base, and one of the candidate, may be incomplete; None if none is.

    If all commands failed with the same exit code they are taken to have done the same work: a
    linter that finds something, a test that is known to fail.
    """
    if _all_failed_alike((*base, *candidate)):
        return None, None
    return _doubt(BASE, base), _doubt(CANDIDATE, candidate)


def _all_failed_alike(runs: Sequence[Profile]) -> bool:
    alike = {run.exit_code for run in runs}
    return len(alike) == 1 and all(
        ending(run).how is How.FAILED and run.signal is None and not run.sampling.error
        for run in runs
    )


def _doubt(side: str, runs: Sequence[Profile]) -> Doubt | None:
    for number, run in enumerate(runs, 1):
        ended = ending(run)
        if ended.why:
            return Doubt(side, None if len(runs) == 1 else number, ended.how, ended.why)
    return None


@dataclass(frozen=True, slots=True)
class ClassChange:
    """The change of one class: the number of its processes, and the largest of them."""

    name: str
    base_count: int
    """The median over the runs of the base."""
    candidate_count: int
    """The median over the runs of the candidate."""
    peak: Change
    """The change of the highest peak of a single process; it never gates."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes from the base to the candidate."""

    base: tuple[Profile, ...]
    candidate: tuple[Profile, ...]
    metric: Metric
    """What decides: the total in this metric gates."""
    totals: Mapping[Metric, Change]
    """The change of the total in each metric, that which gates first. RSS is always there, the
    others where every run has them."""
    per_process: Change
    """The change of the highest peak of a single process."""
    group_metric: Metric
    """What groups are measured in."""
    groups: tuple[Change, ...]
    """The change of each group's peak at one time, greatest change first. A group with its own
    threshold gates."""
    classes: tuple[ClassChange, ...]
    """The change of each class, greatest change of the peak first."""
    notes: tuple[str, ...]
    """How far the comparison holds, as sentences."""

    @property
    def total(self) -> Change:
        """The change of the total that gates."""
        return self.totals[self.metric]

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes except those of classes."""
        return (*self.totals.values(), self.per_process, *self.groups)

    @property
    def group_by(self) -> str:
        """The key of the groups, in all runs: as groups.group_key() takes it."""
        return self.base[0].group_by

    @property
    def gating(self) -> tuple[Change, ...]:
        """The changes that gate."""
        return tuple(each for each in self.changes if each.gates)

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The regressions that gate."""
        return tuple(each for each in self.gating if each.verdict is Verdict.REGRESSION)

    @property
    def is_plain(self) -> bool:
        """Whether there is one run each, so that the noise between runs is unknown."""
        return len(self.base) == len(self.candidate) == 1

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole: the worst verdict of the changes that gate."""
        found = {each.verdict for each in self.gating}
        for verdict in (Verdict.REGRESSION, Verdict.UNKNOWN, Verdict.UNCERTAIN):
            if verdict in found:
                return verdict
        return self.total.verdict


def compare(
    base: Sequence[Profile],
    candidate: Sequence[Profile],
    thresholds: Thresholds,
    metric: Metric | None = None,
) -> Comparison:
    """Compares runs. Each side has at least one profile, of one run or of each of its repeats, and
    all are grouped by the same key.

    `metric` is what decides; None: default_metric(). Raises NotMeasuredError if a group has a
    threshold and groups are not measured in that metric.
    """
    sides = tuple(base), tuple(candidate)
    runs = (*base, *candidate)
    metric = metric or default_metric(runs)
    of_groups = group_metric(runs, metric)
    _refuse_groups(metric, of_groups, thresholds)
    doubts = _doubts(*sides)

    def proven(change: Change) -> Change:
        return _without_unproven(change, doubts)

    single = process_metric(runs, metric)
    before, after = ((largest_process(profile, single) for profile in side) for side in sides)
    per_process = judge("largest process", before, after, thresholds.default, gates=False)
    return Comparison(
        *sides,
        metric=metric,
        totals={
            each: proven(change)
            for each, change in _totals(*sides, metric, thresholds.default).items()
        },
        per_process=replace(per_process, metric=single),
        group_metric=of_groups,
        groups=tuple(map(proven, _groups(*sides, of_groups, thresholds))),
        classes=_classes(*sides, single, thresholds.default),
        notes=tuple(notes_on(*sides, thresholds, metric, of_groups)),
    )


def _refuse_groups(metric: Metric, of_groups: Metric, thresholds: Thresholds) -> None:
    if thresholds.groups and metric is not of_groups:
        name, threshold = next(iter(thresholds.groups.items()))
        why = why_no_group_metric(metric)
        raise NotMeasuredError(
            f"the threshold of {printable(name)!r} ({threshold}) cannot be checked: groups are "
            f"compared by {of_groups}, since {why}; leave it out, or give --metric "
            f"{of_groups.value}"
        )


def _totals(
    base: Sequence[Profile], candidate: Sequence[Profile], metric: Metric, threshold: Threshold
) -> dict[Metric, Change]:
    """Returns the change of the total in `metric`, then in RSS, and in the others where all runs
    have it."""
    found = {}
    for each in sorted(Metric, key=lambda other: other is not metric):
        before, after = ([known_total(run, each) for run in side] for side in (base, candidate))
        if each in (metric, Metric.RSS) or all((*before, *after)):
            gates = each is metric
            change = _judge_known(each.total, each, before, after, threshold, gates=gates)
            runs = (*base, *candidate)
            remedy = WITH_CGROUP if change.bounds else how_to_know(runs, each)
            found[each] = replace(change, remedy=remedy)
    return found


def _groups(
    base: Sequence[Profile], candidate: Sequence[Profile], metric: Metric, thresholds: Thresholds
) -> tuple[Change, ...]:
    def sizes(profile: Profile) -> dict[str, Known | None]:
        return {each.name: known_group(each, metric) for each in profile.groups}

    before, after = [*map(sizes, base)], [*map(sizes, candidate)]
    names = {name for side in (before, after) for run in side for name in run}
    changes = (
        _judge_known(
            name,
            metric,
            [run.get(name, NOTHING) for run in before],
            [run.get(name, NOTHING) for run in after],
            thresholds.of_group(name),
            gates=name in thresholds.groups,
        )
        for name in names | thresholds.groups.keys()
    )
    return tuple(sorted((replace(each, of_group=True) for each in changes), key=_rank))


def _rank(change: Change) -> tuple[int, int, str]:
    """Returns the key that sorts the greatest change first."""
    size = max(change.base or 0, change.candidate or 0)
    return -abs(change.difference or 0), -size, change.name


_ABSENT = ProcessClass()
_ABSENT.peak = 0


def _classes(
    base: Sequence[Profile], candidate: Sequence[Profile], metric: Metric, threshold: Threshold
) -> tuple[ClassChange, ...]:
    before, after = ([class_table(run, metric) for run in side] for side in (base, candidate))

    def change(name: str) -> ClassChange:
        was, now = ([run.get(name, _ABSENT) for run in side] for side in (before, after))
        peaks, new_peaks = ((each.peak for each in side) for side in (was, now))
        return ClassChange(
            name,
            round(median(each.count for each in was)),
            round(median(each.count for each in now)),
            replace(judge(name, peaks, new_peaks, threshold, gates=False), metric=metric),
        )

    names = {name for side in (before, after) for run in side for name in run}
    return tuple(sorted(map(change, names), key=lambda each: _rank(each.peak)))
