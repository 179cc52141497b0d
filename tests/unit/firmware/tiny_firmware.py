"""Builds small firmware from a description: images that esptool accepts, partition tables, whole build folders."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from pathlib import Path
from typing import Any

from hut_ci.firmware.chips import CHIPS
from hut_ci.firmware.otadata import record

TABLE = """
nvs,      data, nvs,     0x9000,  0x4000
otadata,  data, ota,     0xd000,  0x2000
phy_init, data, phy,     0xf000,  0x1000
factory,  app,  factory, 0x10000, 0x10000
ota_0,    app,  ota_0,   0x20000, 0x10000
storage,  data, spiffs,  0x30000, 0x8000
settings, data, nvs,     0x38000, 0x8000
"""
DROM = {"esp32": 0x3F400020, "esp32s2": 0x3F000020}  # where flash is mapped for constants: an application starts there
TYPES = {"app": 0, "data": 1}
SUBTYPES = {"factory": 0, "ota": 0, "phy": 1, "nvs": 2, "coredump": 3, "spiffs": 0x82, "ota_0": 0x10, "ota_1": 0x11}


def image(
    chip: str = "esp32",
    *,
    size: int = 1024,
    minimum: int = 0,
    maximum: int = 65535,
    hashed: bool = True,
    flash_size: int = 2,
    words: bytes = b"",
    descriptor: bytes = b"",
    address: int = 0x3FFB0000,
) -> bytes:
    """An image of exactly `size` bytes (a multiple of 16): one segment, checksum, SHA-256."""
    body = (descriptor + words).ljust(size - 24 - 8 - 1 - 32 * hashed, b"\x5a")
    body = body[: len(body) // 4 * 4]
    head = struct.pack("<BBBBI", 0xE9, 1, 2, flash_size << 4 | 0xF, 0x40080000)
    head += struct.pack("<BBBBHBHH4xB", 0xEE, 0, 0, 0, CHIPS[chip][0], minimum // 100, minimum, maximum, hashed)
    data = head + struct.pack("<II", address, len(body)) + body
    checksum = 0xEF
    for byte in body:
        checksum ^= byte
    data = data.ljust(len(data) // 16 * 16 + 15, b"\0") + bytes([checksum])
    return data + hashlib.sha256(data).digest() if hashed else data


def app(
    chip: str = "esp32", *, version: str = "1.2.3", project: str = "tiny", elf: str | None = "ab" * 32, **options: Any
) -> bytes:
    fields = struct.pack(
        "<II8x32s32s16s16s32s32s80x",
        *(0xABCD5432, 0, version.encode(), project.encode(), b"21:00:11", b"Dec 26 2025", b"v5.5.1"),
        bytes.fromhex(elf) if elf else bytes(32),
    )
    return image(chip, descriptor=fields, address=DROM.get(chip, 0x3C000020), **options)


def table(csv: str = TABLE, *, md5: bool = True) -> bytes:
    """0xC00 bytes from the CSV form; a row without an offset follows the one before it (apps on 64 KB)."""
    rows, at = b"", 0x9000
    for line in csv.splitlines():
        cells = [cell.strip() for cell in line.split("#")[0].split(",")]
        if len(cells) < 5:
            continue
        step = 0x10000 if cells[1] == "app" else 0x1000
        at = int(cells[3], 0) if cells[3] else -(-at // step) * step
        size, flags = int(cells[4], 0), 2 if "readonly" in cells[5:] else 0
        kind, sub = TYPES[cells[1]], SUBTYPES[cells[2]]
        rows += struct.pack("<2sBBII16sI", b"\xaa\x50", kind, sub, at, size, cells[0].encode(), flags)
        at += size
    if md5:
        rows += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows, usedforsecurity=False).digest()
    return rows.ljust(0xC00, b"\xff")


def otadata(sequence: int = 0) -> bytes:
    return (record(sequence) if sequence else b"").ljust(0x2000, b"\xff")


def standard(chip: str = "esp32") -> dict[str, bytes]:
    """The files of an ESP-IDF build folder, listing included."""
    boot = hex(CHIPS[chip][1])
    files = {boot: "bootloader/bootloader.bin", "0x8000": "partition_table/partition-table.bin"}
    files |= {"0xd000": "ota_data_initial.bin", "0x10000": "tiny.bin"}
    listing = {
        "write_flash_args": ["--flash_mode", "dio", "--flash_size", "4MB", "--flash_freq", "40m"],
        "flash_settings": {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "40m"},
        "flash_files": files,
        "extra_esptool_args": {"after": "hard_reset", "before": "default_reset", "stub": True, "chip": chip},
    }
    return {
        "bootloader/bootloader.bin": image(chip, size=2048),
        "partition_table/partition-table.bin": table(),
        "ota_data_initial.bin": otadata(),
        "tiny.bin": app(chip, size=4096),
        "flasher_args.json": json.dumps(listing).encode(),
        "flash_args": f"--flash_mode dio\n{boot} bootloader/bootloader.bin\n".encode(),
    }


def content(spec: dict[str, Any]) -> bytes:
    """Bytes from one entry of a case file: {image: chip, …}, {app: chip, …}, {table: csv}, {json: …}, …"""
    options = dict(spec)
    cut, damage = options.pop("cut", None), options.pop("damage", None)
    kind, value = next(iter(options.items()))
    del options[kind]
    if "words" in options:
        options["words"] = options["words"].encode()
    made = _made(kind, value, options)
    if damage is not None:
        made = made[:damage] + bytes([made[damage] ^ 1]) + made[damage + 1 :]
    return made[:cut]


def _made(kind: str, value: Any, options: dict[str, Any]) -> bytes:
    match kind:
        case "image":
            return image(value, **options)
        case "app":
            return app(value, **options)
        case "boot":  # with the description that ESP-IDF 5.2 and later put into a bootloader
            return image(value, descriptor=struct.pack("<B7x32s24s16x", 80, b"v5.5.1", b"Dec 26 2025"), **options)
        case "table":
            return table(value or TABLE, **options)
        case "otadata":
            return otadata(value)
        case "json":
            return json.dumps(value).encode()
        case "text":
            return str(value).encode()
        case "hex":
            return bytes.fromhex(value)
        case "blank" | "fill":
            return (b"\xff" if kind == "blank" else b"\xa5") * int(value)
        case "merged":
            return merged({int(at, 0): content(part) for at, part in value.items()}, **options)
        case "noise":
            return random.Random(value).randbytes(options["size"])
    raise ValueError(kind)


def merged(parts: dict[int, bytes], base: int = 0) -> bytes:
    """What `esptool merge-bin` makes: parts at their offsets from `base`, padding of all ones between."""
    data = bytearray(b"\xff" * (max(at + len(part) for at, part in parts.items()) - base))
    for at, part in parts.items():
        data[at - base : at - base + len(part)] = part
    return bytes(data)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
