"""Tests of the workflows of CI and releases, of nox, and of the configuration of the wheels.

Steps that are scripts are run; cibuildwheel lists what it would build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
WORKFLOWS = ROOT / ".github/workflows"

yaml = pytest.importorskip("yaml")
if not WORKFLOWS.exists():
    pytest.skip("needs a checkout: a source distribution has no .github", allow_module_level=True)
if not shutil.which("bash"):
    pytest.skip("needs bash", allow_module_level=True)

FILES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(WORKFLOWS.glob("*.yml"))}
WHEELS, RELEASE = FILES["wheels"], FILES["release"]

# YAML 1.1 reads the key "on" as a truth value.
ON = True

# The wheels that docs/install.md promises.
LINUX = [f"{libc}_{cpu}" for libc in ("manylinux", "musllinux") for cpu in ("x86_64", "aarch64")]
MACOS = ["macosx_arm64", "macosx_x86_64"]


def steps_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [step for job in document["jobs"].values() for step in job.get("steps", ())]


def script(document: Mapping[str, Any], name: str) -> str:
    (found,) = [step["run"] for step in steps_of(document) if step.get("name") == name]
    return str(found)


def run(
    code: str, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a script like a step on GitHub."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", code],
        cwd=folder,
        env={**os.environ, "PATH": path, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# -- All workflows -------------------------------------------------------------------------------

DOCUMENTS = [pytest.param(document, id=name) for name, document in FILES.items()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_actions_are_pinned_to_a_major_version(document):
    used = [step["uses"] for step in steps_of(document) if "uses" in step]
    assert used
    for each in used:
        assert re.fullmatch(r"[\w./-]+@(release/)?v\d+", each)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_scripts_hold_no_expression(document):
    assert not [step for step in steps_of(document) if "${{" in step.get("run", "")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_only_publishing_jobs_may_write(document):
    assert document["permissions"] == {"contents": "read"}
    for name, job in document["jobs"].items():
        allowed = {
            "pypi": {"id-token": "write"},
            "github": {"attestations": "write", "contents": "write", "id-token": "write"},
        }.get(name)
        assert job.get("permissions") == allowed
    assert "secrets." not in str(document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_workflows_that_are_used_exist(document):
    for job in document["jobs"].values():
        if "uses" in job:
            used = ROOT / job["uses"]
            assert "workflow_call" in yaml.safe_load(used.read_text())[ON]
        needed = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        assert set(needed) <= document["jobs"].keys()
    for job, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", str(document)):
        assert output in document["jobs"][job]["outputs"]


# -- Chores --------------------------------------------------------------------------------------


def test_ci_is_the_script_that_a_contributor_runs():
    job = FILES["ci"]["jobs"]["linux"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["sudo .ci/packages", ".ci/run python"]


def test_one_list_of_checks():
    """nox and .ci/run call .ci/lint; pre-commit has the same tools, from the same environment."""
    lint = (ROOT / ".ci/lint").read_text()
    assert '"bash", ".ci/lint"' in (ROOT / "noxfile.py").read_text()
    assert "\n.ci/lint\n" in (ROOT / ".ci/run").read_text()
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    tools = [hook["entry"].split()[0] for hook in local["hooks"]]
    assert set(tools) == {"ruff", "clang-format", "mypy", "codespell"}
    assert all(re.search(rf"\b{tool}\b", lint) for tool in tools)


def test_chores_of_a_contributor():
    sessions = re.findall(r"^@nox.session\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.M)
    assert sorted(sessions) == ["bench", "docs", "lint", "native", "test"]
    for name in sessions:
        assert f"nox -s {name}" in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")))
def test_forms_of_issues(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    for part in form["body"]:
        assert part["type"] in ("textarea", "input", "markdown")
        assert part["attributes"]["label"]


@pytest.mark.parametrize("name", ["lint", "packages", "run"])
def test_scripts_of_ci_are_sound(name):
    path = ROOT / ".ci" / name
    assert os.access(path, os.X_OK)
    done = run(f"bash -n {path}", ROOT)
    assert done.returncode == 0, done.stderr
    if shutil.which("shellcheck"):
        done = run(f"shellcheck {path}", ROOT)
        assert done.returncode == 0, done.stdout


# -- A release -----------------------------------------------------------------------------------


def test_nothing_is_published_before_it_is_built_and_checked():
    jobs = RELEASE["jobs"]
    order = ["version", "build", "check", "pypi", "github"]
    assert [jobs[name].get("needs") for name in order] == [None, *order[:-1]]


def test_what_is_published_is_what_was_built():
    """Artifacts are passed on by name."""
    kept = [
        step["with"]["name"]
        for step in steps_of(WHEELS)
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    assert kept == ["dist-sdist", "dist-${{ matrix.runner }}"]
    for name in ("check", "pypi", "github"):
        fetch = RELEASE["jobs"][name]["steps"][0]
        assert fetch["uses"].startswith("actions/download-artifact@")
        assert fetch["with"] == {"pattern": "dist-*", "path": "dist", "merge-multiple": True}


def test_publishing_is_trusted():
    job = RELEASE["jobs"]["pypi"]
    assert job["environment"]["name"] == "pypi"
    publish = job["steps"][-1]
    assert publish["uses"].startswith("pypa/gh-action-pypi-publish@")
    # No password, and attestations are not switched off.
    assert "with" not in publish


CHANGELOG = """# Changelog

