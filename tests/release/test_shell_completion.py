"""Tests of completion after `memwatch`: the answers, and bash, zsh and fish themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from memwatch.cli import COMMANDS, cli
from memwatch.completion import SCRIPTS, lines
from memwatch.runner.profiler import SOURCES
from support.waiting import wait_until

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


# -- The answers -----------------------------------------------------------------------------------


def answers(*words: str, splits_equals: bool = False) -> list[tuple[str, str]]:
    """Returns the (kind, value) of each answer."""
    found = [line.split("\t") for line in lines(cli, words, splits_equals=splits_equals)]
    return [(kind, value) for kind, value, _ in found]


def plain(*words: str, **how: bool) -> list[str]:
    found = answers(*words, **how)
    assert {kind for kind, _ in found} <= {"plain"}
    return [value for _, value in found]


def test_subcommands():
    assert plain("") == list(COMMANDS)
    assert plain("r") == ["run", "report"]
    assert plain("x") == []


def test_help_is_one_line():
    for command in ("", *COMMANDS):
        for line in lines(cli, [*command.split(), "-"], splits_equals=False):
            assert line.count("\t") == 2
            assert line.index("\n") == len(line) - 1


def options() -> list[tuple[str, click.Option]]:
    group = click.Context(cli)
    found = [(name, cli.get_command(group, name)) for name in COMMANDS]
    return [
        (name, param)
        for name, command in found
        if command
        for param in command.params
        if isinstance(param, click.Option)
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_options(name):
    own = [opt for command, option in options() if command == name for opt in option.opts]
    offered = plain(name, "--")
    assert set(offered) == {opt for opt in own if opt.startswith("--")} | {"--help"}


@pytest.mark.parametrize(
    ("command", "option"),
    [pytest.param(*each, id=f"{each[0]}-{each[1].name}") for each in options()],
)
def test_values_of_options(command, option):
    """Options that name files complete to files, others to all their values."""
    name = option.opts[-1]
    if option.is_flag:
        assert name not in plain(command, name, "--")
    elif isinstance(option.type, click.Choice):
        assert plain(command, name, "") == list(option.type.choices)
    elif option.metavar in ("FILE", "OUT", "FILE..."):
        assert answers(command, name, "bu") == [("file", "bu")]
        assert answers(command, f"{name}=bu") == [("file", "bu")]
    else:
        assert all(kind == "plain" for kind, _ in answers(command, name, ""))


def test_values_that_are_not_the_only_ones():
    assert plain("run", "--sources", "") == ["auto", "none", *SOURCES]
    assert plain("view", "--group-by", "c") == ["command", "cwd"]
    assert plain("report", "--top", "") == ["all"]
    assert plain("run", "--max-total-rss", "") == []


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("run", "doctor")])
def test_files(command):
    assert answers(command, "bu") == [("file", "bu")]


def test_files_of_one_side():
    assert answers("compare", "--base", "") == [("file", "")]
    assert answers("compare", "--base", "a.jsonl", "") == [("file", "")]
    assert "--candidate" in plain("compare", "--base", "a.jsonl", "--c")


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ("run ", 2),
        ("run ma", 2),
        ("run -- ", 3),
        ("run make -", 2),
        ("run make -- ", 2),
        ("run -i 10 --exact -- make -j", 6),
        ("run --top=5 gcc -o ", 3),
        ("run -- gcc -o ", 3),
        ("run -- memwatch run --top ", 3),
    ],
)
def test_the_jobs_command_is_completed_as_a_command(words, start):
    assert answers(*words.split(" ")) == [("command", str(start))]


def test_words_as_bash_splits_them():
    assert plain(*["run", "--on-limit", "="], splits_equals=True) == ["kill", "report"]
    assert plain(*["run", "--on-limit", "=", "k"], splits_equals=True) == ["kill"]
    assert plain(*["run", "--top", "=", "5", "--on-limit", "=", "k"], splits_equals=True) == [
        "kill"
    ]
    words = ["run", "--top", "=", "5", "--", "make", "--dir", "=", "x"]
    assert answers(*words, splits_equals=True) == [("command", "6")]
    # An equals sign alone is no option with a value.
    assert answers("run", "--", "=", "x", splits_equals=True) == [("command", "3")]


# -- The program -----------------------------------------------------------------------------------


@pytest.fixture
def ask(tmp_path):
    """Runs `_MEMWATCH_COMPLETE=... memwatch WORDS...` in a folder with damaged settings."""
    (tmp_path / "pyproject.toml").write_text("[tool.memwatch.run]\nno-such = 1\n")

    def run(instruction: str, *words: str, **how) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memwatch", *words],
            check=False,
            stdout=how.get("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "_MEMWATCH_COMPLETE": instruction,
                "MEMWATCH_RUN_NOTHING": "1",
                "GITHUB_ACTIONS": "true",
            },
        )

    return run


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize(
    "words",
    [
        ("run", "--on-limit", "k"),
        (),
        ("compare", "--base", "--candidate"),
        ("compare", "--base="),
        ("ci-check", "--threshold", "x", "--no-such", ""),
        ("run", "-i", "x", "--max-total-rss", "y", "--", ""),
        ("\udcff\n", "--\t"),
        ("--version", ""),
        ("run", "--show-settings", "--help", "make", ""),
    ],
)
def test_prints_only_the_answer(ask, shell, words):
    done = ask(f"{shell}_complete", *words)
    assert (done.returncode, done.stderr) == (0, "")
    for line in done.stdout.splitlines():
        assert line.split("\t")[0] in ("plain", "file", "dir", "command")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts(ask, shell, tmp_path):
    done = ask(f"{shell}_source")
    assert (done.returncode, done.stderr) == (0, "")
    script = tmp_path / "script"
    script.write_text(done.stdout)
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    checked = subprocess.run([shell, "-n", script], check=False, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_bash_script_is_clean(tmp_path):
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    script = Path(__file__).parent.parent.parent / "memwatch/completion/memwatch.bash"
    done = subprocess.run(
        ["shellcheck", "-s", "bash", script], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("instruction", ["tcsh_source", "bash", "bash_x", "1"])
def test_unknown_instruction(ask, instruction):
    done = ask(instruction)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert repr(instruction) in done.stderr
    assert "bash_source" in done.stderr


def test_answer_that_cannot_be_written(ask):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        done = ask("fish_complete", "", stdout=full)
    assert (done.returncode, done.stderr) == (1, "")


# -- The shells ------------------------------------------------------------------------------------

# Ctrl-T puts all completions into the line, Ctrl-O writes the line to the file $LINE.
BASH = r"""
eval "$(_MEMWATCH_COMPLETE=bash_source memwatch)"
complete -W "apple apricot" fruit
bind '"\C-t": insert-completions'
save_line() { printf '%s' "$READLINE_LINE" >"$LINE.new"; mv "$LINE.new" "$LINE"; }
bind -x '"\C-o": save_line'
PS1='ready> '
"""
ZSH = r"""
autoload -U compinit && compinit -u -D
eval "$(_MEMWATCH_COMPLETE=zsh_source memwatch)"
_fruit() { compadd apple apricot }
compdef _fruit fruit
zstyle ':completion:all:*' completer _all_matches _complete
zstyle ':completion:all:*' insert yes
zle -C all complete-word _generic
bindkey '^T' all
save_line() { print -rn -- "$BUFFER" >"$LINE.new"; mv "$LINE.new" "$LINE" }
zle -N save_line
bindkey '^O' save_line
PS1='ready> '
"""
FISH = """
_MEMWATCH_COMPLETE=fish_source memwatch | source
complete -c fruit -f -a 'apple apricot'
complete -C "$argv[1]"
"""

LINES = {
    "memwatch r": ["run", "report"],
    "~/bin/memwatch r": ["run", "report"],
    "memwatch run --on-l": ["--on-limit"],
    "memwatch run --on-limit ": ["kill", "report"],
    "memwatch run --on-limit=k": ["--on-limit=kill"],
    "memwatch report bu": ["build.jsonl"],
    "memwatch run --csv=bu": ["--csv=build.jsonl"],
    "memwatch run -i 10 -- memwatch-te": ["memwatch-test-program"],
    "memwatch run -- ls bu": ["build.jsonl"],
    "memwatch run --top=5 -- fruit ap": ["apple", "apricot"],
    "memwatch run fruit ap": ["apple", "apricot"],
    # This is not memwatch's option of the same name.
    "memwatch run -- other --on-limit bu": ["build.jsonl"],
}
OF_THE_OTHER_COMMAND = [line for line in LINES if "fruit ap" in line]


@pytest.fixture
def place(memwatch):
    """The environment for a shell: a folder with a file; `memwatch` and another program on PATH."""
    (memwatch.room / "build.jsonl").touch()
    folder = memwatch.room / "bin"
    folder.mkdir()
    for name, text in (
        ("memwatch", f'exec "{sys.executable}" -m memwatch "$@"'),
        ("memwatch-test-program", ":"),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {
        "HOME": str(memwatch.room),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LINE": str(memwatch.room / "line"),
        "TERM": "dumb",
    }


def in_terminal(terminal, place, argv, line) -> list[str]:
    """Types a line and returns the completions that the shell gives for its last word."""
    screen = terminal(argv, env=place)
    screen.expect(b"ready> ")
    screen.type(line.encode() + b"\x14\x0f")
    result = Path(place["LINE"])

    def there() -> bool:
        screen.pump()
        return result.exists()

    wait_until(there, f"the line; on the screen: {screen.shown!r}")
    before = line.rpartition(" ")[0]
    text = result.read_text()
    assert text.startswith(before)
    return text.removeprefix(before).split()


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("helped", [False, True], ids=["bare", "bash-completion"])
def test_bash(terminal, memwatch, place, line, helped):
    rc = memwatch.room / "rc"
    if helped and not BASH_COMPLETION.exists():
        pytest.skip("no bash-completion")
    if not helped and line in OF_THE_OTHER_COMMAND:
        pytest.skip("needs bash-completion")
    rc.write_text((f". {BASH_COMPLETION}\n" if helped else "") + BASH)
    argv = ["bash", "--noprofile", "--rcfile", str(rc), "-i"]
    found = in_terminal(terminal, place, argv, line)
    assert found == LINES[line]


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_zsh(terminal, memwatch, place, line):
    if not shutil.which("zsh"):
        pytest.skip("no zsh")
    (memwatch.room / ".zshrc").write_text(ZSH)
    argv = ["zsh", "-d", "-i"]
    place["ZDOTDIR"] = str(memwatch.room)
    assert in_terminal(terminal, place, argv, line) == LINES[line]


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_fish(memwatch, place, line):
    if not shutil.which("fish"):
        pytest.skip("no fish")
    done = subprocess.run(
        ["fish", "--no-config", "-c", FISH, line],
        check=True,
        capture_output=True,
        text=True,
        cwd=memwatch.room,
        env=memwatch.env | place,
    )
    assert done.stderr == ""
    assert [each.partition("\t")[0] for each in done.stdout.splitlines()] == LINES[line]
