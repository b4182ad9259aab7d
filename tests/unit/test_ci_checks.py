"""The checks of `memwatch ci-check`: which fail, which pass, and how certain each one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.analysis.ci_checks import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    PROCESS_LIMIT,
    REGRESSION,
    RESULT_EXIT_CODES,
    SKIPPED,
    TOTAL_LIMIT,
    UNPROVEN,
    Allowed,
    Check,
    Judgment,
    check_changes,
    check_limits,
    without_baseline,
)
from memwatch.analysis.comparison import compare
from memwatch.analysis.thresholds import parse_thresholds
from memwatch.model.footprint_bounds import (
    ALONE,
    CONTROL_GROUP,
    FAULTS,
    SHARED,
    SYSTEM,
    FootprintBounds,
)
from memwatch.model.last_second import Kill
from memwatch.model.limits import AVAILABLE_MEMORY, TOTAL_RSS, Breach, LimitOutcome, Limits
from memwatch.model.memory_limit import CGROUP_V2, MemoryLimit
from memwatch.model.metric import Metric
from memwatch.model.processes import Peak
from memwatch.model.profile import Profile, SourceOutcome
from memwatch.model.totals import PssPeak
from memwatch.reports import github, junit
from memwatch.reports.verdict import HEADLINES, line
from memwatch.storage.load import load

MIB = 1 << 20


@pytest.fixture
def run(story) -> Callable[..., Profile]:
    """Makes the profile of a job: a parent of 1 MiB and a program of `size` MiB."""

    def make(size: int = 10, *, program: str = "cc1", cut: bool = False) -> Profile:
        recording = story(f"{program}-{size}-{cut}.jsonl", "make", "all")
        recording.start(1, "make", "all", at=0)
        recording.memory(1, 1 << 10, at=1)
        recording.start(2, program, "x.c", parent=1, at=10)
        recording.memory(2, size << 10, at=12)
        for at in range(20, 100, 10):
            recording.tick(at=at)
        recording.exit(2, 0, by_event=True, at=95)
        path = recording.cut_short() if cut else recording.end(100)
        return load(str(path)).profile

    return make


def judged(profile: Profile, **wanted: int) -> Check:
    (check,) = check_limits(profile, Allowed(**wanted))
    return check


def with_footprint(
    profile: Profile, low: int, best: int, high: int | None, source: str = FAULTS
) -> Profile:
    """Returns the profile with a footprint (sizes in MiB)."""
    sizes = (low * MIB, best * MIB, None if high is None else high * MIB)
    return replace(profile, footprint=FootprintBounds(*sizes, profile.start, source, None))


def test_a_total_within_its_limit_is_a_lower_bound(run):
    check = judged(run(), total_rss=11 * MIB)
    assert check.outcome == PASSED
    assert check.sentence == (
        "max total RSS at least 11.0 MiB (sampled every 10 ms), limit 11.0 MiB"
    )


def test_a_total_over_its_limit_names_the_time_and_the_programs(run):
    check = judged(run(), total_rss=11 * MIB - 1024)
    assert (check.outcome, check.breach) == (FAILED, TOTAL_LIMIT)
    assert check.sentence == (
        "max total RSS 11.0 MiB is 1 KiB over the limit of 11.0 MiB "
        "(at 0.02 s: cc1 10.0 MiB, make 1.0 MiB)"
    )


def test_one_process_can_be_over_the_limit_of_all(run):
    """The peak lies between two samples: it comes from the kernel's watermark."""
    profile = run()
    largest = profile.largest
    peak = Peak(50 * MIB, 0, "exact")
    program = largest.programs[-1]._replace(peak=peak)
    profile = replace(profile, largest=largest._replace(programs=(program,)))
    check = judged(profile, total_rss=40 * MIB)
    assert check.outcome == FAILED
    assert "one process alone" in check.finding
    check = judged(profile, total_rss=60 * MIB)
    assert check.outcome == PASSED
    assert "at least 50.0 MiB (one process alone" in check.finding


def test_a_process_over_its_limit_is_named(run):
    check = judged(run(), process_rss=4 * MIB)
    assert (check.outcome, check.breach) == (FAILED, PROCESS_LIMIT)
    assert check.sentence == (
        "max per process RSS 10.0 MiB is 6.0 MiB over the limit of 4.0 MiB "
        "(pid 102 cc1 10.0 MiB, sampled)"
    )


