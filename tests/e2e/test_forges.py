"""`hut-ci run --commit` against GitHub and GitLab: the artifact of exactly that commit, the answer on exactly it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Firmware, LabOf
from console_script import Answer, HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from upstream import (
    EARLIER,
    GITHUB,
    GITHUB_TOKEN,
    GITLAB,
    GITLAB_TOKEN,
    HUT,
    HUT_LAB,
    MERGE,
    OTHER,
    PARENT,
    SHA,
    github_with_decoys,
    gitlab_with_decoys,
    soon,
    token_for,
    zipped,
)

from hut_ci import contracts
from hut_ci.virtual.app_script import Print
from hut_ci.virtual.lab import VirtualLab

STATUS = "hardware / hut-01"


def check(answer: Answer, verdict: str, code: int) -> dict[str, Any]:
    """The block `hardware` of a valid report that ended like this."""
    assert (answer.hardware["verdict"]["name"], answer.code) == (verdict, code), answer
    assert contracts.check(answer.report, "ws2.report.v1") == []
    return answer.hardware


def flashed(lab: VirtualLab) -> bool:
    return set(lab.boards["hut-01"].flash) != {0xFF}


# --- the whole path --------------------------------------------------------------------------------------------


def test_github_end_to_end(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Among decoys, one artifact, and states on one commit only.

    LANE-4, LANE-5, WS8-3, WS10-6, WS10-7, WS10-8, CARD-2, CARD-6.
    """
    repo = github_with_decoys(github, zipped(firmware("ready"), "build/"))
    token_for(hut_ci, github)
    lab = lab_of()
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, "--run-url", "https://ci.example/run/7", lab=lab.lab_yml)
    hardware = check(answer, "pass", 0)
    artifact, wanted = hardware["artifact"], repo.runs[-1].artifacts[-1]
    assert (artifact["source"], artifact["forge"], artifact["name"]) == ("upstream_artifact", "github", "firmware-i2s")
    assert (artifact["artifact_id"], artifact["digest"]) == (str(wanted.id), wanted.digest)
    assert (artifact["run_id"], artifact["attempt"], artifact["event"]) == (str(repo.runs[-1].id), 2, "push")
    assert hardware["commit_sha"] == hardware["built_sha"] == SHA
    assert hardware["repository"] == "acme/firmware"
    posted = repo.statuses(SHA)
    assert [status["state"] for status in posted] == ["pending", "pending", "success"]
    assert {status["context"] for status in posted} == {STATUS}
    assert posted[-1]["description"].startswith("pass: 1 of 1 expected lines")
    assert posted[-1]["target_url"] == "https://ci.example/run/7"
    assert "answer by 20" in posted[0]["description"]
    assert {sha for sha, _, _ in repo.all_statuses()} == {SHA}
    assert github.blobs.credentials_received == []


