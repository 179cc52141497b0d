"""External commit statuses, for commits of another project than the one whose job we run in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gitlab.exceptions import GitlabHttpError

from hut_ci.errors import PublishError
from hut_ci.forges.fields import as_optional_text, as_text
from hut_ci.forges.gitlab.api import GitLabApi
from hut_ci.reports.status_text import GITLAB_LIMIT
from hut_ci.stages.publish import Posted, known_before

WRITE = "the scope `api`, role Developer"
STUCK = "Cannot transition status"
STARTED = frozenset({"pending", "running"})


@dataclass(frozen=True, slots=True)
class GitLabStatuses:
    """The external statuses of one project's commits. Every method raises PublishError where GitLab refuses.

    Without `look_first` a status is posted even if it stands there already: who is in a hurry saves a request.
    """

    api: GitLabApi
    look_first: bool = True
    vocabulary: ClassVar[Literal["gitlab"]] = "gitlab"
    description_limit: ClassVar[int] = GITLAB_LIMIT

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None = None) -> None:
        """Post a status, unless the last one of this context says the same already.

        GitLab refuses to move some states to others, and a state to itself. That a run has begun again on a commit
        with a final state cannot always be shown; its end can.
        """
        before = known_before(self, sha)
        if Posted(context, state, description, target_url) in before:
            return
        body = {"state": state, "name": context, "description": description}
        if target_url and target_url.startswith(("https://", "http://")):
            body["target_url"] = target_url
        with self.api.asking(PublishError, f"post a status on {sha[:12]}", WRITE):
            try:
                self.api.post(f"statuses/{sha}", body)
            except GitlabHttpError as error:
                if error.response_code != 400 or STUCK not in str(error.error_message):
                    raise
                if state not in STARTED and state not in [old.state for old in before if old.context == context]:
                    raise

    def statuses(self, sha: str) -> list[Posted]:
        """The last status of each context of a commit, jobs among them."""
        with self.api.asking(PublishError, f"read the statuses of {sha[:12]}", WRITE):
            return [_posted(status) for status in self.api.pages(f"repository/commits/{sha}/statuses")]


def _posted(data: Mapping[str, Any]) -> Posted:
    return Posted(
        as_text(data["name"]),
        as_text(data["status"]),
        as_optional_text(data.get("description")) or "",
        data.get("target_url"),
    )
