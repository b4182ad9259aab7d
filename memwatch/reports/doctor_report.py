"""A Checkup as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from memwatch.model import sources
from memwatch.model.sources import CAPABILITIES, DARWIN, KQUEUE, LINUX, Facts, Source
from memwatch.reports.checkup import Checkup, Memory, System
from memwatch.units import Style, format_size, kib, printable

_OTHER_USERS = "the memory of programs run through sudo is unknown unless memwatch runs as root"


def lines(checkup: Checkup, *, width: int, bold: Style, dim: Style) -> Iterator[str]:
    """Yields the report line by line."""
    system = checkup.system
    name = f"{system.kernel} {printable(system.release)}"
    if system.product:
        name = f"{printable(system.product)} ({name})"
    yield from _sentence(
        f"memwatch {checkup.version}",
        f"({checkup.backend} backend) on {name}, {system.machine}",
        width,
        bold,
    )
    yield ""
    yield bold("Ways to see processes:")
    for source in sources.of_backend(checkup.backend):
        yield from _source(source, checkup, width, bold, dim)
    yield ""
    yield bold("This system:")
    for name, text in _system(checkup):
        yield from _entry(name, text, width)
    yield ""
    yield bold("Memory:")
    for name, text in _memory(checkup.memory, checkup.backend):
        yield from _entry(name, text, width)
    yield ""
    outlook = sources.outlook(checkup.errors, checkup.facts)
    yield from _sentence("memwatch run gives here:", outlook.text, width, bold)
    if outlook.more:
        yield from _sentence(_more_of(outlook, checkup), outlook.more, width, bold)


def _more_of(outlook: sources.Outlook, checkup: Checkup) -> str:
    """Returns the words before the advice."""
    if checkup.errors.get(sources.SAMPLING) or KQUEUE in checkup.errors:
        return "To get more:"
    return "For exact peaks:" if outlook.every_process else "For every process and exact peaks:"


# Sources ------------------------------------------------------------------------------------------

_NAME_WIDTH = max(len(source.name) for source in sources.LINUX_SOURCES)
_GIVES_INDENT = 7 + _NAME_WIDTH + 2


def _source(source: Source, checkup: Checkup, width: int, bold: Style, dim: Style) -> Iterator[str]:
    refusal = checkup.refusal(source)
    answer = dim("no ") if refusal else bold("yes")
    gives = source.gives if source.by_itself else f"{source.gives}: --exact"
    if width >= _GIVES_INDENT + 36:
        first, *rest = _wrapped(gives, width, _GIVES_INDENT)
        yield f"  {answer}  {source.name:<{_NAME_WIDTH}}  {first.lstrip()}"
        yield from rest
    else:
        yield f"  {answer}  {source.name}"
        yield from _wrapped(gives, width, 7)
    if not refusal:
        if caveat := sources.caveat(source.number, checkup.facts):
            yield from _labelled("but:", caveat, width)
        return
    yield from _labelled("why:", refusal.reason, width)
    instead = sources.instead_of(source.number, checkup.errors)
    if instead:
        yield from _labelled("fix:", f"not needed: {instead} works", width)
    elif refusal.remedy:
        yield from _labelled("fix:", refusal.remedy, width)


# The system ---------------------------------------------------------------------------------------


def _system(checkup: Checkup) -> Iterator[tuple[str, str]]:
    """Yields the name of each property and its description."""
    user = "root" if checkup.facts.euid == 0 else f"uid {checkup.facts.euid}"
    if checkup.backend == DARWIN:
        yield "user", user
        yield from _darwin(checkup)
        return
    yield "user", f"{user}, {_capabilities(checkup.facts)}"
    if checkup.backend == LINUX:
        yield from _linux(checkup)


def _capabilities(facts: Facts) -> str:
    held = facts.capabilities
    if held is None:
        return "capabilities unknown"
    names = ", ".join(f"CAP_{name}" for name in CAPABILITIES if name in held)
    return f"with {names}" if names else "with no capability that would help"


def _linux(checkup: Checkup) -> Iterator[tuple[str, str]]:
    system = checkup.system
    yield "namespaces", _namespaces(checkup.facts)
    yield "children", _children(system)
    yield (
        "orphans",
        "stay in the job (child subreaper)"
        if system.subreaper
        else "are lost when their parent ends: this system has no child subreaper",
    )
    yield (
        "end of job",
        "noticed at once (pidfd)"
        if system.pidfd
        else "noticed within 10 ms; at once from Linux 5.3 on",
    )
    yield (
        "shared pages",
        "can be counted once (PSS, smaps_rollup)"
        if system.pss
        else "are counted once per process: PSS needs smaps_rollup (Linux 4.14)",
    )
    if system.hidepid:
        mounted = f"hidden (/proc is mounted with hidepid={printable(system.hidepid)})"
        yield "other users", f"{mounted}: {_OTHER_USERS}"
    yield "open files", _open_files(system.open_files)
    if checkup.imprecise_rss:
        yield "warning", _imprecise_rss(system)


def _children(system: System) -> str:
    if system.children_lists:
        return "listed by /proc, so each tick reads only the job's processes"
    return "not listed by /proc (CONFIG_PROC_CHILDREN): each tick scans the whole machine"


def _darwin(checkup: Checkup) -> Iterator[tuple[str, str]]:
    """Yields the properties of every Mac, and of this one."""
    has_events = checkup.errors.get(KQUEUE) == 0
    if checkup.facts.euid:
        yield "other users", _OTHER_USERS
    yield (
        "orphans",
        "are found by their original parent, session or process group: macOS has no child "
        "subreaper",
    )
    yield "end of job", f"noticed {'at once (kqueue)' if has_events else 'at the next tick'}"
    yield (
        "peak RSS",
        "the highest sample, a lower bound: macOS reports a peak at most for the command itself",
    )
    at_exit = " and at its exit" if has_events else ""
    yield "footprint", f"reported by macOS, with the peak of each program so far{at_exit}"
    yield "shared pages", "are counted once per process: macOS does not report PSS"
    yield "page size", f"{kib(checkup.system.page_size)} KiB"
    yield "open files", _open_files(checkup.system.open_files)


def _namespaces(facts: Facts) -> str:
    known = {"pid": facts.initial_pid_namespace, "user": facts.initial_user_namespace}
    own = [name for name, initial in known.items() if initial is False]
    if own:
        return f"its own {' and '.join(own)} namespace, as in a container"
    return "unknown" if None in known.values() else "the machine's own, not a container's"


def _open_files(limits: tuple[int | None, int | None]) -> str:
    soft, hard = ("no limit" if limit is None else f"{limit:,}" for limit in limits)
    if soft == hard:
        return hard
    return f"{soft}; memwatch raises its own limit to the hard limit, {hard}"


def _imprecise_rss(system: System) -> str:
    """Describes by how much RSS may be off: by less than a batch of pages for each CPU, see
    percpu_counter in the kernel."""
    text = "RSS is imprecise on Linux 6.2 to 6.15"
    cpus = system.cpus
    if cpus:
        most = cpus * max(32, 2 * cpus) * system.page_size
        text += f": it may be off by up to {format_size(most)} for a process on {cpus} CPUs"
    return text


# Memory -------------------------------------------------------------------------------------------


def _memory(memory: Memory, backend: str) -> Iterator[tuple[str, str]]:
    """Yields the name of each property and its description."""
    yield "limit", _limit(memory, backend)
    if memory.throttled_at is not None:
        yield "slowed down", f"from {format_size(memory.throttled_at)} on (memory.high)"
    if memory.total is not None:
        text = format_size(memory.total)
        if memory.available is not None:
            text += f", {format_size(memory.available)} available"
        yield "machine", text
    yield (
        "OOM kills",
        "not counted: macOS does not report them" if backend == DARWIN else _oom_kills(memory),
    )
    if memory.own_group is not None:
        yield "own group", f"--cgroup gives the job one, in {printable(memory.own_group)}"
    elif refusal := memory.own_group_refusal:
        why = "; ".join(filter(None, refusal))
        yield "own group", f"--cgroup cannot give the job one: {printable(why)}"


def _limit(memory: Memory, backend: str) -> str:
    if backend == DARWIN:
        return "none: macOS has no control groups"
    if memory.cgroup_version is None:
        return "none: no control group (cgroup) with a memory controller is visible here"
    version = f"cgroup v{memory.cgroup_version}"
    if memory.limit is None:
        return f"none ({version} {printable(memory.cgroup or '')})"
    text = format_size(memory.limit)
    if memory.limit_usage is not None:
        text += f" ({format_size(memory.limit_usage)} in use)"
    if memory.limit_folder is None:
        return f"{text}, set by a {version} group above that is not visible here"
    return f"{text}, set by {version} {printable(memory.limit_folder)}"


def _oom_kills(memory: Memory) -> str:
    machine = memory.machine_oom_kills
    if memory.oom_kills is not None:
        text = f"counted: {memory.oom_kills:,} so far in this cgroup"
        return text if machine is None else f"{text}, {machine:,} on the machine"
    if machine is not None:
        return f"counted for the machine only: {machine:,} so far"
    return "not counted: Linux is older than 4.13, or /proc/vmstat cannot be read"


# Layout -------------------------------------------------------------------------------------------


def _sentence(begin: str, rest: str, width: int, bold: Style) -> Iterator[str]:
    first, *more = _wrapped(f"{begin} {rest}", width, 0)
    yield bold(begin) + first.removeprefix(begin) if first.startswith(begin) else first
    yield from more


def _labelled(label: str, text: str, width: int) -> Iterator[str]:
    first, *rest = _wrapped(text, width, 12)
    yield f"       {label} {first.lstrip()}"
    yield from rest


def _entry(name: str, text: str, width: int) -> Iterator[str]:
    first, *rest = _wrapped(text, width, 16)
    yield f"  {name:<14}{first.lstrip()}"
    yield from rest


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    """Breaks a text into lines of at most `width`, where words allow it. Paths and names stay
    whole."""
    blank = " " * indent
    return textwrap.wrap(
        text,
        max(width, indent + 20),
        initial_indent=blank,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [blank]
