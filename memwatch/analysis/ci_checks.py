"""Checks for a CI job: whether a run stayed within its limits, and near its baseline.

A check states what is proven, and names the metric. A lower bound above a limit exceeds it. A lower
bound below passes, named as a lower bound, but not if the job was not followed to its end. Where
there is an upper bound as well, as for the footprint, it must be below to pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memwatch.analysis import wording
from memwatch.analysis.comparison import CANDIDATE, Change, Comparison, Verdict
from memwatch.analysis.ending import How, ending, unfinished
from memwatch.analysis.holders import by_group
from memwatch.model.figure import Bound, Why
from memwatch.model.metric import Metric, default_metric, total
from memwatch.model.processes import EXACT, UNKNOWN, Process
from memwatch.model.profile import Profile
from memwatch.units import count, cut, format_size, printable

PASSED = "passed"
FAILED = "failed"
UNPROVEN = "unproven"
"""It cannot be decided: the memory is unknown, or known only in part, or of a job that ended before
its work was done."""
SKIPPED = "skipped"

OK = "ok"
TOTAL_LIMIT = "total-limit"
PROCESS_LIMIT = "process-limit"
REGRESSION = "regression"
INCONCLUSIVE = "inconclusive"

RESULT_EXIT_CODES = {TOTAL_LIMIT: 10, PROCESS_LIMIT: 11, REGRESSION: 1, INCONCLUSIVE: 1, OK: 0}
"""Exit codes by result. If several results apply, the first of them counts."""

MOST_NAMED_GROUPS = 3
"""Groups that are named in one finding."""

MOST_NAMED_PROCESSES = 3
"""Processes that are named in one finding."""


class Allowed(NamedTuple):
    """The limits of a check, in bytes; None for no limit."""

    total_rss: int | None = None
    process_rss: int | None = None
    """Limit of each process."""
    total_pss: int | None = None
    total_footprint: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return any(limit is not None for limit in self)


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its outcome."""

    subject: str
    """What was checked: "max total RSS", "group rustc"."""
    outcome: str
    """PASSED, FAILED, UNPROVEN or SKIPPED."""
    finding: str
    """What was found, as a line that continues the subject."""
    breach: str
    """The result if it fails: TOTAL_LIMIT, PROCESS_LIMIT or REGRESSION."""

    @property
    def name(self) -> str:
        """A unique name, the same from run to run: CI servers follow a check by its name."""
        against = "the baseline" if self.breach == REGRESSION else "its limit"
        return f"{self.subject} against {against}"

    @property
    def sentence(self) -> str:
        """The subject and the finding."""
        return f"{name_of(self.subject)} {printable(self.finding)}"


