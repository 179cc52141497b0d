"""A report as a check run: the summary page on GitHub, with a remark in hut.yml for each statement that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hut_ci.reports.escaping import plain
from hut_ci.reports.markdown import markdown
from hut_ci.reports.status_text import status_text
from hut_ci.stages.project_source import NAME
from hut_ci.stages.publish import Annotation

# verdict → conclusion (docs: "Create a check run"); never `neutral` or `skipped`: branch rules take them for success
CONCLUSIONS = {"pass": "success", "fail": "failure", "cancelled": "cancelled"}
LAB = "action_required"


class CheckRuns(Protocol):
    def set_check_run(
        self,
        sha: str,
        name: str,
        conclusion: str,
        title: str,
        summary: str,
        annotations: Sequence[Annotation],
        details_url: str | None,
    ) -> None: ...


def check_run(forge: CheckRuns, document: Mapping[str, Any], sha: str, name: str, url: str | None) -> None:
    """Raises PublishError where the forge does not take it."""
    verdict = document["hardware"]["verdict"]["name"]
    conclusion = CONCLUSIONS.get(verdict, LAB)
    notes = remarks(document)
    forge.set_check_run(sha, name, conclusion, status_text(document), markdown(document), notes, url)


def remarks(document: Mapping[str, Any]) -> list[Annotation]:
    """One for each statement of hut.yml that failed; a lab error says nothing about a file."""
    if document["hardware"]["verdict"]["name"] != "fail":
        return []
    failed = [case for case in document["hardware"]["cases"] if case["outcome"] == "fail"]
    return [Annotation(NAME, 1, plain(case["name"]), plain(case["reason"] or "did not happen")) for case in failed]
