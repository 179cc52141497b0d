"""The fake GitHub, tried with the real PyGithub, with bare requests, and against GitHub's own API description."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fakes import github_description, npm
from fakes.github import FakeGitHub
from fakes.github_routes import ROUTES
from fakes.github_state import Repository
from fakes.openapi import Contract
from fakes.serving import STATUS_FAULTS
from github import Auth, Github, GithubException

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER_SHA = "fedcba9876543210fedcba9876543210fedcba98"
FORK_SHA = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "ghs_example"
ARCHIVE = b"PK\x03\x04" + bytes(range(256))
PROGRAM = Path(__file__).parents[1] / "fakes" / "github.py"
ROOT = "/repos/acme/firmware"


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    """A fake that had nothing to complain about, and whose faults were all met."""
    with FakeGitHub() as hub:
        hub.add_token(TOKEN)
        yield hub
    assert hub.violations == []
    assert hub.pending_faults == []


@pytest.fixture
def repo(hub: FakeGitHub) -> Repository:
    repo = hub.repository("acme/firmware", id=1001, private=True)
    repo.add_commit(SHA, files={"hut.yml": "version: 1\n", "ci/lab/notes.txt": b"\xff"})
    repo.set_branch("main", SHA)
    return repo


def ask(hub: FakeGitHub, path: str, method: str = "GET", token: str = TOKEN, **more: Any) -> requests.Response:
    """A bare request; redirects are not followed."""
    headers = {"Authorization": f"Bearer {token}"} | more.pop("headers", {})
    return requests.request(method, hub.url + path, headers=headers, timeout=10, allow_redirects=False, **more)


def client(hub: FakeGitHub, token: str = TOKEN) -> Github:
    """The real client, told not to wait or try again."""
    return Github(
        auth=Auth.Token(token),
        base_url=hub.url,
        retry=None,
        timeout=10,
        seconds_between_requests=None,
        seconds_between_writes=None,
    )


# --- with PyGithub ------------------------------------------------------------------------------------------


def test_a_build_is_found_by_its_commit(hub: FakeGitHub, repo: Repository) -> None:
    run = repo.add_run(head_sha=SHA, attempt=2)
    repo.add_run(head_sha=OTHER_SHA)
    run.add_job("build (esp32, 16)")
    artifact = run.add_artifact("firmware-i2s", ARCHIVE)
    with client(hub) as api:
        (found,) = api.get_repo("acme/firmware").get_workflow_runs(head_sha=SHA, event="push", status="success")
        assert (found.id, found.run_attempt, found.path) == (run.id, 2, ".github/workflows/build.yml")
        assert found.head_repository.id == found.repository.id == 1001
        assert [job.name for job in found.jobs()] == ["build (esp32, 16)"]
        (shown,) = found.get_artifacts()
        assert (shown.name, shown.size_in_bytes, shown.expired) == ("firmware-i2s", len(ARCHIVE), False)
        assert shown.digest == artifact.digest == f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
        assert shown.workflow_run.head_sha == SHA
        assert [known.id for known in api.get_repo(1001).get_artifacts(name="firmware-i2s")] == [artifact.id]


def test_a_status_is_kept_with_who_posted_it(hub: FakeGitHub, repo: Repository) -> None:
    with client(hub) as api:
        commit = api.get_repo("acme/firmware").get_commit(SHA)
        commit.create_status("pending", "https://example.invalid/1", "waiting", "hardware / hut-01")
        commit.create_status("error", description="lab error", context="hardware / hut-01")
        assert [status.state for status in commit.get_statuses()] == ["error", "pending"]
        assert commit.get_combined_status().state == "failure"
    assert [(status["state"], status["creator"]) for status in repo.statuses(SHA)] == [
        ("pending", "github-actions[bot]"),
        ("error", "github-actions[bot]"),
    ]
    assert repo.all_statuses() == [(SHA, "hardware / hut-01", "pending"), (SHA, "hardware / hut-01", "error")]


def test_a_check_run_collects_annotations(hub: FakeGitHub, repo: Repository) -> None:
    note = {"path": "main.c", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "panic"}
    output: dict[str, Any] = {"title": "hut-01", "summary": "It panics", "annotations": [note] * 50}
    with client(hub) as api:
        check = api.get_repo("acme/firmware").create_check_run("hardware", SHA, status="in_progress", output=output)
        check.edit(conclusion="failure", output=output | {"annotations": [note]})
        assert (check.status, check.output.annotations_count) == ("completed", 51)
    (kept,) = repo.check_runs(SHA)
    assert (kept["conclusion"], len(kept["annotations"])) == ("failure", 51)


def test_a_pull_request_is_talked_to(hub: FakeGitHub, repo: Repository) -> None:
    repo.add_pull(12, head_sha=FORK_SHA, head_repository="mallory/firmware", head_repository_id=666, labels=["hil"])
    repo.set_permission("alice", "write", "maintain")
    with client(hub) as api:
        remote = api.get_repo("acme/firmware")
        pull = remote.get_pull(12)
        assert (pull.head.sha, pull.head.repo.full_name, pull.base.ref) == (FORK_SHA, "mallory/firmware", "main")
        comment = pull.create_issue_comment("first")
        comment.edit("second")
        comment.create_reaction("rocket")
        assert [shown.body for shown in pull.get_issue_comments()] == ["second"]
        pull.remove_from_labels("hil")
        assert remote.get_collaborator_permission("alice") == "write"
        assert remote.get_collaborator_role_name("alice") == "maintain"
        repo.pulls[12].head_sha = OTHER_SHA
        assert remote.get_pull(12).head.sha == OTHER_SHA
    (kept,) = repo.comments(12)
    assert (kept["user"], kept["body"], kept["reactions"]) == ("github-actions[bot]", "second", ["rocket"])
    assert repo.pulls[12].labels == []


def test_pages_are_followed_by_their_links(hub: FakeGitHub, repo: Repository) -> None:
    runs = [repo.add_run(head_sha=SHA) for _ in range(7)]
    with client(hub) as api:
        api.per_page = 3
        found = api.get_repo("acme/firmware").get_workflow_runs(head_sha=SHA)
        assert [run.id for run in found] == [run.id for run in reversed(runs)]
    middle = ask(hub, f"{ROOT}/actions/runs?per_page=3&page=2&head_sha={SHA}")
    pages = {rel: re.findall(r"[?&]page=(\d+)", link["url"]) for rel, link in middle.links.items()}
    assert pages == {"prev": ["1"], "next": ["3"], "last": ["3"], "first": ["1"]}
    assert middle.links["next"]["url"].startswith(f"{hub.url}/repositories/1001/actions/runs?")


# --- runs and artifacts -------------------------------------------------------------------------------------


def names(hub: FakeGitHub, path: str, key: str) -> list[str]:
    return [str(item["name"]) for item in ask(hub, path).json()[key]]


def run_ids(hub: FakeGitHub, query: str) -> list[int]:
    return [run["id"] for run in ask(hub, f"{ROOT}/actions/runs?{query}").json()["workflow_runs"]]


def test_the_head_sha_filter_can_be_broken(hub: FakeGitHub, repo: Repository) -> None:
    run = repo.add_run(head_sha=SHA)
    hub.head_sha_filter_is_empty = True
    assert run_ids(hub, f"head_sha={SHA}") == []
    assert run_ids(hub, "event=push") == [run.id]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("created=2026-03-02", [2]),
        ("created=>=2026-03-02", [3, 2]),
        ("created=>2026-03-02", [3]),
        ("created=<2026-03-02T12:00:00Z", [1]),
        ("created=<=2026-03-02T12:00:00Z", [2, 1]),
        ("created=2026-03-01..2026-03-02", [2, 1]),
        ("created=2026-03-02..*", [3, 2]),
        ("branch=main&status=completed", [3, 2, 1]),
        ("status=failure", []),
        ("event=pull_request", []),
    ],
)
def test_runs_are_filtered(hub: FakeGitHub, repo: Repository, query: str, expected: list[int]) -> None:
    for day in (1, 2, 3):
        repo.add_run(head_sha=SHA, created=f"2026-03-0{day}T12:00:00+00:00", id=day)
    assert run_ids(hub, query.replace(">", "%3E").replace("<", "%3C")) == expected


def test_a_run_changes_after_some_calls(hub: FakeGitHub, repo: Repository) -> None:
    run = repo.add_run(head_sha=SHA, status="queued")
    run.becomes(after_calls=2, status="in_progress")
    run.becomes(after_calls=1, status="completed", conclusion="success", then=lambda: run.add_artifact("fw", ARCHIVE))
    path = f"{ROOT}/actions/runs/{run.id}"
    seen = [ask(hub, path).json()["status"] for _ in range(4)]
    assert seen == ["queued", "queued", "in_progress", "completed"]
    assert names(hub, f"{path}/artifacts", "artifacts") == ["fw"]


def test_a_rerun_keeps_its_older_attempt(hub: FakeGitHub, repo: Repository) -> None:
    run = repo.add_run(head_sha=SHA, conclusion="failure")
    for variant in ("i2s", "muse"):
        run.add_job(f"build {variant}", conclusion="success" if variant == "i2s" else "failure")
    run.rerun(status="completed", conclusion="success")
    run.add_job("build muse")
    path = f"{ROOT}/actions/runs/{run.id}"
    assert ask(hub, path).json()["run_attempt"] == 2
    assert ask(hub, f"{path}/attempts/1").json()["conclusion"] == "failure"
    newest = {job["name"]: job["conclusion"] for job in ask(hub, f"{path}/jobs").json()["jobs"]}
    assert newest == {"build i2s": "success", "build muse": "success"}
    assert len(names(hub, f"{path}/jobs?filter=all", "jobs")) == 3
    first = ask(hub, f"{path}/attempts/1/jobs").json()["jobs"]
    assert [job["conclusion"] for job in first] == ["success", "failure"]


def test_a_forks_run_names_the_fork_and_no_pull_request(hub: FakeGitHub, repo: Repository) -> None:
    repo.add_pull(12, head_sha=FORK_SHA)
    own = repo.add_run(head_sha=SHA, pull_requests=[12])
    fork = repo.add_run(head_sha=FORK_SHA, head_repository="mallory/firmware", pull_requests=[12])
    shown = {run["id"]: run for run in ask(hub, f"{ROOT}/actions/runs").json()["workflow_runs"]}
    assert [pull["number"] for pull in shown[own.id]["pull_requests"]] == [12]
    assert shown[fork.id]["pull_requests"] == []
    assert shown[fork.id]["head_repository"]["full_name"] == "mallory/firmware"
    assert shown[fork.id]["repository"]["id"] == 1001


def artifact_path(repo: Repository, **options: Any) -> str:
    artifact = repo.add_run(head_sha=SHA).add_artifact("firmware-i2s", ARCHIVE, **options)
    return f"{ROOT}/actions/artifacts/{artifact.id}/zip"


def test_a_download_leads_to_another_host(hub: FakeGitHub, repo: Repository) -> None:
    answer = ask(hub, artifact_path(repo))
    assert answer.status_code == 302
    location = answer.headers["Location"]
    assert location.startswith("http://127.0.0.2:")
    assert requests.get(location, timeout=10).content == ARCHIVE
    assert hub.blobs.credentials_received == []
    resumed = requests.get(location, headers={"Range": "bytes=100-"}, timeout=10)
    assert (resumed.status_code, resumed.content) == (206, ARCHIVE[100:])
    assert requests.get(location.replace("sig=", "sig=x"), timeout=10).status_code == 403


def test_a_leaked_token_is_seen_and_refused(hub: FakeGitHub, repo: Repository) -> None:
    location, headers = ask(hub, artifact_path(repo)).headers["Location"], {"authorization": f"Bearer {TOKEN}"}
    assert requests.get(location, headers=headers, timeout=10).status_code == 200
    assert hub.blobs.credentials_received == [f"authorization: Bearer {TOKEN}"]
    assert TOKEN.encode() in hub.blobs.calls[-1].raw
    hub.blobs.strict = True
    assert requests.get(location, headers=headers, timeout=10).status_code == 400


def test_an_expired_artifact_is_gone(hub: FakeGitHub, repo: Repository) -> None:
    answer = ask(hub, artifact_path(repo, expired=True))
    assert (answer.status_code, answer.json()["message"]) == (410, "Artifact has expired")


def test_an_old_artifact_has_no_digest(hub: FakeGitHub, repo: Repository) -> None:
    path = artifact_path(repo, digest=None).removesuffix("/zip")
    assert ask(hub, path).json()["digest"] is None


# --- contents -----------------------------------------------------------------------------------------------


def test_a_file_is_read_raw_or_as_json(hub: FakeGitHub, repo: Repository) -> None:
    path = f"{ROOT}/contents/ci/lab/notes.txt?ref={SHA}"
    raw = ask(hub, path, headers={"Accept": "application/vnd.github.raw+json"})
    assert (raw.content, raw.headers["Content-Type"]) == (b"\xff", "application/vnd.github.raw+json; charset=utf-8")
    with client(hub) as api:
        found = api.get_repo("acme/firmware").get_contents("ci/lab/notes.txt", ref="main")
        assert not isinstance(found, list)
        assert found.decoded_content == b"\xff"
    assert [entry["type"] for entry in ask(hub, f"{ROOT}/contents/ci").json()] == ["dir"]
    assert ask(hub, f"{ROOT}/contents/none.yml").status_code == 404
    assert ask(hub, f"{ROOT}/contents/hut.yml?ref={OTHER_SHA}").status_code == 404


# --- limits and refusals ------------------------------------------------------------------------------------

STATUS = {"state": "success", "context": "hardware"}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (f"statuses/{SHA}", STATUS | {"description": "x" * 141}, "maximum is 140 characters"),
        (f"statuses/{SHA}", STATUS | {"context": "x" * 256}, "maximum is 255 characters"),
        (f"statuses/{SHA}", STATUS | {"state": "passed"}, "not included in the list"),
        (f"statuses/{SHA}", STATUS | {"target_url": "ftp://example.invalid"}, "http"),
        (f"statuses/{SHA[:12]}", STATUS, "must be a 40 character SHA1"),
        (f"statuses/{OTHER_SHA}", STATUS, "No commit found for SHA"),
        ("check-runs", {"name": "x", "head_sha": OTHER_SHA}, "No commit found for SHA"),
        ("check-runs", {"name": "x", "head_sha": SHA, "status": "completed"}, "conclusion"),
        (
            "check-runs",
            {"name": "x", "head_sha": SHA, "output": {"title": "x", "summary": "x", "annotations": [{}] * 51}},
            "No more than 50 items are allowed; 51 were supplied",
        ),
        ("issues/12/comments", {"body": "x" * 65537}, "maximum is 65536 characters"),
        ("issues/12/comments", {"body": " "}, "blank"),
    ],
)
def test_what_is_too_much_is_refused(
    hub: FakeGitHub, repo: Repository, path: str, body: dict[str, Any], words: str
) -> None:
    repo.add_pull(12, head_sha=SHA)
    answer = ask(hub, f"{ROOT}/{path}", "POST", json=body)
    assert answer.status_code == 422
    assert words in answer.text
    assert (repo.statuses(SHA), repo.check_runs(SHA), repo.comments(12)) == ([], [], [])


def test_what_is_just_enough_is_taken(hub: FakeGitHub, repo: Repository) -> None:
    body = {"state": "error", "description": "x" * 140, "context": "x" * 255}
    assert ask(hub, f"{ROOT}/statuses/{SHA}", "POST", json=body).status_code == 201


@pytest.mark.real
def test_a_commit_takes_a_thousand_statuses_of_a_context(hub: FakeGitHub, repo: Repository) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"token {TOKEN}"
        url = f"{hub.url}{ROOT}/statuses/{SHA}"
        answers = [session.post(url, json=STATUS, timeout=10) for _ in range(1001)]
        assert {answer.status_code for answer in answers[:-1]} == {201}
        assert (answers[-1].status_code, "maximum number of statuses" in answers[-1].text) == (422, True)
        assert session.post(url, json=STATUS | {"context": "other"}, timeout=10).status_code == 201


@pytest.mark.parametrize(
    ("permissions", "method", "path", "status"),
    [
        ({"actions": "read"}, "GET", "actions/runs", 200),
        ({"contents": "read"}, "GET", "actions/runs", 403),
        ({"statuses": "read"}, "POST", f"statuses/{SHA}", 403),
        ({"statuses": "write"}, "POST", f"statuses/{SHA}", 201),
        ({"issues": "write"}, "GET", "issues/12/comments", 200),
        ({"pull_requests": "read"}, "GET", "issues/12/comments", 200),
        ({"actions": "write"}, "GET", "actions/runners", 403),
        ({"administration": "read"}, "GET", "actions/runners", 200),
        ({}, "GET", "", 200),
    ],
)
def test_a_permission_that_is_missing(
    hub: FakeGitHub, repo: Repository, permissions: dict[str, str], method: str, path: str, status: int
) -> None:
    repo.add_pull(12, head_sha=SHA)
    hub.add_token("ghs_less", permissions=permissions)
    body = {"json": STATUS} if method == "POST" else {}
    answer = ask(hub, f"{ROOT}/{path}".rstrip("/"), method, "ghs_less", **body)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["message"] == "Resource not accessible by integration"
    assert answer.headers["X-Accepted-GitHub-Permissions"]


def test_who_sees_what(hub: FakeGitHub, repo: Repository) -> None:
    public = hub.repository("acme/open")
    hub.add_token("ghs_other", repositories=["acme/open"])
    hub.add_token("ghp_classic", login="alice", kind="pat", scopes=["repo:status"])
    assert ask(hub, ROOT, token="ghs_nobody").status_code == 401
    assert ask(hub, ROOT, token="ghs_other").status_code == 404
    assert ask(hub, "/repos/acme/none").status_code == 404
    assert ask(hub, f"/repos/{public.full_name}", token="ghs_other").status_code == 200
    assert requests.get(f"{hub.url}/repos/acme/open", timeout=10).status_code == 401
    hub.anonymous_reads = True
    assert requests.get(f"{hub.url}/repos/acme/open", timeout=10).status_code == 200
    assert requests.get(f"{hub.url}{ROOT}", timeout=10).status_code == 404
    classic = ask(hub, "/user", token="ghp_classic")
    assert (classic.json()["login"], classic.headers["X-OAuth-Scopes"]) == ("alice", "repo:status")
    assert ask(hub, ROOT, token="ghp_classic").status_code == 404
    assert ask(hub, "/user").status_code == 403


def test_a_persons_token_makes_no_check_run(hub: FakeGitHub, repo: Repository) -> None:
    hub.add_token("github_pat_x", login="alice", kind="pat", permissions={"checks": "write"})
    answer = ask(hub, f"{ROOT}/check-runs", "POST", "github_pat_x", json={"name": "x", "head_sha": SHA})
    assert (answer.status_code, "GitHub App" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("login", "status", "role"),
    [("alice", 200, "admin"), ("visitor", 200, ""), ("nobody", 404, None)],
)
def test_permissions_of_people(hub: FakeGitHub, repo: Repository, login: str, status: int, role: str | None) -> None:
    repo.set_permission("alice", "admin")
    hub.add_user("visitor")
    answer = ask(hub, f"{ROOT}/collaborators/{login}/permission")
    assert (answer.status_code, answer.json().get("role_name")) == (status, role)


def test_the_hours_calls_are_counted(hub: FakeGitHub, repo: Repository) -> None:
    hub.rate_limit = 2
    assert [ask(hub, ROOT).headers["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    refused = ask(hub, ROOT)
    assert (refused.status_code, "rate limit exceeded" in refused.text) == (403, True)
    assert ask(hub, "/rate_limit").json()["rate"]["remaining"] == 0


def test_an_enterprise_server_has_a_prefix(repo: Repository) -> None:
    with FakeGitHub(prefix="/api/v3") as enterprise:
        enterprise.add_token(TOKEN)
        enterprise.repository("acme/firmware").set_branch("main", SHA)
        assert enterprise.url.endswith("/api/v3")
        with client(enterprise) as api:
            assert api.get_repo("acme/firmware").get_commit("main").sha == SHA
        assert enterprise.violations == []


# --- faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", STATUS_FAULTS)
def test_a_fault_is_met_once(hub: FakeGitHub, repo: Repository, fault: str) -> None:
    hub.fail("list_runs", fault)
    assert hub.pending_faults
    assert ask(hub, ROOT).status_code == 200
    broken = ask(hub, f"{ROOT}/actions/runs")
    assert broken.status_code == (int(fault) if fault.isdigit() else 403)
    assert broken.headers["X-GitHub-Request-Id"]
    assert ("Retry-After" in broken.headers) == (fault in ("429", "rate_limit_secondary"))
    assert (broken.headers["X-RateLimit-Remaining"] == "0") == (fault == "rate_limit_primary")
    assert ask(hub, f"{ROOT}/actions/runs").status_code == 200
    assert hub.calls[1].fault == fault


def test_pygithub_knows_the_rate_limits(hub: FakeGitHub, repo: Repository) -> None:
    hub.fail("*", "rate_limit_primary")
    hub.fail("*", "rate_limit_secondary")
    with client(hub) as api:
        for _ in range(2):
            with pytest.raises(GithubException, match="rate limit") as limited:
                api.get_repo("acme/firmware")
            assert limited.typename == "RateLimitExceededException"


@pytest.mark.parametrize("fault", ["closed", "closed_after"])
def test_a_connection_can_be_closed(hub: FakeGitHub, repo: Repository, fault: str) -> None:
    hub.fail("create_status", fault)
    with pytest.raises(requests.ConnectionError):
        ask(hub, f"{ROOT}/statuses/{SHA}", "POST", json=STATUS)
    assert len(repo.statuses(SHA)) == (fault == "closed_after")
    assert hub.calls[-1].status == 0


def test_an_answer_can_be_cut(hub: FakeGitHub, repo: Repository) -> None:
    hub.fail("get_repository", "truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="Incomplete"):
        ask(hub, ROOT)


def test_an_answer_can_be_no_json(hub: FakeGitHub, repo: Repository) -> None:
    hub.fail("get_repository", "garbage")
    with pytest.raises(ValueError, match="Expecting value"):
        ask(hub, ROOT).json()


def test_an_answer_can_drip(hub: FakeGitHub, repo: Repository) -> None:
    hub.drip_seconds = 0.0
    hub.fail("get_repository", "drip")
    assert ask(hub, ROOT).json()["id"] == 1001


def test_a_drip_outlives_no_server(hub: FakeGitHub, repo: Repository) -> None:
    hub.fail("get_repository", "drip")
    with requests.get(hub.url + ROOT, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10, stream=True) as answer:
        assert next(answer.iter_content(1)) == b"{"
        hub.__exit__(None, None, None)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(answer.iter_content(1))


def test_an_answer_can_be_slow(hub: FakeGitHub, repo: Repository) -> None:
    hub.fail("get_repository", "slow", times=None)
    with pytest.raises(requests.ReadTimeout):
        requests.get(hub.url + ROOT, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=0.1)
    hub.slow_seconds = 0.0
    assert ask(hub, ROOT).status_code == 200


def test_an_answer_can_be_endless(hub: FakeGitHub, repo: Repository) -> None:
    hub.fail("get_repository", "huge")
    with requests.get(hub.url + ROOT, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10, stream=True) as answer:
        read = 0
        for block in answer.iter_content(1 << 16):
            read += len(block)
            if read > 1 << 24:
                break
    assert read > 1 << 24


@pytest.mark.parametrize("operation", ["download_artifact", "get_blob"])
@pytest.mark.parametrize("fault", ["wrong_digest", "truncated"])
def test_a_download_can_go_wrong(hub: FakeGitHub, repo: Repository, operation: str, fault: str) -> None:
    path = artifact_path(repo)
    hub.fail(operation, fault)
    location = ask(hub, path).headers["Location"]
    if fault == "truncated":
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="Incomplete"):
            requests.get(location, timeout=10)
    else:
        wrong = requests.get(location, timeout=10).content
        assert (len(wrong), wrong == ARCHIVE) == (len(ARCHIVE), False)
    assert requests.get(location, timeout=10).content == ARCHIVE


def test_a_fault_that_never_came_is_told() -> None:
    with FakeGitHub() as hub:
        hub.fail("get_user", "500", times=2)
        hub.fail("get_blob", "truncated", times=None)
        with pytest.raises(ValueError, match="no such fault"):
            hub.fail("get_user", "explodes")
    assert hub.pending_faults == ["get_user: 500 (2 left)", "get_blob: truncated (always)"]


# --- the log ------------------------------------------------------------------------------------------------


def test_every_call_is_kept(hub: FakeGitHub, repo: Repository) -> None:
    ask(hub, f"{ROOT}/actions/runs?event=push")
    ask(hub, f"{ROOT}/statuses/{SHA}", "POST", json=STATUS)
    assert hub.operations() == ["list_runs", "create_status"]
    listed, posted = hub.calls
    assert (listed.query, listed.header("AUTHORIZATION")) == ({"event": "push"}, f"Bearer {TOKEN}")
    assert (posted.json(), posted.status) == (STATUS, 201)
    hub.reset_calls()
    assert hub.operations() == []


def test_what_the_fake_does_not_know_is_told() -> None:
    with FakeGitHub() as hub:
        hub.add_token(TOKEN)
        assert ask(hub, "/repos/acme/firmware/milestones").status_code == 404
    assert hub.violations == ["GET /repos/acme/firmware/milestones: not an operation of this fake"]


def test_a_person_can_start_it() -> None:
    with subprocess.Popen([sys.executable, PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            url, token = (program.stdout.readline().strip().partition("=")[2] for _ in range(2))
            answer = requests.get(f"{url}{ROOT}/actions/runs", headers={"Authorization": f"Bearer {token}"}, timeout=10)
            assert answer.json()["total_count"] == 1
            program.send_signal(signal.SIGINT)
            assert program.wait(10) == 0
        finally:
            program.kill()


# --- against the description --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contract() -> Contract:
    """GitHub's own description; without it these tests are skipped, saying why."""
    found = github_description.description()
    if found.document is None:
        pytest.skip(found.reason)
    return Contract(found.document, github_description.DEPARTURES)


