"""The JSON of `memwatch run --json` and its schema say the same."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest

from memwatch.analysis.leaks import GrowingProcess, Leak, Leaks
from memwatch.model.filters import Filter, apply
from memwatch.model.job import Job
from memwatch.model.memory_limit import CGROUP_V1, MemoryLimit
from memwatch.model.observations import (
    BY_EVENT,
    CPU,
    EXITED,
    FINAL,
    FOOTPRINT,
    HAS_ARGV,
    HAS_CPU,
    HAS_EXE,
    HAS_FOOTPRINT,
    HAS_IO,
    HAS_PARENT,
    HAS_RSS,
    HAS_START,
    HAS_STATUS,
    HAS_WATERMARK,
    IMAGE,
    INHERITED,
    IO,
    MEMORY,
    PSS,
    STARTED,
    TICK,
    TICK_PARTIAL,
    Batch,
    ProgramText,
)
from memwatch.model.profile import (
    Beginning,
    Clock,
    Ending,
    Overhead,
    Profile,
    SourceOutcome,
    from_job,
)
from memwatch.storage import profile_json_writer

SCHEMA: dict[str, Any] = json.loads(
    files("memwatch").joinpath("schema/profile.schema.json").read_text(encoding="utf-8")
)

# What programs written for the first release rely on.
SEED_KEYS = {
    "": {
        "command",
        "start_time",
        "end_time",
        "duration_seconds",
        "interval_ms",
        "max_total_rss_kib",
        "processes",
        "samples",
        "exit_code",
        "timeline",
        "filter",
        "filtered_process_count",
        "filtered_total_rss_kib",
    },
    "processes[]": {
        "pid",
        "ppid",
        "command",
        "max_rss_kib",
        "first_seen",
        "last_seen",
        "peak_time",
    },
    "timeline[]": {"timestamp", "elapsed_seconds", "total_rss_kib", "process_count"},
    "filter": {"exclude_pattern", "include_pattern"},
}


def validate(document: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if not reference:
        return schema
    found = SCHEMA
    for word in reference.removeprefix("#/").split("/"):
        found = found[word]
    return found


def described_keys(schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key of the schema: where it is, its name, its description."""
    schema = resolve(schema)
    for key, each in schema.get("properties", {}).items():
        description = each.get("description") or resolve(each).get("description", "")
        yield at, key, description
        yield from described_keys(each, f"{at}.{key}".lstrip("."))
    if "items" in schema:
        yield from described_keys(schema["items"], f"{at}[]")


def written_keys(document: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield at, key
            yield from written_keys(value, f"{at}.{key}".lstrip("."))
    elif isinstance(document, list):
        for value in document:
            yield from written_keys(value, f"{at}[]")


# Real runs


def run_json(*options: str, command: tuple[str, ...]) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "memwatch", "run", "--json", "-i", "10", *options, "--", *command],
        cwd="/",  # not beside the sources: the installed package is what is tested
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"]
    return document


TWO_PROCESSES = ("sh", "-c", "sleep 0.3; exit 3")


def test_a_real_run_is_valid() -> None:
    document = run_json(command=TWO_PROCESSES)
    validate(document)
    assert document["command"] == list(TWO_PROCESSES)
    assert document["exit_code"] == 3
    assert document["signal"] is None
    assert "timeline" not in document
    assert "filter" not in document
    assert {each["command"] for each in document["processes"]} == {"sh", "sleep"}


def test_a_real_run_with_a_timeline_is_valid(tmp_path: Path) -> None:
    document = run_json("--timeline", str(tmp_path / "timeline.csv"), command=TWO_PROCESSES)
    validate(document)
    assert len(document["timeline"]) == document["samples"]
    totals = [tick["total_rss_kib"] for tick in document["timeline"]]
    assert max(totals) == document["max_total_rss_kib"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--include", "^sh"), {"sh"}),
        (("--exclude", "^sh"), {"sleep"}),
        (("--include", "^s", "--exclude", "sleep"), set()),
    ],
)
def test_a_real_run_with_a_filter_is_valid(options: tuple[str, ...], shown: set[str]) -> None:
    # "--exclude sleep" takes the shell away as well: its command line has the word.
    document = run_json(*options, command=TWO_PROCESSES)
    validate(document)
    assert {each["command"] for each in document["processes"]} == shown
    hidden = document["filtered_process_count"]
    assert hidden == document["process_count"] - len(document["processes"])
    patterns = {f"{options[i].removeprefix('--')}_pattern": options[i + 1] for i in (0, -2)}
    assert document["filter"] == patterns


