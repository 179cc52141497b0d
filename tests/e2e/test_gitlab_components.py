"""The GitLab components in a real engine, against the fake forges and virtual boards; the end state is what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from gitlab_engine import Pipelines
from upstream import GITHUB_TOKEN, GITLAB, GITLAB_TOKEN, SHA, gitlab_with_decoys, zipped

from hut_ci.reports.child_pipeline import Carrier, child_pipeline
from hut_ci.stages.request import from_document
from hut_ci.virtual.app_script import Command, Panic
from hut_ci.virtual.lab import VirtualLab

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

STATUS = "hardware / hut-01"
CARRIER = Carrier(image="", install="", environment="hardware", limit=60)


@pytest.fixture
def pipelines(tmp_path: Path) -> Pipelines:
    return Pipelines(tmp_path / "project")


def speak_to(pipelines: Pipelines, lab: VirtualLab | None = None, **forges: Any) -> None:
    if "gitlab" in forges:
        pipelines.variables |= {"CI_API_V4_URL": forges["gitlab"].api, "GITLAB_TOKEN": GITLAB_TOKEN}
    if "github" in forges:
        pipelines.variables |= {"GITHUB_API_URL": forges["github"].url, "GITHUB_TOKEN": GITHUB_TOKEN}
    if lab is not None:
        pipelines.variables["HUT_CI_LAB"] = str(lab.lab_yml)


def asked(forge: str, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": "hut.request.v1",
        "commit_sha": SHA,
        "builds": forge,
        "publish": [forge],
        "pairs": [{"slot": "hut-01", "label": "esp32-hut-01"}],
        "not_after": "2999-01-01T00:00:00Z",
        **more,
    }


def child(pipelines: Pipelines, document: dict[str, Any]) -> None:
    text = child_pipeline(from_document(document, "request"), document, CARRIER)
    pipelines.commit({".gitlab-ci.yml": text})


def of_gitlab(gitlab: FakeGitLab, name: str = STATUS) -> list[str]:
    project = gitlab.find_project("acme/firmware")
    assert project is not None
    return [status["status"] for status in project.statuses(SHA) if status["name"] == name]


def of_github(github: FakeGitHub, name: str = STATUS) -> list[str]:
    repo = github.repositories["acme/firmware"]
    return [status["state"] for status in repo.statuses(SHA) if status["context"] == name]


# --- the child pipeline --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "state", "engine_fails"), [(("ready",), "success", False), ((Panic("LoadProhibited"),), "failed", True)]
)
def test_pass_and_fail_reach_the_commit(
    steps: tuple[Command | str, ...],
    state: str,
    engine_fails: bool,
    gitlab: FakeGitLab,
    lab_of: LabOf,
    firmware: Firmware,
    pipelines: Pipelines,
) -> None:
    gitlab_with_decoys(gitlab, zipped(firmware(*steps)))
    speak_to(pipelines, lab_of(), gitlab=gitlab)
    child(pipelines, asked(GITLAB))
    ran = pipelines.run(source="parent_pipeline")
    assert (ran.code != 0) is engine_fails, ran
    assert of_gitlab(gitlab)[-1:] == [state], ran
    assert of_gitlab(gitlab, "hardware")[-1:] == [state], ran
