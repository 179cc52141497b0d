"""A run between two writings of the lab's own build, everything else erased: nothing is found, nothing is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hut_ci.model import Evidence, FlashSettings, Project, VerdictName
from hut_ci.run import new_report, run
from hut_ci.stages.project_source import Found
from hut_ci.stages.verdict import judge

if TYPE_CHECKING:
    from hut_ci.model import Report
    from hut_ci.run import Order, Tools

WHOLE = Project(flash=FlashSettings(erase=("all",)))


def between_baselines(baseline: Path, order: Order, tools: Tools) -> Report:
    """The report of the run; one that says so where the baseline could not be written before it."""
    before = _restore(baseline, order, tools)
    if before.verdict.name is not VerdictName.PASS:
        reason = f"the lab's baseline could not be restored: {before.verdict.sentence}"
        report = replace(new_report(order), verdict=judge(Evidence("flash_failed", {"reason": reason})), partial=False)
        tools.write(report)
        return report
    report = run(order, tools)
    _restore(baseline, order, tools)
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
