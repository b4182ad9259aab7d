"""Contains jobs whose need for memory is known: each runs one of them, and writes down its need.

python benchmarks/known_needs.py NAME SECONDS FOLDER SHM

SECONDS is how long the job keeps what it holds. FOLDER gets `need.json`, and has the file that the
job `file` reads. SHM is an empty folder in a tmpfs, for files there.

The need is the memory that the kernel cannot simply drop, each page once: anonymous memory, shared
memory (with files in a tmpfs), swap and huge pages. It has two parts. What a job touches on purpose
is known from its source. What Python needs besides is not, so the job counts both while all its
processes hold still: the kernel divides each anonymous page among the processes that share it
(`Pss_Anon`), and a file in a tmpfs has as many blocks as it holds.

Only the standard library is used, and each job imports only what it needs.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from io import FileIO
    from multiprocessing.shared_memory import SharedMemory

MIB = 1 << 20
PAGE = mmap.PAGESIZE
MAP_HUGETLB = 0x40000
"""Linux's value on x86, arm64 and most others; Python's mmap does not have it."""
COUNTED = ("Pss_Anon", "SwapPss", "Private_Hugetlb", "Shared_Hugetlb")
"""Fields of smaps_rollup that are part of the need. Here no process shares huge pages."""

_CHUNK = b"\1" * MIB


class Job:
    """What a job is given, and what it finds out about itself."""

    def __init__(self, seconds: float, folder: Path, shm: Path) -> None:
        self.seconds = seconds
        self.folder = folder
        self.shm = shm
        self.need_kib = 0
        self.touched_kib = 0

    def wait(self, part: float = 1) -> None:
        """Keeps what it holds for a part of its time."""
        time.sleep(part * self.seconds)

    def count(
        self,
        touched_mib: int,
        *,
        files: Iterable[int] = (),
        more: Iterable[int] = (),
        later: int = 0,
    ) -> None:
        """Counts what all processes hold now, and keeps the highest count.

        `touched_mib` is what the job has touched on purpose. `files` are descriptors of files in a
        tmpfs, and `more` the pids of processes that are no descendants any more. `later` are the
        MiB of `touched_mib` that will be touched only after this, without any other change.
        """
        processes = [*descendants(os.getpid()), *more]
        need = sum(map(counted_kib, processes)) + later * 1024
        need += sum(os.fstat(file).st_blocks // 2 for file in files)
        if need > self.need_kib:
            self.need_kib, self.touched_kib = need, touched_mib * 1024


def descendants(pid: int) -> Iterator[int]:
    """Gives a process and all below it."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from descendants(int(child))


