"""SPI NOR flash: programming clears bits, erasing sets them, in sectors and blocks."""

from __future__ import annotations

import hashlib

SECTOR = 4096
BLOCK = 65536
PAGE = 256

# Typical figures of a Winbond W25Q32-class data sheet.
SECTOR_ERASE_SECONDS = 0.045
BLOCK_ERASE_SECONDS = 0.150
PAGE_PROGRAM_SECONDS = 0.0004
CHIP_ERASE_SECONDS_PER_MEGABYTE = 2.5

_BYTES_AT_ONCE = SECTOR


class NorFlash:
    """A flash chip of `size` bytes, blank (0xFF) at first.

    Methods that change the content return the seconds that a real chip would be busy.
    Addresses outside the chip raise ValueError: the loaders answer that with their own error code.
    """

    def __init__(self, size: int) -> None:
        if size <= 0 or size % BLOCK:
            raise ValueError(f"flash size {size:#x} is not a multiple of {BLOCK:#x}")
        self.size = size
        self._cells = bytearray(b"\xff" * size)

    def read(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return bytes(self._cells[address : address + length])

    def md5(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return hashlib.md5(memoryview(self._cells)[address : address + length], usedforsecurity=False).digest()

    def program(self, address: int, data: bytes) -> float:
        """Clears bits: what was 0 stays 0 until it is erased."""
        self._check(address, len(data))
        for start in range(0, len(data), _BYTES_AT_ONCE):
            piece = data[start : start + _BYTES_AT_ONCE]
            at = address + start
            old = self._cells[at : at + len(piece)]
            if old.count(0xFF) != len(piece):
                cleared = int.from_bytes(old, "little") & int.from_bytes(piece, "little")
                piece = cleared.to_bytes(len(piece), "little")
            self._cells[at : at + len(piece)] = piece
        return -(-len(data) // PAGE) * PAGE_PROGRAM_SECONDS

    def erase(self, address: int, length: int) -> float:
        """Erases every sector that the range touches, with 64 KB erases where a whole aligned block lies in it."""
        if length <= 0:
            return 0.0
        self._check(address, length)
        at = address - address % SECTOR
        end = -(-(address + length) // SECTOR) * SECTOR
        seconds = 0.0
        while at < end:
            step = erase_step(at, end)
            self._cells[at : at + step] = b"\xff" * step
            seconds += BLOCK_ERASE_SECONDS if step == BLOCK else SECTOR_ERASE_SECONDS
            at += step
        return seconds

    def erase_all(self) -> float:
        self._cells[:] = b"\xff" * self.size
        return CHIP_ERASE_SECONDS_PER_MEGABYTE * self.size / (1 << 20)

    def _check(self, address: int, length: int) -> None:
        if address < 0 or length < 0 or address + length > self.size:
            raise ValueError(f"{length:#x} bytes at {address:#x} are outside a flash of {self.size:#x} bytes")


def erase_step(at: int, end: int) -> int:
    """Size of the erase command that a loader would choose at `at`, when all up to `end` has to go."""
    return BLOCK if at % BLOCK == 0 and end - at >= BLOCK else SECTOR
