"""GitHub's JSON → values of the model; pure. A field that is missing or of another type raises KeyError or TypeError.

Field names: GitHub's REST API description, version 2022-11-28.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from hut_ci.model import BuildJob, BuildProduct, BuildRun, BuildState, PullRequest
from hut_ci.units import utc_text

Json = Mapping[str, Any]

# `conclusion` of a completed run or job; whatever else there may be is no success.
CONCLUSIONS = {
    "success": BuildState.SUCCESS,
    "cancelled": BuildState.CANCELLED,
    "skipped": BuildState.SKIPPED,
    "action_required": BuildState.AWAITING_APPROVAL,
}
MERGES = frozenset({"pull_request", "merge_group"})
"""Events whose runs check out another commit than the one that they are filed under."""


def build_run(data: Json) -> BuildRun:
    event = text(data["event"])
    return BuildRun(
        id=str(number(data["id"])),
        head_sha=text(data["head_sha"]),
        event=event,
        state=_state(data),
        repository=str(number(data["repository"]["id"])),
        head_repository=str(number((data.get("head_repository") or {}).get("id", 0))),  # null: the fork was deleted
        head_name=str((data.get("head_repository") or {}).get("full_name", "a deleted fork")),
        workflow=text(data["path"]).partition("@")[0],  # some answers name the ref after the path
        attempt=number(data.get("run_attempt") or 1),
        branch=data.get("head_branch"),
        url=data.get("html_url"),
        started_utc=utc_text(data.get("run_started_at") or data["created_at"]),
        built_sha=None if event in MERGES else text(data["head_sha"]),
    )


def build_job(data: Json) -> BuildJob:
    return BuildJob(
        id=str(number(data["id"])),
        name=text(data["name"]),
        state=_state(data),
        started_utc=utc_text(data["started_at"]) if data.get("started_at") else None,
        ended_utc=utc_text(data["completed_at"]) if data.get("completed_at") else None,
    )


def build_product(data: Json) -> BuildProduct:
    return BuildProduct(
        id=str(number(data["id"])),
        name=text(data["name"]),
        size=number(data["size_in_bytes"]),
        digest=data.get("digest"),
        expired=bool(data["expired"]),
        created_utc=utc_text(data["created_at"]) if data.get("created_at") else None,
    )


def pull_request(data: Json) -> PullRequest:
    return PullRequest(
        number=number(data["number"]),
        head_sha=text(data["head"]["sha"]),
        base_ref=text(data["base"]["ref"]),
        open=text(data["state"]) == "open",
    )


def content(data: Json) -> bytes:
    """The bytes of a file; GitHub sends up to 1 MB of one in base64 (docs: "Get repository content")."""
    if data["type"] != "file" or data["encoding"] != "base64":
        raise TypeError("no plain file stands there")
    return base64.b64decode(text(data["content"]))


def _state(data: Json) -> BuildState:
    if text(data["status"]) in ("action_required",):
        return BuildState.AWAITING_APPROVAL
    if data["status"] != "completed":
        return BuildState.RUNNING  # queued, in_progress, requested, waiting, pending
    return CONCLUSIONS.get(str(data["conclusion"]), BuildState.FAILED)


def text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value


def number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a number was expected, not {type(value).__name__}")
    return value
