"""`memwatch doctor`: shows what works here, and what to do to get more."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import click

from memwatch.commands.shared import options, terminal
from memwatch.messages import print_json, print_lines
from memwatch.model.sources import DARWIN, LINUX, SAMPLING, Facts, Refusal, of_backend
from memwatch.reports.checkup import Checkup, Memory, System
from memwatch.runner import cgroup, native
from memwatch.runner.cgroup_place import find_place
from memwatch.runner.kernel_files import parse_entry, read_text
from memwatch.runner.system_facts import parse_hidepid, read_facts
from memwatch.version import __version__


@click.command("doctor")
@options.JSON
def command(as_json: bool) -> int:
    """Show what memwatch can find out here, and what to do to get more.

    Tries each way to see processes and their peaks, and reads what matters for
    a run: privileges, limits on memory and open files. Changes nothing.
    The exit code is 0 whatever it finds.

    \b
    Examples:
      memwatch doctor
      sudo memwatch doctor
      memwatch doctor --json | jq .run
    """
    checkup = examine()
    if as_json:
        from memwatch.reports.doctor_json import document

        return 0 if print_json(document(checkup)) else 1
    from memwatch.reports.doctor_report import lines

    bold, dim = terminal.styles(1)
    report = lines(checkup, width=terminal.width(1), bold=bold, dim=dim)
    return 0 if print_lines(report) else 1


def examine() -> Checkup:
    """Tries every source of this platform, and reads the properties of the system."""
    facts = read_facts()
    return Checkup(
        version=__version__,
        target=native.build_target(),
        backend=native.backend(),
        errors={
            source.number: _try_sampling()
            if source.number == SAMPLING
            else native.probe(source.number)
            for source in of_backend(native.backend())
        },
        facts=facts,
        system=_system(facts),
        memory=_memory(),
    )


def _try_sampling() -> int:
    if native.backend() == "unsupported":
        return errno.ENOTSUP
    if native.backend() == DARWIN:
        try:
            native.scan()
        except OSError as error:
            return error.errno or errno.EIO
        return 0
    return 0 if os.path.exists("/proc/self/statm") else errno.ENOENT


def _system(facts: Facts) -> System:
    import resource

    name = os.uname()
    soft, hard = (
        None if limit == resource.RLIM_INFINITY else limit
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return System(
        kernel=name.sysname,
        release=name.release,
        product=_product(),
        machine=name.machine,
        cpus=os.cpu_count(),
        page_size=resource.getpagesize(),
        children_lists=os.path.exists(f"/proc/self/task/{os.getpid()}/children"),
        pss=bool(parse_entry(read_text("/proc/self/smaps_rollup"), "Pss:")),
        pidfd=_has_pidfd(facts),
        subreaper=_has_subreaper(),
        hidepid=parse_hidepid(read_text("/proc/self/mountinfo")),
        open_files=(soft, hard),
    )


def _product() -> str | None:
    if native.backend() != DARWIN:
        return None
    import platform

    version = platform.mac_ver()[0]
    return f"macOS {version}" if version else None


def _has_pidfd(facts: Facts) -> bool:
    # A Python built with headers older than Linux 5.3 lacks it; memwatch itself does not need it.
    if not hasattr(os, "pidfd_open"):
        return facts.kernel is not None and facts.kernel >= (5, 3)
    with suppress(OSError):
        os.close(os.pidfd_open(os.getpid()))
        return True
    return False


def _has_subreaper() -> bool:
    with suppress(OSError):
        native.subreaper(native.subreaper(True))
        return True
    return False


def _memory() -> Memory:
    total, available = cgroup.machine_memory()
    machine_kills = cgroup.machine_oom_kills()
    group = cgroup.find()
    own_group, refusal = _own_group()
    if not group:
        return Memory(
            total=total,
            available=available,
            machine_oom_kills=machine_kills,
            own_group_refusal=refusal,
        )
    limit = group.limit()
    return Memory(
        total=total,
        available=available,
        cgroup_version=group.version,
        cgroup=group.path,
        usage=group.usage(),
        limit=limit.bytes if limit else None,
        limit_folder=limit.folder if limit else None,
        limit_usage=limit.usage if limit else None,
        throttled_at=group.throttled_at(),
        oom_kills=group.oom_kills(),
        machine_oom_kills=machine_kills,
        own_group=own_group,
        own_group_refusal=refusal,
    )


def _own_group() -> tuple[str | None, Refusal | None]:
    """Returns where `run --cgroup` makes a group, or why it cannot."""
    if native.backend() != LINUX:
        return None, None
    place = find_place()
    return (None, place) if isinstance(place, Refusal) else (place.parent, None)
