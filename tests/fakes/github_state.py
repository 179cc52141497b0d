"""What a fake GitHub holds: repositories, runs, jobs, artifacts, pull requests. Tests change it while it runs."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from fakes.changing import Changing

Level = Literal["read", "write", "admin"]
Files = Mapping[str, str | bytes]
Moment = datetime | str | None
"""A point in time, or its text as the API shows it; None where a default is meant."""

SHA = re.compile(r"[0-9a-f]{40}")
ARTIFACT_DAYS = 90
RUN_CALLS = ("list_runs", "get_run", "get_run_attempt")
JOB_CALLS = ("list_jobs", "list_attempt_jobs", "get_job")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def moment(value: Moment, default: datetime) -> datetime:
    """Raises ValueError for a text that is no time."""
    if value is None:
        return default
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def optional_moment(value: Moment) -> datetime | None:
    return None if value is None else moment(value, now())


def stamp(value: Moment) -> str | None:
    """As the API shows a time."""
    when = optional_moment(value)
    return None if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """An archive of some files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return archive.getvalue()


class Numbers:
    """The ids of one kind of object: each is given once, and none that a test chose."""

    def __init__(self, first: int) -> None:
        self._next = itertools.count(first)
        self._taken: set[int] = set()

    def take(self, wanted: int | None = None) -> int:
        number = wanted if wanted is not None else next(n for n in self._next if n not in self._taken)
        assert number not in self._taken, f"the id {number} is taken"
        self._taken.add(number)
        return number


@dataclass(frozen=True)
class Token:
    """`installation` is the token of a job or an app, `pat` a person's: classic with scopes, otherwise fine-grained."""

    value: str
    login: str
    kind: Literal["installation", "pat"]
    permissions: Mapping[str, str] | None
    scopes: Sequence[str] | None
    repositories: Collection[str] | None

    @property
    def classic(self) -> bool:
        return self.kind == "pat" and self.scopes is not None

    def allows(self, permission: str, level: str) -> bool:
        """Whether a fine-grained token has a permission; all of them unless it was made with a list."""
        if self.permissions is None or permission == "metadata":
            return True
        order = ("", "read", "write", "admin")
        return order.index(self.permissions.get(permission, "")) >= order.index(level)


@dataclass(frozen=True)
class Commit:
    sha: str
    files: Mapping[str, bytes]
    parents: tuple[str, ...]
    message: str
    login: str
    date: datetime


@dataclass(kw_only=True, eq=False)
class Job(Changing):
    id: int
    run: Run
    name: str
    status: str
    conclusion: str | None
    started: datetime | None
    completed: datetime | None
    attempt: int
    labels: list[str]
    runner_name: str
    steps: list[dict[str, Any]]

    shown_by = JOB_CALLS


@dataclass(kw_only=True, eq=False)
class Artifact:
    id: int
    run: Run
    name: str
    content: bytes
    """The bytes of the archive, as downloaded."""
    digest: str | None
    expired: bool
    created: datetime
    expires: datetime
    size: int
    """As declared by the API; the length of the content unless a test says otherwise."""
    blob: str = ""


