"""action.yml in a real workflow engine, from another repository, on a virtual board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from github_engine import ROOT, Engine

from hut_ci.virtual.app_script import Panic

WORKFLOW = """
on: push
permissions: {}
jobs:
  hardware:
    runs-on: [self-hosted, esp32-hut-01]
    steps:
      - id: board
        uses: hut-ci/hut_ci@COMMIT
        with:
          build: BUILD
          slot: hut-01
          publish: none
          out: OUT
      - if: always()
        shell: bash
        run: printf '%s|%s|%s' "$VERDICT" "$CODE" "$SUMMARY" > told
        env:
          VERDICT: ${{ steps.board.outputs.verdict }}
          CODE: ${{ steps.board.outputs.exit-code }}
          SUMMARY: ${{ steps.board.outputs.summary }}
"""


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("steps", "expected"),
    [(("ready",), ("pass", "0", "pass")), ((Panic(),), ("fail", "1", "panic"))],
    ids=["pass", "fail"],
)
def test_a_run_in_one_step(
    tmp_path: Path,
    environments: Path,
    github: FakeGitHub,
    lab_of: LabOf,
    firmware: Firmware,
    steps: Any,
    expected: tuple[str, str, str],
) -> None:
    """CARD-1, CARD-4."""
    engine = Engine(tmp_path, environments, github, lab_of().lab_yml)
    out, told = tmp_path / "my report", tmp_path / "told"
    text = WORKFLOW.replace("BUILD", json.dumps(str(firmware(*steps)))).replace("OUT", json.dumps(str(out)))
    engine.workflow("hardware.yml", text.replace("> told", f"> '{told}'"))
    ran = engine.happens("push", {})
    assert told.exists(), ran
    verdict, code, summary = told.read_text().split("|")
    assert (verdict, code) == expected[:2], ran
    assert summary.startswith(expected[2]), summary
    assert (ran.code == 0) is (expected[1] == "0"), ran
    assert json.loads((out / "report.json").read_text())["hardware"]["slot"] == "hut-01"
    assert len([path for path in environments.iterdir() if path.is_dir()]) == 1, "installed once"


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
