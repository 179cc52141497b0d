"""ESP application and bootloader images, as the chip's loaders see them.

Written apart from hut_ci.firmware on purpose: the board has to be able to disagree with the code under test.
Format: "Firmware Image Format" of the esptool documentation; descriptors: esp_app_desc.h, esp_bootloader_desc.h.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from hut_ci.virtual.chips import ChipFacts
from hut_ci.virtual.loader_protocol import checksum

MAGIC = 0xE9
HEADER = struct.Struct("<BBBBI")
EXTENDED = struct.Struct("<B3sHBHH4xB")
SEGMENT = struct.Struct("<II")
APP_DESCRIPTOR = struct.Struct("<II8x32s32s16s16s32s32sHHB3x72x")
APP_MAGIC = 0xABCD5432
BOOTLOADER_DESCRIPTOR = struct.Struct("<B3xI32s24s16x")
BOOTLOADER_MAGIC = 80
FIRST_SEGMENT_DATA = HEADER.size + EXTENDED.size + SEGMENT.size

SPI_MODES = ("QIO", "QOUT", "DIO", "DOUT", "FAST READ", "SLOW READ")
SPI_SPEEDS = {0x0: "40MHz", 0x1: "26.7MHz", 0x2: "20MHz", 0xF: "80MHz"}
SPI_CLOCK_DIVIDERS = {0x0: 2, 0x1: 3, 0x2: 4, 0xF: 1}


class BadImageError(ValueError):
    """The message is what ESP-IDF's loader prints behind its `esp_image` tag."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`offset`: of the data, in the image."""

    address: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class AppDescriptor:
    version: str
    project: str
    compile_time: str
    compile_date: str
    idf: str
    elf_sha256: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """Revisions as major * 100 + minor. `size` includes checksum and hash. `app` None: no application descriptor."""

    spi_mode: int
    spi_speed: int
    flash_size: int
    entry: int
    chip_id: int
    min_revision: int
    max_revision: int
    segments: tuple[Segment, ...]
    size: int
    app: AppDescriptor | None


def read_image(data: bytes, address: int, verify: bool = True) -> Image:
    """The image at the start of `data`, which was read from flash `address` (for the messages only).

    Raises BadImageError for a wrong magic byte, a bad structure, a wrong checksum or hash.
    """
    if len(data) < FIRST_SEGMENT_DATA or data[0] != MAGIC:
        raise BadImageError(f"image at {address:#x} has invalid magic byte (nothing flashed here?)")
    _, count, mode, speed_size, entry = HEADER.unpack_from(data)
    _, _, chip_id, _, min_revision, max_revision, has_hash = EXTENDED.unpack_from(data, HEADER.size)
    if not 0 < count <= 16:
        raise BadImageError(f"image at {address:#x} segment count {count} exceeds max 16")
    segments = _read_segments(data, count)
    end = segments[-1].offset + segments[-1].size
    checksum_at = end | 15
    if verify:
        _verify(data, segments, checksum_at, has_hash)
    return Image(
        spi_mode=mode,
        spi_speed=speed_size & 0xF,
        flash_size=1 << 20 << (speed_size >> 4),
        entry=entry,
        chip_id=chip_id,
        min_revision=min_revision,
        max_revision=max_revision,
        segments=segments,
        size=checksum_at + 1 + (32 if has_hash else 0),
        app=_read_app_descriptor(data),
    )


def _read_segments(data: bytes, count: int) -> tuple[Segment, ...]:
    segments = []
    at = HEADER.size + EXTENDED.size
    for _ in range(count):
        if at + SEGMENT.size > len(data):
            raise BadImageError(f"bootloader_flash_read failed at {at:#010x}")
        address, size = SEGMENT.unpack_from(data, at)
        at += SEGMENT.size
        if size > len(data) - at:
            raise BadImageError(f"invalid segment length {size:#x}")
        segments.append(Segment(address, at, size))
        at += size
    return tuple(segments)


def _verify(data: bytes, segments: tuple[Segment, ...], checksum_at: int, has_hash: int) -> None:
    calculated = checksum(b"".join(data[s.offset : s.offset + s.size] for s in segments))
    read = data[checksum_at] if checksum_at < len(data) else 0xFF
    if calculated != read:
        raise BadImageError(f"Checksum failed. Calculated {calculated:#x} read {read:#x}")
    stored = data[checksum_at + 1 : checksum_at + 33]
    if has_hash and hashlib.sha256(data[: checksum_at + 1]).digest() != stored:
        raise BadImageError("Image hash failed - image is corrupt")


def _read_app_descriptor(data: bytes) -> AppDescriptor | None:
    if len(data) < FIRST_SEGMENT_DATA + APP_DESCRIPTOR.size:
        return None
    magic, _, version, project, time, date, idf, sha, *_ = APP_DESCRIPTOR.unpack_from(data, FIRST_SEGMENT_DATA)
    if magic != APP_MAGIC:
        return None
    return AppDescriptor(_text(version), _text(project), _text(time), _text(date), _text(idf), sha)


def refusal(image: Image, chip: ChipFacts, revision: int) -> str | None:
    """Why the second-stage loader will not run the image on this chip (its `boot_comm` message), or None."""
    if image.chip_id != chip.image_chip_id:
        return f"mismatch chip ID, expected {chip.image_chip_id}, found {image.chip_id}"
    if revision < image.min_revision:
        return f"Image requires chip rev >= {dotted(image.min_revision)}, but chip is {dotted(revision)}"
    if image.max_revision not in (0, 0xFFFF) and revision > image.max_revision:
        return f"Image requires chip rev <= {dotted(image.max_revision)}, but chip is {dotted(revision)}"
    return None


def dotted(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
