"""The files of a slot: `hut-01` and `01` are both the seed's `hut-01.lock`, never `hut-hut-01.lock`."""

from __future__ import annotations

import re

from hut_ci.errors import ConfigError

PREFIX = "hut-"
# No dot and no slash: what passes is one path component, neither hidden nor a way out of the lock folder.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")


def stem(slot_id: str) -> str:
    """The name of the slot's files without their suffix. Raises ConfigError for an id that is not a plain name."""
    short = slot_id.removeprefix(PREFIX)
    if short.startswith(PREFIX) or not _ID.match(short):
        raise ConfigError(
            f"{slot_id!r} cannot name a lock file",
            why="slot ids become file names: letters, digits, '-' and '_', at most one leading 'hut-', no '.' or '/'",
            todo="rename the slot in lab.yml, for example to hut-01",
        )
    return PREFIX + short


def lock_name(slot_id: str) -> str:
    return f"{stem(slot_id)}.lock"


def steals_name(slot_id: str) -> str:
    """The file that remembers who took the slot from whom."""
    return f"{stem(slot_id)}.steals"


def queue_name(slot_id: str) -> str:
    """The folder of the tickets, beside the lock."""
    return f"{stem(slot_id)}.queue"
