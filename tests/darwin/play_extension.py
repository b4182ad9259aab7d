"""Plays a scripted job through the extension in Python; test_darwin_run.py runs it."""

from memwatch.model.job import Job
from memwatch.runner import native
from memwatch.runner._native import lib

MS = 1_000_000
MIB = 1 << 20

lib.fake_reset()
script = b"""me 50 501
start 50 1 memwatch
start 100 50 make make
at 10
fork 100 101
exec 101 /usr/bin/cc cc a.c
set 101 rss 30M footprint 20M
at 20
set 101 footprint 64M
exit 101
at 30
exit 100 512
"""
assert lib.fake_script(script) == 0
assert native.backend() == "darwin"
sampler = native.Sampler(
    10 * MS, adopter_pid=50, has_other_children=False, sources=16, max_descriptors=9
)
job = Job()
for time in (5, 15, 25, 35, 45, 55):
    lib.fake_advance(time * MS)
    sampler.tick(100, time * MS)
    job.apply(sampler.read())
assert not sampler.stats().error
assert {row.pid for row in native.scan()} >= {1, 50}
sampler.close()
assert lib.fake_kqueues() == 0
assert job.root_status == 512
assert job.max_total == 30 * MIB + 16384
job.finish(512)
assert {(each.pid, each.command) for each in job.processes} == {(100, "make"), (101, "cc")}
