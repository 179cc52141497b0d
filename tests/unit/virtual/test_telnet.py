from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.virtual.telnet import BaudChanged, Data, LinesChanged, Piece, TelnetSession, escape

SET_BAUD = b"\xff\xfa\x2c\x01\x00\x0e\x10\x00\xff\xf0"
DTR_ON = b"\xff\xfa\x2c\x05\x08\xff\xf0"
RTS_OFF = b"\xff\xfa\x2c\x05\x0c\xff\xf0"


@given(st.lists(st.sampled_from([b"a", b"\xff", b"\0", b"xyz"])).map(b"".join), st.integers(1, 5))
def test_data_comes_through_whatever_the_chunks(data: bytes, chunk: int) -> None:
    session, wire = TelnetSession(), escape(data)
    pieces = [piece for at in range(0, len(wire), chunk) for piece in session.feed(wire[at : at + chunk])]
    assert b"".join(piece.data for piece in pieces if isinstance(piece, Data)) == data
    assert not session.answers


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_order_of_data_rate_and_lines_is_kept(chunk: int) -> None:
    session = TelnetSession()
    wire = b"a" + SET_BAUD + b"b" + DTR_ON + RTS_OFF + b"c"
    pieces: list[Piece] = []
    for at in range(0, len(wire), chunk):
        pieces += session.feed(wire[at : at + chunk])
    expected = [
        Data(b"a"),
        BaudChanged(921600),
        Data(b"b"),
        LinesChanged(dtr=True),
        LinesChanged(rts=False),
        Data(b"c"),
    ]
    assert pieces == expected
    assert (
        bytes(session.answers)
        == b"\xff\xfa\x2c\x65\x00\x0e\x10\x00\xff\xf0\xff\xfa\x2c\x69\x08\xff\xf0\xff\xfa\x2c\x69\x0c\xff\xf0"
    )


def test_options_are_agreed_once() -> None:
    session = TelnetSession()
    session.feed(b"\xff\xfd\x00\xff\xfd\x00\xff\xfb\x63")
    assert bytes(session.answers) == b"\xff\xfb\x00\xff\xfe\x63"


def test_line_states_can_be_asked_for() -> None:
    session = TelnetSession()
    session.feed(DTR_ON)
    session.answers.clear()
    session.feed(b"\xff\xfa\x2c\x05\x07\xff\xf0\xff\xfa\x2c\x05\x0a\xff\xf0")
    assert bytes(session.answers) == b"\xff\xfa\x2c\x69\x08\xff\xf0\xff\xfa\x2c\x69\x0c\xff\xf0"
