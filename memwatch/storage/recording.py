"""Recordings: a job's observations on disk, written while it runs and read for every report.

A recording has one JSON document a line, and is gzipped when its name ends in ".gz":

- the first line has the format of the file, and what is known as a job starts;
- then come batches of observations, `{"records": [[…], …], "text": "…"}`, in order: the columns,
  kinds and bits are named in the first line; the text holds that of the programs, into which
  records of kind "image" point by byte;
- the last line has what is known only when the job is over, `{"end": {…}}`.

Each batch is written before memwatch waits for the next one. So a file without its last line is
complete up to the moment when memwatch, or the machine, stopped.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from memwatch.model import observations
from memwatch.model.cgroup_account import CgroupAccount, CgroupSample, CgroupSpan
from memwatch.model.limits import Breach, LimitOutcome, Limits, Signalled
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import Batch
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, SourceOutcome
from memwatch.model.sources import LINUX
from memwatch.model.totals import Holder
from memwatch.storage.validate import (
    check_records,
    checked,
    limit_name,
    limit_names,
    text,
    wait_status,
)
from memwatch.version import __version__

FORMAT = 3
"""Number of this format. It grows when a reader of the format before would misunderstand a file.

Format 1 has no working directories in the text of programs. Where there is one a bit is set, so
that both formats are read in the same way. Formats 1 and 2 lack the last column: it is 0.
"""

COLUMNS = ("time", "process", "value", "second", "kind", "valid", "pid", "ppid", "third")

_KINDS = (
    *("STARTED", "IMAGE", "MEMORY", "EXITED", "TICK", "CPU", "IO", "PSS", "FOOTPRINT"),
    *("FAULTS", "PARTS", "TMPFS", "AVAILABLE"),
)
_BITS = tuple(
    name
    for name, value in vars(observations).items()
    if name[0].isupper() and isinstance(value, int) and name not in _KINDS
)


class BadRecording(ValueError):
    """The file is not a recording, or cannot be read by this version. The text has the reason."""


class Recorder:
    """Writes a recording. A failure ends the recording, never the job."""

    def __init__(self, path: str, *, overwrite: bool = False) -> None:
        """Raises OSError when the file cannot be made, FileExistsError when it exists already."""
        self.path = path
        self.error: OSError | None = None
        """The failure that ended the recording; None when nothing failed."""
        self._is_new = not os.path.lexists(path)
        how = 0 if overwrite else os.O_EXCL
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o666)
        self._gzip = zlib.compressobj(level=1, wbits=31) if path.endswith(".gz") else None

    def begin(self, beginning: Beginning) -> None:
        """Replaces the content of the file with the first line."""
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, 0)
        numbers = vars(observations)
        self._write(
            {
                "memwatch_recording": FORMAT,
                "memwatch_version": __version__,
                "columns": COLUMNS,
                "kinds": {name.lower(): numbers[name] for name in _KINDS},
                "bits": {name.lower(): numbers[name] for name in _BITS},
                "host": os.uname().nodename,
                **asdict(beginning),
            }
        )

    def add(self, batch: Batch) -> None:
        """Writes a batch, if there is anything in it."""
        if batch.records:
            text = batch.text.decode("utf-8", "surrogateescape")
            self._write({"records": batch.records, "text": text})

    def end(self, ending: Ending) -> None:
        """Writes the last line and closes the file."""
        fields = asdict(ending)
        outcome = fields.pop("limit_outcome")
        if outcome:
            outcome["struck"] = outcome.pop("signalled")
        fields["limits"] = outcome
        self._write({"end": fields}, last=True)
        self.close()

    def close(self) -> None:
        """Closes the file, once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """Restores what was there before, because the job never ran."""
        self.close()
        if self._is_new:
            os.unlink(self.path)

    def _write(self, document: dict[str, Any], *, last: bool = False) -> None:
        if self.error:
            return
        data = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        if self._gzip:
            how = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
            data = self._gzip.compress(data) + self._gzip.flush(how)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self.error = error


