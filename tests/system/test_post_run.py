"""Tests of `memwatch run --post-run-cmd`: its input, when it runs, and its failures."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import tempfile
from dataclasses import replace

import pytest

from memwatch.commands.shared import post_run
from memwatch.commands.shared.post_run import PostRun
from memwatch.model.job import Job
from memwatch.model.memory_limit import MemoryLimit
from memwatch.model.profile import Beginning, Clock, Ending, Overhead, from_job
from memwatch.model.totals import PssPeak
from memwatch.runner.launcher import Launcher
from support.waiting import wait_until

HOOK = "--post-run-cmd"
CTRL_C = b"\x03"

# The variables in its environment, except the path itself.
FIGURES = {
    *("EXIT_CODE", "DURATION_SECONDS", "SAMPLES", "PROCESS_COUNT"),
    *("MAX_TOTAL_RSS_KIB", "MAX_TOTAL_PSS_KIB", "MAX_PROCESS_RSS_KIB"),
}

# A job without samples.
PROFILE = from_job(
    Job(),
    Beginning(("true",), Clock(0, 0), 0, 1),
    Ending(1_500_000_000, None, Overhead(None, None), MemoryLimit(*(None,) * 6)),
)


def figures(text: str) -> dict[str, str]:
    found = re.findall(r"^MEMWATCH_RESULT_(\w+)=(.*)$", text, re.MULTILINE)
    return dict(found)


def leftovers(memwatch):
    return list(memwatch.room.glob("memwatch-*"))


@pytest.mark.both_users
def test_the_hook_gets_the_json_and_the_figures(memwatch, burner):
    hook = "cp {} copy.json; cp $MEMWATCH_RESULT second.json; env > env"
    watch = memwatch.start(
        *("run", "-i", "5", "--pss", "always", HOOK, hook),
        *("--", burner, "touch", "20", "mark", "root", "gate", "exit", "3"),
    )
    watch.mark("root")
    watch.ticks()
    result = watch.end()
    assert result.code == 3
    assert result.out == b""
    copy = json.loads((memwatch.room / "copy.json").read_text())
    assert copy == json.loads((memwatch.room / "second.json").read_text())
    largest = copy["processes"][0]["max_rss_kib"]
    assert largest >= 20 * 1024
    variables = figures((memwatch.room / "env").read_text())
    # PSS is only there if it was measured at the peak, which depends on timing.
    pss = variables.pop("MAX_TOTAL_PSS_KIB", None)
    assert pss in (None, str(copy["max_total_pss_kib"]))
    keys = {name: name.lower() for name in FIGURES - {"MAX_PROCESS_RSS_KIB", "MAX_TOTAL_PSS_KIB"}}
    known = {name: str(copy[key]) for name, key in keys.items() if copy[key] is not None}
    assert variables == known | {"MAX_PROCESS_RSS_KIB": str(largest)}
    assert variables["EXIT_CODE"] == "3"
    assert leftovers(memwatch) == []


def test_the_hook_runs_after_the_report(memwatch):
    result = memwatch.run("run", HOOK, "echo the hook; echo of it >&2", "--", "echo", "the job")
    assert result.code == 0
    assert result.out == b"the job\nthe hook\n"
    assert result.text.splitlines()[-1] == "of it"
    assert "Job: echo 'the job'" in result.text


def test_unknown_figures_are_left_out():
    assert post_run.figures(PROFILE, None) == {
        "MEMWATCH_RESULT_DURATION_SECONDS": "1.5",
        "MEMWATCH_RESULT_SAMPLES": "0",
        "MEMWATCH_RESULT_PROCESS_COUNT": "0",
    }


def test_a_pss_that_was_not_measured_at_the_peak_is_left_out():
    pss = PssPeak(8 << 20, 0, 10 << 20, 0)
    profile = replace(PROFILE, max_total_rss=10 << 20)
    for peak, there in ((pss, True), (pss._replace(unread=1), False), (pss._replace(rss=1), False)):
        found = post_run.figures(replace(profile, max_total_pss=peak), None)
        assert ("MEMWATCH_RESULT_MAX_TOTAL_PSS_KIB" in found) == there


def test_variables_of_another_memwatchs_hook_are_not_passed_on(memwatch):
    env = {"MEMWATCH_RESULT": "/theirs", "MEMWATCH_RESULT_MAX_TOTAL_PSS_KIB": "1"}
    result = memwatch.run("run", "--pss", "off", "--quiet", HOOK, "env", "--", "true", env=env)
    assert "MAX_TOTAL_PSS_KIB" not in figures(result.out.decode())
    assert b"/theirs" not in result.out


def test_the_hook_gets_the_signal_and_the_leaks(memwatch):
    result = memwatch.run("run", "--leaks", "--quiet", HOOK, "env", "--", "sh", "-c", "kill -9 $$")
    assert result.code == 137
    variables = figures(result.out.decode())
    assert variables["SIGNAL"] == "9"
    assert variables["EXIT_CODE"] == "137"
    assert variables["LEAKS"] == "0"


def test_the_hook_gets_the_limit_that_ended_the_job(memwatch, burner):
    result = memwatch.run(
        *("run", "-i", "5", "--max-total-rss", "10M", "--quiet", HOOK, "env; false"),
        *("--post-run-strict", "--fail-on-leak", "--", burner, "touch", "20", "gate"),
    )
    assert result.code == 10
    assert figures(result.out.decode())["LIMIT"] == "max_total_rss"


def test_the_hook_has_the_users_environment(memwatch):
    result = memwatch.run(
        "run", "--quiet", HOOK, 'echo "$HELLO"', "--", "true", env={"HELLO": "it's me"}
    )
    assert result.out == b"it's me\n"


def test_the_path_is_quoted(memwatch):
    """It may contain blanks and shell syntax."""
    folder = memwatch.room / "a b;$(touch oops)'\"{}"
    folder.mkdir()
    os.chmod(folder, 0o777)
    result = memwatch.run(
        *("run", "--quiet", HOOK, 'cat {} && test {} = "$MEMWATCH_RESULT"', "--post-run-strict"),
        *("--", "true"),
        env={"TMPDIR": str(folder)},
    )
    assert result.code == 0, result.text
    assert result.json["command"] == ["true"]
    assert not (memwatch.room / "oops").exists()
    assert list(folder.iterdir()) == []


def test_with_json_stdout_is_json(memwatch):
    result = memwatch.run("run", "--json", HOOK, "cat {}; echo and more", "--", "echo", "the job")
    assert result.code == 0
    assert result.json["command"] == ["echo", "the job"]
    assert result.err == b"the job\n" + result.out + b"and more\n"


def test_the_json_is_filtered(memwatch):
    """It is the same as with --json."""
    result = memwatch.run("run", "--quiet", "--exclude", "true", HOOK, "cat {}", "--", "true")
    assert result.json["processes"] == []
    assert result.json["filtered_process_count"] == 1


@pytest.mark.parametrize(
    ("hook", "how"),
    [
        ("exit 7", "failed: exit code 7"),
        ("kill -TERM $$", "was killed by SIGTERM"),
        ("no-such-program 2> /dev/null", "failed: exit code 127"),
    ],
)
def test_failure_is_a_warning(memwatch, hook, how):
    result = memwatch.run("run", "--quiet", HOOK, hook, "--", "true")
    assert result.code == 0
    assert result.one_line() == f"memwatch: the post-run command {how}"
    assert leftovers(memwatch) == []


@pytest.mark.parametrize(
    ("command", "hook", "code"),
    [("exit 0", "false", 1), ("exit 4", "false", 4), ("exit 0", "true", 0), ("exit 4", "true", 4)],
)
def test_strict(memwatch, command, hook, code):
    result = memwatch.run(
        "run", "--quiet", HOOK, hook, "--post-run-strict", "--", "sh", "-c", command
    )
    assert result.code == code
    assert bool(result.err) == (hook == "false")


def test_no_hook_without_a_job(memwatch):
    result = memwatch.run("run", HOOK, "touch ran", "--", "/no/such/command")
    assert result.code == 1
    result.one_line()
    assert not (memwatch.room / "ran").exists()


def test_empty_command(memwatch):
    result = memwatch.run("run", HOOK, " ", "--", "touch", "ran")
    assert result.code == 1
    assert "the command is empty" in result.one_line()
    assert not (memwatch.room / "ran").exists()


def test_no_room_for_the_json(tmp_path, monkeypatch, capfd):
    """The hook does not run: there is no file to give it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fill(out):
        out.write("{")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Launcher() as launcher, PostRun("touch ran") as hook:
        assert hook.keep(fill) is None
        assert hook.run(launcher, PROFILE, None, stdout=-1) is False
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == (
        "memwatch: the post-run command was not run: its JSON could not be written: "
        "No space left on device\n"
    )


