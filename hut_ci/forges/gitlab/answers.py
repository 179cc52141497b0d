"""GitLab's JSON → values of the model; pure. A field that is missing or of another type raises KeyError or TypeError.

Field names: GitLab's REST API documentation, pages "Pipelines", "Jobs", "Merge requests".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hut_ci.forges.fields import as_number, as_optional_text, as_text
from hut_ci.model import BuildJob, BuildProduct, BuildRun, BuildState, PullRequest
from hut_ci.stages.gitlab_event import LabelEvent, Note, Pipeline, Place
from hut_ci.units import utc_text

Json = Mapping[str, Any]

STATES = {
    "success": BuildState.SUCCESS,
    "failed": BuildState.FAILED,
    "canceled": BuildState.CANCELLED,
    "canceling": BuildState.CANCELLED,
    "skipped": BuildState.SKIPPED,
    "manual": BuildState.AWAITING_APPROVAL,
    **dict.fromkeys(
        ("created", "waiting_for_resource", "waiting_for_callback", "preparing", "pending", "running", "scheduled"),
        BuildState.RUNNING,
    ),
}
MERGE_REF = re.compile(r"refs/merge-requests/(\d{1,10})/(\w+)")  # head, merge (its merged result), train


def build_run(data: Json) -> BuildRun:
    """A pipeline; its `repository` is the project, and so is `head_repository` until the merge request says more."""
    project = str(as_number(data["project_id"]))
    return BuildRun(
        id=str(as_number(data["id"])),
        head_sha=as_text(data["sha"]),
        event=as_text(data["source"]),
        state=STATES.get(as_text(data["status"]), BuildState.FAILED),
        repository=project,
        head_repository=project,
        head_name=f"project {project}",
        branch=as_optional_text(data.get("ref")),
        url=as_optional_text(data.get("web_url")),
        started_utc=utc_text(data["created_at"]),
        built_sha=as_text(data["sha"]),
    )


def merge_request_of(data: Json) -> int | None:
    """The number of the merge request that a pipeline ran for."""
    found = MERGE_REF.fullmatch(str(data.get("ref")))
    return int(found[1]) if found else None


def pipeline(data: Json) -> Pipeline:
    ref = MERGE_REF.fullmatch(str(data.get("ref")))
    return Pipeline(
        id=str(as_number(data["id"])),
        source=as_text(data["source"]),
        sha=as_text(data["sha"]),
        project=str(as_number(data["project_id"])),
        user=str(as_number(data["user"]["id"])),
        over=as_text(data["status"]) in ("success", "failed", "canceled", "skipped"),
        merge_request=int(ref[1]) if ref else None,
        merged=ref is not None and ref[2] != "head",
    )


def place(data: Json) -> Place:
    labels = tuple(as_text(label) for label in data["labels"])
    return Place(as_number(data["iid"]), labels, as_number(data["user_notes_count"]))


def note(data: Json) -> Note:
    return Note(
        id=as_number(data["id"]),
        body=as_text(data["body"]),
        author=str(as_number(data["author"]["id"])),
        at=as_text(data["created_at"]),
        changed=as_text(data["updated_at"]),
        system=bool(data["system"]),
    )


def label_event(data: Json) -> LabelEvent:
    """A label or a user that was deleted is null."""
    label, user = data["label"], data["user"]
    return LabelEvent(
        label=None if label is None else as_text(label["name"]),
        user=None if user is None else str(as_number(user["id"])),
        at=as_text(data["created_at"]),
        added=as_text(data["action"]) == "add",
    )


def source_of(request: Json) -> str:
    """The project that a merge request comes from; 0 where that was deleted, which no project is."""
    source = request["source_project_id"]
    return "0" if source is None else str(as_number(source))


def of_merge_request(run: BuildRun, request: Json) -> BuildRun:
    source = source_of(request)
    return replace(run, head_repository=source, head_name=f"project {source}")


def build_job(data: Json) -> BuildJob:
    return BuildJob(
        id=str(as_number(data["id"])),
        name=as_text(data["name"]),
        state=STATES.get(as_text(data["status"]), BuildState.FAILED),
        started_utc=utc_text(data["started_at"]) if data.get("started_at") else None,
        ended_utc=utc_text(data["finished_at"]) if data.get("finished_at") else None,
    )


def build_product(data: Json, now: datetime) -> BuildProduct | None:
    """What a job uploaded, named like its archive, or like the job where the archive has the default name.

    A job whose artifacts have expired keeps nothing but the time of that. None: it uploaded nothing.
    """
    job = build_job(data)
    archive, until = data.get("artifacts_file"), data.get("artifacts_expire_at")
    if archive:
        stem = as_text(archive["filename"]).removesuffix(".zip")
        name = job.name if stem == "artifacts" else stem
        return BuildProduct(job.id, name, as_number(archive["size"]), created_utc=job.ended_utc, job=job)
    if until and datetime.fromisoformat(until).astimezone(UTC) < now:
        return BuildProduct(job.id, job.name, 0, expired=True, job=job)
    return None


def pull_request(data: Json) -> PullRequest:
    return PullRequest(
        number=as_number(data["iid"]),
        head_sha=as_text(data["sha"]),
        base_ref=as_text(data["target_branch"]),
        open=as_text(data["state"]) == "opened",
        from_fork=data["source_project_id"] != data["target_project_id"],
    )
