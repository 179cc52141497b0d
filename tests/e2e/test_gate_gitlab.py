"""`hut-ci gate` in a job of GitLab: pipelines, notes behind a trigger, and what stands there afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from console_script import Answer, HutCi
from fakes.gitlab import FakeGitLab
from fakes.gitlab_state import Award
from upstream import GITLAB_TOKEN, MERGE, NAME, SHA, token_for

BASE, OLD = "0f" * 20, "77" * 20
HUT = "variants:\n  i2s: {needs: {chip: esp32, psram: 4MB}}\nsuite: {expect: [ready]}\n"
SLOTS = Path(__file__).parents[2] / "examples" / "slots.json"
NOW = datetime.now(UTC)
EARLIER = NOW - timedelta(hours=2)


class Job:
    """A gate job of the project, in a pipeline that a trigger started on the default branch."""

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
        self.project.add_pipeline(sha=SHA, created=EARLIER)
        self.project.add_member("ada", 30)
        self.project.add_member("rep", 20)
        token_for(hut_ci, gitlab=gitlab)
        hut_ci.environ |= {
            "GITLAB_CI": "true",
            "CI_PROJECT_PATH": NAME,
            "CI_API_V4_URL": gitlab.api,
            "HUT_CI_GATE_SLOTS": SLOTS.read_text(),
        }

    def happens(
        self, *argv: object, source: str = "trigger", sha: str = BASE, ref: str = "main", user: str = "ada", **ci: str
    ) -> tuple[Answer, dict[str, object]]:
        """A pipeline begins, and its gate; `ci` are variables that somebody gave to it."""
        line = self.project.add_pipeline(sha=sha, ref=ref, source=source, status="running", user=user)
        own = {"CI_PIPELINE_ID": str(line.id), "CI_PIPELINE_SOURCE": source, "CI_COMMIT_SHA": sha, "CI_PROJECT_ID": "7"}
        kept = dict(self.hut_ci.environ)
        self.hut_ci.environ |= own | ci
        answer = self.hut_ci("gate", "--json", *argv)
        self.hut_ci.environ = kept
        line.status = "success" if answer.code == 0 else "failed"
        return answer, json.loads(answer.stdout) if answer.code == 0 else {}

    def note(self, body: str, login: str, *, says: str = "/hil", ago: timedelta = timedelta(hours=1)) -> Answer:
        """Somebody writes a note, and a webhook says that it was `says` by a maintainer."""
        note = self.merge_request.add_note(body, author=login, created=NOW - ago)
        return self.hook("note", merge_request={"iid": 12}, object_attributes={"id": note.id, "note": says})

    def label(self, name: str, login: str, *, ago: timedelta = timedelta(hours=1)) -> Answer:
        """Somebody sets a label, and a webhook says that a maintainer changed something."""
        self.merge_request.label(name, by=login, at=NOW - ago)
        return self.hook("merge_request", object_attributes={"iid": 12, "action": "update"})

    def hook(self, kind: str, **told: object) -> Answer:
        hint = self.hut_ci.folder / "payload"
        hint.write_text(json.dumps({"object_kind": kind, "user": {"username": "ada"}, **told}))
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
    assert job.states() == {"hardware / hut-01": "pending"}
    assert job.states(BASE) == {}, "the pipeline runs on the default branch; the status is the request's head's"


@pytest.mark.real
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


@pytest.mark.real
def test_a_note_before_the_heads_pipeline_is_refused(job: Job) -> None:
    answer = job.note("/hil hut-01", "ada", ago=timedelta(hours=3))
    assert answer.code == 9, answer
    assert "had no build" in job.replies()[0]
    assert job.states() == {}
    assert job.note(f"/hil @{SHA} hut-01", "ada", ago=timedelta(hours=3)).code == 0
    assert job.note(f"/hil @{OLD} hut-01", "ada").code == 9


@pytest.mark.real
def test_a_note_is_used_once(job: Job, gitlab: FakeGitLab) -> None:
    """security 5: whoever knows the trigger's token may point at it again; the mark is ours, not anybody's."""
    job.merge_request.add_note("/hil hut-01", author="ada", created=NOW - timedelta(hours=1))
    gitlab.add_token("glpat-other", username="eve")
    note = job.merge_request.notes[0]
    note.awards.append(Award(1, "eyes", gitlab.user("eve"), note.created))
    assert job.hook("note", merge_request={"iid": 12}).code == 0
    assert job.told["decision"] == "run", "another's reaction is no mark"
    assert [award.user.username for award in note.awards] == ["eve", "project_7_bot"]
    posted = len(job.project.statuses(SHA))
    note.updated = note.created  # as if GitLab did not take the reaction for a change
    assert job.hook("note", merge_request={"iid": 12}).code == 0
    assert job.told["decision"] == "ignored"
    assert len(job.project.statuses(SHA)) == posted
    note.awards.pop()  # the negative control: without the mark it would start again
    assert job.hook("note", merge_request={"iid": 12}).code == 0
    assert job.told["decision"] == "run"


def test_a_mark_that_cannot_be_made_starts_nothing(job: Job, gitlab: FakeGitLab) -> None:
    gitlab.fail("create_award", "404")
    answer = job.note("/hil hut-01", "ada")
    assert answer.code == 8, answer
    assert "react to note" in answer.stderr
    assert job.states() == {}


def test_a_label_by_a_developer_is_taken_off_and_used(job: Job) -> None:
    assert job.label("hil:hut-01", "ada").code == 0
    assert (job.told["decision"], job.told["commit_sha"]) == ("run", SHA)
    assert job.states() == {"hardware / hut-01": "pending"}
    assert job.merge_request.labels == []
    assert job.hook("merge_request", object_attributes={"iid": 12}).code == 0
    assert job.told["decision"] == "ignored", "taking it off is a change of the merge request, too"


def test_a_label_by_who_may_not(job: Job) -> None:
    """security 3, 4: the webhook's user is a maintainer, who set it is not; and it is off for the next push."""
    answer = job.label("hil", "rep")
    assert answer.code == 9, answer
    assert "only who may write" in job.replies()[0]
    assert (job.states(), job.merge_request.labels) == ({}, [])