def test_only_a_few_of_many_are_named(story):
    recording = story("many.jsonl", "make")
    recording.start(1, "make", at=0)
    recording.memory(1, 1024, at=1)
    for serial in range(2, 12):
        recording.start(serial, f"cc{serial}", parent=1, at=1)
        recording.memory(serial, 1024 * serial, at=2)
    recording.tick(at=10)
    profile = load(str(recording.end(20))).profile
    check = judged(profile, process_rss=4 * MIB)
    assert "pid 111 cc11 11.0 MiB, sampled; pid 110 cc10" in check.finding
    assert check.finding.endswith("; 4 more)")
    assert judged(profile, total_rss=MIB).finding.endswith(", 8 other programs)")


def test_a_passed_process_limit_counts_the_peaks_that_are_not_exact(run):
    profile = run()
    check = judged(profile, process_rss=12 * MIB)
    assert check.outcome == PASSED
    assert "at least 10.0 MiB (2 of 2 peaks are lower bounds, short-lived" in check.finding
    peaks = MappingProxyType({"unknown": 1, "sampled": 0, "watermark": 0, "exact": 1})
    known = profile.accuracy._replace(
        peaks=peaks, sources=(SourceOutcome("taskstats", True, None),)
    )
    check = judged(replace(profile, accuracy=known), process_rss=12 * MIB)
    assert check.outcome == PASSED
    assert "at least 10.0 MiB (1 of 2 peaks is unknown)" in check.finding
    for sampled, words in ((1, "1 of 2 peaks is a lower bound"), (2, "2 of 2 peaks are lower bo")):
        some = MappingProxyType({**peaks, "unknown": 0, "sampled": sampled, "exact": 2 - sampled})
        accuracy = known._replace(peaks=some)
        assert words in judged(replace(profile, accuracy=accuracy), process_rss=12 * MIB).finding
    known = known._replace(peaks=MappingProxyType({**peaks, "unknown": 0, "exact": 2}))
    check = judged(replace(profile, accuracy=known), process_rss=12 * MIB)
    assert check.sentence == "max per process RSS 10.0 MiB (exact), limit 12.0 MiB"


@pytest.mark.parametrize("kind", Allowed._fields)
def test_a_limit_does_not_pass_when_memory_is_unknown(run, kind):
    profile = replace(
        run(), max_total_rss=None, largest=None, max_total_pss=None, at_peak=(), max_total_time=0
    )
    check = judged(profile, **{kind: 1 << 40})
    assert check.outcome == UNPROVEN
    assert "unknown (the job was in no sample)" in check.finding
    judgment = Judgment(profile, (check,), None)
    assert (judgment.result, judgment.exit_code) == (INCONCLUSIVE, 1)


def test_there_is_no_advice_to_measure_what_macos_does_not_report(run):
    profile = replace(run(), max_total_pss=None)
    assert "record with --pss peaks" in judged(profile, total_pss=MIB).finding
    check = judged(replace(profile, backend="darwin"), total_pss=MIB)
    assert check.outcome == UNPROVEN
    assert check.finding == "unknown (macOS does not report it), limit 1.0 MiB"


@pytest.mark.parametrize("kind", Allowed._fields)
def test_a_limit_does_not_pass_when_the_recording_stops_early(run, kind):
    profile = with_footprint(run(cut=True), 5, 8, 10)
    check = judged(profile, **{kind: 1 << 40})
    assert check.outcome == UNPROVEN
    assert "but only a part of the job was seen: memwatch was killed" in check.finding


@pytest.mark.parametrize("kind", ["total_rss", "process_rss"])
def test_a_limit_fails_although_the_recording_stops_early(run, kind):
    assert judged(run(cut=True), **{kind: MIB}).outcome == FAILED


