"""Reads the kernel's exit records (taskstats) of the whole machine, without memwatch."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from typing import NamedTuple

import pytest


class ExitRecord(NamedTuple):
    """What the kernel recorded about a process when it exited."""

    pid: int
    ppid: int
    name: str
    peak: int
    status: int
    ran: int
    """Nanoseconds on a processor, of all threads; 0 where the kernel does not count them."""
    user: int
    """Microseconds, as sampled by the kernel's clock tick."""
    system: int
    read_bytes: int
    written_bytes: int


class ExitRecords:
    """Receives the kernel's exit records (taskstats) of the whole machine.

    Records are read only on request: the buffer holds tens of thousands.
    """

    GENERIC, CONTROL, TASKSTATS_GET = 16, 16, 1
    AGGREGATE_PID, STATS, REGISTER_CPUS = 4, 3, 3
    REQUEST, ACK, ERROR = 1, 4, 2

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.GENERIC)
        so_rcvbufforce = 33
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 128 << 20)
            name = struct.pack("=HH12s", 4 + 10, 2, b"TASKSTATS\0")
            reply = self._ask(self.CONTROL, 3, name)
            family = self._attributes(reply[20:])[1]
            self._family = int.from_bytes(family, sys.byteorder)
            cpus = Path("/sys/devices/system/cpu/possible").read_bytes().strip() + b"\0"
            self._ask(self._family, self.TASKSTATS_GET, self._attribute(self.REGISTER_CPUS, cpus))
        except OSError:
            self._socket.close()
            raise
        self._records: dict[int, ExitRecord] = {}

    def close(self) -> None:
        self._socket.close()

    @staticmethod
    def _attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    @staticmethod
    def _attributes(text: bytes) -> dict[int, bytes]:
        found = {}
        while len(text) >= 4:
            length, kind = struct.unpack_from("=HH", text)
            found[kind & 0x3FFF] = text[4:length]
            text = text[(length + 3) & ~3 :]
        return found

    def _ask(self, family: int, command: int, attribute: bytes) -> bytes:
        """Sends a request and returns the answer, or b"" if there was only an acknowledgement."""
        flags = self.REQUEST | self.ACK
        length = 20 + len(attribute)
        head = struct.pack("=IHHIIBBH", length, family, flags, 1, 0, command, 1, 0)
        self._socket.send(head + attribute)
        answer = b""
        while True:
            # The acknowledgement comes last. Records may come in between.
            message = self._socket.recv(1 << 16)
            kind = struct.unpack_from("=H", message, 4)[0]
            if kind == self.ERROR:
                (error,) = struct.unpack_from("=i", message, 16)
                if error:
                    raise OSError(-error, os.strerror(-error))
                return answer
            if kind == family:
                answer = message

    def read(self) -> dict[int, ExitRecord]:
        """Returns all records so far, by pid; the threads of a process are merged."""
        while True:
            try:
                message = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self._records
            except OSError as error:
                pytest.fail(f"the test itself lost exit records: {error}; run it again")
            length, kind = struct.unpack_from("=IH", message)
            if kind == self._family:
                self._take(message[20:length])

    def _take(self, text: bytes) -> None:
        aggregate = self._attributes(text).get(self.AGGREGATE_PID)
        if aggregate is None:
            return
        stats = self._attributes(aggregate)[self.STATS]
        version, status = struct.unpack_from("=HxxI", stats)
        name = stats[80:112].split(b"\0")[0].decode("utf-8", "backslashreplace")
        _, pid, ppid = struct.unpack_from("=QII", stats, 120)
        sums = [
            number
            for offset, layout in ((72, "=Q"), (152, "=QQ"), (248, "=QQ"))
            for number in struct.unpack_from(layout, stats, offset)
        ]
        (peak,) = struct.unpack_from("=Q", stats, 200)
        if version >= 12:
            (pid,) = struct.unpack_from("=I", stats, 368)  # of the process, not the thread
        before = self._records.get(pid)
        if before and before.ppid == ppid:  # another thread of the same process
            peak = max(before.peak, peak)
            sums = [one + other for one, other in zip(before[5:], sums, strict=True)]
        self._records[pid] = ExitRecord(pid, ppid, name, peak, status, *sums)

    def below(self, pid: int) -> dict[int, ExitRecord]:
        """Returns the records of `pid` and its descendants; a process whose parent ended first, and
        everything below it, is missing."""
        records = self.read()
        found: dict[int, ExitRecord] = {}
        new = {pid}
        while new:
            found.update((each, records[each]) for each in new if each in records)
            new = {p for p, each in records.items() if each.ppid in new and p not in found}
        return found