def test_gitlab_end_to_end(gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    project = gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    answer = hut_ci.run("--commit", SHA, "--forge", GITLAB, lab=lab_of().lab_yml)
    hardware = check(answer, "pass", 0)
    job = project.pipelines[-1].jobs[-1]
    assert hardware["artifact"]["artifact_id"] == str(job.id)
    assert hardware["artifact"]["size"] == len(job.archive or b"")
    assert hardware["artifact"]["digest"].startswith("sha256:")
    posted = [status for status in project.statuses(SHA) if status["name"] == STATUS]
    assert [status["status"] for status in posted] == [
        "pending",
        "success",
    ]  # GitLab has no way from pending to pending
    assert project.statuses(PARENT) == []
    assert gitlab.blobs.credentials_received == []


@pytest.mark.real
def test_artifact_from_one_forge_status_to_both(
    github: FakeGitHub, gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """The code is on GitHub, an optional lab GitLab shows the result too (REPO-4, WS10-1)."""
    repo = github_with_decoys(github, zipped(firmware("ready")))
    project = gitlab_with_decoys(gitlab, b"")
    token_for(hut_ci, github, gitlab)
    answer = hut_ci.run(
        "--commit", SHA, "--forge", GITHUB, "--publish", GITHUB, "--publish", GITLAB, lab=lab_of().lab_yml
    )
    check(answer, "pass", 0)
    assert repo.statuses(SHA)[-1]["state"] == "success"
    assert [s["status"] for s in project.statuses(SHA) if s["name"] == STATUS][-1] == "success"
    assert "artifact" not in " ".join(gitlab.operations())


@pytest.mark.real
def test_in_the_projects_own_gitlab_job_the_job_is_the_status(
    gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    project = gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    hut_ci.environ |= {
        "GITLAB_CI": "true",
        "CI_PROJECT_PATH": "acme/firmware",
        "CI_API_V4_URL": gitlab.api,
        "CI_COMMIT_SHA": SHA,
    }
    check(hut_ci.run("--commit", SHA, "--forge", GITLAB, lab=lab_of().lab_yml), "pass", 0)
    assert not [status for status in project.statuses(SHA) if status["name"] == STATUS]


# --- few requests, none twice ------------------------------------------------------------------------------------


@pytest.mark.real
def test_few_calls_and_a_second_run_downloads_nothing(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """At most three calls for a resolve (list runs, list artifacts; jobs where the run did not succeed)."""
    github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    lab = lab_of()
    arguments = ("--commit", SHA, "--forge", GITHUB, "--publish", "none")
    check(hut_ci.run(*arguments, lab=lab.lab_yml), "pass", 0)
    asked = [name for name in github.operations() if name != "get_contents"]
    assert asked == ["list_runs", "list_run_artifacts", "download_artifact"], asked
    assert len(github.blobs.calls) == 1
    again = check(hut_ci.run(*arguments, lab=lab.lab_yml), "pass", 0)
    assert again["artifact"]["cached"] is True
    assert len(github.blobs.calls) == 1


@pytest.mark.real
def test_gitlab_needs_two_calls(gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    lab = lab_of()
    for _ in range(2):
        check(hut_ci.run("--commit", SHA, "--forge", GITLAB, "--publish", "none", lab=lab.lab_yml), "pass", 0)
    assert len(gitlab.blobs.calls) == 1
    assert len(gitlab.operations()) == 2 * 3 + 1, gitlab.operations()


@pytest.mark.real
def test_what_has_passed_can_be_skipped(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    repo = github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    lab = lab_of()
    arguments = ("--commit", SHA, "--forge", GITHUB, "--skip-tested")
    check(hut_ci.run(*arguments, lab=lab.lab_yml), "pass", 0)
    again = check(hut_ci.run(*arguments, lab=lab.lab_yml), "pass", 0)
    assert again["attempts"][-1]["suite"] is None
    assert repo.statuses(SHA)[-1]["description"].startswith("pass: not run again: the same firmware and suite passed")
    repo.commits[SHA].files["hut.yml"] = HUT.replace("ready", "rea").encode()  # type: ignore[index]
    assert check(hut_ci.run(*arguments, lab=lab.lab_yml), "pass", 0)["attempts"][-1]["suite"] is not None


@pytest.mark.real
def test_two_runs_fetch_one_artifact_once(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    lab = lab_of(slots=2)
    answer = hut_ci(
        *("run", "--commit", SHA, "--forge", GITHUB, "--slot", "hut-01", "--slot", "hut-02"),
        *("--lab", lab.lab_yml, "--out", tmp_path / "both", "--progress", "none"),
    )
    assert answer.code == 0, answer
    assert len(github.blobs.calls) == 1
    repo = github.repositories["acme/firmware"]
    last = {status["context"]: status["state"] for status in repo.statuses(SHA)}
    assert last == {STATUS: "success", "hardware / hut-02": "success", "hardware": "success"}


# --- pull requests ---------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_pull_request_is_judged_by_its_base(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """Decision 18: the request's own hut.yml expects nothing that the firmware does not print; the base's does."""
    repo = github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    repo.add_commit(SHA, files={"hut.yml": HUT.replace("ready", "hello")}, parents=[PARENT])
    repo.add_pull(12, head_sha=SHA, base_ref="main")
    token_for(hut_ci, github)
    lab = lab_of()
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, "--pull-request", 12, lab=lab.lab_yml)
    hardware = check(answer, "fail", 1)
    assert hardware["project_changed"] is True
    assert repo.statuses(SHA)[-1]["description"].startswith("by the base's hut.yml, ")
    (comment,) = repo.comments(12)
    assert comment["body"].startswith("<!-- hut-ci: hardware-hut-01 -->\n### Hardware tests of `5e5e5e5e5e5e`")
    assert "hello" in comment["body"]
    hut_ci.run("--commit", SHA, "--forge", GITHUB, "--pull-request", 12, lab=lab.lab_yml)
    assert len(repo.comments(12)) == 1


@pytest.mark.real
def test_another_base_than_when_it_was_asked_for_is_refused(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """The author of a pull request may change its base at any time, such as to an old branch that expects less."""
    repo = github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    repo.add_commit(OTHER, files={"hut.yml": HUT.replace("ready", "hello")})
    repo.set_branch("old", OTHER)
    repo.add_pull(12, head_sha=SHA, base_ref="old")
    token_for(hut_ci, github)
    lab = lab_of()
    asked = {
        "schema_version": "hut.request.v1",
        "builds": GITHUB,
        "commit_sha": SHA,
        "pull_request": 12,
        "pairs": [{"slot": "hut-01"}],
        "not_after": "2099-01-01T00:00:00Z",
    }
    answer = hut_ci.run("--request", json.dumps({**asked, "base_ref": "main"}), lab=lab.lab_yml)
    check(answer, "error", 9)
    assert "pull request 12 goes into old now, not into main" in answer.stdout
    assert not flashed(lab)
    check(hut_ci.run("--request", json.dumps({**asked, "base_ref": "old"}), lab=lab.lab_yml), "pass", 0)


def test_a_head_that_moved_is_refused(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    repo = github_with_decoys(github, zipped(firmware("ready")))
    repo.add_pull(12, head_sha=OTHER, base_ref="main")
    token_for(hut_ci, github)
    lab = lab_of()
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, "--pull-request", 12, lab=lab.lab_yml)
    check(answer, "error", 9)
    assert "the head of pull request 12 is 777777777777 now" in answer.stdout
    assert not flashed(lab)
    assert {sha for sha, _, _ in repo.all_statuses()} == {SHA}


@pytest.mark.real
def test_a_pull_requests_build_is_not_judged_by_itself(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    github.add_token("ghs_marker0123456789abcdefGITHUB")
    repo = github.repository("acme/firmware", id=1001)
    repo.add_commit(SHA, files={"hut.yml": HUT})
    repo.add_run(head_sha=SHA, event="pull_request").add_artifact("firmware-i2s", zipped(firmware("ready")))
    token_for(hut_ci, github)
    lab = lab_of()
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab.lab_yml)
    check(answer, "error", 2)
    assert "it would itself decide what a pass is" in answer.stdout
    assert not flashed(lab)


@pytest.mark.real
def test_gitlab_merged_results_record_both_commits(
    gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    project = gitlab_with_decoys(gitlab, b"")
    project.add_commit(MERGE, files={"hut.yml": HUT_LAB}, parents=[PARENT, SHA])
    project.add_merge_request(3, sha=SHA, source_branch="feature", target_branch="main")
    merged = project.add_pipeline(sha=MERGE, ref="refs/merge-requests/3/merge", source="merge_request_event")
    merged.add_job("build: [i2s]", artifacts=zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    arguments = ("--commit", SHA, "--forge", GITLAB, "--merge-request", 3, "--run-id", merged.id)
    hardware = check(hut_ci.run(*arguments, lab=lab_of().lab_yml), "pass", 0)
    assert (hardware["commit_sha"], hardware["built_sha"]) == (SHA, MERGE)
    assert project.statuses(MERGE) == [] or all(s["name"] != STATUS for s in project.statuses(MERGE))


@pytest.mark.real
def test_github_merge_commit_of_the_same_run_is_recorded(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """The simplest workflow: build, then hardware with `needs: build` in the same, unfinished run."""
    github.add_token("ghs_marker0123456789abcdefGITHUB")
    repo = github.repository("acme/firmware", id=1001)
    repo.add_commit(PARENT, files={"hut.yml": HUT})
    repo.set_branch("main", PARENT)
    repo.add_pull(12, head_sha=SHA, base_ref="main")
    run = repo.add_run(head_sha=SHA, event="pull_request", status="in_progress", pull_requests=[12], created=EARLIER)
    run.add_job("build", conclusion="success", started=EARLIER, completed=EARLIER + timedelta(minutes=6))
    run.add_job("hardware", status="in_progress", conclusion=None, started=EARLIER + timedelta(minutes=7))
    run.add_artifact("firmware-i2s", zipped(firmware("ready")), created=EARLIER + timedelta(minutes=5))
    token_for(hut_ci, github)
    hut_ci.environ |= {"GITHUB_RUN_ID": str(run.id), "GITHUB_SHA": MERGE, "GITHUB_REPOSITORY": "acme/firmware"}
    arguments = ("--commit", SHA, "--forge", GITHUB, "--pull-request", 12, "--run-id", run.id)
    hardware = check(hut_ci.run(*arguments, lab=lab_of().lab_yml), "pass", 0)
    assert (hardware["commit_sha"], hardware["built_sha"]) == (SHA, MERGE)
    assert {sha for sha, _, _ in repo.all_statuses()} == {SHA}


# --- waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_running_build_is_waited_for_without_a_slot(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    github.add_token("ghs_marker0123456789abcdefGITHUB")
    repo = github.repository("acme/firmware", id=1001)
    repo.add_commit(SHA, files={"hut.yml": HUT})
    run = repo.add_run(head_sha=SHA, status="in_progress", conclusion=None)
    lab = lab_of()
    free = []

    def finish() -> None:
        free.append(json.loads(hut_ci("slots", "status", "--lab", lab.lab_yml, "--json").stdout))
        run.add_artifact("firmware-i2s", zipped(firmware("ready")))

    run.becomes(after_calls=1, status="completed", conclusion="success", then=finish)
    token_for(hut_ci, github)
    out = hut_ci.next_out()
    answer = hut_ci(
        *("run", "--commit", SHA, "--forge", GITHUB, "--slot", "hut-01", "--lab", lab.lab_yml),
        *("--out", out, "--progress", "plain"),
        out=out,
    )
    check(answer, "pass", 0)
    assert "waiting for the build" in answer.stderr
    (slots,) = free
    assert slots["slots"][0]["state"] == "free", slots


@pytest.mark.real
@pytest.mark.parametrize("sha", ["", "5e5e5e5", SHA.upper(), "main", "refs/pull/12/head", "HEAD"])
def test_a_wrong_sha_never_gets_to_a_forge(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, sha: str) -> None:
    """Decision 8: only 40 hexadecimal digits."""
    token_for(hut_ci, github)
    lab = lab_of()
    answer = hut_ci.run("--commit", sha, "--forge", GITHUB, lab=lab.lab_yml)
    assert (answer.code, "not a full commit id" in answer.stderr) == (2, True), answer
    assert github.calls == []
    assert not flashed(lab)


@pytest.mark.real
def test_a_sha_that_does_not_exist_flashes_nothing(
    github: FakeGitHub, gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    github_with_decoys(github, zipped(firmware("ready")))
    gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    token_for(hut_ci, github, gitlab)
    lab = lab_of()
    for forge in (GITHUB, GITLAB):
        answer = hut_ci.run("--commit", "12" * 20, "--forge", forge, "--publish", "none", lab=lab.lab_yml)
        check(answer, "error", 3)
        assert "the forge answers 404 for that commit" in answer.stdout
    assert not flashed(lab)


# --- a forge that fails ----------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("operation", "fault", "says"),
    [
        ("list_runs", "401", "HTTP 401"),
        ("list_runs", "500", "HTTP 500"),
        ("list_run_artifacts", "rate_limit_primary", "HTTP 403"),
        ("list_runs", "garbage", "cannot be understood"),
        ("download_artifact", "410", "has expired"),
        ("get_blob", "truncated", "could not be downloaded"),
        ("get_blob", "wrong_digest", "are not the artifact's"),
        ("get_blob", "garbage", "are not the artifact's"),
        ("get_contents", "503", "cannot read hut.yml"),
    ],
)
def test_a_forge_that_fails_is_never_the_firmwares_fault(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, operation: str, fault: str, says: str
) -> None:
    """security 23: exit 3, `error`, nothing flashed, and what happened in words; every operation: integration tests."""
    repo = github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    github.fail(operation, fault, None)
    lab = lab_of()
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab.lab_yml)
    hardware = check(answer, "error", 3)
    assert says in hardware["verdict"]["sentence"]
    assert not flashed(lab)
    assert repo.statuses(SHA)[-1]["state"] == "error"


def test_a_hostile_artifact_is_refused(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """security 9: what a stranger's build uploads."""
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("../../evil", b"x")
    github_with_decoys(github, archive.getvalue())
    token_for(hut_ci, github)
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab_of().lab_yml)
    assert check(answer, "error", 3)["verdict"]["evidence"]["id"] == "hostile_archive"
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.real
def test_a_check_run_beside_the_status(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    repo = github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    token_for(hut_ci, github)
    lab = lab_of()
    for _ in range(2):
        check(hut_ci.run("--commit", SHA, "--forge", GITHUB, "--check-run", lab=lab.lab_yml), "fail", 1)
    *_, found = repo.check_runs(SHA)
    assert (found["name"], found["conclusion"]) == (STATUS, "failure")
    assert [note["path"] for note in found["annotations"]] == ["hut.yml"]


@pytest.mark.real
def test_a_jobs_summary_page(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    github_with_decoys(github, zipped(firmware("ready")))
    token_for(hut_ci, github)
    page = hut_ci.folder / "summary.md"
    page.write_text("before\n")
    hut_ci.environ["GITHUB_STEP_SUMMARY"] = str(page)
    check(hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab_of().lab_yml), "pass", 0)
    assert page.read_text().startswith("before\n### ✅ pass: hut-01")


@pytest.mark.real
def test_a_board_commands_no_merge_request(
    gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """security 13: what the board prints stands in the note, and GitLab would obey lines of it."""
    build = zipped(firmware(Print("```"), Print("/close"), Print("/approve"), "hello"))
    project = gitlab_with_decoys(gitlab, build, hut=soon(HUT_LAB))
    request = project.add_merge_request(3, sha=SHA, source_branch="feature", target_branch="main")
    token_for(hut_ci, gitlab=gitlab)
    answer = hut_ci.run("--commit", SHA, "--forge", GITLAB, "--merge-request", 3, lab=lab_of().lab_yml)
    check(answer, "fail", 1)
    (note,) = project.notes(3)
    assert "close" in note["body"]
    assert request.quick_actions == []


# --- what would turn green without having been tested --------------------------------------------------------------


@pytest.mark.real
def test_a_commit_without_hut_yml_is_not_the_judge_of_its_pull_request(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """Deleting hut.yml is a change of it, too."""
    github.add_token(GITHUB_TOKEN)
    repo = github.repository("acme/firmware", id=1001)
    repo.add_commit(SHA)
    repo.add_run(head_sha=SHA, event="pull_request").add_artifact("firmware-i2s", zipped(firmware("ready")))
    token_for(hut_ci, github)
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab_of().lab_yml)
    check(answer, "error", 2)


@pytest.mark.real
def test_a_branch_without_hut_yml_judges_nothing_that_has_one(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """Whoever opens a pull request chooses its base."""
    repo = github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    repo.add_commit(OTHER)
    repo.set_branch("gh-pages", OTHER)
    repo.add_pull(13, head_sha=SHA, base_ref="gh-pages")
    repo.add_pull(14, head_sha=SHA, base_ref="main", state="closed")
    token_for(hut_ci, github)
    lab = lab_of()
    for number, code, says in ((13, 2, "the branch gh-pages has no hut.yml"), (14, 9, "pull request 14 is closed")):
        answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, "--pull-request", number, lab=lab.lab_yml)
        check(answer, "error", code)
        assert says in answer.stdout
    assert not flashed(lab)


@pytest.mark.real
def test_a_404_is_not_a_missing_file_where_nothing_can_be_read(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    token_for(hut_ci, github)
    github.fail("get_contents", "404", None)
    github.fail("get_commit", "404", None)
    answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, lab=lab_of().lab_yml)
    check(answer, "error", 3)


@pytest.mark.real
@pytest.mark.parametrize("by", ["build", "hut"])
def test_the_head_is_compared_whatever_else_is_given(
    by: str, github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """And the working directory's hut.yml, which may be the pull request's own, has no say."""
    repo = github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    repo.add_pull(12, head_sha=OTHER, base_ref="main")
    token_for(hut_ci, github)
    mine = hut_ci.folder / "hut.yml"
    mine.write_text("suite: {expect: [hello]}\n")
    what = (firmware("hello"),) if by == "build" else ("--hut", mine)
    words = ("--commit", SHA, "--forge", GITHUB, "--pull-request", 12)
    lab = lab_of()
    check(hut_ci.run(*what, *words, lab=lab.lab_yml), "error", 9)
    repo.pulls[12].head_sha = SHA
    if by == "build":
        check(hut_ci.run(*what, *words, lab=lab.lab_yml), "fail", 1)


@pytest.mark.real
@pytest.mark.parametrize(
    ("ref", "source", "parents"),
    [("refs/merge-requests/3/merge", "merge_request_event", [PARENT, SHA]), ("feature/merge", "push", [PARENT])],
)
def test_a_merged_result_answers_for_its_requests_head_only(
    gitlab: FakeGitLab,
    lab_of: LabOf,
    hut_ci: HutCi,
    firmware: Firmware,
    ref: str,
    source: str,
    parents: list[str],
) -> None:
    """Its other parent is the base, and a branch may be called `…/merge`, too."""
    project = gitlab_with_decoys(gitlab, b"")
    project.add_commit(MERGE, files={"hut.yml": HUT_LAB}, parents=parents)
    project.add_merge_request(3, sha=SHA, source_branch="feature", target_branch="main")
    merged = project.add_pipeline(sha=MERGE, ref=ref, source=source)
    merged.add_job("build: [i2s]", artifacts=zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    lab = lab_of()
    answer = hut_ci.run("--commit", PARENT, "--forge", GITLAB, "--run-id", merged.id, lab=lab.lab_yml)
    check(answer, "error", 3)
    assert not flashed(lab)


@pytest.mark.real
@pytest.mark.parametrize("ref", ["refs/merge-requests/3/head", "refs/merge-requests/3/train"])
def test_a_forks_merge_request_needs_leave(
    ref: str, gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """security 7; its pipeline runs in the target project."""
    gitlab.add_token(GITLAB_TOKEN, username="project_7_bot", kind="project", scopes=["api"], access_level=40)
    gitlab.project("mallory/firmware", id=66, visibility="public")
    project = gitlab.project("acme/firmware", id=7)
    project.add_commit(PARENT, files={"hut.yml": HUT_LAB})
    project.add_commit(SHA, files={"hut.yml": HUT_LAB}, parents=[PARENT])
    project.set_branch("main", PARENT)
    project.add_merge_request(3, sha=SHA, source_branch="x", target_branch="main", source_project_id=66)
    pipeline = project.add_pipeline(sha=SHA, ref=ref, source="merge_request_event")
    pipeline.add_job("build: [i2s]", artifacts=zipped(firmware("ready")))
    token_for(hut_ci, gitlab=gitlab)
    lab = lab_of()
    arguments = ("--commit", SHA, "--forge", GITLAB, "--merge-request", 3)
    refused = hut_ci.run(*arguments, lab=lab.lab_yml)
    check(refused, "error", 3)
    assert "only from a fork" in refused.stdout
    check(hut_ci.run(*arguments, "--allow-fork", lab=lab.lab_yml), "pass", 0)


def test_a_wrong_sha_gets_to_no_forge_with_two_slots_either(github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi) -> None:
    token_for(hut_ci, github)
    lab = lab_of(slots=2)
    for sha in ("main", "../../mallory/firmware"):
        answer = hut_ci.run("--commit", sha, "--forge", GITHUB, "--slot", "hut-02", lab=lab.lab_yml)
        assert answer.code == 2, answer
    assert github.calls == []


@pytest.mark.real
def test_a_comment_stays_on_the_forge_of_its_request(
    github: FakeGitHub, gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    repo = github_with_decoys(github, zipped(firmware("hello")), hut=soon(HUT))
    repo.add_pull(12, head_sha=SHA, base_ref="main")
    project = gitlab_with_decoys(gitlab, b"")
    project.add_merge_request(12, sha=PARENT, source_branch="another", target_branch="main")
    token_for(hut_ci, github, gitlab)
    words = ("--commit", SHA, "--forge", GITHUB, "--publish", GITHUB, "--publish", GITLAB, "--pull-request", 12)
    check(hut_ci.run(*words, lab=lab_of().lab_yml), "fail", 1)
    assert len(repo.comments(12)) == 1
    assert project.notes(12) == []


# --- servers of one's own --------------------------------------------------------------------------------------


@pytest.mark.real
def test_an_enterprise_server_and_a_gitlab_in_a_folder(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Their APIs live under a path: /api/v3 on GitHub Enterprise, wherever its administrator wants on GitLab."""
    lab = lab_of()
    with FakeGitHub(prefix="/api/v3") as github, FakeGitLab(prefix="/git") as gitlab:
        content = zipped(firmware("ready"))
        github_with_decoys(github, content)
        gitlab_with_decoys(gitlab, content)
        token_for(hut_ci, github, gitlab)
        for forge in (GITHUB, GITLAB):
            check(hut_ci.run("--commit", SHA, "--forge", forge, lab=lab.lab_yml), "pass", 0)
        assert github.repositories["acme/firmware"].statuses(SHA)[-1]["state"] == "success"
        assert github.violations + gitlab.violations == []
