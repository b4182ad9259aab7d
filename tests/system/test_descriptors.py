"""Tests that few descriptors or a restricted /proc never harm the job."""

import os
import resource
import shutil
import signal
import subprocess

import pytest

from support.waiting import wait_until

MIB = 1024  # KiB, the unit of the reports


def limit_descriptors(soft, hard):
    """Returns a preexec_fn that does the same as `ulimit -n`."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.both_users
@pytest.mark.parametrize(
    "limits",
    [(20, 20), (32, 32), (20, 64), (64, 256), (256, 256)],
    ids="soft {0[0]} hard {0[1]}".format,
)
def test_few_descriptors(memwatch, limits):
    """Processes without a kept descriptor are read as well."""
    children = 30
    watch = memwatch.burn(
        *("fork", children, "[", "touch", 3, "fork", 1, "[", "touch", 2, "mark", "up", "gate", "]"),
        *("mark", "up", "wait", "]", "mark", "root", "wait", "exit", 4),
        preexec_fn=limit_descriptors(*limits),
    )
    watch.marks("up", 2 * children)
    root = watch.mark("root")
    watch.ticks()
    result = watch.end()
    report = result.json
    assert result.code == 4
    assert result.text == ""
    assert report["process_count"] == 2 * children + 1
    assert report["accuracy"]["error"] is None
    assert report["accuracy"]["unreadable_processes"] == 0
    # At most two for each process, and none beyond the limit.
    assert (report["accuracy"]["unkept_processes"] > 0) == (limits[1] < 2 * (2 * children + 1))
    for process in report["processes"]:
        if process["pid"] != root:
            assert 3 * MIB <= process["max_rss_kib"] <= 10 * MIB
    assert report["max_total_rss_kib"] >= (3 + 5) * children * MIB


@pytest.mark.both_users
@pytest.mark.parametrize("limits", [(20, 20), (32, 64), (256, 512)], ids=str)
def test_the_limits_of_the_job_are_unchanged(memwatch, limits):
    """memwatch raises its own soft limit but not the job's."""
    result = memwatch.run(
        *("run", "--quiet", "--", "sh", "-c", "ulimit -Sn; ulimit -Hn"),
        preexec_fn=limit_descriptors(*limits),
    )
    assert result.out.split() == [b"%d" % limit for limit in limits]
    assert result.err == b""


def test_memwatch_raises_its_soft_limit_to_the_hard_limit(memwatch):
    watch = memwatch.burn("mark", "root", "gate", preexec_fn=limit_descriptors(64, 512))
    root = watch.mark("root")
    assert resource.prlimit(watch.pid, resource.RLIMIT_NOFILE) == (512, 512)
    assert resource.prlimit(root, resource.RLIMIT_NOFILE) == (64, 512)
    watch.end()


@pytest.mark.both_users
@pytest.mark.parametrize("limit", range(4, 16))
def test_too_few_descriptors(memwatch, burner, limit):
    """Either the job runs, with its exit code, or one line reports why it does not."""
    # Python must already be running: it could not start with so few.
    script = f"""
import resource, sys
from memwatch.cli import main
import memwatch.commands.run
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
sys.argv[1:] = ["run", "--quiet", "--", {str(burner)!r}, "touch", "1", "exit", "6"]
main()
"""
    argv = memwatch.argv()
    argv[-2:] = ["-c", script]
    result = memwatch.popen(argv).end()
    if result.code == 6:
        assert result.text == ""
    else:
        assert result.code == 1
        assert "Too many open files" in result.one_line()


# -- Processes of other users ---------------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a setuid program")
as_nobody = pytest.mark.parametrize("user", ["nobody"], indirect=True)


@pytest.fixture
def setuid_burner(memwatch, burner):
    """A burner that runs as root for every user."""
    program = memwatch.room / "setuid"
    shutil.copy(burner, program)
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    if os.statvfs(memwatch.room).f_flag & os.ST_NOSUID:
        pytest.skip(f"{memwatch.room} is mounted without setuid programs")
    memwatch.marks.touch()
    memwatch.marks.chmod(0o666)
    return program


