from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from hut_ci.virtual.app_script import from_image
from hut_ci.virtual.chips import CHIPS
from hut_ci.virtual.image_format import read_image
from hut_ci.virtual.images import DEFAULT_SCRIPT, AppIdentity, build_app, build_bootloader, build_folder, next_build

BIG = 1_500_000


@pytest.mark.parametrize("chip", CHIPS)
def test_images_are_sound_and_carry_their_script(chip: str) -> None:
    data = build_app(chip, AppIdentity(version="9.9"), size=0x30000)
    image = read_image(data, 0)
    assert image.size == len(data) == 0x30000
    assert image.app is not None
    assert image.app.version == "9.9"
    assert from_image(data) == DEFAULT_SCRIPT
    for segment in image.segments:
        if segment.address in (image.segments[0].address, image.segments[-1].address):  # mapped from flash
            assert segment.address % 0x10000 == segment.offset % 0x10000
    assert read_image(build_bootloader(chip), 0).chip_id == CHIPS[chip].image_chip_id


def test_code_compresses_like_code() -> None:
    data = build_app(size=BIG)
    assert 0.60 < len(zlib.compress(data, 9)) / len(data) < 0.68


def test_builds_are_reproducible(tmp_path: Path) -> None:
    first, second = build_folder(tmp_path / "a"), build_folder(tmp_path / "b")
    assert (first / "demo.bin").read_bytes() == (second / "demo.bin").read_bytes()


def test_the_next_build_differs_in_some_blocks(tmp_path: Path) -> None:
    old = (build_folder(tmp_path / "a", app_size=BIG) / "demo.bin").read_bytes()
    new = (next_build(tmp_path / "b", app_size=BIG, changed_blocks=12) / "demo.bin").read_bytes()
    changed = [at for at in range(0, BIG, 4096) if old[at : at + 4096] != new[at : at + 4096]]
    assert len(old) == len(new)
    assert 12 < len(changed) <= 12 * 2 + 2


def test_the_folder_is_described_twice_the_same(tmp_path: Path) -> None:
    folder = build_folder(tmp_path, chip="esp32c3", project="lamp")
    files = json.loads((folder / "flasher_args.json").read_text())["flash_files"]
    rows = dict(row.split() for row in (folder / "flash_args").read_text().splitlines()[1:])
    assert files == rows
    assert rows["0x0"] == "bootloader/bootloader.bin"
    assert rows["0x10000"] == "lamp.bin"
    assert all((folder / name).is_file() for name in rows.values())


@pytest.mark.parametrize("size", [1000, 100_001])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        build_app(size=size)
