"""Bytes into clean lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.board.console_text import LINE_LIMIT, LineSplitter, clean


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[0;32mI (27) boot: x\x1b[0m", "I (27) boot: x"),
        (b"\x1b]0;a title\x07ready", "ready"),
        (b"\x1b]8;;http://x\x1b\\link", "link"),
        (b"\x1b]0;never ends, Guru Meditation", "0;never ends, Guru Meditation"),
        (b"\x00\x00re\x08ady\x7f", "ready"),
        (b"tab\tkept", "tab\tkept"),
        (b"\xffets", "\ufffdets"),
        ("\u202egnp.exe\u2069".encode(), "gnp.exe"),
        (b"\xc2\x9b31mcsi", "31mcsi"),
        (b"\x1b7\x1b(Btext", "text"),
    ],
)
def test_clean(raw: bytes, text: str) -> None:
    """security 12: nothing that a terminal would obey is left."""
    assert clean(raw) == text


@pytest.mark.parametrize(
    ("raw", "lines", "partial"),
    [
        (b"a\nb\r\nc\r\r\nd", ["a", "b", "c"], "d"),
        (b"10%\r20%\r", ["10%"], "20%"),
        (b"player> ", [], "player> "),
        (b"\n\n", ["", ""], ""),
    ],
)
def test_line_ends(raw: bytes, lines: list[str], partial: str) -> None:
    splitter = LineSplitter()
    assert splitter.feed(raw) == lines
    assert splitter.partial == partial


def test_a_line_without_an_end_is_cut_and_memory_stays_bounded() -> None:
    splitter = LineSplitter()
    lines = splitter.feed(b"x" * (LINE_LIMIT * 3 + 5))
    assert [len(line) for line in lines] == [LINE_LIMIT] * 3
    assert splitter.partial == "x" * 5
    for _ in range(100):
        splitter.feed(b"\r" * 1000)
    assert splitter.partial == "x" * 5
    assert splitter.feed(b"\n") == ["x" * 5]


PIECES = st.lists(
    st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xc3", b"\xa9", b"b" * 15, b"\x1b[", b"0m"]), max_size=12
)


@given(PIECES, st.integers(1, 5))
def test_how_the_bytes_are_cut_into_chunks_does_not_matter(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces) + b"."
    at_once, bit_by_bit = LineSplitter(limit=32), LineSplitter(limit=32)
    whole = at_once.feed(data)
    lines = [line for at in range(0, len(data), size) for line in bit_by_bit.feed(data[at : at + size])]
    assert (lines, bit_by_bit.partial) == (whole, at_once.partial)