def test_a_label_that_was_there_before_the_head(job: Job) -> None:
    answer = job.label("hil", "ada", ago=timedelta(hours=3))
    assert answer.code == 9, answer
    assert "had no build" in job.replies()[0]
    assert job.merge_request.labels == []


def test_a_label_that_stays_starts_nothing(job: Job, gitlab: FakeGitLab) -> None:
    gitlab.fail("update_merge_request", "403")
    answer = job.label("hil", "ada")
    assert answer.code == 8, answer
    assert job.states() == {}


@pytest.mark.real
def test_a_slot_whose_runner_is_away_is_answered_at_once(job: Job, gitlab: FakeGitLab) -> None:
    """With a second token that may list runners; a paused one serves nobody."""
    gitlab.add_token("glpat-runners0123", username="lister", kind="project", scopes=["read_api"], access_level=40)
    job.hut_ci.environ["HUT_CI_RUNNERS_TOKEN"] = "glpat-runners0123"
    runner = job.project.add_runner("lab", tags=["esp32-hut-01"], paused=True)
    answer = job.note("/hil hut-01", "ada")
    assert answer.code == 4, answer
    assert "esp32-hut-01 is offline" in job.project.statuses(SHA)[0]["description"]
    assert set(job.states().values()) == {"failed"}
    runner.paused = False
    assert job.note("/hil hut-01", "ada").code == 0
    assert job.told["decision"] == "run"
    gitlab.tokens["glpat-runners0123"].access_level = 30
    answer = job.note("/hil hut-01", "ada")
    assert (answer.code, job.told["decision"]) == (0, "run"), answer
    assert "cannot list the runners" in answer.stderr
    assert "glpat-runners" not in answer.stderr


