"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hut_ci.errors import HutCiError


class Sign(StrEnum):
    OK = "ok"
    WARN = "warn"
    """Works, but not for everybody, not after the next boot, or not as safely as it could."""
    MISSING = "missing"
    """A run on this host would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` is so; `remedy` says what to do, empty where all is well."""

    sign: Sign
    what: str
    remedy: str = ""


def ok(what: str) -> Finding:
    return Finding(Sign.OK, what)


def warn(what: str, remedy: str) -> Finding:
    return Finding(Sign.WARN, what, remedy)


def missing(what: str, remedy: str) -> Finding:
    return Finding(Sign.MISSING, what, remedy)


def failed(error: HutCiError) -> Finding:
    """What a run would end with."""
    return missing(error.what, error.todo)
