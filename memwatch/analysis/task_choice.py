"""Chooses the processes of a job that are its tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from memwatch.analysis.plan_sizes import Sizes
from memwatch.analysis.steps import changes, lifetime
from memwatch.model.filters import matches
from memwatch.model.processes import ROOT, Process
from memwatch.model.profile import Profile


class Node:
    """A process in the tree of all processes."""

    __slots__ = ("area", "begin", "children", "end", "forked", "name", "parent", "subtree")

    def __init__(self, process: Process, parent: int | None, begin: int, end: int) -> None:
        self.parent = parent
        self.begin = begin
        self.end = end
        self.name = process.command
        self.forked = process.programs[-1].inherited
        self.area = 0
        """What it held, times how long: bytes × nanoseconds."""
        self.subtree = 0
        """The sum of that over it and all processes below it."""
        self.children: list[int] = []


def nodes_of(profile: Profile, sizes: Sizes) -> tuple[dict[int, Node], int]:
    """Returns the processes by serial, parents before their children, and the number of processes
    whose memory is not known."""
    nodes = {}
    unknown = 0
    for process in profile.processes:
        begin, end = lifetime(profile, process)
        # A parent has a lower serial. A file made by hand could have a circle of parents.
        parent = process.parent if (process.parent or 0) < process.serial else None
        node = nodes[process.serial] = Node(process, parent, begin, end)
        for time, difference in changes(profile, process, sizes):
            node.area += difference * (end - time)
        unknown += sizes.of(process) is None
    nodes = {serial: nodes[serial] for serial in sorted(nodes)}
    for serial, node in nodes.items():
        if node.parent not in nodes:
            node.parent = None
        else:
            nodes[node.parent].children.append(serial)
    for node in reversed(nodes.values()):
        node.subtree = node.area + sum(nodes[child].subtree for child in node.children)
    return nodes, unknown


def supervisors_of(nodes: Mapping[int, Node]) -> set[int]:
    """Returns the process with the widest fan-out, and others of its program that only pass the
    work on."""
    best, most = None, (-1, 0)
    for serial, node in nodes.items():
        if len(node.children) > 1:
            areas = [nodes[child].subtree for child in node.children]
            # How much the children held, without the largest of them.
            spread = (sum(areas) - max(areas), len(areas))
            if spread > most:
                best, most = serial, spread
    if best is None:
        return set()
    # For example a make that was started by a make: it holds little itself.
    name = nodes[best].name
    return {best} | {
        serial
        for serial, node in nodes.items()
        if node.name == name
        and not node.forked
        and node.children
        and node.subtree - node.area > node.area
    }


def tasks_of(nodes: Mapping[int, Node], supervisors: set[int]) -> list[int]:
    """Returns the children of supervisors that have no supervisor below them."""
    above = set()
    for serial in supervisors:
        up = nodes[serial].parent
        while up is not None and up not in above:
            above.add(up)
            up = nodes[up].parent
    return [
        child
        for serial in supervisors
        for child in nodes[serial].children
        if child not in supervisors and child not in above
    ]


def matching(profile: Profile, nodes: Mapping[int, Node], worker: re.Pattern[str]) -> list[int]:
    """Returns the processes that match a pattern and are not below another that does.

    Only programs that a process executed itself count: before its exec it has the command line of
    its parent.
    """
    found = {
        process.serial
        for process in profile.processes
        if any(matches(worker, program.text) for program in process.own_programs)
    }
    found.discard(ROOT)
    inside: set[int] = set()
    for serial, node in nodes.items():
        if node.parent is not None and (node.parent in found or node.parent in inside):
            inside.add(serial)
    return [serial for serial in found if serial not in inside]
