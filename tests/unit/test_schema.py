"""The JSON of `memwatch run --json`, validated against its schema."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest

from memwatch.analysis.leaks import GrowingProcess, Leak, Leaks
from memwatch.model.cgroup_account import CgroupAccount, CgroupSample, CgroupSpan
from memwatch.model.filters import Filter, apply
from memwatch.model.job import Job
from memwatch.model.memory_limit import CGROUP_V1, MemoryLimit
from memwatch.model.observations import (
    BY_EVENT,
    TICK_DETAILED,
    TICK_PARTIAL,
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
from support.command import Memwatch
from support.schema import Schema, written_keys
from support.scripted import MIB, NO_LIMIT, Script
from support.waiting import PATIENCE

SCHEMA = Schema("profile")

# Keys on which programs written for the first release rely.
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


# Real runs


def run_json(*options: str, command: tuple[str, ...]) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "memwatch", "run", "--json", "-i", "10", *options, "--", *command],
        cwd="/",  # not beside the sources: the installed package is what is tested
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == b""
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"]
    return document


TWO_PROCESSES = '"$0" mark child gate; exit 3'


@pytest.fixture
def two_processes(memwatch: Memwatch, burner: Path) -> Callable[..., Any]:
    """Runs a shell with a child that stays until it has been sampled. Returns the document."""

    def run(*options: str) -> Any:
        words = ("run", "--json", "-i", "10", *options, "--", "sh", "-c", TWO_PROCESSES, burner)
        watch = memwatch.start(*words)
        watch.mark("child")
        watch.ticks(2)
        result = watch.end()
        assert result.err == b""
        assert result.code == result.json["exit_code"] == 3
        return result.json

    return run


def test_a_real_run_is_valid(two_processes: Callable[..., Any], burner: Path) -> None:
    document = two_processes()
    SCHEMA.validate(document)
    assert document["command"] == ["sh", "-c", TWO_PROCESSES, str(burner)]
    assert document["signal"] is None
    assert "timeline" not in document
    assert "filter" not in document
    assert {each["command"] for each in document["processes"]} == {"sh", "burner"}


def test_a_real_run_with_a_timeline_is_valid(two_processes: Callable[..., Any]) -> None:
    document = two_processes("--timeline", "timeline.csv")
    SCHEMA.validate(document)
    assert len(document["timeline"]) == document["samples"]
    totals = [tick["total_rss_kib"] for tick in document["timeline"]]
    assert max(totals) == document["max_total_rss_kib"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--include", "^sh"), {"sh"}),
        (("--exclude", "^sh"), {"burner"}),
        (("--include", "^s", "--exclude", "burner"), set()),
    ],
)
def test_a_real_run_with_a_filter_is_valid(
    two_processes: Callable[..., Any], options: tuple[str, ...], shown: set[str]
) -> None:
    # "--exclude burner" takes the shell away as well: its command line has the word.
    document = two_processes(*options)
    SCHEMA.validate(document)
    assert {each["command"] for each in document["processes"]} == shown
    hidden = document["filtered_process_count"]
    assert hidden == document["process_count"] - len(document["processes"])
    patterns = {f"{options[i].removeprefix('--')}_pattern": options[i + 1] for i in (0, -2)}
    assert document["filter"] == patterns


def test_a_command_that_does_nothing_is_valid() -> None:
    document = run_json(command=("true",))
    SCHEMA.validate(document)
    assert document["exit_code"] == 0


def test_a_command_killed_by_a_signal_is_valid() -> None:
    document = run_json(command=("sh", "-c", "kill -KILL $$"))
    SCHEMA.validate(document)
    assert (document["exit_code"], document["signal"]) == (137, 9)


# Synthetic profiles: cases that no run shows on demand


def synthetic(*, root_status: int | None = 0, full: bool = False) -> Profile:
    """A job with every kind of process: unknown, exec'ed, forked, hostile, alive at the end."""
    script = Script()
    script.start(1, "sh", "-c", "x", ppid=50, began=5, at=1000).memory(1, MIB, 2 * MIB)
    # Its memory is never seen, nor its name.
    script.start(2, parent=1, start_known=False)
    script.start(3, parent=1, began=6).execute(3, "sh", "-c", "x", inherited=True).memory(3, MIB)
    script.tick(flags=TICK_PARTIAL)
    hostile = (b"\xfe\xfd", b"\xed\xa0\x80")
    script.execute(3, *hostile, name=b'\x1b[2J"\\\n', exe="/tmp/\udcff", at=2000)
    script.memory(3, 3 * MIB)
    # An orphan of an unseen parent, without a readable path.
    script.start(4, start_known=False).execute(4, name="orphan")
    script.tick(flags=TICK_PARTIAL).footprints(5 * MIB, 2)
    # Shared pages counted once, without one process that had ended by then.
    script.pss(2 * MIB, rss=3 * MIB, unread=1)
    script.start(5, parent=1, start_known=False, found_by=BY_EVENT, at=2500)
    script.final(5, 7 * MIB, at=2600)
    # Footprints as on macOS: of one process at its end, and of the job.
    script.final_footprint(5, 9 * MIB).cpu(5, 2_000_000, 1_000_000).io(5, 0, 4096)
    script.exit(5, 256, by_event=True)
    script.exit(2, 9, at=3000).exit(1, root_status).tick(skipped=1, flags=TICK_PARTIAL)
    job = Job(timeline=full)
    job.apply(script.batch())
    limit = MemoryLimit(MIB, CGROUP_V1, "/sys/fs/cgroup/memory/\udcff", 4096, 1, 2)
    return finish(
        job,
        root_status,
        sources=SOURCES,
        lost=3,
        held_back=("/usr/bin/sudo",),
        advice="run as root",
        memory_limit=limit,
        cgroup=ACCOUNT,
    )


