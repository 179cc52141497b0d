"""The examples for GitHub in a real workflow engine: their own files, on a fake GitHub and virtual boards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from fakes.github_json import Json
from fakes.github_state import Repository
from fakes.github_webhooks import Webhooks
from github_engine import Engine, Ran
from upstream import GITHUB_TOKEN, NAME, PARENT, SHA, zipped

from hut_ci.virtual.app_script import Log, Print, Reboot, Reply, Script
from hut_ci.virtual.images import build_app, build_folder
from hut_ci.virtual.partitions import APP, DATA, FACTORY, OTA_0, OTA_DATA, Partition

ROOT = Path(__file__).parents[2]
WORKFLOW = ".github/workflows/build.yml"
NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)
FORK = {"head_repository": "mallory/firmware", "head_repository_id": 66}
OVERDUE = "asked for; answer by 2026-02-12T18:00Z"
PLAYER_AT = 0x150000
PARTITIONS = (
    Partition("nvs", DATA, 2, 0x9000, 0x4000),
    Partition("otadata", DATA, OTA_DATA, 0xD000, 0x2000),
    Partition("phy_init", DATA, 1, 0xF000, 0x1000),
    Partition("recovery", APP, FACTORY, 0x10000, 0x140000),
    Partition("ota_0", APP, OTA_0, PLAYER_AT, 0x2A0000),
)
"""As in squeezelite-esp32's partitions.csv."""

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


class Example:
    """A repository that has taken an example over, with a commit that was built."""

    def __init__(self, name: str, github: FakeGitHub, engine: Engine) -> None:
        folder = ROOT / "examples" / name
        files = {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}
        for path, text in files.items():
            if path.startswith(".github/workflows/"):
                engine.workflow(Path(path).name, text)
        github.add_token(GITHUB_TOKEN)
        self.engine, self.repo = engine, github.repository(NAME, id=1001)
        self.repo.add_commit(PARENT, files=files)
        self.repo.set_branch("main", PARENT)
        self.repo.add_commit(SHA, files=files, parents=[PARENT])
        self.repo.set_permission("ada", "write", "maintain")
        self.told = Webhooks(github, self.repo)

    def built(self, artifacts: Mapping[str, bytes], **more: Any) -> tuple[str, Json]:
        """A build of SHA has ended."""
        run = self.repo.add_run(head_sha=SHA, workflow=WORKFLOW, **more)
        for name, content in artifacts.items():
            run.add_artifact(name, content)
        return self.told.built(run)

    def comment(self, body: str) -> tuple[str, Json]:
        """Ada comments on pull request 12, an hour after its build."""
        said = self.repo.add_comment(12, body, login="ada", created=NOON + timedelta(hours=1))
        return self.told.commented(self.repo.pulls[12], said)

    def label(self, name: str) -> tuple[str, Json]:
        return self.told.labeled(self.repo.pulls[12], name, "ada")

    def happens(self, event: tuple[str, Json]) -> Ran:
        return self.engine.happens(*event, "hardware.yml")


def statuses(repo: Repository) -> dict[str, str]:
    """The newest state of each context at SHA."""
    return {status["context"]: status["state"] for status in repo.statuses(SHA)}


def settled(repo: Repository, *slots: str) -> bool:
    """Whether exactly these contexts, and the one for all, have passed."""
    contexts = [f"hardware / {slot}" for slot in slots]
    return statuses(repo) == dict.fromkeys([*contexts, "hardware"], "success")


def test_minimal(tmp_path: Path, environments: Path, lab_of: LabOf, firmware: Firmware, github: FakeGitHub) -> None:
    """A build has ended: tested, answered. Then the sweep ends what was never answered."""
    example = Example("github-minimal", github, Engine(tmp_path, environments, github, lab_of().lab_yml))
    ran = example.happens(example.built({"firmware": zipped(firmware("Starting app_main", "ready"))}))
    assert settled(example.repo, "hut-01"), str(ran)
    pending = {"state": "pending", "context": "hardware / hut-09", "description": OVERDUE}
    to, token = f"{github.url}/repos/{NAME}/statuses/{SHA}", {"Authorization": f"Bearer {GITHUB_TOKEN}"}
    assert requests.post(to, json=pending, headers=token, timeout=60).status_code == 201
    swept = example.engine.happens("schedule", {}, "sweep.yml")
    assert swept.code == 0, str(swept)
    assert statuses(example.repo)["hardware / hut-09"] == "error", str(swept)
    assert statuses(example.repo)["hardware / hut-01"] == "success"


