"""`hut-ci gate` in a job on GitHub: events as files, the decision, and what stands on the forge afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from console_script import Answer, HutCi
from fakes.github import FakeGitHub
from fakes.github_state import Comment, Repository
from upstream import GITHUB_TOKEN, NAME, SHA, token_for

HEAD, NEWER = SHA, "77" * 20
BASE = "0f" * 20
HUT = (
    "variants:\n  i2s: {needs: {chip: esp32, psram: 4MB}}\n  small: {needs: {chip: esp32}}\nsuite: {expect: [ready]}\n"
)
SLOTS = {
    "schema_version": "hut.slots.v1",
    "lab": "kitchen",
    "slots": [
        {"id": "hut-01", "label": "esp32-hut-01", "chip": "esp32", "psram": 0},
        {"id": "hut-02", "label": "esp32-hut-02", "chip": "esp32", "psram": 4 << 20, "tags": ["dac"]},
        {"id": "hut-03", "label": "bench", "chip": "esp32s3", "psram": 0},
    ],
}
NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)
HOSTILE = "$(touch pwned) `id` \x1b[2J ::set-output name=decision::run <img src=x onerror=alert(1)> @everyone \u202e"


class Job:
    """A gate job of the repository: one event, and what became of it."""

    def __init__(self, hut_ci: HutCi, github: FakeGitHub) -> None:
        self.hut_ci, self.github = hut_ci, github
        github.add_token(GITHUB_TOKEN)
        self.repo: Repository = github.repository(NAME, id=1001)
        self.repo.add_commit(BASE, files={"hut.yml": HUT, ".github/slots.json": json.dumps(SLOTS)})
        self.repo.set_branch("main", BASE)
        for sha in (HEAD, NEWER):
            self.repo.add_commit(sha, files={"hut.yml": HUT}, parents=[BASE])
        self.repo.set_permission("ada", "write", "maintain")
        self.repo.set_permission("tri", "read", "triage")
        github.add_user("mallory")
        self.outputs = hut_ci.folder / "outputs"
        token_for(hut_ci, github)
        hut_ci.environ |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "7",
            "HUT_CI_GATE_SLOTS": json.dumps(SLOTS),
        }

    def pull(self, **more: Any) -> None:
        self.repo.add_pull(12, **{"head_sha": HEAD, "labels": ["hil", "bug"], **more})
        self.repo.add_run(head_sha=HEAD, event="pull_request", created=NOON)

    def happens(self, name: str, payload: object, *argv: str) -> tuple[Answer, dict[str, str]]:
        event = self.hut_ci.folder / "event.json"
        event.write_text(json.dumps(payload))
        self.outputs.write_text("")
        self.hut_ci.environ |= {
            "GITHUB_EVENT_NAME": name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_OUTPUT": str(self.outputs),
        }
        answer = self.hut_ci("gate", *argv)
        return answer, outputs_of(self.outputs)

    def comments(self, body: str, *argv: str, login: str = "ada", **more: Any) -> tuple[Answer, dict[str, str]]:
        """Somebody comments on pull request 12, an hour after its build began."""
        comment = self.repo.add_comment(12, body[:65536], login=login, created=NOON + timedelta(hours=1))
        payload = {
            "action": "created",
            "issue": {"number": 12, "pull_request": {}},
            "comment": {
                "id": comment.id,
                "body": body,
                "created_at": "2026-02-12T13:00:00Z",
                "user": {"login": login, "type": "User"},
            },
            **more,
        }
        self.last = comment
        return self.happens("issue_comment", payload, *argv)

    last: Comment

    def labels(self, name: str, *argv: str, sha: str = HEAD, login: str = "ada") -> tuple[Answer, dict[str, str]]:
        payload = {
            "action": "labeled",
            "label": {"name": name},
            "pull_request": {"number": 12, "head": {"sha": sha}, "base": {"ref": "main"}},
            "sender": {"login": login},
        }
        return self.happens("pull_request_target", payload, *argv)

    def replies(self) -> list[str]:
        return [comment.body for comment in self.repo.posted_comments if comment.login == "github-actions[bot]"]

    def states(self, sha: str = HEAD) -> dict[str, str]:
        return {status["context"]: status["state"] for status in self.repo.statuses(sha)}

    def nothing_was_said(self) -> bool:
        return not self.replies() and not any(self.repo.statuses(sha) for sha in (HEAD, NEWER, BASE))


def outputs_of(path: Path) -> dict[str, str]:
    """The outputs as the runner reads them: NAME<<DELIMITER, lines, DELIMITER."""
    found, lines = {}, iter(path.read_text("utf-8").split("\n"))
    for line in lines:
        if not line:
            continue
        name, delimiter = line.split("<<", 1)
        value: list[str] = []
        for inner in lines:
            if inner == delimiter:
                break
            value.append(inner)
        found[name] = "\n".join(value)
    return found


@pytest.fixture
def job(hut_ci: HutCi, github: FakeGitHub) -> Job:
    return Job(hut_ci, github)


@pytest.mark.real
def test_a_push_asks_for_every_pair_that_fits(job: Job) -> None:
    """CI-3."""
    answer, outputs = job.happens("push", {"deleted": False, "after": HEAD})
    assert answer.code == 0, answer
    assert outputs["decision"] == "run"
    legs = json.loads(outputs["matrix"])["include"]
    assert [(leg["slot"], leg["label"], leg["variant"]) for leg in legs] == [
        ("hut-01", "esp32-hut-01", "small"),
        ("hut-02", "esp32-hut-02", "i2s"),
        ("hut-02", "esp32-hut-02", "small"),
    ]
    assert job.states() == {
        "hardware / hut-01": "pending",
        "hardware / hut-02 / i2s": "pending",
        "hardware / hut-02 / small": "pending",
        "hardware": "pending",
    }
    assert outputs["job-minutes"] == "40", "the default limit of half an hour, and time to report"
    request = json.loads(outputs["request"])
    assert (request["commit_sha"], request["builds"]) == (HEAD, f"github:{NAME}")
    assert all(request["not_after"] in status["description"] for status in job.repo.statuses(HEAD))
    assert all(status["target_url"].endswith("/actions/runs/7") for status in job.repo.statuses(HEAD))


@pytest.mark.parametrize("limit", ["nan", "inf", "0", "25h"])
def test_a_limit_that_no_job_has_is_refused_before_anything_is_said(job: Job, limit: str) -> None:
    answer, outputs = job.happens("push", {"deleted": False, "after": HEAD}, "--limit", limit)
    assert (answer.code, outputs) == (2, {}), answer
    assert job.nothing_was_said()


def test_the_request_is_one_that_the_lab_and_the_publisher_take(job: Job) -> None:
    """Without a report every status becomes an error: nothing is left pending."""
    _, outputs = job.happens("push", {"deleted": False, "after": HEAD}, "--out", "request.json")
    assert json.loads((job.hut_ci.folder / "request.json").read_text()) == json.loads(outputs["request"])
    answer = job.hut_ci("report", "publish", "--request", outputs["request"])
    assert answer.code == 0, answer
    assert set(job.states().values()) == {"error"}


def test_a_label_by_who_may_write(job: Job) -> None:
    """CI-4."""
    job.pull()
    answer, outputs = job.labels("hil:dac")
    assert answer.code == 0, answer
    assert set(job.states()) == {"hardware / hut-02 / i2s", "hardware / hut-02 / small"}
    assert (outputs["pull-request"], outputs["commit-sha"]) == ("12", HEAD)
    assert json.loads(outputs["request"])["base_ref"] == "main", "whose hut.yml chose, and is to judge"
    assert job.repo.pulls[12].labels == ["hil", "bug"], "another label than the one that was set"
    job.labels("hil")
    assert job.repo.pulls[12].labels == ["bug"], "removed after use"


def test_a_comment_by_who_may_write(job: Job) -> None:
    """CI-4."""
    job.pull()
    answer, outputs = job.comments("Now on a board:\r\n/hil hut-01")
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    assert job.states() == {"hardware / hut-01": "pending"}, "one slot's answer is none for all"
    assert [reaction["content"] for reaction in job.last.reactions] == ["eyes"]
    assert job.replies() == []


@pytest.mark.real
def test_help_is_explained_once(job: Job) -> None:
    job.pull()
    for _ in range(2):
        answer, outputs = job.comments("/hil help", login="mallory")
        assert (answer.code, outputs["decision"]) == (0, "help"), answer
    assert len(job.replies()) == 1
    assert job.states() == {}


@pytest.mark.real
def test_who_may_not_write_gets_one_reply_and_nothing_else(job: Job) -> None:
    """security 3, 4: however often it is asked, by comment or by label."""
    job.pull()
    for _ in range(3):
        answer, outputs = job.comments("/hil hut-01", login="mallory")
        assert answer.code == 9, answer
        assert outputs == {}
    answer, _ = job.labels("hil", login="tri")
    assert answer.code == 9
    assert job.states() == {}
    assert len(job.replies()) == 1
    assert job.last.reactions == []
    assert job.repo.pulls[12].labels == ["bug"], "a label is used up, whatever came of it"


@pytest.mark.parametrize(
    "body", [HOSTILE, f"/hil {HOSTILE}", "/hil " + "x" * 1_000_000], ids=["text", "command", "1 MB"]
)
def test_what_is_hostile_gets_no_answer(job: Job, body: str) -> None:
    """security 2: nothing runs, nothing is echoed; what else is no command, tests/data/events/github has."""
    job.pull()
    answer, outputs = job.comments(body)
    assert (answer.code, outputs["decision"]) == (0, "ignored"), answer
    assert job.nothing_was_said()
    assert len(answer.stdout + answer.stderr) < 400
    assert "::" not in answer.stdout + answer.stderr
    assert not (job.hut_ci.folder / "pwned").exists()


@pytest.mark.real
def test_slots_from_the_default_branch(job: Job) -> None:
    del job.hut_ci.environ["HUT_CI_GATE_SLOTS"]
    answer, outputs = job.happens(
        "push", {"deleted": False, "after": HEAD}, "--slots", "repo:.github/slots.json", "--only", "hut-01"
    )
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    assert set(job.states()) == {"hardware / hut-01", "hardware"}
    answer, _ = job.happens("push", {"deleted": False, "after": HEAD}, "--slots", "repo:.github/other.json")
    assert answer.code == 2
    assert "has no file" in answer.stderr


def test_an_answer_to_nobody_is_refused(job: Job) -> None:
    answer, outputs = job.happens("push", {"deleted": False, "after": HEAD}, "--publish", "none")
    assert (answer.code, outputs) == (2, {}), answer
    assert job.nothing_was_said()


@pytest.mark.real
def test_a_status_that_cannot_be_posted_leaves_none_pending(job: Job) -> None:
    """security 22."""
    job.github.fail("create_status", "422", 1)
    answer, outputs = job.happens("push", {"deleted": False, "after": HEAD})
    assert answer.code == 8, answer
    assert outputs == {}
    assert "pending" not in job.states().values()
