"""`hut-ci power`: switch, test and repair a slot's power. Whoever switches claims first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.composition import LAB_HELP, lab_at
from hut_ci.cli.power_answer import answer, found_text, proof_text
from hut_ci.cli.power_bench import claimed, slot_of, tell

if TYPE_CHECKING:
    from hut_ci.model import Lab, Slot

ON_OFF_WITHIN = 60.0


@click.group("power")
def command() -> None:
    """Switch or test a slot's power (claims the slot first).

    \b
    Examples:
      hut-ci power cycle hut-01
      hut-ci power cycle hut-01 --wait 60 --json
      hut-ci power test hut-01 --write

    Results are ok, timeout or ha_error, with a detail. Exit codes: 0 ok, 4 the slot is busy, 7 power failed.
    """


def _options(with_wait: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if with_wait:
            function = click.option(
                "--wait",
                default=0.0,
                metavar="SECONDS",
                type=click.FloatRange(0),
                help="How long to queue for a slot that is in use. Default: not at all.",
            )(function)
        function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
        return click.option("--lab", "lab_file", type=click.Path(path_type=Path), help=LAB_HELP)(function)

    return decorate


@command.command(short_help="Cut the slot's power and give it back, with proof.")
@click.argument("slot", envvar="HUT_CI_POWER_CYCLE_SLOT")
@_options()
@click.option(
    "--within",
    default=180.0,
    metavar="SECONDS",
    type=click.FloatRange(1),
    help="Time limit, cooldown included. Default: 180.",
)
@click.option("--off-seconds", metavar="SECONDS", type=click.FloatRange(0.1), help="Instead of lab.yml's `off`.")
@click.option("--on-seconds", metavar="SECONDS", type=click.FloatRange(0), help="Instead of lab.yml's `on`.")
def cycle(
    slot: str,
    lab_file: Path | None,
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
      hut-ci power cycle hut-01 --off-seconds 10 --wait 60 --json
    """
    from hut_ci.cli.workflow_commands import give_outputs
    from hut_ci.deadline import Deadline
    from hut_ci.power.wiring import cycle_slot

    with claimed(slot, lab_file, wait, "power cycle") as bench:
        power = bench.slot.power
        off = power.off_seconds if off_seconds is None else off_seconds
        on = power.on_seconds if on_seconds is None else on_seconds
        timed = replace(bench.slot, power=replace(power, off_seconds=off, on_seconds=on))
        result = cycle_slot(bench.lab, timed, bench.claims, bench.switch, Deadline(within))
    give_outputs({"result": result.result, "detail": result.detail, "proven": str(result.proven).lower()})
    answer(slot, result, as_json, f"cycled ({proof_text(bench.slot, result)})")


@command.command("on")
@click.argument("slot")
@_options()
def switch_on(slot: str, lab_file: Path | None, as_json: bool, wait: float) -> None:
    """Switch the slot on and see its switch read `on`.

    \b
    Example:
      hut-ci power on hut-01
    """
    _switch(slot, lab_file, as_json, wait, on=True)


@command.command("off")
@click.argument("slot")
@_options()
def switch_off(slot: str, lab_file: Path | None, as_json: bool, wait: float) -> None:
    """Switch the slot off, and leave it off until `hut-ci power on` or `hut-ci power cycle`.

    No repair undoes it, and none comes before it: the record of an earlier accident to this relay is removed.

    \b
    Example:
      hut-ci power off hut-01
    """
    _switch(slot, lab_file, as_json, wait, on=False)


@command.command(short_help="Show what the slot's switch reads; only looks.")
@click.argument("slot")
@_options(with_wait=False)
def status(slot: str, lab_file: Path | None, as_json: bool) -> None:
    """Show what the slot's switch reads; only looks, so the slot may be in use.

    \b
    Example:
      hut-ci power status hut-01
    """
    from hut_ci.deadline import Deadline
    from hut_ci.errors import PowerError
    from hut_ci.power.choose import choose
    from hut_ci.power.cooldown import SlotCooldown
    from hut_ci.power.intent import needs_repair
    from hut_ci.power.wiring import group_of
    from hut_ci.stages.power_results import failure

    lab = lab_at(lab_file)
    found = slot_of(lab, slot)
    deadline = Deadline(ON_OFF_WITHIN)
    try:
        switch = choose(lab, found, os.environ)
        switch.exists(deadline)
        reads = {True: "on", False: "off", None: "unknown"}[switch.is_on(deadline)]
    except PowerError as error:
        if not as_json:
            raise
        answer(slot, failure(error, deadline.elapsed), True, "", state="unknown")
        return
    cooldown = SlotCooldown(lab.state_dir, group_of(lab, found)[0], found.power.cooldown_seconds).remaining()
    unrepaired = needs_repair(lab, found)
    if as_json:
        facts = {"slot": slot, "state": reads, "proof": found.power.proof, "cooldown": round(cooldown, 1)}
        click.echo(json.dumps({**facts, "cut_short": unrepaired}))
        return
    click.echo(f"{slot}: {reads}" + (f", next cycle possible in {cooldown:.0f} s" if cooldown else ""))
    if unrepaired:
        click.echo(f"A power cycle is at work on {slot}, or was cut short: hut-ci power repair {slot}")


