"""The boot log is decided by the flash content alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hut_ci.virtual.app_script import Log, Out, Panic, Print, Reboot, Remark, Restart, Script, Step
from hut_ci.virtual.boot import History, life
from hut_ci.virtual.chips import ESP32, ESP32C3, ChipFacts, ResetReason, Revision
from hut_ci.virtual.faults import FaultSet
from hut_ci.virtual.images import Needs, build_app, build_folder
from hut_ci.virtual.nor_flash import NorFlash
from hut_ci.virtual.partitions import build_otadata
from hut_ci.virtual.second_stage import BoardFacts

OTA_0_AT = 0x200000


def load(folder: Path) -> NorFlash:
    flash = NorFlash(4 << 20)
    for row in (folder / "flash_args").read_text().splitlines()[1:]:
        offset, name = row.split()
        flash.program(int(offset, 16), (folder / name).read_bytes())
    return flash


def boot(
    flash: NorFlash,
    chip: ChipFacts = ESP32,
    revision: Revision | None = None,
    psram: bool = False,
    history: History | None = None,
    faults: tuple[str, ...] = (),
    recorded_log: bytes | None = None,
) -> tuple[str, list[Step]]:
    """The text up to the next reset or the end, and the steps."""
    board = BoardFacts(chip, revision or chip.default_revision, psram, boot_seconds=0.01)
    steps = list(life(board, flash, ResetReason.POWER_ON, history or History(), FaultSet(faults), recorded_log))
    return b"".join(step.data for step in steps if isinstance(step, Out)).decode(), steps


def test_a_good_build_starts_its_factory_app(tmp_path: Path) -> None:
    text, steps = boot(load(build_folder(tmp_path, project="blinky", version="3.2.1")))
    assert text.startswith(
        "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    )
    assert "I (83) boot:  3 factory          factory app      00 00 00010000 001f0000\r\n" in text
    assert "cpu_start: Project name:     blinky\r\n" in text
    assert "main_task: Calling app_main()\r\n" in text
    assert Remark("app_started", "factory blinky 3.2.1") in steps


@pytest.mark.parametrize(("idf", "tag"), [("v5.1.6", "cpu_start"), ("v5.5.1", "app_init")])
def test_the_start_up_code_speaks_as_its_version_does(tmp_path: Path, idf: str, tag: str) -> None:
    text, _ = boot(load(build_folder(tmp_path, idf=idf)))
    assert f" {tag}: App version:      1.0.0\r\n" in text
    assert f" {tag}: ESP-IDF:          {idf}\r\n" in text


def test_otadata_selects_the_other_slot(tmp_path: Path) -> None:
    flash = load(build_folder(tmp_path, otadata=build_otadata(1)))
    flash.program(OTA_0_AT, build_app(script=Script((Print("from ota"),))))
    text, steps = boot(flash)
    assert "Loaded app from partition at offset 0x200000" in text
    assert "from ota\r\n" in text
    assert Remark("boot", "app ota_0") in steps


def test_a_reboot_into_the_other_slot_lasts(tmp_path: Path) -> None:
    flash = load(build_folder(tmp_path, script=Script((Print("from factory"), Reboot(0)))))
    flash.program(OTA_0_AT, build_app(script=Script((Print("from ota"),))))
    assert "from factory\r\n" in boot(flash)[0]
    for _ in range(2):
        assert "from ota\r\n" in boot(flash)[0]


def test_an_empty_slot_falls_back(tmp_path: Path) -> None:
    text, _ = boot(load(build_folder(tmp_path, otadata=build_otadata(1))))
    assert "esp_image: image at 0x200000 has invalid magic byte (nothing flashed here?)" in text
    assert "boot: OTA app partition slot 0 is not bootable" in text
    assert "Loaded app from partition at offset 0x10000" in text


def test_a_blank_chip_loops_in_the_rom() -> None:
    text, steps = boot(NorFlash(4 << 20))
    assert "invalid header: 0xffffffff\r\n" * 2 in text
    assert steps[-1] == Restart(ResetReason.RTC_WATCHDOG)


Spoil = Callable[[NorFlash], object]


@pytest.mark.parametrize(
    ("spoil", "message", "reason"),
    [
        (
            lambda f: f.erase(0x8000, 0x1000),
            "flash_parts: partition 0 invalid magic number 0xffff",
            ResetReason.SOFTWARE,
        ),
        (lambda f: f.erase(0x10000, 0x1000), "boot: Factory app partition is not bootable", ResetReason.SOFTWARE),
        (lambda f: f.program(0x2F000, b"\0"), "esp_image: Checksum failed. Calculated", ResetReason.SOFTWARE),
        (
            lambda f: f.program(0x2FFF8, bytes(8)),
            "esp_image: Image hash failed - image is corrupt",
            ResetReason.SOFTWARE,
        ),
        (lambda f: f.program(0x3000, bytes(64)), "csum err:0x", ResetReason.RTC_WATCHDOG),
    ],
)
def test_spoilt_flash_is_refused(tmp_path: Path, spoil: Spoil, message: str, reason: ResetReason) -> None:
    flash = load(build_folder(tmp_path))
    spoil(flash)
    text, steps = boot(flash)
    assert message in text
    assert steps[-1] == Restart(reason)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"min_rev": 310}, "Image requires chip rev >= v3.10, but chip is v3.1"),
        ({"max_rev": 199}, "Image requires chip rev <= v1.99, but chip is v3.1"),
        ({"chip_id": 9}, "mismatch chip ID, expected 0, found 9"),
    ],
)
def test_an_app_for_another_chip_is_refused(tmp_path: Path, needs: dict[str, int], message: str) -> None:
    text, _ = boot(load(build_folder(tmp_path, bootloader_needs=Needs(), **needs)))  # type: ignore[arg-type]  # ints
    assert f"E (107) boot_comm: {message}\r\n" in text


def test_psram_that_is_not_there(tmp_path: Path) -> None:
    flash = load(build_folder(tmp_path, psram=True))
    text, steps = boot(flash)
    assert "cpu_start: Failed to init external RAM!\r\n\r\nabort() was called at PC" in text
    assert steps[-1] == Restart(ResetReason.SOFTWARE_CPU)
    assert "app: ready" in boot(flash, psram=True)[0]


def test_a_panic_in_both_instruction_sets(tmp_path: Path) -> None:
    script = Script((Log("almost"), Panic()))
    xtensa, _ = boot(load(build_folder(tmp_path / "x", script=script)))
    assert "Guru Meditation Error: Core  0 panic'ed (LoadProhibited)" in xtensa
    assert "Backtrace: 0x" in xtensa
    assert xtensa.endswith("Rebooting...\r\n")
    riscv, _ = boot(load(build_folder(tmp_path / "r", script=script, chip="esp32c3")), ESP32C3)
    assert "Guru Meditation Error: Core  0 panic'ed (Load access fault)" in riscv
    assert "Stack memory:" in riscv


def test_a_script_that_panics_every_third_start(tmp_path: Path) -> None:
    flash, history = load(build_folder(tmp_path, script=Script((Panic(every=3),)))), History()
    ends = [boot(flash, history=history)[0].endswith("Rebooting...\r\n") for _ in range(6)]
    assert ends == [True, False, False, True, False, False]


def test_a_fault_that_panics_every_second_start(tmp_path: Path) -> None:
    flash, history, faults = load(build_folder(tmp_path)), History(), FaultSet(["panic_every_second_boot"])
    board = BoardFacts(ESP32, (3, 1), psram=False, boot_seconds=0.01)
    ends = []
    for _ in range(4):
        steps = list(life(board, flash, ResetReason.POWER_ON, history, faults))
        ends.append(steps[-1] == Restart(ResetReason.SOFTWARE_CPU))
    assert ends == [True, False, True, False]


def test_an_image_without_script_plays_a_recorded_log(tmp_path: Path) -> None:
    flash = load(build_folder(tmp_path, script=None))
    assert boot(flash, recorded_log=b"one\ntwo\r\n")[0].endswith("one\r\ntwo\r\n")
    assert "main_task: Returned from app_main()" in boot(flash)[0]
