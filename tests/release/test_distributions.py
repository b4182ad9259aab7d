"""Tests of the packages made from packaging/ and the sdist, with the tools of each system."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PACKAGING = ROOT / "packaging"
FILL = PACKAGING / "fill.py"
MADE = 1700000000  # 2023-11-14 22:13:20 UTC

# Calls a hook of setuptools like a build frontend.
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def load_fill():
    spec = importlib.util.spec_from_file_location("fill", FILL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = load_fill()


def write_sdist(path: Path, text: str | None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("memwatch.egg-info/PKG-INFO", "PKG-INFO", "setup.py"):
            data = (text or "").encode()
            member = tarfile.TarInfo(f"memwatch-1.2.3/{name}")
            member.size, member.mtime = len(data), MADE
            if text is not None or "PKG-INFO" not in name:
                archive.addfile(member, io.BytesIO(data))
    return path


def run(*command: str | Path, **how) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], check=False, capture_output=True, text=True, timeout=300, **how
    )


@pytest.fixture
def sdist(tmp_path) -> Path:
    text = "Metadata-Version: 2.4\nName: memwatch\nVersion: 1.2.3\n\nName: other\n"
    return write_sdist(tmp_path / "memwatch-1.2.3.tar.gz", text)


@pytest.fixture
def filled(sdist, tmp_path) -> Path:
    done = run(sys.executable, FILL, sdist, "-o", tmp_path / "filled")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return tmp_path / "filled"


# -- fill.py ---------------------------------------------------------------------------------------


def test_values(sdist):
    values = fill.values(fill.read_sdist(sdist))
    data = sdist.read_bytes()
    assert values["VERSION"] == values["DEBIAN_VERSION"] == "1.2.3"
    assert values["SHA256"] == hashlib.sha256(data).hexdigest()
    hashed = values["SRI"].removeprefix("sha256-")
    assert base64.b64decode(hashed) == hashlib.sha256(data).digest()
    assert values["URL"].endswith("/m/memwatch/memwatch-1.2.3.tar.gz")
    assert values["DATE"] == "Tue, 14 Nov 2023 22:13:20 +0000"


@pytest.mark.parametrize(
    ("version", "debian"),
    [("1.0rc1", "1.0~rc1"), ("1.0.dev2", "1.0~dev2"), ("1.0b1", "1.0~b1"), ("1.0.post1",) * 2],
)
def test_debian_version(version, debian):
    assert fill.values(fill.Sdist(version, b"", 0))["DEBIAN_VERSION"] == debian


def test_unknown_placeholder():
    assert fill.fill("a @X@ b@c.d", {"X": "1"}) == "a 1 b@c.d"
    with pytest.raises(KeyError):
        fill.fill("@SHA256@", {})


def test_resources_of_the_formula():
    formula = (PACKAGING / "homebrew/memwatch.rb").read_text()
    asked = []

    def ask(project):
        asked.append(project)
        files = [("bdist_wheel", "no.whl"), ("sdist", f"https://x/{project}-9.tar.gz")]
        return {
            "urls": [
                {"packagetype": kind, "url": url, "digests": {"sha256": project * 2}}
                for kind, url in files
            ]
        }

    text = fill.with_resources(formula, ask)
    # The dependencies of memwatch, and theirs.
    assert asked == ["cffi", "click", "pycparser"]
    for project in asked:
        assert f'url "https://x/{project}-9.tar.gz"\n    sha256 "{project * 2}"\n' in text
    assert fill.RESOURCE.sub("", text) == fill.RESOURCE.sub("", formula)


def test_templates_are_filled(filled, sdist):
    names = {str(path.relative_to(filled)) for path in filled.rglob("*") if path.is_file()}
    assert {
        "homebrew/memwatch.rb",
        "conda-forge/recipe.yaml",
        "nix/flake.nix",
        "nix/package.nix",
        "debian/control",
        "debian/source/format",
    } <= names
    sha256 = hashlib.sha256(sdist.read_bytes()).hexdigest()
    for name in names:
        text = (filled / name).read_text()
        assert not re.search(r"@[A-Z0-9_]+@", text), name
        assert os.access(filled / name, os.X_OK) == os.access(PACKAGING / name, os.X_OK)
    assert f'sha256 "{sha256}"' in (filled / "homebrew/memwatch.rb").read_text()
    assert f"sha256: {sha256}" in (filled / "conda-forge/recipe.yaml").read_text()
    assert (filled / "debian/changelog").read_text().startswith("memwatch (1.2.3-1) ")


@pytest.mark.parametrize(
    "text",
    [None, "Name: other\nVersion: 1\n", "Name: memwatch\n", ""],
)
def test_files_that_are_no_sdist(tmp_path, text):
    path = write_sdist(tmp_path / "x.tar.gz", text)
    done = run(sys.executable, FILL, path, "-o", tmp_path / "filled")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert repr(str(path)) in done.stderr
    assert "python -m build --sdist" in done.stderr
    assert not (tmp_path / "filled").exists()


def test_damaged_and_missing_sdist(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "text").write_text("plain text\n")
    for name in ("x.tar.gz", "text", "none.tar.gz"):
        done = run(sys.executable, FILL, tmp_path / name, "-o", tmp_path / "filled")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert name in done.stderr


# -- Homebrew, conda-forge, Nix --------------------------------------------------------------------


def needs(*names: str) -> None:
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"no {name}")


def test_formula_is_ruby(filled):
    needs("ruby")
    done = run("ruby", "-wc", filled / "homebrew/memwatch.rb")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Syntax OK\n", "")


@pytest.mark.parametrize("platform", ["linux-64", "osx-64", "osx-arm64"])
def test_conda_recipe(filled, platform):
    rattler = pytest.importorskip("rattler_build", reason="needs py-rattler-build")
    recipe = rattler.Stage0Recipe.from_file(filled / "conda-forge/recipe.yaml")
    # The part of conda-forge's global pinning that matters here.
    variants = {
        "python": ["3.10.* *_cpython"],
        "python_min": ["3.10"],
        "is_abi3": [True],
        "is_python_min": [True],
        "c_compiler": ["gcc"],
        "c_stdlib": ["sysroot"],
    }
    on = rattler.PlatformConfig(
        target_platform=platform, host_platform=platform, build_platform="linux-64"
    )
    (variant,) = recipe.render(rattler.VariantConfig(variants), rattler.RenderConfig(platform=on))
    rendered = variant.recipe.to_dict()
    assert rendered["package"] == {"name": "memwatch", "version": "1.2.3"}
    assert rendered["build"]["python"] == {"version_independent": True}
    requirements = rendered["requirements"]
    assert {"python", "cffi >=2", "click >=8.1", "tomli >=2"} == set(requirements["run"])
    assert ("cffi" in requirements["build"]) == (platform != "linux-64")


# Enough of nixpkgs to see which packages are requested.
NIXPKGS = """
  lib = {
    optional = wanted: one: if wanted then [ one ] else [ ];
    genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
    getExe = package: "/${package.pname}";
    licenses.mit = "MIT";
    platforms = { linux = [ "linux" ]; darwin = [ "darwin" ]; };
  };
  python3Packages = {
    buildPythonApplication = what: what;
    setuptools = "setuptools"; cffi = "cffi"; click = "click"; click-man = "click-man";
  };
  package = import NIX/package.nix { inherit lib python3Packages; fetchurl = what: what; };
