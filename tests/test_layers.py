"""Imports point downward only, and only native.py knows the C extension."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "memwatch"

# From the top. A module imports from layers below its own; within a layer only as WITHIN says.
LAYERS = (
    ("memwatch.__main__",),
    ("memwatch.cli",),
    (
        "memwatch.commands",
        "memwatch.commands.run",
        "memwatch.commands.doctor",
        "memwatch.commands.live_line",
        "memwatch.commands.report",
        "memwatch.commands.compare",
        "memwatch.commands.repeats",
        "memwatch.commands.export",
        "memwatch.commands.plan",
        "memwatch.commands.ci_check",
        "memwatch.commands.view",
        "memwatch.commands.reporting",
        "memwatch.commands.files",
        "memwatch.commands.post_run",
        "memwatch.commands.options",
        "memwatch.commands.terminal",
    ),
    ("memwatch.settings", "memwatch.completion"),
    ("memwatch",),
    ("memwatch.profiler",),
    ("memwatch.monitor", "memwatch.launcher", "memwatch.enforcer"),
    ("memwatch.exports.formats",),
    (
        "memwatch.exports",
        "memwatch.exports.bmf",
        "memwatch.exports.csv",
        "memwatch.exports.firefox",
        "memwatch.exports.gha",
        "memwatch.exports.openmetrics",
        "memwatch.exports.otlp",
        "memwatch.exports.perfetto",
    ),
    ("memwatch.exports.lives", "memwatch.exports.text", "memwatch.exports.protobuf"),
    ("memwatch.results",),
    (
        "memwatch.native",
        "memwatch.outputs",
        "memwatch.cgroup",
        "memwatch.facts",
        "memwatch.recording",
    ),
    ("memwatch.kernel_files",),
    ("memwatch.view.page",),
    ("memwatch.view.model",),
    ("memwatch.view", "memwatch.view.payload", "memwatch.view.thinning"),
    (
        "memwatch.reports",
        "memwatch.reports.summary",
        "memwatch.reports.json_report",
        "memwatch.reports.csv_report",
        "memwatch.reports.doctor_report",
        "memwatch.reports.plan_report",
        "memwatch.reports.comparison_report",
        "memwatch.reports.repeats_report",
        "memwatch.reports.tree_report",
    ),
    ("memwatch.gate", "memwatch.plan"),
    ("memwatch.workload",),
    ("memwatch.reports.limit_lines",),
    ("memwatch.comparison", "memwatch.repeats"),
    ("memwatch.doubts",),
    ("memwatch.confidence", "memwatch.thresholds"),
    ("memwatch.filters", "memwatch.json_profile", "memwatch.membership"),
    ("memwatch.profile", "memwatch.live"),
    ("memwatch.limits",),
    ("memwatch.job", "memwatch.leaks", "memwatch.tree"),
    ("memwatch.processes",),
    ("memwatch.groups",),
    ("memwatch.compilers",),
    ("memwatch.tracks",),
    # Not pure by itself, but no more than a list to those that use it.
    ("memwatch.spill",),
    (
        "memwatch.observations",
        "memwatch.tiers",
        "memwatch.memory_limit",
        "memwatch.units",
        "memwatch.trend",
        "memwatch.output_names",
        "memwatch.checked",
    ),
    ("memwatch._native",),
)
WITHIN = {
    ("memwatch.commands.run", "memwatch.commands.options"),
    ("memwatch.reports.summary", "memwatch.reports.leak_report"),
    ("memwatch.reports.json_report", "memwatch.reports.leak_report"),
    ("memwatch.commands.run", "memwatch.commands.reporting"),
    ("memwatch.commands.run", "memwatch.commands.live_line"),
    ("memwatch.commands.run", "memwatch.commands.post_run"),
    ("memwatch.commands.live_line", "memwatch.commands.terminal"),
    ("memwatch.commands.report", "memwatch.commands.reporting"),
    ("memwatch.commands.run", "memwatch.commands.files"),
    ("memwatch.commands.report", "memwatch.commands.options"),
    ("memwatch.commands.export", "memwatch.commands.options"),
    ("memwatch.commands.report", "memwatch.commands.files"),
    ("memwatch.commands.reporting", "memwatch.commands.files"),
    ("memwatch.commands.view", "memwatch.commands.files"),
    ("memwatch.commands.view", "memwatch.commands.options"),
    ("memwatch.commands.export", "memwatch.commands.files"),
    ("memwatch.commands.ci_check", "memwatch.commands.files"),
    ("memwatch.commands.ci_check", "memwatch.commands.options"),
    ("memwatch.commands.run", "memwatch.commands.repeats"),
    ("memwatch.commands.repeats", "memwatch.commands.terminal"),
    ("memwatch.commands.compare", "memwatch.commands.options"),
    ("memwatch.commands.compare", "memwatch.commands.files"),
    ("memwatch.commands.compare", "memwatch.commands.terminal"),
    ("memwatch.commands.reporting", "memwatch.commands.options"),
    ("memwatch.commands.reporting", "memwatch.commands.terminal"),
    ("memwatch.commands.doctor", "memwatch.commands.files"),
    ("memwatch.commands.doctor", "memwatch.commands.terminal"),
    ("memwatch.reports.plan_report", "memwatch.reports.summary"),
    ("memwatch.commands.plan", "memwatch.commands.options"),
    ("memwatch.commands.plan", "memwatch.commands.files"),
    ("memwatch.commands.plan", "memwatch.commands.terminal"),
    ("memwatch.reports.github", "memwatch.reports.comparison_report"),
    ("memwatch.reports.github", "memwatch.reports.summary"),
    ("memwatch.reports.github", "memwatch.reports.verdict"),
    ("memwatch.reports.tree_report", "memwatch.reports.summary"),
}

# Not a layer but a name: everything may ask for the version.
VERSION = "memwatch.__version__"

PURE = (
    "memwatch.view.model",
    "memwatch.view.payload",
    "memwatch.view.thinning",
    "memwatch.reports",
    "memwatch.plan",
    "memwatch.workload",
    "memwatch.gate",
    "memwatch.comparison",
    "memwatch.repeats",
    "memwatch.confidence",
    "memwatch.thresholds",
    "memwatch.filters",
    "memwatch.json_profile",
    "memwatch.membership",
    "memwatch.tree",
    "memwatch.compilers",
    "memwatch.profile",
    "memwatch.live",
    "memwatch.job",
    "memwatch.leaks",
    "memwatch.trend",
    "memwatch.processes",
    "memwatch.groups",
    "memwatch.tracks",
    "memwatch.observations",
    "memwatch.tiers",
    "memwatch.memory_limit",
    "memwatch.limits",
    "memwatch.units",
    "memwatch.output_names",
    "memwatch.checked",
)
IMPURE_PARTS = {
    *("native", "launcher", "monitor", "profiler", "outputs", "settings", "_native"),
    *("cgroup", "facts", "kernel_files", "recording", "results"),
}
# What reaches the outside, of the standard library.
IMPURE_MODULES = {
    *("io", "mmap", "pathlib", "resource", "select", "shutil", "socket", "subprocess", "tempfile"),
    *("threading", "fcntl", "glob", "multiprocessing", "asyncio", "ctypes"),
}
# Of os and its like, what only computes.
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


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Modules of any kind that a module imports, wherever in its text that is."""
    found = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = whole in MODULES or whole in ("memwatch._native", VERSION)
                found.add(whole if is_module else node.module)
    return found - {VERSION}