@pytest.fixture
def checked(contract: Contract) -> Iterator[FakeGitHub]:
    with FakeGitHub(checker=contract) as hub:
        hub.add_token(TOKEN)
        hub.add_token("ghp_classic", login="alice", kind="pat", scopes=["repo"])
        hub.add_token("ghs_weak", permissions={"statuses": "read"})
        yield hub


def call_everything(hub: FakeGitHub) -> None:
    """Every operation at least once, good answers and refusals."""
    repo = hub.repository("acme/firmware", id=1001, private=True)
    repo.add_commit(OTHER_SHA)
    repo.add_commit(SHA, files={"hut.yml": "version: 1\n", "ci/lab.txt": ""}, parents=[OTHER_SHA])
    repo.set_branch("main", SHA)
    repo.set_branch("topic/one", SHA)
    repo.add_pull(12, head_sha=FORK_SHA, head_repository="mallory/firmware", labels=["hil", "more"], state="open")
    repo.add_pull(13, head_sha=SHA, state="closed", merge_commit_sha=SHA)
    repo.set_permission("alice", "write", "maintain")
    repo.add_runner("lab", ["esp32-hut-01"])
    run = repo.add_run(head_sha=SHA, pull_requests=[13], conclusion="failure")
    run.rerun(status="in_progress")
    repo.add_run(head_sha=FORK_SHA, head_repository="mallory/firmware", event="pull_request")
    repo.add_run(head_sha=FORK_SHA, conclusion="action_required")
    job = run.add_job("build", steps=[{"name": "x", "status": "completed", "conclusion": "success", "number": 1}])
    run.add_job("test", status="in_progress")
    run.add_job("lab", status="queued", labels=["self-hosted", "esp32-hut-01"])
    artifact, old = run.add_artifact("fw", ARCHIVE), run.add_artifact("old", ARCHIVE, digest=None, expired=True)
    comment = repo.add_comment(12, "/hil")
    note = {"path": "main.c", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "panic"}
    check = {"name": "hut-01", "head_sha": SHA, "status": "in_progress", "started_at": "2026-01-01T00:00:00Z"}
    output = {"title": "hut-01", "summary": "It panics", "annotations": [note]}
    actions, issues = f"{ROOT}/actions", f"{ROOT}/issues"
    repo.add_label(12, "hil:hut-01")
    for path in (
        ROOT,
        f"{ROOT}/branches?per_page=1&page=2",
        f"{ROOT}/branches/topic%2Fone",
        f"{ROOT}/branches/none",
        "/repos/acme/gone/actions/runs",
        f"{issues}?state=all&sort=updated&direction=desc&per_page=1",
        f"{issues}/events",
        f"{issues}/comments?sort=created&direction=asc&since=2026-01-01T00:00:00Z",
        f"{ROOT}/commits?sha=main",
        f"{ROOT}/commits/{SHA}",
        f"{ROOT}/commits/topic%2Fone",
        f"{ROOT}/commits/{'0' * 40}",
        f"{ROOT}/commits/{SHA}/pulls",
        f"{ROOT}/contents/hut.yml?ref={SHA}",
        f"{ROOT}/contents/ci/lab.txt",
        f"{ROOT}/contents/ci",
        f"{ROOT}/contents/none",
        f"{actions}/runs?head_sha={SHA}&event=push&status=completed&per_page=100",
        f"{actions}/runs",
        f"{actions}/runs?created=%3E%3D2026-01-01",
        f"{actions}/workflows/build.yml/runs",
        f"{actions}/runs/{run.id}",
        f"{actions}/runs/{run.id}/attempts/1",
        f"{actions}/runs/{run.id}/attempts/2/jobs",
        f"{actions}/runs/{run.id}/jobs?filter=all",
        f"{actions}/runs/{run.id}/artifacts?name=fw",
        f"{actions}/jobs/{job.id}",
        f"{actions}/artifacts?name=fw",
        f"{actions}/artifacts/{artifact.id}",
        f"{actions}/artifacts/{artifact.id}/zip",
        f"{actions}/artifacts/{old.id}/zip",
        f"{actions}/runners",
        f"{ROOT}/pulls?state=all",
        f"{ROOT}/pulls/12",
        f"{ROOT}/pulls/13",
        f"{ROOT}/pulls/99",
        f"{issues}/12/comments",
        f"{issues}/comments/{comment.id}",
        f"{ROOT}/collaborators/alice/permission",
        f"{ROOT}/collaborators/nobody/permission",
        "/rate_limit",
        "/user",
    ):
        ask(hub, path)
    ask(hub, "/user", token="ghp_classic")
    ask(hub, ROOT, token="ghs_nobody")
    ask(hub, f"{ROOT}/contents/hut.yml", headers={"Accept": "application/vnd.github.raw+json"})
    for sent in (STATUS | {"target_url": "https://example.invalid", "description": "ok"}, STATUS, {"state": "error"}):
        ask(hub, f"{ROOT}/statuses/{SHA}", "POST", json=sent)
    ask(hub, f"{ROOT}/statuses/{SHA}", "POST", json=STATUS | {"description": "x" * 141})
    ask(hub, f"{ROOT}/statuses/{'0' * 40}", "POST", json=STATUS)
    ask(hub, f"{ROOT}/statuses/{SHA}", "POST", token="ghs_weak", json=STATUS)
    ask(hub, f"{ROOT}/commits/{SHA}/status")
    ask(hub, f"{ROOT}/commits/{SHA}/statuses")
    ask(hub, f"{ROOT}/check-runs", "POST", json=check | {"head_sha": "0" * 40})
    made = ask(hub, f"{ROOT}/check-runs", "POST", json=check | {"output": output}).json()
    ask(hub, f"{ROOT}/check-runs/{made['id']}", "PATCH", json={"conclusion": "failure", "output": output})
    ask(hub, f"{ROOT}/check-runs/{made['id']}")
    ask(hub, f"{ROOT}/commits/{SHA}/check-runs")
    written = ask(hub, f"{issues}/12/comments", "POST", json={"body": "hello"}).json()
    ask(hub, f"{issues}/comments/{written['id']}", "PATCH", json={"body": "bye"})
    ask(hub, f"{issues}/comments/{written['id']}/reactions", "POST", json={"content": "rocket"})
    ask(hub, f"{issues}/comments/{written['id']}/reactions", "POST", json={"content": "rocket"})
    ask(hub, f"{issues}/12/labels/hil", "DELETE")
    ask(hub, f"{issues}/12/labels/none", "DELETE")


