"""Times as GitLab writes them."""

from __future__ import annotations

from datetime import UTC, datetime

When = datetime | str | None


def stamp(when: When = None) -> str:
    """A time as GitLab writes it (UTC, milliseconds); None is now, text is taken as it is."""
    if isinstance(when, str):
        return when
    moment = (when or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def moment_of(text: str) -> datetime:
    """The time that `stamp` wrote, or that a caller asked with. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds_between(start: str | None, end: str | None) -> float | None:
    return (moment_of(end) - moment_of(start)).total_seconds() if start and end else None
