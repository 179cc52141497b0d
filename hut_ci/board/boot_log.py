"""What an ESP32's boot log tells: pure, one line at a time.

Formats: the mask ROM's `ets Jul 29 2019 12:21:46` (ESP32) or `ESP-ROM:esp32s3-20210327` (later chips), both followed
by `rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)`; ESP-IDF log lines `I (61) boot: …`, whose level letter
may be missing. A line may carry noise before its text, because other output interleaves with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum, StrEnum
from typing import Any

from hut_ci.model import Boot, Partition


class BootStage(IntEnum):
    """How far the current boot has come."""

    NOTHING = 0
    ROM = 1
    BOOTLOADER = 2
    APP = 3


class Fact(StrEnum):
    """What one line added to the picture."""

    BANNER = "banner"
    RESET_REASON = "reset_reason"
    DOWNLOAD = "download"
    BOOTLOADER = "bootloader"
    APP_IMAGE = "app_image"
    APP_START = "app_start"
    IDENTITY = "identity"


IMAGE_HEADER = 0x20
"""Bytes before the data of segment 0: a 24-byte image header and an 8-byte segment header (esp_image_format.h)."""

_BANNER = re.compile(r"ets [A-Z][a-z]{2} {1,2}\d{1,2} \d{4} \d\d:\d\d:\d\d|ESP-ROM:esp32")
_RESET = re.compile(r"rst:0x[0-9a-f]+ \(([A-Za-z0-9_]+)\)")
_BOOT_MODE = re.compile(r"boot:(0x[0-9a-f]+) ?\(((?:[^()]|\([^()]*\))*)\)")
_LOG_LINE = re.compile(r"(?:\b[EWIDV] ?)?\([\d:.]+\) ([\w.-]+): ?(.*)")
_ROM_NOISE = re.compile(
    r"^\s*(?:configsip|clk_drv:|mode:|load:0x|entry 0x|SPIWP|Saved PC|ets_main\.c|user code done|waiting for download"
    r"|invalid header|csum err|flash read err|Build:|ho \d|rst:|pro cpu|ESP-ROM|ets [A-Z])"
)
_BOOTLOADER_TAG = re.compile(
    r"boot(?:\..+|_comm)?|esp_image|flash_parts|bootloader\w*|qio_mode|secure_boot\w*|flash_encrypt|efuse"
)
_PARTITION = re.compile(r"^\s*\d+ (\S.{0,15}?)\s+\S.*?\s([0-9a-f]{2}) ([0-9a-f]{2}) ([0-9a-f]{8}) ([0-9a-f]{8})$")
_SEGMENT_0 = re.compile(r"segment 0: paddr=(?:0x)?([0-9a-f]{4,8})\b")
_LOADED = re.compile(r"Loaded app from partition at offset 0x([0-9a-f]+)")
_IDENTITY_TAGS = ("cpu_start", "app_init")
_IDENTITY = re.compile(r"^(Project name|App version|Compile time|ELF file SHA256|ESP-IDF): {1,12}(\S.*)$")
_IDENTITY_FIELD = {
    "Project name": "project",
    "App version": "version",
    "Compile time": "compiled",
    "ELF file SHA256": "elf_sha256",
    "ESP-IDF": "idf",
}
_WORDS = re.compile(r"[A-Za-z]{3}")


def is_banner(line: str) -> bool:
    """Whether the mask ROM starts to speak in this line."""
    return _BANNER.search(line) is not None or _RESET.search(line) is not None


def is_boot_text(line: str) -> bool:
    """Whether the ROM or the bootloader says this, and not an application."""
    tagged = _LOG_LINE.search(line)
    if tagged is not None and _BOOTLOADER_TAG.fullmatch(tagged[1]):
        return True
    return is_banner(line) or _ROM_NOISE.match(line) is not None


def _subtype(kind: int) -> str:
    """esp_partition_subtype_t of an app partition."""
    return {0x00: "factory", 0x20: "test"}.get(kind, f"ota_{kind - 0x10}" if 0x10 <= kind < 0x20 else f"{kind:#04x}")


class BootLog:
    """Collects the facts of the current boot; a new banner starts a new one.

    `partitions` (of the flash plan) name the application by its offset; without them the table that the bootloader
    prints does.
    """

    def __init__(self, partitions: Sequence[Partition] = ()) -> None:
        self._planned = {part.offset: (part.label, part.subtype) for part in partitions if part.type == "app"}
        self._printed: dict[int, tuple[str, str]] = {}
        self._awaits_reset_line = False
        self._entered = False
        self.boots = 0
        self.boot = Boot()
        self.stage = BootStage.NOTHING
        self.boot_mode = ""
        self.bootloader_talks = False

    def feed(self, line: str) -> tuple[Fact, ...]:
        """The facts in one clean line, in the order in which they became true."""
        facts = [*self._rom(line)]
        if self.stage is BootStage.APP and not any(tag in line for tag in _IDENTITY_TAGS):
            return tuple(facts)
        tagged = _LOG_LINE.search(line)
        if tagged is not None and not facts:
            facts += self._tagged(tagged[1], tagged[2])
        elif not facts:
            facts += self._untagged(line)
        return tuple(facts)

    @property
    def app_name(self) -> str:
        """`recovery (factory)`, `ota_0`, or where the image lies; empty before an image was chosen."""
        return "" if self.boot.app_offset is None else self.name_of(self.boot.app_offset)

    def name_of(self, offset: int) -> str:
        """The same for the application at `offset` (bytes)."""
        label, subtype = self._names(offset)
        if label is None:
            return f"app at {offset:#x}"
        return label if subtype in ("", label) else f"{label} ({subtype})"

    def _names(self, offset: int) -> tuple[str | None, str]:
        return self._planned.get(offset) or self._printed.get(offset) or (None, "")

    def _rom(self, line: str) -> list[Fact]:
        facts = []
        if _BANNER.search(line):
            self._new_boot(awaits_reset_line=True)
            facts.append(Fact.BANNER)
        reset = _RESET.search(line)
        if reset is not None:
            if not self._awaits_reset_line:
                self._new_boot(awaits_reset_line=False)
                facts.append(Fact.BANNER)
            self._awaits_reset_line = False
            self.boot = replace(self.boot, reset_reason=reset[1])
            facts.append(Fact.RESET_REASON)
        mode = _BOOT_MODE.search(line)
        if mode is not None and (reset is not None or self.stage is BootStage.ROM):
            self.boot_mode = f"boot:{mode[1]} ({mode[2]})"
            if "DOWNLOAD" in mode[2]:
                facts.append(Fact.DOWNLOAD)
        if line.strip() == "waiting for download" and self.stage is BootStage.ROM:
            facts.append(Fact.DOWNLOAD)
        return facts

    def _new_boot(self, *, awaits_reset_line: bool) -> None:
        self.boots += 1
        self.boot = Boot()
        self.stage = BootStage.ROM
        self.boot_mode = ""
        self.bootloader_talks = False
        self._awaits_reset_line = awaits_reset_line
        self._entered = False

    def _tagged(self, tag: str, message: str) -> list[Fact]:
        if self.stage is BootStage.APP:
            return self._identity(tag, message)
        if _BOOTLOADER_TAG.fullmatch(tag):
            return self._bootloader(message)
        self.stage = BootStage.APP
        return [Fact.APP_START, *self._identity(tag, message)]

    def _bootloader(self, message: str) -> list[Fact]:
        facts = [] if self.bootloader_talks else [Fact.BOOTLOADER]
        self.bootloader_talks = True
        self.stage = BootStage.BOOTLOADER
        partition = _PARTITION.match(message)
        if partition is not None and partition[2] == "00":
            self._printed[int(partition[4], 16)] = (partition[1].strip(), _subtype(int(partition[3], 16)))
        offset = self._image_offset(message)
        if offset is not None and offset != self.boot.app_offset:
            self.boot = replace(self.boot, app_offset=offset, partition=self._names(offset)[0])
            facts.append(Fact.APP_IMAGE)
        return facts

    @staticmethod
    def _image_offset(message: str) -> int | None:
        loaded = _LOADED.search(message)
        if loaded is not None:
            return int(loaded[1], 16)
        segment = _SEGMENT_0.search(message)
        return None if segment is None else int(segment[1], 16) - IMAGE_HEADER

    def _identity(self, tag: str, message: str) -> list[Fact]:
        found = _IDENTITY.match(message) if tag in _IDENTITY_TAGS else None
        if found is None:
            return []
        value = found[2].strip()
        if found[1] == "ELF file SHA256":
            value = value.rstrip(".").lower()
            if not value.strip("0"):  # the build left it all zero: it says nothing
                return []
        known: dict[str, Any] = {_IDENTITY_FIELD[found[1]]: value}
        self.boot = replace(self.boot, **known)
        return [Fact.IDENTITY]

    def _untagged(self, line: str) -> list[Fact]:
        """An app without ESP-IDF's log shows as plain text after the ROM's `entry` or the choice of an image."""
        if "entry 0x" in line:
            self._entered = True
        handed_over = self._entered or self.boot.app_offset is not None
        if self.stage is BootStage.APP or not handed_over or _ROM_NOISE.match(line):
            return []
        if "\ufffd" in line or not _WORDS.search(line):
            return []
        self.stage = BootStage.APP
        return [Fact.APP_START]
