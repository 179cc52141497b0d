"""Fields of a forge's JSON, of the type that its documentation promises."""

from __future__ import annotations


def as_text(value: object) -> str:
    """Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value


def as_number(value: object) -> int:
    """Raises TypeError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a number was expected, not {type(value).__name__}")
    return value


def as_optional_text(value: object) -> str | None:
    """The same for a field that may be null or missing."""
    return None if value is None else as_text(value)
