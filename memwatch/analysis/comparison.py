"""What changed from one set of runs to another: the whole job, its groups, classes of processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median

from memwatch.analysis.completeness import failed, unfinished
from memwatch.analysis.confidence import Interval, difference
from memwatch.analysis.thresholds import Threshold, Thresholds
from memwatch.model.figure import Why
from memwatch.model.processes import UNKNOWN, Process
from memwatch.model.profile import Profile
from memwatch.units import count, format_interval, printable


class Verdict(Enum):
    """Of a change against its threshold.

    With repeats a change counts when its confidence interval leaves zero out *and* the change of
    the median exceeds the threshold. The interval may reach below the threshold: that the memory
    has changed is certain then, and the best estimate of how much is beyond what is allowed.
    """

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    NO_CHANGE = "no change"
    UNCERTAIN = "uncertain"
    """The median's change exceeds the threshold, but the runs differ so much among themselves that
    there may be none."""
    UNKNOWN = "unknown"
    """There is a side on which the memory was not seen, or not to the end."""


@dataclass(frozen=True, slots=True)
class Change:
    """Of one quantity, in bytes."""

    name: str
    base_values: tuple[int, ...]
    """Of each run in which it is known. A group that a run did not have is 0."""
    candidate_values: tuple[int, ...]
    threshold: Threshold
    gates: bool
    """A regression of it is one of the whole comparison; else it informs."""
    interval: Interval | None
    """Of the difference of the medians; None where there is one run on either side."""
    verdict: Verdict

    @property
    def base(self) -> int | None:
        """The median; None when no run knows it."""
        return _median(self.base_values)

    @property
    def candidate(self) -> int | None:
        return _median(self.candidate_values)

    @property
    def difference(self) -> int | None:
        """Positive: the candidate holds more."""
        if self.base is None or self.candidate is None:
            return None
        return self.candidate - self.base

    @property
    def relative(self) -> float | None:
        """The difference as a part of the base; None where that is unknown or 0."""
        return None if self.difference is None else self.part(self.difference)

    @property
    def is_new(self) -> bool:
        return self.base == 0 and bool(self.candidate)

    @property
    def is_gone(self) -> bool:
        return self.candidate == 0 and bool(self.base)

    def part(self, size: float) -> float | None:
        """Bytes as a part of the base."""
        return size / self.base if self.base else None


def _median(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None


def judge(
    name: str,
    base: Iterable[int | None],
    candidate: Iterable[int | None],
    threshold: Threshold,
    *,
    gates: bool,
) -> Change:
    """The change from some values to others, one a run; None where a run does not know its own."""
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


def _as_far_as_seen(change: Change, base_is_cut: bool, candidate_is_cut: bool) -> Change:
    """Of a run that did not come to its end in sight the values are lower bounds: they prove that
    there is more in the candidate, or less than in the base, and nothing else."""
    is_less = change.verdict is not Verdict.REGRESSION
    if change.gates and (candidate_is_cut if is_less else base_is_cut):
        return replace(change, verdict=Verdict.UNKNOWN)
    return change


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Of the processes that ran one program in one role: how many, and the largest of them."""

    name: str
    base_count: int
    """The median over the runs."""
    candidate_count: int
    peak: Change
    """Of the highest peak of a single one; it never gates."""


