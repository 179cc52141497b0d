"""A merged (factory) image: one file that holds bootloader, partition table and applications with padding between.

It is split into its parts: written as one piece, its padding would wipe the settings that lie between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hut_ci.errors import BrokenBuild
from hut_ci.firmware import partitions
from hut_ci.firmware.chips import BOOTLOADER_OFFSETS, bootloader_offset
from hut_ci.firmware.image import HEADER, header_chip
from hut_ci.firmware.listing import Item, Listing, checked, read_bounded
from hut_ci.model import Partition

TABLE_OFFSETS = range(partitions.DEFAULT_OFFSET, 0x20001, partitions.SECTOR)
RECOGNISED = TABLE_OFFSETS.stop + partitions.SECTOR  # bytes that are enough to recognise one


@dataclass(frozen=True, slots=True)
class Layout:
    """`base` is the flash offset of the file's first byte; the others are flash offsets too."""

    base: int
    bootloader: int
    table: int
    partitions: tuple[Partition, ...]


def recognise(head: bytes) -> Layout | None:
    """Find a bootloader and, behind it, a valid partition table; None for any other file.

    The file may start at flash offset 0 (padding before the bootloader) or with the bootloader itself.
    """
    for at in BOOTLOADER_OFFSETS:
        chip = header_chip(head[at : at + HEADER])
        if chip is None:
            continue
        bootloader = bootloader_offset(chip) or 0
        base = bootloader - at
        for table in TABLE_OFFSETS if base >= 0 else ():
            rows = _table_at(head, table - base)
            if rows:
                return Layout(base, bootloader, table, rows)
    return None


def _table_at(head: bytes, at: int) -> tuple[Partition, ...]:
    if head[at : at + 2] != partitions.MAGIC:
        return ()
    try:
        rows = partitions.read_table(head[at : at + partitions.MAX_SIZE], "in the image")
    except BrokenBuild:
        return ()
    return rows if any(row.type == "app" for row in rows) else ()


def is_merged(file: Path) -> bool:
    with file.open("rb") as stream:
        return recognise(stream.read(RECOGNISED)) is not None


def read(file: Path, workdir: Path) -> Listing:
    """Raises BrokenBuild where it holds no parts."""
    data = read_bounded(file)
    layout = recognise(data[:RECOGNISED])
    if layout is None:
        raise BrokenBuild(
            f"{file.name} is no merged image",
            why="No bootloader with a partition table is in it.",
            todo="Give the folder with flasher_args.json, or an image made by `esptool merge-bin`.",
        )
    return Listing("merged", file, checked(split(data, layout, workdir, file.name), file), notes=_notes(file.name))


def expand(items: tuple[Item, ...], workdir: Path, file: Path) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Replace every merged image in a listing by its parts; also says so, in sentences."""
    found: list[Item] = []
    notes: list[str] = []
    for item in items:
        data = read_bounded(item.path)
        layout = recognise(data[:RECOGNISED])
        if layout is None:
            found.append(item)
        elif layout.base != item.offset:
            raise BrokenBuild(
                f"{item.name} is a merged image that starts at {layout.base:#x}, but is listed at {item.offset:#x}",
                why="The boot ROM would not find its bootloader there.",
                todo=f"Correct the offset to {layout.base:#x}.",
            )
        else:
            found += split(data, layout, workdir, item.name)
            notes += _notes(item.name)
    return checked(found, file), tuple(notes)


def _notes(name: str) -> tuple[str, ...]:
    return (f"{name} is a merged image: only its parts are written, the padding between them is not",)


def split(data: bytes, layout: Layout, workdir: Path, name: str) -> list[Item]:
    """One file per part in `workdir`; what is blank in the image stays as it is on the chip, otadata excepted.

    A blank otadata is written: the image's maker means the board to boot as after a first flash.
    """
    items = []
    for start, end, label, row in _regions(layout, layout.base + len(data)):
        part = data[start - layout.base : end - layout.base]
        blank = not part.strip(b"\xff")
        if blank and not (row and (row.type, row.subtype) == ("data", "ota")):
            continue
        if start == layout.table:
            part = part[: partitions.MAX_SIZE]  # as in the file that the build makes
        elif row is None or row.type == "app":
            part = _trimmed(part)
        path = workdir / f"part-{start:x}.bin"
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part)
        items.append(Item(start, path, f"{name}[{label}]"))
    return items


def _regions(layout: Layout, end: int) -> list[tuple[int, int, str, Partition | None]]:
    """(start, end, label, partition) over the whole image, gaps between partitions included."""
    fixed: list[tuple[int, int, str, Partition | None]] = [
        (layout.bootloader, layout.table, "bootloader", None),
        (layout.table, layout.table + partitions.SECTOR, "partition table", None),
    ]
    inner = [row for row in layout.partitions if row.type in ("app", "data") or row.offset > layout.table]
    known = sorted(fixed + [(row.offset, row.offset + row.size, row.label, row) for row in inner], key=lambda r: r[0])
    regions: list[tuple[int, int, str, Partition | None]] = []
    at = layout.base
    for region in known:
        if at < region[0]:
            regions.append((at, region[0], "unlisted", None))
        if region[0] >= at:
            regions.append(region)
        at = max(at, region[1])
    regions.append((at, end, "unlisted", None))
    return [(start, min(stop, end), label, row) for start, stop, label, row in regions if start < min(stop, end)]


def _trimmed(part: bytes) -> bytes:
    """Without trailing padding, in whole 16-byte blocks as images are."""
    size = len(part.rstrip(b"\xff"))
    return part[: -(-size // 16) * 16]
