"""The operations of the fake GitHub: what each is called, what it needs, and what it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from fakes.github_json import Json, Shapes, reaction
from fakes.github_state import (
    SHA,
    Artifact,
    CheckRun,
    Comment,
    Commit,
    Job,
    Numbers,
    Pull,
    Repository,
    Run,
    Status,
    Token,
    now,
    optional_moment,
)
from fakes.serving import Answer, BlobStore, Call, json_answer

T = TypeVar("T")

MAX_DESCRIPTION = 140
MAX_CONTEXT = 255
MAX_STATUSES = 1000
"""Per commit and context."""
MAX_COMMENT = 65536
MAX_CHECK_TEXT = 65535
MAX_ANNOTATIONS = 50
"""Per request."""
MAX_SEARCHED_RUNS = 1000
"""Runs that a list with a filter shows at most."""
MAX_PAGE = 100
STATES = ("error", "failure", "pending", "success")
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "stale", "timed_out")
REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
DOCS = "https://docs.github.com/rest"


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, errors: Sequence[Json | str] = ()) -> None:
        super().__init__(message)
        self.answer = error(status, message, errors)


def error(status: int, message: str, errors: Sequence[Json | str] = ()) -> Answer:
    body: Json = {"message": message, "documentation_url": DOCS, "status": str(status)}
    return json_answer(status, body | ({"errors": list(errors)} if errors else {}))


def not_found() -> Refused:
    return Refused(404, "Not Found")


def invalid(resource: str, field: str, message: str, code: str = "custom") -> Refused:
    """What GitHub says of a value that it does not take."""
    return Refused(422, "Validation Failed", [{"resource": resource, "code": code, "field": field, "message": message}])


class Forge(Protocol):
    """What the operations ask of the server."""

    blobs: BlobStore
    numbers: dict[str, Numbers]
    head_sha_filter_is_empty: bool

    @property
    def url(self) -> str: ...
    @property
    def shapes(self) -> Shapes: ...
    def knows_user(self, login: str) -> bool: ...
    def rate_limits(self, token: Token | None) -> Json: ...


@dataclass(frozen=True)
class Ask:
    """One request, with everything looked up that its path names."""

    forge: Forge
    call: Call
    token: Token
    arguments: dict[str, str]
    repository: Repository | None

    @property
    def repo(self) -> Repository:
        assert self.repository is not None
        return self.repository

    @property
    def shapes(self) -> Shapes:
        return self.forge.shapes

    def number(self, name: str) -> int:
        if not self.arguments[name].isdecimal():
            raise not_found()
        return int(self.arguments[name])

    @property
    def body(self) -> Json:
        try:
            document = self.call.json()
        except ValueError:
            raise Refused(400, "Problems parsing JSON") from None
        if not isinstance(document, dict):
            raise Refused(400, "Body should be a JSON object")
        return document

    @property
    def commit(self) -> Commit:
        """The commit that `ref` names."""
        ref = self.arguments["ref"]
        commit = self.repo.resolve(ref)
        if commit is None:
            raise Refused(422, f"No commit found for SHA: {ref}")
        return commit

    @property
    def run(self) -> Run:
        run = self.repo.find_run(self.number("run_id"))
        if run is None:
            raise not_found()
        return run

    @property
    def pull(self) -> Pull:
        pull = self.repo.pulls.get(self.number("number"))
        if pull is None:
            raise not_found()
        return pull


# --- pages --------------------------------------------------------------------------------------------------


def paged(ask: Ask, items: Sequence[T], shape: Callable[[T], Json], key: str = "") -> Answer:
    """A page of a list; under `key` beside the count of all where the operation wraps it so."""
    size = min(_positive(ask, "per_page", 30), MAX_PAGE)
    page = _positive(ask, "page", 1)
    last = max(1, -(-len(items) // size))
    shown = [shape(item) for item in items[(page - 1) * size : page * size]]
    links = _links(ask, page, last)
    headers = {"Link": links} if links else {}
    return json_answer(200, {"total_count": len(items), key: shown} if key else shown, headers)


def _positive(ask: Ask, name: str, default: int) -> int:
    text = ask.call.query.get(name, "")
    return max(1, int(text)) if text.isdecimal() else default


def _links(ask: Ask, page: int, last: int) -> str:
    """The `Link` header. Its addresses name the repository by its id, as the live ones do."""
    pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    shown = {rel: number for rel, number in pages.items() if (number > page) == (rel in ("next", "last"))}
    path = re.sub(r"^/repos/[^/]+/[^/]+", f"/repositories/{ask.repo.id}", ask.call.described_path)
    return ", ".join(
        f'<{ask.forge.url}{path}?{urlencode(ask.call.query | {"page": str(number)})}>; rel="{rel}"'
        for rel, number in shown.items()
        if 1 <= number <= last and number != page
    )


def newest_first(items: Iterable[T], when: Callable[[T], tuple[datetime, int]]) -> list[T]:
    return sorted(items, key=when, reverse=True)


# --- repository, commits, contents --------------------------------------------------------------------------


def get_repository(ask: Ask) -> Answer:
    return json_answer(200, ask.shapes.repository(ask.repo))


def list_branches(ask: Ask) -> Answer:
    return paged(ask, sorted(ask.repo.branches), lambda name: ask.shapes.branch(ask.repo, name))


def get_branch(ask: Ask) -> Answer:
    if ask.arguments["name"] not in ask.repo.branches:
        raise Refused(404, "Branch not found")
    return json_answer(200, ask.shapes.whole_branch(ask.repo, ask.arguments["name"]))


def get_commit(ask: Ask) -> Answer:
    if "sha" in ask.call.header("Accept"):
        return Answer(200, ask.commit.sha.encode(), {"Content-Type": "application/vnd.github.sha; charset=utf-8"})
    return json_answer(200, ask.shapes.whole_commit(ask.repo, ask.commit))


def list_commits(ask: Ask) -> Answer:
    start = ask.repo.resolve(ask.call.query.get("sha") or ask.repo.default_branch)
    if start is None:
        raise not_found()
    path = ask.call.query.get("path", "")
    commits = [commit for commit in ask.repo.history(start) if not path or _changes(ask.repo, commit, path)]
    return paged(ask, commits, lambda commit: ask.shapes.commit(ask.repo, commit))


def _changes(repo: Repository, commit: Commit, path: str) -> bool:
    parents = [repo.commits[sha].files.get(path) for sha in commit.parents if sha in repo.commits]
    return all(commit.files.get(path) != before for before in parents or [None])


def list_commit_pulls(ask: Ask) -> Answer:
    pulls = [pull for pull in ask.repo.pulls.values() if ask.commit.sha in (pull.head_sha, pull.merge_commit_sha)]
    return paged(ask, pulls, ask.shapes.pull)


def get_contents(ask: Ask) -> Answer:
    ref = ask.call.query.get("ref") or ask.repo.default_branch
    commit = ask.repo.resolve(ref)
    if commit is None:
        raise Refused(404, f"No commit found for the ref {ref}")
    path = ask.arguments["path"].strip("/")
    if path not in commit.files:
        if entries := ask.shapes.folder(ask.repo, path, commit.files, ref):
            return json_answer(200, entries)
        raise not_found()
    content, accept = commit.files[path], ask.call.header("Accept")
    if ".raw" in accept:
        return Answer(200, content, {"Content-Type": "application/vnd.github.raw+json; charset=utf-8"})
    return json_answer(200, ask.shapes.file(ask.repo, path, content, ref))


# --- actions ------------------------------------------------------------------------------------------------


def list_runs(ask: Ask) -> Answer:
    query = ask.call.query
    for run in list(ask.repo.runs):
        run.look("list_runs")
    runs = newest_first((run for run in ask.repo.runs if _matches(run, query)), lambda run: (run.created, run.id))
    if query.get("head_sha") and ask.forge.head_sha_filter_is_empty:
        runs = []
    if any(query.get(name) for name in ("head_sha", "event", "status", "branch", "created", "actor")):
        runs = runs[:MAX_SEARCHED_RUNS]
    return paged(ask, runs, ask.shapes.run, "workflow_runs")


def list_workflow_runs(ask: Ask) -> Answer:
    """The runs of one workflow, named by the file's name or by the workflow's id."""
    workflow = ask.arguments["workflow_id"]
    for run in list(ask.repo.runs):
        run.look("list_runs")
    named = [
        run
        for run in ask.repo.runs
        if workflow in (run.workflow.rpartition("/")[2], str(ask.shapes.run(run)["workflow_id"]))
    ]
    if not named:
        raise not_found()
    runs = newest_first((run for run in named if _matches(run, ask.call.query)), lambda run: (run.created, run.id))
    if ask.call.query.get("head_sha") and ask.forge.head_sha_filter_is_empty:
        runs = []
    return paged(ask, runs, ask.shapes.run, "workflow_runs")


def _matches(run: Run, query: dict[str, str]) -> bool:
    wanted = {
        "head_sha": (run.head_sha,),
        "event": (run.event,),
        "branch": (run.head_branch,),
        "status": (run.status, run.conclusion),
        "actor": (run.actor,),
    }
    filters = all(not query.get(name) or query[name] in values for name, values in wanted.items())
    return filters and _created_in(run.created, query.get("created", ""))


def _created_in(created: datetime, span: str) -> bool:
    """GitHub's search syntax for dates: a day or moment, `>`, `>=`, `<`, `<=`, or `a..b` with `*` for an open end."""
    if not span:
        return True
    first, dots, last = span.partition("..")
    if dots:
        return (first == "*" or created >= _edges(first)[0]) and (last == "*" or created < _edges(last)[1])
    sign = span[: len(span) - len(span.lstrip("<>="))]
    begin, end = _edges(span[len(sign) :])
    return {">": created >= end, ">=": created >= begin, "<": created < begin, "<=": created < end}.get(
        sign, begin <= created < end
    )


