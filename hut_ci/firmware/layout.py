"""What each file is, and whether the files fit the partition table that comes with them. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from itertools import pairwise

from hut_ci.errors import BrokenBuild
from hut_ci.firmware.chips import BOOTLOADER_OFFSETS, bootloader_offset
from hut_ci.firmware.image import HEADER, MAGIC, Image, header_chip, read_image
from hut_ci.firmware.listing import Item
from hut_ci.firmware.mistaken import unusable
from hut_ci.firmware.partitions import DEFAULT_OFFSET, holding, read_table
from hut_ci.firmware.partitions import MAGIC as TABLE_MAGIC
from hut_ci.model import Partition

OTADATA_NAMES = ("ota_data_initial.bin", "boot_app0.bin")
ENCRYPTED_FROM = 1024  # bytes; less is too little to tell ciphertext from anything else
LAST_TABLE = 0x20000  # a table is never looked for behind it


@dataclass(frozen=True, slots=True)
class Block:
    """A file with its content; `image` is set where the content is a checked ESP image."""

    item: Item
    data: bytes
    purpose: str
    image: Image | None = None
    partition: Partition | None = None

    @property
    def end(self) -> int:
        return self.item.offset + len(self.data)


def table_of(files: list[tuple[Item, bytes]]) -> tuple[Item | None, tuple[Partition, ...]]:
    """The partition table among the files: by content, else whatever lies at 0x8000. Raises BrokenBuild."""
    found = next((pair for pair in files if pair[0].offset <= LAST_TABLE and pair[1][:2] == TABLE_MAGIC), None)
    found = found or next((pair for pair in files if pair[0].offset == DEFAULT_OFFSET), None)
    if found is None:
        return None, ()
    item, data = found
    refusal = unusable(data, item.name)
    if refusal:
        raise refusal
    return item, () if looks_encrypted(data) else read_table(data, item.name)


def classify(
    files: list[tuple[Item, bytes]], table_item: Item | None, table: tuple[Partition, ...], chip: str | None
) -> list[Block]:
    """Give each file its purpose and check the images. Raises NotFlashable, BrokenBuild."""
    blocks = []
    for item, data in files:
        row = holding(table, item.offset)
        block = Block(item, data, _purpose(item, data, row, item is table_item, chip), partition=row)
        blocks.append(_with_image(block))
    return blocks


def _purpose(item: Item, data: bytes, row: Partition | None, is_table: bool, chip: str | None) -> str:
    if is_table:
        return "partition_table"
    places = BOOTLOADER_OFFSETS if chip is None else (bootloader_offset(chip),)
    if item.offset in places and (row is None or row.type == "bootloader"):
        return "bootloader"
    if row is not None:
        return "otadata" if (row.type, row.subtype) == ("data", "ota") else "app" if row.type == "app" else "data"
    if header_chip(data[:HEADER]):
        return "app"
    return "otadata" if item.path.name in OTADATA_NAMES else "data"


def _with_image(block: Block) -> Block:
    if not block.data:
        raise BrokenBuild(f"{block.item.name} is empty", why="The build did not finish.", todo="Build again.")
    refusal = unusable(block.data, block.item.name)
    expected = block.purpose in ("bootloader", "app")
    if refusal and (expected or block.data.startswith(b"\x7fELF")):
        raise refusal
    if not expected or looks_encrypted(block.data):
        return block
    return replace(block, image=read_image(block.data, block.item.name))


def looks_encrypted(data: bytes) -> bool:
    """Whole 16-byte blocks that do not compress: flash encryption leaves this, an unencrypted image never does."""
    sample = data[: 64 << 10]
    return (
        len(data) >= ENCRYPTED_FROM
        and len(data) % 16 == 0
        and data[0] != MAGIC
        and len(zlib.compress(sample, 1)) >= len(sample)
    )


def check(blocks: list[Block], table: tuple[Partition, ...]) -> None:
    """Every part against the partition table and against its neighbours. Raises BrokenBuild."""
    for block in blocks:
        if block.partition is not None and block.purpose != "partition_table":
            _check_partition(block, block.partition, table)
        elif block.purpose == "app" and table and block.item.offset < table[0].offset:
            raise _misplaced(block)
    for left, right in pairwise(blocks):
        if left.end > right.item.offset:
            raise _overlap(left, right)
    boot = next((block for block in blocks if block.purpose == "bootloader"), None)
    has_table = any(block.purpose == "partition_table" for block in blocks)
    if boot and not has_table and boot.end > DEFAULT_OFFSET:
        raise _bootloader_too_large(boot, DEFAULT_OFFSET)


def _check_partition(block: Block, row: Partition, table: tuple[Partition, ...]) -> None:
    name, offset, size = block.item.name, block.item.offset, len(block.data)
    if block.purpose == "app" and offset != row.offset:
        raise BrokenBuild(
            f"{name} goes to {offset:#x}, which is inside of {row.label}, not at its start {row.offset:#x}",
            why="The offset comes from another partition table than the one in this build.",
            todo="Build again from clean; take the offsets that this build prints.",
        )
    room = row.offset + row.size - offset
    if size <= room:
        return
    behind = holding(table, row.offset + row.size)
    raise BrokenBuild(
        f"{name} is too large for its partition {row.label}: {size} bytes ({size:#x}), room for {room} ({room:#x}),"
        f" {size - room} ({size - room:#x}) too many",
        why=f"It would run into {behind.label if behind else 'what lies behind it'}.",
        todo="Make the image smaller, or the partition larger in partitions.csv.",
    )


def _misplaced(block: Block) -> BrokenBuild:
    chip = block.image.chip if block.image else None
    place = bootloader_offset(chip or "")
    return BrokenBuild(
        f"{block.item.name} at {block.item.offset:#x} lies before every partition, where only a bootloader may be",
        why=f"The boot ROM of an {chip} looks for its bootloader at {place or 0:#x}.",
        todo="Correct the offset, or build again from clean for the right target.",
    )


def _overlap(left: Block, right: Block) -> BrokenBuild:
    if left.purpose == "bootloader" and right.purpose == "partition_table":
        return _bootloader_too_large(left, right.item.offset)
    return BrokenBuild(
        f"{left.item.name} ({left.item.offset:#x} to {left.end:#x}) overlaps {right.item.name}"
        f" at {right.item.offset:#x}",
        why="Two files want the same flash, or an offset is wrong.",
        todo="Correct the offsets, or take one of the files out.",
    )


def _bootloader_too_large(boot: Block, table_offset: int) -> BrokenBuild:
    size, room = len(boot.data), table_offset - boot.item.offset
    return BrokenBuild(
        f"the bootloader {boot.item.name} collides with the partition table at {table_offset:#x}:"
        f" {size} bytes ({size:#x}), room for {room} ({room:#x})",
        why="Debug output or a feature made the bootloader grow.",
        todo="Lower the bootloader's log level, or move the table (CONFIG_PARTITION_TABLE_OFFSET).",
    )