@dataclass(kw_only=True, eq=False)
class Run(Changing):
    shown_by = RUN_CALLS

    repository: Repository
    id: int
    number: int
    head_sha: str
    head_branch: str | None
    event: str
    workflow: str
    status: str
    conclusion: str | None
    attempt: int
    head_repository: Repository | None
    created: datetime
    started: datetime
    updated: datetime
    title: str
    pull_requests: list[int]
    actor: str
    jobs: list[Job] = field(default_factory=list, repr=False)
    artifacts: list[Artifact] = field(default_factory=list, repr=False)
    older: list[Run] = field(default_factory=list, repr=False)
    """This run as it was in its earlier attempts, oldest first."""

    @property
    def workflow_name(self) -> str:
        return self.workflow.rpartition("/")[2].rpartition(".")[0]

    @property
    def from_fork(self) -> bool:
        return self.head_repository is None or self.head_repository.full_name != self.repository.full_name

    def add_job(
        self,
        name: str,
        *,
        status: str = "completed",
        conclusion: str | None = "success",
        started: Moment = None,
        completed: Moment = None,
        attempt: int | None = None,
        id: int | None = None,
        labels: Sequence[str] = ("ubuntu-latest",),
        runner_name: str = "GitHub Actions 1",
        steps: Sequence[dict[str, Any]] = (),
    ) -> Job:
        """A job of the run's latest attempt, or of an older one."""
        done = status == "completed"
        job = Job(
            id=self.repository.numbers["job"].take(id),
            run=self,
            name=name,
            status=status,
            conclusion=conclusion if done else None,
            started=moment(started, self.started),
            completed=moment(completed, self.updated) if done else None,
            attempt=self.attempt if attempt is None else attempt,
            labels=list(labels),
            runner_name=runner_name,
            steps=list(steps),
        )
        self.jobs.append(job)
        return job

    def add_artifact(
        self,
        name: str,
        content: bytes | Mapping[str, bytes],
        *,
        digest: str | None = "auto",
        expired: bool = False,
        created: Moment = None,
        expires: Moment = None,
        size: int | None = None,
        id: int | None = None,
    ) -> Artifact:
        """An archive as bytes, or the files to make one of; `auto` is the digest of its bytes."""
        archive = content if isinstance(content, bytes) else zip_of(content)
        since = moment(created, now())
        artifact = Artifact(
            id=self.repository.numbers["artifact"].take(id),
            run=self,
            name=name,
            content=archive,
            digest=f"sha256:{hashlib.sha256(archive).hexdigest()}" if digest == "auto" else digest,
            expired=expired,
            created=since,
            expires=moment(expires, since + timedelta(days=ARTIFACT_DAYS)),
            size=len(archive) if size is None else size,
        )
        self.artifacts.append(artifact)
        return artifact

    def rerun(self, *, status: str = "queued", conclusion: str | None = None, started: Moment = None) -> None:
        """Begin the next attempt; the one that ends stays readable as an older attempt. Its artifacts stay."""
        self.older.append(replace(self, older=[]))
        self.attempt += 1
        self.status, self.conclusion = status, conclusion
        self.started = self.updated = moment(started, now())

    def jobs_of(self, attempt: int) -> list[Job]:
        """The jobs of an attempt: of each name the newest that had started by then (a re-run may take only some)."""
        newest: dict[str, Job] = {}
        for job in sorted((job for job in self.jobs if job.attempt <= attempt), key=lambda job: job.attempt):
            newest[job.name] = job
        return list(newest.values())


@dataclass(kw_only=True, eq=False)
class Pull:
    repository: Repository
    number: int
    head_sha: str
    head_ref: str
    head_repository: Repository | None
    base_ref: str
    base_sha: str | None
    """None: where the base branch stands."""
    login: str
    title: str
    state: str
    draft: bool
    locked: bool
    merge_commit_sha: str | None
    labels: list[str]
    created: datetime
    updated: datetime


@dataclass(kw_only=True, eq=False)
class Comment:
    id: int
    number: int
    login: str
    body: str
    created: datetime
    updated: datetime
    reactions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class LabelEvent:
    id: int
    number: int
    login: str
    label: str
    created: datetime


@dataclass(kw_only=True, eq=False)
class Status:
    id: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    login: str
    created: datetime


@dataclass(kw_only=True, eq=False)
class CheckRun:
    id: int
    sha: str
    name: str
    status: str
    conclusion: str | None
    started: datetime | None
    completed: datetime | None
    details_url: str | None
    external_id: str
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Runner:
    id: int
    name: str
    labels: list[str]
    status: str = "online"
    busy: bool = False
    os: str = "linux"


