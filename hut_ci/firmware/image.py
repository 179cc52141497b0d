"""One ESP image, read from bytes: header, segments, checksum, hash, application descriptor.

Layout: ESP-IDF "App Image Format". 24-byte header, segments of (address, length, data), an XOR checksum in the
last byte of a 16-byte block, then 32 bytes of SHA-256 where the header says so. All numbers little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from hut_ci.errors import BrokenBuild
from hut_ci.firmware.chips import NAMES
from hut_ci.model import AppDescriptor

MAGIC = 0xE9
HEADER = 24
MAX_SEGMENTS = 16  # ESP_IMAGE_MAX_SEGMENTS; the bootloader refuses more
CHECKSUM_SEED = 0xEF
DESCRIPTOR_MAGIC = 0xABCD5432
DESCRIPTOR_AT = HEADER + 8  # behind the header of the first segment
DESCRIPTOR_SIZE = 256
FLASH_SIZES = {i: 1 << (20 + i) for i in range(8)}  # high nibble of byte 3: 0 is 1 MB, 7 is 128 MB
UNSET_REVISIONS = (0, 65535)  # both mean "no maximum" to the bootloader

# cpu_start prints one of these and aborts; a build that carries on without PSRAM has other words there.
NEEDS_PSRAM = (b"Failed to init external RAM!", b"Failed to init external RAM, needed for external .bss")


@dataclass(frozen=True, slots=True)
class Image:
    """What one image says of itself; `length` is bytes up to the end of its hash, before padding or signature."""

    chip_id: int
    length: int
    flash_size: int | None
    min_revision: tuple[int, int]
    max_revision: tuple[int, int] | None
    hashed: bool
    descriptor: AppDescriptor | None
    needs_psram: bool
    signed: bool

    @property
    def chip(self) -> str | None:
        return NAMES.get(self.chip_id)


def header_chip(data: bytes) -> str | None:
    """The chip that an image header names; None where there is no header, or no chip that we know."""
    if len(data) < HEADER or data[0] != MAGIC or not 1 <= data[1] <= MAX_SEGMENTS:
        return None
    return NAMES.get(struct.unpack_from("<H", data, 12)[0])


def read_image(data: bytes, name: str) -> Image:
    """Check one image completely. `name` is for the message.

    Raises BrokenBuild: no image, truncated, too many segments, wrong checksum or hash, unknown chip.
    """
    if len(data) < HEADER or data[0] != MAGIC:
        raise BrokenBuild(
            f"{name} is not an ESP image: it starts with {data[:4].hex() or 'nothing'}, not with e9",
            why="The file was cut, encrypted, or is something else under the name of an image.",
            todo="Look at the build step that makes this file; `esptool image-info` has to accept it.",
        )
    chip_id, legacy_minimum, minimum, maximum = struct.unpack_from("<HBHH", data, 12)
    if chip_id not in NAMES:
        raise BrokenBuild(
            f"{name} names chip id {chip_id}, which no known chip has",
            why="The header is damaged, or the image is for an ESP8266 or a chip that is newer than this program.",
            todo="Check the target of the build; update hut-ci for a new chip.",
        )
    body_end = _check_segments(data, name)
    hashed = data[23] == 1
    length = body_end + (32 if hashed else 0)
    if hashed:
        _check_hash(data, body_end, name)
    return Image(
        chip_id=chip_id,
        length=length,
        flash_size=FLASH_SIZES.get(data[3] >> 4),
        min_revision=divmod(minimum, 100) if minimum else (legacy_minimum, 0),
        max_revision=None if maximum in UNSET_REVISIONS else divmod(maximum, 100),
        hashed=hashed,
        descriptor=read_descriptor(data),
        needs_psram=any(text in data for text in NEEDS_PSRAM),
        signed=_signed(data, length),
    )


def read_descriptor(data: bytes) -> AppDescriptor | None:
    """esp_app_desc_t of an application image; None where there is none (a bootloader, an old build)."""
    block = data[DESCRIPTOR_AT : DESCRIPTOR_AT + DESCRIPTOR_SIZE]
    if len(block) < DESCRIPTOR_SIZE or struct.unpack_from("<I", block)[0] != DESCRIPTOR_MAGIC:
        return None
    version, project, time, date, idf, sha = struct.unpack_from("<32s32s16s16s32s32s", block, 16)
    return AppDescriptor(
        project=_text(project),
        version=_text(version),
        idf=_text(idf),
        compiled=f"{_text(date)} {_text(time)}".strip(),
        elf_sha256=sha.hex() if any(sha) else None,
        offset=0,
    )


def _text(raw: bytes) -> str:
    """A NUL-terminated field as printable text: it ends up in logs and reports."""
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _check_segments(data: bytes, name: str) -> int:
    """Walk the segments; return the offset behind the checksum byte."""
    count = data[1]
    if not 1 <= count <= MAX_SEGMENTS:
        raise BrokenBuild(
            f"{name} claims {count} segments, an image has 1 to {MAX_SEGMENTS}",
            why="Its header is damaged.",
            todo="Build again; compare the file with the one on the build host.",
        )
    at, checksum = HEADER, CHECKSUM_SEED
    for number in range(count):
        if at + 8 > len(data):
            raise _cut(name, f"the header of segment {number} is missing")
        length = struct.unpack_from("<I", data, at + 4)[0]
        at += 8
        if at + length > len(data):
            raise _cut(name, f"segment {number} needs {length} bytes, {len(data) - at} are left")
        checksum ^= _xor(data[at : at + length])
        at += length
    at |= 15
    if at >= len(data):
        raise _cut(name, "the checksum is missing")
    if data[at] != checksum:
        raise BrokenBuild(
            f"{name} has a wrong checksum: {data[at]:#04x} in the file, {checksum:#04x} over its segments",
            why="The file was changed after it was linked, or damaged on its way here.",
            todo="Build again; compare the file with the one on the build host.",
        )
    return at + 1


def _xor(data: bytes) -> int:
    """XOR of all bytes, folded in halves as one big integer: a byte loop takes a second per megabyte."""
    size = 1 << max(0, len(data) - 1).bit_length()
    value = int.from_bytes(data, "little")
    while size > 1:
        size //= 2
        value = (value >> (8 * size)) ^ (value & ((1 << (8 * size)) - 1))
    return value


def _check_hash(data: bytes, end: int, name: str) -> None:
    found = data[end : end + 32]
    if len(found) < 32:
        raise _cut(name, "its SHA-256 is missing")
    counted = hashlib.sha256(data[:end]).digest()
    if found != counted:
        raise BrokenBuild(
            f"{name} has a wrong SHA-256: {found.hex()[:16]}… in the file, {counted.hex()[:16]}… counted",
            why="The file was changed after it was built, or damaged on its way here.",
            todo="Build again; compare the file with the one on the build host.",
        )


def _cut(name: str, what: str) -> BrokenBuild:
    return BrokenBuild(
        f"{name} is cut short: {what}",
        why="The build or the upload was interrupted.",
        todo="Build again and check that the whole file is in the artifact.",
    )


def _signed(data: bytes, length: int) -> bool:
    """A Secure Boot v2 signature block: magic 0xe7, version 2, in the next 4096-byte sector."""
    at = -(-length // 4096) * 4096
    return data[at : at + 2] == b"\xe7\x02"