@dataclass(frozen=True, slots=True)
class Comparison:
    base: tuple[Profile, ...]
    candidate: tuple[Profile, ...]
    total: Change
    """Of what the job held at least, at some time (Profile.total_rss). Always gates."""
    pss: Change | None
    """Of the highest sum with shared pages counted once (Profile.total_pss); None where a run
    lacks it."""
    per_process: Change
    """Of the largest single process."""
    groups: tuple[Change, ...]
    """Of each group's peak at one time, the greatest change first. One with a threshold of its own
    gates."""
    classes: tuple[ClassChange, ...]
    """The greatest change of the peak first."""
    notes: tuple[str, ...]
    """How far the comparison holds, a sentence each."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """All but those of classes."""
        pss = (self.pss,) if self.pss else ()
        return (self.total, *pss, self.per_process, *self.groups)

    @property
    def group_by(self) -> str:
        """By what the groups are, in all runs: as groups.group_key() takes it."""
        return self.base[0].group_by

    @property
    def gating(self) -> tuple[Change, ...]:
        return tuple(each for each in self.changes if each.gates)

    @property
    def regressions(self) -> tuple[Change, ...]:
        """Those that gate."""
        return tuple(each for each in self.gating if each.verdict is Verdict.REGRESSION)

    @property
    def is_plain(self) -> bool:
        """One run each: the verdict knows nothing of how much runs differ by themselves."""
        return len(self.base) == len(self.candidate) == 1

    @property
    def verdict(self) -> Verdict:
        """Of the whole: the worst of those that gate."""
        found = {each.verdict for each in self.gating}
        for verdict in (Verdict.REGRESSION, Verdict.UNKNOWN, Verdict.UNCERTAIN):
            if verdict in found:
                return verdict
        return self.total.verdict


def compare(
    base: Sequence[Profile], candidate: Sequence[Profile], thresholds: Thresholds
) -> Comparison:
    """Both have one profile at least: of one run, or of repeats of it. All group by the same."""
    sides = tuple(base), tuple(candidate)

    def change(name: str, read: Callable[[Profile], int | None], *, gates: bool = False) -> Change:
        before, after = (map(read, side) for side in sides)
        return doubted(judge(name, before, after, thresholds.default, gates=gates))

    def doubted(change: Change) -> Change:
        return _as_far_as_seen(change, *(any(map(unfinished, side)) for side in sides))

    has_pss = all(profile.total_pss.comparable is not None for side in sides for profile in side)
    return Comparison(
        *sides,
        total=change("total RSS", lambda profile: profile.total_rss.size, gates=True),
        pss=change("total PSS", lambda profile: profile.total_pss.comparable) if has_pss else None,
        per_process=change("largest process", lambda profile: profile.process_rss.size),
        groups=tuple(map(doubted, _groups(*sides, thresholds))),
        classes=_classes(*sides, thresholds.default),
        notes=tuple(_notes(*sides, thresholds)),
    )


def _groups(
    base: Sequence[Profile], candidate: Sequence[Profile], thresholds: Thresholds
) -> tuple[Change, ...]:
    def peaks(profile: Profile) -> dict[str, int | None]:
        return {each.name: each.peak_rss if each.peak_known else None for each in profile.groups}

    before, after = [*map(peaks, base)], [*map(peaks, candidate)]
    names = {name for side in (before, after) for run in side for name in run}
    changes = (
        judge(
            name,
            (run.get(name, 0) for run in before),
            (run.get(name, 0) for run in after),
            thresholds.of_group(name),
            gates=name in thresholds.groups,
        )
        for name in names | thresholds.groups.keys()
    )
    return tuple(sorted(changes, key=_rank))


def _rank(change: Change) -> tuple[int, int, str]:
    size = max(change.base or 0, change.candidate or 0)
    return -abs(change.difference or 0), -size, change.name


# Classes ------------------------------------------------------------------------------------------

# What runs programs of others: their processes are told apart by the script or the module. Then the
# last letter of an option after which a program itself follows, not the name of one.
_INTERPRETERS = (
    (re.compile(r"(?:python|pypy)[\d.]*|(?:ba|da|z|k|fi)?sh"), "c"),
    (re.compile(r"(?:perl|ruby|node|nodejs|lua|luajit|Rscript)[\d.]*"), "e"),
    (re.compile(r"php[\d.]*"), "r"),
    (re.compile(r"java"), ""),
)
_NAMED = ("-m", "-jar")
"""Options that name what is run."""


def class_of(process: Process) -> str:
    """The program, and for an interpreter what it ran: "cc1", "python3 -m pytest", "sh build.sh".

    Options before that are left out, so one whose value stands by itself is taken for the script.
    """
    name, argv = process.command, process.argv
    letters = [letter for pattern, letter in _INTERPRETERS if pattern.fullmatch(name)]
    if not argv or not letters:
        return name
    for place, word in enumerate(argv[1:], 1):
        if word in _NAMED:
            return " ".join((name, *argv[place : place + 2]))
        if not word.startswith("-"):
            return f"{name} {word.rpartition('/')[2]}"
        if letters[0] and word.endswith(letters[0]) and not word.startswith("--"):
            return f"{name} {word}"
    return name


class _Class:
    """The processes of a class in one run."""

    __slots__ = ("count", "peak")

    def __init__(self) -> None:
        self.count = 0
        self.peak: int | None = None


def _class_table(profile: Profile) -> dict[str, _Class]:
    found: dict[str, _Class] = {}
    for process in profile.processes:
        each = found.setdefault(class_of(process), _Class())
        each.count += 1
        peak = process.peak
        if peak.source != UNKNOWN:
            each.peak = max(each.peak or 0, peak.rss)
    return found


_NONE = _Class()
_NONE.peak = 0


def _classes(
    base: Sequence[Profile], candidate: Sequence[Profile], threshold: Threshold
) -> tuple[ClassChange, ...]:
    before, after = [*map(_class_table, base)], [*map(_class_table, candidate)]

    def change(name: str) -> ClassChange:
        was, now = ([run.get(name, _NONE) for run in side] for side in (before, after))
        return ClassChange(
            name,
            round(median(each.count for each in was)),
            round(median(each.count for each in now)),
            judge(
                name,
                (each.peak for each in was),
                (each.peak for each in now),
                threshold,
                gates=False,
            ),
        )

    names = {name for side in (before, after) for run in side for name in run}
    return tuple(sorted(map(change, names), key=lambda each: _rank(each.peak)))


# How far it holds ---------------------------------------------------------------------------------


def _notes(
    base: Sequence[Profile], candidate: Sequence[Profile], thresholds: Thresholds
) -> Iterable[str]:
    sides: Mapping[str, Sequence[Profile]] = {"base": base, "candidate": candidate}
    for name, side in sides.items():
        for number, profile in enumerate(side, 1):
            where = name if len(side) == 1 else f"{name} run {number}"
            yield from (f"{where}: {text}" for text in _about(profile))
    if len({profile.command for side in sides.values() for profile in side}) > 1:
        yield "The commands differ."
    if len({profile.backend for side in sides.values() for profile in side}) > 1:
        yield "The platforms differ (Linux, macOS): what is resident is not the same on both."
    intervals = [sorted({each.sampling.interval for each in side}) for side in sides.values()]
    if intervals[0] != intervals[1]:
        both = (" and ".join(format_interval(each / 1e9) for each in side) for side in intervals)
        yield (
            f"The intervals differ ({', '.join(both)}): the shorter one sees peaks that the other "
            "misses."
        )
    runs = [profile for side in sides.values() for profile in side]
    alone = sum(profile.total_rss.why is Why.ONE_PROCESS for profile in runs)
    if alone:
        yield (
            f"In {alone} of {len(runs)} runs one process alone held more than any sample of all "
            "shows: its peak counts as the total."
        )
    without = sum(profile.total_pss.comparable is None for profile in runs)
    if without and any(profile.max_total_pss for profile in runs):
        yield (
            f"Total PSS is not compared: in {without} of {len(runs)} runs it was not measured at "
            "the peak, or in part only."
        )
    kinds = [all(each.accuracy.all_exact for each in side) for side in sides.values()]
    if kinds[0] != kinds[1]:
        exact, bound = sides if kinds[0] else reversed([*sides])
        yield (
            f"All peaks of processes are exact in {exact}, those of {bound} are in part lower "
            "bounds."
        )
    elif not kinds[0]:
        yield "Peaks of processes are in part lower bounds."
    ran = {group.name for side in sides.values() for each in side for group in each.groups}
    for name in sorted(thresholds.groups.keys() - ran):
        yield (
            f"No group is called {printable(name)!r}, so its threshold says nothing: "
            "check the spelling."
        )


def _about(profile: Profile) -> Iterable[str]:
    if why := failed(profile):
        yield f"{why}; it may not have done all."
    if profile.sampling.error:
        yield f"a part only, so its peaks are lower bounds: {profile.sampling.error}."
    if profile.sampling.unreadable:
        unreadable = count(profile.sampling.unreadable, "process", "processes")
        yield f"the memory of {unreadable} could not be read: totals are lower bounds."
    if profile.total_rss.size is None:
        yield "its memory was not seen."