def test_the_hook_has_default_signal_handlers(memwatch):
    hook = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    result = memwatch.run("run", "--quiet", HOOK, hook, "--", "true")
    assert re.fullmatch(rb"(Sig\w+:\t0+\n){2}", result.out)


def test_signal_is_forwarded_to_the_hook(memwatch):
    """The exit code is still the command's."""
    hook = "trap 'echo taken; exit 0' TERM; touch waits; while :; do sleep 0.02; done"
    watch = memwatch.start("run", "--quiet", HOOK, hook, "--", "sh", "-c", "exit 6")
    wait_until((memwatch.room / "waits").exists, "the hook")
    os.kill(watch.pid, signal.SIGTERM)
    result = watch.end()
    assert result.code == 6
    assert result.out == b"taken\n"
    assert result.err == b""


def test_stdin_is_available_to_the_hook(memwatch):
    result = memwatch.run("run", "--quiet", HOOK, "read a; echo $a", "--", "true", stdin=b"line\n")
    assert result.out == b"line\n"


def test_processes_left_by_the_hook_do_not_delay_memwatch(memwatch):
    hook = "(until test -e go; do sleep 0.02; done; touch gone) & echo done"
    result = memwatch.run("run", "--quiet", HOOK, hook, "--", "true")
    assert result.code == 0
    assert result.out == b"done\n"
    (memwatch.room / "go").touch()
    wait_until((memwatch.room / "gone").exists, "the end of the process left behind")


