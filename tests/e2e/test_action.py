"""action.yml in a real workflow engine, from another repository, on a virtual board."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from fakes.github_state import Status, now
from fakes.github_webhooks import Webhooks
from github_engine import ROOT, Engine
from upstream import GITHUB_TOKEN, HUT, NAME, PARENT, SHA

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

ALONE = """
on: push
permissions: {}
jobs:
  setup:
    runs-on: self-hosted
    steps:
      - id: setup
        uses: hut-ci/hut_ci/.github/actions/setup@COMMIT
      - shell: bash
        run: '"$HUT_CI" --version > "$STORE/version"'
        env: {HUT_CI: "${{ steps.setup.outputs.hut-ci }}"}
  gate:
    runs-on: self-hosted
    outputs: {request: "${{ steps.gate.outputs.request }}"}
    steps:
      - id: gate
        uses: hut-ci/hut_ci/.github/actions/gate@COMMIT
        with: {slots: SLOTS, only: hut-02, context: "alone / {slot}", answer-within: 2h, limit: 61}
      - shell: bash
        run: printf '%s|' "$DECISION" "$MATRIX" "$REPORTS" "$MINUTES" "$COMMIT" > "$STORE/gate"
        env:
          DECISION: ${{ steps.gate.outputs.decision }}
          MATRIX: ${{ steps.gate.outputs.matrix }}
          REPORTS: ${{ steps.gate.outputs.reports }}
          MINUTES: ${{ steps.gate.outputs.job-minutes }}
          COMMIT: ${{ steps.gate.outputs.commit-sha }}
  report:
    runs-on: self-hosted
    needs: gate
    steps:
      - id: fetch
        shell: bash
        run: exit 1
        continue-on-error: true
      - uses: hut-ci/hut_ci/.github/actions/report@COMMIT
        with:
          request: ${{ needs.gate.outputs.request }}
          reports: nowhere
          fetched: ${{ steps.fetch.outcome }}
  sweep:
    runs-on: self-hosted
    steps:
      - uses: hut-ci/hut_ci/.github/actions/sweep@COMMIT
        with: {since: 24}
"""


@pytest.mark.real
@pytest.mark.timeout(600)
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


@pytest.mark.real
@pytest.mark.timeout(600)
def test_each_action_alone(tmp_path: Path, environments: Path, github: FakeGitHub) -> None:
    """setup, gate, report and sweep in a workflow of one's own; reports that could not be fetched fail their job."""
    github.add_token(GITHUB_TOKEN)
    repo = github.repository(NAME, id=1001)
    repo.add_commit(SHA, files={"hut.yml": HUT})
    repo.add_commit(PARENT, files={"hut.yml": HUT})
    repo.add_run(head_sha=PARENT)
    repo.posted_statuses.append(pending(PARENT, "hardware / hut-09", "waiting, answer by 2026-02-12T15:30:00Z"))
    repo.posted_statuses.append(pending(PARENT, "build", "another's"))
    slots = [{"id": name, "label": f"esp32-{name}", "chip": "esp32"} for name in ("hut-01", "hut-02")]
    engine = Engine(tmp_path, environments, github, tmp_path / "no lab")
    text = json.dumps({"schema_version": "hut.slots.v1", "slots": slots})
    engine.workflow("alone.yml", ALONE.replace("SLOTS", json.dumps(text)))
    ran = engine.happens(*Webhooks(github, repo).pushed(SHA))
    assert ran.code != 0, "the report's job, so that it is run again"
    assert (engine.store / "version").read_text().startswith("hut-ci"), ran
    decision, matrix, reports, minutes, commit, _ = (engine.store / "gate").read_text().split("|")
    assert (decision, commit, minutes) == ("run", SHA, "12")
    assert [leg["context"] for leg in json.loads(matrix)["include"]] == ["alone / hut-02"]
    assert re.fullmatch(r"hut-ci-report-[0-9a-f]{12}", reports)
    states = [(status["context"], status["state"]) for status in repo.statuses(SHA)]
    asked = ["alone / hut-02", "hardware"]
    assert states == [*((name, "pending") for name in asked), *((name, "error") for name in asked)], ran
    assert "could not be fetched" in repo.statuses(SHA)[-1]["description"]
    last = {status["context"]: status["state"] for status in repo.statuses(PARENT)}
    assert last == {"hardware / hut-09": "error", "build": "pending"}, ran


def pending(sha: str, context: str, text: str) -> Status:
    return Status(
        id=len(context),
        sha=sha,
        state="pending",
        context=context,
        description=text,
        target_url=None,
        login="x",
        created=now(),
    )


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
