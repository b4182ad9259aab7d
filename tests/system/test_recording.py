"""Tests of recordings: complete on disk even if memwatch is killed; same reports as the run."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.observations import (
    FOOTPRINT,
    HAS_FOOTPRINT,
    HAS_RSS,
    MEMORY,
)
from memwatch.model.profile import CUT_SHORT, Beginning, Clock, Ending, Overhead, SourceOutcome
from memwatch.storage.load import BadResults, Results, load
from memwatch.storage.name_templates import RunContext, expand
from memwatch.storage.recording import COLUMNS, BadRecording, Recorder, Recording
from support.scripted import Script
from support.waiting import wait_until

# Processes that grow.
JOB = ["sh", "-c", "for i in 1 2 3; do dd if=/dev/zero of=/dev/null bs=4M count=20; done 2>&1"]

BEGINNING = Beginning(("make", "-j8", "caf\udce9"), Clock(1_763_661_754_123_000_000, 500), 900, 10)
MAC = replace(BEGINNING, backend="darwin")
ENDING = Ending(
    5000,
    7 << 8,
    Overhead(1_500_000, None),
    MemoryLimit(1 << 30, "cgroup v2", "/x", 5, 0, None),
    sources=(SourceOutcome("connector", False, "needs root"),),
    lost=3,
    held_back=("/usr/bin/sudo",),
    advice="run as root",
    unkept=1,
    unreadable=2,
    scanning=True,
    error="no memory",
)
BATCHES = (
    Script()
    .start(1, "make", "-j8", "\udcff\udce9", began=950, at=1000)
    .memory(1, 4096)
    .tick()
    .start(2, parent=1, start_known=False, at=2000)
    .memory(2, 8192, at=3000)
    .tick()
    .exit(2, 0, at=4000)
    .exit(1, 7 << 8)
    .tick()
    .batches([4, 5])
)


def record(path: Path, *, to_the_end: bool = True) -> None:
    recorder = Recorder(str(path))
    recorder.begin(BEGINNING)
    for batch in BATCHES:
        recorder.add(batch)
    if to_the_end:
        recorder.end(ENDING)
    recorder.close()
    assert recorder.error is None


def loaded(path: Path) -> Results | None:
    """Returns the results, or None if the file is refused in one line that names it."""
    refusal = ""
    try:
        return load(str(path), timeline=True, tracks=True)
    except BadResults as error:
        refusal = str(error)
    assert path.name in refusal
    assert "\n" not in refusal
    return None


# -- The file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_written_recording_is_read(name, tmp_path):
    record(tmp_path / name)
    recording = Recording(str(tmp_path / name))
    assert recording.beginning == BEGINNING
    assert recording.host == os.uname().nodename
    assert list(recording.batches()) == BATCHES
    assert recording.ending == ENDING


def test_the_first_line_describes_the_format(tmp_path):
    record(tmp_path / "a.jsonl")
    head, *batches, end = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert head["memwatch_recording"] == 3
    assert head["columns"] == list(COLUMNS)
    assert head["kinds"]["memory"] == MEMORY
    assert head["bits"]["has_rss"] == HAS_RSS
    assert not set(head["bits"]) & set(head["kinds"])
    assert {tuple(each) for each in batches} == {("records", "text")}
    assert list(end) == ["end"]


def test_the_platform_is_recorded(tmp_path):
    recorder = Recorder(str(tmp_path / "a.jsonl"))
    recorder.begin(MAC)
    recorder.close()
    assert Recording(str(tmp_path / "a.jsonl")).beginning == MAC


def test_a_recording_without_a_platform_is_from_linux(tmp_path):
    record(tmp_path / "a.jsonl")
    head, *rest = (tmp_path / "a.jsonl").read_text().splitlines()
    fields = json.loads(head)
    assert fields.pop("backend") == "linux"
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps(fields), *rest, ""]))
    assert Recording(str(tmp_path / "a.jsonl")).beginning == BEGINNING


def test_footprints_are_read_back(tmp_path):
    recorder = Recorder(str(tmp_path / "a.jsonl"))
    recorder.begin(MAC)
    recorder.add(BATCHES[0])
    mac = Script().footprint(1, 8192, 9216, at=1500).footprints(8192, 0).tick(4096, 1)
    recorder.add(mac.final_footprint(1, 12288, at=1600).exit(1, 0).batch())
    recorder.end(ENDING)
    head = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert head["kinds"]["footprint"] == FOOTPRINT
    assert head["bits"]["has_footprint"] == HAS_FOOTPRINT
    profile = load(str(tmp_path / "a.jsonl")).profile
    assert profile.backend == "darwin"
    assert profile.max_total_footprint == (8192, 1500, 0)
    assert profile.processes[0].footprint == (12288, "exact")


def test_gunzip_reads_a_gzipped_recording(tmp_path):
    record(tmp_path / "a.jsonl")
    record(tmp_path / "b.jsonl.gz")
    with gzip.open(tmp_path / "b.jsonl.gz") as file:
        assert file.read() == (tmp_path / "a.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_each_batch_can_be_read_at_once(name, tmp_path):
    recorder = Recorder(str(tmp_path / name))
    recorder.begin(BEGINNING)
    for count, batch in enumerate(BATCHES, 1):
        recorder.add(batch)
        assert list(Recording(str(tmp_path / name)).batches()) == BATCHES[:count]
    recorder.close()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_any_prefix_of_it_is_a_recording(name, tmp_path):
    record(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    part = tmp_path / f"part-{name}"
    longest = 0
    for size in range(0, len(whole), 3):
        part.write_bytes(whole[:size])
        results = loaded(part)
        if results is None:
            assert not longest, "as soon as there is something, more is no worse"
            continue
        assert results.profile.command == BEGINNING.command
        assert results.profile.sampling.error in (CUT_SHORT, ENDING.error)
        longest = max(longest, len(results.profile.processes))
    assert longest == 2


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_reported(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    record(folder / "a.jsonl")
    whole = bytearray((folder / "a.jsonl").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "b.jsonl").write_bytes(whole)
    loaded(folder / "b.jsonl")


def test_the_first_format_is_read(tmp_path):
    """The first had no working directories, no limits, and no third value."""
    record(tmp_path / "new.jsonl")
    head, *batches, end = map(json.loads, (tmp_path / "new.jsonl").read_text().splitlines())
    head["memwatch_recording"] = 1
    for batch in batches:
        batch["records"] = [record[:-1] for record in batch["records"]]
    del head["bits"]["has_cwd"], end["end"]["limits"], end["end"]["cgroup"]
    old = "".join(json.dumps(line) + "\n" for line in (head, *batches, end))
    (tmp_path / "old.jsonl").write_text(old)
    new, old = (load(str(tmp_path / name)).profile for name in ("new.jsonl", "old.jsonl"))
    assert list(old.processes) == list(new.processes)
    assert old.processes[-1].programs[0].text.cwd is None


def test_the_working_directory_is_recorded(tmp_path):
    recorder = Recorder(str(tmp_path / "a.jsonl"))
    recorder.begin(BEGINNING)
    script = Script().start(1, at=1000).execute(1, "make", "-j8", cwd="/build")
    recorder.add(script.batch())
    recorder.end(ENDING)
    (process,) = load(str(tmp_path / "a.jsonl")).profile.processes
    assert process.programs[0].text.cwd == "/build"
    assert process.argv == ("make", "-j8")


def test_a_newer_format_is_refused(tmp_path):
    (tmp_path / "new.jsonl").write_text('{"memwatch_recording":4,"memwatch_version":"9.9"}\n')
    with pytest.raises(BadRecording, match=r"new.jsonl.*9\.9.*newer"):
        Recording(str(tmp_path / "new.jsonl"))


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        Recorder(str(path))
    # The file is replaced only when there is something to write.
    recorder = Recorder(str(path), overwrite=True)
    recorder.abandon()
    assert path.read_text() == "precious"
    recorder = Recorder(str(path), overwrite=True)
    recorder.begin(BEGINNING)
    recorder.close()
    assert b"precious" not in path.read_bytes()
    Recorder(str(tmp_path / "b.jsonl")).abandon()
    assert not (tmp_path / "b.jsonl").exists()


def test_a_full_disk_ends_the_recording(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    recorder = Recorder("/dev/full", overwrite=True)
    recorder.begin(BEGINNING)
    assert recorder.error is not None
    recorder.add(BATCHES[0])
    recorder.end(ENDING)


# -- Names ---------------------------------------------------------------------------------------

PLACE = RunContext("node7", 4711, 1_763_661_754.5, {})


@pytest.mark.parametrize(
    ("template", "environment", "expected"),
    [
        ("plain.jsonl", {}, "plain.jsonl"),
        ("%h-%p-%t.jsonl.gz", {}, "node7-4711-20251120T180234Z.jsonl.gz"),
        ("100%%", {}, "100%"),
        ("%%h", {}, "%h"),
        ("%r", {"PMIX_RANK": "3"}, "3"),
        ("%r", {"SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "5"}, "5"),
        ("%r", {"SLURM_PROCID": "2", "PMIX_RANK": ""}, "2"),
        ("%j", {"SLURM_JOB_ID": "99"}, "99"),
        ("%j", {"PBS_JOBID": "7.a/../b"}, "7.a_.._b"),
    ],
)
def test_templates(template, environment, expected):
    assert expand(template, PLACE._replace(environment=environment)) == expected


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("%r", "no rank.*mpirun"),
        ("a%jb", "no job id"),
        ("%x", "%x is not"),
        ("%", "%"),
    ],
)
def test_bad_templates(template, match):
    with pytest.raises(ValueError, match=match):
        expand(template, PLACE)


# -- The command line ----------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_report_gives_the_same_as_run(memwatch, name):
    files = ["--csv", "run.csv", "--timeline", "run-timeline.csv"]
    options = ["--include", "d|x"]
    ran = memwatch.run("run", "-i", "5", "-o", name, *options, *files, "--", *JOB)
    assert ran.code == 0, ran.text
    again = [word.replace("run", "again") for word in files]
    reported = memwatch.run("report", name, *options, *again)
    assert reported.code == 0, reported.text
    assert (reported.out, reported.err) == (ran.err, b"")
    for kind in (".csv", "-timeline.csv"):
        assert (memwatch.room / f"again{kind}").read_bytes() == (
            memwatch.room / f"run{kind}"
        ).read_bytes()


@pytest.mark.parametrize("with_timeline", [False, True])
def test_json_again(memwatch, with_timeline):
    files = ["--timeline", "t.csv"] if with_timeline else []
    ran = memwatch.run("run", "--json", "-i", "5", "-o", "a.jsonl", *files, "--", *JOB)
    assert ran.code == 0, ran.text
    assert ("timeline" in ran.json) is with_timeline
    assert memwatch.run("report", "a.jsonl", "--json", *files).out == ran.out
    # The result is itself a result file, with times cut to the microsecond.
    (memwatch.room / "a.json").write_bytes(ran.out)
    documents = [ran.json, memwatch.run("report", "a.json", "--json").json]
    one, other = (document.pop("duration_seconds") for document in documents)
    assert one == pytest.approx(other, abs=2e-6)
    for document in documents:
        for row in document.get("timeline", ()):
            del row["elapsed_seconds"]
    assert documents[0] == documents[1]


def test_files_that_are_not_results_are_refused(memwatch):
    def refused(path: str, *words: str) -> str:
        result = memwatch.run("report", path, *words)
        assert result.code == 1
        (line,) = result.err.decode().splitlines()
        assert re.match("memwatch: ", line)
        return line

    room = memwatch.room
    (room / "empty").touch()
    (room / "text").write_text("some text\n")
    (room / "other.json").write_text('{"a": 1}')
    (room / "list.json").write_text("[[[]]]")
    (room / "binary").write_bytes(bytes(range(256)))
    (room / "zipped.gz").write_bytes(gzip.compress(b"nothing of that kind"))
    for name in ("empty", "text", "other.json", "list.json", "binary", "zipped.gz"):
        assert name in refused(name), name
    assert "No such file" in refused("missing.jsonl")
    assert "directory" in refused(".")
    assert memwatch.run("run", "--json", "--", "true").code == 0
    filtered = memwatch.run("run", "--json", "--include", "x", "--", "true")
    (room / "filtered.json").write_bytes(filtered.out)
    assert "--include" in refused("filtered.json")
    plain = memwatch.run("run", "--json", "--", "true")
    (room / "plain.json").write_bytes(plain.out)
    assert "has no timeline" in refused("plain.json", "--timeline", "t.csv")
    assert not (room / "t.csv").exists()


def test_outputs_that_are_refused(memwatch):
    (memwatch.room / "there.jsonl").write_text("precious")
    for words in (["-o", "there.jsonl"], ["-o", "no/such/folder"], ["-o", "%x"], ["-o", "%r"]):
        result = memwatch.run("run", *words, "--csv", "new.csv", "--", "touch", "ran")
        assert result.code == 1
        assert len(result.err.splitlines()) == 1, result.text
        assert words[1] in result.err.decode()
    assert (memwatch.room / "there.jsonl").read_text() == "precious"
    assert not (memwatch.room / "ran").exists()
    assert not (memwatch.room / "new.csv").exists()
    same = ["-o", "same", "--force", "--timeline", "same"]
    result = memwatch.run("run", *same, "--", "touch", "ran")
    assert result.code == 1
    assert "both name 'same'" in result.err.decode()
    assert not (memwatch.room / "same").exists()
    assert not (memwatch.room / "ran").exists()
    result = memwatch.run("run", "-o", "never.jsonl", "--", "/no/such/command")
    assert result.code == 1
    assert not (memwatch.room / "never.jsonl").exists()
    assert memwatch.run("run", "-o", "there.jsonl", "--force", "--", "true").code == 0
    assert memwatch.run("report", "there.jsonl").code == 0


def test_a_report_that_cannot_be_written(memwatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    memwatch.run("run", "-o", "a.jsonl", "--", "true")
    with open("/dev/full", "wb") as full:
        watch = memwatch.start("report", "a.jsonl", stdout=full)
        assert watch.process.wait(60) == 1
    assert b"cannot write to standard output: No space left on device" in watch.errors()


def test_a_full_disk_ends_the_recording_and_not_the_job(memwatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    job = [sys.executable, "-c", "import sys; print('x'); sys.exit(7)"]
    result = memwatch.run("run", "-o", "/dev/full", "--force", "--", *job)
    assert result.code == 7
    assert result.out == b"x\n"
    text = result.err.decode()
    assert "memwatch: the recording '/dev/full' is incomplete: No space left on device" in text
    assert "Max total RSS" in text


@pytest.mark.both_users
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_the_recording_of_a_killed_memwatch_has_its_samples(memwatch, name):
    path = memwatch.room / name
    job = "x=$(head -c 9000000 /dev/zero | tr '\\0' x); read x"
    watch = memwatch.start("run", "-i", "5", "-o", name, "--", "sh", "-c", job)

    def holds_it() -> bool:
        try:
            recording = Recording(str(path))
        except (OSError, BadRecording):
            return False
        return any(
            each[4] == MEMORY and each[2] > 8 << 20
            for batch in recording.batches()
            for each in batch.records
        )

    wait_until(holds_it, "the job's memory in the recording, while it runs")
    os.kill(watch.pid, signal.SIGKILL)
    watch.end()
    result = memwatch.run("report", name, "--json")
    assert result.code == 0, result.text
    assert result.json["exit_code"] is None
    assert result.json["accuracy"]["error"] == CUT_SHORT
    assert result.json["max_total_rss_kib"] > 8 << 10
    assert result.json["processes"][0]["alive_at_end"] is True
    assert result.json["ending"]["how"] == "cut short"
    assert result.json["ending"]["last_second"]["total_rss_kib"] > 8 << 10
    # The report begins with that.
    lines = memwatch.run("report", name).out.decode().splitlines()
    assert lines[2].startswith("The recording stops early: memwatch was killed")
    assert re.match(r"Last sample:     [\d.]+ MiB at \d", lines[3])


@pytest.mark.parametrize("option", ["--csv", "--timeline"])
def test_report_never_overwrites_its_input(memwatch, story, option):
    script = story("a.jsonl", "make")
    script.start(1, "make", at=0)
    script.tick(at=10)
    path = script.end(20)
    before = path.read_bytes()
    for out in (path, path.with_name("link"), path.with_name("hard")):
        if out.name == "link":
            out.symlink_to(path)
        elif out.name == "hard":
            out.hardlink_to(path)
        result = memwatch.run("report", path, option, out)
        assert (result.code, result.out) == (1, b"")
        assert "is the input file" in result.one_line()
        assert path.read_bytes() == before
    result = memwatch.run("report", "nowhere", option, "nowhere")
    assert result.code == 1
    assert not (memwatch.room / "nowhere").exists()
