"""What each operation of GitLab's REST API does, as far as it is used: the table OPERATIONS and its handlers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from fakes import gitlab_entities as entities
from fakes import gitlab_statuses
from fakes.gitlab_access import Asked, Operation, invalid
from fakes.gitlab_ci import DONE, PIPELINE_STATES, Job, Pipeline, Status
from fakes.gitlab_parameters import choice, paged, truth, words
from fakes.gitlab_state import (
    DEVELOPER,
    GUEST,
    MAINTAINER,
    OWNER,
    REPORTER,
    Award,
    Commit,
    MergeRequest,
    Note,
    Refused,
    User,
)
from fakes.gitlab_time import moment_of, stamp
from fakes.serving import Answer, json_answer

PREFIX = "/api/v4"
MAX_NOTE = 1_000_000
"""Characters of a note (app/models/note.rb)."""
SOURCES = (
    "unknown", "push", "web", "trigger", "schedule", "api", "external", "pipeline", "chat", "webide",
    "merge_request_event", "external_pull_request_event", "parent_pipeline", "ondemand_dast_scan",
    "ondemand_dast_validation", "security_orchestration_policy", "container_registry_push", "duo_workflow",
    "pipeline_execution_policy_schedule", "dependency_management_security_update",
)  # fmt: skip
QUICK_ACTION = re.compile(
    r"^/(approve|assign|assign_reviewer|close|copy_metadata|done|draft|due|estimate|label|lock|merge|milestone|ready|"
    r"rebase|relabel|reopen|request_review|run_pipeline|shrug|spend|submit_review|subscribe|tableflip|target_branch|"
    r"title|todo|unapprove|unassign|unlabel|unlock|unsubscribe)\b",
)
"""Lines of a note that GitLab obeys instead of showing them."""


# --- what is named in the path ------------------------------------------------------------------------------


def _commit(asked: Asked, revision: str) -> Commit:
    commit = asked.project.commit(revision)
    if commit is None:
        raise Refused(404, "404 Commit Not Found")
    return commit


def _merge_request(asked: Asked) -> MergeRequest:
    request = asked.project.merge_requests.get(_id(asked, "merge_request_iid", "noteable_id", "eventable_id"))
    if request is None:
        raise Refused(404, "404 Not found")
    request.look(asked.operation.name)
    return request


def _pipeline(asked: Asked) -> Pipeline:
    pipeline = asked.project.pipeline(_id(asked, "pipeline_id"))
    if pipeline is None:
        raise Refused(404, "404 Not found")
    return pipeline


def _job(asked: Asked) -> Job:
    job = asked.project.job(_id(asked, "job_id"))
    if job is None:
        raise Refused(404, "404 Not found")
    job.look(asked.operation.name)
    return job


def _id(asked: Asked, *names: str) -> int:
    name = next(name for name in names if name in asked.args)
    if not asked.args[name].isdecimal():
        raise invalid(f"{name} is invalid")
    return int(asked.args[name])


# --- people and projects ------------------------------------------------------------------------------------


def get_user(asked: Asked) -> Answer:
    return json_answer(200, entities.user_public(asked.me, asked.url))


def get_own_token(asked: Asked) -> Answer:
    assert asked.token is not None
    if asked.token.kind not in ("personal", "project"):
        text = "This endpoint requires token type to be a personal access token"
        raise Refused(400, f"400 Bad request - {text}")
    return json_answer(200, entities.own_token(asked.token))


def get_project(asked: Asked) -> Answer:
    return json_answer(200, entities.project(asked.project, asked.url, asked.level))


def get_member(asked: Asked) -> Answer:
    user = asked.instance.find_user(_id(asked, "user_id"))
    level = asked.instance.access_level(user, asked.project)
    if user is None or not level:
        raise Refused(404, "404 Not found")
    return json_answer(200, entities.member(user, level, asked.url))


def list_runners(asked: Asked) -> Answer:
    """Tags are a filter only: the list does not show them."""
    params = asked.params
    wanted = set(words(params.get("tag_list") or []))
    kind = choice(params, "type", ("instance_type", "group_type", "project_type"))
    status = choice(params, "status", ("active", "paused", "online", "offline", "never_contacted", "stale"))
    runners = [
        runner
        for runner in asked.project.runners
        if wanted <= set(runner.tags)
        and kind in ("", runner.type)
        and status in ("", runner.status, "paused" if runner.paused else "active")
        and ("paused" not in params or truth(params, "paused") == runner.paused)
    ]
    return paged(asked, runners, lambda runner: entities.runner(runner, asked.url))


# --- the repository -----------------------------------------------------------------------------------------


def get_raw_file(asked: Asked) -> Answer:
    revision = str(asked.params.get("ref") or asked.project.default_branch)
    commit, path = _commit(asked, revision), asked.args["file_path"]
    if path not in commit.files:
        raise Refused(404, "404 File Not Found")
    data = commit.files[path]
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Disposition": f'inline; filename="{path.rpartition("/")[2]}"',
        "X-Gitlab-Commit-Id": commit.sha,
        "X-Gitlab-Content-Sha256": hashlib.sha256(data).hexdigest(),
        "X-Gitlab-File-Path": path,
        "X-Gitlab-Ref": revision,
        "X-Gitlab-Size": str(len(data)),
    }
    return Answer(200, data, headers)


def get_commit(asked: Asked) -> Answer:
    commit = _commit(asked, asked.args["sha"])
    return json_answer(200, entities.commit_detail(commit, asked.project, asked.url))


def list_commit_merge_requests(asked: Asked) -> Answer:
    sha = _commit(asked, asked.args["sha"]).sha
    state = str(asked.params.get("state") or "all")
    for one in asked.project.merge_requests.values():
        one.look(asked.operation.name)
    found = [one for one in asked.project.merge_requests.values() if sha in one.commits and state in ("all", one.state)]
    return paged(
        asked, sorted(found, key=_id_of, reverse=True), lambda one: entities.merge_request_basic(one, asked.url)
    )


# --- statuses -----------------------------------------------------------------------------------------------


def list_statuses(asked: Asked) -> Answer:
    """Jobs and external statuses of all pipelines of the commit; those that were replaced only with `all`."""
    sha, params = _commit(asked, asked.args["sha"]).sha, asked.params
    wanted = params.get("pipeline_id")
    lines = [one for one in asked.project.pipelines if one.sha == sha and str(wanted or one.id) == str(one.id)]
    found: list[Status | Job] = []
    for line in lines:
        found += [*line.jobs, *line.statuses]
    if not truth(params, "all"):
        found = [one for one in found if not one.retried]
    for name, value in (("name", _name_of), ("ref", _ref_of), ("stage", _stage_of)):
        found = [one for one in found if not params.get(name) or params[name] == value(one)]
    key = _pipeline_id_of if choice(params, "order_by", ("id", "pipeline_id"), "id") == "pipeline_id" else _id_of
    found.sort(key=key, reverse=choice(params, "sort", ("asc", "desc"), "asc") == "desc")
    return paged(asked, found, lambda one: entities.commit_status(one, asked.url))


def _id_of(one: Status | Job | MergeRequest) -> int:
    return one.id


def _pipeline_id_of(one: Status | Job) -> int:
    return one.pipeline.id


def _name_of(one: Status | Job) -> str:
    return one.name


def _ref_of(one: Status | Job) -> str:
    return one.ref if isinstance(one, Status) else one.pipeline.ref


def _stage_of(one: Status | Job) -> str:
    return "external" if isinstance(one, Status) else one.stage


def create_status(asked: Asked) -> Answer:
    if not asked.params.get("state"):
        raise invalid("state is missing")
    choice(asked.params, "state", gitlab_statuses.STATES)
    status = gitlab_statuses.post(
        asked.project, asked.args["sha"], asked.params, asked.me, asked.level, lenient=asked.instance.lenient_statuses
    )
    entity = entities.commit_status(status, asked.url)
    asked.project.posted.append(entity | {"author": asked.me.username})
    return json_answer(201, entity)


# --- pipelines and jobs -------------------------------------------------------------------------------------

_TIMES: dict[str, Callable[[Pipeline, datetime], bool]] = {
    "updated_after": lambda line, when: moment_of(line.updated) > when,
    "updated_before": lambda line, when: moment_of(line.updated) < when,
    "created_after": lambda line, when: moment_of(line.created) > when,
    "created_before": lambda line, when: moment_of(line.created) < when,
}
_SCOPES: dict[str, Callable[[Pipeline], bool]] = {
    "running": lambda line: line.status == "running",
    "pending": lambda line: line.status == "pending",
    "finished": lambda line: line.status in DONE,
    "branches": lambda line: not line.tag,
    "tags": lambda line: line.tag,
}
_ORDERS: dict[str, Callable[[Pipeline], Any]] = {
    "id": lambda line: line.id,
    "status": lambda line: (line.status, line.id),
    "ref": lambda line: (line.ref, line.id),
    "updated_at": lambda line: (line.updated, line.id),
    "user_id": lambda line: (line.user.id, line.id),
}


def list_pipelines(asked: Asked) -> Answer:
    params = asked.params
    status = choice(params, "status", PIPELINE_STATES)
    source = choice(params, "source", SOURCES)
    scope = choice(params, "scope", tuple(_SCOPES))
    times = _times(params)
    found = [line for line in asked.project.pipelines if _is_meant(line, params, source)]
    if asked.instance.sha_filter_is_empty and params.get("sha"):
        found = []
    for line in found:
        line.look(asked.operation.name)
    found = [line for line in found if status in ("", line.status) and (not scope or _SCOPES[scope](line))]
    found = [line for line in found if all(holds(line, when) for holds, when in times)]
    order = _ORDERS[choice(params, "order_by", tuple(_ORDERS), "id")]
    found.sort(key=order, reverse=choice(params, "sort", ("asc", "desc"), "desc") == "desc")
    return paged(asked, found, lambda line: entities.pipeline_in_list(line, asked.url))


def _is_meant(line: Pipeline, params: Mapping[str, Any], source: str) -> bool:
    """The filters that no change of state moves. Child pipelines are listed only where their source is asked for."""
    return (
        str(params.get("sha") or line.sha) == line.sha
        and str(params.get("ref") or line.ref) == line.ref
        and str(params.get("name") or line.name) == str(line.name)
        and str(params.get("username") or line.user.username) == line.user.username
        and (source or ("" if line.source == "parent_pipeline" else line.source)) == line.source
    )


def _times(params: Mapping[str, Any]) -> list[tuple[Callable[[Pipeline, datetime], bool], datetime]]:
    """The conditions on a pipeline's times, each with the time that was asked for."""
    return [(holds, _moment(params, name)) for name, holds in _TIMES.items() if params.get(name)]


