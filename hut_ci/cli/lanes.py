"""`$HUT_CI_LANE`: jobs that build and fetch (`upstream`) must not reach a board, jobs at the lab (`local-hil`) may."""

from __future__ import annotations

import functools
import os
from typing import Any

import click

from hut_ci.errors import Refused, UsageError

LANES = ("local-hil", "upstream")
"""The first one counts where the variable is empty or not set."""
WITHOUT_A_BOARD = frozenset(
    {
        *("demo", "virtual-lab", "firmware inspect", "resolve", "gate", "runner-hook", "doctor"),
        *("slots list", "slots status"),
        *("watch publisher", "watch status", "watch install", "lab away", "lab back"),
        *("report publish", "report show", "report sweep", "report validate"),
    }
)
"""`doctor` asks relays only where it looks at a lab, and refuses that part itself."""
AT_THE_LAB = frozenset(
    {
        *("run", "learn", "monitor", "watch bench", "watch job"),
        *(f"slots {name}" for name in ("add", "hold", "inventory", "release", "run", "selftest", "steal")),
        *(f"power {name}" for name in ("cycle", "off", "on", "repair", "status", "test")),
    }
)
"""What opens a serial port, switches or asks a relay, or takes a slot."""


def lane() -> str:
    """The lane of this process. Raises UsageError for one that does not exist."""
    found = os.environ.get("HUT_CI_LANE") or LANES[0]
    if found not in LANES:
        raise UsageError(f"HUT_CI_LANE is {found!r}", why="there is no such lane", todo=f"set {' or '.join(LANES)}")
    return found


def keep_to_lane(command: click.Command, path: str) -> None:
    """Let `command` and its members refuse in the lane `upstream`, before they look at anything."""
    for name, member in getattr(command, "commands", {}).items():
        keep_to_lane(member, f"{path} {name}")
    if path in AT_THE_LAB and command.callback is not None:
        command.callback = _refusing(command.callback, path)


def refuse_in_upstream(path: str) -> None:
    """Raises Refused in the lane `upstream`; `path` is the command that would reach a board or ask a relay."""
    if lane() == "upstream":
        raise Refused(
            f"`hut-ci {path}` is for a lab, and this job is in the lane upstream",
            why="HUT_CI_LANE=upstream: a job that builds must not reach a board or its power",
            todo="run it in a job on the lab's host, without HUT_CI_LANE or with HUT_CI_LANE=local-hil",
        )


def _refusing(callback: Any, path: str) -> Any:
    @functools.wraps(callback)
    def refuse_or_call(*args: Any, **options: Any) -> Any:
        refuse_in_upstream(path)
        return callback(*args, **options)

    return refuse_or_call
