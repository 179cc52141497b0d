"""The run of one job of the spool: the same path as `hut-ci run`, but hut.yml and artifact lie beside the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hut_ci.errors import Refused

if TYPE_CHECKING:
    from hut_ci.deadline import Deadline
    from hut_ci.model import Artifact, Lab, Request, Watched
    from hut_ci.stages.build_choice import Wanted
    from hut_ci.stages.project_source import Found
    from hut_ci.watch.spool import HandedOver


def run_job(lab_path: Path | None, name: str, out: Path) -> int:
    """Run the job NAME of the lab's spool, with its report in `out`; the exit code is the verdict's."""
    from hut_ci.cli import composition
    from hut_ci.cli.progress import listener
    from hut_ci.run import run
    from hut_ci.watch import spool
    from hut_ci.watch.bench import ENDED

    lab = composition.lab_at(lab_path)
    request = spool.read_request(lab.spool, name)
    options = _options(request)
    order = replace(
        composition.order(lab, request.pairs[0].slot, options), wait=lab.max_run_seconds, hut=None, build=None
    )
    with listener("none") as on_event, composition.tools(order, out, options, on_event) as (tools, _delivery):
        job = _Job(lab, name, order.work)
        mine = replace(tools, project=job.project, find=job.find)
        watched = lab.watched(request.builds)
        if watched is not None and watched.baseline is not None:
            from hut_ci.cli.watch_baseline import between_baselines

            report = between_baselines(watched.baseline, order, mine)
        else:
            report = run(order, mine)
    if report.verdict.evidence.id not in ("cancelled", "killed"):
        (out / ENDED).touch()
    return report.verdict.exit_code


class _Job:
    """What a run asks for its build, answered from the spool; nothing of it is believed before it was checked."""

    def __init__(self, lab: Lab, name: str, work: Path) -> None:
        self._lab, self._name, self._work = lab, name, work
        self._taken: HandedOver | None = None

    def _job(self) -> HandedOver:
        """Raises ConfigError or Refused, inside the run, so that its report says so."""
        from hut_ci.watch import spool

        if self._taken is None:
            taken = spool.take_over(self._lab.spool, self._name, self._work)
            check_allowed(self._lab, taken.request)
            self._taken = taken
        return self._taken

    def project(self) -> Found:
        from hut_ci import config
        from hut_ci.model import Project
        from hut_ci.stages.project_source import Found

        job = self._job()
        known = config.project_from_bytes(job.project, job.project_name) if job.project is not None else Project()
        return Found(known, job.changed, job.notes, job.of_commit)

    def find(
        self, _wanted: Wanted, _work: Path, _deadline: Deadline, _say: Callable[[str, float | None], None]
    ) -> Artifact:
        return self._job().artifact


def check_allowed(lab: Lab, request: Request) -> Watched:
    """What lab.yml lets this repository do is checked here once more: the publisher talks to strangers.

    Raises Refused.
    """
    from hut_ci.watch.decide import allowed

    watched = lab.watched(request.builds)
    if watched is None:
        raise Refused(f"lab.yml does not name {request.builds}", todo="add it to `projects:`")
    slot = request.pairs[0].slot
    if slot not in [entry.id for entry in allowed(lab.slots, watched)]:
        raise Refused(f"{watched.address} may not use {slot}", todo="add it to the `slots:` of that repository")
    if request.forks_allowed and watched.forks != "asked":
        raise Refused(f"builds of forks of {watched.address} are not tested here", todo="`forks: asked` allows it")
    return watched


def _options(request: Request) -> dict[str, Any]:
    """What `hut-ci run` would have been given."""
    return {
        "build": None,
        "hut": None,
        "variant": request.pairs[0].variant,
        "commit": request.commit_sha,
        "repository": request.repository,
        "run_url": request.run_url,
        "wait": 0.0,
        "limit": None,
        "pull_request": request.pull_request,
        "run_id": request.run_id,
        "allow_fork": request.forks_allowed,
        "skip_tested": request.skip_tested,
        "not_after": request.not_after,
        "base_ref": request.base_ref,
        "request_digest": request.digest,
        "forge": None,
        "publish": ("none",),
        "named_context": request.pairs[0].context,
        "comment": "never",
    }