## Unreleased

- Not yet.

## 1.2.0

- This.
- That.

## 1.1.0 (2025-01-01)

- Before.

## 1.0.0
"""


@pytest.fixture
def project(tmp_path):
    def make(version: str) -> Path:
        (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "{version}"\n')
        return tmp_path

    return make


def judge(folder: Path, tag: str) -> subprocess.CompletedProcess[str]:
    if sys.version_info < (3, 11):
        pytest.skip("the step's own Python is newer: it has tomllib")
    code = script(RELEASE, "The tag is the version, and the changelog knows it")
    return run(code, folder, {"GITHUB_REF_NAME": tag})


@pytest.mark.parametrize(
    ("version", "notes"), [("1.2.0", "\n- This.\n- That.\n\n"), ("1.1.0", "\n- Before.\n\n")]
)
def test_notes_of_a_release_are_its_changes(project, version, notes):
    done = judge(project(version), f"v{version}")
    assert done.returncode == 0, done.stdout
    assert (project(version) / "notes.md").read_text() == notes


def test_a_tag_that_is_not_the_version_ends_the_release(project):
    done = judge(project("1.2.0"), "v1.2.1")
    assert done.returncode == 1
    assert "::error::the tag is v1.2.1, but pyproject.toml has version 1.2.0" in done.stdout, (
        done.stderr
    )


@pytest.mark.parametrize("version", ["1.3.0", "1.0.0", "1x2.0"])
def test_a_version_without_changes_ends_the_release(project, version):
    done = judge(project(version), f"v{version}")
    assert done.returncode == 1
    assert f"::error::CHANGELOG.md has no section '## {version}'" in done.stdout, done.stderr


def test_tags_of_the_action_start_no_release():
    """The tags v0 and v1 move. GitHub's patterns are globs here."""
    (pattern,) = RELEASE[ON]["push"]["tags"]
    assert pattern == "v*.*.*"


def names_of(version: str) -> list[str]:
    """Returns the files of a release, with the names that auditwheel and delocate give."""
    platforms = [
        *(f"manylinux2014_{cpu}.manylinux_2_17_{cpu}" for cpu in ("x86_64", "aarch64")),
        *(f"musllinux_1_2_{cpu}" for cpu in ("x86_64", "aarch64")),
        *("macosx_11_0_arm64", "macosx_10_15_x86_64"),
    ]
    abis = ["cp310-abi3", "cp314-cp314t", "cp315-cp315t"]
    return [
        f"memwatch-{version}.tar.gz",
        *(f"memwatch-{version}-{abi}-{each}.whl" for abi in abis for each in platforms),
    ]


@pytest.mark.parametrize("missing", ["", "tar.gz", "abi3-musllinux_1_2_aarch64", "t-macosx_11_0"])
def test_a_release_needs_every_file(tmp_path, missing):
    (tmp_path / "dist").mkdir()
    for name in names_of("1.2.0"):
        if not missing or missing not in name:
            (tmp_path / "dist" / name).touch()
    # A file of another version does not count.
    (tmp_path / "dist/memwatch-1.1.0.tar.gz").touch()
    done = run(script(RELEASE, "Nothing is missing"), tmp_path, {"GITHUB_REF_NAME": "v1.2.0"})
    assert done.returncode == bool(missing), done.stderr
    assert done.stdout.count("::error::") == bool(missing), done.stdout


# -- Wheels --------------------------------------------------------------------------------------


def identifiers(platform: str, architectures: str) -> set[str]:
    if sys.version_info < (3, 11):
        pytest.skip("cibuildwheel needs Python 3.11")
    pytest.importorskip("cibuildwheel")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"),
            *("--platform", platform, "--archs", architectures),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("platform", "architectures", "promised"),
    [("linux", "x86_64,aarch64", LINUX), ("macos", "arm64,x86_64", MACOS)],
)
def test_wheels_are_the_promised_ones(platform, architectures, promised):
    found = identifiers(platform, architectures)
    assert {name for name in found if name.startswith("cp310-")} == {f"cp310-{p}" for p in promised}
    others = {name for name in found if not name.startswith("cp310-")}
    assert all(re.match(r"cp3\d\dt-", name) for name in others)
    # Before 3.14 cffi has no free-threaded Python.
    assert {f"cp314t-{p}" for p in promised} <= others
    assert not {name for name in others if name.startswith("cp313t-")}


def test_the_test_of_a_wheel_passes_here(tmp_path):
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    # memwatch as it is installed here.
    program = tmp_path / "bin" / "memwatch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m memwatch "$@"\n')
    program.chmod(0o755)
    for line in settings["test-command"]:
        done = run(f"PATH={program.parent}:$PATH; {line}", tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
