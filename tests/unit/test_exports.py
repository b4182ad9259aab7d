"""Exports: each is read with the parser of its own tools and compared with the results."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.exports import firefox
from memwatch.exports.formats import FORMATS
from memwatch.exports.perfetto import FIRST_FREE_PID
from memwatch.exports.protobuf import integer, text, varint
from memwatch.exports.text import LONGEST_NAME, job_name
from memwatch.model.filters import Filter, apply
from memwatch.model.job import Job
from memwatch.model.memory_limit import CGROUP_V2, MemoryLimit
from memwatch.model.observations import (
    BY_EVENT,
    TICK_DETAILED,
)
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, SourceOutcome, from_job
from memwatch.model.tracks import Tracks
from memwatch.storage import profile_json_writer
from memwatch.storage.load import Results
from memwatch.storage.profile_json import from_json
from support.scripted import MIB, MS, Script

START = 5_000_000 * MS
SINCE_1970 = 1_700_000_000 * 10**9
HOSTILE = b'</script><img onerror="a" src=\'b\'>\n\\,;\r\t\x1b[2J"%{}\xff\xe2\x82\xac'


class Exported(Script):
    """A scripted job to export. Times are in milliseconds since its start."""

    def __init__(self, *command: str) -> None:
        super().__init__(*command, time_unit=MS, origin=START)

    def results(self, end: float = 100, *, series: bool = True) -> Results:
        batch = self.batch()
        job, tracks = Job(timeline=series), Tracks()
        job.apply(batch)
        tracks.apply(batch)
        beginning = Beginning(self.command, Clock(SINCE_1970, START), START, 10 * MS)
        ending = Ending(
            START + round(end * MS),
            0,
            Overhead(50 * MS, 16 * MIB),
            MemoryLimit(4 << 30, CGROUP_V2, "/sys/fs/cgroup/a", 1 << 30, 0, 0),
            sources=(SourceOutcome("connector", True, None),),
        )
        profile = from_job(job, beginning, ending)
        if not series:
            out = io.StringIO()
            profile_json_writer.write(profile, apply(profile.processes, Filter()), out)
            profile = from_json(json.loads(out.getvalue()))
        return Results("a file", profile, "here", tracks if series else None)


def build(name: bytes = b"cc1", argument: bytes = b"-quiet") -> Exported:
    """Builds a job: make, a fork of it that executes `name`, a killed process, a daemon that reuses
    the pid of the killed one and stays, and a process whose memory was never read."""
    story = Exported("/usr/bin/make", "-j8", os.fsdecode(argument))
    story.start(1, pid=101, found_by=BY_EVENT, at=0)
    story.execute(1, b"make", b"-j8", argument, name=b"make")
    story.memory(1, 2 * MIB, at=1)
    story.tick(2 * MIB, 1)
    story.start(2, parent=1, pid=102, found_by=BY_EVENT, at=5)
    story.execute(2, b"make", name=b"make", inherited=True)
    story.memory(2, MIB, at=10)
    story.tick(3 * MIB, 2)
    story.execute(2, name, argument, name=name, at=12)
    story.memory(2, 30 * MIB, at=20)
    story.start(3, parent=1, pid=103, found_by=BY_EVENT, at=21)
    story.execute(3, b"sh", name=b"sh")
    story.memory(3, MIB, at=22)
    story.tick(33 * MIB, 3)
    story.pss(32 * MIB, rss=33 * MIB)
    story.exit(3, 9, by_event=True, at=25)
    story.memory(2, 10 * MIB, at=30)
    story.tick(12 * MIB, 2)
    story.final(2, 35 * MIB, at=40)
    story.exit(2, 0, by_event=True)
    story.start(4, parent=1, pid=103, found_by=BY_EVENT, at=50)
    story.execute(4, b"daemon", name=b"daemon")
    story.memory(4, 4 * MIB, at=60)
    story.tick(6 * MIB, 2)
    story.start(5, parent=1, pid=105, found_by=BY_EVENT, at=62)
    story.execute(5, b"true", name=b"true")
    story.exit(5, 0, by_event=True, at=63)
    story.exit(1, 0, by_event=True, at=99)
    return story


def split() -> Exported:
    """Builds a job of which is known what is anonymous, of files, shared and swapped: of the first
    process from the second sample on, of the second at once."""
    story = Exported("server")
    story.start(1, pid=101, found_by=BY_EVENT, at=0).execute(1, b"server", name=b"server")
    story.memory(1, 100 * MIB, shared=20 * MIB, at=1).tick()
    story.memory(1, 120 * MIB, shared=20 * MIB, at=10).tick(flags=TICK_DETAILED)
    story.memory(1, 150 * MIB, shared=70 * MIB, at=20).parts(1, 60 * MIB, MIB, 2 * MIB)
    story.start(2, parent=1, pid=102, found_by=BY_EVENT)
    story.execute(2, b"worker", name=b"worker")
    story.memory(2, 70 * MIB, shared=10 * MIB).parts(2, 10 * MIB)
    story.tmpfs(100 * MIB).tick(flags=TICK_DETAILED)
    story.memory(2, 8 * MIB, shared=MIB, at=30).tick()
    story.exit(2, 0, by_event=True, at=40)
    story.exit(1, 0, by_event=True, at=50)
    return story


def exported(name: str, results: Results) -> bytes:
    return b"".join(FORMATS[name].export(results))


def by_pid(results: Results) -> dict[int, Any]:
    return {process.serial: process for process in results.profile.processes}


# -- Text that all exports share ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("make", "-j8"), "make -j8"),
        (("/usr/bin/make", "-j8"), "make -j8"),
        (("sh", "-c", "echo a; b"), "sh -c 'echo a; b'"),
        (("/",), "/"),
        (("a\udcff",), "'a\\xff'"),
        (("./x", "y" * 200), "x " + "y" * (LONGEST_NAME - 3) + "…"),
    ],
)
def test_job_name(command, name):
    assert job_name(command) == name


@given(st.lists(st.binary(min_size=1), min_size=1))
def test_a_job_name_is_a_short_line(words):
    name = job_name(tuple(os.fsdecode(word) for word in words))
    assert name
    assert name.isprintable()
    assert len(name) <= LONGEST_NAME


# -- Perfetto -------------------------------------------------------------------------------------


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_varint(number):
    data = varint(number)
    assert all(byte & 128 for byte in data[:-1])
    assert not data[-1] & 128
    value = sum((byte & 127) << 7 * place for place, byte in enumerate(data))
    assert value == number % (1 << 64)
    assert len(data) == 1 or data[-1], "no longer than it must be"


def test_fields_are_those_of_the_specification():
    """Uses the examples of protobuf.dev/programming-guides/encoding."""
    assert integer(1, 150) == bytes.fromhex("089601")
    assert text(2, "testing") == bytes.fromhex("120774657374696e67")


class Trace:
    """A Perfetto trace as its own library reads it."""

    def __init__(self, data: bytes) -> None:
        pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
        self.trace = pb2.Trace()
        self.trace.ParseFromString(data)
        self.trace.DiscardUnknownFields()
        assert self.trace.ByteSize() == len(data), "every field is known, and as short as can be"
        self.tree: dict[int, Any] = {}
        self.rss: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.hwm: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.parts: dict[int, dict[str, list[tuple[int, int]]]] = {}
        self.tracks: dict[int, Any] = {}
        self._open: dict[int, list[tuple[int, Any]]] = defaultdict(list)
        self.counters: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.slices: dict[int, list[tuple[int, int, str, dict[str, Any]]]] = defaultdict(list)
        self.instants: dict[str, tuple[int, dict[str, Any]]] = {}
        for packet in self.trace.packet:
            assert packet.trusted_packet_sequence_id == 1
        # As trace_processor does: a stable sort.
        for packet in sorted(self.trace.packet, key=lambda packet: packet.timestamp):
            self._read(packet)
        assert not any(self._open.values()), "a slice has no end"

    def _read(self, packet: Any) -> None:
        time = packet.timestamp
        for process in packet.process_tree.processes:
            assert process.pid not in self.tree
            self.tree[process.pid] = process
        for process in packet.process_stats.processes:
            assert process.pid in self.tree, "it is in the tree before"
            if process.HasField("vm_rss_kb"):
                self.rss[process.pid].append((time, process.vm_rss_kb * 1024))
            if process.HasField("vm_hwm_kb"):
                self.hwm[process.pid].append((time, process.vm_hwm_kb * 1024))
            for name in ("rss_anon_kb", "rss_file_kb", "rss_shmem_kb", "vm_swap_kb"):
                if process.HasField(name):
                    sizes = self.parts.setdefault(process.pid, {}).setdefault(name, [])
                    sizes.append((time, getattr(process, name) * 1024))
        if packet.HasField("track_descriptor"):
            assert packet.track_descriptor.uuid not in self.tracks
            self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if packet.HasField("track_event"):
            self._event(time, packet.track_event)

    def _event(self, time: int, event: Any) -> None:
        track = event.track_uuid
        assert track in self.tracks
        if event.type == event.TYPE_SLICE_BEGIN:
            self._open[track].append((time, event))
        elif event.type == event.TYPE_SLICE_END:
            begin, begun = self._open[track].pop()
            self.slices[track].append((begin, time, begun.name, facts(begun)))
        elif event.type == event.TYPE_COUNTER:
            self.counters[self.tracks[track].name].append((time, event.counter_value))
        else:
            assert event.type == event.TYPE_INSTANT
            self.instants[event.name] = (time, facts(event))


def facts(event: Any) -> dict[str, Any]:
    return {each.name: getattr(each, each.WhichOneof("value")) for each in event.debug_annotations}


def at(ms: float) -> int:
    return START + round(ms * MS)


def test_perfetto_has_every_sample():
    results = build().results()
    trace = Trace(exported("perfetto", results))
    assert trace.rss[101] == [(at(1), 2 * MIB), (at(99), 0)]
    assert trace.rss[102] == [
        *((at(10), MIB), (at(20), 30 * MIB), (at(30), 10 * MIB)),
        (at(40), 0),
    ]
    # The daemon was still running, so there is no end to show.
    assert trace.rss[FIRST_FREE_PID] == [(at(60), 4 * MIB)]
    assert 105 not in trace.rss
    assert trace.hwm[102] == [(at(40), 35 * MIB), (at(40), 0)]
    assert trace.counters["Total RSS"] == [
        (at(ms), total * MIB) for ms, total in ((1, 2), (10, 3), (22, 33), (30, 12), (60, 6))
    ]
    assert [value for _, value in trace.counters["Processes"]] == [1, 2, 3, 2, 2]
    assert trace.counters["Total PSS"] == [(at(22), 32 * MIB)]
    assert trace.counters["Memory limit"] == [(at(0), 4 << 30), (at(100), 4 << 30)]
    when, peak = trace.instants["highest total RSS"]
    # More than the highest sample, 33 MiB.
    assert (when, peak) == (at(40), {"rss_bytes": 35 * MIB, "source": "one process"})
    assert "highest total PSS" not in trace.instants, "it was not measured at the peak"


def test_perfetto_has_the_parts_of_each_sample():
    trace = Trace(exported("perfetto", split().results()))
    parts = {
        name: [(round((time - START) / MS), size // MIB) for time, size in sizes]
        for name, sizes in trace.parts[101].items()
    }
    assert parts == {
        "rss_anon_kb": [(1, 80), (10, 100), (20, 80), (50, 0)],
        "rss_file_kb": [(10, 20), (20, 10), (50, 0)],
        "rss_shmem_kb": [(10, 0), (20, 60), (50, 0)],
        "vm_swap_kb": [(10, 0), (20, 1), (50, 0)],
    }
    least = [size // MIB for _, size in trace.counters["Footprint (at least)"]]
    assert least == [80, 100, 202, 149]
    assert trace.instants["highest footprint"][1]["footprint_bytes"] == 243 * MIB
    assert not Trace(exported("perfetto", build().results())).parts


def test_perfetto_has_the_process_tree():
    trace = Trace(exported("perfetto", build().results()))
    # The pid of the killed process was reused.
    assert set(trace.tree) == {101, 102, 103, 105, FIRST_FREE_PID}
    assert list(trace.tree[101].cmdline) == ["make", "-j8", "-quiet"]
    assert trace.tree[102].ppid == trace.tree[FIRST_FREE_PID].ppid == 101
    assert trace.tree[102].process_start_from_boot == at(5)
    names = {each.process.pid: each.process.process_name for each in trace.tracks.values()}
    assert names[102] == "cc1"
    assert names[FIRST_FREE_PID] == "daemon (pid 103 reused)"


def test_perfetto_has_lifetimes_and_programs():
    results = build().results()
    trace = Trace(exported("perfetto", results))
    (make,) = trace.slices[1]
    assert make[:3] == (at(0), at(99), "make")
    forked, executed = trace.slices[2]
    assert forked[:3] == (at(5), at(12), "make")
    assert forked[3]["inherited"] == 1
    assert executed[:3] == (at(12), at(40), "cc1")
    assert executed[3]["peak_rss_bytes"] == 35 * MIB
    assert executed[3]["peak_source"] == "exact"
    assert executed[3]["command_line"] == "cc1 -quiet"
    (daemon,) = trace.slices[4]
    assert daemon[:2] == (at(50), at(100))
    (unseen,) = trace.slices[5]
    assert unseen[3]["peak_source"] == "unknown"
    assert "peak_rss_bytes" not in unseen[3]
    (job,) = [each for track, each in trace.slices.items() if trace.tracks[track].name == "Job"]
    assert job[0][:3] == (at(0), at(100), "make -j8 -quiet")
    assert job[0][3]["host"] == "here"
    assert job[0][3]["exit_code"] == 0


def test_perfetto_has_the_time_of_both_clocks():
    results = build().results()
    trace = Trace(exported("perfetto", results))
    (snapshot,) = [
        each.clock_snapshot for each in trace.trace.packet if each.HasField("clock_snapshot")
    ]
    assert {each.clock_id: each.timestamp for each in snapshot.clocks} == {1: SINCE_1970, 6: START}


def test_perfetto_of_json_has_lifetimes_and_peaks():
    results = build().results(series=False)
    trace = Trace(exported("perfetto", results))
    moved = SINCE_1970 - START
    assert {pid: sizes for pid, sizes in trace.hwm.items() if sizes} == {
        102: [(at(40) + moved, 35 * MIB), (at(40) + moved, 0)]
    }
    # A peak that is only a sample is shown as a sample.
    assert trace.rss[103] == [(at(22) + moved, MIB), (at(25) + moved, 0)]
    assert 102 not in trace.rss
    assert "Total RSS" not in trace.counters
    assert trace.instants["highest total RSS"][1]["rss_bytes"] == 35 * MIB
    assert [each[2] for each in trace.slices[2]] == ["make", "cc1"]


# -- Firefox Profiler -----------------------------------------------------------------------------


def firefox_of(results: Results) -> dict[str, Any]:
    profile = json.loads(exported("firefox", results))
    check_firefox(profile)
    return profile


def check_firefox(profile: dict[str, Any]) -> None:
    """Checks what src/types/profile.ts of the profiler requires."""
    meta = profile["meta"]
    assert meta["preprocessedProfileVersion"] == 66
    for key in ("interval", "startTime", "processType", "product", "stackwalk", "version"):
        assert key in meta
    assert [each["color"] for each in meta["categories"]].count("grey") == 1
    assert len(profile["threads"]) == len(meta["initialVisibleThreads"])
    schemas = {
        each["name"]: {field["key"] for field in each["fields"]} for each in meta["markerSchema"]
    }
    strings = profile["shared"]["stringArray"]
    assert len(set(strings)) == len(strings)
    for table, columns in profile["shared"].items():
        if table != "stringArray":
            assert columns.pop("length") == 0
            assert set(map(len, columns.values())) == {0}
    pids = [thread["pid"] for thread in profile["threads"]]
    assert len(set(pids)) == len(pids)
    for thread in profile["threads"]:
        assert isinstance(thread["pid"], str)
        assert thread["isMainThread"]
        markers = dict(thread["markers"])
        length = markers.pop("length")
        assert {len(column) for column in markers.values()} == {length}
        for name, data in zip(markers["name"], markers["data"], strict=True):
            assert 0 <= name < len(strings)
            assert set(data) - {"type"} <= schemas[data["type"]]
        for begin, end in zip(markers["startTime"], markers["endTime"], strict=True):
            assert 0 <= begin <= end
    for counter in profile["counters"]:
        assert profile["threads"][counter["mainThreadIndex"]]["pid"] == counter["pid"]
        samples = counter["samples"]
        assert samples["length"] == len(samples["time"]) == len(samples["count"])
        assert samples["time"] == sorted(samples["time"])
        assert samples["count"][0] == 0, "the profiler ignores the first"
        assert {"graphType", "unit", "color", "markerSchemaLocation", "sortWeight", "label"} < set(
            counter["display"]
        )


def size_at(counter: dict[str, Any], ms: float) -> int:
    samples = counter["samples"]
    return sum(
        change for time, change in zip(samples["time"], samples["count"], strict=True) if time <= ms
    )


def test_firefox_counters_add_up_to_the_sizes():
    profile = firefox_of(build().results())
    counters = {(each["pid"], each["name"]): each for each in profile["counters"]}
    sizes = {ms: size_at(counters["102", "RSS"], ms) for ms in (5, 10, 19.999, 20, 30, 39.9, 40)}
    assert [size / MIB for size in sizes.values()] == [0, 1, 1, 30, 10, 10, 0]
    assert size_at(counters["103 (4)", "RSS"], 100) == 4 * MIB
    totals = [size_at(counters["0", "Total RSS"], ms) / MIB for ms in (1, 10, 22, 30, 60)]
    assert totals == [2, 3, 33, 12, 6]
    # It stays at 12 MiB until shortly before 60 ms instead of falling slowly.
    assert 50 in counters["0", "Total RSS"]["samples"]["time"]
    assert size_at(counters["0", "Total RSS"], 59) == 12 * MIB
    assert size_at(counters["0", "Total PSS"], 22) == 32 * MIB
    assert ("105", "RSS") not in counters


def test_firefox_has_lifetimes_and_programs():
    profile = firefox_of(build().results())
    strings = profile["shared"]["stringArray"]
    threads = {thread["pid"]: thread for thread in profile["threads"]}
    assert [thread["name"] for thread in profile["threads"]][:2] == ["Job", "make"]
    cc1 = threads["102"]
    assert (cc1["registerTime"], cc1["unregisterTime"]) == (5, 40)
    assert [strings[name] for name in cc1["markers"]["name"]] == ["make", "cc1"]
    assert cc1["markers"]["startTime"] == [5, 12]
    assert cc1["markers"]["endTime"] == [12, 40]
    assert cc1["markers"]["data"][1]["peak"] == 35 * MIB
    assert cc1["markers"]["data"][1]["source"] == "exact"
    assert threads["103 (4)"]["unregisterTime"] is None
    assert "peak" not in threads["105"]["markers"]["data"][0]
    assert profile["meta"]["startTime"] == SINCE_1970 / 1e6


def test_firefox_shows_the_largest_processes_and_counts_all():
    story = build()
    for number in range(300):
        story.start(10 + number, parent=1, pid=1000 + number, found_by=BY_EVENT, at=70)
        story.execute(10 + number, b"x", name=b"x")
        story.memory(10 + number, (number + 1) * MIB, at=71)
        story.exit(10 + number, 0, by_event=True, at=72)
    profile = firefox_of(story.results())
    shown = {thread["pid"] for thread in profile["threads"]}
    assert len(shown) == 1 + firefox.MOST_PROCESSES
    assert {"101", *(str(1000 + number) for number in range(101, 300))} < shown
    entries = {each["label"]: each["value"] for each in profile["meta"]["extra"][0]["entries"]}
    assert (
        entries["Processes"]
        == "305 processes, shown: the first, and the 199 with the highest peaks"
    )


@given(st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 1 << 40))))
def test_differences_add_up_again(values):
    values.sort()
    results = build().results()
    series = firefox._Series(results.profile, START)
    series.extend((START + time, size) for time, size in values)
    assert series.changes[0] == 0
    assert series.times == sorted(series.times)
    last = dict(values)
    total, totals = 0, {}
    for time, change in zip(series.times, series.changes, strict=True):
        total += change
        totals[time] = total
    rounded = {max(0, round(time / 1000)) / 1000: size for time, size in last.items()}
    assert {time: totals[time] for time in rounded} == rounded


# -- CSV ------------------------------------------------------------------------------------------


def test_csv_has_every_sample():
    rows = list(csv.DictReader(io.StringIO(exported("csv", build().results()).decode())))
    assert [tuple(row.values())[:5] for row in rows if row["serial"] == "2"] == [
        ("0.010000", "102", "2", "make", "1024"),
        ("0.020000", "102", "2", "cc1", "30720"),
        ("0.030000", "102", "2", "cc1", "10240"),
    ]
    assert [row["pid"] for row in rows if row["serial"] in "34"] == ["103", "103"]
    assert len(rows) == 6
    first = ["elapsed_seconds", "pid", "serial", "command", "rss_kib"]
    assert list(rows[0])[:5] == first
    assert {row[name] for row in rows for name in list(row)[5:]} == {""}


def test_csv_has_the_parts_of_each_sample():
    rows = csv.DictReader(io.StringIO(exported("csv", split().results()).decode()))
    found = [tuple(row.values()) for row in rows]
    assert [row[0] for row in found if row[1] == "101"] == ["0.001000", "0.010000", "0.020000"]
    assert [row[4:] for row in found if row[1] == "101"] == [
        ("102400", "81920", "", "", "", ""),
        ("122880", "102400", "20480", "0", "0", "0"),
        ("153600", "81920", "10240", "61440", "1024", "2048"),
    ]
    # What an old sample had of shared memory is not more than what the new one has of all.
    assert [row[4:] for row in found if row[1] == "102"] == [
        ("71680", "61440", "0", "10240", "0", "0"),
        ("8192", "7168", "0", "1024", "0", "0"),
    ]


# -- OpenMetrics ----------------------------------------------------------------------------------


def metrics_of(data: bytes) -> dict[tuple[str, str], float]:
    """Returns values by name and by the label that is not the job's. Both parsers must agree."""
    strict = pytest.importorskip("prometheus_client.openmetrics.parser")
    classic = pytest.importorskip("prometheus_client.parser")
    found = []
    for parser in (strict, classic):
        values: dict[tuple[str, str], float] = {}
        for family in parser.text_string_to_metric_families(data.decode()):
            assert family.type == "gauge"
            assert family.documentation
            for sample in family.samples:
                assert sample.timestamp is None
                assert sample.name == family.name
                labels = dict(sample.labels)
                labels.pop("command")
                key = (sample.name.removeprefix("memwatch_"), next(iter(labels.values()), ""))
                assert key not in values
                values[key] = sample.value
        found.append(values)
    assert found[0] == found[1]
    return found[0]


