"""What a power cycle through a real Home Assistant costs over its off time, its on time and the board's boot."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))

from real_home_assistant import HomeAssistant, Plugs, missing

from hut_ci.claims.flock import claim
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.power.choose import choose
from hut_ci.power.wiring import cycle_slot
from hut_ci.stages.slot import Note
from hut_ci.virtual.lab import VirtualLab

OFF_SECONDS = 0.5
CYCLES = 10


def power_cycle(rounds: int) -> dict[str, float]:
    """Medians in seconds; empty, with the reason on standard error, where there is no Home Assistant."""
    if reason := missing():
        print(f"power cycle not measured: {reason}", file=sys.stderr)
        return {}
    plugs = Plugs()
    samples: list[float] = []
    try:
        with tempfile.TemporaryDirectory(prefix="hut-ci-bench-") as name:
            folder = Path(name)
            with HomeAssistant(folder / "ha", plugs) as server, VirtualLab(1, folder=folder / "lab") as virtual:
                plugs.wire({slot: board.power for slot, board in virtual.boards.items()})
                path = _lab_yml(virtual, server)
                for _ in range(rounds * CYCLES):
                    samples.append(_overhead(path))
    finally:
        plugs.close()
    return {
        "power cycle over off + on + boot": statistics.median(samples),
        "slowest power cycle over the same": max(samples),
    }


def _lab_yml(virtual: VirtualLab, server: HomeAssistant) -> Path:
    document: dict[str, Any] = yaml.safe_load(virtual.lab_yml.read_text())
    (virtual.folder / "secrets" / "home-assistant").write_text(server.token)
    document["home_assistant"]["url"] = server.url
    document["slots"]["hut-01"]["power"] |= {"off": OFF_SECONDS, "on": 0, "timeout": 10}
    path = virtual.folder / "real.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def _overhead(path: Path) -> float:
    """Of one cycle, beyond its off time; on time and boot are next to nothing here, and not taken off."""
    lab = load_lab(path)
    slot = lab.slots[0]
    with claim(lab, slot, note=Note("bench"), deadline=Deadline(10)) as held:
        began = time.monotonic()
        result = cycle_slot(lab, slot, {slot.id: held}, choose(lab, slot, {}), Deadline(60))
        took = time.monotonic() - began
    assert result.result == "ok", result
    return took - OFF_SECONDS
