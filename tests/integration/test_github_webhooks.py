"""The payloads of tests/fakes/github_webhooks.py compared with GitHub's own schemas of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from fakes import npm
from fakes.github import FakeGitHub
from fakes.github_json import Json
from fakes.github_webhooks import Webhooks
from jsonschema import Draft7Validator

SCHEMAS = npm.Member(
    "@octokit/webhooks-schemas",
    "7.6.1",
    "qW0Bwtb76r4m2WzVhKDyfEeEnt1GEQoRjkCqmq2ZeB0nNVDJ+Z2LBDS9FDPyduuMXf/ZTWiCJp9PFFHgRfBe3A==",
    "package/schema.json",
)
SHA = "5e" * 20
LATER = ("user_view_type", "head_repository_id", "network_count", "subscribers_count")
"""In payloads, but not in these schemas, which allow nothing that they do not name."""


@cache
def schemas() -> Json:
    found = npm.kept(SCHEMAS)
    if found.content is None:
        pytest.skip(found.reason)
    document: Json = json.loads(found.content)
    return document["definitions"]


def problems(name: str, payload: Json) -> list[str]:
    validator = Draft7Validator({"$ref": f"#/definitions/{name}", "definitions": schemas()})
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(_without(payload))]


def _without(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _without(part) for name, part in node.items() if name not in LATER}
    return [_without(part) for part in node] if isinstance(node, list) else node


@pytest.fixture
def webhooks() -> Iterator[Webhooks]:
    with FakeGitHub() as github:
        repo = github.repository("acme/firmware", private=True)
        repo.add_commit(SHA)
        repo.set_branch("main", "0f" * 20)
        yield Webhooks(github, repo)


def payloads(webhooks: Webhooks) -> dict[str, Json]:
    repo = webhooks.repo
    pull, fork = repo.add_pull(12, head_sha=SHA), repo.add_pull(13, head_sha="f0" * 20, head_repository="eve/firmware")
    run = repo.add_run(head_sha=SHA, event="pull_request", pull_requests=[12])
    return {
        "push$event": webhooks.pushed(SHA)[1],
        "pull_request$labeled": webhooks.labeled(pull, "hil", "ada")[1],
        "pull_request$labeled ": webhooks.labeled(fork, "hil", "ada")[1],
        "issue_comment$created": webhooks.commented(pull, repo.add_comment(12, "/hil"))[1],
        "workflow_run$completed": webhooks.built(run)[1],
    }


def test_each_payload_is_one_of_githubs(webhooks: Webhooks) -> None:
    """And the comparison finds a missing key, a wrong type and a made-up key."""
    for name, payload in payloads(webhooks).items():
        assert problems(name.strip(), payload) == []
        for change in ({"sender": None}, {"made_up": 1}):
            assert problems(name.strip(), {**copy.deepcopy(payload), **change}) != []
