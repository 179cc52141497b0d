"""What the commands of `hut-ci power` answer."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hut_ci.model import PowerResult, Slot

NO_SWITCH = "name its relay in lab.yml, for example `power: switch.bench_1`, and the `home_assistant` that has it"


def found_text(proof: str | None, written: bool) -> str:
    """What `power test` found out, and what it means."""
    meaning = {
        "port": "its serial device vanishes and returns",
        "banner": "its serial device stays, and a boot banner follows",
        "none": "the board shows nothing of it; is it the right plug, or is the board fed by its USB cable?",
    }[proof or "none"]
    where = "written to lab.yml" if written else "put it into lab.yml with --write"
    return f"proof: {proof} ({meaning}); {where}"


def proof_text(slot: Slot, result: PowerResult) -> str:
    """How far a cycle is to be believed."""
    return f"proven by {slot.power.proof}" if result.proven else "unproven: hut-ci power test finds a proof"


def answer(slot: str, result: PowerResult, as_json: bool, text: str, **more: str | None) -> None:
    """Print the result; exit code 7 for anything but `ok`."""
    from hut_ci.errors import PowerError

    if as_json:
        click.echo(json.dumps({"slot": slot, **asdict(result), **more}))
        if result.result != "ok":
            click.get_current_context().exit(PowerError.exit_code)
        return
    if result.result != "ok":
        raise PowerError(
            f"{slot}: {result.result} ({result.detail}): {result.text}",
            todo=NO_SWITCH if result.detail == "no_switch" else f"hut-ci power status {slot}",
            fields={"detail": result.detail},
        )
    click.echo(f"{slot}: {text}, {result.seconds:.1f} s")
