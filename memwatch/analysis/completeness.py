"""Reasons why a run may be incomplete."""

from __future__ import annotations

from memwatch.model.limits import AVAILABLE_MEMORY
from memwatch.model.profile import Profile
from memwatch.units import format_size


def stopped(profile: Profile) -> str | None:
    """Returns how memwatch ended the job; None when it did not."""
    outcome = profile.limit_outcome
    if not outcome or not outcome.signalled:
        return None
    breach = outcome.breaches[0]
    if breach.limit == AVAILABLE_MEMORY:
        return f"memwatch ended it when less than {format_size(breach.allowed)} was available"
    return f"memwatch ended it at its limit of {format_size(breach.allowed)}"


def unfinished(profile: Profile) -> str | None:
    """Returns why the job might have held more than was seen; None when it was followed until it
    ended by itself."""
    return stopped(profile) or profile.sampling.error


def failed(profile: Profile) -> str | None:
    """Returns why the job may not have done all its work: it was stopped, or the command failed.
    None when the command succeeded, or its exit code is unknown."""
    if why := stopped(profile):
        return why
    code = profile.exit_code
    return f"the command failed (exit code {code})" if code else None