@needs_root
@as_nobody
def test_process_of_another_user(memwatch, setuid_burner):
    watch = memwatch.start(
        *("run", "--json", "-i", "5", "--", setuid_burner),
        *("touch", "10", "mark", "root", "gate", "exit", "6"),
    )
    root = watch.mark("root")
    watch.ticks()
    result = watch.end()
    assert result.code == 6
    process = result.by_pid(root)
    assert 10 * MIB <= process["max_rss_kib"] <= 14 * MIB
    assert process["exe"] is None
    assert len(process["images"]) == 1
    assert result.json["accuracy"]["unreadable_processes"] == 0


@needs_root
@as_nobody
def test_signal_that_may_not_be_forwarded(memwatch, setuid_burner):
    watch = memwatch.start(
        *("run", "--json", "-i", "5", "--", setuid_burner),
        *("root", "mark", "root", "gate", "exit", "6"),
    )
    watch.mark("root")
    watch.ticks()
    os.kill(watch.pid, signal.SIGTERM)
    wait_until(watch.errors, "a message")
    result = watch.end()
    assert result.code == 6
    assert result.json["exit_code"] == 6
    assert "cannot forward" in result.one_line()


def with_mount(memwatch, mount, *words):
    """Starts memwatch in a mount namespace of its own, in which something else is mounted."""
    can = ["unshare", "--mount", "sh", "-c", mount]
    if not shutil.which("unshare") or subprocess.run(can, check=False).returncode:
        pytest.skip("needs a mount namespace")
    script = f'{mount} && exec "$@"'
    return memwatch.popen(["unshare", "--mount", "sh", "-c", script, "sh", *memwatch.argv(*words)])


HIDDEN = "mount -t proc -o hidepid=2 proc /proc"


@needs_root
@as_nobody
@pytest.mark.parametrize("become", ["ignore x", "root"], ids=["may signal it", "may not"])
def test_process_that_is_hidden(memwatch, burner, setuid_burner, become):
    """hidepid=2: the processes of other users are not in /proc."""
    watch = with_mount(
        *(memwatch, HIDDEN, "run", "--json", "-i", "5", "--", "sh", "-c"),
        f'exec 3<&0; "$1" {become} touch 10 mark hidden gate <&3 & '
        '"$0" touch 10 mark seen gate; wait; exit 6',
        *(burner, setuid_burner),
    )
    hidden, seen = watch.mark("hidden"), watch.mark("seen")
    watch.ticks()
    result = watch.end()
    assert result.code == 6
    assert result.by_pid(seen)["max_rss_kib"] >= 10 * MIB
    process = result.by_pid(hidden)
    assert process["alive_at_end"] is False
    # If it was seen before it became root, it is still read through the descriptors opened then.
    if process["max_rss_kib"] is None:
        assert result.json["accuracy"]["unreadable_processes"] >= 1
    else:
        assert process["max_rss_kib"] >= 10 * MIB
    assert result.json["accuracy"]["error"] is None


@needs_root
@as_nobody
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["summary", "json"])
def test_job_that_is_hidden(memwatch, setuid_burner, options):
    watch = with_mount(
        *(memwatch, HIDDEN, "run", "-i", "5", *options, "--", setuid_burner),
        *("touch", "10", "trap", "10", "mark", "root", "gate", "exit", "6"),
    )
    root = watch.mark("root")
    watch.ticks()
    os.kill(watch.pid, signal.SIGUSR1)
    assert watch.marks("sig10") == [root]
    result = watch.end()
    assert result.code == 6
    if not options:
        assert "The job's memory could not be read.\n" in result.text
        assert "The job's memory could not be read." in result.text
        return
    (process,) = result.json["processes"]
    assert process["pid"] == root
    assert process["max_rss_kib"] is None
    assert process["alive_at_end"] is False
    assert process["wait_status"] == 6 << 8
    assert result.json["max_total_rss_kib"] is None


@needs_root
@pytest.mark.both_users
def test_no_proc_at_all(memwatch, burner):
    mount = "mount -t tmpfs none /proc"
    result = with_mount(memwatch, mount, "run", "--", burner, "touch", "10", "exit", "6").end()
    assert result.code == 6
    assert "The job's memory could not be read." in result.text


@needs_root
def test_a_file_system_in_memory_can_be_unmounted(memwatch, tmp_path):
    mount = f"mount -t tmpfs none {tmp_path}"
    result = with_mount(memwatch, mount, "run", "--quiet", "--", "umount", str(tmp_path)).end()
    assert (result.code, result.text) == (0, "")
