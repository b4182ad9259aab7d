"""What works here, as a person or a program reads it."""

from __future__ import annotations

import errno
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memwatch.model import sources
from memwatch.model.sources import CAPABILITIES, DARWIN, KQUEUE, LINUX, Facts, Source
from memwatch.units import Style, format_size, kib, printable, unicode_text


@dataclass(frozen=True, slots=True)
class System:
    """What `run` builds on besides the ways of sources.py. None is unknown."""

    kernel: str
    """As uname(2) has it, and so the next two."""
    release: str
    product: str | None
    """What the system as a whole is called: "macOS 14.5"; None where the kernel's name is all."""
    machine: str
    cpus: int | None
    page_size: int
    children_lists: bool
    """/proc lists the children of a process."""
    pss: bool
    """/proc/PID/smaps_rollup can be read."""
    pidfd: bool
    subreaper: bool
    """Orphans of the job can be kept in it."""
    hidepid: str | None
    """The mount option of /proc that hides other users' processes, where it is set."""
    open_files: tuple[int | None, int | None]
    """Soft and hard limit; None: no limit."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Limits and use, in bytes; None is unknown, or that there is none."""

    total: int | None = None
    """Of the machine, as the next."""
    available: int | None = None
    cgroup_version: int | None = None
    """None: in no control group that can be seen; then all below is None, too."""
    cgroup: str | None = None
    usage: int | None = None
    limit: int | None = None
    limit_folder: str | None = None
    limit_usage: int | None = None
    throttled_at: int | None = None
    oom_kills: int | None = None
    machine_oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    version: str
    target: str
    backend: str
    errors: Mapping[int, int]
    """Of each source the errno of its probe: 0 where it works."""
    facts: Facts
    system: System
    memory: Memory


# As text ------------------------------------------------------------------------------------------


def lines(checkup: Checkup, *, width: int, bold: Style, dim: Style) -> Iterator[str]:
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


def _sentence(begin: str, rest: str, width: int, bold: Style) -> Iterator[str]:
    first, *more = _wrapped(f"{begin} {rest}", width, 0)
    yield bold(begin) + first.removeprefix(begin) if first.startswith(begin) else first
    yield from more


def _more_of(outlook: sources.Outlook, checkup: Checkup) -> str:
    if checkup.errors.get(sources.SAMPLING) or KQUEUE in checkup.errors:
        return "To get more:"
    return "For exact peaks:" if outlook.every_process else "For every process and exact peaks:"


_NAME_WIDTH = max(len(source.name) for source in sources.LINUX_SOURCES)
_BESIDE = 7 + _NAME_WIDTH + 2


def _source(source: Source, checkup: Checkup, width: int, bold: Style, dim: Style) -> Iterator[str]:
    refusal = _refusal(source, checkup)
    answer = dim("no ") if refusal else bold("yes")
    gives = source.gives if source.by_itself else f"{source.gives}: --exact"
    if width >= _BESIDE + 36:
        first, *rest = _wrapped(gives, width, _BESIDE)
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


def _labelled(label: str, text: str, width: int) -> Iterator[str]:
    first, *rest = _wrapped(text, width, 12)
    yield f"       {label} {first.lstrip()}"
    yield from rest


