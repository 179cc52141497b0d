"""Choosing and taking a slot. The claims engine is handed in: here a small one that keeps its claims in a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hut_ci.board.port_holder import PortHolder
from hut_ci.claims import flock
from hut_ci.deadline import Deadline
from hut_ci.errors import DoesNotFit, SlotError, UsageError
from hut_ci.model import Claim, Evidence, Facts, FlashPlan, Holder, Lab, Needs, Slot
from hut_ci.stages.slot import (
    Claims,
    Note,
    Waiting,
    candidates,
    present,
    take,
    wait_for_port,
)
from hut_ci.stages.verdict import judge

ONE = Slot("hut-01", "esp32-hut-01", ("rfc2217://127.0.0.1:4001",), Facts("esp32", tags=frozenset({"ethernet"})))
TWO = Slot("hut-02", "esp32-hut-02", ("rfc2217://127.0.0.1:4002",), Facts("esp32", psram=4 << 20))
S3 = Slot("s3", "esp32-s3", ("rfc2217://127.0.0.1:4003",), Facts("esp32s3", psram=0))
LAB = Lab("bench", Path("/locks"), Path("/state"), (ONE, TWO, S3), Path("/etc/hut-ci/lab.yml"))
PLAN = FlashPlan((), "esp32", "flash_args")
NOW = Deadline(0)


class Desk:
    """A claims engine without processes: hands out the first slot that is asked for and notes what is held."""

    def __init__(self, rivals: dict[str, list[PortHolder | None]] | None = None) -> None:
        self.held: list[str] = []
        self.log: list[str] = []
        self.asked: list[tuple[str, ...]] = []
        self.rivals = rivals or {}

    @contextmanager
    def claim_any(
        self,
        lab: Lab,
        slots: Sequence[Slot],
        *,
        note: Note,
        deadline: Deadline,  # noqa: ARG002 (the protocol's name)
        on_wait: Callable[[Waiting], None] | None = None,
    ) -> Iterator[Claim]:
        self.asked.append(tuple(slot.id for slot in slots))
        slot = slots[0]
        if on_wait:
            on_wait(Waiting(slot.id, None, 1, f"{slot.id} is held by alice"))
        self.held.append(slot.id)
        try:
            yield Claim(slot.id, Holder(1, "me", "lab", "", note.why), lab.lock_dir / slot.id, -1)
        finally:
            self.held.remove(slot.id)

    def who_holds(self, path: str) -> PortHolder | None:
        answers = self.rivals.get(path, [None])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def ids(slots: Sequence[Slot]) -> list[str]:
    return [slot.id for slot in slots]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, ["hut-01", "hut-02"]),
        ("hut-02", ["hut-02"]),
        ("esp32-hut-01", ["hut-01"]),
        ("esp32", ["hut-01", "hut-02"]),
        ("ethernet", ["hut-01"]),
    ],
)
def test_by_id_label_chip_tag_or_all_that_fit(wanted: str | None, found: list[str]) -> None:
    """CARD-3, WS8-4: the runner's label leads to its slot."""
    assert ids(candidates(LAB, wanted, PLAN, Needs())) == found


def test_needs_choose() -> None:
    assert ids(candidates(LAB, None, PLAN, Needs(psram=4 << 20))) == ["hut-02"]


def test_without_a_plan_every_slot_fits() -> None:
    assert ids(candidates(LAB, None, None, Needs())) == ["hut-01", "hut-02", "s3"]


def test_nothing_fits_says_what_each_slot_lacks() -> None:
    with pytest.raises(DoesNotFit) as refused:
        candidates(LAB, None, PLAN, Needs(psram=8 << 20))
    text = refused.value.what
    assert "hut-01: the variant needs 8MB of PSRAM, the lab does not know" in text
    assert "hut-02: the variant needs 8MB of PSRAM, the board has 4MB" in text
    assert "s3: the build is for esp32, the board is esp32s3" in text
    assert refused.value.todo


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="'hut-1'; did you mean 'hut-01'") as refused:
        candidates(LAB, "hut-1", PLAN, Needs())
    assert "esp32-hut-02" in refused.value.why


def test_lab_without_slots() -> None:
    with pytest.raises(UsageError, match="has no slot"):
        candidates(replace(LAB, slots=()), None, PLAN, Needs())


def test_quarantined_slots_are_left_out() -> None:
    aside = replace(LAB, slots=(replace(ONE, quarantined="USB hub fails"), TWO))
    assert ids(candidates(aside, None, PLAN, Needs())) == ["hut-02"]


def test_only_quarantined_slots_fit() -> None:
    aside = replace(LAB, slots=(replace(ONE, quarantined="USB hub fails"), S3))
    with pytest.raises(SlotError) as refused:
        candidates(aside, None, PLAN, Needs())
    assert refused.value.evidence == "slot_quarantined"
    assert refused.value.what.startswith("hut-01 is quarantined: USB hub fails; s3: the build is for esp32")


def test_first_name_that_exists_is_the_port(tmp_path: Path) -> None:
    """A native-USB chip has another name in the loader than in the application."""
    (tmp_path / "app").symlink_to("gone")
    (tmp_path / "loader").write_text("")
    assert present(replace(ONE, serial=(f"{tmp_path}/app", f"{tmp_path}/loader"))) == f"{tmp_path}/loader"


