"""hil.yml and hil-sweep.yml in a real workflow engine, called from another repository, on a fake GitHub.

What counts is what stands on the forge at the end: statuses, comments, labels, on the right commit, none pending.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Firmware, LabOf
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.github_state import Pull, Repository, Run
from fakes.github_webhooks import Webhooks
from github_engine import Engine
from live_run import check_free_at_once, check_nobody_writes, check_report, programs_with
from slowness import is_in_time
from upstream import EARLIER, HUT, PARENT, SHA, github_with_decoys, zipped

from hut_ci.virtual.app_script import Panic
from hut_ci.virtual.lab import VirtualLab

HEAD, FORKED = "a1" * 20, "f0" * 20
CALL = """
    permissions: {actions: read, contents: read, issues: write, pull-requests: write, statuses: write}
    uses: hut-ci/hut_ci/.github/workflows/hil.yml@COMMIT
"""
CALLER = f"""
on: [push, workflow_run, pull_request_target, issue_comment]
permissions: {{}}
jobs:
  hardware:{CALL}
    with: {{runner: self-hosted, forks: asked}}
"""
TWO_CALLERS = f"""
on: workflow_run
permissions: {{}}
jobs:
  one:{CALL}
    with: {{runner: self-hosted, only: hut-01, aggregate: one}}
  two:{CALL}
    with: {{runner: self-hosted, only: hut-02, aggregate: two}}
"""
SWEEPER = """
on: schedule
permissions: {}
jobs:
  sweep:
    permissions: {actions: read, contents: read, statuses: write}
    uses: hut-ci/hut_ci/.github/workflows/hil-sweep.yml@COMMIT
    with: {runner: self-hosted}
"""
GRACE = 10.0
"""Seconds from a runner's first signal to the step's process to the one that nothing survives."""
PATIENCE = 400.0
"""Seconds for what comes before a board is held, an installation included."""

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.xdist_group("workflow engine")]


class Stage:
    """A firmware repository on GitHub with a build of SHA, a lab, and the engine that runs its workflow."""

    def __init__(self, folder: Path, environments: Path, github: FakeGitHub, lab: VirtualLab, build: Path) -> None:
        self.lab = lab
        self.repo: Repository = github_with_decoys(github, zipped(build))
        slots = [{"id": name, "label": f"esp32-{name}", "chip": "esp32"} for name in lab.slot_ids]
        document = {"schema_version": "hut.slots.v1", "slots": slots}
        self.repo.add_commit(PARENT, files={"hut.yml": HUT, ".github/slots.json": json.dumps(document)})
        self.repo.set_permission("ada", "write")
        self.repo.set_permission("tri", "read", "triage")
        self.webhooks = Webhooks(github, self.repo)
        self.engine = Engine(folder, environments, github, lab.lab_yml)
        self.engine.workflow("hardware.yml", CALLER)

    def pull(self, number: int, sha: str, build: Path, hut: str = HUT, fork: str | None = None) -> Pull:
        """A pull request that was built long before anybody asks for a test."""
        self.repo.add_commit(sha, files={"hut.yml": hut}, parents=[PARENT])
        pull = self.repo.add_pull(number, head_sha=sha, labels=["bug"], head_repository=fork, head_repository_id=66)
        options: dict[str, Any] = {"head_repository": fork, "head_repository_id": 66} if fork else {}
        run = self.repo.add_run(head_sha=sha, event="pull_request", created=EARLIER, pull_requests=[number], **options)
        run.add_artifact("firmware-i2s", zipped(build), created=EARLIER)
        return pull

    @property
    def built(self) -> Run:
        """The newest build of SHA, the one with the artifact."""
        return self.repo.runs[-1]

    def states(self, sha: str = SHA) -> dict[str, str]:
        return {status["context"]: status["state"] for status in self.repo.statuses(sha)}

    def text(self, context: str, sha: str = SHA) -> str:
        """The last description of a status."""
        return [status["description"] for status in self.repo.statuses(sha) if status["context"] == context][-1]

    def announced(self, sha: str = SHA) -> set[str]:
        """What was pending at some time; nothing is at the end, on any commit."""
        last = {(sha, context): state for sha, context, state in self.repo.all_statuses()}
        assert "pending" not in last.values(), last
        return {status["context"] for status in self.repo.statuses(sha) if status["state"] == "pending"}

    def replies(self, number: int) -> list[str]:
        comments = self.repo.comments(number)
        return [comment["body"] for comment in comments if comment["user"] == "github-actions[bot]"]


Staged = Callable[..., Stage]


@pytest.fixture
def staged(tmp_path: Path, environments: Path, github: FakeGitHub, lab_of: LabOf, firmware: Firmware) -> Staged:
    def stage(slots: int = 1) -> Stage:
        return Stage(tmp_path, environments, github, lab_of(slots), firmware("ready"))

    return stage


BOTH = {"hardware / hut-01", "hardware"}
ALONE = {"hardware / hut-01"}
"""Whoever names slots asks for no answer for all."""


# --- what asks for a run -------------------------------------------------------------------------------------------


def test_a_label_asks_and_what_the_request_changes_does_not_judge_it(staged: Staged, firmware: Firmware) -> None:
    """security 4, decision 18: the label is taken off, and hut.yml is the base's."""
    stage = staged()
    pull = stage.pull(12, HEAD, firmware("ready"), hut=HUT.replace("ready", "never printed"))
    ran = stage.engine.happens(*stage.webhooks.labeled(pull, "hil", "ada"))
    assert ran.code == 0, ran
    assert stage.states(HEAD) == dict.fromkeys(BOTH, "success"), ran
    assert stage.announced(HEAD) == BOTH
    assert "by the base's hut.yml" in stage.text("hardware / hut-01", HEAD)
    assert pull.labels == ["bug"]
    assert stage.states(SHA) == {}, "no other commit"


