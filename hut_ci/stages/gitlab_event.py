"""What a GitLab pipeline, and the notes and labels of merge requests, ask for. Pure.

Who starts a pipeline may give variables that win over those of its jobs, so what a pipeline is stands in GitLab's own
answer about it, and the payload of a trigger is a hint where to look: notes and labels are read from GitLab, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hut_ci.errors import Refused, UsageError
from hut_ci.model import PullRequest
from hut_ci.stages import spoken
from hut_ci.stages.trigger import Event, Ignored, number

BY_HAND = ("web", "api", "pipeline", "chat")
LOOKING = ("trigger", "schedule")
SPOKEN_OF = ("note", "merge_request")
"""Kinds of webhook events behind which somebody may have asked."""
FRESH = timedelta(days=1)
"""Who asked longer ago than this waits no more, and a mark that was lost since must not let it start again."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline as GitLab tells it. `user` is the number of whom it runs as; `merged`: of a merge request's result."""

    id: str
    source: str
    sha: str
    project: str
    user: str
    over: bool = False
    merge_request: int | None = None
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody may have asked: on this merge request, or (None) on any."""

    merge_request: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A merge request, as far as somebody may have asked on it: its labels, and how many notes it has."""

    number: int
    labels: tuple[str, ...]
    notes: int


@dataclass(frozen=True, slots=True)
class Note:
    """A note as GitLab tells it: `at` and `changed` are instants, `author` is a user's number."""

    id: int
    body: str
    author: str
    at: str
    changed: str
    system: bool = False


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """A label was set or taken off; its name and its user's number are missing where GitLab has lost them."""

    label: str | None
    user: str | None
    at: str
    added: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """What asks for a run, and what has to be marked as used before it may: a note, or a label."""

    event: Event
    note: int | None = None
    label: str | None = None


def read(
    pipeline: Pipeline,
    payload: object | None,
    request: PullRequest | None = None,
    parents: Sequence[str] = (),
    *,
    built_apart: bool = True,
) -> Event | Ignored | Look:
    """What a pipeline asks for. `request` is its merge request, `parents` are those of its commit; `built_apart`:
    whether the request's head has a pipeline of its own.

    Raises UsageError for a payload that is not GitLab's.
    """
    if pipeline.source == "merge_request_event" and request is not None:
        return _merge_request(pipeline, request, parents, built_apart=built_apart)
    if pipeline.source == "push":
        return Event("push", commit_sha=pipeline.sha)
    if pipeline.source in BY_HAND:
        return Event("manual")
    if pipeline.source in LOOKING:
        return _look(payload if pipeline.source == "trigger" else None)
    return Ignored(f"a pipeline of the source {pipeline.source[:32]!r} asks for nothing")


def check_variables(pipeline: Pipeline, event: Event | Ignored | Look, ci: Mapping[str, str]) -> None:
    """Raises Refused where the job's variables are not those of its pipeline: what else was replaced is not known."""
    head = event.commit_sha if isinstance(event, Event) and pipeline.merge_request is not None else None
    truth = {
        "CI_PIPELINE_SOURCE": pipeline.source,
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_PROJECT_ID": pipeline.project,
        **({} if isinstance(event, Ignored) else {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": head}),
    }
    replaced = [name for name, true in truth.items() if ci.get(name) not in (None, "", true)]
    if pipeline.over:
        replaced.append("CI_PIPELINE_ID")
    if replaced:
        raise Refused(
            f"${replaced[0]} is not what GitLab says of this pipeline",
            why="whoever started it gave variables that win over the job's own",
            todo="allow nobody to (Settings, CI/CD, Variables, minimum role to use pipeline variables)",
        )


def asked_in(note: Note, merge_request: int, word: str, now: datetime) -> Asking | None:
    """What a note asks for: when it was written, not when it was edited, and not for ever."""
    command = spoken.in_comment(note.body, word)
    if command is None or note.system or note.at != note.changed or not _is_fresh(note.at, now):
        return None
    event = Event("comment", pull_request=merge_request, sender=note.author, command=command, at=note.at)
    return Asking(event, note=note.id)


def asked_by_labels(
    labels: Iterable[str], events: Sequence[LabelEvent], merge_request: int, prefix: str, now: datetime
) -> list[Asking]:
    """What the labels that are set ask for, each by the one who set it last."""
    found = []
    for label in labels:
        command = spoken.in_label(label, prefix)
        last = next((event for event in reversed(events) if event.label == label), None)
        if command is None or last is None or not last.added or last.user is None or not _is_fresh(last.at, now):
            continue
        event = Event("label", pull_request=merge_request, sender=last.user, command=command, at=last.at)
        found.append(Asking(event, label=label))
    return found


def _is_fresh(at: str, now: datetime) -> bool:
    try:
        return now - datetime.fromisoformat(at) < FRESH
    except (TypeError, ValueError):  # an instant that is none, or one without its offset
        return False


def _merge_request(
    pipeline: Pipeline, request: PullRequest, parents: Sequence[str], *, built_apart: bool
) -> Event | Ignored:
    """A merged result is filed under the merge commit: where the head is built nowhere else, its build is here."""
    if request.from_fork:
        return Ignored("the merge request is a fork's: a note of somebody who may write has to ask for it")
    if request.head_sha not in (parents if pipeline.merged else (pipeline.sha,)):
        return Ignored("the merge request has another head by now, whose own pipeline asks")
    here = pipeline.id if pipeline.merged and not built_apart else None
    return Event("push", commit_sha=request.head_sha, pull_request=request.number, run_id=here)


def _look(payload: Any) -> Look | Ignored:
    try:
        kind = payload.get("object_kind") if payload is not None else None
        if kind is None:  # a schedule, or a trigger that no webhook called
            return Look()
        if kind not in SPOKEN_OF or (kind == "note" and payload.get("merge_request") is None):
            return Ignored("nothing happened on a merge request")
        return Look(number(payload["merge_request" if kind == "note" else "object_attributes"]["iid"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the payload of the trigger is not GitLab's ({type(error).__name__}: {str(error)[:80]})",
            todo="point a webhook for comments and merge request events at the trigger, as docs/gitlab.md tells",
        ) from error