def _system(checkup: Checkup) -> Iterator[tuple[str, str]]:
    facts, system = checkup.facts, checkup.system
    held = facts.capabilities
    user = "root" if facts.euid == 0 else f"uid {facts.euid}"
    if checkup.backend == DARWIN:
        yield "user", user
        yield from _darwin(checkup)
        return
    if held is None:
        yield "user", f"{user}, capabilities unknown"
    elif held:
        names = ", ".join(f"CAP_{name}" for name in CAPABILITIES if name in held)
        yield "user", f"{user}, with {names}"
    else:
        yield "user", f"{user}, with no capability that would help"
    if checkup.backend != LINUX:
        return
    yield "namespaces", _namespaces(facts)
    yield (
        "children",
        "listed by /proc, so that each look is at the job only"
        if system.children_lists
        else "not listed by /proc (CONFIG_PROC_CHILDREN): each look is at the whole machine",
    )
    yield (
        "orphans",
        "stay in the job (child subreaper)"
        if system.subreaper
        else "lost when their parent ends: this system has no child subreaper",
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
        else "counted once for each process: no smaps_rollup (Linux 4.14) to tell PSS",
    )
    if system.hidepid:
        yield (
            "other users",
            f"hidden (/proc is mounted with hidepid={printable(system.hidepid)}): memory of what "
            f"the job runs through sudo is unknown unless memwatch is run as root",
        )
    yield "open files", _open_files(system.open_files)
    if warning := _imprecise_rss(checkup):
        yield "warning", warning


def _darwin(checkup: Checkup) -> Iterator[tuple[str, str]]:
    """What there is to know of every Mac, and of this one."""
    if checkup.facts.euid:
        yield (
            "other users",
            "memory of what the job runs through sudo is unknown unless memwatch is run as root",
        )
    yield (
        "orphans",
        "known by who forked them, their session or their process group: macOS has no child "
        "subreaper",
    )
    at_once = "at once (kqueue)" if checkup.errors.get(KQUEUE) == 0 else "at the next look"
    yield "end of job", f"noticed {at_once}"
    yield (
        "peak RSS",
        "the highest of all looks, a lower bound: macOS tells that of the command at most",
    )
    at_the_end = " and at its end" if checkup.errors.get(KQUEUE) == 0 else ""
    yield "footprint", f"told by macOS, with the highest of each program so far{at_the_end}"
    yield "shared pages", "counted once for each process: macOS does not tell PSS"
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
    return f"{soft}; memwatch raises that for itself to the hard limit, {hard}"


def _imprecise_rss(checkup: Checkup) -> str | None:
    """Between Linux 6.2 (f1a7941243c1) and 6.16 the kernel reads RSS without what each CPU has not
    added up yet: less than a batch of pages for each, see percpu_counter."""
    if not imprecise_rss(checkup.facts):
        return None
    text = "RSS is imprecise on Linux 6.2 to 6.15"
    cpus = checkup.system.cpus
    if cpus:
        most = cpus * max(32, 2 * cpus) * checkup.system.page_size
        text += f": it may be off by up to {format_size(most)} for a process on {cpus} CPUs"
    return text


def imprecise_rss(facts: Facts) -> bool:
    return facts.kernel is not None and (6, 2) <= facts.kernel < (6, 16)


def _memory(memory: Memory, backend: str) -> Iterator[tuple[str, str]]:
    if backend == DARWIN:
        yield "limit", "none: macOS has no control groups"
    elif memory.cgroup_version is None:
        yield "limit", "none: no control group (cgroup) with memory is to be seen here"
    else:
        version = f"cgroup v{memory.cgroup_version}"
        if memory.limit is None:
            yield "limit", f"none ({version} {printable(memory.cgroup or '')})"
        else:
            text = format_size(memory.limit)
            if memory.limit_usage is not None:
                text += f" ({format_size(memory.limit_usage)} in use)"
            folder = printable(memory.limit_folder or "a group above that cannot be seen")
            yield "limit", f"{text}, set by {version} {folder}"
        if memory.throttled_at is not None:
            yield "slowed down", f"from {format_size(memory.throttled_at)} on (memory.high)"
    if memory.total is not None:
        text = format_size(memory.total)
        if memory.available is not None:
            text += f", {format_size(memory.available)} available"
        yield "machine", text
    yield (
        "OOM kills",
        "not counted: macOS does not tell" if backend == DARWIN else _oom_kills(memory),
    )


def _oom_kills(memory: Memory) -> str:
    machine = memory.machine_oom_kills
    if memory.oom_kills is not None:
        text = f"counted: {memory.oom_kills:,} so far in this cgroup"
        return text if machine is None else f"{text}, {machine:,} on the machine"
    if machine is not None:
        return f"counted for the machine only: {machine:,} so far"
    return "not counted: before Linux 4.13, or /proc/vmstat cannot be read"


