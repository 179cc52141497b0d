"""What started a GitLab pipeline, and what a note asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hut_ci.errors import UsageError
from hut_ci.stages.gitlab_event import Hint, Note, asked_in, read
from hut_ci.stages.spoken import Command
from hut_ci.stages.trigger import Event, Ignored

SHA, MERGE = "5e" * 20, "ce" * 20
REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_COMMIT_SHA": MERGE,
    "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": SHA,
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "7",
    "CI_MERGE_REQUEST_PROJECT_ID": "7",
    "CI_MERGE_REQUEST_IID": "12",
}
HINT = {"object_kind": "note", "merge_request": {"iid": 12}, "object_attributes": {"id": 99, "note": "/hil @all"}}
NOTE = Note("/hil hut-01", "5", "2026-02-12T12:00:00.000Z", "2026-02-12T12:00:00.000Z")


@pytest.mark.parametrize(
    ("ci", "payload", "expected"),
    [
        ({"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_SHA": SHA}, None, Event("push", SHA)),
        (REQUEST, None, Event("push", SHA, 12)),
        ({**REQUEST, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "", "CI_COMMIT_SHA": SHA}, None, Event("push", SHA, 12)),
        ({"CI_PIPELINE_SOURCE": "web"}, None, Event("manual")),
        ({"CI_PIPELINE_SOURCE": "trigger"}, HINT, Hint(12, 99)),
    ],
)
def test_what_asks(ci: dict[str, str], payload: object, expected: object) -> None:
    assert read(ci, payload) == expected


@pytest.mark.parametrize(
    ("ci", "payload"),
    [
        ({}, None),
        ({"CI_PIPELINE_SOURCE": "schedule"}, None),
        ({"CI_PIPELINE_SOURCE": "trigger"}, None),  # whoever knows its token is nobody that could be asked about
        ({**REQUEST, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "66"}, None),
        ({"CI_PIPELINE_SOURCE": "trigger"}, {"object_kind": "push"}),
        ({"CI_PIPELINE_SOURCE": "trigger"}, {**HINT, "merge_request": None}),
    ],
)
def test_what_does_not(ci: dict[str, str], payload: object) -> None:
    assert isinstance(read(ci, payload), Ignored)


@pytest.mark.parametrize(
    ("ci", "payload"),
    [
        ({"CI_PIPELINE_SOURCE": "push"}, None),
        ({"CI_PIPELINE_SOURCE": "merge_request_event"}, None),
        ({"CI_PIPELINE_SOURCE": "trigger"}, []),
        ({"CI_PIPELINE_SOURCE": "trigger"}, {}),
        ({"CI_PIPELINE_SOURCE": "trigger"}, {**HINT, "merge_request": {"iid": "12; id"}}),
        ({"CI_PIPELINE_SOURCE": "trigger"}, {**HINT, "merge_request": {"iid": float("inf")}}),
        ({"CI_PIPELINE_SOURCE": "trigger"}, {**HINT, "merge_request": {"iid": -12}}),
    ],
)
def test_what_is_not_gitlabs(ci: dict[str, str], payload: object) -> None:
    with pytest.raises(UsageError):
        read(ci, payload)


def test_a_note() -> None:
    expected = Event("comment", pull_request=12, sender="5", command=Command(("hut-01",)), at=NOTE.at)
    assert asked_in(NOTE, Hint(12, 99), "/hil") == expected


@pytest.mark.parametrize(
    "note",
    [
        None,
        replace(NOTE, body="nice"),
        replace(NOTE, body="/hil hut-01; id"),
        replace(NOTE, changed="2026-02-12T12:00:01.000Z"),
        replace(NOTE, system=True),
    ],
    ids=["missing", "talk", "more than a command", "edited", "system"],
)
def test_a_note_that_asks_for_nothing(note: Note | None) -> None:
    """security 2."""
    assert isinstance(asked_in(note, Hint(12, 99), "/hil"), Ignored)
