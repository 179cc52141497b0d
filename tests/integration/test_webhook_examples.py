"""GitHub's events as GitHub sends them: the example payloads that @octokit/webhooks-examples collects."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from fakes import npm

from hut_ci.errors import UsageError
from hut_ci.stages.github_event import read
from hut_ci.stages.spoken import Command
from hut_ci.stages.trigger import Event, Ignored

SOURCE = npm.Member(
    "@octokit/webhooks-examples",
    "7.6.1",
    "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==",
    "package/api.github.com/index.json",
)
OURS = ("issue_comment", "pull_request", "push", "workflow_dispatch", "workflow_run")
Json = dict[str, Any]


@cache
def examples() -> tuple[tuple[str, Json], ...]:
    found = npm.kept(SOURCE)
    if found.content is None:
        pytest.skip(found.reason)
    return tuple((entry["name"], one) for entry in json.loads(found.content) for one in entry["examples"])


def of(name: str, action: str | None = None) -> Iterator[Json]:
    return (copy.deepcopy(one) for known, one in examples() if known == name and action in (None, one.get("action")))


def decided(name: str, payload: Json) -> str:
    """The kind of event that it is for us, or why it is none."""
    heard = read("pull_request_target" if name == "pull_request" else name, payload)
    return heard.why if isinstance(heard, Ignored) else heard.kind


def expected(name: str, payload: Json) -> str:
    """The same, as the documentation of the events has it."""
    if name == "push":
        return "a branch was deleted" if payload["deleted"] else "push"
    if name == "workflow_run":
        run = payload["workflow_run"]
        ended = payload["action"] == "completed" and run["conclusion"] == "success"
        return "build" if ended else "the build did not succeed"
    if name == "pull_request":
        return "another label was set" if payload["action"] == "labeled" else "no label was set"
    return "manual" if name == "workflow_dispatch" else "no comment was made on a pull request"


def test_each_example_is_understood() -> None:
    """None of them asks by a word or label of ours; pushes, builds and starts by hand are what they are."""
    seen: Counter[str] = Counter()
    for name in OURS:
        for payload in of(name):
            assert decided(name, payload) == expected(name, payload), payload
            seen[name] += 1
    assert set(seen) == set(OURS)
    assert {"push", "build", "manual"} <= {decided(name, payload) for name in OURS for payload in of(name)}


def test_a_comment_as_github_sends_it_asks_with_our_words_in_it() -> None:
    for payload in of("issue_comment", "created"):
        payload["issue"]["pull_request"] = {"url": "https://api.github.com/repos/Codertocat/Hello-World/pulls/2"}
        payload["comment"]["body"] = "/hil hut-01"
        assert read("issue_comment", payload) == Event(
            "comment",
            pull_request=payload["issue"]["number"],
            sender=payload["comment"]["user"]["login"],
            command=Command(("hut-01",)),
            comment_id=str(payload["comment"]["id"]),
            at=payload["comment"]["created_at"],
        )


def test_a_label_as_github_sends_it_asks_by_our_name() -> None:
    for payload in of("pull_request", "labeled"):
        payload["label"]["name"] = "hil"
        assert read("pull_request_target", payload) == Event(
            "label",
            commit_sha=payload["pull_request"]["head"]["sha"],
            pull_request=payload["number"],
            sender=payload["sender"]["login"],
            label="hil",
            base_ref=payload["pull_request"]["base"]["ref"],
        )


def test_a_field_that_goes_missing_is_noticed() -> None:
    """The control: what we read is what GitHub sends, and without it the event is refused."""
    needed = {
        "issue_comment": ("action", "issue"),
        "pull_request": ("action",),
        "push": ("deleted", "after"),
        "workflow_run": ("action", "workflow_run"),
    }
    for name, fields in needed.items():
        for field in fields:
            payload = next(of(name))
            assert decided(name, payload)
            del payload[field]
            with pytest.raises(UsageError, match="is not GitHub's"):
                decided(name, payload)
