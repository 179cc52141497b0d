"""A run between two writings of the lab's own build, everything else erased: nothing is found, nothing is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hut_ci.claims import flock
from hut_ci.claims.steals import taken_from
from hut_ci.errors import Cancelled, ConfigError
from hut_ci.model import Evidence, FlashSettings, Project, VerdictName
from hut_ci.run import new_report, run
from hut_ci.stages.project_source import Found
from hut_ci.stages.verdict import judge

if TYPE_CHECKING:
    from hut_ci.board.port_holder import PortHolder
    from hut_ci.model import Claim, Lab, Report, Slot
    from hut_ci.run import Order, Tools

WHOLE = Project(flash=FlashSettings(erase=("all",)))


def between_baselines(baseline: Path, order: Order, tools: Tools) -> Report:
    """The report of the run; one that says so where the baseline could not be written before it.

    The slot is claimed once for all three: nobody gets a stranger's firmware, or leaves it something to find.
    """
    with ExitStack() as kept:
        claims = KeptClaim(kept)
        tools = replace(tools, claims=claims)
        before = _restore(baseline, order, tools)
        if before.verdict.evidence.id == "cancelled" or claims.is_stolen():
            return _cancelled(before, order, tools)
        if before.verdict.name is not VerdictName.PASS:
            reason = f"the lab's baseline could not be restored: {before.verdict.sentence}"
            failed = judge(Evidence("flash_failed", {"reason": reason}))
            report = replace(new_report(order), verdict=failed, partial=False)
            tools.write(report)
            return report
        report = run(order, tools)
        if claims.is_stolen():
            return report
        after = _restore(baseline, replace(order, not_after=None), tools)  # also where nobody waits any longer
        if after.verdict.name is not VerdictName.PASS:
            note = f"the lab's baseline could not be restored afterwards: {after.verdict.sentence}"
            report = replace(report, notes=(*report.notes, note))
            tools.write(report)
        return report


def _cancelled(before: Report, order: Order, tools: Tools) -> Report:
    """Of a run that was ended before it began: it is no fault of the baseline, and may be begun again."""
    verdict = before.verdict
    if verdict.evidence.id != "cancelled":  # stolen so late that the first writing had its verdict
        late = Cancelled(signal.SIGTERM)
        verdict = judge(Evidence(late.evidence, late.fields))
    report = replace(new_report(order), verdict=verdict, partial=False)
    tools.write(report)
    return report


def _restore(baseline: Path, order: Order, tools: Tools) -> Report:
    """A run of its own, whose report stays here."""
    own = replace(
        order, build=baseline, variant=None, work=order.work / "baseline", skip_tested=False, pull_request=None
    )
    own.work.mkdir(exist_ok=True)
    quiet = replace(
        tools,
        project=lambda: Found(WHOLE),
        checkpoint=lambda _report, _stage: None,
        write=lambda _report: None,
        deliver=lambda _report: None,
        announce=lambda _report, _text: None,
    )
    return run(own, quiet)


class KeptClaim:
    """Claims of which the first one is kept, for the runs after it, as long as `kept` is open."""

    def __init__(self, kept: ExitStack) -> None:
        self._kept = kept
        self._held: tuple[Lab, Slot, Claim] | None = None

    @contextmanager
    def claim_any(self, lab: Lab, slots: Sequence[Slot], **how: Any) -> Iterator[Claim]:
        if self._held is None:
            claim = self._kept.enter_context(flock.claim_any(lab, slots, **how))
            self._held = lab, next(slot for slot in slots if slot.id == claim.slot_id), claim
        with flock.told_of_steal(*self._held):
            yield self._held[2]

    def who_holds(self, path: str) -> PortHolder | None:
        return flock.who_holds(path)

    def is_stolen(self) -> bool:
        """Whether an operator has taken the slot: it is not ours to write to any more."""
        if self._held is None:
            return False
        lab, slot, claim = self._held
        with suppress(ConfigError):
            return taken_from(lab, slot, claim.holder) is not None
        return True  # who may write there now, nobody knows
