"""When a slot's power was last cut, remembered across processes: relays and boards wear out by switching."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hut_ci.power.state_file import read_trusted, state_path, write_durably


@dataclass(frozen=True, slots=True)
class SlotCooldown:
    """`seconds` between two cycles of `slot_id`; `clock` is wall time, because the record outlives a boot."""

    state_dir: Path
    slot_id: str
    seconds: float
    clock: Callable[[], float] = time.time

    def remaining(self) -> float:
        """Seconds until the next cycle may begin; never more than `seconds`, whatever the clock did since."""
        text = read_trusted(self._path)
        if text is None:
            return 0.0
        try:
            last = float(json.loads(text)["last"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            last = math.nan
        if not math.isfinite(last):
            return self.seconds  # unreadable: a cycle happened, nobody knows when
        return min(self.seconds, max(0.0, last + self.seconds - self.clock()))

    def stamp(self) -> None:
        """Remember that the power is cut now."""
        write_durably(self._path, json.dumps({"slot": self.slot_id, "last": self.clock()}) + "\n")

    @property
    def _path(self) -> Path:
        return state_path(self.state_dir, "cooldown", self.slot_id)
