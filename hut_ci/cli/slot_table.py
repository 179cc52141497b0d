"""What `slots list` and `slots status` show: one mapping per slot, the same for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hut_ci import proc
from hut_ci.claims import Waiter, flock
from hut_ci.claims.notes import who
from hut_ci.cli.json_answers import error_document
from hut_ci.errors import ConfigError
from hut_ci.model import Holder, Lab, PowerSettings, Slot
from hut_ci.units import format_revision, format_size

Row = Mapping[str, Any]
LIST_COLUMNS = ("id", "label", "chip", "revision", "flash", "psram", "tags", "present", "power", "quarantined")
STATUS_COLUMNS = (
    "id",
    "label",
    "present",
    "state",
    "held_by",
    "stopped",
    "since",
    "until",
    "waiting",
    "next",
    "port_user",
)


def facts_of(slot: Slot) -> Row:
    """Everything that lab.yml says of a slot; `present` is None for a network port, which is not asked."""
    facts = slot.facts
    return {
        "id": slot.id,
        "label": slot.label,
        "serial": list(slot.serial),
        "present": _present(slot),
        "chip": facts.chip,
        "revision": format_revision(facts.revision) if facts.revision else None,
        "flash": facts.flash,
        "psram": facts.psram,
        "mac": facts.mac,
        "tags": sorted(facts.tags),
        "baud": slot.baud,
        "power": _relay(slot.power),
        "proof": slot.power.proof,
        "quarantined": slot.quarantined,
    }


def status_of(lab: Lab, slot: Slot) -> Row:
    """`state` is free, held, quarantined or refused; `holder` and `port_holder` name who is there.

    Refused are lock and ticket files that cannot be trusted; `trouble` says why, as an error does.
    """
    holder, queue, trouble = _claims_on(lab, slot)
    ports = [found for name in slot.serial if (found := flock.who_holds(name))]
    state = "refused" if trouble else "held" if holder else "quarantined" if slot.quarantined else "free"
    return {
        "id": slot.id,
        "label": slot.label,
        "present": _present(slot),
        "state": state,
        "quarantined": slot.quarantined,
        "holder": asdict(holder) if holder else None,
        "held_by": who(holder) if holder else None,
        "stopped": bool(holder) and _is_stopped(lab, slot),
        "since": holder.since_utc if holder else None,
        "until": holder.deadline_utc if holder else None,
        "waiting": len(queue),
        "next": who(queue[0].note) if queue else None,
        "queue": [{"place": waiter.place, **asdict(waiter.note)} for waiter in queue],
        "trouble": trouble and error_document(trouble),
        "port_holder": asdict(ports[0]) if ports else None,
        "port_user": f"{ports[0].program} (pid {ports[0].pid}, {ports[0].user})" if ports else None,
    }


def _claims_on(lab: Lab, slot: Slot) -> tuple[Holder | None, tuple[Waiter, ...], ConfigError | None]:
    try:
        return flock.holder(lab, slot), flock.queue(lab, slot), None
    except ConfigError as error:
        return None, (), error


def _is_stopped(lab: Lab, slot: Slot) -> bool:
    """Whether whoever holds the slot will not let go before somebody continues it (Ctrl-Z)."""
    owner = flock.kernel_owner(lab, slot)
    return owner is not None and proc.is_stopped(owner)


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Aligned columns for a person; columns in which no slot has anything are left out."""
    cells = [[_cell(name, row[name]) for name in columns] for row in rows]
    if not cells:
        return "no slots yet: `hut-ci slots add` finds a board and writes its entry"
    used = [index for index in range(len(columns)) if any(line[index] != "-" for line in cells)]
    lines = [[columns[index].replace("_", " ").upper() for index in used]]
    lines += [[line[index] for index in used] for line in cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(used))]
    return "\n".join(
        "  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _present(slot: Slot) -> bool | None:
    if any(Path(name).exists() for name in slot.serial if "://" not in name):
        return True
    return None if any("://" in name for name in slot.serial) else False


def _relay(power: PowerSettings) -> str | None:
    relay = power.entity or ("command" if power.command else None)  # its words may hold a password
    return f"{relay} (group {power.group})" if relay and power.group else relay


def _cell(name: str, value: Any) -> str:
    if name == "present":
        return {True: "yes", False: "no", None: "remote"}[value]
    if name == "stopped":
        return "yes" if value else "-"
    if name in ("flash", "psram"):
        return "-" if value is None else format_size(value)
    if isinstance(value, list):
        return ",".join(value) or "-"
    return "-" if value is None else str(value)
