"""Which run built a commit: decided from what a forge answered, without asking it anything.

A server's own filters are repeated here, because some answer with too much and some with nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from hut_ci.errors import ArtifactError
from hut_ci.model import ArtifactSelector, BuildRun, BuildState, Project, Variant
from hut_ci.stages.build_names import listed

EVENTS = (
    *("push", "pull_request", "merge_request_event", "merge_group"),
    *("workflow_dispatch", "web", "api", "trigger", "schedule"),
)
"""Events (GitHub) and pipeline sources (GitLab) whose builds are taken, the best first: a push builds the commit
itself, a pull request usually its merge with the base. `pull_request_target` and `workflow_run` build the base."""
_CALLED_OFF = frozenset({BuildState.CANCELLED, BuildState.SKIPPED, BuildState.AWAITING_APPROVAL})


class NoRun(ArtifactError):
    """The forge knows no run for the commit, so far."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The artifact that a run of ours needs; `run_id` names the build run, where it is known.

    `others` are the other variants of hut.yml: what is named after one of them is not `variant`'s.
    """

    commit_sha: str
    selector: ArtifactSelector
    variant: str
    allow_fork: bool = False
    run_id: str | None = None
    others: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        return self.commit_sha[:12]

    def blanks(self, run: BuildRun) -> dict[str, str]:
        """What may stand in a name of hut.yml's `artifact`, and for what."""
        return {
            "{sha}": self.commit_sha,
            "{short_sha}": self.commit_sha[:7],
            "{variant}": self.variant,
            "{branch}": run.branch or "",
        }


def selector_of(project: Project, variant: Variant) -> ArtifactSelector:
    """The variant's own selector, else the project's."""
    return variant.artifact or project.artifact


def wanted_of(
    project: Project, variant: Variant, commit_sha: str, *, allow_fork: bool = False, run_id: str | None = None
) -> Wanted:
    """What hut.yml says of the artifact of `variant`, for one commit."""
    others = tuple(other.name for other in project.variants if other.name != variant.name)
    return Wanted(commit_sha, selector_of(project, variant), variant.name, allow_fork, run_id, others)


def choose_run(runs: Iterable[BuildRun], wanted: Wanted) -> BuildRun:
    """The one run that built the commit. Raises ArtifactError, or BuildRunning where waiting may help."""
    found = [run for run in runs if run.head_sha == wanted.commit_sha]
    if not found:
        _no_run(wanted)
    found = _without_forks(found, wanted)
    found = _of_workflow(found, wanted)
    return _of_best_event(found, wanted)


def check_run(run: BuildRun, wanted: Wanted) -> BuildRun:
    """The run that was named by its id, if it built the commit. Raises ArtifactError."""
    if wanted.commit_sha not in (run.head_sha, run.built_sha):
        raise ArtifactError(
            f"run {run.id} built {run.head_sha[:12]}, not {wanted.short}",
            why="in a pull request's workflow `github.sha` is the merge commit, the run belongs to the request's head",
            todo="give the head: `github.event.pull_request.head.sha`, `CI_MERGE_REQUEST_SOURCE_BRANCH_SHA`",
        )
    found = _of_workflow(_without_forks([run], wanted), wanted)
    return _of_best_event(found, wanted)


def _no_run(wanted: Wanted) -> NoReturn:
    raise NoRun(
        f"no build has run for commit {wanted.short}",
        why="it is not pushed, no workflow builds it, or it is a pull request's merge commit (builds are filed under "
        "the request's head)",
        todo="look at the commit's checks on the forge; just pushed? `--wait-build 300` waits for the build to appear",
    )


def _without_forks(runs: list[BuildRun], wanted: Wanted) -> list[BuildRun]:
    own = [run for run in runs if wanted.allow_fork or run.head_repository == run.repository]
    if own:
        return own
    names = listed({run.head_name or run.head_repository for run in runs})
    raise ArtifactError(
        f"commit {wanted.short} was built only from a fork ({names})",
        why="a fork's build is a stranger's code, and nobody has allowed it for this commit",
        todo="read the change, then allow exactly this commit: `--allow-fork`",
    )


def _of_workflow(runs: list[BuildRun], wanted: Wanted) -> list[BuildRun]:
    path = wanted.selector.workflow
    seen = {run.workflow for run in runs}
    if path is None and len(seen) > 1:
        raise ArtifactError(
            f"commit {wanted.short} has runs of {len(seen)} workflows: {listed(seen)}",
            why="which of them builds the firmware is not said",
            todo="name it in hut.yml, like `artifact: {workflow: .github/workflows/build.yml}`",
        )
    found = [run for run in runs if path is None or run.workflow == path]
    if found:
        return found
    raise ArtifactError(
        f"no run of {path} for commit {wanted.short}; there are runs of {listed(seen)}",
        why="`artifact.workflow` of hut.yml names another file, or that workflow did not start for this commit",
        todo="correct it, or look at the workflow's `on:`",
    )


def _of_best_event(runs: list[BuildRun], wanted: Wanted) -> BuildRun:
    """The run of the first allowed event that has one which was not called off; two of one event are refused.

    A push whose build failed is not passed over for a pull request's: that one built another commit, the merge.
    """
    events = wanted.selector.events or EVENTS
    grouped = {event: [run for run in runs if run.event == event] for event in events}
    grouped = {event: found for event, found in grouped.items() if found}
    if not grouped:
        raise ArtifactError(
            f"commit {wanted.short} was built only by {listed({run.event for run in runs})}",
            why="the builds of these events are not taken: some check out other code than the commit's",
            todo="if they build this commit, allow them in hut.yml: `artifact: {events: [...]}`",
        )
    alive = [found for found in grouped.values() if any(run.state not in _CALLED_OFF for run in found)]
    group = (alive or list(grouped.values()))[0]
    return _only(_best_state(group), wanted)


def _best_state(runs: list[BuildRun]) -> list[BuildRun]:
    for state in (BuildState.SUCCESS, BuildState.RUNNING):
        if found := [run for run in runs if run.state is state]:
            return found
    return runs


def _only(runs: list[BuildRun], wanted: Wanted) -> BuildRun:
    if len(runs) == 1:
        return runs[0]
    shown = listed([f"{run.id} ({run.event}, {run.branch or 'no branch'}, {run.state})" for run in runs])
    raise ArtifactError(
        f"{len(runs)} runs built commit {wanted.short}: {shown}",
        why="which of them is meant cannot be told",
        todo="name one: `--run-id ID`",
    )
