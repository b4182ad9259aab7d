"""Tests of the sdist, the wheels built from it for this system and others, and an installation.

They need no network.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 300

# Calls a hook of setuptools in the current folder, and prints the name of the result.
BUILD = (
    "import sys; from setuptools import build_meta; "
    "print('made ' + getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"
)

TREES = ("benchmarks", "csrc", "docs", "memwatch", "packaging", "tests")

# An arbitrary day: https://reproducible-builds.org/specs/source-date-epoch/
SOME_DAY = {"SOURCE_DATE_EPOCH": "1700000000"}

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


def build(what: str, source: Path, target: Path, **variables: str) -> Path:
    target.mkdir()
    env = {**os.environ, **variables}
    out = run([sys.executable, "-c", BUILD, what, target], cwd=source, env=env).stdout
    return target / out.rpartition("made ")[2].strip()


def tracked_files() -> set[str]:
    """Returns the files of the project, without what building and testing leave behind."""
    left_behind = (".so", ".pyc", "memwatch/runner/_native.c")
    hidden = {".ci/lint", ".ci/packages", ".ci/run", ".pre-commit-config.yaml"}
    return hidden | {
        str(path.relative_to(ROOT))
        for folder in TREES
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not str(path).endswith(left_behind)
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The sdist, built from a copy, so that nothing is written into the tree under test."""
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


def unpack(sdist: Path, target: Path) -> Path:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, filter="data")
        else:
            archive.extractall(target)
    return target / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def unpacked(sdist) -> Path:
    return unpack(sdist, sdist.parent)


@pytest.fixture(scope="module")
def wheel(unpacked) -> Path:
    return build("wheel", unpacked, unpacked.parent.parent / "wheel", **SOME_DAY)


@pytest.fixture(scope="module")
def installed(wheel) -> Path:
    """The programs of a new environment with this wheel, and links to its dependencies."""
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
    # A .pth file appends, so memwatch itself comes from the wheel. Links, because an editable
    # memwatch in the same folder as the dependencies must not be found.
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


def test_sdist_can_be_tested(unpacked):
    """No file that a test imports is missing."""
    run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"),
            *("-c", unpacked / "pyproject.toml", "--rootdir", unpacked, unpacked / "tests"),
        ],
        cwd=unpacked.parent,  # otherwise Python would import the package there
    )


def test_sdist_is_complete(unpacked):
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert tracked_files() <= there
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py", "PKG-INFO"} <= there


def test_sdist_has_nothing_built(unpacked):
    built = (".so", ".o", ".pyc", "_native.c")
    assert not [path for path in unpacked.rglob("*") if path.name.endswith(built)]


def test_an_index_accepts_the_metadata(sdist, wheel):
    pytest.importorskip("twine")
    run([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel])


def test_same_source_gives_the_same_wheel(sdist, wheel, tmp_path):
    """The folder of the build and the times of its files do not matter."""
    again = build("wheel", unpack(sdist, tmp_path / "elsewhere"), tmp_path / "wheel", **SOME_DAY)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_wheel_tag(wheel):
    name, _version, python, abi, platform = wheel.name.removesuffix(".whl").split("-")
    assert name == "memwatch"
    if has_gil:
        assert (python, abi) == ("cp310", "abi3")
    else:
        assert abi.endswith("t")
    if sys.platform == "darwin":
        # The oldest macOS that it runs on, which the extension names.
        assert platform.startswith("macosx_")
    else:
        assert platform == sysconfig.get_platform().replace("-", "_").replace(".", "_")


def audit(wheel: Path) -> None:
    """Checks that only the stable ABI of the Python in the wheel's tag is used."""
    pytest.importorskip("abi3audit")
    run([sys.executable, "-m", "abi3audit", "--strict", wheel])


@pytest.mark.skipif(not has_gil, reason="a free-threaded Python has no stable ABI")
def test_wheel_uses_only_the_stable_abi(wheel):
    audit(wheel)


def test_wheel_content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    python = {str(path.relative_to(ROOT)) for path in (ROOT / "memwatch").rglob("*.py")}
    assert python <= names
    assert {"memwatch/py.typed", "memwatch/runner/_native.pyi"} <= names
    for data in ("schema/*.json", "view/*.js", "view/*.css", "view/*.html"):
        there = {str(path.relative_to(ROOT)) for path in ROOT.glob(f"memwatch/{data}")}
        assert there
        assert there <= names
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    (extension,) = [name for name in names if name.endswith(".so")]
    assert not has_gil or extension == "memwatch/runner/_native.abi3.so"
    # Nothing else: no C files, no tests, no build results.
    metadata = metadata.partition("/")[0]
    folders = {"memwatch", metadata, metadata.replace(".dist-info", ".data")}
    assert {name.partition("/")[0] for name in names} == folders
    assert not [name for name in names if name.endswith((".c", ".h", ".pyc"))]
    assert "License-Expression: MIT" in text
    assert "Requires-Dist: cffi" in text
    assert "Requires-Dist: click" in text


