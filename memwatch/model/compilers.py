"""Finds the source file that a compiler compiles, from its command line.

Only what is certain is returned: a driver that has the work done by another process (gcc, g++, a
clang with several inputs) is not a compiler here, and a wrapper (ccache, distcc) is not either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from posixpath import basename
from typing import NamedTuple, TypeAlias

from memwatch.model.observations import ProgramText

_WRAPPERS = {"ccache", "sccache", "distcc", "icecc", "buildcache"}

# The compilers proper that gcc, g++ and gfortran start: https://gcc.gnu.org/onlinedocs/gccint/
_GCC = {"cc1", "cc1plus", "cc1obj", "cc1objplus", "f951", "gnat1"}
# The options of each compiler that take the next word as their value.
_GCC_VALUES = {
    *("-o", "-D", "-U", "-A", "-I", "-J", "-F", "-G", "-include", "-imacros", "-isystem"),
    *("-iquote", "-idirafter", "-iprefix", "-iwithprefix", "-iwithprefixbefore", "-isysroot"),
    *("-imultilib", "-imultiarch", "-iplugindir", "-dumpbase", "-dumpbase-ext", "-dumpdir"),
    *("-auxbase", "-auxbase-strip", "-aux-info", "-MF", "-MT", "-MQ", "-MD", "-MMD", "--param"),
    *("-fintrinsic-modules-path", "-x"),
}

_CLANG = re.compile(r"(?:.+-)?clang(?:\+\+)?(?:-\d+)?")
_CLANG_VALUES = {
    *("-o", "-D", "-U", "-I", "-F", "-L", "-l", "-B", "-T", "-u", "-z", "-e", "-x", "-include"),
    *("-imacros", "-isystem", "-iquote", "-idirafter", "-iprefix", "-iwithprefix", "-isysroot"),
    *("-iframework", "-include-pch", "-MF", "-MT", "-MQ", "-MJ", "-Xclang", "-Xpreprocessor"),
    *("-Xassembler", "-Xlinker", "-Xanalyzer", "-mllvm", "-target", "-arch", "--sysroot"),
    *("-working-directory", "--param", "-framework", "-gcc-toolchain", "-dumpdir", "--config"),
    *("--serialize-diagnostics", "-serialize-diagnostics", "-current_version", "-install_name"),
}
# With one of these clang takes one step from source to result, itself; with one of the others it
# starts processes for several steps.
_CLANG_ONE_STEP = {"-c", "-S", "-E", "-fsyntax-only"}
_CLANG_SEVERAL = ("-fno-integrated-", "-no-integrated-", "-save-temps", "--save-temps", "-arch")

_CUDA = {"cicc", "cudafe++"}

_RUSTC = {"rustc", "clippy-driver"}
_RUSTC_VALUES = {
    *("--crate-name", "--crate-type", "--edition", "--emit", "--out-dir", "-o", "-C", "--codegen"),
    *("-L", "-l", "--extern", "--cfg", "--check-cfg", "--cap-lints", "--error-format", "--json"),
    *("--diagnostic-width", "--target", "-A", "--allow", "-W", "--warn", "-D", "--deny", "-F"),
    *("--forbid", "--force-warn", "--print", "--remap-path-prefix", "--sysroot", "-Z", "--color"),
    "--explain",
}


class Unit(NamedTuple):
    """What a compiler compiles."""

    path: str | None
    """Path of the source file, as the command line has it. None where it cannot be found there: it
    is in a response file, for example."""
    name: str | None = None
    """Name of a whole that is compiled at once: "crate serde", "package fmt"."""


Parser: TypeAlias = Callable[[Sequence[str]], Unit | None]


def unit_of(program: ProgramText) -> Unit | None:
    """Returns what the program compiles; None when it is not a compiler, or another process does
    the work."""
    argv = program.argv
    if not argv:
        return None
    names = {program.name, basename(argv[0]), basename(program.exe or argv[0])}
    parse = None if names & _WRAPPERS else _parser(names, argv)
    return parse(argv) if parse else None


def _parser(names: Collection[str], argv: Sequence[str]) -> Parser | None:
    if argv[1:2] == ("-cc1",):
        return _clang_front_end
    known = next((name for name in names if name in _PARSERS), None)
    if known:
        return _PARSERS[known]
    return _clang_driver if any(map(_CLANG.fullmatch, names)) else None


def _gcc(argv: Sequence[str]) -> Unit:
    sources = list(_operands(argv, _GCC_VALUES))
    # The driver names the result after the source.
    name = basename(_value(argv, "-dumpbase") or "")
    named = [path for path in sources if basename(path) == name]
    return Unit(next(iter(named or sources), None))


def _clang_front_end(argv: Sequence[str]) -> Unit:
    """Returns what clang -cc1 compiles: its input follows the language."""
    if "-x" in argv:
        after = argv[len(argv) - 1 - argv[::-1].index("-x") + 2 :]
        if after and (after[0] == "-" or not after[0].startswith("-")):
            return Unit(after[0])
    return Unit(_value(argv, "-main-file-name"))


def _clang_driver(argv: Sequence[str]) -> Unit | None:
    """Returns what a clang driver compiles itself, which it does where that is one step: one
    source, nothing to link or to assemble."""
    if not _CLANG_ONE_STEP.intersection(argv) or any(map(_is_several, argv)):
        return None
    sources = list(_operands(argv, _CLANG_VALUES))
    return Unit(sources[0]) if len(sources) == 1 else None


def _is_several(word: str) -> bool:
    return word.startswith(_CLANG_SEVERAL)


def _rustc(argv: Sequence[str]) -> Unit | None:
    if basename(argv[1] if len(argv) > 1 else "") == "rustc":  # clippy-driver rustc ...
        argv = argv[1:]
    crate = _value(argv, "--crate-name")
    sources = [path for path in _operands(argv, _RUSTC_VALUES) if path == "-" or _is_rust(path)]
    if _value(argv, "--print") is not None or not (crate or sources):
        return None  # it only prints something about itself
    return Unit(sources[0] if sources else None, crate and f"crate {crate}")


def _is_rust(path: str) -> bool:
    return path.endswith(".rs")


def _cuda(argv: Sequence[str]) -> Unit:
    """Returns the file before it was preprocessed, which nvcc passes to the programs it starts."""
    for option in ("--orig_src_path_name", "--orig_src_file_name"):
        path = _value(argv, option)
        if path:
            return Unit(path)
    return Unit(None)


def _link_time(_argv: Sequence[str]) -> Unit:
    """Returns a unit without a path: it optimises what was compiled before, from any number of
    files."""
    return Unit(None)


def _go(argv: Sequence[str]) -> Unit | None:
    package = _value(argv, "-p") if "/pkg/tool/" in argv[0] else None
    return Unit(None, f"package {package}") if package else None


def _value(argv: Sequence[str], option: str) -> str | None:
    """Returns the value of an option: the next word, or what follows a "="."""
    for number, word in enumerate(argv):
        if word == option:
            return argv[number + 1] if number + 1 < len(argv) else None
        if word.startswith(f"{option}="):
            return word[len(option) + 1 :]
    return None


def _operands(argv: Sequence[str], with_value: Collection[str]) -> Iterator[str]:
    """Yields the words that are not options, their values or response files; "-" is an operand."""
    words = iter(argv[1:])
    for word in words:
        if word == "--":
            yield from words
        elif word in with_value:
            next(words, None)
        elif word == "-" or not word.startswith(("-", "@")):
            yield word


_PARSERS: dict[str, Parser] = {
    **dict.fromkeys(_GCC, _gcc),
    **dict.fromkeys(_RUSTC, _rustc),
    **dict.fromkeys(_CUDA, _cuda),
    "lto1": _link_time,
    "compile": _go,
}
