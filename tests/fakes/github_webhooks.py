"""The payloads that GitHub sends with its events: complete, of what a fake GitHub holds, as a workflow finds them.

`tests/integration/test_github_webhooks.py` compares them with GitHub's own schemas.
"""

from __future__ import annotations

from dataclasses import dataclass

from fakes.github import FakeGitHub
from fakes.github_json import Json, number_of
from fakes.github_state import Comment, Pull, Repository, Run, now, stamp

NO_REACTIONS = dict.fromkeys(("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"), 0)
NO_PROPERTIES = {"custom_properties": {}}


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What `github` tells of `repo`; each event as (name, payload)."""

    github: FakeGitHub
    repo: Repository

    def pushed(self, sha: str, branch: str = "main") -> tuple[str, Json]:
        shapes, page = self.github.shapes, self.github.shapes.page(self.repo)
        head = shapes.head_commit(self.repo, sha)
        assert head is not None
        more = {"distinct": True, "url": f"{page}/commit/{sha}", "added": [], "removed": [], "modified": ["hut.yml"]}
        person = {"name": self.repo.owner, "email": f"{self.repo.owner}@example.invalid"}
        return "push", {
            "ref": f"refs/heads/{branch}",
            "before": "0" * 40,
            "after": sha,
            "created": True,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "compare": f"{page}/commits/{branch}",
            "commits": [head | more],
            "head_commit": head | more,
            "pusher": person,
            **self._everywhere("alice"),
        }

    def labeled(self, pull: Pull, label: str, sender: str) -> tuple[str, Json]:
        """As `pull_request_target` gets it; the label is on the pull request by then."""
        pull.labels, pull.updated = [*dict.fromkeys([*pull.labels, label])], now()
        whole = self.github.shapes.whole_pull(pull)
        for side in ("head", "base"):
            whole[side]["repo"] = whole[side]["repo"] and whole[side]["repo"] | NO_PROPERTIES
        return "pull_request_target", {
            "action": "labeled",
            "number": pull.number,
            "pull_request": whole,
            "label": self.github.shapes.label(self.repo, label),
            **self._everywhere(sender),
        }

    def commented(self, pull: Pull, comment: Comment) -> tuple[str, Json]:
        return "issue_comment", {
            "action": "created",
            "issue": self._issue(pull),
            "comment": self.github.shapes.comment(self.repo, comment),
            **self._everywhere(comment.login),
        }

    def built(self, run: Run) -> tuple[str, Json]:
        """The end of a workflow run."""
        shapes = self.github.shapes
        url = f"{shapes.repository_url(self.repo)}/actions/workflows/{number_of(run.workflow)}"
        workflow = {
            "id": number_of(run.workflow),
            "node_id": "W_x",
            "name": run.workflow_name,
            "path": run.workflow,
            "state": "active",
            "created_at": stamp(run.created),
            "updated_at": stamp(run.created),
            "url": url,
            "html_url": f"{shapes.page(self.repo)}/blob/main/{run.workflow}",
            "badge_url": f"{shapes.page(self.repo)}/workflows/build/badge.svg",
        }
        return "workflow_run", {
            "action": "completed",
            "workflow_run": shapes.run(run),
            "workflow": workflow,
            **self._everywhere(run.actor),
        }

    def _issue(self, pull: Pull) -> Json:
        """A pull request as an issue: what it is of is told by its key `pull_request`."""
        shapes = self.github.shapes
        whole, url = shapes.whole_pull(pull), shapes.issue_url(self.repo, pull.number)
        kept = (
            "number",
            "title",
            "user",
            "labels",
            "state",
            "locked",
            "assignee",
            "assignees",
            "milestone",
            "comments",
        )
        kept += ("created_at", "updated_at", "closed_at", "author_association", "active_lock_reason", "body", "draft")
        links = {name: whole[name] for name in ("html_url", "diff_url", "patch_url")}
        return {
            **{name: whole[name] for name in kept},
            "id": number_of(url),
            "node_id": "I_x",
            "url": url,
            "html_url": whole["html_url"],
            "repository_url": shapes.repository_url(self.repo),
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "timeline_url": f"{url}/timeline",
            "reactions": {"url": f"{url}/reactions", "total_count": 0, **NO_REACTIONS},
            "pull_request": {"url": whole["url"], **links, "merged_at": None},
            "performed_via_github_app": None,
            "state_reason": None,
        }

    def _everywhere(self, sender: str) -> Json:
        shapes = self.github.shapes
        return {"repository": shapes.repository(self.repo) | NO_PROPERTIES, "sender": shapes.user(sender)}
