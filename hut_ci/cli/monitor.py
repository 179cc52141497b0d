"""`hut-ci monitor`: hold a slot, watch its console and type into it, release it."""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.durations import Duration
from hut_ci.cli.slot_options import lab_option, named, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from hut_ci.deadline import Deadline
    from hut_ci.model import Slot

EXAMPLES = """
\b
Examples:
  hut-ci monitor hut-01                    until Ctrl-C
  hut-ci monitor hut-01 --reset --for 10s  the first ten seconds of a boot
"""
PORT_RETURNS_WITHIN = 10.0
"""Seconds; USB re-enumeration after a reset or a power cycle takes one to four."""


@click.command("monitor", epilog=EXAMPLES)
@click.argument("slot_id", metavar="SLOT")
@click.option("--for", "seconds", type=Duration(0.1), metavar="TIME", help="How long. [default: until Ctrl-C]")
@click.option("--baud", type=click.IntRange(300, 4_000_000), default=115200, show_default=True, help="Of the console.")
@click.option("--reset", is_flag=True, help="Restart the board first, to see it boot.")
@click.option("--wait", type=Duration(), default="0", metavar="TIME", help="How long to queue. Default: not at all.")
@click.option("--why", default="monitor", show_default=True, metavar="TEXT", help="Whoever waits is told.")
@lab_option
def command(
    slot_id: str, seconds: float | None, baud: int, reset: bool, wait: float, why: str, lab_path: Path | None
) -> None:
    """Hold SLOT and show what its board prints; typed lines are sent to it. Ctrl-C releases the slot.

    What `redact:` of lab.yml names is not shown, and nothing that the board prints can command
    the terminal. A port that vanishes, as on a power cycle, is waited for.
    """
    from hut_ci.cancellation import cancellation
    from hut_ci.cli.composition import lab_at, redactor_of
    from hut_ci.cli.slot_claim import held
    from hut_ci.deadline import Deadline
    from hut_ci.errors import Cancelled
    from hut_ci.reports.escaping import ci_log

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    redactor = redactor_of(lab)

    def show(text: str) -> None:
        click.echo(ci_log(redactor.text(text)), nl=False)
        sys.stdout.flush()

    watching = False
    try:
        with cancellation(), held(lab, slot, why, wait):
            watching = True
            tell(f"{slot.id} is yours; Ctrl-C releases it")
            _watch(slot, baud, reset, show, Deadline(math.inf if seconds is None else seconds))
    except Cancelled as error:
        if error.signal_number != signal.SIGINT or not watching:
            tell(f"hut-ci: {error.fields['name']}")
            raise


def _watch(slot: Slot, baud: int, reset: bool, show: Callable[[str], None], deadline: Deadline) -> None:
    from hut_ci.board.console import converse
    from hut_ci.board.line import open_line
    from hut_ci.deadline import Deadline
    from hut_ci.errors import BoardError
    from hut_ci.stages.slot import wait_for_port

    typed: int | None = None if sys.stdin is None else sys.stdin.fileno()
    while not deadline.expired:
        try:
            with open_line(wait_for_port(slot, Deadline(PORT_RETURNS_WITHIN)), baud) as line:
                if reset:
                    line.reset()
                    reset = False
                typed = converse(line, show, typed, deadline, _refuse_deserted)
        except BoardError as error:
            if error.evidence != "port_gone":
                raise
            tell(f"note: {error}; waiting for it to return")


def _refuse_deserted() -> None:
    """Raises BrokenPipeError once nobody reads what we show: a silent board would never let us write, and notice."""
    if sys.stdout is None:
        return
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # POLLERR and POLLHUP are always told
    if poll.poll(0):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
