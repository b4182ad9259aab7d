"""Loads results from a file: a recording, or the JSON of a run."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memwatch.model.footprint_tracks import FootprintTracks
from memwatch.model.groups import COMMAND, group_key
from memwatch.model.job import Job
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import Observer
from memwatch.model.profile import CUT_SHORT, Ending, Overhead, Profile, from_job
from memwatch.model.regroup import regrouped
from memwatch.model.tracks import Tracks
from memwatch.storage.profile_json import BadProfile, from_json
from memwatch.storage.recording import BadRecording, Recording, is_recording
from memwatch.storage.validate import in_words, wait_status

# What reading a value of the wrong type, or from a part of a file, may raise.
_SIGNS_OF_DAMAGE = (
    *(LookupError, TypeError, AttributeError, ValueError),
    *(struct.error, OverflowError, RecursionError),
)


class BadResults(ValueError):
    """The file cannot be used. The text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Results:
    """What a file holds."""

    path: str
    profile: Profile
    host: str | None
    """The machine that the job ran on; None where the file does not have it."""
    tracks: Tracks | None
    """Every sample of every process; None when not asked for, or when the file has none."""
    footprints: FootprintTracks | None = None
    """What each process held over time of what the system cannot simply drop; None in the same
    cases."""

    @property
    def has_samples(self) -> bool:
        """Whether the file is a recording, which has every observation."""
        return self.host is not None


def load(
    path: str,
    *,
    timeline: bool = False,
    tracks: bool = False,
    footprints: bool = False,
    group_by: str | None = None,
    observers: Sequence[Observer] = (),
) -> Results:
    """Reads a recording or the JSON of `memwatch run --json`.

    The profile of a recording has a timeline only when it is asked for, and the profile of JSON
    when the file has one. `group_by` is as groups.group_key() takes it; None groups by command, or
    as the JSON is grouped. Where JSON is grouped by another key, what a group held at one time is
    not known. `observers` are called with each batch of a recording, as when the job ran.
    Raises BadResults, OSError when the file cannot be read, ValueError for a bad `group_by`.
    """
    if group_by is not None:
        group_key(group_by)
    with open(path, "rb") as file:
        start = file.read(32)
    try:
        if is_recording(start):
            recording = Recording(path)
            found = FootprintTracks() if footprints else None
            job = Job(
                timeline=timeline,
                group_by=group_by or COMMAND,
                directory=recording.beginning.directory,
                footprints=found,
            )
            return _replay(recording, job, Tracks() if tracks else None, found, observers)
        profile = from_json(_document(path))
        if group_by is not None:
            profile = regrouped(profile, group_by)
        return Results(path, profile, None, None)
    except BadResults:
        raise
    except BadRecording as error:
        raise BadResults(str(error)) from None
    except BadProfile as error:
        raise BadResults(f"{path!r} {error}") from None
    except _SIGNS_OF_DAMAGE as error:
        raise BadResults(f"{path!r} is damaged: {in_words(error)}") from None


def _document(path: str) -> Any:
    """Returns the content of a JSON file. Raises BadResults."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError):
        raise BadResults(
            f"{path!r} holds no results: give a recording (memwatch run -o) "
            "or the JSON of memwatch run --json"
        ) from None


def _replay(
    recording: Recording,
    job: Job,
    tracks: Tracks | None,
    footprints: FootprintTracks | None,
    observers: Sequence[Observer],
) -> Results:
    all_observers = [job.apply, *([tracks.apply] if tracks else []), *observers]
    last = recording.beginning.start
    for batch in recording.batches():
        for observe in all_observers:
            observe(batch)
        if batch.records:
            last = max(last, batch.records[-1][0])
    ending = recording.ending or Ending(
        last,
        wait_status(job.root_status),
        Overhead(None, None),
        MemoryLimit(None, None, None, None, None, None),
        error=CUT_SHORT,
    )
    profile = from_job(job, recording.beginning, ending)
    return Results(recording.path, profile, recording.host, tracks, footprints)