def _moment(params: Mapping[str, Any], name: str) -> datetime:
    try:
        return moment_of(str(params[name]))
    except ValueError as error:
        raise invalid(f"{name} is invalid") from error


def get_pipeline(asked: Asked) -> Answer:
    line = _pipeline(asked)
    line.look(asked.operation.name)
    return json_answer(200, entities.pipeline_with_metadata(line, asked.url))


def list_pipeline_jobs(asked: Asked) -> Answer:
    """Newest first; without `include_retried` only the latest job of a name. External statuses are no jobs."""
    params = asked.params
    scope = params.get("scope") or []
    wanted = set(scope if isinstance(scope, list) else [scope])
    if not wanted <= set(PIPELINE_STATES):
        raise invalid("scope does not have a valid value")
    jobs = _pipeline(asked).jobs
    for job in jobs:
        job.look(asked.operation.name)
    shown = [job for job in jobs if truth(params, "include_retried") or not job.retried]
    shown = [job for job in shown if not wanted or job.status in wanted]
    return paged(asked, sorted(shown, key=lambda job: job.id, reverse=True), lambda job: entities.job(job, asked.url))


def get_job(asked: Asked) -> Answer:
    return json_answer(200, entities.job(_job(asked), asked.url))


def download_artifacts(asked: Asked) -> Answer:
    """The archive: 302 to a signed link of the object storage, or the bytes. GitLab has no digest for it."""
    if asked.token and asked.token.kind == "job" and not asked.instance.premium:
        raise Refused(404, "404 Project Not Found")  # EE: check_cross_project_pipelines_feature!
    job = _job(asked)
    if job.archive is None or str(asked.params.get("file_type") or "archive") != "archive":
        raise Refused(404, "404 Not Found")
    if asked.project.artifacts_redirect:
        link = asked.link(job.archive, job.artifacts_filename)
        text = f"This resource has been moved temporarily to {link}."
        return Answer(302, text.encode(), {"Content-Type": "text/plain", "Location": link})
    disposition = f'attachment; filename="{job.artifacts_filename}"'
    return Answer(200, job.archive, {"Content-Type": "application/octet-stream", "Content-Disposition": disposition})