def _edges(text: str) -> tuple[datetime, datetime]:
    """First moment of a day or second, and first after it."""
    try:
        begin = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(422, "Validation Failed", [f"{text!r} is not a recognized date/time format."]) from None
    length = timedelta(days=1) if len(text) == len("2026-01-01") else timedelta(seconds=1)
    begin = begin if begin.tzinfo else begin.replace(tzinfo=UTC)
    return begin, begin + length


def get_run(ask: Ask) -> Answer:
    ask.run.look("get_run")
    return json_answer(200, ask.shapes.run(ask.run))


def get_run_attempt(ask: Ask) -> Answer:
    ask.run.look("get_run_attempt")
    return json_answer(200, ask.shapes.run(_attempt(ask)))


def _attempt(ask: Ask) -> Run:
    run, attempt = ask.run, ask.number("attempt")
    found = next((known for known in (run, *run.older) if known.attempt == attempt), None)
    if found is None:
        raise not_found()
    return found


def list_jobs(ask: Ask) -> Answer:
    run = ask.run
    for job in list(run.jobs):
        job.look("list_jobs")
    every = ask.call.query.get("filter") == "all"
    return _jobs(ask, run.jobs if every else run.jobs_of(run.attempt))


def list_attempt_jobs(ask: Ask) -> Answer:
    attempt = _attempt(ask).attempt
    for job in list(ask.run.jobs):
        job.look("list_attempt_jobs")
    return _jobs(ask, ask.run.jobs_of(attempt))


