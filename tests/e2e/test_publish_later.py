"""`report publish`, `report sweep`, `run --request` and `doctor`: what is said later, elsewhere, or beforehand."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Firmware, LabOf
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.github_state import Status
from fakes.gitlab import FakeGitLab
from upstream import (
    GITHUB,
    GITHUB_TOKEN,
    GITLAB,
    GITLAB_TOKEN,
    PARENT,
    SHA,
    github_with_decoys,
    gitlab_with_decoys,
    token_for,
    zipped,
)

from hut_ci.stages.request import read_request

RUNS = Path(__file__).parents[1] / "data" / "reports" / "runs"
RECORDED = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def repository(github: FakeGitHub) -> None:
    github.add_token(GITHUB_TOKEN)
    github.repository("acme/firmware", id=1001).add_commit(RECORDED)


def request(folder: Path, **changes: Any) -> Path:
    document = {
        "schema_version": "hut.request.v1",
        "commit_sha": RECORDED,
        "publish": [GITHUB],
        "pairs": [{"slot": "hut-01"}, {"slot": "hut-02"}],
        "not_after": "2999-01-01T00:00:00Z",
        **changes,
    }
    file = folder / "request.json"
    file.write_text(json.dumps(document))
    return file


def answer_to(asked: Path, folder: Path) -> Path:
    """A recorded failure as the answer to this request."""
    document = json.loads((RUNS / "fail.json").read_text())
    document["hardware"]["request_digest"] = read_request(str(asked)).digest
    file = folder / "answer.json"
    file.write_text(json.dumps(document))
    return file


def last(github: FakeGitHub, sha: str = RECORDED) -> dict[str, str]:
    repo = github.repositories["acme/firmware"]
    return {status["context"]: status["state"] for status in repo.statuses(sha)}


@pytest.mark.real
def test_a_report_is_published_by_another_host(github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    """And twice is harmless."""
    repo = github.repositories["acme/firmware"]
    repo.add_pull(12, head_sha=RECORDED)
    token_for(hut_ci, github)
    asked = request(tmp_path, pull_request=12)
    for _ in range(2):
        answer = hut_ci("report", "publish", answer_to(asked, tmp_path), "--request", asked)
        assert answer.code == 0, answer
    assert last(github) == {"hardware / hut-01": "failure", "hardware / hut-02": "error", "hardware": "failure"}
    assert len(repo.statuses(RECORDED)) == 3
    assert len(repo.comments(12)) == 1


@pytest.mark.real
def test_an_answer_to_another_request_is_an_error(github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    """Of the same commit and board, even valid: it may be older than what was asked for now."""
    token_for(hut_ci, github)
    older = answer_to(request(tmp_path, pull_request=3), tmp_path)
    answer = hut_ci("report", "publish", older, "--request", request(tmp_path, pairs=[{"slot": "hut-01"}]))
    assert answer.code == 0, answer
    assert last(github) == {"hardware / hut-01": "error", "hardware": "error"}
    assert "answers another request" in answer.stdout


def test_reports_that_could_not_be_fetched_are_told_from_missing_ones(
    github: FakeGitHub, hut_ci: HutCi, tmp_path: Path
) -> None:
    """Nothing is left pending, and the job fails, so that it is run again."""
    token_for(hut_ci, github)
    asked = request(tmp_path, pairs=[{"slot": "hut-01"}])
    answer = hut_ci("report", "publish", tmp_path / "nothing", "--request", asked, "--fetched", "failure")
    assert answer.code == 8, answer
    assert "run this job again" in answer.stderr
    assert last(github) == {"hardware / hut-01": "error", "hardware": "error"}
    assert "could not be fetched" in answer.stdout


def test_what_was_cancelled_before_it_began_is_no_failure_of_the_lab(
    github: FakeGitHub, hut_ci: HutCi, tmp_path: Path
) -> None:
    """A newer push, or a person, stopped the workflow while its jobs waited for their runner."""
    token_for(hut_ci, github)
    asked = request(tmp_path, pairs=[{"slot": "hut-01"}])
    answer = hut_ci("report", "publish", tmp_path / "nothing", "--request", asked, "--ended", "cancelled")
    assert answer.code == 0, answer
    assert last(github) == {"hardware / hut-01": "error", "hardware": "error"}
    assert answer.stdout.count("cancelled by whoever stopped the workflow") == 2
    assert "lab error" not in answer.stdout


@pytest.mark.real
def test_one_report_says_itself_where_it_belongs(github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    token_for(hut_ci, github)
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(RUNS / "recovered.json", folder / "report.json")
    answer = hut_ci("report", "publish", folder, "--publish", GITHUB, "--json")
    (posted,) = json.loads(answer.stdout)
    assert (posted["sha"], posted["context"], posted["state"]) == (RECORDED, "hardware / hut-01", "success")
    assert last(github) == {"hardware / hut-01": "success"}


@pytest.mark.real
def test_a_broken_report_is_an_error_where_the_request_says(github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    token_for(hut_ci, github)
    (tmp_path / "broken.json").write_text("{")
    answer = hut_ci(
        "report", "publish", tmp_path / "broken.json", "--request", request(tmp_path, pairs=[{"slot": "hut-01"}])
    )
    assert answer.code == 0, answer
    assert "cannot be read" in answer.stderr
    assert last(github) == {"hardware / hut-01": "error", "hardware": "error"}


@pytest.mark.parametrize("arguments", [(), ("--publish", GITHUB)])
def test_without_a_request_or_a_report_nothing_is_posted(
    arguments: tuple[str, ...], github: FakeGitHub, hut_ci: HutCi
) -> None:
    token_for(hut_ci, github)
    answer = hut_ci("report", "publish", *arguments)
    assert answer.code == 2, answer
    assert last(github) == {}


# --- a forge that does not take it --------------------------------------------------------------------------------


@pytest.mark.real
def test_a_forge_that_is_down_costs_the_status_and_not_the_report(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """Exit 8, the report is kept, and the printed command sends it when the forge is back."""
    github.fail("create_status", "503", None)
    token_for(hut_ci, github)
    words = ("--commit", RECORDED, "--publish", GITHUB)
    answer = hut_ci.run(firmware("ready"), *words, lab=lab_of().lab_yml)
    assert answer.code == 8, answer
    assert answer.hardware["verdict"]["name"] == "pass"
    assert "pass:" in answer.stdout
    assert "HTTP 503" in answer.stderr
    (command,) = [part for part in answer.stderr.split("`") if part.startswith("hut-ci report publish")]
    github.faults.clear()
    assert hut_ci(*command.split()[1:]).code == 0
    assert last(github) == {"hardware / hut-01": "success"}


@pytest.mark.real
def test_a_token_without_the_right_is_told_before_a_board_is_touched(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    github.add_token("ghs_weak0123456789abcdef0123", permissions={"actions": "read", "statuses": "read"})
    token_for(hut_ci, github)
    hut_ci.environ["GITHUB_TOKEN"] = "ghs_weak0123456789abcdef0123"
    lab = lab_of()
    answer = hut_ci.run(firmware("ready"), "--commit", RECORDED, "--publish", GITHUB, lab=lab.lab_yml)
    assert answer.code == 8, answer
    assert "give it `statuses: write`" in answer.stdout + answer.stderr
    assert set(lab.boards["hut-01"].flash) == {0xFF}


@pytest.mark.real
@pytest.mark.parametrize("missing", ["", " "])
def test_a_missing_token_is_told_at_once(
    missing: str, lab_of: LabOf, hut_ci: HutCi, github: FakeGitHub, firmware: Firmware
) -> None:
    token_for(hut_ci, github)
    hut_ci.environ["GITHUB_TOKEN"] = missing
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab_of().lab_yml)
    assert answer.code == 2, answer
    assert "holds no GitHub token" in answer.stderr
    assert github.calls == []


# --- a job that is asked by a document ----------------------------------------------------------------------------


def test_a_request_runs_and_answers_with_a_report_only(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """Decision 10: the slot's job holds no write token."""
    github_with_decoys(github, zipped(firmware("ready")))
    github.add_token("ghs_read0123456789abcdef0123", permissions={"actions": "read", "contents": "read"})
    token_for(hut_ci, github)
    hut_ci.environ["GITHUB_TOKEN"] = "ghs_read0123456789abcdef0123"
    asked = request(tmp_path, commit_sha=SHA, builds=GITHUB, pairs=[{"slot": "hut-01"}])
    lab = lab_of()
    answer = hut_ci.run("--request", asked, lab=lab.lab_yml)
    assert answer.code == 0, answer
    assert last(github, SHA) == {}
    token_for(hut_ci, github)
    assert hut_ci("report", "publish", answer.out, "--request", asked).code == 0
    assert last(github, SHA) == {"hardware / hut-01": "success", "hardware": "success"}


