"""Comparisons of two sets of runs: verdicts, notes and reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from memwatch.analysis.comparison import Comparison, NotMeasuredError, Verdict, compare, judge
from memwatch.analysis.confidence import Interval
from memwatch.analysis.process_classes import class_of
from memwatch.analysis.thresholds import DEFAULT, Threshold, Thresholds
from memwatch.model.footprint_bounds import ALONE, FAULTS, SHARED, FootprintBounds
from memwatch.model.metric import Metric
from memwatch.model.observations import ProgramText
from memwatch.model.processes import FOUND_BY_SAMPLING, NO_PEAK, Process, Program, Usage
from memwatch.model.profile import Profile
from memwatch.reports import comparison_rows as rows
from memwatch.reports.comparison_json import document as json_document
from memwatch.reports.comparison_markdown import markdown
from memwatch.reports.comparison_report import lines as text_lines
from memwatch.storage.load import load
from support.golden import check_golden
from support.schema import Schema, written_keys
from support.scripted import ScriptedRecording

MIB = 1 << 20
SCHEMA = Schema("comparison")


# -- One change ----------------------------------------------------------------------------------


def verdict_of(base, candidate, threshold=DEFAULT) -> Verdict:
    return judge("x", base, candidate, threshold, gates=True).verdict


@pytest.mark.parametrize(
    ("base", "candidate", "verdict"),
    [
        ([100], [105], Verdict.NO_CHANGE),
        ([100], [106], Verdict.REGRESSION),
        ([100], [94], Verdict.IMPROVEMENT),
        ([100], [95], Verdict.NO_CHANGE),
        # A certain increase, larger than allowed.
        ([100, 101, 102, 101, 100], [109, 110, 111, 110, 112], Verdict.REGRESSION),
        ([109, 110, 111, 110, 112], [100, 101, 102, 101, 100], Verdict.IMPROVEMENT),
        # A certain increase, smaller than allowed.
        ([100, 101, 100, 101, 100], [103, 104, 103, 104, 103], Verdict.NO_CHANGE),
        # The interval reaches below the allowed increase but excludes zero.
        ([100, 101, 102, 103, 104], [105, 107, 109, 111, 113], Verdict.REGRESSION),
        # The medians differ by more than allowed, but the interval includes zero.
        ([100, 120, 100, 120, 100], [120, 100, 120, 100, 120], Verdict.UNCERTAIN),
        # The medians do not differ.
        ([100, 100, 100, 100, 100], [100, 100, 100, 150, 150], Verdict.NO_CHANGE),
        # One run against five: the one is higher than all five, or not.
        ([100, 101, 102, 103, 104], [115], Verdict.REGRESSION),
        ([100, 101, 102, 103, 120], [115], Verdict.UNCERTAIN),
        ([], [100], Verdict.UNKNOWN),
        ([None, None], [100, 100], Verdict.UNKNOWN),
        ([None, 100], [120, 120], Verdict.REGRESSION),
        # A group that is new, gone, or in neither.
        ([0], [1], Verdict.REGRESSION),
        ([1], [0], Verdict.IMPROVEMENT),
        ([0], [0], Verdict.NO_CHANGE),
    ],
)
def test_verdict(base, candidate, verdict):
    assert verdict_of(base, candidate, Threshold(relative=0.05)) is verdict


def test_figures_of_a_change():
    change = judge("x", [100, None, 104], [120, 130, 0], DEFAULT, gates=False)
    assert change.base_values == (100, 104)
    assert (change.base, change.candidate, change.difference) == (102, 120, 18)
    assert change.relative == pytest.approx(18 / 102)
    assert change.part(51) == 0.5
    new = judge("x", [0], [MIB], DEFAULT, gates=False)
    assert new.is_new
    assert (new.difference, new.relative, new.part(1)) == (MIB, None, None)


@pytest.mark.parametrize(
    ("base", "candidate", "words"),
    [
        ([100], [110], "x: 10.0 % more: a regression (allowed: 5 %)"),
        ([100], [90], "x: 10.0 % less: an improvement (allowed: 5 %)"),
        ([100], [103], "x: 3.0 % more: no regression (allowed: 5 %)"),
        ([100], [100], "x: the same: no regression (allowed: 5 %)"),
        ([0], [MIB], "x: 1.0 MiB more: a regression (allowed: 5 %)"),
        (
            [100, 101, 102, 103, 104],
            [110, 111, 112, 113, 114],
            "x: between 6.9 % and 12.7 % more, 95 % confidence: a regression (allowed: 5 %)",
        ),
        (
            [110, 111, 112, 113, 114],
            [100, 101, 102, 103, 104],
            "x: between 6.2 % and 11.6 % less, 95 % confidence: an improvement (allowed: 5 %)",
        ),
        (
            [100, 102, 104, 106, 108],
            [101, 103, 105, 107, 109],
            "x: between 4.8 % less and 6.7 % more, 95 % confidence: no regression (allowed: 5 %)",
        ),
        ([5] * 5, [6] * 5, "x: 20.0 % more, 95 % confidence: a regression (allowed: 5 %)"),
        ([5] * 3, [5] * 3, "x: the same, 90 % confidence: no regression (allowed: 5 %)"),
        (
            [100, 120, 100, 120, 100],
            [120, 100, 120, 100, 120],
            "x: 20.0 % more by the medians, but between 20.0 % less and 20.0 % more, 95 % "
            "confidence: uncertain, more runs are needed (allowed: 5 %)",
        ),
        ([None], [5], "x: unknown in base, so there is no verdict"),
    ],
)
def test_words(base, candidate, words):
    change = judge("x", base, candidate, Threshold(relative=0.05), gates=True)
    assert rows.in_words(change) == words


# -- Classes of processes ------------------------------------------------------------------------


def process(name: str, *argv: str) -> Process:
    program = Program(ProgramText(name, None, argv or None, False), 0, False, NO_PEAK)
    return Process(
        1, 1, 1, None, 0, 0, 0, 0, False, (program,), FOUND_BY_SAMPLING, True, True, Usage()
    )


@pytest.mark.parametrize(
    ("name", "argv", "expected"),
    [
        ("cc1", ["cc1", "-quiet", "a.c"], "cc1"),
        ("cc1", [], "cc1"),
        ("python3", [], "python3"),
        ("python3", ["python3"], "python3"),
        ("python3", ["python3", "-u", "/srv/worker.py", "7"], "python3 worker.py"),
        ("python3.11", ["python3.11", "-m", "pytest", "-q"], "python3.11 -m pytest"),
        ("python3", ["python3", "-m"], "python3 -m"),
        ("python3", ["python3", "-c", "print(1)", "x.py"], "python3 -c"),
        ("java", ["java", "-Xmx1g", "-jar", "/opt/app.jar"], "java -jar /opt/app.jar"),
        ("sh", ["/bin/sh", "-e", "build.sh"], "sh build.sh"),
        ("bash", ["bash", "-ec", "make all"], "bash -ec"),
        ("perl", ["perl", "-w", "-ne", "print"], "perl -ne"),
        ("node", ["node", "--eval", "1"], "node 1"),
        ("java", ["java", "-Xms1g", "Main"], "java Main"),
        ("pip", ["pip", "install", "x"], "pip"),
    ],
)
def test_class(name, argv, expected):
    assert class_of(process(name, *argv)) == expected


# -- Runs ----------------------------------------------------------------------------------------


@pytest.fixture
def run(story: Callable[..., ScriptedRecording]) -> Callable[..., Profile]:
    """Makes profiles: run(make=3, cc1=(40, 50)) has these processes at one time (sizes in MiB)."""
    numbers = count()

    def make(
        *command: str, exact: bool = True, tail: bool = True, **programs: int | tuple[int, ...]
    ) -> Profile:
        recording = story(f"{next(numbers)}.jsonl", *(command or ("make",)))
        serial = 0
        held = {}
        for name, sizes in programs.items():
            for size in sizes if isinstance(sizes, tuple) else (sizes,):
                serial += 1
                recording.start(
                    serial,
                    *([name] if serial > 1 else command or [name]),
                    parent=1 if serial > 1 else None,
                    at=serial / 100,
                )
                recording.memory(serial, size * 1024, at=1)
                held[serial] = size
        recording.tick(at=1)
        recording.pss(sum(held.values()) * 512)
        for serial in sorted(held, reverse=True):
            if exact:
                recording.final(serial, held[serial] * 1024, at=5)
            recording.exit(serial, 0, by_event=True, at=5)
        recording.tick(at=6)
        return load(str(recording.end(10) if tail else recording.cut_short())).profile

    return make


def with_footprint(
    profile: Profile, low: int, best: int, high: int | None, source: str = FAULTS
) -> Profile:
    """Returns the profile with a footprint (sizes in MiB)."""
    sizes = (low * MIB, best * MIB, None if high is None else high * MIB)
    bounds = FootprintBounds(*sizes, profile.start, source, None)
    return replace(profile, footprint=bounds)


def groups_of(comparison: Comparison) -> dict[str, tuple[int | None, int | None, Verdict]]:
    return {each.name: (each.base, each.candidate, each.verdict) for each in comparison.groups}


def test_total_process_and_groups(run):
    base = run(make=4, cc1=(40, 50), ld=30)
    candidate = run(make=4, cc1=(40, 50, 20), cp=2)
    comparison = compare([base], [candidate], Thresholds())
    assert (comparison.total.base, comparison.total.candidate) == (124 * MIB, 116 * MIB)
    assert comparison.total.verdict is comparison.verdict is Verdict.IMPROVEMENT
    pss = comparison.totals[Metric.PSS]
    assert (pss.base, pss.candidate) == (62 * MIB, 58 * MIB)
    assert comparison.per_process.base == comparison.per_process.candidate == 50 * MIB
    assert groups_of(comparison) == {
        "make": (4 * MIB, 4 * MIB, Verdict.NO_CHANGE),
        "cc1": (90 * MIB, 110 * MIB, Verdict.REGRESSION),
        "ld": (30 * MIB, 0, Verdict.IMPROVEMENT),
        "cp": (0, 2 * MIB, Verdict.REGRESSION),
    }
    # The largest change comes first.
    assert [each.name for each in comparison.groups] == ["ld", "cc1", "cp", "make"]
    assert [each.name for each in comparison.groups if each.is_new] == ["cp"]
    assert [each.name for each in comparison.groups if each.is_gone] == ["ld"]
    classes = {each.name: each for each in comparison.classes}
    assert (classes["cc1"].base_count, classes["cc1"].candidate_count) == (2, 3)
    assert classes["cc1"].peak.difference == 0
    # A group without a threshold does not affect the verdict.
    assert comparison.gating == (comparison.total,)
    assert not comparison.regressions
    assert comparison.is_plain


def test_a_group_with_a_threshold_affects_the_verdict(run):
    base, candidate = run(make=400, cc1=40), run(make=400, cc1=44)
    assert compare([base], [candidate], Thresholds()).verdict is Verdict.NO_CHANGE
    strict = Thresholds(groups={"cc1": Threshold(0.05), "make": Threshold(0.05)})
    comparison = compare([base], [candidate], strict)
    assert comparison.verdict is Verdict.REGRESSION
    assert [each.name for each in comparison.regressions] == ["cc1"]
    assert rows.verdict_line(comparison) == (
        "RSS of cc1: 10.0 % more: a regression (allowed: 5 %) (one run each)"
    )
    loose = Thresholds(groups={"cc1": Threshold(0.2)})
    assert compare([base], [candidate], loose).verdict is Verdict.NO_CHANGE


def test_a_threshold_for_a_group_in_neither_run_is_noted(run):
    comparison = compare([run(make=4)], [run(make=4)], Thresholds(groups={"rsutc": Threshold(0.1)}))
    assert comparison.verdict is Verdict.NO_CHANGE
    (note,) = [note for note in comparison.notes if "rsutc" in note]
    assert "check the spelling" in note


def test_repeats(run):
    base = [run(make=size) for size in (100, 101, 102, 103, 104)]
    candidate = [run(make=size) for size in (110, 111, 112, 113, 114)]
    comparison = compare(base, candidate, Thresholds())
    assert comparison.total.interval == Interval(7 * MIB, 13 * MIB, 0.95)
    assert comparison.verdict is Verdict.REGRESSION
    assert not comparison.is_plain
    assert compare(base, base, Thresholds()).verdict is Verdict.NO_CHANGE


def test_memory_that_was_not_seen_gives_no_verdict(run):
    seen = run(make=100)
    unseen = replace(seen, max_total_rss=None, largest=None, max_total_pss=None, groups=())
    comparison = compare([seen], [unseen], Thresholds())
    assert comparison.verdict is Verdict.UNKNOWN
    assert Metric.PSS not in comparison.totals
    assert "candidate: its memory was not seen." in comparison.notes
    assert "unknown in candidate" in rows.verdict_line(comparison)
    document = json_document(comparison, (["a"], ["b"]))
    assert document["total_rss"]["candidate_kib"] is None
    assert document["total_pss"] is None
    SCHEMA.validate(document)
    # Among repeated runs the others count.
    assert compare([seen, seen], [unseen, seen], Thresholds()).verdict is Verdict.NO_CHANGE


def test_notes_name_what_limits_a_comparison(run):
    base = run(make=100)
    sampling = base.sampling._replace(interval=base.sampling.interval * 50, unreadable=2)
    other = replace(base, command=("make", "-j8"), sampling=sampling, exit_status=2 << 8)
    notes = compare([base], [other], Thresholds()).notes
    assert (
        "candidate: the command failed (exit code 2); it may not have finished its work." in notes
    )
    assert any("2 processes could not be read" in note for note in notes)
    assert "The commands differ." in notes
    assert not any(note.startswith("The platforms differ") for note in notes)
    assert any(note.startswith("The intervals differ (10 ms, 500 ms)") for note in notes)
    assert not compare([base], [base], Thresholds()).notes


def test_a_lower_peak_of_a_job_that_died_is_no_improvement(run):
    base, died = run(make=100), replace(run(make=50), exit_status=9)
    comparison = compare([base], [died], Thresholds())
    assert comparison.verdict is Verdict.UNKNOWN
    assert rows.verdict_line(comparison) == (
        "total RSS: 50.0 % less, but not an improvement: in the candidate, the command was killed "
        "by SIGKILL (one run each)"
    )
    text = "\n".join(markdown(comparison, (["a"], ["b"])))
    assert "but not an improvement: in the candidate" in text
    document = json_document(comparison, (["a"], ["b"]))
    assert document["total_rss"]["doubt"] == ("in the candidate, the command was killed by SIGKILL")
    assert [each["ending"] for each in document["candidate"]] == ["failed"]
    SCHEMA.validate(document)
    # What it did hold may be a regression. What a base that died held shows none.
    assert compare([run(make=20)], [died], Thresholds()).regressions
    comparison = compare([died], [base], Thresholds())
    assert comparison.verdict is Verdict.UNKNOWN
    assert "more, but not a regression: in the base, " in rows.verdict_line(comparison)
    same = replace(base, exit_status=9)
    comparison = compare([base, base], [base, same], Thresholds())
    assert "no verdict: in candidate run 2, " in rows.verdict_line(comparison)


def test_runs_that_failed_alike_are_compared(run):
    """As of a linter that finds something."""
    base, candidate = (replace(run(make=size), exit_status=2 << 8) for size in (100, 50))
    comparison = compare([base], [candidate], Thresholds())
    assert comparison.verdict is Verdict.IMPROVEMENT
    assert sum("the command failed (exit code 2)" in note for note in comparison.notes) == 2
    other = replace(candidate, exit_status=3 << 8)
    assert compare([base], [other], Thresholds()).verdict is Verdict.UNKNOWN
    killed = (replace(each, exit_status=9) for each in (base, candidate))
    assert compare([next(killed)], [next(killed)], Thresholds()).verdict is Verdict.UNKNOWN


def test_platforms_that_differ_are_noted(run):
    base = run(make=100)
    notes = compare([base], [replace(base, backend="darwin")], Thresholds()).notes
    assert any(note.startswith("The platforms differ (Linux, macOS)") for note in notes)


def test_lower_bounds_and_partial_runs_are_noted(run):
    whole, sampled, part = run(make=9), run(make=9, exact=False), run(make=9, tail=False)
    notes = compare([whole], [sampled], Thresholds()).notes
    assert notes == ("All process peaks are exact in base; some are lower bounds in candidate.",)
    assert compare([sampled], [sampled], Thresholds()).notes == (
        "Some process peaks are lower bounds.",
    )
    notes = compare([whole, part], [whole], Thresholds()).notes
    assert notes[0].startswith("base run 2: only a part was seen, so its peaks are lower bounds: ")
    alone = replace(whole, max_total_rss=5 * MIB)
    notes = compare([whole], [alone], Thresholds()).notes
    assert notes == (
        "In 1 of 2 runs one process alone held more than any sample of the job: its peak counts "
        "as the total RSS.",
    )


@pytest.mark.parametrize("other", [{"rss": 90 * MIB}, {"unread": 1}, {"is_low": True}])
def test_pss_of_another_time_or_read_in_part_is_not_compared(run, other):
    base = run(make=100)
    assert base.max_total_pss
    off = replace(base, max_total_pss=base.max_total_pss._replace(**other))
    comparison = compare([base, base], [base, off], Thresholds())
    assert Metric.PSS not in comparison.totals
    assert comparison.notes == (
        "Total PSS is not compared: in 1 of 4 runs it was not measured at the peak, or only in "
        "part.",
    )
    assert (
        Metric.PSS
        not in compare([replace(base, max_total_pss=None)] * 2, [base], Thresholds()).totals
    )


# -- Metrics -------------------------------------------------------------------------------------


def measured(profile: Profile) -> Profile:
    """Returns the profile of a job for which every metric is known."""
    return with_footprint(profile, 18, 20, 22)


@pytest.mark.parametrize(
    ("metric", "order", "sizes"),
    [
        (Metric.RSS, ["rss", "pss", "footprint"], (100, 200)),
        (Metric.PSS, ["pss", "rss", "footprint"], (50, 100)),
        (Metric.FOOTPRINT, ["footprint", "rss", "pss"], (20, 20)),
    ],
)
def test_the_metric_decides(run, metric, order, sizes):
    base, candidate = measured(run(make=100)), measured(run(make=200))
    comparison = compare([base], [candidate], Thresholds(), metric)
    assert [each.value for each in comparison.totals] == order
    assert comparison.metric is comparison.total.metric is metric
    assert comparison.gating == (comparison.total,)
    assert (comparison.total.base, comparison.total.candidate) == tuple(n * MIB for n in sizes)
    same = metric is Metric.FOOTPRINT
    assert comparison.verdict is (Verdict.NO_CHANGE if same else Verdict.REGRESSION)
    assert rows.verdict_line(comparison).startswith(f"total {metric}: ")
    names = [row.name for row in rows.figures(comparison)]
    assert names[: len(order)] == [f"Total {each}" for each in comparison.totals]
    document = json_document(comparison, (["a"], ["b"]))
    assert document["metric"] == metric.value
    assert all(document[f"total_{each}"]["gates"] is (each == metric.value) for each in order)
    assert document["total_footprint_bounds"] == {
        "base_low_kib": 18 << 10,
        "base_high_kib": 22 << 10,
        "candidate_low_kib": 18 << 10,
        "candidate_high_kib": 22 << 10,
    }
    SCHEMA.validate(document)


@pytest.mark.parametrize(
    ("backends", "metric"),
    [
        (("linux", "linux"), Metric.RSS),
        (("darwin", "darwin"), Metric.FOOTPRINT),
        (("linux", "darwin"), Metric.RSS),
    ],
)
def test_the_metric_of_a_platform(run, backends, metric):
    base, candidate = (replace(measured(run(make=9)), backend=each) for each in backends)
    assert compare([base], [candidate], Thresholds()).metric is metric


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (Metric.RSS, ""),
        (Metric.PSS, " (not measured: record with --pss peaks)"),
        (Metric.FOOTPRINT, " (not measured: record again with this version)"),
    ],
)
def test_no_metric_takes_the_place_of_another(run, metric, why):
    known = measured(run(make=100))
    without = {
        Metric.RSS: replace(known, max_total_rss=None, largest=None),
        Metric.PSS: replace(known, max_total_pss=None),
        Metric.FOOTPRINT: replace(known, footprint=None),
    }[metric]
    comparison = compare([known], [without], Thresholds(), metric)
    assert comparison.verdict is Verdict.UNKNOWN
    assert rows.verdict_line(comparison) == (
        f"total {metric}: unknown in candidate{why}, so there is no verdict (one run each)"
    )
    document = json_document(comparison, (["a"], ["b"]))
    assert document[f"total_{metric.value}"]["verdict"] == "unknown"
    SCHEMA.validate(document)


def test_pss_of_a_part_is_unknown_with_its_own_remedy(run):
    base = run(make=100)
    part = replace(base, max_total_pss=base.max_total_pss._replace(unread=1))
    line = rows.verdict_line(compare([base], [part], Thresholds(), Metric.PSS))
    assert "not measured at the peak, or only in part: record with --pss always" in line


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (Metric.PSS, "their PSS is not measured"),
        (Metric.FOOTPRINT, "a file does not have their footprint"),
    ],
)
def test_a_group_has_no_threshold_in_what_it_is_not_measured_in(run, metric, why):
    profile = measured(run(make=4, cc1=40))
    thresholds = Thresholds(groups={"cc1": Threshold(0.1)})
    said = f"groups are compared by RSS, since {why}"
    with pytest.raises(NotMeasuredError, match=f"cannot be checked: {said}; .*--metric rss"):
        compare([profile], [profile], thresholds, metric)
    comparison = compare([profile], [profile], Thresholds(), metric)
    assert f"{said.capitalize()}." in [note.capitalize() for note in comparison.notes]
    assert {each.metric for each in comparison.groups} == {Metric.RSS}


def with_group_footprints(profile, source=ALONE, margin=0, **sizes):
    """Gives the groups footprints, in MiB. Their bounds are `margin` apart on either side."""
    groups = tuple(
        group._replace(
            footprint=FootprintBounds(
                (sizes[group.name] - margin) * MIB,
                sizes[group.name] * MIB,
                (sizes[group.name] + margin) * MIB,
                0,
                source,
                None,
            )
        )
        for group in profile.groups
    )
    return replace(measured(profile), groups=groups)


def test_groups_are_compared_by_the_footprint_where_it_is_known(run):
    profile = run(make=4, cc1=400)
    before = with_group_footprints(profile, make=2, cc1=40)
    after = with_group_footprints(profile, make=2, cc1=60)
    thresholds = Thresholds(groups={"cc1": Threshold(0.1)})
    comparison = compare([before], [after], thresholds, Metric.FOOTPRINT)
    change = comparison.groups[0]
    assert change.quantity == "footprint of cc1"
    assert (change.base, change.candidate) == (40 * MIB, 60 * MIB)
    assert change.verdict is comparison.verdict is Verdict.REGRESSION
    assert rows.group_title(comparison) == "Groups, peak footprint at one time"
    document = json_document(comparison, (["a"], ["b"]))
    assert document["groups"][0]["metric"] == "footprint"
    SCHEMA.validate(document)


def test_the_bounds_of_groups_are_kept_in_mind(run):
    profile = run(make=4, cc1=400)
    before = with_group_footprints(profile, SHARED, 1, make=2, cc1=40)
    after = with_group_footprints(profile, SHARED, 30, make=2, cc1=60)
    thresholds = Thresholds(groups={"cc1": Threshold(0.1)})
    change = compare([before], [after], thresholds, Metric.FOOTPRINT).groups[0]
    assert change.bounds == ((39 * MIB, 41 * MIB), (30 * MIB, 90 * MIB))
    assert change.verdict is Verdict.UNCERTAIN


@pytest.mark.parametrize(
    ("base", "candidate", "verdict", "words"),
    [
        # The bounds are apart: it is certain.
        ((90, 100, 110), (140, 150, 160), Verdict.REGRESSION, "50.0 % more: a regression"),
        ((140, 150, 160), (90, 100, 110), Verdict.IMPROVEMENT, "33.3 % less: an improvement"),
        # They overlap.
        (
            (90, 100, 140),
            (140, 150, 160),
            Verdict.REGRESSION,
            "50.0 % more, by the best estimates, but the bounds overlap (90.0 MiB to 140.0 MiB, "
            "now 140.0 MiB to 160.0 MiB): probably a regression",
        ),
        (
            (140, 150, 160),
            (90, 100, None),
            Verdict.IMPROVEMENT,
            "33.3 % less, by the best estimates, but the bounds overlap (140.0 MiB to 160.0 MiB, "
            "now at least 90.0 MiB): probably an improvement",
        ),
        # They overlap, and the best estimates are not good enough to go by.
        (
            (90, 100, 140),
            (140, 150, 160, SHARED),
            Verdict.UNCERTAIN,
            "50.0 % more, by the best estimates, but the bounds overlap (90.0 MiB to 140.0 MiB, "
            "now 140.0 MiB to 160.0 MiB): uncertain, run --cgroup gives closer bounds",
        ),
        ((90, 100, 110, SHARED), (140, 150, 160, SHARED), Verdict.REGRESSION, "a regression"),
        # No change to speak of, wherever the bounds are.
        ((90, 100, 140), (90, 104, 160), Verdict.NO_CHANGE, "4.0 % more: no regression"),
    ],
)
def test_bounds_of_a_footprint(run, base, candidate, verdict, words):
    profile = run(make=200)
    before, after = (with_footprint(profile, *each) for each in (base, candidate))
    comparison = compare([before], [after], Thresholds(), Metric.FOOTPRINT)
    assert comparison.verdict is verdict
    assert words in rows.verdict_line(comparison)
    is_probable = "the bounds overlap" in words
    remarks = [each for each in rows.remarks(comparison) if "best estimate: the base" in each]
    assert bool(remarks) is not is_probable


def test_bounds_of_repeats_are_the_medians_of_theirs(run):
    profile = run(make=200)
    base = [with_footprint(profile, 90 + n, 100 + n, 110 + n) for n in range(3)]
    candidate = [
        with_footprint(profile, 105, 200, 300),
        *([with_footprint(profile, 130, 150, 170)] * 2),
    ]
    total = compare(base, candidate, Thresholds(), Metric.FOOTPRINT).total
    assert total.bounds == ((91 * MIB, 111 * MIB), (130 * MIB, 170 * MIB))
    assert (total.bounds_overlap, total.verdict) == (False, Verdict.REGRESSION)


def test_processes_are_compared_by_the_footprint_where_the_system_keeps_it(story):
    def recorded(size: int) -> Profile:
        recording = story(f"{size}.jsonl", "make")
        recording.start(1, "make", at=0)
        recording.memory(1, 4 << 10, at=1)
        recording.footprint(1, size << 10)
        recording.footprints()
        recording.tick(at=2)
        recording.exit(1, 0, by_event=True, at=5)
        return replace(load(str(recording.end(10))).profile, backend="darwin")

    comparison = compare([recorded(10)], [recorded(20)], Thresholds())
    assert comparison.metric is Metric.FOOTPRINT
    per_process, (cls,) = comparison.per_process, comparison.classes
    for change in (comparison.total, per_process, cls.peak):
        assert (change.base, change.candidate) == (10 * MIB, 20 * MIB)
        assert change.metric is Metric.FOOTPRINT
    text = "\n".join(text_lines(comparison, (["a"], ["b"]), width=99, bold=plain, dim=plain))
    assert "Largest process, footprint" in text
    assert "Processes that differ, highest peak footprint of a single process:" in text
    by_rss = compare([recorded(10)], [recorded(20)], Thresholds(), Metric.RSS)
    assert by_rss.verdict is Verdict.NO_CHANGE
    assert by_rss.per_process.metric is Metric.RSS


# -- Reports -------------------------------------------------------------------------------------


@pytest.fixture
def repeats(run):
    """Returns a comparison of five runs each, and the names of their files."""
    base = [
        with_footprint(run("make", "-j8", make=4, cc1=(40, 50 + n), ld=30), 80, 90 + n, 120)
        for n in range(5)
    ]
    candidate = [
        with_footprint(run("make", "-j8", make=4, cc1=(46, 58 + n, 9), **{"a|b\n": 2}), 85, 99, 110)
        for n in range(5)
    ]
    comparison = compare(base, candidate, Thresholds(groups={"cc1": Threshold(0.1)}))
    return comparison, tuple([f"{side}.{n}.jsonl" for n in range(5)] for side in "ab")


def plain(text: str) -> str:
    return text


def test_text(repeats):
    lines = text_lines(*repeats, width=100, bold=plain, dim=plain)
    check_golden("comparison.txt", "\n".join(lines) + "\n")


def test_text_of_one_run_each(run):
    comparison = compare([run(make=40)], [run(make=44)], Thresholds())
    lines = [*text_lines(comparison, (["a"], ["b"]), width=30, bold=plain, dim=plain)]
    assert lines[0] == "Base:       make  (a)"
    assert not any("confidence" in line for line in lines)
    assert rows.PLAIN in lines
    assert lines[-1] == (
        "Verdict: total RSS: 10.0 % more: a regression (allowed: 5 %, at least 1.0 MiB) "
        "(one run each)"
    )


def test_too_few_repeats_for_full_confidence_are_noted(run):
    sides = [run(make=40), run(make=41)], [run(make=44), run(make=45), run(make=46)]
    comparison = compare(*sides, Thresholds())
    lines = [
        *text_lines(comparison, (["a", "b"], ["c", "d", "e"]), width=99, bold=plain, dim=plain)
    ]
    assert lines[1] == "Candidate:  3 runs of make  (c … e)"
    assert "2 and 3 runs give at most 80 % confidence; 5 and 5 give 95 %." in lines


def test_rows_that_do_not_fit_are_counted(run):
    programs = {f"p{n}": 100 + n for n in range(20)}
    grown = {f"p{n}": 120 + 2 * n for n in range(20)}
    thresholds = Thresholds(groups={"p0": Threshold(0.05)})
    comparison = compare([run(**programs)], [run(**grown)], thresholds)
    lines = [*text_lines(comparison, (["a"], ["b"]), width=99, bold=plain, dim=plain)]
    assert any(line.startswith("  p0 ") and line.endswith("  regression") for line in lines)
    folded = "\n".join(markdown(comparison, (["a"], ["b"])))
    shown = [line for line in lines if line.startswith("  p") and " MiB  " in line]
    more = [line for line in lines if "that changed less" in line]
    assert len(shown) == 16
    assert more == ["  … and 4 groups that changed less (--json has all)"]
    assert "Groups, peak RSS at one time (4 more in the JSON)" in folded


def test_markdown(repeats):
    text = "\n".join(markdown(*repeats)) + "\n"
    check_golden("comparison.md", text)
    for table in text.split("\n\n"):
        if table.startswith("|"):
            # No name can break a table.
            bars = {line.count("|") - line.count("\\|") for line in table.splitlines()}
            assert len(bars) == 1, table


def test_json(repeats):
    document = json.loads(json.dumps(json_document(*repeats)))
    SCHEMA.validate(document)
    assert document["verdict"] == "regression"
    assert document["regressions"] == ["cc1"]
    assert document["plain"] is False
    assert [each["file"] for each in document["base"]] == [f"a.{n}.jsonl" for n in range(5)]
    total = document["total_rss"]
    assert total["base_values_kib"] == [1024 * (124 + n) for n in range(5)]
    assert total["confidence_interval"] == {
        "level": 0.95,
        "low_kib": -8 * 1024,
        "high_kib": -2 * 1024,
        "low_relative": pytest.approx(-8 / 126, abs=1e-6),
        "high_relative": pytest.approx(-2 / 126, abs=1e-6),
    }
    groups = {each["name"]: each for each in document["groups"]}
    assert groups["ld"]["presence"] == "gone"
    assert groups["a|b\n"]["presence"] == "new"
    assert groups["cc1"]["threshold"] == {"relative": 0.1, "kib": None}
    assert groups["cc1"]["gates"] is True


def test_schema_describes_each_key(repeats):
    """Each key written is described, and each key described is written."""
    assert SCHEMA.places() == written_keys(json_document(*repeats))
    for key in SCHEMA.described():
        assert key.description, key
        assert key.required, key
