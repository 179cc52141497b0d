"""PlatformIO's `.pio/build/<env>`: bootloader.bin, partitions.bin, firmware.bin, and an image list in idedata.json.

`idedata.json` holds `extra.flash_images` (offset, path) and `extra.application_offset`. Its paths are absolute paths
of the build host; only their last component is used, looked up in this folder. Arduino's `boot_app0.bin` lies in
the framework package and so hardly ever in the artifact: it is made from its format instead.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from hut_ci.errors import BrokenBuild
from hut_ci.firmware import otadata, partitions
from hut_ci.firmware.chips import bootloader_offset
from hut_ci.firmware.image import read_image
from hut_ci.firmware.listing import Item, Listing, checked, inside, number, read_bounded, read_json, wrong
from hut_ci.model import Partition

APP = "firmware.bin"
TABLE = "partitions.bin"
BOOTLOADER = "bootloader.bin"
BOOT_APP = "boot_app0.bin"
IMAGE_LIST = "idedata.json"


def find(folder: Path) -> Path | None:
    """The application, which names this format, where the other two files lie beside it."""
    if all((folder / name).is_file() for name in (APP, TABLE, BOOTLOADER)):
        return folder / APP
    return None


def read(file: Path, root: Path, workdir: Path) -> Listing:
    """Raises NotFlashable, BrokenBuild."""
    folder = file.parent
    table = partitions.read_table(read_bounded(folder / TABLE), TABLE)
    listed, app_offset = _listed(folder)
    wanted = [*(listed or _usual(folder, table)), (app_offset or _app_offset(table), APP)]
    items, notes = [], []
    for offset, name in wanted:
        if name == BOOT_APP and not (folder / name).is_file():
            items.append(Item(offset, _made(workdir), name))
            notes.append(f"{BOOT_APP} is not in the folder: made from its format, it selects ota_0")
        else:
            items.append(Item(offset, inside(folder, name, root, file), name))
    # PlatformIO's own upload leaves the size to esptool: its prebuilt bootloaders carry any size in their header.
    return Listing("platformio", file, checked(items, file), size="detect", notes=tuple(notes))


def _listed(folder: Path) -> tuple[list[tuple[int, str]], int | None]:
    """Offsets and names from idedata.json; nothing where there is none."""
    file = folder / IMAGE_LIST
    extra = read_json(file).get("extra") if file.is_file() else None
    if not isinstance(extra, dict):
        return [], None
    images: Any = extra.get("flash_images") or []
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise wrong(file, "extra.flash_images is not a list of images")
    found = [(number(image.get("offset"), file, "an offset"), _last(image.get("path"), file)) for image in images]
    app = extra.get("application_offset")
    return found, None if app is None else number(app, file, "application_offset")


def _last(path: object, file: Path) -> str:
    if not isinstance(path, str) or not path:
        raise wrong(file, "an image has no path")
    return PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name


def _usual(folder: Path, table: tuple[Partition, ...]) -> list[tuple[int, str]]:
    """Where the parts go when no list was left behind."""
    chip = read_image(read_bounded(folder / BOOTLOADER), BOOTLOADER).chip or ""
    offsets = [(bootloader_offset(chip) or 0, BOOTLOADER), (partitions.DEFAULT_OFFSET, TABLE)]
    ota = next((row for row in table if (row.type, row.subtype) == ("data", "ota")), None)
    if ota and not any(row.subtype == "factory" for row in table):
        offsets.append((ota.offset, BOOT_APP))
    return offsets


def _app_offset(table: tuple[Partition, ...]) -> int:
    """The factory application's place, else that of the first application."""
    apps = [row for row in table if row.type == "app"]
    if not apps:
        raise BrokenBuild(
            f"{TABLE} has no application partition",
            why="The board would have nothing to start.",
            todo="Add an app partition to the project's partition table.",
        )
    return min(apps, key=lambda row: (row.subtype != "factory", row.offset)).offset


def _made(workdir: Path) -> Path:
    """Two sectors: the record that selects ota_0, and a blank one."""
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / BOOT_APP
    path.write_bytes(otadata.record(1).ljust(2 * otadata.SECTOR, b"\xff"))
    return path
