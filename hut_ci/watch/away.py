"""Whether the lab tests anything now: its operator may have sent it away, or its bench may not run."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from hut_ci.reports.atomic import replace_file
from hut_ci.watch import spool

AWAY = "away"
"""Folder in the spool that everybody who shares the lab may write to."""
UNTIL = "until.json"
BENCH = "bench.json"
SILENT_SECONDS = 1800.0
"""Without a sign of life for so long, the bench is taken to be off."""
START_SECONDS = 60.0
"""For both processes to begin on a host that has just started."""


def send_away(folder: Path, until: str) -> None:
    """`until` is an instant, `folder` the spool. Raises OSError."""
    (folder / AWAY).mkdir(parents=True, exist_ok=True)
    replace_file(folder / AWAY / UNTIL, json.dumps({"until": until}).encode())


def bring_back(folder: Path) -> bool:
    """Whether it was away. Raises OSError."""
    try:
        (folder / AWAY / UNTIL).unlink()
    except FileNotFoundError:
        return False
    return True


def away_until(folder: Path, now: float) -> str | None:
    """Until when the operator has sent the lab away (an instant); None where it is there."""
    with suppress(ValueError, OverflowError):
        until = str(spool.note(folder, AWAY, UNTIL).get("until"))
        if datetime.fromisoformat(until).timestamp() > now:
            return until
    return None


def sign_of_life(folder: Path, now: float) -> None:
    """What the bench leaves in the spool as long as it runs."""
    replace_file(folder / spool.REPORTS / BENCH, json.dumps({"alive": now}).encode(), durable=False)


def absent(folder: Path, now: float) -> str | None:
    """Why nothing is tested now, in words that follow "until"; None where the lab is there."""
    if until := away_until(folder, now):
        return until
    last = spool.note(folder, spool.REPORTS, BENCH).get("alive")
    is_there = isinstance(last, float) and now - last <= SILENT_SECONDS
    return None if is_there else "its bench is started again"
