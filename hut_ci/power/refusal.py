"""A token that Home Assistant refused is not tried again by a timer: enough bad tokens, and it bans this host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from hut_ci.errors import PowerError
from hut_ci.model import Lab
from hut_ci.power.state_file import read_trusted, remove_durably, state_path, write_durably
from hut_ci.power.token import read_token

OF_THE_SERVER = frozenset({"unauthorized", "banned", "no_token", "unreachable", "redirected", "bad_answer"})
"""What is wrong for all of Home Assistant's relays at once, so that asking for the next one only repeats it."""


def remember(lab: Lab, environ: Mapping[str, str]) -> None:
    """Record that the token of today was refused; raises PowerError where that cannot be written."""
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    write_durably(_path(lab), json.dumps({"refused": _fingerprint(lab, environ), "since_utc": since}) + "\n")


def refused_since(lab: Lab, environ: Mapping[str, str]) -> str | None:
    """When this very token was refused; None for another token or none. Raises PowerError."""
    text = read_trusted(_path(lab))
    try:
        record = json.loads(text or "null")
        same = record["refused"] == _fingerprint(lab, environ)
        return str(record["since_utc"]) if same else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # unreadable, or not there: one more try does no harm


def forget(lab: Lab) -> None:
    """The token was accepted. Raises PowerError where the record cannot be removed."""
    if read_trusted(_path(lab)) is not None:
        remove_durably(_path(lab))


def refuse_again(lab: Lab, environ: Mapping[str, str]) -> None:
    """Raises PowerError (`unauthorized`), asking nobody, where the token is the one that was refused."""
    if since := refused_since(lab, environ):
        raise PowerError(
            f"Home Assistant refused its token at {since}, and is not asked again with the same one",
            why="After some bad tokens it bans this host, good tokens included.",
            todo="Store a new token where lab.yml points; to try this one again, name a slot: hut-ci power repair SLOT",
            fields={"detail": "unauthorized"},
        )


def _fingerprint(lab: Lab, environ: Mapping[str, str]) -> str:
    """Of server and token; what it was made of cannot be found from it."""
    assert lab.home_assistant is not None
    token = read_token(lab.home_assistant, environ).reveal()
    return sha256(f"{lab.home_assistant.url}\0{token}".encode()).hexdigest()


def _path(lab: Lab) -> Path:
    return state_path(lab.state_dir, "refused", "token")