def _jobs(ask: Ask, jobs: Sequence[Job]) -> Answer:
    return paged(ask, jobs, ask.shapes.job, "jobs")


def get_job(ask: Ask) -> Answer:
    number = ask.number("job_id")
    job = next((job for run in ask.repo.runs for job in run.jobs if job.id == number), None)
    if job is None:
        raise not_found()
    job.look("get_job")
    return json_answer(200, ask.shapes.job(job))


def list_run_artifacts(ask: Ask) -> Answer:
    return _artifacts(ask, ask.run.artifacts)


def list_artifacts(ask: Ask) -> Answer:
    return _artifacts(ask, ask.repo.artifacts)


def _artifacts(ask: Ask, artifacts: Sequence[Artifact]) -> Answer:
    name = ask.call.query.get("name", "")
    shown = [artifact for artifact in artifacts if name in ("", artifact.name)]
    return paged(ask, newest_first(shown, lambda known: (known.created, known.id)), ask.shapes.artifact, "artifacts")


def _artifact(ask: Ask) -> Artifact:
    number = ask.number("artifact_id")
    artifact = next((known for known in ask.repo.artifacts if known.id == number), None)
    if artifact is None:
        raise not_found()
    return artifact


def get_artifact(ask: Ask) -> Answer:
    return json_answer(200, ask.shapes.artifact(_artifact(ask)))


