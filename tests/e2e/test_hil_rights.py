"""What each job of hil.yml and hil-sweep.yml may do with its token is enough, and not more, on a private repository."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from conftest import Firmware, LabOf
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.github_state import Repository, Status, now
from fakes.github_webhooks import Webhooks
from test_gate import outputs_of
from upstream import EARLIER, GITHUB, HUT, NAME, PARENT, SHA, token_for, zipped

from hut_ci.virtual.app_script import Panic

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"
SLOTS = {"schema_version": "hut.slots.v1", "slots": [{"id": "hut-01", "label": "esp32-hut-01", "chip": "esp32"}]}
EITHER = {("gate", "issues"), ("report", "issues"), ("report", "pull_requests")}
"""Of `issues` and `pull_requests` one is enough for comments and labels (REST description: "at least one of")."""


def permissions() -> dict[str, dict[str, str]]:
    """Job → what its token may, in the words of the API."""
    jobs: dict[str, dict[str, str]] = {}
    for name in ("hil.yml", "hil-sweep.yml"):
        for job, told in yaml.safe_load((WORKFLOWS / name).read_text("utf-8"))["jobs"].items():
            jobs[job] = {scope.replace("-", "_"): level for scope, level in told["permissions"].items()}
    return jobs


class Jobs:
    """The commands of the jobs, each with a token that may what its job may; one may be without one of its rights."""

    def __init__(self, hut_ci: HutCi, github: FakeGitHub, build: Path, lab: Path) -> None:
        self.hut_ci, self.github, self.lab = hut_ci, github, lab
        self.without: tuple[str, str] | None = None
        self.repo: Repository = github.repository(NAME, id=1001, private=True)
        self.repo.add_commit(PARENT, files={"hut.yml": HUT, ".github/slots.json": json.dumps(SLOTS)})
        self.repo.set_branch("main", PARENT)
        self.repo.add_commit(SHA, files={"hut.yml": HUT}, parents=[PARENT])
        self.repo.set_permission("ada", "write")
        self.pull = self.repo.add_pull(12, head_sha=SHA)
        run = self.repo.add_run(head_sha=SHA, event="pull_request", created=EARLIER)
        run.add_artifact("firmware-i2s", zipped(build))
        token_for(hut_ci, github)

    def gate(self) -> int:
        self.comment = self.repo.add_comment(12, "/hil hut-01", login="ada")
        name, payload = Webhooks(self.github, self.repo).commented(self.pull, self.comment)
        event, self.outputs = self.hut_ci.folder / "event.json", self.hut_ci.folder / "outputs"
        event.write_text(json.dumps(payload))
        self.outputs.write_text("")
        self.hut_ci.environ |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_EVENT_NAME": name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_OUTPUT": str(self.outputs),
        }
        return self._run("gate", "gate", "--slots", "repo:.github/slots.json")

    def hardware(self) -> int:
        out = self.hut_ci.folder / "out"
        return self._run("hardware", "run", "--request", self._request(), "--lab", self.lab, "--out", out)

    def report(self) -> int:
        return self._run("report", "report", "publish", self.hut_ci.folder / "out", "--request", self._request())

    def sweep(self) -> int:
        """Of a request that was spoken of, though it was built long ago, and of what was built now."""
        for sha, when in (("11" * 20, now()), ("22" * 20, now() - timedelta(days=30))):
            self.repo.add_run(head_sha=sha, created=when)
            self.repo.posted_statuses.append(
                Status(
                    id=1,
                    sha=sha,
                    state="pending",
                    context="hardware",
                    description="answer by 2026-01-01T00:00:00Z",
                    target_url=None,
                    login="x",
                    created=when,
                )
            )
        self.repo.add_pull(13, head_sha="22" * 20)
        return self._run("sweep", "report", "sweep", "--forge", GITHUB)

    def _request(self) -> str:
        return outputs_of(self.outputs)["request"]

    def _run(self, job: str, *argv: object) -> int:
        rights = {scope: level for scope, level in permissions()[job].items() if (job, scope) != self.without}
        token = f"ghs_token0123456789{job}"
        self.github.add_token(token, permissions=rights)
        self.hut_ci.environ["GITHUB_TOKEN"] = token
        self.said = self.hut_ci(*argv)
        return self.said.code

    def last(self, sha: str = SHA) -> dict[str, str]:
        return {status["context"]: status["state"] for status in self.repo.statuses(sha)}


@pytest.fixture
def jobs(hut_ci: HutCi, github: FakeGitHub, lab_of: LabOf, firmware: Firmware) -> Jobs:
    return Jobs(hut_ci, github, firmware(Panic()), lab_of().lab_yml)


@pytest.mark.real
def test_the_rights_of_each_job_are_enough(jobs: Jobs) -> None:
    """From a comment to the answer, and the sweep."""
    assert jobs.gate() == 0, jobs.said
    assert [reaction["content"] for reaction in jobs.comment.reactions] == ["eyes"]
    assert jobs.hardware() == 1, jobs.said
    assert jobs.report() == 0, jobs.said
    assert jobs.last() == {"hardware / hut-01": "failure"}
    assert len(jobs.repo.comments(12)) == 2, "the question and the answer"
    assert jobs.sweep() == 0, jobs.said
    assert [jobs.last(number * 20) for number in ("11", "22")] == [{"hardware": "error"}] * 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("job", "scope"),
    [(job, scope) for job, told in permissions().items() for scope in told if (job, scope) not in EITHER],
)
def test_each_right_is_needed(job: str, scope: str, jobs: Jobs) -> None:
    """Security 24: least privilege. Without it the job does not come to its end."""
    jobs.without = (job, scope)
    for name, ends in (("gate", 0), ("hardware", 1), ("report", 0), ("sweep", 0)):
        if name == job:
            assert getattr(jobs, name)() != ends, jobs.said
            return
        if name == "gate" or (name == "hardware" and job == "report"):
            assert getattr(jobs, name)() in (0, 1)
