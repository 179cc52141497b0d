"""`hut-ci gate` in a job of GitLab: pipelines, notes behind a trigger, and what stands there afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from console_script import Answer, HutCi
from fakes.gitlab import FakeGitLab
from upstream import GITLAB_TOKEN, NAME, SHA, token_for

BASE, OLD = "0f" * 20, "77" * 20
HUT = "variants:\n  i2s: {needs: {chip: esp32, psram: 4MB}}\nsuite: {expect: [ready]}\n"
SLOTS = Path(__file__).parents[2] / "examples" / "slots.json"
NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)


class Job:
    """A gate job of the project, started by a trigger."""

    def __init__(self, hut_ci: HutCi, gitlab: FakeGitLab) -> None:
        self.hut_ci = hut_ci
        gitlab.add_token(GITLAB_TOKEN, username="project_7_bot", kind="project", scopes=["api"], access_level=40)
        self.project = gitlab.project(NAME, id=7)
        self.project.add_commit(BASE, files={"hut.yml": HUT})
        self.project.set_branch("main", BASE)
        self.project.add_commit(SHA, files={"hut.yml": HUT}, parents=[BASE])
        self.project.add_commit(OLD, parents=[BASE])
        self.project.set_branch("feature", SHA)
        self.merge_request = self.project.add_merge_request(12, sha=SHA, source_branch="feature")
        self.project.add_pipeline(sha=SHA, created=NOON)
        self.project.add_member("ada", 30)
        self.project.add_member("rep", 20)
        token_for(hut_ci, gitlab=gitlab)
        hut_ci.environ |= {
            "GITLAB_CI": "true",
            "CI_PROJECT_PATH": NAME,
            "CI_API_V4_URL": gitlab.api,
            "CI_PIPELINE_SOURCE": "trigger",
            "CI_COMMIT_SHA": BASE,
            "HUT_CI_GATE_SLOTS": SLOTS.read_text(),
        }

    def happens(self, *argv: object, **ci: str) -> tuple[Answer, dict[str, object]]:
        self.hut_ci.environ |= ci
        answer = self.hut_ci("gate", "--json", *argv)
        return answer, json.loads(answer.stdout) if answer.code == 0 else {}

    def note(self, body: str, login: str, *, says: str = "/hil", at: timedelta = timedelta(hours=1)) -> Answer:
        """Somebody writes a note, and a webhook says that it was `says` by a maintainer."""
        note = self.merge_request.add_note(body, author=login, created=NOON + at)
        payload = {
            "object_kind": "note",
            "user": {"username": "ada"},
            "merge_request": {"iid": 12},
            "object_attributes": {"id": note.id, "note": says},
        }
        hint = self.hut_ci.folder / "payload"
        hint.write_text(json.dumps(payload))
        answer, self.told = self.happens(TRIGGER_PAYLOAD=str(hint))
        return answer

    told: dict[str, object]

    def states(self, sha: str = SHA) -> dict[str, str]:
        return {status["name"]: status["status"] for status in self.project.statuses(sha)}

    def replies(self) -> list[str]:
        return [note.body for note in self.merge_request.notes if note.author.username == "project_7_bot"]


@pytest.fixture
def job(hut_ci: HutCi, gitlab: FakeGitLab) -> Job:
    return Job(hut_ci, gitlab)


def test_a_note_by_a_developer(job: Job) -> None:
    answer = job.note("On a board, please\n/hil hut-01", "ada")
    assert answer.code == 0, answer
    assert job.told["decision"] == "run"
    assert job.told["commit_sha"] == SHA
    assert job.states() == {"hardware / hut-01": "pending", "hardware": "pending"}
    assert job.states(BASE) == {}, "the pipeline runs on the default branch; the status is the request's head's"


def test_what_the_payload_says_counts_for_nothing(job: Job) -> None:
    """security 5: it says that somebody who may wrote a command; the note itself says something else."""
    answer = job.note("looks good", "rep", says="/hil hut-01")
    assert (answer.code, job.told["decision"]) == (0, "ignored"), answer
    answer = job.note("/hil hut-01", "rep")
    assert answer.code == 9, answer
    assert job.states() == {}
    assert len(job.replies()) == 1
    answer = job.note("/hil hut-01", "rep")
    assert len(job.replies()) == 1, "one polite reply, however often it is asked"


def test_a_note_before_the_heads_pipeline_is_refused(job: Job) -> None:
    answer = job.note("/hil hut-01", "ada", at=-timedelta(hours=1))
    assert answer.code == 9, answer
    assert "had no build" in job.replies()[0]
    assert job.states() == {}
    assert job.note(f"/hil @{SHA} hut-01", "ada", at=-timedelta(hours=1)).code == 0
    assert job.note(f"/hil @{OLD} hut-01", "ada").code == 9


def test_a_merge_requests_pipeline(job: Job) -> None:
    answer, told = job.happens(
        CI_PIPELINE_SOURCE="merge_request_event",
        CI_MERGE_REQUEST_SOURCE_PROJECT_ID="7",
        CI_MERGE_REQUEST_PROJECT_ID="7",
        CI_MERGE_REQUEST_IID="12",
        CI_COMMIT_SHA=SHA,
    )
    assert (answer.code, told["decision"], told["pull_request"]) == (0, "run", "12"), answer
    assert job.states() == {}, "the job itself is the status of its own commit"


def test_the_child_pipeline_is_written_also_where_nothing_is_asked(job: Job) -> None:
    child = job.hut_ci.folder / "child.yml"
    answer, told = job.happens("--child-pipeline", child, "--commit", SHA, CI_PIPELINE_SOURCE="web")
    assert (answer.code, told["decision"]) == (0, "run"), answer
    tags = [job.get("tags") for job in yaml.safe_load(child.read_text()).values() if isinstance(job, dict)]
    assert ["esp32-hut-01"] in tags
    answer, told = job.happens("--child-pipeline", child, CI_PIPELINE_SOURCE="schedule")
    assert (answer.code, told["decision"]) == (0, "ignored"), answer
    assert "esp32-hut-01" not in child.read_text()
