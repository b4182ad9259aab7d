"""A Checkup as JSON: the keys of schema/doctor.schema.json."""

from __future__ import annotations

import errno
from typing import Any

from memwatch.model import sources
from memwatch.model.sources import CAPABILITIES, Facts, Source
from memwatch.reports.checkup import Checkup, Memory, System
from memwatch.units import kib, unicode_text


def document(checkup: Checkup) -> dict[str, Any]:
    """Returns the document for JSON."""
    outlook = sources.outlook(checkup.errors, checkup.facts)
    return {
        "memwatch": {
            "version": checkup.version,
            "target": checkup.target,
            "backend": checkup.backend,
        },
        "kernel": _kernel(checkup),
        "user": _user(checkup.facts),
        "tiers": [_source(source, checkup) for source in sources.of_backend(checkup.backend)],
        "system": _system(checkup.system),
        "memory": _memory(checkup.memory),
        "run": {
            "every_process": outlook.every_process,
            "exact_peaks": outlook.exact_peaks,
            "text": outlook.text,
            "more": outlook.more,
        },
    }


def _kernel(checkup: Checkup) -> dict[str, Any]:
    facts, system = checkup.facts, checkup.system
    return {
        "name": system.kernel,
        "release": unicode_text(system.release),
        "product": None if system.product is None else unicode_text(system.product),
        "machine": system.machine,
        "cpus": system.cpus,
        "page_size_kib": kib(system.page_size),
        "perf_event_paranoid": facts.perf_event_paranoid,
        "imprecise_rss": checkup.imprecise_rss,
    }


def _user(facts: Facts) -> dict[str, Any]:
    held = facts.capabilities
    return {
        "euid": facts.euid,
        "capabilities": None
        if held is None
        else [f"CAP_{name}" for name in CAPABILITIES if name in held],
        "initial_pid_namespace": facts.initial_pid_namespace,
        "initial_user_namespace": facts.initial_user_namespace,
    }


def _system(system: System) -> dict[str, Any]:
    return {
        "children_lists": system.children_lists,
        "subreaper": system.subreaper,
        "pidfd": system.pidfd,
        "pss": system.pss,
        "hidepid": None if system.hidepid is None else unicode_text(system.hidepid),
        "open_files_soft": system.open_files[0],
        "open_files_hard": system.open_files[1],
    }


def _memory(memory: Memory) -> dict[str, Any]:
    refusal = memory.own_group_refusal
    return {
        "total_kib": _kib(memory.total),
        "available_kib": _kib(memory.available),
        "cgroup_version": memory.cgroup_version,
        "cgroup": _text(memory.cgroup),
        "usage_kib": _kib(memory.usage),
        "limit_kib": _kib(memory.limit),
        "limit_folder": _text(memory.limit_folder),
        "limit_usage_kib": _kib(memory.limit_usage),
        "throttled_at_kib": _kib(memory.throttled_at),
        "oom_kills": memory.oom_kills,
        "machine_oom_kills": memory.machine_oom_kills,
        "own_group_folder": _text(memory.own_group),
        "own_group_reason": _text(refusal.reason) if refusal else None,
        "own_group_remedy": _text(refusal.remedy) if refusal else None,
    }


def _source(source: Source, checkup: Checkup) -> dict[str, Any]:
    refusal = checkup.refusal(source)
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


def _text(text: str | None) -> str | None:
    return None if text is None else unicode_text(text)


def _kib(size: int | None) -> int | None:
    return None if size is None else kib(size)
