"""Times as GitLab writes them, and what is another thing later."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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


@dataclass
class _Change:
    after_calls: int
    calls: Collection[str]
    values: dict[str, Any]
    then: Callable[[], object] | None


class Changing:
    """Something that a later request finds changed: `becomes`."""

    shown_by: Collection[str] = ()
    """The operations that count as having seen it."""

    def __init__(self) -> None:
        self._changes: list[_Change] = []
        self._seen = 0

    def becomes(
        self,
        *,
        after_calls: int,
        then: Callable[[], object] | None = None,
        calls: Collection[str] | None = None,
        **values: Any,
    ) -> None:
        """The first `after_calls` calls of an operation in `calls` see it as it is, later ones with these attributes.

        `then` is called at that moment. Several changes follow one another, each counting from the one before.
        """
        for name in values:
            assert hasattr(self, name), f"no such attribute: {name}"
        self._changes.append(_Change(after_calls, calls or self.shown_by, values, then))

    def look(self, operation: str) -> None:
        """A request is about to be shown this: count it, and change if it is time."""
        if not self._changes or operation not in self._changes[0].calls:
            return
        if self._seen < self._changes[0].after_calls:
            self._seen += 1
            return
        change, self._seen = self._changes.pop(0), 0
        for name, value in change.values.items():
            setattr(self, name, value)
        if change.then:
            change.then()
