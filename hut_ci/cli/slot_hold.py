"""`hut-ci slots hold`, `release` and `steal`: a person at the bench and CI share one lock."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.durations import Duration, shown
from hut_ci.cli.slot_options import json_option, lab_option, named, tell

if TYPE_CHECKING:
    from hut_ci.model import Holder, Lab, Slot

LONGEST = 24 * 3600.0
"""Seconds. A hold that is forgotten must not keep a board over a weekend."""

HOLD_EXAMPLES = """
\b
Examples:
  hut-ci slots hold hut-01 --for 30m --why "debugging the PSRAM"
  hut-ci slots hold hut-01 --for 2h --why soldering --wait 10m
"""

RELEASE_EXAMPLES = """
\b
Example:
  hut-ci slots release hut-01
"""

STEAL_EXAMPLES = """
\b
Example:
  hut-ci slots steal hut-01 --why "the board smells" --for 1h
"""

why_option = click.option("--why", required=True, metavar="TEXT", help="What for: everybody who waits is told.")
for_option = click.option(
    "--for",
    "seconds",
    type=Duration(1.0, LONGEST),
    default="30m",
    show_default=True,
    metavar="TIME",
    help="When the hold ends by itself: 45s, 30m, 2h; a day at most.",
)


@click.command("hold", epilog=HOLD_EXAMPLES, short_help="Keep a slot for yourself for a while.")
@click.argument("slot_id", metavar="SLOT")
@for_option
@why_option
@click.option("--wait", type=Duration(), default="0", metavar="TIME", help="How long to queue. Default: not at all.")
@lab_option
@json_option
def hold(slot_id: str, seconds: float, why: str, wait: float, lab_path: Path | None, as_json: bool) -> None:
    """Keep SLOT for yourself: runs and other people queue behind you, and are told who you are.

    A small process holds the slot; it ends by itself, at the latest after --for, or by
    `hut-ci slots release`. While you hold it, use the board's port as you like; `hut-ci run`,
    `slots run`, `monitor` and `power` claim for themselves, so release it before.
    """
    from hut_ci.cancellation import cancellation
    from hut_ci.claims.holding import keeper
    from hut_ci.cli.composition import lab_at

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    with cancellation(), keeper(lab, slot, why, seconds=seconds, wait=wait) as started:
        event = started.until("held", lambda waiting: tell(waiting["text"]))
        _repair(lab, slot)
        started.detach()
    _answer(slot, event, seconds, as_json)


@click.command("release", epilog=RELEASE_EXAMPLES, short_help="End a hold.")
@click.argument("slot_id", metavar="SLOT")
@lab_option
@json_option
def release(slot_id: str, lab_path: Path | None, as_json: bool) -> None:
    """End the hold on SLOT; whoever waits longest has it next.

    Only what `hut-ci slots hold` made is released: a run ends by itself, or is cancelled where it runs.
    """
    from hut_ci.claims import flock
    from hut_ci.claims.ending import end_hold
    from hut_ci.cli.composition import lab_at

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    holder = flock.holder(lab, slot)
    if holder is not None:
        end_hold(lab, slot, holder)
    if as_json:
        click.echo(json.dumps({"slot": slot.id, "released": holder is not None}))
    elif holder is not None:
        click.echo(f"{slot.id} released")
    else:
        click.echo(f"{slot.id} is free{_loss(lab, slot)}")


@click.command("steal", epilog=STEAL_EXAMPLES, short_help="Take a slot from its holder (operator only).")
@click.argument("slot_id", metavar="SLOT")
@for_option
@why_option
@click.option(
    "--grace", type=Duration(0.0, 600.0), default="15s", show_default=True, metavar="TIME", help="For an orderly end."
)
@click.option("--yes", is_flag=True, help="Ask nothing: whoever holds it.")
@lab_option
@json_option
def steal(
    slot_id: str, seconds: float, why: str, grace: float, yes: bool, lab_path: Path | None, as_json: bool
) -> None:
    """End whatever holds SLOT and hold it instead, before all who wait.

    The holder is told to end (SIGTERM), so that a run still resets its board and reports
    "cancelled"; what is left after --grace is killed. Both sides keep a record of it. Only the
    operator may: root, or the owner of the lock folder; where no group shares that folder, the
    owner of the lock.
    """
    from hut_ci.cancellation import cancellation
    from hut_ci.claims import flock, notes
    from hut_ci.claims.ending import end_holder
    from hut_ci.claims.holding import keeper
    from hut_ci.cli.composition import lab_at
    from hut_ci.errors import SlotError

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    refuse_others(lab, slot)
    holder = flock.holder(lab, slot)
    if holder is None:
        raise SlotError(f"nobody holds {slot.id}", todo=f"hut-ci slots hold {slot.id} --why …")
    if not yes:
        _confirm(f"End {notes.who(holder)} on {slot.id}?")
    victim, ended = holder, ""

    def end(_waiting: dict[str, Any]) -> None:
        nonlocal victim, ended
        now = flock.holder(lab, slot)  # our place is before all others: it goes to nobody else from here on
        if not ended and now is not None:
            victim = now if yes else _still(slot, holder, now)
            ended = end_holder(lab, slot, victim, grace, lambda: _record(lab, slot, victim, why))

    with cancellation(), keeper(lab, slot, why, seconds=seconds, wait=grace + 120.0, front=True) as started:
        event = started.until("held", end)
        _repair(lab, slot)
        started.detach()
    tell(f"{slot.id} was taken from {notes.who(victim)}, which ended by {ended or 'itself'}")
    _answer(slot, event, seconds, as_json)


def _loss(lab: Lab, slot: Slot) -> str:
    """That somebody took our last claim, told once."""
    from hut_ci import proc
    from hut_ci.claims import steals
    from hut_ci.errors import ConfigError

    try:
        steal = steals.untold(lab, slot, proc.user_name(os.geteuid()))
    except ConfigError as error:
        tell(f"note: whether somebody took it from you cannot be read: {error}")
        return ""
    if steal is None:
        return ""
    steals.tell_once(lab, slot, steal)
    return f"; your last claim was {steal.text} ({steal.at_utc})"


def _confirm(question: str) -> None:
    """Raises UsageError where nobody is there to answer, Abort for a no."""
    from hut_ci.errors import UsageError

    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to confirm the steal", why="standard input is no terminal", todo="add --yes to mean it"
        )
    click.confirm(question, abort=True, err=True)


def _still(slot: Slot, asked: Holder, now: Holder) -> Holder:
    """Whom the operator was asked about. Raises SlotError where somebody else has the slot by now."""
    from hut_ci.claims import notes
    from hut_ci.errors import SlotError

    if (asked.pid, asked.since_utc) != (now.pid, now.since_utc):
        raise SlotError(
            f"{slot.id} is held by {notes.who(now)} by now, and nobody was ended",
            why=f"you were asked about {notes.who(asked)}",
            todo="call this command again, or with --yes to mean whoever holds it",
        )
    return now


def _record(lab: Lab, slot: Slot, holder: Holder, why: str) -> None:
    """Our side of it; the holder finds it when it ends, and adds its own. A full disk does not keep a slot from us."""
    from hut_ci import proc
    from hut_ci.claims import steals
    from hut_ci.errors import ConfigError

    try:
        steals.record(lab, slot, "taken", holder, proc.user_name(os.geteuid()), why)
    except ConfigError as error:
        tell(f"note: the steal could not be recorded, and its holder will not learn of it: {error}")


def refuse_others(lab: Lab, slot: Slot) -> None:
    """Raises Refused for everybody but the operator."""
    from hut_ci.claims.steals import operators
    from hut_ci.errors import Refused

    if os.geteuid() not in operators(lab, slot):
        raise Refused(
            "only the operator takes a slot from somebody",
            why=f"that is root, or the owner of the lock folder {lab.lock_dir}",
            todo="ask the holder, queue with `hut-ci slots hold --wait 30m`, or ask the operator",
        )


def _answer(slot: Slot, event: dict[str, Any], seconds: float, as_json: bool) -> None:
    """What is held, until when; a program that has the port open is named."""
    from hut_ci.claims import flock

    for name in slot.serial:
        if found := flock.who_holds(name):
            tell(f"note: {name} is open in {found.program} (pid {found.pid}, {found.user})")
    if as_json:
        facts = {"slot": slot.id, "pid": event["pid"], "since_utc": event["utc"], "until_utc": event["until"]}
        click.echo(json.dumps({**facts, "serial": list(slot.serial)}))
        return
    click.echo(f"{slot.id} is yours for {shown(seconds)}, at {slot.serial[0]}; sooner: hut-ci slots release {slot.id}")


def _repair(lab: Lab, slot: Slot) -> None:
    """Switch on what an earlier process left off: our own keeper has the slot, which is the permission.

    Before the hold stays: whoever cancels this has no hold.
    """
    from hut_ci.cli.slot_claim import switch_on_again
    from hut_ci.errors import PowerError

    try:
        switch_on_again(lab, slot)
    except PowerError as error:
        todo = error.todo or f"look at it with `hut-ci power status {slot.id}`, then `hut-ci power repair {slot.id}`"
        tell(f"note: {slot.id} may be without power: {error}; {todo}")
