"""The objects of GitHub's REST API as JSON, complete enough for its description; every URL is of this server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from fakes.github_state import (
    Artifact,
    CheckRun,
    Comment,
    Commit,
    Job,
    LabelEvent,
    Pull,
    Repository,
    Run,
    Runner,
    Status,
    Token,
    now,
    stamp,
)

Json = dict[str, Any]

NODE_KINDS = {"user": "U", "repository": "R", "run": "WFR", "artifact": "A", "comment": "IC", "pull": "PR"}
REPOSITORY_LINKS = (
    *("archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents"),
    *("contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks"),
    *("issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones"),
    *("notifications", "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags"),
    *("teams", "trees"),
)
USER_LINKS = ("followers", "subscriptions", "organizations", "repos", "received_events")
REPOSITORY_COUNTS = (
    *("forks", "open_issues", "watchers", "stargazers_count", "watchers_count", "forks_count", "open_issues_count"),
    *("size", "network_count", "subscribers_count"),
)
REPOSITORY_LACKS = ("has_projects", "has_downloads", "has_wiki", "has_pages", "has_discussions", "archived", "disabled")
RUNNER_LABELS = ("self-hosted", "Linux", "X64")
LARGE_FILE = 1 << 20
"""Bytes from which on contents are only given raw."""


def number_of(text: str) -> int:
    """A stable id for something that has only a name."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:7], 16)


def node_id(kind: str, number: int) -> str:
    return f"{NODE_KINDS.get(kind, kind.title())}_{base64.urlsafe_b64encode(str(number).encode()).decode().rstrip('=')}"


def tree_sha(commit: Commit) -> str:
    return hashlib.sha1(f"tree {commit.sha}".encode(), usedforsecurity=False).hexdigest()


