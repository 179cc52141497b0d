"""What a token may do, found out without changing anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One right: `held` is None where it cannot be told; `remedy` says what to do where it is missing."""

    name: str
    needed_for: str
    held: bool | None
    optional: bool = False
    remedy: str = ""
