"""ESP Web Tools' `manifest.json`: builds by chip family, each with parts of path and offset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hut_ci.errors import NotFlashable
from hut_ci.firmware.chips import CHIPS, chip_name
from hut_ci.firmware.listing import Item, Listing, checked, inside, number, read_json, shown, wrong

NAME = "manifest.json"


def find(folder: Path) -> Path | None:
    """`manifest.json`, or the only `manifest*.json`; one that lists no builds (a web app's) is none."""
    candidates = [folder / NAME] if (folder / NAME).is_file() else sorted(folder.glob("manifest*.json"))
    found = [file for file in candidates if file.is_file() and _has_builds(file)]
    return found[0] if len(found) == 1 else None


def _has_builds(file: Path) -> bool:
    try:
        return isinstance(read_json(file).get("builds"), list)
    except NotFlashable:
        return False


def read(file: Path, root: Path, chip: str | None = None) -> Listing:
    """`chip` chooses among several builds. Raises NotFlashable, BrokenBuild."""
    builds = read_json(file).get("builds")
    if not isinstance(builds, list) or not all(isinstance(build, dict) for build in builds):
        raise wrong(file, "builds is not a list of builds")
    family, build = _choose([(_family(build, file), build) for build in builds], chip, file)
    parts = build.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise wrong(file, f"the build for {family} has no list of parts")
    items = [
        Item(
            number(part.get("offset"), file, "an offset"),
            inside(file.parent, part.get("path"), root, file),
            str(part.get("path")),
        )
        for part in parts
    ]
    return Listing("manifest.json", file, items=checked(items, file), chip=family)


def _family(build: dict[str, Any], file: Path) -> str | None:
    """None for a family that is not flashed here (ESP8266)."""
    family = build.get("chipFamily")
    if not isinstance(family, str):
        raise wrong(file, f"a chipFamily is {shown(family)}")
    return chip_name(family)


def _choose(
    builds: list[tuple[str | None, dict[str, Any]]], chip: str | None, file: Path
) -> tuple[str, dict[str, Any]]:
    usable = [(family, build) for family, build in builds if family and chip in (None, family)]
    if len(usable) == 1:
        return usable[0]
    names = ", ".join(shown(build.get("chipFamily")) for _, build in builds) or "none"
    if not usable:
        raise NotFlashable(
            f"{file.name} has no build for {chip or 'a chip that can be flashed here'}",
            why=f"Its builds are for: {names}.",
            todo=f"Known chips are {', '.join(CHIPS)}.",
        )
    raise NotFlashable(
        f"{file.name} has {len(usable)} builds to choose from",
        why=f"They are for: {names}.",
        todo="Say which one: `needs: {chip: esp32s3}` for the variant in hut.yml, or --chip.",
    )
