"""Each file of tests/data/events/github: an event, what GitHub knows, and what the gate makes of it.

    event: issue_comment            the name, with its `payload`
    github:                         where it differs from what every case begins with (see `begin`)
      pull: {head_sha: $NEWER}      pull request 12
      built: null                   when its head's first build began
      faults: {get_permission: 403} what GitHub fails at
    options: [--forks, asked]       of `hut-ci gate`
    expect:
      decision: run                 run, ignored or help; refused (exit code 9) or error (2)
      reason: comes from a fork     a part of it; the rest is what has to stand on GitHub afterwards, by default nothing

$HEAD, $OLD and $NEWER stand for commits, $$ for a dollar sign.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner
from fakes.github import FakeGitHub
from fakes.github_state import Repository
from upstream import GITHUB_TOKEN, NAME

from hut_ci.cli import hut_ci
from hut_ci.errors import HutCiError, Refused, UsageError
from hut_ci.stages.github_event import read
from hut_ci.stages.trigger import Event

FOLDER = Path(__file__).parents[1] / "data" / "events" / "github"
CASES = sorted(FOLDER.glob("*.yml"))
COMMITS = {"HEAD": "5e" * 20, "OLD": "0f" * 20, "NEWER": "7a" * 20}
HEAD = COMMITS["HEAD"]
SLOTS = {
    "schema_version": "hut.slots.v1",
    "slots": [{"id": slot, "label": f"esp32-{slot}", "chip": "esp32"} for slot in ("hut-01", "hut-02")],
}
NOTHING = {"reason": "", "commit": "", "pull_request": None, "forks_allowed": False, "statuses": {}, "reactions": []}
FOREIGN = ("GITHUB_", "GITLAB_", "CI_", "HUT_CI_", "TRIGGER_")
Case = dict[str, Any]


def case_of(path: Path) -> Case:
    case: Case = yaml.safe_load(Template(path.read_text("utf-8")).substitute(COMMITS))
    assert set(case) <= {"event", "payload", "github", "options", "expect"}
    assert set(case["expect"]) <= {*NOTHING, "decision", "reply", "labels"}
    return case


def begin(github: FakeGitHub, case: Case) -> Repository:
    """One request of the repository's own, built at noon; ada may write, tri may triage, mallory is a stranger."""
    known = {"pull": {}, "built": "2026-02-12T12:00:00Z", "faults": {}, **case.get("github", {})}
    assert set(known) == {"pull", "built", "faults"}
    github.add_token(GITHUB_TOKEN)
    github.add_user("mallory")
    repo = github.repository(NAME, id=1001)
    for sha in COMMITS.values():
        repo.add_commit(sha, files={"hut.yml": "suite: {expect: [ready]}\n"})
    repo.set_branch("main", COMMITS["OLD"])
    repo.set_permission("ada", "write", "maintain")
    repo.set_permission("tri", "read", "triage")
    pull = repo.add_pull(12, **{"head_sha": HEAD, "labels": ["hil", "bug"], **known["pull"]})
    if known["built"] is not None:
        repo.add_run(head_sha=pull.head_sha, event="pull_request", created=datetime.fromisoformat(known["built"]))
    if case["event"] == "issue_comment":
        repo.add_comment(12, "as the payload says", login="mallory", created=datetime(2026, 2, 12, tzinfo=UTC))
    for operation, fault in known["faults"].items():
        github.fail(operation, str(fault), None)
    return repo


class Told(NamedTuple):
    """What the gate decided and why; its request, and all that it printed."""

    decision: str
    reason: str
    request: dict[str, Any]
    printed: str


