"""The lines of the summary on a run's limits: which was exceeded, and how the job was ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memwatch.analysis import wording
from memwatch.model.limits import (
    AVAILABLE_MEMORY,
    PROCESS_RSS,
    TOTAL_FOOTPRINT,
    TOTAL_PSS,
    TOTAL_RSS,
    Breach,
    LimitOutcome,
    Signalled,
)
from memwatch.model.profile import Profile
from memwatch.units import Style, count, format_size, printable

NAMES = {
    TOTAL_RSS: "total RSS",
    PROCESS_RSS: "RSS of a process",
    TOTAL_PSS: "total PSS",
    TOTAL_FOOTPRINT: "footprint",
    AVAILABLE_MEMORY: "available memory",
}

_WHY_INCONCLUSIVE = {
    TOTAL_RSS: "memory of the job could not be read",
    PROCESS_RSS: "memory of a process could not be read",
    TOTAL_PSS: "the total RSS was above it when no sum of PSS could be made",
    TOTAL_FOOTPRINT: "the job was in no sample that has it",
    AVAILABLE_MEMORY: "it could not be read",
}

# Rows before "... others": what held the memory, and what survived SIGKILL.
HOLDERS = 5

# Processes that are named among those that got a signal.
RECEIVERS = 3

_MARGIN = " " * 17


def lines(profile: Profile, bold: Style, dim: Style) -> Iterator[str]:
    """Yields the lines; none for a run without limits."""
    outcome = profile.limit_outcome
    if not outcome:
        return
    if not outcome.breaches:
        yield from _kept(profile, outcome)
        yield from _inconclusive(profile, outcome)
        return
    for breach in outcome.breaches:
        what, where = _what(breach), _where(profile, breach)
        yield f"{bold(f'Limit exceeded:  {what}')}  ({where})"
    for line in _ending(outcome):
        yield _MARGIN + line
    if outcome.survivors:
        yield bold(_MARGIN + f"still alive after SIGKILL: {_pids(outcome.survivors)}")
    yield from _inconclusive(profile, outcome)
    yield from _holders(outcome.breaches[0], bold, dim)


def message(profile: Profile) -> str | None:
    """Returns what became of the limits in one line, for runs without a summary; None when none was
    exceeded, and none is inconclusive."""
    outcome = profile.limit_outcome
    if not outcome:
        return None
    parts = []
    if outcome.breaches:
        breach = outcome.breaches[0]
        parts += [f"limit exceeded: {_what(breach)} ({_where(profile, breach)})", *_ending(outcome)]
    parts += [
        f"the limit on {NAMES[name]} is inconclusive: {_why_inconclusive(profile, name)}"
        for name in _inconclusive_names(profile, outcome)
    ]
    return "; ".join(parts) or None


def _what(breach: Breach) -> str:
    size, limit = format_size(breach.size), format_size(breach.allowed)
    if breach.limit == AVAILABLE_MEMORY:
        return f"{NAMES[breach.limit]} {size}, less than {limit}"
    at_least = "at least " if breach.limit == TOTAL_RSS and breach.pid else ""
    return f"{NAMES[breach.limit]} {at_least}{size}, limit {limit}"


def _where(profile: Profile, breach: Breach) -> str:
    return f"at {profile.elapsed(breach.time):.2f} s, {_holder(breach)}"


def _kept(profile: Profile, outcome: LimitOutcome) -> Iterator[str]:
    unknown = _inconclusive_names(profile, outcome)
    limits = outcome.limits.by_name()
    kept = {name: size for name, size in limits.items() if name not in unknown}
    if kept:
        texts = (f"{NAMES[name]} {_allowed(name, size)}" for name, size in kept.items())
        yield f"Limits:          {', '.join(texts)}: not exceeded in any sample"


def _allowed(name: str, size: int) -> str:
    return f"{'at least ' if name == AVAILABLE_MEMORY else ''}{format_size(size)}"


def _inconclusive(profile: Profile, outcome: LimitOutcome) -> Iterator[str]:
    limits = outcome.limits.by_name()
    for name in _inconclusive_names(profile, outcome):
        what = f"{NAMES[name]} {_allowed(name, limits[name])}"
        yield f"Inconclusive:    {what}: {_why_inconclusive(profile, name)}"


def _inconclusive_names(profile: Profile, outcome: LimitOutcome) -> list[str]:
    """Returns the limits that may have been exceeded. Results of older versions do not name
    them."""
    names = set(outcome.inconclusive)
    limits = outcome.limits.by_name()
    exceeded = {breach.limit for breach in outcome.breaches}
    total = profile.total_rss.size
    if not profile.max_total_pss and (total is None or total > limits.get(TOTAL_PSS, total)):
        names.add(TOTAL_PSS)
    if total is None:
        names |= {TOTAL_RSS, PROCESS_RSS}
    return [name for name in limits if name in names - exceeded]


def _why_inconclusive(profile: Profile, name: str) -> str:
    if not profile.was_seen:
        return "no memory was seen"
    if profile.sampling.error:
        return "sampling ended before the job"
    if name == TOTAL_FOOTPRINT and (bounds := profile.footprint):
        held = wording.between(bounds.low, bounds.high)
        return f"it was {held}, and {wording.closer_bounds(bounds)}"
    return _WHY_INCONCLUSIVE[name]


def _holder(breach: Breach) -> str:
    if breach.pid is None:
        alive = f"{count(breach.processes, 'process', 'processes')} alive"
        if breach.by_account:
            return f"by the control group's account, {alive}"
        if breach.in_group is None:
            return alive
        return f"{'in the control group' if breach.in_group else 'on the machine'}, {alive}"
    alone = " alone" if breach.limit == TOTAL_RSS else ""
    return f"pid {breach.pid}, {printable(breach.command or '?')}{alone}"


def _ending(outcome: LimitOutcome) -> list[str]:
    """Returns how the job was ended, and with which exit code."""
    code = outcome.exit_code
    if not outcome.kill:
        return [
            "the job was left running (--on-limit report)",
            f"exit code {code} if the command succeeds",
        ]
    found = []
    terminated = [each for each in outcome.receivers if "SIGTERM" in each.signals]
    killed = [each for each in outcome.receivers if "SIGKILL" in each.signals]
    if not outcome.signalled:
        found.append("the job had already ended by itself")
    elif not outcome.killed:
        found.append(f"sent SIGTERM{_to(terminated)}, and the job ended")
    else:
        processes = count(len(outcome.killed), "process", "processes")
        why = "the job grew on" if outcome.grew else f"{processes} did not end in time"
        found.append(f"sent SIGTERM{_to(terminated)}")
        found.append(f"{why}: sent SIGKILL{_to(killed) or f' to {processes}'}")
    found.append(f"exit code {code} of memwatch")
    return found


def _to(receivers: Sequence[Signalled]) -> str:
    """Returns " to cc1 (pid 12), make (pid 10)"; nothing for results of older versions."""
    names = [f"{printable(each.command or '?')} (pid {each.pid})" for each in receivers[:RECEIVERS]]
    if more := len(receivers) - len(names):
        names.append(count(more, "other process", "other processes"))
    return f" to {', '.join(names)}" if names else ""


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
