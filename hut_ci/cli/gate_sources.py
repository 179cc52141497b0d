"""What the gate decides from: the payload of an event, the lab's list of slots, and who serves them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError, ConfigError, UsageError

if TYPE_CHECKING:
    from hut_ci.forges.address import Address
    from hut_ci.model import Slot
    from hut_ci.stages.serving import Runner

SECONDS = 120.0
"""For what is asked of a forge at one time."""
PAYLOAD_LIMIT = 32 << 20
"""Bytes; GitHub's payloads end at 25 MB (docs: "Webhook events and payloads")."""

Opened = TypeVar("Opened")
Opening = Callable[["Address", Mapping[str, str], Deadline, Callable[[str], None]], Opened]


def opened(opening: Opening[Opened], address: Address) -> Opened:
    """What `opening` (one of cli/forges.py) makes of a forge, with time of its own for all that is asked of it."""
    return opening(address, os.environ, Deadline(SECONDS), say)


def payload_of(path: str | Path) -> object:
    """What a webhook said. Raises UsageError for a file that is no JSON."""
    try:
        with Path(path).open("rb") as file:
            return json.loads(file.read(PAYLOAD_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is no payload of an event", why=str(error)[:200], todo="give the JSON that the forge sent"
        ) from error


def lab_slots(source: str, address: Address) -> tuple[Slot, ...]:
    """The lab's list, which `source` is (from its first brace) or names; `repo:` means the one whose job this is.

    Raises UsageError for a file that is not there, ConfigError for what is no list.
    """
    from hut_ci.stages.public_slots import slots_of

    if source.lstrip().startswith("{"):
        return slots_of(source, "--slots")
    try:
        data = _of_branch(source, address) if source.startswith("repo:") else Path(source).read_bytes()
    except OSError as error:
        raise UsageError(f"{source} cannot be read", why=str(error), todo="give the lab's list of slots") from error
    return slots_of(data, source)


def _of_branch(source: str, address: Address) -> bytes:
    from hut_ci.cli.forges import open_builds

    path = source.removeprefix("repo:")
    data = opened(open_builds, address).file(path, "HEAD")
    if data is None:
        raise UsageError(
            f"the default branch has no file {path}",
            todo="put there what `hut-ci slots list --public --json` prints on the lab host",
        )
    return data


def known_runners(address: Address, slots: Sequence[Slot]) -> tuple[Runner, ...] | None:
    """Who could serve the slots; None where nobody tells, or no token was given that may ask."""
    from hut_ci.cli.forges import open_runners

    try:
        return opened(partial(open_runners, labels=[slot.label for slot in slots]), address)
    except (ArtifactError, ConfigError) as error:
        say(f"note: {error.what}; every slot is tried")
        return None


def say(text: str) -> None:
    """A line for the job's log, apart from the answer."""
    from hut_ci.reports.escaping import ci_log

    click.echo(ci_log(text), err=True)
