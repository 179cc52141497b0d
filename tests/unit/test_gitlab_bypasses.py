"""security 2-5 on GitLab: attacks that must not get through, and planted holes that let exactly these through.

The attacks are cases of tests/data/events/gitlab; a hole is what a reader would see that believes one thing too much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from test_gitlab_event import CASES, decided

Case = dict[str, Any]
ALL = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in CASES}


def gets_through(case: Case) -> bool:
    """Whether a run may come of it: an event, a look at who asks, or somebody who does."""
    found = decided(case)
    return "event" in found or "look" in found or bool(found.get("asks"))


def variables_are_believed(case: Case) -> Case:
    ci = case.get("ci", {})
    said = {"source": ci.get("CI_PIPELINE_SOURCE"), "sha": ci.get("CI_COMMIT_SHA")}
    return {**case, "pipeline": case["pipeline"] | {name: value for name, value in said.items() if value}, "ci": {}}


def any_pipeline_counts(case: Case) -> Case:
    return {**case, "pipeline": {**case["pipeline"], "over": False}}


def forks_are_not_seen(case: Case) -> Case:
    return {**case, "request": {**case["request"], "from_fork": False}}


def heads_do_not_move(case: Case) -> Case:
    head = case["parents"][-1] if case["pipeline"].get("merged") else case["pipeline"]["sha"]
    return {**case, "request": {**case["request"], "head_sha": head}, "ci": {}}


def edits_count(case: Case) -> Case:
    return {**case, "note": {**case["note"], "changed": case["note"]["at"]}}


def asking_lasts_for_ever(case: Case) -> Case:
    noon = "2026-02-12T12:00:00.000Z"
    if "note" in case:
        return {**case, "note": {**case["note"], "at": noon, "changed": noon}}
    return {**case, "label_events": [{**event, "at": noon} for event in case["label_events"]]}


def system_notes_count(case: Case) -> Case:
    return {**case, "note": {**case["note"], "system": False}}


def history_is_all_of_setting(case: Case) -> Case:
    return {**case, "label_events": [{**event, "added": True} for event in case["label_events"]]}


def history_is_all_of_this_label(case: Case) -> Case:
    return {**case, "label_events": [{**event, "label": case["labels"][0]} for event in case["label_events"]]}


def nobody_is_deleted(case: Case) -> Case:
    return {**case, "label_events": [{**event, "user": event["user"] or "0"} for event in case["label_events"]]}


HOLES: dict[Callable[[Case], Case], set[str]] = {
    variables_are_believed: {
        "trigger-that-plays-a-push",
        "trigger-that-plays-another-commit",
        "trigger-that-plays-another-project",
        "trigger-that-plays-a-merge-request",
        "merge-request-with-another-head-in-its-variables",
    },
    any_pipeline_counts: {"trigger-that-plays-an-earlier-pipeline"},
    forks_are_not_seen: {"merge-request-of-a-fork"},
    heads_do_not_move: {"merged-result-whose-head-has-moved", "merge-request-whose-head-was-reset"},
    edits_count: {"note-that-was-edited"},
    asking_lasts_for_ever: {"note-of-yesterday", "label-of-yesterday"},
    system_notes_count: {"note-of-gitlab-itself"},
    history_is_all_of_setting: {"label-that-was-taken-off"},
    history_is_all_of_this_label: {"label-of-another-name-in-its-history"},
    nobody_is_deleted: {"label-of-a-deleted-user"},
}
ATTACKS = set().union(*HOLES.values())


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_no_attack_gets_through_on_gitlab(attack: str) -> None:
    assert not gets_through(ALL[attack])


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.__name__)
def test_a_planted_hole_lets_its_attacks_through(hole: Callable[[Case], Case]) -> None:
    assert {attack for attack in HOLES[hole] if gets_through(hole(ALL[attack]))} == HOLES[hole]
