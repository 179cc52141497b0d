"""Progress events from a stream that is cut anywhere."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hut_ci.esptool.pieces import Piece
from hut_ci.esptool.progress import Progress, ProgressReader
from hut_ci.model import Part

TABLE = Part(0x8000, Path("table.bin"), 3072, "", "partition_table", "partition table")
APP = Part(0x10000, Path("app.bin"), 300000, "", "app", "application")
FILES = (Piece(0x8000, 3072, TABLE, 0), Piece(0x10000, 65536, APP, 1), Piece(0x20000, 234464, APP, 1))
TEXT = b"""esptool v5.6.0
Connecting...
Uploading stub flasher...

Writing '0x00008000.bin' at 0x00008000...
Comparing flash contents against new data...
'0x00008000.bin' at 0x00008000 already in flash, skipping write.

Writing '0x00010000.bin' at 0x00010000...
Comparing flash contents against new data...
Writing at 0x00018000 \xe2\x94\x81\xe2\x94\x81      50.0% 16.00kB/32.00kB [0s] \r\
Writing at 0x00020000 \xe2\x94\x81 100.0% 32.00kB/32.00kB [0s]
Wrote 65536 bytes (32768 compressed) at 0x00010000 in 0.3 seconds (8088.2 kbit/s).
Verifying written data...
Hash of data verified.

Writing '0x00020000.bin' at 0x00020000...
Writing at 0x00030000 \xe2\x94\x81  25.0% 16.00kB/64.00kB [0s]
"""


def test_bytes_are_counted_over_the_whole_plan() -> None:
    events = ProgressReader(FILES).feed(TEXT)
    assert [(event.stage, event.part, event.done) for event in events if event.stage in ("skip", "write")] == [
        ("skip", 0, 3072),
        ("write", 1, 3072 + 32768),
        ("write", 1, 3072 + 65536),
        ("write", 1, 3072 + 65536 + 58616),
    ]
    assert {event.total for event in events} == {303072}
    assert events[-1] == Progress("write", "writing application", 1, 25.0, 127224, 303072)


@given(st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_where_the_stream_is_cut_does_not_matter(cuts: list[int]) -> None:
    reader, events, edges = ProgressReader(FILES), [], [0, *sorted(cuts), len(TEXT)]
    for start, end in itertools.pairwise(edges):
        events += reader.feed(TEXT[start:end])
    assert events == ProgressReader(FILES).feed(TEXT)


def test_a_single_file_needs_no_announcement() -> None:
    events = ProgressReader((FILES[0],)).feed(b"Writing at 0x00008c00 = 100.0% 1.97kB/1.97kB [0s]\n")
    assert [(event.part, event.done) for event in events] == [(0, 3072)]


def test_noise_without_a_line_end_is_not_kept() -> None:
    reader = ProgressReader(FILES)
    for _ in range(100):
        assert reader.feed(b"\xff" * 4096) == []
    assert reader.feed(b"\nConnecting...\n")[-1].stage == "connect"
