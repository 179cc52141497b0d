"""Builds firmware for virtual boards: image files that `esptool image-info` accepts, in an ESP-IDF build folder."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hut_ci.virtual.app_script import Log, Script, to_block
from hut_ci.virtual.chips import ChipFacts, chip_named
from hut_ci.virtual.image_format import (
    APP_DESCRIPTOR,
    APP_MAGIC,
    BOOTLOADER_DESCRIPTOR,
    BOOTLOADER_MAGIC,
    EXTENDED,
    HEADER,
    MAGIC,
    SEGMENT,
)
from hut_ci.virtual.loader_protocol import checksum
from hut_ci.virtual.partitions import (
    APP,
    DATA,
    FACTORY,
    OTA_0,
    OTA_DATA,
    TABLE_OFFSET,
    Partition,
    build_otadata,
    build_table,
)

_PAGE = 0x10000
_BLOCK = 4096
_TRAILER = 16 + 32  # at most 16 bytes up to and with the checksum, then the SHA-256
_DIO, _FLASH_4MB_40MHZ = 2, 0x20
_DEFAULT_APP_SIZE = 0x20000
_COMPILED = ("Jan  2 2026", "03:04:05")

# 32 byte values, evenly: 5 bits a byte, which zlib makes 0.63; real ESP32 applications have 0.53 to 0.68.
_CODE_LIKE = bytes((7 * (value % 32) + 3) & 0xFF for value in range(256))

PHY, NVS = 0x01, 0x02

DEFAULT_PARTITIONS = (
    Partition("nvs", DATA, NVS, 0x9000, 0x4000),
    Partition("otadata", DATA, OTA_DATA, 0xD000, 0x2000),
    Partition("phy_init", DATA, PHY, 0xF000, 0x1000),
    Partition("factory", APP, FACTORY, 0x10000, 0x1F0000),
    Partition("ota_0", APP, OTA_0, 0x200000, 0x1F0000),
)

DEFAULT_SCRIPT = Script((Log("Hello from the demo"), Log("ready")))


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """What the application descriptor says. `elf_sha256` None: made from the rest; 32 zero bytes are allowed."""

    project: str = "demo"
    version: str = "1.0.0"
    idf: str = "v5.1.6"
    compile_date: str = _COMPILED[0]
    compile_time: str = _COMPILED[1]
    elf_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """Chip and revisions (major * 100 + minor) that an image asks for; `chip_id` None: the chip's own."""

    min_revision: int = 0
    max_revision: int = 399
    chip_id: int | None = None


def code_like_bytes(size: int, seed: int) -> bytes:
    """Reproducible filling that compresses like ESP32 code (ratio 0.6 to 0.68 with zlib)."""
    return random.Random(seed).randbytes(size).translate(_CODE_LIKE)  # noqa: S311  # not for secrets


def build_image(chip: ChipFacts, entry: int, segments: Sequence[tuple[int, bytes]], needs: Needs) -> bytes:
    """Header, (load address, data) segments, checksum, SHA-256. Data is padded with zeros to whole words."""
    chip_id = chip.image_chip_id if needs.chip_id is None else needs.chip_id
    padded = [(address, data + bytes(-len(data) % 4)) for address, data in segments]
    image = HEADER.pack(MAGIC, len(padded), _DIO, _FLASH_4MB_40MHZ, entry)
    image += EXTENDED.pack(
        0xEE, b"\0\0\0", chip_id, needs.min_revision // 100, needs.min_revision, needs.max_revision, 1
    )
    image += b"".join(SEGMENT.pack(address, len(data)) + data for address, data in padded)
    image += bytes(15 - len(image) % 16)
    image += bytes([checksum(b"".join(data for _, data in padded))])
    return image + hashlib.sha256(image).digest()


def build_app(
    chip: str = "esp32",
    identity: AppIdentity | None = None,
    script: Script | None = DEFAULT_SCRIPT,
    size: int | None = None,
    seed: int = 0,
    needs: Needs | None = None,
    changed_blocks: int = 0,
) -> bytes:
    """An application image of exactly `size` bytes (a multiple of 16; default 128 KB).

    `changed_blocks`: so many 4 KB blocks of the filling, spread evenly, differ from the build without them.
    """
    facts = chip_named(chip)
    identity, needs = identity or AppIdentity(), needs or Needs()
    size = _DEFAULT_APP_SIZE if size is None else size
    head = _app_descriptor(identity) + (to_block(script) if script else b"")
    rodata, data, code = (
        head + code_like_bytes(2048, seed),
        code_like_bytes(4096, seed + 1),
        code_like_bytes(16384, seed + 2),
    )
    rodata += bytes(-len(rodata) % 4)
    small = [(facts.memory.drom, rodata), (facts.memory.dram, data), (facts.memory.iram, code)]
    used = HEADER.size + EXTENDED.size + sum(SEGMENT.size + len(part) for _, part in small) + SEGMENT.size
    filling = size - used - 33 - 15
    if size % 16 or filling < _BLOCK:
        raise ValueError(f"an application needs a multiple of 16 bytes and at least {used + _BLOCK + 48}, not {size}")
    filling += (size - 33 - used - filling) & ~3
    bulk = _with_changes(code_like_bytes(filling, seed + 3), changed_blocks, seed + 4)
    # A mapped segment lies at the same place in its 64 KB page in flash and in memory.
    at = (facts.memory.irom & ~(_PAGE - 1)) + used % _PAGE
    segments = [(facts.memory.drom + 0x20, rodata), *small[1:], (at, bulk)]
    return build_image(facts, facts.memory.iram + 0x34C, segments, needs)


