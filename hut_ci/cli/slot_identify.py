"""Asking a board that is not in lab.yml yet who it is: under a claim on its future slot."""

from __future__ import annotations

from collections.abc import Callable

from hut_ci.board.line import open_line
from hut_ci.claims import flock
from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError, FlashError, HutCiError, SlotError
from hut_ci.esptool.call import SYNC_BAUD, Esptool
from hut_ci.esptool.progress import Progress
from hut_ci.esptool.session import Session
from hut_ci.model import Board, Evidence, FlashPlan, Lab, Slot
from hut_ci.process import private_folder
from hut_ci.stages.slot import Note, present, take
from hut_ci.stages.verdict import sentence

CLAIM_SECONDS = 10.0
IDENTIFY_SECONDS = 60.0
_ERRORS: dict[str, type[HutCiError]] = {"port_held": SlotError, "flash_failed": FlashError, "flash_timeout": FlashError}


def identify(lab: Lab, slot: Slot, say: Callable[[str], None]) -> Board:
    """What the chip on `slot` says of itself; the board is restarted afterwards.

    Raises SlotError for a port in use or absent, BoardError or FlashError for a board that does not answer.
    """
    with take(flock, lab, (slot,), Note(why="hut-ci slots add"), Deadline(CLAIM_SECONDS), say):
        port = present(slot)
        advice: list[str] = []

        def on_progress(event: Progress) -> None:
            if event.stage == "failed":
                advice.append(event.text)
            elif event.stage in ("connect", "identify"):
                say(f"  {event.text}")

        with private_folder() as work:
            session = Session(
                Esptool(),
                port,
                FlashPlan((), slot.facts.chip, "none"),
                work / "esptool.log",
                Deadline(IDENTIFY_SECONDS),
                SYNC_BAUD,
                on_progress,
                _holder_of,
            )
            found = session.identify()
        if isinstance(found, Evidence):
            raise _error(port, found, advice)
        _restart(port, say)
        return found


def _holder_of(port: str) -> tuple[str, str]:
    holder = flock.who_holds(port)
    return (holder.program, str(holder.pid)) if holder else ("another program", "unknown")


def _error(port: str, evidence: Evidence, advice: list[str]) -> HutCiError:
    cause, _, remedy = (advice[-1] if advice else "").partition("; try: ")
    return _ERRORS.get(evidence.id, BoardError)(
        f"{port}: {sentence(evidence).removeprefix('lab error: ')}",
        why=cause or "esptool could not talk to the chip",
        todo=remedy or "check cable and supply, hold BOOT while the board is plugged in, then try again",
        evidence=evidence.id,
        fields=evidence.fields,
    )


def _restart(port: str, say: Callable[[str], None]) -> None:
    """Out of the loader that identifying leaves it in; a pty boots its board when it is opened."""
    try:
        with open_line(port) as line:
            line.reset()
    except (BoardError, SlotError) as error:
        say(f"  the board stays in its loader until it is reset: {error}")
