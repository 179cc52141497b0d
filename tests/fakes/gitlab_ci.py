"""GitLab's CI as the fake keeps it: pipelines, their jobs, the external statuses that join them, runners."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from fakes.changing import Changing
from fakes.gitlab_time import When, moment_of, stamp

if TYPE_CHECKING:
    from fakes.gitlab_state import Project, User

PIPELINE_STATES = (
    "created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running", "success", "failed",
    "canceling", "canceled", "skipped", "manual", "scheduled",
)  # fmt: skip
DONE = frozenset({"success", "failed", "canceled", "skipped"})
UNSTARTED = frozenset({"created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "scheduled"})


class Job(Changing):
    """A job of GitLab's own CI. `artifacts` are the bytes of its archive."""

    shown_by = ("list_pipeline_jobs", "get_job")

    def __init__(self, pipeline: Pipeline, name: str, **values: Any) -> None:
        self.pipeline = pipeline
        self.name = name
        self.id: int = values.pop("id")
        self.stage: str = values.pop("stage")
        self.status: str = values.pop("status")
        self.created: str = stamp(values.pop("created") or pipeline.created)
        self.started_given: When = values.pop("started")
        self.finished_given: When = values.pop("finished")
        self.artifacts: bytes | None = values.pop("artifacts")
        self.artifacts_filename: str = values.pop("artifacts_filename")
        self.artifacts_expire_at: When = values.pop("artifacts_expire_at")
        self.artifacts_locked: bool = values.pop("artifacts_locked")
        self.retried: bool = values.pop("retried")
        self.allow_failure: bool = values.pop("allow_failure")
        self.failure_reason: str | None = values.pop("failure_reason")
        self.tags: list[str] = list(values.pop("tags"))
        self.runner: Runner | None = values.pop("runner")
        assert not values, values

    @property
    def started(self) -> str | None:
        if self.started_given is not None:
            return stamp(self.started_given)
        return None if self.status in UNSTARTED or self.status in ("skipped", "manual") else self.created

    @property
    def finished(self) -> str | None:
        if self.finished_given is not None:
            return stamp(self.finished_given)
        return self.started if self.status in DONE else None

    @property
    def expired(self) -> bool:
        expiry = self.artifacts_expire_at
        return expiry is not None and moment_of(stamp(expiry)) <= datetime.now(UTC)

    @property
    def archive(self) -> bytes | None:
        """What a download gets: an expired archive is deleted, unless it is locked (the ref's latest are kept)."""
        return None if self.expired and not self.artifacts_locked else self.artifacts


@dataclass
class Status:
    """An external status: a job that GitLab does not run (GenericCommitStatus)."""

    id: int
    pipeline: Pipeline
    name: str
    ref: str
    author: User
    created: str
    status: str = "created"
    target_url: str | None = None
    description: str | None = None
    coverage: float | None = None
    started: str | None = None
    finished: str | None = None
    retried: bool = False


def composite(states: Iterable[str]) -> str:
    """The status of a pipeline whose jobs have these (lib/gitlab/ci/status/composite.rb, without warnings)."""
    seen = set(states)
    for result, only in (
        ("skipped", {"skipped"}),
        ("created", {"created"}),
        ("success", {"success", "skipped"}),
        ("canceled", {"canceled", "success", "skipped"}),
        ("pending", {"pending", "created", "skipped"}),
    ):
        if seen <= only:
            return result
    for result, trigger in (("running", {"running", "pending"}), ("manual", {"manual"}), ("running", {"created"})):
        if seen & trigger:
            return result
    return "failed"


class Pipeline(Changing):
    """A pipeline. Its status is that of its jobs (as given or set) joined with the external statuses posted to it."""

    shown_by = ("list_pipelines", "get_pipeline")

    def __init__(self, project: Project, **values: Any) -> None:
        self.project = project
        self.id: int = values.pop("id")
        self.iid: int = values.pop("iid")
        self.project_id: int = values.pop("project_id") or project.id
        self.sha: str = values.pop("sha")
        self.ref: str = values.pop("ref")
        self.source: str = values.pop("source")
        self.created: str = stamp(values.pop("created"))
        self.updated_given: When = values.pop("updated")
        self.started_given: When = values.pop("started")
        self.finished_given: When = values.pop("finished")
        self.user: User = values.pop("user")
        self.name: str | None = values.pop("name")
        self.tag: bool = values.pop("tag")
        self.yaml_errors: str | None = values.pop("yaml_errors")
        self.jobs_status: str | None = values.pop("status")
        self.variables: dict[str, str] = {}
        self.jobs: list[Job] = []
        self.statuses: list[Status] = []
        assert not values, values

    @property
    def status(self) -> str:
        external = [status.status for status in self.statuses if not status.retried]
        if not external:
            return self.jobs_status or "created"
        return composite([*external, *([self.jobs_status] if self.jobs_status else [])])

    @status.setter
    def status(self, value: str) -> None:
        self.jobs_status = value
        self.updated_given = stamp()

    @property
    def updated(self) -> str:
        return stamp(self.updated_given or self.created)

    @property
    def started(self) -> str | None:
        if self.started_given is not None:
            return stamp(self.started_given)
        return None if self.status in UNSTARTED or self.status in ("skipped", "manual") else self.created

    @property
    def finished(self) -> str | None:
        if self.finished_given is not None:
            return stamp(self.finished_given)
        return self.updated if self.status in DONE else None

    def add_job(
        self, name: str, *, stage: str = "build", status: str = "success", artifacts: bytes | None = None,
        artifacts_filename: str = "artifacts.zip", artifacts_expire_at: When = None, artifacts_locked: bool = False,
        created: When = None, started: When = None, finished: When = None, retried: bool = False,
        allow_failure: bool = False, failure_reason: str | None = None, tags: Iterable[str] = (),
        runner: Runner | None = None, id: int | None = None,
    ) -> Job:  # fmt: skip
        """A job with its archive, if any. `retried`: a newer job of the name has replaced it."""
        job = Job(
            self, name, id=id or self.project.numbers.take("job"), stage=stage, status=status, created=created,
            started=started, finished=finished, artifacts=artifacts, artifacts_filename=artifacts_filename,
            artifacts_expire_at=artifacts_expire_at, artifacts_locked=artifacts_locked, retried=retried,
            allow_failure=allow_failure, failure_reason=failure_reason, tags=tags, runner=runner,
        )  # fmt: skip
        self.jobs.append(job)
        return job


@dataclass
class Runner:
    id: int
    description: str
    tags: list[str]
    status: Literal["online", "offline", "stale", "never_contacted"] = "online"
    paused: bool = False
    type: Literal["project_type", "group_type", "instance_type"] = "project_type"
    created: str = field(default_factory=stamp)
    busy: bool = False
