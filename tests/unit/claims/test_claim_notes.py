from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.claims.notes import MAX_BYTES, UNNAMED, decode, encode, held_sentence
from hut_ci.model import Holder

ALICE = Holder(123, "alice", "lab", "2026-02-12T12:00:30.123Z", why="debugging")
PRINTABLE = st.text(st.characters().filter(str.isprintable), max_size=300)


@given(st.builds(Holder, st.integers(1), PRINTABLE, PRINTABLE, PRINTABLE, PRINTABLE, st.none() | PRINTABLE))
def test_what_is_written_is_read(holder: Holder) -> None:
    assert decode(encode(holder)) == holder


@given(st.builds(Holder, st.integers(1, 1 << 22), *[st.text()] * 8))
def test_note_is_bounded_and_harmless(holder: Holder) -> None:
    """Security 12: branch names and links in a note cannot move a terminal's cursor or end a line."""
    note = encode(holder)
    assert len(note) < MAX_BYTES
    read = decode(note)
    assert read
    assert f"{read.user}{read.why}{read.run_url}{read.repository}".isprintable()


def test_longest_note_is_still_whole() -> None:
    assert decode(encode(Holder(1 << 22, *["\U0001f600" * 9999] * 8)))


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"12",
        b"{}",
        b'{"pid": "12"}',
        b"\xff\xfe",
        b"[" * 100_000,
        encode(ALICE)[:40],
    ],
)
def test_anything_else_is_no_note(note: bytes) -> None:
    assert decode(note) is None


def test_strange_values_are_left_out() -> None:
    assert decode(b'{"pid": 7, "user": ["x"], "why": "a\\u001b[2Jb", "run_url": 3, "more": 1}') == Holder(
        7, "", "", "", why="a?[2Jb"
    )


@pytest.mark.parametrize(
    ("holder", "today", "sentence"),
    [
        (ALICE, "2026-02-12", 'hut-01 is held by alice (pid 123, "debugging") since 12:00Z; place 2 in the queue'),
        (
            ALICE,
            "2026-02-13",
            'hut-01 is held by alice (pid 123, "debugging") since 2026-02-12 12:00Z; place 2 in the queue',
        ),
        (
            Holder(77, "bob", "lab", "", why="flock"),
            "2026-02-12",
            'hut-01 is held by bob (pid 77, "flock"); place 2 in the queue',
        ),
        (UNNAMED, "", "hut-01 is held by another program, which left no note; place 2 in the queue"),
        (None, "", "hut-01 is changing hands; place 2 in the queue"),
    ],
)
def test_sentence(holder: Holder | None, today: str, sentence: str) -> None:
    bob = Holder(77, "bob", "lab", "")
    assert held_sentence("hut-01", holder, 2, bob, today) == f"{sentence}, after bob (pid 77)"
    assert held_sentence("hut-01", holder, 2, None, today) == sentence


def test_sentence_says_when_a_hold_ends() -> None:
    hold = replace(ALICE, deadline_utc="2026-02-12T12:30:30.123Z")
    assert held_sentence("hut-01", hold, 1, None, "2026-02-12").endswith(
        " since 12:00Z until 12:30Z at the latest; place 1 in the queue"
    )
