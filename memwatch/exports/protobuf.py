"""Fields of Protocol Buffers, written by hand: protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

_VARINT, _LENGTH = 0, 2

# Seven bits a byte, lowest first; the highest bit means that more follow. Two bytes at a time.
_LAST = [bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7)) for n in range(1 << 14)]
_MORE = [bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14)]


def varint(number: int) -> bytes:
    """Encodes a number; a negative one as 64 bits of two's complement."""
    if 0 <= number < 1 << 14:
        return _LAST[number]
    number &= (1 << 64) - 1
    parts = []
    while number >= 1 << 14:
        parts.append(_MORE[number & 0x3FFF])
        number >>= 14
    parts.append(_LAST[number])
    return b"".join(parts)


def integer(field: int, number: int) -> bytes:
    """Encodes a field with a number."""
    return varint(field << 3 | _VARINT) + varint(number)


def message(field: int, *parts: bytes) -> bytes:
    """Encodes a field with a message, from the fields of that message."""
    content = b"".join(parts)
    return varint(field << 3 | _LENGTH) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """Encodes a field with text."""
    return message(field, value.encode("utf-8", "backslashreplace"))
