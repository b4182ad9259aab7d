"""Packs columns of whole numbers into text for a page: small, and quick to read in a browser.

Each column is divided by the greatest common divisor of its values. Then differences are taken
(once, or twice for times at an even pace) and written as zig-zag varints, 7 bits a byte, because
most differences are small. The columns follow a head: the length of a JSON document in four bytes
(little-endian), and the document. The whole is gzipped, and encoded in base64.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column and how it is packed."""

    name: str
    values: Sequence[int]
    """Below 2**53, which is what a number in JavaScript can hold."""
    order: int = 1
    """How often differences are taken."""


def pack(document: dict[str, Any], columns: Iterable[Column]) -> str:
    """Packs the document and the columns; descriptions of the columns are added as "columns"."""
    described = []
    body = bytearray()
    for column in columns:
        scale = math.gcd(*column.values) or 1
        numbers: Iterable[int] = column.values
        if scale > 1:
            numbers = [value // scale for value in numbers]
        for _ in range(column.order):
            numbers = _differences(numbers)
        data = _varints(numbers)
        described.append([column.name, len(column.values), len(data), scale, column.order])
        body += data
    head = json.dumps({**document, "columns": described}, separators=(",", ":")).encode()
    whole = len(head).to_bytes(4, "little") + head + body
    # Without a time, so that the same profile gives the same page.
    return base64.b64encode(gzip.compress(whole, 9, mtime=0)).decode("ascii")


def _differences(numbers: Iterable[int]) -> list[int]:
    numbers = list(numbers)
    return [number - before for number, before in zip(numbers, chain((0,), numbers), strict=False)]


def _varints(numbers: Iterable[int]) -> bytearray:
    out = bytearray()
    append = out.append
    for signed in numbers:
        number = signed << 1 if signed >= 0 else ~(signed << 1)
        while number > 127:
            append(number & 127 | 128)
            number >>= 7
        append(number)
    return out
