"""The mask ROM and the second-stage loader: from reset to a loaded application, or a refusal.

The texts follow ESP-IDF 4.3 to 5.5 and boot logs in the field; what is decided, is decided from the flash content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hut_ci.virtual.app_script import line
from hut_ci.virtual.boot_log import BootLog
from hut_ci.virtual.chips import ChipFacts, ResetReason, Revision
from hut_ci.virtual.image_format import (
    MAGIC,
    SPI_CLOCK_DIVIDERS,
    SPI_MODES,
    SPI_SPEEDS,
    BadImageError,
    Image,
    dotted,
    read_image,
    refusal,
)
from hut_ci.virtual.nor_flash import NorFlash
from hut_ci.virtual.partitions import (
    DATA,
    OTA_0,
    OTA_DATA,
    SECTOR,
    TABLE_OFFSET,
    TABLE_SIZE,
    TEST,
    BadTableError,
    Choice,
    Partition,
    choose_app,
    read_table,
)

_BOOTLOADER_ROOM = 0x7000
COLOURS = b"\x1b[0;32mI ("
_IDF_VERSION = re.compile(rb"\0(v\d+\.\d+[\w.-]*)\0")
_COMPILE_TIME = re.compile(rb"compile time ((?:\w{3} [ \d]\d \d{4} )?\d\d:\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class BoardFacts:
    chip: ChipFacts
    revision: Revision
    psram: bool
    boot_seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """The application that the second stage has loaded. `data`: its image."""

    partition: Partition
    image: Image
    data: bytes


def download_banner(chip: ChipFacts) -> bytes:
    """After a reset with IO0 low."""
    rom = chip.rom
    reason = _reset_line(chip, ResetReason.POWER_ON, rom.download_strap, rom.download_mode)
    return line(rom.banner) + line(reason) + line("waiting for download")


def run_loaders(
    board: BoardFacts, flash: NorFlash, reason: ResetReason, log: BootLog
) -> tuple[Loaded | None, ResetReason]:
    """ROM and second stage; None with the reason of the reset that follows when there is nothing to run."""
    bootloader = _run_rom(board, flash, reason, log)
    if bootloader is None:
        return None, ResetReason.RTC_WATCHDOG
    return _run_second_stage(board, flash, bootloader, log), ResetReason.SOFTWARE


# ROM


def _reset_line(chip: ChipFacts, reason: ResetReason, strap: int, mode: str) -> str:
    return f"rst:{reason.value:#x} ({chip.rom.reset_names[reason]}),boot:{strap:#x} ({mode})"


def _run_rom(board: BoardFacts, flash: NorFlash, reason: ResetReason, log: BootLog) -> Image | None:
    chip, rom = board.chip, board.chip.rom
    log.raw(rom.banner)
    log.raw(_reset_line(chip, reason, rom.boot_strap, rom.boot_mode))
    data = flash.read(chip.bootloader_offset, _BOOTLOADER_ROOM)
    if data[0] != MAGIC:
        for _ in range(4):
            log.raw(f"invalid header: 0x{int.from_bytes(data[:4], 'little'):08x}", ms=60)
        return None
    for text in rom.before_load:
        log.raw(text)
    try:
        image = read_image(data, chip.bootloader_offset)
    except BadImageError as error:
        _refuse_in_rom(log, str(error))
        return None
    if image.chip_id != chip.image_chip_id:
        _refuse_in_rom(log, "")
        return None
    log.raw(f"mode:{SPI_MODES[min(image.spi_mode, 5)]}, clock div:{SPI_CLOCK_DIVIDERS.get(image.spi_speed, 2)}")
    for segment in image.segments:
        length = f"{segment.size:#x}" if rom.hex_lengths else str(segment.size)
        log.raw(f"load:0x{segment.address:08x},len:{length}", ms=2)
    log.raw(f"entry 0x{image.entry:08x}", ms=4)
    return image


def _refuse_in_rom(log: BootLog, why: str) -> None:
    found = re.search(r"Calculated 0x(\w+) read 0x(\w+)", why)
    log.raw(f"csum err:0x{found[2]}!=0x{found[1]}" if found else "Invalid image block, can't boot.", ms=20)
    log.raw("ets_main.c 329 ", ms=200)


# Second stage


def _run_second_stage(board: BoardFacts, flash: NorFlash, image: Image, log: BootLog) -> Loaded | None:
    code = flash.read(board.chip.bootloader_offset, image.size)
    _greet(board, image, code, log)
    try:
        partitions = read_table(flash.read(TABLE_OFFSET, TABLE_SIZE), image.flash_size)
    except BadTableError as error:
        log.idf("E", "flash_parts", str(error))
        log.idf("E", "boot", "Failed to verify partition table")
        log.idf("E", "boot", "load partition table error!")
        return None
    _list_partitions(partitions, log)
    choice = choose_app(partitions, _otadata(partitions, flash))
    if choice.remark:
        log.idf(choice.remark[0], "boot", choice.remark[1])
    return _load_first_good(board, flash, choice, log)


def _greet(board: BoardFacts, image: Image, code: bytes, log: BootLog) -> None:
    chip = board.chip
    version = _IDF_VERSION.search(code)
    compiled = _COMPILE_TIME.search(code)
    log.colours = COLOURS in code
    log.ms = 27
    log.idf("I", "boot", f"ESP-IDF {version[1].decode() if version else 'v5.1'} 2nd stage bootloader", ms=0)
    log.idf("I", "boot", f"compile time {compiled[1].decode() if compiled else '00:00:00'}", ms=0)
    if version and version[1] >= b"v5" and chip.cores > 1:
        log.idf("I", "boot", "Multicore bootloader", ms=0)
    log.idf("I", "boot", f"chip revision: {dotted(full_revision(board.revision))}")
    log.idf("I", f"boot.{chip.name}", f"SPI Speed      : {SPI_SPEEDS.get(image.spi_speed, '40MHz')}")
    log.idf("I", f"boot.{chip.name}", f"SPI Mode       : {SPI_MODES[min(image.spi_mode, 5)]}")
    log.idf("I", f"boot.{chip.name}", f"SPI Flash Size : {image.flash_size >> 20}MB")
    log.idf("I", "boot", "Enabling RNG early entropy source...")


def _list_partitions(partitions: list[Partition], log: BootLog) -> None:
    log.idf("I", "boot", "Partition Table:")
    log.idf("I", "boot", "## Label            Usage          Type ST Offset   Length")
    for index, part in enumerate(partitions):
        where = f"{part.type:02x} {part.subtype:02x} {part.offset:08x} {part.size:08x}"
        log.idf("I", "boot", f"{index:2d} {part.name:<16} {part.use:<16} {where}", ms=7)
    log.idf("I", "boot", "End of partition table")


def _otadata(partitions: list[Partition], flash: NorFlash) -> bytes | None:
    found = next((part for part in partitions if part.type == DATA and part.subtype == OTA_DATA), None)
    return flash.read(found.offset, 2 * SECTOR) if found else None


def _load_first_good(board: BoardFacts, flash: NorFlash, choice: Choice, log: BootLog) -> Loaded | None:
    for part in choice.order:
        data = flash.read(part.offset, part.size)
        loaded = _load(board, part, data, log)
        if loaded:
            log.idf("I", "boot", f"Loaded app from partition at offset {part.offset:#x}")
            log.idf("I", "boot", "Disabling RNG early entropy source...")
            return loaded
        log.idf("E", "boot", f"{_app_name(part)} is not bootable")
    log.idf("E", "boot", "No bootable app partitions in the partition table")
    return None


def _app_name(part: Partition) -> str:
    if OTA_0 <= part.subtype < TEST:
        return f"OTA app partition slot {part.subtype - OTA_0}"
    return "Factory test app partition" if part.subtype == TEST else "Factory app partition"


def _load(board: BoardFacts, part: Partition, data: bytes, log: BootLog) -> Loaded | None:
    try:
        image = read_image(data, part.offset, verify=False)
    except BadImageError as error:
        log.idf("E", "esp_image", str(error))
        return None
    refused = refusal(image, board.chip, full_revision(board.revision))
    if refused:
        log.idf("E", "boot_comm", refused)
        return None
    for index, segment in enumerate(image.segments):
        kind = "map" if _is_mapped(board.chip, segment.address) else "load"
        size = f"{segment.size:05x}h ({segment.size:6d})"
        place = f"paddr={part.offset + segment.offset:08x} vaddr={segment.address:08x} size={size}"
        log.idf("I", "esp_image", f"segment {index}: {place} {kind}", ms=4 + segment.size // 4000)
    try:
        read_image(data, part.offset)
    except BadImageError as error:
        log.idf("E", "esp_image", str(error))
        return None
    return Loaded(part, image, data[: image.size])


def _is_mapped(chip: ChipFacts, address: int) -> bool:
    memory = chip.memory
    return memory.drom <= address < memory.drom_end or memory.irom <= address < memory.irom_end


def full_revision(revision: Revision) -> int:
    return revision[0] * 100 + revision[1]
