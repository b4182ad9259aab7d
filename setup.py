"""The parts of the build that pyproject.toml cannot describe: extension, wheel, man pages."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.command.sdist import sdist
from setuptools.errors import ExecError

if sys.platform == "win32":
    sys.exit("memwatch does not support Windows yet: it needs Linux or macOS (or WSL 2)")

# A free-threaded Python has no stable ABI, so it needs its own wheel.
abi3 = not sysconfig.get_config_var("Py_GIL_DISABLED")

MAN_PAGES = "docs/man_pages.py"


class BuildManPages(Command):
    """Builds the man pages and installs them in share/man beside bin, where `man` finds them."""

    user_options = ()

    def initialize_options(self):
        self.build_base = None
        self.editable_mode = False

    def finalize_options(self):
        self.set_undefined_options("build", ("build_base", "build_base"))

    def run(self):
        if self.editable_mode:  # setuptools installs no data files then
            return
        folder = Path(self.build_base, "man")
        # Runs in another process, because this one must not import what is about to be built.
        if subprocess.run([sys.executable, "-B", MAN_PAGES, folder], check=False).returncode:
            raise ExecError("the manual pages could not be made: see above")
        pages = sorted(map(str, folder.glob("*.1")))
        self.distribution.data_files.append(("share/man/man1", pages))


class SourceDist(sdist):
    """A source distribution with what others need to test and package memwatch."""

    def make_distribution(self):
        self.filelist.extend(
            [
                *(".ci/lint", ".ci/packages", ".ci/run", ".pre-commit-config.yaml"),
                *("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml", "noxfile.py"),
            ]
        )
        for folder in ("benchmarks", "docs", "packaging", "tests"):
            files = (path for path in Path(folder).rglob("*") if path.is_file())
            self.filelist.extend(str(path) for path in files if path.suffix not in (".pyc", ".so"))
        super().make_distribution()


class Build(build):
    """A build that includes the man pages."""

    sub_commands = (*build.sub_commands, ("build_man_pages", None))


setup(
    cffi_modules=["csrc/build_ffi.py:ffi"],
    cmdclass={"build": Build, "build_man_pages": BuildManPages, "sdist": SourceDist},
    # The folders in which each shell looks for completions of installed programs.
    data_files=[
        ("share/bash-completion/completions", ["memwatch/completion/memwatch.bash"]),
        ("share/zsh/site-functions", ["memwatch/completion/_memwatch"]),
        ("share/fish/vendor_completions.d", ["memwatch/completion/memwatch.fish"]),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if abi3 else {},
)
