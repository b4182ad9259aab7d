"""Tests of memwatch.run within a program: it restores what it changes and takes nothing."""

import json
import subprocess
import sys

import pytest

from support.inside import TICKS

# Each script runs in a separate process, after this.
PRELUDE = """
import ctypes, json, os, resource, signal, subprocess, sys, threading, time
import memwatch

prctl = ctypes.CDLL(None).prctl

def is_subreaper():
    value = ctypes.c_int()
    prctl(37, ctypes.byref(value))
    return value.value

def state():
    '''Everything of this process that memwatch.run() could leave changed.'''
    return {
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "handlers": {int(n): str(signal.getsignal(n)) for n in signal.valid_signals()},
        "wakeup": signal.set_wakeup_fd(-1),
        "subreaper": is_subreaper(),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "slack": open("/proc/self/timerslack_ns").read(),
        "name": open("/proc/self/comm").read(),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
    }

def pids(profile):
    return [process.pid for process in profile.processes]

def ticks():
    wait_for_ticks(os.getpid(), INTERVAL)

def in_thread(call):
    '''The same, not in the main thread.'''
    result = []
    def run():
        try:
            result.append(call())
        except BaseException as error:
            result.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]

INTERVAL = 0.002

# A job that runs until the gate is opened.
gate, opener = os.pipe()
def job():
    return memwatch.run(["cat", f"/dev/fd/{gate}"], interval=INTERVAL)
os.set_inheritable(gate, True)

def send(**facts):
    print(json.dumps(facts), flush=True)
"""


@pytest.fixture
def facts(memwatch):
    """Runs a script that calls send(...) and returns what it sent."""

    def run(script):
        argv = [*memwatch.user.prefix, sys.executable, "-c", TICKS + PRELUDE + script]
        result = memwatch.popen(argv, stdin=subprocess.DEVNULL).end()
        assert result.code == 0, result.text
        return json.loads(result.out)

    return run


CALLS = {
    "it runs": "memwatch.run(['true'])",
    "it fails": "memwatch.run(['sh', '-c', 'exit 3'])",
    "it is killed": "memwatch.run(['sh', '-c', 'kill -KILL $$'])",
    "it is missing": "memwatch.run(['/nowhere/at/all'])",
    "no command": "memwatch.run([])",
    "bad interval": "memwatch.run(['true'], interval=-1)",
    "bad environment": "memwatch.run(['true'], env={'A': 1})",
    "bad descriptor": "memwatch.run(['true'], stdout=9999)",
    "many processes": "memwatch.run(['sh', '-c', '(sleep 0 &); (sleep 0 &); wait'])",
}


@pytest.mark.both_users
@pytest.mark.parametrize("call", CALLS)
def test_everything_is_restored(facts, call):
    """Runs in the main thread and in another, with various settings before."""
    sent = facts(f"""
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
different = []
for subreaper in (0, 1):
    prctl(36, subreaper)
    for way in (lambda call: call(), in_thread):
        before = state()
        try:
            way(lambda: {CALLS[call]})
        except (OSError, ValueError, TypeError):
            pass
        # A thread that was joined is listed for a moment more.
        wait_until(lambda: len(os.listdir("/proc/self/task")) == before["threads"])
        after = state()
        different += [(key, before[key], after[key]) for key in before if before[key] != after[key]]
send(different=different)
""")
    assert sent["different"] == []


def test_profile(facts):
    sent = facts("""
profile = memwatch.run(["sh", "-c", "exit 3"], interval=0.01, timeline=True)
send(code=profile.exit_code, signal=profile.signal, status=profile.exit_status,
     command=profile.command, interval=profile.sampling.interval,
     ticks=[profile.sampling.ticks, len(profile.timeline.times)],
     commands=[process.command for process in profile.processes])
""")
    assert sent["code"] == 3
    assert sent["signal"] is None
    assert sent["status"] == 3 << 8
    assert sent["command"] == ["sh", "-c", "exit 3"]
    assert sent["interval"] == 10_000_000
    assert sent["ticks"][0] == sent["ticks"][1]
    assert sent["commands"] == ["sh"]


