"""The words for each total: one place, so that the summary, the page and the CI gate agree."""

from __future__ import annotations

from memwatch.model.figure import Bound, Figure, Why
from memwatch.model.profile import Profile
from memwatch.model.sources import DARWIN
from memwatch.units import count, format_interval, format_size

SHARED_ONCE = "shared pages counted once"
ONE_PROCESS = "one process alone reached this between samples"


def value(figure: Figure) -> str:
    """Returns the size as a headline has it: "at least 3.0 MiB". The highest of the samples stands
    for itself, since the headline says that it is that."""
    if figure.why is Why.SAMPLED and figure.size is not None:
        return format_size(figure.size)
    return bounded(figure)


def bounded(figure: Figure) -> str:
    """Returns the size with its bound, whatever the reason."""
    if figure.size is None:
        return "unknown"
    size = format_size(figure.size)
    return size if figure.bound is Bound.EXACT else f"{figure.bound.value} {size}"


def total_rss(profile: Profile) -> str:
    """Says when the total RSS was highest in a sample, or why that is unknown."""
    if profile.max_total_rss is None:
        return _unseen(profile.sampling.unreadable > 0)
    alive = count(profile.max_total_processes, "process", "processes")
    return f"at {profile.elapsed(profile.max_total_time):.2f} s, {alive} alive"


def total_pss(profile: Profile) -> str:
    """Says when and how the total PSS was measured, or why it is unknown."""
    figure, pss = profile.total_pss, profile.max_total_pss
    if not pss:
        return not_measured(profile) if figure.why is Why.NOT_MEASURED else _unseen_as(figure.why)
    if figure.size is None:
        return f"measured only when RSS was {format_size(pss.rss)}"
    # A sum takes time, and a job that grows meanwhile may hold more than at the sample.
    after = "just after" if pss.total > pss.rss else "at"
    when = f"{after} {profile.elapsed(pss.time):.2f} s"
    if figure.why is Why.ELSEWHERE:
        return f"{when}, when RSS was {format_size(pss.rss)}; {SHARED_ONCE}"
    if figure.why is Why.WITH_RSS:
        return f"{when}, {SHARED_ONCE} except in {with_rss(pss.unread)}"
    return f"{when}, {SHARED_ONCE}"


def with_rss(number: int) -> str:
    """Names the processes whose PSS could not be read in time."""
    return f"{count(number, 'process', 'processes')} counted with RSS"


def not_measured(profile: Profile) -> str:
    """Says why there is no total PSS although memory was seen."""
    if profile.backend == DARWIN:
        return "macOS does not report it"
    return "not measured: record with --pss peaks"


def total_footprint(profile: Profile) -> str:
    """Says when the total footprint was highest, or why it is unknown."""
    footprint = profile.max_total_footprint
    if not footprint:
        return _unseen_as(profile.total_footprint.why)
    how = f"at {profile.elapsed(footprint.time):.2f} s, compressed memory counted"
    if footprint.unread:
        how += f"; without {count(footprint.unread, 'process', 'processes')} that could not be read"
    return how


def sampled_every(profile: Profile) -> str:
    """Says how often samples were taken."""
    sampling = profile.sampling
    return f"sampled every {format_interval((sampling.achieved or sampling.interval) / 1e9)}"


def _unseen_as(why: Why) -> str:
    return _unseen(why is Why.UNREADABLE)


def _unseen(unreadable: bool) -> str:
    return "it could not be read" if unreadable else "the job was in no sample"
