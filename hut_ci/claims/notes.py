"""The JSON note in a lock or ticket file, and the sentences made of it. Pure: text in, text out.

Every member of the lab group can write these files, so what is read back is bounded, typed and free of control
characters before anybody sees it.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from hut_ci.model import Holder

MAX_BYTES = 32768  # eight texts of MAX_TEXT characters, each escaped to twelve bytes, fit
MAX_TEXT = 300
IN_VAIN = (
    "call this command by itself, because it claims the slot, too; a program that does not may use the board's port "
    "($HUT_CI_PORT below `hut-ci slots run`)"
)
"""For whoever would wait for a process that waits for it."""
UNNAMED = Holder(pid=0, user="", host="", since_utc="")


def encode(holder: Holder) -> bytes:
    """One line of JSON, shorter than MAX_BYTES: long texts are cut."""
    entries = {name: plain(value) if isinstance(value, str) else value for name, value in asdict(holder).items()}
    return (json.dumps(entries, ensure_ascii=True) + "\n").encode("ascii")


def decode(note: bytes) -> Holder | None:
    """The holder that a note names; None for anything that is not a whole note. Unknown keys are ignored."""
    try:
        entries = json.loads(note[:MAX_BYTES].decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or not isinstance(entries.get("pid"), int):
        return None
    texts = {key: plain(value) for key, value in entries.items() if isinstance(value, str)}
    return Holder(
        pid=entries["pid"],
        user=texts.get("user", ""),
        host=texts.get("host", ""),
        since_utc=texts.get("since_utc", ""),
        why=texts.get("why", ""),
        run_url=texts.get("run_url"),
        repository=texts.get("repository"),
        commit_sha=texts.get("commit_sha"),
        deadline_utc=texts.get("deadline_utc"),
    )


def who(holder: Holder) -> str:
    """`alice (pid 123, "debugging")`; a lock that was taken without a note has only a pid, or nothing to name."""
    if not holder.user and not holder.pid:
        return "another program, which left no note"
    why = f', "{holder.why}"' if holder.why else ""
    pid = f"pid {holder.pid}" if holder.pid else "pid unknown"
    return f"{holder.user or 'somebody'} ({pid}{why})"


def held_sentence(slot_id: str, holder: Holder | None, place: int, in_front: Holder | None, today: str) -> str:
    """`hut-01 is held by alice (pid 123, "debugging") since 12:00Z; place 2 in the queue, after bob (pid 77)`.

    `in_front` is served just before us. `today` is a UTC date (YYYY-MM-DD): an instant of another day is shown with
    its date.
    """
    ours = f"place {place} in the queue" + (f", after {who(in_front)}" if in_front else "")
    if holder is None:
        return f"{slot_id} is changing hands; {ours}"
    since = f" since {clock(holder.since_utc, today)}" if holder.since_utc else ""
    until = f" until {clock(holder.deadline_utc, today)} at the latest" if holder.deadline_utc else ""
    return f"{slot_id} is held by {who(holder)}{since}{until}; {ours}"


def own_hold(slot_id: str) -> str:
    return f"that is your own hold, and `hut-ci slots release {slot_id}` ends it"


def is_stopped(slot_id: str, pid: int) -> str:
    """What whoever waits behind a stopped process (Ctrl-Z, a debugger) can do."""
    return (
        f"process {pid} is stopped (Ctrl-Z?): `fg` in its terminal or `kill -CONT {pid}` continues it, and for an "
        f"operator `hut-ci slots steal {slot_id}` ends it"
    )


def clock(instant: str, today: str) -> str:
    """`12:00Z`, with its date on another day than `today`."""
    date, _, time = instant.partition("T")
    minutes = f"{time[:5]}Z"
    return minutes if date == today else f"{date} {minutes}"


def plain(text: str) -> str:
    """`text` on one line, cut to MAX_TEXT, without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])
