"""The chips we know: the id in an image header, and where the boot ROM looks for the bootloader.

Ids and offsets are those that esptool 5.6 uses (`IMAGE_CHIP_ID`, `BOOTLOADER_FLASH_OFFSET` of each target).
"""

from __future__ import annotations

# chip → (chip id in the image header, flash offset of the second-stage bootloader in bytes)
CHIPS: dict[str, tuple[int, int]] = {
    "esp32": (0, 0x1000),
    "esp32s2": (2, 0x1000),
    "esp32c3": (5, 0x0),
    "esp32s3": (9, 0x0),
    "esp32c2": (12, 0x0),
    "esp32c6": (13, 0x0),
    "esp32h2": (16, 0x0),
    "esp32p4": (18, 0x2000),
    "esp32c61": (20, 0x0),
    "esp32c5": (23, 0x2000),
    "esp32h21": (25, 0x0),
    "esp32h4": (28, 0x2000),
    "esp32e22": (31, 0x0),
    "esp32s31": (32, 0x2000),
}
NAMES = {chip_id: name for name, (chip_id, _) in CHIPS.items()}
BOOTLOADER_OFFSETS = (0x0, 0x1000, 0x2000)


def bootloader_offset(chip: str) -> int | None:
    """Bytes from the start of flash, or None for a chip that is not in the table."""
    known = CHIPS.get(chip)
    return known[1] if known else None


def chip_name(text: str) -> str | None:
    """`ESP32-S3`, `esp32s3` or `ESP32_S3` → `esp32s3`; None for anything that is not in the table."""
    name = text.strip().lower().replace("-", "").replace("_", "")
    return name if name in CHIPS else None
