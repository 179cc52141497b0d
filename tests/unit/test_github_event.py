"""GitHub's events: which of them ask for a run, and what they say of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hut_ci.errors import UsageError
from hut_ci.stages.github_event import read
from hut_ci.stages.spoken import Command
from hut_ci.stages.trigger import Event, Ignored

SHA = "5e" * 20
COMMENT: dict[str, Any] = {
    "action": "created",
    "issue": {"number": 12, "pull_request": {"url": "x"}},
    "comment": {
        "id": 7,
        "body": "/hil hut-01",
        "created_at": "2026-02-12T12:00:00Z",
        "user": {"login": "ada", "type": "User"},
        "author_association": "NONE",
    },
    "sender": {"login": "ada"},
}
LABEL: dict[str, Any] = {
    "action": "labeled",
    "label": {"name": "hil:esp32"},
    "pull_request": {"number": 12, "head": {"sha": SHA}},
    "sender": {"login": "ada"},
}
BUILD: dict[str, Any] = {
    "action": "completed",
    "repository": {"id": 1},
    "workflow_run": {
        "id": 99,
        "head_sha": SHA,
        "conclusion": "success",
        "event": "pull_request",
        "head_repository": {"id": 1},
        "pull_requests": [{"number": 11, "head": {"sha": "0f" * 20}}, {"number": 12, "head": {"sha": SHA}}],
    },
}
PUSH: dict[str, Any] = {"deleted": False, "after": SHA}


def changed(payload: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    result = copy.deepcopy(payload)
    *above, last = path.split(".")
    place = result
    for key in above:
        place = place[key]
    place[last] = value
    return result


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("push", PUSH, Event("push", SHA)),
        ("push", {**PUSH, "ref": "refs/tags/v1", "after": "0f" * 20, "head_commit": {"id": SHA}}, Event("push", SHA)),
        ("workflow_run", BUILD, Event("build", SHA, 12, run_id="99")),
        ("workflow_run", changed(BUILD, "workflow_run.event", "push"), Event("build", SHA, run_id="99")),
        (
            "pull_request_target",
            LABEL,
            Event("label", SHA, 12, sender="ada", command=Command(("esp32",)), label="hil:esp32"),
        ),
        (
            "issue_comment",
            COMMENT,
            Event(
                "comment",
                pull_request=12,
                sender="ada",
                command=Command(("hut-01",)),
                comment_id="7",
                at="2026-02-12T12:00:00Z",
            ),
        ),
        ("workflow_dispatch", {}, Event("manual")),
    ],
)
def test_what_asks(name: str, payload: dict[str, Any], expected: Event) -> None:
    assert read(name, payload) == expected


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("push", changed(PUSH, "deleted", True)),
        ("push", changed(PUSH, "after", "0" * 40)),
        ("workflow_run", changed(BUILD, "action", "requested")),
        ("workflow_run", changed(BUILD, "workflow_run.conclusion", "failure")),
        ("workflow_run", changed(BUILD, "workflow_run.head_repository", {"id": 2})),
        ("workflow_run", changed(BUILD, "workflow_run.head_repository", None)),
        ("pull_request_target", changed(LABEL, "action", "synchronize")),
        ("pull_request_target", changed(LABEL, "label", {"name": "bug"})),
        ("issue_comment", changed(COMMENT, "action", "edited")),
        ("issue_comment", changed(COMMENT, "issue", {"number": 12})),
        ("issue_comment", changed(COMMENT, "comment.body", "nice")),
        ("issue_comment", changed(COMMENT, "comment.user", {"login": "hut-ci[bot]", "type": "Bot"})),
    ],
)
def test_what_does_not(name: str, payload: dict[str, Any]) -> None:
    assert isinstance(read(name, payload), Ignored)


def test_an_edited_comment_that_would_count_if_it_were_new() -> None:
    """security 2, with its negative control: only the action differs."""
    assert isinstance(read("issue_comment", COMMENT), Event)
    assert isinstance(read("issue_comment", changed(COMMENT, "action", "edited")), Ignored)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("pull_request", LABEL),
        ("schedule", {}),
        ("push", []),
        ("push", {}),
        ("push", changed(PUSH, "after", "main")),
        ("issue_comment", changed(COMMENT, "issue", {"number": float("inf"), "pull_request": {}})),
        ("issue_comment", changed(COMMENT, "issue", {"number": -1, "pull_request": {}})),
        ("issue_comment", changed(COMMENT, "comment.id", True)),
        ("pull_request_target", changed(LABEL, "pull_request", {"number": "x", "head": {"sha": SHA}})),
        ("pull_request_target", changed(LABEL, "pull_request", None)),
        ("issue_comment", changed(COMMENT, "comment", None)),
        ("workflow_run", changed(BUILD, "workflow_run.id", "7; id")),
    ],
)
def test_what_is_not_githubs(name: str, payload: object) -> None:
    with pytest.raises(UsageError):
        read(name, payload)
