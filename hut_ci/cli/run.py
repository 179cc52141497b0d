"""`hut-ci run`: flash a build on a slot, test it, recover the board, report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.build_options import choice_options, pull_request_option
from hut_ci.cli.composition import LAB_HELP
from hut_ci.cli.json_answers import give

if TYPE_CHECKING:
    from hut_ci.model import Report

EXAMPLES = """
\b
Examples:
  hut-ci run build/                        what is there, on the first free board that fits
  hut-ci run build/ --slot hut-02          on this board
  hut-ci run firmware.zip --variant muse   one variant of hut.yml
  hut-ci run build/ --slot hut-01 --slot hut-02    both, side by side
  hut-ci run --commit $(git rev-parse HEAD) --forge github:acme/firmware
  hut-ci run --commit $(git rev-parse HEAD) --forge github:acme/firmware --publish gitlab:lab/results
  hut-ci run --commit SHA --forge local:/srv/builds      no network: builds and statuses in a folder

\b
A forge's token comes from GITHUB_TOKEN or GITLAB_TOKEN, or from a file of mode 0600 named in
GITHUB_TOKEN_FILE or GITLAB_TOKEN_FILE; `hut-ci doctor --forge` says which rights it needs.

\b
The answer is one line, the exit code, and a folder (--out) with report.json, junit.xml,
summary.md, the serial log of every attempt and what esptool said. It exists for every
outcome. Without hut.yml the run checks that an application boots and that nothing in the
log is known to be fatal.
"""


@click.command("run", epilog=EXAMPLES)
@click.argument("build", required=False, type=click.Path(path_type=Path), envvar="HUT_CI_RUN_BUILD")
@click.option("--slot", "slots", multiple=True, metavar="SLOT", help="Slot id, label, chip or tag; again for several.")
@click.option("--variant", metavar="NAME", help="Variant of hut.yml; needed where it has several.")
@click.option("--hut", type=click.Path(path_type=Path), help="Project file. [default: ./hut.yml, or the commit's]")
@click.option("--lab", type=click.Path(path_type=Path), help=LAB_HELP)
@click.option("--commit", metavar="SHA", help="The commit that the build is of: 40 hex digits.")
@click.option(
    "--forge", metavar="FORGE", help="Where builds are found: github:OWNER/NAME, gitlab:GROUP/NAME, local:DIR."
)
@click.option(
    "--publish", multiple=True, metavar="FORGE", help="Where statuses go; again for several. [default: --forge]"
)
@pull_request_option("The commit is this request's head: hut.yml is its base's, and it gets the comment.")
@click.option("--request", metavar="FILE|JSON", help="What is asked: a hut.request.v1 document.")
@choice_options
@click.option("--skip-tested", is_flag=True, help="Do not run what has passed: same commit, bytes, suite and board.")
@click.option("--context", metavar="TEMPLATE", help="Name of the status. [default: hardware / {slot}]")
@click.option(
    "--comment",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="The comment on the pull request; auto begins one for a failure.",
)
@click.option("--check-run", is_flag=True, help="Make a check run on GitHub, too (a workflow's or an app's token).")
@click.option("--repository", metavar="OWNER/NAME", help="For the report. [default: the forge's]")
@click.option("--run-url", metavar="URL", help="For the report and for whoever waits for the slot.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report. [default: hut-ci-out/JOB]")
@click.option("--wait", default=600.0, metavar="SECONDS", help="How long to queue for a slot.", show_default=True)
@click.option("--limit", metavar="SECONDS", type=float, help="Time limit of the whole run. [default: the lab's]")
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="A live line on a terminal, plain lines elsewhere, JSON lines for machines; on standard error.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(**options: Any) -> int:
    """Flash BUILD (a folder, a zip or an image) on a slot, test it, and report.

    The build is flashed as it says itself (flasher_args.json, flash_args, PlatformIO, ESP Web
    Tools manifest, merged image). A board that stops answering is reset, flashed again and
    power-cycled; a firmware that fails is not tried again.
    """
    slots = tuple(dict.fromkeys(options.pop("slots")))
    if len(slots) > 1:
        from hut_ci.cli.several import run_several

        return run_several(slots, options)
    return run_one(slots[0] if slots else None, options)


def run_one(slot: str | None, options: dict[str, Any]) -> int:
    """Run on one slot and print the answer; the exit code is the verdict's, or 8 where nobody could be told."""
    from hut_ci.cli import composition
    from hut_ci.cli.asked import completed
    from hut_ci.cli.progress import listener
    from hut_ci.cli.workflow_commands import give_outputs
    from hut_ci.run import run

    slot, options = completed(slot, options)
    lab = composition.lab_at(options["lab"])
    order = composition.order(lab, slot, options)
    out = (options["out"] or Path("hut-ci-out") / order.job_id).absolute()
    with (
        listener(options["progress"]) as on_event,
        composition.tools(order, out, options, on_event) as (tools, delivery),
    ):
        give_outputs({"report": str(out)})  # so that the partial report of a killed run is found, too
        report = run(order, tools)
    _give_outputs(out)
    if options["as_json"]:
        give(json.loads((out / "report.json").read_text("utf-8")))
    else:
        _print_answer(report, out, learnt=order.hut is not None or report.project_digest is not None)
    delivery.refuse_silence()
    return report.verdict.exit_code


def _give_outputs(out: Path) -> None:
    """For later steps of a job on GitHub, from the written report."""
    from hut_ci.cli.workflow_commands import give_outputs
    from hut_ci.reports.status_text import full_status

    document = json.loads((out / "report.json").read_text("utf-8"))
    hardware = document["hardware"]
    artifact = hardware["artifact"] or {}
    values = {
        "verdict": hardware["verdict"]["name"],
        "exit-code": document["exit_code"],
        "slot": hardware["slot"],
        "summary": full_status(document),
        "report": out,
        "power-cycle-count": hardware["power_cycle_count"],
        "artifact-id": artifact.get("id"),
        "artifact-digest": artifact.get("digest"),
        "commit-sha": hardware["commit_sha"],
        "built-sha": hardware.get("built_sha"),
    }
    give_outputs({name: "" if value is None else str(value) for name, value in values.items()})


def _print_answer(report: Report, out: Path, *, learnt: bool) -> None:
    from hut_ci.cli.composition import from_here, wants_colour
    from hut_ci.reports.escaping import ci_log
    from hut_ci.reports.status_text import full_status
    from hut_ci.reports.text import advice

    document = json.loads((out / "report.json").read_text("utf-8"))
    colour = {"pass": "green", "fail": "red"}.get(report.verdict.name.value, "yellow")
    where = f"{report.slot}  " if report.slot else ""
    click.secho(f"{where}{ci_log(full_status(document))}", fg=colour, bold=True, color=wants_colour())
    for line in advice(document):
        click.echo(f"  {ci_log(line)}")
    if report.verdict.exit_code == 0 and not learnt:
        click.echo("  Only the built-in rules were checked (no hut.yml); `hut-ci learn` proposes what to expect.")
    click.echo(f"report  {from_here(out / 'summary.md')}")
    if sys.stdout is not None:  # started with it closed
        sys.stdout.flush()
