"""Two forges with one build each among decoys, as `hut-ci run --commit` meets them."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from console_script import HutCi
from fakes import github_description, gitlab_description
from fakes.github import FakeGitHub
from fakes.github_state import Repository
from fakes.gitlab import FakeGitLab
from fakes.gitlab_state import Project
from fakes.openapi import Contract

SHA, PARENT, MERGE, OTHER = "5e" * 20, "0f" * 20, "ce" * 20, "77" * 20
NAME = "acme/firmware"
GITHUB, GITLAB = f"github:{NAME}", f"gitlab:{NAME}"
WORKFLOW = ".github/workflows/build.yml"
HUT = f'artifact: {{workflow: {WORKFLOW}, name: "firmware-*"}}\nsuite: {{expect: [{{line: ready, within: 30}}]}}\n'
HUT_LAB = 'artifact: {job: "build: *"}\nsuite: {expect: [{line: ready, within: 30}]}\n'
"""A virtual board that boots is ready at once, however busy the machine; whoever waits for it in vain takes `soon`."""
GITHUB_TOKEN, GITLAB_TOKEN = "ghs_marker0123456789abcdefGITHUB", "glpat-marker0123456789GITLAB"
EARLIER = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)


def soon(hut: str) -> str:
    """The same project, which waits for its line in vain no longer than a test may take."""
    return hut.replace("within: 30", "within: 3")


@cache
def github_contract() -> Contract | None:
    """GitHub's own description, where it is to be had: tests/integration/test_fake_github.py says so if not."""
    found = github_description.description().document
    return Contract(found, github_description.DEPARTURES) if found else None


@cache
def gitlab_contract() -> Contract | None:
    return gitlab_description.contract()[0]


def zipped(folder: Path, inside: str = "") -> bytes:
    """A build folder as the archive that an upload makes of it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target.write(file, f"{inside}{file.relative_to(folder)}")
    return archive.getvalue()


def github_with_decoys(
    github: FakeGitHub, content: bytes, decoy: bytes = b"PK\x05\x06" + bytes(18), hut: str = HUT
) -> Repository:
    """SHA is built once by a push; whatever else there is must not be taken."""
    github.add_token(GITHUB_TOKEN)
    repo = github.repository(NAME, id=1001, private=True)
    repo.add_commit(PARENT, files={"hut.yml": hut})
    repo.add_commit(SHA, files={"hut.yml": hut}, parents=[PARENT])
    repo.add_commit(MERGE, files={"hut.yml": hut}, parents=[PARENT, SHA])
    repo.set_branch("main", PARENT)
    others: list[dict[str, Any]] = [
        {"head_sha": PARENT},
        {"head_sha": OTHER},
        {"head_sha": MERGE, "event": "pull_request"},
        {"head_sha": SHA, "event": "pull_request", "head_repository": "mallory/firmware", "head_repository_id": 66},
        {"head_sha": SHA, "workflow": ".github/workflows/lint.yml"},
        {"head_sha": SHA, "conclusion": "failure"},
        {"head_sha": SHA, "event": "pull_request_target"},
    ]
    for options in others:
        repo.add_run(**options).add_artifact("firmware-i2s", decoy)
    run = repo.add_run(head_sha=SHA, attempt=2, created=EARLIER, started=EARLIER + timedelta(hours=2))
    run.add_artifact("firmware-i2s", decoy, created=EARLIER + timedelta(minutes=5))  # of the first attempt
    run.add_artifact("size-report", decoy, created=EARLIER + timedelta(hours=2, minutes=4))
    run.add_artifact("firmware-i2s", content, created=EARLIER + timedelta(hours=2, minutes=5))
    return repo


def gitlab_with_decoys(
    gitlab: FakeGitLab, content: bytes, decoy: bytes = b"PK\x05\x06" + bytes(18), hut: str = HUT_LAB
) -> Project:
    """The same on GitLab, where a job's archive is the artifact."""
    gitlab.add_token(GITLAB_TOKEN, username="project_7_bot", kind="project", scopes=["api"], access_level=40)
    project = gitlab.project(NAME, id=7)
    project.add_commit(PARENT, files={"hut.yml": hut})
    project.add_commit(SHA, files={"hut.yml": hut}, parents=[PARENT])
    project.set_branch("main", PARENT)
    project.add_pipeline(sha=PARENT).add_job("build: [i2s]", artifacts=decoy)
    project.add_pipeline(sha=SHA, source="parent_pipeline").add_job("build: [i2s]", artifacts=decoy)
    pipeline = project.add_pipeline(sha=SHA)
    pipeline.add_job("build: [i2s]", artifacts=decoy, status="failed", retried=True)
    pipeline.add_job("lint", artifacts=decoy)
    pipeline.add_job("build: [i2s]", artifacts=content)
    return project


def token_for(hut_ci: HutCi, github: FakeGitHub | None = None, gitlab: FakeGitLab | None = None) -> None:
    """Let `hut_ci` speak to these servers."""
    if github is not None:
        hut_ci.environ |= {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": GITHUB_TOKEN}
    if gitlab is not None:
        hut_ci.environ |= {"GITLAB_API_URL": gitlab.api, "GITLAB_TOKEN": GITLAB_TOKEN}
