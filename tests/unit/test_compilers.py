"""The source file of a compiler process: command lines of real compilers, and real runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model.compilers import Unit, unit_of
from memwatch.model.observations import ProgramText

GCC = "/usr/lib/gcc/x86_64-linux-gnu/12/"
LLVM = "/usr/lib/llvm-14/bin/clang"


def unit(line: str, exe: str | None = None) -> Unit | None:
    argv = tuple(line.split(" "))
    return unit_of(ProgramText(argv[0].rsplit("/", 1)[-1][:15], exe, argv, False))


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (
            GCC + "cc1 -quiet -imultiarch x86_64-linux-gnu a.c -quiet -dumpbase a.c -o /tmp/x.s",
            "a.c",
        ),
        (
            GCC + "cc1 -quiet -I sub -imultiarch x86_64-linux-gnu -MD a2.d -MF x.d -MQ a2.o "
            "-D X=1 a.c -quiet -dumpbase a2.c -dumpbase-ext .c -o /tmp/ccYpNSaQ.s",
            "a.c",
        ),
        (GCC + "cc1plus -quiet -D_GNU_SOURCE src/b.cpp -quiet -dumpbase b.cpp", "src/b.cpp"),
        (GCC + "cc1 -E -quiet a.c -mtune=generic -dumpbase a.c", "a.c"),
        (GCC + "cc1 -quiet - -quiet -dumpbase s", "-"),
        # The file that -dumpbase names; the value of an unknown option is not taken for it.
        (GCC + "cc1 -quiet -new-option value a.c -dumpbase a.c", "a.c"),
        (GCC + "cc1 -quiet -- -odd.c", "-odd.c"),
        (GCC + "f951 x.f90 -quiet -dumpbase x.f90 -fintrinsic-modules-path /usr/finclude", "x.f90"),
        (GCC + "cc1 -quiet @/tmp/ccxyz", None),
        (GCC + "lto1 -quiet -dumpbase ./lto.wpa", None),
        (LLVM + " -cc1 -triple x86_64 -main-file-name a.c -o a.o -x c a.c", "a.c"),
        (LLVM + " -cc1 -x c-header -o x -main-file-name b.cpp -x c++ src/b.cpp", "src/b.cpp"),
        (LLVM + " -cc1 -main-file-name a.c -x ir -o a.o", "a.c"),
        (LLVM + " -cc1 -main-file-name - -x c -", "-"),
        ("clang -c a.c -o a.o", "a.c"),
        ("clang++ -O2 -I include -c -o b.o src/b.cpp", "src/b.cpp"),
        ("aarch64-linux-gnu-clang-17 -S a.c", "a.c"),
        (
            "cicc --c++17 --orig_src_file_name k.cu --orig_src_path_name /p/k.cu /tmp/k.ii",
            "/p/k.cu",
        ),
        ("cudafe++ --c++17 --orig_src_file_name k.cu --m64 /tmp/k.ii", "k.cu"),
        ("cicc --c++17", None),
        ("rustc src/main.rs -o main", "src/main.rs"),
    ],
)
def test_compilers(line: str, path: str | None) -> None:
    assert unit(line) == Unit(path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rustc --crate-name hello --edition 2021 m.rs", Unit("m.rs", "crate hello")),
        ("rustc --crate-name=x src/lib.rs --extern y=/t/liby.rlib", Unit("src/lib.rs", "crate x")),
        ("clippy-driver rustc --crate-name x src/lib.rs", Unit("src/lib.rs", "crate x")),
        (
            "/go/pkg/tool/linux_amd64/compile -o /tmp/a -p net/http -c=4 a.go b.go",
            Unit(None, "package net/http"),
        ),
    ],
)
def test_compilers_of_more_than_a_file(line: str, expected: Unit) -> None:
    assert unit(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "gcc -c a.c",
        "g++ -O2 a.cpp -o a",
        "cc a.c",
        "as --64 -o a.o /tmp/a.s",
        "ld -o a a.o",
        "make -j8 CC=cc1",
        "sh -c cc1",
        "vim a.c",
        # Drivers that start other processes for the work.
        "clang a.c -o a",
        "clang -c a.c b.c",
        "clang -c -save-temps a.c",
        "clang -c -fno-integrated-as a.c",
        "clang -fno-integrated-cc1 -c a.c",
        "clang -c @arguments",
        "clang --version",
        "ccache clang -c a.c",
        "distcc gcc -c a.c",
        # Compilers that only print information.
        "rustc -vV",
        "rustc - --crate-name ___ --print=file-names",
        "rustc --print sysroot",
        "compile -p x",
        "",
    ],
)
def test_other_programs_have_no_unit(line: str) -> None:
    assert unit(line) is None


def test_a_wrapper_named_like_a_compiler_has_no_unit() -> None:
    assert unit("clang -c a.c", exe="/usr/bin/ccache") is None
    assert unit("clang -c a.c", exe="/usr/lib/llvm-14/bin/clang") == Unit("a.c")


def test_without_a_command_line_there_is_no_unit() -> None:
    assert unit_of(ProgramText("cc1", "/usr/lib/cc1", None, False)) is None


words = st.sampled_from(
    ["cc1", "clang", "rustc", "-cc1", "-x", "c", "-c", "a.c", "-o", "-p", "--", "-", "@f",
     "--crate-name", "-dumpbase", "-main-file-name", "m.rs", "", "--print", "=", "lto1", "cicc"]
)  # fmt: skip


@given(st.lists(words, min_size=1, max_size=8))
def test_any_command_line_can_be_read(argv: list[str]) -> None:
    found = unit_of(ProgramText(argv[0][:15], None, tuple(argv), False))
    if found and found.path:
        assert found.path in argv


# Real compilers

C = "int main(void) { return 0; }\n"
COMMANDS = {
    "gcc -O2 -MD -D X=1 -I include -c src/a.c -o a.o": {"src/a.c"},
    "gcc src/a.c src/b.c -o both": {"src/a.c", "src/b.c"},
    "gcc @arguments -c": {"src/a.c"},
    "g++ -O1 -c src/c.cpp -o c.o": {"src/c.cpp"},
    "clang -c src/a.c -o a.o": {"src/a.c"},
    "clang src/a.c src/b.c -o both": {"src/a.c", "src/b.c"},
    "clang -save-temps -c src/a.c": {"src/a.c"},
    "rustc --crate-name hello --crate-type lib src/d.rs": {"src/d.rs (crate hello)"},
}

OPTIONS = ("run", "-i", "1", "--exact", "--json", "--group-by", "source")


@pytest.mark.parametrize("line", COMMANDS)
def test_real_compilers(line: str, tmp_path: Path) -> None:
    argv = line.split()
    if not shutil.which(argv[0]):
        pytest.skip(f"needs {argv[0]}")
    (tmp_path / "src").mkdir()
    (tmp_path / "include").mkdir()
    (tmp_path / "src/a.c").write_text(C)
    (tmp_path / "src/b.c").write_text(C.replace("main", "other"))
    (tmp_path / "src/c.cpp").write_text("#include <vector>\nstd::vector<int> v;\n")
    (tmp_path / "src/d.rs").write_text("pub fn f() {}\n")
    (tmp_path / "arguments").write_text("-O2 src/a.c\n")
    result = subprocess.run(
        [sys.executable, "-m", "memwatch", *OPTIONS, "--", *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        pytest.skip(f"{argv[0]} does not work here: {result.stderr[-200:]}")
    report = json.loads(result.stdout)
    if any(each["name"] == "hook" and not each["used"] for each in report["accuracy"]["sources"]):
        pytest.skip("needs the exit hook, or a short compiler may be missed")
    groups = {each["command"]: each for each in report["groups"]}
    assert COMMANDS[line] <= groups.keys()
    for name in COMMANDS[line]:
        assert groups[name]["processes"] >= 1
        assert groups[name]["max_rss_kib"] > 1000
    assert "(unknown source)" not in groups
