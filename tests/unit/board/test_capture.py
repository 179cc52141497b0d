"""The serial log on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.board.capture import BoundedLog, Capture


def test_bytes_are_on_disk_before_anything_else_happens(tmp_path: Path) -> None:
    with Capture(tmp_path) as capture:
        capture.feed(b"ets Jul\xff", 0.01)
        assert (tmp_path / "serial.raw").read_bytes() == b"ets Jul\xff"


def test_every_line_has_its_time(tmp_path: Path) -> None:
    with Capture(tmp_path) as capture:
        assert capture.feed(b"one\r\n\x1b[31mtw", 1.2344) == ["one"]
        assert capture.feed(b"o\n> ", 12.5) == ["two"]
    assert (tmp_path / "serial.txt").read_text() == "   1.234 one\n  12.500 two\n  12.500 > \n"


def test_a_spamming_board_cannot_fill_the_disk(tmp_path: Path) -> None:
    """security 20: the first half and the last half stay, and the log says how much is missing."""
    limit = 10_000
    with Capture(tmp_path, limit) as capture:
        for number in range(20_000):
            capture.feed(b"line %d\n" % number, number / 1000)
            if number % 1000 == 0:
                assert (tmp_path / "serial.raw").stat().st_size <= limit
    for name in ("serial.raw", "serial.txt"):
        kept = (tmp_path / name).read_bytes()
        assert len(kept) <= limit
        assert b"line 0\n" in kept[:20]
        assert kept.endswith(b"line 19999\n")
        assert b" bytes left out ---\n" in kept


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(100, 800))
def test_both_ends_of_a_bounded_log_are_exact(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = BoundedLog(path, limit)
    for data in writes:
        log.write(data)
    log.close()
    sent, kept = b"".join(writes), path.read_bytes()
    assert len(kept) <= limit
    if log.left_out == 0:
        assert kept == sent
    else:
        head, _, tail = kept.partition(b"\n--- %d bytes left out ---\n" % log.left_out)
        assert sent.startswith(head)
        assert sent.endswith(tail)
        assert len(head) + len(tail) + log.left_out == len(sent)
