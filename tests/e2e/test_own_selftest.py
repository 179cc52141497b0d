"""This project's own self-test workflow in a real engine: every step that GitHub would run, on virtual boards."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LabOf
from fakes.github import FakeGitHub
from github_engine import Engine

SETUP_PYTHON = "actions/setup-python@a309ff8b426b58ec0e2a45f0f869d46889d02405"
NOTHING = 'name: nothing\ninputs: {python-version: {}}\nruns: {using: composite, steps: [{run: ":", shell: sh}]}\n'

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture
def engine(tmp_path: Path, environments: Path, lab_of: LabOf, github: FakeGitHub) -> Iterator[Engine]:
    """The engine in a copy of this repository, where the jobs have the Python that is on this machine."""
    engine = Engine(tmp_path, environments, github, lab_of().lab_yml)
    shutil.copytree(engine.ours, engine.consumer, dirs_exist_ok=True)
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "action.yml").write_text(NOTHING)
    engine.replaced.append(f"{SETUP_PYTHON}={tmp_path / 'python'}")
    workflow = engine.consumer / ".github" / "workflows" / "selftest.yml"
    workflow.write_text(workflow.read_text("utf-8").replace('["3.11", "3.13"]', '["3.11"]'))
    yield engine
    for file in engine.home.rglob("*.pid"):  # of a lab that a job could not end any more
        command = Path("/proc", file.read_text().strip(), "cmdline")
        if command.exists() and b"virtual-lab" in command.read_bytes():
            os.kill(int(file.read_text()), signal.SIGTERM)


def test_the_selftest_passes(engine: Engine) -> None:
    ran = engine.happens("push", {"after": "5e" * 20, "ref": "refs/heads/main"}, "selftest.yml")
    assert ran.code == 0, str(ran)
    assert ran.log.count("Success - Main") >= 20, str(ran)


def test_the_selftest_finds_what_is_broken(engine: Engine) -> None:
    """The control: a firmware that was to fail passes."""
    workflow = engine.consumer / ".github" / "workflows" / "selftest.yml"
    text = workflow.read_text("utf-8").partition("\n  cancelled:")[0]
    assert " --fault hut-02=panic" in text
    workflow.write_text(text.replace(" --fault hut-02=panic", ""))
    ran = engine.happens("push", {"after": "5e" * 20, "ref": "refs/heads/main"}, "selftest.yml")
    assert ran.code != 0, str(ran)
    assert "Failure - Main It failed, and the step with it" in ran.log, str(ran)
