"""The order, the bounds and the honesty of one power cycle, on a clock that the test owns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError, PowerError
from hut_ci.model import Claim, Holder, PowerResult, PowerSettings, Slot
from hut_ci.stages.power_cycle import LOOK_SECONDS, Guarded, power_cycle
from hut_ci.stages.power_results import RESULTS, pause_before_retry

HOLDER = Holder(1, "alice", "bench", "2026-01-01T00:00:00Z")


@dataclass
class World:
    """A plug, a board and a guard in one; `journal` is what happened, `now` the time in seconds."""

    cuts: bool = True
    revives: bool = True
    reads_back: bool = True
    proves: bool = True
    wakes_early: bool = False
    restarts: tuple[float, ...] = ()
    fails: dict[str, list[str]] = field(default_factory=dict)
    now: float = 0.0
    journal: list[str] = field(default_factory=list)
    reads: bool = True
    powered: bool = True
    cooling: float = 0.0
    takes: float = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if seconds > LOOK_SECONDS:
            self.journal.append(f"wait {seconds:g}")

    # the switch
    def exists(self, _: Deadline) -> None:
        self._step("exists")

    def off(self, _: Deadline) -> None:
        self._step("off")
        self.powered = self.powered and not self.cuts
        self.reads = not self.reads_back

    def on(self, _: Deadline) -> None:
        self._step("on")
        self.powered, self.reads = self.revives, True

    def is_on(self, _: Deadline) -> bool | None:
        return self.reads

    def _step(self, name: str) -> None:
        self.journal.append(name)
        self.now += self.takes
        if self.fails.get(name):
            raise PowerError(name, fields={"detail": self.fails[name].pop(0)})

    # the witness
    def __enter__(self) -> World:
        self.journal.append("watch")
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.append("unwatch")

    def gone(self, _: Deadline) -> bool:
        self.journal.append("gone?")
        return not self.proves or not self.powered

    def still_gone(self) -> bool:
        """`restarts` are the moments (s) in whose following half second a board that keeps its power is there."""
        there = any(begin <= self.now < begin + 0.5 for begin in self.restarts)
        return not self.proves or not (self.wakes_early or there)

    def back(self, _: Deadline) -> bool:
        self.journal.append("back?")
        return not self.proves or self.powered

    # the guard
    @contextmanager
    def guard(self) -> Iterator[Guarded]:
        self.journal.append("guard")
        watch = _Watch(self)
        try:
            yield watch
        finally:
            if not watch.finished:
                self.journal.append("rescued")
                self.powered = self.reads = True

    # the cooldown
    def remaining(self) -> float:
        return self.cooling

    def stamp(self) -> None:
        self.journal.append("stamp")

    def cycle(self, *, seconds: float = 100.0, retries: int = 0, **more: object) -> PowerResult:
        slot = Slot("hut-01", "l", ("/dev/x",), power=PowerSettings(off_seconds=2.0, on_seconds=1.0, retries=retries))
        return power_cycle(
            Claim("hut-01", HOLDER, Path("/l"), 9),
            slot,
            self,
            self,
            guard=self.guard,
            cooldown=self,
            deadline=Deadline(seconds, self.clock),
            sleep=self.sleep,
            **more,  # type: ignore[arg-type]
        )


@dataclass
class _Watch:
    world: World
    finished: bool = False

    def switching_off(self) -> None:
        self.world.journal.append("armed")

    def off_answered(self) -> None:
        self.world.journal.append("cut")

    def done(self) -> None:
        self.finished = True
        self.world.journal.append("done")


def test_order() -> None:
    """WS9-6: exists, off, proof, wait, on, proof; the guard stands before off, the cooldown is stamped with it."""
    world = World()
    result = world.cycle()
    assert (result.result, result.detail, result.proven) == ("ok", "ok", True)
    assert world.journal == [
        *["exists", "watch", "guard", "armed", "stamp", "off", "cut", "gone?"],
        *["on", "done", "back?", "wait 1", "unwatch"],
    ]
    assert result.seconds == pytest.approx(3.0)


def test_without_a_proof_ok_is_marked_unproven() -> None:
    result = World(proves=False, cuts=False).cycle()
    assert (result.result, result.detail, result.proven) == ("ok", "unproven", False)


@pytest.mark.parametrize(
    ("world", "last"),
    [
        (World(cuts=False), "kept its power"),
        (World(revives=False), "did not show a power-on"),
        (World(wakes_early=True), "showed life"),
    ],
    ids=["nothing cut", "nothing came back", "came back by itself"],
)
def test_a_lying_switch_is_never_ok(world: World, last: str) -> None:
    """Design decision 5: where the slot has a proof, a read-back alone is not enough."""
    result = world.cycle()
    assert (result.result, result.detail, result.proven) == ("ha_error", "not_proven", False)
    assert last in result.text


def test_a_board_that_restarts_in_step_with_the_off_time_is_not_proven() -> None:
    """Design decision 5: gone after `off` and gone before `on` is not gone between."""
    result = World(restarts=(0.7,)).cycle()
    assert (result.result, result.detail, result.proven) == ("ha_error", "not_proven", False)
    assert "showed life" in result.text


def test_a_switch_that_reads_on_again_by_itself_is_stuck() -> None:
    result = World(reads_back=False).cycle()
    assert (result.result, result.detail) == ("timeout", "stuck")


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_are_bounded(retries: int) -> None:
    """WS9-3."""
    world = World(cuts=False)
    result = world.cycle(retries=retries)
    assert world.journal.count("off") == retries + 1
    assert result.detail == "not_proven"
    assert world.powered


def test_a_retry_can_succeed_and_power_was_restored_between() -> None:
    world = World(fails={"on": ["server_error"]})
    assert world.cycle(retries=1).result == "ok"
    assert world.journal.count("rescued") == 1
    assert world.journal.index("rescued") < len(world.journal) - world.journal[::-1].index("off")


@pytest.mark.parametrize("detail", sorted(name for name, (_, again) in RESULTS.items() if not again))
def test_what_cannot_get_better_is_tried_once(detail: str) -> None:
    """A second bad token may ban the whole lab host."""
    world = World(fails={"off": [detail] * 5})
    assert world.cycle(retries=4).detail == detail
    assert world.journal.count("off") == 1


@pytest.mark.parametrize("step", ["off", "on"])
def test_leaving_early_always_rescues(step: str) -> None:
    """WS9-9: whatever fails after the guard stands, the guard is left without `done`."""
    world = World(fails={step: ["banned"]})
    assert world.cycle().result == "ha_error"
    assert "rescued" in world.journal
    assert "done" not in world.journal


def test_nothing_is_switched_when_the_entity_is_unknown() -> None:
    world = World(fails={"exists": ["unknown_entity"]})
    assert world.cycle().detail == "unknown_entity"
    assert world.journal == ["exists"]


def test_cooldown_is_waited_for() -> None:
    """WS9-4."""
    world = World(cooling=30.0)
    assert world.cycle().result == "ok"
    assert world.journal.index("wait 30") < world.journal.index("off")


def test_cooldown_beyond_the_deadline_is_a_timeout_and_switches_nothing() -> None:
    """WS9-4."""
    world = World(cooling=30.0)
    result = world.cycle(seconds=20.0)
    assert (result.result, result.detail) == ("timeout", "cooldown")
    assert "off" not in world.journal


def test_no_cycle_is_begun_that_cannot_end_in_time() -> None:
    world = World()
    result = world.cycle(seconds=2.5)
    assert (result.result, result.detail) == ("timeout", "deadline")
    assert "off" not in world.journal


def test_the_off_time_is_never_cut_short() -> None:
    world = World(takes=10.0)
    result = world.cycle(seconds=21.0)  # exists and off take 20 s, so that 1 s is left for 2 s
    assert (result.result, result.detail) == ("timeout", "deadline")
    assert "on" not in world.journal
    assert "rescued" in world.journal


def test_a_port_that_cannot_be_watched_is_no_proof() -> None:
    class Unplugged(World):
        def __enter__(self) -> World:
            raise BoardError("no such port")

    world = Unplugged()
    assert world.cycle().detail == "no_witness"
    assert "off" not in world.journal


def test_every_slot_behind_the_plug_must_be_claimed() -> None:
    """Design decision 2: nobody cuts the power of a running test."""
    world = World()
    with pytest.raises(PowerError, match="hut-02") as refused:
        world.cycle(group=("hut-01", "hut-02"))
    assert "Claim all slots" in refused.value.todo
    assert world.journal == []
    held = {"hut-02": Claim("hut-02", HOLDER, Path("/l2"), 8)}
    assert world.cycle(group=("hut-01", "hut-02"), others=held).result == "ok"


def test_retry_after_is_respected_and_bounded() -> None:
    """Security 21."""
    assert pause_before_retry(PowerError("x", fields={"retry_after": "7"}), 1) == 7.0
    assert pause_before_retry(PowerError("x", fields={"retry_after": "86400"}), 1) == 60.0
    pauses = [pause_before_retry(PowerError("x"), number) for number in range(1, 30)]
    assert max(pauses) <= 5.0
    assert len(set(pauses)) > 20


def test_every_detail_in_the_code_is_in_the_table() -> None:
    """WS9-5, WS9-7: one table says what each case is in the contract's enum."""
    assert {result for result, _ in RESULTS.values()} == {"ok", "timeout", "ha_error"}
    root = Path(power_cycle.__code__.co_filename).parents[1]
    sources = [*(root / "power").glob("*.py"), *(root / "stages").glob("power_*.py")]
    used: set[str] = set()
    for source in sources:
        text = source.read_text(encoding="utf-8")
        used |= set(re.findall(r'"detail": "([a-z_]+)"', text))
        used |= set(re.findall(r'_failed\(\s*"([a-z_]+)"', text))
        used |= set(re.findall(r'^    \d{3}: \(\s*"([a-z_]+)"', text, re.MULTILINE))
    assert {"unauthorized", "busy", "not_proven", "no_token", "slow", "state_file"} <= used
    assert used - {"server_error"} <= RESULTS.keys()