def test_a_command_that_does_nothing_is_valid() -> None:
    document = run_json(command=("true",))
    validate(document)
    assert document["exit_code"] == 0


def test_a_command_killed_by_a_signal_is_valid() -> None:
    document = run_json(command=("sh", "-c", "kill -KILL $$"))
    validate(document)
    assert (document["exit_code"], document["signal"]) == (137, 9)


# Synthetic profiles: what no run shows on demand

MIB = 1 << 20


def program(text: bytes, time: int, serial: int, offset: int, valid: int) -> tuple[int, ...]:
    return (time, serial, offset, len(text), IMAGE, valid, 100 + serial, 0)


def synthetic(*, root_status: int | None = 0, full: bool = False) -> Profile:
    """A job with every kind of process: unknown, exec'ed, forked, hostile, alive at the end."""
    shell = b"sh\0/bin/sh\0sh\0-c\0x\0"
    hostile = b'\x1b[2J"\\\n\0/tmp/\xff\0\xfe\xfd\0\xed\xa0\x80\0'
    text = shell + hostile
    both = HAS_EXE | HAS_ARGV
    records: list[tuple[int, ...]] = [
        (1000, 1, 0, 5, STARTED, HAS_START, 101, 50),
        program(shell, 1000, 1, 0, both),
        (1000, 1, MIB, 2 * MIB, MEMORY, HAS_RSS | HAS_WATERMARK, 101, 0),
        # Its memory is never seen, nor its name.
        (1000, 2, 1, 0, STARTED, HAS_PARENT, 102, 101),
        (1000, 3, 1, 6, STARTED, HAS_PARENT | HAS_START, 103, 101),
        program(shell, 1000, 3, 0, both | INHERITED),
        (1000, 3, MIB, 0, MEMORY, HAS_RSS, 103, 0),
        (1000, 0, 2 * MIB, 3, TICK, HAS_RSS | TICK_PARTIAL, 0, 0),
        program(hostile, 2000, 3, len(shell), both),
        (2000, 3, 3 * MIB, 0, MEMORY, HAS_RSS, 103, 0),
        # An orphan of somebody never seen, that cannot even be asked for its path.
        (2000, 4, 0, 0, STARTED, 0, 104, 1),
        program(b"orphan\0\0", 2000, 4, len(text), 0),
        (2000, 0, 4 * MIB, 4, TICK, HAS_RSS | TICK_PARTIAL, 0, 0),
        (2000, 0, 5 * MIB, 2, FOOTPRINT, HAS_FOOTPRINT, 0, 0),
        # Shared pages counted once, without one process that had ended by then.
        (2000, 3 * MIB, 2 * MIB, 1, PSS, TICK_PARTIAL, 0, 0),
        (2500, 5, 1, 0, STARTED, HAS_PARENT | BY_EVENT, 105, 101),
        (2600, 5, 0, 7 * MIB, MEMORY, HAS_WATERMARK | FINAL, 105, 0),
        # As on macOS: of one at its end, and of the job.
        (2600, 5, 0, 9 * MIB, FOOTPRINT, HAS_WATERMARK | FINAL, 105, 0),
        (2600, 5, 2_000_000, 1_000_000, CPU, HAS_CPU, 105, 0),
        (2600, 5, 0, 4096, IO, HAS_IO, 105, 0),
        (2600, 5, 256, 0, EXITED, HAS_STATUS | BY_EVENT, 105, 0),
        (3000, 2, 9, 0, EXITED, HAS_STATUS, 102, 0),
        (
            3000,
            1,
            root_status or 0,
            0,
            EXITED,
            HAS_STATUS if root_status is not None else 0,
            101,
            0,
        ),
        (3000, 1, 3 * MIB, 2, TICK, HAS_RSS | TICK_PARTIAL, 0, 0),
    ]
    job = Job(timeline=full)
    job.apply(Batch(records, text + b"orphan\0\0"))  # type: ignore[arg-type]
    limit = MemoryLimit(MIB, CGROUP_V1, "/sys/fs/cgroup/memory/\udcff", 4096, 1, 2)
    return finish(
        job,
        root_status,
        sources=SOURCES,
        lost=3,
        held_back=("/usr/bin/sudo",),
        advice="run as root",
        memory_limit=limit,
    )


SOURCES = (
    SourceOutcome("connector", True, None),
    SourceOutcome("taskstats", False, "needs CAP_NET_ADMIN"),
    SourceOutcome("hook", True, None),
)


