from __future__ import annotations

import hashlib

import pytest

from hut_ci.virtual.nor_flash import BLOCK_ERASE_SECONDS, PAGE_PROGRAM_SECONDS, SECTOR_ERASE_SECONDS, NorFlash


def test_programming_only_clears_bits() -> None:
    flash = NorFlash(0x10000)
    flash.program(10, b"\xf0\x0f\xff")
    flash.program(10, b"\x3c\x3c\x00")
    assert flash.read(9, 5) == b"\xff\x30\x0c\x00\xff"


def test_erasing_takes_whole_sectors() -> None:
    flash = NorFlash(0x10000)
    flash.program(0, bytes(0x4000))
    assert flash.erase(0x1FFF, 2) == pytest.approx(2 * SECTOR_ERASE_SECONDS)
    assert flash.read(0, 0x4000) == bytes(0x1000) + b"\xff" * 0x2000 + bytes(0x1000)


def test_aligned_blocks_are_erased_at_once() -> None:
    assert NorFlash(0x40000).erase(0xF000, 0x12000) == pytest.approx(2 * SECTOR_ERASE_SECONDS + BLOCK_ERASE_SECONDS)


def test_programming_takes_its_time_by_page() -> None:
    assert NorFlash(0x10000).program(0, bytes(257)) == pytest.approx(2 * PAGE_PROGRAM_SECONDS)


@pytest.mark.parametrize(("address", "length"), [(0x10000, 1), (0xFFFF, 2), (-1, 1)])
def test_outside_the_chip_is_refused(address: int, length: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        NorFlash(0x10000).read(address, length)


def test_digest_is_of_the_content() -> None:
    flash = NorFlash(0x10000)
    flash.program(0, b"abc")
    assert flash.md5(0, 3) == hashlib.md5(b"abc", usedforsecurity=False).digest()
