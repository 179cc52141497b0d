"""`hut-ci report publish` and `report sweep`: the answers that are given later, or by another host."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.build_options import pull_request_option
from hut_ci.cli.json_answers import give
from hut_ci.errors import ConfigError, PublishError, UsageError

if TYPE_CHECKING:
    from hut_ci.cli.forges import Forges
    from hut_ci.forges.address import Address
    from hut_ci.model import Evidence, Request
    from hut_ci.stages.publish import Status
    from hut_ci.stages.sweep import Swept

FORGE = "FORGE"
ENDS = click.Choice(["success", "failure", "cancelled", "skipped"])
SINCE = 72
UNFETCHED = "the reports of the hardware jobs could not be fetched"


@click.command("publish", short_help="Post the statuses of reports that were written elsewhere.")
@click.argument("reports", nargs=-1, type=click.Path(path_type=Path), envvar="HUT_CI_REPORT_PUBLISH_REPORTS")
@click.option("--request", metavar="FILE|JSON", help="hut.request.v1: which commit, slots and contexts.")
@click.option("--publish", "--forge", "publish", multiple=True, metavar=FORGE, help="Where to; again for several.")
@pull_request_option("The request that gets the comment.")
@click.option("--context", metavar="TEMPLATE", help="Name of the status. [default: hardware / {slot}]")
@click.option(
    "--comment",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="The comment on the pull request; auto begins one for a failure.",
)
@click.option(
    "--fetched",
    type=ENDS,
    default="success",
    show_default=True,
    help="How the step ended that fetched REPORTS: what is missing after a failure was not fetched.",
)
@click.option(
    "--ended",
    type=ENDS,
    default="success",
    show_default=True,
    help="How the hardware jobs ended: what is missing after `cancelled` was never begun.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was posted as a JSON list.")
def publish(reports: tuple[Path, ...], as_json: bool, **options: Any) -> int:
    """Post the final statuses of REPORTS (files, or the folders that `hut-ci run --out` wrote).

    With a request, commit, slots and contexts are the request's: a slot without a report, or with
    one about another commit, becomes an error. Publishing twice changes nothing.

    \b
    Examples:
      hut-ci report publish hut-ci-out/HUT-…/ --publish github:acme/firmware
      hut-ci report publish reports/* --request request.json
    """
    from hut_ci.cli.forges import forges_of, refuse_silence
    from hut_ci.reports.escaping import ci_log
    from hut_ci.stages.request import read_request

    _refuse_both(options)
    documents = [_read(path) for path in _each(reports)]
    request = read_request(options["request"]) if options["request"] else _request_of(documents, options)
    forges = forges_of(request.builds, options["publish"] or request.publish, os.environ)
    if not forges.publish:
        raise UsageError("nothing says where to publish", todo="give `--publish github:OWNER/NAME`")
    missing = _missing(options["fetched"], options["ended"])
    posted, troubles = _deliver(request, documents, forges, options["comment"], missing)
    if as_json:
        give([_entry(where, status) for where, status in posted])
    else:
        for where, status in posted:
            click.echo(ci_log(f"{where}  {status.context}: {status.state}, {status.description}"))
    refuse_silence(troubles, ["hut-ci", *sys.argv[1:]])
    if options["fetched"] != "success":
        raise PublishError(UNFETCHED, why="the step before this one failed", todo="run this job again")
    _refuse_green(request, documents, forges)
    return 0


@click.command("sweep", short_help="End the pending statuses that nobody will end.")
@click.option("--forge", metavar=FORGE, required=True, help="Where to look: github:OWNER/NAME, gitlab:…, local:DIR.")
@click.option("--commit", "commits", multiple=True, metavar="SHA", help="Only this commit; again for several.")
@click.option(
    "--since",
    type=click.IntRange(1, 24 * 366),
    default=SINCE,
    show_default=True,
    metavar="HOURS",
    help="How far back to look for builds, and for what was said of pull requests; longer than an answer may take.",
)
@click.option("--context", metavar="TEMPLATE", help="Only statuses of this name. [default: all that name their time]")
@click.option("--json", "as_json", is_flag=True, help="Print what was ended as a JSON list.")
def sweep(forge: str, commits: tuple[str, ...], since: int, context: str | None, as_json: bool) -> int:
    """Turn each pending status whose time is over into an error; for a scheduled job.

    A job that no runner took, a run that was cancelled whole, or a host that was lost cannot say so itself.
    Looked at are the commits that were built within the last hours, and the heads of requests that
    were labelled or spoken of; name others with --commit.

    \b
    Example:
      hut-ci report sweep --forge github:acme/firmware
    """
    from hut_ci.cli.forges import forges_of
    from hut_ci.reports.escaping import ci_log

    address = forges_of(forge, (), os.environ).publish[0]
    troubles: Sequence[PublishError] = ()
    if address.kind == "local":
        ended = _sweep_local(address.name, since)
    else:
        swept = _sweep(address, commits, since, context)
        ended, troubles = list(swept.ended), swept.troubles
    if as_json:
        give([_entry(str(address), status) for status in ended])
    else:
        for status in ended:
            click.echo(ci_log(f"{status.sha[:12]}  {status.context}: {status.state}, {status.description}"))
        click.echo(f"{len(ended)} pending status{'es' if len(ended) != 1 else ''} ended")
    if troubles:
        raise troubles[0]
    return 0


def _sweep(address: Any, commits: Sequence[str], since: int, context: str | None) -> Swept:
    from hut_ci.cli.delivery import DELIVERY_SECONDS
    from hut_ci.cli.forges import open_builds, open_sink
    from hut_ci.deadline import Deadline
    from hut_ci.stages.artifact import full_sha
    from hut_ci.stages.sweep import sweep as end_overdue
    from hut_ci.units import utc_now

    until = Deadline(10 * DELIVERY_SECONDS)
    start = (datetime.now(UTC) - timedelta(hours=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    named = [full_sha(sha) for sha in commits]
    looked_at = named or open_builds(address, os.environ, until, _say).recent_commits(start)
    sink = open_sink(address, os.environ, until, _say)
    # Every remote sink tells what stands there; only a folder's does it in another shape.
    return end_overdue(sink, looked_at, [context] if context else [], utc_now())  # type: ignore[arg-type]


def _sweep_local(folder: str, since: int) -> list[Any]:
    from hut_ci.forges.local import LocalForge

    before = (datetime.now(UTC) - timedelta(hours=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return LocalForge(Path(folder)).repair(before)


def _refuse_both(options: Any) -> None:
    """A request says where the answers go: raises UsageError for options that would say it, too."""
    both = [name for name in ("pull_request", "context") if options["request"] and options[name] is not None]
    if both:
        raise UsageError(
            f"--{both[0].replace('_', '-')} beside --request",
            why="the request names the pull request and the contexts",
            todo="leave the option out",
        )


def _each(paths: Sequence[Path]) -> Iterator[Path]:
    """The reports of several slots lie in folders of one folder (`hut-ci run --slot … --slot … --out DIR`)."""
    for path in paths:
        inner = sorted(path.glob("*/report.json")) if path.is_dir() and not (path / "report.json").exists() else []
        yield from inner or [path]