def finish(job: Job, status: int | None, error: str | None = None, **known: Any) -> Profile:
    limit = known.pop("memory_limit", MemoryLimit(None, None, None, None, None, None))
    return from_job(
        job,
        Beginning(
            ("sh", "-c", 'x\n"\\\x1b[31m é'), Clock(1_763_661_754_123_000_000, 500), 900, 500_000
        ),
        Ending(
            3500,
            status,
            Overhead(1_500_000, None),
            limit,
            unkept=1,
            unreadable=1,
            scanning=True,
            error=error,
            **known,
        ),
    )


def to_json(profile: Profile, chosen: Filter | None = None, leaks: Leaks | None = None) -> Any:
    out = io.StringIO()
    profile_json_writer.write(profile, apply(profile.processes, chosen or Filter()), out, leaks)
    return json.loads(out.getvalue(), parse_constant=pytest.fail)


LEAKY = GrowingProcess(2, 102, ProgramText("caf\udce9", None, ("caf\udce9", "x"), False))
LEAKS = Leaks(
    0.5, 60, 1, False, (Leak(LEAKY, 1000, 2000, 5, 9, 0.987), Leak(None, 1000, 2000, 5, 9, 1.0))
)

EVERY_FILTER = Filter(re.compile("."), re.compile("orphan"))

SYNTHETIC: dict[str, Callable[[], Any]] = {
    "everything": lambda: to_json(synthetic(full=True), EVERY_FILTER, LEAKS),
    "killed": lambda: to_json(synthetic(root_status=11 | 128)),
    "exit status unknown": lambda: to_json(synthetic(root_status=None)),
    "nothing seen": lambda: to_json(finish(Job(timeline=True), 0)),
    "sampling error": lambda: to_json(finish(Job(), None, error="Out of memory")),
    "all filtered out": lambda: to_json(synthetic(), Filter(re.compile("no such program"))),
}


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_synthetic_profile_is_valid(name: str) -> None:
    validate(SYNTHETIC[name]())


def test_what_is_unknown_is_null() -> None:
    processes = {each["serial"]: each for each in to_json(synthetic())["processes"]}
    unseen = processes[2]
    for key in (
        *(
            "max_rss_kib",
            "max_phys_footprint_kib",
            "peak_time",
            "argv",
            "exe",
            "start_time",
            "end_time",
        ),
        *("final_watermark_kib", "user_seconds", "system_seconds", "read_bytes", "written_bytes"),
    ):
        assert unseen[key] is None, key
    assert unseen["peak_source"] == "unknown"
    assert unseen["wait_status"] == 9
    nothing = SYNTHETIC["nothing seen"]()
    assert nothing["max_total_rss_kib"] is None
    assert nothing["max_total_rss_time"] is None
    assert nothing["accuracy"]["achieved_interval_ms"] is None
    assert nothing["max_total_pss_kib"] is None
    assert nothing["max_total_phys_footprint_kib"] is None
    assert nothing["max_total_phys_footprint_unread"] is None
    assert nothing["accuracy"]["phys_footprint_peaks"] is None
    assert set(nothing["memory_limit"].values()) == {None}
    assert nothing["memwatch"]["max_rss_kib"] is None


def test_what_is_known_is_told() -> None:
    """Zero, too: it is a value."""
    document = to_json(synthetic())
    short = next(each for each in document["processes"] if each["serial"] == 5)
    told = {
        "max_rss_kib": 7 * 1024,
        "final_watermark_kib": 7 * 1024,
        "peak_source": "exact",
        "found_by": "events",
        "user_seconds": 0.002,
        "system_seconds": 0.001,
        "read_bytes": 0,
        "written_bytes": 4096,
        "wait_status": 256,
    }
    assert {key: short[key] for key in told} == told
    assert short["last_seen"] == short["end_time"] == "2025-11-20T18:02:34.123002Z"
    assert document["max_total_pss_kib"] == 2 * 1024
    assert document["max_total_pss_rss_kib"] == 3 * 1024
    assert document["max_total_pss_unread"] == 1
    assert short["max_phys_footprint_kib"] == 9 * 1024
    assert short["phys_footprint_source"] == "exact"
    assert document["max_total_phys_footprint_kib"] == 5 * 1024
    assert document["max_total_phys_footprint_unread"] == 2
    footprints = document["accuracy"]["phys_footprint_peaks"]
    assert footprints == {"unknown": 4, "sampled": 0, "watermark": 0, "exact": 1}
    accuracy = document["accuracy"]
    assert accuracy["processes_found"] == {"events": 1, "record": 0, "hook": 0, "sampling": 4}
    assert accuracy["peaks"] == {"unknown": 2, "sampled": 1, "watermark": 1, "exact": 1}
    assert accuracy["never_sampled"] == 3
    assert (accuracy["lost_messages"], accuracy["complete"]) == (3, False)
    assert accuracy["held_back_programs"] == ["/usr/bin/sudo"]
    assert accuracy["advice"] == "run as root"
    assert [each["used"] for each in accuracy["sources"]] == [True, False, True]
    limit = document["memory_limit"]
    assert (limit["limit_kib"], limit["headroom_kib"]) == (1024, 1024 - 7 * 1024)
    assert limit["path"] == "/sys/fs/cgroup/memory/\\xff"
    assert (limit["oom_kills"], limit["machine_oom_kills"]) == (1, 2)


