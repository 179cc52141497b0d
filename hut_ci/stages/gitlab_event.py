"""What started a GitLab pipeline, as far as it may ask for a run (docs: "Predefined CI/CD variables reference"). Pure.

Nobody without the right to do so starts a pipeline, but whoever knows the trigger's token writes its payload: that is a
hint where to look, and what it says of people and words is read again from GitLab.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hut_ci.errors import UsageError
from hut_ci.stages import spoken
from hut_ci.stages.trigger import Event, Ignored, number

BY_HAND = ("web", "api", "pipeline", "chat")


@dataclass(frozen=True, slots=True)
class Hint:
    """A note that somebody may have written on a merge request."""

    merge_request: int
    note: int


@dataclass(frozen=True, slots=True)
class Note:
    """A note as GitLab tells it: `at` and `changed` are instants, `author` is a user's number."""

    body: str
    author: str
    at: str
    changed: str
    system: bool = False


def read(ci: Mapping[str, str], payload: object | None) -> Event | Ignored | Hint:
    """What the job's variables ask for. Raises UsageError where they are not GitLab's."""
    source = ci.get("CI_PIPELINE_SOURCE", "")
    try:
        if source == "merge_request_event":
            return _merge_request(ci)
        if source == "push":
            return Event("push", commit_sha=ci["CI_COMMIT_SHA"])
        if source in BY_HAND:
            return Event("manual")
        if source == "trigger" and payload is not None:
            return _hint(payload)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"what started this pipeline ({source}) cannot be made out ({type(error).__name__}: {str(error)[:80]})",
            why="the variables of the job, or the payload of the trigger, are not GitLab's",
            todo="point a webhook for comments at the trigger, as docs/gitlab.md tells",
        ) from error
    return Ignored(f"a pipeline of the source {source[:32]!r} asks for nothing")


def asked_in(note: Note | None, hint: Hint, word: str) -> Event | Ignored:
    """What the note asks for: once, when it was written, not when it was edited."""
    if note is None:
        return Ignored("there is no such note")
    command = spoken.in_comment(note.body, word)
    if command is None or note.system or note.at != note.changed:
        return Ignored("the note asks for nothing")
    return Event("comment", pull_request=hint.merge_request, sender=note.author, command=command, at=note.at)


def _merge_request(ci: Mapping[str, str]) -> Event | Ignored:
    if ci["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"] != ci["CI_MERGE_REQUEST_PROJECT_ID"]:
        return Ignored("the merge request is a fork's: a note of somebody who may write has to ask for it")
    # Empty unless the pipeline is of the merged result.
    sha = ci.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or ci["CI_COMMIT_SHA"]
    return Event("push", commit_sha=sha, pull_request=int(ci["CI_MERGE_REQUEST_IID"]))


def _hint(payload: Any) -> Hint | Ignored:
    if payload["object_kind"] != "note" or payload.get("merge_request") is None:
        return Ignored("nobody wrote a note on a merge request")
    return Hint(number(payload["merge_request"]["iid"]), number(payload["object_attributes"]["id"]))
