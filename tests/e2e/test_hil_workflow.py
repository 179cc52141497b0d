"""hil.yml in a real workflow engine, called from another repository: gate, board and answer, on a fake GitHub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from github_engine import Engine
from upstream import SHA, github_with_decoys, zipped

from hut_ci.virtual.app_script import Command, Panic

CALLER = """
on: push
permissions: {}
jobs:
  hardware:
    permissions: {actions: read, contents: read, issues: write, pull-requests: write, statuses: write}
    uses: hut-ci/hut_ci/.github/workflows/hil.yml@COMMIT
    with:
      slots: SLOTS
      runner: self-hosted
"""
SLOTS = {"schema_version": "hut.slots.v1", "slots": [{"id": "hut-01", "label": "esp32-hut-01", "chip": "esp32"}]}


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("step", "state"), [("ready", "success"), (Panic(), "failure")], ids=["pass", "fail"])
def test_a_push_is_tested_and_answered(
    tmp_path: Path,
    environments: Path,
    lab_of: LabOf,
    firmware: Firmware,
    github: FakeGitHub,
    step: Command | str,
    state: str,
) -> None:
    repo = github_with_decoys(github, zipped(firmware(step)))
    engine = Engine(tmp_path, environments, github, lab_of().lab_yml)
    engine.workflow("hardware.yml", CALLER.replace("SLOTS", json.dumps(json.dumps(SLOTS))))
    ran = engine.happens("push", {"after": SHA, "deleted": False, "ref": "refs/heads/main"})
    last = {status["context"]: status["state"] for status in repo.statuses(SHA)}
    assert last == {"hardware / hut-01": state, "hardware": state}, ran
    assert next(status["state"] for status in repo.statuses(SHA) if status["context"] == "hardware") == "pending"
