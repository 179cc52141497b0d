"""A job that calls a reusable workflow grants all that its jobs ask for; with less, GitHub starts none of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from carriers import WORKFLOWS, Json, called, load, own_target

LEVELS = ("none", "read", "write")


def lacking(document: Json) -> Iterator[str]:
    for name, job in document["jobs"].items():
        target = own_target(job.get("uses", "").partition(" ")[0])
        if target is None:
            continue
        granted = job.get("permissions", document.get("permissions", {}))
        for scope, level in wanted(target).items():
            if LEVELS.index(granted.get(scope, "none")) < LEVELS.index(level):
                yield f"{name} lacks {scope}: {level}"


@cache
def wanted(target: Path) -> dict[str, str]:
    """The most that any job of a called workflow asks for."""
    most: dict[str, str] = {}
    for job in load(target.read_text("utf-8"))["jobs"].values():
        for scope, level in job.get("permissions", {}).items():
            most[scope] = max(level, most.get(scope, "none"), key=LEVELS.index)
    return most


def calls(path: Path) -> set[str]:
    """The names of our workflows that a workflow calls."""
    jobs = load(path.read_text("utf-8"))["jobs"].values()
    return {target.name for job in jobs if (target := own_target(job.get("uses", "")))}


CALLERS = [path for path in WORKFLOWS if calls(path)]


@pytest.mark.parametrize("path", CALLERS, ids=called)
def test_callers_grant_what_the_called_workflow_needs(path: Path) -> None:
    """And the check finds a permission that is taken away, or only reads where it has to write."""
    document = load(path.read_text("utf-8"))
    assert list(lacking(document)) == []
    for name, job in document["jobs"].items():
        if own_target(job.get("uses", "")) is None:
            continue
        for scope in job["permissions"]:
            planted = copy.deepcopy(document)
            del planted["jobs"][name]["permissions"][scope]
            assert f"{name} lacks {scope}: {job['permissions'][scope]}" in list(lacking(planted))


def test_the_examples_call_both() -> None:
    assert set().union(*map(calls, CALLERS)) == {"hil.yml", "hil-sweep.yml"}