def counted_kib(pid: int) -> int:
    """Returns the share of a process in the memory that is needed, except shared memory.

    Raises ValueError where the kernel does not tell it (before Linux 5.4).
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines[1:])
    if missing := set(COUNTED) - set(fields):
        raise ValueError(f"smaps_rollup has no {', '.join(sorted(missing))}")
    return sum(int(fields[name].split()[0]) for name in COUNTED)


def reserve(mib: int, flags: int = 0) -> mmap.mmap:
    """Returns private memory of which no page is touched."""
    return mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags)


def write(memory: mmap.mmap | memoryview, mib: int, start: int = 0) -> None:
    """Writes to every page of `mib` MiB from `start` on."""
    for place in range(start, start + mib):
        memory[place * MIB : (place + 1) * MIB] = _CHUNK


def touch(mib: int, flags: int = 0) -> mmap.mmap:
    """Returns private memory of which every page is written."""
    memory = reserve(mib, flags)
    write(memory, mib)
    return memory


def read(memory: mmap.mmap | memoryview) -> None:
    """Reads a byte of every page."""
    with memoryview(memory) as view, view[::PAGE] as firsts:
        for _ in firsts:
            pass


@contextmanager
def workers(number: int, work: Callable[[int], object]) -> Iterator[None]:
    """Forks workers. They have done their work in here, and keep its result until the end."""
    done, go = os.pipe(), os.pipe()
    pids = []
    for index in range(number):
        if not (pid := os.fork()):
            _be_worker(lambda index=index: work(index), done[1], go)
        pids.append(pid)
    os.close(done[1])
    for _ in pids:
        if not os.read(done[0], 1):
            raise RuntimeError("a worker failed")
    yield
    os.close(go[1])
    for pid in pids:
        os.waitpid(pid, 0)


def _be_worker(work: Callable[[], object], done: int, go: tuple[int, int]) -> None:
    try:
        os.close(go[1])
        result = work()
        os.write(done, b".")
        os.read(go[0], 1)
        del result
        os._exit(0)
    finally:
        os._exit(1)


# The jobs -----------------------------------------------------------------------------------------


def pool(job: Job) -> None:
    import multiprocessing

    memory = touch(300)
    with multiprocessing.get_context("fork").Pool(4, read, (memory,)) as four:
        four.map(abs, range(100))
        job.count(300)
        job.wait()
        four.close()
        four.join()


def parent_and_workers(job: Job) -> None:
    memory = touch(400)
    with workers(8, lambda _: (read(memory), touch(20))):
        job.count(560)
        job.wait()


def shared_memory(job: Job) -> None:
    from multiprocessing.shared_memory import SharedMemory

    shared = _shared_memory(job, 200)
    try:

        def attach(_: int) -> SharedMemory:
            mine = SharedMemory(shared.name)
            read(mine.buf)
            return mine

        with workers(4, attach):
            job.count(200, files=[shared._fd])
            job.wait()
    finally:
        shared.close()
        shared.unlink()


def attach_and_detach(job: Job) -> None:
    from multiprocessing.shared_memory import SharedMemory

    shared = _shared_memory(job, 200)
    end = time.monotonic() + job.seconds
    try:

        def attach_often(_: int) -> None:
            while time.monotonic() < end:
                mine = SharedMemory(shared.name)
                read(mine.buf)
                mine.close()

        with workers(5, attach_often):
            job.count(200, files=[shared._fd])
    finally:
        shared.close()
        shared.unlink()


def _shared_memory(job: Job, mib: int) -> SharedMemory:
    """Returns new shared memory, written, with a name that is the job's own."""
    from multiprocessing.shared_memory import SharedMemory

    shared = SharedMemory(f"{job.shm.name}-array", create=True, size=mib * MIB)
    write(shared.buf, mib)
    return shared


def mapped_file(job: Job) -> None:
    with (job.folder / "file").open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    read(memory)
    job.count(0)
    job.wait()


def tmpfs_file(job: Job) -> None:
    with _tmpfs_file(job, 500) as file:
        job.count(500, files=[file.fileno()])
        job.wait()


@contextmanager
def _tmpfs_file(job: Job, mib: int) -> Iterator[FileIO]:
    """Gives a file of the tmpfs with this size, and removes it."""
    path = job.shm / "data"
    try:
        with path.open("w+b", buffering=0) as file:
            for _ in range(mib):
                file.write(_CHUNK)
            yield file
    finally:
        path.unlink(missing_ok=True)


def huge_pages(job: Job) -> None:
    memory = touch(200, MAP_HUGETLB)
    job.count(200)
    job.wait()
    memory.close()


def spike(job: Job) -> None:
    job.count(600, later=600)
    job.wait(0.5)
    touch(600).close()
    job.wait(0.5)


