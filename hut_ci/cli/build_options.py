"""What the commands that look for a build, or answer about one, have in common on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]

_CHOICE = (
    click.option("--run-id", metavar="ID", help="The build's workflow run or pipeline. [default: found by the commit]"),
    click.option("--wait-build", metavar="SECONDS", type=float, help="How long to wait for the build. [default: 900]"),
    click.option("--allow-fork", is_flag=True, help="Take this commit's build from a fork: a stranger's code."),
    click.option("--allow-undigested", is_flag=True, help="Take a GitHub artifact that has no digest."),
)


def choice_options(command: Command) -> Command:
    """Which build of a commit may be taken, and how long it is waited for."""
    for option in reversed(_CHOICE):
        command = option(command)
    return command


def pull_request_option(help: str) -> Callable[[Command], Command]:
    """The number of a request; GitLab's users call it `--merge-request`."""
    return click.option(
        "--pull-request", "--merge-request", "pull_request", type=click.IntRange(1), metavar="N", help=help
    )