def download_artifact(ask: Ask) -> Answer:
    artifact = _artifact(ask)
    if ask.arguments["archive_format"] != "zip":
        raise not_found()
    if artifact.expired:
        raise Refused(410, "Artifact has expired")
    blobs = ask.forge.blobs
    artifact.blob = artifact.blob or blobs.put(artifact.content, f"{artifact.name}.zip")
    return Answer(302, b"", {"Location": blobs.link(artifact.blob), "Content-Type": "text/html;charset=utf-8"})


def list_runners(ask: Ask) -> Answer:
    name = ask.call.query.get("name", "")
    runners = [runner for runner in ask.repo.runners if name in ("", runner.name)]
    return paged(ask, runners, ask.shapes.runner, "runners")


# --- statuses -----------------------------------------------------------------------------------------------


def create_status(ask: Ask) -> Answer:
    sha, body = ask.arguments["sha"], ask.body
    if not SHA.fullmatch(sha):
        raise invalid("Status", "sha", "sha must be a 40 character SHA1")
    if sha not in ask.repo.commits:
        raise Refused(422, f"No commit found for SHA: {sha}")
    context = body.get("context") or "default"
    _check_status(body, context)
    earlier = sum((known.sha, known.context) == (sha, context) for known in ask.repo.posted_statuses)
    if earlier >= MAX_STATUSES:
        text = "This SHA and context has reached the maximum number of statuses."
        raise Refused(422, "Validation Failed", [{"resource": "Status", "code": "custom", "message": text}])
    status = Status(
        id=ask.forge.numbers["status"].take(),
        sha=sha,
        state=body["state"],
        context=context,
        description=body.get("description"),
        target_url=body.get("target_url"),
        login=ask.token.login,
        created=now(),
    )
    ask.repo.posted_statuses.append(status)
    return json_answer(201, ask.shapes.status(ask.repo, status))


def _check_status(body: Json, context: str) -> None:
    if body.get("state") not in STATES:
        raise invalid("Status", "state", "state is not included in the list")
    for field, text, limit in (
        ("description", body.get("description") or "", MAX_DESCRIPTION),
        ("context", context, MAX_CONTEXT),
    ):
        if len(text) > limit:
            raise invalid("Status", field, f"{field} is too long (maximum is {limit} characters)")
    target = body.get("target_url")
    if target and urlsplit(target).scheme not in ("http", "https"):
        raise invalid("Status", "target_url", "target_url must use http(s) scheme")


def list_statuses(ask: Ask) -> Answer:
    sha = _readable_commit(ask).sha
    statuses = [status for status in reversed(ask.repo.posted_statuses) if status.sha == sha]
    return paged(ask, statuses, lambda status: ask.shapes.status(ask.repo, status))


def get_combined_status(ask: Ask) -> Answer:
    sha, url = _readable_commit(ask).sha, ask.shapes.repository_url(ask.repo)
    newest = {status.context: status for status in ask.repo.posted_statuses if status.sha == sha}
    states = {status.state for status in newest.values()}
    bad, open_ = states & {"error", "failure"}, "pending" in states or not states
    answer = paged(ask, list(newest.values()), lambda status: ask.shapes.simple_status(ask.repo, status), "statuses")
    return _with(
        answer,
        state="failure" if bad else "pending" if open_ else "success",
        sha=sha,
        repository=ask.shapes.small_repository(ask.repo),
        commit_url=f"{url}/commits/{sha}",
        url=f"{url}/commits/{sha}/status",
    )


def _readable_commit(ask: Ask) -> Commit:
    commit = ask.repo.resolve(ask.arguments["ref"])
    if commit is None:
        raise not_found()
    return commit


