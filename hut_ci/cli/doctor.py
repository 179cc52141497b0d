"""`hut-ci doctor`: test what a lab or a CI job needs, changing nothing."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.composition import LAB_HELP
from hut_ci.cli.lanes import refuse_in_upstream
from hut_ci.errors import UsageError

if TYPE_CHECKING:
    from hut_ci.credentials import Token
    from hut_ci.deadline import Deadline
    from hut_ci.forges.address import Address
    from hut_ci.forges.rights import Right

SECONDS = 60.0
EXAMPLES = """
\b
Examples:
  hut-ci doctor                                  this lab host, as the user that you are now
  hut-ci doctor --runner /srv/runner-hut-01
  hut-ci doctor --forge github:acme/firmware
  hut-ci doctor --forge gitlab:acme/firmware --json
"""
SIGNS = {True: "ok", False: "MISSING", None: "unknown"}


@click.command("doctor", epilog=EXAMPLES)
@click.option("--forge", "forges", multiple=True, metavar="FORGE", help="Test its token: github:OWNER/NAME, gitlab:…")
@click.option("--lab", type=click.Path(path_type=Path), help=LAB_HELP)
@click.option(
    "--runner", "runners", multiple=True, metavar="DIR", type=click.Path(path_type=Path), help="Folder of a runner."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(forges: tuple[str, ...], lab: Path | None, runners: tuple[Path, ...], as_json: bool) -> int:
    """Test whether this host, or the token of a forge, has what a run needs; exit code 2 where something is missing.

    Nothing is changed: no port is opened, no relay switched, and writes to a forge are tried on a
    commit that does not exist. With --forge the lab is looked at where --lab or --runner is given, too.
    """
    from hut_ci.cli.json_answers import give
    from hut_ci.forges.address import parse_address

    addresses = [parse_address(forge, os.environ) for forge in forges]
    found: dict[str, Any] = {}
    missing = False
    if not forges or lab or runners:
        found["lab"], missing = _lab(lab, runners, as_json)
    rights = {str(address): _rights(address) for address in addresses}
    if as_json:
        found |= {name: [dataclasses.asdict(right) for right in held] for name, held in rights.items()}
        give(found)
    else:
        for name, held in rights.items():
            _show(name, held)
    missing |= any(right.held is False and not right.optional for held in rights.values() for right in held)
    return 2 if missing else 0


def _lab(lab: Path | None, runners: tuple[Path, ...], quiet: bool) -> tuple[dict[str, Any], bool]:
    """What was found of the lab, for programs, and whether something is missing; shown unless `quiet`."""
    from hut_ci.cli.doctor_lab import examine, show

    refuse_in_upstream("doctor")
    subjects = examine(lab, runners)
    if not quiet:
        for subject, findings in subjects.items():
            show(subject, findings)
    told = {subject: [dataclasses.asdict(finding) for finding in findings] for subject, findings in subjects.items()}
    return told, any(finding.sign == "missing" for findings in subjects.values() for finding in findings)


def _rights(address: Address) -> list[Right]:
    from hut_ci.cli.forges import read
    from hut_ci.deadline import Deadline

    if address.kind == "local":
        raise UsageError(f"{address} needs no token", todo="give a forge that is asked over the network")
    token, until = read(address, os.environ), Deadline(SECONDS)
    if address.kind == "github":
        return _of_github(address, token, _runners_token(address), until)
    return _of_gitlab(address, token, _runners_token(address), until)


def _runners_token(address: Address) -> Token | None:
    """The gate's second token, where there is one."""
    from hut_ci.credentials import read_token
    from hut_ci.forges.address import RUNNERS_VARIABLE, runners_source

    return read_token(runners_source(address), os.environ) if os.environ.get(RUNNERS_VARIABLE) else None


def _of_github(address: Address, token: Token, second: Token | None, until: Deadline) -> list[Right]:
    from hut_ci.forges.github.api import open_api
    from hut_ci.forges.github.rights import rights, runners_right

    more = [runners_right(open_api(address, second, until, _quiet))] if second else []
    return [*rights(open_api(address, token, until, _quiet)), *more]


def _of_gitlab(address: Address, token: Token, second: Token | None, until: Deadline) -> list[Right]:
    from hut_ci.forges.gitlab.api import open_api
    from hut_ci.forges.gitlab.rights import rights, runners_right

    more = [runners_right(open_api(address, second, until, _quiet))] if second else []
    return [*rights(open_api(address, token, until, _quiet)), *more]


def _show(name: str, rights: list[Right]) -> None:
    click.echo(name)
    for right in rights:
        optional = ", optional" if right.optional else ""
        click.echo(f"  {SIGNS[right.held]:<8} {right.name}: for {right.needed_for}{optional}")
        if right.held is not True and right.remedy:
            click.echo(f"           give it: {right.remedy}")


def _quiet(_text: str) -> None:
    """A test of rights is over in seconds; why a request is repeated is of no interest."""
