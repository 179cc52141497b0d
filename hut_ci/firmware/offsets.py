"""`flash: offsets:` of hut.yml: file names (or patterns) and where they go. They win over whatever the build says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from hut_ci.errors import NotFlashable
from hut_ci.firmware.listing import Item, Listing, checked, number

MAX_FILES = 50_000  # a full ESP-IDF build folder has about 5000


def read(folder: Path, offsets: Mapping[str, int]) -> Listing:
    """`folder` may be a single file. Raises NotFlashable where a name means no file, or several."""
    root, names = (folder, files_under(folder)) if folder.is_dir() else (folder.parent, (folder.name,))
    source = Path("hut.yml")
    items = [
        Item(number(offset, source, f"flash.offsets for {name}"), root / _one(name, names), name)
        for name, offset in offsets.items()
    ]
    return Listing("offsets", source, checked(items, source))


def files_under(root: Path) -> tuple[str, ...]:
    """Relative names of the regular files below `root`, at most MAX_FILES; links are left out."""
    found: list[str] = []
    for parent, folders, files in os.walk(root):
        folders.sort()  # os.walk goes on in the order of this list
        paths = [Path(parent, name) for name in sorted(files)]
        found += [str(path.relative_to(root)) for path in paths if path.is_file() and not path.is_symlink()]
        if len(found) >= MAX_FILES:
            break
    return tuple(found[:MAX_FILES])


def _one(wanted: str, names: tuple[str, ...]) -> str:
    """The exact path, else the only file of that name, else the only match of the pattern."""
    if wanted in names:
        return wanted
    same = [name for name in names if name.endswith(f"/{wanted}")]
    found = same or [name for name in names if fnmatchcase(name, wanted) or fnmatchcase(Path(name).name, wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFlashable(
            f"flash.offsets in hut.yml names {wanted}, which is not in the build",
            why=f"There are: {', '.join(names[:12]) or 'no files'}{' …' if len(names) > 12 else ''}.",
            todo="Correct the name in hut.yml, or add the file to the artifact.",
        )
    raise NotFlashable(
        f"flash.offsets in hut.yml names {wanted}, which means {len(found)} files",
        why=f"They are: {', '.join(found[:12])}.",
        todo="Write the path of one of them.",
    )
