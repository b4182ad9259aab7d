"""Tests of `memwatch run` as a command: exit codes, bad input, files, streams, transparency."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig

import pytest

from memwatch import __version__
from support.command import read_csv

PROCESS_HEADER = "pid,ppid,command,max_rss_kib,max_rss_mib,first_seen,last_seen"
TIMELINE_HEADER = (
    "timestamp,elapsed_seconds,total_rss_kib,total_rss_mib,process_count,"
    "total_shared_kib,total_shmem_kib,total_swapped_kib,total_footprint_low_kib"
)


# -- Exit codes ----------------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_code_is_the_commands(memwatch, code):
    result = memwatch.burn("exit", code).end()
    assert result.code == code
    assert result.json["exit_code"] == code
    assert result.json["signal"] is None


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE]
)
def test_exit_code_of_a_command_that_a_signal_killed(memwatch, burner, number):
    result = memwatch.burn("die", int(number)).end()
    assert result.code == 128 + number
    assert result.json["exit_code"] == 128 + number
    assert result.json["signal"] == number
    summary = memwatch.run("run", "--", burner, "die", str(int(number))).text
    assert f"killed by {number.name}, exit code {128 + number}" in summary


# -- Bad input: one line that names it, exit code 1, no job ---------------------------------------


@pytest.fixture
def refuses(memwatch):
    """Runs memwatch with a job that must not run; returns the error message."""

    def run(*options, job=None, **how):
        ran = memwatch.room / "ran"
        result = memwatch.run("run", *options, *(job or ["--", "touch", str(ran)]), **how)
        assert result.code == 1
        assert not ran.exists()
        assert result.out == b""
        return result.one_line()

    return run


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0", "out of range"),
        ("0.0001ms", "out of range"),
        ("0.5", "has no unit: write 0.5ms or 0.5s"),
        ("3601s", "out of range"),
        ("9" * 400, "out of range"),
        ("-1", "not an interval"),
        ("", "not an interval"),
        ("soon", "not an interval"),
        ("nan", "not an interval"),
        ("1e3", "not an interval"),
        ("10 ms 20", "not an interval"),
        ("10h", "not an interval"),
    ],
    ids=lambda value: value[:12],
)
def test_bad_interval(refuses, value, why):
    line = refuses("-i", value)
    assert repr(value) in line
    assert why in line


@pytest.mark.parametrize("option", ["--include", "--exclude"])
def test_bad_regex(refuses, option):
    line = refuses(option, "a(b")
    assert "'a(b'" in line
    assert "regular expression" in line


@pytest.mark.parametrize("value", ["x", "-1", "", "1.5", "\u00b2", "9" * 5000], ids=ascii)
def test_bad_top(refuses, value):
    assert value[:20] in refuses("--top", value)


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("--burst", "soon", "write 500 (milliseconds), 500ms or 1s"),
        ("--burst", "-1", "write 500 (milliseconds), 500ms or 1s"),
        ("--burst", "2h", "write 500 (milliseconds), 500ms or 1s"),
        ("--burst", "9999s", "write 3600s at most"),
        ("--sources", "ebpf", "write auto, none, or some of connector, perf, taskstats"),
        ("--sources", "perf,ebpf", "write auto, none, or some of connector, perf, taskstats"),
        ("--sources", "", "write auto, none, or some of connector, perf, taskstats"),
        ("--pss", "sometimes", "'off', 'peaks', 'always'"),
        ("--pss", "", "'off', 'peaks', 'always'"),
    ],
)
def test_bad_choice(refuses, option, value, remedy):
    line = refuses(option, value)
    assert option in line
    assert repr(value.rpartition(",")[2]) in line
    assert remedy in line


@pytest.mark.both_users
@pytest.mark.parametrize(
    "options",
    [
        *(["--burst", "100"], ["--burst", "0"], ["--sources", "none"], ["--sources", "auto"]),
        *(["--sources", "perf,taskstats"], ["--pss", "off"], ["--pss", "always"], ["--exact"]),
    ],
    ids=" ".join,
)
def test_choices_do_not_change_the_exit_code(memwatch, options):
    result = memwatch.run("run", "--quiet", *options, "--", "sh", "-c", "echo out; exit 3")
    assert (result.code, result.out, result.err) == (3, b"out\n", b"")


def test_unknown_option(refuses):
    assert "--nonsense" in refuses("--nonsense")


def test_option_without_its_value(refuses):
    assert "--csv" in refuses(job=["--csv"])


@pytest.mark.parametrize("words", [[], ["--"], ["-i", "10"]])
def test_no_command(memwatch, words):
    result = memwatch.run("run", *words)
    assert result.code == 1
    assert "no command" in result.one_line()


def test_unknown_subcommand(memwatch):
    result = memwatch.run("walk")
    assert result.code == 1
    assert "walk" in result.one_line()


def test_no_subcommand(memwatch):
    result = memwatch.run()
    assert result.code == 1
    assert result.one_line() == "memwatch: Missing command. See 'memwatch --help'."


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"], ["--version"]])
def test_help_and_version(memwatch, words):
    result = memwatch.run(*words)
    assert result.code == 0
    assert b"memwatch" in result.out
    assert result.err == b""


def test_version_has_the_facts_that_a_bug_report_needs(memwatch):
    lines = memwatch.run("--version").out.decode().splitlines()
    names = [line.partition(":")[0] for line in lines]
    assert names == [f"memwatch {__version__}", "Build date", "Target", "Backend", "Python"]
    facts = [line.partition(":")[2].strip() for line in lines]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts[1])
    assert facts[2].partition("-")[0] == sysconfig.get_platform().partition("-")[0]
    system = os.uname()
    assert facts[3].endswith(f", on {system.sysname} {system.release}")
    assert facts[4].startswith(f"{platform.python_implementation()} {platform.python_version()}")


# -- Commands that cannot be started --------------------------------------------------------------


@pytest.fixture
def unusable(memwatch):
    """Names of files that cannot be run as commands."""
    room = memwatch.room
    (room / "text").write_text("not a program")
    (room / "text").chmod(0o644)
    (room / "folder").mkdir()
    broken = room / "broken"
    broken.write_text("#!/nowhere/at/all\n")
    broken.chmod(0o755)
    return {
        "missing": ("no-such-command-here", "no such command"),
        "missing path": ("./nowhere/at/all", "no such command"),
        "text": ("./text", "not executable"),
        "folder": (str(room / "folder"), "directory"),
        "below a file": ("./text/x", "text/x"),
        "interpreter": ("./broken", "broken"),
        "empty": ("", "''"),
        "not UTF-8": (b"no\xffsuch", "no"),
        "control": ("no\x1b[31m\nsuch", "no"),
    }


@pytest.mark.both_users
@pytest.mark.parametrize(
    "case",
    [
        *("missing", "missing path", "text", "folder", "below a file", "interpreter", "empty"),
        *("not UTF-8", "control"),
    ],
)
def test_command_that_cannot_be_started(memwatch, unusable, case):
    name, why = unusable[case]
    result = memwatch.run("run", "--json", "--", name, "argument")
    assert result.code == 1
    assert result.out == b""
    line = result.one_line()
    assert why in line
    assert "\x1b" not in line


def test_files_are_unchanged_if_the_command_cannot_be_started(memwatch):
    old, new = memwatch.room / "old.csv", memwatch.room / "new.csv"
    old.write_text("precious\n")
    result = memwatch.run("run", "--csv", old, "--timeline", new, "--", "no-such-command-here")
    assert result.code == 1
    assert old.read_text() == "precious\n"
    assert not new.exists()


# -- Files ----------------------------------------------------------------------------------------


@pytest.mark.both_users
@pytest.mark.parametrize("option", ["--csv", "--timeline"])
def test_unwritable_file_is_found_before_the_job_starts(memwatch, refuses, option):
    (memwatch.room / "folder").mkdir()
    for path in ("nowhere/out.csv", "folder", "/proc/out.csv"):
        assert repr(path) in refuses(option, path)


def test_no_file_is_left_when_another_is_unwritable(memwatch, refuses):
    refuses("--csv", "new.csv", "--timeline", "nowhere/out.csv")
    assert not (memwatch.room / "new.csv").exists()


@pytest.mark.both_users
def test_csv_of_processes(memwatch):
    file = memwatch.room / "out.csv"
    file.write_text("old\n" * 1000)
    file.chmod(0o666)
    watch = memwatch.burn(
        *("touch", 5, "ignore", 'a "quoted", word', "mark", "root", "gate"),
        options=("-i", "5", "--csv", str(file)),
    )
    root = watch.mark("root")
    watch.ticks()
    result = watch.end()
    header, row = read_csv(file)
    assert file.read_bytes().split(b"\n", 1)[0].decode() == PROCESS_HEADER
    process = result.by_pid(root)
    assert row[0:2] == [str(root), str(watch.pid)]
    assert row[2] == " ".join(process["argv"])
    assert int(row[3]) == process["max_rss_kib"]
    assert float(row[4]) == pytest.approx(process["max_rss_kib"] / 1024, abs=0.01)
    assert row[5:] == [process["first_seen"], process["last_seen"]]
    assert len(header) == len(row)


@pytest.mark.both_users
def test_csv_of_totals(memwatch):
    file = memwatch.room / "timeline.csv"
    watch = memwatch.burn(
        "touch", 5, "mark", "root", "gate", options=("-i", "5", "--timeline", str(file))
    )
    watch.mark("root")
    watch.ticks()
    result = watch.end()
    header, *rows = read_csv(file)
    assert ",".join(header) == TIMELINE_HEADER
    assert len(rows) == result.json["samples"] == len(result.json["timeline"])
    assert max(int(row[2]) for row in rows) == result.json["max_total_rss_kib"]
    times = [float(row[1]) for row in rows]
    assert times == sorted(times)
    assert {row[4] for row in rows} <= {"0", "1"}
    for row, point in zip(rows, result.json["timeline"], strict=True):
        assert row[0] == point["timestamp"]
        assert int(row[2]) == point["total_rss_kib"]


# -- Reports --------------------------------------------------------------------------------------


def test_json_goes_to_stdout_and_the_commands_stdout_to_stderr(memwatch):
    result = memwatch.run("run", "--json", "--", "sh", "-c", "echo out; echo err >&2")
    assert result.err == b"out\nerr\n"
    assert result.json["command"] == ["sh", "-c", "echo out; echo err >&2"]


def test_summary_goes_to_stderr(memwatch):
    result = memwatch.run("run", "--", "sh", "-c", "echo out; exit 3")
    assert result.out == b"out\n"
    assert result.code == 3
    assert "Duration:" in result.text
    assert "exit code 3" in result.text


@pytest.mark.parametrize(
    ("user", "source", "options", "way"),
    [
        ("caller", "taskstats", [], "kernel exit records"),
        ("nobody", "hook", ["--exact"], "exit hook"),
    ],
    indirect=["user"],
)
def test_summary_of_a_command_that_ends_at_once(memwatch, needs, source, options, way):
    """Its peak is known at its end, whether or not it was sampled."""
    needs(source)
    for _ in range(5):
        text = memwatch.run("run", *options, "--", "true").text
        assert "Max per process:" in text
        assert "  true\n" in text.split("Per-process peak RSS:")[1]
        assert "1 process; its peak is exact" in text
        assert way in text
        assert "was not seen" not in text


def test_quiet(memwatch):
    result = memwatch.run("run", "--quiet", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.code, result.out, result.err) == (3, b"out\n", b"err\n")


def test_quiet_json(memwatch):
    result = memwatch.run("run", "--quiet", "--json", "--", "true")
    assert result.json["exit_code"] == 0
    assert result.err == b""


def test_silent(memwatch):
    result = memwatch.run("run", "--silent", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert result.code == 3
    assert result.out == b""
    assert "Duration:" in result.text
    assert "\nerr\n" not in result.text
    result = memwatch.run("run", "--silent", "--json", "--", "sh", "-c", "echo out; echo err >&2")
    assert result.json["exit_code"] == 0
    assert result.err == b""


def test_options_after_the_command_belong_to_it(memwatch):
    for separator in ([], ["--"]):
        result = memwatch.run("run", "--quiet", *separator, "echo", "--json", "-i", "--", "x")
        assert result.out == b"--json -i -- x\n"


@pytest.fixture
def family(memwatch, burner):
    """Runs a job with processes named sh, alpha, alpha and beta to its end."""
    for name in ("alpha", "beta"):
        shutil.copy(burner, memwatch.room / name)
    (memwatch.room / "script").write_text(
        "exec 3<&0\n"
        "for each in alpha alpha beta; do ./$each touch 10 mark up gate <&3 & done\n"
        'echo "root $$" >> $BURNER_MARKS\n'
        "wait\n"
    )

    def run(*options):
        watch = memwatch.start("run", "-i", "5", *options, "--", "sh", "script")
        watch.marks("up", 3)
        watch.mark("root")
        watch.ticks()
        return watch.end()

    return run


@pytest.mark.parametrize(
    ("options", "names", "filters"),
    [
        (["--include", "^alpha$"], ["alpha", "alpha"], {"include_pattern": "^alpha$"}),
        (["--exclude", "alpha"], ["beta", "sh"], {"exclude_pattern": "alpha"}),
        (
            ["--include", "touch 10", "--exclude", "beta"],
            ["alpha", "alpha"],
            {"include_pattern": "touch 10", "exclude_pattern": "beta"},
        ),
        (["--include", "nothing is called so"], [], {"include_pattern": "nothing is called so"}),
    ],
)
def test_filters_hide_processes_but_change_no_total(family, options, names, filters):
    report = family("--json", *options).json
    assert sorted(each["command"] for each in report["processes"]) == names
    assert report["filter"] == filters
    assert report["process_count"] == report["max_total_rss_processes"] == 4
    assert report["filtered_process_count"] == 4 - len(names)
    assert report["max_total_rss_kib"] >= 30 * 1024
    touched = 10 * 1024 * (3 - len([name for name in names if name != "sh"]))
    assert touched <= report["filtered_total_rss_kib"] <= touched + 4 * 4 * 1024
    assert {group["command"] for group in report["groups"]} >= {"alpha", "beta", "sh"}


def test_one_file_for_two_reports_is_refused(memwatch):
    path = memwatch.room / "both.csv"
    result = memwatch.run("run", "--csv", path, "--timeline", path, "--", "true")
    assert result.code == 1
    assert "choose two files" in result.text
    assert not path.exists()


def test_json_has_no_filter_keys_without_filters(memwatch):
    report = memwatch.burn("exit", 0).end().json
    assert not {"filter", "filtered_process_count", "filtered_total_rss_kib"} & set(report)


def test_summary_reports_what_a_filter_hides(family):
    text = family("--exclude", "alpha").text
    assert "2 processes filtered out; totals cover all processes" in text
    assert "alpha" not in text.split("Per-process peak RSS:")[1]


@pytest.mark.parametrize(
    ("top", "listed", "more"),
    [("3", 3, "1 more"), ("all", 4, None), ("0", 0, "4 more"), ("4", 4, None), ("99", 4, None)],
)
def test_top(family, top, listed, more):
    result = family("--top", top)
    assert result.code == 0
    table = result.text.split("Per-process peak RSS:")[1].split("\n\n")[0]
    assert table.count("  pid ") == listed
    assert ("more" in table) == bool(more)
    if more:
        assert more in table


# -- Colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
    ],
)
def test_colors(memwatch, env, colored):
    result = memwatch.run("run", "--", "true", env=env)
    assert ("\x1b[" in result.text) == colored


def test_json_has_no_colors(memwatch):
    result = memwatch.run("run", "--json", "--", "true", env={"FORCE_COLOR": "1"})
    assert b"\x1b" not in result.out


# -- Streams that are closed, full or broken ------------------------------------------------------


@pytest.fixture
def through_sh(memwatch):
    """Runs memwatch from a shell that first redirects or closes its descriptors."""

    def run(redirection, *words, stdin=b"", **how):
        argv = ["sh", "-c", f'exec "$@" {redirection}', "sh", *memwatch.argv(*words)]
        return memwatch.popen(argv, **how).end(stdin)

    return run


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("code", [0, 3])
def test_closed_streams_do_not_change_the_exit_code(through_sh, burner, closed, code):
    result = through_sh(closed, "run", "--", burner, "exit", str(code))
    assert result.code == code
    assert "Traceback" not in result.text
    assert ("Duration:" in result.text) == ("2>&-" not in closed)


def test_json_without_a_stdout_is_saved_elsewhere(through_sh, memwatch):
    result = through_sh(">&-", "run", "--json", "--", "true")
    assert result.code == 1
    assert rescued(memwatch, result)["exit_code"] == 0


def test_json_without_a_stderr(through_sh):
    result = through_sh("2>&-", "run", "--json", "--", "sh", "-c", "echo lost; exit 3")
    assert result.code == 3
    assert result.json["exit_code"] == 3


def test_refusal_without_a_stderr(through_sh):
    assert through_sh("2>&-", "run", "-i", "0", "--", "true").code == 1
    assert through_sh("2>&-", "run", "--", "no-such-command-here").code == 1


def rescued(memwatch, result):
    """Returns the report that memwatch saved elsewhere; its message must name the file."""
    (file,) = memwatch.room.glob("memwatch-*.json")
    assert str(file) in result.text
    return json.loads(file.read_text())


@pytest.mark.both_users
@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("option", ["--csv", "--timeline"])
def test_full_disk_under_a_file(memwatch, option, code):
    result = memwatch.run("run", option, "/dev/full", "--", "sh", "-c", f"exit {code}")
    assert result.code == (code or 1)
    assert "cannot write to /dev/full: No space left on device" in result.text
    assert rescued(memwatch, result)["exit_code"] == code
    # The other requested output is there.
    assert "Duration:" in result.text


def test_full_disk_under_both_files_saves_one_report_elsewhere(memwatch):
    options = ["--csv", "/dev/full", "--timeline", "/dev/full"]
    result = memwatch.run("run", *options, "--quiet", "--", "true")
    assert result.code == 1
    assert result.text.count("cannot write to /dev/full") == 2
    assert len(rescued(memwatch, result)["timeline"]) >= 1


@pytest.mark.parametrize("code", [0, 3])
def test_full_disk_under_stdout(memwatch, code):
    with open("/dev/full", "wb") as full:
        result = memwatch.run("run", "--json", "--", "sh", "-c", f"exit {code}", stdout=full)
    assert result.code == (code or 1)
    assert "No space left on device" in result.text
    assert rescued(memwatch, result)["exit_code"] == code


def test_full_disk_under_stderr(memwatch):
    with open("/dev/full", "wb") as full:
        assert memwatch.run("run", "--", "true", stderr=full).code == 1
        assert memwatch.run("run", "--", "sh", "-c", "exit 3", stderr=full).code == 3


def test_reader_of_the_json_has_closed_the_pipe(memwatch):
    reader, writer = os.pipe()
    os.close(reader)
    result = memwatch.run("run", "--json", "--", "sh", "-c", "exit 3", stdout=writer)
    os.close(writer)
    assert result.code == 3
    assert "Broken pipe" in result.text
    assert rescued(memwatch, result)["exit_code"] == 3


def test_the_report_cannot_be_saved_anywhere(memwatch):
    """The summary and the exit code are still there."""
    watch = memwatch.start(
        *("run", "--csv", "out.csv", "--", "sh", "-c", "exit 3"),
        preexec_fn=lambda: limit_file_size(0),
        stderr=subprocess.PIPE,
    )
    text = watch.process.stderr.read().decode()
    watch.process.stderr.close()
    assert watch.end().code == 3
    assert "cannot write to out.csv: File too large" in text
    assert "the result could not be saved elsewhere" in text
    assert "Duration:" in text


def limit_file_size(size):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# -- memwatch is invisible to the job --------------------------------------------------------------


def test_stdin_reaches_the_command_unchanged(memwatch):
    data = os.urandom(1 << 20)
    result = memwatch.run("run", "--quiet", "--", "cat", stdin=data)
    assert result.code == 0
    assert result.out == data


def test_memwatch_reads_nothing_from_stdin(memwatch):
    """What the command leaves unread is still there afterwards."""
    file = memwatch.room / "in"
    file.write_bytes(b"first\nsecond\n")
    with file.open("rb", buffering=0) as stdin:
        watch = memwatch.start("run", "--quiet", "--", "dd", "bs=6", "count=1", stdin=stdin)
        assert watch.end().out == b"first\n"
        assert stdin.read() == b"second\n"


def ways_to_start():
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])

    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup(1) does
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `command &`
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)

    def limit():
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 4 << 20))
        os.nice(3)
        os.umask(0o27)

    return {
        "plain": lambda: None,
        "blocked": block,
        "ignored": ignore,
        "limits": limit,
        "session": os.setsid,
    }


@pytest.mark.both_users
@pytest.mark.parametrize("way", ways_to_start())
@pytest.mark.parametrize("closed", ["", "<&-", "<&- >&- 2>&-"])
def test_the_job_inherits_the_same_as_without_memwatch(memwatch, probe, way, closed, user):
    """Environment, limits, signals, descriptors and everything else that is inherited."""
    extra = os.open("/dev/null", os.O_RDONLY)
    reports = []
    for name, words in {"direct": [], "watched": ["run", "--quiet", "--"]}.items():
        file = memwatch.room / name
        start = memwatch.argv(*words) if words else user.prefix
        argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *start, str(probe), str(file)]
        watch = memwatch.popen(argv, preexec_fn=ways_to_start()[way], pass_fds=[extra])
        assert watch.end().code == 7
        reports.append(file.read_text().splitlines())
    os.close(extra)
    direct, watched = reports
    if way == "session":
        # Then memwatch leads the session, and the command is in it.
        direct[-1] = direct[-1].replace("group: 1, its session: 1", "group: 0, its session: 0")
    assert watched == direct


def test_the_output_of_the_job_is_the_same_as_without_memwatch(memwatch, probe):
    direct = memwatch.popen([str(probe)]).end()
    watched = memwatch.run("run", "--quiet", "--", probe)
    assert (watched.code, watched.err) == (direct.code, direct.err)
    assert watched.out == direct.out
    assert direct.err == b"written to standard error\n"


def test_extra_descriptors_are_passed_on(memwatch):
    reader, writer = os.pipe()
    os.write(writer, b"through an extra descriptor\n")
    os.close(writer)
    result = memwatch.run("run", "--quiet", "--", "cat", f"/dev/fd/{reader}", pass_fds=[reader])
    os.close(reader)
    assert result.out == b"through an extra descriptor\n"


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@needs_make
@pytest.mark.parametrize("outside", [False, True], ids=["around make", "inside make"])
def test_make_and_its_jobserver(memwatch, outside):
    """Runs memwatch around make -j, and in a recipe of make -j around a sub-make."""
    watched = " ".join(f"'{os.fsdecode(word)}'" for word in memwatch.argv("run", "--quiet", "--"))
    (memwatch.room / "Makefile").write_text(
        f"all: one two\none two:\n\t+{watched if outside else ''} $(MAKE) -f sub.mk $@-sub\n"
    )
    (memwatch.room / "sub.mk").write_text(
        "".join(
            f"{one}-sub: {one}-a {one}-b\n{one}-sub {one}-a {one}-b:\n\t@echo $@\n"
            for one in ("one", "two")
        )
    )
    make = ["make", "-j2"]
    argv = make if outside else [*memwatch.argv("run", "--json", "-i", "5", "--"), *make]
    result = memwatch.popen(argv).end()
    assert result.code == 0
    text = (result.out + result.err).decode()
    assert "jobserver unavailable" not in text
    assert "warning" not in text
    for line in ("one-a", "one-b", "one-sub", "two-a", "two-b", "two-sub"):
        assert f"{line}\n" in text
    if not outside:
        commands = [each["command"] for each in result.json["processes"]]
        assert commands.count("make") >= 3


def test_the_installed_command(memwatch):
    """Runs `memwatch`, not `python -m memwatch`."""
    script = os.path.join(os.path.dirname(sys.executable), "memwatch")
    if not os.path.exists(script):
        pytest.skip("memwatch is not installed as a command")
    result = memwatch.popen([script, "run", "--json", "--", "sh", "-c", "exit 3"]).end()
    assert result.code == 3
    assert result.json["exit_code"] == 3
