"""Reduces samples to what a page can hold: the highest of each span of time."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from memwatch.model.totals import Timeline
from memwatch.model.tracks import PartsTrack, Track


def thin_tracks(
    tracks: Mapping[int, Track], interval: int, most: int
) -> tuple[Mapping[int, Track], int | None]:
    """Returns tracks of at most `most` samples in all, but with at least one of each process.

    Each sample that is kept is a real one, the highest of its span. Also returns that span in
    nanoseconds; None when all samples are kept.
    """
    number = sum(len(track.times) for track in tracks.values())
    span = None
    while number > max(most, len(tracks)):
        span = 2 * (span or interval)
        tracks = {serial: _thin(track, span) for serial, track in tracks.items()}
        number = sum(len(track.times) for track in tracks.values())
    return tracks, span


def thin_parts(parts: PartsTrack, span: int) -> PartsTrack:
    """Keeps the last of each span of nanoseconds."""
    last = {time // span: i for i, time in enumerate(parts.times)}
    return PartsTrack._make(array("q", (column[i] for i in last.values())) for column in parts)


def thin_timeline(timeline: Timeline, interval: int, most: int) -> tuple[Timeline, int | None]:
    """Does the same for the totals."""
    span = None
    while len(timeline.times) > most:
        span = 2 * (span or interval)
        kept = _highest(timeline.times, timeline.totals, span)
        timeline = Timeline._make([each[i] for i in kept] for each in timeline)
    return timeline, span


def _thin(track: Track, span: int) -> Track:
    kept = _highest(track.times, track.rss, span)
    if len(kept) == len(track.times):
        return track
    return Track._make(array("q", (column[i] for i in kept)) for column in track)


def _highest(times: Sequence[int], values: Sequence[int], span: int) -> list[int]:
    """Returns the index of the highest value of each span, the first of equals."""
    kept: list[int] = []
    current = None
    highest = 0
    for i, time in enumerate(times):
        value = values[i]
        if time // span != current:
            current = time // span
            kept.append(i)
            highest = value
        elif value > highest:
            kept[-1] = i
            highest = value
    return kept
