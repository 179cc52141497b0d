"""GitHub's webhook payloads, as far as they may ask for a run (docs: "Webhook events and payloads"). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hut_ci.errors import UsageError
from hut_ci.stages import spoken
from hut_ci.stages.trigger import Event, Ignored, number

Json = Mapping[str, Any]
_SHA = re.compile(r"[0-9a-f]{40}\Z")
NOWHERE = "0" * 40


def read(name: str, payload: object, word: str = spoken.WORD, label: str = spoken.LABEL) -> Event | Ignored:
    """What the event `name` asks for, or why it asks for nothing.

    Raises UsageError for an event that is not one of ours, or whose payload is not GitHub's.
    """
    readers: dict[str, Callable[[Json], Event | Ignored]] = {
        "push": _push,
        "workflow_run": _build,
        "pull_request_target": lambda data: _label(data, label),
        "issue_comment": lambda data: _comment(data, word),
        "workflow_dispatch": _by_hand,
    }
    if name not in readers:
        raise UsageError(
            f"the event {name[:64]!r} starts nothing here",
            why=f"known are {', '.join(readers)}",
            todo="take it out of the workflow's `on:`",
        )
    try:
        assert isinstance(payload, Mapping)
        return readers[name](payload)
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"the payload of the event {name} is not GitHub's ({type(error).__name__}: {str(error)[:80]})",
            todo="leave --event and --payload out in a workflow: they are in the job's environment",
        ) from error


def _push(data: Json) -> Event | Ignored:
    if data["deleted"] or data["after"] == NOWHERE:
        return Ignored("a branch was deleted")
    # Of an annotated tag `after` is the tag's own id.
    tag = str(data.get("ref", "")).startswith("refs/tags/")
    return Event("push", commit_sha=_sha(data["head_commit"]["id"] if tag else data["after"]))


def _build(data: Json) -> Event | Ignored:
    """A build that ended. Its event's own pull requests are empty for forks."""
    run = data["workflow_run"]
    sha = _sha(run["head_sha"])
    if data["action"] != "completed" or run["conclusion"] != "success":
        return Ignored("the build did not succeed")
    if run["head_repository"] is None or run["head_repository"]["id"] != data["repository"]["id"]:
        return Ignored("the build is of a fork: a label or a comment of somebody who may write has to ask for it")
    requests = [number(pull["number"]) for pull in run["pull_requests"] if pull["head"]["sha"] == sha]
    return Event(
        "build",
        commit_sha=sha,
        run_id=str(number(run["id"])),
        pull_request=requests[0] if run["event"].startswith("pull_request") and requests else None,
    )


def _label(data: Json, prefix: str) -> Event | Ignored:
    if data["action"] != "labeled":
        return Ignored("no label was set")
    name = str(data["label"]["name"])
    command = spoken.in_label(name, prefix)
    if command is None:
        return Ignored("another label was set")
    return Event(
        "label",
        commit_sha=_sha(data["pull_request"]["head"]["sha"]),
        pull_request=number(data["pull_request"]["number"]),
        sender=str(data["sender"]["login"]),
        command=command,
        label=name,
        base_ref=str(data["pull_request"]["base"]["ref"]),
    )


def _comment(data: Json, word: str) -> Event | Ignored:
    if data["action"] != "created" or data["issue"].get("pull_request") is None:
        return Ignored("no comment was made on a pull request")
    comment = data["comment"]
    command = spoken.in_comment(str(comment["body"]), word)
    if command is None or comment["user"]["type"] != "User":
        return Ignored("the comment asks for nothing")
    return Event(
        "comment",
        pull_request=number(data["issue"]["number"]),
        sender=str(comment["user"]["login"]),
        command=command,
        comment_id=str(number(comment["id"])),
        at=str(comment["created_at"]),
    )


def _by_hand(_data: Json) -> Event | Ignored:
    """What to test is an input of the workflow's own; GitHub let nobody start it who may not write."""
    return Event("manual")


def _sha(value: object) -> str:
    text = str(value)
    if not _SHA.match(text):
        raise ValueError("no full commit id")
    return text
