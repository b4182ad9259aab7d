"""Decoded program text, and the constants and records that Python shares with C."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch.model import observations, sources
from memwatch.model.observations import (
    ARGV_CUT,
    HAS_ARGV,
    HAS_CWD,
    HAS_EXE,
    ProgramText,
    decode_program,
)
from memwatch.runner import native
from memwatch.runner._native import ffi, lib

BOTH = HAS_EXE | HAS_ARGV


def program(name: bytes, exe: bytes = b"", argv: bytes = b"", valid: int = BOTH) -> ProgramText:
    return decode_program(name + b"\0" + exe + b"\0" + argv, valid)


def test_a_plain_program() -> None:
    assert program(b"cc", b"/usr/bin/gcc", b"cc\0-c\0x.c\0") == ProgramText(
        "cc", "/usr/bin/gcc", ("cc", "-c", "x.c"), False
    )


def test_fields_that_could_not_be_read_are_none() -> None:
    assert program(b"cc", valid=0) == ProgramText("cc", None, None, False)
    assert program(b"cc", argv=b"cc\0", valid=HAS_ARGV) == ProgramText("cc", None, ("cc",), False)
    assert program(b"cc", b"/bin/cc", valid=HAS_EXE) == ProgramText("cc", "/bin/cc", None, False)


def test_the_working_directory_is_decoded_only_with_its_bit() -> None:
    text = b"cc\0/bin/cc\0/build\0cc\0-c\0"
    assert decode_program(text, BOTH | HAS_CWD) == ProgramText(
        "cc", "/bin/cc", ("cc", "-c"), False, "/build"
    )
    assert decode_program(text, BOTH) == ProgramText("cc", "/bin/cc", ("/build", "cc", "-c"), False)
    assert decode_program(b"cc\0\0/\0", HAS_CWD) == ProgramText("cc", None, None, False, "/")
    # The name is completed from the command line all the same.
    long = b"a-name-of-15-ch\0\0/w\0/opt/a-name-of-15-characters\0"
    assert decode_program(long, HAS_CWD | HAS_ARGV).name == "a-name-of-15-characters"


def test_an_empty_word_of_a_command_line_is_kept() -> None:
    assert program(b"cc", argv=b"cc\0\0-x\0").argv == ("cc", "", "-x")
    # A program started with no arguments at all, or with an empty argv[0].
    assert program(b"cc", argv=b"\0").argv == ("",)


@pytest.mark.parametrize(
    "title", [b"nginx: worker", b"nginx: worker\0", b"nginx: worker\0\0\0\0\0\0"]
)
def test_a_title_set_by_the_program(title: bytes) -> None:
    assert program(b"nginx", argv=title).argv == ("nginx: worker",)


def test_a_command_line_that_was_cut() -> None:
    text = program(b"cc", argv=b"cc\0-c\0long-na", valid=BOTH | ARGV_CUT)
    assert text.argv == ("cc", "-c", "long-na")
    assert text.argv_cut


def test_bytes_that_are_not_utf_8_are_escaped() -> None:
    text = program(b"\xff)\n(", b"/tmp/\xe9", b"\xfe\0\xed\xa0\x80\0\xc3")
    assert text.name == "\\xff)\n("
    assert text.exe == "/tmp/\\xe9"
    assert text.argv == ("\\xfe", "\\xed\\xa0\\x80", "\\xc3")


FIFTEEN = "a-name-of-15-ch"


@pytest.mark.parametrize(
    ("name", "exe", "argv", "full"),
    [
        # The kernel's name ends at 15 bytes, so one of that length may be cut.
        (FIFTEEN, "", f"/opt/{FIFTEEN}aracters\0-x\0", FIFTEEN + "aracters"),
        (FIFTEEN, f"/opt/{FIFTEEN}aracters", "", FIFTEEN + "aracters"),
        (FIFTEEN, f"/opt/{FIFTEEN}-exe", f"{FIFTEEN}-argv\0", FIFTEEN + "-argv"),
        # A title in argv[0] does not have the name, but the executable does.
        (FIFTEEN, f"/opt/{FIFTEEN}aracters", "worker: idle\0", FIFTEEN + "aracters"),
        (FIFTEEN, f"/opt/{FIFTEEN}", f"/bin/{FIFTEEN}\0", FIFTEEN),
        # Neither has it: it is the name of a script or of a thread.
        (FIFTEEN, "/usr/bin/python3", "python3\0x.py\0", FIFTEEN),
        (FIFTEEN, "", "\0", FIFTEEN),
        (FIFTEEN, "", "", FIFTEEN),
        # A shorter name is complete, whatever the others begin with.
        ("cc1", "/usr/lib/cc1plus", "cc1plus\0", "cc1"),
        ("", "/bin/sh", "sh\0", ""),
    ],
)
def test_a_name_of_15_bytes_is_completed(name: str, exe: str, argv: str, full: str) -> None:
    valid = (HAS_EXE if exe else 0) | (HAS_ARGV if argv else 0)
    assert program(name.encode(), exe.encode(), argv.encode(), valid).name == full


def test_a_name_cut_within_a_letter_is_completed() -> None:
    whole = "fourteen-bytesé-and-more"
    cut = whole.encode()[:15]
    assert cut.endswith(b"\xc3")
    assert program(cut, argv=b"/opt/" + whole.encode() + b"\0", valid=HAS_ARGV).name == whole


def test_fifteen_letters_are_not_fifteen_bytes() -> None:
    name = "é" * 7
    assert program(name.encode(), b"/bin/" + ("é" * 9).encode()).name == name


words = st.binary(max_size=20).map(lambda word: word.replace(b"\0", b""))


@given(
    words,
    words,
    st.none() | words,
    st.lists(words, min_size=1),
    st.sampled_from((0, HAS_EXE, HAS_ARGV, BOTH)),
)
def test_any_bytes_become_printable_utf_8(
    name: bytes, exe: bytes, cwd: bytes | None, argv: list[bytes], valid: int
) -> None:
    parts = [name, exe, *([] if cwd is None else [cwd]), b"".join(word + b"\0" for word in argv)]
    text = decode_program(b"\0".join(parts), valid | (0 if cwd is None else HAS_CWD))
    assert (text.cwd is None) == (cwd is None)
    everything = (text.name, text.exe or "", text.cwd or "", *(text.argv or ()))
    for each in everything:
        each.encode("utf-8")
        assert "\0" not in each
    assert (text.exe is None) == (not valid & HAS_EXE)
    if valid & HAS_ARGV:
        assert text.argv is not None
        while len(argv) > 1 and not argv[-1]:
            argv.pop()
        assert len(text.argv) == len(argv)
    else:
        assert text.argv is None


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1))
def test_utf_8_names_come_through_as_they_are(name: str) -> None:
    kernel = name.encode()[:15]
    text = program(kernel, argv=name.encode() + b"\0", valid=HAS_ARGV)
    assert text.name == name
    assert text.argv == (name,)


# Constants that are the same in Python and C


def constants(enum: str) -> dict[str, int]:
    return {
        name.removeprefix("MW_"): number
        for name, number in ffi.typeof(f"enum {enum}").relements.items()
    }


KINDS, BITS, WAKES = constants("mw_kind"), constants("mw_valid"), constants("mw_wake")
ALL = {name.removeprefix("MW_") for name in dir(lib) if name.startswith("MW_")}
OTHERS = {
    # Constants for doctor and the profiler.
    **{name: (sources, name) for name in constants("mw_source")},
    **{name: (native, name) for name in constants("mw_pss_mode")},
    **{name: (native, name) for name in WAKES},
    **{name: (native, name) for name in constants("mw_tmpfs_limit")},
}


def test_there_are_constants_to_compare() -> None:
    assert {"STARTED", "TICK"} <= set(KINDS)
    assert {"HAS_PARENT", "SAME_IMAGE"} <= set(BITS)
    assert {*KINDS, *BITS, *OTHERS} == ALL


@pytest.mark.parametrize("name", [*KINDS, *BITS])
def test_kinds_and_bits_are_those_of_the_extension(name: str) -> None:
    assert getattr(observations, name) == getattr(lib, f"MW_{name}")


def test_no_constant_is_only_in_python() -> None:
    names = {name for name in vars(observations) if name.isupper() and not name.startswith("_")}
    assert names == {*KINDS, *BITS}


@pytest.mark.parametrize("name", OTHERS)
def test_other_constants_are_those_of_the_extension(name: str) -> None:
    module, own_name = OTHERS[name]
    assert getattr(module, own_name) == getattr(lib, f"MW_{name}")


def test_bits_do_not_overlap() -> None:
    assert len(set(BITS.values())) == len(BITS)
    assert all(bit & (bit - 1) == 0 for bit in BITS.values())
    assert len(set(KINDS.values())) == len(KINDS)


def test_a_record_has_the_fields_of_an_observation_in_order() -> None:
    fields = [name for name, _ in ffi.typeof("mw_observation").fields]
    assert fields == ["time", "process", "value", "second", "kind", "valid", "pid", "ppid", "third"]
    written = ffi.new("mw_observation *", [-1, 2, 2**64 - 3, 4, 5, 6, -7, -8, 9])
    (record,) = native._RECORD.iter_unpack(ffi.buffer(written)[:])
    assert record == (-1, 2, 2**64 - 3, 4, 5, 6, -7, -8, 9)
