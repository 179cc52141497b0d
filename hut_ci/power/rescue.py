"""What a guardian does when the one that switched off is killed, hangs or overstays its time: power on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.power.choose import Switch, unpack
from hut_ci.power.intent import RESTORE_SECONDS, is_hopeless, switch_back
from hut_ci.power.state_file import remove_durably

IN_FLIGHT_SECONDS = (1.0, 30.0)
"""An `off` without an answer may still be on its way: the state is watched after `on` for as long as a call may take
(the slot's `timeout`), but at least and at most so long, because the slot is held meanwhile."""

Hear = Callable[[Deadline | None], str | None]
"""The next word about the cycle, empty when there will be no more, None where the deadline comes first."""


def guard(settings: Mapping[str, Any], hear: Hear) -> str:
    """Watch one cycle to its end and give its power back where it has not: `on`, or `failed` and the detail.

    `settings` are the packed `switch`, the `seconds` that the cycle may take, and the files of its `intents`.
    """
    switch = unpack(settings["switch"])
    stage = _watch(switch, Deadline(settings["seconds"]), hear)
    try:
        if stage in ("off", "cut"):
            settle = in_flight(switch) if stage == "off" else 0.0
            switch_back(switch, Deadline(RESTORE_SECONDS), settle=settle)
        for path in settings["intents"]:
            remove_durably(Path(path))
    except PowerError as error:
        return f"failed {error.fields.get('detail', '')}"
    return "on"


def in_flight(switch: Switch) -> float:
    """Seconds for which an `off` that nobody answered may still arrive."""
    least, most = IN_FLIGHT_SECONDS
    return min(most, max(least, getattr(switch, "timeout", 0.0)))


def _watch(switch: Switch, deadline: Deadline, hear: Hear) -> str:
    """How far the cycle came by its end: empty, `off`, `cut` or `done`.

    One that overstays its deadline gets its power at once. It keeps its record and is watched to its end: it may go on.
    """
    stage = ""
    patience: Deadline | None = deadline
    while stage != "done":
        word = hear(patience)
        if word is None:
            patience = _power_on(switch)
        elif not word:
            break
        else:
            stage = word
    return stage


def _power_on(switch: Switch) -> Deadline | None:
    """Switch on; when to try again, None for never."""
    try:
        switch_back(switch, Deadline(RESTORE_SECONDS))
    except PowerError as error:
        return None if is_hopeless(error) else Deadline(RESTORE_SECONDS)
    return None
