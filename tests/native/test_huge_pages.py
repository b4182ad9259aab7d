"""Which sizes of transparent huge pages are enabled, by made-up settings."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEMORY = "address,undefined"
LARGEST = str(2 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="settings of Linux")
@pytest.mark.parametrize(
    ("machine", "small", "largest", "expected"),
    [
        ("[madvise]", None, None, LARGEST),
        ("[madvise]", "[never]", "[inherit]", LARGEST),
        ("[always]", "[inherit]", "[inherit]", "any"),
        ("[never]", None, None, "0"),
        ("[never]", "[inherit]", "[inherit]", "0"),
        ("[never]", "[always]", "[inherit]", "any"),
        ("[never]", "[never]", "[always]", LARGEST),
    ],
)
def test_enabled_sizes(toolchain, tmp_path, machine, small, largest, expected):
    sources = ["linux/huge_pages.c", "linux/procfs.c", "linux/parse.c", "pids.c"]
    compiler = toolchain.any_compiler(MEMORY)
    program = toolchain.build(compiler, MEMORY, "test_huge_pages.c", sources)
    (tmp_path / "enabled").write_text(f"{machine}\n")
    (tmp_path / "hpage_pmd_size").write_text(f"{LARGEST}\n")
    for size, setting in (("64", small), ("2048", largest)):
        if setting:
            folder = tmp_path / f"hugepages-{size}kB"
            folder.mkdir()
            (folder / "enabled").write_text(f"{setting}\n")
    output = subprocess.run([program, tmp_path], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == expected
