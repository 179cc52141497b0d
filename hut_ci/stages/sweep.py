"""End the pending statuses that nobody will end: their run was never started, was cancelled whole, or lost its host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hut_ci.errors import PublishError
from hut_ci.model import Evidence
from hut_ci.reports import states
from hut_ci.stages.publish import DUE, Posted, Status, StatusSink, settle

_DUE = re.compile(rf"{DUE} (\d{{4}}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z)$")


class Statuses(StatusSink, Protocol):
    def statuses(self, sha: str) -> Sequence[Posted]: ...


@dataclass(frozen=True, slots=True)
class Overdue:
    context: str
    by: str
    target_url: str | None


@dataclass(frozen=True, slots=True)
class Swept:
    """What was ended, and what kept other commits from being looked at."""

    ended: tuple[Status, ...]
    troubles: tuple[PublishError, ...]


def sweep(forge: Statuses, commits: Iterable[str], contexts: Sequence[str], now_utc: str) -> Swept:
    """End every overdue pending status on `commits`; one commit that cannot be read does not keep the others from it.

    `contexts` are templates (`hardware / {slot}`); without any, every status that names its time is ours.
    """
    ended: list[Status] = []
    troubles: list[PublishError] = []
    for sha in commits:
        try:
            for late in overdue(forge.statuses(sha), contexts, now_utc, forge.vocabulary):
                ended.append(settle(forge, sha, late.context, Evidence("no_answer", {"by": late.by}), late.target_url))
        except PublishError as error:
            troubles.append(error)
    return Swept(tuple(ended), tuple(troubles))


def overdue(posted: Iterable[Posted], contexts: Sequence[str], now_utc: str, vocabulary: str) -> list[Overdue]:
    """The pending ones of ours whose time is over; one that names no time is left alone."""
    pending = states.table()[states.RUNNING].of(vocabulary)
    ours = [re.compile(re.escape(context).replace(re.escape("{slot}"), ".+")) for context in contexts]
    found = []
    for status in posted:
        due = _DUE.search(status.description)
        mine = not ours or any(pattern.fullmatch(status.context) for pattern in ours)
        if status.state == pending and mine and due and _is_over(due[1], now_utc):
            found.append(Overdue(status.context, due[1], status.target_url))
    return found


def _is_over(instant: str, now_utc: str) -> bool:
    try:
        return datetime.fromisoformat(instant) < datetime.fromisoformat(now_utc)
    except ValueError:
        return False
