"""From a planned turn to a job in the spool: hut.yml and artifact are fetched here, because the bench asks no forge."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hut_ci.artifact_cache import ArtifactCache
from hut_ci.deadline import Deadline
from hut_ci.model import Artifact, BuildJob, BuildProduct, BuildRun, Pair, PullRequest, Request
from hut_ci.stages import upstream
from hut_ci.stages.artifact import refuse_own_judge
from hut_ci.stages.build_choice import wanted_of
from hut_ci.stages.news import PUSHES, branch_of
from hut_ci.stages.project_source import NAME, Files, Found, project_at
from hut_ci.stages.upstream import Fetching, Say
from hut_ci.stages.variant import choose_variant
from hut_ci.watch import spool
from hut_ci.watch.forge import Builds
from hut_ci.watch.plan import Turn


@dataclass(slots=True)
class Remembering:
    """Files that keeps what hut.yml was: the first one that is read judges, a pull request's own comes second."""

    files: Files
    read: list[tuple[str, bytes | None]] = field(default_factory=list)

    def file(self, path: str, ref: str) -> bytes | None:
        data = self.files.file(path, ref)
        self.read.append((ref, data))
        return data

    def knows(self, ref: str) -> bool:
        return self.files.knows(ref)

    def pull_request(self, number: int) -> PullRequest:
        return self.files.pull_request(number)


@dataclass(frozen=True, slots=True)
class NewestBuilds:
    """Builds of which one branch's, by one workflow, of one commit, count once: a branch may return to a commit.

    Where a workflow was started by pushes to several branches of that commit, `branch`'s counts.
    """

    source: Builds
    branch: str | None = None

    @property
    def forge(self) -> str:
        return self.source.forge

    @property
    def gives_digests(self) -> bool:
        return self.source.gives_digests

    def runs(self, sha: str) -> list[BuildRun]:
        newest: dict[tuple[object, ...], BuildRun] = {}
        for run in sorted(self.source.runs(sha), key=lambda run: int(run.id)):
            newest[run.workflow, run.event, run.branch, run.head_repository] = run
        ours = {run.workflow for run in newest.values() if self._is_ours(run)}
        return [
            run for run in newest.values() if run.event not in PUSHES or run.workflow not in ours or self._is_ours(run)
        ]

    def _is_ours(self, run: BuildRun) -> bool:
        return run.event in PUSHES and run.branch == self.branch

    def run(self, run_id: str, sha: str) -> BuildRun:
        return self.source.run(run_id, sha)

    def products(self, run: BuildRun) -> Sequence[BuildProduct]:
        return self.source.products(run)

    def jobs(self, run: BuildRun) -> Sequence[BuildJob]:
        return self.source.jobs(run)

    def download(self, product: BuildProduct, into: Path, on_progress: Callable[[int, int], None]) -> None:
        self.source.download(product, into, on_progress)

    def key(self, product: BuildProduct) -> str:
        return self.source.key(product)


def hand_over(
    turn: Turn, request: Request, builds: Builds, cache: ArtifactCache, folder: Path, deadline: Deadline, say: Say
) -> None:
    """Fetch what the turn needs and put it into the spool `folder`; twice makes one job.

    Raises BuildRunning or NoRun where the build may still come, another HutCiError where it cannot be.
    """
    pair = request.pairs[turn.pair.number]
    files = Remembering(builds)
    found = project_at(files, request.commit_sha, request.pull_request, request.base_ref)
    newest = NewestBuilds(builds, branch_of(turn.job.line))
    with tempfile.TemporaryDirectory(prefix="hut-ci-watch-") as work:
        artifact = _artifact(request, pair, found, newest, cache, Path(work), deadline, say)
        ref, data = files.read[0]
        name = f"{NAME}@{ref[:40]}" if data is not None else None
        one = turn.job.document_of(turn.pair)
        spool.hand_over(folder, turn.job.place(turn.pair), one, _handover(found, name, artifact), data, artifact.path)


def _artifact(
    request: Request,
    pair: Pair,
    found: Found,
    builds: NewestBuilds,
    cache: ArtifactCache,
    work: Path,
    deadline: Deadline,
    say: Say,
) -> Artifact:
    variant = choose_variant(found.project, pair.variant)
    wanted = wanted_of(
        found.project, variant, request.commit_sha, allow_fork=request.forks_allowed, run_id=request.run_id
    )
    artifact = upstream.find(builds, wanted, Fetching(cache, work, wait_build=0.0), deadline, say)
    refuse_own_judge(artifact, read_from_commit=found.of_commit)
    return artifact


def _handover(found: Found, name: str | None, artifact: Artifact) -> Mapping[str, Any]:
    return {
        "schema_version": spool.SCHEMA,
        "project": {
            "name": name,
            "changed": found.changed,
            "of_commit": found.of_commit,
            "notes": list(found.notes),
        },
        "artifact": {
            "name": artifact.name,
            "digest": artifact.digest,
            "forge": artifact.forge,
            "run_id": artifact.run_id,
            "artifact_id": artifact.artifact_id,
            "built_sha": artifact.built_sha,
            "run_url": artifact.run_url,
            "event": artifact.event,
            "attempt": artifact.attempt,
            "notes": list(artifact.notes),
        },
    }
