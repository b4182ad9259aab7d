"""The event sources of this platform, and the outcome of each in a run."""

from __future__ import annotations

from collections.abc import Collection

from memwatch.model import sources
from memwatch.model.profile import SourceOutcome
from memwatch.runner import native
from memwatch.runner.exit_hook import ExitHook

SOURCES = {
    source.id: source.number
    for source in sources.of_backend(native.backend())
    if source.by_itself and source.number != sources.SAMPLING
}
"""Event sources of this platform that do not affect the job, by id. A run uses all that work."""


def outcomes(
    stats: native.SamplerStats, wanted: Collection[str], hook: ExitHook
) -> tuple[tuple[SourceOutcome, ...], str | None]:
    """Returns the outcome of each wanted source, and the advice that would make peaks exact."""
    reported = {
        sources.CONNECTOR: stats.connector_error,
        sources.PERF: stats.perf_error,
        sources.TASKSTATS: stats.taskstats_error,
        sources.KQUEUE: stats.kqueue_error,
    }
    errors = {SOURCES[name]: reported[SOURCES[name]] for name in wanted}
    if stats.sources & sources.CONNECTOR:
        errors.pop(sources.PERF, None)
    if hook.wanted:
        errors[sources.HOOK] = hook.error
    if not any(errors.values()) and errors.get(sources.TASKSTATS) == 0:
        return tuple(SourceOutcome(sources.IDS[number], True, None) for number in errors), None
    from memwatch.runner.system_facts import read_facts

    facts = read_facts()
    found = []
    for number, error in errors.items():
        refusal = sources.why_not(number, error, facts)
        reason = refusal.reason if refusal else None
        found.append(SourceOutcome(sources.IDS[number], not error, reason))
    if hook.wanted and not hook.error:
        return tuple(found), None
    if not hook.wanted:
        errors[sources.HOOK] = native.probe(sources.HOOK)
    return tuple(found), sources.exact_peaks(errors, facts)
