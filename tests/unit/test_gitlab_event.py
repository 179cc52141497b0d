"""What a GitLab pipeline, a note and labels ask for. A file in tests/data/events/gitlab is a case.

A case has a `pipeline` (with its trigger's `payload`, its merge `request`, the `parents` of its commit, the variables
`ci` of its job), or a `note`, or `labels` with their `label_events`; it is noon, and the merge request is number 12.
`expected` names what comes out: an `event`, where to `look`, what `asks`; or words of why it is `ignored`, `refused`,
or no `usage`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.errors import Refused, UsageError
from hut_ci.model import PullRequest
from hut_ci.stages.gitlab_event import (
    Asking,
    LabelEvent,
    Look,
    Note,
    Pipeline,
    asked_by_labels,
    asked_in,
    check_variables,
    read,
)
from hut_ci.stages.trigger import Event, Ignored

CASES = sorted((Path(__file__).parents[1] / "data" / "events" / "gitlab").glob("*.yml"))
NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)
CALLED = {"id": "77", "project": "7", "user": "5"}


def decided(case: dict[str, Any]) -> dict[str, Any]:
    """What `expected` of a case is compared with."""
    if "note" in case:
        asking = asked_in(Note(**case["note"]), 12, "/hil", NOON)
        return {"asks": [asking] if asking else []}
    if "labels" in case:
        events = [LabelEvent(**event) for event in case["label_events"]]
        return {"asks": asked_by_labels(case["labels"], events, 12, "hil", NOON)}
    pipeline = Pipeline(**CALLED, **case["pipeline"])
    request = (
        PullRequest(**{"number": 12, "base_ref": "main", "from_fork": False, **case["request"]})
        if "request" in case
        else None
    )
    try:
        more = {"built_apart": case.get("built_apart", True)}
        event = read(pipeline, case.get("payload"), request, case.get("parents", ()), **more)
        check_variables(pipeline, event, case.get("ci", {}))
    except Refused as error:
        return {"refused": error.what}
    except UsageError as error:
        return {"usage": error.what}
    if isinstance(event, Ignored):
        return {"ignored": event.why}
    return {"look": event.merge_request} if isinstance(event, Look) else {"event": event}


def told(event: Event | Asking) -> dict[str, Any]:
    found = event.event if isinstance(event, Asking) else event
    command = found.command
    flat = {"names": list(command.names), "sha": command.sha, "help": command.help}
    return {
        name: getattr(found, name) for name in ("kind", "commit_sha", "pull_request", "sender", "at", "run_id")
    } | flat


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text("utf-8"))
    found, expected = decided(case), case["expected"]
    assert found.keys() == expected.keys(), found
    for name, value in expected.items():
        if name == "event":
            assert told(found[name]).items() >= value.items()
        elif name == "asks":
            assert len(found[name]) == len(value), found
            assert all(told(one).items() >= wanted.items() for one, wanted in zip(found[name], value, strict=True))
        else:
            assert value == found[name] if name == "look" else value in found[name]


def test_what_asks_names_what_is_to_be_marked() -> None:
    assert all(
        (one.note is None) != (one.label is None)
        for path in CASES
        for one in decided(yaml.safe_load(path.read_text("utf-8"))).get("asks", [])
    )


WORDS = st.sampled_from(["note", "merge_request", "push", "object_kind", "object_attributes", "iid", "$(id)", "", "12"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5))


@given(JSON)
def test_any_payload_is_a_hint_or_refused(payload: Any) -> None:
    """security 5: whoever knows the trigger's token writes it."""
    try:
        found = read(Pipeline(source="trigger", sha="5e" * 20, **CALLED), payload)
    except UsageError:
        return
    assert isinstance(found, Ignored | Look)
    assert not isinstance(found, Look) or found.merge_request is None or found.merge_request > 0