def test_a_comment_asks_and_a_failure_is_explained_there(staged: Staged, firmware: Firmware) -> None:
    stage = staged()
    pull = stage.pull(12, HEAD, firmware(Panic()))
    comment = stage.repo.add_comment(12, "Does it boot?\r\n/hil hut-01", login="ada")
    ran = stage.engine.happens(*stage.webhooks.commented(pull, comment))
    assert ran.code != 0, ran
    assert stage.states(HEAD) == dict.fromkeys(ALONE, "failure"), ran
    assert stage.announced(HEAD) == ALONE
    assert [reaction["content"] for reaction in comment.reactions] == ["eyes"]
    (reply,) = stage.replies(12)
    assert "panic" in reply
    assert HEAD[:12] in reply


def test_a_fork_is_tested_where_its_commit_was_labelled(staged: Staged, firmware: Firmware) -> None:
    """security 5: the artifact is of the fork's own build of the labelled commit."""
    stage = staged()
    pull = stage.pull(13, FORKED, firmware("ready"), fork="mallory/firmware")
    ran = stage.engine.happens(*stage.webhooks.labeled(pull, "hil:hut-01", "ada"))
    assert ran.code == 0, ran
    assert stage.states(FORKED) == dict.fromkeys(ALONE, "success"), ran
    assert stage.announced(FORKED) == ALONE
    assert pull.labels == ["bug"]


def test_who_may_not_ask_starts_nothing(staged: Staged, firmware: Firmware) -> None:
    """security 3, 4: one polite reply, no status, no job at the lab; and the label is gone."""
    stage = staged()
    pull = stage.pull(12, HEAD, firmware("ready"))
    ran = stage.engine.happens(*stage.webhooks.labeled(pull, "hil", "tri"))
    assert ran.code != 0, ran
    assert stage.repo.all_statuses() == []
    (reply,) = stage.replies(12)
    assert "only who may write" in reply
    assert pull.labels == ["bug"]
    assert set(stage.lab.boards["hut-01"].flash) == {0xFF}
    assert [event.name for event in stage.lab.boards["hut-01"].events if event.name == "connected"] == []


def test_two_calls_of_one_workflow_keep_their_reports_apart(staged: Staged) -> None:
    """After a build; one slot's board is not plugged in, which is the lab's failure and no firmware's."""
    stage = staged(2)
    (stage.lab.folder / "dev" / "hut-02").unlink()
    stage.engine.workflow("hardware.yml", TWO_CALLERS)
    ran = stage.engine.happens(*stage.webhooks.built(stage.built))
    assert stage.states() == {
        "hardware / hut-01": "success",
        "one": "success",
        "hardware / hut-02": "error",
        "two": "error",
    }, ran
    assert stage.announced() == {"hardware / hut-01", "hardware / hut-02", "one", "two"}
    assert "there is no report" not in stage.text("hardware / hut-02")
    assert len(list(stage.engine.store.iterdir())) == 2


