"""Recordings of jobs that never ran."""

from __future__ import annotations

from pathlib import Path

from memwatch.model import observations
from memwatch.model.limits import LimitOutcome
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import Batch, Observation
from memwatch.model.profile import Beginning, Clock, Ending, Overhead
from memwatch.storage.recording import Recorder

START = 1_000_000_000_000  # nanoseconds since boot


class Story:
    """A recording whose every value is known. Times are milliseconds, sizes KiB."""

    def __init__(self, path: Path, *command: str) -> None:
        self.path = path
        self.totals: list[tuple[int, int]] = []
        """Time in microseconds and bytes, of each tick."""
        self._recorder = Recorder(str(path), overwrite=True)
        self._recorder.begin(Beginning(command or ("make",), Clock(START, START), START, 10**7))
        self._records: list[Observation] = []
        self._text = bytearray()
        self._held: dict[int, int] = {}

    def start(self, serial: int, at: float, *argv: str, parent: int = 1, pid: int = 0) -> None:
        valid = observations.HAS_START | (observations.HAS_PARENT if serial > 1 else 0)
        self._held[serial] = 0
        self._add(observations.STARTED, at, serial, parent, self._time(at), valid, pid)
        self.execute(serial, at, *argv)

    def execute(self, serial: int, at: float, *argv: str) -> None:
        words = [word.encode("utf-8", "surrogateescape") for word in argv]
        name = words[0].rsplit(b"/", 1)[-1]
        text = b"\0".join((name, b"/bin/" + name, *words))
        where = len(self._text)
        self._text += text
        valid = observations.HAS_EXE | observations.HAS_ARGV
        self._add(observations.IMAGE, at, serial, where, len(text), valid)

    def memory(self, serial: int, at: float, size: int) -> None:
        self._held[serial] = size * 1024
        self._add(observations.MEMORY, at, serial, size * 1024, 0, observations.HAS_RSS)

    def exact(self, serial: int, at: float, size: int) -> None:
        """The kernel's record of a process that no sample saw."""
        valid = observations.HAS_WATERMARK | observations.FINAL
        self._add(observations.MEMORY, at, serial, 0, size * 1024, valid)

    def exit(self, serial: int, at: float, status: int = 0) -> None:
        del self._held[serial]
        valid = observations.HAS_STATUS | observations.BY_EVENT
        self._add(observations.EXITED, at, serial, status, 0, valid)

    def tick(self, at: float) -> None:
        total = sum(self._held.values())
        self.totals.append((round(at * 1000), total))
        self._add(observations.TICK, at, 0, total, len(self._held), 0)
        if len(self._records) > 5000:
            self.cut_short()

    def footprint(self, serial: int, at: float, size: int) -> None:
        """Its highest, at its end; of serial 0, that of all of them together, now."""
        if serial:
            valid = observations.HAS_WATERMARK | observations.FINAL
            self._add(observations.FOOTPRINT, at, serial, 0, size * 1024, valid)
        else:
            valid = observations.HAS_FOOTPRINT
            self._add(observations.FOOTPRINT, at, 0, size * 1024, 1, valid)

    def pss(self, at: float, size: int) -> None:
        total = sum(self._held.values())
        self._add(observations.PSS, at, total, size * 1024, 0, 0)

    def end(
        self,
        at: float,
        limit: int | None = None,
        *,
        status: int = 0,
        limit_outcome: LimitOutcome | None = None,
    ) -> Path:
        """`limit` in KiB; `status` as wait(2) gives it."""
        self.cut_short()
        source = None if limit is None else "cgroup v2"
        size = None if limit is None else limit * 1024
        self._recorder.end(
            Ending(
                self._time(at),
                status,
                Overhead(10**7, 1 << 24),
                MemoryLimit(size, source, None, None, None, None),
                limit_outcome=limit_outcome,
            )
        )
        return self.path

    def cut_short(self) -> Path:
        """Without its last line."""
        self._recorder.add(Batch(self._records, bytes(self._text)))
        self._records, self._text = [], bytearray()
        return self.path

    def _time(self, at: float) -> int:
        return START + round(at * 1e6)

    def _add(
        self, kind: int, at: float, serial: int, value: int, second: int, valid: int, pid: int = 0
    ) -> None:
        self._records.append(
            (self._time(at), serial, value, second, kind, valid, pid or 100 + serial, 100)
        )
