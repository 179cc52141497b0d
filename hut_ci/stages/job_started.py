"""May this job begin on this host? Decided from what the runner says of it, without any I/O.

GitHub's runner sets the variables itself, after the workflow's own `env:`; see "Running scripts before or after a
job" and "Default environment variables" in its documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hut_ci.errors import Refused
from hut_ci.model import AllowedJob
from hut_ci.reports.escaping import cut, plain

SHOWN = 120
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_WORKFLOW_REF = re.compile(r"([^/@]+/[^/@]+)/(\.github/workflows/[A-Za-z0-9._-]+)@(refs/[!-~]{1,300})")
_EVENT = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class StartedJob:
    """`workflow_ref` is the ref that the workflow file came from, `ref` what the event is about."""

    repository: str
    workflow: str
    workflow_ref: str
    ref: str
    event: str


def started_job(environ: Mapping[str, str]) -> StartedJob:
    """The job that the runner is about to begin. Raises Refused for a variable that is missing or odd."""
    repository = _said(environ, "GITHUB_REPOSITORY", _REPOSITORY)[0]
    whose, workflow, workflow_ref = _said(environ, "GITHUB_WORKFLOW_REF", _WORKFLOW_REF).groups()
    if whose.lower() != repository.lower():
        raise _refused(f"the workflow is {whose}'s, the job {repository}'s")
    event = _said(environ, "GITHUB_EVENT_NAME", _EVENT)[0]
    ref = _said(environ, "GITHUB_REF", re.compile(r"refs/[!-~]{1,300}"))[0]
    return StartedJob(repository, workflow, workflow_ref, ref, event)


def check_job(job: StartedJob, allowed: Iterable[AllowedJob]) -> None:
    """Raises Refused unless one entry names the repository, the file, both refs and the event."""
    if not any(_fits(job, entry) for entry in allowed):
        raise _refused(f"{job.event} of {job.repository}, {job.workflow} from {job.workflow_ref}, about {job.ref}")


def _fits(job: StartedJob, entry: AllowedJob) -> bool:
    return (
        job.repository.lower() == entry.repository.lower()
        and job.workflow == entry.workflow
        and job.event in entry.events
        and all(any(_matches(ref, pattern) for pattern in entry.refs) for ref in (job.workflow_ref, job.ref))
    )


def _matches(ref: str, pattern: str) -> bool:
    """`*` is anything within one part of the ref, so that `refs/heads/*` is no pull request and no `a/b`."""
    parts, wanted = ref.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        re.fullmatch(".*".join(map(re.escape, want.split("*"))), part) for part, want in zip(parts, wanted, strict=True)
    )


def _said(environ: Mapping[str, str], name: str, form: re.Pattern[str]) -> re.Match[str]:
    value = environ.get(name, "")
    found = form.fullmatch(value)
    if found is None:
        raise _refused(f"{name} is {value!r}" if value else f"{name} is not set")
    return found


def _refused(what: str) -> Refused:
    return Refused(
        f"this host does not run this job: {cut(plain(what), SHOWN * 4)}",
        why="its repository, workflow file, ref and event are not on the host's allow-list",
        todo="whoever runs the host can add it: `runner: {allow: …}` in lab.yml",
    )