def test_streams_and_environment_of_the_command(facts):
    sent = facts("""
reader, writer = os.pipe()
profile = memwatch.run(["sh", "-c", "echo out $X; echo err >&2"], env={"X": "1"},
                       stdout=writer, stderr=writer)
os.close(writer)
send(output=os.read(reader, 100).decode(), code=profile.exit_code)
""")
    assert sent == {"output": "out 1\nerr\n", "code": 0}


@pytest.mark.parametrize("call", ["memwatch.run([])", "memwatch.run(())"])
def test_empty_command(facts, call):
    assert facts(ERROR_OF.format(call=call)) == {"error": "ValueError"}


@pytest.mark.parametrize(
    "interval", ["0", "-1", "1e-10", "float('nan')", "float('inf')", "'0'", "'soon'", "'0.5'", "1"]
)
@pytest.mark.parametrize("name", ["interval", "burst"])
def test_bad_interval(facts, name, interval):
    if name == "burst" and interval in ("0", "'0'", "1e-10"):
        pytest.skip("a burst may be that short")
    call = f"memwatch.run(['true'], {name}={interval})"
    assert facts(ERROR_OF.format(call=call)) == {"error": "ValueError"}


def test_an_interval_as_on_the_command_line(facts):
    """A number from 1 on would be seconds here and milliseconds there, so it is refused."""
    sent = facts("""
intervals = []
for interval in ("10ms", "10", "1s", 0.01):
    profile = memwatch.run(["true"], interval=interval, burst="5ms")
    intervals.append(profile.sampling.interval)
errors = []
for interval in (10, 1.0, "0.5"):
    try:
        memwatch.run(["touch", "ran"], interval=interval)
    except ValueError as error:
        errors.append(str(error))
send(intervals=intervals, errors=errors, ran=os.path.exists("ran"))
""")
    assert sent["intervals"] == [10_000_000, 10_000_000, 1_000_000_000, 10_000_000]
    assert sent["errors"] == [
        "the interval is 10: a number is seconds and must be below 1; write '10ms' or '10s'",
        "the interval is 1.0: a number is seconds and must be below 1; write '1.0ms' or '1.0s'",
        "the interval '0.5' has no unit: write 0.5ms or 0.5s",
    ]
    assert not sent["ran"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("['/nowhere/at/all']", "FileNotFoundError"),
        ("['no-such-command-here']", "FileNotFoundError"),
        ("['/']", "PermissionError"),
        ("['true\\0false']", "ValueError"),
    ],
)
def test_command_that_cannot_be_started(facts, command, error):
    assert facts(ERROR_OF.format(call=f"memwatch.run({command}, env={{}})")) == {"error": error}


ERROR_OF = """
os.environ["PATH"] = os.defpath
try:
    {call}
except Exception as error:
    send(error=type(error).__name__)
"""


def test_from_another_thread(facts):
    """Signal handlers stay with the main thread, which may use them itself."""
    sent = facts("""
taken = []
signal.signal(signal.SIGUSR1, lambda number, frame: taken.append(number))
done = []
thread = threading.Thread(target=lambda: done.append(job()))
thread.start()
ticks()
os.kill(os.getpid(), signal.SIGUSR1)
wait_until(lambda: taken)
os.close(opener)
thread.join()
send(taken=taken, code=done[0].exit_code, count=len(done[0].processes))
""")
    assert sent == {"taken": [10], "code": 0, "count": 1}