def _with(answer: Answer, **more: Any) -> Answer:
    """A JSON answer with more in it."""
    wider = json_answer(answer.status, Call("", "", "", {}, {}, answer.body).json() | more)
    return Answer(answer.status, wider.body, answer.headers)


# --- check runs ---------------------------------------------------------------------------------------------


def create_check_run(ask: Ask) -> Answer:
    body = ask.body
    sha = body.get("head_sha", "")
    for needed in ("name", "head_sha"):
        if not body.get(needed):
            raise Refused(422, f'Invalid request.\n\n"{needed}" wasn\'t supplied.')
    if sha not in ask.repo.commits:
        raise Refused(422, f"No commit found for SHA: {sha}")
    check = CheckRun(
        id=ask.forge.numbers["check"].take(),
        sha=sha,
        name=body["name"],
        status="queued",
        conclusion=None,
        started=now(),
        completed=None,
        details_url=None,
        external_id="",
    )
    _change_check(check, body)
    ask.repo.posted_checks.append(check)
    return json_answer(201, ask.shapes.check_run(ask.repo, check))


def update_check_run(ask: Ask) -> Answer:
    check = _check(ask)
    _change_check(check, ask.body)
    return json_answer(200, ask.shapes.check_run(ask.repo, check))


def get_check_run(ask: Ask) -> Answer:
    return json_answer(200, ask.shapes.check_run(ask.repo, _check(ask)))


def _check(ask: Ask) -> CheckRun:
    number = ask.number("check_run_id")
    check = next((known for known in ask.repo.posted_checks if known.id == number), None)
    if check is None:
        raise not_found()
    return check


def _change_check(check: CheckRun, body: Json) -> None:
    output = body.get("output") or {}
    _check_output(output)
    conclusion, status = body.get("conclusion"), body.get("status")
    if conclusion is not None and conclusion not in CONCLUSIONS:
        raise Refused(422, f"Invalid request.\n\n{conclusion} is not a member of {list(CONCLUSIONS)}.")
    if status == "completed" and conclusion is None:
        raise Refused(422, 'Invalid request.\n\n"conclusion" wasn\'t supplied.')
    check.name = body.get("name", check.name)
    check.details_url = body.get("details_url", check.details_url)
    check.external_id = body.get("external_id", check.external_id)
    check.started = optional_moment(body.get("started_at")) or check.started
    # A conclusion completes the check, whatever its status says.
    check.status = "completed" if conclusion else status or check.status
    check.conclusion = conclusion if conclusion else check.conclusion if check.status == "completed" else None
    if check.status == "completed":
        check.completed = optional_moment(body.get("completed_at")) or now()
    check.title = output.get("title", check.title)
    check.summary = output.get("summary", check.summary)
    check.text = output.get("text", check.text)
    check.annotations += output.get("annotations") or []


def _check_output(output: Json) -> None:
    annotations = output.get("annotations") or []
    if len(annotations) > MAX_ANNOTATIONS:
        count = f"No more than {MAX_ANNOTATIONS} items are allowed; {len(annotations)} were supplied."
        raise Refused(422, f"Invalid request.\n\n{count}")
    for field in ("summary", "text"):
        length = len(output.get(field) or "")
        if length > MAX_CHECK_TEXT:
            text = f"Only {MAX_CHECK_TEXT} characters are allowed; {length} were supplied."
            raise Refused(422, f"Invalid request.\n\n{text}")
    if output and not output.get("summary"):
        raise Refused(422, 'Invalid request.\n\n"summary" wasn\'t supplied.')


def list_check_runs(ask: Ask) -> Answer:
    sha, query = ask.commit.sha, ask.call.query
    checks = [
        check
        for check in reversed(ask.repo.posted_checks)
        if check.sha == sha
        and query.get("check_name", check.name) == check.name
        and query.get("status", check.status) == check.status
    ]
    return paged(ask, checks, lambda check: ask.shapes.check_run(ask.repo, check), "check_runs")


# --- pull requests and comments -----------------------------------------------------------------------------


def get_pull(ask: Ask) -> Answer:
    return json_answer(200, ask.shapes.whole_pull(ask.pull))