def test_wheel_has_pages_and_completions_where_man_and_shells_find_them(wheel):
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
    """man finds them through PATH, as an activated environment sets it."""
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
    where = "import memwatch.runner._native; print(memwatch.runner._native.__file__)"
    found = run([python, "-c", where], env=env, cwd=tmp_path).stdout.strip()
    assert Path(found).is_relative_to(installed.parent)
    done = run([python, "-m", "memwatch", "--version"], env=env, cwd=tmp_path)
    from memwatch import __version__

    assert done.stdout.startswith(f"memwatch {__version__}\n")
    assert "\nBuild date:  2023-11-14\n" in done.stdout
    assert "Backend:     linux" in done.stdout or sys.platform != "linux"


# -- Systems that memwatch does not know -----------------------------------------------------------


def test_an_unknown_system_gets_a_program_that_reports_it(unpacked, tmp_path):
    wheel = build("wheel", unpacked, tmp_path / "wheel", _PYTHON_HOST_PLATFORM="plan9-4-x86_64")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    memwatch = [sys.executable, "-m", "memwatch"]
    env = {**clean_environment(), "PYTHONPATH": str(tmp_path / "site")}
    done = run([*memwatch, "--version"], env=env, cwd=tmp_path)
    assert "\nTarget:      plan9-4-x86_64\nBackend:     unsupported, on " in done.stdout
    done = subprocess.run(
        [*memwatch, "run", "--", "touch", "ran"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "memwatch: cannot run 'touch': memwatch needs Linux or macOS; "
        f"it does not support {os.uname().sysname}\n"
    )
    assert not (tmp_path / "ran").exists()


# -- Builds for other machines by zig, which has their headers and names of library functions ------


@pytest.fixture(scope="module")
def zig(tmp_path_factory) -> str:
    """The command of zig, with a cache in a folder of the tests: not every user has a home."""
    if sys.platform != "linux":
        pytest.skip("needs the headers of a Python for Linux; other systems build natively")
    pytest.importorskip("ziglang", reason="needs ziglang, which builds for other machines")
    folder = tmp_path_factory.mktemp("zig")
    headers = Path(sysconfig.get_path("include"))
    shutil.copytree(headers, folder / "include")
    # Debian's pyconfig.h includes the one of the target machine. That of this machine can be used:
    # nothing in the stable ABI depends on it, as long as both have 64 bits.
    debian = headers.parent / str(sysconfig.get_config_var("MULTIARCH")) / headers.name
    if (debian / "pyconfig.h").exists():
        shutil.copy(debian / "pyconfig.h", folder / "include")
    cache = f"ZIG_GLOBAL_CACHE_DIR={folder / 'cache'}"
    return shlex.join(
        ["env", cache, sys.executable, "-m", "ziglang", "cc", f"-I{folder / 'include'}"]
    )


class Mac(NamedTuple):
    target: str
    platform: str
    oldest: tuple[int, int]
    cpu: int
    """cpu_type_t of mach/machine.h."""

    def compilers(self, zig: str) -> dict[str, str]:
        """Returns the compilers for setuptools, instead of those that built Python.

        Everything that an extension does not define must be in a library, except Python's own
        functions: they are in the program that loads it. The linker therefore accepts any name.
        """
        compiler = f"{zig} -target {self.target}"
        return {
            "CC": f"{compiler} -Werror=unguarded-availability",
            "CFLAGS": "-Wall",
            # Only the system's library: zig would compile and add another one.
            "LDSHARED": f"{compiler} -shared -nostdlib -lc -undefined dynamic_lookup",
            "_PYTHON_HOST_PLATFORM": self.platform,
        }


MACS = [
    Mac("aarch64-macos.11.0", "macosx-11.0-arm64", (11, 0), 0x0100000C),
    Mac("x86_64-macos.10.15", "macosx-10.15-x86_64", (10, 15), 0x01000007),
]


@pytest.fixture(params=MACS, ids=lambda mac: mac.platform)
def mac(request) -> Mac:
    pytest.importorskip("macholib", reason="needs macholib, which reads what was built")
    return request.param


class Image(NamedTuple):
    cpu: int
    oldest: tuple[int, int]
    libraries: list[str]
    exported: set[str]
    found: set[str]
    """Names that it needs and that one of the libraries has."""
    missing: set[str]


def read_image(path: Path) -> Image:
    """Reads a Mach-O file for one architecture: mach-o/loader.h, mach-o/nlist.h."""
    from macholib.mach_o import LC_BUILD_VERSION, LC_LOAD_DYLIB, LC_VERSION_MIN_MACOSX
    from macholib.MachO import MachO
    from macholib.SymbolTable import SymbolTable

    image = MachO(str(path))
    (header,) = image.headers
    libraries, versions = [], []
    for load, command, data in header.commands:
        if load.cmd == LC_LOAD_DYLIB:
            libraries.append(data.rstrip(b"\0").decode())
        elif load.cmd == LC_BUILD_VERSION:
            versions.append(int(command.minos))
        elif load.cmd == LC_VERSION_MIN_MACOSX:
            versions.append(int(command.version))
    (version,) = versions
    symbols = SymbolTable(image)
    needed: dict[bool, set[str]] = {True: set(), False: set()}
    for symbol, name in symbols.undefsyms:
        # The number, from 1, of the library in which the linker found it.
        needed[1 <= symbol.n_desc >> 8 & 0xFF <= len(libraries)].add(name.decode())
    return Image(
        int(header.header.cputype),
        (version >> 16, version >> 8 & 0xFF),
        libraries,
        {name.decode() for _symbol, name in symbols.extdefsyms},
        needed[True],
        needed[False],
    )


def stable_abi() -> set[str]:
    """Returns the names that every Python from 3.10 on exports."""
    abi3info = pytest.importorskip("abi3info", reason="needs abi3info, which lists the stable ABI")
    from abi3info.models import PyVersion

    return {
        symbol.macos
        for symbol, what in (*abi3info.FUNCTIONS.items(), *abi3info.DATAS.items())
        if what.added <= PyVersion(3, 10)
    }


@pytest.mark.skipif(not has_gil, reason="a free-threaded Python has no stable ABI")
def test_wheel_for_macos(unpacked, mac, zig, tmp_path):
    wheel = build("wheel", unpacked, tmp_path / "wheel", **mac.compilers(zig))
    tag = mac.platform.replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-cp310-abi3-{tag}.whl")
    with zipfile.ZipFile(wheel) as archive:
        image = read_image(Path(archive.extract("memwatch/runner/_native.abi3.so", tmp_path)))
    assert (image.cpu, image.oldest) == (mac.cpu, mac.oldest)
    assert image.libraries == ["/usr/lib/libSystem.B.dylib"]
    assert "_PyInit__native" in image.exported
    assert image.found > {"_kevent", "_proc_pid_rusage", "_sysctl"}
    # The newest macOS exports it, older ones do not, and no header shows that.
    assert "_environ" not in image.found
    assert image.missing > {"_PyImport_ImportModule"}
    assert not image.missing - stable_abi()
    audit(wheel)


def compile_for(mac: Mac, zig: str, code: str, folder: Path) -> Path:
    """Compiles a single extension with the compilers of the wheel."""
    (folder / "x.c").write_text(code)
    compilers = mac.compilers(zig)
    run([*shlex.split(compilers["CC"]), "-O2", "-c", "x.c", "-o", "x.o"], cwd=folder)
    run([*shlex.split(compilers["LDSHARED"]), "x.o", "-o", "x.so"], cwd=folder)
    return folder / "x.so"


def test_a_misspelt_function_is_noticed(mac, zig, tmp_path):
    code = """
        extern int proc_listallpids(void *, int), proc_listallpid(void *, int);
        extern int PyErr_Occured(void), PyErr_CheckSignals(void);
        int f(void) {
            return proc_listallpids(0, 0) + proc_listallpid(0, 0) + PyErr_Occured() +
                   PyErr_CheckSignals();
        }
    """
    image = read_image(compile_for(mac, zig, code, tmp_path))
    assert "_proc_listallpids" in image.found
    assert image.missing - stable_abi() == {"_proc_listallpid", "_PyErr_Occured"}


def test_a_function_of_a_later_macos_is_noticed(mac, zig, tmp_path):
    code = '#include <sys/stat.h>\nint f(void) { return mkfifoat(-1, "", 0); }'
    with pytest.raises(AssertionError, match=r"only available on macOS 13\.0 or newer"):
        compile_for(mac, zig, code, tmp_path)


@pytest.mark.skipif(not has_gil, reason="a free-threaded Python has no stable ABI")
def test_wheel_for_another_processor_and_c_library(zig, unpacked, tmp_path):
    """It is compiled for musl but not linked with it: the build of a release does that."""
    compiler = f"{zig} -target aarch64-linux-musl"
    compilers = {"CC": compiler, "CFLAGS": "-Wall", "LDSHARED": f"{compiler} -shared -nostdlib"}
    platform = {"_PYTHON_HOST_PLATFORM": "linux-aarch64"}
    wheel = build("wheel", unpacked, tmp_path / "wheel", **compilers, **platform)
    assert wheel.name.endswith("-cp310-abi3-linux_aarch64.whl")
    with zipfile.ZipFile(wheel) as archive:
        header = archive.read("memwatch/runner/_native.abi3.so")[:20]
    # e_ident and e_machine of elf.h: 64 bits, little-endian, AArch64.
    assert (header[:6], header[18:20]) == (b"\x7fELF\x02\x01", b"\xb7\x00")
