"""Sizes, revisions and offsets as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.units import format_revision, format_size, parse_offset, parse_revision, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("4MB", 4 << 20), ("4M", 4 << 20), ("4 MiB", 4 << 20), ("512kb", 512 << 10), ("0", 0), (65536, 65536), ("7B", 7)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "4 megs", "-1", "1.5MB", "MB", "0x10", "4MBit"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 40))
def test_a_written_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(("text", "revision"), [("v3.1", (3, 1)), ("3.10", (3, 10)), (3, (3, 0)), (0.4, (0, 4))])
def test_revisions(text: str | float, revision: tuple[int, int]) -> None:
    assert parse_revision(text) == revision
    assert parse_revision(format_revision(revision)) == revision


def test_no_revision() -> None:
    with pytest.raises(ValueError, match="not a chip revision"):
        parse_revision("three")


def test_offsets() -> None:
    assert parse_offset("0x10000") == parse_offset(65536) == 0x10000