"""


def evaluate(nix: Path, expression: str):
    needs("nix-instantiate")
    text = f"let {NIXPKGS.replace('NIX', str(nix))} in {expression}"
    done = run(
        *("nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json", "-E", text),
        env={"PATH": os.environ["PATH"], "HOME": str(nix), "XDG_CACHE_HOME": str(nix)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nix_package(filled, sdist):
    package = evaluate(filled / "nix", "package")
    assert package["version"] == "1.2.3"
    sha256 = hashlib.sha256(sdist.read_bytes()).digest()
    assert package["src"]["hash"] == f"sha256-{base64.b64encode(sha256).decode()}"
    assert set(package["dependencies"]) == {"cffi", "click"}
    assert {"setuptools", "cffi", "click-man"} <= set(package["build-system"])


def test_nix_flake(filled):
    pkgs = """{
      inherit lib;
      callPackage = path: _: package;
      runCommand = name: _: script: script;
      mkShell = what: what;
      jq.pname = "jq"; clang-tools = ""; ruff = ""; mypy = "";
    }"""
    flake = f"""
      let
        systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
        nixpkgs = {{ inherit lib; legacyPackages = lib.genAttrs systems (system: {pkgs}); }};
        self = (import {filled}/nix/flake.nix).outputs {{ inherit self nixpkgs; }};
      in {{
        versions = builtins.mapAttrs (_: each: each.default.version) self.packages;
        checks = builtins.attrValues self.checks.x86_64-linux;
        shells = map (each: builtins.length each.default.inputsFrom)
          (builtins.attrValues self.devShells);
      }}"""
    found = evaluate(filled / "nix", flake)
    assert set(found["versions"].values()) == {"1.2.3"}
    assert all("/memwatch run --json -- true" in check for check in found["checks"])
    assert found["shells"] == [1] * 4


# -- Debian ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def debian(tmp_path_factory) -> Path:
    """A folder with what dpkg-buildpackage makes from the sdist."""
    needs("dpkg-buildpackage", "dpkg-checkbuilddeps", "dh")
    missing = run("dpkg-checkbuilddeps", PACKAGING / "debian/control", cwd=PACKAGING)
    if missing.returncode:
        pytest.skip(missing.stderr.strip())
    if "bookworm" not in Path("/etc/os-release").read_text():
        pytest.skip("the packaging is for Debian 12")
    folder = tmp_path_factory.mktemp("debian")
    source = folder / "source"
    ignored = shutil.ignore_patterns(
        *(".*", "build", "dist", "*.so", "*.egg-info", "__pycache__", "_native.c", "tests")
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    made = run(sys.executable, "-c", BUILD_SDIST, folder, cwd=source)
    assert made.returncode == 0, made.stderr
    (sdist,) = folder.glob("memwatch-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    shutil.copy(sdist, folder / f"memwatch_{unpacked.name.partition('-')[2]}.orig.tar.gz")
    assert run(sys.executable, FILL, sdist, "-o", folder / "filled").returncode == 0
    shutil.copytree(folder / "filled/debian", unpacked / "debian")
    # The environment of the tests must not replace Debian's.
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "DEB_BUILD_OPTIONS": "noautodbgsym",
    }
    built = run("dpkg-buildpackage", "-us", "-uc", cwd=unpacked, env=env)
    assert built.returncode == 0, built.stdout[-5000:] + built.stderr[-5000:]
    return folder


@pytest.fixture(scope="module")
def root(debian) -> Path:
    """A folder with the files that the package installs."""
    (package,) = debian.glob("memwatch_*.deb")
    assert run("dpkg-deb", "-x", package, debian / "root").returncode == 0
    return debian / "root"


def test_debian_package(debian):
    (package,) = debian.glob("memwatch_*.deb")
    fields = run("dpkg-deb", "-f", package, "Version", "Depends").stdout
    from memwatch import __version__

    assert f"Version: {__version__}-1\n" in fields
    for dependency in ("python3-cffi-backend", "python3-click", "libc6"):
        assert dependency in fields


def test_debian_package_runs(root, tmp_path):
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root / "usr/lib/python3/dist-packages")}
    program = root / "usr/bin/memwatch"
    assert program.read_text().startswith("#!/usr/bin/python3\n")
    done = run(program, "run", "--json", "--", "true", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 0


def test_debian_package_has_pages_and_completions(root):
    from memwatch.cli import COMMANDS

    share = root / "usr/share"
    pages = {path.name for path in (share / "man/man1").iterdir()}
    assert pages == {"memwatch.1.gz", *(f"memwatch-{name}.1.gz" for name in COMMANDS)}
    for name in (
        "bash-completion/completions/memwatch.bash",
        "zsh/vendor-completions/_memwatch",
        "fish/vendor_completions.d/memwatch.fish",
    ):
        assert (share / name).is_file()


def test_lintian_finds_no_errors(debian):
    needs("lintian")
    (changes,) = debian.glob("*.changes")
    done = run("lintian", "--fail-on", "error", "--allow-root", changes)
    assert done.returncode == 0, done.stdout + done.stderr
    # There is no request for a Debian package yet, and no home page other than PyPI's.
    known = ("initial-upload-closes-no-bugs", "pypi-homepage")
    assert [
        line for line in done.stdout.splitlines() if not any(tag in line for tag in known)
    ] == []
