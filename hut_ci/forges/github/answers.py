"""GitHub's JSON → values of the model; pure. A field that is missing or of another type raises KeyError or TypeError.

Field names: GitHub's REST API description, version 2022-11-28.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from hut_ci.forges.fields import as_number, as_optional_text, as_text
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
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MERGES = frozenset({"pull_request", "merge_group", "pull_request_target", "workflow_run"})
"""Events whose runs check out another commit than the one that they are filed under."""


def build_run(data: Json) -> BuildRun:
    event = as_text(data["event"])
    return BuildRun(
        id=str(as_number(data["id"])),
        head_sha=as_text(data["head_sha"]),
        event=event,
        state=_state(data),
        repository=str(as_number(data["repository"]["id"])),
        head_repository=str(as_number((data.get("head_repository") or {}).get("id", 0))),  # null: the fork was deleted
        head_name=str((data.get("head_repository") or {}).get("full_name", "a deleted fork")),
        workflow=as_text(data["path"]).partition("@")[0],  # some answers name the ref after the path
        attempt=as_number(data.get("run_attempt") or 1),
        branch=as_optional_text(data.get("head_branch")),
        url=as_optional_text(data.get("html_url")),
        started_utc=utc_text(data.get("run_started_at") or data["created_at"]),
        built_sha=None if event in MERGES else as_text(data["head_sha"]),
    )


def build_job(data: Json) -> BuildJob:
    return BuildJob(
        id=str(as_number(data["id"])),
        name=as_text(data["name"]),
        state=_state(data),
        started_utc=utc_text(data["started_at"]) if data.get("started_at") else None,
        ended_utc=utc_text(data["completed_at"]) if data.get("completed_at") else None,
    )


def build_product(data: Json) -> BuildProduct:
    return BuildProduct(
        id=str(as_number(data["id"])),
        name=as_text(data["name"]),
        size=as_number(data["size_in_bytes"]),
        digest=_digest(data.get("digest")),
        expired=bool(data["expired"]),
        created_utc=utc_text(data["created_at"]) if data.get("created_at") else None,
    )


def _digest(value: object) -> str | None:
    """None where the upload has none; another one than SHA-256 cannot be compared and raises ValueError."""
    text = as_optional_text(value)
    if text is not None and not DIGEST.fullmatch(text):
        raise ValueError("the artifact's digest is no SHA-256")
    return text


def pull_request(data: Json) -> PullRequest:
    return PullRequest(
        number=as_number(data["number"]),
        head_sha=as_text(data["head"]["sha"]),
        base_ref=as_text(data["base"]["ref"]),
        open=as_text(data["state"]) == "open",
        # A fork that was deleted since is null.
        from_fork=data["head"]["repo"] is None or data["head"]["repo"]["id"] != data["base"]["repo"]["id"],
    )


def content(data: Json) -> bytes:
    """The bytes of a file; GitHub sends up to 1 MB of one in base64 (docs: "Get repository content")."""
    if data["type"] != "file" or data["encoding"] != "base64":
        raise TypeError("no plain file stands there")
    return base64.b64decode(as_text(data["content"]))


def _state(data: Json) -> BuildState:
    if as_text(data["status"]) in ("action_required",):
        return BuildState.AWAITING_APPROVAL
    if data["status"] != "completed":
        return BuildState.RUNNING  # queued, in_progress, requested, waiting, pending
    return CONCLUSIONS.get(str(data["conclusion"]), BuildState.FAILED)