def list_pulls(ask: Ask) -> Answer:
    query = ask.call.query
    state = query.get("state", "open")
    pulls = [
        pull
        for pull in ask.repo.pulls.values()
        if state in ("all", pull.state)
        and query.get("base", pull.base_ref) == pull.base_ref
        and query.get("head", "") in ("", _label(pull))
    ]
    key = "updated" if query.get("sort") == "updated" else "created"
    pulls.sort(key=lambda pull: (getattr(pull, key), pull.number), reverse=query.get("direction", "desc") == "desc")
    return paged(ask, pulls, ask.shapes.pull)


def _label(pull: Pull) -> str:
    return f"{(pull.head_repository or pull.repository).owner}:{pull.head_ref}"


def list_comments(ask: Ask) -> Answer:
    number = ask.pull.number
    since = optional_moment(ask.call.query.get("since"))
    comments = [
        comment
        for comment in ask.repo.posted_comments
        if comment.number == number and (since is None or comment.updated >= since)
    ]
    return paged(ask, comments, lambda comment: ask.shapes.comment(ask.repo, comment))


def list_issues(ask: Ask) -> Answer:
    """Pull requests are issues, too; there are no others here."""
    query = ask.call.query
    when = (lambda pull: pull.updated) if query.get("sort") == "updated" else (lambda pull: pull.created)
    pulls = [pull for pull in ask.repo.pulls.values() if query.get("state", "open") in ("all", pull.state)]
    pulls = sorted(pulls, key=lambda pull: (when(pull), pull.number), reverse=query.get("direction", "desc") == "desc")
    return paged(ask, pulls, ask.shapes.issue)


def list_issue_events(ask: Ask) -> Answer:
    events = sorted(ask.repo.label_events, key=lambda event: event.id, reverse=True)
    return paged(ask, events, lambda event: ask.shapes.label_event(ask.repo, event))


def list_all_comments(ask: Ask) -> Answer:
    query = ask.call.query
    since = optional_moment(query.get("since"))
    found = [comment for comment in ask.repo.posted_comments if since is None or comment.updated >= since]
    if query.get("sort"):  # without it the order of the ids, and `direction` is ignored
        key = "updated" if query["sort"] == "updated" else "created"
        backwards = query.get("direction") != "asc"
        found = sorted(found, key=lambda comment: (getattr(comment, key), comment.id), reverse=backwards)
    return paged(ask, found, lambda comment: ask.shapes.comment(ask.repo, comment))


def create_comment(ask: Ask) -> Answer:
    text = _comment_text(ask)
    if ask.pull.locked:
        raise Refused(403, "Unable to create comment because issue is locked.")
    comment = ask.repo.add_comment(ask.pull.number, text, login=ask.token.login)
    return json_answer(201, ask.shapes.comment(ask.repo, comment))


def _comment_text(ask: Ask) -> str:
    text = ask.body.get("body")
    if not isinstance(text, str) or not text.strip():
        raise invalid("IssueComment", "body", "body can't be blank", "missing_field")
    if len(text) > MAX_COMMENT:
        raise invalid("IssueComment", "body", f"body is too long (maximum is {MAX_COMMENT} characters)")
    return text


def _comment(ask: Ask) -> Comment:
    number = ask.number("comment_id")
    comment = next((known for known in ask.repo.posted_comments if known.id == number), None)
    if comment is None:
        raise not_found()
    return comment


def get_comment(ask: Ask) -> Answer:
    return json_answer(200, ask.shapes.comment(ask.repo, _comment(ask)))


def update_comment(ask: Ask) -> Answer:
    comment = _comment(ask)
    comment.body, comment.updated = _comment_text(ask), now()
    return json_answer(200, ask.shapes.comment(ask.repo, comment))


def create_reaction(ask: Ask) -> Answer:
    comment, content = _comment(ask), ask.body.get("content")
    if content not in REACTIONS:
        raise invalid("Reaction", "content", f"content must be one of {', '.join(REACTIONS)}")
    given = [
        known
        for known in comment.reactions
        if known["content"] == content and known["user"]["login"] == ask.token.login
    ]
    if given:
        return json_answer(200, given[0])
    comment.reactions.append(reaction(ask.shapes, ask.forge.numbers["reaction"].take(), ask.token, content))
    return json_answer(201, comment.reactions[-1])


