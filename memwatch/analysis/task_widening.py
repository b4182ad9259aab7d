"""Finds the tasks that processes belong to: what their supervisor started to get them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from memwatch.analysis.task_choice import Node
from memwatch.analysis.task_waits import parallelism


def widened(
    nodes: Mapping[int, Node], found: Collection[int]
) -> tuple[list[int], set[int], list[int]]:
    """Returns the first process of each task that has one of the found processes, the supervisors
    that started these tasks, and their other children.

    The found processes must not be below each other. Where make runs a shell that runs gcc that
    runs cc1, a found cc1 stands for all that make started: the slot is taken from the start of the
    shell on. A process without a supervisor above it stays as it is.
    """
    branches = _branches(nodes, found)
    supervisors = _supervisors(nodes, found, branches)
    above = {up for serial in supervisors for up in _ancestors(nodes, serial)}
    roots = (
        {_root(nodes, serial, supervisors | above) for serial in found} if supervisors else found
    )
    starters = {
        parent
        for root in roots
        if (parent := nodes[root].parent) is not None and parent in supervisors
    }
    others = [
        child
        for serial in starters
        for child in nodes[serial].children
        if child not in roots and child not in supervisors and child not in above
    ]
    return list(roots), starters, others


def _branches(nodes: Mapping[int, Node], found: Collection[int]) -> dict[int, list[int]]:
    """Returns the processes with several children that have a found process below or are one, and
    those children."""
    branches: dict[int, list[int]] = {}
    counted: set[int] = set()
    for serial in found:
        node = serial
        while node not in counted and (parent := nodes[node].parent) is not None:
            counted.add(node)
            branches.setdefault(parent, []).append(node)
            node = parent
    return {serial: children for serial, children in branches.items() if len(children) > 1}


def _supervisors(
    nodes: Mapping[int, Node], found: Collection[int], branches: Mapping[int, list[int]]
) -> set[int]:
    """Returns the processes whose children are tasks.

    These are all that ran several such children at once. A process that ran them one after the
    other (a gcc with two files, a shell) is more likely a part of one task, unless a process of the
    same program below another did run several at once, as a make below a make does.
    """
    parallel = {
        serial
        for serial, children in branches.items()
        if parallelism([(nodes[child].begin, nodes[child].end) for child in children])[0] > 1
    }
    nested = {
        nodes[serial].name
        for serial in parallel
        if any(nodes[up].name == nodes[serial].name for up in _ancestors(nodes, serial))
    }
    supervisors = parallel | {serial for serial in branches if nodes[serial].name in nested}
    # Where all ran one after the other, it is the one with most such children.
    for serial in found:
        around = [up for up in _ancestors(nodes, serial) if up in branches]
        if around and supervisors.isdisjoint(around):
            supervisors.add(max(around, key=lambda up: len(branches[up])))
    return supervisors


def _ancestors(nodes: Mapping[int, Node], serial: int) -> Iterator[int]:
    """Yields the processes above one, from its parent on."""
    up = nodes[serial].parent
    while up is not None:
        yield up
        up = nodes[up].parent


def _root(nodes: Mapping[int, Node], serial: int, ends: Collection[int]) -> int:
    """Returns the process at or above one whose parent is the nearest of `ends`; the process itself
    where none of them is above it."""
    root = serial
    for up in _ancestors(nodes, serial):
        if up in ends:
            return root
        root = up
    return serial
