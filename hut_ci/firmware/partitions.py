"""The partition table in its binary form, names as in ESP-IDF's gen_esp32part."""

from __future__ import annotations

import hashlib
import struct
from itertools import pairwise

from hut_ci.errors import BrokenBuild
from hut_ci.model import Partition

MAGIC = b"\xaa\x50"
MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
ROW = 32
MAX_SIZE = 0xC00  # bytes; a sector of 0x1000 is set aside for it
SECTOR = 0x1000
DEFAULT_OFFSET = 0x8000
READONLY = 1 << 1  # flag bits: 0 is encrypted, 1 is readonly
FLASH_END = 1 << 28  # bytes; no part of the family takes more than 128 MB

TYPES = {0: "app", 1: "data", 2: "bootloader", 3: "partition_table"}
SUBTYPES: dict[str, dict[int, str]] = {
    "app": {0x00: "factory", 0x20: "test", 0x30: "tee_0", 0x31: "tee_1", **{0x10 + i: f"ota_{i}" for i in range(16)}},
    "data": {
        0x00: "ota",
        0x01: "phy",
        0x02: "nvs",
        0x03: "coredump",
        0x04: "nvs_keys",
        0x05: "efuse",
        0x06: "undefined",
        0x80: "esphttpd",
        0x81: "fat",
        0x82: "spiffs",
        0x83: "littlefs",
        0x90: "tee_ota",
    },
    "bootloader": {0: "primary", 1: "ota", 2: "recovery"},
    "partition_table": {0: "primary", 1: "ota"},
}


def read_table(data: bytes, name: str) -> tuple[Partition, ...]:
    """Partitions in ascending order. Raises BrokenBuild: damaged rows, wrong MD5, overlaps, no rows."""
    rows = []
    for at in range(0, min(len(data), MAX_SIZE), ROW):
        row = data[at : at + ROW]
        if row == b"\xff" * ROW:
            break
        if len(row) == ROW and row.startswith(MD5_MAGIC):
            _check_md5(row[16:], data[:at], name)
            break
        if len(row) < ROW or not row.startswith(MAGIC):
            raise _broken(name, f"row {at // ROW} starts with {row[:2].hex()}, not with aa50")
        rows.append(_row(row, name))
    if not rows:
        raise _broken(name, "it has no rows")
    table = tuple(sorted(rows, key=lambda partition: partition.offset))
    if len({row.label for row in table}) < len(table):
        raise _broken(name, "two partitions have the same name")
    for left, right in pairwise(table):
        if left.offset + left.size > right.offset:
            raise _broken(name, f"{left.label} ({left.offset:#x}, {left.size:#x} bytes) overlaps {right.label}")
    return table


def _row(row: bytes, name: str) -> Partition:
    kind, sub, offset, size, label, flags = struct.unpack("<2xBBII16sI", row)
    type_name = TYPES.get(kind, f"{kind:#04x}")
    if offset + size > FLASH_END or size == 0 or offset % SECTOR:
        raise _broken(name, f"a partition lies at {offset:#x} and takes {size:#x} bytes")
    text = label.split(b"\0", 1)[0].decode("ascii", "replace")
    return Partition(
        label="".join(char if char.isprintable() else "?" for char in text),
        type=type_name,
        subtype=SUBTYPES.get(type_name, {}).get(sub, f"{sub:#04x}"),
        offset=offset,
        size=size,
        readonly=bool(flags & READONLY),
    )


def _check_md5(found: bytes, rows: bytes, name: str) -> None:
    counted = hashlib.md5(rows, usedforsecurity=False).digest()
    if found != counted:
        raise _broken(name, f"its MD5 row says {found.hex()}, its rows give {counted.hex()}")


def _broken(name: str, what: str) -> BrokenBuild:
    return BrokenBuild(
        f"the partition table {name} is broken: {what}",
        why="The bootloader would refuse it, or the file is not a partition table.",
        todo="Make it again with the build (partition-table target) and check the offset that it is listed under.",
    )


def holding(table: tuple[Partition, ...], offset: int) -> Partition | None:
    """The partition that the byte at `offset` belongs to."""
    return next((row for row in table if row.offset <= offset < row.offset + row.size), None)
