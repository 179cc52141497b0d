"""`hut-ci lab`: send a lab that polls away, and bring it back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.composition import LAB_HELP
from hut_ci.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from hut_ci.model import Lab

EXAMPLES = """
\b
Examples:
  hut-ci lab away --until 2026-12-27
  hut-ci lab away --until 2026-12-27T18:00
  hut-ci lab back
"""
lab_option = click.option("--lab", "lab_path", type=click.Path(path_type=Path), help=LAB_HELP)


@click.group("lab", epilog=EXAMPLES)
def command() -> None:
    """Send a lab that polls (`hut-ci watch`) away, and bring it back."""


@command.command("away", epilog=EXAMPLES)
@click.option("--until", required=True, metavar="DATE", help="A day, or a day and a time, of this host's clock.")
@lab_option
def away(until: str, lab_path: Path | None) -> None:
    """Test nothing until DATE. Who asks meanwhile is told so once; then the newest commit of each branch is tested."""
    from hut_ci.cli.composition import lab_at
    from hut_ci.watch.away import send_away

    lab, instant = lab_at(lab_path), _instant(until)
    try:
        send_away(lab.spool, instant)
    except OSError as error:
        raise _unwritable(lab, error) from error
    click.echo(f"{lab.name} is away until {instant}; `hut-ci lab back` ends that before")


@command.command("back", epilog=EXAMPLES)
@lab_option
def back(lab_path: Path | None) -> None:
    """Test again from now on."""
    from hut_ci.cli.composition import lab_at
    from hut_ci.watch.away import bring_back

    lab = lab_at(lab_path)
    try:
        was_away = bring_back(lab.spool)
    except OSError as error:
        raise _unwritable(lab, error) from error
    click.echo(f"{lab.name} is back" if was_away else f"{lab.name} was not away")


def _instant(text: str) -> str:
    """DATE as an instant. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--until {text[:40]!r} is no date", todo="write it like 2026-12-27 or 2026-12-27T18:00"
        ) from error
    if moment < datetime.now(UTC):
        raise UsageError(f"--until {text[:40]} is over", todo="give a day that is still to come")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _unwritable(lab: Lab, error: OSError) -> ConfigError:
    from hut_ci.host_fault import host_fault

    return host_fault(error, f"{lab.spool} cannot be written") or ConfigError(
        f"{lab.spool} cannot be written: {error.strerror}",
        why="this user is not in the lab's group",
        todo="`usermod -aG hut-lab USER`, then log in again",
    )
