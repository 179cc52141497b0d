"""GitLab's own OpenAPI description, amended where the live API is known to differ from it.

The description (GitLab's doc/api/openapi/openapi_v3.yaml, cut to the operations of the fake) is under CC BY-SA 4.0,
so no copy of it is in the project: it is read from a folder beside the project, and without it nothing is checked.
Each departure of the live API stands in AMENDMENTS with its reason; the copy in memory is amended accordingly, so that
an answer that departs in any other way is still a violation. DEPARTURES are operations that it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fakes.openapi import Contract, Departure

PATH = Path(__file__).resolve().parents[3] / "shared" / "samples" / "gitlab-openapi-cut.yaml"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml: every worker reads this before its first test
Document = dict[str, Any]


@dataclass(frozen=True)
class Amendment:
    """Where the live API differs from its description, why we believe so, and the amendment."""

    where: str
    reason: str
    amend: Callable[[Document], None]
    stricter: bool = False
    """The live API asks for more than is described."""


def load(path: Path = PATH, *, without: Amendment | None = None) -> tuple[Document | None, str]:
    """The description amended (but for `without`) and "", or None and why there is none."""
    if not path.is_file():
        return None, f"GitLab's API description is not there ({path.parent.parent.name}/{path.parent.name}/{path.name})"
    document = yaml.load(path.read_bytes(), LOADER)  # noqa: S506 (both are safe loaders)
    for amendment in AMENDMENTS:
        if amendment is not without:
            amendment.amend(document)
    return document, ""


def contract(path: Path = PATH) -> tuple[Contract | None, str]:
    """What checks the calls of a fake, new at each call and with its own count of departures met; or None and why."""
    document, reason = load(path)
    return (Contract(document, DEPARTURES) if document else None), reason


# --- amendments ---------------------------------------------------------------------------------------------


def _answer(document: Document, path: str, method: str, status: str) -> Document:
    answer: Document = document["paths"][path][method]["responses"][status]["content"]["application/json"]
    return answer


def _as_list(path: str) -> Callable[[Document], None]:
    def amend(document: Document) -> None:
        answer = _answer(document, path, "get", "200")
        answer["schema"] = {"type": "array", "items": answer["schema"]}

    return amend


def _as_status(path: str, method: str, described: str, live: str) -> Callable[[Document], None]:
    def amend(document: Document) -> None:
        responses = document["paths"][path][method]["responses"]
        responses[live] = responses.pop(described)

    return amend


def _also(path: str, method: str, status: str, text: str) -> Callable[[Document], None]:
    def amend(document: Document) -> None:
        document["paths"][path][method]["responses"][status] = {"description": text}

    return amend


def _typed(schema: str, name: str, live: Document) -> Callable[[Document], None]:
    def amend(document: Document) -> None:
        properties = document["components"]["schemas"][schema]["properties"]
        assert name in properties, f"{schema} has no {name}"
        properties[name] = live

    return amend


def _nullable(nulls: dict[str, tuple[str, ...]]) -> Callable[[Document], None]:
    def amend(document: Document) -> None:
        for schema, names in nulls.items():
            properties = document["components"]["schemas"][schema]["properties"]
            for name in names:
                properties[name] = _or_null(properties[name])

    return amend


def _or_null(schema: Document) -> Document:
    """Beside a reference `nullable` has no effect, so there null is an alternative of its own."""
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "string", "nullable": True, "enum": [None]}]}
    return schema | {"nullable": True} | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})


def _with_ref(document: Document) -> None:
    """`ref` in the body of a trigger: only where the path does not have it."""
    body = document["paths"]["/api/v4/projects/{id}/trigger/pipeline"]["post"]["requestBody"]
    media = body["content"]["application/json"]
    name = media["schema"]["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    media["schema"] = schema | {
        "required": [*schema["required"], "ref"],
        "properties": schema["properties"] | {"ref": _TEXT},
    }


def _form_bodies(document: Document) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                content["application/x-www-form-urlencoded"] = content["application/json"]


def _text_files(document: Document) -> None:
    path = "/api/v4/projects/{id}/repository/files/{file_path}/raw"
    content = document["paths"][path]["get"]["responses"]["200"]["content"]
    content["text/plain"] = content["application/octet-stream"]


def _everywhere(statuses: dict[str, str]) -> Callable[[Document], None]:
    def amend(document: Document) -> None:
        for methods in document["paths"].values():
            for operation in methods.values():
                for status, text in statuses.items():
                    operation["responses"].setdefault(status, {"description": text})

    return amend


def _each(amends: Iterable[Callable[[Document], None]]) -> Callable[[Document], None]:
    several = tuple(amends)

    def amend(document: Document) -> None:
        for one in several:
            one(document)

    return amend


_TEXT = {"type": "string"}
_NOTES = "/api/v4/projects/{id}/merge_requests/{noteable_id}/notes"
_RUNNERS = "/api/v4/projects/{id}/runners"
_STATUSES = "/api/v4/projects/{id}/statuses/{sha}"
_ARTIFACTS = "/api/v4/projects/{id}/jobs/{job_id}/artifacts"
_PIPELINE_NULLS = (
    "yaml_errors", "started_at", "finished_at", "committed_at", "duration", "queued_duration", "coverage",
)  # fmt: skip
_MERGE_REQUEST_NULLS = (
    "merged_by", "merge_user", "merged_at", "closed_by", "closed_at", "assignee", "milestone", "merge_after",
    "merge_commit_sha", "squash_commit_sha", "discussion_locked", "should_remove_source_branch",
)  # fmt: skip
_NULLS = {
    "APIEntitiesUserBasic": ("avatar_url",),
    "APIEntitiesMergeRequestAuthor": ("avatar_url",),
    "APIEntitiesUser": ("avatar_url",),
    "APIEntitiesUserPublic": (
        "avatar_url", "pronouns", "work_information", "local_time", "last_sign_in_at", "last_activity_on",
        "current_sign_in_at",
    ),
    "APIEntitiesPersonalAccessToken": ("description", "expires_at"),
    "APIEntitiesMember": ("avatar_url", "expires_at"),
    "APIEntitiesCiPipeline": _PIPELINE_NULLS,
    "APIEntitiesCiPipelineWithMetadata": (*_PIPELINE_NULLS, "name"),
    "DetailedStatusEntity": ("illustration",),
    "APIEntitiesCiJob": (
        "coverage", "started_at", "finished_at", "erased_at", "duration", "queued_duration", "runner",
        "runner_manager", "artifacts_expire_at",
    ),
    "APIEntitiesCiJobArtifact": ("file_format",),
    "APIEntitiesCiRunner": ("ip_address", "created_by"),
    "APIEntitiesCommitStatus": ("target_url", "description", "started_at", "finished_at", "coverage"),
    "APIEntitiesMergeRequestBasic": _MERGE_REQUEST_NULLS,
    "APIEntitiesMergeRequest": (
        *_MERGE_REQUEST_NULLS, "latest_build_started_at", "latest_build_finished_at",
        "first_deployed_to_production_at", "pipeline", "head_pipeline", "merge_error",
    ),
    "APIEntitiesIssuableTimeStats": ("human_time_estimate", "human_total_time_spent"),
    "APIEntitiesNote": ("type",),
}  # fmt: skip
"""Schema → properties that the fake's answers have null."""