@pytest.mark.real
def test_in_a_schedule_who_asks_is_looked_for(job: Job) -> None:
    """The one who waits longest first, one in each pipeline."""
    other = job.project.add_merge_request(13, sha=SHA, source_branch="other")
    job.merge_request.add_note("/hil esp32", author="ada", created=NOW - timedelta(minutes=10))
    other.label("hil:hut-01", by="ada", at=NOW - timedelta(minutes=20))
    job.project.add_merge_request(14, sha=OLD, created=NOW - timedelta(days=9)).labels.append("hil")
    for decision, number in (("run", "13"), ("run", "12"), ("ignored", "")):
        answer, told = job.happens(source="schedule")
        assert (told.get("decision"), told.get("pull_request")) == (decision, number), answer


def test_a_merge_requests_pipeline(job: Job) -> None:
    answer, told = job.happens(source="merge_request_event", sha=SHA, ref="refs/merge-requests/12/head")
    assert (answer.code, told["decision"], told["pull_request"]) == (0, "run", "12"), answer
    assert job.states() == {}, "the job itself is the status of its own commit"


@pytest.mark.real
def test_a_slot_that_was_set_aside_leaves_no_green_pipeline(job: Job) -> None:
    """security 23: it has no job that would say so, and no status: the job that publishes stands for it."""
    slots = json.loads(SLOTS.read_text())
    for slot, aside in zip(slots["slots"], (True, False), strict=True):
        slot["quarantined"] = aside
    job.project.add_commit(OLD, files={"hut.yml": HUT.replace("suite", "  any: {}\nsuite")})
    answer, told = job.happens("--slots", json.dumps(slots), source="push", sha=OLD, ref="feature")
    assert (answer.code, told.get("decision")) == (0, "run"), answer
    job.hut_ci.environ |= {"CI_COMMIT_SHA": OLD}  # as the child pipeline has it
    for code, request in ((4, told["request"]), (0, without_hindrance(told["request"]))):
        published = job.hut_ci("report", "publish", "--request", json.dumps(request))
        assert published.code == code, published
        assert ("hut-01 / i2s: hut-01 is quarantined" in published.stderr) == bool(code)
        assert "hut-01 / any" not in published.stderr, "that variant runs on another slot"
    assert job.states(OLD) == {}


def without_hindrance(request: Any) -> Any:
    """The same request of a lab whose boards are all there."""
    pairs = [{name: value for name, value in pair.items() if name != "blocked"} for pair in request["pairs"]]
    return {**request, "pairs": pairs}


