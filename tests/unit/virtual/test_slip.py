from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hut_ci.virtual.slip import SlipDecoder, encode

SPECIAL = st.lists(st.sampled_from([0xC0, 0xDB, 0xDC, 0xDD, 0x00]), min_size=1).map(bytes)
PAYLOADS = st.lists(st.binary(min_size=1) | SPECIAL, max_size=5)


@given(PAYLOADS, st.integers(1, 7))
def test_what_is_encoded_comes_back_whatever_the_chunks(payloads: list[bytes], chunk: int) -> None:
    wire = b"".join(map(encode, payloads))
    decoder = SlipDecoder()
    found = [frame for at in range(0, len(wire), chunk) for frame in decoder.feed(wire[at : at + chunk])]
    assert found == payloads


def test_noise_before_a_frame_is_dropped() -> None:
    assert SlipDecoder().feed(b"ets Jul 29\r\n" + encode(b"ab")) == [b"ab"]


def test_after_a_broken_frame_the_next_one_is_whole() -> None:
    assert SlipDecoder().feed(encode(b"broken")[:4] + encode(b"whole"))[-1] == b"whole"


def test_a_frame_without_end_is_forgotten() -> None:
    decoder = SlipDecoder(longest_frame=10)
    assert decoder.feed(b"\xc0" + b"x" * 11) == []
    assert decoder.feed(b"x" * 11 + encode(b"next"))[-1] == b"next"
