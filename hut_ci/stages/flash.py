"""flash: a claimed slot and a plan → every byte of the plan on the chip, or the evidence of why not.

Two esptool calls: who is there (compared with lab.yml, before anything is written), then write what differs.
Afterwards the chip is still in its loader, so that the suite can listen from the first byte of the boot.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hut_ci.deadline import Deadline
from hut_ci.esptool.call import Esptool
from hut_ci.esptool.output import TRANSFER_ERRORS
from hut_ci.esptool.pieces import reads_as_hex
from hut_ci.esptool.progress import Progress
from hut_ci.esptool.session import Session
from hut_ci.model import Board, Claim, Evidence, Facts, FlashPlan, FlashResult, Slot

BAUD_LADDER = (921600, 460800, 230400, 115200)
"""Rates that every USB bridge has; a transfer error steps down once."""
RETRIES = 2
"""Extra calls after transfer errors in one attempt: esptool itself cannot recover from a lost or doubled answer."""


def flash(
    claim: Claim,
    slot: Slot,
    plan: FlashPlan,
    *,
    port: str,
    work: Path,
    deadline: Deadline,
    baud: int | None = None,
    baud_ladder: tuple[int, ...] = BAUD_LADDER,
    retries: int = RETRIES,
    on_progress: Callable[[Progress], None] = lambda _: None,
    holder_of: Callable[[str], tuple[str, str]] = lambda _: ("unknown", "unknown"),
    esptool: Esptool | None = None,
) -> FlashResult:
    """Write `plan` to the board of `slot`, skipping what the chip holds already.

    `port` is a device path or `rfc2217://host:port`; `baud` the rate to start with (default: the slot's), usually
    `next_baud` of the previous attempt's. `holder_of(port)` names the program and pid that have a busy port open.
    All of esptool's text is appended to `work/esptool.log`. Nothing that a board or a line does raises.
    Raises ValueError where `claim` is not for this slot, FlashError where esptool is not installed.
    """
    if claim.slot_id != slot.id:
        raise ValueError(f"a claim on {claim.slot_id} does not allow flashing {slot.id}")
    log = work / "esptool.log"
    began = deadline.elapsed
    session = Session(esptool or Esptool(), port, plan, log, deadline, baud or slot.baud, on_progress, holder_of)
    evidence = unusable(port) or _hostile_file(plan) or _converse(session, slot.facts, baud_ladder, retries)
    on_chip = plan.bytes_total if evidence is None else 0
    return FlashResult(
        evidence=evidence,
        board=session.board,
        baud=session.baud,
        written=session.written,
        skipped=max(0, on_chip - session.written),
        seconds=deadline.elapsed - began,
        log=log if log.exists() else None,
    )


def _converse(session: Session, facts: Facts, ladder: tuple[int, ...], retries: int) -> Evidence | None:
    """Identify, compare, write; a transfer error in either call buys up to `retries` more calls."""
    while True:
        evidence = session.identify() if session.board is None else session.write()
        if isinstance(evidence, Board):
            evidence = mismatch(facts, session.plan, evidence) or session.write()
        if evidence is None or evidence.id not in TRANSFER_ERRORS or retries == 0 or session.deadline.expired:
            return evidence
        retries -= 1
        if evidence.id == "link_error" and session.board is not None:
            session.baud = next_baud(session.baud, ladder) or session.baud
        session.on_progress(Progress("retry", f"{evidence.fields['reason']}: again at {session.baud} baud"))


def next_baud(baud: int, ladder: tuple[int, ...] = BAUD_LADDER) -> int | None:
    """The next lower rate of `ladder`, None at its foot."""
    return max((rate for rate in ladder if rate < baud), default=None)


def unusable(port: str) -> Evidence | None:
    """What can be said of a port without opening it."""
    if "://" in port or Path(port).exists():
        return None
    return Evidence("port_gone", {"reason": "no such device"})


def mismatch(facts: Facts, plan: FlashPlan, board: Board) -> Evidence | None:
    """Why this board must not be written: not the one that lab.yml describes, or not one that can run the build."""
    if board.chip != facts.chip:
        return Evidence("wrong_chip", {"found": board.chip, "wanted": facts.chip})
    if facts.mac and board.mac and _bare(facts.mac) != _bare(board.mac):
        return Evidence("wrong_mac")
    what = _misfit(plan, board)
    return Evidence("does_not_fit", {"what": f"{what}; nothing was written"}) if what else None


def _misfit(plan: FlashPlan, board: Board) -> str | None:
    if board.chip != plan.chip:
        return f"the build is for {plan.chip}, the board is an {board.chip}"
    if board.revision and plan.min_revision and board.revision < plan.min_revision:
        return f"the build needs chip revision {_v(plan.min_revision)} or newer, the board is {_v(board.revision)}"
    if board.revision and plan.max_revision and board.revision > plan.max_revision:
        return f"the build runs up to chip revision {_v(plan.max_revision)}, the board is {_v(board.revision)}"
    if board.flash and plan.flash_needed > board.flash:
        return f"the build needs {plan.flash_needed >> 10} KiB of flash, the board has {board.flash >> 10} KiB"
    return None


def _hostile_file(plan: FlashPlan) -> Evidence | None:
    if (piece := reads_as_hex(plan)) is None:
        return None
    return Evidence("not_flashable", {"what": f"{piece.part.name} reads as an Intel HEX file at {piece.offset:#x}"})


def _bare(mac: str) -> str:
    return mac.lower().replace("-", ":")


def _v(revision: tuple[int, int]) -> str:
    return f"v{revision[0]}.{revision[1]}"
