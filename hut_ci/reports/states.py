"""The table of `forges/states.yml`: how a run ended → GitHub state, GitLab state, ws2 status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hut_ci import tables

RUNNING = "running"
_MARKS = {"pass": ("flaky", "recovered"), "error": ("timed_out",)}


@dataclass(frozen=True, slots=True)
class States:
    """One row; `ws2` is None while a run has not ended."""

    github: str
    gitlab: str
    ws2: str | None

    def of(self, vocabulary: str) -> str:
        """The state in the words of `github` or `gitlab`."""
        return {"github": self.github, "gitlab": self.gitlab}[vocabulary]


@cache
def table() -> Mapping[str, States]:
    """The rows by key: the names of verdicts, their marks, and `running`."""
    path = Path(__file__).parents[1] / "forges" / "states.yml"
    return {name: States(**row) for name, row in tables.rows(path, "rows").items()}


def key(verdict: Mapping[str, Any]) -> str:
    """The row of a report document's `verdict`; a flaky pass is flaky first, whatever else it is."""
    name = str(verdict["name"])
    return next((mark for mark in _MARKS.get(name, ()) if verdict.get(mark)), name)


def of_verdict(verdict: Mapping[str, Any]) -> States:
    """The row itself. Raises KeyError for a verdict that the table does not know."""
    return table()[key(verdict)]
