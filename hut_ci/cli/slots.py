"""`hut-ci slots`: add, list, hold and check the boards of this lab."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import click

from hut_ci.cli.slot_evidence import inventory, selftest
from hut_ci.cli.slot_hold import hold, release, steal
from hut_ci.cli.slot_options import json_option, lab_option, named, tell
from hut_ci.cli.slot_run import run
from hut_ci.errors import ConfigError, UsageError

PLUG_SECONDS = 120.0

EXAMPLES = """
\b
Examples:
  hut-ci slots add                     find the board that is plugged in and write its entry
  hut-ci slots list                    what this lab has
  hut-ci slots status hut-01           free, or held by whom since when, who waits
  hut-ci slots hold hut-01 --for 30m --why "debugging"
  hut-ci slots run hut-01 -- idf.py flash monitor
"""

ADD_EXAMPLES = """
\b
Examples:
  hut-ci slots add                               the next free id; asks to plug the board
  hut-ci slots add hut-03 --power switch.bench_3
  hut-ci slots add --port /dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0 --yes
  hut-ci slots add --port rfc2217://10.0.0.5:4000 --lab lab.yml
"""

LIST_EXAMPLES = """
\b
Examples:
  hut-ci slots list
  hut-ci slots list --json | jq '.slots[].id'
  hut-ci slots list --public --json > slots.json     for a gate that runs elsewhere
"""

STATUS_EXAMPLES = """
\b
Examples:
  hut-ci slots status
  hut-ci slots status hut-01 --json
"""


@click.group("slots", epilog=EXAMPLES)
def command() -> None:
    """Add, list, hold and check the boards of this lab."""


for member in (hold, release, steal, run, inventory, selftest):
    command.add_command(member)


@command.command("add", epilog=ADD_EXAMPLES, short_help="Find a board and write its entry into lab.yml.")
@click.argument("slot_id", required=False, metavar="[ID]")
@click.option("--port", metavar="PATH", help="The board's device or rfc2217:// address, instead of looking for it.")
@lab_option
@click.option("--power", metavar="ENTITY", help="Home Assistant entity that switches the board's supply.")
@click.option("--yes", is_flag=True, help="Ask nothing: refuse instead of asking to plug, and write at once.")
def add(slot_id: str | None, port: str | None, lab_path: Path | None, power: str | None, yes: bool) -> None:
    """Find a board, ask its chip who it is, and write its entry into lab.yml.

    With several boards on this machine you are asked to unplug the one that you mean and to plug
    it in again. The chip, its revision, MAC and flash size are read (the board restarts, nothing
    is written to it); what already stands in lab.yml stays as it is.
    """
    from hut_ci.cli.slot_identify import identify
    from hut_ci.config import lab_to_write, new_lab
    from hut_ci.config.lab_write import lab_text
    from hut_ci.stages.slot_add import add_slot

    path = lab_to_write(lab_path, os.environ)
    with lab_text(path, new_lab(socket.gethostname().partition(".")[0])) as (text, write):
        serial = port or _find(path, text, may_ask=not yes)
        click.echo(f"board:  {serial}")
        added, after = add_slot(path, text, slot_id, serial, power, lambda lab, slot: identify(lab, slot, click.echo))
        click.echo(f"\n{added.entry}")
        for warning in added.warnings:
            click.echo(f"note: {warning}", err=True)
        if not yes and not _agreed(f"Add this to {path}?"):
            click.echo(f"Nothing was written to {path}.", err=True)
            raise click.Abort
        write(after)
    click.echo(f"{added.slot.id} added to {path}; try it: hut-ci run build/ --slot {added.slot.id}")


@command.command("list", epilog=LIST_EXAMPLES, short_help="What the slots are, and whether their board is there.")
@lab_option
@json_option
@click.option("--public", is_flag=True, help="Only what may leave the lab: no port, MAC, relay, address.")
def list_(lab_path: Path | None, as_json: bool, public: bool) -> None:
    """List the slots of this lab: what they are, and whether their board is there.

    With --public --json it is a hut.slots.v1 document, which a gate on a hosted machine chooses slots from.
    """
    from hut_ci.cli import slot_table
    from hut_ci.cli.composition import lab_at

    lab = lab_at(lab_path)
    if public:
        from hut_ci.stages.public_slots import told

        if not as_json:
            raise UsageError("--public without --json", why="it is for programs", todo="add --json")
        click.echo(json.dumps(told(lab), indent=2))
        return
    rows = [slot_table.facts_of(slot) for slot in lab.slots]
    if as_json:
        click.echo(json.dumps({"lab": lab.name, "path": str(lab.path), "slots": rows}, indent=2))
    else:
        click.echo(slot_table.table(rows, slot_table.LIST_COLUMNS))


@command.command("status", epilog=STATUS_EXAMPLES, short_help="Free, or held by whom since when.")
@click.argument("slot_id", required=False, metavar="[SLOT]")
@lab_option
@json_option
def status(slot_id: str | None, lab_path: Path | None, as_json: bool) -> int:
    """Say of each slot whether it is free, or who holds it since when, and who has its port open.

    Asking takes nothing: no claim, no place in a queue, no byte to a board. A slot whose lock
    cannot be trusted is `refused` (exit code 2); the others are shown all the same.
    """
    from hut_ci.cli import slot_table
    from hut_ci.cli.composition import lab_at

    lab = lab_at(lab_path)
    slots = lab.slots if slot_id is None else (named(lab, slot_id),)
    rows = [slot_table.status_of(lab, slot) for slot in slots]
    if as_json:
        click.echo(json.dumps({"lab": lab.name, "slots": rows}, indent=2))
    else:
        click.echo(slot_table.table(rows, slot_table.STATUS_COLUMNS))
    troubles = [row["trouble"] for row in rows if row["trouble"]]
    for trouble in troubles:
        tell(f"hut-ci: {trouble['error']}\n  why:  {trouble['why']}\n  do:   {trouble['advice']}")
    return ConfigError.exit_code if troubles else 0


def _agreed(question: str) -> bool:
    """False also where nobody is there to answer."""
    try:
        return click.confirm(question, default=True)
    except click.Abort:
        click.echo()
        return False


def _find(path: Path, text: str, *, may_ask: bool) -> str:
    """The identity of the board that the operator means."""
    from hut_ci.board.plugging import find_device
    from hut_ci.board.serial_links import dangling, serial_links
    from hut_ci.config import lab_from_text
    from hut_ci.deadline import Deadline

    taken = [name for slot in lab_from_text(text, path).slots for name in slot.serial if "://" not in name]
    for name in dangling(serial_links()):
        click.echo(f"note: {name} leads nowhere", err=True)
    found = find_device(serial_links, taken, click.echo, deadline=Deadline(PLUG_SECONDS), may_ask=may_ask)
    if found.twin and found.identity != found.links[0].path:
        click.echo(f"note: {found.links[0].path} is a factory name that other boards share; by-path is used", err=True)
    return found.identity
