"""The flash stage with the real esptool, on virtual boards that misbehave, and on ports that are no board at all."""

from __future__ import annotations

import fcntl
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from slowness import slowness

from hut_ci.deadline import Deadline
from hut_ci.errors import FlashError
from hut_ci.esptool.call import Esptool, console_script
from hut_ci.esptool.pieces import SLICE
from hut_ci.esptool.progress import Progress
from hut_ci.model import AppDescriptor, Board, Claim, Facts, FlashPlan, FlashResult, Holder, Part, Slot
from hut_ci.stages.flash import flash, mismatch, next_baud
from hut_ci.virtual.board import VirtualBoard

MAC = "24:6f:28:00:00:01"
CLAIM = Claim("hut-01", Holder(1, "ci", "lab", "2026-01-01T00:00:00Z"), Path("/nonexistent"), -1)
TRANSPORTS = pytest.mark.parametrize("transport", ["pty", "rfc2217"])


def slot(serial: str) -> Slot:
    return Slot("hut-01", "esp32-hut-01", (serial,), facts=Facts(mac=MAC))


def make_plan(folder: Path, app: bytes | None = None) -> FlashPlan:
    """A partition table and an application with a project name, of bytes that compress by a third or so."""
    parts = []
    for offset, name, data in ((0x8000, "table", random_bytes(3072, 1)), (0x10000, "app", app or make_app(60_000))):
        (folder / f"{name}.bin").write_bytes(data)
        parts.append(Part(offset, folder / f"{name}.bin", len(data), "", name, name))
    return FlashPlan(tuple(parts), "esp32", "test", apps=(AppDescriptor("player", "1", "v5", "", None, 0x10000),))


