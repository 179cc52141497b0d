"""Partition table and otadata: the binary forms, and which application the second-stage loader picks.

Formats and choice: ESP-IDF's "Partition Tables" page, esp_flash_partitions.h and bootloader_utility.c.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from hut_ci.virtual.nor_flash import NorFlash

TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00
SECTOR = 0x1000

_ROW = struct.Struct("<HBBII16sI")
_MAGIC = 0x50AA
_MD5_MAGIC = 0xEBEB
_END_MAGIC = 0xFFFF

APP, DATA = 0x00, 0x01
FACTORY, OTA_0, TEST = 0x00, 0x10, 0x20
OTA_DATA = 0x00

_ENTRY = struct.Struct("<I20sII")
_UNUSED_SEQUENCE = 0xFFFFFFFF
_INVALID, _ABORTED = 3, 4

_APP_USES = {FACTORY: "factory app", TEST: "test app"}
_DATA_USES = {0x00: "OTA data", 0x01: "RF data", 0x02: "WiFi data", 0x04: "NVS keys", 0x05: "efuse"}


class BadTableError(ValueError):
    """The message is what ESP-IDF's loader prints behind its `flash_parts` tag."""


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    type: int
    subtype: int
    offset: int
    size: int

    @property
    def use(self) -> str:
        """The loader's word for it."""
        if self.type == APP:
            return "OTA app" if OTA_0 <= self.subtype < TEST else _APP_USES.get(self.subtype, "Unknown app")
        return _DATA_USES.get(self.subtype, "Unknown data") if self.type == DATA else "unknown"

    @property
    def slot(self) -> str:
        """`factory`, `ota_0` ... `ota_15`, `test`."""
        if self.subtype == FACTORY:
            return "factory"
        return "test" if self.subtype == TEST else f"ota_{self.subtype - OTA_0}"


def build_table(partitions: Iterable[Partition]) -> bytes:
    """The binary table with its MD5 row, padded with 0xFF to 3072 bytes."""
    rows = b"".join(
        _ROW.pack(_MAGIC, part.type, part.subtype, part.offset, part.size, part.name.encode(), 0) for part in partitions
    )
    digest = hashlib.md5(rows, usedforsecurity=False).digest()
    table = rows + struct.pack("<H14x", _MD5_MAGIC).replace(b"\0", b"\xff") + digest
    if len(table) > TABLE_SIZE:
        raise ValueError("too many partitions for one table")
    return table.ljust(TABLE_SIZE, b"\xff")


def read_table(data: bytes, flash_size: int) -> list[Partition]:
    """The partitions of a binary table; BadTableError as the loader would refuse it."""
    found: list[Partition] = []
    checked = False
    for index in range(TABLE_SIZE // _ROW.size):
        magic, kind, subtype, offset, size, name, _ = _ROW.unpack_from(data, index * _ROW.size)
        if magic == _END_MAGIC:
            if not index:
                raise BadTableError("partition 0 invalid magic number 0xffff")
            return found
        if magic == _MD5_MAGIC:
            if checked:
                raise BadTableError("Only one MD5 checksum is allowed")
            checked = True
            stored = data[index * _ROW.size + 16 : (index + 1) * _ROW.size]
            if hashlib.md5(data[: index * _ROW.size], usedforsecurity=False).digest() != stored:
                raise BadTableError("Incorrect MD5 checksum")
            continue
        if magic != _MAGIC:
            raise BadTableError(f"partition {index} invalid magic number {magic:#x}")
        if offset + size > flash_size:
            raise BadTableError(
                f"partition {index} invalid - offset {offset:#x} size {size:#x} exceeds flash chip size {flash_size:#x}"
            )
        found.append(Partition(name.split(b"\0", 1)[0].decode(errors="replace"), kind, subtype, offset, size))
    raise BadTableError("partition table has no terminating entry, not valid")


def otadata_entry(sequence: int, state: int = 0xFFFFFFFF) -> bytes:
    """One record: slot number is (sequence - 1) modulo the number of ota slots; the CRC covers the sequence only."""
    return _ENTRY.pack(sequence, b"\xff" * 20, state, _crc(sequence))


def build_otadata(first: int | None = None, second: int | None = None) -> bytes:
    """Both sectors, 8192 bytes; None leaves one blank."""
    sectors = [b"" if sequence is None else otadata_entry(sequence) for sequence in (first, second)]
    return b"".join(sector.ljust(SECTOR, b"\xff") for sector in sectors)


def write_choice(flash: NorFlash, ota: int) -> None:
    """What esp_ota_set_boot_partition() leaves in otadata; nothing without such a partition."""
    for part in read_table(flash.read(TABLE_OFFSET, TABLE_SIZE), flash.size):
        if (part.type, part.subtype) == (DATA, OTA_DATA):
            flash.erase(part.offset, part.size)
            flash.program(part.offset, build_otadata(ota + 1))


def _crc(sequence: int) -> int:
    return zlib.crc32(sequence.to_bytes(4, "little"), 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Choice:
    """Partitions in the order in which the loader tries them; `remark`: level and text of what it says before."""

    order: tuple[Partition, ...]
    remark: tuple[str, str] | None


def choose_app(partitions: list[Partition], otadata: bytes | None) -> Choice:
    """ESP-IDF's choice: the highest valid sequence; factory (or slot 0) when both records are blank or invalid.

    The chosen one first, then downwards to factory, then upwards, at last a test app.
    """
    factory = [part for part in partitions if part.type == APP and part.subtype == FACTORY]
    slots = sorted((p for p in partitions if p.type == APP and OTA_0 <= p.subtype < TEST), key=lambda p: p.subtype)
    test = [part for part in partitions if part.type == APP and part.subtype == TEST]
    index, remark = _starting_index(bool(factory), len(slots), otadata)
    below = [*factory, *slots[: index + 1]] if index >= 0 else factory
    above = slots[index + 1 :]
    return Choice((*reversed(below), *above, *test), remark)


def _starting_index(has_factory: bool, slots: int, otadata: bytes | None) -> tuple[int, tuple[str, str] | None]:
    """-1 is factory."""
    if otadata is None:
        return (-1 if has_factory else 0), None
    entries = [_ENTRY.unpack_from(otadata, at) for at in (0, SECTOR)]
    if not slots or all(
        sequence == _UNUSED_SEQUENCE or state in (_INVALID, _ABORTED) for sequence, _, state, _ in entries
    ):
        return (
            (-1, ("I", "Defaulting to factory image")) if has_factory else (0, ("I", "No factory image, trying OTA 0"))
        )
    valid = [seq for seq, _, state, crc in entries if _is_valid(seq, state, crc)]
    if valid:
        return (max(valid) - 1) % slots, None
    if has_factory:
        return -1, ("E", "ota data partition invalid, falling back to factory")
    return 0, ("E", "ota data partition invalid and no factory, will try all partitions")


def _is_valid(sequence: int, state: int, crc: int) -> bool:
    return sequence != _UNUSED_SEQUENCE and state not in (_INVALID, _ABORTED) and crc == _crc(sequence)
