"""What turns into something else after a forge was asked for it some times."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar


@dataclass(frozen=True)
class _Change:
    after_calls: int
    calls: Collection[str]
    values: Mapping[str, Any]
    then: Callable[[], object] | None


class Changing:
    """Something that a later request finds changed: `becomes`."""

    shown_by: ClassVar[Collection[str]] = ()
    """The operations that count as having seen it."""
    _seen = 0

    @cached_property
    def _changes(self) -> list[_Change]:
        return []

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
        while self._waits_for(operation) and self._seen >= self._changes[0].after_calls:
            change, self._seen = self._changes.pop(0), 0
            for name, value in change.values.items():
                setattr(self, name, value)
            if change.then is not None:
                change.then()
        if self._waits_for(operation):
            self._seen += 1

    def _waits_for(self, operation: str) -> bool:
        return bool(self._changes) and operation in self._changes[0].calls
