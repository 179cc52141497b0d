"""`flash_args` and `flash_project_args`: ESP-IDF's argument files for esptool, read as data.

A line of exactly two tokens, offset and path, names a file; lines that start with `-` hold options. Only mode,
frequency and size are taken from them.
"""

from __future__ import annotations

from pathlib import Path

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
    read_text,
    shown,
    wrong,
)

NAMES = ("flash_args", "flash_project_args")


def find(folder: Path) -> Path | None:
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def read(file: Path, root: Path) -> Listing:
    """Paths are relative to this file. Raises NotFlashable, BrokenBuild."""
    items, options = [], dict[str, str]()
    for line in read_text(file).splitlines():
        tokens = line.split()
        if not tokens:
            continue
        if tokens[0].startswith("-"):
            options.update(_options(tokens))
        elif len(tokens) == 2:
            offset = number(tokens[0], file, "an offset")
            items.append(Item(offset, inside(file.parent, tokens[1], root, file), tokens[1]))
        else:
            raise wrong(file, f"the line {shown(line)} is not 'offset file'")
    encrypted = "encrypt" in options
    return Listing(
        source_format=file.name if file.name in NAMES else "flash_args",
        file=file,
        items=checked(items, file),
        mode=option(options.get("flash_mode"), MODES, file, "flash_mode"),
        freq=option(options.get("flash_freq"), FREQS, file, "flash_freq"),
        size=option(options.get("flash_size"), SIZES, file, "flash_size"),
        notes=("the build asks for flash encryption; the files are written as they are",) if encrypted else (),
    )


def _options(tokens: list[str]) -> dict[str, str]:
    """`--flash_mode dio --encrypt` → {flash_mode: dio, encrypt: ""}; hyphens and underscores are the same."""
    found, key = dict[str, str](), ""
    for token in tokens:
        if token.startswith("-"):
            key = token.lstrip("-").replace("-", "_")
            found[key] = ""
        elif key:
            found[key] = token
    return found
