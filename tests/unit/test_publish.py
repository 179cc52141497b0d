"""The commit status: always a final state, only ever on the commit that was tested."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hut_ci.errors import UsageError
from hut_ci.stages.artifact import full_sha
from hut_ci.stages.publish import Status, announce, publish

RUNS = Path(__file__).parents[1] / "data" / "reports" / "runs"
SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@dataclass
class Sink:
    """A forge that remembers."""

    vocabulary: str = "github"
    description_limit: int = 140
    posted: list[tuple[str, str, str, str, str | None]] = field(default_factory=list)

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None) -> None:
        self.posted.append((sha, context, state, description, target_url))


def recorded(name: str) -> Any:
    return json.loads((RUNS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "github", "gitlab"),
    [
        ("pass", "success", "success"),
        ("recovered", "success", "success"),
        ("flaky", "success", "success"),
        ("fail", "failure", "failed"),
        ("error", "error", "failed"),
        ("config", "error", "failed"),
        ("timed_out", "error", "failed"),
        ("blocked", "error", "failed"),
        ("cancelled", "error", "canceled"),
        ("killed", "error", "failed"),
    ],
)
def test_final_state(name: str, github: str, gitlab: str) -> None:
    """Security 22 and 23: every outcome has its final state on either forge."""
    document = recorded(name)
    for vocabulary, state in (("github", github), ("gitlab", gitlab)):
        sink = Sink(vocabulary)
        publish(document, sink, sha=SHA, slot="hut-01", target_url="https://ci.example/run/7")
        text = document["human_summary"]
        assert sink.posted == [(SHA, "hardware / hut-01", state, text, "https://ci.example/run/7")]


def test_without_a_request_the_document_says_where() -> None:
    sink = Sink()
    assert publish(recorded("pass"), sink, context="lab / {slot}") == Status(
        SHA, "lab / hut-01", "success", "pass: boots hello 1.2.0 from factory in 1.4 s"
    )


def test_pending() -> None:
    sink = Sink()
    announce(sink, SHA, "hut-01", "waiting for hut-01\x1b[2J" + " x" * 100)
    ((sha, context, state, text, url),) = sink.posted
    assert (sha, context, state, url) == (SHA, "hardware / hut-01", "pending", None)
    assert len(text) <= 140
    assert "\x1b" not in text


def test_stages_after_the_suite_do_not_spoil_a_pass() -> None:
    document = recorded("pass")
    attempt = document["hardware"]["attempts"][0]
    document["hardware"]["attempts"].append({**attempt, "number": 2, "flash": None, "suite": None})
    assert publish(document, Sink()).state == "success"


def tampered(**changes: Any) -> Any:
    document = recorded("fail")
    document.update(changes)
    return document


def green(document: Any, **verdict: Any) -> Any:
    document["hardware"]["verdict"].update(name="pass", exit_code=0, **verdict)
    document.update(status="success", exit_code=0)
    return document


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (None, "there is no report"),
        ([], "there is no report"),
        ({}, "not valid"),
        (tampered(status="success", exit_code=0), "contradicts itself"),
        (tampered(exit_code=2), "contradicts itself"),
        (tampered(hardware=None), "not valid"),
        (green(recorded("fail")), "claims a pass"),
        (green(recorded("config")), "claims a pass"),
        (green(recorded("killed")), "not valid"),
        ({key: value for key, value in recorded("pass").items() if key != "hardware"}, "not about hardware"),
    ],
)
def test_a_document_that_proves_nothing_is_an_error(document: Any, why: str) -> None:
    """Security 23: a missing, broken or forged report is never green, and never the firmware's failure."""
    sink = Sink()
    publish(document, sink, sha=SHA, slot="hut-01")
    ((sha, _, state, text, _),) = sink.posted
    assert (sha, state) == (SHA, "error")
    assert why in text


@pytest.mark.parametrize(("sha", "slot", "why"), [(OTHER, "hut-01", "another commit"), (SHA, "hut-02", "another slot")])
def test_the_request_decides_where(sha: str, slot: str, why: str) -> None:
    """WS8-3, security 6: a green report about something else turns into an error on what was asked for."""
    sink = Sink()
    publish(recorded("pass"), sink, sha=sha, slot=slot)
    ((posted, context, state, text, _),) = sink.posted
    assert (posted, context, state) == (sha, f"hardware / {slot}", "error")
    assert why in text


@pytest.mark.parametrize("sha", ["", None, "0123456", SHA.upper(), SHA + "0", SHA[:-1] + "g", SHA + "\n", "main"])
def test_only_full_commit_ids(sha: Any) -> None:
    """Design decision 8: an empty or short SHA is refused."""
    with pytest.raises(UsageError, match="not a full commit id") as caught:
        full_sha(sha)
    assert caught.value.todo


def test_without_a_commit_there_is_nowhere_to_post() -> None:
    sink = Sink()
    document = recorded("pass")
    document["hardware"]["commit_sha"] = None
    with pytest.raises(UsageError):
        publish(document, sink)
    assert sink.posted == []