class Recording:
    """A recording that is read once, from its beginning to its end."""

    def __init__(self, path: str) -> None:
        """Reads the first line. Raises BadRecording, and OSError when the file cannot be read."""
        self.path = path
        self.ending: Ending | None = None
        """None until all batches have been read, and after that if the file was cut short."""
        self._lines = _lines(path)
        head = _parse(next(self._lines, b""))
        if "memwatch_recording" not in head:
            raise BadRecording(
                f"{path!r} is not a recording: give a file made with 'memwatch run -o'"
            )
        if head["memwatch_recording"] not in range(1, FORMAT + 1):
            raise BadRecording(
                f"{path!r} was written by memwatch {head.get('memwatch_version')}: "
                "a newer one is needed to read it"
            )
        self._columns = len(COLUMNS) if head["memwatch_recording"] > 2 else len(COLUMNS) - 1
        try:
            self.host = text(head["host"])
            self.beginning = _beginning(head)
        except KeyError as error:
            raise BadRecording(f"{path!r} is damaged: its first line lacks {error}") from None
        except (TypeError, ValueError) as error:
            raise BadRecording(f"{path!r} is damaged: its first line: {error}") from None

    def batches(self) -> Iterator[Batch]:
        """Yields the batches, then sets `ending`."""
        for line in self._lines:
            document = _parse(line)
            if "end" in document:
                self.ending = _ending(document["end"])
                return
            if "records" not in document:
                return
            records = [tuple(record) for record in document["records"]]
            check_records(records, self._columns)
            if self._columns < len(COLUMNS):
                records = [(*record, 0) for record in records]
            yield Batch(records, document["text"].encode("utf-8", "surrogateescape"))


def is_recording(start: bytes) -> bool:
    """Returns whether a file that begins with these bytes is a recording."""
    return start.startswith((b'{"memwatch_recording"', b"\x1f\x8b"))


def _beginning(head: dict[str, Any]) -> Beginning:
    beginning = Beginning(
        tuple(head["command"]),
        checked(Clock(**head["clock"])),
        head["start"],
        head["interval"],
        head.get("backend", LINUX),  # the key is newer than the format: Linux was the only one
        head.get("requested_interval"),
        head.get("directory"),
    )
    if checked(beginning).interval <= 0:
        raise ValueError(f"interval cannot be {beginning.interval}")
    if not beginning.command:
        raise ValueError("command cannot be empty")
    return beginning


def _ending(fields: dict[str, Any]) -> Ending:
    limits = fields.pop("limits", None)
    cgroup = fields.pop("cgroup", None)
    ending = Ending(
        **{
            **fields,
            "exit_status": wait_status(fields["exit_status"]),
            "overhead": checked(Overhead(**fields["overhead"])),
            "memory_limit": checked(MemoryLimit(**fields["memory_limit"])),
            "sources": tuple(checked(SourceOutcome(**source)) for source in fields["sources"]),
            "held_back": tuple(fields["held_back"]),
            "limit_outcome": None if limits is None else _outcome(limits),
            "cgroup": None if cgroup is None else _cgroup(cgroup),
        }
    )
    return checked(ending)


def _cgroup(fields: dict[str, Any]) -> CgroupAccount:
    largest = fields["largest"]
    account = CgroupAccount(
        **{
            **fields,
            "largest": None if largest is None else checked(CgroupSample(*largest)),
            "history": tuple(checked(CgroupSpan(*each)) for each in fields["history"]),
        }
    )
    return checked(account)


def _outcome(fields: dict[str, Any]) -> LimitOutcome:
    outcome = LimitOutcome(
        checked(Limits(*fields["limits"])),
        fields["kill"],
        tuple(map(_breach, fields["breaches"])),
        fields["struck"],
        tuple(fields["killed"]),
        tuple(fields["survivors"]),
        # The keys from here on are newer than the format.
        tuple(_receiver(each) for each in fields.get("receivers", ())),
        fields.get("grew", False),
        limit_names(fields.get("inconclusive", ())),
    )
    return checked(outcome)


def _receiver(fields: list[Any]) -> Signalled:
    pid, command, signals = fields
    return checked(Signalled(pid, command, tuple(signals)))


def _breach(fields: dict[str, Any]) -> Breach:
    holders = tuple(checked(Holder(*each)) for each in fields["holders"])
    limit_name(fields["limit"])
    return checked(Breach(**{**fields, "holders": holders}))


def _parse(line: bytes) -> dict[str, Any]:
    """Returns the JSON object of a line; empty when it is not one, as a line that was written only
    in part."""
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _lines(path: str) -> Iterator[bytes]:
    """Yields the complete lines of a file: a last line without a newline is left out."""
    parts: list[bytes] = []
    for chunk in _chunks(path):
        first, *others = chunk.split(b"\n")
        parts.append(first)
        if others:
            yield b"".join(parts)
            yield from others[:-1]
            parts = others[-1:]


def _chunks(path: str) -> Iterator[bytes]:
    """Yields the content of a file, decompressed, up to where that fails."""
    with open(path, "rb") as file:
        unzip = None
        while chunk := file.read(1 << 16):
            if file.tell() == len(chunk) and chunk.startswith(b"\x1f\x8b"):
                unzip = zlib.decompressobj(wbits=31)
            try:
                yield unzip.decompress(chunk) if unzip else chunk
            except zlib.error:
                return
