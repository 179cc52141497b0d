"""One row of facts for each chip that a virtual board can be.

Register addresses and bit positions: the chips' technical reference manuals, read back through what esptool asks for
(`esptool --trace`). ROM texts: boot logs in the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

Revision = tuple[int, int]
Mac = bytes


class ResetReason(Enum):
    """Why the chip starts; the ROM prints code and name."""

    POWER_ON = 0x1
    SOFTWARE = 0x3
    SOFTWARE_CPU = 0xC
    BROWNOUT = 0xF
    RTC_WATCHDOG = 0x10


@dataclass(frozen=True, slots=True)
class SpiRegisters:
    """Offsets of the SPI1 controller's registers from `base`; `address_msb`: short addresses sit in the upper bits."""

    base: int
    usr: int
    usr1: int
    usr2: int
    mosi_dlen: int
    miso_dlen: int
    w0: int
    address_msb: bool


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Where an application image puts its segments; DROM and IROM are mapped from flash, the others are loaded."""

    drom: int
    drom_end: int
    irom: int
    irom_end: int
    dram: int
    iram: int
    bootloader_dram: int
    bootloader_iram: int


@dataclass(frozen=True, slots=True)
class Rom:
    """What the mask ROM prints. `reset_names`: reset reason → name."""

    banner: str
    boot_strap: int
    boot_mode: str
    download_strap: int
    download_mode: str
    before_load: tuple[str, ...]
    hex_lengths: bool
    reset_names: Mapping[ResetReason, str]


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """`magic`: word at 0x40001000 for chips that are told apart by it; `security_info`: answers GET_SECURITY_INFO."""

    name: str
    title: str
    image_chip_id: int
    magic: int
    security_info: bool
    bootloader_offset: int
    spi: SpiRegisters
    memory: MemoryMap
    rom: Rom
    default_revision: Revision
    cores: int
    riscv: bool
    watchdog_config: int | None
    registers: Callable[[Mac, Revision], dict[int, int]]


CHIP_MAGIC_ADDRESS = 0x40001000
RAM_BLOCK = 0x1800

_NEW_SPI = SpiRegisters(
    base=0x60002000, usr=0x18, usr1=0x1C, usr2=0x20, mosi_dlen=0x24, miso_dlen=0x28, w0=0x58, address_msb=False
)


def mac_crc(mac: Mac) -> int:
    """CRC-8 (polynomial 0x31, reflected) that the ESP32 keeps beside its factory MAC."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc


def _esp32_registers(mac: Mac, revision: Revision) -> dict[int, int]:
    """Package D0WD (1). Major revision 0, 1, 2, 3 is coded as 0, 1, 3, 7 over two eFuses and APB_CTRL_DATE bit 31."""
    efuse, major_bits = 0x3FF5A000, {0: 0, 1: 1, 2: 3, 3: 7}[revision[0]]
    rated_240_mhz = 1 << 13
    # The ROM derives its baud rates from a measured 8 MHz clock: 800 * 15625 * 128 / 40 is a 40 MHz crystal.
    clock_8m, calibration = 128, 800
    return {
        efuse + 0x04: int.from_bytes(mac[2:], "big"),
        efuse + 0x08: mac_crc(mac) << 16 | int.from_bytes(mac[:2], "big"),
        efuse + 0x0C: (major_bits & 1) << 15 | rated_240_mhz | 1 << 9,
        efuse + 0x10: 0x10 << 8 | clock_8m,
        0x3FF5F06C: calibration << 7,
        efuse + 0x14: (major_bits >> 1 & 1) << 20 | (revision[1] & 3) << 24,
        0x3FF6607C: (major_bits >> 2) << 31 | 0x16042000,
        0x3FF40014: 40_000_000 // 115_200,
        0x3FF44038: 0x13,
    }


def _block1_registers(block1: int) -> Callable[[Mac, Revision], dict[int, int]]:
    """eFuse BLOCK1 of S3, C3 and later: MAC in words 0 and 1, revision in words 3 and 5."""

    def registers(mac: Mac, revision: Revision) -> dict[int, int]:
        return {
            block1: int.from_bytes(mac[2:], "big"),
            block1 + 4: int.from_bytes(mac[:2], "big"),
            block1 + 12: (revision[1] & 7) << 18,
            block1 + 20: (revision[1] >> 3) << 23 | revision[0] << 24,
            0x60000014: 40_000_000 // 115_200,
        }

    return registers


