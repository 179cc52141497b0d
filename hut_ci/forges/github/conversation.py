"""The one comment of ours on a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from github.GithubException import GithubException

from hut_ci.errors import PublishError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.github.api import GitHubApi
from hut_ci.stages.comment import Comment

COMMENTS = "`pull-requests: write`"


@dataclass(frozen=True, slots=True)
class GitHubConversation:
    """Comments on the pull requests of one repository. Every method raises PublishError where GitHub refuses."""

    api: GitHubApi
    limit: ClassVar[int] = 65536
    """Characters of a comment; the API answers 422 above it."""

    def own_comments(self, number: int, marker: str) -> list[Comment]:
        """Our comments on pull request `number` that start with `marker`: anybody can write the marker."""
        with self.api.asking(PublishError, f"read the comments of pull request {number}", COMMENTS):
            found = [entry for entry in self.api.pages(f"issues/{number}/comments") if _has(entry, marker)]
            login = self._login() if found else None
            return [_comment(entry) for entry in found if _is_ours(entry, login)]

    def add_comment(self, number: int, body: str) -> None:
        with self.api.asking(PublishError, f"comment on pull request {number}", COMMENTS):
            self.api.send("POST", f"issues/{number}/comments", {"body": body})

    def edit_comment(self, _number: int, comment_id: str, body: str) -> None:
        with self.api.asking(PublishError, f"edit comment {comment_id}", COMMENTS):
            self.api.send("PATCH", f"issues/comments/{comment_id}", {"body": body})

    def _login(self) -> str | None:
        """Whose token it is; None for an app's (a workflow's among them), which has no user."""
        try:
            return as_text(self.api.get("/user")["login"])
        except GithubException as error:
            if error.status not in (401, 403, 404):
                raise
            return None


def _has(entry: Mapping[str, Any], marker: str) -> bool:
    return str(entry.get("body") or "").startswith(marker)


def _is_ours(entry: Mapping[str, Any], login: str | None) -> bool:
    """By name; an app's token knows no name, but no stranger comments as a bot."""
    user = entry.get("user") or {}
    return bool(user.get("login") == login) if login is not None else bool(user.get("type") == "Bot")


def _comment(entry: Mapping[str, Any]) -> Comment:
    return Comment(str(as_number(entry["id"])), as_text(entry["body"]))