def test_every_operation_keeps_to_the_description(checked: FakeGitHub, contract: Contract) -> None:
    call_everything(checked)
    assert checked.violations == []
    assert set(checked.operations()) == {route.operation for route in ROUTES}
    assert set(contract.departures) == contract.used, "a departure that is never met"


def test_what_is_the_same_is_answered_304_and_does_not_count(hub: FakeGitHub, repo: Repository) -> None:
    first = ask(hub, f"{ROOT}/actions/runs")
    known = {"If-None-Match": first.headers["ETag"]}
    again = ask(hub, f"{ROOT}/actions/runs", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["X-RateLimit-Used"] == first.headers["X-RateLimit-Used"]
    repo.add_run(head_sha=SHA)
    assert ask(hub, f"{ROOT}/actions/runs", headers=known).status_code == 200


def test_a_wrong_request_is_a_violation(checked: FakeGitHub) -> None:
    checked.repository("acme/firmware").add_commit(SHA)
    ask(checked, f"{ROOT}/statuses/{SHA}", "POST", json={"state": "passed"})
    ask(checked, f"{ROOT}/statuses/{SHA}", "POST", json={"description": "no state"})
    ask(checked, f"{ROOT}/actions/runs?per_page=abc")
    assert [violation.partition(": ")[0] for violation in checked.violations] == [
        "create_status",
        "create_status",
        "list_runs",
    ]


def test_a_wrong_answer_is_a_violation(checked: FakeGitHub) -> None:
    """The test above is not passed by checking nothing."""
    run = checked.repository("acme/firmware").add_run(head_sha=SHA)
    run.add_artifact("fw", ARCHIVE).size = "many"  # type: ignore[assignment]
    ask(checked, f"{ROOT}/actions/artifacts")
    assert len(checked.violations) == 1
    assert "response" in checked.violations[0]
    assert "size_in_bytes" in checked.violations[0]


def test_without_npm_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    found = github_description.description(tmp_path / "cache")
    assert found.document is None
    assert "npm is not installed" in found.reason


def test_a_package_with_other_bytes_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its control: the same bytes under their own digest are."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "x.json").write_text("{}")
    packed = tmp_path / "packed.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    npm_stand_in = tmp_path / "npm"
    npm_stand_in.write_text(f"#!{sys.executable}\nimport shutil\nshutil.copy({str(packed)!r}, 'x-1.tgz')\n")
    npm_stand_in.chmod(0o755)
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    for sha512, content in (("other", None), (digest, b"{}")):
        found = npm.kept(npm.Member("x", "1", sha512, "package/x.json"), tmp_path / "cache")
        assert found.content == content, found.reason


def test_the_cut_holds_what_it_refers_to(contract: Contract) -> None:
    text = json.dumps(contract.description)
    wanted = set(github_description._references(contract.description))
    assert wanted
    assert all(name.rpartition("/")[2] in text for name in wanted)
    assert len(text) < 1 << 20
