"""What a GitLab knows: users, tokens, projects with their commits, pipelines, merge requests and notes.

Everything here may be changed by a test at any time; the server reads it anew for each request.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from fakes.changing import Changing
from fakes.gitlab_ci import Job, Pipeline, Runner
from fakes.gitlab_time import When, stamp

Kind = Literal["personal", "project", "job", "oauth"]
Visibility = Literal["private", "internal", "public"]

GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 20, 30, 40, 50


class Refused(Exception):
    """A request that is not done: the HTTP status and the message of the answer."""

    def __init__(self, status: int, message: Any) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class Numbers:
    """Ids, each kind counted by itself, all different from each other so that a mixed-up id is noticed."""

    def __init__(self) -> None:
        self._next: dict[str, Iterator[int]] = {}
        self._start = itertools.count(1000, 1000)

    def take(self, kind: str) -> int:
        if kind not in self._next:
            self._next[kind] = itertools.count(next(self._start))
        return next(self._next[kind])


@dataclass
class User:
    id: int
    username: str
    bot: bool = False


@dataclass
class Token:
    text: str
    user: User
    kind: Kind
    scopes: list[str]
    access_level: int
    projects: frozenset[str] | None
    """Full paths of the projects that it is for; None: all of them."""
    id: int
    created: str
    expires_at: str | None = None
    """A date, YYYY-MM-DD."""
    revoked: bool = False

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= f"{datetime.now(UTC):%Y-%m-%d}"

    def covers(self, project: Project) -> bool:
        return self.projects is None or project.path in self.projects


@dataclass
class Commit:
    sha: str
    files: dict[str, bytes]
    parents: list[str]
    message: str
    created: str


@dataclass
class Award:
    """A reaction."""

    id: int
    name: str
    user: User
    created: str


@dataclass
class Note:
    id: int
    body: str
    author: User
    created: str
    updated: str
    internal: bool = False
    system: bool = False
    awards: list[Award] = field(default_factory=list)


@dataclass
class LabelEvent:
    """Somebody set a label or took it off. Of a label that was deleted, `label` is None."""

    id: int
    user: User | None
    created: str
    label: str | None
    action: Literal["add", "remove"]


@dataclass
class MergeRequest(Changing):
    shown_by = ("get_merge_request", "list_commit_merge_requests")

    project: Project
    id: int
    iid: int
    sha: str
    source_branch: str
    target_branch: str
    source_project_id: int
    title: str
    author: User
    created: str
    updated: str
    description: str = ""
    state: str = "opened"
    labels: list[str] = field(default_factory=list)
    merge_commit_sha: str | None = None
    notes: list[Note] = field(default_factory=list)
    quick_actions: list[str] = field(default_factory=list)
    """Lines of notes that GitLab took as commands, such as "/close"."""
    label_events: list[LabelEvent] = field(default_factory=list)

    def label(self, name: str, *, by: str | User, at: When = None, action: Literal["add", "remove"] = "add") -> None:
        """Somebody sets a label, or takes it off."""
        self.labels = sorted({*self.labels, name} if action == "add" else set(self.labels) - {name})
        event = LabelEvent(self.project.numbers.take("label event"), self.project.user(by), stamp(at), name, action)
        self.label_events.append(event)
        self.updated = event.created

    def add_note(
        self, body: str, *, author: str | User | None = None, created: When = None, internal: bool = False
    ) -> Note:
        user = self.project.user(author) if author else self.author
        when = stamp(created)
        note = Note(self.project.numbers.take("note"), body, user, when, when, internal)
        self.notes.append(note)
        self.updated = max(self.updated, when)
        return note

    @property
    def commits(self) -> set[str]:
        """What it brings: reachable from its head, not from its target branch; and its merge commit."""
        target = self.project.branches.get(self.target_branch, "")
        merged = {self.merge_commit_sha} if self.merge_commit_sha else set()
        return (self.project.reachable(self.sha) - self.project.reachable(target)) | merged

    @property
    def head_pipeline(self) -> Pipeline | None:
        """The newest of its head commit; a merged-results pipeline counts if it merged just that commit."""
        merge = f"refs/merge-requests/{self.iid}/merge"
        lines = [
            line
            for line in self.project.pipelines
            if line.sha == self.sha or (line.ref == merge and self.sha in self.project.commits[line.sha].parents)
        ]
        return max(lines, key=lambda line: line.id, default=None)


class Project:
    """A project and all that belongs to it. Unknown commits of pipelines and merge requests are added as bare ones."""

    def __init__(
        self, path: str, *, id: int, numbers: Numbers, user: Callable[[str | User], User], visibility: Visibility,
        artifacts_redirect: bool, public_jobs: bool, default_branch: str, forked_from: int | None, created: When,
    ) -> None:  # fmt: skip
        self.path = path
        self.id = id
        self.numbers = numbers
        self.user = user
        self.visibility = visibility
        self.artifacts_redirect = artifacts_redirect
        self.public_jobs = public_jobs
        self.default_branch = default_branch
        self.forked_from = forked_from
        self.created = stamp(created)
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.protected: dict[str, int] = {}
        self.members: dict[int, int] = {}
        self.pipelines: list[Pipeline] = []
        self.merge_requests: dict[int, MergeRequest] = {}
        self.runners: list[Runner] = []
        self.trigger_tokens: dict[str, User] = {}
        self.posted: list[dict[str, Any]] = []
        self.variables_role = "no_one_allowed"
        """Whoever has less may not give variables to a pipeline that they start; "developer": no restriction."""

    # --- the repository -------------------------------------------------------------------------------------

    def add_commit(
        self, sha: str, *, files: Mapping[str, str | bytes] | None = None, parents: Iterable[str] = (),
        message: str = "A change", created: When = None,
    ) -> Commit:  # fmt: skip
        """A commit with its whole tree (not a difference)."""
        content = {name: data.encode() if isinstance(data, str) else data for name, data in (files or {}).items()}
        self.commits[sha] = Commit(sha, content, list(parents), message, stamp(created))
        return self.commits[sha]

    def set_branch(self, name: str, sha: str) -> None:
        self._known(sha)
        self.branches[name] = sha

    def set_tag(self, name: str, sha: str) -> None:
        self._known(sha)
        self.tags[name] = sha

    def protect_branch(self, name: str, access_level: int = MAINTAINER) -> None:
        """Whoever has less may not change its pipelines, which includes posting statuses that join them."""
        self.protected[name] = access_level

    def _known(self, sha: str) -> Commit:
        return self.commits.get(sha) or self.add_commit(sha)

    def commit(self, revision: str) -> Commit | None:
        """By branch, tag, SHA or `HEAD`; as in life, a shortened SHA or one in capitals is found too."""
        revision = self.default_branch if revision == "HEAD" else revision
        named = self.branches.get(revision) or self.tags.get(revision)
        if named:
            return self._known(named)
        if not re.fullmatch(r"[0-9a-fA-F]{4,40}", revision):
            return None
        heads = {request.sha for request in self.merge_requests.values()}
        found = [sha for sha in {*self.commits, *heads} if sha.startswith(revision.lower())]
        return self._known(found[0]) if len(found) == 1 else None

    def reachable(self, sha: str) -> set[str]:
        seen: set[str] = set()
        ahead = [sha] if sha else []
        while ahead:
            current = ahead.pop()
            if current not in seen:
                seen.add(current)
                ahead += self.commits[current].parents if current in self.commits else []
        return seen

    def branches_with(self, sha: str) -> list[str]:
        return sorted(name for name, head in self.branches.items() if sha in self.reachable(head))

    # --- CI -------------------------------------------------------------------------------------------------

    def add_pipeline(
        self, *, sha: str, ref: str = "main", source: str = "push", status: str | None = "success",
        created: When = None, updated: When = None, started: When = None, finished: When = None,
        user: str | User = "alice", name: str | None = None, tag: bool = False, yaml_errors: str | None = None,
        project_id: int | None = None, id: int | None = None,
    ) -> Pipeline:  # fmt: skip
        """A pipeline; later ones are newer. `project_id` is what the API says, if not this project's."""
        self._known(sha)
        pipeline = Pipeline(
            self, id=id or self.numbers.take("pipeline"), iid=len(self.pipelines) + 1, project_id=project_id, sha=sha,
            ref=ref, source=source, status=status, created=created, updated=updated, started=started,
            finished=finished, user=self.user(user), name=name, tag=tag, yaml_errors=yaml_errors,
        )  # fmt: skip
        self.pipelines.append(pipeline)
        return pipeline

    def pipeline(self, id: int) -> Pipeline | None:
        return next((pipeline for pipeline in self.pipelines if pipeline.id == id), None)

    def job(self, id: int) -> Job | None:
        return next((job for pipeline in self.pipelines for job in pipeline.jobs if job.id == id), None)

    def statuses(self, sha: str) -> list[dict[str, Any]]:
        """Every status ever posted to the commit, oldest first, each as it was right after its post."""
        return [dict(status) for status in self.posted if status["sha"] == sha]

    def add_runner(
        self, description: str = "lab", *, tags: Iterable[str] = (), status: Any = "online", paused: bool = False,
        type: Any = "project_type", busy: bool = False,
    ) -> Runner:  # fmt: skip
        runner = Runner(self.numbers.take("runner"), description, list(tags), status, paused, type, busy=busy)
        self.runners.append(runner)
        return runner

    def add_trigger_token(self, text: str, owner: str | User = "alice") -> None:
        self.trigger_tokens[text] = self.user(owner)

    # --- people ---------------------------------------------------------------------------------------------

    def add_member(self, user: str | User, access_level: int = DEVELOPER) -> User:
        member = self.user(user)
        self.members[member.id] = access_level
        return member

    def add_merge_request(
        self, iid: int | None = None, *, sha: str, source_branch: str = "feature", target_branch: str = "main",
        source_project_id: int | None = None, title: str = "A change", description: str = "", state: str = "opened",
        labels: Iterable[str] = (), author: str | User = "alice", created: When = None, updated: When = None,
    ) -> MergeRequest:  # fmt: skip
        """A merge request into this project; its `sha` may be moved later. A fork's has another source project."""
        self._known(sha)
        iid = iid or max(self.merge_requests, default=0) + 1
        self.merge_requests[iid] = MergeRequest(
            self, self.numbers.take("merge request"), iid, sha, source_branch, target_branch,
            source_project_id or self.id, title, self.user(author), stamp(created), stamp(updated or created),
            description, state, list(labels),
        )  # fmt: skip
        return self.merge_requests[iid]

    def notes(self, iid: int) -> list[dict[str, Any]]:
        """The notes of a merge request, oldest first."""
        request = self.merge_requests[iid]
        return [
            {"id": note.id, "body": note.body, "author": note.author.username, "created_at": note.created,
             "updated_at": note.updated, "internal": note.internal}
            for note in request.notes
        ]  # fmt: skip


