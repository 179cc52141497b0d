"""Lengths of time on the command line: `90`, `90s`, `30m`, `1h30m`; and whether they fit into a CI job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from hut_ci.errors import UsageError

_PARTS = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,7}(?:\.[0-9]{1,3})?)s?)?\Z")


if TYPE_CHECKING:
    ParamType = click.ParamType[float]
else:
    ParamType = click.ParamType  # no generic before click 8.2


class Duration(ParamType):
    """Seconds as a float, between `least` and `most`."""

    name = "duration"

    def __init__(self, least: float = 0.0, most: float = 86400.0) -> None:
        self.least, self.most = least, most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        match = _PARTS.match(text)
        if not text or match is None:
            self.fail(f"{text!r} is no length of time; write for example 90s, 30m or 1h30m", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        total = 3600 * hours + 60 * minutes + seconds
        if not self.least <= total <= self.most:
            self.fail(f"{text!r} is not between {shown(self.least)} and {shown(self.most)}", param, ctx)
        return total


def shown(seconds: float) -> str:
    """`1h30m`, `45s`, `0.5s`."""
    if seconds < 60 or seconds % 1:
        return f"{seconds:g}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if count)


def within_job(limit: float | None, environ: Mapping[str, str]) -> float | None:
    """A run's time limit in seconds, if the job of GitLab around it lives longer. Raises UsageError if not."""
    left = environ.get("CI_JOB_TIMEOUT", "")
    if limit is not None and left.isascii() and left.isdecimal() and limit >= int(left):
        raise UsageError(
            f"--limit {limit:g} is longer than this job, which GitLab ends after {left} s",
            why="its `timeout:`, or the maximum job timeout of its runner, is less than the run may take",
            todo="raise the runner's maximum, or give a smaller limit",
        )
    return limit
