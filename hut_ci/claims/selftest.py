"""Proof that the slots of this lab exclude each other as they should, by real processes and this host's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from hut_ci.claims.holding import Keeper, keeper
from hut_ci.model import Lab, Slot

WHY = "slots selftest"
HOLD_SECONDS = 120.0
QUEUE_SECONDS = 60.0
"""For the second of one slot, which always has to queue: behind the first, and behind others who came before it."""


@dataclass(frozen=True, slots=True)
class Span:
    """How long one process had one slot; seconds of CLOCK_MONOTONIC."""

    slot: str
    pid: int
    held: float
    released: float


def selftest(lab: Lab, one: Slot, other: Slot, wait: float, log: Callable[[str], None]) -> tuple[Span, ...]:
    """Two processes on `one`, a third on `other`; `log` is told every step with its instant.

    The second has to queue until the first lets go, and the third to hold while the first does. Nothing is sent to
    a board. Raises SlotError where a slot is not free within `wait` seconds.
    """
    with ExitStack() as running:

        def start(slot: Slot, wait: float) -> Keeper:
            return running.enter_context(keeper(lab, slot, WHY, seconds=HOLD_SECONDS, wait=wait))

        def held(claimant: Keeper, slot: Slot) -> dict[str, Any]:
            """Whoever else has the slot is logged, too."""
            return _log(log, slot, claimant.until("held", lambda event: _log_other(log, slot, event, first.pid)))

        first = start(one, wait)
        held_first = held(first, one)
        second = start(one, max(wait, QUEUE_SECONDS))
        queued = _log(log, one, next(second.events()))
        third = start(other, wait)
        held_third = held(third, other)
        first.release()
        left_first = _log(log, one, first.until("released"))
        # Where the lock excludes nobody, the second holds already.
        held_second = queued if queued["event"] == "held" else held(second, one)
        third.release()
        left_third = _log(log, other, third.until("released"))
        second.release()
        left_second = _log(log, one, second.until("released"))
    pairs = [(one, held_first, left_first), (one, held_second, left_second), (other, held_third, left_third)]
    return tuple(Span(slot.id, held["pid"], held["t"], left["t"]) for slot, held, left in pairs)


def problems(spans: Sequence[Span]) -> list[str]:
    """What is wrong with these spans, a sentence each: one slot has to serialise, different slots have to overlap."""
    found = []
    for number, span in enumerate(spans):
        for other in spans[number + 1 :]:
            overlap = max(span.held, other.held) < min(span.released, other.released)
            if span.slot == other.slot and overlap:
                found.append(f"pid {span.pid} and pid {other.pid} held {span.slot} at the same time")
    apart = [(a, b) for a in spans for b in spans if a.slot < b.slot]
    if apart and not any(max(a.held, b.held) < min(a.released, b.released) for a, b in apart):
        found.append("no two slots were held at the same time")
    return found


def _log_other(log: Callable[[str], None], slot: Slot, event: dict[str, Any], ours: int) -> None:
    if event["holder"] not in (None, ours):
        _log(log, slot, event)


def _log(log: Callable[[str], None], slot: Slot, event: dict[str, Any]) -> dict[str, Any]:
    text = f" ({event['text']})" if event["event"] == "waiting" else ""
    log(f"{event['utc']} monotonic={event['t']:.6f} pid={event['pid']} {slot.id} {event['event']}{text}")
    return event
