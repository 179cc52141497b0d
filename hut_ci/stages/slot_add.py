"""slots add: a device that somebody points at → an entry in lab.yml.

The draft with the new slot is checked before the board is touched, so that nobody plugs twice for a typing error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import Protocol

from hut_ci.board.serial_links import Found, SerialLink
from hut_ci.config import insert_slot, lab_from_text, slot_entry
from hut_ci.errors import ConfigError, UsageError
from hut_ci.model import Board, Lab, Slot

_UNSTABLE = re.compile(r"/dev/(tty|cu\.)[^/]*\Z")


class Identify(Protocol):
    """Claims `slot` of `lab`, asks the chip who it is, and lets it start again. Raises HutCiError."""

    def __call__(self, lab: Lab, slot: Slot) -> Board: ...


@dataclass(frozen=True, slots=True)
class Added:
    """`warnings` are sentences for the operator."""

    slot: Slot
    board: Board
    entry: str
    warnings: tuple[str, ...]


def add_slot(
    path: Path, text: str, slot_id: str | None, serial: str, power: str | None, identify: Identify
) -> tuple[Added, str]:
    """Read the board at `serial` and return what to add and the new text of `path`; writes nothing.

    Raises ConfigError where the result would not be a valid lab, UsageError where the board is in it already.
    """
    known = lab_from_text(text, path).slots
    chosen = slot_id or next_id([slot.id for slot in known])
    _refuse_known(path, known, chosen, serial)
    unstable = bool(_UNSTABLE.match(serial))
    draft = insert_slot(text, slot_entry(chosen, serial, None, power, unstable=unstable))
    lab = lab_from_text(draft, path)
    slot = lab.slot(chosen)
    assert slot is not None
    board = identify(lab, slot)
    _refuse_known_chip(known, board)
    entry = slot_entry(chosen, serial, board, power, unstable=unstable)
    after = insert_slot(text, entry)
    complete = lab_from_text(after, path)
    if complete.slots[:-1] != known or complete.slots[-1].id != chosen:
        raise ConfigError(
            f"{path.name}: the entry cannot be added without changing another one",
            why="the file is written in an unusual way",
            todo=f"add it by hand below `slots:`:\n{entry}",
        )
    return Added(complete.slots[-1], board, entry, tuple(_warnings(serial, board, unstable))), after


def next_id(taken: Sequence[str]) -> str:
    """The lowest free `hut-NN`."""
    used = {slot_id.removeprefix("hut-") for slot_id in taken}
    return next(f"hut-{number:02}" for number in range(1, 1000) if f"{number:02}" not in used)


def _refuse_known(path: Path, known: Sequence[Slot], slot_id: str, serial: str) -> None:
    if any(slot.id == slot_id for slot in known):
        raise UsageError(f"{slot_id} exists already", why=f"it stands in {path}", todo="choose another id")
    for slot in known:
        if (
            "://" not in serial and realpath(serial) in {realpath(name) for name in slot.serial}
        ) or serial in slot.serial:
            raise UsageError(
                f"{serial} is {slot.id} already",
                why=f"{path} has this device",
                todo="plug in another board, or remove the entry first",
            )


def _refuse_known_chip(known: Sequence[Slot], board: Board) -> None:
    for slot in known:
        if board.mac is not None and slot.facts.mac == board.mac:
            raise UsageError(
                f"this board is {slot.id} already: its chip has the same MAC address",
                why="it was moved to another port, or shows another name now",
                todo=f"change `serial` of {slot.id} in lab.yml, or list both names there",
            )


def _warnings(serial: str, board: Board, unstable: bool) -> Iterator[str]:
    name = Path(serial).name
    if Found("", (SerialLink(serial, "by-id", ""),)).twin and "/by-id/" in serial:
        yield f"{name} is a factory name that other boards share: use the link in /dev/serial/by-path instead"
    if unstable:
        yield f"{serial} may be another board after the next plug: use the link in /dev/serial/by-id"
    if board.psram is None:
        yield "PSRAM beside the chip cannot be read: add `psram: 4MB` (or 0) to the facts if builds ask for it"
