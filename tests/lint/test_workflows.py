"""Each workflow and action keeps the rules, and each rule finds what is planted against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from carriers import ACTIONS, OWN, ROOT, WORKFLOWS, called
from workflow_rules import USES, findings

HIL = ROOT / ".github" / "workflows" / "hil.yml"
CHECKOUT = "actions/checkout@9c091bb21b7c1c1d1991bb908d89e4e9dddfe3e0 # v7.0.0"
CALLER = """
on:
  workflow_run: {workflows: [Build], types: [completed]}
  pull_request_target: {types: [labeled]}
  issue_comment: {types: [created]}
permissions: {}
jobs:
  hardware:
    permissions:
      actions: read # to find the build
      statuses: write # to answer
    uses: hut-ci/hut_ci/.github/workflows/hil.yml@COMMIT # VERSION
    with:
      slots: repo:.github/slots.json
  power:
    runs-on: [self-hosted, esp32-hut-01]
    timeout-minutes: 5
    permissions: {}
    strategy:
      fail-fast: false
      matrix: {slot: [hut-01]}
    steps:
      - id: cycle
        uses: hut-ci/hut_ci/.github/actions/power-cycle@COMMIT # VERSION
        with: {slot: hut-01}
      - run: echo "$RESULT"
        env: {RESULT: "${{ steps.cycle.outputs.result }}"}
  after:
    needs: hardware
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions:
      contents: write # to have something to steal
    steps:
      - run: echo "$WHAT"
        env: {WHAT: "${{ needs.hardware.outputs.decision }}"}
"""
PLANTED = {
    "an edited comment": ("types: [created]", "types: [created, edited]", "issue_comment: its types"),
    "a push after the label": ("types: [labeled]", "types: [labeled, synchronize]", "pull_request_target: its types"),
    "a build that began": ("types: [completed]", "types: [requested]", "workflow_run: its types"),
    "no types": (" {types: [created]}", "", "issue_comment: its types"),
    "rights for all jobs": ("permissions: {}\njobs", "permissions: {contents: read}\njobs", "missing at the top"),
    "default rights": ("permissions: {}\n    strategy", "strategy", "power: it does not say which permissions"),
    "all rights": ("permissions: {}\n    strategy", "permissions: write-all\n    strategy", "power: it does not say"),
    "no reason": (" # to answer", "", "3 permissions, but 2 of them"),
    "no time limit": ("    timeout-minutes: 5\n    permissions: {}", "    permissions: {}", "power: it has no timeout"),
    "fail-fast": ("fail-fast: false", "fail-fast: true", "power: fail-fast"),
    "fail-fast left out": ("      fail-fast: false\n", "", "power: fail-fast"),
    "a lab that writes": (
        "permissions: {}\n    strategy",
        "permissions:\n      statuses: write # because\n    strategy",
        "power: a job at the lab",
    ),
    "checkout that can write": (
        '      - run: echo "$WHAT"',
        f'      - uses: {CHECKOUT}\n        with: {{persist-credentials: false}}\n      - run: echo "$WHAT"',
        "after: checkout in a job with secrets or a token that writes",
    ),
    "checkout with a secret": (
        '      - run: echo "$RESULT"',
        f'      - uses: {CHECKOUT}\n        with: {{token: "${{{{ secrets.PAT }}}}"}}\n      - run: echo "$RESULT"',
        "power: checkout in a job with secrets",
    ),
    "checkout for strangers": (
        '      - run: echo "$RESULT"',
        f'      - uses: {CHECKOUT}\n        with: {{persist-credentials: false}}\n      - run: echo "$RESULT"',
        "power: checkout where strangers",
    ),
    "checkout that leaves its token": (
        '      - run: echo "$RESULT"',
        f'      - uses: {CHECKOUT}\n      - run: echo "$RESULT"',
        "power: checkout leaves its token",
    ),
    "an expression in a script": (
        'echo "$RESULT"',
        "echo ${{ github.event.comment.body }}",
        "an expression in a script",
    ),
    "a tag of ours": ("hil.yml@COMMIT # VERSION", "hil.yml@v1", "not pinned"),
    "a tag of theirs": ('      - run: echo "$WHAT"', "      - uses: actions/cache@v4", "not pinned"),
    "a hash alone": ('      - run: echo "$WHAT"', f"      - uses: {CHECKOUT.partition(' #')[0]}", "not pinned"),
    "an input that is not there": ("slots: repo", "slot: repo", "has no input slot"),
    "an input left out": ("with: {slot: hut-01}", "with: {wait: 5}", "needs the input slot"),
    "a workflow that is not there": ("workflows/hil.yml@", "workflows/hill.yml@", "hill.yml@COMMIT is not there"),
    "a job that is not there": ("needs: hardware", "needs: hardwear", "needs hardwear"),
    "a job not waited for": ("    needs: hardware\n", "", "after: there is no needs.hardware.outputs.decision"),
    "an output that is not there": (
        "outputs.decision",
        "outputs.decided",
        "there is no needs.hardware.outputs.decided",
    ),
    "a step that is not there": ("steps.cycle.", "steps.power.", "there is no steps.power.outputs.result"),
    "an output of a step": ("cycle.outputs.result", "cycle.outputs.results", "there is no steps.cycle.outputs.results"),
    "an input of its own": ("${{ steps.cycle.outputs.result }}", "${{ inputs.slot }}", "there is no inputs.slot"),
}


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=called)
def test_the_rules_are_kept(path: Path) -> None:
    assert findings(path.read_text("utf-8")) == []


def test_the_caller_of_the_controls_keeps_them() -> None:
    assert findings(CALLER) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_security_28_what_is_planted_is_found(planted: str) -> None:
    old, new, told = PLANTED[planted]
    assert CALLER.count(old) == 1, "the control plants nothing, or too much"
    found = findings(CALLER.replace(old, new))
    assert any(told in finding for finding in found), found


def test_security_10_the_jobs_of_hil_at_the_lab_only_read() -> None:
    planted = HIL.read_text("utf-8").replace("contents: read # to read hut.yml\n", "contents: write # to take over\n")
    assert findings(planted) == ["hardware: a job at the lab has a token that writes"]


@pytest.mark.parametrize("path", [path for path in WORKFLOWS if "examples" in path.parts], ids=called)
def test_an_example_means_us_and_not_its_own_repository(path: Path) -> None:
    """`$/` and `./` are the consumer's own there."""
    assert [uses for uses, _ in USES.findall(path.read_text("utf-8")) if uses.startswith(("$/", "./"))] == []


def test_a_foreign_action_has_one_version_everywhere() -> None:
    """Or a renewal would miss the examples, which Dependabot does not look at."""
    pins: dict[str, set[str]] = {}
    for path in [*WORKFLOWS, *ACTIONS]:
        for uses, comment in USES.findall(path.read_text("utf-8")):
            if not uses.startswith(("$/", "./", OWN)):
                pins.setdefault(uses.partition("@")[0], set()).add(f"{uses}{comment}")
    assert {name: sorted(found) for name, found in pins.items() if len(found) > 1} == {}
