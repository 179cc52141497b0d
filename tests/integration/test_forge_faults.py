"""Every way in which a forge fails, in every operation: a bounded, worded error, never a hang, never a wrong answer.

security 21 and 23. The clock is real where bytes drip, the pauses between tries are not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError, ForgeUnavailable, HutCiError, PublishError
from hut_ci.forges.address import Address
from hut_ci.forges.github import api as github_api
from hut_ci.forges.github.builds import GitHubBuilds
from hut_ci.forges.github.conversation import GitHubConversation
from hut_ci.forges.github.statuses import GitHubStatuses
from hut_ci.forges.gitlab import api as gitlab_api
from hut_ci.forges.gitlab.builds import GitLabBuilds
from hut_ci.forges.gitlab.conversation import GitLabConversation
from hut_ci.forges.gitlab.statuses import GitLabStatuses
from hut_ci.model import BuildProduct, BuildRun, BuildState
from hut_ci.stages.comment import MARKER
from hut_ci.stages.publish import Annotation

SHA = "5e" * 20
CONTENT = b"PK\x05\x06" + bytes(180_000)
PATIENCE = 1.0
"""Seconds that a forge gets in these tests."""
AT_MOST = 20.0
"""Seconds until a test calls it a hang: a slow answer comes after 30, and most of what drips or is huge later yet."""
FINAL = {"401": "401", "403": "403", "404": "404", "409": "409", "410": "410", "422": "422"}
PASSING = ("429", "rate_limit_secondary", "500", "502", "503", "closed", "truncated", "drip", "slow", "garbage", "huge")
UNANSWERED = {"closed", "truncated", "drip", "slow", "huge"}


@dataclass
class Scene:
    """One forge with one build, one pull request with a comment of ours, and what is asked of it."""

    server: Any
    folder: Path
    pauses: list[float]
    builds: Any
    statuses: Any
    conversation: Any
    run: BuildRun
    product: BuildProduct

    def close(self) -> None:
        self.builds.api.session.close()

    def fetch(self) -> Path:
        self.builds.download(self.product, self.folder / "artifact", lambda _done, _total: None)
        return self.folder / "artifact"


def github_scene(server: FakeGitHub, folder: Path, patience: float) -> Scene:
    server.add_token("ghs_x")
    repo = server.repository("acme/firmware", id=1001)
    repo.add_commit(SHA, files={"hut.yml": "suite: {}\n"})
    repo.set_branch("main", SHA)
    repo.add_pull(12, head_sha=SHA)
    repo.add_comment(12, f"{MARKER}\nold", login="github-actions[bot]")
    run = repo.add_run(head_sha=SHA)
    run.add_job("build")
    artifact = run.add_artifact("firmware", CONTENT)
    pauses: list[float] = []
    deadline = Deadline(patience)
    address = Address("github", "acme/firmware", server.url)
    api = github_api.open_api(address, Token("ghs_x"), deadline, lambda _text: None, pauses.append)
    product = BuildProduct(str(artifact.id), "firmware", len(CONTENT), artifact.digest)
    found = BuildRun(str(run.id), SHA, "push", BuildState.SUCCESS, "1001", "1001")
    return Scene(
        server,
        folder,
        pauses,
        GitHubBuilds(api, deadline),
        GitHubStatuses(api),
        GitHubConversation(api),
        found,
        product,
    )


def gitlab_scene(server: FakeGitLab, folder: Path, patience: float) -> Scene:
    server.add_token("glpat-x", username="bot")
    project = server.project("acme/firmware", id=7)
    project.add_commit(SHA, files={"hut.yml": "suite: {}\n"})
    project.set_branch("main", SHA)
    project.add_merge_request(12, sha=SHA, source_branch="main").add_note(f"{MARKER}\nold", author="bot")
    pipeline = project.add_pipeline(sha=SHA)
    job = pipeline.add_job("build", artifacts=CONTENT)
    pauses: list[float] = []
    deadline = Deadline(patience)
    address = Address("gitlab", "acme/firmware", server.api)
    api = gitlab_api.open_api(address, Token("glpat-x"), deadline, lambda _text: None, pauses.append)
    product = BuildProduct(str(job.id), "build", len(CONTENT))
    found = BuildRun(str(pipeline.id), SHA, "push", BuildState.SUCCESS, "7", "7")
    return Scene(
        server,
        folder,
        pauses,
        GitLabBuilds(api, deadline),
        GitLabStatuses(api),
        GitLabConversation(api),
        found,
        product,
    )


SCENES: dict[str, tuple[type, Callable[..., Scene]]] = {
    "github": (FakeGitHub, github_scene),
    "gitlab": (FakeGitLab, gitlab_scene),
}
Operation = tuple[str, Callable[[Scene], Any]]
READS: dict[str, dict[str, Operation]] = {
    "github": {
        "runs": ("list_runs", lambda s: s.builds.runs(SHA)),
        "run": ("get_run", lambda s: s.builds.run(s.run.id, SHA)),
        "artifacts": ("list_run_artifacts", lambda s: s.builds.products(s.run)),
        "jobs": ("list_jobs", lambda s: s.builds.jobs(s.run)),
        "download": ("download_artifact", Scene.fetch),
        "storage": ("get_blob", Scene.fetch),
        "hut.yml": ("get_contents", lambda s: s.builds.file("hut.yml", SHA)),
        "pull request": ("get_pull", lambda s: s.builds.pull_request(12)),
        "recent": ("list_runs", lambda s: list(s.builds.recent_commits("2020-01-01T00:00:00Z"))),
        "discussed": ("list_pulls", lambda s: list(s.builds.recent_commits("2020-01-01T00:00:00Z"))),
    },
    "gitlab": {
        "runs": ("list_pipelines", lambda s: s.builds.runs(SHA)),
        "run": ("get_pipeline", lambda s: s.builds.run(s.run.id, SHA)),
        "artifacts": ("list_pipeline_jobs", lambda s: s.builds.products(s.run)),
        "download": ("download_artifacts", Scene.fetch),
        "storage": ("get_blob", Scene.fetch),
        "hut.yml": ("get_raw_file", lambda s: s.builds.file("hut.yml", SHA)),
        "merge request": ("get_merge_request", lambda s: s.builds.pull_request(12)),
        "recent": ("list_pipelines", lambda s: s.builds.recent_commits("2020-01-01T00:00:00Z")),
    },
}


def _post(scene: Scene) -> None:
    state = {"github": "success", "gitlab": "success"}[scene.statuses.vocabulary]
    scene.statuses.set_status(SHA, "hardware / hut-01", state, "pass: all", "https://ci.example/1")


def _check_run(scene: Scene) -> None:
    remark = Annotation("hut.yml", 1, "ready", "not seen")
    scene.statuses.set_check_run(SHA, "hardware / hut-01", "failure", "title", "text", [remark], None)


WRITES: dict[str, dict[str, Operation]] = {
    "github": {
        "statuses": ("get_combined_status", lambda s: s.statuses.statuses(SHA)),
        "status": ("create_status", _post),
        "check run": ("create_check_run", _check_run),
        "comments": ("list_comments", lambda s: s.conversation.own_comments(12, MARKER)),
        "comment": ("create_comment", lambda s: s.conversation.add_comment(12, "text")),
        "edit": (
            "update_comment",
            lambda s: s.conversation.edit_comment(12, s.conversation.own_comments(12, MARKER)[0].id, "text"),
        ),
    },
    "gitlab": {
        "statuses": ("list_statuses", lambda s: s.statuses.statuses(SHA)),
        "status": ("create_status", _post),
        "notes": ("list_notes", lambda s: s.conversation.own_comments(12, MARKER)),
        "note": ("create_note", lambda s: s.conversation.add_comment(12, "text")),
        "edit": (
            "update_note",
            lambda s: s.conversation.edit_comment(12, s.conversation.own_comments(12, MARKER)[0].id, "text"),
        ),
    },
}
OPERATIONS = [
    (forge, name, kind)
    for kind, table in ((ArtifactError, READS), (PublishError, WRITES))
    for forge, operations in table.items()
    for name in operations
]
NOT_REPEATED = {"comment", "note", "check run"}
"""They would stand there twice, so only a refusal for the rate is repeated."""


@pytest.fixture
def scene_of(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    with ExitStack() as stack:

        def make(forge: str, patience: float = PATIENCE) -> Scene:
            fake, build = SCENES[forge]
            return stack.enter_context(closing(build(stack.enter_context(fake()), tmp_path, patience)))

        yield make


def operation(forge: str, name: str) -> Operation:
    return {**READS[forge], **WRITES[forge]}[name]


@pytest.mark.parametrize(("forge", "name", "kind"), OPERATIONS)
def test_without_a_fault_it_works(scene_of: Callable[..., Scene], forge: str, name: str, kind: type) -> None:
    """The negative control of the tables below."""
    asked, do = operation(forge, name)
    scene = scene_of(forge, 20.0)
    do(scene)
    assert asked in [*scene.server.operations(), "get_blob"]


@pytest.mark.parametrize("fault", FINAL)
@pytest.mark.parametrize(("forge", "name", "kind"), OPERATIONS)
def test_a_refusal_is_final_and_worded(
    scene_of: Callable[..., Scene], forge: str, name: str, kind: type[HutCiError], fault: str
) -> None:
    asked, do = operation(forge, name)
    scene = scene_of(forge, 20.0)
    scene.server.fail(asked, fault, None)
    if (name, fault) == ("hut.yml", "404"):
        assert do(scene) is None
        return
    with pytest.raises(kind) as refused:
        do(scene)
    error = refused.value
    assert f"HTTP {fault}" in error.what or "expired" in error.what
    assert error.why
    assert error.todo
    assert "{" not in error.todo
    assert isinstance(error, ForgeUnavailable) == (kind is PublishError and fault == "409")
    assert scene.pauses == []
    if kind is ArtifactError:
        assert error.evidence in ("forge_error", "no_artifact")


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize(("forge", "name", "kind"), OPERATIONS)
def test_trouble_that_lasts_ends_in_time(
    scene_of: Callable[..., Scene], forge: str, name: str, kind: type[HutCiError], fault: str
) -> None:
    asked, do = operation(forge, name)
    scene = scene_of(forge)
    scene.server.fail(asked, fault, None)
    scene.server.huge_bytes = scene.server.blobs.huge_bytes = 1 << 40  # no machine reads it all in the time there is
    start = time.monotonic()
    if fault == "garbage" and name in ("download", "storage", "hut.yml"):
        return  # bytes are bytes: what they are worth is the digest's or the YAML reader's to say
    with pytest.raises(kind) as refused:
        do(scene)
    assert time.monotonic() - start < AT_MOST
    if kind is PublishError:
        assert isinstance(refused.value, ForgeUnavailable)
    else:
        assert refused.value.evidence in ("forge_error", "download_failed")
    assert len(scene.pauses) <= 3 * 3


@pytest.mark.parametrize("fault", ["429", "rate_limit_secondary", "500", "502", "503", "closed", "truncated"])
@pytest.mark.parametrize(("forge", "name", "kind"), OPERATIONS)
def test_trouble_that_passes_is_not_noticed(
    scene_of: Callable[..., Scene], forge: str, name: str, kind: type[HutCiError], fault: str
) -> None:
    asked, do = operation(forge, name)
    scene = scene_of(forge, 20.0)
    scene.server.fail(asked, fault)
    if name in NOT_REPEATED and fault not in ("429", "rate_limit_secondary"):
        with pytest.raises(kind):
            do(scene)
        return
    do(scene)
    assert scene.server.pending_faults == []
    if fault in ("429", "rate_limit_secondary") and name != "storage":
        assert scene.pauses
        assert scene.pauses[0] >= 1.0


@pytest.mark.parametrize(("forge", "name", "kind"), OPERATIONS)
def test_an_hours_rate_limit_is_told_and_not_waited_for(
    scene_of: Callable[..., Scene], forge: str, name: str, kind: type[HutCiError]
) -> None:
    asked, do = operation(forge, name)
    if name == "storage":
        pytest.skip("the storage has no hourly limit")
    scene = scene_of(forge, 20.0)
    scene.server.fail(asked, "rate_limit_primary", None)
    with pytest.raises(kind) as refused:
        do(scene)
    assert "try again after" in refused.value.todo
    assert scene.pauses == []


@pytest.mark.parametrize("forge", SCENES)
def test_a_wrong_body_of_the_right_length_is_told_by_its_digest(scene_of: Callable[..., Scene], forge: str) -> None:
    from hut_ci.artifact_cache import ArtifactCache

    scene = scene_of(forge, 20.0)
    scene.server.fail("get_blob", "wrong_digest", None)
    cache = ArtifactCache(scene.folder / "cache")
    if scene.product.digest is None:
        return  # GitLab gives none: its archive's checksums are checked when it is unpacked
    with pytest.raises(ArtifactError, match="not the artifact's"):
        cache.fetch(
            "key",
            scene.product.digest,
            scene.folder / "artifact",
            lambda path: scene.builds.download(scene.product, path, lambda _d, _t: None),
            deadline=Deadline(5),
        )
    assert list((scene.folder / "cache").glob("sha256-*")) == []


def test_the_filter_that_finds_nothing_is_not_believed(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of("github", 20.0)
    scene.server.head_sha_filter_is_empty = True
    assert [run.id for run in scene.builds.runs(SHA)] == [scene.run.id]
    assert scene.server.operations() == ["list_runs", "list_runs"]


def test_more_than_one_page_is_read(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of("github", 20.0)
    run = scene.server.repositories["acme/firmware"].runs[0]
    for number in range(230):
        run.add_artifact(f"more-{number}", b"x")
    assert len(scene.builds.products(scene.run)) == 231
    assert scene.server.operations() == ["list_run_artifacts"] * 3


@pytest.mark.parametrize("forge", SCENES)
def test_a_status_is_not_posted_twice(scene_of: Callable[..., Scene], forge: str) -> None:
    """Publishing twice is harmless: the same state, text and page is recognised."""
    scene = scene_of(forge, 20.0)
    _post(scene)
    _post(scene)
    assert scene.server.operations().count("create_status") == 1


@pytest.mark.parametrize("forge", SCENES)
def test_a_strangers_marker_is_not_ours(scene_of: Callable[..., Scene], forge: str) -> None:
    scene = scene_of(forge, 20.0)
    body = f"{MARKER}\nplanted"
    if forge == "github":
        scene.server.repositories["acme/firmware"].add_comment(12, body, login="mallory")
    else:
        scene.server.find_project("acme/firmware").merge_requests[12].add_note(body, author="mallory")
    (own,) = scene.conversation.own_comments(12, MARKER)
    assert own.body.endswith("old")
