"""A whole lab made of software: virtual boards, the relay that cuts their power, and their lab.yml."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import yaml

from hut_ci.errors import UsageError
from hut_ci.virtual.board import VirtualBoard
from hut_ci.virtual.faults import Fault, parse_fault
from hut_ci.virtual.relay import Relay

Transport: TypeAlias = Literal["pty", "rfc2217"]
PowerWiring: TypeAlias = Literal["with_board", "self_powered"]

PROOF_OF: dict[PowerWiring, str] = {"with_board": "port", "self_powered": "banner"}
FAST_POWER = {"off": 0.2, "on": 0.2, "cooldown": 0, "retries": 1, "timeout": 2}
"""Seconds; a virtual board has no capacitors to empty and no relay to wear out."""


class VirtualLab:
    """`slots` boards `hut-01`, `hut-02`, … and one relay, as a context manager; everything lives in `folder`.

    `faults` maps slot ids to board faults (virtual/faults.py), `relay_faults` are for the relay (virtual/relay.py).
    `power_wiring` and `chips` hold for all boards, or map slot ids to exceptions. `power` and `settings` override
    keys of every slot's power block and of single slots in lab.yml. Raises UsageError for unknown names.
    """

    def __init__(
        self,
        slots: int = 2,
        *,
        folder: Path,
        faults: Mapping[str, Iterable[str]] | None = None,
        relay_faults: Iterable[str] = (),
        transport: Transport = "rfc2217",
        power_wiring: PowerWiring | Mapping[str, PowerWiring] = "with_board",
        chips: str | Mapping[str, str] = "esp32",
        name: str = "virtual",
        power: Mapping[str, object] | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        pace: bool = False,
        erase_times: bool = False,
        slow_seconds: float = 3.0,
    ) -> None:
        self.name = name
        self.folder = folder.absolute()
        self.lab_yml = self.folder / "lab.yml"
        self.slot_ids = [f"hut-{number:02}" for number in range(1, slots + 1)]
        self._wiring = power_wiring
        self._chips = chips
        self._transport: Transport = transport
        self._power = dict(power or {})
        self._settings = dict(settings or {})
        self._stack = ExitStack()
        self._refuse_unknown_slots([*(faults or {}), *self._settings])
        self._faults = {slot_id: self._parsed(slot_id, names) for slot_id, names in (faults or {}).items()}
        self._pace, self._erase_times = pace, erase_times
        self.boards: dict[str, VirtualBoard] = {}
        self._token = secrets.token_urlsafe(32)
        switches = {self.entity(slot_id): self._power_of(slot_id) for slot_id in self.slot_ids}
        self.relay = Relay(switches, faults=relay_faults, token=self._token, slow_seconds=slow_seconds)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for number, slot_id in enumerate(self.slot_ids, 1):
                self.boards[slot_id] = stack.enter_context(self._board(number, slot_id))
            stack.enter_context(self.relay)
            self._write()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def entity(self, slot_id: str) -> str:
        """The relay entity of a slot: `switch.slot_1` for the first."""
        return f"switch.slot_{self.slot_ids.index(slot_id) + 1}"

    # --- the files ------------------------------------------------------------------------------------------

    def _write(self) -> None:
        secret = self.folder / "secrets"
        secret.mkdir(exist_ok=True)
        secret.chmod(0o700)
        token = secret / "home-assistant"
        token.unlink(missing_ok=True)
        token.touch(mode=0o600)
        token.write_text(self._token + "\n", encoding="ascii")
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        (self.folder / "locks").mkdir(mode=0o700, exist_ok=True)
        # The port of the relay, and of boards over RFC 2217, is another one each time.
        self.lab_yml.write_text(yaml.safe_dump(self._document(), sort_keys=False), encoding="utf-8")

    def _document(self) -> dict[str, Any]:
        return {
            "lab": self.name,
            "lock_dir": str(self.folder / "locks"),
            "state_dir": str(self.folder / "state"),
            "home_assistant": {
                "url": self.relay.url,
                "token_file": str(self.folder / "secrets" / "home-assistant"),
            },
            "slots": {slot_id: self._slot(number, slot_id) for number, slot_id in enumerate(self.slot_ids, 1)},
        }

    def _slot(self, number: int, slot_id: str) -> dict[str, Any]:
        power = {"entity": self.entity(slot_id), **FAST_POWER, "proof": PROOF_OF[self._wiring_of(slot_id)]}
        return {
            "serial": self.boards[slot_id].serial,
            "facts": {"chip": self._chip_of(slot_id), "flash": "4MB", "mac": _mac(number)},
            "baud": 921600,
            "power": {**power, **self._power},
            **self._settings.get(slot_id, {}),
        }

    # --- the boards -----------------------------------------------------------------------------------------

    def _board(self, number: int, slot_id: str) -> VirtualBoard:
        links = self.folder / "dev"
        links.mkdir(parents=True, exist_ok=True)
        return VirtualBoard(
            slot_id,
            chip=self._chip_of(slot_id),
            mac=_mac(number),
            transport=self._transport,
            link=links / slot_id if self._transport == "pty" else None,
            power_wiring=self._wiring_of(slot_id),
            faults=self._faults.get(slot_id, ()),
            pace=self._pace,
            erase_times=self._erase_times,
        )

    @staticmethod
    def _parsed(slot_id: str, names: Iterable[str]) -> tuple[Fault, ...]:
        try:
            return tuple(parse_fault(name) for name in names)
        except ValueError as error:
            raise UsageError(f"{slot_id}: {error}", todo="hut-ci virtual-lab --list-faults") from error

    def _power_of(self, slot_id: str) -> Callable[[bool], None]:
        def power(on: bool) -> None:  # the board does not exist before the lab is entered
            self.boards[slot_id].power(on)

        return power

    def _chip_of(self, slot_id: str) -> str:
        return self._chips if isinstance(self._chips, str) else self._chips.get(slot_id, "esp32")

    def _wiring_of(self, slot_id: str) -> PowerWiring:
        return self._wiring if isinstance(self._wiring, str) else self._wiring.get(slot_id, "with_board")

    def _refuse_unknown_slots(self, names: Iterable[str]) -> None:
        if unknown := [name for name in names if name not in self.slot_ids]:
            raise UsageError(
                f"this virtual lab has no slot {unknown[0]!r}", todo=f"choose one of: {', '.join(self.slot_ids)}"
            )


def _mac(number: int) -> str:
    return f"24:6f:28:00:00:{number:02x}"
