"""`hut-ci learn`: boot a build a few times and propose the `expect` lines of hut.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hut_ci.cli.composition import LAB_HELP

EXAMPLES = """
\b
Examples:
  hut-ci learn build/                    on the first free board that fits
  hut-ci learn build/ --slot hut-01 --settle 15
  hut-ci learn build/ >> hut.yml         the proposal is what it prints
"""


@click.command("learn", epilog=EXAMPLES)
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--slot", metavar="SLOT", help="Slot id, label, chip or tag.")
@click.option("--variant", metavar="NAME", help="Variant of hut.yml; needed where it has several.")
@click.option("--hut", type=click.Path(path_type=Path), help="Project file. [default: ./hut.yml, if there]")
@click.option("--lab", type=click.Path(path_type=Path), help=LAB_HELP)
@click.option("--boots", type=click.IntRange(2, 10), default=3, show_default=True, help="How often it is booted.")
@click.option("--settle", default=8.0, show_default=True, metavar="SECONDS", help="How long each boot is watched.")
@click.option("--wait", default=600.0, show_default=True, metavar="SECONDS", help="How long to queue for a slot.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="A live line on a terminal, plain lines elsewhere, JSON lines for machines; on standard error.",
)
def command(build: Path, **options: Any) -> int:
    """Flash BUILD, boot it a few times, and propose what to expect of it.

    Proposed are lines that every boot printed in the same order; numbers, addresses and times
    that differ are generalised. The text is a `suite:` block for hut.yml, with deadlines of
    three times the slowest boot.
    """
    import shutil

    from hut_ci.claims import flock
    from hut_ci.cli import composition
    from hut_ci.cli.progress import listener
    from hut_ci.cli.slot_claim import switch_on_again
    from hut_ci.cli.work_folder import make_work
    from hut_ci.learn import learn
    from hut_ci.stages.learn import to_yaml

    unused = {"commit": None, "repository": None, "run_url": None, "limit": None}
    order = composition.order(
        composition.lab_at(options["lab"]), options["slot"], {**options, **unused, "build": build}
    )
    redactor = composition.redactor_of(order.lab)
    make_work(order.work)
    try:
        with listener(options["progress"]) as on_event:
            tell = composition.guarded(on_event, redactor)
            lesson = learn(
                order,
                flock,
                options["boots"],
                options["settle"],
                tell,
                lambda _claim, slot: switch_on_again(order.lab, slot),
            )
    finally:
        shutil.rmtree(order.work, ignore_errors=True)
    if not lesson.expect:
        click.echo("The boots have no line in common that says more than that the board started.", err=True)
        return 1
    if _has_suite(order.hut):
        click.echo(f"note: {order.hut} has a suite already: take these lines into it, do not append them", err=True)
    click.echo(f"# seen on {lesson.slot} in each of {options['boots']} boots")
    click.echo(redactor.text(to_yaml(lesson.expect)), nl=False)
    return 0


def _has_suite(hut: Path | None) -> bool:
    from hut_ci.config import load_project

    return hut is not None and bool(load_project(hut).suite.expect)
