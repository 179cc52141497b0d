"""Commit statuses that are posted from outside, as Ci::CreateCommitStatusService of GitLab's source takes them.

Which pipeline one joins, when it updates a status and when it makes a new one, which changes of state are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakes.gitlab_ci import DONE, Pipeline, Status
from fakes.gitlab_state import Commit, Project, Refused, User
from fakes.gitlab_time import stamp

STATES = ("pending", "running", "success", "failed", "canceled", "skipped")
MAX_TEXT = 255
"""Characters of description, target_url and ref (app/models/commit_status.rb)."""

_EVENTS = {
    "pending": ("enqueue", "pending", {"created", "skipped"}),
    "running": ("run", "running", {"pending"}),
    "success": ("success", "success", {"created", "pending", "running"}),
    "failed": ("drop", "failed", {"created", "pending", "running"}),
    "canceled": ("cancel", "canceled", {"created", "pending", "running"}),
    "skipped": ("skip", "skipped", {"created", "pending"}),
}
"""Wanted state → event of the state machine, its result, from which states it may happen."""


def post(
    project: Project, revision: str, fields: Mapping[str, Any], user: User, access_level: int, *, lenient: bool
) -> Status:
    """Take a posted status. `lenient`: the state that a status has already is taken as done, not refused."""
    commit = project.commit(revision)
    if commit is None:
        raise Refused(404, "404 Commit Not Found")
    pipeline = _newest_pipeline(project, commit, fields)
    ref = fields.get("ref") or (pipeline.ref if pipeline else next(iter(project.branches_with(commit.sha)), None))
    if not ref:
        raise Refused(404, "404 References for commit Not Found")
    if fields.get("pipeline_id") and pipeline is None:
        raise Refused(404, "404 Pipeline for pipeline_id, sha and ref Not Found")
    if project.protected.get(ref, 0) > access_level:
        raise Refused(403, "403 Forbidden")
    _check_texts(fields, ref)
    pipeline = pipeline or project.add_pipeline(sha=commit.sha, ref=ref, source="external", status=None, user=user)
    return _apply(pipeline, ref, fields, user, lenient=lenient)


def _newest_pipeline(project: Project, commit: Commit, fields: Mapping[str, Any]) -> Pipeline | None:
    found = [line for line in project.pipelines if line.sha == commit.sha and line.source != "parent_pipeline"]
    if fields.get("ref"):
        found = [line for line in found if line.ref == fields["ref"]]
    if fields.get("pipeline_id"):
        found = [line for line in found if line.id == int(fields["pipeline_id"])]
    return max(found, key=lambda line: line.id, default=None)


def _check_texts(fields: Mapping[str, Any], ref: str) -> None:
    texts = {"target_url": fields.get("target_url"), "description": fields.get("description"), "ref": ref}
    wrong = {
        name: [f"is too long (maximum is {MAX_TEXT} characters)"] for name, text in texts.items() if _too_long(text)
    }
    url = fields.get("target_url")
    if url and not str(url).startswith(("http://", "https://")):
        wrong.setdefault("target_url", []).insert(0, "is blocked: Only allowed schemes are http, https")
    if wrong:
        raise Refused(400, wrong)


def _too_long(text: object) -> bool:
    return isinstance(text, str) and len(text) > MAX_TEXT


def _apply(pipeline: Pipeline, ref: str, fields: Mapping[str, Any], user: User, *, lenient: bool) -> Status:
    name = str(fields.get("name") or fields.get("context") or "default")
    status = next((one for one in pipeline.statuses if _is_open(one, name, ref, user)), None)
    state = _next_state(status.status if status else "created", fields["state"], lenient=lenient)
    if status is None:
        for older in pipeline.statuses:
            older.retried = older.retried or older.name == name
        status = Status(pipeline.project.numbers.take("job"), pipeline, name, ref, user, stamp())
        pipeline.statuses.append(status)
    for field in ("target_url", "description", "coverage"):
        if fields.get(field) is not None:
            setattr(status, field, fields[field])
    _enter(status, state)
    pipeline.updated_given = stamp()
    return status


def _is_open(status: Status, name: str, ref: str, user: User) -> bool:
    """Only a pending or running status of the same name, ref and user is updated; else a new one replaces it."""
    return status.status in ("pending", "running") and (status.name, status.ref, status.author) == (name, ref, user)


def _next_state(state: str, wanted: str, *, lenient: bool) -> str:
    event, result, sources = _EVENTS[wanted]
    if wanted == "running" and state == "created":
        state = "pending"  # `enqueue` goes before `run`
    if state in sources:
        return result
    if lenient and state == result:
        return result
    reason = f'Status cannot transition via "{event}"'
    raise Refused(400, f"Cannot transition status via :{event} from :{state} (Reason(s): {reason})")


def _enter(status: Status, state: str) -> None:
    if state == "running" and status.started is None:
        status.started = stamp()
    if state in DONE and state != "skipped" and status.finished is None:
        status.finished = stamp()
    status.status = state
