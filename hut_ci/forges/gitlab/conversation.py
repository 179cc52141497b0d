"""The one note of ours on a merge request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hut_ci.errors import PublishError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.gitlab.api import GitLabApi
from hut_ci.stages.comment import Comment

NOTES = "the scope `api`, role Reporter"


@dataclass(frozen=True, slots=True)
class GitLabConversation:
    """Notes on the merge requests of one project. Every method raises PublishError where GitLab refuses."""

    api: GitLabApi
    limit: ClassVar[int] = 1_000_000
    """Characters of a note (docs: "Application limits")."""

    def own_comments(self, number: int, marker: str) -> list[Comment]:
        """Our notes on merge request `number` that start with `marker`: anybody can write the marker."""
        with self.api.asking(PublishError, f"read the notes of merge request {number}", NOTES):
            notes = self.api.pages(f"merge_requests/{number}/notes", order_by="created_at", sort="asc")
            found = [note for note in notes if as_text(note["body"]).startswith(marker)]
            if not found:
                return []
            own = as_number(self.api.get("/user")["id"])
            return [Comment(str(note["id"]), note["body"]) for note in found if note["author"]["id"] == own]

    def add_comment(self, number: int, body: str) -> None:
        with self.api.asking(PublishError, f"comment on merge request {number}", NOTES):
            self.api.post(f"merge_requests/{number}/notes", {"body": body})

    def edit_comment(self, number: int, comment_id: str, body: str) -> None:
        with self.api.asking(PublishError, f"edit note {comment_id}", NOTES):
            self.api.put(f"merge_requests/{number}/notes/{comment_id}", {"body": body})