@dataclass(frozen=True, slots=True)
class Judgment:
    """All checks of a run."""

    profile: Profile
    checks: tuple[Check, ...]
    comparison: Comparison | None

    @property
    def result(self) -> str:
        """The first of RESULT_EXIT_CODES that applies."""
        found = {check.breach for check in self.checks if check.outcome == FAILED}
        is_unproven = any(check.outcome == UNPROVEN for check in self.checks)
        if is_unproven or not ending(self.profile).is_whole:
            found.add(INCONCLUSIVE)
        return next((result for result in RESULT_EXIT_CODES if result in found), OK)

    @property
    def exit_code(self) -> int:
        """The exit code of the result."""
        return RESULT_EXIT_CODES[self.result]

    def of(self, *outcomes: str) -> list[Check]:
        """Returns the checks with these outcomes, in the order of the outcomes, and then of
        RESULT_EXIT_CODES."""
        return [
            check
            for outcome in outcomes
            for breach in RESULT_EXIT_CODES
            for check in self.checks
            if check.outcome == outcome and check.breach == breach
        ]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons why correct figures may mislead: a run that ended early, another command.

        A reason that the finding of a check gives is left out.
        """
        findings = [check.finding for check in self.checks]

        def new(profile: Profile) -> str | None:
            why = ending(profile).why
            return None if why is None or any(why in finding for finding in findings) else why

        found = []
        if why := new(self.profile):
            found.append(why)
        for base in self.comparison.base if self.comparison else ():
            if why := new(base):
                found.append(f"baseline: {why}")
            if base.command != self.profile.command:
                found.append("the baseline is of another command")
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """How far the result holds, as sentences."""
        return self.comparison.notes if self.comparison else self.warnings


def check_limits(profile: Profile, limits: Allowed) -> Iterator[Check]:
    """Yields one check for each limit."""
    if limits.total_footprint is not None:
        found = _total_footprint(profile, limits.total_footprint)
        yield Check("max total footprint", *found, TOTAL_LIMIT)
    if limits.total_rss is not None:
        yield Check("max total RSS", *_total_rss(profile, limits.total_rss), TOTAL_LIMIT)
    if limits.total_pss is not None:
        yield Check("max total PSS", *_total_pss(profile, limits.total_pss), TOTAL_LIMIT)
    if limits.process_rss is not None:
        outcome, finding = _per_process(profile, limits.process_rss)
        yield Check("max per process", outcome, f"{Metric.RSS} {finding}", PROCESS_LIMIT)


def _total_footprint(profile: Profile, limit: int) -> tuple[str, str]:
    """Returns the outcome and the finding: the lower bound proves a breach, the upper bound, or the
    highest sample where there is none, that there was none."""
    bounds = profile.footprint
    if not bounds:
        unseen = profile.total_rss.size is None
        why = _why_unknown(profile) if unseen else wording.total_footprint(profile)
        return UNPROVEN, f"unknown ({why}), limit {format_size(limit)}"
    how = wording.total_footprint(profile)
    if bounds.low > limit:
        low = f"{'at least ' if bounds.low < bounds.best else ''}{format_size(bounds.low)}"
        over = format_size(bounds.low - limit)
        return FAILED, f"{low}, {over} over the limit of {format_size(limit)} ({how})"
    held = f"{wording.bounded(profile.total_footprint)} ({how})"
    if max(bounds.best, bounds.high or 0) > limit:
        return UNPROVEN, (
            f"{held}, limit {format_size(limit)}, which is between the bounds: "
            f"{wording.closer_bounds(bounds)}"
        )
    return _within(profile, held, limit)


def _total_rss(profile: Profile, limit: int) -> tuple[str, str]:
    figure = profile.total_rss
    if figure.size is None:
        return UNPROVEN, f"unknown ({_why_unknown(profile)}), limit {format_size(limit)}"
    if figure.why is Why.SAMPLED:
        how, holders = wording.sampled_every(profile), _at_peak(profile)
    else:
        how = holders = wording.ONE_PROCESS
    if figure.size > limit:
        return FAILED, f"{_over(figure.size, limit)} ({holders})"
    return _within(profile, f"{wording.bounded(figure)} ({how})", limit)


def _total_pss(profile: Profile, limit: int) -> tuple[str, str]:
    """Returns the outcome and the finding. A sum of PSS is never more than the sum of RSS at the
    same time, so a small RSS proves a small PSS."""
    figure, rss, pss = profile.total_pss, profile.total_rss.size, profile.max_total_pss
    if pss and figure.size is not None and figure.size > limit and figure.bound is Bound.AT_LEAST:
        at = f"at {profile.elapsed(pss.time):.2f} s"
        return FAILED, f"{_over(figure.size, limit)} ({at})"
    how = f"summed when RSS was {format_size(pss.rss)}" if pss else ""
    is_below = figure.size is not None and figure.size <= limit and figure.at_peak
    if is_below and figure.why is not Why.CHANGING:
        return _within(profile, f"{wording.bounded(figure)} ({how})", limit)
    if rss is not None and rss <= limit:
        return _within(profile, f"no more than the max total RSS, {format_size(rss)}", limit)
    return UNPROVEN, _pss_in_doubt(profile, how, limit)


def _pss_in_doubt(profile: Profile, how: str, limit: int) -> str:
    """Returns why the total PSS does not prove that a limit was kept, or exceeded."""
    figure, rss, pss = profile.total_pss, profile.total_rss.size, profile.max_total_pss
    held = f"{wording.bounded(figure)}, limit {format_size(limit)}"
    if pss and figure.why is Why.WITH_RSS:
        return f"{held}: {wording.with_rss(pss.unread)}; record with --pss always"
    if figure.why is Why.CHANGING:
        return f"{held}: mappings changed while it was {how}; check --max-total-footprint"
    if pss and rss is not None:
        return (
            f"not known at the peak ({how}, but it reached {format_size(rss)}), "
            f"limit {format_size(limit)}: record with --pss always"
        )
    why = _why_unknown(profile) if rss is None else wording.not_measured(profile)
    return f"unknown ({why}), limit {format_size(limit)}"


def _per_process(profile: Profile, limit: int) -> tuple[str, str]:
    figure = profile.process_rss
    if figure.size is None:
        return UNPROVEN, f"unknown ({_why_unknown(profile)}), limit {format_size(limit)}"
    if figure.size > limit:
        over = sorted(
            (process for process in profile.processes if process.peak.rss > limit),
            key=lambda process: -process.peak.rss,
        )
        return FAILED, f"{_over(figure.size, limit)} ({_names(over)})"
    peaks = profile.accuracy.peaks
    number = sum(peaks.values())
    if figure.bound is Bound.EXACT:
        return _within(profile, f"{wording.bounded(figure)} (exact)", limit)
    reasons = []
    if bounds := number - peaks[EXACT] - peaks[UNKNOWN]:
        are = "is a lower bound" if bounds == 1 else "are lower bounds"
        reasons.append(f"{bounds:,} of {count(number, 'peak')} {are}")
    if unknown := peaks[UNKNOWN]:
        reasons.append(f"{unknown:,} of {count(number, 'peak')} {_are(unknown)} unknown")
    if not profile.complete:
        reasons.append("short-lived processes may be missing")
    return _within(profile, f"{wording.bounded(figure)} ({', '.join(reasons)})", limit)


def _within(profile: Profile, held: str, limit: int) -> tuple[str, str]:
    """Returns PASSED, or UNPROVEN when the job was not followed to its end, or was ended before its
    work was done, and the finding."""
    text = f"{held}, limit {format_size(limit)}"
    if why := unfinished(profile):
        return UNPROVEN, f"{text}, but only a part of the job was seen: {why}"
    if not ending(profile).is_whole:
        return UNPROVEN, f"{text}, but {_not_done()}"
    if unreadable := profile.sampling.unreadable:
        text += f", but the memory of {count(unreadable, 'process', 'processes')} was unreadable"
    return PASSED, text


def _not_done(which: str = "job") -> str:
    """The reason is one of Judgment.warnings, so that it is given once for all checks."""
    return f"the {which} may not have done all its work"


def _over(held: int, limit: int) -> str:
    return (
        f"{format_size(held)} is {format_size(held - limit)} over the limit of {format_size(limit)}"
    )


def _why_unknown(profile: Profile) -> str:
    return profile.sampling.error or wording.unseen(profile.sampling.unreadable > 0)


def _at_peak(profile: Profile) -> str:
    """Returns when the total was highest, and what the largest groups held then."""
    held = by_group(profile.at_peak)
    names = [
        f"{name_of(group)}{f' × {processes}' if processes > 1 else ''} {format_size(rss)}"
        for group, processes, rss in held[:MOST_NAMED_GROUPS]
    ]
    if (rest := len(held) - MOST_NAMED_GROUPS) > 0:
        names.append(count(rest, "other program"))
    at = f"at {profile.elapsed(profile.max_total_time):.2f} s"
    return f"{at}: {', '.join(names)}" if names else at


def check_changes(comparison: Comparison) -> Iterator[Check]:
    """Yields one check for the total, and one for each group with its own threshold."""
    yield Check(comparison.total.name, *_compared(comparison.total, comparison), REGRESSION)
    for change in comparison.groups:
        if change.gates:
            subject = f"group {printable(change.name)}"
            outcome, finding = _compared(change, comparison)
            named = finding if outcome == SKIPPED else f"{change.metric} {finding}"
            yield Check(subject, outcome, named, REGRESSION)


def _compared(change: Change, comparison: Comparison) -> tuple[str, str]:
    if change.base == change.candidate == 0:
        return SKIPPED, "is in neither run: check the spelling"
    outcome, finding = _CHANGES[change.verdict], _change(change)
    if outcome == UNPROVEN and change.bounds_overlap and (change.difference or 0) < 0:
        outcome = PASSED  # the best estimate is less, although it is not certain
    if doubt := change.doubt:
        which = "job" if doubt.side == CANDIDATE else "baseline"
        if doubt.how in (How.LIMIT, How.CUT_SHORT):
            return outcome, f"{finding}, but only a part of the {which} was seen: {doubt.why}"
        return outcome, f"{finding}, but {_not_done(which)}"
    if outcome == PASSED and not all(ending(run).is_whole for run in comparison.candidate):
        return UNPROVEN, f"{finding}, but {_not_done()}"
    return outcome, finding


_CHANGES = {
    Verdict.REGRESSION: FAILED,
    Verdict.IMPROVEMENT: PASSED,
    Verdict.NO_CHANGE: PASSED,
    Verdict.UNCERTAIN: UNPROVEN,
    Verdict.UNKNOWN: UNPROVEN,
}


def _change(change: Change) -> str:
    before, after, difference = change.base, change.candidate, change.difference
    if before is None or after is None or difference is None:
        sizes = ("unknown" if size is None else format_size(size) for size in (before, after))
        text = "cannot be compared: baseline {}, now {}".format(*sizes)
        return f"{text} ({change.remedy})" if change.remedy else text
    if difference == 0:
        return f"unchanged from {format_size(before)} in the baseline"
    sign = "+" if difference > 0 else "−"
    by = f"{sign}{format_size(abs(difference))}"
    if part := change.part(abs(difference)):
        by += f" ({sign}{part * 100:.1f} %)"
    allowed = format_size(round(change.threshold.allowed(before)))
    text = f"{by} from {format_size(before)} in the baseline, allowed +{allowed}"
    if change.bounds and change.is_estimate:
        base, now = (wording.between(*bounds) for bounds in change.bounds)
        text += f", by the best estimates, but the bounds overlap (baseline {base}, now {now})"
    return text


def without_baseline(profile: Profile, path: str, metric: Metric | None = None) -> Check:
    """Returns the check of a run that has no baseline yet, as the first one. `metric` is as in
    compare()."""
    metric = metric or default_metric([profile])
    held = wording.value(total(profile, metric))
    return Check(metric.total, SKIPPED, f"{held}, not compared: no baseline {path!r}", REGRESSION)


def _names(processes: Sequence[Process]) -> str:
    """Returns the first few processes, with what they held."""
    names = [
        f"pid {process.pid} {name_of(process.peak_program.text.name)} "
        f"{format_size(process.peak.rss)}, {process.peak.source}"
        for process in processes[:MOST_NAMED_PROCESSES]
    ]
    if len(processes) > MOST_NAMED_PROCESSES:
        names.append(f"{len(processes) - MOST_NAMED_PROCESSES:,} more")
    return "; ".join(names)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def name_of(text: str, longest: int = 60) -> str:
    """Returns a program's name, short enough for a line with other things."""
    return cut(printable(text), longest)
