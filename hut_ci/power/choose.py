"""Which back end switches a slot, and how that choice travels to the guardian process."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, TypeAlias

from hut_ci.credentials import Token
from hut_ci.errors import PowerError
from hut_ci.model import Lab, Slot
from hut_ci.power.command import CommandSwitch
from hut_ci.power.home_assistant import HomeAssistantSwitch, open_switch
from hut_ci.power.none import NoSwitch
from hut_ci.power.token import read_token

Switch: TypeAlias = HomeAssistantSwitch | CommandSwitch | NoSwitch


def choose(lab: Lab, slot: Slot, environ: Mapping[str, str]) -> Switch:
    """The switch that lab.yml names for `slot`; no network is used yet.

    Raises PowerError for a missing or public token, a forbidden entity or an insecure address.
    """
    power = slot.power
    if power.backend == "command":
        return CommandSwitch(power.command, power.timeout_seconds)
    if power.backend != "home_assistant" or power.entity is None:
        return NoSwitch(slot.id)
    if lab.home_assistant is None:
        raise PowerError(
            f"lab.yml names {power.entity} for {slot.id}, but no Home Assistant",
            todo="Add home_assistant: {url: https://…, token_file: …} to lab.yml.",
            fields={"detail": "no_switch"},
        )
    return open_switch(lab.home_assistant, power.entity, read_token(lab.home_assistant, environ), power.timeout_seconds)


def relay_of(switch: Switch) -> str:
    """Which relay `switch` switches, for a record that others may read: no token, and no argument of a command."""
    if isinstance(switch, HomeAssistantSwitch):
        return switch.entity
    if isinstance(switch, CommandSwitch):
        argv = switch.argv.get("on", ())
        return f"{argv[0]} ({sha256(repr(argv).encode()).hexdigest()[:8]})" if argv else ""
    return ""


def pack(switch: Switch) -> dict[str, Any]:
    """`switch` as JSON values. It holds the token: for a pipe between two processes of ours, nothing else."""
    if isinstance(switch, HomeAssistantSwitch):
        return {
            "backend": "home_assistant",
            "url": switch.url,
            "entity": switch.entity,
            "token": switch.token.reveal(),
            "timeout": switch.timeout,
        }
    if isinstance(switch, CommandSwitch):
        return {"backend": "command", "argv": {k: list(v) for k, v in switch.argv.items()}, "timeout": switch.timeout}
    return {"backend": "none", "slot": switch.slot}


def unpack(packed: Mapping[str, Any]) -> Switch:
    """The switch that `pack` described."""
    if packed["backend"] == "home_assistant":
        return HomeAssistantSwitch(packed["url"], packed["entity"], Token(packed["token"]), packed["timeout"])
    if packed["backend"] == "command":
        return CommandSwitch({name: tuple(argv) for name, argv in packed["argv"].items()}, packed["timeout"])
    return NoSwitch(packed["slot"])