AMENDMENTS = (
    Amendment(
        f"GET {_NOTES}", "Described as one note; the handler presents a page of them (lib/api/notes.rb).",
        _as_list(_NOTES),
    ),
    Amendment(
        f"GET {_RUNNERS}", "Described as one runner; the handler presents a page of them (lib/api/ci/runners.rb).",
        _as_list(_RUNNERS),
    ),
    Amendment(
        f"POST {_STATUSES}", "Described as 200; a POST answers 201 (spec/requests/api/commit_statuses_spec.rb).",
        _as_status(_STATUSES, "post", "200", "201"),
    ),
    Amendment(
        f"GET {_ARTIFACTS}", "The redirect to the object storage is not described (present_carrierwave_file!).",
        _also(_ARTIFACTS, "get", "302", "Moved to a signed link"),
    ),
    Amendment(
        f"POST {_NOTES}", "A note of quick actions only answers 202 and creates nothing; not described.",
        _also(_NOTES, "post", "202", "Commands applied"),
    ),
    Amendment(
        "GET …/files/{file_path}/raw", "Described as application/octet-stream; text comes as text/plain.", _text_files
    ),
    Amendment(
        "components.schemas", "Nothing is nullable in the description; these are null in life.", _nullable(_NULLS)
    ),
    Amendment(
        "APIEntitiesMember.access_level", "Described as text; it is an integer (lib/api/entities/member.rb).",
        _typed("APIEntitiesMember", "access_level", {"type": "integer"}),
    ),
    Amendment(
        "APIEntitiesCiJob.project", "ci_job_token_scope_enabled is described as text; it is a boolean.",
        _typed(
            "APIEntitiesCiJob", "project",
            {"type": "object", "properties": {"ci_job_token_scope_enabled": {"type": "boolean"}}},
        ),
    ),
    Amendment(
        "APIEntitiesUserPublic.identities", "Described as one identity; it is a list (expose of an association).",
        _typed("APIEntitiesUserPublic", "identities", {"type": "array", "items": {"type": "object"}}),
    ),
    Amendment(
        "APIEntitiesMergeRequest(Basic).assignees, reviewers", "Described as one user; they are lists.",
        _each(
            _typed(schema, name, {"type": "array", "items": {"type": "object"}})
            for schema in ("APIEntitiesMergeRequest", "APIEntitiesMergeRequestBasic")
            for name in ("assignees", "reviewers")
        ),
    ),
    Amendment(
        "PUT …/merge_requests/{merge_request_iid}: labels",
        "Described as lists; text with commas is taken too (doc/api/merge_requests.md).",
        _each(
            _typed("RequestBody_e430517b7941", name, {"anyOf": [{"type": "array", "items": _TEXT}, _TEXT]})
            for name in ("labels", "add_labels", "remove_labels")
        ),
    ),
    Amendment(
        "POST …/trigger/pipeline", "Not described: `ref` is required in the body (lib/api/ci/triggers.rb).", _with_ref,
        stricter=True,
    ),
    Amendment("requestBody", "Only JSON is described; forms are taken everywhere.", _form_bodies),
    Amendment(
        "responses", "Not described for each operation: no or insufficient token, not there, too many requests.",
        _everywhere({"401": "Unauthorized", "403": "Forbidden", "404": "Not found", "429": "Too many requests"}),
    ),
)  # fmt: skip

DEPARTURES = tuple(
    Departure(operation, part, "PathNotFound|PathsNotFound|OperationNotFound", "Documented, and not in this cut.")
    for operation in (
        "get_project",
        "get_commit",
        "list_merge_requests",
        "list_label_events",
        "list_awards",
        "create_award",
    )
    for part in ("request", "response")
)
