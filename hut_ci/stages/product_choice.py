"""Which artifact of a build run is the one that is asked for: decided without asking a forge anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from hut_ci.errors import ArtifactError, BuildRunning
from hut_ci.model import BuildProduct, BuildRun, BuildState
from hut_ci.stages.build_choice import Wanted
from hut_ci.stages.build_names import glob, holds_word, listed, shown
from hut_ci.stages.producer import ENDED_BADLY


def choose_product(run: BuildRun, products: Iterable[BuildProduct], wanted: Wanted) -> BuildProduct:
    """The one artifact of `run` that is asked for. Raises ArtifactError, or BuildRunning where it may still come."""
    offered = list(products)
    found = _latest_attempt(run, _matching(offered, run, wanted))
    usable = [product for product in found if not product.expired]
    if not found:
        _no_product(run, offered, wanted)
    if not usable:
        raise ArtifactError(
            f"the artifact {shown(found[0].name)} of commit {wanted.short} has expired",
            why="the forge deletes artifacts after some weeks",
            todo=f"run the build again ({run.url or run.id}); `retention-days` or `expire_in` keeps them longer",
        )
    if len(usable) == 1:
        return usable[0]
    raise ArtifactError(
        f"{len(usable)} artifacts of run {run.id} fit: {listed([product.name for product in usable])}",
        why="which of them is meant cannot be told",
        todo='name one in hut.yml, like `artifact: "firmware-{variant}-*"`',
    )


def name_pattern(wanted: Wanted, run: BuildRun) -> Callable[[str], bool] | None:
    """Whether a name fits `artifact.name`; None where hut.yml names none."""
    pattern = wanted.selector.name
    return glob(pattern, wanted.blanks(run)) if pattern else None


def _matching(products: list[BuildProduct], run: BuildRun, wanted: Wanted) -> list[BuildProduct]:
    """By `job` and `name`; without both, every artifact of the default variant, or those that hold its name."""
    selector = wanted.selector
    by_job = glob(selector.job, wanted.blanks(run)) if selector.job else None
    of_job = [p for p in products if by_job is None or p.job is None or by_job(p.job.name)]
    of_job = [product for product in of_job if not _is_anothers(product.name, wanted)]
    if by_name := name_pattern(wanted, run):
        return [product for product in of_job if by_name(product.name)]
    if wanted.variant == "default" or (by_job is not None and any(product.job for product in of_job)):
        return of_job
    exact = [product for product in of_job if product.name == wanted.variant]
    return exact or [product for product in of_job if holds_word(product.name, wanted.variant)]


def _is_anothers(name: str, wanted: Wanted) -> bool:
    """Whether a name belongs to a variant that is called more than ours: `i2s-debug` where `i2s` is wanted."""
    longer = [other for other in wanted.others if holds_word(other, wanted.variant) and other != wanted.variant]
    return any(holds_word(name, other) for other in longer)


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
    names = listed(sorted({product.name for product in offered})) if offered else "none at all"
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
        f"{why}: no artifact {shown(asked)} in run {run.id} of commit {wanted.short}; it has: {names}"
        if run.state in (*ENDED_BADLY, BuildState.RUNNING)
        else f"no artifact {shown(asked)} in run {run.id} of commit {wanted.short}; it has: {names}",
        why=why,
        todo=f"look at {run.url}" if run.url else "look at the run, and at `artifact:` in hut.yml",
    )