@command.command(short_help="Find out which proof of a power cycle the slot can give.")
@click.argument("slot")
@_options()
@click.option("--write", is_flag=True, help="Put the proof into lab.yml.")
def test(slot: str, lab_file: Path | None, as_json: bool, wait: float, write: bool) -> None:
    """Find out which proof of a power cycle the slot can give: port, banner or none.

    Cuts the power once or twice. With `none` a cycle is believed without proof.

    \b
    Example:
      hut-ci power test hut-01 --write
    """
    from hut_ci.power.find_proof import find_proof
    from hut_ci.power.lab_proof import write_proof

    with claimed(slot, lab_file, wait, "power test") as bench:
        proof, result = find_proof(bench.lab, bench.slot, bench.claims, bench.switch, on_try=tell)
        if proof and write:
            write_proof(bench.lab, slot, proof)
    answer(slot, result, as_json, found_text(proof, write), proof=proof)


@command.command(short_help="Switch on what a killed power cycle left off.")
@click.argument("slot", required=False)
@_options()
def repair(slot: str | None, lab_file: Path | None, as_json: bool, wait: float) -> None:
    """Switch on what a killed power cycle left off; without SLOT, on every slot.

    A slot in use is left alone: whoever has it has repaired it, or is cycling it now.

    \b
    Example:
      hut-ci power repair
    """
    from hut_ci.errors import PowerError

    lab = lab_at(lab_file)
    slots = [slot_of(lab, slot)] if slot else list(lab.slots)
    outcomes = {candidate.id: _repair(lab, candidate, lab_file, wait) for candidate in slots}
    of = {
        outcome: [name for name in outcomes if outcomes[name] == outcome] for outcome in ("repaired", "busy", "failed")
    }
    if as_json:
        click.echo(json.dumps(of))
    elif not any(of.values()):
        click.echo("Nothing to repair: no power cycle was cut short.")
    if of["failed"]:
        click.get_current_context().exit(PowerError.exit_code)


def _repair(lab: Lab, slot: Slot, lab_file: Path | None, wait: float) -> str:
    """`repaired`, `busy`, `failed`, or `fine`; the reason is told."""
    from hut_ci.errors import ConfigError, PowerError, SlotError
    from hut_ci.power.intent import needs_repair

    try:
        if not needs_repair(lab, slot):
            return "fine"
        with claimed(slot.id, lab_file, wait, "power repair") as bench:
            return "repaired" if bench.repaired else "fine"
    except SlotError as error:
        tell(f"{slot.id} is in use, and not repaired from here: {error}")
        return "busy"
    except (PowerError, ConfigError) as error:
        tell(f"{slot.id} may still be off: {error}. {error.todo}")
        return "failed"


def _switch(slot_id: str, lab_file: Path | None, as_json: bool, wait: float, *, on: bool) -> None:
    from hut_ci.deadline import Deadline
    from hut_ci.errors import PowerError
    from hut_ci.model import PowerResult
    from hut_ci.power.intent import forget
    from hut_ci.stages.power_results import failure

    with claimed(slot_id, lab_file, wait, f"power {'on' if on else 'off'}", repairing=on) as bench:
        deadline = Deadline(ON_OFF_WITHIN)
        try:
            bench.switch.exists(deadline)
            (bench.switch.on if on else bench.switch.off)(deadline)
            for other in (found for found in bench.lab.slots if found.id in bench.claims):
                forget(bench.lab, other, bench.switch)
            result = PowerResult("ok", "unproven", seconds=round(deadline.elapsed, 3))
        except PowerError as error:
            if not as_json:
                raise
            result = failure(error, deadline.elapsed)
    answer(slot_id, result, as_json, "on" if on else f"off, until: hut-ci power on {slot_id}")
