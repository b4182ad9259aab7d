"""Classes of processes: those that ran one program in one role, as the same script."""

from __future__ import annotations

import re

from memwatch.model.metric import Metric, size_of
from memwatch.model.processes import Process
from memwatch.model.profile import Profile

# Interpreters, whose processes are classified by the script or module that they run; with each the
# last letter of an option that is followed by the text of a program, and not by a name.
_INTERPRETERS = (
    (re.compile(r"(?:python|pypy)[\d.]*|(?:ba|da|z|k|fi)?sh"), "c"),
    (re.compile(r"(?:perl|ruby|node|nodejs|lua|luajit|Rscript)[\d.]*"), "e"),
    (re.compile(r"php[\d.]*"), "r"),
    (re.compile(r"java"), ""),
)
_NAMED = ("-m", "-jar")
"""Options that are followed by the name of what is run."""


def class_of(process: Process) -> str:
    """Returns the program, and for an interpreter what it ran: "cc1", "python3 -m pytest",
    "sh build.sh".

    Options before the script are left out. So the value of an option, as a word of its own, is
    taken for the script.
    """
    name, argv = process.command, process.argv
    letters = [letter for pattern, letter in _INTERPRETERS if pattern.fullmatch(name)]
    if not argv or not letters:
        return name
    for place, word in enumerate(argv[1:], 1):
        if word in _NAMED:
            return " ".join((name, *argv[place : place + 2]))
        if not word.startswith("-"):
            return f"{name} {word.rpartition('/')[2]}"
        if letters[0] and word.endswith(letters[0]) and not word.startswith("--"):
            return f"{name} {word}"
    return name


class ProcessClass:
    """The processes of a class in one run."""

    __slots__ = ("count", "peak")

    def __init__(self) -> None:
        self.count = 0
        self.peak: int | None = None
        """The highest peak of a single process, in bytes; None when no peak is known."""


def class_table(profile: Profile, metric: Metric) -> dict[str, ProcessClass]:
    """Returns the classes of a run by name, with their peaks in that metric."""
    found: dict[str, ProcessClass] = {}
    for process in profile.processes:
        each = found.setdefault(class_of(process), ProcessClass())
        each.count += 1
        if peak := size_of(process, metric):
            each.peak = max(each.peak or 0, peak.bytes)
    return found
