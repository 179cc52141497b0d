"""Which application the bootloader will choose: the two records of an otadata partition.

esp_ota_select_entry_t: u32 sequence, 20-byte label, u32 state, u32 CRC of the sequence; the second record lies
one sector (4096 bytes) behind the first. Application n is chosen by (highest valid sequence - 1) modulo the number
of ota slots; without a valid record the factory application starts, or ota_0 where there is none.
"""

from __future__ import annotations

import struct
import zlib

from hut_ci.model import Partition

SECTOR = 0x1000
RECORD = 32
BAD_STATES = (0x3, 0x4)  # invalid, aborted


def crc(sequence: int) -> int:
    return zlib.crc32(struct.pack("<I", sequence), 0xFFFFFFFF)


def record(sequence: int) -> bytes:
    """32 bytes that select ota slot (sequence - 1); what Arduino's `boot_app0.bin` starts with for sequence 1."""
    return struct.pack("<I20sII", sequence, b"\xff" * 20, 0xFFFFFFFF, crc(sequence))


def selected(content: bytes, table: tuple[Partition, ...]) -> Partition | None:
    """The application partition that boots with this otadata; None where the table has none."""
    apps = {row.subtype: row for row in table if row.type == "app"}
    slots = sum(1 for name in apps if name.startswith("ota_"))
    sequence = max((_sequence(content[at : at + RECORD]) for at in (0, SECTOR)), default=0)
    if sequence and slots:
        return apps.get(f"ota_{(sequence - 1) % slots}")
    return apps.get("factory") or apps.get("ota_0")


def _sequence(raw: bytes) -> int:
    """The sequence of a valid record, else 0."""
    if len(raw) < RECORD:
        return 0
    sequence, _, state, found = struct.unpack("<I20sII", raw)
    valid = sequence not in (0, 0xFFFFFFFF) and found == crc(sequence) and state not in BAD_STATES
    return int(sequence) if valid else 0