def test_a_job_ended_at_one_limit_passes_no_other_check(run):
    profile = run()
    breach = Breach(TOTAL_RSS, 9 * MIB, 11 * MIB, profile.start, 2, None, None, None, ())
    ended = replace(
        profile, limit_outcome=LimitOutcome(Limits(9 * MIB), True, (breach,), signalled=True)
    )
    check = judged(ended, total_rss=20 * MIB)
    assert check.outcome == UNPROVEN
    assert check.finding.endswith(
        "a part of the job was seen: memwatch ended it at its limit of 9.0 MiB"
    )
    breach = replace(breach, limit=AVAILABLE_MEMORY)
    outcome = LimitOutcome(Limits(min_available=9 * MIB), True, (breach,), signalled=True)
    check = judged(replace(profile, limit_outcome=outcome), total_rss=20 * MIB)
    assert check.finding.endswith("memwatch ended it when less than 9.0 MiB was available")
    assert judged(ended, total_rss=9 * MIB).outcome == FAILED
    assert changes(run(29), ended)[0].outcome == UNPROVEN
    # The breach was only reported, or there was none.
    for outcome in (
        LimitOutcome(Limits(9 * MIB), False, (breach,)),
        LimitOutcome(Limits(9 * MIB), True, ()),
    ):
        check = judged(replace(profile, limit_outcome=outcome), total_rss=20 * MIB)
        assert check.outcome == PASSED


def test_unreadable_memory_is_mentioned(run):
    profile = run()
    profile = replace(profile, sampling=profile.sampling._replace(unreadable=2))
    check = judged(profile, total_rss=20 * MIB)
    assert check.outcome == PASSED
    assert check.finding.endswith("but the memory of 2 processes was unreadable")


def with_pss(
    profile: Profile, total: int, *, rss: int = 11, unread: int = 0, is_low: bool = False
) -> Profile:
    pss = PssPeak(total * MIB, profile.start, rss * MIB, unread, is_low)
    return replace(profile, max_total_pss=pss)


def test_pss(run):
    profile = with_pss(run(), 8)
    check = judged(profile, total_pss=8 * MIB)
    assert (check.outcome, check.subject) == (PASSED, "max total PSS")
    assert "at least 8.0 MiB (summed when RSS was 11.0 MiB)" in check.finding
    check = judged(profile, total_pss=7 * MIB)
    assert (check.outcome, check.breach) == (FAILED, TOTAL_LIMIT)
    assert "8.0 MiB is 1.0 MiB over the limit of 7.0 MiB" in check.finding


def test_pss_read_in_part_proves_no_breach(run):
    profile = with_pss(run(), 8, unread=1)
    check = judged(profile, total_pss=7 * MIB)
    assert check.outcome == UNPROVEN
    assert "at most 8.0 MiB" in check.finding
    assert "--pss always" in check.finding
    assert judged(profile, total_pss=8 * MIB).outcome == PASSED


def test_pss_in_which_memory_may_be_missing_proves_only_a_breach(run):
    profile = with_pss(run(), 8, is_low=True)
    check = judged(profile, total_pss=10 * MIB)
    assert check.outcome == UNPROVEN
    assert "at least 8.0 MiB" in check.finding
    assert "--max-total-footprint" in check.finding
    assert judged(profile, total_pss=7 * MIB).outcome == FAILED
    assert judged(profile, total_pss=11 * MIB).outcome == PASSED


def test_only_a_measured_pss_is_a_figure_by_itself(run):
    def figures(profile: Profile) -> tuple[str, bool]:
        judgment = Judgment(profile, (), None)
        out = StringIO()
        junit.write(judgment, out)
        return github.outputs(judgment)["max-total-pss-kib"], "max_total_pss_kib" in out.getvalue()

    assert figures(with_pss(run(), 8)) == ("8192", True)
    assert figures(with_pss(run(), 8, unread=1)) == ("", False)
    assert figures(with_pss(run(), 8, rss=5)) == ("", False)


def test_pss_is_no_more_than_rss(run):
    profile = run()
    assert profile.max_total_pss is None
    check = judged(profile, total_pss=11 * MIB)
    assert check.outcome == PASSED
    assert "no more than the max total RSS, 11.0 MiB" in check.finding
    check = judged(profile, total_pss=10 * MIB)
    assert check.outcome == UNPROVEN
    assert "not measured: record with --pss peaks" in check.finding


