"""docs/quick-start-github.md, typed as it stands there: an unknown board, an empty lab, and a status in the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Firmware
from console_script import HutCi
from fakes.github import FakeGitHub
from github_engine import ROOT, Engine
from upstream import GITHUB_TOKEN, NAME, PARENT, SHA, zipped

from hut_ci.virtual.board import VirtualBoard

PAGE = (ROOT / "docs" / "quick-start-github.md").read_text("utf-8")
BUILD = ".github/workflows/build.yml"


def block(name: str) -> str:
    [text] = re.findall(rf"^```yaml\n(# {re.escape(name)}\n.*?)^```", PAGE, re.S | re.M)
    return str(text)


def typed(words: str) -> list[str]:
    """The words, which the page has as a line of its own behind `hut-ci`."""
    assert re.search(rf"^    hut-ci {re.escape(words)}(?: +[#>].*)?$", PAGE, re.M), words
    return words.split()


@pytest.mark.real
@pytest.mark.timeout(300)
def test_from_nothing_to_a_first_status(
    tmp_path: Path, environments: Path, hut_ci: HutCi, firmware: Firmware, github: FakeGitHub
) -> None:
    lab = tmp_path / "home" / ".config" / "hut-ci" / "lab.yml"
    lab.parent.mkdir(parents=True)
    lab.write_text(f"lock_dir: {tmp_path / 'locks'}\nstate_dir: {tmp_path / 'state'}\nslots:\n")  # not this machine's
    (tmp_path / "locks").mkdir(0o700)
    with VirtualBoard() as board:
        # nobody is there to plug a board in: its port is named, and nothing asked
        added = hut_ci(*typed("slots add hut-01"), "--port", board.serial, "--yes", "--lab", lab)
        assert added.code == 0, added
        hut_ci.environ["HUT_CI_LAB"] = str(lab)
        listed = hut_ci(*typed("slots list"))
        assert "esp32-hut-01" in listed.stdout, listed
        public = hut_ci(*typed("slots list --public --json"))
        assert public.code == 0, public
        github.add_token(GITHUB_TOKEN)
        repo = github.repository(NAME, id=1001, private=True)
        files = {"hut.yml": block("hut.yml"), ".github/slots.json": public.stdout}
        repo.add_commit(PARENT)
        repo.add_commit(SHA, files=files, parents=[PARENT])
        repo.set_branch("main", SHA)
        run = repo.add_run(head_sha=SHA, workflow=BUILD)
        [name] = re.findall(r"upload-artifact@.*\n +with:\n +name: (\S+)", PAGE)
        run.add_artifact(name, zipped(firmware("ready")))
        engine = Engine(tmp_path, environments, github, lab)
        caller = block(".github/workflows/hardware.yml")
        engine.workflow("hardware.yml", caller.replace("with:\n", "with:\n      runner: self-hosted\n"))  # the engine's
        built = {"id": run.id, "head_sha": SHA, "conclusion": "success", "event": "push", "pull_requests": []}
        payload = {"action": "completed", "repository": {"id": 1001}}
        ran = engine.happens("workflow_run", payload | {"workflow_run": built | {"head_repository": {"id": 1001}}})
    last = {status["context"]: status["state"] for status in repo.statuses(SHA)}
    assert last == {"hardware / hut-01": "success", "hardware": "success"}, ran