# --- runs that do not come to their end ----------------------------------------------------------------------------


def test_a_run_that_is_cancelled_while_it_writes(staged: Staged, hut_ci: HutCi, firmware: Firmware) -> None:
    """security 22, WS9-9: as a runner cancels, which signals the step's own process; the board is in order in time."""
    stage = staged()
    with _held_in_a_write(stage) as (process, pid):
        os.kill(pid, signal.SIGINT)
        stage.lab.boards["hut-01"].release()
        survived = not _gone(pid, GRACE)
        if survived:
            os.kill(pid, signal.SIGKILL)
        check_nobody_writes(stage.lab)
        check_free_at_once(stage.lab)
        ran = stage.engine.ended(process)
    assert not survived, ran
    assert stage.states() == dict.fromkeys(BOTH, "error"), ran
    assert stage.announced() == BOTH
    assert "cancelled" in stage.text("hardware / hut-01")
    check_report(_uploaded(stage), partial=False)
    again = hut_ci.run(firmware("ready"), lab=stage.lab.lab_yml)
    assert again.code == 0, "the next one writes whatever the board does not hold"


def test_a_run_that_is_killed_while_it_writes(staged: Staged) -> None:
    """security 22: what it left behind says where; without anything the answer would be the same."""
    stage = staged()
    with _held_in_a_write(stage) as (process, pid):
        os.kill(pid, signal.SIGKILL)
        check_nobody_writes(stage.lab)
        check_free_at_once(stage.lab)
        ran = stage.engine.ended(process)
    assert stage.states() == dict.fromkeys(BOTH, "error"), ran
    assert stage.announced() == BOTH
    assert "flash" in stage.text("hardware / hut-01")
    check_report(_uploaded(stage), partial=True)


def test_what_nobody_answers_is_ended_by_the_sweep(staged: Staged) -> None:
    """security 22: the whole run is gone, as if cancelled before its last job, or never taken by a runner."""
    stage = staged()
    with _held_in_a_write(stage) as (process, pid):
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGKILL)
    assert stage.states() == dict.fromkeys(BOTH, "pending")
    stage.repo.add_run(head_sha=SHA)  # a recent one: of its time the sweep looks at commits
    stage.engine.workflow("hardware.yml", SWEEPER)
    ran = stage.engine.happens("schedule", {"schedule": "7 * * * *"})
    assert ran.code == 0, ran
    assert stage.states() == dict.fromkeys(BOTH, "pending"), "their time is not over"
    for status in stage.repo.posted_statuses:
        status.description = f"{str(status.description).rpartition(' ')[0]} 2026-02-12T15:30:00Z"
    ran = stage.engine.happens("schedule", {"schedule": "7 * * * *"})
    assert stage.states() == dict.fromkeys(BOTH, "error"), ran
    assert stage.announced() == BOTH


@contextmanager
def _held_in_a_write(stage: Stage) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The engine after a push, and the process of the step that flashes, in the middle of that."""
    board = stage.lab.boards["hut-01"]
    board.hold_at("flash_data", 4)
    process = stage.engine.starts(*stage.webhooks.pushed(SHA))
    try:
        board.wait_for("held", PATIENCE)
        (pid,) = set(_below(process.pid)) & set(programs_with("/hut-ci\0run"))
        yield process, pid
    finally:
        board.release()
        process.kill()
        process.wait()


def _below(pid: int) -> Iterator[int]:
    """The children of a process, theirs, and so on."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has just ended
            for child in children.read_text().split():
                yield int(child)
                yield from _below(int(child))


def _gone(pid: int, seconds: float) -> bool:
    """Whether a process has ended within these seconds of an idle machine."""
    began = time.monotonic()
    while Path(f"/proc/{pid}").exists() and is_in_time(began, seconds):
        time.sleep(0.01)
    return not Path(f"/proc/{pid}").exists()


def _uploaded(stage: Stage) -> Any:
    (report,) = stage.engine.store.glob("*/report.json")
    return json.loads(report.read_text())
