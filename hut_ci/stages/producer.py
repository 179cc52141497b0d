"""The job that made an artifact, and whether it has succeeded: decided without asking a forge anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from hut_ci.errors import ArtifactError, BuildRunning
from hut_ci.model import BuildJob, BuildProduct, BuildRun, BuildState
from hut_ci.stages.build_choice import Wanted
from hut_ci.stages.build_names import all_words, glob, listed, shown

SKEW = timedelta(seconds=2)  # the API gives whole seconds, rounded by different hosts
ENDED_BADLY = (BuildState.FAILED, BuildState.CANCELLED, BuildState.SKIPPED, BuildState.AWAITING_APPROVAL)


def check_producer(run: BuildRun, product: BuildProduct, jobs: Sequence[BuildJob], wanted: Wanted) -> None:
    """Refuse an artifact whose job has not succeeded; one failed leg of a matrix does not block the others.

    `jobs` are those of the latest attempt. Not needed where the whole run succeeded. Raises ArtifactError, or
    BuildRunning while the job runs.
    """
    makers = [product.job] if product.job else _makers(run, product, jobs, wanted)
    for state in (BuildState.RUNNING, *ENDED_BADLY):
        if bad := [job for job in makers if job.state is state]:
            kind = BuildRunning if state is BuildState.RUNNING else ArtifactError
            words = "is still running" if state is BuildState.RUNNING else f"ended as {state}"
            raise kind(
                f"the job {shown(bad[0].name)}, which made {shown(product.name)}, {words}",
                why="an artifact counts only when its job has succeeded",
                todo=f"look at {run.url or f'run {run.id}'}",
            )


def needs_jobs(run: BuildRun, product: BuildProduct) -> bool:
    """Whether the jobs have to be asked for: the run did not succeed, or the artifact may be an older attempt's."""
    if product.job is not None:
        return False
    return run.state is not BuildState.SUCCESS or _is_older(run, product)


def _is_older(run: BuildRun, product: BuildProduct) -> bool:
    return run.attempt > 1 and bool(run.started_utc) and (product.created_utc or "") < (run.started_utc or "")


def _makers(run: BuildRun, product: BuildProduct, jobs: Sequence[BuildJob], wanted: Wanted) -> list[BuildJob]:
    """The jobs that may have made `product`: the one that hut.yml names, else by the clock and by its matrix values.

    GitHub does not say which job uploaded an artifact.
    """
    if wanted.selector.job:
        named = [job for job in jobs if glob(wanted.selector.job, wanted.blanks(run))(job.name)]
        if named and product.created_utc and not any(_ran_at(job, product.created_utc, SKEW) for job in named):
            raise _left_over(run, product)
        if not named:
            raise ArtifactError(
                f"no job {shown(wanted.selector.job)} in run {run.id}; there are: {listed([j.name for j in jobs])}",
                why="`artifact.job` of hut.yml names another job",
                todo="correct it; `{variant}` and `*` may stand in it",
            )
        return named
    running_then = _running_at(jobs, product.created_utc)
    if not running_then:
        raise _left_over(run, product)
    if len({job.state for job in running_then}) > 1:
        by_values = [job for job in running_then if _values(job.name) and all_words(product.name, _values(job.name))]
        nameless = [job for job in running_then if job.state is not BuildState.SUCCESS and not _values(job.name)]
        if len(by_values) != 1 or nameless:  # a job without matrix values may have made anything
            raise ArtifactError(
                f"which job of run {run.id} made {shown(product.name)} cannot be told, and not all succeeded: "
                + listed([f"{job.name} ({job.state})" for job in running_then]),
                why="GitHub does not say which job uploaded an artifact",
                todo='name the job in hut.yml, like `artifact: {job: "build ({variant})", name: ...}`',
            )
        return by_values
    return running_then


def _running_at(jobs: Sequence[BuildJob], instant: str | None) -> list[BuildJob]:
    """The jobs that ran at `instant`. The slack counts where nobody fits, and for those that did not end well.

    A job that starts as another ends is not the other; one that failed as the artifact appears may be its maker.
    """
    strict = [job for job in jobs if _ran_at(job, instant, timedelta())]
    close = [job for job in jobs if _ran_at(job, instant, SKEW)]
    return (strict + [job for job in close if job not in strict and job.state in ENDED_BADLY]) if strict else close


def _left_over(run: BuildRun, product: BuildProduct) -> ArtifactError:
    return ArtifactError(
        f"{shown(product.name)} in run {run.id} is left over from an earlier attempt",
        why="no job of the latest attempt that could have made it was running when it was made",
        todo="start all jobs of the run again, or name the job in hut.yml: `artifact: {job: ...}`",
    )


def _ran_at(job: BuildJob, instant: str | None, slack: timedelta) -> bool:
    if instant is None or job.started_utc is None:
        return False
    at, start = datetime.fromisoformat(instant), datetime.fromisoformat(job.started_utc)
    if at < start - slack:
        return False
    return job.ended_utc is None or at <= datetime.fromisoformat(job.ended_utc) + slack


def _values(job_name: str) -> list[str]:
    """The matrix values in a job's name: `build (esp32, 16)` → esp32, 16."""
    found = re.search(r"\(([^()]*)\)\s*$", job_name)
    return [value.strip() for value in found[1].split(",") if value.strip()] if found else []
