"""The SPI1 controller's user commands: how a loader's READ_REG and WRITE_REG reach the flash chip."""

from __future__ import annotations

from hut_ci.virtual.chips import SpiRegisters

_CMD_USR = 1 << 18
_USR_ADDR = 1 << 30

_READ_ID = 0x9F
_READ_SFDP = 0x5A
_READ_STATUS = {0x05: 0, 0x35: 1, 0x15: 2}
_WRITE_STATUS = {0x01: 0, 0x31: 1, 0x11: 2}

_WINBOND = 0xEF
_SPI_NOR = 0x40


def flash_id(size: int) -> int:
    """JEDEC id as READ ID shifts it out, first byte lowest: Winbond, SPI NOR, log2 of the size in bytes."""
    return _WINBOND | _SPI_NOR << 8 | (size.bit_length() - 1) << 16


def sfdp(size: int) -> bytes:
    """JESD216 header, one parameter header and the first words of the basic table: density is the second word."""
    header = b"SFDP" + bytes([6, 1, 0, 0xFF]) + bytes([0x00, 6, 1, 9]) + bytes([0x10, 0, 0, 0xFF])
    table = (0xFFF120E5).to_bytes(4, "little") + (size * 8 - 1).to_bytes(4, "little")
    return header + table + b"\xff" * 28


class SpiBus:
    """Registers of one SPI1 controller with one flash chip behind it."""

    def __init__(self, registers: SpiRegisters, flash_size: int) -> None:
        self._at = registers
        self._size = flash_size
        self._words: dict[int, int] = {}
        self._status = [0x00, 0x02, 0x60]  # quad enable is set, as delivered

    def owns(self, address: int) -> bool:
        return self._at.base <= address < self._at.base + 0x100

    def read(self, address: int) -> int:
        return self._words.get(address - self._at.base, 0)

    def write(self, address: int, value: int, mask: int = 0xFFFFFFFF) -> None:
        offset = address - self._at.base
        self._words[offset] = (self._words.get(offset, 0) & ~mask) | (value & mask)
        if offset == 0 and value & _CMD_USR:
            self._execute()
            self._words[0] &= ~_CMD_USR

    def _execute(self) -> None:
        opcode = self._words.get(self._at.usr2, 0) & 0xFF
        w0 = self._at.w0
        if opcode == _READ_ID:
            self._words[w0] = flash_id(self._size)
        elif opcode == _READ_SFDP:
            found = sfdp(self._size)[self._address() :][:4].ljust(4, b"\xff")
            self._words[w0] = int.from_bytes(found, "little")
        elif opcode in _READ_STATUS:
            self._words[w0] = self._status[_READ_STATUS[opcode]]
        elif opcode in _WRITE_STATUS:
            self._status[_WRITE_STATUS[opcode]] = self._words.get(w0, 0) & 0xFF

    def _address(self) -> int:
        if not self._words.get(self._at.usr, 0) & _USR_ADDR:
            return 0
        bits = (self._words.get(self._at.usr1, 0) >> 26) + 1
        raw = self._words.get(4, 0)
        return raw >> (32 - bits) if self._at.address_msb else raw & ((1 << bits) - 1)
