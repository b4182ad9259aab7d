"""The lines of the summary on a run's limits: which was exceeded, and how the job was ended."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch.model.limits import PROCESS_RSS, TOTAL_PSS, TOTAL_RSS, Breach, LimitOutcome
from memwatch.model.profile import Profile
from memwatch.units import Style, count, format_size, printable

NAMES = {TOTAL_RSS: "total RSS", PROCESS_RSS: "RSS of a process", TOTAL_PSS: "total PSS"}

# Rows before "... others": what held the memory, and what survived SIGKILL.
HOLDERS = 5

_MARGIN = " " * 17


def lines(profile: Profile, bold: Style, dim: Style) -> Iterator[str]:
    """Yields the lines; none for a run without limits."""
    outcome = profile.limit_outcome
    if not outcome:
        return
    if not outcome.breaches:
        yield from _kept(profile, outcome)
        return
    for breach in outcome.breaches:
        where = f"at {profile.elapsed(breach.time):.2f} s, {_holder(breach)}"
        size, limit = format_size(breach.size), format_size(breach.allowed)
        at_least = "at least " if breach.limit == TOTAL_RSS and breach.pid else ""
        what = f"{NAMES[breach.limit]} {at_least}{size}, limit {limit}"
        yield f"{bold(f'Limit exceeded:  {what}')}  ({where})"
    yield _MARGIN + _ending(outcome)
    if outcome.survivors:
        yield bold(_MARGIN + f"still alive after SIGKILL: {_pids(outcome.survivors)}")
    yield from _holders(outcome.breaches[0], bold, dim)


def _kept(profile: Profile, outcome: LimitOutcome) -> Iterator[str]:
    limits = zip(NAMES.values(), outcome.limits, strict=True)
    texts = (f"{name} {format_size(size)}" for name, size in limits if size is not None)
    known = "not exceeded in any sample"
    pss = profile.max_total_pss
    if pss and pss.unread and outcome.limits.total_pss:
        known += ", not counting PSS that could not be read"
    if profile.total_rss.size is None:
        known = "unknown whether exceeded, no memory was seen"
    yield f"Limits:          {', '.join(texts)}: {known}"
    if outcome.limits.total_pss and not profile.max_total_pss:
        yield _MARGIN + "the total PSS was never measured"


def _holder(breach: Breach) -> str:
    if breach.pid is None:
        return f"{count(breach.processes, 'process', 'processes')} alive"
    alone = " alone" if breach.limit == TOTAL_RSS else ""
    return f"pid {breach.pid}, {printable(breach.command or '?')}{alone}"


def _ending(outcome: LimitOutcome) -> str:
    if not outcome.kill:
        return "the job was left running (--on-limit report)"
    if not outcome.signalled:
        return "the job had already ended by itself"
    if not outcome.killed:
        return "sent SIGTERM, and the job ended"
    processes = count(len(outcome.killed), "process", "processes")
    were = "was" if len(outcome.killed) == 1 else "were"
    return f"sent SIGTERM; {processes} ignored it and {were} killed"


def _pids(pids: tuple[int, ...]) -> str:
    text = ", ".join(f"pid {pid}" for pid in pids[:HOLDERS])
    return text if len(pids) <= HOLDERS else f"{text}, and {len(pids) - HOLDERS:,} more"


def _holders(breach: Breach, bold: Style, dim: Style) -> Iterator[str]:
    if len(breach.holders) < 2:
        return
    yield ""
    yield bold("When the limit was exceeded, by the last samples:")
    total = sum(holder.rss for holder in breach.holders)
    for holder in breach.holders[:HOLDERS]:
        size, share = format_size(holder.rss), holder.rss / total
        yield f"  {size:>10}  {share:4.0%}  {printable(holder.group)}" + dim(f"  pid {holder.pid}")
    others = breach.holders[HOLDERS:]
    if others:
        rest = sum(holder.rss for holder in others)
        text = count(len(others), "other process", "other processes")
        yield f"  {format_size(rest):>10}  {rest / total:4.0%}  {dim(text)}"
