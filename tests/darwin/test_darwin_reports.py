"""Tests of the reports on a job on macOS with real processes, made there and on Linux."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

MIB = 1024  # KiB, the unit of the reports


@pytest.fixture
def memwatch(memwatch, darwin_env):
    memwatch.variables = darwin_env
    return memwatch


def test_footprints(memwatch):
    """They are in the report of the run, and in reports of its recording on both systems."""
    watch = memwatch.burn(
        *("fork", 1, "[", "touch", 30, "mark", "up", "gate", "]"),
        *("touch", 20, "mark", "up", "gate", "wait"),
        options=("-i", "5", "-o", "mac.jsonl"),
    )
    watch.marks("up", 2)
    watch.ticks()
    own = watch.end()
    assert own.code == 0, own.text
    document = own.json
    assert document["memwatch"]["backend"] == "darwin"
    total = document["max_total_phys_footprint_kib"]
    assert 50 * MIB <= total <= document["max_total_rss_kib"]
    assert document["max_total_phys_footprint_unread"] == 0
    by_size = sorted(each["max_phys_footprint_kib"] for each in document["processes"])
    assert len(by_size) == 2
    assert by_size[0] >= 20 * MIB
    assert by_size[1] >= 30 * MIB
    for each in document["processes"]:
        assert each["phys_footprint_source"] in ("watermark", "exact")
        assert each["max_phys_footprint_kib"] <= each["max_rss_kib"]
    peaks = document["accuracy"]["phys_footprint_peaks"]
    assert (sum(peaks.values()), peaks["unknown"]) == (2, 0)
    assert not document["accuracy"]["complete"]
    assert document["accuracy"]["advice"] is None

    memwatch.variables = {}
    again = memwatch.run("report", "--json", "mac.jsonl").json
    for key in ("memwatch", "accuracy", "processes", "max_total_phys_footprint_kib"):
        assert again[key] == document[key], key
    text = memwatch.run("report", "mac.jsonl").out.decode()
    assert "\nMax footprint:   " in text
    assert "\nmacOS reports that a process forked, but not its child" in text
    # Remedies that apply only to Linux.
    for word in ("root", "--exact", "taskstats"):
        assert word not in text


def test_the_command_is_read_at_its_end(memwatch):
    """Its parent is memwatch, which waits for it only afterwards."""
    watch = memwatch.burn("touch", 20, "mark", "root", "gate")
    watch.mark("root")
    watch.ticks(10)
    (root,) = watch.end().json["processes"]
    assert root["phys_footprint_source"] == "exact"
    assert root["max_phys_footprint_kib"] >= 20 * MIB
    assert root["user_seconds"] is not None


def test_doctor(memwatch):
    result = memwatch.run("doctor")
    assert result.code == 0, result.text
    text = result.out.decode()
    assert text.startswith("memwatch ")
    assert "(darwin backend)" in text
    assert "\n  yes  sampling (libproc)" in text
    assert "\n  yes  process events (kqueue)" in text
    found = memwatch.run("doctor", "--json").json
    assert found["memwatch"]["backend"] == "darwin"
    assert [tier["id"] for tier in found["tiers"]] == ["sampling", "kqueue"]


def test_what_is_for_linux_only(memwatch):
    refused = memwatch.run("run", "--max-total-pss", "1G", "--", "true")
    assert refused.code == 1
    assert "--max-total-pss is for Linux" in refused.one_line()
    refused = memwatch.run("run", "--sources", "taskstats", "--", "true")
    assert refused.code == 1
    assert "some of kqueue" in refused.one_line()
    result = memwatch.run("run", "--exact", "--", "true")
    assert result.code == 0
    assert "--exact was not possible: " in result.text
