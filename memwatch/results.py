"""Results from a file: a recording, or the JSON of a run."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass

from memwatch.job import Job
from memwatch.json_profile import BadProfile, from_json
from memwatch.memory_limit import MemoryLimit
from memwatch.observations import Batch
from memwatch.profile import Ending, Overhead, Profile, from_job
from memwatch.recording import CUT_SHORT, BadRecording, Recording, is_recording
from memwatch.tracks import Tracks


class BadResults(ValueError):
    """The file cannot be used. The text names it, and says what to do."""


@dataclass(frozen=True, slots=True)
class Results:
    path: str
    profile: Profile
    host: str | None
    """The machine it ran on, where the file says so."""
    tracks: Tracks | None
    """Every sample of every process; None when not asked for, or when the file has none."""

    @property
    def has_samples(self) -> bool:
        """It is from a recording, which has all that was observed."""
        return self.host is not None


def load(
    path: str,
    *,
    timeline: bool = False,
    tracks: bool = False,
    on_batch: Callable[[Batch], None] | None = None,
) -> Results:
    """Reads a recording or the JSON of `memwatch run --json`.

    The profile of a recording has a timeline only when it is asked for; that of JSON when the
    file has one. `on_batch` is called for each batch of a recording, as it was when the job ran.
    Raises BadResults, and OSError when the file cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(32)
    try:
        if is_recording(start):
            return _replay(Recording(path), timeline, tracks, on_batch)
        with open(path, encoding="utf-8") as file:
            return Results(path, from_json(json.load(file)), None, None)
    except BadRecording as error:
        raise BadResults(str(error)) from None
    except BadProfile as error:
        raise BadResults(f"{path!r}: {error}") from None
    except (KeyError, TypeError, AttributeError, IndexError, struct.error, OverflowError) as error:
        raise BadResults(f"{path!r} is damaged: {error!r}") from None
    except (ValueError, RecursionError):
        raise BadResults(
            f"{path!r} holds no results: give a recording (memwatch run -o) "
            "or the JSON of memwatch run --json"
        ) from None


def _replay(
    recording: Recording,
    timeline: bool,
    tracks: bool,
    on_batch: Callable[[Batch], None] | None,
) -> Results:
    job = Job(timeline=timeline)
    collected = Tracks() if tracks else None
    last = recording.beginning.start
    for batch in recording.batches():
        job.apply(batch)
        if collected:
            collected.apply(batch)
        if on_batch:
            on_batch(batch)
        if batch.records:
            last = max(last, batch.records[-1][0])
    ending = recording.ending or Ending(
        last,
        job.root_status,
        Overhead(None, None),
        MemoryLimit(None, None, None, None, None, None),
        error=CUT_SHORT,
    )
    profile = from_job(job, recording.beginning, ending)
    return Results(recording.path, profile, recording.host, collected)