def test_hostile_names_come_through() -> None:
    hostile = next(each for each in to_json(synthetic())["processes"] if each["serial"] == 3)
    assert hostile["command"] == '\x1b[2J"\\\n'
    assert hostile["argv"] == ["\\xfe\\xfd", "\\xed\\xa0\\x80"]
    assert hostile["exe"] == "/tmp/\\xff"


def test_a_command_that_is_not_utf_8_is_valid_json_everywhere() -> None:
    # A lone surrogate, as Python has it for such a byte, is refused by strict parsers (RFC 8259,
    # section 8.2): jq replaces it, serde_json fails.
    done = subprocess.run(
        [sys.executable, "-m", "memwatch", "run", "--json", "--", "true", b"\xff\xe9"],
        cwd="/",
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    command = json.loads(done.stdout)["command"]
    assert command == ["true", "\\xff\\xe9"]


# The schema itself


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_described_at_length() -> None:
    for at, key, description in described_keys(SCHEMA):
        assert len(description.split()) > 2, f"{at}.{key}"
        assert description.rstrip().endswith("."), f"{at}.{key}"


def test_sizes_name_their_unit() -> None:
    for at, key, description in described_keys(SCHEMA):
        if key.endswith("_kib"):
            assert "KiB" in description, f"{at}.{key}"
        if key.endswith("_seconds"):
            assert "econds" in description, f"{at}.{key}"
        if key.endswith("_ms"):
            assert "milliseconds" in description, f"{at}.{key}"


def test_schema_and_report_have_the_same_keys() -> None:
    described = {(at, key) for at, key, _ in described_keys(SCHEMA)}
    written = set()
    for make in SYNTHETIC.values():
        written |= set(written_keys(make()))
    assert written == described


def test_the_keys_of_the_first_release_are_there() -> None:
    described: dict[str, set[str]] = {}
    for at, key, _ in described_keys(SCHEMA):
        described.setdefault(at, set()).add(key)
    for at, keys in SEED_KEYS.items():
        assert keys <= described[at], at


BREAKAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a missing key": lambda d: d.pop("exit_code"),
    "a date without a zone": lambda d: d.update(start_time="2025-11-20T18:02:34.123"),
    "a size as text": lambda d: d.update(max_total_rss_kib="12"),
    "a fractional size": lambda d: d["processes"][0].update(max_rss_kib=1.5),
    "an unknown source": lambda d: d["processes"][0].update(peak_source="guessed"),
    "a process without programs": lambda d: d["processes"][0].update(images=[]),
    "half a tick": lambda d: d["timeline"][0].pop("process_count"),
    "a filter without its counts": lambda d: d.pop("filtered_process_count"),
    "a null that is no unknown": lambda d: d["accuracy"].update(late_ticks=None),
    "a date in milliseconds": lambda d: d.update(start_time="2025-11-20T18:02:34.123Z"),
    "an unknown way": lambda d: d["processes"][0].update(found_by="guessing"),
    "an unknown name of a source": lambda d: d["accuracy"]["sources"][0].update(name="ebpf"),
    "half a sum": lambda d: d.pop("max_total_pss_rss_kib"),
    "a count of peaks that is missing": lambda d: d["accuracy"]["peaks"].pop("exact"),
    "a limit from nowhere": lambda d: d["memory_limit"].update(source="somewhere"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_document_is_refused(name: str) -> None:
    document = SYNTHETIC["everything"]()
    validate(document)
    BREAKAGES[name](document)
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_a_new_key_is_allowed() -> None:
    document = SYNTHETIC["everything"]()
    document["added_later"] = {"anything": [1]}
    validate(document)
