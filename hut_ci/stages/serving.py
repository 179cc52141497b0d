"""Which slots cannot be served, as far as that is known before a job queues for them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hut_ci.model import Evidence, Pair, Slot

EVERY_RUNNER = "self-hosted"
"""The label that a job names beside the slot's."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A self-hosted runner as its forge lists it; `labels` in lower case, because GitHub tells none apart by case."""

    labels: frozenset[str]
    online: bool


def blocked_by(slot: Slot, runners: Sequence[Runner] | None) -> str | None:
    """The evidence (a row of evidence.yml) that a job for `slot` would only wait; None where nothing speaks for it.

    Without a list of runners (None) it is not known who serves the slot. A busy runner is one to wait for.
    """
    if slot.quarantined is not None:
        return "slot_quarantined"
    if runners is None:
        return None
    serving = [runner for runner in runners if {EVERY_RUNNER, slot.label.lower()} <= runner.labels]
    if not serving:
        return "runner_absent"
    return None if any(runner.online for runner in serving) else "runner_offline"


def evidence(pair: Pair) -> Evidence:
    """Why a pair is blocked, for its status."""
    assert pair.blocked is not None
    fields = {"what": f"{pair.slot} is quarantined: set aside by its operator", "label": pair.label or pair.slot}
    return Evidence(pair.blocked, fields)