def trigger_pipeline(asked: Asked) -> Answer:
    """Done by a trigger token of the project or by a job token, either as the parameter `token`."""
    params, project = asked.params, asked.project
    for name in ("ref", "token"):
        if not params.get(name) and name not in asked.args:
            raise invalid(f"{name} is missing")
    variables = params.get("variables") or {}
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise Refused(400, "400 Bad request - variables needs to be a map of key-valued strings")
    ref, text = str(asked.args.get("ref") or params["ref"]), str(params["token"])
    owner, job = project.trigger_tokens.get(text), asked.instance.tokens.get(text)
    if owner is None and job is not None and job.kind == "job" and asked.instance.access_level(job.user, project):
        owner = job.user
    if owner is None:
        raise Refused(404, "404 Not Found")
    sha = project.branches.get(ref) or project.tags.get(ref)
    if sha is None:
        raise Refused(400, {"base": ["Reference not found"]})
    if variables and not _may_set_variables(asked, owner):
        raise Refused(400, {"base": ["Insufficient permissions to set pipeline variables"]})
    source = "trigger" if text in project.trigger_tokens else "pipeline"
    line = project.add_pipeline(
        sha=sha, ref=ref, source=source, status="created", user=owner, tag=ref not in project.branches
    )
    line.variables = dict(variables)
    return json_answer(201, entities.pipeline(line, asked.url))


