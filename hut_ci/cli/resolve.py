"""`hut-ci resolve`: the artifact of exactly one commit, as a verified file; no lab, no board."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.build_options import choice_options, pull_request_option

if TYPE_CHECKING:
    from hut_ci.artifact_cache import ArtifactCache
    from hut_ci.deadline import Deadline
    from hut_ci.model import Artifact
    from hut_ci.stages.build_choice import Wanted
    from hut_ci.stages.project_source import Found

EXAMPLES = """
\b
Examples:
  hut-ci resolve --commit $(git rev-parse HEAD) --forge github:acme/firmware
  hut-ci resolve --commit SHA --forge gitlab:acme/firmware --variant muse --json
  hut-ci resolve --commit SHA --forge github:acme/firmware --wait-build 900 --out build

\b
The file is `artifact` in --out, as the forge keeps it: `hut-ci firmware inspect` and
`hut-ci run` take it as it is. Exit code 3: there is no artifact that may be used.
"""
NAME = "artifact"
LIMIT_SECONDS = 900.0
"""For everything but the wait for a running build: reading hut.yml, the choice, the download."""
OUTPUTS = {
    "path": "path",
    "artifact-id": "artifact_id",
    "artifact-name": "artifact_name",
    "artifact-digest": "digest",
    "run-id": "run_id",
    "run-url": "run_url",
    "event": "event",
    "commit-sha": "commit_sha",
    "built-sha": "built_sha",
}
"""What a step of a workflow on GitHub gets: output → fact."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is looked for, as far as its hut.yml has to be found; the artifact always comes from the forge."""

    commit_sha: str
    hut: Path | None
    pull_request: int | None
    base_ref: None = None
    build: None = None


@click.command("resolve", epilog=EXAMPLES)
@click.option("--commit", required=True, metavar="SHA", help="The commit that the build is of: 40 hex digits.")
@click.option(
    "--forge",
    required=True,
    metavar="FORGE",
    help="Where it is built: github:OWNER/NAME, gitlab:GROUP/NAME, local:DIR.",
)
@click.option("--variant", metavar="NAME", help="Variant of hut.yml; needed where it has several.")
@click.option("--hut", type=click.Path(path_type=Path), help="Project file. [default: the commit's, or its base's]")
@pull_request_option("The commit is this request's head: hut.yml is its base's.")
@choice_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("hut-ci-artifact"),
    show_default=True,
    help="Folder that the file is left in.",
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="A live line on a terminal, plain lines elsewhere, JSON lines for machines; on standard error.",
)
@click.option("--json", "as_json", is_flag=True, help="Print run, artifact, digest and path as JSON.")
def command(**options: Any) -> None:
    """Find, prove and fetch the artifact of exactly one commit.

    The choice is that of `hut-ci run --commit`: hut.yml of the commit (of its base branch for a
    pull request) names it, its job and run are checked, its bytes have the forge's digest.
    """
    from hut_ci.cli.json_answers import give
    from hut_ci.cli.workflow_commands import give_outputs
    from hut_ci.stages.artifact import full_sha

    wish = Wish(full_sha(options["commit"]), options["hut"], options["pull_request"])
    artifact = _fetched(wish, options)
    told = facts(artifact)
    give_outputs({output: str(told[fact] or "") for output, fact in OUTPUTS.items()})
    if options["as_json"]:
        give(told)
    else:
        _show(artifact)


def facts(artifact: Artifact) -> dict[str, Any]:
    """What is known of an artifact, by the names that reports use; `path` is absolute."""
    return {
        "forge": artifact.forge,
        "commit_sha": artifact.commit_sha,
        "built_sha": artifact.built_sha,
        "run_id": artifact.run_id,
        "run_url": artifact.run_url,
        "attempt": artifact.attempt,
        "event": artifact.event,
        "artifact_id": artifact.artifact_id,
        "artifact_name": artifact.name,
        "digest": artifact.digest,
        "size": artifact.size,
        "path": str(artifact.path.absolute()),
        "cached": artifact.cached,
        "notes": list(artifact.notes),
    }


def _fetched(wish: Wish, options: dict[str, Any]) -> Artifact:
    from hut_ci.cli import sources
    from hut_ci.cli.composition import guarded, usable
    from hut_ci.cli.forges import forges_of
    from hut_ci.cli.progress import listener
    from hut_ci.record import Event
    from hut_ci.reports.redaction import Redactor
    from hut_ci.stages.artifact import refuse_own_judge

    forges = forges_of(options["forge"], ("none",), os.environ)
    assert forges.builds is not None  # --forge is required
    redactor = Redactor((), secrets=forges.secrets())
    out = options["out"].absolute()
    with listener(options["progress"]) as on_event:
        tell = guarded(on_event, redactor)

        def say(text: str, percent: float | None = None) -> None:
            tell(Event("artifact", text, percent))

        found = sources.project(wish, forges, say)
        usable(out, "artifact")
        (out / NAME).unlink(missing_ok=True)  # an earlier answer is none to this question
        with tempfile.TemporaryDirectory(prefix=".hut-ci-", dir=out) as work:  # NAME exists when it is proven, only
            fetching = sources.fetching(_cache(), Path(work), options["run_id"], options)
            find = sources.find_at(forges.builds, fetching, say)
            artifact = find(_wanted(wish, found, options), Path(work), _until(options), say)
            refuse_own_judge(artifact, read_from_commit=found.of_commit)
            return _placed(artifact, Path(work), out / NAME)


def _placed(artifact: Artifact, work: Path, target: Path) -> Artifact:
    """The artifact under its final name; a build that lies in a folder of builds stays where it is."""
    if artifact.path.parent != work:
        return artifact
    return dataclasses.replace(artifact, path=artifact.path.rename(target))


def _wanted(wish: Wish, found: Found, options: dict[str, Any]) -> Wanted:
    from hut_ci.stages.build_choice import wanted_of
    from hut_ci.stages.variant import choose_variant

    variant = choose_variant(found.project, options["variant"])
    allow_fork, run_id = options["allow_fork"], options["run_id"]
    return wanted_of(found.project, variant, wish.commit_sha, allow_fork=allow_fork, run_id=run_id)


def _until(options: dict[str, Any]) -> Deadline:
    from hut_ci.cli.composition import finite
    from hut_ci.cli.sources import WAIT_BUILD
    from hut_ci.deadline import Deadline

    waiting = WAIT_BUILD if options["wait_build"] is None else finite(options["wait_build"], "--wait-build")
    return Deadline(LIMIT_SECONDS + waiting)


def _cache() -> ArtifactCache:
    from hut_ci.artifact_cache import ArtifactCache
    from hut_ci.config import default_state_dir

    return ArtifactCache(default_state_dir(os.environ) / "artifacts")


def _show(artifact: Artifact) -> None:
    from hut_ci.cli.composition import from_here
    from hut_ci.reports.escaping import ci_log

    where = f"run {artifact.run_id} ({artifact.event}) of " if artifact.run_id else ""
    click.echo(ci_log(f"{artifact.name}: {where}{artifact.forge}, commit {artifact.commit_sha}"))
    click.echo(ci_log(f"digest  {artifact.digest or 'none: a folder has no digest of its own'}"))
    for note in artifact.notes:
        click.echo(ci_log(f"note    {note}"))
    click.echo(f"file    {from_here(artifact.path.absolute())}")