def remove_label(ask: Ask) -> Answer:
    pull, name = ask.pull, ask.arguments["name"]
    if name not in pull.labels:
        raise Refused(404, "Label does not exist")
    pull.labels.remove(name)
    pull.updated = now()
    return json_answer(200, [ask.shapes.label(ask.repo, left) for left in pull.labels])


# --- people and limits --------------------------------------------------------------------------------------


def get_user(ask: Ask) -> Answer:
    if ask.token.kind == "installation":
        raise Refused(403, "Resource not accessible by integration")
    return json_answer(200, ask.shapes.public_user(ask.token.login))


def get_rate_limit(ask: Ask) -> Answer:
    return json_answer(200, ask.forge.rate_limits(ask.token))


def get_permission(ask: Ask) -> Answer:
    login = ask.arguments["username"]
    if login in ask.repo.collaborators:
        permission, role = ask.repo.collaborators[login]
    elif ask.forge.knows_user(login):
        permission, role = ("none", "") if ask.repo.private else ("read", "read")
    else:
        raise Refused(404, f"{login} is not a user")
    return json_answer(200, ask.shapes.permission(login, permission, role))


# --- the table ----------------------------------------------------------------------------------------------

REPO = "/repos/{owner}/{repo}"
TAILS = {"path": ".*", "ref": ".+?", "username": ".+", "name": ".+"}
"""Parameters that may hold a slash or be empty."""
CONVERSATION = ("issues", "pull_requests")


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    operation: str
    do: Callable[[Ask], Answer]
    permissions: Sequence[str] = ()
    """One of these a fine-grained token needs; none where any token will do."""
    level: str = "read"
    app_only: bool = False
    public: bool = True
    """A public repository is read without the permission."""
    described: str = ""
    """The template in the API description, where this one is another name that works though it is not described."""

    @property
    def pattern(self) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", self.template)
        names = (f"(?P<{name}>{TAILS.get(name, '[^/]+')})" for name in parts[1::2])
        literal = [re.escape(text) for text in parts[::2]]
        return re.compile("".join(part for pair in zip(literal, [*names, ""], strict=True) for part in pair))

    def path(self, arguments: dict[str, str]) -> str:
        """The path as a description has it: every parameter in one piece."""
        return re.sub(r"\{(\w+)\}", lambda match: quote(arguments[match[1]], safe=""), self.described or self.template)


def _read(template: str, operation: str, do: Callable[[Ask], Answer], *permissions: str) -> Route:
    return Route("GET", template, operation, do, permissions)


def _write(method: str, template: str, operation: str, do: Callable[[Ask], Answer], *permissions: str) -> Route:
    return Route(method, template, operation, do, permissions, "write", public=False)


