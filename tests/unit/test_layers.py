"""Rules for imports: downward only, no cycle, and the C extension only in native.py."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "memwatch"

# Packages from the top. Each imports only those below it. `docs/architecture.md` describes each
# package. A file of the top level counts as a package here.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("completion", "settings", "view", "exports", "__init__"),
    ("reports", "runner"),
    ("storage",),
    ("analysis",),
    ("model",),
    ("messages", "units", "version"),
)
PURE = {"model", "analysis", "reports", "exports", "view", "units", "version"}
# A list that keeps its older part in an unnamed file. To its users it is a plain list.
ON_DISK = "memwatch.model.spill"

# Modules of the standard library that reach the outside.
IMPURE_MODULES = {
    *("io", "mmap", "pathlib", "resource", "select", "shutil", "socket", "subprocess", "tempfile"),
    *("threading", "fcntl", "glob", "multiprocessing", "asyncio", "ctypes"),
}
# Functions that only compute, in modules that otherwise reach the outside.
PURE_FUNCTIONS = {
    "os": {"strerror", "waitstatus_to_exitcode", "WIFEXITED", "WIFSIGNALED", "WTERMSIG"},
    "signal": {"Signals", "SIGKILL"},
    "time": {"strftime", "gmtime", "strptime"},
}
IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "__import__"}


def name_of(path: Path) -> str:
    parts = ("memwatch", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
EXTENSION = "memwatch.runner._native"


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Returns all modules that a module imports, anywhere in its text."""
    found = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in {*MODULES, EXTENSION} else node.module)
    return found


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def floor(module: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if package(module) in names)


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == "memwatch"


def test_finds_modules() -> None:
    assert {"memwatch", "memwatch.runner.native", "memwatch.commands.run"} <= set(MODULES)
    assert EXTENSION in imports("memwatch.runner.native")
    assert "memwatch.commands.shared.options" in imports("memwatch.commands.run")
    assert "memwatch.model.profile" in imports("memwatch")


def test_every_package_has_a_floor() -> None:
    assert {package(module) for module in MODULES} == {name for names in FLOORS for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    for imported in filter(is_ours, imports(module)):
        if package(imported) != package(module):
            assert floor(imported) > floor(module), f"{module} imports {imported}"


def test_no_cycle() -> None:
    graph = {module: imports(module) & MODULES.keys() for module in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", MODULES)
def test_only_native_imports_the_extension(module: str) -> None:
    assert (EXTENSION in imports(module)) == (module == "memwatch.runner.native")


@pytest.mark.parametrize(
    "module", [each for each in MODULES if package(each) in PURE and each != ON_DISK]
)
def test_pure_modules_do_no_io(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & IMPURE_MODULES
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = PURE_FUNCTIONS.get(node.value.id)
            assert not allowed or node.attr in allowed, f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.ImportFrom):
            assert node.module not in PURE_FUNCTIONS, f"from {node.module} import ..."
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_BUILTINS, f"{node.func.id}()"
