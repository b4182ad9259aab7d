"""How text looks on a terminal: whether it has colours, and how wide it may be."""

from __future__ import annotations

import os
import sys

import click

from memwatch.units import Style


def styles(fd: int) -> tuple[Style, Style]:
    """Returns bold and dim where `fd` takes colours; otherwise two styles that change nothing."""
    color = wants_color(fd)

    def style(**how: bool) -> Style:
        return lambda text: click.style(text, **how) if color else text

    return style(bold=True), style(dim=True)


def wants_color(fd: int) -> bool:
    """Whether `fd` takes colours: by https://no-color.org and https://force-color.org; otherwise
    whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.isatty(fd) and os.environ.get("TERM") != "dumb"


def has_boxes() -> bool:
    """Whether the terminal's encoding has characters that draw lines."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    try:
        "├└│─×".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def width(fd: int, unknown: int = 100) -> int:
    """Returns the columns of the terminal at `fd`; `unknown` where there is none."""
    # A terminal whose size was never set reports 0.
    return (os.get_terminal_size(fd).columns if os.isatty(fd) else 0) or unknown
