"""Which run, which artifact, and may it be used: decided from what a forge answered, without asking it anything.

A server's own filters are repeated here, because some answer with too much and some with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from hut_ci.errors import ArtifactError, BuildRunning
from hut_ci.model import ArtifactSelector, BuildJob, BuildProduct, BuildRun, BuildState, Project, Variant
from hut_ci.reports.escaping import cut, plain

EVENTS = (
    *("push", "pull_request", "merge_request_event", "merge_group"),
    *("workflow_dispatch", "web", "api", "trigger", "schedule"),
)
"""Events (GitHub) and pipeline sources (GitLab) whose builds are taken, the best first: a push builds the commit
itself, a pull request usually its merge with the base. `pull_request_target` and `workflow_run` build the base."""
SKEW = timedelta(seconds=2)  # the API gives whole seconds, rounded by different hosts
SHOWN = 12
_CALLED_OFF = frozenset({BuildState.CANCELLED, BuildState.SKIPPED, BuildState.AWAITING_APPROVAL})
_ENDED_BADLY = frozenset({BuildState.FAILED, BuildState.CANCELLED, BuildState.SKIPPED, BuildState.AWAITING_APPROVAL})


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


def selector_of(project: Project, variant: Variant) -> ArtifactSelector:
    """The variant's own selector, else the project's."""
    return variant.artifact or project.artifact


def wanted_of(
    project: Project, variant: Variant, commit_sha: str, *, allow_fork: bool = False, run_id: str | None = None
) -> Wanted:
    """What hut.yml says of the artifact of `variant`, for one commit."""
    others = tuple(other.name for other in project.variants if other.name != variant.name)
    return Wanted(commit_sha, selector_of(project, variant), variant.name, allow_fork, run_id, others)


# --- the run ---------------------------------------------------------------------------------------------


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
    names = _listed({run.head_name or run.head_repository for run in runs})
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
            f"commit {wanted.short} has runs of {len(seen)} workflows: {_listed(seen)}",
            why="which of them builds the firmware is not said",
            todo="name it in hut.yml, like `artifact: {workflow: .github/workflows/build.yml}`",
        )
    found = [run for run in runs if path is None or run.workflow == path]
    if found:
        return found
    raise ArtifactError(
        f"no run of {path} for commit {wanted.short}; there are runs of {_listed(seen)}",
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
            f"commit {wanted.short} was built only by {_listed({run.event for run in runs})}",
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
    shown = _listed([f"{run.id} ({run.event}, {run.branch or 'no branch'}, {run.state})" for run in runs])
    raise ArtifactError(
        f"{len(runs)} runs built commit {wanted.short}: {shown}",
        why="which of them is meant cannot be told",
        todo="name one: `--run-id ID`",
    )


# --- the artifact ------------------------------------------------------------------------------------------


def choose_product(run: BuildRun, products: Iterable[BuildProduct], wanted: Wanted) -> BuildProduct:
    """The one artifact of `run` that is asked for. Raises ArtifactError, or BuildRunning where it may still come."""
    offered = list(products)
    found = _latest_attempt(run, _matching(offered, run, wanted))
    usable = [product for product in found if not product.expired]
    if not found:
        _no_product(run, offered, wanted)
    if not usable:
        raise ArtifactError(
            f"the artifact {_shown(found[0].name)} of commit {wanted.short} has expired",
            why="the forge deletes artifacts after some weeks",
            todo=f"run the build again ({run.url or run.id}); `retention-days` or `expire_in` keeps them longer",
        )
    if len(usable) == 1:
        return usable[0]
    raise ArtifactError(
        f"{len(usable)} artifacts of run {run.id} fit: {_listed([product.name for product in usable])}",
        why="which of them is meant cannot be told",
        todo='name one in hut.yml, like `artifact: "firmware-{variant}-*"`',
    )


def name_pattern(wanted: Wanted, run: BuildRun) -> Callable[[str], bool] | None:
    """Whether a name fits `artifact.name`; None where hut.yml names none."""
    pattern = wanted.selector.name
    return _glob(pattern, run, wanted) if pattern else None


def _matching(products: list[BuildProduct], run: BuildRun, wanted: Wanted) -> list[BuildProduct]:
    """By `job` and `name`; without both, every artifact of the default variant, or those that hold its name."""
    selector = wanted.selector
    by_job = _glob(selector.job, run, wanted) if selector.job else None
    of_job = [p for p in products if by_job is None or p.job is None or by_job(p.job.name)]
    of_job = [product for product in of_job if not _is_anothers(product.name, wanted)]
    if by_name := name_pattern(wanted, run):
        return [product for product in of_job if by_name(product.name)]
    if wanted.variant == "default" or (by_job is not None and any(product.job for product in of_job)):
        return of_job
    exact = [product for product in of_job if product.name == wanted.variant]
    return exact or [product for product in of_job if _holds_word(product.name, wanted.variant)]


def _is_anothers(name: str, wanted: Wanted) -> bool:
    """Whether a name belongs to a variant that is called more than ours: `i2s-debug` where `i2s` is wanted."""
    longer = [other for other in wanted.others if _holds_word(other, wanted.variant) and other != wanted.variant]
    return any(_holds_word(name, other) for other in longer)


def _latest_attempt(run: BuildRun, products: list[BuildProduct]) -> list[BuildProduct]:
    """A run that was started again keeps the artifacts of its earlier attempts: of one name the newest counts."""
    if run.attempt == 1:
        return products
    newest: dict[str, BuildProduct] = {}
    for product in sorted(products, key=lambda product: product.created_utc or ""):
        newest[product.name] = product
    return list(newest.values())


def _no_product(run: BuildRun, offered: list[BuildProduct], wanted: Wanted) -> NoReturn:
    selector = wanted.selector
    asked = selector.name or selector.job or (wanted.variant if wanted.variant != "default" else "any name")
    names = _listed(sorted({product.name for product in offered})) if offered else "none at all"
    kind, why = ArtifactError, "the name in hut.yml differs, or that leg of the build uploaded nothing"
    match run.state:
        case BuildState.RUNNING:
            kind, why = BuildRunning, "the build is still running"
        case BuildState.FAILED:
            why = "the build failed"
        case BuildState.CANCELLED:
            why = "the build was cancelled"
        case BuildState.SKIPPED:
            why = "the build was skipped: a condition in the workflow was not met"
        case BuildState.AWAITING_APPROVAL:
            why = "the build awaits approval: a maintainer has to let a stranger's workflow run"
    raise kind(
        f"{why}: no artifact {_shown(asked)} in run {run.id} of commit {wanted.short}; it has: {names}"
        if run.state in (*_ENDED_BADLY, BuildState.RUNNING)
        else f"no artifact {_shown(asked)} in run {run.id} of commit {wanted.short}; it has: {names}",
        why=why,
        todo=f"look at {run.url}" if run.url else "look at the run, and at `artifact:` in hut.yml",
    )


# --- the job that made it ----------------------------------------------------------------------------------


def check_producer(run: BuildRun, product: BuildProduct, jobs: Sequence[BuildJob], wanted: Wanted) -> None:
    """Refuse an artifact whose job has not succeeded; one failed leg of a matrix does not block the others.

    `jobs` are those of the latest attempt. Not needed where the whole run succeeded. Raises ArtifactError, or
    BuildRunning while the job runs.
    """
    makers = [product.job] if product.job else _makers(run, product, jobs, wanted)
    for state in (BuildState.RUNNING, *_ENDED_BADLY):
        if bad := [job for job in makers if job.state is state]:
            kind = BuildRunning if state is BuildState.RUNNING else ArtifactError
            words = "is still running" if state is BuildState.RUNNING else f"ended as {state}"
            raise kind(
                f"the job {_shown(bad[0].name)}, which made {_shown(product.name)}, {words}",
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
        named = [job for job in jobs if _glob(wanted.selector.job, run, wanted)(job.name)]
        if named and product.created_utc and not any(_ran_at(job, product.created_utc, SKEW) for job in named):
            raise _left_over(run, product)
        if not named:
            raise ArtifactError(
                f"no job {_shown(wanted.selector.job)} in run {run.id}; there are: {_listed([j.name for j in jobs])}",
                why="`artifact.job` of hut.yml names another job",
                todo="correct it; `{variant}` and `*` may stand in it",
            )
        return named
    running_then = _running_at(jobs, product.created_utc)
    if not running_then:
        raise _left_over(run, product)
    if len({job.state for job in running_then}) > 1:
        by_values = [job for job in running_then if _values(job.name) and _all_words(product.name, _values(job.name))]
        nameless = [job for job in running_then if job.state is not BuildState.SUCCESS and not _values(job.name)]
        if len(by_values) != 1 or nameless:  # a job without matrix values may have made anything
            raise ArtifactError(
                f"which job of run {run.id} made {_shown(product.name)} cannot be told, and not all succeeded: "
                + _listed([f"{job.name} ({job.state})" for job in running_then]),
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
    return (strict + [job for job in close if job not in strict and job.state in _ENDED_BADLY]) if strict else close


def _left_over(run: BuildRun, product: BuildProduct) -> ArtifactError:
    return ArtifactError(
        f"{_shown(product.name)} in run {run.id} is left over from an earlier attempt",
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


# --- names -------------------------------------------------------------------------------------------------


def _glob(pattern: str, run: BuildRun, wanted: Wanted) -> Callable[[str], bool]:
    """`*` matches any text; `{sha}`, `{short_sha}`, `{variant}` and `{branch}` stand for themselves.

    Linear in the name: the pieces between the stars are looked for from left to right. A branch's `/` is missing or
    another character in an artifact's name, so that {branch} is compared without it.
    """
    pieces = [piece.casefold() for piece in _filled(pattern, run, wanted).split("*")]

    def fits(name: str) -> bool:
        text = _flat(name)
        first, last = _flat(pieces[0]), _flat(pieces[-1])
        if len(pieces) == 1:
            return text == first
        if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in map(_flat, pieces[1:-1]):
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return fits


def _flat(text: str) -> str:
    """Names are compared without regard to case, and without the characters that a forge takes out of a branch."""
    return text.casefold().replace("/", "")


def _filled(pattern: str, run: BuildRun, wanted: Wanted) -> str:
    values = {
        "{sha}": wanted.commit_sha,
        "{short_sha}": wanted.commit_sha[:7],
        "{variant}": wanted.variant,
        "{branch}": run.branch or "",
    }
    for name, value in values.items():
        pattern = pattern.replace(name, value.replace("*", ""))
    return pattern


def _holds_word(name: str, word: str) -> bool:
    return re.search(rf"(?:^|[-_. ]){re.escape(word.casefold())}(?:[-_. ]|$)", name.casefold()) is not None


def _all_words(name: str, words: Iterable[str]) -> bool:
    return all(_holds_word(name, word) for word in words)


def _shown(text: str) -> str:
    return cut(plain(text), 80)


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names) if isinstance(names, set) else names
    shown = [_shown(name) or "(no name)" for name in ordered]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
