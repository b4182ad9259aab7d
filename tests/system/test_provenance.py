"""Tests that each number has its source, and that the report states what is unknown and why."""

from __future__ import annotations

import os
import signal

import pytest

from support.judging import Judge, Report

SOURCES = {"connector", "perf", "taskstats", "hook"}
MIB = 1024  # KiB, the unit of the reports

# A user without privileges, whichever user runs the tests.
ordinary = "nobody" if os.geteuid() == 0 else "caller"
as_nobody = pytest.mark.parametrize("user", [ordinary], indirect=True)


@pytest.fixture
def blow(memwatch, storm):
    """Runs a small storm under memwatch to its end."""

    def run(*options, kind="exec", count=200):
        words = ["run", "-i", "10", *options, "--", storm.program, kind, str(count)]
        result = memwatch.run(*words, env=storm.env)
        assert result.code == 7, result.text
        return result

    return run


# -- Sources, used and not used ------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("options", [[], ["--exact"], ["--sources", "none"]], ids=str)
def test_every_source_is_accounted_for(blow, options):
    report = Report(blow("--json", *options).json)
    sources = report.accuracy["sources"]
    names = [each["name"] for each in sources]
    assert len(names) == len(set(names))
    assert set(names) <= SOURCES
    assert report.used("hook") or report.reason("hook") or "--exact" not in options
    if not options:
        # One source of forks and exits is enough; without any, all have a reason.
        events = ("connector", "perf")
        assert any(map(report.used, events)) or all(map(report.reason, events))
        assert report.used("taskstats") or report.reason("taskstats")
    if options == ["--sources", "none"]:
        assert not any(each["used"] for each in sources)


@pytest.mark.parametrize("name", ["connector", "perf", "taskstats"])
def test_a_source_that_is_switched_off(blow, needs, name):
    others = [each for each in ("connector", "perf", "taskstats") if each != name]
    needs(others[0])
    report = Report(blow("--json", "--sources", ",".join(others)).json)
    assert not report.used(name)
    assert report.used(others[0])


@as_nobody
def test_a_source_that_is_not_available(blow):
    report = Report(blow("--json", "--sources", "taskstats").json)
    assert not report.used("taskstats")
    assert report.reason("taskstats")


@pytest.mark.parametrize("value", ["nonsense", "connector,nonsense", "", "none,perf", "auto,perf"])
def test_sources_that_make_no_sense(memwatch, storm, value):
    result = memwatch.run("run", "--sources", value, "--", storm.program, "fork", "1")
    assert result.code == 1
    assert not storm.file.exists()
    assert "--sources" in result.one_line()


@pytest.mark.both_users
@pytest.mark.parametrize("options", [[], ["--exact"], ["--sources", "none"]], ids=str)
def test_the_account_adds_up(blow, storm, options):
    """nothing_is_invented() checks this as well, for the storms of the other tests."""
    report = Report(blow("--json", *options).json)
    Judge(report, storm.truth()).nothing_is_invented()
    accuracy = report.accuracy
    assert sum(accuracy["peaks"].values()) == len(report.processes)
    assert sum(accuracy["processes_found"].values()) == len(report.processes)
    assert set(accuracy["peaks"]) == {"exact", "watermark", "sampled", "unknown"}
    assert set(accuracy["processes_found"]) == {"events", "record", "hook", "sampling"}
    unknown = [each for each in report.processes if each["max_rss_kib"] is None]
    assert accuracy["peaks"]["unknown"] == len(unknown)
    for key in ("never_sampled", "lost_messages", "late_ticks", "skipped_ticks"):
        assert accuracy[key] >= 0
    assert accuracy["never_sampled"] <= len(report.processes)


# -- The summary ---------------------------------------------------------------------------------


def test_the_summary_of_exit_records(blow, needs):
    needs("taskstats")
    needs("connector")
    text = blow("--top", "1").text
    assert "201 processes; all peaks are exact (kernel exit records)" in text


@as_nobody
def test_the_summary_of_the_exit_hook(blow, needs):
    needs("hook")
    text = blow("--exact", "--top", "1").text
    assert "201 processes; all peaks are exact (exit hook)" in text


@as_nobody
def test_the_summary_names_what_would_make_peaks_exact(blow, needs):
    needs("hook")
    text = blow("--top", "1").text
    assert "exact" in text
    assert "--exact" in text
    assert "all peaks are exact" not in text


@as_nobody
def test_the_summary_does_not_call_all_peaks_exact_if_a_process_was_killed(blow, needs):
    needs("hook")
    text = blow("--exact", "--sources", "none", "--top", "1", kind="killed").text
    assert "all peaks are exact" not in text


# -- Other numbers -------------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("kind", ["exec", "killed", "unannounced"])
def test_wait_statuses_are_the_kernel_s(blow, needs, storm, kind):
    """The connector reports them for every process, not only for memwatch's own children."""
    needs("connector")
    report = Report(blow("--json", "--sources", "connector", kind=kind).json)
    truth = storm.truth()
    for pid in truth.pids:
        assert report.by_pid[pid]["wait_status"] == truth.last(pid).status
    statuses = {status & 0x7F for status in truth.statuses.values()}
    assert kind != "killed" or statuses == {0, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1}
    assert {0, 7 << 8} <= set(truth.statuses.values())