def test_openmetrics_has_the_figures():
    data = exported("openmetrics", build().results())
    assert data.endswith(b"\n# EOF\n")
    values = metrics_of(data)
    assert values["job_rss_max_bytes", ""] == 35 * MIB
    assert ("job_pss_max_bytes", "") not in values, "it was not measured at the peak"
    assert values["job_duration_seconds", ""] == 0.1
    assert values["job_start_time_seconds", ""] == SINCE_1970 / 1e9
    assert values["job_exit_code", ""] == 0
    assert values["job_processes", ""] == 5
    assert values["job_process_rss_max_bytes", "cc1"] == 35 * MIB
    assert values["job_program_rss_max_bytes", "cc1"] == 35 * MIB
    assert ("job_program_rss_max_bytes", "true") not in values
    assert values["job_peaks", "exact"] == 1
    assert values["job_peaks", "sampled"] == 3
    assert values["job_peaks", "unknown"] == 1
    assert values["job_complete", ""] == 1
    assert values["cpu_seconds", ""] == 0.05
    assert 'peak_source="exact"' in data.decode()


def test_openmetrics_has_footprints_where_there_are_any():
    story = build()
    story.footprints(90 * MIB, 0, at=70)
    story.footprint(4, 60 * MIB)
    values = metrics_of(exported("openmetrics", story.results()))
    assert values["job_phys_footprint_max_bytes", ""] == 90 * MIB
    (found,) = [key for key in values if key[0] == "job_process_phys_footprint_max_bytes"]
    assert values[found] == 60 * MIB
    without = metrics_of(exported("openmetrics", build().results()))
    assert not [key for key in without if "footprint" in key[0]]


