"""The process tree: peaks of subtrees, folded siblings, and the printed form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch.analysis.subtrees import Subtrees
from memwatch.analysis.tree import Branch, grow
from memwatch.model.observations import (
    ProgramText,
)
from memwatch.model.processes import (
    EXACT,
    FOUND_BY_EVENT,
    NO_PEAK,
    NO_USAGE,
    Peak,
    Process,
    Program,
)
from support.scripted import Script

# Peaks of subtrees


def subtrees(script: Script) -> Subtrees:
    made = Subtrees()
    made.apply(script.batch())
    return made


def test_the_peak_of_a_subtree_is_a_sum_at_one_time() -> None:
    script = Script().start(1).memory(1, 10).start(2, parent=1).memory(2, 100).tick()
    script.exit(2).start(3, parent=1).memory(3, 70).tick().memory(1, 30).tick()
    made = subtrees(script)
    assert [made.peak(serial) for serial in (1, 2, 3)] == [110, 100, 70]


def test_only_ticks_count() -> None:
    """Sizes between two ticks may be of different times."""
    made = subtrees(Script().start(1).memory(1, 50).memory(1, 20).tick().memory(1, 90))
    assert made.peak(1) == 20


def test_a_parent_that_is_learned_later_gets_all_that_is_below() -> None:
    script = Script().start(1).memory(1, 1).start(2).memory(2, 10)
    script.start(3, parent=2).memory(3, 100).tick()
    made = subtrees(script.start(2, parent=1).memory(3, 200).tick())
    assert (made.peak(1), made.peak(2)) == (211, 210)


def test_a_cycle_of_parents_is_ignored() -> None:
    script = Script().start(1).start(2, parent=1).start(1, parent=2).memory(2, 5).tick()
    made = subtrees(script.start(3, parent=3).memory(3, 7).tick())
    assert [made.peak(serial) for serial in (1, 2, 3)] == [5, 5, 7]


def test_an_unknown_process_held_nothing() -> None:
    assert Subtrees().peak(7) == 0


@pytest.mark.parametrize(("serial", "parent"), [(0, 0), (-1, 0), (2, -1), (1 << 40, 1)])
def test_bad_serial_numbers_are_refused(serial: int, parent: int) -> None:
    with pytest.raises(IndexError):
        subtrees(Script().start(1).start(serial, parent=parent))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["start", "orphan", "adopt", "hold", "hold", "end", "tick"]),
        st.integers(0, 30),
        st.integers(0, 50),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_subtrees_agree_with_a_recount(actions: list[tuple[str, int, int]]) -> None:
    script = Script().start(1)
    parents = {1: 0}
    now = {1: 0}
    highest: dict[int, int] = {}

    def above(serial: int) -> Iterator[int]:
        while serial:
            yield serial
            serial = parents[serial]

    for action, which, size in [*actions, ("tick", 0, 0)]:
        serial = 1 + which % len(parents)
        if action in ("start", "orphan"):
            new = len(parents) + 1
            parents[new] = serial if action == "start" else 0
            now[new] = 0
            script.start(new, parent=parents[new])
        elif action == "adopt":
            other = 1 + size % len(parents)
            script.start(serial, parent=other)
            if not parents[serial] and serial not in above(other):
                parents[serial] = other
        elif action in ("hold", "end"):
            now[serial] = size if action == "hold" else 0
            if action == "hold":
                script.memory(serial, size)
            else:
                script.exit(serial)
        else:
            script.tick()
            sums = dict.fromkeys(parents, 0)
            for each, rss in now.items():
                for upper in above(each):
                    sums[upper] += rss
            for each, total in sums.items():
                highest[each] = max(highest.get(each, 0), total)
    made = subtrees(script)
    assert {each: made.peak(each) for each in parents} == {
        each: highest.get(each, 0) for each in parents
    }


def test_ten_thousand_levels() -> None:
    depth = 10_000
    script = Script().start(1)
    for serial in range(2, depth + 1):
        script.start(serial, parent=serial - 1)
    for size in (1, 2):
        for serial in range(1, depth + 1):
            script.memory(serial, size)
        script.tick()
    made = subtrees(script)
    assert (made.peak(1), made.peak(depth)) == (2 * depth, 2)


# The tree of a list of processes


def process(serial: int, parent: int | None, *names: str, peak: int | None = 1) -> Process:
    size = NO_PEAK if peak is None else Peak(peak, 0, EXACT)
    programs = tuple(
        Program(ProgramText(name, None, (name, "-x"), False), 0, False, size) for name in names
    )
    return Process(
        *(serial, 100 + serial, 100, parent, 0, 0, 10, 0, False),
        *(programs, FOUND_BY_EVENT, True, True, NO_USAGE),
    )


def outline(branch: Branch) -> list[object]:
    """Returns for each line: programs, members, own peak, subtree, sum, below, and its children."""
    return [
        (
            " ".join(each.programs),
            len(each.members),
            each.own,
            each.subtree,
            each.sum_of_peaks,
            each.below,
            *([outline(each)] if each.children else []),
        )
        for each in branch.children
    ]


BUILD = [
    process(1, None, "make", peak=5),
    process(2, 1, "sh", "gcc", peak=2),
    process(3, 2, "cc1", peak=40),
    process(4, 1, "sh", "gcc", peak=3),
    process(5, 4, "cc1", peak=60),
    process(6, 1, "ld", peak=20),
]


def test_siblings_that_are_alike_are_one_line() -> None:
    script = Script()
    for each in BUILD:
        script.start(each.serial, parent=each.parent)
    together = subtrees(script)
    assert outline(grow(BUILD, together)) == [
        (
            *("make", 1, 5, 60, 5, 5),
            [
                ("sh gcc", 2, 3, 60, 5, 2, [("cc1", 2, 60, 60, 100, 0)]),
                ("ld", 1, 20, 20, 20, 0),
            ],
        )
    ]


def test_without_samples_there_are_sums() -> None:
    assert outline(grow(BUILD, None)) == [
        (
            *("make", 1, 5, 130, 5, 5),
            [
                ("sh gcc", 2, 3, 105, 5, 2, [("cc1", 2, 60, 100, 100, 0)]),
                ("ld", 1, 20, 20, 20, 0),
            ],
        )
    ]


def test_the_order_of_the_list_does_not_matter() -> None:
    assert outline(grow(BUILD[::-1], None)) == outline(grow(BUILD, None))


def test_siblings_with_other_programs_below_are_separate_lines() -> None:
    tree = [
        process(1, None, "make"),
        *(process(2, 1, "gcc"), process(3, 2, "cc1"), process(4, 2, "as")),
        *(process(5, 1, "gcc"), process(6, 5, "cc1")),
        # The order below does not matter.
        *(process(7, 1, "gcc"), process(8, 7, "as"), process(9, 7, "cc1")),
    ]
    (make,) = grow(tree, None).children
    assert sorted(len(each.members) for each in make.children) == [1, 2]


def test_only_the_largest_are_shown() -> None:
    tree = [process(1, None, "make")]
    tree += [process(n, 1, f"tool{n}", peak=n) for n in range(2, 12)]
    tree += [process(20, 3, "below", peak=1)]
    (make,) = grow(tree, None, most=4).children
    assert [each.programs for each in make.children] == [("tool11",), ("tool10",), ("tool9",)]
    assert make.hidden == 8
    assert grow(tree, None, most=0).hidden == 12
    assert grow(tree, None, most=12).children[0].hidden == 0


def test_unknown_peaks_stay_unknown() -> None:
    tree = [process(1, None, "a", peak=None), process(2, 1, "b", peak=None)]
    assert outline(grow(tree, None)) == [("a", 1, None, None, 0, 1, [("b", 1, None, None, 0, 0)])]


def test_a_filter_keeps_the_ancestors_of_what_it_shows() -> None:
    top = grow(BUILD, None, shows=lambda each: each.command == "ld")
    assert outline(top) == [("make", 1, 5, 130, 5, 5, [("ld", 1, 20, 20, 20, 0)])]


def test_orphans_are_roots() -> None:
    tree = [process(1, None, "a"), process(2, 99, "b"), process(3, None, "c")]
    assert len(grow(tree, None).children) == 3


def test_a_very_deep_chain() -> None:
    depth = 10_000
    chain = [process(n, n - 1 or None, "sh") for n in range(1, depth + 1)]
    top = grow(chain, None)
    number, branch = 0, top
    while branch.children:
        (branch,) = branch.children
        number += 1
    assert number == depth


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.integers(1, 9)), max_size=30),
    st.none() | st.integers(0, 12),
)
def test_every_process_is_shown_or_counted(
    facts: list[tuple[int, str, int]], most: int | None
) -> None:
    tree = [
        process(serial, which % serial or None, name, peak=peak)
        for serial, (which, name, peak) in enumerate(facts, 1)
    ]
    top = grow(tree, None, most=most)
    todo, shown, hidden = [top], list[int](), 0
    while todo:
        branch = todo.pop()
        shown += branch.members
        hidden += branch.hidden
        todo += branch.children
        if branch.members:
            assert len({tree[place].command for place in branch.members}) == 1
            assert branch.own == max(tree[place].peak.rss for place in branch.members)
            assert (branch.subtree or 0) >= branch.sum_of_peaks
        sizes = [each.subtree or 0 for each in branch.children]
        assert sizes == sorted(sizes, reverse=True)
    assert len(shown) == len(set(shown))
    assert len(shown) + hidden == len(tree)
    assert (
        sum(each.subtree or 0 for each in top.children) == sum(each.peak.rss for each in tree)
        or top.hidden
    )


# The printed tree


def memwatch(
    *words: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memwatch", *words],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=env,
    )


MIB = 1 << 20


@pytest.fixture
def recorded(story, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    """Records make with three compilers, two at a time."""
    recording = story("x.jsonl", "make", "-j2")
    recording.start(1, "make", "-j2", at=0)
    recording.memory(1, 2048)
    recording.tick(at=1)
    for serial in (2, 3):
        recording.start(serial, "cc1", f"{serial}.c", parent=1, at=2)
        recording.memory(serial, 10240 * serial)
    recording.tick(at=3)
    recording.exit(2, 0, by_event=True, at=4)
    recording.start(4, "cc1", "4.c", parent=1)
    recording.memory(4, 5120)
    recording.start(5, "ld", "-o", "program", parent=4)
    recording.memory(5, 1024)
    recording.tick(at=5)
    recording.end(6)
    return tmp_path


def section(text: str) -> list[str]:
    lines = text.splitlines()
    first = lines.index("Process tree (peak RSS):")
    return lines[first : lines.index("", first)]


def test_printed(recorded: Path) -> None:
    result = memwatch("report", "x.jsonl", "--tree", cwd=recorded)
    assert result.returncode == 0, result.stderr
    assert section(result.stdout) == [
        "Process tree (peak RSS):",
        "     subtree         own    below",
        "    52.0 MiB     2.0 MiB        4  make (pid 101) -j2",
        "    30.0 MiB    30.0 MiB           ├─ cc1 × 2 (sum of peaks 50.0 MiB)",
        "     6.0 MiB     5.0 MiB        1  └─ cc1 (pid 104) 4.c",
        "     1.0 MiB     1.0 MiB              └─ ld (pid 105) -o program",
        "  subtree: a process and all processes below it, at one time",
        "  × N: siblings that ran the same; the largest of them is shown",
    ]


def test_printed_in_ascii(recorded: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = memwatch("report", "x.jsonl", "--tree", cwd=recorded, env=env)
    lines = section(result.stdout)
    assert lines[3].endswith("  |- cc1 x 2 (sum of peaks 50.0 MiB)")
    assert lines[4].endswith("  `- cc1 (pid 104) 4.c")
    assert "\n".join(lines).isascii()


def test_from_json_there_are_only_sums(recorded: Path) -> None:
    document = memwatch("report", "x.jsonl", "--json", "--tree", cwd=recorded).stdout
    assert json.loads(document)["processes"]
    (recorded / "x.json").write_text(document)
    lines = section(memwatch("report", "x.json", "--tree", cwd=recorded).stdout)
    assert lines[1].split() == ["sum", "own", "below"]
    assert lines[2].split()[:2] == ["58.0", "MiB"]
    assert "may be at different times" in "\n".join(lines)
    assert "at one time" not in "\n".join(lines)


def test_fewer_lines(recorded: Path) -> None:
    lines = section(memwatch("report", "x.jsonl", "--tree", "--top", "0", cwd=recorded).stdout)
    assert "… 5 more processes" in lines[2]
    assert "--top all" in lines[-1]


def test_filtered(recorded: Path) -> None:
    words = ("report", "x.jsonl", "--tree", "--include", "^ld")
    lines = section(memwatch(*words, cwd=recorded).stdout)
    assert [line.split("  ")[-1].strip(" └─") for line in lines[2:5]] == [
        "make (pid 101) -j2",
        "cc1 (pid 104) 4.c",
        "ld (pid 105) -o program",
    ]


def test_deep_trees_stay_within_the_terminal(story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recording = story("deep.jsonl", "sh")
    recording.start(1, "sh", "0", at=0)
    recording.memory(1, 100)
    for serial in range(2, 1500):
        recording.start(serial, "sh", f"{serial} " * 50, parent=serial - 1, at=0)
        recording.memory(serial, 100)
    recording.tick(at=1)
    recording.end(2)
    result = memwatch("report", "deep.jsonl", "--tree", "--top", "all", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = section(result.stdout)[2:]
    assert max(map(len, lines)) <= 100
    assert any("(1498) sh (pid" in line for line in lines)
    # The same with as many lines as a summary has.
    lines = section(memwatch("report", "deep.jsonl", "--tree", cwd=tmp_path).stdout)
    assert 40 < len(lines) < 50
    assert any("1,459 more processes" in line for line in lines)


def test_run_shows_the_tree(tmp_path: Path) -> None:
    script = "sleep 0.2 & sleep 0.2 & wait"
    result = memwatch("run", "-i", "5", "--tree", "--", "sh", "-c", script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = section(result.stderr)
    assert "sh (pid " in lines[2]
    assert "sleep × 2" in lines[3]
    # The whole job is below its first process.
    total = next(line for line in result.stderr.splitlines() if line.startswith("Max total RSS"))
    assert " ".join(lines[2].split()[:2]) in total


def test_the_tree_is_not_printed_with_json(tmp_path: Path) -> None:
    result = memwatch("run", "--json", "--tree", "--", "true", cwd=tmp_path)
    assert json.loads(result.stdout)["process_count"] == 1
    assert "Process tree" not in result.stderr


# The tree and the job agree


def test_the_root_holds_what_the_job_held() -> None:
    script = Script()
    for serial, parent in ((1, None), (2, 1), (3, 2)):
        script.start(serial, "sh", parent=parent).memory(serial, 10 * serial)
    script.tick(at=5)
    job, made = script.job(finish=False), subtrees(script)
    assert made.peak(1) == job.max_total == 60
