"""The fake GitLab: what the real python-gitlab and raw requests get from it, and that it speaks as GitLab describes."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gitlab
import pytest
import requests
from fakes import gitlab_api
from fakes.gitlab import OPERATIONS, FakeGitLab
from fakes.gitlab_ci import Job
from fakes.gitlab_description import AMENDMENTS, DEPARTURES, contract, load
from fakes.gitlab_state import Project
from fakes.openapi import Contract
from fakes.serving import Answer, Call

SHA = "0123456789abcdef0123456789abcdef01234567"
MERGE_SHA = "fedcba9876543210fedcba9876543210fedcba98"
OTHER_SHA = "1111111111111111111111111111111111111111"
TOKEN = "glpat-maintainer"
BOT = {"Authorization": f"Bearer {TOKEN}"}
CONTEXT = "hardware / hut-01"
TIMEOUT = 10.0

DESCRIPTION, WHY_NOT = load()
CONTRACT, _ = contract()
described = pytest.mark.skipif(DESCRIPTION is None, reason=WHY_NOT)


@pytest.fixture
def server() -> Iterator[FakeGitLab]:
    """A server that compares every call with GitLab's description, where that is there."""
    with FakeGitLab(checker=CONTRACT) as server:
        server.add_token(TOKEN, username="project_7_bot", kind="project")
        yield server
        assert server.violations == []
        assert server.pending_faults == []


@pytest.fixture
def project(server: FakeGitLab) -> Project:
    project = server.project("acme/firmware", id=7)
    project.add_commit(SHA, files={"hut.yml": "suite: {}\n", "sub/é.txt": "e\n"})
    project.set_branch("main", SHA)
    return project


@pytest.fixture
def client(server: FakeGitLab) -> Iterator[gitlab.Gitlab]:
    with gitlab.Gitlab(server.url, oauth_token=TOKEN, timeout=TIMEOUT) as client:
        yield client


