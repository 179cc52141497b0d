"""`flasher_args.json`, which ESP-IDF writes beside its images."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from hut_ci.firmware.chips import chip_name
from hut_ci.firmware.listing import (
    FREQS,
    MODES,
    SIZES,
    Item,
    Listing,
    checked,
    inside,
    number,
    option,
    read_json,
    shown,
    wrong,
)

NAME = "flasher_args.json"


def find(folder: Path) -> Path | None:
    file = folder / NAME
    return file if file.is_file() else None


def read(file: Path, root: Path) -> Listing:
    """`flash_files` maps offsets to paths relative to this file. Raises NotFlashable, BrokenBuild."""
    document = read_json(file)
    files = document.get("flash_files")
    if not isinstance(files, dict):
        raise wrong(file, "flash_files is missing")
    items = [
        Item(number(offset, file, "an offset in flash_files"), inside(file.parent, name, root, file), str(name))
        for offset, name in files.items()
    ]
    settings = _settings(document)
    return Listing(
        source_format="flasher_args.json",
        file=file,
        items=checked(items, file),
        chip=_chip(document, file),
        mode=option(settings.get("mode"), MODES, file, "flash_mode"),
        freq=option(settings.get("freq"), FREQS, file, "flash_freq"),
        size=option(settings.get("size"), SIZES, file, "flash_size"),
        notes=_notes(document),
    )


def _settings(document: dict[str, Any]) -> dict[str, object]:
    """`flash_settings` where it is there, else `write_flash_args`; both spellings (`--flash_mode`, `--flash-mode`)."""
    found: dict[str, object] = {}
    arguments = document.get("write_flash_args")
    if isinstance(arguments, list):
        for key, value in pairwise(arguments):
            if isinstance(key, str) and key.startswith("--"):
                found[_key(key)] = value
    settings = document.get("flash_settings")
    if isinstance(settings, dict):
        found.update({_key(key): value for key, value in settings.items()})
    return found


def _key(text: str) -> str:
    return text.lstrip("-").replace("-", "_").removeprefix("flash_")


def _chip(document: dict[str, Any], file: Path) -> str | None:
    extra = document.get("extra_esptool_args")
    value = extra.get("chip") if isinstance(extra, dict) else None
    if value is None:
        return None
    chip = chip_name(value) if isinstance(value, str) else None
    if chip is None:
        raise wrong(file, f"its chip is {shown(value)}, which is not known here")
    return chip


def _notes(document: dict[str, Any]) -> tuple[str, ...]:
    marked = [
        shown(entry.get("file"))
        for entry in document.values()
        if isinstance(entry, dict) and str(entry.get("encrypted", "false")).lower() == "true"
    ]
    if not marked:
        return ()
    return (f"the build marks {', '.join(marked)} for flash encryption; they are written as they are",)