def _may_set_variables(asked: Asked, user: User) -> bool:
    """By the project's setting. The payload of a trigger is not meant by it (merge request 204230 of GitLab)."""
    needed = {"developer": DEVELOPER, "maintainer": MAINTAINER, "owner": OWNER}.get(asked.project.variables_role)
    return needed is not None and asked.instance.access_level(user, asked.project) >= needed


# --- merge requests and notes -------------------------------------------------------------------------------


def get_merge_request(asked: Asked) -> Answer:
    can_merge = asked.level >= DEVELOPER
    return json_answer(200, entities.merge_request(_merge_request(asked), asked.url, can_merge=can_merge))


def list_merge_requests(asked: Asked) -> Answer:
    """Those of the project, the newest first; of `updated_after` the one at that very instant, too."""
    params = asked.params
    state = choice(params, "state", ("opened", "closed", "locked", "merged", "all"), "all")
    order = choice(params, "order_by", ("created_at", "updated_at", "title", "merged_at"), "created_at")
    backwards = choice(params, "sort", ("asc", "desc"), "desc") == "desc"
    found = [one for one in asked.project.merge_requests.values() if state in ("all", one.state)]
    if params.get("updated_after"):
        found = [one for one in found if moment_of(one.updated) >= _moment(params, "updated_after")]
    found.sort(key=lambda one: (one.updated if order == "updated_at" else one.created, one.id), reverse=backwards)
    return paged(asked, found, lambda one: entities.merge_request_basic(one, asked.url))


def list_label_events(asked: Asked) -> Answer:
    """The oldest first."""
    request = _merge_request(asked)
    return paged(asked, request.label_events, lambda event: entities.label_event(event, request, asked.url))


def update_merge_request(asked: Asked) -> Answer:
    request, params = _merge_request(asked), asked.params
    if not params:
        raise invalid("at least one parameter must be provided")
    for name in ("title", "description", "target_branch"):
        if params.get(name) is not None:
            setattr(request, name, str(params[name]))
    event = choice(params, "state_event", ("close", "reopen"))
    request.state = {"close": "closed", "reopen": "opened"}.get(event, request.state)
    labels = set(words(params["labels"]) if params.get("labels") is not None else request.labels)
    labels |= set(words(params.get("add_labels") or ""))
    labels -= set(words(params.get("remove_labels") or ""))
    for name in labels - set(request.labels):
        request.label(name, by=asked.me)
    for name in set(request.labels) - labels:
        request.label(name, by=asked.me, action="remove")
    request.updated = stamp()
    return get_merge_request(asked)


