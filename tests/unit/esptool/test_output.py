"""esptool's words, recorded, against what we make of them. A file in tests/data/esptool is a test.

The first line of a file is `#: {JSON}`: `row`, `evidence` and `fields` for a failure, `board` for an identity.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.esptool import output
from hut_ci.esptool.error_table import ROWS
from hut_ci.model import Board

DATA = Path(__file__).parents[2] / "data" / "esptool"
EVIDENCE = Path(output.__file__).parents[1] / "stages" / "evidence.yml"


def recorded(path: Path) -> tuple[dict[str, Any], str]:
    head, _, text = path.read_text(encoding="utf-8").partition("\n")
    return json.loads(head.removeprefix("#: ")), text


CASES = sorted(DATA.glob("*.txt"))
FAILURES = [path for path in CASES if "row" in recorded(path)[0]]
BOARDS = [path for path in CASES if "board" in recorded(path)[0]]


@pytest.mark.parametrize("path", FAILURES, ids=lambda path: path.stem)
def test_a_failure_is_recognised(path: Path) -> None:
    """Esptool ends with 2 for everything; the text decides who is to blame."""
    wanted, text = recorded(path)
    failure = output.failure(text, port="/dev/ttyUSB0", baud=460800)
    fields = dict(failure.evidence.fields)
    assert fields.pop("likely")
    assert fields.pop("todo")
    assert (failure.row, failure.evidence.id, fields) == (wanted["row"], wanted["evidence"], wanted["fields"])


def test_every_row_has_a_text_and_no_case_is_lost() -> None:
    assert {recorded(path)[0]["row"] for path in FAILURES} == {row.name for row in ROWS}
    assert {*FAILURES, *BOARDS} == set(CASES)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_read(path: Path) -> None:
    wanted, text = recorded(path)
    fields = wanted["board"]
    fields["revision"] = tuple(fields["revision"])
    assert output.board(text) == Board(**fields)


@pytest.mark.parametrize("path", [path for path in FAILURES if "open_" in path.stem], ids=lambda path: path.stem)
def test_no_board_is_made_up(path: Path) -> None:
    assert output.board(recorded(path)[1]) is None


def test_the_fields_are_those_of_the_evidence_table() -> None:
    """A field too few breaks the sentence of a status; one too many says that somebody misread the table."""
    rows = yaml.safe_load(EVIDENCE.read_text(encoding="utf-8"))["rows"]
    for evidence, fields in output.FIELDS.items():
        names = {name for _, name, _, _ in string.Formatter().parse(rows[evidence]["sentence"]) if name}
        assert names == set(fields), evidence
    assert {row.evidence for row in ROWS} <= set(output.FIELDS)


@given(st.text())
def test_any_text_has_an_answer_that_can_be_printed(text: str) -> None:
    """Security 12, 13, 20: a chip's reply ends in a status; no control characters, no novels."""
    failure = output.failure(f"ERROR: A fatal error occurred: {text}", port="/dev/ttyUSB0", baud=115200)
    for value in failure.evidence.fields.values():
        assert value.isprintable()
        assert value.isascii()
        assert len(value) <= 200


def test_a_board_in_its_own_package_knows_its_psram() -> None:
    text = (
        "Connected to ESP32-S3 on /dev/ttyACM0:\n"
        "Chip type:          ESP32-S3 (QFN56) (revision v0.2)\n"
        "Features:           Wi-Fi, BT 5 (LE), Dual Core + LP Core, 240MHz, Embedded PSRAM 8MB (AP_3v3)\n"
        "MAC:                F4:12:FA:00:00:01\n"
    )
    assert output.board(text) == Board(
        "esp32s3", "f4:12:fa:00:00:01", (0, 2), None, 8 << 20, "ESP32-S3 (QFN56) (revision v0.2)"
    )


def test_a_long_mac_yields_to_the_base_mac() -> None:
    text = (
        "Connected to ESP32-C6 on /dev/ttyACM0:\n"
        "MAC:                60:55:f9:ff:fe:00:00:01\n"
        "BASE MAC:           60:55:f9:00:00:01\n"
        "MAC_EXT:            ff:fe\n"
    )
    board = output.board(text)
    assert board is not None
    assert (board.chip, board.mac) == ("esp32c6", "60:55:f9:00:00:01")


def test_what_was_written_and_what_was_left_alone() -> None:
    text = (
        "'0x00008000.bin' at 0x00008000 already in flash, skipping write.\n"
        "Wrote 65536 bytes (18660 compressed) at 0x00010000 in 0.5 seconds (1132.1 kbit/s).\nHash of data verified.\n"
        "Wrote 30000 bytes at 0x00020000 in 0.1 seconds (3379.1 kbit/s).\nHash of data verified.\n"
    )
    assert output.written(text) == 95536
    assert output.flash_md5("Flash MD5: " + "0f" * 16 + "\n") == "0f" * 16
