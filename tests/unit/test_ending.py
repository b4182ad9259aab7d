"""How a job ended, whether its numbers are whole, and what it held in its last second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from memwatch.analysis.ending import How, ending
from memwatch.model.last_second import MOST_KILLS, SPAN, RecentTotals
from memwatch.model.limits import TOTAL_RSS, Breach, LimitOutcome, Limits
from memwatch.model.memory_limit import CGROUP_V1, MACHINE, MemoryLimit
from memwatch.model.profile import (
    CUT_SHORT,
    Beginning,
    Clock,
    Ending,
    Overhead,
    Profile,
    SourceOutcome,
    from_job,
)
from memwatch.reports import ending_lines
from support.scripted import MIB, MS, NO_LIMIT, Script

CONNECTOR = SourceOutcome("connector", True, None)
KILLED = MemoryLimit(100 * MIB, CGROUP_V1, "/sys/fs/cgroup/memory/x", None, 1, 1)
KILLED_SOMEWHERE = MemoryLimit(1 << 34, MACHINE, None, None, 0, 1)


def script(*statuses: int | None) -> Script:
    """A shell with the first status, and a child for each other. The children hold 10, 20, ...
    MiB."""
    made = Script("sh", time_unit=MS, size_unit=MIB)
    made.new(1, 1, "sh")
    for serial in range(2, len(statuses) + 1):
        made.new(serial, 10 * (serial - 1), "work", parent=1)
    made.tick(at=10)
    for serial in range(len(statuses), 0, -1):
        made.exit(serial, statuses[serial - 1], at=20)
    return made.tick(at=30)


def finished(made: Script, limit: MemoryLimit = NO_LIMIT, error: str | None = None) -> Profile:
    return from_job(
        made.job(finish=False),
        Beginning(("sh",), Clock(0, 0), 0, 10 * MS),
        Ending(
            40 * MS, made.status, Overhead(None, None), limit, sources=(CONNECTOR,), error=error
        ),
    )


def of(*statuses: int | None, limit: MemoryLimit = NO_LIMIT, error: str | None = None) -> Profile:
    return finished(script(*statuses), limit, error)


def lines(profile: Profile) -> str:
    return "\n".join(ending_lines.lines(profile, str, str))


@pytest.mark.parametrize(
    ("profile", "how", "why"),
    [
        (lambda: of(0, 0), How.SUCCEEDED, None),
        # A shell that goes on after a child has failed has done its work.
        (lambda: of(0, 1 << 8), How.SUCCEEDED, None),
        (lambda: of(0, 9), How.SUCCEEDED, None),
        (lambda: of(None, 0), How.UNKNOWN, None),
        (lambda: of(3 << 8, 0), How.FAILED, "the command failed (exit code 3)"),
        (lambda: of(15, 0), How.FAILED, "the command was killed by SIGTERM"),
        (lambda: of(64, 0), How.FAILED, "the command was killed by SIGRTMAX"),
        (lambda: of(50, 0), How.FAILED, "the command was killed by signal 50"),
        (lambda: of(0, 0, error=CUT_SHORT), How.CUT_SHORT, CUT_SHORT),
        (
            lambda: of(0, 9, limit=KILLED),
            How.OOM_KILL,
            "the OOM killer ended pid 102 work (at least 10.0 MiB), memory limit 100.0 MiB",
        ),
        (
            lambda: of(137 << 8, 9, 9, limit=KILLED),
            How.OOM_KILL,
            "the OOM killer ended 1 of pid 103 work (at least 20.0 MiB), "
            "pid 102 work (at least 10.0 MiB), memory limit 100.0 MiB",
        ),
        (
            lambda: of(137 << 8, 0, None, limit=KILLED),
            How.OOM_KILL,
            "the OOM killer ended a process, probably pid 103 work (at least 20.0 MiB), "
            "memory limit 100.0 MiB",
        ),
        (
            lambda: of(137 << 8, None, 0, limit=KILLED),
            How.OOM_KILL,
            "the OOM killer ended 1 process of it, memory limit 100.0 MiB",
        ),
        (
            lambda: of(0, 9, limit=KILLED_SOMEWHERE),
            How.POSSIBLE_OOM_KILL,
            "the OOM killer may have ended pid 102 work (at least 10.0 MiB), "
            "memory of the machine 16.0 GiB",
        ),
        (lambda: of(0, None, limit=KILLED_SOMEWHERE), How.SUCCEEDED, None),
        # Every process is known to have ended otherwise: another one of the group was killed.
        (lambda: of(0, 0, limit=KILLED), How.SUCCEEDED, None),
        (lambda: of(1 << 8, 0, limit=KILLED), How.FAILED, "the command failed (exit code 1)"),
    ],
)
def test_how_a_job_ended(profile: Callable[[], Profile], how: How, why: str | None) -> None:
    ended = ending(profile())
    assert (ended.how, ended.why) == (how, why)
    assert ended.is_whole == (why is None)


def test_a_limit_of_memwatch_comes_first() -> None:
    breach = Breach(TOTAL_RSS, MIB, 2 * MIB, 0, 1, None, None, None, ())
    outcome = LimitOutcome(Limits(MIB), True, (breach,), True)
    ended = ending(replace(of(9, 9, limit=KILLED), limit_outcome=outcome))
    assert ended.how is How.LIMIT
    assert ended.why == "memwatch ended it at its limit of 1.0 MiB"
    reported = replace(outcome, kill=False, signalled=False)
    assert ending(replace(of(0), limit_outcome=reported)).how is How.SUCCEEDED


def test_many_victims_are_counted() -> None:
    limit = replace(KILLED, oom_kills=30)
    profile = of(137 << 8, *[9] * 30, limit=limit)
    assert len(profile.kills) == MOST_KILLS
    assert [kill.process.peak.rss // MIB for kill in profile.kills[:2]] == [300, 290]
    why = ending(profile).why
    assert why is not None
    assert ", and 17 more, memory limit" in why
    assert "… and 15 more that SIGKILL ended" in lines(profile)


def test_the_victim_and_what_the_job_held() -> None:
    assert lines(of(137 << 8, 9, limit=KILLED)) == (
        "Out of memory:   the kernel killed 1 process in the job's control group, "
        "memory limit 100.0 MiB\n"
        "                 pid 102 work, killed by SIGKILL at 0.01 s, held at least 10.0 MiB; "
        "the job held up to 11.0 MiB"
    )
    assert "which is unknown" in lines(of(137 << 8, None, 0, limit=KILLED))
    assert not lines(of(0, 9))


def test_kills_that_are_not_of_the_job() -> None:
    assert ending_lines.other_kills(of(0, 0, limit=KILLED)) == (
        "The kernel killed 1 process in the job's control group, out of memory: it is not known "
        "to be of this job."
    )
    text = ending_lines.other_kills(of(0, 0, limit=replace(KILLED_SOMEWHERE, machine_oom_kills=2)))
    assert text is not None
    assert "2 processes on this machine" in text
    assert "none of them is known" in text
    assert ending_lines.other_kills(of(0, 9, limit=KILLED)) is None
    assert ending_lines.other_kills(of(0, 0)) is None


# The last second ----------------------------------------------------------------------------------


def growing(*sizes: float, every: float = 100) -> Profile:
    """A job that holds each size at a tick, and that the recording stops in."""
    made = Script("make", time_unit=MS, size_unit=MIB).start(1, "make")
    for number, size in enumerate(sizes, 1):
        made.memory(1, size).tick(at=number * every)
    return finished(made, error=CUT_SHORT)


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (lambda: growing(7), "7.0 MiB at 0.10 s"),
        (
            lambda: growing(*range(1, 31)),
            "30.0 MiB at 3.00 s, rising: 10.0 MiB more than 1 s before",
        ),
        (lambda: growing(9, 8, 3), "3.0 MiB at 0.30 s, falling: 6.0 MiB less than 200 ms before"),
        (lambda: growing(99, 50, 100), "100.0 MiB at 0.30 s, about the same as 200 ms before"),
        # Where samples are rarer, the last two are compared.
        (
            lambda: growing(1, 2, 3, every=5000),
            "3.0 MiB at 15.00 s, rising: 1.0 MiB more than 5 s before",
        ),
    ],
)
def test_a_job_that_was_not_seen_to_its_end(profile: Callable[[], Profile], text: str) -> None:
    made = profile()
    assert f"Last sample:     {text}\n" in lines(made)
    assert lines(made).startswith("The recording stops early: ")
    assert [holder.pid for holder in made.last_second.holders] == [101]  # type: ignore[union-attr]


def test_no_sample_and_a_whole_job_have_no_last_second() -> None:
    assert growing().last_second is None
    assert of(0).last_second is None


def test_totals_before_a_time() -> None:
    recent = RecentTotals()
    assert recent.highest_before(SPAN) is None
    for number in range(30):
        recent.add(number * SPAN // 10, 100 - number)
    assert recent.highest_before(29 * SPAN // 10) == 100 - 19
    # A kill is reported a little late.
    assert recent.highest_before(25 * SPAN // 10) == 100 - 19
    assert recent.highest_before(9 * SPAN) == 100 - 29
    assert recent.highest_before(0) is None
