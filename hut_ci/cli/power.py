"""`hut-ci power`: switch, test and repair a slot's power. Whoever switches claims first."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.composition import lab_at
from hut_ci.cli.durations import Duration
from hut_ci.cli.json_answers import give
from hut_ci.cli.power_answer import answer, found_text, proof_text, results
from hut_ci.cli.power_bench import claimed
from hut_ci.cli.power_repair import repair
from hut_ci.cli.slot_options import json_option, lab_option, named, tell

if TYPE_CHECKING:
    from hut_ci.model import Lab, PowerResult, Slot

ON_OFF_WITHIN = 60.0

slot_argument = click.argument("slot_id", metavar="SLOT")
wait_option = click.option(
    "--wait",
    type=Duration(),
    default="0",
    metavar="TIME",
    help="How long to queue for a slot that is in use: 45s, 5m, 1h. Default: not at all.",
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    return lab_option(json_option(wait_option(function)))


@click.group("power")
def command() -> None:
    """Switch or test a slot's power (claims the slot first).

    \b
    Examples:
      hut-ci power cycle hut-01
      hut-ci power cycle hut-01 --wait 5m --json
      hut-ci power test hut-01 --write

    SLOT is an id or a runner label. Results are ok, timeout or ha_error, with a detail.
    Exit codes: 0 ok, 4 the slot is busy, 7 power failed.
    """


command.add_command(repair)


@command.command(short_help="Cut the slot's power and give it back, with proof.")
@click.argument("slot_id", metavar="SLOT", envvar="HUT_CI_POWER_CYCLE_SLOT")
@_options
@click.option(
    "--within",
    type=Duration(1.0),
    default="3m",
    show_default=True,
    metavar="TIME",
    help="Time limit, cooldown included.",
)
@click.option("--off-seconds", type=Duration(0.1), metavar="TIME", help="Instead of lab.yml's `off`.")
@click.option("--on-seconds", type=Duration(), metavar="TIME", help="Instead of lab.yml's `on`.")
def cycle(
    slot_id: str,
    lab_path: Path | None,
    as_json: bool,
    wait: float,
    within: float,
    off_seconds: float | None,
    on_seconds: float | None,
) -> None:
    """Cut the slot's power and give it back, with the proof that lab.yml names.

    \b
    Examples:
      hut-ci power cycle hut-01
      hut-ci power cycle hut-01 --off-seconds 10 --wait 5m --json
    """
    from hut_ci.deadline import Deadline
    from hut_ci.power.wiring import cycle_slot

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    off = slot.power.off_seconds if off_seconds is None else off_seconds
    on = slot.power.on_seconds if on_seconds is None else on_seconds
    timed = replace(slot, power=replace(slot.power, off_seconds=off, on_seconds=on))
    with results(slot, as_json, _outputs), claimed(lab, slot, wait, "power cycle") as bench:
        _tell_length(lab, timed)
        result = cycle_slot(lab, timed, bench.claims, bench.switch, Deadline(within))
    _outputs(result)
    answer(slot, result, as_json, f"cycled ({proof_text(slot, result)})")


def _tell_length(lab: Lab, slot: Slot) -> None:
    """What there is to wait for."""
    from hut_ci.power.cooldown import SlotCooldown
    from hut_ci.power.group import group_of

    power = slot.power
    left = SlotCooldown(lab.state_dir, group_of(lab, slot)[0], power.cooldown_seconds).remaining()
    first = f"in {left:.0f} s, when its cooldown is over, " if left else ""
    tell(f"{slot.id}: {first}off for {power.off_seconds:g} s, then on for {power.on_seconds:g} s")


def _outputs(result: PowerResult) -> None:
    """For later steps of a job on GitHub, whatever became of the cycle."""
    from hut_ci.cli.workflow_commands import give_outputs

    give_outputs({"result": result.result, "detail": result.detail, "proven": str(result.proven).lower()})


@command.command("on")
@slot_argument
@_options
def switch_on(slot_id: str, lab_path: Path | None, as_json: bool, wait: float) -> None:
    """Switch the slot on and see its switch read `on`.

    \b
    Example:
      hut-ci power on hut-01
    """
    _switch(slot_id, lab_path, as_json, wait, on=True)


@command.command("off")
@slot_argument
@_options
def switch_off(slot_id: str, lab_path: Path | None, as_json: bool, wait: float) -> None:
    """Switch the slot off, and leave it off until `hut-ci power on` or `hut-ci power cycle`.

    No repair undoes it, and none comes before it: the record of an earlier accident to this relay is removed.

    \b
    Example:
      hut-ci power off hut-01
    """
    _switch(slot_id, lab_path, as_json, wait, on=False)


@command.command(short_help="Show what the slot's switch reads; only looks.")
@slot_argument
@lab_option
@json_option
def status(slot_id: str, lab_path: Path | None, as_json: bool) -> None:
    """Show what the slot's switch reads; only looks, so the slot may be in use.

    \b
    Example:
      hut-ci power status hut-01
    """
    from hut_ci.deadline import Deadline
    from hut_ci.power.choose import choose
    from hut_ci.power.cooldown import SlotCooldown
    from hut_ci.power.group import group_of
    from hut_ci.power.intent import needs_repair

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    deadline = Deadline(ON_OFF_WITHIN)
    with results(slot, as_json, state="unknown"):
        switch = choose(lab, slot, os.environ)
        switch.exists(deadline)
        reads = {True: "on", False: "off", None: "unknown"}[switch.is_on(deadline)]
        cooldown = SlotCooldown(lab.state_dir, group_of(lab, slot)[0], slot.power.cooldown_seconds).remaining()
        unrepaired = needs_repair(lab, slot)
    if as_json:
        facts = {"slot": slot.id, "state": reads, "proof": slot.power.proof, "cooldown": round(cooldown, 1)}
        give({**facts, "cut_short": unrepaired})
        return
    click.echo(f"{slot.id}: {reads}" + (f", next cycle possible in {cooldown:.0f} s" if cooldown else ""))
    if unrepaired:
        click.echo(f"A power cycle is at work on {slot.id}, or was cut short: hut-ci power repair {slot.id}")


@command.command(short_help="Find out which proof of a power cycle the slot can give.")
@slot_argument
@_options
@click.option("--write", is_flag=True, help="Put the proof into lab.yml.")
def test(slot_id: str, lab_path: Path | None, as_json: bool, wait: float, write: bool) -> None:
    """Find out which proof of a power cycle the slot can give: port, banner or none.

    Cuts the power once or twice. With `none` a cycle is believed without proof.

    \b
    Example:
      hut-ci power test hut-01 --write
    """
    from hut_ci.power.find_proof import find_proof
    from hut_ci.power.lab_proof import refuse_unwritable, write_proof

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    if write:
        refuse_unwritable(lab, slot.id)
    with results(slot, as_json, proof=None), claimed(lab, slot, wait, "power test") as bench:
        proof, result = find_proof(lab, slot, bench.claims, bench.switch, on_try=tell)
        if proof and write:
            write_proof(lab, slot.id, proof)
    answer(slot, result, as_json, found_text(proof, write), proof=proof)


def _switch(slot_id: str, lab_path: Path | None, as_json: bool, wait: float, *, on: bool) -> None:
    from hut_ci.deadline import Deadline
    from hut_ci.model import PowerResult
    from hut_ci.power.intent import forget

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    why = f"power {'on' if on else 'off'}"
    with results(slot, as_json), claimed(lab, slot, wait, why, repairing=on) as bench:
        deadline = Deadline(ON_OFF_WITHIN)
        bench.switch.exists(deadline)
        (bench.switch.on if on else bench.switch.off)(deadline)
        for member in bench.members:
            forget(lab, member, bench.switch)
        result = PowerResult("ok", "unproven", seconds=round(deadline.elapsed, 3))
    answer(slot, result, as_json, "on" if on else f"off, until: hut-ci power on {slot.id}")
