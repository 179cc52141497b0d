"""What is often given instead of a build: an ELF, a mock, an application without an offset, nothing at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hut_ci.errors import NotFlashable
from hut_ci.firmware.chips import bootloader_offset
from hut_ci.firmware.image import DESCRIPTOR_AT, header_chip, read_descriptor
from hut_ci.firmware.offsets import files_under
from hut_ci.firmware.partitions import DEFAULT_OFFSET
from hut_ci.firmware.partitions import MAGIC as TABLE_MAGIC

LOOKED_FOR = (
    "flasher_args.json, flash_args, flash_project_args, PlatformIO's firmware.bin, manifest.json, a merged .bin"
)
TEXT_SAMPLE = 4096
MAX_BARE = 8  # files that a proposal names; more are no single build


def nothing_found(root: Path) -> NotFlashable:
    """The refusal for a build without any known format, as exact as its content allows."""
    names = files_under(root) if root.is_dir() else (root.name,)
    base = root if root.is_dir() else root.parent
    if not names:
        return NotFlashable(
            f"{root.name} is empty",
            why="The build made nothing, or the upload step matched no files.",
            todo="Look at the build job; `hut-ci firmware inspect` on its output folder shows what is usable.",
        )
    bare: list[_Bare] = []
    for name in (name for name in names if name.endswith((".bin", ".elf")) or len(names) == 1):
        with (base / name).open("rb") as stream:
            head = stream.read(TEXT_SAMPLE)
        refusal = unusable(head, name)
        if refusal and not bare:
            return refusal
        if part := _bare(head, name):
            bare.append(part)
    if bare:
        return _without_offsets(bare[:MAX_BARE])
    return NotFlashable(
        f"nothing in {root.name} says how it is flashed",
        why=f"Looked for: {LOOKED_FOR}. There are: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}.",
        todo="Upload flasher_args.json (ESP-IDF writes it) with the images, or give `flash: offsets:` in hut.yml.",
    )


def unusable(content: bytes, name: str) -> NotFlashable | None:
    """The refusal for an ELF or a text where an image should be; None for anything else."""
    head = content[:TEXT_SAMPLE]
    if head.startswith(b"\x7fELF"):
        return NotFlashable(
            f"{name} is an ELF file, which cannot be flashed",
            why="It is the linker's output; the flash holds images made from it.",
            todo="Give the .bin files with flasher_args.json, or make an image with `esptool elf2image`.",
        )
    if head and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return NotFlashable(
            f"{name} holds text, not an image",
            why="It comes from a mock build, or is an error page that was saved under this name.",
            todo="Let the build job make real images before they are uploaded.",
        )
    return None


@dataclass(frozen=True, slots=True)
class _Bare:
    """A file that could be flashed if anything said where; `offset` (bytes) is None where only its build knows."""

    name: str
    kind: str
    offset: int | None
    because: str

    @property
    def entry(self) -> str:
        return f"{self.name}: {'OFFSET' if self.offset is None else f'{self.offset:#x}'}"


def _bare(head: bytes, name: str) -> _Bare | None:
    if head.startswith(TABLE_MAGIC):
        why = "is where ESP-IDF puts the partition table unless the build moves it."
        return _Bare(name, "a partition table", DEFAULT_OFFSET, f"{DEFAULT_OFFSET:#x} {why}")
    chip = header_chip(head)
    if chip is None:
        return None
    if read_descriptor(head):
        why = "0x10000 is where ESP-IDF puts the first application unless the partition table says otherwise."
        return _Bare(name, "an application", 0x10000, why)
    offset = bootloader_offset(chip)
    if offset is not None and (_has_bootloader_description(head) or "bootloader" in Path(name).name):
        why = f"{offset:#x} is where the boot ROM of an {chip} looks for its bootloader."
        return _Bare(name, "a bootloader", offset, why)
    return _Bare(name, "an image", None, "OFFSET is what the build tool prints when it flashes this file.")


def _has_bootloader_description(head: bytes) -> bool:
    """esp_bootloader_desc_t (ESP-IDF 5.2 and later): one magic byte, and the ESP-IDF version as text 8 bytes on."""
    version = head[DESCRIPTOR_AT + 8 : DESCRIPTOR_AT + 40].split(b"\0")[0]
    printable = version.isascii() and version.decode().isprintable()
    return head[DESCRIPTOR_AT : DESCRIPTOR_AT + 1] == b"\x50" and version != b"" and printable


def _without_offsets(bare: list[_Bare]) -> NotFlashable:
    names = ", ".join(part.name for part in bare)
    alone = f"{names} is {bare[0].kind} alone: nothing says at which offset it belongs"
    return NotFlashable(
        alone if len(bare) == 1 else f"{names} are files without offsets: nothing says where they belong",
        why="There is no flasher_args.json, flash_args or manifest, and it is not a merged image.",
        todo="Upload the whole build, or say it in hut.yml:"
        f" `flash: {{offsets: {{{', '.join(part.entry for part in bare)}}}}}`."
        f" {' '.join(dict.fromkeys(part.because for part in bare))}",
    )
