"""The one line that stands beside a commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hut_ci.reports.escaping import cut, plain

GITHUB_LIMIT = 140  # the API answers 422 above it
GITLAB_LIMIT = 255
# Steps of `recovery_events` in the words of a status; `retry` follows a firmware failure and makes a pass flaky.
STEP_WORDS = {"reset": "reset", "reflash": "reflash", "power_cycle": "power cycle", "golden": "golden image"}
RETRY = "retry"


def status_text(document: Mapping[str, Any], limit: int = GITHUB_LIMIT) -> str:
    """At most `limit` characters of plain text on one line, never empty and never just "failed"."""
    return cut(full_status(document), limit)


def full_status(document: Mapping[str, Any]) -> str:
    """The same without a limit: what ws2 calls `human_summary`."""
    hardware = document.get("hardware")
    if not isinstance(hardware, Mapping):
        status = plain(str(document.get("status", "")))
        return plain(f"{status}: {document.get('human_summary') or 'the report says nothing more'}")
    verdict = hardware["verdict"]
    sentence = plain(str(verdict["sentence"]))
    # First, because a forge's limit cuts the end: what decided is not what this pull request proposes.
    base = "by the base's hut.yml, " if hardware.get("project_changed") else ""
    if verdict["name"] == "pass":
        marks = "; ".join(pass_marks(verdict, hardware["recovery_events"]))
        head = f"{base}pass ({marks})" if marks else f"{base}pass"
        return f"{head}: {sentence}" if sentence else head
    return base + (sentence or f"{kind(verdict)}: {plain(str(verdict['evidence']['id']))}, and no sentence about it")


def kind(verdict: Mapping[str, Any]) -> str:
    """The verdict as people say it; `error` is the lab's or the configuration's, by its exit code."""
    if verdict["name"] != "error":
        return str(verdict["name"])
    return "configuration error" if verdict["exit_code"] == 2 else "lab error"


def pass_marks(verdict: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a pass needed: `flaky, 1 of 2`, `recovered, 1 reset, 2 power cycles`."""
    marks = []
    if verdict.get("flaky"):
        retries = sum(event["step"] == RETRY for event in events)
        marks.append(f"flaky, 1 of {retries + 1}" if retries else "flaky")
    if verdict.get("recovered"):
        marks.append(", ".join(["recovered", *step_counts(events)]))
    return marks


def step_counts(events: Sequence[Mapping[str, Any]], *, restoring: bool = False) -> list[str]:
    """`1 reset`, `2 power cycles`: the steps of a run, weakest first."""
    counted = []
    for step, word in STEP_WORDS.items():
        number = sum(event["step"] == step and bool(event.get("restoring")) is restoring for event in events)
        if number:
            counted.append(f"{number} {word}{'s' if number > 1 else ''}")
    return counted
