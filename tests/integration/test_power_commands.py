"""`hut-ci power …` as programs, people and a timer call it, on the virtual relay."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from hut_ci import cli
from hut_ci.claims.flock import claim
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.errors import HutCiError, SlotError
from hut_ci.model import Claim, Lab, Slot
from hut_ci.power.choose import choose
from hut_ci.power.group import claim_group
from hut_ci.power.intent import intent_path, write_intent
from hut_ci.stages.slot import Note
from hut_ci.virtual.lab import VirtualLab

PATIENCE = 60.0
BEHIND_ONE_PLUG = {"power": {"entity": "switch.slot_1", "group": "shelf", "off": 0.2, "on": 0.1, "cooldown": 0}}


class Bench:
    """A virtual lab, and hut-ci called on it in this process: exit code, standard output and error."""

    def __init__(self, stack: ExitStack, folder: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> None:
        options = {"slots": 1, "transport": "pty", "power": {"retries": 0, "timeout": 3}, **options}
        self.virtual = stack.enter_context(VirtualLab(folder=folder, **options))
        self.relay = self.virtual.relay
        self.lab = load_lab(self.virtual.lab_yml)
        self._capsys = capsys

    def __call__(self, *argv: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        try:
            code = cli.call([*argv, "--lab", str(self.virtual.lab_yml)])
        except HutCiError as error:
            code = error.exit_code
        out, err = self._capsys.readouterr()
        return code or 0, out, err

    def json(self, *argv: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = self(*argv, "--json")
        return code, json.loads(out)

    def left_off(self, *numbers: int) -> None:
        """As a killed cycle of these slots leaves it, numbered from 0."""
        for number in numbers:
            slot = self.lab.slots[number]
            write_intent(self.lab.state_dir, slot.id, choose(self.lab, slot, {}))
            if entity := slot.power.entity:
                self.relay.switch(entity, False)

    def asked(self) -> int:
        return len([event for event in self.relay.events if event.name in ("state", "call_on", "call_off")])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@contextmanager
def claimed(lab: Lab, slot: Slot) -> Iterator[Claim]:
    with claim(lab, slot, note=Note("test"), deadline=Deadline(PATIENCE)) as held:
        yield held


# --- what is asked, and what is answered --------------------------------------------------------------------


@pytest.mark.parametrize("words", [("hut-01", "--wait", "2s"), ("esp32-hut-01", "--within", "1m30s")])
def test_a_slot_by_its_label_and_times_with_units(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    bench = Bench(stack, tmp_path, capsys)
    code, told = bench.json("power", "cycle", *words, "--off-seconds", "0.2", "--on-seconds", "0")
    assert (code, told["slot"], told["result"]) == (0, "hut-01", "ok")


def test_who_waits_for_a_cycle_is_told_how_long(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(stack, tmp_path, capsys, power={"retries": 0, "timeout": 3, "cooldown": 2})
    told = [bench("power", "cycle", "hut-01", "--off-seconds", "0.2", "--on-seconds", "0")[2] for _ in range(2)]
    assert told[0] == "hut-01: off for 0.2 s, then on for 0 s\n"
    assert re.fullmatch(r"hut-01: in [0-2] s, when its cooldown is over, off for 0\.2 s, then on for 0 s\n", told[1])


def test_a_slot_that_does_not_exist_is_told_with_the_nearest(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(stack, tmp_path, capsys)
    code, told = bench.json("power", "status", "hut-1")
    assert (code, told["exit_code"]) == (2, 2)
    assert "hut-01" in told["advice"]


@pytest.mark.parametrize("verb", ["cycle", "on", "off", "test"])
def test_a_slot_in_use_is_a_result_for_a_program(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """WS9-5."""
    bench = Bench(stack, tmp_path, capsys)
    with claimed(bench.lab, bench.lab.slots[0]):
        code, told = bench.json("power", verb, "hut-01")
    assert (code, told["slot"], told["result"], told["detail"]) == (4, "hut-01", "timeout", "slot_busy")
    assert "is held by" in told["text"]


def test_a_slot_in_use_is_a_result_for_later_steps_of_a_job(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"
    outputs.touch()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    bench = Bench(stack, tmp_path / "lab", capsys)
    with claimed(bench.lab, bench.lab.slots[0]):
        assert bench("power", "cycle", "hut-01")[0] == 4
    lines = outputs.read_text().splitlines()
    assert {"timeout", "slot_busy", "false"} <= set(lines)


@pytest.mark.parametrize("verb", ["cycle", "on", "off", "test", "status"])
def test_a_missing_token_is_a_result_for_a_program(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """WS9-5, WS9-7: whatever fails before anything is asked has its detail, too."""
    bench = Bench(stack, tmp_path, capsys)
    assert bench.lab.home_assistant is not None
    assert bench.lab.home_assistant.token_file is not None
    bench.lab.home_assistant.token_file.chmod(0o644)
    code, told = bench.json("power", verb, "hut-01")
    assert (code, told["result"], told["detail"]) == (7, "ha_error", "no_token")


def test_no_power_is_cut_for_a_proof_that_cannot_be_written(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(stack, tmp_path, capsys)
    document = yaml.safe_load(bench.virtual.lab_yml.read_text())
    power = document["slots"]["hut-01"]["power"] | {"group": "shelf"}
    document["slots"]["hut-01"]["power"] = power
    document["slots"]["hut-02"] = {"serial": "/dev/serial/by-id/b", "power": power}
    bench.virtual.lab_yml.write_text(yaml.safe_dump(document))  # what two slots share it writes as an anchor
    code, told = bench.json("power", "test", "hut-02", "--write")
    assert (code, "by hand" in told["advice"]) == (2, True), told
    assert bench.relay.switched() == []


# --- repair, for a timer ------------------------------------------------------------------------------------


def test_repairing_a_slot_in_use_says_so(stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for one slot learns by the exit code, too; for a timer somebody at work is no trouble."""
    bench = Bench(stack, tmp_path, capsys)
    bench.left_off(0)
    with claimed(bench.lab, bench.lab.slots[0]):
        code, out, err = bench("power", "repair", "hut-01")
        assert (code, out) == (4, "")
        assert "is in use" in err
        assert bench.json("power", "repair") == (0, {"repaired": [], "busy": ["hut-01"], "failed": []})


