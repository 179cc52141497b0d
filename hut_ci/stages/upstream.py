"""The artifact of exactly one commit from a forge: wait for its build, choose, check who made it, fetch, verify.

Nothing here holds a slot: it all happens before one is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hut_ci.artifact_cache import ArtifactCache
from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError, BuildRunning
from hut_ci.model import Artifact, BuildJob, BuildProduct, BuildRun
from hut_ci.stages.build_choice import NoRun, Wanted, check_run, choose_run
from hut_ci.stages.producer import check_producer, needs_jobs
from hut_ci.stages.product_choice import choose_product

POLL_SECONDS = (1.0, 15.0)
"""First and longest pause between two looks at a running build: an hour's wait costs 240 of 5,000 calls."""

Say = Callable[[str, float | None], None]


class BuildSource(Protocol):
    """A forge, as far as builds are concerned. Every method raises ArtifactError where it does not answer.

    `gives_digests` says whether artifacts have a digest that can be compared; `key` tells one artifact from all
    others of all forges.
    """

    @property
    def forge(self) -> str: ...
    @property
    def gives_digests(self) -> bool: ...
    def runs(self, sha: str) -> Sequence[BuildRun]: ...
    def run(self, run_id: str, sha: str) -> BuildRun: ...
    def products(self, run: BuildRun) -> Sequence[BuildProduct]: ...
    def jobs(self, run: BuildRun) -> Sequence[BuildJob]: ...
    def download(self, product: BuildProduct, into: Path, on_progress: Callable[[int, int], None]) -> None: ...
    def key(self, product: BuildProduct) -> str: ...


@dataclass(frozen=True, slots=True)
class Fetching:
    """Where downloads go and what is allowed: `wait_build` seconds for a running build, artifacts without a digest."""

    cache: ArtifactCache
    folder: Path
    wait_build: float
    wait_for_first: bool = False
    allow_undigested: bool = False


def find(
    source: BuildSource,
    wanted: Wanted,
    fetching: Fetching,
    deadline: Deadline,
    say: Say,
    sleep: Callable[[float], None] = time.sleep,
) -> Artifact:
    """The verified artifact on disk. Raises ArtifactError with what exactly is not there."""
    run, product = _awaited(source, wanted, fetching, deadline.within(fetching.wait_build), say, sleep)
    digest = _digest(source, product, fetching)
    say(f"artifact {product.name} of run {run.id}", None)
    into = fetching.folder / "artifact"
    kept = fetching.cache.fetch(
        source.key(product),
        digest,
        into,
        lambda path: source.download(product, path, lambda done, total: _tell(say, product, done, total)),
        deadline=deadline,
        on_wait=lambda text: say(text, None),
    )
    if kept.hit:
        say(f"artifact {product.name}: already here, its digest is right", None)
    return Artifact(
        source="upstream_artifact",
        name=product.name,
        digest=kept.digest,
        path=kept.path,
        forge=source.forge,
        run_id=run.id,
        artifact_id=product.id,
        commit_sha=wanted.commit_sha,
        built_sha=run.built_sha,
        run_url=run.url,
        event=run.event,
        attempt=run.attempt,
        size=kept.path.stat().st_size,
        cached=kept.hit,
        notes=_notes(run),
    )


def look(source: BuildSource, wanted: Wanted) -> tuple[BuildRun, BuildProduct]:
    """One look at the forge: run and artifact. Raises ArtifactError, or BuildRunning where waiting helps."""
    if wanted.run_id is not None:
        run = check_run(source.run(wanted.run_id, wanted.commit_sha), wanted)
    else:
        run = choose_run(source.runs(wanted.commit_sha), wanted)
    product = choose_product(run, source.products(run), wanted)
    jobs = source.jobs(run) if needs_jobs(run, product) else ()
    if jobs or product.job:
        check_producer(run, product, jobs, wanted)
    elif needs_jobs(run, product):
        raise ArtifactError(f"run {run.id} has no jobs", why="the forge answers with none", todo="run the build again")
    return run, product


def _awaited(
    source: BuildSource,
    wanted: Wanted,
    fetching: Fetching,
    waiting: Deadline,
    say: Say,
    sleep: Callable[[float], None],
) -> tuple[BuildRun, BuildProduct]:
    pause, longest = POLL_SECONDS
    while True:
        try:
            return look(source, wanted)
        except ArtifactError as error:
            if not _may_come(error, fetching) or waiting.expired:
                raise
            say(f"waiting for the build, {waiting.elapsed:.0f} s so far: {error.what}", None)
        sleep(min(pause, waiting.remaining))
        pause = min(2 * pause, longest)


def _may_come(error: ArtifactError, fetching: Fetching) -> bool:
    return isinstance(error, BuildRunning) or (fetching.wait_for_first and isinstance(error, NoRun))


def _digest(source: BuildSource, product: BuildProduct, fetching: Fetching) -> str | None:
    """What the bytes have to have. A forge that gives digests has to give one for this artifact too."""
    if product.digest is not None or not source.gives_digests or fetching.allow_undigested:
        return product.digest
    raise ArtifactError(
        f"the artifact {product.name} has no digest",
        why="it was uploaded by a version of upload-artifact before 4",
        todo="update the upload step; or take it unverified: `--allow-undigested`",
    )


def _notes(run: BuildRun) -> tuple[str, ...]:
    if run.built_sha is not None:
        return ()
    return (f"built on {run.event}: a merge of this commit with its base, the forge does not say which",)


def _tell(say: Say, product: BuildProduct, done: int, total: int) -> None:
    of = f" of {total // 1024}" if total else ""
    say(f"downloading {product.name}: {done // 1024}{of} KiB", 100.0 * done / total if total else None)
