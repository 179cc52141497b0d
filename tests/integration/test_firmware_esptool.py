"""Our reading of images agrees with esptool's, on images that esptool made or that it reads."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "firmware"))

import tiny_firmware

from hut_ci.firmware import load
from hut_ci.firmware.image import Image, read_image

ESPTOOL = shutil.which("esptool", path=str(Path(sys.executable).parent)) or "esptool"
SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "squeezelite-4.3-i2s-16" / "build"
NAMES = {"esp32": "ESP32", "esp32c3": "ESP32-C3", "esp32s3": "ESP32-S3"}


def esptool(*arguments: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [ESPTOOL, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def elf(entry: int, parts: dict[int, bytes]) -> bytes:
    """The smallest ELF that `elf2image` takes: a header, the content, a table of one section per part."""
    names, at = b"\0.part\0", 52
    rows, body = struct.pack("<10I", 0, 3, 0, 0, at, len(names), 0, 0, 1, 0), names
    for address, data in parts.items():
        rows += struct.pack("<10I", 1, 1, 2, address, at + len(body), len(data), 0, 0, 4, 0)
        body += data
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    xtensa, count = 94, 1 + len(parts)
    head += struct.pack("<HHIIIIIHHHHHH", 2, xtensa, 1, entry, 0, at + len(body), 0, 52, 32, 0, 40, count, 0)
    return head + body + rows


def agrees(image: Image, text: str) -> None:
    """Every value that both sides name."""

    def said(pattern: str) -> str | None:
        found = re.search(pattern, text)
        return found[1].strip() if found else None

    assert said(r"Chip ID: (\d+)") == str(image.chip_id)
    assert said(r"Detected image type: (.*)") == NAMES[image.chip or ""]
    assert said(r"Minimal chip revision: v([\d.]+)") == "{}.{}".format(*image.min_revision)
    highest = image.max_revision or (655, 35)
    assert said(r"Maximal chip revision: v([\d.]+)") == "{}.{}".format(*highest)
    assert said(r"Checksum: 0x\w+ \((\w+)\)") == "valid"
    assert said(r"Validation hash: \w+ \((\w+)\)") == ("valid" if image.hashed else None)
    assert said(r"Flash size: (\d+)MB") == str((image.flash_size or 0) >> 20)
    app = image.descriptor
    assert said(r"Project name: (.*)") == (app.project if app else None)
    assert said(r"App version: (.*)") == (app.version if app else None)
    assert said(r"Compile time: (.*)") == (app.compiled if app else None)
    assert said(r"ESP-IDF: (.*)") == (app.idf if app else None)
    assert said(r"ELF file SHA256: (.*)") == (app.elf_sha256 or "0" * 64 if app else None)


@pytest.mark.real
@pytest.mark.parametrize("chip", NAMES)
def test_our_builder_makes_images_that_esptool_accepts(chip: str, tmp_path: Path) -> None:
    """What all the other tests stand on."""
    for name, data in {
        "app": tiny_firmware.app(chip, minimum=101, maximum=399, size=4096),
        "bare": tiny_firmware.image(chip, hashed=False),
    }.items():
        (tmp_path / name).write_bytes(data)
        agrees(read_image(data, name), esptool("image-info", name, folder=tmp_path))


def test_an_image_that_esptool_makes(tmp_path: Path) -> None:
    descriptor = tiny_firmware.app()[32 : 32 + 256]
    segments = {0x3F400020: descriptor + b"Failed to init external RAM!\0\0\0\0", 0x40080000: bytes(range(256)) * 3}
    (tmp_path / "a.elf").write_bytes(elf(0x40080000, segments))
    esptool(
        *("--chip", "esp32", "elf2image", "--flash-size", "4MB", "--min-rev-full", "301"),
        *("--max-rev-full", "399", "-o", "a.bin", "a.elf"),
        folder=tmp_path,
    )
    image = read_image((tmp_path / "a.bin").read_bytes(), "a.bin")
    assert (image.min_revision, image.max_revision, image.needs_psram) == ((3, 1), (3, 99), True)
    assert image.length == (tmp_path / "a.bin").stat().st_size
    agrees(image, esptool("image-info", "a.bin", folder=tmp_path))


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
def test_a_merged_image_comes_apart_again(chip: str, tmp_path: Path) -> None:
    """merge-bin, then our split: the parts of the build, byte by byte, and nothing between them."""
    build = tiny_firmware.write(tmp_path / "build", tiny_firmware.standard(chip))
    plan = load(build, tmp_path / "work")
    pairs = [str(word) for part in plan.parts for word in (hex(part.offset), part.path)]
    esptool("--chip", chip, "merge-bin", "-o", tmp_path / "all.bin", "--pad-to-size", "1MB", *pairs, folder=tmp_path)
    merged = load(tmp_path / "all.bin", tmp_path / "split")
    assert [(part.offset, part.purpose, part.sha256) for part in merged.parts] == [
        (part.offset, part.purpose, part.sha256) for part in plan.parts
    ]
    assert (merged.kept, merged.erased, merged.apps) == (plan.kept, plan.erased, plan.apps)


@pytest.mark.real
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this repository")
@pytest.mark.parametrize("name", ["bootloader/bootloader.bin", "recovery.bin", "squeezelite.bin"])
def test_the_real_images(name: str, tmp_path: Path) -> None:
    agrees(read_image((SAMPLES / name).read_bytes(), name), esptool("image-info", SAMPLES / name, folder=tmp_path))