def _entry(name: str, text: str, width: int) -> Iterator[str]:
    first, *rest = _wrapped(text, width, 16)
    yield f"  {name:<14}{first.lstrip()}"
    yield from rest


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    """Lines of at most `width`, where words allow it. Paths and names stay whole."""
    blank = " " * indent
    return textwrap.wrap(
        text,
        max(width, indent + 20),
        initial_indent=blank,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [blank]


# For programs -------------------------------------------------------------------------------------


def document(checkup: Checkup) -> dict[str, Any]:
    """The keys of schema/doctor.schema.json."""
    facts, system, memory = checkup.facts, checkup.system, checkup.memory
    outlook = sources.outlook(checkup.errors, facts)
    held = facts.capabilities
    return {
        "memwatch": {
            "version": checkup.version,
            "target": checkup.target,
            "backend": checkup.backend,
        },
        "kernel": {
            "name": system.kernel,
            "release": unicode_text(system.release),
            "product": None if system.product is None else unicode_text(system.product),
            "machine": system.machine,
            "cpus": system.cpus,
            "page_size_kib": kib(system.page_size),
            "perf_event_paranoid": facts.perf_event_paranoid,
            "imprecise_rss": imprecise_rss(facts),
        },
        "user": {
            "euid": facts.euid,
            "capabilities": None
            if held is None
            else [f"CAP_{name}" for name in CAPABILITIES if name in held],
            "initial_pid_namespace": facts.initial_pid_namespace,
            "initial_user_namespace": facts.initial_user_namespace,
        },
        "tiers": [
            _source_document(source, checkup) for source in sources.of_backend(checkup.backend)
        ],
        "system": {
            "children_lists": system.children_lists,
            "subreaper": system.subreaper,
            "pidfd": system.pidfd,
            "pss": system.pss,
            "hidepid": None if system.hidepid is None else unicode_text(system.hidepid),
            "open_files_soft": system.open_files[0],
            "open_files_hard": system.open_files[1],
        },
        "memory": {
            "total_kib": _kib(memory.total),
            "available_kib": _kib(memory.available),
            "cgroup_version": memory.cgroup_version,
            "cgroup": _path(memory.cgroup),
            "usage_kib": _kib(memory.usage),
            "limit_kib": _kib(memory.limit),
            "limit_folder": _path(memory.limit_folder),
            "limit_usage_kib": _kib(memory.limit_usage),
            "throttled_at_kib": _kib(memory.throttled_at),
            "oom_kills": memory.oom_kills,
            "machine_oom_kills": memory.machine_oom_kills,
        },
        "run": {
            "every_process": outlook.every_process,
            "exact_peaks": outlook.exact_peaks,
            "text": outlook.text,
            "more": outlook.more,
        },
    }


def _source_document(source: Source, checkup: Checkup) -> dict[str, Any]:
    refusal = _refusal(source, checkup)
    error = checkup.errors.get(source.number, 0)
    return {
        "id": source.id,
        "name": source.name,
        "gives": source.gives,
        "by_itself": source.by_itself,
        "works": refusal is None,
        "error": errno.errorcode.get(error, str(error)) if error else None,
        "reason": refusal.reason if refusal else None,
        "remedy": refusal.remedy if refusal else None,
        "caveat": None if refusal else sources.caveat(source.number, checkup.facts),
        "instead": sources.instead_of(source.number, checkup.errors) if refusal else None,
    }


def _refusal(source: Source, checkup: Checkup) -> sources.Refusal | None:
    return sources.why_not(source.number, checkup.errors.get(source.number, 0), checkup.facts)


def _path(path: str | None) -> str | None:
    return None if path is None else unicode_text(path)


def _kib(size: int | None) -> int | None:
    return None if size is None else kib(size)