class Repository:
    """One repository. The `add_…` functions fill it; what clients have posted is read from `statuses` and the like."""

    def __init__(
        self,
        full_name: str,
        id: int,
        numbers: dict[str, Numbers],
        elsewhere: Callable[[str, int | None], Repository],
        *,
        private: bool,
        fork: bool,
        default_branch: str,
    ) -> None:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", full_name), f"no full name of a repository: {full_name!r}"
        self.full_name = full_name
        self.id = id
        self.private = private
        self.fork = fork
        self.default_branch = default_branch
        self.numbers = numbers
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.runs: list[Run] = []
        self.pulls: dict[int, Pull] = {}
        self.posted_statuses: list[Status] = []
        self.posted_comments: list[Comment] = []
        self.posted_checks: list[CheckRun] = []
        self.label_events: list[LabelEvent] = []
        self.runners: list[Runner] = []
        self.collaborators: dict[str, tuple[str, str]] = {}
        """Login → (permission, role name)."""
        self._elsewhere = elsewhere

    @property
    def owner(self) -> str:
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.partition("/")[2]

    # --- commits and branches

    def add_commit(
        self,
        sha: str,
        *,
        files: Files | None = None,
        parents: Sequence[str] = (),
        message: str = "A commit",
        login: str = "alice",
        date: Moment = None,
    ) -> Commit:
        """`files` is the whole tree of the commit; without it the tree is that of the first parent."""
        assert SHA.fullmatch(sha), f"no full SHA: {sha!r}"
        inherited = self.commits[parents[0]].files if parents and parents[0] in self.commits else {}
        given = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
        tree = inherited if files is None else given
        self.commits[sha] = Commit(sha, tree, tuple(parents), message, login, moment(date, now()))
        return self.commits[sha]

    def know_commit(self, sha: str) -> None:
        """An empty commit, unless there is one: the head of a run or pull request always exists."""
        if sha not in self.commits:
            self.add_commit(sha)

    def set_branch(self, name: str, sha: str) -> None:
        self.know_commit(sha)
        self.branches[name] = sha

    def resolve(self, ref: str) -> Commit | None:
        """The commit of a branch name, a full SHA or the unambiguous start of one (at least 7 digits)."""
        name = ref.removeprefix("refs/").removeprefix("heads/")
        if ref in self.commits:
            return self.commits[ref]
        if name in self.branches:
            return self.commits[self.branches[name]]
        if match := re.fullmatch(r"(?:refs/)?pull/(\d+)/head", ref):
            pull = self.pulls.get(int(match[1]))
            return self.commits.get(pull.head_sha) if pull else None
        starts = [sha for sha in self.commits if len(ref) >= 7 and sha.startswith(ref)]
        return self.commits[starts[0]] if len(starts) == 1 else None

    def history(self, start: Commit) -> Iterator[Commit]:
        """A commit and its ancestors, breadth first."""
        queue, seen = [start.sha], set()
        while queue:
            sha = queue.pop(0)
            if sha in seen or sha not in self.commits:
                continue
            seen.add(sha)
            yield self.commits[sha]
            queue += self.commits[sha].parents

    # --- runs

    def add_run(
        self,
        *,
        head_sha: str,
        event: str = "push",
        workflow: str = ".github/workflows/build.yml",
        status: str = "completed",
        conclusion: str | None = "success",
        attempt: int = 1,
        head_repository: str | None = None,
        head_repository_id: int | None = None,
        head_branch: str | None = "main",
        created: Moment = None,
        started: Moment = None,
        updated: Moment = None,
        pull_requests: Sequence[int] = (),
        title: str = "A commit",
        actor: str = "alice",
        id: int | None = None,
    ) -> Run:
        """`head_repository` is the full name of the fork that the run is of; None for this repository."""
        self.know_commit(head_sha)
        since = moment(created, now())
        begun = moment(started, since)
        run = Run(
            repository=self,
            id=self.numbers["run"].take(id),
            number=1 + sum(run.workflow == workflow for run in self.runs),
            head_sha=head_sha,
            head_branch=head_branch,
            event=event,
            workflow=workflow,
            status=status,
            conclusion=conclusion if status == "completed" else None,
            attempt=attempt,
            head_repository=self._named(head_repository, head_repository_id),
            created=since,
            started=begun,
            updated=moment(updated, begun),
            title=title,
            pull_requests=list(pull_requests),
            actor=actor,
        )
        self.runs.append(run)
        return run

    def _named(self, full_name: str | None, id: int | None) -> Repository:
        return self if full_name in (None, self.full_name) else self._elsewhere(str(full_name), id)

    def find_run(self, number: int) -> Run | None:
        return next((run for run in self.runs if run.id == number), None)

    @property
    def artifacts(self) -> list[Artifact]:
        return [artifact for run in self.runs for artifact in run.artifacts]

    def add_runner(
        self, name: str, labels: Sequence[str] = (), *, status: str = "online", busy: bool = False
    ) -> Runner:
        """A self-hosted runner; `labels` are those beside the ones that every runner has."""
        runner = Runner(self.numbers["runner"].take(), name, list(labels), status, busy)
        self.runners.append(runner)
        return runner

    # --- conversation

    def add_pull(
        self,
        number: int,
        *,
        head_sha: str,
        head_ref: str = "feature",
        base_ref: str = "main",
        base_sha: str | None = None,
        head_repository: str | None = None,
        head_repository_id: int | None = None,
        login: str = "alice",
        title: str = "A change",
        state: str = "open",
        draft: bool = False,
        merge_commit_sha: str | None = None,
        labels: Sequence[str] = (),
        created: Moment = None,
    ) -> Pull:
        """A pull request; its head commit is known here, also when it comes from a fork."""
        self.know_commit(head_sha)
        since = moment(created, now())
        self.pulls[number] = Pull(
            repository=self,
            number=number,
            head_sha=head_sha,
            head_ref=head_ref,
            head_repository=self._named(head_repository, head_repository_id),
            base_ref=base_ref,
            base_sha=base_sha,
            login=login,
            title=title,
            state=state,
            draft=draft,
            locked=False,
            merge_commit_sha=merge_commit_sha,
            labels=list(labels),
            created=since,
            updated=since,
        )
        return self.pulls[number]

    def add_comment(self, number: int, body: str, *, login: str = "alice", created: Moment = None) -> Comment:
        """A comment that somebody wrote in a pull request."""
        since = moment(created, now())
        comment = Comment(
            id=self.numbers["comment"].take(), number=number, login=login, body=body, created=since, updated=since
        )
        self.posted_comments.append(comment)
        if number in self.pulls:
            self.pulls[number].updated = max(self.pulls[number].updated, since)
        return comment

    def add_label(self, number: int, label: str, *, login: str = "alice", created: Moment = None) -> LabelEvent:
        """Somebody sets a label on a pull request."""
        since = moment(created, now())
        event = LabelEvent(self.numbers["event"].take(), number, login, label, since)
        self.label_events.append(event)
        pull = self.pulls[number]
        pull.labels.append(label)
        pull.updated = max(pull.updated, since)
        return event

    def set_permission(self, login: str, permission: str, role_name: str | None = None) -> None:
        """What a user may do here: `admin`, `write`, `read` or `none`; the role may say `maintain` or `triage`."""
        self.collaborators[login] = (permission, role_name or permission)

    # --- what was posted

    def statuses(self, sha: str) -> list[dict[str, Any]]:
        """Every status ever posted to a commit, oldest first."""
        return [
            {
                "state": status.state,
                "context": status.context,
                "description": status.description,
                "target_url": status.target_url,
                "creator": status.login,
                "created_at": stamp(status.created),
            }
            for status in self.posted_statuses
            if status.sha == sha
        ]

    def all_statuses(self) -> list[tuple[str, str, str]]:
        """(SHA, context, state) of every status ever posted, oldest first: nothing else was touched."""
        return [(status.sha, status.context, status.state) for status in self.posted_statuses]

    def comments(self, number: int) -> list[dict[str, Any]]:
        """The comments of a pull request as they stand, oldest first."""
        return [
            {
                "id": comment.id,
                "user": comment.login,
                "body": comment.body,
                "created_at": stamp(comment.created),
                "updated_at": stamp(comment.updated),
                "reactions": [reaction["content"] for reaction in comment.reactions],
            }
            for comment in self.posted_comments
            if comment.number == number
        ]

    def check_runs(self, sha: str) -> list[dict[str, Any]]:
        """The check runs of a commit as they stand, oldest first."""
        return [
            {
                "id": check.id,
                "name": check.name,
                "status": check.status,
                "conclusion": check.conclusion,
                "details_url": check.details_url,
                "external_id": check.external_id,
                "title": check.title,
                "summary": check.summary,
                "text": check.text,
                "annotations": list(check.annotations),
            }
            for check in self.posted_checks
            if check.sha == sha
        ]