def list_notes(asked: Asked) -> Answer:
    request, params = _merge_request(asked), asked.params
    order = choice(params, "order_by", ("created_at", "updated_at"), "created_at")
    kind = choice(params, "activity_filter", ("all_notes", "only_comments", "only_activity"), "all_notes")
    backwards = choice(params, "sort", ("asc", "desc"), "desc") == "desc"
    notes = [note for note in request.notes if not note.internal or asked.level >= REPORTER]
    notes = [note for note in notes if kind == "all_notes" or note.system == (kind == "only_activity")]
    notes.sort(key=lambda note: (note.created if order == "created_at" else note.updated, note.id), reverse=backwards)
    return paged(asked, notes, lambda note: entities.note(note, request, asked.url))


def create_note(asked: Asked) -> Answer:
    request = _merge_request(asked)
    if "body" not in asked.params:
        raise invalid("body is missing")
    body, commands = _obeyed(_note_text(asked.params["body"]))
    request.quick_actions += commands
    if commands and not body.strip():
        return json_answer(202, {"commands_changes": {}, "summary": ["Commands applied"]})
    internal = truth(asked.params, "internal") or truth(asked.params, "confidential")
    note = request.add_note(body, author=asked.me, internal=internal)
    return json_answer(201, entities.note(note, request, asked.url))


def _note_text(body: object) -> str:
    text = str(body if body is not None else "")
    if not text.strip():
        raise Refused(400, '400 Bad request - Note {:note=>["can\'t be blank"]}')
    if len(text) > MAX_NOTE:
        raise Refused(400, f'400 Bad request - Note {{:note=>["is too long (maximum is {MAX_NOTE} characters)"]}}')
    return text


def _obeyed(text: str) -> tuple[str, list[str]]:
    """A note without its quick actions, and these. Lines inside a fenced block are never quick actions."""
    kept: list[str] = []
    commands: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        (commands if not fence and QUICK_ACTION.match(line) else kept).append(line)
    return "\n".join(kept), commands


def _note(asked: Asked, request: MergeRequest) -> Note:
    note = next((one for one in request.notes if one.id == _id(asked, "note_id")), None)
    if note is None or (note.internal and asked.level < REPORTER):
        raise Refused(404, "404 Not found")
    return note


def list_awards(asked: Asked) -> Answer:
    note = _note(asked, _merge_request(asked))
    return paged(asked, note.awards, lambda award: entities.award(award, note, asked.url))


def create_award(asked: Asked) -> Answer:
    """Nobody gives the same reaction twice. To a note it is a change (Note#bump_updated_at)."""
    note = _note(asked, _merge_request(asked))
    name = str(asked.params.get("name") or "")
    if not name:
        raise invalid("name is missing")
    if any(award.name == name and award.user is asked.me for award in note.awards):
        raise Refused(404, "404 Award Emoji Name has already been taken Not Found")
    award = Award(asked.project.numbers.take("award"), name, asked.me, stamp())
    note.awards.append(award)
    note.updated = award.created
    return json_answer(201, entities.award(award, note, asked.url))


def update_note(asked: Asked) -> Answer:
    request = _merge_request(asked)
    note = _note(asked, request)
    _check_editable(asked, note)
    if asked.params.get("body") is not None:
        text, commands = _obeyed(_note_text(asked.params["body"]))
        request.quick_actions += commands
        note.body, note.updated = text, stamp()
    return json_answer(200, entities.note(note, request, asked.url))


def _check_editable(asked: Asked, note: Note) -> None:
    if note.author is not asked.me and asked.level < MAINTAINER:
        raise Refused(403, "403 Forbidden")


# --- the table ----------------------------------------------------------------------------------------------