def layer(module: str) -> int:
    for number, names in enumerate(LAYERS):
        if module in names:
            return number
    # A new module of a folder belongs to the layer of that folder.
    parent = module.rpartition(".")[0]
    assert parent in ("memwatch.commands", "memwatch.reports"), f"{module} is in no layer"
    return layer(parent)


def test_finds_modules():
    assert {"memwatch", "memwatch.native", "memwatch.commands.run"} <= set(MODULES)
    assert "memwatch._native" in imports("memwatch.native")
    assert "memwatch.commands.options" in imports("memwatch.commands.run")
    assert "memwatch.profile" in imports("memwatch")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module):
    for imported in imports(module):
        if imported.split(".")[0] != "memwatch" or (module, imported) in WITHIN:
            continue
        assert layer(imported) > layer(module), f"{module} imports {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_only_native_imports_the_extension(module):
    imported = {name for name in imports(module) if name.startswith("memwatch._native")}
    assert bool(imported) == (module == "memwatch.native")


def is_pure(module: str) -> bool:
    return module in PURE or module.startswith(("memwatch.reports.", "memwatch.exports."))


@pytest.mark.parametrize("module", [name for name in MODULES if is_pure(name)])
def test_pure_modules_do_no_io(module):
    imported = imports(module)
    assert not {name.split(".")[0] for name in imported} & IMPURE_MODULES
    parts = {name.split(".")[1] for name in imported if "memwatch." in name}
    if module.startswith("memwatch.exports."):
        parts.discard("results")  # for the class; it is handed to them
    assert not parts & IMPURE_PARTS
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = PURE_FUNCTIONS.get(node.value.id)
            assert not allowed or node.attr in allowed, f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.ImportFrom):
            assert node.module not in PURE_FUNCTIONS, f"from {node.module} import ..."
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_BUILTINS, f"{node.func.id}()"