def answer(github: FakeGitHub, case: Case, folder: Path) -> Told:
    """What `hut-ci gate` makes of a case, in this process: its real one is started in test_gate.py."""
    payload = folder / "event.json"
    payload.write_text(json.dumps(case["payload"]))
    environ: dict[str, str | None] = {name: None for name in os.environ if name.startswith(FOREIGN)}
    environ |= {
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "GITHUB_REPOSITORY": NAME,
        "GITHUB_EVENT_NAME": case["event"],
        "GITHUB_EVENT_PATH": str(payload),
    }
    argv = ["gate", "--json", "--slots", json.dumps(SLOTS), *case.get("options", ())]
    ran = CliRunner().invoke(hut_ci, argv, env=environ, standalone_mode=False)
    printed = ran.stdout + ran.stderr
    if isinstance(ran.exception, HutCiError):
        error = ran.exception
        assert error.exit_code in ((9,) if isinstance(error, Refused) else (2, 3))
        assert json.loads(ran.stdout)["exit_code"] == error.exit_code
        return Told("refused" if isinstance(error, Refused) else "error", f"{error.what}; {error.why}", {}, printed)
    assert ran.exception is None, ran
    told = json.loads(ran.stdout)
    return Told(told["decision"], told["reason"], told["request"] or {}, printed)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_an_event(path: Path, github: FakeGitHub, tmp_path: Path) -> None:
    """security 2-6: who is heard, of which commit, and that nothing else is left anywhere."""
    case = case_of(path)
    repo = begin(github, case)
    before = list(repo.pulls[12].labels)
    decision, reason, request, printed = answer(github, case, tmp_path)
    assert not any(word in printed for word in ("pwned", "everyone", "<img")), "what comes from outside was repeated"
    expected = {**NOTHING, "labels": before, "reply": None, **case["expect"]}
    assert (decision, request.get("commit_sha", "")) == (expected["decision"], expected["commit"]), reason
    assert expected["reason"] in reason
    assert request.get("pull_request") == expected["pull_request"]
    assert request.get("forks_allowed", False) is expected["forks_allowed"]
    assert standing(repo) == ({HEAD: expected["statuses"]} if expected["statuses"] else {})
    assert repo.pulls[12].labels == expected["labels"]
    assert [one["content"] for comment in repo.posted_comments for one in comment.reactions] == expected["reactions"]
    assert [expected["reply"] in reply for reply in replies(repo)] == ([True] if expected["reply"] else [])
    github.faults.clear()


DIFFERENCES: dict[str, tuple[str, object]] = {
    "comment-that-was-edited": ("payload.action", "created"),
    "comment-on-an-issue": ("payload.issue.pull_request", {}),
    "comment-that-quotes": ("payload.comment.body", "please run\n/hil"),
    "comment-of-a-bot": ("payload.comment.user", {"login": "ada", "type": "User"}),
    "comment-of-a-stranger": ("payload.comment.user.login", "ada"),
    "comment-where-the-permission-is-garbage": ("github.faults", {}),
    "comment-before-the-build": ("github.built", "2026-02-12T12:59:59Z"),
    "comment-on-a-fork": ("options", ["--forks", "asked"]),
    "comment-on-a-fork-without-a-commit": ("payload.comment.body", f"/hil @{HEAD}"),
    "comment-on-a-closed-request": ("github.pull.state", "open"),
    "label-of-who-may-only-triage": ("payload.sender.login", "ada"),
    "label-before-a-push": ("github.pull.head_sha", HEAD),
    "label-on-a-fork-before-another-base": ("github.pull.base_ref", "main"),
    "label-and-a-later-push": ("payload.action", "labeled"),
    "label-that-is-hostile": ("payload.label.name", "hil:hut-01"),
    "build-of-a-fork": ("payload.workflow_run.head_repository.id", 1001),
}
"""What starts nothing → the one thing without which it would."""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_makes_the_difference(name: str, github: FakeGitHub, tmp_path: Path) -> None:
    """The control of the cases: each of these runs as soon as one thing is as it should be."""
    case = case_of(FOLDER / f"{name}.yml")
    assert case["expect"]["decision"] != "run"
    (*above, last), value = DIFFERENCES[name][0].split("."), DIFFERENCES[name][1]
    place = case
    for key in above:
        place = place[key]
    place[last] = value
    begin(github, case)
    assert answer(github, case, tmp_path).decision == "run"


STRANGE: tuple[object, ...] = (None, True, -1, 1e300, "", "x" * 70, "\ud800", [], ["x"], {}, {"login": {}})


def with_strange(payload: Any) -> Iterator[Any]:
    """The payload with one thing in it missing, or another thing."""
    if isinstance(payload, dict):
        for key, value in payload.items():
            yield {name: part for name, part in payload.items() if name != key}
            yield from ({**payload, key: strange} for strange in (*STRANGE, *with_strange(value)))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_payload_with_anything_in_it(path: Path) -> None:
    """It is read, ignored or refused as none of GitHub's, and what is read of it has its form."""
    case = case_of(path)
    for payload in with_strange(case["payload"]):
        try:
            event = read(case["event"], payload)
        except UsageError:
            continue
        if isinstance(event, Event):
            assert event.commit_sha is None or re.fullmatch("[0-9a-f]{40}", event.commit_sha)
            assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) for name in event.command.names)
            assert event.pull_request is None or event.pull_request > 0
            assert all(re.fullmatch("[0-9]+", id) for id in (event.comment_id, event.run_id) if id is not None)


def replies(repo: Repository) -> list[str]:
    return [comment.body for comment in repo.posted_comments if comment.login == "github-actions[bot]"]


def standing(repo: Repository) -> dict[str, dict[str, str]]:
    """Commit → context → state, of every status that was posted anywhere."""
    found: dict[str, dict[str, str]] = {}
    for sha, context, state in repo.all_statuses():
        found.setdefault(sha, {})[context] = state
    return found
