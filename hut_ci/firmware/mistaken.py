"""What is often given instead of a build: an ELF, a mock, an application without an offset, nothing at all."""

from __future__ import annotations

from pathlib import Path

from hut_ci.errors import NotFlashable
from hut_ci.firmware.image import header_chip
from hut_ci.firmware.offsets import files_under

LOOKED_FOR = (
    "flasher_args.json, flash_args, flash_project_args, PlatformIO's firmware.bin, manifest.json, a merged .bin"
)
TEXT_SAMPLE = 4096


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
    for name in (name for name in names if name.endswith((".bin", ".elf")) or len(names) == 1):
        with (base / name).open("rb") as stream:
            head = stream.read(TEXT_SAMPLE)
        refusal = unusable(head, name) or _bare_app(head, name)
        if refusal:
            return refusal
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


def _bare_app(head: bytes, name: str) -> NotFlashable | None:
    if not header_chip(head):
        return None
    return NotFlashable(
        f"{name} is an image alone: nothing says at which offset it belongs",
        why="It came without flasher_args.json, flash_args or a manifest, and it is not a merged image.",
        todo=f"Upload the whole build, or say it in hut.yml: `flash: {{offsets: {{{name}: 0x10000}}}}`. 0x10000 is"
        " where ESP-IDF puts the first application unless the partition table says otherwise.",
    )