def memmap(job: Job) -> None:
    """Does what joblib does with a large argument: a dump in a tmpfs, which the workers map."""
    import subprocess

    array = touch(150)
    code = (
        "import mmap, sys; file = open(sys.argv[1], 'rb');"
        f"memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); sum(memory[::{PAGE}]);"
        "print(flush=True); input()"
    )
    with _tmpfs_file(job, 150) as file:
        command = [sys.executable, "-I", "-S", "-c", code, file.name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        four = [subprocess.Popen(command, **pipes) for _ in range(4)]
        for each in four:
            each.stdout.readline()
        job.count(300, files=[file.fileno()])
        job.wait()
        for each in four:
            each.communicate(b"\n")
    array.close()


def huge_child(job: Job) -> None:
    """A forked child grows by transparent huge pages: one fault for each 2 MiB."""
    memory = touch(50)

    def grow(_: int) -> mmap.mmap:
        huge = reserve(200)
        huge.madvise(mmap.MADV_HUGEPAGE)
        write(huge, 200)
        return huge

    with workers(1, grow):
        job.count(250)
        job.wait()
    memory.close()


def reserved(job: Job) -> None:
    memory = reserve(1024)
    write(memory, 30)
    # Each worker reserves as much again.
    with workers(2, lambda _: (write(memory, 30, 30), reserve(1024))):
        job.count(90)
        job.wait()


def relay(job: Job) -> None:
    """Each worker forks its successor and ends; the successor inherits its memory and adds some."""
    pids, go = os.pipe(), os.pipe()
    number = 8
    if not (first := os.fork()):
        os.close(go[1])
        held = [touch(200)]
        for _ in range(number):
            job.wait(0.5 / number)
            _fork_and_end()
            held.append(touch(5))
        os.write(pids[1], b"%d" % os.getpid())
        os.read(go[0], 1)
        os._exit(0)
    os.close(pids[1])
    os.waitpid(first, 0)
    last = int(os.read(pids[0], 20))
    job.count(200 + number * 5, more=[last])
    job.wait(0.5)
    os.close(go[1])
    # The last worker is no child of this process: its end closes the pipe.
    os.read(pids[0], 1)


def _fork_and_end() -> None:
    """Ends this process and goes on in a child of it, once the memory is the child's alone."""
    before = os.getpid()
    if os.fork():
        os._exit(0)
    # The kernel gives the child another parent only after it has taken the memory from this one.
    while os.getppid() == before:
        time.sleep(0.001)


def rewrite(percent: int) -> Callable[[Job], None]:
    """Returns a job whose workers rewrite this part of what they share with their parent."""

    def run(job: Job) -> None:
        memory, part = touch(300), 300 * percent // 100
        with workers(6, lambda _: write(memory, part)):
            job.count(300 + 6 * part)
            job.wait()

    return run


def mixed(job: Job) -> None:
    memory = touch(100)
    shared = _shared_memory(job, 100)
    try:

        def work(_: int) -> mmap.mmap:
            read(shared.buf)
            write(memory, 25)
            return touch(10)

        with workers(4, work):
            job.count(100 + 100 + 4 * (25 + 10), files=[shared._fd])
            job.wait()
    finally:
        shared.close()
        shared.unlink()


def give_back(job: Job) -> None:
    memory = touch(400)
    job.count(400)
    job.wait(0.5)
    memory.madvise(mmap.MADV_DONTNEED, 50 * MIB, 350 * MIB)
    with workers(4, lambda _: touch(50)):
        job.count(250)
        job.wait(0.5)


def spawner(job: Job) -> None:
    """A large process that starts one short command after the other by vfork."""
    memory = touch(300)
    job.count(300)
    end = time.monotonic() + job.seconds
    while time.monotonic() < end:
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        time.sleep(0.005)
    memory.close()


class Known(NamedTuple):
    run: Callable[[Job], None]
    title: str
    seconds: float
    """How long it keeps what it holds, unless asked otherwise."""
    part_of: str = ""
    """Jobs with the same word here are counted as one."""


JOBS = {
    "pool": Known(pool, "Pool of 4 forked from 300 MiB", 0.6),
    "workers": Known(parent_and_workers, "400 MiB, 8 workers of 20", 3),
    "shared": Known(shared_memory, "shared_memory, 200 MiB × 5", 0.6),
    "attach": Known(attach_and_detach, "five attach and detach 200 MiB", 5),
    "file": Known(mapped_file, "1 GiB file, mapped and read", 0.5),
    "tmpfs": Known(tmpfs_file, "500 MiB written to /dev/shm", 0.5),
    "hugetlb": Known(huge_pages, "200 MiB of MAP_HUGETLB", 0.5),
    "spike": Known(spike, "a spike of 600 MiB", 0.5),
    "memmap": Known(memmap, "150 MiB dumped, 4 workers map it", 0.5),
    "thp": Known(huge_child, "child grows 200 MiB by huge pages", 0.5),
    "reserved": Known(reserved, "3 GiB reserved, 90 MiB touched", 0.5),
    "relay": Known(relay, "relay of 8 workers, 240 MiB", 1),
    "cow10": Known(rewrite(10), "6 workers rewrite 10 % of 300", 0.5, "cow"),
    "cow50": Known(rewrite(50), "6 workers rewrite 50 % of 300", 0.5, "cow"),
    "cow100": Known(rewrite(100), "6 workers rewrite 100 % of 300", 0.5, "cow"),
    "mixed": Known(mixed, "100 MiB forked, 100 shared", 0.5),
    "back": Known(give_back, "400 MiB, 350 given back, 4 × 50", 1),
    "vfork": Known(spawner, "300 MiB that spawns commands", 1),
}


def main() -> None:
    name, seconds, folder, shm = sys.argv[1:]
    job = Job(float(seconds), Path(folder), Path(shm))
    JOBS[name].run(job)
    need = {"need_kib": job.need_kib, "touched_kib": job.touched_kib}
    (job.folder / "need.json").write_text(json.dumps(need))


if __name__ == "__main__":
    main()
