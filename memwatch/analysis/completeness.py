"""Why a job may not have done all that it would have done, in words."""

from __future__ import annotations

from memwatch.model.profile import Profile
from memwatch.units import format_size


def stopped(profile: Profile) -> str | None:
    """By memwatch."""
    outcome = profile.limit_outcome
    if outcome and outcome.struck:
        return f"memwatch ended it at its limit of {format_size(outcome.breaches[0].allowed)}"
    return None


def unfinished(profile: Profile) -> str | None:
    """Why the job might have held more than was seen; None when it came to its own end in sight."""
    return stopped(profile) or profile.sampling.error


def failed(profile: Profile) -> str | None:
    """By itself, or stopped; None where it came to a good end, and where that is not known."""
    if why := stopped(profile):
        return why
    code = profile.exit_code
    return f"the command failed (exit code {code})" if code else None
