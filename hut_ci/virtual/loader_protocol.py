"""The words of the ESP serial protocol, and what a loader can ask of the board around it.

Source: the "Serial Protocol" page of the esptool documentation; details as seen with `esptool --trace`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from hut_ci.virtual.chips import ResetReason

SYNC_PATTERN = b"\x07\x07\x12\x20" + b"\x55" * 32
CHECKSUM_SEED = 0xEF


class Op(IntEnum):
    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUDRATE = 0x0F
    FLASH_DEFL_BEGIN = 0x10
    FLASH_DEFL_DATA = 0x11
    FLASH_DEFL_END = 0x12
    SPI_FLASH_MD5 = 0x13
    GET_SECURITY_INFO = 0x14
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2
    RUN_USER_CODE = 0xD3


class Trouble(IntEnum):
    """Error codes: the low ones are the ROM's, those from 0xC0 the stub's."""

    ROM_INVALID_MESSAGE = 0x05
    ROM_FAILED = 0x06
    ROM_BAD_CHECKSUM = 0x07
    ROM_INFLATE = 0x0B
    BAD_DATA_LENGTH = 0xC0
    BAD_DATA_CHECKSUM = 0xC1
    FAILED_SPI_OP = 0xC4
    NOT_IN_FLASH_MODE = 0xC6
    INFLATE = 0xC7
    NOT_ENOUGH_DATA = 0xC8
    TOO_MUCH_DATA = 0xC9
    NOT_IMPLEMENTED = 0xFF


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class SetBaud:
    baud: int


@dataclass(frozen=True, slots=True)
class AwaitFlash:
    """Go on when the flash chip has finished what it was given."""


@dataclass(frozen=True, slots=True)
class OccupyFlash:
    """The flash chip is busy for that many seconds more; the loader goes on meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something an observer may want to know or stop at, *before* the next action."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The loader ends: the chip restarts for `reason`."""

    reason: ResetReason


Action = Send | SetBaud | AwaitFlash | OccupyFlash | Note | Leave
Replies = Iterator[Action]


def checksum(data: bytes) -> int:
    """0xEF xor every byte. Folded as one big number: a Python loop over 16 KB blocks would set the speed limit."""
    folded = int.from_bytes(data, "little")
    width = len(data)
    while width > 1:
        half = (width + 1) // 2
        folded = (folded >> (8 * half)) ^ (folded & ((1 << (8 * half)) - 1))
        width = half
    return folded ^ CHECKSUM_SEED
