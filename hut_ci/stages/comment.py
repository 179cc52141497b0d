"""One comment on a pull request, found again by its marker and changed in place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

MARKER = "<!-- hut-ci: hardware -->"


def marker(about: str) -> str:
    """The invisible first line of a comment; `about` (a status' context) keeps those of several jobs apart."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", about).strip("-")[:100]
    return MARKER.replace("hardware", word) if word else MARKER


When = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Comment:
    id: str
    body: str


class Conversation(Protocol):
    """A forge, as far as comments are concerned. Every method raises PublishError where it refuses."""

    @property
    def limit(self) -> int: ...
    def own_comments(self, number: int, marker: str) -> Sequence[Comment]: ...
    def add_comment(self, number: int, body: str) -> None: ...
    def edit_comment(self, number: int, comment_id: str, body: str) -> None: ...


def upsert(conversation: Conversation, number: int, text: str, *, failed: bool, when: When, about: str = "") -> bool:
    """Say `text` on pull request `number`; whether something was written.

    `auto` begins a comment for a failure only, but brings what stands there up to date whatever happened.
    """
    if when == "never":
        return False
    first = marker(about)
    body = f"{first}\n{text}"
    own = conversation.own_comments(number, first)
    if own:  # several, where two jobs looked before either spoke
        old = [entry for entry in own if entry.body.strip() != body.strip()]
        for entry in old:
            conversation.edit_comment(number, entry.id, body)
        return bool(old)
    if failed or when == "always":
        conversation.add_comment(number, body)
        return True
    return False
