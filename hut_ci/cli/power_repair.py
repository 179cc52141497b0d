"""`hut-ci power repair`: switch on what a killed power cycle left off; a timer calls it every minute."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.composition import lab_at
from hut_ci.cli.durations import Duration
from hut_ci.cli.json_answers import give
from hut_ci.cli.power_bench import claimed
from hut_ci.cli.slot_options import json_option, lab_option, named, tell

if TYPE_CHECKING:
    from hut_ci.model import Lab, Slot


@click.command("repair", short_help="Switch on what a killed power cycle left off.")
@click.argument("slot_id", metavar="[SLOT]", required=False)
@lab_option
@json_option
@click.option("--wait", type=Duration(), default="0", metavar="TIME", help="How long to queue for a slot in use.")
def repair(slot_id: str | None, lab_path: Path | None, as_json: bool, wait: float) -> None:
    """Switch on what a killed power cycle left off; without SLOT, on every slot.

    A slot in use is left alone: whoever has it has repaired it, or is cycling it now. With SLOT that is exit code 4.
    Without SLOT a Home Assistant that refused its token is not asked again with the same one, because it bans hosts.

    \b
    Example:
      hut-ci power repair
    """
    from hut_ci.errors import PowerError, SlotError

    lab = lab_at(lab_path)
    found = _repair_all(lab, (named(lab, slot_id),) if slot_id else lab.slots, wait, asked=slot_id is not None)
    of = {kind: [name for name in found if found[name] == kind] for kind in ("repaired", "busy", "failed")}
    if as_json:
        give(of)
    elif not any(of.values()):
        click.echo("Nothing to repair: no power cycle was cut short.")
    if of["failed"]:
        click.get_current_context().exit(PowerError.exit_code)
    if of["busy"] and slot_id:
        click.get_current_context().exit(SlotError.exit_code)


def _repair_all(lab: Lab, slots: Iterable[Slot], wait: float, *, asked: bool) -> dict[str, str]:
    """What became of each slot: `repaired`, `busy`, `failed` or `fine`; the reasons are told.

    After an answer that holds for a whole Home Assistant its other relays are not asked for.
    """
    from hut_ci.errors import ConfigError, PowerError, SlotError
    from hut_ci.power.intent import needs_repair
    from hut_ci.power.refusal import OF_THE_SERVER

    found: dict[str, str] = {}
    unasked: list[str] = []
    server_fails = False
    for slot in slots:
        try:
            if server_fails and slot.power.entity and needs_repair(lab, slot):
                unasked.append(slot.id)
                found[slot.id] = "failed"
            else:
                found[slot.id] = _repair(lab, slot, wait, asked=asked)
        except SlotError as error:
            tell(f"{slot.id} is in use, and not repaired from here: {error}")
            found[slot.id] = "busy"
        except (PowerError, ConfigError) as error:
            tell(f"{slot.id} may still be off: {error}. {error.todo}")
            found[slot.id] = "failed"
            server_fails = server_fails or error.fields.get("detail") in OF_THE_SERVER
    if unasked:
        tell(f"{', '.join(unasked)} may still be off, too: Home Assistant was not asked again")
    return found


def _repair(lab: Lab, slot: Slot, wait: float, *, asked: bool) -> str:
    """`repaired` or `fine`. Raises SlotError, PowerError or ConfigError.

    A slot that somebody `asked` for is tried whatever became of the last try.
    """
    from hut_ci.errors import PowerError
    from hut_ci.power import refusal
    from hut_ci.power.intent import needs_repair

    if not needs_repair(lab, slot):
        return "fine"
    if slot.power.entity and not asked:
        refusal.refuse_again(lab, os.environ)
    try:
        with claimed(lab, slot, wait, "power repair") as bench:
            repaired = bench.repaired
    except PowerError as error:
        if error.fields.get("detail") == "unauthorized":
            with suppress(PowerError):
                refusal.remember(lab, os.environ)
        raise
    if repaired and slot.power.entity:
        refusal.forget(lab)
    return "repaired" if repaired else "fine"