_ESP32_RESETS = {
    ResetReason.POWER_ON: "POWERON_RESET",
    ResetReason.SOFTWARE: "SW_RESET",
    ResetReason.SOFTWARE_CPU: "SW_CPU_RESET",
    ResetReason.BROWNOUT: "RTCWDT_BROWN_OUT_RESET",
    ResetReason.RTC_WATCHDOG: "RTCWDT_RTC_RESET",
}
_NEW_RESETS = {
    ResetReason.POWER_ON: "POWERON",
    ResetReason.SOFTWARE: "RTC_SW_SYS_RST",
    ResetReason.SOFTWARE_CPU: "RTC_SW_CPU_RST",
    ResetReason.BROWNOUT: "RTCWDT_BROWN_OUT_RST",
    ResetReason.RTC_WATCHDOG: "RTCWDT_RTC_RST",
}

ESP32 = ChipFacts(
    name="esp32",
    title="ESP32",
    image_chip_id=0,
    magic=0x00F01D83,
    security_info=False,
    bootloader_offset=0x1000,
    spi=SpiRegisters(
        base=0x3FF42000, usr=0x1C, usr1=0x20, usr2=0x24, mosi_dlen=0x28, miso_dlen=0x2C, w0=0x80, address_msb=True
    ),
    memory=MemoryMap(0x3F400000, 0x3F800000, 0x400D0000, 0x40400000, 0x3FFB0000, 0x40080000, 0x3FFF0030, 0x40078000),
    rom=Rom(
        banner="ets Jul 29 2019 12:21:46\r\n",
        boot_strap=0x13,
        boot_mode="SPI_FAST_FLASH_BOOT",
        download_strap=0x3,
        download_mode="DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2)",
        before_load=(
            "configsip: 0, SPIWP:0xee",
            "clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00",
        ),
        hex_lengths=False,
        reset_names=_ESP32_RESETS,
    ),
    default_revision=(3, 1),
    cores=2,
    riscv=False,
    watchdog_config=None,
    registers=_esp32_registers,
)

ESP32S3 = ChipFacts(
    name="esp32s3",
    title="ESP32-S3",
    image_chip_id=9,
    magic=0x9,
    security_info=True,
    bootloader_offset=0x0,
    spi=_NEW_SPI,
    memory=MemoryMap(0x3C000000, 0x3E000000, 0x42000000, 0x44000000, 0x3FC92000, 0x40374000, 0x3FCE2820, 0x403C8700),
    rom=Rom(
        banner="ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021",
        boot_strap=0x8,
        boot_mode="SPI_FAST_FLASH_BOOT",
        download_strap=0x0,
        download_mode="DOWNLOAD(USB/UART0)",
        before_load=("SPIWP:0xee",),
        hex_lengths=True,
        reset_names=_NEW_RESETS,
    ),
    default_revision=(0, 2),
    cores=2,
    riscv=False,
    watchdog_config=0x60008098,
    registers=_block1_registers(0x60007044),
)

ESP32C3 = ChipFacts(
    name="esp32c3",
    title="ESP32-C3",
    image_chip_id=5,
    magic=0x1B31506F,
    security_info=True,
    bootloader_offset=0x0,
    spi=_NEW_SPI,
    memory=MemoryMap(0x3C000000, 0x3E000000, 0x42000000, 0x44000000, 0x3FC8C000, 0x40380000, 0x3FCD5820, 0x403CC700),
    rom=Rom(
        banner="ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021",
        boot_strap=0xC,
        boot_mode="SPI_FAST_FLASH_BOOT",
        download_strap=0x4,
        download_mode="DOWNLOAD(USB/UART0/1)",
        before_load=("SPIWP:0xee",),
        hex_lengths=True,
        reset_names=_NEW_RESETS,
    ),
    default_revision=(0, 4),
    cores=1,
    riscv=True,
    watchdog_config=0x60008090,
    registers=_block1_registers(0x60008844),
)

CHIPS: Mapping[str, ChipFacts] = {chip.name: chip for chip in (ESP32, ESP32S3, ESP32C3)}


def chip_named(name: str) -> ChipFacts:
    """Raises ValueError that lists the known names."""
    try:
        return CHIPS[name]
    except KeyError:
        raise ValueError(f"no virtual chip {name!r}; there are {', '.join(CHIPS)}") from None


def parse_mac(text: str) -> Mac:
    """`24:6f:28:00:00:01` → 6 bytes; ValueError otherwise."""
    mac = bytes.fromhex(text.replace(":", ""))
    if len(mac) != 6:
        raise ValueError(f"a MAC has six bytes, {text!r} has {len(mac)}")
    return mac
