"""Commit statuses and check runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hut_ci.errors import PublishError
from hut_ci.forges.fields import as_optional_text, as_text
from hut_ci.forges.github.api import GitHubApi
from hut_ci.reports.status_text import GITHUB_LIMIT
from hut_ci.stages.publish import Annotation, Posted, known_before

STATUSES = "`statuses: write`"
CHECKS = "`checks: write` (an app's token: that of a workflow is one)"
OURS = "hut-ci"
"""`external_id` of our check runs, which tells them from another app's of the same name."""
ANNOTATIONS = 50
"""At most in one request (docs: "Create a check run")."""


@dataclass(frozen=True, slots=True)
class GitHubStatuses:
    """The statuses of one repository's commits. Every method raises PublishError where GitHub does not take it.

    Without `look_first` a status is posted even if it stands there already: who is in a hurry saves a request.
    """

    api: GitHubApi
    look_first: bool = True
    vocabulary: ClassVar[Literal["github"]] = "github"
    description_limit: ClassVar[int] = GITHUB_LIMIT

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None = None) -> None:
        """Post a status, unless the last one of this context says the same already (1000 of one context are taken)."""
        if Posted(context, state, description, target_url) in known_before(self, sha):
            return
        body = {"state": state, "context": context, "description": description}
        if target_url and target_url.startswith(("https://", "http://")):
            body["target_url"] = target_url
        with self.api.asking(PublishError, f"post a status on {sha[:12]}", STATUSES):
            self.api.send("POST", f"statuses/{sha}", body)

    def statuses(self, sha: str) -> list[Posted]:
        """The last status of each context of a commit."""
        with self.api.asking(PublishError, f"read the statuses of {sha[:12]}", STATUSES):
            return [_posted(status) for status in self.api.pages(f"commits/{sha}/status", "statuses")]

    def set_check_run(
        self,
        sha: str,
        name: str,
        conclusion: str,
        title: str,
        summary: str,
        annotations: Sequence[Annotation],
        details_url: str | None,
    ) -> None:
        """A completed check run, unless ours says the same already: a newer one of a name takes an older one's place.

        An older one is not changed, because GitHub would add the annotations to those that it has.
        """
        output = {"title": title, "summary": summary[:65535], "annotations": _annotations(annotations[:ANNOTATIONS])}
        body: dict[str, Any] = {
            "name": name,
            "external_id": OURS,
            "status": "completed",
            "conclusion": conclusion,
            "output": output,
        }
        if details_url and details_url.startswith(("https://", "http://")):
            body["details_url"] = details_url
        with self.api.asking(PublishError, f"write the check run {name}", CHECKS):
            runs = self.api.pages(f"commits/{sha}/check-runs", "check_runs", check_name=name)
            same = [run for run in runs if run.get("external_id") == OURS and _says(run, conclusion, title)]
            if not same:
                self.api.send("POST", "check-runs", {**body, "head_sha": sha})


def _posted(data: Mapping[str, Any]) -> Posted:
    return Posted(
        as_text(data["context"]),
        as_text(data["state"]),
        as_optional_text(data.get("description")) or "",
        as_optional_text(data.get("target_url")),
    )


def _says(run: Mapping[str, Any], conclusion: str, title: str) -> bool:
    return bool(run.get("conclusion") == conclusion and (run.get("output") or {}).get("title") == title)


def _annotations(annotations: Sequence[Annotation]) -> list[dict[str, Any]]:
    return [
        {
            "path": note.path,
            "start_line": note.line,
            "end_line": note.line,
            "annotation_level": "failure",
            "title": note.title[:255],
            "message": note.message[:4000],
        }
        for note in annotations
    ]