# -- Footprint -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "source", "outcome", "finding"),
    [
        # Only the lower bound proves a breach, and only the upper bound that there was none.
        (
            (110, 120, 130),
            FAULTS,
            FAILED,
            "at least 110.0 MiB, 10.0 MiB over the limit of 100.0 MiB (110.0 MiB to 130.0 MiB; "
            "estimated from page faults; at 0.00 s, in samples)",
        ),
        (
            (90, 120, 130),
            FAULTS,
            UNPROVEN,
            "about 120.0 MiB (90.0 MiB to 130.0 MiB; estimated from page faults; at 0.00 s, in "
            "samples), limit 100.0 MiB, which is between the bounds: run --cgroup gives closer "
            "bounds",
        ),
        (
            (90, 95, 101),
            CONTROL_GROUP,
            UNPROVEN,
            "about 95.0 MiB (90.0 MiB to 101.0 MiB; by the control group's account; at 0.00 s), "
            "limit 100.0 MiB, which is between the bounds: a shorter interval gives closer bounds",
        ),
        (
            (90, 95, 100),
            FAULTS,
            PASSED,
            "about 95.0 MiB (90.0 MiB to 100.0 MiB; estimated from page faults; at 0.00 s, in "
            "samples), limit 100.0 MiB",
        ),
        # Without an upper bound the best estimate passes, as the highest sample of RSS does.
        (
            (90, 95, None),
            SHARED,
            PASSED,
            "about 95.0 MiB (at least 90.0 MiB; shared memory counted once; at 0.00 s, in "
            "samples), limit 100.0 MiB",
        ),
        ((90, 101, None), SHARED, UNPROVEN, None),
        # Nothing seems to be shared, but it may have held more between two samples.
        (
            (90, 90, 200),
            ALONE,
            UNPROVEN,
            "about 90.0 MiB (90.0 MiB to 200.0 MiB; at 0.00 s, in samples), limit 100.0 MiB, which "
            "is between the bounds: run --cgroup gives closer bounds",
        ),
        (
            (90, 90, 91),
            ALONE,
            PASSED,
            "about 90.0 MiB (nothing of it counted twice; at 0.00 s, in samples), limit 100.0 MiB",
        ),
        ((101, 101, None), SYSTEM, FAILED, None),
        ((100, 100, None), SYSTEM, PASSED, None),
    ],
)
def test_a_limit_of_the_footprint(run, bounds, source, outcome, finding):
    profile = with_footprint(run(), *bounds, source)
    check = judged(profile, total_footprint=100 * MIB)
    assert (check.outcome, check.breach) == (outcome, TOTAL_LIMIT)
    assert check.subject == "max total footprint"
    if finding:
        assert check.finding == finding


def test_an_unknown_footprint_proves_nothing(run):
    check = judged(replace(run(), footprint=None), total_footprint=1 << 40)
    assert (check.outcome, check.finding) == (
        UNPROVEN,
        "unknown (not measured: record again with this version), limit 1.0 TiB",
    )


@pytest.mark.parametrize(
    ("base", "candidate", "outcome", "finding"),
    [
        (
            (90, 100, 110),
            (140, 150, 160),
            FAILED,
            "+50.0 MiB (+50.0 %) from 100.0 MiB in the baseline, allowed +5.0 MiB",
        ),
        (
            (90, 100, 150),
            (140, 150, 160),
            FAILED,
            "+50.0 MiB (+50.0 %) from 100.0 MiB in the baseline, allowed +5.0 MiB, by the best "
            "estimates, but the bounds overlap (baseline 90.0 MiB to 150.0 MiB, now 140.0 MiB to "
            "160.0 MiB)",
        ),
        (
            (90, 100, 150),
            (140, 150, 160, SHARED),
            UNPROVEN,
            "+50.0 MiB (+50.0 %) from 100.0 MiB in the baseline, allowed +5.0 MiB, by the best "
            "estimates, but the bounds overlap (baseline 90.0 MiB to 150.0 MiB, now 140.0 MiB to "
            "160.0 MiB)",
        ),
        # A lower best estimate passes, although it is not certain that it is lower.
        (
            (140, 150, 160),
            (90, 100, 150, SHARED),
            PASSED,
            "−50.0 MiB (−33.3 %) from 150.0 MiB in the baseline, allowed +7.5 MiB, by the best "
            "estimates, but the bounds overlap (baseline 140.0 MiB to 160.0 MiB, now 90.0 MiB to "
            "150.0 MiB)",
        ),
        (
            (90, 100, 150),
            (90, 104, 150),
            PASSED,
            "+4.0 MiB (+4.0 %) from 100.0 MiB in the baseline, allowed +5.0 MiB",
        ),
    ],
)
def test_a_footprint_against_a_baseline(run, base, candidate, outcome, finding):
    before, after = (with_footprint(run(), *bounds) for bounds in (base, candidate))
    comparison = compare([before], [after], parse_thresholds(()), Metric.FOOTPRINT)
    (check,) = check_changes(comparison)
    assert (check.subject, check.outcome, check.finding) == ("total footprint", outcome, finding)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (
            Metric.PSS,
            "total PSS cannot be compared: baseline unknown, now unknown (not measured: record "
            "with --pss peaks)",
        ),
        (
            Metric.FOOTPRINT,
            "total footprint cannot be compared: baseline unknown, now unknown (not measured: "
            "record again with this version)",
        ),
    ],
)
def test_a_metric_that_was_not_measured_is_not_replaced(run, metric, sentence):
    profile = replace(run(), footprint=None)
    (check,) = check_changes(compare([profile], [profile], parse_thresholds(()), metric))
    assert (check.outcome, check.sentence) == (UNPROVEN, sentence)
    check = without_baseline(profile, "x", metric)
    assert check.sentence == f"total {metric} unknown, not compared: no baseline 'x'"


