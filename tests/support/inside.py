"""Python source for programs inside or beside a job that must wait for ticks themselves."""

TICKS = """
import os, time

def sleeps(pid):
    'Returns how often the sampling thread of a process has gone to sleep; -1 without one.'
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            if open(f"/proc/{pid}/task/{task}/comm").read() == "memwatch-tick\\n":
                status = open(f"/proc/{pid}/task/{task}/status").read()
                return int(status.split("\\nvoluntary_ctxt_switches:")[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass  # another thread, which has ended meanwhile
    return -1

def wait_until(condition):
    deadline = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)

def wait_for_ticks(pid, interval, count=5):
    'Waits for ticks of this memwatch, like Watch.ticks() in support/command.py.'
    wait_until(lambda: sleeps(pid) >= 0)
    for _ in range(count):
        time.sleep(interval)
        first = sleeps(pid)
        wait_until(lambda: sleeps(pid) > first + 1)
"""
"""Defines wait_for_ticks(PID, SECONDS); PID is os.getppid() in the command that memwatch runs."""