def test_footprints_have_their_bounds():
    results = split().results()
    bounds = results.profile.footprint
    assert bounds
    assert bounds.low < bounds.best < bounds.high
    values = metrics_of(exported("openmetrics", results))
    points = otlp_points(otlp_of(exported("otlp", results)))
    for name, size in (("", bounds.best), ("_low", bounds.low), ("_high", bounds.high)):
        assert values[f"job_footprint_max{name}_bytes", ""] == size
        ((_, found, attributes),) = points[f"memwatch.job.footprint_max{name}"]
        assert (found, attributes["memwatch.source"]) == (size, bounds.source)
    least = [size // MIB for _, size, _ in points["memwatch.job.footprint_low"]]
    assert least == [80, 100, 202, 149]
    assert [size // MIB for _, size, _ in points["memwatch.job.shared"]] == [20, 20, 80, 71]
    profile = firefox_of(results)
    (counter,) = [each for each in profile["counters"] if each["name"] == "Footprint"]
    assert [size_at(counter, ms) // MIB for ms in (1, 10, 20, 30)] == least


def test_openmetrics_bounds_the_series():
    story = build()
    for number in range(100):
        story.start(10 + number, parent=1, pid=1000 + number, found_by=BY_EVENT, at=70)
        story.execute(10 + number, b"x", name=b"x%d" % number)
        story.memory(10 + number, (number + 1) * MIB, at=71)
    values = metrics_of(exported("openmetrics", story.results()))
    programs = [key for key in values if key[0] == "job_program_rss_max_bytes"]
    assert len(programs) == 20
    assert ("job_program_rss_max_bytes", "x99") in programs
    assert values["job_programs", ""] == 105


# -- OTLP -----------------------------------------------------------------------------------------


def otlp_of(data: bytes) -> Any:
    service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
    from google.protobuf import json_format

    assert data.count(b"\n") == 1, "one request a line"
    return json_format.Parse(data.decode(), service.ExportMetricsServiceRequest())


def otlp_points(request: Any) -> dict[str, list[tuple[int, int, dict[str, Any]]]]:
    (scope,) = request.resource_metrics[0].scope_metrics
    assert scope.scope.name == "memwatch"
    return {
        metric.name: [
            (
                point.time_unix_nano - SINCE_1970,
                point.as_int,
                {each.key: plain(each.value) for each in point.attributes},
            )
            for point in metric.gauge.data_points
        ]
        for metric in scope.metrics
    }


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, kind)


def test_otlp_has_totals_and_peaks():
    request = otlp_of(exported("otlp", build().results()))
    resource = {e.key: plain(e.value) for e in request.resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "make -j8 -quiet"
    assert resource["host.name"] == "here"
    points = otlp_points(request)
    assert points["memwatch.job.rss"] == [
        (ms * MS, total * MIB, {}) for ms, total in ((1, 2), (10, 3), (22, 33), (30, 12), (60, 6))
    ]
    assert points["memwatch.job.pss"] == [(22 * MS, 32 * MIB, {})]
    processes = {each[2]["memwatch.serial"]: each for each in points["memwatch.process.rss_max"]}
    assert set(processes) == {1, 2, 3, 4}, "an unknown peak is left out"
    when, peak, about = processes[2]
    assert (when, peak) == (40 * MS, 35 * MIB)
    assert about["process.pid"] == 102
    assert about["process.parent_pid"] == 101
    assert about["process.executable.name"] == "cc1"
    assert about["process.executable.path"] == "/usr/bin/cc1"
    assert about["process.command_args"] == ["cc1", "-quiet"]
    assert about["process.exit.code"] == 0
    assert about["process.creation.time"] == "2023-11-14T22:13:20.005000Z"
    assert about["memwatch.peak_source"] == "exact"
    assert "process.exit.code" not in processes[3][2], "a signal killed it"
    programs = {
        each[2]["process.executable.name"]: each[1] for each in points["memwatch.program.rss_max"]
    }
    assert programs["cc1"] == 35 * MIB
    assert "true" not in programs


def test_otlp_of_json_has_no_series():
    points = otlp_points(otlp_of(exported("otlp", build().results(series=False))))
    assert "memwatch.job.rss" not in points
    assert points["memwatch.job.rss_max"] == [(40 * MS, 35 * MIB, {})]
    assert len(points["memwatch.process.rss_max"]) == 4


# -- Benchmark trackers ---------------------------------------------------------------------------


def test_gha():
    values = {each["name"]: each for each in json.loads(exported("gha", build().results()))}
    assert {name: (each["value"], each["unit"]) for name, each in values.items()} == {
        "make -j8 -quiet: peak RSS": (35, "MiB"),
        # PSS was not measured at the peak, so it is not tracked.
        "make -j8 -quiet: duration": (0.1, "s"),
    }
    extras = {name.partition(": ")[2]: each.get("extra") for name, each in values.items()}
    assert extras["peak RSS"] == "at least: the peak (exact) of one process"


def test_bmf():
    assert json.loads(exported("bmf", build().results())) == {
        "make -j8 -quiet": {
            "peak-rss": {"value": 35 * MIB},
            # PSS was not measured at the peak, so it is not tracked.
            "duration": {"value": 0.1},
        }
    }
    results = build().results()
    pss = results.profile.max_total_pss
    assert pss
    profile = replace(results.profile, max_total_pss=pss._replace(rss=35 * MIB))
    whole = json.loads(exported("bmf", replace(results, profile=profile)))
    assert whole["make -j8 -quiet"]["peak-pss"] == {"value": 32 * MIB}


# -- All exports ----------------------------------------------------------------------------------


def nothing_seen() -> Results:
    story = Exported("true")
    story.start(1, pid=101, found_by=BY_EVENT, at=0)
    story.execute(1, b"true", name=b"true")
    story.tick(0, 1, at=1)
    story.exit(1, 0, by_event=True)
    return story.results(1)


def test_unknown_is_never_zero():
    results = nothing_seen()
    assert [each["name"] for each in json.loads(exported("gha", results))] == ["true: duration"]
    assert list(json.loads(exported("bmf", results))["true"]) == ["duration"]
    assert exported("csv", results).count(b"\n") == 1
    metrics = metrics_of(exported("openmetrics", results))
    assert not [name for name, _ in metrics if "rss_max" in name and name.startswith("job")]
    assert "job_pss_max_bytes" not in dict(metrics)
    points = otlp_points(otlp_of(exported("otlp", results)))
    assert set(points) == {"memwatch.job.processes", "memwatch.job.memory_limit"}
    assert not firefox_of(results)["counters"]
    trace = Trace(exported("perfetto", results))
    assert not trace.rss
    assert not trace.hwm
    assert not trace.instants
    assert set(trace.counters) == {"Memory limit"}


def read_back(name: str, results: Results) -> None:
    data = exported(name, results)
    if name == "perfetto":
        trace = Trace(data)
        cc1 = by_pid(results)[2]
        assert tuple(trace.tree[102].cmdline) == cc1.argv
        assert trace.slices[2][1][2] == cc1.command
    elif name == "firefox":
        firefox_of(results)
    elif name == "csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        assert {len(row) for row in rows} == {10}
        assert len(data.splitlines()) == len(rows), "a row is a line"
    elif name == "openmetrics":
        values = metrics_of(data)
        assert values["job_program_rss_max_bytes", by_pid(results)[2].command] == 35 * MIB
    elif name == "otlp":
        (about,) = [
            about
            for _, _, about in otlp_points(otlp_of(data))["memwatch.process.rss_max"]
            if about["memwatch.serial"] == 2
        ]
        assert tuple(about["process.command_args"]) == by_pid(results)[2].argv
    else:
        assert job_name(results.profile.command) in json.dumps(
            json.loads(data), ensure_ascii=False
        ).replace("\\\\", "\\").replace('\\"', '"')


@pytest.mark.parametrize(
    ("name", "series"),
    [
        (name, series)
        for name, chosen in FORMATS.items()
        for series in (True, False)
        if series or not chosen.needs_samples
    ],
)
def test_hostile_command_lines(name, series):
    read_back(name, build(HOSTILE.replace(b"/", b"|"), HOSTILE).results(series=series))


@pytest.mark.parametrize("name", FORMATS)
@given(
    word=st.binary(min_size=1, max_size=30).map(lambda data: data.replace(b"\0", b"0")),
    program=st.binary(min_size=1, max_size=15).map(lambda data: data.replace(b"\0", b"0")),
)
@settings(max_examples=25, deadline=None)
def test_any_command_line(name, word, program):
    read_back(name, build(program, word).results())