def build_bootloader(chip: str = "esp32", idf: str = "v5.1.6", needs: Needs | None = None, seed: int = 0) -> bytes:
    """A second-stage loader image, about 24 KB."""
    facts = chip_named(chip)
    when = f"{_COMPILED[0]} {_COMPILED[1]}"
    head = BOOTLOADER_DESCRIPTOR.pack(BOOTLOADER_MAGIC, 1, idf.encode(), when.encode())
    head += f"\0{idf}\0compile time {when}\0".encode()
    segments = [
        (facts.memory.bootloader_dram, head + code_like_bytes(6 * 1024, seed + 10)),
        (facts.memory.bootloader_iram, code_like_bytes(16 * 1024, seed + 11)),
    ]
    return build_image(facts, facts.memory.bootloader_iram + 0x640, segments, needs or Needs())


def build_folder(
    path: Path,
    *,
    chip: str = "esp32",
    project: str = "demo",
    version: str = "1.0.0",
    script: Script | None = DEFAULT_SCRIPT,
    app_size: int | None = None,
    seed: int = 0,
    partitions: Sequence[Partition] = DEFAULT_PARTITIONS,
    otadata: bytes | None = None,
    psram: bool = False,
    min_rev: int = 0,
    max_rev: int = 399,
    chip_id: int | None = None,
    idf: str = "v5.1.6",
    elf_sha256: bytes | None = None,
    bootloader_needs: Needs | None = None,
    changed_blocks: int = 0,
    compile_time: str = _COMPILED[1],
) -> Path:
    """Writes a build folder as ESP-IDF leaves it, and returns `path`.

    The application goes to the first app partition. `psram`: it aborts at start on a board without. Revisions are
    major * 100 + minor; they and `chip_id` go into application and bootloader, unless `bootloader_needs` says otherwise
    for the latter. `otadata` None: blank, if the table has such a partition.
    """
    facts = chip_named(chip)
    needs = Needs(min_rev, max_rev, chip_id)
    identity = AppIdentity(project, version, idf, compile_time=compile_time, elf_sha256=elf_sha256)
    if psram:
        script = replace(script or Script(), needs_psram=True)
    app = build_app(chip, identity, script, app_size, seed, needs, changed_blocks)
    app_at = next(part.offset for part in partitions if part.type == APP)
    files = {
        facts.bootloader_offset: ("bootloader/bootloader.bin", build_bootloader(chip, idf, bootloader_needs or needs)),
        TABLE_OFFSET: ("partition_table/partition-table.bin", build_table(partitions)),
        app_at: (f"{project}.bin", app),
    }
    ota = next((part for part in partitions if part.type == DATA and part.subtype == OTA_DATA), None)
    if ota:
        files[ota.offset] = ("ota_data_initial.bin", otadata or build_otadata())
    _write_folder(path, files, facts, app_at, ota.offset if ota else None)
    return path


def next_build(path: Path, *, version: str = "1.0.1", changed_blocks: int = 12, **same: Any) -> Path:
    """The same project one commit later: another version and time, and some 4 KB blocks of code changed.

    `same`: the arguments of the first `build_folder` call, version and compile_time apart.
    """
    return build_folder(path, version=version, changed_blocks=changed_blocks, compile_time="03:14:15", **same)


def _with_changes(filling: bytes, count: int, seed: int) -> bytes:
    blocks = len(filling) // _BLOCK
    changed = bytearray(filling)
    for index in range(min(count, blocks)):
        at = index * blocks // min(count, blocks) * _BLOCK
        changed[at : at + _BLOCK] = code_like_bytes(_BLOCK, seed + index)
    return bytes(changed)


def _app_descriptor(identity: AppIdentity) -> bytes:
    sha = identity.elf_sha256
    if sha is None:
        sha = hashlib.sha256(repr(identity).encode()).digest()
    return APP_DESCRIPTOR.pack(
        APP_MAGIC,
        0,
        identity.version.encode()[:31],
        identity.project.encode()[:31],
        identity.compile_time.encode(),
        identity.compile_date.encode(),
        identity.idf.encode()[:31],
        sha,
        0,
        99,
        16,
    )


def _write_folder(
    path: Path, files: Mapping[int, tuple[str, bytes]], chip: ChipFacts, app_at: int, ota_at: int | None
) -> None:
    for name, data in files.values():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    named = {f"{offset:#x}": name for offset, (name, _) in sorted(files.items())}
    settings = {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "40m"}
    arguments = [word for key, value in settings.items() for word in (f"--{key}", value)]
    document = {
        "write_flash_args": arguments,
        "flash_settings": settings,
        "flash_files": named,
        "bootloader": _part(files, chip.bootloader_offset),
        "partition-table": _part(files, TABLE_OFFSET),
        "app": _part(files, app_at),
        "extra_esptool_args": {"after": "hard_reset", "before": "default_reset", "stub": True, "chip": chip.name},
    }
    if ota_at is not None:
        document["otadata"] = _part(files, ota_at)
    (path / "flasher_args.json").write_text(json.dumps(document, indent=4) + "\n")
    lines = [" ".join(arguments), *(f"{offset} {name}" for offset, name in named.items())]
    (path / "flash_args").write_text("\n".join(lines) + "\n")


def _part(files: Mapping[int, tuple[str, bytes]], offset: int) -> dict[str, str]:
    return {"offset": f"{offset:#x}", "file": files[offset][0], "encrypted": "false"}