def _read(path: Path) -> object:
    """The document; one that cannot be read counts as missing, because its slot has to get a final state."""
    from hut_ci.reports.json_document import read

    try:
        return read(path / "report.json" if path.is_dir() else path)
    except ConfigError as error:
        click.echo(f"note: {error.what}: {error.why}", err=True)
        return None


def _request_of(documents: Sequence[object], options: Any) -> Request:
    """Without a request the reports say themselves which commit and slot they are about. Raises UsageError."""
    from hut_ci.cli.composition import run_page
    from hut_ci.cli.delivery import Wishes
    from hut_ci.model import Pair, Request
    from hut_ci.reports.json_document import problems
    from hut_ci.stages.artifact import full_sha
    from hut_ci.units import utc_now

    if not documents:
        raise UsageError("no report was given", todo="give the folders that `hut-ci run --out` wrote")
    for document in documents:
        if not isinstance(document, dict) or problems(document) or "hardware" not in document:
            raise UsageError(
                "a report is not valid, and nothing else says where its answer belongs",
                why="left out, the others would look like the whole",
                todo="look at it with `hut-ci report validate`, or give `--request request.json`",
            )
    known = [document for document in documents if isinstance(document, dict)]
    commits = {document["hardware"]["commit_sha"] for document in known}
    if len(commits) != 1:
        raise UsageError(
            f"the reports are about {len(commits)} commits",
            why="without a request they say where they belong, and have to agree",
            todo="give reports of one commit, or `--request request.json`",
        )
    wishes = Wishes.of(options)
    slots = dict.fromkeys(str(document["hardware"]["slot"] or "no slot") for document in known)
    return Request(
        commit_sha=full_sha(commits.pop()),
        pairs=tuple(Pair(slot, wishes.name(slot)) for slot in slots),
        not_after=utc_now(),
        pull_request=options["pull_request"],
        run_url=run_page(os.environ),
        aggregate="hardware" if len(slots) > 1 else None,
        skip_tested=True,
    )


