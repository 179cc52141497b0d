"""What a lab tells about its slots, as the document that a gate on a hosted machine chooses from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hut_ci import contracts
from hut_ci.errors import ConfigError
from hut_ci.model import Facts, Lab, Slot
from hut_ci.units import format_revision, parse_revision

SCHEMA = "hut.slots.v1"


def told(lab: Lab) -> Mapping[str, Any]:
    """The document: no port, MAC, relay or address, and not why a slot was set aside."""
    return {"schema_version": SCHEMA, "lab": lab.name, "slots": [_entry(slot) for slot in lab.slots]}


def slots_of(text: str | bytes, name: str) -> tuple[Slot, ...]:
    """The slots of such a document, with no port; `name` stands for it in messages. Raises ConfigError."""
    todo = "make it on the lab host with `hut-ci slots list --public --json`"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is no list of slots", why=str(error), todo=todo) from error
    if found := contracts.check(document, SCHEMA):
        raise ConfigError(
            f"{name} is no list of slots: {found[0]}", why="; ".join(str(problem) for problem in found[1:4]), todo=todo
        )
    slots = tuple(_slot(entry) for entry in document["slots"])
    for what, seen in (("id", [slot.id for slot in slots]), ("label", [slot.label.lower() for slot in slots])):
        if twice := next((entry for entry in seen if seen.count(entry) > 1), None):
            raise ConfigError(
                f"{name}: two slots have the {what} {twice}",
                why="a job for it would not know which board it gets; two labs' lists may have been joined",
                todo="give each slot its own, in lab.yml",
            )
    return slots


def _entry(slot: Slot) -> Mapping[str, Any]:
    facts = slot.facts
    return {
        "id": slot.id,
        "label": slot.label,
        "chip": facts.chip,
        "revision": format_revision(facts.revision) if facts.revision else None,
        "flash": facts.flash,
        "psram": facts.psram,
        "tags": sorted(facts.tags),
        "quarantined": slot.quarantined is not None,
    }


def _slot(entry: Mapping[str, Any]) -> Slot:
    return Slot(
        id=entry["id"],
        label=entry["label"],
        serial=(),
        facts=Facts(
            chip=entry["chip"],
            revision=parse_revision(entry["revision"]) if entry.get("revision") else None,
            flash=entry.get("flash"),
            psram=entry.get("psram"),
            tags=frozenset(entry.get("tags", ())),
        ),
        quarantined="set aside by its operator" if entry.get("quarantined") else None,
    )