def test_network_port_counts_as_existing() -> None:
    assert present(ONE) == "rfc2217://127.0.0.1:4001"


def test_absent_board_says_what_is_wrong_with_each_name(tmp_path: Path) -> None:
    """WS8-5, WS8-13: a dangling link is told from a missing one, and the devices that exist are named."""
    (tmp_path / "app").symlink_to("gone")
    with pytest.raises(SlotError) as refused:
        present(replace(ONE, serial=(f"{tmp_path}/app", f"{tmp_path}/loader")))
    assert refused.value.evidence == "slot_absent"
    assert f"{tmp_path}/app is a dangling link and {tmp_path}/loader does not exist" in refused.value.what
    assert "/dev/serial/by-id has" in refused.value.what


class Arriving:
    """A clock on which the device appears at the third look."""

    def __init__(self, device: Path) -> None:
        self.looks, self.device = 0, device

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == 3:
            self.device.write_text("")
        return 0.0


def test_port_is_waited_for(tmp_path: Path) -> None:
    device = tmp_path / "usb"
    slot = replace(ONE, serial=(str(device),))
    assert wait_for_port(slot, Deadline(10, Arriving(device))) == str(device)
    device.unlink()
    with pytest.raises(SlotError, match="absent"):
        wait_for_port(slot, Deadline(0))


def test_taken_slot_is_held_and_let_go() -> None:
    desk, said = Desk(), list[str]()
    with take(desk, LAB, (ONE, TWO), Note("run"), NOW, said.append) as (claim, slot):
        assert (claim.slot_id, slot, claim.holder.why) == ("hut-01", ONE, "run")
        assert desk.held == ["hut-01"]
    assert desk.held == []
    assert desk.asked == [("hut-01", "hut-02")], "a place in every queue at once"
    assert said == ["waiting: hut-01 is held by alice"]


def test_error_inside_lets_go() -> None:
    desk = Desk()
    with pytest.raises(ZeroDivisionError), take(desk, LAB, (ONE,), Note(), NOW):
        _ = 1 // 0
    assert desk.held == []


def test_port_held_by_another_program_is_blocked() -> None:
    """The evidence row's sentence names port, program and pid, and the run ends `blocked`."""
    desk = Desk({ONE.serial[0]: [PortHolder(4711, "minicom", "bob")]})
    with pytest.raises(SlotError) as refused, take(desk, LAB, (ONE,), Note(), NOW, settle=0):
        pytest.fail("a held port was handed out")
    assert desk.held == []
    verdict = judge(Evidence(refused.value.evidence, refused.value.fields))
    assert (verdict.name.value, verdict.exit_code) == ("blocked", 4)
    assert verdict.sentence == "blocked: rfc2217://127.0.0.1:4001 is held by minicom (pid 4711)"
    assert "bob" in refused.value.what


def test_dying_program_of_a_killed_run_is_given_a_moment() -> None:
    gone_soon: list[PortHolder | None] = [PortHolder(4711, "esptool", "ci"), None]
    with take(Desk({ONE.serial[0]: gone_soon}), LAB, (ONE,), Note(), NOW, settle=5) as (_, slot):
        assert slot == ONE


def test_slot_with_a_fault_is_passed_over(tmp_path: Path) -> None:
    absent = replace(ONE, serial=(str(tmp_path / "gone"),))
    desk, said = Desk(), list[str]()
    with take(desk, LAB, (absent, TWO), Note(), NOW, said.append, settle=0) as (_, slot):
        assert slot == TWO
        assert desk.held == ["hut-02"], "the faulty one is not kept"
    assert any(text.startswith("passed over: the board of hut-01 is absent") for text in said)


def test_faults_of_all_are_told(tmp_path: Path) -> None:
    absent = replace(ONE, serial=(str(tmp_path / "gone"),))
    desk = Desk({TWO.serial[0]: [PortHolder(4711, "minicom", "bob")]})
    with pytest.raises(SlotError) as refused, take(desk, LAB, (absent, TWO), Note(), NOW, settle=0):
        pytest.fail("no slot is fit to be taken")
    assert "hut-01 is absent" in refused.value.what
    assert "is held by minicom" in refused.value.what
    assert judge(Evidence(refused.value.evidence, refused.value.fields)).exit_code == 4


def test_real_engine_fits_the_protocol(tmp_path: Path) -> None:
    engine: Claims = flock
    lab = replace(LAB, lock_dir=tmp_path)
    with take(engine, lab, (ONE, TWO), Note("first"), NOW) as (first, _):
        assert first.slot_id == "hut-01"
        with take(engine, lab, (ONE, TWO), Note("second"), NOW) as (second, _):
            assert second.slot_id == "hut-02"
            with pytest.raises(SlotError) as refused, take(engine, lab, (ONE, TWO), Note(), NOW):
                pytest.fail("two claims on one slot")
    text = judge(Evidence(refused.value.evidence, refused.value.fields)).sentence
    assert text.startswith("blocked: hut-01 is held by ")
    assert '"first"' in text
    assert '"second"' in text
