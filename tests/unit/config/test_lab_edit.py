"""A new entry in lab.yml leaves every other byte alone, and reads back as the slot that was meant."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hut_ci.config import insert_slot, lab_from_text, new_lab, slot_entry
from hut_ci.config.lab_write import lab_text
from hut_ci.errors import ConfigError
from hut_ci.model import Board

BOARD = Board("esp32s3", "f4:12:fa:00:00:01", (0, 2), 16 << 20, 8 << 20, "ESP32-S3 (QFN56) (revision v0.2)")
ENTRY = slot_entry("hut-07", "/dev/serial/by-id/usb-x-if00", BOARD, None)
HERE = Path("/nowhere/lab.yml")
A = "  a: {serial: /dev/serial/by-id/a}\n"

TEXTS = {
    "new": new_lab("kitchen"),
    "empty file": "",
    "no slots key": "lab: x\n",
    "no last newline": "slots:\n" + A.rstrip("\n"),
    "null": "slots: # mine\nlab: x\n",
    "empty braces": "slots: {} # mine\nlab: x\n",
    "one slot": "slots:\n" + A,
    "deep slot": "slots:\n    a:\n        serial: /dev/serial/by-id/a\n        facts:\n            tags: [x]\n",
    "list at the end": "slots:\n  a:\n    serial:\n    - /dev/a\n    - /dev/b\n\n# about redact\nredact: [abc]\n",
    "comments": "# top\nslots: # why\n" + A + "  # about a\n\n# about redact\nredact: [abc]\n",
    "trailing comment": "slots:\n  a: {serial: /dev/serial/by-id/a} # left one\nredact: [abc]\n",
    "block text": "slots:\n  a:\n    serial: /dev/a\n    quarantined: |\n      its socket\n      is loose\nlab: x\n",
    "quoted": 'slots:\n  a:\n    serial: "/dev/serial/by-id/a"\nlab: x',
    "crlf": "slots:\r\n  a: {serial: /dev/serial/by-id/a}\r\nlab: x\r\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_added_and_nothing_else_changed(text: str) -> None:
    before = lab_from_text(text, HERE).slots if "slots" in text else ()
    after = insert_slot(text, ENTRY)
    lab = lab_from_text(after, HERE)
    assert lab.slots[:-1] == before
    assert (lab.slots[-1].id, lab.slots[-1].facts.flash, lab.slots[-1].facts.mac) == ("hut-07", 16 << 20, BOARD.mac)
    kept = text.replace("slots: {}", "slots:").splitlines()
    assert [line for line in after.splitlines() if line in kept] == kept
    assert insert_slot(after, ENTRY.replace("hut-07", "hut-08")).startswith(after[: after.index("hut-07")])


def test_slots_in_braces_are_left_to_the_operator() -> None:
    with pytest.raises(ConfigError, match="in braces") as refused:
        insert_slot("slots: {a: {serial: /dev/serial/by-id/a}}\n", ENTRY)
    assert ENTRY in refused.value.todo


def test_unknown_facts_are_left_out() -> None:
    assert slot_entry("hut-01", "rfc2217://h:1", Board("esp32c3"), None) == (
        "hut-01:\n  serial: rfc2217://h:1\n  facts: {chip: esp32c3}\n"
    )
    assert "psram: 0}" in slot_entry("hut-01", "/dev/x", Board("esp32", psram=0), None)


def test_odd_names_are_quoted() -> None:
    entry = slot_entry("hut-01", "/dev/serial/by-id/usb-a#b,c", None, None)
    assert lab_from_text("slots:\n  " + entry.replace("\n", "\n  "), HERE).slots[0].serial == (
        "/dev/serial/by-id/usb-a#b,c",
    )


def test_a_new_file_is_for_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lab.yml"
    with lab_text(path, "slots:\n") as (text, write):
        assert text == "slots:\n"
        write(text + A)
    assert path.read_text() == "slots:\n" + A
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["lab.yml"]  # noqa: PTH208 (hidden leftovers count)


def test_a_stricter_mode_and_a_link_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yml", tmp_path / "lab.yml"
    real.write_text("slots:\n")
    real.chmod(0o600)
    link.symlink_to(real)
    with lab_text(link, "") as (text, write):
        write(text + A)
    assert link.is_symlink()
    assert real.read_text() == "slots:\n" + A
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_nothing_is_written_without_asking(tmp_path: Path) -> None:
    with lab_text(tmp_path / "lab.yml", "slots:\n"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    with lab_text(path, ""), pytest.raises(ConfigError, match="another `hut-ci slots add`"), lab_text(path, ""):
        pass
    with lab_text(path, ""):
        pass


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"), lab_text(tmp_path / "file" / "lab.yml", ""):
        pass