def test_a_timer_asks_once_with_a_token_that_was_refused(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS9-9: every minute and for every slot a bad token, and Home Assistant bans the whole host."""
    bench = Bench(stack, tmp_path, capsys, slots=3)
    bench.left_off(0, 2)
    bench.relay.fail("unauthorized:1")
    code, out, err = bench("power", "repair")
    assert (code, out) == (7, "")
    assert err.count("HTTP 401") == 1
    assert "hut-03 may still be off, too" in err
    before = bench.asked()
    code, _, err = bench("power", "repair")
    assert (code, bench.asked()) == (7, before), "the token is the same, and nobody was asked"
    assert "is not asked again" in err
    assert bench.json("power", "repair", "hut-01") == (0, {"repaired": ["hut-01"], "busy": [], "failed": []})
    assert bench.json("power", "repair") == (0, {"repaired": ["hut-03"], "busy": [], "failed": []}), "it was accepted"


def test_a_new_token_is_tried(stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(stack, tmp_path, capsys)
    bench.left_off(0)
    assert bench.lab.home_assistant is not None
    secret = bench.lab.home_assistant.token_file
    assert secret is not None
    good = secret.read_text()
    secret.write_text("revoked")
    assert [bench("power", "repair")[0] for _ in range(2)] == [7, 7]
    assert "revoked" not in "".join(path.read_text() for path in bench.lab.state_dir.glob("*.json"))
    secret.write_text(good)
    assert bench("power", "repair")[0] == 0
    assert bench.virtual.boards["hut-01"].powered


def test_other_relays_are_repaired_while_home_assistant_is_down(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug = tmp_path / "plug"
    plug.write_text("#!/bin/sh\necho on\n")
    plug.chmod(0o755)
    command = {"power": {"command": {word: [str(plug)] for word in ("on", "off", "state")}}}
    bench = Bench(stack, tmp_path / "lab", capsys, slots=2, settings={"hut-02": command})
    bench.left_off(0, 1)
    bench.relay.fail("unauthorized")
    assert bench.json("power", "repair") == (7, {"repaired": ["hut-02"], "busy": [], "failed": ["hut-01"]})
    assert intent_path(bench.lab.state_dir, "hut-01").exists()


# --- several slots behind one plug --------------------------------------------------------------------------


def a_shelf(stack: ExitStack, folder: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(stack, folder, capsys, slots=2, settings={"hut-01": BEHIND_ONE_PLUG, "hut-02": BEHIND_ONE_PLUG})


@pytest.mark.parametrize("busy", [0, 1])
def test_who_waits_for_a_group_keeps_nothing_from_others(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str], busy: int
) -> None:
    """WS9-8, WS9-12: while one slot of the group is in use, the other one is everybody's."""
    lab = a_shelf(stack, tmp_path, capsys).lab
    got: list[Mapping[str, Claim]] = []

    def wait_for_both() -> None:
        with claim_group(lab, lab.slots[0], {}, claim, "cycle", Deadline(PATIENCE), patience=0.05) as claims:
            got.append(claims)

    waiter = threading.Thread(target=wait_for_both)
    with claimed(lab, lab.slots[busy]):
        waiter.start()
        for _ in range(3):
            with claimed(lab, lab.slots[1 - busy]):
                time.sleep(0.02)  # somebody's short use of it
        assert got == []
    waiter.join(PATIENCE)
    assert [sorted(claims) for claims in got] == [["hut-01", "hut-02"]]


def test_many_who_want_the_whole_group_all_get_it(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some hold one slot and want the other, some want both: nobody waits for ever, and never two have the group."""
    lab = a_shelf(stack, tmp_path, capsys).lab
    inside: list[int] = []
    served: list[int] = []
    began = threading.Barrier(5)

    def want(number: int) -> None:
        began.wait(PATIENCE)
        with claim_group(lab, lab.slots[number % 2], {}, claim, "cycle", Deadline(PATIENCE), patience=0.1):
            inside.append(number)
            assert inside == [number]
            time.sleep(0.01)
            inside.remove(number)
            served.append(number)

    wishes = [threading.Thread(target=want, args=(number,)) for number in range(5)]
    for wish in wishes:
        wish.start()
    for wish in wishes:
        wish.join(PATIENCE)
    assert sorted(served) == [0, 1, 2, 3, 4]


def test_a_group_that_is_never_free_is_given_up_at_the_deadline(
    stack: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = a_shelf(stack, tmp_path, capsys).lab
    asking = claim_group(lab, lab.slots[0], {}, claim, "cycle", Deadline(0.3), patience=0.1)
    with claimed(lab, lab.slots[1]), pytest.raises(SlotError, match="hut-02 is held by"), asking:
        pass
    with claimed(lab, lab.slots[0]), claimed(lab, lab.slots[1]):
        """Both are free again."""
