"""`hut-ci gate`: whether an event starts a run, of which commit, on which slots."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.build_options import pull_request_option
from hut_ci.cli.child_pipeline import write_child
from hut_ci.cli.durations import Duration
from hut_ci.errors import UsageError
from hut_ci.stages.spoken import LABEL, WORD

if TYPE_CHECKING:
    from hut_ci.cli.gate_answer import Answer, Gate
    from hut_ci.stages.trigger import Event, Ignored

EXAMPLES = """
\b
Examples:
  hut-ci gate --slots slots.json                        in a workflow: the event is in the environment
  hut-ci gate --slots repo:.github/slots.json --only esp32 --answer-within 2h
  hut-ci gate --slots slots.json --forge github:acme/firmware --event issue_comment --payload event.json
  hut-ci gate --slots slots.json --forge github:acme/firmware --event workflow_dispatch --commit SHA

\b
slots.json is what `hut-ci slots list --public --json` prints on the lab host. Commands in comments:
`/hil`, `/hil hut-01 esp32`, `/hil @SHA`, `/hil help`; labels: `hil`, `hil:hut-01`. A token in
$HUT_CI_RUNNERS_TOKEN that may list the repository's runners tells which slots nobody would serve. Exit codes:
0 whether a run was asked for or not (the answer's `decision` tells), 4 no slot can be served, 9 refused.
"""


@click.command("gate", epilog=EXAMPLES)
@click.option(
    "--slots", required=True, metavar="FILE|JSON|repo:PATH", help="The lab's slots; repo: on the default branch."
)
@click.option("--forge", metavar="FORGE", help="github:OWNER/NAME, gitlab:…. [default: that of the job]")
@click.option("--event", metavar="NAME", help="GitHub's event. [default: $GITHUB_EVENT_NAME]")
@click.option("--payload", type=click.Path(path_type=Path), help="Its payload. [default: $GITHUB_EVENT_PATH]")
@click.option("--only", metavar="NAMES", help="Slots, labels, chips, tags, variants, where the event names none.")
@click.option("--commit", metavar="SHA", help="What a workflow that was started by hand tests. [default: $GITHUB_SHA]")
@pull_request_option("The request that --commit is the head of.")
@click.option("--word", default=WORD, show_default=True, help="The first word of a command in a comment.")
@click.option("--label", default=LABEL, show_default=True, help="The label that asks for a run; NAME:WHAT, too.")
@click.option(
    "--forks",
    type=click.Choice(["never", "asked"]),
    default="never",
    show_default=True,
    help="asked: where somebody who may write named the commit.",
)
@click.option("--builds", metavar="FORGE", help="Where builds are found. [default: --forge]")
@click.option("--publish", multiple=True, metavar="FORGE", help="Where answers go; again for more. [default: --builds]")
@click.option("--context", metavar="TEMPLATE", help="Name of each status. [default: hardware / {slot}]")
@click.option("--aggregate", metavar="NAME", help="Name of the status of all slots. [default: hardware]")
@click.option(
    "--answer-within",
    type=Duration(60.0, 30 * 86400.0),
    default="6h",
    show_default=True,
    help="A job that starts later flashes nothing.",
)
@click.option(
    "--limit",
    type=Duration(1.0),
    default="30m",
    show_default=True,
    help="Time limit of each run on a board; the output `job-minutes` is that of its job.",
)
@click.option("--run-url", metavar="URL", help="Where a status leads to. [default: this job's run]")
@click.option("--out", type=click.Path(path_type=Path), help="File for the request. [default: none]")
@click.option("--child-pipeline", type=click.Path(path_type=Path), help="Write the GitLab child pipeline here.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(**options: Any) -> int:
    """Decide whether an event starts a run, and ask for it: freeze the commit, choose slots, post pending statuses.

    The sender's permission is asked of the forge: who may write may ask. The request goes to the lab's jobs as this
    job's output `request`; `matrix` has one entry for each of them.
    """
    from hut_ci.cancellation import cancellation

    gate = _open(options)
    with cancellation():
        gate.answer(_event(gate, options), lambda answer: _give(answer, options))
    return 0


def _open(options: dict[str, Any]) -> Gate:
    from hut_ci.cli.composition import run_page
    from hut_ci.cli.forges import forges_of
    from hut_ci.cli.gate_answer import Gate

    address = forges_of(options["forge"] or _own_forge(), (), os.environ).builds
    if address is None or address.kind == "local":
        raise UsageError(f"{options['forge']} has no events", todo="give `--forge github:OWNER/NAME` or `gitlab:…`")
    if options["context"] is not None and "{slot}" not in options["context"]:
        raise UsageError(
            f"--context {options['context'][:80]!r} is no template", todo="put {slot} into it, like `hardware / {slot}`"
        )
    forges = forges_of(options["builds"] or str(address), options["publish"], os.environ)
    if not forges.publish:
        raise UsageError(
            "--publish none leaves nobody to answer",
            why="the gate asks for a test, and whoever waits for it looks at the statuses",
            todo="name a forge, or leave the option out",
        )
    return Gate(address, forges, {**options, "run_url": options["run_url"] or run_page(os.environ)})


def _own_forge() -> str:
    """The repository or project whose job this is."""
    if project := os.environ.get("CI_PROJECT_PATH"):
        return f"gitlab:{project}"
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        return f"github:{repository}"
    raise UsageError("nothing says which repository this is", todo="give `--forge github:OWNER/NAME`")


def _event(gate: Gate, options: dict[str, Any]) -> Event | Ignored:
    from hut_ci.cli.gate_gitlab import heard_on_gitlab
    from hut_ci.stages.trigger import Ignored

    on_gitlab = gate.address.kind == "gitlab"
    words = options["word"], options["label"]
    event = heard_on_gitlab(gate.address, *words) if on_gitlab else _on_github(options)
    if isinstance(event, Ignored) or event.kind != "manual":
        return event
    here = os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA")
    return replace(event, commit_sha=options["commit"] or here, pull_request=options["pull_request"])


def _on_github(options: dict[str, Any]) -> Event | Ignored:
    from hut_ci.cli.gate_sources import payload_of
    from hut_ci.stages.github_event import read

    name = options["event"] or os.environ.get("GITHUB_EVENT_NAME")
    path = options["payload"] or os.environ.get("GITHUB_EVENT_PATH")
    if not name:
        raise UsageError("no event was given", todo="run this in a workflow, or give --event and --payload")
    return read(name, payload_of(path) if path else {}, options["word"], options["label"])


def _give(answer: Answer, options: dict[str, Any]) -> None:
    from hut_ci.cli.json_answers import give
    from hut_ci.cli.workflow_commands import give_outputs
    from hut_ci.stages.gate import job_minutes, matrix
    from hut_ci.stages.serving import evidence
    from hut_ci.stages.verdict import sentence

    request, document = answer.request, answer.document
    legs = matrix(request) if request else {"include": []}
    compact = json.dumps(document, separators=(",", ":")) if document else ""
    _write_files(answer, options)
    told = {
        "decision": answer.decision,
        "reason": answer.reason,
        "request": compact,
        "matrix": json.dumps(legs, separators=(",", ":")),
        "job-minutes": str(job_minutes(options["limit"])),
        "reports": f"hut-ci-report-{(request.digest or '')[:12]}" if request else "",
        "commit-sha": request.commit_sha if request else "",
        "pull-request": str(request.pull_request or "") if request else "",
    }
    give_outputs(told)
    if options["as_json"]:
        shown = {**told, "request": document, "matrix": legs}
        give({name.replace("-", "_"): value for name, value in shown.items()})
    elif request:
        for pair in request.pairs:
            told_of = sentence(evidence(pair)) if pair.blocked else f"asked for, answer by {request.not_after}"
            click.echo(f"{request.commit_sha[:12]}  {pair.context}: {told_of}")
    else:
        click.echo(f"{answer.decision}: {answer.reason or 'the grammar was explained'}")


def _write_files(answer: Answer, options: dict[str, Any]) -> None:
    """The request and the child pipeline, where files were named for them. Raises UsageError where one cannot be."""
    from hut_ci.reports.atomic import replace_file

    try:
        if answer.document and options["out"]:
            replace_file(options["out"], f"{json.dumps(answer.document, indent=2)}\n".encode())
        write_child(answer.request, answer.document, options, os.environ)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written",
            why=str(error.strerror),
            todo="name a file in a folder that is there",
        ) from error