_P = "/projects/{id}"
OPERATIONS = (
    Operation("get_user", "GET", "/user", get_user, signed_in=True, scopes=("read_user",)),
    Operation(
        "get_own_token", "GET", "/personal_access_tokens/self", get_own_token, signed_in=True, scopes=("*",)
    ),
    Operation("get_project", "GET", _P, get_project, reads=GUEST),
    Operation("list_merge_requests", "GET", f"{_P}/merge_requests", list_merge_requests),
    Operation(
        "list_label_events", "GET", f"{_P}/merge_requests/{{eventable_id}}/resource_label_events", list_label_events,
        signed_in=True,
    ),
    Operation(
        "get_merge_request", "GET", f"{_P}/merge_requests/{{merge_request_iid}}", get_merge_request, job_token=True
    ),
    Operation(
        "update_merge_request", "PUT", f"{_P}/merge_requests/{{merge_request_iid}}", update_merge_request,
        signed_in=True, needs=DEVELOPER,
    ),
    Operation(
        "list_notes", "GET", f"{_P}/merge_requests/{{noteable_id}}/notes", list_notes, signed_in=True, job_token=True
    ),
    Operation(
        "create_note", "POST", f"{_P}/merge_requests/{{noteable_id}}/notes", create_note, signed_in=True
    ),
    Operation(
        "update_note", "PUT", f"{_P}/merge_requests/{{noteable_id}}/notes/{{note_id}}", update_note, signed_in=True
    ),
    Operation(
        "list_awards", "GET", f"{_P}/merge_requests/{{noteable_id}}/notes/{{note_id}}/award_emoji", list_awards,
        signed_in=True,
    ),
    Operation(
        "create_award", "POST", f"{_P}/merge_requests/{{noteable_id}}/notes/{{note_id}}/award_emoji", create_award,
        signed_in=True,
    ),
    Operation("get_member", "GET", f"{_P}/members/all/{{user_id}}", get_member, reads=GUEST),
    Operation(
        "get_raw_file", "GET", f"{_P}/repository/files/{{file_path}}/raw", get_raw_file, job_token=True,
        scopes=("read_repository",),
    ),
    Operation("get_commit", "GET", f"{_P}/repository/commits/{{sha}}", get_commit, job_token=True),
    Operation(
        "list_statuses", "GET", f"{_P}/repository/commits/{{sha}}/statuses", list_statuses, signed_in=True
    ),
    Operation(
        "list_commit_merge_requests", "GET", f"{_P}/repository/commits/{{sha}}/merge_requests",
        list_commit_merge_requests, job_token=True,
    ),
    Operation(
        "create_status", "POST", f"{_P}/statuses/{{sha}}", create_status, signed_in=True, needs=DEVELOPER
    ),
    Operation("list_pipelines", "GET", f"{_P}/pipelines", list_pipelines, ci=True),
    Operation("get_pipeline", "GET", f"{_P}/pipelines/{{pipeline_id}}", get_pipeline, ci=True),
    Operation(
        "list_pipeline_jobs", "GET", f"{_P}/pipelines/{{pipeline_id}}/jobs", list_pipeline_jobs, job_token=True, ci=True
    ),
    Operation("get_job", "GET", f"{_P}/jobs/{{job_id}}", get_job, signed_in=True, ci=True),
    Operation(
        "download_artifacts", "GET", f"{_P}/jobs/{{job_id}}/artifacts", download_artifacts, job_token=True, ci=True
    ),
    Operation(
        "list_runners", "GET", f"{_P}/runners", list_runners, signed_in=True, needs=MAINTAINER,
        scopes=("manage_runner",),
    ),
    Operation("trigger_pipeline", "POST", f"{_P}/trigger/pipeline", trigger_pipeline, by_parameter=True),
    Operation(
        "trigger_pipeline", "POST", f"{_P}/ref/{{ref}}/trigger/pipeline", trigger_pipeline, by_parameter=True
    ),
)  # fmt: skip


def _pattern(path: str) -> re.Pattern[str]:
    """An argument is one segment (slashes in it are sent as %2F), but the ref of a trigger may hold slashes."""
    text = re.sub(r"\{(\w+)\}", lambda name: f"(?P<{name[1]}>{'.+' if name[1] == 'ref' else '[^/]+'})", path)
    return re.compile(text)


_PATTERNS = tuple((operation, _pattern(operation.path)) for operation in OPERATIONS)


def match(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation that a path (without /api/v4, percent-encoded) means, and what its path names, decoded."""
    for operation, pattern in _PATTERNS:
        found = pattern.fullmatch(path) if operation.method == method else None
        if found:
            return operation, {name: unquote(value) for name, value in found.groupdict().items()}
    return None
