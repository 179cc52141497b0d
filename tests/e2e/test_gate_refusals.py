"""`hut-ci gate` where GitHub fails, its own job is ended, and a status could land on another commit."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import pytest
from console_script import HutCi
from fakes.github import FakeGitHub
from test_gate import BASE, HEAD, NEWER, Job
from upstream import NAME

from hut_ci.deadline import Deadline

PUSH = {"deleted": False, "after": HEAD}


@pytest.fixture
def job(hut_ci: HutCi, github: FakeGitHub) -> Job:
    return Job(hut_ci, github)


@pytest.mark.real
@pytest.mark.parametrize("fault", ["500", "503", "closed"])
def test_a_permission_that_github_cannot_tell_for_a_moment_is_asked_again(job: Job, fault: str) -> None:
    """security 3: one failure is waited out; what decides is an answer, never its absence."""
    job.pull()
    job.github.fail("get_permission", fault, 1)
    answer, outputs = job.comments("/hil hut-01")
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    job.github.fail("get_permission", fault, 1)
    answer, outputs = job.comments("/hil hut-01", login="mallory")
    assert (answer.code, outputs) == (9, {}), answer


@pytest.mark.real
def test_a_gate_that_is_cancelled_refuses_nobody(job: Job) -> None:
    """security 22: a signal while GitHub is asked for a permission is no answer of GitHub's."""
    job.pull()
    job.github.fail("get_permission", "slow", None)
    job.comments("nothing")
    event = job.hut_ci.folder / "event.json"
    event.write_text(json.dumps(label_event()))
    job.hut_ci.environ["GITHUB_EVENT_NAME"] = "pull_request_target"
    with job.hut_ci.start("gate") as gate:
        try:
            until(lambda: "get_permission" in job.github.operations())
            gate.send_signal(signal.SIGTERM)
            said = gate.communicate(timeout=60)
        finally:
            gate.kill()
    assert gate.returncode == 143, said
    assert job.states() == {}
    assert job.replies() == []


def label_event() -> dict[str, object]:
    return {
        "action": "labeled",
        "label": {"name": "hil"},
        "pull_request": {"number": 12, "head": {"sha": HEAD}, "base": {"ref": "main"}},
        "sender": {"login": "ada"},
    }


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = Deadline(seconds)
    while not condition():
        assert not deadline.expired
        time.sleep(0.01)


@pytest.mark.real
def test_statuses_stand_at_the_tested_commit_and_nowhere_else(job: Job) -> None:
    """security 6, with its control: asked for another commit, they stand there."""
    job.pull()
    job.repo.set_branch("main", NEWER)
    answer, _ = job.labels("hil", sha=HEAD)
    assert answer.code == 0, answer
    assert set(job.states(HEAD).values()) == {"pending"}
    assert (job.states(NEWER), job.states(BASE)) == ({}, {})
    answer, _ = job.happens("push", {"deleted": False, "after": NEWER})
    assert answer.code == 0, answer
    assert job.states(NEWER) != {}


@pytest.mark.real
@pytest.mark.parametrize("option", ["--out", "--child-pipeline"])
def test_a_request_that_cannot_be_handed_on_leaves_nothing_pending(job: Job, option: str) -> None:
    """security 22: nobody would ever answer it."""
    answer, outputs = job.happens("push", PUSH, option, "no/such/folder/file")
    assert answer.code == 2, answer
    assert "no/such/folder" in answer.stderr
    assert set(job.states().values()) == {"error"}
    answer, outputs = job.happens("push", PUSH, option, "file")
    assert (answer.code, outputs["decision"]) == (0, "run"), answer
    assert set(job.states().values()) == {"pending"}


def test_a_second_forge_that_takes_no_status_leaves_nothing_pending_at_the_first(job: Job) -> None:
    """security 22, for answers that go to two places."""
    job.github.repository("ada/mirror", id=1002)
    answer, outputs = job.happens("push", PUSH, "--publish", f"github:{NAME}", "--publish", "github:ada/mirror")
    assert (answer.code, outputs) == (8, {}), answer
    assert set(job.states().values()) == {"error"}