def test_signals_of_the_main_thread_go_to_the_command(facts):
    """They do not go to the caller's handlers, neither then nor later."""
    sent = facts("""
taken = []
signal.signal(signal.SIGTERM, lambda number, frame: taken.append(number))
def interrupt():
    # A signal goes to any thread that takes it: not this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    ticks()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=interrupt).start()
profile = job()
send(taken=taken, signal=profile.signal)
""")
    assert sent == {"taken": [], "signal": 15}


@pytest.mark.parametrize("where", ["job()", "in_thread(job)"], ids=["main", "other"])
def test_children_of_the_caller_are_not_the_jobs(facts, where):
    """One child runs, and one has ended but was not waited for yet."""
    sent = facts(f"""
import atexit
running = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
ended = subprocess.Popen(["sh", "-c", "exit 7"])
os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
def open_gate():
    ticks()
    running.stdin.close()  # one that ends meanwhile
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
    ticks()
    os.close(opener)
threading.Thread(target=open_gate).start()
profile = {where}
send(count=len(profile.processes), codes=[running.wait(), ended.wait()])
""")
    assert sent == {"count": 1, "codes": [0, 7]}


MEANWHILE = """
children = []
def start_child():
    ticks()
    children.append(subprocess.Popen(["sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE))
{start}
send(mine=[child.pid in pids(profile) for child in children], codes=codes)
"""


def test_child_that_another_thread_starts_meanwhile(facts):
    sent = facts(
        MEANWHILE.format(
            start="""
codes = []
def other():
    start_child()
    ticks()
    children[0].stdin.close()
    codes.append(children[0].wait())
    ticks()
    os.close(opener)
threading.Thread(target=other).start()
profile = job()
"""
        )
    )
    assert sent == {"mine": [False], "codes": [7]}


def test_child_that_the_main_thread_starts_meanwhile(facts):
    sent = facts(
        MEANWHILE.format(
            start="""
done = []
thread = threading.Thread(target=lambda: done.append(job()))
thread.start()
start_child()
ticks()
children[0].stdin.close()
wait_until(lambda: not os.path.exists(f"/proc/{children[0].pid}/fd/0"))
ticks()
codes = [children[0].wait()]
os.close(opener)
thread.join()
profile = done[0]
"""
        )
    )
    # It cannot be distinguished from an orphan of the job, but the caller gets its exit status.
    assert sent["codes"] == [7]


def test_child_of_a_thread_that_has_ended_meanwhile(facts):
    sent = facts(
        MEANWHILE.format(
            start="""
starter = threading.Thread(target=start_child)
starter.start()
def other():
    starter.join()
    ticks()
    os.close(opener)
threading.Thread(target=other).start()
profile = job()
children[0].stdin.close()
codes = [children[0].wait()]
"""
        )
    )
    # It cannot be distinguished from an orphan of the job, but the caller gets its exit status.
    assert sent["codes"] == [7]


def test_many_runs_leak_nothing(facts):
    sent = facts("""
memwatch.run(["true"])
before = state()
rss = lambda: int(open("/proc/self/statm").read().split()[1])
for _ in range(10):
    memwatch.run(["true"], interval=0.001)
first = rss()
for _ in range(50):
    memwatch.run(["true"], interval=0.001)
wait_until(lambda: len(os.listdir("/proc/self/task")) == before["threads"])
send(same=state() == before, grown=rss() - first)
""")
    assert sent["same"] is True
    # One sampler has buffers of over 100 pages: fifty of them would be visible.
    assert sent["grown"] < 1000


def test_one_run_at_a_time(facts):
    """Two at a time could not know to which job an orphan belongs."""
    sent = facts("""
refused = []
def second():
    ticks()
    try:
        memwatch.run(["true"])
    except RuntimeError as error:
        refused.append(str(error))
    os.close(opener)
threading.Thread(target=second).start()
profile = job()
send(refused=refused, code=profile.exit_code, again=memwatch.run(["true"]).exit_code)
""")
    assert sent["refused"] == ["another memwatch.run() is under way in this process"]
    assert (sent["code"], sent["again"]) == (0, 0)
