"""Pipelines, their jobs' artifacts, and files of a commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import requests
from gitlab.exceptions import GitlabHttpError

from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError
from hut_ci.forges import trouble
from hut_ci.forges.download import download
from hut_ci.forges.fields import as_text
from hut_ci.forges.gitlab import answers
from hut_ci.forges.gitlab.api import SERVICE, GitLabApi
from hut_ci.model import BuildJob, BuildProduct, BuildRun, PullRequest

READ = "the scope `read_api`, role Reporter"


@dataclass(frozen=True, slots=True)
class GitLabBuilds:
    """Where the builds of one project are found. Every method raises ArtifactError where GitLab does not answer.

    GitLab gives no digests: an artifact's size is compared, its archive's checksums when it is unpacked, and the
    digest that it turns out to have is what the report says.
    """

    api: GitLabApi
    deadline: Deadline
    forge: ClassVar[str] = "gitlab"
    gives_digests: ClassVar[bool] = False

    def runs(self, sha: str) -> list[BuildRun]:
        """The pipelines of a commit. The path "artifacts of a ref" of the API takes no commits, so it is not used."""
        sources: dict[int, str] = {}
        with self._asking(f"list the pipelines of {sha[:12]}"):
            found = list(self.api.pages("pipelines", sha=sha))
            return [self._with_source(data, sources) for data in found if data.get("source") != "external"]

    def run(self, run_id: str, sha: str) -> BuildRun:
        """One pipeline; that of a merged result is filed under the merge commit, and `sha`, its head, was asked for."""
        with self._asking(f"look at pipeline {run_id}"):
            data = self.api.get(f"pipelines/{quote(run_id, safe='')}")
            run, number = answers.build_run(data), answers.merge_request_of(data)
            if number is None:
                return run
            request = self.api.get(f"merge_requests/{number}")
            run = answers.of_merge_request(run, request)
            if run.head_sha != sha and request["sha"] == sha:
                parents = self.api.get(f"repository/commits/{run.head_sha}")["parent_ids"]
                if sha in parents:
                    return replace(run, head_sha=sha, built_sha=run.head_sha)
            return run

    def products(self, run: BuildRun) -> list[BuildProduct]:
        now = datetime.now(UTC)
        with self._asking(f"list the jobs of pipeline {run.id}"):
            found = [answers.build_product(job, now) for job in self.api.pages(f"pipelines/{run.id}/jobs")]
            return [product for product in found if product is not None]

    def jobs(self, run: BuildRun) -> list[BuildJob]:
        with self._asking(f"list the jobs of pipeline {run.id}"):
            return [answers.build_job(job) for job in self.api.pages(f"pipelines/{run.id}/jobs")]

    def download(self, product: BuildProduct, into: Path, on_progress: Callable[[int, int], None]) -> None:
        doing = f"download the artifact of job {product.id}"
        with self._asking(doing):
            download(
                self.api.absolute(f"jobs/{product.id}/artifacts"),
                self.api.credentials,
                into,
                session=self.api.session,
                deadline=self.deadline,
                refuse=lambda response: self._refused(doing, response),
                on_progress=on_progress,
                size=product.size,
            )

    def key(self, product: BuildProduct) -> str:
        return f"{self.api.address.api} {self.api.address.name} {product.id} {product.size}"

    def file(self, path: str, ref: str) -> bytes | None:
        """The content of a file at a commit or branch, `HEAD` for the default branch; None where there is none."""
        with self._asking(f"read {path} at {ref[:12]}"):
            try:
                return self.api.raw(f"repository/files/{quote(path, safe='')}/raw", ref=ref)
            except GitlabHttpError as error:
                if error.response_code != 404:
                    raise
                return None

    def knows(self, ref: str) -> bool:
        """Whether a commit or branch can be read."""
        with self._asking(f"look at {ref[:40]}"):
            try:
                self.api.get(f"repository/commits/{quote(ref, safe='')}")
            except GitlabHttpError as error:
                if error.response_code != 404:
                    raise
                return False
            return True

    def pull_request(self, number: int) -> PullRequest:
        with self._asking(f"look at merge request {number}"):
            return answers.pull_request(self.api.get(f"merge_requests/{number}"))

    def recent_commits(self, since_utc: str) -> list[str]:
        """Commits that were built since then, the newest first, each once: whatever became of their branches."""
        with self._asking("list the latest pipelines"):
            found = self.api.pages("pipelines", updated_after=since_utc)
            return list(dict.fromkeys(as_text(pipeline["sha"]) for pipeline in found))

    def _with_source(self, data: answers.Json, sources: dict[int, str]) -> BuildRun:
        """A merge request's pipeline runs in the target project, whoever's code it is: the request tells the source."""
        run, number = answers.build_run(data), answers.merge_request_of(data)
        if number is None:
            return run
        if number not in sources:
            sources[number] = answers.source_of(self.api.get(f"merge_requests/{number}"))
        return replace(run, head_repository=sources[number], head_name=f"project {sources[number]}")

    def _asking(self, doing: str) -> Any:
        return self.api.asking(ArtifactError, doing, READ)

    def _refused(self, doing: str, response: requests.Response) -> Exception:
        return trouble.refusal(
            ArtifactError,
            service=SERVICE,
            address=self.api.address,
            doing=doing,
            needs=READ,
            status=response.status_code,
            headers=dict(response.headers),
        )
