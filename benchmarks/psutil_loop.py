"""Samples a job like floor.c, but with psutil, in the way its documentation suggests.

python psutil_loop.py INTERVAL_NS SECONDS ROOT_PID

Prints the number of ticks and the CPU time of the loop alone, as JSON.
"""

import json
import sys
import time

import psutil


def tick(root: psutil.Process) -> tuple[int, int]:
    total = processes = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        processes += 1
    return total, processes


def main() -> None:
    interval, seconds, pid = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    root = psutil.Process(pid)
    _, processes = tick(root)
    ticks = 0
    start = time.monotonic_ns()
    deadline = start + interval
    cpu = time.thread_time_ns()
    while True:
        now = time.monotonic_ns()
        if now - start >= seconds * 1e9:
            break
        if now >= deadline:  # it has passed: skip to the next one
            deadline += ((now - deadline) // interval + 1) * interval
        time.sleep((deadline - now) / 1e9)
        tick(root)
        ticks += 1
        deadline += interval
    cpu = time.thread_time_ns() - cpu
    print(json.dumps({"processes": processes, "ticks": ticks, "cpu_ns": cpu}))


main()
