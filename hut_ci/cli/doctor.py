"""`hut-ci doctor`: test what a lab or a CI job needs, changing nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import click

from hut_ci.errors import UsageError

if TYPE_CHECKING:
    from hut_ci.forges.address import Address
    from hut_ci.forges.rights import Right

SECONDS = 60.0
EXAMPLES = """
\b
Examples:
  hut-ci doctor --forge github:acme/firmware
  hut-ci doctor --forge gitlab:acme/firmware --json
"""
SIGNS = {True: "ok", False: "MISSING", None: "unknown"}


@click.command("doctor", epilog=EXAMPLES)
@click.option("--forge", "forges", multiple=True, required=True, metavar="FORGE", help="github:OWNER/NAME, gitlab:…")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(forges: tuple[str, ...], as_json: bool) -> int:
    """Test whether the token of a forge has the rights that a run needs; exit code 2 where one is missing.

    Nothing is written anywhere: writes are tried on a commit that does not exist.
    """
    from hut_ci.forges.address import parse_address

    addresses = [parse_address(forge, os.environ) for forge in forges]
    found = {str(address): _rights(address) for address in addresses}
    if as_json:
        told = {name: [dataclasses.asdict(right) for right in rights] for name, rights in found.items()}
        click.echo(json.dumps(told, indent=2))
    else:
        for name, rights in found.items():
            _show(name, rights)
    missing = any(right.held is False and not right.optional for rights in found.values() for right in rights)
    return 2 if missing else 0


def _rights(address: Address) -> list[Right]:
    from hut_ci.cli.forges import read
    from hut_ci.deadline import Deadline

    if address.kind == "local":
        raise UsageError(f"{address} needs no token", todo="give a forge that is asked over the network")
    token, until = read(address, os.environ), Deadline(SECONDS)
    if address.kind == "github":
        from hut_ci.forges.github import api as github
        from hut_ci.forges.github.rights import rights as of_github

        return of_github(github.open_api(address, token, until, _quiet))
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.rights import rights as of_gitlab

    return of_gitlab(gitlab.open_api(address, token, until, _quiet))


def _show(name: str, rights: list[Right]) -> None:
    click.echo(name)
    for right in rights:
        optional = ", optional" if right.optional else ""
        click.echo(f"  {SIGNS[right.held]:<8} {right.name}: for {right.needed_for}{optional}")
        if right.held is not True and right.remedy:
            click.echo(f"           give it: {right.remedy}")


def _quiet(_text: str) -> None:
    """A test of rights is over in seconds; why a request is repeated is of no interest."""
