"""The quick starts, typed as they stand in docs/: an unknown board, an empty lab, and a first answer in the end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from conftest import Firmware
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from github_engine import ROOT, Engine
from gitlab_engine import Pipelines
from upstream import GITHUB_TOKEN, GITLAB_TOKEN, NAME, PARENT, SHA, zipped

from hut_ci.virtual.board import VirtualBoard

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
BUILD = ".github/workflows/build.yml"


class Page:
    """A quick start: its files, and the lines behind `hut-ci` that a person types."""

    def __init__(self, forge: str) -> None:
        self.text = (ROOT / "docs" / f"quick-start-{forge}.md").read_text("utf-8")

    def file(self, name: str) -> str:
        [found] = re.findall(rf"^```yaml\n(# {re.escape(name)}\n.*?)^```", self.text, re.S | re.M)
        return str(found)

    def typed(self, words: str) -> list[str]:
        """The words, which the page has as a line of their own."""
        assert re.search(rf"^    (?:sudo .+ )?hut-ci {re.escape(words)}(?: +[#>].*)?$", self.text, re.M), words
        return shlex.split(words)


@contextmanager
def bench(page: Page, hut_ci: HutCi, lab: Path) -> Iterator[str]:
    """A board in a lab that had none, and the lab's public list of slots."""
    lab.parent.mkdir(parents=True)
    (lab.parent / "locks").mkdir(0o700)
    lab.write_text("lock_dir: locks\nstate_dir: state\nslots:\n")  # those of the machine are not ours
    with VirtualBoard() as board:
        # nobody is there to plug a board in: its port is named, and nothing asked
        added = hut_ci(*page.typed("slots add hut-01"), "--port", board.serial, "--yes", "--lab", lab)
        assert added.code == 0, added
        hut_ci.environ["HUT_CI_LAB"] = str(lab)
        assert "esp32-hut-01" in hut_ci(*page.typed("slots list")).stdout
        public = hut_ci(*page.typed("slots list --public --json"))
        assert public.code == 0, public
        yield public.stdout


def test_on_github(tmp_path: Path, environments: Path, hut_ci: HutCi, firmware: Firmware, github: FakeGitHub) -> None:
    page, lab = Page("github"), tmp_path / "lab" / "lab.yml"
    with bench(page, hut_ci, lab) as slots:
        github.add_token(GITHUB_TOKEN)
        repo = github.repository(NAME, id=1001, private=True)
        repo.add_commit(PARENT)
        repo.add_commit(SHA, files={"hut.yml": page.file("hut.yml"), ".github/slots.json": slots}, parents=[PARENT])
        repo.set_branch("main", SHA)
        run = repo.add_run(head_sha=SHA, workflow=BUILD)
        [name] = re.findall(r"upload-artifact@.*\n +with:\n +name: (\S+)", page.text)
        run.add_artifact(name, zipped(firmware("ready")))
        engine = Engine(tmp_path, environments, github, lab)
        caller = page.file(".github/workflows/hardware.yml")
        engine.workflow("hardware.yml", caller.replace("with:\n", "with:\n      runner: self-hosted\n"))  # the engine's
        built = {"id": run.id, "head_sha": SHA, "conclusion": "success", "event": "push", "pull_requests": []}
        payload = {"action": "completed", "repository": {"id": 1001}}
        ran = engine.happens("workflow_run", payload | {"workflow_run": built | {"head_repository": {"id": 1001}}})
    last = {status["context"]: status["state"] for status in repo.statuses(SHA)}
    assert last == {"hardware / hut-01": "success", "hardware": "success"}, ran


def test_on_gitlab(tmp_path: Path, hut_ci: HutCi, firmware: Firmware, gitlab: FakeGitLab) -> None:
    """The engine knows no releases of components and no images: ours at this commit, with nothing to install."""
    page, lab = Page("gitlab"), tmp_path / "lab" / "lab.yml"
    with bench(page, hut_ci, lab) as slots:
        text = page.file(".gitlab-ci.yml").replace("$CI_SERVER_FQDN/hut-ci/hut_ci", "$CI_SERVER_FQDN/$CI_PROJECT_PATH")
        config = yaml.safe_load(re.sub(r"@[\d.]+", "@$CI_COMMIT_SHA", text))
        for entry in config["include"]:
            entry["inputs"] = {"install": ""}
        content = firmware("ready")
        config["build"] |= {"script": [f"cp -r '{content}' build"]}
        del config["build"]["image"]
        files = {"hut.yml": page.file("hut.yml"), "slots.json": slots}
        pipelines = Pipelines(tmp_path / "project")
        pipelines.commit({**files, ".gitlab-ci.yml": yaml.safe_dump(config)})
        gitlab.add_token(GITLAB_TOKEN, username="project_7_bot", kind="project", scopes=["api"], access_level=40)
        project = gitlab.project(NAME, id=7)
        project.add_commit(pipelines.head, files={name: text.encode() for name, text in files.items()})
        project.set_branch("main", pipelines.head)
        line = project.add_pipeline(sha=pipelines.head, status="running")
        line.add_job("build", artifacts=zipped(content, "build/"))
        pipelines.variables |= {"CI_API_V4_URL": gitlab.api, "GITLAB_TOKEN": GITLAB_TOKEN, "HUT_CI_LAB": str(lab)}
        pipelines.variables |= {"CI_PIPELINE_ID": str(line.id), "CI_PROJECT_ID": str(project.id)}
        ran = pipelines.run(source="push")
    assert ran.code == 0, ran
    assert "pass: 1 of 1 expected lines" in ran.output, ran
    assert list((pipelines.folder / ".gitlab-ci-local").rglob("junit.xml")), ran