def random_bytes(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def make_app(size: int) -> bytes:
    return bytes(0x50) + b"player".ljust(32, b"\0") + random_bytes(size - 0x70, 2)


def on_chip(board: VirtualBoard, plan: FlashPlan) -> bool:
    return all(board.flash[part.offset : part.offset + part.size] == part.path.read_bytes() for part in plan.parts)


def flash_board(
    board: VirtualBoard, plan: FlashPlan, work: Path, **options: object
) -> tuple[FlashResult, list[Progress]]:
    events: list[Progress] = []
    result = flash(
        CLAIM,
        slot(board.serial),
        plan,
        port=board.serial,
        work=work,
        deadline=Deadline(60),
        on_progress=events.append,
        **options,  # type: ignore[arg-type]  # each test names the options that it changes
    )
    return result, events


def evidence(result: FlashResult) -> tuple[str, dict[str, str]] | None:
    if result.evidence is None:
        return None
    advice = ("likely", "todo")
    return result.evidence.id, {name: text for name, text in result.evidence.fields.items() if name not in advice}


@TRANSPORTS
def test_first_flash_then_nothing_to_do(tmp_path: Path, transport: str) -> None:
    """Every byte arrives; a second run writes none of them, because the chip holds them."""
    plan = make_plan(tmp_path)
    with VirtualBoard(transport=transport, link=tmp_path / "tty", mac=MAC) as board:  # type: ignore[arg-type]
        first, events = flash_board(board, plan, tmp_path)
        assert (evidence(first), first.written, first.skipped) == (None, plan.bytes_total, 0)
        assert first.board == Board("esp32", MAC, (3, 1), 4 << 20, None, "ESP32-D0WD-V3 (revision v3.1)")
        assert on_chip(board, plan)
        assert events[-1].done == plan.bytes_total
        again, _ = flash_board(board, plan, tmp_path)
        assert (evidence(again), again.written, again.skipped) == (None, 0, plan.bytes_total)
        assert board.violations == []
    log = (tmp_path / "esptool.log").read_text()
    assert log.count("\n$ ") + log.startswith("$ ") == 4, "two calls per attempt"
    assert "Stub flasher is already running" in log


@pytest.mark.real
def test_after_a_small_change_only_slices_are_sent(tmp_path: Path) -> None:
    app = bytearray(make_app(3 * SLICE))
    with VirtualBoard(transport="pty", link=tmp_path / "tty", mac=MAC) as board:
        flash_board(board, make_plan(tmp_path, bytes(app)), tmp_path)
        app[SLICE] ^= 1
        plan = make_plan(tmp_path, bytes(app))
        result, _ = flash_board(board, plan, tmp_path)
        assert (evidence(result), result.written, result.skipped) == (None, SLICE, plan.bytes_total - SLICE)
        assert on_chip(board, plan)


@pytest.mark.real
def test_what_the_chip_holds_decides_not_what_was_written_before(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with VirtualBoard(transport="pty", link=tmp_path / "tty", mac=MAC) as board:
        flash_board(board, plan, tmp_path)
        other = tmp_path / "other"
        other.mkdir()
        flash_board(board, make_plan(other, make_app(60_004)), other)
        flash_board(board, replace(plan, parts=plan.parts[1:]), tmp_path)
        assert on_chip(board, plan)


@pytest.mark.real
def test_erase_all_leaves_nothing_else(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with VirtualBoard(transport="pty", link=tmp_path / "tty", mac=MAC) as board:
        old = tmp_path / "old.bin"
        old.write_bytes(b"settings")
        flash_board(board, replace(plan, parts=(Part(0x9000, old, 8, "", "data", "nvs"),)), tmp_path)
        assert board.flash[0x9000:0x9008] == b"settings"
        result, _ = flash_board(board, replace(plan, erase_all=True), tmp_path)
        assert (evidence(result), result.written) == (None, plan.bytes_total)
        assert board.flash[0x9000:0x9008] == b"\xff" * 8
        assert on_chip(board, plan)


@pytest.mark.parametrize(
    ("transport", "fault", "wanted"),
    [
        ("pty", "silent", ("no_sync", {"reason": "no serial data received"})),
        pytest.param(
            *("rfc2217", "silent", ("no_sync", {"reason": "no serial data received"})), marks=pytest.mark.real
        ),
        ("rfc2217", "no_download_mode", ("not_in_loader", {"reason": "boot mode 0x13"})),
        ("pty", "wrong_chip", ("wrong_chip", {"found": "esp32c3", "wanted": "esp32"})),
        ("pty", "wrong_mac", ("wrong_mac", {})),
        ("pty", "md5_mismatch", ("verify_failed", {"reason": "the same wrong content twice: the flash chip"})),
        pytest.param(
            "pty",
            "port_vanishes@20000=30",
            ("port_gone", {"reason": "it vanished while in use"}),
            marks=pytest.mark.real,
        ),
    ],
)
def test_a_fault_that_stays_is_named(
    tmp_path: Path, transport: str, fault: str, wanted: tuple[str, dict[str, str]]
) -> None:
    """Security 20: the right evidence in less than ten seconds; nothing is written to the wrong board."""
    plan = make_plan(tmp_path)
    with VirtualBoard(transport=transport, link=tmp_path / "tty", mac=MAC, faults=(fault,)) as board:  # type: ignore[arg-type]
        result, events = flash_board(board, plan, tmp_path)
        assert evidence(result) == wanted
        if wanted[0].startswith("wrong"):
            assert set(board.flash) == {0xFF}
        else:
            assert any(event.stage == "failed" and "try:" in event.text for event in events)
    assert result.seconds < 15 or result.seconds < 15 * slowness()
    assert result.log == tmp_path / "esptool.log"


@pytest.mark.real
@pytest.mark.parametrize(
    ("transport", "fault"),
    [
        ("pty", "drop_byte_from_host@3000"),
        ("pty", "drop_byte_from_host@20000"),
        ("pty", "duplicate_byte_from_host@20000"),
        ("pty", "corrupt_byte_from_host@20000"),
        ("rfc2217", "drop_byte_to_host@2000"),
        ("pty", "duplicate_byte_to_host@2000"),
        ("pty", "corrupt_byte_to_host@2000"),
        ("pty", "port_vanishes@20000=0.5"),
        ("pty", "md5_mismatch:3"),
    ],
)
def test_a_fault_that_passes_costs_a_retry_at_most(tmp_path: Path, transport: str, fault: str) -> None:
    """Bytes lost, doubled or altered in either direction, and a port that comes back."""
    plan = make_plan(tmp_path)
    with VirtualBoard(transport=transport, link=tmp_path / "tty", mac=MAC, faults=(fault,)) as board:  # type: ignore[arg-type]
        result, _ = flash_board(board, plan, tmp_path)
        assert evidence(result) is None
        assert on_chip(board, plan)
        assert board.violations == []


@pytest.mark.real
def test_a_garbled_answer_while_writing_goes_on_at_a_lower_rate(tmp_path: Path) -> None:
    """esptool cannot recover from it (and takes 10 s to say so); what is on the chip already is not sent again."""
    plan = make_plan(tmp_path, make_app(2_200_000))
    faults = ("corrupt_byte_to_host@2606",)  # an acknowledgement of about the 120th block
    with VirtualBoard(transport="pty", link=tmp_path / "tty", mac=MAC, faults=faults) as board:
        result, events = flash_board(board, plan, tmp_path)
        assert (evidence(result), result.baud) == (None, 460800)
        assert on_chip(board, plan)
    assert [event.text for event in events if event.stage == "retry"] == ["the answer stopped: again at 460800 baud"]
    resumed = (tmp_path / "esptool.log").read_text().split("--baud 460800")[1]
    assert resumed.count("already in flash") > 10
    assert plan.bytes_total * 0.9 < result.written <= plan.bytes_total * 1.1


def test_a_held_port_names_its_holder(tmp_path: Path) -> None:
    reader, writer = os.openpty()
    try:
        port = os.ttyname(writer)
        fcntl.flock(writer, fcntl.LOCK_EX)
        result = flash(
            CLAIM,
            slot(port),
            make_plan(tmp_path),
            port=port,
            work=tmp_path,
            deadline=Deadline(20),
            holder_of=lambda held: ("minicom", "4711") if held == port else ("", ""),
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert evidence(result) == ("port_held", {"port": port, "program": "minicom", "pid": "4711"})


def test_a_missing_port_costs_no_call(tmp_path: Path) -> None:
    port = str(tmp_path / "ttyUSB0")
    result = flash(CLAIM, slot(port), make_plan(tmp_path), port=port, work=tmp_path, deadline=Deadline(20))
    assert evidence(result) == ("port_gone", {"reason": "no such device"})
    assert result.log is None


def test_a_serial_server_that_is_down(tmp_path: Path) -> None:
    port = "rfc2217://127.0.0.1:9"
    result = flash(CLAIM, slot(port), make_plan(tmp_path), port=port, work=tmp_path, deadline=Deadline(20))
    assert evidence(result) == ("port_gone", {"reason": "the serial server does not answer"})


def test_the_run_s_deadline_ends_a_flash(tmp_path: Path) -> None:
    """Its time begins where the board stands still, however long the machine takes to get there."""
    with VirtualBoard(transport="pty", link=tmp_path / "tty", mac=MAC) as board:
        board.hold_at("stub_started")

        def held_for() -> float:
            return next((time.monotonic() - event.seconds for event in board.events if event.name == "held"), 0.0)

        over = Deadline(2, held_for)
        result = flash(CLAIM, slot(board.serial), make_plan(tmp_path), port=board.serial, work=tmp_path, deadline=over)
        assert held_for() >= 2
        board.release()
    assert evidence(result) == ("flash_deadline", {"limit": "2"})


def test_a_claim_on_another_slot_does_not_flash_this_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a claim on hut-02"):
        flash(
            replace(CLAIM, slot_id="hut-02"),
            slot("/dev/null"),
            make_plan(tmp_path),
            port="/dev/null",
            work=tmp_path,
            deadline=Deadline(5),
        )


def test_an_intel_hex_file_is_refused(tmp_path: Path) -> None:
    """Security 10: esptool would write it where the file says."""
    plan = make_plan(tmp_path, b":020000040800F2\n:0400000001020304F2\n:00000001FF\n")
    result = flash(CLAIM, slot("/dev/null"), plan, port="/dev/null", work=tmp_path, deadline=Deadline(5))
    assert evidence(result) == ("not_flashable", {"what": "app reads as an Intel HEX file at 0x10000"})


def script(folder: Path, body: str) -> Esptool:
    """A program in esptool's place."""
    path = folder / "esptool-stand-in"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return Esptool(path)


WRITE_FAILS = """import os, sys
if "write-flash" not in sys.argv:
    print("Connected to ESP32 on /dev/null:\\nChip type:          ESP32-D0WD-V3 (revision v3.1)")
    print("MAC:                24:6f:28:00:00:01")
    sys.exit(0)
print("A fatal error occurred: Serial data stream stopped: Possible serial noise or corruption.")
sys.exit(2)
"""


def test_the_ladder_is_for_transfer_errors(tmp_path: Path) -> None:
    events: list[Progress] = []
    result = flash(
        CLAIM,
        slot("/dev/null"),
        make_plan(tmp_path),
        port="/dev/null",
        work=tmp_path,
        deadline=Deadline(20),
        on_progress=events.append,
        esptool=script(tmp_path, WRITE_FAILS),
    )
    assert evidence(result) == ("link_error", {"reason": "the answer stopped", "baud": "230400"})
    assert result.baud == 230400
    calls = [line for line in (tmp_path / "esptool.log").read_text().splitlines() if line.startswith("$ ")]
    assert [call.split("--baud ")[1].split()[0] for call in calls] == ["115200", "921600", "460800", "230400"]
    assert ["no-reset " in call.split("--before ")[1][:9] for call in calls] == [False, True, False, False]
    assert [event.text for event in events if event.stage == "retry"] == [
        "the answer stopped: again at 460800 baud",
        "the answer stopped: again at 230400 baud",
    ]


def test_the_ladder_ends() -> None:
    steps, baud = [], 2_000_000
    while (lower := next_baud(baud)) is not None:
        steps.append(baud := lower)
    assert steps == [921600, 460800, 230400, 115200]


def test_the_working_directory_and_the_environment_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security 15, 26: a repository's tox.ini has no say in how a board is reset; no token reaches esptool."""
    monkeypatch.setenv("HASS_TOKEN", "canary-51c9")
    monkeypatch.setenv("ESPTOOL_BAUD", "9600")
    (tmp_path / "tox.ini").write_text("[esptool]\ncustom_reset_sequence = R1|W9\n")
    monkeypatch.chdir(tmp_path)
    body = "import os\nprint('cwd', os.getcwd(), os.listdir(), dict(os.environ))\n"
    flash(
        CLAIM,
        slot("/dev/null"),
        make_plan(tmp_path),
        port="/dev/null",
        work=tmp_path,
        deadline=Deadline(20),
        esptool=script(tmp_path, body),
    )
    log = (tmp_path / "esptool.log").read_text()
    line = next(line for line in log.splitlines() if line.startswith("cwd"))
    assert "canary-51c9" not in line
    assert "ESPTOOL_BAUD" not in line
    assert f"cwd {tmp_path}" not in line
    assert " [] {" in line, "the folder is empty"
    assert "'PYTHONSAFEPATH': '1'" in line


def test_the_console_script_is_the_one_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Security 26: not whatever PATH or the workspace offers."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert console_script() == Path(sys.executable).parent / "esptool"


def test_an_installation_without_esptool_says_so(tmp_path: Path) -> None:
    with pytest.raises(FlashError, match="not installed beside hut-ci"):
        console_script([tmp_path])


FITTING = Board("esp32", MAC, (3, 0), 4 << 20)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda plan: replace(plan, min_revision=(3, 1)), "needs chip revision v3.1 or newer, the board is v3.0"),
        (lambda plan: replace(plan, max_revision=(2, 99)), "runs up to chip revision v2.99, the board is v3.0"),
        (lambda plan: replace(plan, chip="esp32s3"), "the build is for esp32s3, the board is an esp32"),
        (lambda plan: replace(plan, flash_needed=8 << 20), "needs 8192 KiB of flash, the board has 4096 KiB"),
    ],
)
def test_a_build_that_this_board_cannot_run(
    tmp_path: Path, change: Callable[[FlashPlan], FlashPlan], what: str
) -> None:
    plan = make_plan(tmp_path)
    assert mismatch(Facts(mac=MAC.upper().replace(":", "-")), plan, FITTING) is None
    found = mismatch(Facts(), change(plan), FITTING)
    assert found is not None
    assert found.id == "does_not_fit"
    assert what in found.fields["what"]
    assert "nothing was written" in found.fields["what"]
