"""What comes after an attempt that did not pass: a pure ladder over the evidence and the steps already taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hut_ci.model import Evidence, Step
from hut_ci.stages.verdict import table

# How often each step may be taken in one run: recovery is bounded (design: reset → reflash → power cycle).
LIMITS = {Step.RESET: 1, Step.REFLASH: 2, Step.POWER_CYCLE: 1, Step.GOLDEN: 1}


def next_step(evidence: Evidence, history: Sequence[Step], available: Collection[Step]) -> Step | None:
    """The weakest step that the evidence's row allows, the slot offers and the run has not used up.

    None: the evidence is final. `history` holds the steps of this run in order, whatever evidence led to
    them, so the whole ladder is bounded even when the evidence changes from attempt to attempt.
    """
    for step in table()[evidence.id].next:
        if step in available and history.count(step) < LIMITS[step]:
            return step
    return None
