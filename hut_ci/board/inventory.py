"""What is plugged into this machine, set against what lab.yml says: evidence, never a guess.

Pure: links and slots in, an Inventory out. A board counts when a link in /dev/serial/by-id leads to its device; what
has only a by-path link is shown and not counted, because nothing says that it will be the same board tomorrow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hut_ci.board.serial_links import Found, SerialLink, dangling, devices, impostors
from hut_ci.model import Slot


@dataclass(frozen=True, slots=True)
class Device:
    """One serial device; `slots` are the ids whose `serial` leads to it."""

    device: str
    by_id: tuple[str, ...]
    by_path: tuple[str, ...]
    slots: tuple[str, ...]
    twin: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """`absent` are the ids of slots without a device; network ports are not looked for.

    `impostors` are sentences about names that lead to something else than a device.
    """

    devices: tuple[Device, ...]
    dangling: tuple[str, ...]
    absent: tuple[str, ...]
    impostors: tuple[str, ...] = ()
    expected: int | None = None

    @property
    def by_id_count(self) -> int:
        return sum(1 for device in self.devices if device.by_id)

    @property
    def blocked(self) -> bool:
        """Fewer boards than were asked for."""
        return self.expected is not None and self.by_id_count < self.expected

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should look at, a sentence each."""
        twins = [device for device in self.devices if device.twin]
        return (
            *(f"{name} leads nowhere: its board is unplugged" for name in self.dangling),
            *self.impostors,
            *(f"{_links(device)} is a factory name that other boards share: use by-path" for device in twins),
            *(
                f"{device.device} has {len(device.by_id)} by-id names: {', '.join(device.by_id)}"
                for device in self.devices
                if len(device.by_id) > 1
            ),
            *(
                f"{device.device} belongs to {' and '.join(device.slots)}: two slots would flash over each other"
                for device in self.devices
                if len(device.slots) > 1
            ),
            *(
                f"{device.by_path[0]} has no by-id name: another board with the same one hides it, or it has no serial "
                "number"
                for device in self.devices
                if not device.by_id and device.by_path
            ),
            *(f"{slot} is absent" for slot in self.absent),
        )

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "result": "blocked" if self.blocked else "ok",
            "by_id_count": self.by_id_count,
            "expected": self.expected,
            "devices": [
                {
                    "device": device.device,
                    "by_id": list(device.by_id),
                    "by_path": list(device.by_path),
                    "slots": list(device.slots),
                    "twin": device.twin,
                }
                for device in self.devices
            ],
            "dangling": list(self.dangling),
            "absent": list(self.absent),
            "problems": list(self.problems),
        }

    def lines(self) -> list[str]:
        """The same for people and evidence files."""
        shown = []
        for device in self.devices:
            shown.append(f"{device.device}  {' '.join(device.slots) or '(no slot)'}")
            shown += [f"  {link}" for link in (*device.by_id, *device.by_path)]
        asked = "" if self.expected is None else f", {self.expected} expected"
        verdict = "blocked" if self.blocked else "ok"
        return [
            *shown,
            *(f"note: {problem}" for problem in self.problems),
            f"by_id_count={self.by_id_count}{asked}: {verdict}",
        ]


def take_inventory(links: Sequence[SerialLink], slots: Sequence[Slot], expected: int | None = None) -> Inventory:
    """The devices behind `links`, and which of `slots` has which."""
    found = tuple(_device(entry, slots) for entry in devices(links))
    there = {slot_id for device in found for slot_id in device.slots}
    absent = tuple(slot.id for slot in slots if slot.id not in there and not _elsewhere(slot))
    wrong = tuple(f"{link.path} is no device, but {link.instead}: not counted" for link in impostors(links))
    return Inventory(found, dangling(links), absent, wrong, expected)


def _device(found: Found, slots: Sequence[Slot]) -> Device:
    names = {kind: tuple(link.path for link in found.links if link.kind == kind) for kind in ("by-id", "by-path")}
    owners = tuple(slot.id for slot in slots if found.device in {os.path.realpath(name) for name in slot.serial})
    return Device(found.device, names["by-id"], names["by-path"], owners, found.twin)


def _elsewhere(slot: Slot) -> bool:
    """A port over the network, or one outside /dev/serial that exists."""
    return any("://" in name or Path(name).exists() for name in slot.serial)


def _links(device: Device) -> str:
    return " and ".join(device.by_id)
