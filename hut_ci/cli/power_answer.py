"""What the commands of `hut-ci power` answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hut_ci.cli.json_answers import give

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
    where = "written to lab.yml" if written else "put it into lab.yml, by hand or with --write"
    return f"proof: {proof} ({meaning}); {where}"


def proof_text(slot: Slot, result: PowerResult) -> str:
    """How far a cycle is to be believed."""
    return f"proven by {slot.power.proof}" if result.proven else "unproven: hut-ci power test finds a proof"


def answer(slot: Slot, result: PowerResult, as_json: bool, text: str, **more: str | None) -> None:
    """Print the result. Raises PowerError (exit code 7) for anything but `ok`."""
    from hut_ci.errors import PowerError

    if as_json:
        give({"slot": slot.id, **asdict(result), **more})
    elif result.result == "ok":
        click.echo(f"{slot.id}: {text}, {result.seconds:.1f} s")
    if result.result != "ok":
        raise PowerError(
            f"{slot.id}: {result.result} ({result.detail}): {result.text}",
            todo=NO_SWITCH if result.detail == "no_switch" else f"hut-ci power status {slot.id}",
            fields={"detail": result.detail},
        )


@contextmanager
def results(
    slot: Slot, as_json: bool, on_failure: Callable[[PowerResult], None] = lambda _: None, **more: str | None
) -> Iterator[None]:
    """Whatever is in the way is a result, too: a power error's own (exit code 7), `slot_busy` (exit code 4).

    `on_failure` is told of it, and with `--json` the program that called.
    """
    from hut_ci.deadline import Deadline
    from hut_ci.errors import PowerError, SlotError
    from hut_ci.model import PowerResult
    from hut_ci.stages.power_results import failure

    began = Deadline(0.0)
    try:
        yield
    except (PowerError, SlotError) as error:
        if isinstance(error, PowerError):
            result = failure(error, began.elapsed)
        else:
            result = PowerResult("timeout", "slot_busy", seconds=round(began.elapsed, 3), text=error.what)
        on_failure(result)
        if as_json:
            give({"slot": slot.id, **asdict(result), **more})
        raise
