"""docs/watch.md is typed word by word: from a board to a status on a public repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import SCRIPT, HutCi
from fakes.github import FakeGitHub
from upstream import GITHUB_TOKEN, HUT, NAME, SHA, zipped

from hut_ci import config

PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text("utf-8")


def typed(heading: str) -> list[list[str]]:
    """The indented blocks of a section, line by line."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        block.strip("\n").replace("    ", "", 1).split("\n    ")
        for block in re.findall(r"(?:^    .+\n)+", section, re.M)
    ]


@pytest.mark.real
def test_from_a_board_to_a_status_in_eight_lines(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    first, for_good = typed("From a board to a status")
    assert len(first) + len(for_good) <= 8
    board = lab_of().boards["hut-01"]
    repo = github.repository(NAME)
    repo.add_commit(SHA, files={"hut.yml": HUT})
    repo.set_branch("main", SHA)
    repo.add_pull(12, head_sha=SHA)
    repo.add_run(head_sha=SHA).add_artifact("firmware-i2s", zipped(firmware("ready")))
    token = {"actions": "read", "contents": "read", "statuses": "write", "pull_requests": "write"}
    github.add_token(GITHUB_TOKEN, login="lab", kind="pat", permissions=token)
    lab = hut_ci.folder / "home" / ".config" / "hut-ci" / "lab.yml"
    lab.parent.mkdir(parents=True)
    lab.write_text(f"lab: kitchen\nlock_dir: {hut_ci.folder}/locks\nstate_dir: {hut_ci.folder}/state\nslots:\n")
    # The board is pointed at, and nobody is asked; the forge is the fake one. What is typed stays as it is.
    environ = {"HUT_CI_SLOTS_ADD_PORT": board.serial, "HUT_CI_SLOTS_ADD_YES": "1", "GITHUB_API_URL": github.url}
    environ = {**hut_ci.environ, **environ, "PATH": f"{SCRIPT.parent}:{hut_ci.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/bash", "-e", "-c", "\n".join(first)],
        input=f"{GITHUB_TOKEN}\n",
        env=environ,
        cwd=hut_ci.folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = {status.context: status.state for status in repo.posted_statuses if status.sha == SHA}
    assert states == {"hardware / hut-01": "success", "hardware": "success"}, done.stdout + done.stderr


def test_its_lab_loads_with_all_that_its_table_names(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n# lab\.yml\n(.*?)```", PAGE, re.S)
    (tmp_path / "lab.yml").write_text(text)
    first, second = config.load_lab(tmp_path / "lab.yml", {}).projects
    assert (first.forks, first.hours, second.address) == ("asked", (420, 1320), "gitlab:acme/player")
    keys = set(re.findall(r"^    (\w+): ", text.partition("projects:")[2], re.M))
    assert keys == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
