"""The stable names of the serial devices of this machine: udev's links in /dev/serial."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# Factory serial numbers that every board of a kind carries, or none at all: CP2102 ships with 0001, CH340 with none.
# Two such boards get the same by-id link, which then leads to whichever was plugged in last.
_TWIN = re.compile(r"usb-(?:.*_0001|1a86_USB(?:2\.0)?[_-]Ser(?:ial)?_?)(?:-if[0-9a-f]{2}|-port|\Z)")


@dataclass(frozen=True, slots=True)
class SerialLink:
    """`kind` is `by-id` or `by-path`; `device` is None where there is none, `instead` is what is there then."""

    path: str
    kind: str
    device: str | None
    instead: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One device and its links, best identity first; `twin` where its by-id name may belong to several boards."""

    device: str
    links: tuple[SerialLink, ...]

    @property
    def twin(self) -> bool:
        return any(link.kind == "by-id" and _TWIN.match(Path(link.path).name) for link in self.links)

    @property
    def identity(self) -> str:
        """The link to write down: by-id, for twins by-path where there is one."""
        wanted = "by-path" if self.twin else "by-id"
        return next((link.path for link in self.links if link.kind == wanted), self.links[0].path)


def is_device(path: Path) -> bool:
    """Whether a character device is there: a folder or a file under that name is no board."""
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def serial_links(
    root: Path = Path("/dev/serial"), is_device: Callable[[Path], bool] = is_device
) -> tuple[SerialLink, ...]:
    """Every link in by-id and by-path, in order of name."""
    return tuple(
        _link(link, kind, is_device)
        for kind in ("by-id", "by-path")
        for link in (sorted((root / kind).iterdir()) if (root / kind).is_dir() else ())
    )


def _link(link: Path, kind: str, is_device: Callable[[Path], bool]) -> SerialLink:
    found = str(link.resolve()) if link.exists() else None
    return SerialLink(str(link), kind, found) if is_device(link) else SerialLink(str(link), kind, None, found)


def devices(links: Iterable[SerialLink]) -> tuple[Found, ...]:
    """The live links by device, in the order in which the devices first appear."""
    grouped: dict[str, list[SerialLink]] = {}
    for link in links:
        if link.device is not None:
            grouped.setdefault(link.device, []).append(link)
    return tuple(Found(device, tuple(found)) for device, found in grouped.items())


def dangling(links: Iterable[SerialLink]) -> tuple[str, ...]:
    """Links that lead nowhere, such as those of a container that was handed a device which is gone."""
    return tuple(link.path for link in links if link.device is None and link.instead is None)


def impostors(links: Iterable[SerialLink]) -> tuple[SerialLink, ...]:
    """Links, or files in their place, behind which there is something that is no device."""
    return tuple(link for link in links if link.instead is not None)
