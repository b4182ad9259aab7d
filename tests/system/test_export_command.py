"""Tests of `memwatch export`: formats, input and output files, and errors."""

from __future__ import annotations

import csv
import gzip
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from memwatch.commands.export import write_whole
from memwatch.exports.formats import FORMATS
from memwatch.model.observations import EXITED
from support.inside import TICKS

# A program that holds memory until it has certainly been sampled.
HOLDER = TICKS + "held = bytearray(32 << 20); wait_for_ticks(os.getppid(), 0.01, 2)"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Paths of the recording, the gzipped recording and the JSON of a run."""
    folder = tmp_path_factory.mktemp("export")
    paths = {kind: str(folder / f"run.{kind}") for kind in ("jsonl", "jsonl.gz", "json")}
    job = ["--", sys.executable, "-c", HOLDER]
    for kind in ("jsonl", "jsonl.gz"):
        done = memwatch("run", "-i", "10", "--quiet", "-o", paths[kind], *job)
        assert done.returncode == 0, done.stderr
    Path(paths["json"]).write_bytes(memwatch("run", "-i", "10", "--json", *job).stdout)
    return paths


def memwatch(*words: str, cwd: Path = Path("/")) -> subprocess.CompletedProcess[bytes]:
    """Runs memwatch outside the checkout: there, Python would import the package in it."""
    return subprocess.run(
        [sys.executable, "-m", "memwatch", *words], cwd=cwd, capture_output=True, check=False
    )


def refused(done: subprocess.CompletedProcess[bytes]) -> str:
    """Returns the one line with the reason."""
    assert done.returncode == 1
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("memwatch: ")
    return line


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json"])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "csv"])
def test_writes_each_format(files, tmp_path, name, kind):
    out = tmp_path / "out"
    done = memwatch("export", files[kind], "--format", name, "-o", str(out))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    data = out.read_bytes()
    if name not in ("perfetto", "openmetrics"):
        json.loads(data)
    assert (b"python" if name != "gha" else b"peak RSS") in data


@pytest.mark.parametrize("output", [[], ["-o", "-"]])
def test_text_goes_to_stdout(files, output):
    done = memwatch("export", files["jsonl"], "--format", "csv", *output)
    assert done.stderr == b""
    rows = list(csv.DictReader(done.stdout.decode().splitlines()))
    assert max(int(row["rss_kib"]) for row in rows) >= 32 << 10


def test_gzips_by_name(files, tmp_path):
    for name in ("out.csv", "out.csv.gz"):
        done = memwatch("export", files["jsonl"], "--format", "csv", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    zipped = gzip.decompress((tmp_path / "out.csv.gz").read_bytes())
    assert zipped == (tmp_path / "out.csv").read_bytes()


def test_a_trace_needs_a_file(files):
    assert "-o OUT" in refused(memwatch("export", files["jsonl"], "--format", "perfetto"))


def test_csv_needs_a_recording(files, tmp_path):
    done = memwatch("export", files["json"], "--format", "csv", "-o", "out", cwd=tmp_path)
    assert "needs a recording" in refused(done)
    assert not list(tmp_path.iterdir())


def test_does_not_overwrite(files, tmp_path):
    out = tmp_path / "out"
    out.write_text("precious")
    words = ("export", files["jsonl"], "--format", "gha", "-o", str(out))
    assert "--force" in refused(memwatch(*words))
    assert out.read_text() == "precious"
    assert memwatch(*words, "--force").returncode == 0
    assert json.loads(out.read_text())


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_does_not_overwrite_its_input(files, tmp_path, force):
    path = tmp_path / "in.json"
    path.write_bytes(Path(files["json"]).read_bytes())
    before = path.read_bytes()
    words = ("export", str(path), "--format", "gha", "-o", str(path))
    assert "is the input file" in refused(memwatch(*words, *force))
    assert path.read_bytes() == before


def test_does_not_replace_a_broken_link(files, tmp_path):
    out = tmp_path / "out"
    out.symlink_to("nowhere")
    done = memwatch("export", files["jsonl"], "--format", "gha", "-o", str(out))
    assert "--force" in refused(done)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_writes_through_a_link(files, tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "out").symlink_to("real")
    done = memwatch(
        "export", files["jsonl"], "--format", "gha", "--force", "-o", "out", cwd=tmp_path
    )
    assert done.returncode == 0
    assert (tmp_path / "out").is_symlink()
    assert json.loads((tmp_path / "real").read_text())


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_device_is_not_replaced(files, tmp_path, force):
    done = memwatch("export", files["jsonl"], "--format", "gha", *force, "-o", "/dev/null")
    assert done.returncode == 0, done.stderr
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_bad_input(files, tmp_path):
    (tmp_path / "no").write_text("nothing of the kind\n")
    for path, reason in (
        ("no", "holds no results"),
        ("missing", "No such file"),
        (".", "Is a directory"),
    ):
        done = memwatch("export", path, "--format", "gha", "-o", "out", cwd=tmp_path)
        assert reason in refused(done)
        assert repr(path) in refused(done)
    done = memwatch("export", files["jsonl"], "--format", "gha", "-o", "no/out", cwd=tmp_path)
    assert "cannot write 'no/out'" in refused(done)
    done = memwatch("export", files["jsonl"], "--format", "svg", "-o", "out", cwd=tmp_path)
    assert "perfetto" in refused(done)
    assert [path.name for path in tmp_path.iterdir()] == ["no"]


def test_a_full_disk_is_an_error(files):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = memwatch("export", files["jsonl"], "--format", "gha", "-o", "/dev/full")
    assert "No space left" in refused(done)


def test_a_failed_export_leaves_no_file(tmp_path):
    def pieces():
        yield b"a"
        assert len(list(tmp_path.iterdir())) == 1
        assert not (tmp_path / "out").exists()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(str(tmp_path / "out"), pieces(), overwrite=False)
    assert not list(tmp_path.iterdir())


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    def pieces():
        (tmp_path / "out").write_text("new")
        yield b"a"

    with pytest.raises(FileExistsError):
        write_whole(str(tmp_path / "out"), pieces(), overwrite=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_the_umask_sets_the_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(str(tmp_path / "out"), iter([b"a"]), overwrite=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_recording_cut_short_is_exported(files, tmp_path):
    head, batch = Path(files["jsonl"]).read_text().splitlines()[:2]
    # Killed before the job ended.
    records = [each for each in json.loads(batch)["records"] if each[4] != EXITED]
    batch = json.dumps(json.loads(batch) | {"records": records})
    (tmp_path / "cut.jsonl").write_text(f"{head}\n{batch}\n")
    for name in FORMATS:
        done = memwatch("export", "cut.jsonl", "--format", name, "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert b"memwatch_job_complete" in (tmp_path / "openmetrics").read_bytes()
    assert b"memwatch_job_exit_code" not in (tmp_path / "openmetrics").read_bytes()
