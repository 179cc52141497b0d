"""What a trigger asks of GitHub, and the traces that it leaves: permissions, first builds, reactions, labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from github.GithubException import GithubException

from hut_ci.errors import ArtifactError, ForgeUnavailable, PublishError
from hut_ci.forges.fields import as_text
from hut_ci.forges.github import answers
from hut_ci.forges.github.api import GitHubApi
from hut_ci.model import PullRequest

MAY_WRITE = ("admin", "maintain", "write")
"""Roles (docs: "Repository roles for an organization"); one of an organisation's own has one as `permission`."""
LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?\Z")
"""A user's name, with the underscore of an enterprise's; nothing else becomes a part of a path, not even `..`."""


@dataclass(frozen=True, slots=True)
class GitHubTrigger:
    """One repository. Reads raise ArtifactError, writes PublishError, where GitHub does not answer."""

    api: GitHubApi

    def may_write(self, user: str) -> bool:
        """Whether `user` has the role write or more; False wherever it cannot be told."""
        if not LOGIN.match(user):
            return False
        try:
            return self.is_writer(user)
        except PublishError:
            return False

    def is_writer(self, user: str) -> bool:
        """The same, but raises ForgeUnavailable where GitHub may tell later."""
        try:
            with self.api.asking(PublishError, "look at a permission", "`metadata: read`"):
                found = self.api.get(f"collaborators/{quote(user, safe='')}/permission")
                return found.get("role_name") in MAY_WRITE or found.get("permission") in MAY_WRITE
        except ForgeUnavailable:
            raise
        except PublishError:
            return False

    def pull_request(self, number: int) -> PullRequest:
        with self.api.asking(ArtifactError, f"look at pull request {number}", "`pull-requests: read`"):
            return answers.pull_request(self.api.get(f"pulls/{number}"))

    def first_build(self, sha: str) -> str | None:
        """When GitHub created the first workflow run of a commit; None without one."""
        with self.api.asking(ArtifactError, f"list the runs of {sha[:12]}", "`actions: read`"):
            runs = self.api.pages("actions/runs", "workflow_runs", head_sha=sha)
            return min((as_text(run["created_at"]) for run in runs if run["head_sha"] == sha), default=None)

    def accept(self, comment_id: str) -> None:
        """Show under the comment that it was understood."""
        with self.api.asking(PublishError, f"react to comment {comment_id}", "`pull-requests: write`"):
            self.api.send("POST", f"issues/comments/{comment_id}/reactions", {"content": "eyes"})

    def drop_label(self, number: int, label: str) -> None:
        """Take a label off; one that is gone already is no trouble."""
        with self.api.asking(PublishError, f"remove a label of {number}", "`pull-requests: write`"):
            try:
                self.api.delete(f"issues/{number}/labels/{quote(label, safe='')}")
            except GithubException as error:
                if error.status != 404:
                    raise