# -- Against a baseline --------------------------------------------------------------------------


def changes(base: Profile, candidate: Profile, *thresholds: str) -> list[Check]:
    return [*check_changes(compare([base], [candidate], parse_thresholds(thresholds)))]


def test_an_increase_beyond_the_threshold_fails(run):
    (check,) = changes(run(19), run(29))
    assert (check.outcome, check.breach) == (FAILED, REGRESSION)
    assert check.sentence == (
        "total RSS +10.0 MiB (+50.0 %) from 20.0 MiB in the baseline, allowed +1.0 MiB"
    )


def test_a_decrease_and_no_change_pass(run):
    (check,) = changes(run(19), run(9))
    assert check.outcome == PASSED
    assert "−10.0 MiB (−50.0 %) from 20.0 MiB" in check.finding
    (check,) = changes(run(19), run(19))
    assert check.outcome == PASSED
    assert check.finding == "unchanged from 20.0 MiB in the baseline"


def test_a_group_with_a_threshold_is_a_check(run):
    total, group = changes(run(19), run(29), "90%", "cc1=10%")
    assert (total.outcome, group.outcome) == (PASSED, FAILED)
    assert group.name == "group cc1 against the baseline"
    assert group.sentence.startswith("group cc1 RSS +10.0 MiB (+52.6 %) from 19.0 MiB in the b")


def test_a_new_group_has_no_percentage(run):
    _, group = changes(run(19), run(19, program="ld"), "ld=1M")
    assert group.outcome == FAILED
    assert group.finding == "RSS +19.0 MiB from 0 KiB in the baseline, allowed +1.0 MiB"


def test_a_group_in_neither_run_is_skipped(run):
    _, group = changes(run(19), run(19), "cc2=1M")
    assert (group.outcome, group.finding) == (SKIPPED, "is in neither run: check the spelling")


def test_a_recording_that_stops_early_proves_increases_only(run):
    whole, part = run(19), run(19, cut=True)
    assert changes(run(9), part)[0].outcome == FAILED
    assert changes(run(29), part)[0].outcome == UNPROVEN
    assert changes(part, whole)[0].outcome == PASSED
    (check,) = changes(part, run(29))
    assert check.outcome == UNPROVEN
    assert "but only a part of the baseline was seen: memwatch was killed" in check.finding


def test_an_unknown_total_cannot_be_compared(run):
    unseen = replace(run(), max_total_rss=None, largest=None)
    (check,) = changes(run(), unseen)
    assert check.outcome == UNPROVEN
    assert check.sentence == "total RSS cannot be compared: baseline 11.0 MiB, now unknown"


def test_a_missing_baseline_is_reported(run):
    check = without_baseline(run(), "no\nwhere")
    assert check.outcome == SKIPPED
    assert check.sentence == r"total RSS 11.0 MiB, not compared: no baseline 'no\nwhere'"
    assert Judgment(run(), (check,), None).exit_code == 0


# -- Verdicts ------------------------------------------------------------------------------------

