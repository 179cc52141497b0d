"""What a build says about its own files, before anybody looks into them: the common shape of all formats.

A listing is data from a stranger: offsets, names and sizes are checked here, options are taken from a fixed set,
and no path leads out of the artifact.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hut_ci.errors import BrokenBuild, NotFlashable
from hut_ci.firmware.partitions import FLASH_END, SECTOR

MAX_LISTING = 1 << 20  # bytes; a real flasher_args.json has 2 KB
MAX_FILE = 128 << 20  # bytes; the largest flash of the family
MAX_ITEMS = 64
MODES = frozenset({"keep", "qio", "qout", "dio", "dout"})
FREQS = frozenset({"keep", "80m", "64m", "60m", "48m", "40m", "32m", "30m", "26m", "24m", "20m", "16m", "15m", "12m"})
SIZES = frozenset({"keep", "detect", "1MB", "2MB", "4MB", "8MB", "16MB", "32MB", "64MB", "128MB"})
NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to write at `offset` (bytes); `name` is what the listing calls it."""

    offset: int
    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Listing:
    """`chip` is None where the format does not say it; mode, freq and size are esptool's words."""

    source_format: str
    file: Path
    items: tuple[Item, ...]
    chip: str | None = None
    mode: str = "keep"
    freq: str = "keep"
    size: str = "keep"
    notes: tuple[str, ...] = ()


def read_bounded(path: Path) -> bytes:
    """Raises BrokenBuild for a file that no flash chip can hold."""
    size = path.stat().st_size
    if size > MAX_FILE:
        raise BrokenBuild(
            f"{path.name} has {size} bytes, the largest flash chip holds {MAX_FILE}",
            why="It is not a file for a flash chip.",
            todo="Take it out of the list of files to flash.",
        )
    return path.read_bytes()


def read_text(file: Path) -> str:
    """Raises NotFlashable for a file that is too large for a listing or no UTF-8."""
    if file.stat().st_size > MAX_LISTING:
        raise wrong(file, f"it is larger than {MAX_LISTING} bytes")
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(file, f"it is not text, {error.reason} at byte {error.start}") from error


def read_json(file: Path) -> dict[str, Any]:
    """Raises NotFlashable for anything but a JSON object, however deep or long it is."""
    try:
        value = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise NotFlashable(
            f"{file.name} is not valid JSON: {error}",
            why="The build or the upload was interrupted, or the file is something else.",
            todo="Build again and look into the file.",
        ) from error
    if not isinstance(value, dict):
        raise wrong(file, "it holds no JSON object")
    return value


def wrong(file: Path, what: str) -> NotFlashable:
    return NotFlashable(
        f"{file.name} cannot be used: {what}",
        why="It was not written by the build tools, or by a version that is not known here.",
        todo="Compare it with the file that a fresh build makes.",
    )


def number(value: object, file: Path, what: str) -> int:
    """`0x8000`, `32768` or a JSON number as bytes below 256 MB."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        result = int(value.strip(), 16 if value.strip()[:2].lower() == "0x" else 10)
    elif isinstance(value, int) and not isinstance(value, bool):
        result = value
    else:
        raise wrong(file, f"{what} is {shown(value)}, not an offset such as 0x8000")
    if not 0 <= result < FLASH_END:
        raise wrong(file, f"{what} {result:#x} lies outside of any flash chip")
    return result


def shown(value: object) -> str:
    """A value from a listing, short and printable, for a message."""
    text = value if isinstance(value, str) else type(value).__name__
    clean = "".join(char if char.isprintable() else "?" for char in text[:60])
    return f"'{clean}'" if isinstance(value, str) else f"a JSON {clean}"


def inside(base: Path, name: object, root: Path, file: Path) -> Path:
    """The file that `name` means, relative to `base`; security 10: nothing outside `root` is ever read.

    Raises NotFlashable where the name leaves the artifact, BrokenBuild where nothing is there.
    """
    if not isinstance(name, str) or not name or len(name) > 1024 or not name.isprintable():
        raise wrong(file, f"{shown(name)} is not a file name")
    pure = PurePosixPath(name)
    if pure.is_absolute() or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise _leaves(name, file)
    try:
        path = (base / pure).resolve()
        exists = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long for the file system, a loop of links
        raise wrong(file, f"{shown(name)} cannot be opened") from error
    if not path.is_relative_to(root.resolve()):
        raise _leaves(name, file)
    if not exists:
        raise BrokenBuild(
            f"{name} is listed in {file.name} but is not in the build",
            why="The upload step took only some of the files, or the build did not finish.",
            todo=f"Add {name} to the paths of the artifact, beside {file.name}.",
        )
    return path


def _leaves(name: str, file: Path) -> NotFlashable:
    return NotFlashable(
        f"{file.name} names {shown(name)}, which is outside of the artifact",
        why="A listing may only name files that came with it.",
        todo="Use paths relative to the listing, and put all files into the artifact.",
    )


def option(value: object, allowed: frozenset[str], file: Path, what: str) -> str:
    """A flash mode, frequency or size out of esptool's own set; None stands for `keep`."""
    if value is None:
        return "keep"
    if isinstance(value, str) and value in allowed:
        return value
    raise wrong(file, f"{what} is {shown(value)}; known are {', '.join(sorted(allowed))}")


def checked(items: list[Item], file: Path) -> tuple[Item, ...]:
    """In ascending order; refuses none, too many, too large, and offsets that are not on a sector.

    esptool erases whole 4096-byte sectors, so an offset within one would destroy what lies before it.
    """
    if not items:
        raise wrong(file, "it lists no files")
    if len(items) > MAX_ITEMS:
        raise wrong(file, f"it lists {len(items)} files, at most {MAX_ITEMS} are taken")
    total = sum(item.path.stat().st_size for item in items)
    if total > MAX_FILE:
        raise wrong(file, f"its files have {total} bytes, the largest flash chip holds {MAX_FILE}")
    for item in items:
        if item.offset % SECTOR:
            raise BrokenBuild(
                f"{item.name} is to be written at {item.offset:#x}, which is not on a {SECTOR}-byte sector",
                why="Flash is erased by sectors: writing there destroys what lies before it.",
                todo=f"Correct the offset in {file.name}.",
            )
    return tuple(sorted(items, key=lambda item: item.offset))
