"""Reports that the publisher writes itself, about runs that will never be: valid ones, so that one way leads out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hut_ci.model import Evidence, Pair, Request
from hut_ci.reports.json_document import to_document
from hut_ci.stages.report import partial
from hut_ci.stages.verdict import judge
from hut_ci.units import utc_now


def report_of(request: Request, pair: Pair, evidence: Evidence, lab: str) -> Mapping[str, Any]:
    """A ws2.report.v1 that says why the pair was not tested."""
    started = partial(
        f"HUT-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-watch",
        utc_now(),
        lab=lab,
        slot=pair.slot,
        lock_key=pair.slot,
        variant=pair.variant,
        commit_sha=request.commit_sha,
        repository=request.repository,
    )
    return to_document(replace(started, verdict=judge(evidence), partial=False))
