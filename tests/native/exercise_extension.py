"""Cases that use native.py on real processes and on a fake /proc.

test_extension.py runs them one at a time: `exercise_extension.py CASE`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import memwatch
from memwatch.model import observations as obs
from memwatch.runner import native

MS = 1_000_000
PAGE = os.sysconf("SC_PAGESIZE")

# Longest wait, in seconds; only a failure takes that long.
DEADLINE = 60


class FakeProc:
    """A fake /proc: a tree of files in the format of the kernel."""

    def __init__(self, root: Path, *, lists_children: bool = True) -> None:
        self.root = root
        self.lists_children = lists_children

    def process(
        self,
        pid: int,
        *,
        ppid: int = 1,
        start: int | None = None,
        pages: int = 100,
        state: str = "S",
        name: str = "fake",
        cmdline: bytes = b"fake\0",
    ) -> None:
        here = self.root / str(pid)
        (here / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        numbers = ["0"] * 49  # fields 4 to 52
        numbers[0] = str(ppid)
        numbers[16] = "1"
        numbers[18] = str(pid if start is None else start)
        numbers[20] = str(pages)
        (here / "stat").write_text(f"{pid} ({name}) {state} {' '.join(numbers)}\n")
        (here / "statm").write_text(f"{pages * 2} {pages} 1 5 0 9 0\n")
        (here / "status").write_text(f"Name:\t{name}\nVmHWM:\t{pages * 2 * PAGE // 1024} kB\n")
        (here / "cmdline").write_bytes(cmdline)
        if self.lists_children:
            self.children(pid)

    def children(self, pid: int, *pids: int) -> None:
        text = "".join(f"{child} " for child in pids)
        (self.root / str(pid) / "task" / str(pid) / "children").write_text(text)

    def remove(self, pid: int) -> None:
        (self.root / str(pid)).rename(self.root / f"gone-{pid}-{len(os.listdir(self.root))}")


@contextlib.contextmanager
def fake_proc(**how):
    with tempfile.TemporaryDirectory() as directory:
        yield FakeProc(Path(directory), **how)


@contextlib.contextmanager
def sampler(interval: int = MS, **how):
    made = native.Sampler(interval, **how)
    try:
        yield made
    finally:
        made.close()


def kinds(batch, kind):
    return [record for record in batch.records if record[4] == kind]


def live(batches) -> dict[int, int]:
    """Returns the pids of live processes and their resident sizes at the end of a stream."""
    sizes = {}
    for batch in batches:
        for _time, serial, value, _second, kind, _valid, pid, _ppid, _third in batch.records:
            if kind == obs.STARTED:
                sizes[serial] = [pid, None]
            elif kind == obs.MEMORY:
                sizes[serial][1] = value
            elif kind == obs.EXITED:
                del sizes[serial]
    return dict(map(tuple, sizes.values()))


def spawn(argv) -> int:
    return native.spawn(argv, os.environ)


def failure_of(call, *args, **kwargs) -> OSError:
    try:
        call(*args, **kwargs)
    except OSError as error:
        return error
    raise AssertionError(f"{call} raised nothing")


# --- cases ---


def scan_machine():
    found = {each.pid: each for each in native.scan()}
    me = found[os.getpid()]
    assert me.ppid == os.getppid()
    assert me.start <= native.now()
    assert me.state == "R"


def scan_tree():
    """Scans more processes than the first buffer holds, and names that are no pids."""
    with fake_proc() as proc:
        for pid in range(1, 700):
            proc.process(pid, pages=pid)
        for other in ("self", "0", "1x", "0" * 80 + "1", "99999999999"):
            (proc.root / other).mkdir()
            (proc.root / other / "stat").write_text((proc.root / "1" / "stat").read_text())
        (proc.root / "5000").mkdir()
        found = {each.pid: each for each in native.scan(str(proc.root))}
    assert sorted(found) == list(range(1, 700))
    assert all(each.pid == pid and each.name == "fake" for pid, each in found.items())


def scan_nowhere():
    error = failure_of(native.scan, "/no/such/place")
    assert (error.errno, error.filename) == (errno.ENOENT, "/no/such/place")


def spawn_command():
    read_end, write_end = os.pipe()
    pid = native.spawn(
        ["sh", "-c", "echo $A; echo $B >&2; exit 9"],
        {"A": "x", "B": "y", "PATH": os.environ["PATH"]},
        stdout=write_end,
        stderr=write_end,
        blocked_signals=[signal.SIGUSR1],
        default_signals=[signal.SIGPIPE],
        nofile_soft=64,
    )
    os.close(write_end)
    with open(read_end) as out:
        assert out.read() == "x\ny\n"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def spawn_missing():
    for _ in range(20):
        error = failure_of(spawn, ["/no/such/command"])
        assert (error.errno, error.filename) == (errno.ENOENT, "/no/such/command")
    # No child is left to wait for.
    assert failure_of(os.waitpid, -1, os.WNOHANG).errno == errno.ECHILD


def sample_forks():
    """Samples a job that forks all the time in a thread; reads during the job and afterwards."""
    script = "i=0; while [ $i -lt 150 ]; do sh -c : & i=$((i+1)); done; wait; exit 3"
    was = native.subreaper(True)
    try:
        with sampler(adopter_pid=os.getpid(), has_other_children=False, batch=5 * MS) as source:
            pid = spawn(["sh", "-c", script])
            source.start(pid)
            batches, reasons = [], 0
            while not reasons & native.WAKE_ENDED:
                reasons = source.wait(DEADLINE)
                batches.append(source.read())
            assert source.stats().error == 0
            assert not source.read().records
    finally:
        native.subreaper(was)
    exits = {record[1]: record for batch in batches for record in kinds(batch, obs.EXITED)}
    assert exits[1][5] & obs.HAS_STATUS
    assert os.waitstatus_to_exitcode(exits[1][2]) == 3
    for batch in batches:
        for record in kinds(batch, obs.IMAGE):
            assert obs.decode_program(batch.text[record[2] : record[2] + record[3]], record[5]).name


def run_profile():
    profile = memwatch.run(["sh", "-c", "sh -c : & wait; exit 4"], interval=0.001, timeline=True)
    assert profile.exit_code == 4
    # On a busy machine the job may be over before the first sample.
    assert profile.max_total_rss or profile.accuracy.never_sampled == len(profile.processes)
    assert profile.sampling.error is None
    assert not profile.sampling.scanning


def many_records():
    """Makes more records than the first buffer holds (4096), and longer texts (16 KiB)."""
    with fake_proc() as proc:
        proc.process(50, cmdline=b"word\0" * 8000)
        with sampler(proc_root=str(proc.root)) as source:
            for tick in range(1, 6001):
                source.tick(50, tick * MS)
            batch = source.read()
            assert len(kinds(batch, obs.TICK)) == 6000
            (program,) = kinds(batch, obs.IMAGE)
            text = obs.decode_program(batch.text[program[2] : program[2] + program[3]], program[5])
            assert text.argv == ("word",) * 8000
            assert not text.argv_cut
            assert source.read() == ([], b"")


def long_command_line():
    """Keeps 128 KiB of a command line, and notes that the rest is missing."""
    with fake_proc() as proc:
        proc.process(50, cmdline=b"x" * 200_000 + b"\0")
        with sampler(proc_root=str(proc.root)) as source:
            source.tick(50, MS)
            batch = source.read()
    (program,) = kinds(batch, obs.IMAGE)
    text = obs.decode_program(batch.text[program[2] : program[2] + program[3]], program[5])
    assert text.argv_cut
    assert len(text.argv[0]) >= 128 << 10


def tree_in_steps():
    """Starts and ends children, with all descriptors kept, with some, and without."""
    for descriptors in (0, 3, 1000):
        with (
            fake_proc() as proc,
            sampler(proc_root=str(proc.root), max_descriptors=descriptors) as source,
        ):
            proc.process(50, pages=10)
            source.tick(50, 1 * MS)
            proc.process(51, ppid=50, pages=20)
            proc.process(52, ppid=51, pages=30)
            proc.children(50, 51)
            proc.children(51, 52)
            source.tick(50, 2 * MS)
            first = source.read()
            assert live([first]) == {50: 10 * PAGE, 51: 20 * PAGE, 52: 30 * PAGE}
            tick = kinds(first, obs.TICK)[-1]
            assert tick[2:4] == (60 * PAGE, 3)
            parents = {record[6]: record[2] for record in kinds(first, obs.STARTED)}
            assert parents[51] == 1
            assert parents[52] == 2
            # A zombie has ended, although its files exist.
            proc.process(52, ppid=51, state="Z", pages=0)
            source.tick(50, 3 * MS)
            second = source.read()
            assert [record[6] for record in kinds(second, obs.EXITED)] == [52]
            proc.process(50, state="Z", pages=0)
            source.tick(50, 4 * MS)
            third = source.read()
            assert [record[6] for record in kinds(third, obs.EXITED)] == [50]
            assert source.wait(0) & native.WAKE_ENDED


def reused_pid():
    """Reuses the pid of an ended process: it is another process."""
    with (
        fake_proc() as proc,
        sampler(proc_root=str(proc.root), max_descriptors=0) as source,
    ):
        proc.process(50)
        proc.process(51, ppid=50, start=1000)
        proc.children(50, 51)
        source.tick(50, 1 * MS)
        proc.process(51, ppid=50, start=2000)
        source.tick(50, 2 * MS)
        source.tick(50, 3 * MS)
        batch = source.read()
        started = [(record[1], record[6]) for record in kinds(batch, obs.STARTED)]
        assert started == [(1, 50), (2, 51), (3, 51)]
        assert [record[1] for record in kinds(batch, obs.EXITED)] == [2]


def without_lists_of_children():
    """Scans the whole machine: orphans are found, earlier children are not added."""
    with fake_proc(lists_children=False) as proc:
        proc.process(40)  # adopts orphans
        proc.process(41, ppid=40)  # there before the job
        with sampler(proc_root=str(proc.root), adopter_pid=40, has_other_children=False) as source:
            proc.process(50, ppid=40)
            proc.process(60, ppid=50)
            proc.process(55, ppid=60)
            proc.process(70, ppid=40)  # an orphan of the job
            proc.process(80, ppid=2)
            for tick in range(1, 4):
                source.tick(50, tick * MS)
            assert source.stats().scanning
            assert sorted(live([source.read()])) == [50, 55, 60, 70]


def signals():
    queue = native.SignalQueue([signal.SIGUSR1, signal.SIGTERM])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
    try:
        assert queue.next() is None
        os.kill(os.getpid(), signal.SIGUSR1)
        with sampler() as source:
            assert source.wait(DEADLINE, queue.fd) == native.WAKE_OTHER
        assert queue.next() == (signal.SIGUSR1, os.getpid(), False)
        assert queue.next() is None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        queue.close()


def refusals():
    for how in ({"interval": 0}, {"interval": -1}, {"interval": 1, "batch": 0}):
        assert failure_of(native.Sampler, **how).errno == errno.EINVAL


def facts():
    usage = native.own_usage()
    assert usage.cpu > 0
    assert usage.rss_peak > 1 << 20
    assert native.backend() == "linux"
    assert native.build_date()
    assert native.build_target()
    assert native.now() <= native.now()


def close_while_sampling():
    """Closes at any moment, with and without a reader in another thread."""
    pid = spawn(["sleep", str(DEADLINE)])
    try:
        for number in range(50):
            source = native.Sampler(MS, batch=MS)
            source.start(pid)
            if number % 2:
                thread = threading.Thread(target=lambda s=source: (s.wait(DEADLINE), s.read()))
                thread.start()
                thread.join()
            source.close()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main() -> None:
    expected = os.environ.get("EXTENSION_UNDER_TEST")
    if expected:
        found = sys.modules["memwatch.runner._native"].__file__
        assert os.path.dirname(found) == expected, found
    globals()[sys.argv[1]]()


if __name__ == "__main__":
    main()
