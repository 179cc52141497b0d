"""Workflow runs, their jobs and artifacts, and files of a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import requests
from github.GithubException import GithubException

from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError
from hut_ci.forges import trouble
from hut_ci.forges.download import download
from hut_ci.forges.fields import as_text
from hut_ci.forges.github import answers
from hut_ci.forges.github.api import SERVICE, GitHubApi
from hut_ci.model import BuildJob, BuildProduct, BuildRun, PullRequest

ACTIONS = "`actions: read`"
CONTENTS = "`contents: read`"
PULLS = "`pull-requests: read`"
RECENT = 200
"""Runs that are looked through when the server's filter by commit finds nothing (it is known to fail)."""


@dataclass(frozen=True, slots=True)
class GitHubBuilds:
    """Where the builds of one repository are found. Every method raises ArtifactError where GitHub does not answer.

    `own_run` and `own_sha` are GITHUB_RUN_ID and GITHUB_SHA of the job that we run in, if any: the one case in which
    it is known what a pull request's build had checked out.
    """

    api: GitHubApi
    deadline: Deadline
    own_run: str | None = None
    own_sha: str | None = None
    forge: ClassVar[str] = "github"
    gives_digests: ClassVar[bool] = True

    def runs(self, sha: str) -> list[BuildRun]:
        """The runs of a commit; where the filter finds none, those among the latest ones."""
        with self._asking(f"list the runs of {sha[:12]}", ACTIONS):
            found = [answers.build_run(run) for run in self.api.pages("actions/runs", "workflow_runs", head_sha=sha)]
            if not found:
                latest = self.api.pages("actions/runs", "workflow_runs")
                found = [answers.build_run(run) for run in islice(latest, RECENT)]
        return [run for run in found if run.head_sha == sha]

    def run(self, run_id: str, _sha: str) -> BuildRun:
        with self._asking(f"look at run {run_id}", ACTIONS):
            run = answers.build_run(self.api.get(f"actions/runs/{quote(run_id, safe='')}"))
        return replace(run, built_sha=self.own_sha) if run.id == self.own_run and self.own_sha else run

    def products(self, run: BuildRun) -> list[BuildProduct]:
        with self._asking(f"list the artifacts of run {run.id}", ACTIONS):
            return [answers.build_product(a) for a in self.api.pages(f"actions/runs/{run.id}/artifacts", "artifacts")]

    def jobs(self, run: BuildRun) -> list[BuildJob]:
        with self._asking(f"list the jobs of run {run.id}", ACTIONS):
            return [answers.build_job(job) for job in self.api.pages(f"actions/runs/{run.id}/jobs", "jobs")]

    def download(self, product: BuildProduct, into: Path, on_progress: Callable[[int, int], None]) -> None:
        with self._asking(f"download the artifact {product.name}", ACTIONS):
            download(
                self.api.absolute(f"actions/artifacts/{product.id}/zip"),
                self.api.credentials,
                into,
                session=self.api.session,
                deadline=self.deadline,
                refuse=lambda response: self._refused(product, response),
                on_progress=on_progress,
            )

    def key(self, product: BuildProduct) -> str:
        return f"{self.api.address.api} {self.api.address.name} {product.id}"

    def file(self, path: str, ref: str) -> bytes | None:
        """The content of a file at a commit or branch, `HEAD` for the default branch; None where there is none."""
        with self._asking(f"read {path} at {ref[:12]}", CONTENTS):
            try:
                data = self.api.get(f"contents/{quote(path)}", ref=None if ref == "HEAD" else ref)
            except GithubException as error:
                if error.status != 404:
                    raise
                return None
            return answers.content(data)

    def knows(self, ref: str) -> bool:
        """Whether a commit or branch can be read with the right that its files need."""
        with self._asking(f"look at {ref[:40]}", CONTENTS):
            try:
                self.api.get(f"commits/{quote(ref, safe='')}")
            except GithubException as error:
                if error.status not in (404, 422):
                    raise
                return False
            return True

    def pull_request(self, number: int) -> PullRequest:
        with self._asking(f"look at pull request {number}", PULLS):
            return answers.pull_request(self.api.get(f"pulls/{number}"))

    def recent_commits(self, since_utc: str) -> Iterator[str]:
        """Commits that were built since then, and heads of pull requests that were spoken of, each once.

        A build may be older than the question about it. What became of a branch does not matter. The requests are
        listed when it is their turn.
        """
        built = self._built(since_utc)
        yield from built
        yield from (sha for sha in self._discussed(since_utc) if sha not in built)

    def _built(self, since_utc: str) -> list[str]:
        with self._asking("list the latest runs", ACTIONS):
            runs = self.api.pages("actions/runs", "workflow_runs", created=f">={since_utc}")
            return list(dict.fromkeys(as_text(run["head_sha"]) for run in runs))

    def _discussed(self, since_utc: str) -> list[str]:
        with self._asking("list the latest pull requests", PULLS):
            newest_first = self.api.pages("pulls", state="all", sort="updated", direction="desc")
            recent = takewhile(lambda pull: as_text(pull["updated_at"]) >= since_utc, newest_first)
            return list(dict.fromkeys(as_text(pull["head"]["sha"]) for pull in recent))

    def _asking(self, doing: str, needs: str) -> Any:
        return self.api.asking(ArtifactError, doing, needs)

    def _refused(self, product: BuildProduct, response: requests.Response) -> Exception:
        if response.status_code == 410:
            return ArtifactError(
                f"the artifact {product.name} has expired",
                why="the forge deletes artifacts after some weeks",
                todo="run the build again",
            )
        return trouble.refusal(
            ArtifactError,
            service=SERVICE,
            address=self.api.address,
            doing=f"download the artifact {product.name}",
            needs=ACTIONS,
            status=response.status_code,
            headers=dict(response.headers),
        )
