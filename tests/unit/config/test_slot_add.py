"""slots add: the draft is checked before the board is touched, the board before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.errors import BoardError, ConfigError, UsageError
from hut_ci.model import Board, Lab, Slot
from hut_ci.stages.slot_add import add_slot, next_id

HERE = Path("/nowhere/lab.yml")
BOARD = Board("esp32", "24:6f:28:00:00:01", (3, 1), 4 << 20)
TWIN = "/dev/serial/by-id/usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_0001-if00-port0"


class Bench:
    """Answers for every board, and remembers who was asked."""

    def __init__(self, board: Board | Exception = BOARD) -> None:
        self.board = board
        self.asked: list[Slot] = []

    def __call__(self, lab: Lab, slot: Slot) -> Board:
        assert lab.slot(slot.id) == slot, "the future slot stands in the lab that is claimed in"
        self.asked.append(slot)
        if isinstance(self.board, Exception):
            raise self.board
        return self.board


def test_the_first_slot() -> None:
    added, text = add_slot(HERE, "slots:\n", None, "/dev/serial/by-id/a", None, Bench())
    assert added.slot.id == "hut-01"
    assert added.slot.facts.mac == BOARD.mac
    assert added.entry in text.replace("\n  ", "\n")
    assert any("PSRAM" in warning for warning in added.warnings)


def test_a_second_slot_with_power() -> None:
    before = 'home_assistant: {url: "http://ha.local"}\nslots:\n  hut-02: {serial: /dev/serial/by-id/a}\n'
    added, text = add_slot(HERE, before, None, "/dev/serial/by-id/b", "switch.b", Bench())
    assert (added.slot.id, added.slot.power.entity) == ("hut-01", "switch.b")
    assert text.startswith(before)


@pytest.mark.parametrize(
    ("slot_id", "serial", "power", "words"),
    [
        ("hut-02", "/dev/serial/by-id/b", None, "hut-02 exists already"),
        ("Hut", "/dev/serial/by-id/b", None, "is not a slot id"),
        ("hut-hut-01", "/dev/serial/by-id/b", None, "prefix twice"),
        (None, "/dev/serial/by-id/a", None, "is hut-02 already"),
        (None, "ttyUSB0", None, "is not an absolute path"),
        (None, "/dev/serial/by-id/b", "switch.b", "has nobody to switch it"),
    ],
)
def test_refused_before_the_board_is_touched(slot_id: str | None, serial: str, power: str | None, words: str) -> None:
    bench = Bench()
    with pytest.raises((ConfigError, UsageError), match=words):
        add_slot(HERE, "slots:\n  hut-02: {serial: /dev/serial/by-id/a}\n", slot_id, serial, power, bench)
    assert bench.asked == []


def test_the_same_board_on_another_port() -> None:
    text = 'slots:\n  desk: {serial: /dev/serial/by-id/a, facts: {mac: "24:6F:28:00:00:01"}}\n'
    with pytest.raises(UsageError, match="this board is desk already"):
        add_slot(HERE, text, None, "/dev/serial/by-id/b", None, Bench())


def test_a_silent_board_adds_nothing() -> None:
    with pytest.raises(BoardError):
        add_slot(HERE, "slots:\n", None, "/dev/serial/by-id/b", None, Bench(BoardError("silent")))


@pytest.mark.parametrize(("serial", "words"), [(TWIN, "factory name"), ("/dev/ttyUSB0", "may be another board")])
def test_names_that_will_not_last_are_taken_with_a_warning(serial: str, words: str) -> None:
    added, _ = add_slot(HERE, "slots:\n", None, serial, None, Bench())
    assert any(words in warning for warning in added.warnings)


def test_lowest_free_number() -> None:
    assert next_id([]) == "hut-01"
    assert next_id(["hut-01", "02", "kitchen"]) == "hut-03"