def test_labels_and_comments(
    tmp_path: Path, environments: Path, lab_of: LabOf, firmware: Firmware, github: FakeGitHub
) -> None:
    """What is not addressed to the lab starts no job; a label does, and is gone afterwards; so does a comment."""
    lab = lab_of()
    example = Example("github-labels-and-comments", github, Engine(tmp_path, environments, github, lab.lab_yml))
    repo = example.repo
    repo.add_pull(12, head_sha=SHA, labels=["bug"])
    build = {"firmware": zipped(firmware("Starting app_main", "ready"))}
    example.built(build, event="pull_request", pull_requests=[12], created=NOON)
    for event in (example.comment("Looks good to me."), example.label("bug")):
        ran = example.happens(event)
        assert (ran.code, repo.statuses(SHA), "hut-ci" in ran.log) == (0, [], False), str(ran)
    ran = example.happens(example.label("hil"))
    assert settled(repo, "hut-01"), str(ran)
    assert repo.pulls[12].labels == ["bug"]
    before = len(repo.statuses(SHA))
    ran = example.happens(example.comment("/hil hut-01"))
    assert ran.code == 0, str(ran)
    assert [status["state"] for status in repo.statuses(SHA)[before:]].count("success") >= 1, str(ran)


def test_public(tmp_path: Path, environments: Path, lab_of: LabOf, firmware: Firmware, github: FakeGitHub) -> None:
    """A stranger's commit runs only when somebody who may write names it."""
    example = Example("github-public", github, Engine(tmp_path, environments, github, lab_of().lab_yml))
    example.repo.add_pull(12, head_sha=SHA, login="mallory", **FORK)
    example.built(
        {"firmware": zipped(firmware("Starting app_main", "ready"))}, event="pull_request", created=NOON, **FORK
    )
    refused = example.happens(example.comment("/hil"))
    assert refused.code != 0, str(refused)
    assert example.repo.statuses(SHA) == [], str(refused)
    ran = example.happens(example.comment(f"/hil @{SHA}"))
    assert settled(example.repo, "hut-01"), str(ran)


def squeezelite(folder: Path) -> bytes:
    """A build as its workflow uploads it: recovery in `factory` waits for a word and restarts into the player."""
    console = (Log("Starting app_main", tag="esp_app_main"), Print("squeezelite-esp32>"), Reply("restart_ota", "ok"))
    build = build_folder(
        folder / "build", project="recovery", script=Script((*console, Reboot(0))), partitions=PARTITIONS
    )
    player = (Log("Starting app_main", tag="esp_app_main"), Log("Calling squeezelite", tag="squeezelite_cmd"))
    (build / "squeezelite.bin").write_bytes(build_app(script=Script(player)))
    listing = (build / "flash_args").read_text() + f"{PLAYER_AT:#x} squeezelite.bin\n"
    for name in ("flash_args", "flasher_args.json"):
        (build / name).unlink()
    (build / "flash_project_args").write_text(listing)
    return zipped(build, "build/")


def test_squeezelite(tmp_path: Path, environments: Path, lab_of: LabOf, github: FakeGitHub) -> None:
    """Three variants are built, two boards test the one that is theirs: factory application first, then ota_0."""
    facts = yaml.safe_load((ROOT / "examples" / "squeezelite-esp32" / "lab.yml").read_text("utf-8"))["slots"]
    lab = lab_of(2, settings={slot: {"facts": entry["facts"]} for slot, entry in facts.items()})
    example = Example("squeezelite-esp32", github, Engine(tmp_path, environments, github, lab.lab_yml))
    build = yaml.safe_load(example.repo.commits[SHA].files[WORKFLOW])["jobs"]["build"]
    name, content = build["steps"][-1]["with"]["name"], squeezelite(tmp_path)
    names = [
        name.replace("${{ matrix.variant }}", leg["variant"]).replace("${{ github.run_number }}", "17")
        for leg in build["strategy"]["matrix"]["include"]
    ]
    ran = example.happens(example.built(dict.fromkeys(names, content)))
    assert settled(example.repo, "hut-01", "hut-02"), str(ran)
