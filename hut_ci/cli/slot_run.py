"""`hut-ci slots run`: somebody's own command, on a slot that is held for it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci import process
from hut_ci.cli.durations import Duration
from hut_ci.cli.slot_options import lab_option, named, tell

if TYPE_CHECKING:
    from hut_ci.model import Lab, Slot

EXAMPLES = """
\b
Examples:
  hut-ci slots run hut-01 -- esptool flash-id
  hut-ci slots run hut-01 --wait 1h -- idf.py flash monitor
  hut-ci slots run hut-01 --pass WIFI_PASSWORD -- sh -c 'pytest --port $HUT_CI_PORT'

\b
The command finds, in its environment, HUT_CI_SLOT, HUT_CI_LABEL, HUT_CI_PORT, HUT_CI_BAUD,
HUT_CI_CHIP, HUT_CI_REVISION, HUT_CI_FLASH, HUT_CI_PSRAM, HUT_CI_MAC, HUT_CI_TAGS, HUT_CI_LAB,
and the port under the names that esptool and idf.py read (ESPTOOL_PORT, ESPPORT). Variables
that look like credentials (GITHUB_TOKEN, CI_JOB_TOKEN, WIFI_PASSWORD), or repeat the value of
one, are kept from it but for those that --pass names.
Exit codes: the command's; 128 + N after signal N; 127 no such command; 4 no slot in time.
"""


@click.command("run", epilog=EXAMPLES, short_help="Run a command while a slot is held for it.")
@click.argument("slot_id", metavar="SLOT")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--wait", type=Duration(), default="10m", show_default=True, metavar="TIME", help="How long to queue.")
@click.option("--why", metavar="TEXT", help="What for. [default: the command's name]")
@click.option(
    "--pass", "passed", multiple=True, metavar="NAME", help="A credential that COMMAND needs; again for more."
)
@lab_option
def run(
    slot_id: str, argv: tuple[str, ...], wait: float, why: str | None, passed: tuple[str, ...], lab_path: Path | None
) -> int:
    """Hold SLOT, run COMMAND, release SLOT.

    Signals are passed on to the command, and its exit code is this one's. It cannot keep the
    slot: all that it started and left running, in the background or as a daemon, is killed when
    it ends.
    """
    from hut_ci import proc
    from hut_ci.cancellation import cancellation
    from hut_ci.claims import flock
    from hut_ci.claims.command import NOT_EXECUTABLE, NOT_FOUND, run_command
    from hut_ci.cli.composition import lab_at
    from hut_ci.cli.slot_claim import held
    from hut_ci.stages.slot import present

    lab = lab_at(lab_path)
    slot = named(lab, slot_id)
    program = os.path.basename(argv[0])  # noqa: PTH119 (arguments may hold secrets, and the note is for everybody)
    with cancellation(), held(lab, slot, why or f"slots run: {program}", wait) as claim:
        try:
            env = {**_inherited(lab, passed), **facts(lab, slot, present(slot))}
            code, left = run_command(argv, env, lambda pid: flock.is_guardian(lab, pid))
        except OSError as error:
            tell(f"hut-ci: {argv[0]} cannot be started: {error.strerror}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        for pid in left:
            tell(f"note: {program} left pid {pid} ({proc.program(pid)}, {proc.user(pid)}), which is not ours to end")
        if steal := flock.lost(lab, slot, claim):
            tell(f"hut-ci: {slot.id} was {steal.text}")
    return code


def facts(lab: Lab, slot: Slot, port: str) -> dict[str, str]:
    """The slot as environment variables; what is not known of the board is empty."""
    from hut_ci.units import format_revision, format_size

    board = slot.facts
    return {
        "HUT_CI_LAB": str(lab.path.absolute()),
        "HUT_CI_SLOT": slot.id,
        "HUT_CI_LABEL": slot.label,
        "HUT_CI_PORT": port,
        "HUT_CI_BAUD": str(slot.baud),
        "HUT_CI_CHIP": board.chip,
        "HUT_CI_REVISION": format_revision(board.revision) if board.revision else "",
        "HUT_CI_FLASH": "" if board.flash is None else format_size(board.flash),
        "HUT_CI_PSRAM": "" if board.psram is None else format_size(board.psram),
        "HUT_CI_MAC": board.mac or "",
        "HUT_CI_TAGS": ",".join(sorted(board.tags)),
        "ESPPORT": port,
        "ESPTOOL_PORT": port,
    }


def _inherited(lab: Lab, passed: Collection[str]) -> Mapping[str, str]:
    """Our environment without credentials: the lab's own never, others only where `passed` names them."""
    own = {lab.home_assistant.token_env} if lab.home_assistant else set()
    return process.without_credentials(os.environ, keep=set(passed) - own, drop=own)
