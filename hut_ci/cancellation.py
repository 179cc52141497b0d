"""SIGINT, SIGTERM and SIGHUP as an exception, once, and only while there is something to cancel."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hut_ci import process
from hut_ci.errors import Cancelled

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def cancellation() -> Iterator[Callable[[], None]]:
    """Raise Cancelled in the main thread at the first of SIGNALS; swallow later ones.

    Ending a run properly (board reset, relay on, report written) takes a second or two, and a CI engine
    sends its second signal 2.5 to 7.5 s after the first. A handler, not SIG_IGN: that one children inherit.
    The function that the block gets says that all is decided: from then on the first one is swallowed, too.
    """

    arrived: list[int] = []

    def arrive(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)  # at once: a second signal may interrupt this very handler
        if len(arrived) == 1 and not process.postpone(cancel):
            cancel()

    def cancel() -> None:
        decided()
        raise Cancelled(arrived[0])

    def decided() -> None:
        for number in wanted:
            signal.signal(number, _swallow)

    # Under nohup SIGHUP is ignored from the start, and stays so. SIGINT is ignored in a shell script's background
    # jobs, too, but there it is how a CI engine cancels.
    wanted = [n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, arrive) for number in wanted}
    try:
        yield decided
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _swallow(_number: int, _frame: FrameType | None) -> None:
    """Stand in for a handler: the run is already ending."""