# -- At a terminal -------------------------------------------------------------------------------


def test_at_a_terminal(terminal, memwatch):
    hook = "test -t 0 && test -t 1 && echo at $((40 + 2)); echo type:; read a; echo got $a"
    screen = terminal(memwatch.argv("run", HOOK, hook, "--", "true"))
    screen.expect(b"type:")
    screen.type(b"word\r")
    screen.expect(b"got word")
    assert screen.end() == 0
    assert b"at 42" in screen.shown


@pytest.mark.parametrize("strict", [False, True])
def test_ctrl_c_ends_the_hook(terminal, memwatch, strict):
    hook = "echo ready; exec sleep 1000"
    options = ["--post-run-strict"] if strict else []
    argv = memwatch.argv("run", "--quiet", HOOK, hook, *options, "--", "sh", "-c", "exit 5")
    screen = terminal(argv)
    screen.expect(b"ready")
    screen.type(CTRL_C)
    assert screen.end() == 5
    assert any("the post-run command was killed by SIGINT" in line for line in screen.lines())
    assert leftovers(memwatch) == []


def test_after_a_job_that_ctrl_c_ended(terminal, memwatch):
    hook = f"echo {shlex.quote('after all')}"
    screen = terminal(
        memwatch.argv("run", HOOK, hook, "--", "sh", "-c", "echo on; exec sleep 1000")
    )
    screen.expect(b"on\r")
    screen.type(CTRL_C)
    assert screen.end() == 130
    assert b"after all" in screen.shown


def test_strict_without_a_hook(memwatch):
    result = memwatch.run("run", "--post-run-strict", "--", "touch", "ran")
    assert (result.code, result.out) == (1, b"")
    assert "--post-run-strict needs --post-run-cmd" in result.one_line()
    assert not (memwatch.room / "ran").exists()
    env = {"MEMWATCH_RUN_POST_RUN_STRICT": "1"}
    assert memwatch.run("run", "--quiet", "--", "true", env=env).code == 0