def blob_sha(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Shapes:
    """Makes the JSON of one server: `api` is the root of its REST API, `html` that of its pages."""

    def __init__(self, api: str, html: str) -> None:
        self.api = api
        self.html = html

    # --- people and repositories

    def user(self, login: str) -> Json:
        url, number = f"{self.api}/users/{login}", number_of(login)
        bot = login.endswith("[bot]")
        return {
            "login": login,
            "id": number,
            "node_id": node_id("user", number),
            "avatar_url": f"{self.html}/avatars/u/{number}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.html}/{login}",
            **{f"{link}_url": f"{url}/{link}" for link in USER_LINKS},
            "following_url": f"{url}/following{{/other_user}}",
            "gists_url": f"{url}/gists{{/gist_id}}",
            "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
            "events_url": f"{url}/events{{/privacy}}",
            "type": "Bot" if bot else "User",
            "user_view_type": "public",
            "site_admin": False,
        }

    def public_user(self, login: str) -> Json:
        facts = dict.fromkeys(("name", "company", "location", "email", "hireable", "bio", "twitter_username"))
        counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
        since = {"created_at": "2020-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
        return self.user(login) | facts | counts | since | {"blog": ""}

    def repository_url(self, repo: Repository) -> str:
        return f"{self.api}/repos/{repo.full_name}"

    def page(self, repo: Repository) -> str:
        return f"{self.html}/{repo.full_name}"

    def small_repository(self, repo: Repository) -> Json:
        """As runs name it."""
        url = self.repository_url(repo)
        return {
            "id": repo.id,
            "node_id": node_id("repository", repo.id),
            "name": repo.name,
            "full_name": repo.full_name,
            "private": repo.private,
            "owner": self.user(repo.owner),
            "html_url": self.page(repo),
            "description": None,
            "fork": repo.fork,
            "url": url,
            **{f"{link}_url": f"{url}/{link}" for link in REPOSITORY_LINKS},
        }

    def repository(self, repo: Repository) -> Json:
        nothing = ("homepage", "language", "mirror_url", "license")
        dates = dict.fromkeys(("created_at", "pushed_at", "updated_at"), "2026-01-01T00:00:00Z")
        return {
            **self.small_repository(repo),
            **dict.fromkeys(REPOSITORY_COUNTS, 0),
            **dict.fromkeys(REPOSITORY_LACKS, False),
            **dict.fromkeys(nothing),
            **dates,
            "default_branch": repo.default_branch,
            "visibility": "private" if repo.private else "public",
            "is_template": False,
            "allow_forking": True,
            "web_commit_signoff_required": False,
            "topics": [],
            "has_issues": True,
            "git_url": f"git:{self.page(repo).partition(':')[2]}.git",
            "clone_url": f"{self.page(repo)}.git",
            "ssh_url": f"git@127.0.0.1:{repo.full_name}.git",
            "svn_url": self.page(repo),
            "permissions": {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True},
        }

    # --- commits

    def git_person(self, commit: Commit) -> Json:
        return {"name": commit.login, "email": f"{commit.login}@example.invalid", "date": stamp(commit.date)}

    def commit(self, repo: Repository, commit: Commit) -> Json:
        url = self.repository_url(repo)
        tree = tree_sha(commit)
        return {
            "url": f"{url}/commits/{commit.sha}",
            "sha": commit.sha,
            "node_id": node_id("Commit", number_of(commit.sha)),
            "html_url": f"{self.page(repo)}/commit/{commit.sha}",
            "comments_url": f"{url}/commits/{commit.sha}/comments",
            "commit": {
                "url": f"{url}/git/commits/{commit.sha}",
                "author": self.git_person(commit),
                "committer": self.git_person(commit),
                "message": commit.message,
                "tree": {"sha": tree, "url": f"{url}/git/trees/{tree}"},
                "comment_count": 0,
                "verification": dict.fromkeys(("signature", "payload", "verified_at"))
                | {"verified": False, "reason": "unsigned"},
            },
            "author": self.user(commit.login),
            "committer": self.user(commit.login),
            "parents": [
                {"sha": sha, "url": f"{url}/commits/{sha}", "html_url": f"{self.page(repo)}/commit/{sha}"}
                for sha in commit.parents
            ],
        }

    def whole_commit(self, repo: Repository, commit: Commit) -> Json:
        """As it is read alone: with what it changed, which this server does not work out."""
        return self.commit(repo, commit) | {"stats": {"total": 0, "additions": 0, "deletions": 0}, "files": []}

    def whole_branch(self, repo: Repository, name: str) -> Json:
        """As one branch is read alone."""
        url = f"{self.repository_url(repo)}/branches/{name}"
        commit = self.commit(repo, repo.commits[repo.branches[name]])
        links = {"self": url, "html": f"{self.page(repo)}/tree/{name}"}
        more = {"protection": {"enabled": False}, "protection_url": f"{url}/protection"}
        return self.branch(repo, name) | {"commit": commit, "_links": links} | more

    def branch(self, repo: Repository, name: str) -> Json:
        sha, url = repo.branches[name], self.repository_url(repo)
        return {"name": name, "commit": {"sha": sha, "url": f"{url}/commits/{sha}"}, "protected": False}

    def file(self, repo: Repository, path: str, content: bytes, ref: str) -> Json:
        large = len(content) > LARGE_FILE
        return {
            **self._entry(repo, path, "file", blob_sha(content), len(content), ref),
            "encoding": "none" if large else "base64",
            "content": "" if large else base64.encodebytes(content).decode(),
        }

    def folder(self, repo: Repository, path: str, files: Mapping[str, bytes], ref: str) -> list[Json]:
        """The entries of a folder, none where there is no such folder."""
        start = f"{path}/" if path else ""
        names = {name.removeprefix(start).partition("/")[0]: name for name in files if name.startswith(start)}
        entries = []
        for name, first in sorted(names.items()):
            whole = start + name
            if whole in files:
                entry = self._entry(repo, whole, "file", blob_sha(files[whole]), len(files[whole]), ref)
            else:
                entry = self._entry(repo, whole, "dir", blob_sha(first.encode()), 0, ref)
            entries.append(entry)
        return entries

    def _entry(self, repo: Repository, path: str, kind: str, sha: str, size: int, ref: str) -> Json:
        url = f"{self.repository_url(repo)}/contents/{path}?ref={ref}"
        git = f"{self.repository_url(repo)}/git/{'blobs' if kind == 'file' else 'trees'}/{sha}"
        page = f"{self.page(repo)}/{'blob' if kind == 'file' else 'tree'}/{ref}/{path}"
        return {
            "type": kind,
            "name": path.rpartition("/")[2],
            "path": path,
            "sha": sha,
            "size": size,
            "url": url,
            "html_url": page,
            "git_url": git,
            "download_url": f"{self.page(repo)}/raw/{ref}/{path}" if kind == "file" else None,
            "_links": {"self": url, "git": git, "html": page},
        }

    # --- actions

    def run(self, run: Run) -> Json:
        repo = run.repository
        url = f"{self.repository_url(repo)}/actions/runs/{run.id}"
        workflow_id = number_of(f"{repo.full_name} {run.workflow}")
        suite = number_of(f"suite {run.id}")
        before = f"{url}/attempts/{run.attempt - 1}" if run.attempt > 1 else None
        head = run.head_repository
        return {
            "id": run.id,
            "name": run.workflow_name,
            "node_id": node_id("run", run.id),
            "check_suite_id": suite,
            "check_suite_node_id": node_id("CS", suite),
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
            "path": run.workflow,
            "run_number": run.number,
            "run_attempt": run.attempt,
            "referenced_workflows": [],
            "display_title": run.title,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion if run.status == "completed" else None,
            "workflow_id": workflow_id,
            "url": url,
            "html_url": f"{self.page(repo)}/actions/runs/{run.id}",
            # Empty for a fork's run, as in life: it cannot be used to find the pull request.
            "pull_requests": [] if run.from_fork else [self.run_pull(repo, number) for number in run.pull_requests],
            "created_at": stamp(run.created),
            "updated_at": stamp(run.updated),
            "run_started_at": stamp(run.started),
            "actor": self.user(run.actor),
            "triggering_actor": self.user(run.actor),
            "jobs_url": f"{url}/jobs",
            "logs_url": f"{url}/logs",
            "check_suite_url": f"{self.repository_url(repo)}/check-suites/{suite}",
            "artifacts_url": f"{url}/artifacts",
            "cancel_url": f"{url}/cancel",
            "rerun_url": f"{url}/rerun",
            "previous_attempt_url": before,
            "workflow_url": f"{self.repository_url(repo)}/actions/workflows/{workflow_id}",
            "head_commit": self.head_commit(repo, run.head_sha),
            "repository": self.small_repository(repo),
            "head_repository": head and self.small_repository(head),
            "head_repository_id": head and head.id,
        }

    def head_commit(self, repo: Repository, sha: str) -> Json | None:
        commit = repo.commits.get(sha)
        if commit is None:
            return None
        person = {"name": commit.login, "email": f"{commit.login}@example.invalid"}
        return {
            "id": sha,
            "tree_id": tree_sha(commit),
            "message": commit.message,
            "timestamp": stamp(commit.date),
            "author": person,
            "committer": person,
        }

    def run_pull(self, repo: Repository, number: int) -> Json:
        url = f"{self.repository_url(repo)}/pulls/{number}"
        pull = repo.pulls.get(number)
        place = {"id": repo.id, "url": self.repository_url(repo), "name": repo.name}
        head = {"ref": pull.head_ref if pull else "feature", "sha": pull.head_sha if pull else "0" * 40, "repo": place}
        base = {"ref": pull.base_ref if pull else "main", "sha": pull_base(repo, pull), "repo": place}
        return {"url": url, "id": number_of(url), "number": number, "head": head, "base": base}

    def job(self, job: Job) -> Json:
        run = job.run
        repo_url = self.repository_url(run.repository)
        hosted = "self-hosted" not in job.labels
        begun = job.status != "queued"
        return {
            "id": job.id,
            "run_id": run.id,
            "workflow_name": run.workflow_name,
            "head_branch": run.head_branch,
            "run_url": f"{repo_url}/actions/runs/{run.id}",
            "run_attempt": job.attempt,
            "node_id": node_id("CR", job.id),
            "head_sha": run.head_sha,
            "url": f"{repo_url}/actions/jobs/{job.id}",
            "html_url": f"{self.page(run.repository)}/actions/runs/{run.id}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion if job.status == "completed" else None,
            "created_at": stamp(job.started or run.created),
            "started_at": stamp(job.started or run.created),
            "completed_at": stamp(job.completed) if job.status == "completed" else None,
            "name": job.name,
            "steps": job.steps,
            "check_run_url": f"{repo_url}/check-runs/{job.id}",
            "labels": job.labels,
            "runner_id": number_of(job.runner_name) if begun else None,
            "runner_name": job.runner_name if begun else None,
            "runner_group_id": 0 if begun else None,
            "runner_group_name": ("GitHub Actions" if hosted else "Default") if begun else None,
        }

    def artifact(self, artifact: Artifact) -> Json:
        run = artifact.run
        url = f"{self.repository_url(run.repository)}/actions/artifacts/{artifact.id}"
        return {
            "id": artifact.id,
            "node_id": node_id("artifact", artifact.id),
            "name": artifact.name,
            "size_in_bytes": artifact.size,
            "url": url,
            "archive_download_url": f"{url}/zip",
            "expired": artifact.expired,
            "digest": artifact.digest,
            "created_at": stamp(artifact.created),
            "updated_at": stamp(artifact.created),
            "expires_at": stamp(artifact.expires),
            "workflow_run": {
                "id": run.id,
                "repository_id": run.repository.id,
                "head_repository_id": (run.head_repository or run.repository).id,
                "head_branch": run.head_branch,
                "head_sha": run.head_sha,
            },
        }

    def runner(self, runner: Runner) -> Json:
        fixed = [{"id": number, "name": name, "type": "read-only"} for number, name in enumerate(RUNNER_LABELS, 1)]
        own = [{"id": number_of(name), "name": name, "type": "custom"} for name in runner.labels]
        return {
            "id": runner.id,
            "name": runner.name,
            "os": runner.os,
            "status": runner.status,
            "busy": runner.busy,
            "ephemeral": False,
            "labels": fixed + own,
        }

    # --- statuses and checks

    def status(self, repo: Repository, status: Status) -> Json:
        return {
            **self.simple_status(repo, status),
            "creator": self.user(status.login),
        }

    def simple_status(self, repo: Repository, status: Status) -> Json:
        """As the combined status has it: without who posted it."""
        return {
            "url": f"{self.repository_url(repo)}/statuses/{status.sha}",
            "avatar_url": self.user(status.login)["avatar_url"],
            "id": status.id,
            "node_id": node_id("SC", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": stamp(status.created),
            "updated_at": stamp(status.created),
        }

    def check_run(self, repo: Repository, check: CheckRun) -> Json:
        url = f"{self.repository_url(repo)}/check-runs/{check.id}"
        return {
            "id": check.id,
            "name": check.name,
            "node_id": node_id("CR", check.id),
            "head_sha": check.sha,
            "external_id": check.external_id,
            "url": url,
            "html_url": f"{self.page(repo)}/runs/{check.id}",
            "details_url": check.details_url or self.page(repo),
            "status": check.status,
            "conclusion": check.conclusion,
            "started_at": stamp(check.started),
            "completed_at": stamp(check.completed),
            "output": {
                "title": check.title,
                "summary": check.summary,
                "text": check.text,
                "annotations_count": len(check.annotations),
                "annotations_url": f"{url}/annotations",
            },
            "check_suite": {"id": number_of(f"checks {check.sha}")},
            "app": self.app(),
            "pull_requests": [],
        }

    def app(self) -> Json:
        return {
            "id": 15368,
            "client_id": "Iv1.05c79e9ad1f6bdfa",
            "slug": "github-actions",
            "node_id": node_id("App", 15368),
            "owner": self.user("github"),
            "name": "GitHub Actions",
            "description": "Automate your workflow from idea to production",
            "external_url": f"{self.html}/features/actions",
            "html_url": f"{self.html}/apps/github-actions",
            "created_at": "2018-07-30T09:30:17Z",
            "updated_at": "2024-04-10T20:33:16Z",
            "permissions": {"actions": "write", "checks": "write", "contents": "write", "metadata": "read"},
            "events": ["check_run", "workflow_run"],
        }

    # --- pull requests

    def pull(self, pull: Pull) -> Json:
        """As a list of pull requests has it."""
        repo = pull.repository
        url, issue = f"{self.repository_url(repo)}/pulls/{pull.number}", self.issue_url(repo, pull.number)
        page = f"{self.page(repo)}/pull/{pull.number}"
        statuses = f"{self.repository_url(repo)}/statuses/{pull.head_sha}"
        links = {
            "self": url,
            "html": page,
            "issue": issue,
            "comments": f"{issue}/comments",
            "review_comments": f"{url}/comments",
            "review_comment": f"{self.repository_url(repo)}/pulls/comments{{/number}}",
            "commits": f"{url}/commits",
            "statuses": statuses,
        }
        closed = None if pull.state == "open" else stamp(pull.updated)
        return {
            "url": url,
            "id": number_of(url),
            "node_id": node_id("pull", number_of(url)),
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "issue_url": issue,
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": statuses,
            "number": pull.number,
            "state": pull.state,
            "locked": pull.locked,
            "title": pull.title,
            "user": self.user(pull.login),
            "body": None,
            "labels": [self.label(repo, name) for name in pull.labels],
            "milestone": None,
            "active_lock_reason": None,
            "created_at": stamp(pull.created),
            "updated_at": stamp(pull.updated),
            "closed_at": closed,
            "merged_at": None,
            "merge_commit_sha": pull.merge_commit_sha,
            "assignee": None,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "head": self.side(pull.head_repository, pull.head_ref, pull.head_sha, pull.login),
            "base": self.side(repo, pull.base_ref, pull_base(repo, pull), repo.owner),
            "_links": {name: {"href": link} for name, link in links.items()},
            "author_association": "CONTRIBUTOR",
            "auto_merge": None,
            "draft": pull.draft,
        }

    def whole_pull(self, pull: Pull) -> Json:
        """As one pull request is read alone."""
        comments = sum(comment.number == pull.number for comment in pull.repository.posted_comments)
        return {
            **self.pull(pull),
            "merged": False,
            "mergeable": True,
            "rebaseable": True,
            "mergeable_state": "clean",
            "merged_by": None,
            "comments": comments,
            "review_comments": 0,
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": 1,
            "deletions": 0,
            "changed_files": 1,
        }

    def side(self, repo: Repository | None, ref: str, sha: str, login: str) -> Json:
        """Head or base of a pull request; of a head whose repository was deleted nothing but the commit is left."""
        owner = repo.owner if repo else login
        return {
            "label": f"{owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self.user(owner),
            "repo": repo and self.repository(repo),
        }

    def issue(self, pull: Pull) -> Json:
        """A pull request as the list of issues has it."""
        repo = pull.repository
        url, page = self.issue_url(repo, pull.number), f"{self.page(repo)}/pull/{pull.number}"
        pull_url = f"{self.repository_url(repo)}/pulls/{pull.number}"
        return {
            "url": url,
            "repository_url": self.repository_url(repo),
            **{f"{link}_url": f"{url}/{link}" for link in ("comments", "events")},
            "labels_url": f"{url}/labels{{/name}}",
            "html_url": page,
            "id": number_of(url),
            "node_id": node_id("pull", number_of(url)),
            "number": pull.number,
            "title": pull.title,
            "user": self.user(pull.login),
            "labels": [self.label(repo, name) for name in pull.labels],
            "state": pull.state,
            "locked": pull.locked,
            **dict.fromkeys(("assignee", "milestone", "active_lock_reason", "body", "performed_via_github_app")),
            "assignees": [],
            "comments": sum(comment.number == pull.number for comment in repo.posted_comments),
            "created_at": stamp(pull.created),
            "updated_at": stamp(pull.updated),
            "closed_at": None if pull.state == "open" else stamp(pull.updated),
            "author_association": "CONTRIBUTOR",
            "draft": pull.draft,
            "pull_request": {
                "url": pull_url,
                "html_url": page,
                "diff_url": f"{page}.diff",
                "patch_url": f"{page}.patch",
                "merged_at": None,
            },
        }

    def label_event(self, repo: Repository, event: LabelEvent) -> Json:
        url = f"{self.repository_url(repo)}/issues/events/{event.id}"
        return {
            "id": event.id,
            "node_id": node_id("LE", event.id),
            "url": url,
            "actor": self.user(event.login),
            "event": "labeled",
            "commit_id": None,
            "commit_url": None,
            "created_at": stamp(event.created),
            "label": {"name": event.label, "color": "ededed"},
            "issue": self.issue(repo.pulls[event.number]),
            "performed_via_github_app": None,
        }

    def issue_url(self, repo: Repository, number: int) -> str:
        return f"{self.repository_url(repo)}/issues/{number}"

    def label(self, repo: Repository, name: str) -> Json:
        number = number_of(f"{repo.full_name} {name}")
        return {
            "id": number,
            "node_id": node_id("LA", number),
            "url": f"{self.repository_url(repo)}/labels/{name}",
            "name": name,
            "description": f"The label {name}",
            "color": "ededed",
            "default": False,
        }

    def comment(self, repo: Repository, comment: Comment) -> Json:
        url = f"{self.repository_url(repo)}/issues/comments/{comment.id}"
        page = f"{self.page(repo)}/pull/{comment.number}#issuecomment-{comment.id}"
        kinds = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
        given = [reaction["content"] for reaction in comment.reactions]
        return {
            "url": url,
            "html_url": page,
            "issue_url": self.issue_url(repo, comment.number),
            "id": comment.id,
            "node_id": node_id("comment", comment.id),
            "user": self.user(comment.login),
            "created_at": stamp(comment.created),
            "updated_at": stamp(comment.updated),
            "body": comment.body,
            "author_association": "CONTRIBUTOR",
            "reactions": {"url": f"{url}/reactions", "total_count": len(given)}
            | {kind: given.count(kind) for kind in kinds},
            "performed_via_github_app": None,
        }

    def permission(self, login: str, permission: str, role_name: str) -> Json:
        level = ("none", "read", "triage", "write", "maintain", "admin").index(role_name) if role_name else 0
        names = ("pull", "triage", "push", "maintain", "admin")
        rights = {name: level > at for at, name in enumerate(names)}
        return {
            "permission": permission,
            "role_name": role_name,
            "user": self.user(login) | {"permissions": rights, "role_name": role_name},
        }


def pull_base(repo: Repository, pull: Pull | None) -> str:
    """Where a pull request's base stands."""
    if pull is None:
        return "0" * 40
    return pull.base_sha or repo.branches.get(pull.base_ref, "0" * 40)


def reaction(shapes: Shapes, number: int, token: Token, content: str) -> Json:
    return {
        "id": number,
        "node_id": node_id("REA", number),
        "user": shapes.user(token.login),
        "content": content,
        "created_at": stamp(now()),
    }
