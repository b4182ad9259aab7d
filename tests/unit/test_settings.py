"""Options from the environment and from pyproject.toml: precedence, and refused values."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click
import pytest

from memwatch.cli import COMMANDS
from memwatch.settings import NOT_IN_PROJECTS

# Options that name a file, but only read it.
READ = {"baseline", "base", "candidate"}

ASK = ("run", "--show-settings")


@pytest.fixture
def project(memwatch):
    """Writes the pyproject.toml of the folder in which memwatch runs."""

    def write(text: str | bytes) -> str:
        path = memwatch.room / "pyproject.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(0o644)
        return str(path)

    return write


@pytest.fixture
def shown(memwatch):
    """Returns what --show-settings prints: value and origin of each option."""

    def show(*words: str, command: str = "run", **env: str) -> dict[str, tuple[str, str]]:
        result = memwatch.run(command, "--show-settings", *words, env=env)
        assert (result.code, result.err) == (0, b""), result.text
        rows = [line.split(None, 2) for line in result.out.decode().splitlines()]
        return {name: (value, origin) for name, value, origin in rows}

    return show


@pytest.fixture
def refused(memwatch):
    """Returns the one-line error, and checks that nothing was run."""

    def refuse(*words: str, **env: str) -> str:
        result = memwatch.run("run", *words, "--", "touch", "ran", env=env)
        assert (result.code, result.out) == (1, b"")
        assert not (memwatch.room / "ran").exists()
        return str(result.one_line())

    return refuse


# Precedence ---------------------------------------------------------------------------------------


def test_the_order_of_precedence(shown, project):
    assert shown()["interval"] == ("500", "default")
    path = project("[tool.memwatch.run]\ninterval = '40ms'\n")
    there = ("40ms", f"'interval' in [tool.memwatch.run] of {path!r}")
    assert shown()["interval"] == there
    variable = {"MEMWATCH_RUN_INTERVAL": "30"}
    assert shown(**variable)["interval"] == ("30", "environment variable MEMWATCH_RUN_INTERVAL")
    assert shown("-i", "20", **variable)["interval"] == ("20", "command line")
    # An empty variable counts as unset.
    assert shown(MEMWATCH_RUN_INTERVAL="")["interval"] == there


def test_values_of_each_kind(shown, project):
    project(
        "[tool.memwatch.run]\n"
        "interval = 10\nburst = '0.5ms'\nexact = true\nlive = false\nmax-total-rss = '1G'\n"
        "top = 'all'\n"
    )
    found = {name: value for name, (value, _) in shown().items()}
    assert found["interval"] == "10"
    assert found["burst"] == "0.5ms"
    assert (found["exact"], found["live"], found["silent"]) == ("yes", "no", "no")
    assert found["max-total-rss"] == "1G"
    assert found["top"] == "all"
    assert found["csv"] == "-"


@pytest.mark.parametrize(("text", "value"), [("1", "yes"), ("true", "yes"), ("0", "no")])
def test_flags_in_the_environment(memwatch, shown, text, value):
    assert shown(MEMWATCH_RUN_QUIET=text)["quiet"][0] == text
    result = memwatch.run("run", "--", "true", env={"MEMWATCH_RUN_QUIET": text})
    assert (result.err == b"") == (value == "yes")


def test_settings_have_their_effect(memwatch, project):
    project("[tool.memwatch.run]\ninterval = '20ms'\njson = true\n")
    result = memwatch.run("run", "--", "true", env={"MEMWATCH_RUN_PSS": "off"})
    assert result.json["interval_ms"] == 20
    assert result.json["max_total_pss_kib"] is None


def test_every_command_has_settings(memwatch, project):
    project("[tool.memwatch.doctor]\njson = true\n")
    assert memwatch.run("doctor").json["run"]
    memwatch.run("run", "--quiet", "-o", "x.jsonl", "--", "true")
    result = memwatch.run("report", "x.jsonl", env={"MEMWATCH_REPORT_JSON": "1"})
    assert result.json["command"] == ["true"]
    result = memwatch.run("export", "x.jsonl", env={"MEMWATCH_EXPORT_FORMAT": "bmf"})
    assert (result.code, result.err) == (0, b"")


def test_a_setting_is_for_one_command(shown, project):
    project("[tool.memwatch.report]\ntop = 3\n")
    assert shown(MEMWATCH_REPORT_TOP="4")["top"] == ("10", "default")


def test_the_nearest_project_counts(memwatch, project):
    project("[tool.memwatch.run]\ntop = 1\n")
    below = memwatch.room / "a" / "b"
    below.mkdir(parents=True)
    assert b"pyproject.toml" in memwatch.run(*ASK, preexec_fn=lambda: os.chdir(below)).out
    # The nearest one counts, even without a table for memwatch.
    (below.parent / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert b"pyproject.toml" not in memwatch.run(*ASK, preexec_fn=lambda: os.chdir(below)).out
    # A folder of that name is ignored.
    (below / "pyproject.toml").mkdir()
    assert memwatch.run(*ASK, preexec_fn=lambda: os.chdir(below)).code == 0


def test_a_working_directory_that_was_removed(memwatch):
    gone = memwatch.room / "gone"
    gone.mkdir()
    watch = memwatch.start(*ASK, preexec_fn=lambda: (os.chdir(gone), gone.rmdir()))
    assert watch.end().code == 0


# What the job sees --------------------------------------------------------------------------------


def test_a_memwatch_within_the_job_does_not_inherit_settings(memwatch):
    """It would write to the same recording."""
    inner = memwatch.argv("run", "--quiet", "--", "env")
    env = {"MEMWATCH_RUN_OUTPUT": "x.jsonl", "MEMWATCH_RUN_QUIET": "1", "MEMWATCH_OTHER": "kept"}
    result = memwatch.run("run", "--", *inner, env=env)
    assert (result.code, result.err) == (0, b"")
    assert (memwatch.room / "x.jsonl").exists()
    assert b"MEMWATCH_RUN_" not in result.out
    assert b"MEMWATCH_OTHER=kept\n" in result.out


# Refused values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("MEMWATCH_RUN_INTERVAL", "soon", "'soon' is not an interval: write 10"),
        ("MEMWATCH_RUN_PSS", "maybe", "'maybe' is not one of"),
        ("MEMWATCH_RUN_LIVE", "maybe", "'maybe' is not a valid boolean"),
        ("MEMWATCH_RUN_MAX_TOTAL_RSS", "much", "'much' is not a size"),
        ("MEMWATCH_RUN_INCLUDE", "a(b", "is not a regular expression"),
    ],
)
def test_a_bad_value_names_the_variable(refused, variable, text, why):
    line = refused(**{variable: text})
    assert f"environment variable {variable}: " in line
    assert why in line


def test_the_command_line_overrides_a_bad_variable(memwatch):
    result = memwatch.run(
        "run", "--quiet", "-i", "10", "--", "true", env={"MEMWATCH_RUN_INTERVAL": "soon"}
    )
    assert (result.code, result.err) == (0, b"")


def test_an_unknown_variable_is_reported_and_ignored(memwatch):
    result = memwatch.run(
        "run", "--quiet", "--", "true", env={"MEMWATCH_RUN_INTERVALL": "5", "MEMWATCH_X": "1"}
    )
    assert result.code == 0
    line = result.one_line()
    assert "MEMWATCH_RUN_INTERVALL, which is not a setting" in line
    assert "did you mean 'MEMWATCH_RUN_INTERVAL'?" in line


def test_show_settings_is_not_a_setting(memwatch):
    env = {"MEMWATCH_RUN_SHOW_SETTINGS": "1"}
    line = memwatch.run("run", "--quiet", "--", "true", env=env).one_line()
    assert line.endswith(
        "MEMWATCH_RUN_SHOW_SETTINGS, which is not a setting (write it on the command line)"
    )


def test_an_error_names_settings_that_were_not_typed(memwatch, refused, project):
    path = project('[tool.memwatch.run]\npss = "off"\n')
    line = refused("--max-total-pss", "1G")
    assert f"leaves out ('pss' in [tool.memwatch.run] of {path!r})" in line
    both = refused(MEMWATCH_RUN_MAX_TOTAL_PSS="1G")
    assert "(environment variable MEMWATCH_RUN_MAX_TOTAL_PSS, 'pss' in" in both
    assert refused("--max-total-pss", "1G", "--pss", "off").count("(") == 0


def test_the_typed_one_of_two_exclusive_options_wins(memwatch, project, story):
    project("[tool.memwatch.compare]\njson = true\n")
    recording = story("a.jsonl", "make")
    recording.start(1, "make", at=0)
    recording.memory(1, 2048, at=1)
    recording.tick(at=10)
    path = recording.end(20)
    assert memwatch.run("compare", path, path).json
    result = memwatch.run("compare", "--markdown", path, path)
    assert (result.code, result.err) == (0, b"")
    assert result.out.startswith(b"#")
    both = memwatch.run("compare", "--json", "--markdown", path, path)
    assert "choose one" in both.one_line()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "[tool.memwatch.run]\nintervall = 5\n",
            "(did you mean 'interval'?)",
        ),
        ("[tool.memwatch.run]\nxyz = 5\n", "(choose from interval, "),
        ("[tool.memwatch.run]\nas_json = true\n", "unknown setting 'as_json'"),
        ("[tool.memwatch.run]\nshow-settings = true\n", "unknown setting 'show-settings'"),
        ("[tool.memwatch.run]\nhelp = true\n", "unknown setting 'help'"),
        ("[tool.memwatch]\ninterval = 5\n", "write it under [tool.memwatch.run]"),
        (
            "[tool.memwatch.rum]\ninterval = 5\n",
            "unknown key 'rum' in [tool.memwatch] (did you mean 'run'?)",
        ),
        ("[tool.memwatch]\nrun = 5\n", "is not a table: write [tool.memwatch.run]"),
        (
            "[tool]\nx = 'tool.memwatch'\nmemwatch = 5\n",
            "is not a table: write [tool.memwatch.run]",
        ),
        ("[tool.memwatch.run]\ninterval = true\n", 'is a boolean: write interval = "…"'),
        ("[tool.memwatch.run]\ninterval = [5]\n", "is an array: write interval"),
        ("[tool.memwatch.run]\ninterval = 2025-01-01\n", "is a date or time: write interval"),
        ("[tool.memwatch.run.interval]\nms = 5\n", "is a table: write interval"),
        ("[tool.memwatch.run]\nlive = 'yes'\n", "is a string: write live = true"),
        ("[tool.memwatch.run]\nlive = 1\n", "is a number: write live = true"),
        ("[tool.memwatch.run]\ninterval = 'soon'\n", "'soon' is not an interval: write 10"),
        ("[tool.memwatch.run]\ninterval = nan\n", "'nan' is not an interval"),
        ("[tool.memwatch.run]\ninterval = 0.5\n", "'0.5' has no unit: write 0.5ms or 0.5s"),
        ("[tool.memwatch.run]\nkill-after = 5\n", "'5' has no unit: write 5s or 5ms"),
        ("[tool.memwatch.run]\nmax-total-rss = 500\n", "'500' has no unit: write 500M"),
        ("[tool.memwatch.run]\ntop = -1\n", "neither a number of processes nor 'all'"),
        ("[tool.memwatch.run]\ninterval = 5\ninterval = 6\n", "is not valid TOML: "),
        ("[tool.memwatch.run\n", "is not valid TOML: "),
        (b"[tool.memwatch.run]\ninclude = '\xff'\n", "is not valid TOML: "),
        ("[tool.memwatch.run]\nx = " + "[" * 9999, "is not valid TOML: "),
    ],
    ids=lambda value: ascii(value)[-40:],
)
def test_a_bad_project(refused, project, text, why):
    path = project(text)
    line = refused()
    assert repr(path) in line
    assert why in line


@pytest.mark.both_users
def test_a_project_that_cannot_be_read(memwatch, refused, project):
    path = project("[tool.memwatch.run]\n")
    os.chmod(path, 0)
    if memwatch.user.uid == 0:
        pytest.skip("root can read every file")
    line = refused()
    assert f"cannot read {path!r}" in line
    assert "make it readable" in line


def test_help_works_with_a_broken_project(memwatch, project):
    project("[tool.memwatch.run\n")
    for words in (["--help"], ["run", "--help"], ["--version"]):
        assert memwatch.run(*words).code == 0


# What a project must not do -----------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(NOT_IN_PROJECTS))
def test_a_project_writes_no_files_and_runs_no_programs(memwatch, refused, project, key):
    (memwatch.room / "precious").write_text("precious")
    project(f"[tool.memwatch.run]\n{key} = 'precious'\n")
    line = refused()
    assert f"{key!r} in [tool.memwatch.run]" in line
    assert "can only be set by an environment variable or on the command line" in line
    assert (memwatch.room / "precious").read_text() == "precious"


def options() -> list[tuple[str, click.Option]]:
    """Returns the options of all commands."""
    return [
        (name, param)
        for name in COMMANDS
        for param in import_module(f"memwatch.commands.{name.replace('-', '_')}").command.params
        if isinstance(param, click.Option)
    ]


def test_every_option_that_names_a_file_is_listed():
    """A new option that writes a file or runs a command belongs in NOT_IN_PROJECTS."""
    for command, option in options():
        names = {opt.removeprefix("--") for opt in option.opts}
        if option.metavar in ("FILE", "OUT", "CMD", "COMMAND", "PATH", "FOLDER", "DIR"):
            assert names & (NOT_IN_PROJECTS | READ), f"{command}: {option.opts}"


def test_options_have_different_variables():
    for command in COMMANDS:
        names = [
            opt.upper().replace("-", "_")
            for name, option in options()
            for opt in option.opts
            if name == command and opt.startswith("--")
        ]
        assert len(names) == len(set(names))


# Cost ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the TOML parser is another module")
@pytest.mark.parametrize(
    ("text", "parses"), [("[project]\nname = 'memwatch'\n", False), ("[tool.memwatch]\n", True)]
)
def test_a_project_without_settings_is_not_parsed(memwatch, project, text, parses):
    project(text)
    argv = [sys.executable, "-X", "importtime", "-m", "memwatch", *ASK]
    result = memwatch.popen(argv).end()
    assert result.code == 0
    assert ("tomllib" in result.text) == parses