ROUTES = (
    _read(REPO, "get_repository", get_repository, "metadata"),
    _read(f"{REPO}/branches", "list_branches", list_branches, "contents"),
    _read(f"{REPO}/branches/{{name}}", "get_branch", get_branch, "contents"),
    _read(f"{REPO}/commits", "list_commits", list_commits, "contents"),
    _read(f"{REPO}/commits/{{ref}}/status", "get_combined_status", get_combined_status, "statuses"),
    _read(f"{REPO}/commits/{{ref}}/statuses", "list_statuses", list_statuses, "statuses"),
    _read(f"{REPO}/commits/{{ref}}/check-runs", "list_check_runs", list_check_runs, "checks"),
    _read(f"{REPO}/commits/{{ref}}/pulls", "list_commit_pulls", list_commit_pulls, "pull_requests"),
    _read(f"{REPO}/commits/{{ref}}", "get_commit", get_commit, "contents"),
    _read(f"{REPO}/contents/{{path}}", "get_contents", get_contents, "contents"),
    _read(f"{REPO}/actions/runs", "list_runs", list_runs, "actions"),
    _read(f"{REPO}/actions/workflows/{{workflow_id}}/runs", "list_workflow_runs", list_workflow_runs, "actions"),
    _read(f"{REPO}/actions/runs/{{run_id}}", "get_run", get_run, "actions"),
    _read(f"{REPO}/actions/runs/{{run_id}}/attempts/{{attempt}}", "get_run_attempt", get_run_attempt, "actions"),
    _read(
        f"{REPO}/actions/runs/{{run_id}}/attempts/{{attempt}}/jobs", "list_attempt_jobs", list_attempt_jobs, "actions"
    ),
    _read(f"{REPO}/actions/runs/{{run_id}}/jobs", "list_jobs", list_jobs, "actions"),
    _read(f"{REPO}/actions/runs/{{run_id}}/artifacts", "list_run_artifacts", list_run_artifacts, "actions"),
    _read(f"{REPO}/actions/jobs/{{job_id}}", "get_job", get_job, "actions"),
    _read(f"{REPO}/actions/artifacts", "list_artifacts", list_artifacts, "actions"),
    _read(f"{REPO}/actions/artifacts/{{artifact_id}}", "get_artifact", get_artifact, "actions"),
    Route(
        "GET",
        f"{REPO}/actions/artifacts/{{artifact_id}}/{{archive_format}}",
        "download_artifact",
        download_artifact,
        ("actions",),
        public=False,
    ),
    Route("GET", f"{REPO}/actions/runners", "list_runners", list_runners, ("administration",), public=False),
    Route(  # what `statuses_url` of pull requests leads to, and what PyGithub calls
        "GET",
        f"{REPO}/statuses/{{ref}}",
        "list_statuses",
        list_statuses,
        ("statuses",),
        described=f"{REPO}/commits/{{ref}}/statuses",
    ),
    _write("POST", f"{REPO}/statuses/{{sha}}", "create_status", create_status, "statuses"),
    Route("POST", f"{REPO}/check-runs", "create_check_run", create_check_run, ("checks",), "write", True, False),
    Route(
        "PATCH",
        f"{REPO}/check-runs/{{check_run_id}}",
        "update_check_run",
        update_check_run,
        ("checks",),
        "write",
        True,
        False,
    ),
    _read(f"{REPO}/check-runs/{{check_run_id}}", "get_check_run", get_check_run, "checks"),
    _read(f"{REPO}/pulls", "list_pulls", list_pulls, "pull_requests"),
    _read(f"{REPO}/pulls/{{number}}", "get_pull", get_pull, "pull_requests"),
    _read(f"{REPO}/issues", "list_issues", list_issues, *CONVERSATION),
    _read(f"{REPO}/issues/events", "list_issue_events", list_issue_events, *CONVERSATION),
    _read(f"{REPO}/issues/comments", "list_all_comments", list_all_comments, *CONVERSATION),
    _read(f"{REPO}/issues/{{number}}/comments", "list_comments", list_comments, *CONVERSATION),
    _write("POST", f"{REPO}/issues/{{number}}/comments", "create_comment", create_comment, *CONVERSATION),
    _read(f"{REPO}/issues/comments/{{comment_id}}", "get_comment", get_comment, *CONVERSATION),
    _write("PATCH", f"{REPO}/issues/comments/{{comment_id}}", "update_comment", update_comment, *CONVERSATION),
    _write(
        "POST", f"{REPO}/issues/comments/{{comment_id}}/reactions", "create_reaction", create_reaction, *CONVERSATION
    ),
    _write("DELETE", f"{REPO}/issues/{{number}}/labels/{{name}}", "remove_label", remove_label, *CONVERSATION),
    _read(f"{REPO}/collaborators/{{username}}/permission", "get_permission", get_permission, "metadata"),
    _read("/user", "get_user", get_user),
    _read("/rate_limit", "get_rate_limit", get_rate_limit),
)
_PATTERNS = [(route, route.pattern) for route in ROUTES]


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The operation of a request and its path parameters, decoded."""
    for route, pattern in _PATTERNS:
        match = pattern.fullmatch(path)
        if match and method in (route.method, "HEAD" if route.method == "GET" else route.method):
            return route, {name: unquote(text) for name, text in match.groupdict().items()}
    return None


def refuse_permission(token: Token) -> NoReturn:
    kind = "integration" if token.kind == "installation" else "personal access token"
    raise Refused(403, f"Resource not accessible by {kind}")