def archive() -> bytes:
    """The same bytes whenever it is called: the entry has a date of its own."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr(zipfile.ZipInfo("build/firmware.bin", (2026, 1, 2, 3, 4, 6)), b"\xe9firmware")
    return data.getvalue()


def built(project: Project, **options: Any) -> Job:
    return project.add_pipeline(sha=SHA).add_job("build: [i2s]", artifacts=archive(), **options)


def ask(
    server: FakeGitLab, path: str, method: str = "GET", headers: dict[str, str] | None = None, **options: Any
) -> requests.Response:
    """One raw request, as the bot unless other headers are given; redirects are not followed."""
    given = BOT if headers is None else headers
    return requests.request(method, server.api + path, headers=given, timeout=TIMEOUT, allow_redirects=False, **options)


def post_status(server: FakeGitLab, state: str, sha: str = SHA, **fields: Any) -> requests.Response:
    return ask(server, f"/projects/7/statuses/{sha}", "POST", json={"state": state, "name": CONTEXT} | fields)


# --- python-gitlab ------------------------------------------------------------------------------------------


def test_a_build_is_found_by_its_commit_and_downloaded(
    server: FakeGitLab, project: Project, client: gitlab.Gitlab
) -> None:
    project.add_pipeline(sha=SHA, status="failed")
    project.add_pipeline(sha=OTHER_SHA).add_job("build: [i2s]", artifacts=b"another commit's")
    job = built(project)
    api = client.projects.get("acme/firmware")
    lines = api.pipelines.list(sha=SHA, status="success", get_all=False)
    assert [line.id for line in lines] == [job.pipeline.id]
    jobs = lines[0].jobs.list(get_all=True)
    assert [(one.name, one.artifacts_file["size"]) for one in jobs] == [("build: [i2s]", len(archive()))]
    assert api.jobs.get(jobs[0].id).artifacts() == archive()
    assert server.operations() == [
        "get_project", "list_pipelines", "list_pipeline_jobs", "get_job", "download_artifacts",
    ]  # fmt: skip


def test_statuses_notes_and_labels_through_python_gitlab(
    server: FakeGitLab, project: Project, client: gitlab.Gitlab
) -> None:
    project.add_merge_request(3, sha=SHA, labels=["hil", "bug"])
    api = client.projects.get(7)
    api.commits.get(SHA).statuses.create({"state": "pending", "name": CONTEXT, "target_url": "https://ci.example/1"})
    api.commits.get(SHA).statuses.create({"state": "success", "name": CONTEXT, "description": "pass"})
    assert [(one["status"], one["author"]) for one in project.statuses(SHA)] == [
        ("pending", "project_7_bot"), ("success", "project_7_bot"),
    ]  # fmt: skip
    assert [one.status for one in api.commits.get(SHA).statuses.list(get_all=True)] == ["success"]
    request = api.mergerequests.get(3)
    note = request.notes.create({"body": "first"})
    note.body = "second"
    note.save()
    assert [one["body"] for one in project.notes(3)] == ["second"]
    assert [one.id for one in request.notes.list(get_all=True)] == [note.id]
    request.labels = ["bug"]
    request.save()
    assert project.merge_requests[3].labels == ["bug"]
    assert [one["iid"] for one in api.commits.get(SHA).merge_requests(get_all=True)] == []  # main has the commit too


def test_people_runners_files_and_the_token_itself(server: FakeGitLab, project: Project, client: gitlab.Gitlab) -> None:
    alice = project.add_member("alice", 30)
    project.add_runner("lab", tags=["esp32-hut-01"])
    project.add_runner("off", tags=["esp32-hut-02"], status="offline")
    api = client.projects.get(7)
    assert api.members_all.get(alice.id).access_level == 30
    assert [one.description for one in api.runners.list(tag_list="esp32-hut-01", get_all=True)] == ["lab"]
    assert [one.online for one in api.runners.list(get_all=True)] == [True, False]
    assert api.files.raw(file_path="sub/é.txt", ref=SHA) == b"e\n"
    client.auth()
    assert client.user is not None
    assert client.user.username == "project_7_bot"
    assert client.personal_access_tokens.get("self").scopes == ["api"]


def test_a_pipeline_is_triggered(server: FakeGitLab, project: Project, client: gitlab.Gitlab) -> None:
    project.add_trigger_token("glptt-x")
    project.variables_role = "developer"
    project.add_member("alice")
    line = client.projects.get(7).trigger_pipeline("main", "glptt-x", {"SLOT": "hut-01"})
    assert (line.source, line.status, line.sha) == ("trigger", "created", SHA)
    assert project.pipelines[-1].variables == {"SLOT": "hut-01"}
    form = {"token": "glptt-x", "variables[SLOT]": "hut-02"}
    assert ask(server, "/projects/7/ref/main/trigger/pipeline", "POST", headers={}, data=form).status_code == 201
    assert project.pipelines[-1].variables == {"SLOT": "hut-02"}
    assert ask(server, "/projects/7/trigger/pipeline", "POST", json={"token": "no", "ref": "main"}).status_code == 404
    wrong = ask(server, "/projects/7/trigger/pipeline", "POST", json={"token": "glptt-x", "ref": "gone"})
    assert (wrong.status_code, wrong.json()) == (400, {"message": {"base": ["Reference not found"]}})


def test_pages_are_followed(server: FakeGitLab, project: Project, client: gitlab.Gitlab) -> None:
    lines = [project.add_pipeline(sha=SHA) for _ in range(45)]
    found = client.projects.get(7, lazy=True).pipelines.list(sha=SHA, iterator=True)
    assert [line.id for line in found] == [line.id for line in reversed(lines)]
    assert server.operations() == ["list_pipelines"] * 3
    second = ask(server, f"/projects/7/pipelines?page=2&sha={SHA}")
    assert {name: second.headers[name] for name in second.headers if name.startswith("X-") and "age" in name} == {
        "X-Per-Page": "20", "X-Page": "2", "X-Next-Page": "3", "X-Prev-Page": "1", "X-Total-Pages": "3",
    }  # fmt: skip
    assert second.headers["X-Total"] == "45"
    assert requests.get(second.links["next"]["url"], headers=BOT, timeout=TIMEOUT).json()[0]["id"] == lines[4].id


# --- artifacts ----------------------------------------------------------------------------------------------


def test_a_download_leads_to_another_host(server: FakeGitLab, project: Project) -> None:
    job = built(project)
    first = ask(server, f"/projects/7/jobs/{job.id}/artifacts")
    assert first.status_code == 302
    assert first.headers["Location"].startswith(server.blobs.url + "/")
    assert requests.get(first.headers["Location"], timeout=TIMEOUT).content == archive()
    assert server.blobs.credentials_received == []


def test_python_gitlab_hands_a_private_token_on_and_a_bearer_token_not(server: FakeGitLab, project: Project) -> None:
    """The trap that the object storage is there for: it shows who falls into it."""
    job = built(project)
    bearer = gitlab.Gitlab(server.url, oauth_token=TOKEN, timeout=TIMEOUT)
    private = gitlab.Gitlab(server.url, private_token=TOKEN, timeout=TIMEOUT)
    for client, leaked in ((bearer, []), (private, [f"PRIVATE-TOKEN: {TOKEN}"])):
        with client:
            client.projects.get(7, lazy=True).jobs.get(job.id, lazy=True).artifacts()
        assert server.blobs.credentials_received == leaked
    server.blobs.strict = True
    with gitlab.Gitlab(server.url, timeout=TIMEOUT, private_token=TOKEN) as client, pytest.raises(gitlab.GitlabError):
        client.projects.get(7, lazy=True).jobs.get(job.id, lazy=True).artifacts()


def test_a_project_without_object_storage_answers_with_the_bytes(server: FakeGitLab, project: Project) -> None:
    project.artifacts_redirect = False
    answer = ask(server, f"/projects/7/jobs/{built(project).id}/artifacts")
    assert (answer.status_code, answer.content) == (200, archive())
    assert answer.headers["Content-Disposition"] == 'attachment; filename="artifacts.zip"'


def test_expired_locked_and_absent_archives(server: FakeGitLab, project: Project) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    expired = built(project, artifacts_expire_at=past)
    locked = built(project, artifacts_expire_at=past, artifacts_locked=True)
    none = project.add_pipeline(sha=SHA).add_job("build: [i2s]")
    seen = {}
    for job in (expired, locked, none):
        shown = ask(server, f"/projects/7/jobs/{job.id}").json()
        answer = ask(server, f"/projects/7/jobs/{job.id}/artifacts")
        kinds = [one["file_type"] for one in shown["artifacts"]]
        seen[job.id] = (answer.status_code, "artifacts_file" in shown, "archive" in kinds)
    assert seen == {expired.id: (404, False, False), locked.id: (302, False, True), none.id: (404, False, False)}


# --- statuses -----------------------------------------------------------------------------------------------


def test_a_state_that_a_status_has_already_is_refused(server: FakeGitLab, project: Project) -> None:
    assert post_status(server, "running").status_code == 201
    again = post_status(server, "running")
    assert again.status_code == 400
    assert again.json() == {
        "message": 'Cannot transition status via :run from :running (Reason(s): Status cannot transition via "run")'
    }
    assert "via :enqueue from :running" in post_status(server, "pending").json()["message"]
    server.lenient_statuses = True
    assert post_status(server, "running").status_code == 201
    assert [one["status"] for one in project.statuses(SHA)] == ["running", "running"]


def test_after_its_end_a_status_is_replaced(server: FakeGitLab, project: Project) -> None:
    ids = [post_status(server, state).json()["id"] for state in ("pending", "running", "failed", "success", "success")]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 3
    statuses = f"/projects/7/repository/commits/{SHA}/statuses"
    assert [one["id"] for one in ask(server, statuses).json()] == ids[-1:]
    assert [one["id"] for one in ask(server, f"{statuses}?all=true").json()] == sorted(set(ids))


def test_a_status_joins_the_newest_pipeline_and_changes_its_state(server: FakeGitLab, project: Project) -> None:
    older = built(project).pipeline
    newer = built(project).pipeline
    assert post_status(server, "pending").json()["pipeline_id"] == newer.id
    assert (older.status, newer.status) == ("success", "running")
    assert post_status(server, "failed", pipeline_id=older.id).json()["pipeline_id"] == older.id
    assert (older.status, newer.status) == ("failed", "running")
    names = [one["name"] for one in ask(server, f"/projects/7/pipelines/{newer.id}/jobs").json()]
    assert names == ["build: [i2s]"]
    gone = post_status(server, "success", pipeline_id=5)
    assert (gone.status_code, gone.json()["message"]) == (404, "404 Pipeline for pipeline_id, sha and ref Not Found")


def test_without_a_pipeline_one_of_source_external_is_made(server: FakeGitLab, project: Project) -> None:
    made = post_status(server, "success").json()["pipeline_id"]
    line = ask(server, f"/projects/7/pipelines?sha={SHA}").json()[0]
    assert (line["id"], line["source"], line["status"], line["ref"]) == (made, "external", "success", "main")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"description": "x" * 256}, "description"),
        ({"target_url": "https://ci.example/" + "x" * 256}, "target_url"),
        ({"target_url": "ftp://ci.example"}, "target_url"),
    ],
)
def test_texts_that_do_not_fit_are_refused(
    server: FakeGitLab, project: Project, fields: dict[str, str], named: str
) -> None:
    answer = post_status(server, "success", **fields)
    assert answer.status_code == 400
    assert list(answer.json()["message"]) == [named]
    assert project.statuses(SHA) == []


def test_a_commit_that_is_not_there_gets_no_status(server: FakeGitLab, project: Project) -> None:
    assert post_status(server, "success", OTHER_SHA).status_code == 404
    assert post_status(server, "success", SHA[:8]).json()["sha"] == SHA  # GitLab completes a shortened SHA
    project.add_commit(OTHER_SHA)
    assert post_status(server, "success", OTHER_SHA).json()["message"] == "404 References for commit Not Found"


def test_a_protected_branch_is_for_maintainers(server: FakeGitLab, project: Project) -> None:
    project.protect_branch("main")
    server.add_token("glpat-dev", username="dev", access_level=30)
    developer = {"Authorization": "Bearer glpat-dev"}
    path, body = f"/projects/7/statuses/{SHA}", {"state": "success"}
    assert ask(server, path, "POST", developer, json=body).status_code == 403
    assert ask(server, path, "POST", json=body).status_code == 201


# --- who may ------------------------------------------------------------------------------------------------


def test_tokens_are_taken_where_the_live_server_takes_them(server: FakeGitLab, project: Project) -> None:
    server.add_token("oauth", kind="oauth")
    server.add_token("glcbt-x", kind="job")
    path = "/projects/7/repository/files/hut.yml/raw"
    answers = {
        (name, token): ask(server, path, headers={name: token}).status_code
        for name, token in (
            ("PRIVATE-TOKEN", TOKEN), ("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer oauth"),
            ("JOB-TOKEN", "glcbt-x"), ("Authorization", "Bearer glcbt-x"),
            ("PRIVATE-TOKEN", "oauth"), ("PRIVATE-TOKEN", "glcbt-x"), ("JOB-TOKEN", TOKEN), ("PRIVATE-TOKEN", "no"),
        )
    }  # fmt: skip
    assert list(answers.values()) == [200] * 5 + [401] * 4
    assert ask(server, path, headers={}).json() == {"message": "404 Project Not Found"}


def test_a_job_token_reads_little_and_writes_nothing(server: FakeGitLab, project: Project) -> None:
    server.add_token("glcbt-x", kind="job")
    job = built(project)
    project.add_merge_request(3, sha=SHA)
    token = {"JOB-TOKEN": "glcbt-x"}

    def status(path: str, method: str = "GET", **body: Any) -> int:
        return ask(server, path, method, token, json=body or None).status_code

    assert status("/projects/7/pipelines") == 404
    assert status(f"/projects/7/jobs/{job.id}") == 401
    assert status(f"/projects/7/statuses/{SHA}", "POST", state="success") == 401
    assert status("/projects/7/merge_requests/3/notes", "POST", body="hello") == 401
    assert status("/user") == 401
    assert status(f"/projects/7/jobs/{job.id}/artifacts") == 404
    server.premium = True
    assert status(f"/projects/7/jobs/{job.id}/artifacts") == 302
    assert status(f"/projects/7/repository/commits/{SHA}") == 200
    assert project.statuses(SHA) == project.notes(3) == []


def test_scopes_expiry_and_revocation(server: FakeGitLab, project: Project) -> None:
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    server.add_token("reader", scopes=["read_api"])
    server.add_token("files", scopes=["read_repository"])
    server.add_token("old", expires_at=yesterday)
    server.add_token("gone", revoked=True)

    def error(token: str, path: str, method: str = "GET") -> tuple[int, str]:
        answer = ask(
            server, path, method, {"PRIVATE-TOKEN": token}, json={"state": "success"} if method != "GET" else None
        )
        return answer.status_code, answer.json().get("error", "") if answer.status_code >= 400 else ""

    assert error("reader", "/projects/7/pipelines") == (200, "")
    assert error("reader", f"/projects/7/statuses/{SHA}", "POST") == (403, "insufficient_scope")
    assert error("files", "/projects/7/pipelines") == (403, "insufficient_scope")
    assert (
        ask(server, "/projects/7/repository/files/hut.yml/raw", headers={"PRIVATE-TOKEN": "files"}).status_code == 200
    )
    assert error("files", "/personal_access_tokens/self") == (200, "")
    assert error("old", "/user") == error("gone", "/user") == (401, "invalid_token")


def test_access_levels(server: FakeGitLab, project: Project) -> None:
    for level in (0, 10, 20, 30, 40):
        server.add_token(f"level-{level}", username=f"user-{level}", access_level=level)
    project.add_merge_request(3, sha=SHA)

    def statuses(path: str, method: str = "GET", **body: Any) -> list[int]:
        return [
            ask(server, path, method, {"PRIVATE-TOKEN": f"level-{level}"}, json=body or None).status_code
            for level in (0, 10, 20, 30, 40)
        ]

    assert statuses("/projects/7") == [404, 200, 200, 200, 200]
    assert statuses("/projects/7/pipelines") == [404, 403, 200, 200, 200]
    assert statuses(f"/projects/7/statuses/{SHA}", "POST", state="success") == [404, 403, 403, 201, 201]
    assert statuses("/projects/7/runners") == [404, 403, 403, 403, 200]
    assert statuses("/projects/7/merge_requests/3/notes", "POST", body="hi") == [404, 403, 201, 201, 201]
    project.visibility = "public"
    assert statuses("/projects/7/pipelines") == [200] * 5
    project.public_jobs = False
    assert statuses("/projects/7/pipelines") == [403, 403, 200, 200, 200]


# --- merge requests -----------------------------------------------------------------------------------------


def test_a_merge_request_from_a_fork_and_its_merged_results_pipeline(server: FakeGitLab, project: Project) -> None:
    fork = server.project("mallory/firmware", forked_from=7)
    project.add_commit(OTHER_SHA, parents=[SHA])
    project.add_commit(MERGE_SHA, parents=[SHA, OTHER_SHA])
    request = project.add_merge_request(3, sha=OTHER_SHA, source_project_id=fork.id, author="mallory")
    line = project.add_pipeline(sha=MERGE_SHA, ref="refs/merge-requests/3/merge", source="merge_request_event")
    shown = ask(server, "/projects/7/merge_requests/3").json()
    assert (shown["sha"], shown["source_project_id"], shown["target_project_id"]) == (OTHER_SHA, fork.id, 7)
    assert (shown["head_pipeline"]["id"], shown["head_pipeline"]["sha"]) == (line.id, MERGE_SHA)
    found = ask(server, f"/projects/acme%2Ffirmware/repository/commits/{OTHER_SHA}/merge_requests").json()
    assert [one["iid"] for one in found] == [3]
    assert ask(server, f"/projects/7/pipelines?sha={OTHER_SHA}").json() == []
    request.becomes(after_calls=1, sha=SHA)
    heads = [ask(server, "/projects/7/merge_requests/3").json()["sha"] for _ in range(2)]
    assert heads == [OTHER_SHA, SHA]


def test_a_note_may_command(server: FakeGitLab, project: Project) -> None:
    request = project.add_merge_request(3, sha=SHA)
    notes = "/projects/7/merge_requests/3/notes"
    assert ask(server, notes, "POST", json={"body": "log:\n/close\n```\n/merge\n```"}).status_code == 201
    assert ask(server, notes, "POST", json={"body": "/label ~x"}).status_code == 202
    assert request.quick_actions == ["/close", "/label ~x"]
    assert [one["body"] for one in project.notes(3)] == ["log:\n```\n/merge\n```"]
    assert ask(server, notes, "POST", json={"body": " "}).status_code == 400


def test_a_note_is_its_author_s(server: FakeGitLab, project: Project) -> None:
    note = project.add_merge_request(3, sha=SHA).add_note("mine", author="alice")
    server.add_token("dev", username="dev", access_level=30)
    path = f"/projects/7/merge_requests/3/notes/{note.id}"
    assert ask(server, path, "PUT", {"PRIVATE-TOKEN": "dev"}, json={"body": "theirs"}).status_code == 403
    assert ask(server, path, "PUT", json={"body": "a maintainer's"}).status_code == 200


# --- time and failure ---------------------------------------------------------------------------------------


def test_a_reaction_is_given_once_and_changes_the_note(server: FakeGitLab, project: Project) -> None:
    note = project.add_merge_request(3, sha=SHA).add_note("/hil", created="2026-02-12T12:00:00.000Z")
    path = f"/projects/7/merge_requests/3/notes/{note.id}/award_emoji"
    assert ask(server, path, "POST", json={"name": "eyes"}).json()["user"]["username"] == "project_7_bot"
    again = ask(server, path, "POST", json={"name": "eyes"})
    assert (again.status_code, "already been taken" in again.text) == (404, True)
    assert ask(server, path, "POST", json={"name": "rocket"}).status_code == 201
    server.add_token("glpat-other", username="other")
    assert ask(server, path, "POST", {"PRIVATE-TOKEN": "glpat-other"}, json={"name": "eyes"}).status_code == 201
    assert [award["name"] for award in ask(server, path).json()] == ["eyes", "rocket", "eyes"]
    (shown,) = ask(server, "/projects/7/merge_requests/3/notes").json()
    assert shown["updated_at"] > shown["created_at"]


def test_who_set_and_removed_a_label(server: FakeGitLab, project: Project) -> None:
    request = project.add_merge_request(3, sha=SHA, created="2026-02-12T12:00:00.000Z")
    request.label("hil", by="ada", at="2026-02-12T13:00:00.000Z")
    assert ask(server, "/projects/7/merge_requests/3", "PUT", json={"remove_labels": "hil,none"}).json()["labels"] == []
    events = ask(server, "/projects/7/merge_requests/3/resource_label_events").json()
    assert [(one["user"]["username"], one["label"]["name"], one["action"]) for one in events] == [
        ("ada", "hil", "add"), ("project_7_bot", "hil", "remove"),
    ]  # fmt: skip
    since = "/projects/7/merge_requests?state=opened&updated_after="
    assert [one["iid"] for one in ask(server, since + "2026-02-12T12:30:00Z").json()] == [3]
    assert ask(server, since + "2999-01-01T00:00:00Z").json() == []


@pytest.mark.parametrize(("role", "status"), [("developer", 201), ("maintainer", 400), ("no_one_allowed", 400)])
def test_who_may_give_variables_to_a_pipeline(server: FakeGitLab, project: Project, role: str, status: int) -> None:
    project.variables_role = role
    project.add_member("ada", 30)
    project.add_trigger_token("glptt-x", owner="ada")
    given = {"token": "glptt-x", "variables": {"X": "1"}}
    assert ask(server, "/projects/7/ref/main/trigger/pipeline", "POST", json=given).status_code == status
    assert ask(server, "/projects/7/ref/main/trigger/pipeline", "POST", json={"token": "glptt-x"}).status_code == 201


def test_what_a_later_call_sees(server: FakeGitLab, project: Project) -> None:
    line = project.add_pipeline(sha=SHA, status="running")
    job = line.add_job("build: [i2s]", status="running")
    line.becomes(after_calls=2, status="success")
    job.becomes(after_calls=1, status="success", artifacts=archive())
    seen = [ask(server, f"/projects/7/pipelines?sha={SHA}").json()[0]["status"] for _ in range(4)]
    assert seen == ["running", "running", "success", "success"]
    jobs = [ask(server, f"/projects/7/pipelines/{line.id}/jobs").json()[0] for _ in range(2)]
    assert [("artifacts_file" in one, one["finished_at"] is not None) for one in jobs] == [(False, False), (True, True)]


def test_retried_jobs_and_filters(server: FakeGitLab, project: Project) -> None:
    line = project.add_pipeline(sha=SHA, source="web", updated="2026-01-02T00:00:00.000Z")
    old = line.add_job("build: [i2s]", status="failed", retried=True)
    new = line.add_job("build: [i2s]")
    project.add_pipeline(sha=SHA, source="parent_pipeline")

    def ids(path: str) -> list[int]:
        return [one["id"] for one in ask(server, path).json()]

    jobs = f"/projects/7/pipelines/{line.id}/jobs"
    assert ids(jobs) == [new.id]
    assert ids(f"{jobs}?include_retried=true") == [new.id, old.id]
    assert ids(f"{jobs}?include_retried=true&scope[]=failed") == [old.id]
    assert ids(f"/projects/7/pipelines?sha={SHA}") == [line.id]
    assert ids("/projects/7/pipelines?source=push") == []
    assert ids("/projects/7/pipelines?updated_after=2026-01-01T00:00:00Z&source=web") == [line.id]
    assert ids("/projects/7/pipelines?updated_after=2026-01-03T00:00:00Z&source=web") == []
    server.sha_filter_is_empty = True
    assert ids(f"/projects/7/pipelines?sha={SHA}") == []


def test_too_many_requests_are_429_with_the_time_to_wait(server: FakeGitLab, project: Project) -> None:
    server.fail("list_pipelines", "rate_limit_primary")
    server.fail("list_pipelines", "429")
    first, second, third = (ask(server, "/projects/7/pipelines") for _ in range(3))
    assert [one.status_code for one in (first, second, third)] == [429, 429, 200]
    assert [one.headers.get("Retry-After") for one in (first, second, third)] == ["3600", "1", None]
    assert (first.headers["RateLimit-Remaining"], first.text) == ("0", "Retry later\n")


def test_python_gitlab_waits_and_tries_again(server: FakeGitLab, project: Project, client: gitlab.Gitlab) -> None:
    server.fail("list_pipelines", "429")
    started = time.monotonic()
    assert client.projects.get(7, lazy=True).pipelines.list(get_all=False) == []
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize("fault", ["401", "403", "404", "409", "410", "422", "500", "502", "503"])
def test_faults_that_are_answers(server: FakeGitLab, project: Project, fault: str) -> None:
    server.fail("*", fault)
    assert ask(server, "/projects/7/pipelines").status_code == int(fault)
    assert ask(server, "/projects/7/pipelines").status_code == 200


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("closed", requests.ConnectionError),
        ("truncated", requests.exceptions.ChunkedEncodingError),
        ("garbage", requests.exceptions.JSONDecodeError),
    ],
)
def test_faults_of_the_line(server: FakeGitLab, project: Project, fault: str, wrong: type[Exception]) -> None:
    server.fail("list_pipelines", fault)
    with pytest.raises(wrong):
        ask(server, "/projects/7/pipelines").json()


def test_other_bytes_of_the_same_length(server: FakeGitLab, project: Project) -> None:
    job = built(project)
    server.fail("download_artifacts", "wrong_digest")
    path = f"{server.api}/projects/7/jobs/{job.id}/artifacts"
    bad, good = (requests.get(path, headers=BOT, timeout=TIMEOUT).content for _ in range(2))
    assert bad != good == archive()
    assert len(bad) == len(good)


def test_parameters_that_do_not_fit(server: FakeGitLab, project: Project) -> None:
    server.checker = None  # these requests are against the description on purpose
    for path in ("?per_page=abc", "?per_page=0", "?status=passed", "?updated_after=yesterday", "?sort=up"):
        answer = ask(server, f"/projects/7/pipelines{path}")
        assert (answer.status_code, list(answer.json())) == (400, ["error"]), path
    assert post_status(server, "passed").json() == {"error": "state does not have a valid value"}


# --- the description and the program ------------------------------------------------------------------------


@described
def test_the_checker_would_notice(server: FakeGitLab, project: Project) -> None:
    line = project.add_pipeline(sha=SHA, status="passed")
    line.iid = "one"  # type: ignore[assignment]
    assert ask(server, "/projects/7/pipelines?status=passed").status_code == 400
    assert ask(server, "/projects/7/pipelines").status_code == 200
    assert ask(server, "/projects/7/trigger/pipeline", "POST", json={"token": "glptt-x"}).status_code == 400
    status, iid, trigger = server.violations
    assert "'passed' is not one of" in status
    assert "$[0].iid" in iid
    assert "'ref' is a required property" in trigger
    server.violations.clear()


def use_everything(server: FakeGitLab, project: Project) -> None:
    """Each operation, with full and with bare objects."""
    bare = project.add_pipeline(sha=SHA, status="created").add_job("bare", status="created")
    full = built(project, artifacts_expire_at="2999-01-01T00:00:00.000Z", tags=["x"], runner=project.add_runner("lab"))
    failed = full.pipeline.add_job("broken", status="failed")
    note = project.add_merge_request(3, sha=SHA).add_note("hello")
    project.add_merge_request(4, sha=OTHER_SHA)
    project.add_trigger_token("glptt-x")
    for path in [
        "/user", "/personal_access_tokens/self", f"/projects/7/members/all/{server.user('project_7_bot').id}",
        "/projects/7", "/projects/7/merge_requests/3", "/projects/7/merge_requests/3/notes", "/projects/7/runners",
        "/projects/7/merge_requests", "/projects/7/merge_requests/3/resource_label_events",
        f"/projects/7/merge_requests/3/notes/{note.id}/award_emoji",
        f"/projects/7/repository/commits/{SHA}/statuses", "/projects/7/repository/files/hut.yml/raw?ref=main",
        f"/projects/7/repository/commits/{OTHER_SHA}/merge_requests", f"/projects/7/repository/commits/{SHA}",
        "/projects/7/merge_requests/4", "/projects/7/pipelines",
        *(f"/projects/7/pipelines/{job.pipeline.id}{part}" for job in (bare, full) for part in ("", "/jobs")),
        *(f"/projects/7/jobs/{job.id}" for job in (bare, full, failed)), f"/projects/7/jobs/{full.id}/artifacts",
    ]:  # fmt: skip
        assert ask(server, path).status_code in (200, 302), path
    for method, path, body, status in [
        ("POST", "/projects/7/merge_requests/3/notes", {"body": "hi"}, 201),
        ("POST", "/projects/7/merge_requests/3/notes", {"body": "/close"}, 202),
        ("PUT", f"/projects/7/merge_requests/3/notes/{note.id}", {"body": "hi"}, 200),
        ("POST", f"/projects/7/merge_requests/3/notes/{note.id}/award_emoji", {"name": "eyes"}, 201),
        ("PUT", "/projects/7/merge_requests/3", {"add_labels": "x"}, 200),
        ("POST", f"/projects/7/statuses/{SHA}", {"state": "running", "description": "d", "coverage": 1.5}, 201),
        ("POST", f"/projects/7/statuses/{SHA}", {"state": "success", "name": "second"}, 201),
        ("POST", "/projects/7/trigger/pipeline", {"token": "glptt-x", "ref": "main"}, 201),
        ("POST", "/projects/7/ref/main/trigger/pipeline", {"token": "glptt-x"}, 201),
    ]:
        assert ask(server, path, method, json=body).status_code == status, path
    form = {"state": "pending", "name": "third"}
    assert ask(server, f"/projects/7/statuses/{SHA}", "POST", data=form).status_code == 201
    server.fail("list_pipelines", "429")
    assert [ask(server, "/projects/7/pipelines").status_code for _ in range(2)] == [429, 200]
    assert ask(server, "/projects/7/runners", headers={"PRIVATE-TOKEN": "no"}).status_code == 401


@described
def test_all_that_is_described_is_served_and_fits(server: FakeGitLab, project: Project) -> None:
    assert DESCRIPTION is not None
    described = {(method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    served = {(row.method, gitlab_api.PREFIX + row.path): row.name for row in gitlab_api.OPERATIONS}
    assert described <= served.keys()
    assert {served[row] for row in served.keys() - described} == {departure.operation for departure in DEPARTURES}
    use_everything(server, project)
    assert set(server.operations()) == set(OPERATIONS)


@dataclass
class Recorder:
    """Keeps what would be checked."""

    seen: list[tuple[Call, Answer]] = field(default_factory=list)

    def check_request(self, call: Call) -> list[str]:  # noqa: ARG002 - the answer comes with the call
        return []

    def check_response(self, call: Call, answer: Answer) -> list[str]:
        self.seen.append((call, answer))
        return []


@pytest.mark.real
@described
def test_each_departure_is_one(server: FakeGitLab, project: Project) -> None:
    """Without any one amendment something that the fake takes or answers is a violation."""
    server.checker = recorder = Recorder()
    use_everything(server, project)
    idle = []
    for amendment in (one for one in AMENDMENTS if not one.stricter):
        document, _ = load(without=amendment)
        assert document is not None
        checker = Contract(document, DEPARTURES)
        found = [
            violation
            for call, answer in recorder.seen
            for violation in checker.check_request(call) + checker.check_response(call, answer)
        ]
        if not found:
            idle.append(amendment.where)
    assert idle == []


def test_it_runs_by_hand() -> None:
    program = Path(__file__).resolve().parents[1] / "fakes" / "gitlab.py"
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = "".join(process.stdout.readline() for _ in range(7))
        url = shown.split("API ")[1].split(",")[0]
        token = shown.split("token")[1].split()[0]
        headers = {"PRIVATE-TOKEN": token}
        lines = requests.get(f"{url}/projects/acme%2Ffirmware/pipelines", headers=headers, timeout=TIMEOUT).json()
        process.terminate()
    assert [line["status"] for line in lines] == ["success"]