class Instance:
    """All of a GitLab: its users, tokens and projects."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.projects: dict[int, Project] = {}
        self.lenient_statuses = False
        """A status that is posted with the state it has already is taken, as merge request 198626 of GitLab has it."""
        self.premium = False
        """There is a licence: a job token may download artifacts."""
        self.sha_filter_is_empty = False
        """Listing pipelines by SHA finds none, though they are there."""

    def user(self, name: str | User, *, id: int | None = None, bot: bool = False) -> User:
        """The user of that name, made if new."""
        if isinstance(name, User):
            return name
        if name not in self.users:
            self.users[name] = User(id or self.numbers.take("user"), name, bot)
        return self.users[name]

    def add_token(
        self, text: str, *, username: str = "alice", scopes: Iterable[str] = ("api",), access_level: int = MAINTAINER,
        kind: Kind = "personal", projects: Iterable[str] | None = None, expires_at: str | None = None,
        revoked: bool = False, user_id: int | None = None,
    ) -> Token:  # fmt: skip
        """A token that may do what a member with `access_level` may, in `projects` (full paths; None: in all)."""
        user = self.user(username, id=user_id, bot=kind == "project")
        self.tokens[text] = Token(
            text, user, kind, list(scopes), access_level, None if projects is None else frozenset(projects),
            self.numbers.take("token"), stamp(), expires_at, revoked,
        )  # fmt: skip
        return self.tokens[text]

    def project(
        self, path: str, *, id: int | None = None, visibility: Visibility = "private", artifacts_redirect: bool = True,
        public_jobs: bool = True, default_branch: str = "main", forked_from: int | None = None, created: When = None,
    ) -> Project:  # fmt: skip
        """A new project, or the one of that path if there is one. `artifacts_redirect`: to the object storage."""
        known = next((project for project in self.projects.values() if project.path == path), None)
        if known:
            return known
        number = id or self.numbers.take("project")
        self.projects[number] = Project(
            path, id=number, numbers=self.numbers, user=self.user, visibility=visibility,
            artifacts_redirect=artifacts_redirect, public_jobs=public_jobs, default_branch=default_branch,
            forked_from=forked_from, created=created,
        )  # fmt: skip
        return self.projects[number]

    def find_project(self, name: str) -> Project | None:
        """By id or by full path, as the API's `:id` takes both."""
        if name.isdecimal():
            return self.projects.get(int(name))
        return next((project for project in self.projects.values() if project.path == name), None)

    def find_user(self, id: int) -> User | None:
        return next((user for user in self.users.values() if user.id == id), None)

    def access_level(self, user: User | None, project: Project) -> int:
        """What a user may do in a project: the best of a membership and of what its tokens were made with."""
        if user is None:
            return 0
        granted = [token.access_level for token in self.tokens.values() if token.user is user and token.covers(project)]
        return max([project.members.get(user.id, 0), *granted])
