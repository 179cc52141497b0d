"""`hut-ci resolve`: the artifact of exactly one commit as a verified file, where there is no lab."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from github_engine import Engine
from upstream import GITHUB, GITHUB_TOKEN, GITLAB, OTHER, SHA, github_with_decoys, gitlab_with_decoys, token_for, zipped


def test_the_one_artifact_among_decoys(github: FakeGitHub, hut_ci: HutCi, firmware: Firmware) -> None:
    """Run, artifact, digest and the bytes themselves; the second time it comes from the cache. No lab.yml exists."""
    content = zipped(firmware("ready"), "build/")
    repo = github_with_decoys(github, content)
    token_for(hut_ci, github)
    first = hut_ci("resolve", "--commit", SHA, "--forge", GITHUB, "--json")
    assert first.code == 0, first
    told, wanted = json.loads(first.stdout), repo.runs[-1].artifacts[-1]
    assert (told["artifact_id"], told["digest"]) == (str(wanted.id), wanted.digest)
    assert (told["run_id"], told["artifact_name"], told["commit_sha"]) == (str(repo.runs[-1].id), "firmware-i2s", SHA)
    file = hut_ci.folder / "hut-ci-artifact" / "artifact"
    assert (told["path"], file.read_bytes(), told["cached"]) == (str(file), content, False)
    assert "artifact firmware-i2s of run" in first.stderr
    assert hut_ci("firmware", "inspect", file).code == 0
    again = hut_ci("resolve", "--commit", SHA, "--forge", GITHUB)
    assert (again.code, file.read_bytes()) == (0, content), again
    assert wanted.digest in again.stdout
    assert len(github.blobs.calls) == 1
    assert repo.all_statuses() == []


@pytest.mark.real
def test_a_step_of_a_workflow_gets_outputs(github: FakeGitHub, hut_ci: HutCi, firmware: Firmware) -> None:
    repo = github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    outputs = hut_ci.folder / "outputs"
    outputs.touch()
    hut_ci.environ |= {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs)}
    assert hut_ci("resolve", "--commit", SHA, "--forge", GITHUB).code == 0
    told = dict(re.findall(r"^([a-z-]+)<<(?:.+)\n(.*)\n", outputs.read_text(), re.M))
    wanted = repo.runs[-1].artifacts[-1]
    assert told == {
        "path": str(hut_ci.folder / "hut-ci-artifact" / "artifact"),
        "artifact-id": str(wanted.id),
        "artifact-name": "firmware-i2s",
        "artifact-digest": wanted.digest,
        "run-id": str(repo.runs[-1].id),
        "run-url": told["run-url"],
        "event": "push",
        "commit-sha": SHA,
        "built-sha": SHA,
    }
    assert told["run-url"].endswith(told["run-id"])


@pytest.mark.real
def test_a_gitlab_job(gitlab: FakeGitLab, hut_ci: HutCi, firmware: Firmware) -> None:
    project = gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    answer = hut_ci("resolve", "--commit", SHA, "--forge", GITLAB, "--out", "there", "--json")
    assert answer.code == 0, answer
    assert json.loads(answer.stdout)["artifact_id"] == str(project.pipelines[-1].jobs[-1].id)
    assert (hut_ci.folder / "there" / "artifact").read_bytes() == project.pipelines[-1].jobs[-1].archive


def test_a_folder_of_builds(hut_ci: HutCi, firmware: Firmware) -> None:
    builds = hut_ci.folder / "forge" / "artifacts" / SHA
    builds.mkdir(parents=True)
    (builds / "default.zip").write_bytes(zipped(firmware("ready")))
    answer = hut_ci("resolve", "--commit", SHA, "--forge", "local:forge", "--json")
    assert answer.code == 0, answer
    assert json.loads(answer.stdout)["path"] == str(builds / "default.zip")


@pytest.mark.real
@pytest.mark.parametrize(
    ("commit", "more", "code", "told"),
    [
        (OTHER, ("--hut", "hut.yml"), 3, "no run of .github/workflows/none.yml"),
        ("5e5e", (), 2, "not a full commit id"),
        (SHA, ("--variant", "muse"), 2, "muse"),
        (SHA, ("--out", "file"), 2, "no artifact can be written to"),
    ],
)
def test_no_file_without_a_proof(
    github: FakeGitHub, hut_ci: HutCi, commit: str, more: tuple[str, ...], code: int, told: str
) -> None:
    github_with_decoys(github, b"PK\x05\x06" + bytes(18))
    token_for(hut_ci, github)
    (hut_ci.folder / "file").write_text("in the way")
    (hut_ci.folder / "hut.yml").write_text("artifact: {workflow: .github/workflows/none.yml}\n")
    answer = hut_ci("resolve", "--commit", commit, "--forge", GITHUB, "--wait-build", "0", *more)
    assert (answer.code, told in answer.stderr) == (code, True), answer
    assert not (hut_ci.folder / "hut-ci-artifact" / "artifact").exists()
    assert GITHUB_TOKEN not in answer.stdout + answer.stderr


@pytest.mark.real
def test_other_bytes_than_the_digest_promises_leave_no_file(
    github: FakeGitHub, hut_ci: HutCi, firmware: Firmware
) -> None:
    repo = github_with_decoys(github, zipped(firmware("ready")))
    repo.runs[-1].artifacts[-1].digest = f"sha256:{'0' * 64}"
    token_for(hut_ci, github)
    answer = hut_ci("resolve", "--commit", SHA, "--forge", GITHUB)
    assert answer.code == 3, answer
    assert list((hut_ci.folder / "hut-ci-artifact").iterdir()) == []


ACTION = """
on: push
permissions: {}
jobs:
  test:
    runs-on: self-hosted
    steps:
      - id: build
        uses: hut-ci/hut_ci/.github/actions/resolve@COMMIT
        with: {commit: SHA}
      - id: board
        uses: hut-ci/hut_ci@COMMIT
        with:
          build: ${{ steps.build.outputs.path }}
          slot: hut-01
          publish: none
          hut: HUT
      - run: printf '%s\\n' "$ID" "$DIGEST" "$COMMIT" "$VERDICT" > "$STORE/told"
        env:
          ID: ${{ steps.build.outputs.artifact-id }}
          DIGEST: ${{ steps.build.outputs.artifact-digest }}
          COMMIT: ${{ steps.build.outputs.commit-sha }}
          VERDICT: ${{ steps.board.outputs.verdict }}
"""


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_action_finds_what_the_next_step_flashes(
    tmp_path: Path, environments: Path, github: FakeGitHub, lab_of: LabOf, firmware: Firmware
) -> None:
    """CARD-2, on GitHub: the default `forge` is the repository of the job."""
    repo = github_with_decoys(github, zipped(firmware("ready")))
    engine = Engine(tmp_path, environments, github, lab_of().lab_yml)
    (tmp_path / "hut.yml").write_text("suite: {expect: [ready]}\n")
    engine.workflow("resolve.yml", ACTION.replace("SHA", SHA).replace("HUT", f"{tmp_path}/hut.yml"))
    ran = engine.happens("push", {})
    wanted = repo.runs[-1].artifacts[-1]
    assert (engine.store / "told").is_file(), ran
    assert (engine.store / "told").read_text().split() == [str(wanted.id), wanted.digest, SHA, "pass"], ran