def test_a_request_that_is_over_flashes_nothing(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    late = request(
        tmp_path, commit_sha=SHA, builds=GITHUB, pairs=[{"slot": "hut-01"}], not_after="2026-02-12T15:30:00Z"
    )
    lab = lab_of()
    answer = hut_ci.run("--request", late, lab=lab.lab_yml)
    assert (answer.code, answer.hardware["verdict"]["evidence"]["id"]) == (4, "too_late"), answer
    assert set(lab.boards["hut-01"].flash) == {0xFF}


def test_a_request_for_another_slot_is_refused(lab_of: LabOf, hut_ci: HutCi, tmp_path: Path) -> None:
    lab = lab_of()
    answer = hut_ci.run("--request", request(tmp_path), lab=lab.lab_yml, slot="hut-09")
    assert answer.code == 2
    assert "asks for hut-01, hut-02, not for hut-09" in answer.stderr


# --- the sweep ------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_sweep_ends_what_nobody_answers(github: FakeGitHub, gitlab: FakeGitLab, hut_ci: HutCi) -> None:
    """security 22: no runner, a whole run cancelled, a host that was lost."""
    github_with_decoys(github, b"")
    gitlab_with_decoys(gitlab, b"")
    token_for(hut_ci, github, gitlab)
    past = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%MZ")
    future = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%MZ")
    for sha, slot, until in ((SHA, "hut-01", past), (SHA, "hut-02", future), (PARENT, "hut-01", past)):
        _pending(github, gitlab, sha, f"hardware / {slot}", f"waiting for a board, answer by {until}")
    _pending(github, gitlab, SHA, "build", "not ours: it names no time")
    for forge in (GITHUB, GITLAB):
        answer = hut_ci("report", "sweep", "--forge", forge, "--json")
        assert answer.code == 0, answer
        ended = {(entry["sha"], entry["context"], entry["state"]) for entry in json.loads(answer.stdout)}
        state = {GITHUB: "error", GITLAB: "failed"}[forge]
        assert ended == {(SHA, "hardware / hut-01", state), (PARENT, "hardware / hut-01", state)}
        again = hut_ci("report", "sweep", "--forge", forge)
        assert "0 pending statuses ended" in again.stdout
    assert last(github, SHA) == {"hardware / hut-01": "error", "hardware / hut-02": "pending", "build": "pending"}


def test_the_sweep_finds_what_was_asked_for_of_an_old_build(github: FakeGitHub, hut_ci: HutCi) -> None:
    """A comment's own run is one of the default branch, and says nothing of the request's head."""
    repo = github.repositories["acme/firmware"]
    token_for(hut_ci, github)
    long_ago = datetime.now(UTC) - timedelta(days=30)
    heads = {number: f"{number}" * 40 for number in (1, 2)}
    for number, sha in heads.items():
        repo.add_pull(number, head_sha=sha, created=long_ago)
        repo.add_run(head_sha=sha, event="pull_request", created=long_ago)
        repo.posted_statuses.append(
            Status(
                id=number,
                sha=sha,
                state="pending",
                context="hardware",
                description="waiting for a board, answer by 2026-01-01T00:00:00Z",
                target_url=None,
                login="x",
                created=long_ago,
            )
        )
    repo.add_comment(2, "/hil", login="ada")
    answer = hut_ci("report", "sweep", "--forge", GITHUB)
    assert answer.code == 0, answer
    assert (last(github, heads[1]), last(github, heads[2])) == ({"hardware": "pending"}, {"hardware": "error"})


def _pending(github: FakeGitHub, gitlab: FakeGitLab, sha: str, context: str, text: str) -> None:
    import requests

    body = {"state": "pending", "description": text}
    for url, more, token in (
        (f"{github.url}/repos/acme/firmware/statuses/{sha}", {"context": context}, GITHUB_TOKEN),
        (f"{gitlab.api}/projects/7/statuses/{sha}", {"name": context}, GITLAB_TOKEN),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.post(url, json={**body, **more}, headers=headers, timeout=60).status_code == 201


# --- the doctor -----------------------------------------------------------------------------------------------------


def rights(hut_ci: HutCi, forge: str) -> tuple[int, dict[str, bool | None]]:
    answer = hut_ci("doctor", "--forge", forge, "--json")
    return answer.code, {right["name"]: right["held"] for right in json.loads(answer.stdout)[forge]}


@pytest.mark.real
def test_the_doctor_finds_what_a_github_token_lacks(github: FakeGitHub, hut_ci: HutCi) -> None:
    repo = github.repositories["acme/firmware"]
    repo.add_pull(12, head_sha=RECORDED)
    repo.set_branch("main", RECORDED)
    token_for(hut_ci, github)
    code, found = rights(hut_ci, GITHUB)
    assert (code, set(found.values())) == (0, {True}), found
    github.add_token("ghs_weak0123456789abcdef0123", permissions={"actions": "read", "contents": "read"})
    hut_ci.environ["GITHUB_TOKEN"] = "ghs_weak0123456789abcdef0123"
    code, found = rights(hut_ci, GITHUB)
    assert code == 2
    assert found == {
        "actions: read": True,
        "contents: read": True,
        "statuses: write": False,
        "pull-requests: write": False,
        "checks: write": False,
    }
    assert "MISSING  statuses: write" in hut_ci("doctor", "--forge", GITHUB).stdout
    assert repo.all_statuses() == []
    assert repo.comments(12) == []
    assert repo.check_runs(RECORDED) == []


@pytest.mark.real
def test_the_doctor_tries_the_token_for_runners_where_there_is_one(github: FakeGitHub, hut_ci: HutCi) -> None:
    github.repositories["acme/firmware"].set_branch("main", RECORDED)
    token_for(hut_ci, github)
    for right, held in (("read", True), ("", False)):
        value = f"github_pat_runners{right}"
        github.add_token(value, login="lab", kind="pat", permissions={"administration": right})
        hut_ci.environ["HUT_CI_RUNNERS_TOKEN"] = value
        code, found = rights(hut_ci, GITHUB)
        assert (code, found["administration: read"]) == (0 if held else 2, held), found
    assert "no job's own token can have it" in hut_ci("doctor", "--forge", GITHUB).stdout


@pytest.mark.real
def test_the_doctor_finds_what_a_gitlab_token_lacks(gitlab: FakeGitLab, hut_ci: HutCi) -> None:
    project = gitlab_with_decoys(gitlab, b"")
    token_for(hut_ci, gitlab=gitlab)
    code, found = rights(hut_ci, GITLAB)
    assert (code, set(found.values())) == (0, {True}), found
    project.variables_role = "developer"
    gitlab.add_token("glpat-weak0123456789", username="reader", kind="project", scopes=["read_api"], access_level=20)
    hut_ci.environ |= {"GITLAB_TOKEN": "glpat-weak0123456789", "HUT_CI_RUNNERS_TOKEN": "glpat-weak0123456789"}
    code, found = rights(hut_ci, GITLAB)
    assert code == 2
    assert [name for name, held in found.items() if not held] == [
        "scope api",
        "role Developer",
        "not everybody gives variables to pipelines",
        "list of runners",
    ]


@pytest.mark.real
@pytest.mark.parametrize("forge", [GITHUB, GITLAB])
def test_the_doctor_says_what_is_wrong_with_a_bad_token(
    forge: str, github: FakeGitHub, gitlab: FakeGitLab, hut_ci: HutCi
) -> None:
    token_for(hut_ci, github, gitlab)
    hut_ci.environ |= {"GITHUB_TOKEN": "ghs_nobody", "GITLAB_TOKEN": "glpat-nobody"}
    answer = hut_ci("doctor", "--forge", forge)
    assert answer.code == 2, answer
    assert "HTTP 401" in answer.stderr
    assert "nobody" not in answer.stderr