@pytest.mark.real
@pytest.mark.parametrize("merged", [False, True], ids=["head", "merged result"])
def test_a_merge_requests_pipeline_whose_token_only_reads(merged: bool, job: Job, gitlab: FakeGitLab) -> None:
    """Its branch is not protected, so that it gets the token of the scope `*`."""
    gitlab.tokens.pop(GITLAB_TOKEN)
    gitlab.add_token(GITLAB_TOKEN, username="reader", kind="project", scopes=["read_api"], access_level=20)
    job.project.add_commit(MERGE, files={"hut.yml": HUT}, parents=[BASE, SHA])
    job.project.pipelines.clear()
    place = f"refs/merge-requests/12/{'merge' if merged else 'head'}"
    head = {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": SHA if merged else ""}
    answer, told = job.happens(source="merge_request_event", sha=MERGE if merged else SHA, ref=place, **head)
    assert (answer.code, told["decision"], told["commit_sha"]) == (0, "run", SHA), answer
    assert isinstance(told["request"], dict)
    assert told["request"].get("run_id") == (str(job.project.pipelines[-1].id) if merged else None), "where it is built"
    job.hut_ci.environ |= {"CI_COMMIT_SHA": MERGE if merged else SHA, **head}  # as the child pipeline has them
    job.hut_ci.environ["HUT_CI_REPORT_PUBLISH_REQUEST"] = json.dumps(told["request"])
    published = job.hut_ci("report", "publish")
    assert published.code == 0, published
    assert "note: GitLab: cannot comment on merge request 12: HTTP 403" in published.stderr
    assert {call.operation for call in gitlab.calls if call.method != "GET"} == {"create_note"}, "no status is tried"
    job.hut_ci.environ |= {"CI_COMMIT_SHA": BASE, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": ""}
    refused = job.hut_ci("report", "publish")
    assert refused.code == 8, "for another commit than its own there is no way but a status"
    assert "the scope `api`, role Developer" in refused.stderr


def test_a_forks_pipeline_asks_for_nothing(job: Job) -> None:
    job.merge_request.source_project_id = 66
    answer, told = job.happens(source="merge_request_event", sha=SHA, ref="refs/merge-requests/12/head")
    assert (answer.code, told["decision"]) == (0, "ignored"), answer


@pytest.mark.real
def test_who_starts_a_pipeline_by_hand_has_to_be_a_developer(job: Job) -> None:
    answer, told = job.happens("--commit", SHA, source="web", user="ada")
    assert (answer.code, told["decision"]) == (0, "run"), answer
    assert job.happens("--commit", SHA, source="web", user="rep")[0].code == 9
    assert job.happens("--commit", SHA, source="pipeline", user="gone")[0].code == 9


@pytest.mark.real
@pytest.mark.parametrize(
    "given",
    [
        {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_SHA": SHA},
        {"CI_PIPELINE_ID": "4000", "CI_PIPELINE_SOURCE": "push", "CI_COMMIT_SHA": SHA},
    ],
    ids=["a push", "another pipeline"],
)
def test_variables_given_to_a_trigger_do_not_make_it_another_pipeline(given: dict[str, str], job: Job) -> None:
    """security 5: tests/unit/test_gitlab_bypasses.py has the reader that would believe them."""
    assert job.project.pipelines[0].id == 4000
    answer, _ = job.happens(**given)
    assert answer.code == 9, answer
    assert "is not what GitLab says of this pipeline" in answer.stderr
    assert job.project.statuses(SHA) == []


@pytest.mark.real
def test_a_trigger_where_anybody_may_give_variables_is_refused(job: Job) -> None:
    """What a job installs and where it sends its token are variables, too: nothing in the job can defend itself."""
    job.project.variables_role = "developer"
    answer = job.note("/hil hut-01", "ada")
    assert answer.code == 2, answer
    assert "minimum role to use pipeline variables" in answer.stderr
    assert job.merge_request.notes[0].awards == []
    job.project.variables_role = "maintainer"
    assert job.hook("note", merge_request={"iid": 12}).code == 0
    assert job.told["decision"] == "run"


HOSTILE = (
    "$(id) `id` ${GITLAB_TOKEN}\n/hil hut-01; id\n::set-output name=x::y\n\x1b[31m\x1b]0;x\x07 @all <img src=x> \u202e"
)


@pytest.mark.real
def test_hostile_text_is_neither_obeyed_nor_echoed(job: Job) -> None:
    """Of notes, labels, branches and users, in what is asked, refused and written down."""
    job.merge_request.source_branch = "x;$(id)`id`"
    job.merge_request.title = HOSTILE
    assert job.note(HOSTILE, "ada").code == 0
    assert job.told["decision"] == "ignored"
    assert job.label("hil:$(id)", "ada").code == 0
    assert job.told["decision"] == "ignored"
    assert job.replies() == []
    answer = job.note(f"{HOSTILE}\n/hil hut-01\n{HOSTILE}", "$(id)-@all")
    assert answer.code == 9, answer
    said = answer.stdout + answer.stderr + job.replies()[0]
    assert not any(word in said for word in ("$(id)", "@all", "\x1b", "::set-output", "<img", "\u202e")), said


@pytest.mark.real
def test_the_child_pipeline_is_written_also_where_nothing_is_asked(job: Job) -> None:
    child = job.hut_ci.folder / "child.yml"
    answer, told = job.happens("--child-pipeline", child, "--commit", SHA, source="web")
    assert (answer.code, told["decision"]) == (0, "run"), answer
    _, jobs = yaml.safe_load_all(child.read_text())
    tags = [job.get("tags") for job in jobs.values() if isinstance(job, dict)]
    assert ["esp32-hut-01"] in tags
    answer, told = job.happens("--child-pipeline", child, source="schedule")
    assert (answer.code, told["decision"]) == (0, "ignored"), answer
    assert "esp32-hut-01" not in child.read_text()