def test_input_and_output_are_the_kernel_s(memwatch, needs, exit_records):
    needs("taskstats")
    words = "dd if=/dev/zero of=big bs=1M count=8 conv=fsync status=none; cat big > copy"
    result = memwatch.run("run", "--json", "--", "sh", "-c", words)
    assert result.code == 0
    records = exit_records.read()
    written = 0
    for process in Report(result.json).processes:
        record = records[process["pid"]]
        assert process["read_bytes"] == record.read_bytes
        assert process["written_bytes"] == record.written_bytes
        written += record.written_bytes
    if not written:
        pytest.skip("this folder is not on a device")
    assert written >= 8 << 20


@pytest.mark.both_users
def test_unknown_is_null(blow):
    """What neither records nor the hook report is null, not zero."""
    report = Report(blow("--json", "--sources", "none").json)
    for each in report.processes:
        assert each["read_bytes"] is None or each["read_bytes"] >= 0
        for pair in (("user_seconds", "system_seconds"), ("read_bytes", "written_bytes")):
            assert len({each[key] is None for key in pair}) == 1, each
    # Processes that were not seen at their end, or not at all: these values are unknown.
    missed = [each for each in report.processes if each["parent_serial"]]
    assert all(each["user_seconds"] is None for each in missed)


# -- Shared pages --------------------------------------------------------------------------------


@pytest.fixture
def sharing(memwatch):
    """Runs four children that read the 100 MiB of their parent, until there are enough samples.

    They end after the report: a process that ends while the sum is made leaves its share to the
    others.
    """
    later = memwatch.room / "later"

    def run(*options):
        watch = memwatch.burn(
            *("touch", 100, "fork", 4, "[", "read", "mark", "child", "until", later, "]"),
            *("mark", "root", "gate"),
            options=("-i", "10", *options),
        )
        watch.marks("child", 4)
        watch.ticks(30)
        result = watch.end()
        later.touch()
        return result

    return run


@pytest.mark.both_users
def test_shared_pages_are_counted_once(sharing):
    report = sharing("--pss", "always").json
    assert report["max_total_rss_kib"] >= 5 * 100 * MIB
    assert 100 * MIB <= report["max_total_pss_kib"] <= 105 * MIB + 5 * MIB


@pytest.mark.both_users
def test_shared_pages_at_new_highs(sharing):
    """The budget may be too small to read all of them: then the report states how many count with
    their resident size. If none was read, there is no sum."""
    report = sharing().json
    if report["max_total_pss_kib"] is not None:
        by_rss = report["max_total_pss_unread"] * 105 * MIB
        assert report["max_total_pss_kib"] <= 110 * MIB + by_rss


def test_no_pss(sharing):
    assert sharing("--pss", "off").json["max_total_pss_kib"] is None


def test_vfork_is_not_counted_twice(memwatch, burner):
    """Before its exec, a vfork child has all of its parent's memory."""
    watch = memwatch.burn(
        *("touch", 100, "vfork", "[", "mark", "child", "gate", "]", "mark", "root", "wait"),
        options=("-i", "10", "--pss", "always"),
        env={"BURNER": str(burner)},
    )
    watch.mark("root")
    watch.ticks(20)
    assert watch.end().json["max_total_pss_kib"] <= 110 * MIB


@pytest.mark.both_users
@pytest.mark.parametrize("options", [[], ["--sources", "none"]], ids=str)
def test_vfork_is_not_counted_twice_in_the_total(memwatch, burner, options):
    """This holds even if its exec takes long."""
    watch = memwatch.burn(
        *("touch", 100, "dawdle", "[", "touch", 20, "mark", "child", "gate", "]", "wait"),
        options=("-i", "5", *options),
        env={"BURNER": str(burner)},
    )
    child = watch.mark("child")
    watch.ticks()
    result = watch.end()
    total = result.json["max_total_rss_kib"]
    assert 120 * MIB <= total <= 130 * MIB
    assert sum(each["rss_kib"] for each in result.json["at_peak"]) == pytest.approx(total, abs=3)
    assert result.by_pid(child)["images"][-1]["max_rss_kib"] <= 30 * MIB


# -- The burst -----------------------------------------------------------------------------------


@pytest.mark.both_users
def test_burst(memwatch):
    """With an interval of a minute, only the burst can have sampled anything twice."""
    watch = memwatch.burn(
        "touch", 5, "mark", "root", "gate", options=("-i", "60s", "--burst", "60000")
    )
    watch.mark("root")
    watch.ticks(50)
    report = watch.end().json
    assert report["samples"] >= 50
    assert report["max_total_rss_kib"] >= 5 * MIB


def test_a_burst_that_makes_no_sense(memwatch, burner):
    for value in ("-1", "soon"):
        result = memwatch.run("run", "--burst", value, "--", burner)
        assert result.code == 1
        assert "--burst" in result.one_line()