checks = st.lists(
    st.builds(
        Check,
        st.text(max_size=20),
        st.sampled_from([PASSED, FAILED, UNPROVEN, SKIPPED]),
        st.text(max_size=20),
        st.sampled_from([TOTAL_LIMIT, PROCESS_LIMIT, REGRESSION]),
    ),
    min_size=1,
    max_size=8,
)


def test_the_first_result_that_applies_decides(run):
    profile = run()

    @given(checks)
    def decide(found: list[Check]) -> None:
        judgment = Judgment(profile, tuple(found), None)
        failed = {check.breach for check in found if check.outcome == FAILED}
        unproven = any(check.outcome == UNPROVEN for check in found)
        expected = (
            10
            if TOTAL_LIMIT in failed
            else 11
            if PROCESS_LIMIT in failed
            else 1
            if REGRESSION in failed or unproven
            else 0
        )
        assert judgment.exit_code == expected == RESULT_EXIT_CODES[judgment.result]
        text = line(judgment)
        assert text.isprintable()
        assert text.startswith(f"{HEADLINES[judgment.result]}: ")
        # A verdict that is not "ok" contains the check that decided it.
        if expected:
            first = judgment.of(FAILED, UNPROVEN)[0]
            assert first.sentence in text
            assert judgment.result in (first.breach, INCONCLUSIVE)

    decide()


def test_a_failed_command_proves_nothing_but_an_exceeded_limit(run):
    profile = replace(run(), exit_status=3 << 8)
    within, over = judged(profile, total_rss=1 << 40), judged(profile, total_rss=MIB)
    judgment = Judgment(profile, (within,), None)
    assert (judgment.result, judgment.exit_code) == (INCONCLUSIVE, 1)
    assert line(judgment).startswith("inconclusive: ")
    assert line(judgment).endswith(
        ", but the job may not have done all its work; the command failed (exit code 3)"
    )
    assert judgment.notes == ("the command failed (exit code 3)",)
    assert Judgment(profile, (over, within), None).result == TOTAL_LIMIT


def test_an_oom_kill_is_inconclusive_although_the_command_succeeded(run):
    profile = replace(run(), memory_limit=MemoryLimit(64 * MIB, CGROUP_V2, "/g", None, 1, 1))
    profile = replace(profile, kills=(Kill(profile.largest, 11 * MIB),))
    judgment = Judgment(profile, (judged(profile, process_rss=1 << 40),), None)
    assert judgment.result == INCONCLUSIVE
    assert line(judgment).endswith(
        "; the OOM killer ended pid 102 cc1 (at least 10.0 MiB), memory limit 64.0 MiB"
    )
    # Even the first run, which is compared with nothing, is no result.
    assert Judgment(profile, (without_baseline(profile, "x"),), None).result == INCONCLUSIVE


def test_two_runs_that_failed_alike_are_compared_and_yet_inconclusive(run):
    failed = replace(run(), exit_status=3 << 8)
    comparison = compare([failed], [failed], parse_thresholds(()))
    judgment = Judgment(failed, (*check_changes(comparison),), comparison)
    assert judgment.result == INCONCLUSIVE
    (check,) = judgment.checks
    assert "unchanged from 11.0 MiB in the baseline, but the job may not" in check.finding


def test_a_baseline_that_failed_proves_no_regression(run):
    base, profile = replace(run(), exit_status=3 << 8), run(100)
    comparison = compare([base], [profile], parse_thresholds(()))
    judgment = Judgment(profile, (*check_changes(comparison),), comparison)
    assert judgment.result == INCONCLUSIVE
    assert "but the baseline may not have done all its work" in judgment.checks[0].finding
    assert judgment.warnings == ("baseline: the command failed (exit code 3)",)


def test_the_verdict_mentions_a_baseline_that_failed_or_ran_another_command(run):
    base, profile = replace(run(), exit_status=3 << 8, command=("make", "other")), run()
    comparison = compare([base], [profile], parse_thresholds(()))
    judgment = Judgment(profile, (*check_changes(comparison),), comparison)
    assert judgment.exit_code == 0
    assert line(judgment).endswith(
        "; baseline: the command failed (exit code 3); the baseline is of another command"
    )


def test_a_line_names_four_failures_and_counts_the_rest(run):
    check = Check("group x", FAILED, "is too large", REGRESSION)
    text = line(Judgment(run(), (check,) * 9, None))
    assert text.count("is too large") == 4
    assert text.endswith("; 5 more")
