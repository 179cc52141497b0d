"""Random signals at random moments of many runs on two slots; the same has to be true after each of them.

HUT_CI_SOAK_RUNS (1000) says how many, HUT_CI_SOAK_SEED repeats a series. One line of figures is printed at the end.
security 22, WS8-6, WS9-8, WS9-9.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from console_script import HutCi
from live_run import LiveRun, check_free_at_once, check_nobody_writes, check_report, claimed_apart, live, project

from hut_ci.forges.local import LocalForge
from hut_ci.reports.states import of_verdict
from hut_ci.virtual.app_script import Log, Script
from hut_ci.virtual.images import build_folder
from hut_ci.virtual.lab import VirtualLab

RUNS = int(os.environ.get("HUT_CI_SOAK_RUNS", "1000"))
SEED = int(os.environ.get("HUT_CI_SOAK_SEED", str(random.SystemRandom().randrange(1 << 32))))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
POWER = {"off": 0.1, "on": 0.1, "cooldown": 0, "retries": 0, "timeout": 2}
GUARDIAN_WITHIN = 10.0
ENDS_WITHIN = 20.0
# What happens to a run → how often, and the seconds within which it is killed, from the moment at which it begins
# (`start-up`), first says something, or tells the relay to switch (`power`). A plain run says nothing more after about
# two seconds, one for a silent board after nine.
KINDS = {
    "start-up": (1, (0.0, 0.5)),
    "plain": (6, (0.0, 2.5)),
    "waiting": (1, (0.0, 1.0)),
    "silent": (1, (0.0, 9.0)),
    "power": (2, (0.0, 0.8)),
}
SILENT = ("silent", "power")
"""Kinds whose board never answers, so that the lab is to blame in the end."""


@dataclass(slots=True)
class Figures:
    """What the last line says."""

    sent: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    ended_first: int = 0
    free_after: float = 0.0
    free_after_guardian: float = 0.0

    def line(self) -> str:
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.sent.items()))
        stages = ", ".join(f"{count} {name}" for name, count in sorted(self.stages.items()))
        return (
            f"random kills: {self.sent.total() + self.ended_first} runs (seed {SEED}); {kills}; {self.ended_first} had "
            f"ended before; ended in {stages}; claimable after at most {1000 * self.free_after:.0f} ms, "
            f"{1000 * self.free_after_guardian:.0f} ms where the power may have been off"
        )


@dataclass(slots=True)
class Series:
    """The runs on one slot, one after the other."""

    lab: VirtualLab
    slot: str
    hut_ci: HutCi
    forge: LocalForge
    builds: tuple[Path, ...]
    chance: random.Random
    figures: Figures
    said: str = ""

    def play(self, numbers: range) -> None:
        for number in numbers:
            try:
                self._one(f"{number:040x}")
            except Exception as error:
                error.add_note(f"run {number} on {self.slot}, seed {SEED}\n{self.said}")
                raise

    def _one(self, sha: str) -> None:
        kind = self.chance.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
        moment = self.chance.uniform(*KINDS[kind][1])
        sent = self.chance.choice(SIGNALS)
        board = self.lab.boards[self.slot]
        if kind in SILENT:
            board.faults.add("silent")
        began = time.monotonic()
        with claimed_apart(self.lab, self.slot) if kind == "waiting" else nullcontext(), self._start(sha) as run:
            try:
                in_time = self._signal(run, kind, began, sent, moment)
            finally:
                self.said = f"{kind}, {sent.name} after {moment:.3f} s, when it had said:\n{run.text}"
            code = run.end(ENDS_WITHIN)
        self.said += f"in the end, exit {code}, it had said:\n{run.text}"
        board.faults.clear()
        self._check(run, kind, sha, sent if in_time else None, code)
        shutil.rmtree(run.out, ignore_errors=True)

    def _signal(self, run: LiveRun, kind: str, began: float, sent: signal.Signals, moment: float) -> bool:
        if kind != "start-up":
            run.wait_for('"stage"')
        if kind == "power":
            self.lab.relay.wait_for("call_off", ENDS_WITHIN, detail=self.lab.entity(self.slot), after=began)
        return _signal_after(run, sent, moment)

    def _start(self, sha: str) -> LiveRun:
        hut = project(self.hut_ci.folder, "ready")
        forge = ("--commit", sha, "--forge", f"local:{self.forge.root}")
        build = self.chance.choice(self.builds)
        return live(self.hut_ci, build, "--hut", hut, *forge, lab=self.lab.lab_yml, slot=self.slot, wait=60)

    def _check(self, run: LiveRun, kind: str, sha: str, sent: signal.Signals | None, code: int) -> None:
        since = check_nobody_writes(self.lab, self.slot)
        seconds = check_free_at_once(self.lab, self.slot, GUARDIAN_WITHIN)
        events = self.lab.boards[self.slot].events
        assert not [event for event in events if event.seconds > since and event.name == "connected"]
        self._check_words(run, kind, sha, sent, code)
        self._count(sent, seconds, kind in SILENT)

    def _check_words(self, run: LiveRun, kind: str, sha: str, sent: signal.Signals | None, code: int) -> None:
        """Exit code, report and status say the same."""
        states = [status.state for status in self.forge.history(sha, f"hardware / {self.slot}")]
        report = run.report
        if report is None:
            self.figures.stages["its start-up"] += 1
            assert sent is not None
            assert states == []
            assert code in (-sent, 128 + sent, 1), run.text  # 1: Python's own, interrupted in its first milliseconds
            return
        hardware = check_report(report, partial=report["hardware"]["partial"])
        if sent is not None:
            self.figures.stages[_reached(hardware)] += 1
        if sent == signal.SIGKILL:
            return
        assert not hardware["partial"]
        assert states[-1] == of_verdict(hardware["verdict"]).github
        assert set(states[:-1]) <= {"pending"}
        verdict = hardware["verdict"]
        decided = "error" if kind in SILENT else "pass"  # how it ends by itself, which a signal may just have missed
        assert verdict["name"] in ((decided,) if sent is None else (decided, "cancelled")), verdict
        # After the last word of a run its handlers are gone, and a signal ends the process as it ends any other.
        assert code in {verdict["exit_code"]} | ({-sent, 128 + sent} if sent else set())

    def _count(self, sent: signal.Signals | None, seconds: float, guarded: bool) -> None:
        if sent is None:
            self.figures.ended_first += 1
        else:
            self.figures.sent[sent.name] += 1
        if guarded:  # the guardian keeps the slot until the relay is on and has stayed so for a second
            self.figures.free_after_guardian = max(self.figures.free_after_guardian, seconds)
        else:
            self.figures.free_after = max(self.figures.free_after, seconds)


def _reached(hardware: dict[str, Any]) -> str:
    """The stage in which a run was killed or cancelled, as its report tells it."""
    if hardware["power_cycle_count"] or hardware["verdict"]["evidence"]["id"] == "passed":
        return "a power cycle or later" if hardware["power_cycle_count"] else "the end"
    stages = [stage["name"] for attempt in hardware["attempts"] for stage in attempt["stages"]]
    return str(hardware["verdict"]["evidence"]["fields"].get("stage", stages[-1] if stages else "the start"))


def _signal_after(run: LiveRun, number: signal.Signals, seconds: float) -> bool:
    """Whether the run was still there."""
    try:
        run.end(seconds)
    except subprocess.TimeoutExpired:
        run.send(number)
        return True
    return False


@pytest.mark.soak
def test_random_kills(tmp_path: Path) -> None:
    builds = tuple(
        build_folder(tmp_path / f"build-{seed}", script=Script((Log("ready"),)), app_size=64 << 10, seed=seed)
        for seed in (1, 2)
    )
    forge, figures = LocalForge(tmp_path / "forge"), Figures()
    with VirtualLab(2, folder=tmp_path / "lab", transport="pty", power=POWER) as lab, ThreadPoolExecutor(2) as pool:
        series = [
            Series(lab, slot, HutCi(tmp_path / slot), forge, builds, random.Random(SEED + number), figures)
            for number, slot in enumerate(lab.slot_ids)
        ]
        played = [pool.submit(one.play, range(start, RUNS, 2)) for start, one in enumerate(series)]
        for ending in played:
            ending.result()
        for one in series:
            _check_the_end(one)
    print(f"\n{figures.line()}")


def _check_the_end(series: Series) -> None:
    """After all that a run passes, and no status is left pending."""
    with series._start(f"{RUNS:040x}") as run:
        assert run.end() == 0, run.text
    states = [series.forge.history(f"{number:040x}", f"hardware / {series.slot}") for number in range(RUNS + 1)]
    assert not [history[-1] for history in states if history and history[-1].state == "pending"]
    assert series.lab.boards[series.slot].violations == []
