"""Writes a C project of known size: the same files every time.

python benchmarks/c_project.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

FILES = 60

# Functions in each file: gcc -O2 takes about a quarter of a second for a file.
FUNCTIONS = 5


def write(directory: Path, files: int = FILES, functions: int = FUNCTIONS) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"unit{number:02}" for number in range(files)]
    for number, name in enumerate(names):
        body = "\n".join(_function(name, number, index) for index in range(functions))
        calls = " + ".join(f"{name}_f{index}(seed)" for index in range(functions))
        text = f"#include <stdio.h>\n#include <string.h>\n{body}\n"
        text += f"unsigned {name}(unsigned seed) {{ return {calls}; }}\n"
        (directory / f"{name}.c").write_text(text)
    declared = "".join(f"unsigned {name}(unsigned);\n" for name in names)
    total = " + ".join(f"{name}(1)" for name in names)
    (directory / "main.c").write_text(
        f'#include <stdio.h>\n{declared}int main(void) {{ printf("%u\\n", {total}); return 0; }}\n'
    )
    objects = " ".join(f"{name}.o" for name in [*names, "main"])
    (directory / "Makefile").write_text(
        f"CC = cc\nCFLAGS = -O2\nprogram: {objects}\n\t$(CC) -o $@ $^\n"
        f"clean:\n\trm -f program {objects}\n"
    )


def _function(name: str, number: int, index: int) -> str:
    """Returns a function with loops and a switch, different each time."""
    salt = number * 1000 + index + 1
    cases = "\n".join(
        f"        case {case}: table[(i + {salt + case}) % 64] ^= x * {salt * 7 + case}u + "
        f"table[(i * {case + 3}) % 64]; break;"
        for case in range(12)
    )
    return f"""static unsigned {name}_f{index}(unsigned x) {{
    unsigned table[64];
    for (unsigned i = 0; i < 64; i++)
        table[i] = x * i + {salt}u;
    for (unsigned i = 0; i < x % 1000; i++) {{
        switch ((x >> i % 7) % 12) {{
{cases}
        }}
        for (unsigned j = 0; j < 64; j++)
            x += table[j] * (i ^ {salt % 61 + 1}u) + (table[(j + i) % 64] >> {salt % 13});
    }}
    return x;
}}
"""


if __name__ == "__main__":
    write(Path(sys.argv[1]))
