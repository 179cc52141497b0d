"""What the commands about slots have in common on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.composition import LAB_HELP

if TYPE_CHECKING:
    from hut_ci.model import Lab, Slot

lab_option = click.option("--lab", "lab_path", type=click.Path(path_type=Path), metavar="FILE", help=LAB_HELP)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")


def named(lab: Lab, slot_id: str) -> Slot:
    """The slot of this id or label. Raises UsageError, naming the nearest one."""
    from hut_ci.contracts import nearest
    from hut_ci.errors import UsageError

    slot = lab.slot(slot_id) or next((slot for slot in lab.slots if slot.label == slot_id), None)
    if slot is None:
        known = [slot.id for slot in lab.slots]
        raise UsageError(f"no slot {slot_id} in {lab.name}", why=f"see {lab.path}", todo=nearest(slot_id, known))
    return slot


def tell(text: str) -> None:
    """A line for a person, on standard error."""
    click.echo(text, err=True)
