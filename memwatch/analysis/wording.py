"""Words for each total, in one place so that the summary, the page and the CI check agree."""

from __future__ import annotations

from memwatch.model.figure import Bound, Figure, Why
from memwatch.model.footprint_bounds import (
    ALONE,
    CONTROL_GROUP,
    FAULTS,
    PSS_SUM,
    SHARED,
    SYSTEM,
    FootprintBounds,
    negligible,
)
from memwatch.model.footprint_bounds import ONE_PROCESS as ONE_PROCESS_PEAK
from memwatch.model.profile import CUT_SHORT, Profile
from memwatch.model.sources import DARWIN
from memwatch.units import count, format_interval, format_size

NO_FOOTPRINT = "not measured: record again with this version"
_FOOTPRINT_SOURCES = {
    FAULTS: "estimated from page faults",
    SHARED: "shared memory counted once",
    PSS_SUM: "measured by proportional shares",
    CONTROL_GROUP: "by the control group's account",
    ONE_PROCESS_PEAK: "from the peak of one process",
}
WITH_CGROUP = "run --cgroup gives closer bounds"
SHORTER_INTERVAL = "a shorter interval gives closer bounds"
SHARED_ONCE = "shared pages counted once"
ONE_PROCESS = "one process alone reached this between samples"


def value(figure: Figure) -> str:
    """Returns the size for a headline, as "at least 3.0 MiB". The highest of the samples has no
    bound in words, since the headline names it so."""
    if figure.why is Why.SAMPLED and figure.size is not None:
        return format_size(figure.size)
    return bounded(figure)


def bounded(figure: Figure) -> str:
    """Returns the size with its bound, as "at least 3.0 MiB"."""
    if figure.size is None or figure.bound is Bound.EXACT:
        return size(figure.size)
    return f"{figure.bound.value} {format_size(figure.size)}"


def size(known: int | None) -> str:
    """Returns a size, as "3.0 MiB", or "unknown"."""
    return "unknown" if known is None else format_size(known)


def total_rss(profile: Profile) -> str:
    """Returns when the total RSS was highest, or why that is unknown."""
    if profile.total_rss.why is Why.ONE_PROCESS:
        return ONE_PROCESS
    return highest_sample(profile)


def highest_sample(profile: Profile) -> str:
    """Returns when the sampled total RSS was highest, or why there is no sample."""
    if profile.max_total_rss is None:
        return unseen(profile.sampling.unreadable > 0)
    alive = count(profile.max_total_processes, "process", "processes")
    return f"at {profile.elapsed(profile.max_total_time):.2f} s, {alive} alive"


def total_pss(profile: Profile) -> str:
    """Returns when and how the total PSS was measured, or why it is unknown."""
    figure, pss = profile.total_pss, profile.max_total_pss
    if not pss:
        return not_measured(profile) if figure.why is Why.NOT_MEASURED else _unseen_as(figure.why)
    if figure.size is None:
        return f"measured only when RSS was {format_size(pss.rss)}"
    # Summing takes time, and a job that grows meanwhile may hold more than at the sample.
    after = "just after" if pss.total > pss.rss else "at"
    when = f"{after} {profile.elapsed(pss.time):.2f} s"
    if figure.why is Why.ELSEWHERE:
        return f"{when}, when RSS was {format_size(pss.rss)}; {SHARED_ONCE}"
    if figure.why is Why.WITH_RSS:
        return f"{when}, {SHARED_ONCE} except in {with_rss(pss.unread)}"
    if figure.why is Why.CHANGING:
        return f"{when}, {SHARED_ONCE}; mappings changed meanwhile"
    return f"{when}, {SHARED_ONCE}"


def with_rss(number: int) -> str:
    """Returns how many processes are counted with their RSS, because their PSS was not read."""
    return f"{count(number, 'process', 'processes')} counted with RSS"


def not_measured(profile: Profile) -> str:
    """Returns why there is no total PSS although memory was seen."""
    if profile.backend == DARWIN:
        return "macOS does not report it"
    return "not measured: record with --pss peaks"


def total_footprint(profile: Profile) -> str:
    """Returns between which bounds the total footprint was and when it was highest, or why it is
    unknown."""
    bounds, footprint = profile.footprint, profile.max_total_footprint
    if not bounds:
        figure = profile.total_footprint
        return NO_FOOTPRINT if figure.why is Why.NOT_MEASURED else _unseen_as(figure.why)
    when = f"at {profile.elapsed(bounds.time):.2f} s"
    if bounds.source != SYSTEM:
        # Between the samples the upper bound holds only where the peaks of all processes are exact.
        is_bounded = profile.complete and profile.accuracy.all_exact
        sampled = "" if is_bounded or bounds.source == CONTROL_GROUP else ", in samples"
        return f"{footprint_bounds(bounds)}; {when}{sampled}"
    how = f"{when}, compressed memory counted"
    if footprint and footprint.unread:
        how += f"; without {count(footprint.unread, 'process', 'processes')} that could not be read"
    return how


def footprint_bounds(bounds: FootprintBounds) -> str:
    """Returns the bounds of a footprint, and how the best estimate between them is known."""
    if bounds.source == ALONE:
        apart = bounds.high is None or bounds.high - bounds.low > negligible(bounds.low)
        return between(bounds.low, bounds.high) if apart else "nothing of it counted twice"
    return f"{between(bounds.low, bounds.high)}; {_FOOTPRINT_SOURCES[bounds.source]}"


def between(low: int, high: int | None) -> str:
    """Returns the bounds of a size, as "3.0 MiB to 4.0 MiB"; as "3.0 MiB" where both read so."""
    if high is None:
        return f"at least {format_size(low)}"
    least, most = format_size(low), format_size(high)
    return least if least == most else f"{least} to {most}"


def closer_bounds(bounds: FootprintBounds) -> str:
    """Returns what would bring the bounds closer together."""
    return SHORTER_INTERVAL if bounds.source == CONTROL_GROUP else WITH_CGROUP


def stopped_early(profile: Profile) -> str | None:
    """Returns why the job was not sampled to its end; None when it was."""
    sampling = profile.sampling
    if sampling.error is None:
        return None
    if sampling.error == CUT_SHORT:
        return f"The recording stops early: {sampling.error}"
    when = "ended before the job did" if sampling.ticks else "could not begin"
    return f"Sampling {when}: {sampling.error}"


def sampled_every(profile: Profile) -> str:
    """Returns how often samples were taken."""
    sampling = profile.sampling
    return f"sampled every {format_interval((sampling.achieved or sampling.interval) / 1e9)}"


def _unseen_as(why: Why) -> str:
    return unseen(why is Why.UNREADABLE)


def unseen(unreadable: bool) -> str:
    """Returns why no memory was seen."""
    return "it could not be read" if unreadable else "the job was in no sample"
