"""A board's console for a person: its lines go out as text, what the person types goes in."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Protocol

from hut_ci.board.console_text import LineSplitter
from hut_ci.deadline import Deadline

LOOK_SECONDS = 0.05
"""How soon typed text is sent; nobody types faster lines."""
PROMPT_SECONDS = 0.2
"""Silence after which an unfinished line, such as a prompt, is shown."""


class Line(Protocol):
    """The serial line; `read` answers b"" when nothing came in time."""

    def read(self, deadline: Deadline) -> bytes: ...
    def write(self, data: bytes) -> None: ...


def converse(
    line: Line,
    show: Callable[[str], None],
    typed: int | None,
    deadline: Deadline,
    look: Callable[[], None] = lambda: None,
) -> int | None:
    """Show what the board says until the deadline, and send it what can be read from the descriptor `typed`.

    `show` gets text that a terminal may print, line ends included. `look` is called again and again, and ends this by
    raising. Answers `typed`, None once it has ended. Raises BoardError when the port vanishes.
    """
    splitter = LineSplitter()
    shown, heard = "", time.monotonic()
    while not deadline.expired:
        look()
        data = line.read(deadline.within(LOOK_SECONDS))
        if data:
            heard = time.monotonic()
            for text in splitter.feed(data):
                show(text.removeprefix(shown) + "\n")
                shown = ""
        elif splitter.partial != shown and time.monotonic() - heard > PROMPT_SECONDS:
            show(splitter.partial.removeprefix(shown))
            shown = splitter.partial
        if typed is not None and select.select([typed], [], [], 0)[0]:
            keys = os.read(typed, 4096)
            if keys:
                line.write(keys)
            else:
                typed = None
    return typed
