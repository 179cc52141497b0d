"""What a trigger asks of GitLab, and the traces that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from hut_ci.errors import ArtifactError, PublishError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.gitlab import answers
from hut_ci.forges.gitlab.api import GitLabApi
from hut_ci.forges.gitlab.rights import DEVELOPER
from hut_ci.model import PullRequest
from hut_ci.stages.gitlab_event import Hint, Note

READING = "the scope `read_api`"


@dataclass(frozen=True, slots=True)
class GitLabTrigger:
    """One project. Reads raise ArtifactError, writes PublishError, where GitLab does not answer."""

    api: GitLabApi

    def may_write(self, user: str) -> bool:
        """Whether the user of that number is a Developer or more here; False wherever it cannot be told."""
        try:
            with self.api.asking(ArtifactError, "look at a member", READING):
                return as_number(self.api.get(f"members/all/{quote(user, safe='')}")["access_level"]) >= DEVELOPER
        except ArtifactError:
            return False

    def pull_request(self, number: int) -> PullRequest:
        with self.api.asking(ArtifactError, f"look at merge request {number}", READING):
            return answers.pull_request(self.api.get(f"merge_requests/{number}"))

    def first_build(self, sha: str) -> str | None:
        """When GitLab created the first pipeline of a commit; None without one."""
        with self.api.asking(ArtifactError, f"list the pipelines of {sha[:12]}", READING):
            found = self.api.pages("pipelines", sha=sha)
            return min((as_text(line["created_at"]) for line in found if line["sha"] == sha), default=None)

    def note(self, hint: Hint) -> Note | None:
        """The note that a hint is about, as it stands there now."""
        with self.api.asking(ArtifactError, f"read the notes of merge request {hint.merge_request}", READING):
            notes = self.api.pages(f"merge_requests/{hint.merge_request}/notes", order_by="created_at", sort="desc")
            return next((_note(entry) for entry in notes if entry["id"] == hint.note), None)

    def accept(self, _comment_id: str) -> None:
        """The pending statuses show that it was understood."""

    def drop_label(self, number: int, label: str) -> None:
        with self.api.asking(PublishError, f"remove a label of {number}", "the scope `api`, role Developer"):
            self.api.put(f"merge_requests/{number}", {"remove_labels": label})


def _note(entry: answers.Json) -> Note:
    return Note(
        body=as_text(entry["body"]),
        author=str(as_number(entry["author"]["id"])),
        at=as_text(entry["created_at"]),
        changed=as_text(entry["updated_at"]),
        system=bool(entry["system"]),
    )
