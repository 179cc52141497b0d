"""Which of the boards on this machine somebody means: the only free one, or the one that is plugged in again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from hut_ci.board.serial_links import Found, SerialLink, dangling, devices
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError, UsageError

POLL_SECONDS = 0.1
"""udev needs some 100 ms to make the links of a new device; nothing in the standard library waits for it."""


def find_device(
    links: Callable[[], tuple[SerialLink, ...]],
    taken: Sequence[str],
    tell: Callable[[str], None],
    *,
    deadline: Deadline,
    may_ask: bool = True,
    pause: Callable[[float], None] = time.sleep,
) -> Found:
    """The one device that `taken` (devices of existing slots) does not hold; with several, the one plugged again.

    `may_ask` False refuses instead of asking somebody to plug. Raises SlotError and UsageError.
    """
    free = _free(links(), taken)
    if len(free) == 1:
        return free[0]
    if not may_ask:
        raise _cannot_choose(free, links())
    if not free:
        tell("No free board found. Plug one in now, with a cable that carries data.")
        return _wait(lambda: _free(links(), taken), links, deadline, pause)
    tell(f"{len(free)} boards found. Unplug the one that you mean, wait a second, and plug it in again.")
    names = {name for found in free for name in _paths(found)}
    gone: set[str] = set()

    def returned() -> tuple[Found, ...]:
        now = _free(links(), taken)
        there = {name for found in now for name in _paths(found)}
        for name in sorted((names - there) - gone):
            tell(f"  gone: {name}")
        gone.update(names - there)
        return tuple(found for found in now if _paths(found) & gone or not _paths(found) & names)

    return _wait(returned, links, deadline, pause)


def _free(links: tuple[SerialLink, ...], taken: Sequence[str]) -> tuple[Found, ...]:
    held = {os.path.realpath(name) for name in taken}
    return tuple(found for found in devices(links) if found.device not in held)


def _paths(found: Found) -> set[str]:
    """By-path where there is one: twins share their by-id link, so that it may vanish and return with either."""
    paths = {link.path for link in found.links if link.kind == "by-path"}
    return paths or {link.path for link in found.links}


def _wait(
    candidates: Callable[[], tuple[Found, ...]],
    links: Callable[[], tuple[SerialLink, ...]],
    deadline: Deadline,
    pause: Callable[[float], None],
) -> Found:
    """The first candidate, once both of its links have had time to appear."""
    while not deadline.expired:
        if candidates():
            pause(5 * POLL_SECONDS)
            if again := candidates():
                return again[0]
        pause(POLL_SECONDS)
    raise _cannot_choose((), links())


def _cannot_choose(free: Sequence[Found], links: tuple[SerialLink, ...]) -> SlotError | UsageError:
    if free:
        names = "".join(f"\n        {found.identity}" for found in free)
        return UsageError(
            f"{len(free)} boards are free, and none was named",
            why="only you know which of them you mean",
            todo=f"name one with --port:{names}",
        )
    broken = "".join(f"\n        {name} leads nowhere" for name in dangling(links))
    return SlotError(
        "no free serial device found in /dev/serial",
        why="nothing is plugged in, the cable only charges, the driver is missing, or this is a container "
        f"without udev's links{broken}",
        todo="`dmesg | tail` shows what the kernel saw; `--port PATH` names a device yourself",
        evidence="slot_absent",
    )
