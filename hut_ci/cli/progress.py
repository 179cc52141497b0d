"""Progress for whoever is looking: a live line on a terminal, plain lines in CI, JSON lines for a parent process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from hut_ci.record import Event

if TYPE_CHECKING:
    from rich.status import Status

PERCENT_STEP = 20  # a plain log gets a line at each fifth of a flash, not at each block
QUIET_STAGES = frozenset({"suite"})  # the board's own lines: on a terminal only, the serial log has them


@contextmanager
def listener(mode: str) -> Iterator[Callable[[Event], None]]:
    """A function to hand events to; `mode` is auto, plain, json or none. Everything goes to standard error."""
    if mode == "json":
        yield lambda event: _tell(json.dumps(asdict(event)))
    elif mode == "none":
        yield lambda _event: None
    elif mode == "plain" or not sys.stderr.isatty():
        yield PlainLines()
    else:
        from rich.console import Console

        with Console(stderr=True).status("starting") as status:
            yield _LiveLine(status)


def _tell(line: str) -> None:
    """A reader that has gone away (a killed parent, `| head`) misses its lines; the run goes on."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class PlainLines:
    """One line per change, prefixed with the seconds since the start; `name` stands for an unknown slot."""

    def __init__(self, name: str = "-") -> None:
        self.name = name
        self.start = time.monotonic()
        self.stage = ""
        self.reached = 0

    def __call__(self, event: Event) -> None:
        if event.stage != self.stage:
            self.stage, self.reached = event.stage, 0
        if not self._worth_a_line(event):
            return
        _tell(f"{time.monotonic() - self.start:7.1f} s  {describe(event, self.name)}")

    def _worth_a_line(self, event: Event) -> bool:
        if event.percent is None:
            return not (event.stage in QUIET_STAGES and event.text.startswith("|"))
        reached, self.reached = self.reached, int(event.percent) // PERCENT_STEP
        return self.reached > reached


class _LiveLine:
    """The last event beside a spinner; the last one of each finished stage stays on the screen."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.start = time.monotonic()
        self.last: Event | None = None

    def __call__(self, event: Event) -> None:
        from rich.markup import escape

        if self.last is not None and event.stage != self.last.stage:
            line = f"{time.monotonic() - self.start:7.1f} s  {describe(self.last)}"
            self.status.console.print(escape(line), highlight=False, overflow="ellipsis", no_wrap=True)
        if self.last is None or event.stage != self.last.stage or not event.text.startswith("|"):
            self.last = event  # the board's own lines are not what a stage ends with
        self.status.update(escape(describe(event)[: max(20, self.status.console.width - 12)]))


def describe(event: Event, name: str = "-") -> str:
    """One line for a person, e.g. `hut-01  flash    40 %  writing app`."""
    percent = "" if event.percent is None else f"{event.percent:3.0f} %  "
    return f"{event.slot or name:8} {event.stage:9} {percent}{event.text}"
