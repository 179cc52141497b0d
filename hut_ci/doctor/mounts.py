"""Which file system a folder is on, as /proc/self/mountinfo tells it (proc(5)). Pure but for `here`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """`root` is the folder of the file system that is mounted at `point`."""

    point: Path
    root: str
    kind: str


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """The mount that holds `path`, which has to be absolute and without links; None where none is told."""
    found: Mount | None = None
    for line in mountinfo.splitlines():
        mount = _mount(line)
        # A later mount on the same point hides the earlier one.
        if mount and path.is_relative_to(mount.point) and (not found or _depth(mount) >= _depth(found)):
            found = mount
    return found


def here(path: Path) -> Mount | None:
    """The mount of `path` in this process's namespace."""
    return mount_of(path.resolve(), Path("/proc/self/mountinfo").read_text("utf-8", "replace"))


def _depth(mount: Mount) -> int:
    return len(mount.point.parts)


def _mount(line: str) -> Mount | None:
    """`36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw`; blanks in names are octal."""
    before, dash, after = line.partition(" - ")
    words = before.split()
    if not dash or len(words) < 5 or not after:
        return None
    root, point = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), word) for word in words[3:5])
    return Mount(Path(point), root, after.split()[0])