def sharing() -> Job:
    """Returns a job whose memory is split."""
    script = Script().start(1, "sh", ppid=50, at=1000).memory(1, 3 * MIB, shared=MIB)
    return script.parts(1, MIB).tick(flags=TICK_DETAILED).job(finish=False)


ACCOUNT = CgroupAccount(
    version=2,
    path="/sys/fs/cgroup/\udcff",
    peak=9 * MIB,
    peak_time=2000,
    largest=CgroupSample(1500, 3 * MIB, MIB, None, 0, 4096, None),
    samples=2,
    stall_some=1_500_000,
    oom_kills=0,
    history=(CgroupSpan(1500, 4 * MIB, 5 * MIB), CgroupSpan(2000, MIB, None)),
)

SOURCES = (
    SourceOutcome("connector", True, None),
    SourceOutcome("taskstats", False, "needs CAP_NET_ADMIN"),
    SourceOutcome("hook", True, None),
)


def finish(job: Job, status: int | None, error: str | None = None, **known: Any) -> Profile:
    limit = known.pop("memory_limit", NO_LIMIT)
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


def growing() -> Job:
    """A job that still runs."""
    script = Script("x", origin=900).new(1, MIB, "x").tick(at=100).memory(1, 2 * MIB)
    return script.tick(at=200).job(finish=False)


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
    "a split footprint": lambda: to_json(finish(sharing(), 0)),
    "stopped early": lambda: to_json(finish(growing(), None, error="Out of memory")),
    "all filtered out": lambda: to_json(synthetic(), Filter(re.compile("no such program"))),
}


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_synthetic_profile_is_valid(name: str) -> None:
    SCHEMA.validate(SYNTHETIC[name]())


def test_unknown_figures_are_null() -> None:
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
    assert nothing["cgroup"] is None
    missing = nothing["accuracy"]["not_in_total"]
    assert (missing["footprint"], missing["cgroup"]) == (None, None)


def test_known_figures_are_written() -> None:
    """Zero is a known value as well."""
    document = to_json(synthetic())
    short = next(each for each in document["processes"] if each["serial"] == 5)
    expected = {
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
    assert {key: short[key] for key in expected} == expected
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
    assert "swap" in accuracy["not_in_total"]["cgroup"]
    assert accuracy["processes_found"] == {"events": 1, "record": 0, "hook": 0, "sampling": 4}
    assert accuracy["peaks"] == {"unknown": 2, "sampled": 1, "watermark": 1, "exact": 1}
    assert accuracy["never_sampled"] == 3
    assert (accuracy["lost_messages"], accuracy["complete"]) == (3, False)
    assert accuracy["held_back_programs"] == ["/usr/bin/sudo"]
    assert accuracy["advice"] == "run as root"
    assert [each["used"] for each in accuracy["sources"]] == [True, False, True]
    limit = document["memory_limit"]
    assert (limit["limit_kib"], limit["headroom_kib"]) == (1024, 1024 - 5 * 1024)
    assert limit["path"] == "/sys/fs/cgroup/memory/\\xff"
    assert (limit["oom_kills"], limit["machine_oom_kills"]) == (1, 2)
    account = document["cgroup"]
    assert account["path"] == "/sys/fs/cgroup/\\xff"
    assert (account["peak_kib"], account["footprint_low_kib"]) == (9 * 1024, 4 * 1024)
    # Without a peak of swap there is no bound for the footprint.
    assert (account["swap_kib"], account["footprint_high_kib"]) == (None, None)
    assert (account["stall_some_seconds"], account["stall_full_seconds"]) == (0.0015, None)
    assert (account["oom_kills"], account["file_kib"]) == (0, 0)


def test_hostile_names_are_kept() -> None:
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
        timeout=PATIENCE,
        check=True,
    )
    command = json.loads(done.stdout)["command"]
    assert command == ["true", "\\xff\\xe9"]


# The schema itself


def test_the_schema_is_valid() -> None:
    SCHEMA.check()


def test_every_key_is_described_at_length() -> None:
    for at, key, description, _ in SCHEMA.described():
        assert len(description.split()) > 2, f"{at}.{key}"
        assert description.rstrip().endswith("."), f"{at}.{key}"


def test_sizes_name_their_unit() -> None:
    for at, key, description, _ in SCHEMA.described():
        if key.endswith("_kib"):
            assert "KiB" in description, f"{at}.{key}"
        if key.endswith("_seconds"):
            assert "econds" in description, f"{at}.{key}"
        if key.endswith("_ms"):
            assert "milliseconds" in description, f"{at}.{key}"


def test_schema_and_report_have_the_same_keys() -> None:
    written = set().union(*(written_keys(make()) for make in SYNTHETIC.values()))
    assert written == SCHEMA.places()


def test_the_keys_of_the_first_release_are_there() -> None:
    described: dict[str, set[str]] = {}
    for at, key in SCHEMA.places():
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
    "an unknown kind of memory": lambda d: d["accuracy"]["not_in_total"]["rss"].append("cache"),
    "no total": lambda d: d["accuracy"]["not_in_total"].update(rss=None),
    "a group without a peak": lambda d: d["cgroup"].pop("peak_kib"),
    "half a span": lambda d: d["cgroup"]["timeline"][0].pop("usage_kib"),
    "a limit from nowhere": lambda d: d["memory_limit"].update(source="somewhere"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_document_is_refused(name: str) -> None:
    document = SYNTHETIC["everything"]()
    SCHEMA.validate(document)
    BREAKAGES[name](document)
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(document)


def test_a_new_key_is_allowed() -> None:
    document = SYNTHETIC["everything"]()
    document["added_later"] = {"anything": [1]}
    SCHEMA.validate(document)
