"""`hut-ci gate` where slots cannot be served: their runner is away, or their operator set them aside."""

from __future__ import annotations

import json

import pytest
from console_script import HutCi
from fakes.github import FakeGitHub
from test_gate import HEAD, SLOTS, Job

RUNNERS_TOKEN = "github_pat_marker0123456789RUNNERS"
PUSH = {"deleted": False, "after": HEAD}


@pytest.fixture
def job(hut_ci: HutCi, github: FakeGitHub) -> Job:
    """A job whose second token sees hut-01's runner online, and hut-02's offline."""
    job = Job(hut_ci, github)
    github.add_token(RUNNERS_TOKEN, login="lab", kind="pat", permissions={"administration": "read"})
    job.hut_ci.environ["HUT_CI_RUNNERS_TOKEN"] = RUNNERS_TOKEN
    job.repo.add_runner("lab-1", ["ESP32-hut-01"], busy=True)
    job.repo.add_runner("lab-2", ["esp32-hut-02"], status="offline")
    return job


def texts(job: Job) -> dict[str, str]:
    return {status["context"]: status["description"] for status in job.repo.statuses(HEAD)}


@pytest.mark.real
def test_a_slot_without_a_runner_is_answered_at_once_and_the_others_run(job: Job) -> None:
    answer, outputs = job.happens("push", PUSH)
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    assert [leg["slot"] for leg in json.loads(outputs["matrix"])["include"]] == ["hut-01"]
    assert job.states() == {
        "hardware / hut-01": "pending",
        "hardware / hut-02 / i2s": "error",
        "hardware / hut-02 / small": "error",
        "hardware": "pending",
    }
    assert "blocked: the runner with the label esp32-hut-02 is offline" in texts(job)["hardware / hut-02 / i2s"]
    answer = job.hut_ci("report", "publish", "--request", outputs["request"])
    assert answer.code == 0, answer
    assert "esp32-hut-02 is offline" in texts(job)["hardware / hut-02 / i2s"]
    assert set(job.states().values()) == {"error"}
    assert RUNNERS_TOKEN not in f"{answer}{outputs}"


@pytest.mark.real
def test_where_no_slot_can_be_served_nothing_waits(job: Job) -> None:
    """security 22, 23: a final answer, red for the lab, and no job that queues for a day."""
    job.pull()
    job.repo.runners.clear()
    answer, outputs = job.labels("hil", "--json")
    assert answer.code == 4, answer
    assert json.loads(answer.stdout)["decision"] == "blocked", "one document, and not the error's"
    assert (outputs["decision"], json.loads(outputs["matrix"]), outputs["request"]) == ("blocked", {"include": []}, "")
    assert set(job.states().values()) == {"error"}
    assert "no runner with the label esp32-hut-01" in texts(job)["hardware / hut-01"]
    assert "no runner with the label" in texts(job)["hardware"]
    assert len(job.replies()) == 1
    assert job.repo.pulls[12].labels == ["bug"]


@pytest.mark.real
@pytest.mark.parametrize("fault", ["403", "404", "garbage"])
def test_runners_that_cannot_be_listed_block_nothing(job: Job, fault: str) -> None:
    """What is not known is tried; the list itself is what the first test has."""
    job.github.fail("list_runners", fault, None)
    answer, outputs = job.happens("push", PUSH)
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    assert len(json.loads(outputs["matrix"])["include"]) == 3
    assert set(job.states().values()) == {"pending"}
    assert "note: GitHub: cannot list the runners" in answer.stderr
    job.github.faults.clear()


@pytest.mark.real
def test_without_a_token_for_it_nobody_asks_for_the_runners(job: Job) -> None:
    del job.hut_ci.environ["HUT_CI_RUNNERS_TOKEN"]
    answer, outputs = job.happens("push", PUSH)
    assert (answer.code, len(json.loads(outputs["matrix"])["include"])) == (0, 3), answer
    assert "list_runners" not in job.github.operations()


@pytest.mark.real
def test_a_slot_that_is_set_aside_is_named_where_others_run(job: Job) -> None:
    """It has a say in the whole where nothing else runs its variant: i2s is tested nowhere, small is."""
    job.repo.runners.clear()
    del job.hut_ci.environ["HUT_CI_RUNNERS_TOKEN"]
    slots = {**SLOTS, "slots": [{**entry, "quarantined": entry["id"] == "hut-02"} for entry in SLOTS["slots"]]}
    answer, outputs = job.happens("push", PUSH, "--slots", json.dumps(slots))
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    assert [leg["slot"] for leg in json.loads(outputs["matrix"])["include"]] == ["hut-01"]
    assert texts(job)["hardware / hut-02 / small"] == "blocked: hut-02 is quarantined: set aside by its operator"
    pairs = json.loads(outputs["request"])["pairs"]
    assert [pair.get("informational", False) for pair in pairs] == [False, False, True]
    answer, outputs = job.happens("push", PUSH, "--slots", json.dumps(slots), "--only", "hut-02")
    assert (answer.code, outputs["decision"]) == (4, "blocked"), answer
