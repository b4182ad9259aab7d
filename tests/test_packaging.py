"""The sdist, the wheel made from it, and what that wheel installs. Needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TIMEOUT = 300

# One of setuptools' hooks, in the folder it is run in: the name of what it made.
BUILD = (
    "import sys; from setuptools import build_meta; "
    "print('made ' + getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"
)

has_gil = not sysconfig.get_config_var("Py_GIL_DISABLED")


def run(command, **how) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        **how,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def build(what: str, source: Path, target: Path) -> Path:
    target.mkdir()
    out = run([sys.executable, "-c", BUILD, what, target], cwd=source).stdout
    return target / out.rpartition("made ")[2].strip()


def tracked_files() -> set[str]:
    """What belongs to the project: files here, less what building and testing leave behind."""
    left_behind = (".so", ".pyc", "memwatch/_native.c")
    return {
        str(path.relative_to(ROOT))
        for folder in ("csrc", "memwatch")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not str(path).endswith(left_behind)
    } | {"docs/man_pages.py"}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing is written into the tree under test."""
    pytest.importorskip("setuptools")
    if not shutil.which(os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split()[0]):
        pytest.skip("no C compiler")
    directory = tmp_path_factory.mktemp("packaging")
    source = directory / "source"
    for name in sorted(tracked_files()):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source / path.name)
    return build("sdist", source, directory / "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist) -> Path:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(sdist.parent, filter="data")
        else:
            archive.extractall(sdist.parent)
    return sdist.parent / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(unpacked) -> Path:
    return build("wheel", unpacked, unpacked.parent.parent / "wheel")


@pytest.fixture(scope="module")
def installed(wheel) -> Path:
    """The programs of a new environment that holds this wheel, and borrows what it needs."""
    pytest.importorskip("pip")
    target = wheel.parent.parent / "venv"
    venv.create(target, with_pip=False, symlinks=True)
    python = target / "bin" / "python"
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout
    run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
            *("--no-deps", "--no-index", "--no-build-isolation", wheel),
        ]
    )
    # A .pth file appends, so memwatch itself is the one of the wheel; links, because an editable
    # memwatch beside what is needed must not be found.
    borrowed = target / "borrowed"
    borrowed.mkdir()
    for name in ("cffi", "click", "pycparser", "_cffi_backend"):
        found = pytest.importorskip(name).__file__
        path = Path(found).parent if Path(found).name == "__init__.py" else Path(found)
        (borrowed / path.name).symlink_to(path)
    (Path(site.strip()) / "borrowed.pth").write_text(f"{borrowed}\n")
    return target / "bin"


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_sdist_is_complete(unpacked):
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert tracked_files() <= there
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py", "PKG-INFO"} <= there


def test_sdist_has_nothing_built(unpacked):
    built = (".so", ".o", ".pyc", "_native.c")
    assert not [path for path in unpacked.rglob("*") if path.name.endswith(built)]


def test_wheel_tag(wheel):
    name, _version, python, abi, platform = wheel.name.removesuffix(".whl").split("-")
    assert name == "memwatch"
    if has_gil:
        assert (python, abi) == ("cp310", "abi3")
    else:
        assert abi.endswith("t")
    assert platform == sysconfig.get_platform().replace("-", "_").replace(".", "_")


def test_wheel_content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    python = {str(path.relative_to(ROOT)) for path in (ROOT / "memwatch").rglob("*.py")}
    assert python <= names
    assert {"memwatch/py.typed", "memwatch/_native.pyi"} <= names
    for data in ("schema/*.json", "view/*.js", "view/*.css", "view/*.html"):
        there = {str(path.relative_to(ROOT)) for path in ROOT.glob(f"memwatch/{data}")}
        assert there
        assert there <= names
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    (extension,) = [name for name in names if name.endswith(".so")]
    assert not has_gil or extension == "memwatch/_native.abi3.so"
    # Nothing else: no sources of the extension, no tests, no builds.
    metadata = metadata.partition("/")[0]
    folders = {"memwatch", metadata, metadata.replace(".dist-info", ".data")}
    assert {name.partition("/")[0] for name in names} == folders
    assert not [name for name in names if name.endswith((".c", ".h", ".pyc"))]
    assert "License-Expression: MIT" in text
    assert "Requires-Dist: cffi" in text
    assert "Requires-Dist: click" in text


def test_wheel_has_what_man_and_shells_look_for(wheel):
    from memwatch.cli import COMMANDS

    with zipfile.ZipFile(wheel) as archive:
        names = [name.partition(".data/data/") for name in archive.namelist()]
    pages = {f"share/man/man1/memwatch-{command}.1" for command in COMMANDS}
    assert {name for _, data, name in names if data} == pages | {
        "share/man/man1/memwatch.1",
        "share/bash-completion/completions/memwatch.bash",
        "share/zsh/site-functions/_memwatch",
        "share/fish/vendor_completions.d/memwatch.fish",
    }


@pytest.mark.parametrize("page", ["memwatch", "memwatch-run"])
def test_man_finds_the_pages_of_an_environment(installed, page):
    """Through PATH, as an activated environment sets it."""
    if not shutil.which("man"):
        pytest.skip("no man")
    env = {"PATH": f"{installed}:{os.environ['PATH']}", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    found = run(["man", "-w", page], env=env).stdout.strip()
    assert Path(found) == installed.parent / f"share/man/man1/{page}.1"
    assert f"{page} - " in run(["man", page], env=env).stdout


def test_schema_is_packaged(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert "memwatch/schema/profile.schema.json" in archive.namelist()


def test_version_is_the_same_everywhere(wheel):
    from memwatch import __version__

    assert wheel.name.split("-")[1] == __version__


def test_installed_program(installed, tmp_path):
    env = clean_environment()
    done = run([installed / "memwatch", "run", "--", "true"], env=env, cwd=tmp_path)
    assert done.stdout == ""
    assert "Job: true" in done.stderr
    done = run([installed / "memwatch", "run", "--", "echo", "x"], env=env, cwd=tmp_path)
    assert done.stdout == "x\n"


def test_installed_module(installed, tmp_path):
    python, env = installed / "python", clean_environment()
    where = "import memwatch._native; print(memwatch._native.__file__)"
    found = run([python, "-c", where], env=env, cwd=tmp_path).stdout.strip()
    assert Path(found).is_relative_to(installed.parent)
    done = run([python, "-m", "memwatch", "--version"], env=env, cwd=tmp_path)
    from memwatch import __version__

    assert done.stdout.startswith(f"memwatch {__version__}\n")
    assert "Backend:     linux" in done.stdout or sys.platform != "linux"