def _missing(fetched: str, ended: str) -> Evidence:
    """What stands in the place of a report that is not there."""
    from hut_ci.model import Evidence
    from hut_ci.stages.deliver import NO_REPORT

    if fetched != "success":
        return Evidence("no_report", {"what": UNFETCHED})
    return Evidence("cancelled", {"name": "whoever stopped the workflow"}) if ended == "cancelled" else NO_REPORT


def _deliver(
    request: Request, documents: Sequence[object], forges: Forges, when: Any, missing: Evidence
) -> tuple[list[tuple[str, Status]], list[PublishError]]:
    from hut_ci.cli.delivery import DELIVERY_SECONDS
    from hut_ci.cli.forges import is_own_job, open_conversation, open_sink, tell
    from hut_ci.deadline import Deadline
    from hut_ci.reports.escaping import ci_log
    from hut_ci.stages.deliver import deliver, discuss, results_of

    posted: list[tuple[str, Status]] = []

    def post(address: Address) -> None:
        sink = open_sink(address, os.environ, Deadline(DELIVERY_SECONDS), _say)
        posted.extend((str(address), status) for status in deliver(request, documents, sink, missing))

    def comment(address: Address) -> None:
        conversation = open_conversation(address, os.environ, Deadline(DELIVERY_SECONDS), _say)
        if conversation is not None:
            discuss(request, results_of(request, documents, missing), conversation, when)

    asked = forges.pull_requests()
    troubles = tell(forges.statuses(request.commit_sha), post)
    silent = tell([asked] if asked is not None and asked in forges.publish else [], comment)
    if asked is not None and is_own_job(asked, request.commit_sha, os.environ):
        for error in silent:  # the job is the answer, and on a branch that is not protected its token only reads
            _say(f"note: {ci_log(error.what)}")
        silent = []
    return posted, troubles + silent


def _refuse_green(request: Request, documents: Sequence[object], forges: Forges) -> None:
    """In GitLab's own pipeline of the commit the jobs are the statuses, and a slot that nobody can serve has none.

    Raises SlotError there, because this job is the one that stands for it.
    """
    from hut_ci.stages.deliver import results_of
    from hut_ci.stages.gate import unserved

    if len(forges.statuses(request.commit_sha)) == len(forges.publish):
        return
    results = zip(request.pairs, results_of(request, documents), strict=True)
    silent = [found for pair, found in results if pair.blocked and found.document is None and not pair.informational]
    if silent:
        raise unserved(silent)


def _entry(where: str, status: Status) -> dict[str, str]:
    return {
        "forge": where,
        "sha": status.sha,
        "context": status.context,
        "state": status.state,
        "description": status.description,
    }


def _say(text: str) -> None:
    click.echo(text, err=True)
